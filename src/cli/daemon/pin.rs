//! `daemon pin` and `daemon unpin`: builds that a builder's history keeps, also when it forgets others.

use super::super::change::Place;
use super::super::failure::{Exit, Outcome};
use super::super::session::Session;
use super::{Which, builder};
use crate::error::{Error, Kind};
use crate::model::location::Location;
use crate::model::text;
use clap::Parser;

#[derive(Parser)]
pub(in crate::cli) struct Pin {
    /// The build: its id or the beginning of it
    #[arg(value_name = "BUILD")]
    build: String,

    #[command(flatten)]
    which: Which,
}

impl Pin {
    /// Pins the build, or lets it go where `kept` is false.
    pub(super) fn run(self, session: &mut Session, kept: bool) -> Outcome {
        let many = self.which.load(session)?;
        let mut found: Vec<(Location, String)> = Vec::new();
        for loaded in &many.loaded {
            let nodes = builder(loaded)?.nodes.iter();
            let ids = nodes.flat_map(|node| node.builds.as_deref().unwrap_or_default()).map(|build| &build.id);
            let called = ids.filter(|id| id.starts_with(&self.build));
            found.extend(called.map(|id| (loaded.inventory.location.clone(), id.clone())));
        }
        // Several nodes may remember the same one.
        found.dedup();
        let shown = text::safe(&self.build);
        let (location, id) = match found.as_slice() {
            [one] => one.clone(),
            [] => {
                let error = Error::not_found(format!("no build {shown}"));
                return Err(error.with_hint("`cachedeck daemon history` lists those there are").into());
            }
            several => {
                let error = Error::new(Kind::Invalid, format!("{} builds begin with {shown}", several.len()));
                return Err(error.with_hint("give more of its id").into());
            }
        };
        let phase = if kept { "pinning a build" } else { "unpinning a build" };
        let place = Place::open(session, &location)?;
        place.change(session, phase, async |site| site.store.keep_build(&id, kept).await)?;
        let id = text::safe(&id);
        session.words.line(&match kept {
            true => format!("build {id} is pinned: the builder's history keeps it"),
            false => format!("build {id} is not pinned any more"),
        });
        Ok(Exit::Done)
    }
}
