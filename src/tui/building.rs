//! A build as it is wanted, and what it says while it goes on. Plain data; `app/building.rs` asks for it, `runtime/building.rs` runs it.

use crate::model::build::{Client, Options, Wish};
use crate::model::location::Location;
use crate::ops::build::Target;
use crate::tui::shared::PlaceId;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Lines that are kept.
const KEPT: usize = 2000;

/// A build that is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Building {
    /// The place of the cache.
    pub place: PlaceId,
    /// The version that is imported, in words. Safe text.
    pub what: String,
    /// The same, as a location.
    pub from: Location,
    /// Where is exported to, if anywhere, and whether all steps are.
    pub to: Option<(Location, bool)>,
    /// Who builds.
    pub target: Target,
    /// What is built: a folder, or the URL of a repository.
    pub context: String,
    /// What the program is given besides.
    pub more: Vec<String>,
}

impl Building {
    /// As the model has it.
    pub fn wish(&self) -> Wish {
        let mode = self.to.as_ref().map(|(_, max)| if *max { "max" } else { "min" });
        let builder = match &self.target {
            Target::Buildx(builder) => builder.clone(),
            Target::Buildctl(_) => None,
        };
        Wish {
            client: self.target.client(),
            builder,
            from: vec![self.from.clone()],
            to: self.to.iter().map(|(to, _)| to.clone()).collect(),
            options: Options { mode: mode.map(str::to_owned), ..Options::default() },
            arguments: self.arguments(),
            warm: false,
        }
    }

    /// The context and the rest, as the program takes them.
    fn arguments(&self) -> Vec<String> {
        let context = self.context.clone();
        let words = match self.target.client() {
            Client::Buildx => return self.more.iter().cloned().chain([context]).collect(),
            Client::Buildctl if context.contains("://") => vec!["--opt".to_owned(), format!("context={context}")],
            Client::Buildctl => {
                let local = |name: &str| ["--local".to_owned(), format!("{name}={context}")];
                [local("context"), local("dockerfile")].concat()
            }
        };
        let frontend = ["--frontend", "dockerfile.v0"].map(str::to_owned);
        frontend.into_iter().chain(words).chain(self.more.iter().cloned()).collect()
    }
}

/// A build that was checked against its builder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The command, without secrets.
    pub words: Vec<String>,
    /// Variables that are set for it.
    pub variables: Vec<String>,
    /// What will not be as one may think. May hold untrusted text.
    pub warnings: Vec<String>,
}

/// What a build says, line by line. Clones share one; readers look at it whenever they like.
#[derive(Clone, Debug, Default)]
pub struct Transcript {
    lines: Arc<Mutex<VecDeque<String>>>,
}

impl Transcript {
    /// Adds a line. It must be safe.
    pub fn say(&self, line: String) {
        let mut lines = self.lock();
        if lines.len() == KEPT {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// The last lines, at most so many, oldest first.
    pub fn last(&self, most: usize) -> Vec<String> {
        let lines = self.lock();
        lines.iter().skip(lines.len().saturating_sub(most)).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<String>> {
        // The lines are whole between any two statements.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_lines_are_kept() {
        let transcript = Transcript::default();
        (0..KEPT + 3).for_each(|n| transcript.clone().say(n.to_string()));
        assert_eq!(transcript.last(2), [(KEPT + 1).to_string(), (KEPT + 2).to_string()]);
        assert_eq!(transcript.last(usize::MAX).len(), KEPT);
    }
}
