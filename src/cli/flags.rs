//! `flags`: the `--cache-from` line that uses exactly one version.

use super::Command;
use super::choice::{Choice, Chosen};
use super::failure::{Exit, Outcome, Stop};
use super::output::{Format, Tone};
use super::session::Session;
use crate::error::Result;
use crate::model::cache::Mode;
use crate::model::text;
use clap::Parser;
use serde_json::json;

/// Print the --cache-from line for a version
///
/// The version is named by its digest, so that a later export can't slip in between. The line is quoted for a shell;
/// --json has the bare value. Secrets are left out: buildx takes them from the environment.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  cachedeck flags .buildx-cache --digest 21450e49
  eval \"docker buildx build $(cachedeck flags .buildx-cache --tag main) .\"
  cachedeck flags .buildx-cache --to      the line that exports there again")]
pub(super) struct Flags {
    #[command(flatten)]
    choice: Choice,

    /// Print the --cache-to line that exports under the same tag instead
    #[arg(long)]
    to: bool,
}

impl Command for Flags {
    const NAME: &'static str = "flags";

    fn run(self, session: &mut Session) -> Outcome {
        let chosen = self.choice.load(session)?;
        let at = |error| Stop::at(chosen.location(), error);
        let index = chosen.index();
        let from = chosen.location().cache_from(index.known_digest(), index.name()).map_err(at)?;
        let to = cache_to(&chosen);
        if !index.is_sound() {
            let words = "blobs of this version are missing or damaged: a build that needs them fails";
            session.words.say("warning", Tone::Warn, words);
        }
        match session.out.format {
            Format::Json | Format::Jsonl => session.out.json(&json!({
                "schema": "cachedeck.flags/1",
                "digest": index.known_digest(),
                "tags": index.tags,
                "sound": index.is_sound(),
                "cache_from": from,
                "cache_to": to.ok(),
            }))?,
            _ => {
                let (flag, value) = if self.to { ("--cache-to", to.map_err(at)?) } else { ("--cache-from", from) };
                session.out.line(&format!("{flag} {}", text::shell_quote(&value)))?;
                session.out.flush()?;
            }
        }
        Ok(Exit::Done)
    }
}

/// The value that exports to the same place, tag and mode.
fn cache_to(chosen: &Chosen) -> Result<String> {
    let mut location = chosen.location().clone();
    if let (None, Some(summary)) = (location.value("mode"), &chosen.index().summary)
        && summary.mode == Mode::Max
    {
        location = location.with("mode", "max");
    }
    location.cache_to(chosen.index().name())
}
