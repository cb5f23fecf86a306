//! `unpin`: takes a pin away.

use super::Command;
use super::change::{self, ApplyArgs, Place};
use super::failure::{Exit, Outcome, Stop};
use super::session::Session;
use crate::error::Error;
use crate::model::plan::Purpose;
use crate::model::text;
use crate::ops::pin;
use clap::Parser;

/// Take a pin away; the version stays
#[derive(Parser)]
#[command(after_help = "\
Examples:
  cachedeck unpin .buildx-cache release-1.42
  cachedeck pins .buildx-cache")]
pub(super) struct Unpin {
    /// Where
    #[arg(value_name = "LOCATION")]
    location: String,

    /// What the pin is called
    #[arg(value_name = "NAME")]
    name: String,

    /// Only show it
    #[arg(long, short = 'n')]
    dry_run: bool,
}

impl Command for Unpin {
    const NAME: &'static str = "unpin";

    fn run(self, session: &mut Session) -> Outcome {
        let how = ApplyArgs::always(true, self.dry_run);
        let location = session.location(Some(&self.location))?;
        change::prepare(session, std::slice::from_ref(&location), &how)?;
        let loaded = session.load(&location)?;
        let place = Place::loaded(&loaded);
        let pins = place.pins(session)?;
        let shown = text::safe(&self.name).into_owned();
        let Some(known) = pins.iter().find(|pin| pin.name == self.name) else {
            let error = Error::not_found(format!("no pin {shown} in {}", location.title()));
            let hint = "`cachedeck pins` lists pins; `cachedeck untag` takes any name away";
            return Err(Stop::at(&location, error.with_hint(hint)));
        };
        let holds =
            pin::found(&loaded.inventory, std::slice::from_ref(known)).iter().any(|found| found.index.is_some());
        if holds {
            let sight = change::sight(session, &loaded, &pins);
            let names = std::slice::from_ref(&self.name);
            let work = async { pin::unname(&place.store, &sight, names, Purpose::Unpin, true).await };
            let plan = place.run(session, "planning", work)?;
            let done = change::carry_out(session, &place, &plan, &how, "", None)?;
            if done != Exit::Done || !how.applies() {
                return Ok(done);
            }
        } else {
            session.words.note(&format!("{shown} led to another version by now, or to none: only its note goes"));
        }
        if how.applies() {
            place.change(session, "unpinning", async |site| site.journal.drop_pin(&self.name).await)?;
        }
        Ok(Exit::Done)
    }
}
