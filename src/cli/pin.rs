//! `pin`: keeps a version on purpose, by a name that every tool honours.

use super::Command;
use super::change::{self, Place};
use super::choice::Choice;
use super::failure::{Exit, Outcome, Stop};
use super::output::Tone;
use super::session::Session;
use crate::model::pin::Pin;
use crate::model::text;
use crate::model::units;
use crate::ops::pin;
use clap::Parser;
use jiff::Timestamp;
use serde_json::json;

/// Keep a version on purpose, by an extra name that every tool honours
///
/// Exports, resets and pruning leave alone what a name leads to.
/// Any version can be pinned that is whole, with a name or without. It is looked at before and after; a pin that would keep
/// nothing that works is not made. The note with reason and time is kept at the place where that can hold notes, else on this machine.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  cachedeck pin .buildx-cache --digest 21450e49 --name release-1.42 --until 90d --reason 'shipped'
  cachedeck pin .buildx-cache --tag main
  cachedeck pins .buildx-cache")]
pub(super) struct PinCommand {
    #[command(flatten)]
    choice: Choice,

    /// What the pin is called; pin- and the digest where nothing is said
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Until when: 90d, 2w, 2027-01-31; for ever where nothing is said
    #[arg(long, value_name = "TIME")]
    until: Option<String>,

    /// What for
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,

    /// Only show it
    #[arg(long, short = 'n')]
    dry_run: bool,
}

impl Command for PinCommand {
    const NAME: &'static str = "pin";

    fn run(self, session: &mut Session) -> Outcome {
        let now = session.out.look.now;
        let until = self.until.map(|until| units::parse_until(&until, now)).transpose()?;
        let chosen = self.choice.load(session)?;
        let place = Place::loaded(&chosen.loaded);
        let index = chosen.index();
        let name = self.name.clone().unwrap_or_else(|| pin::usual_name(index));
        let pin = Pin { name, digest: index.digest, made: now, until, reason: self.reason.clone() };
        let pins = place.pins(session)?;
        let sight = change::sight(session, &chosen.loaded, &pins);
        let plan = place.run(session, "planning", async { pin::plan(&place.store, &sight, index, &pin).await })?;
        if self.dry_run {
            change::show(session, &plan)?;
            return Ok(Exit::Done);
        }
        let kept = place.change(session, "pinning", async |site| pin::keep(site, &plan, &pin).await)?;
        if let Some(applied) = &kept.applied {
            change::told_of_earlier(session, &place, &applied.earlier);
        }
        let shown = text::safe(&pin.name).into_owned();
        if let Some(why) = kept.broken {
            session.words.say("failed", Tone::Bad, &format!("{shown} was not pinned: {why}; it was taken back"));
            return Ok(Exit::Partly);
        }
        let from = chosen.location().cache_from(index.known_digest(), Some(&pin.name));
        let from = from.map_err(|error| Stop::at(chosen.location(), error))?;
        if session.out.is_json() {
            let object = json!({
                "schema": "cachedeck.pin/1",
                "name": pin.name,
                "digest": pin.digest,
                "made_at": pin.made,
                "until_at": pin.until,
                "reason": pin.reason,
                "run": kept.applied.as_ref().map(|applied| applied.run.id.as_str()),
                "cache_from": from,
            });
            session.out.json(&object)?;
            return Ok(Exit::Done);
        }
        let until = pin.until.map_or_else(String::new, |until| format!(" for {}", span(now, until)));
        let words = match kept.applied {
            Some(_) => format!("{} is pinned as {shown}{until}", index.short()),
            None => format!("{} was pinned as {shown} before; it is{until} now", index.short()),
        };
        session.words.note(&words);
        session.out.line(&format!("--cache-from {}", text::shell_quote(&from)))?;
        session.out.flush()?;
        Ok(Exit::Done)
    }
}

fn span(now: Timestamp, until: Timestamp) -> String {
    units::short_duration(until.duration_since(now).unsigned_abs())
}
