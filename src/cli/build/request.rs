//! What is asked for, from the command line to the command that is run.

use super::super::change;
use super::super::failure::Outcome;
use super::super::output::Tone;
use super::super::places;
use super::super::session::Session;
use super::HowArgs;
use crate::error::{Error, Kind, Result};
use crate::model::build::{Assembled, Facts, Options, Wish, assemble};
use crate::model::location::Location;
use crate::model::text;
use crate::ops::build::{Found, Target};
use crate::progress::Progress;
use std::env;

/// A build, or the filling of a builder.
pub(in crate::cli) struct Request {
    /// Caches to import.
    pub(in crate::cli) from: Vec<Location>,
    /// Where to export to.
    pub(in crate::cli) to: Vec<Location>,
    /// How to export.
    pub(in crate::cli) options: Options,
    /// Whether nothing is put out.
    pub(in crate::cli) warm: bool,
}

/// The locations that were given with `flag`.
pub(in crate::cli) fn locations(session: &Session, flag: &str, given: &[String]) -> Result<Vec<Location>> {
    places::parse(&session.config, given).map_err(|error| {
        // An export makes its folder, so one that is not there yet is as likely to be meant.
        let new_folder =
            (flag == "--cache-to").then(|| given.iter().find(|g| !g.contains(['=', '/', ':', '@']))).flatten();
        let hint = match new_folder {
            Some(given) => {
                let given = text::safe(given);
                Some(format!("for a folder that is to be made write ./{given}, for an image {given}:latest"))
            }
            None => error.hint().map(str::to_owned),
        };
        // What is not there is a mistake in the command line: nothing was looked for yet.
        let error = Error::new(Kind::Invalid, format!("{flag}: {error}"));
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    })
}

impl Request {
    /// The command, checked against what the builder tells of itself. Nothing is built.
    pub(super) fn assemble(
        &self,
        session: &mut Session,
        how: &HowArgs,
        target: &Target,
    ) -> Outcome<(Found, Assembled)> {
        for location in &self.to {
            change::may_change(session, location, None)?;
        }
        let wish = Wish {
            client: target.client(),
            builder: how.builder.clone(),
            from: self.from.clone(),
            to: self.to.clone(),
            options: self.options.clone(),
            arguments: how.arguments.clone(),
            warm: self.warm,
        };
        let environment = |name: &str| env::var(name).ok();
        // What is wrong whoever builds is told without asking anybody.
        assemble(&wish, &Facts::default(), &environment)?;
        let found = session.jobs.run("asking the builder", &Progress::new(), target.find());
        let found = match found {
            Err(error) if how.dry_run && error.kind() != Kind::Cancelled => {
                let unchecked = format!("not checked against the builder: {error}");
                session.words.say("warning", Tone::Warn, &unchecked);
                Found { words: target.usual_words(), facts: Facts::default() }
            }
            found => found?,
        };
        let assembled = assemble(&wish, &found.facts, &environment)?;
        Ok((found, assembled))
    }
}
