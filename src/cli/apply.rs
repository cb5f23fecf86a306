//! `apply`: does what a plan in a file says, once, to the place it was made for.

use super::Command;
use super::change::{self, ApplyArgs, Place};
use super::failure::{Exit, Outcome};
use super::raw::NO_FILE;
use super::session::Session;
use crate::error::{Error, Result};
use crate::model::location::mask_url;
use crate::model::plan::Plan;
use crate::model::text;
use clap::Parser;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// No plan is longer: a million blobs take a quarter of it.
const LONGEST: u64 = 1 << 30;

/// Do what a plan in a file says
///
/// A plan is for one place as that was when the plan was made. If names lead elsewhere by now, or the plan was applied before,
/// it is refused (exit code 8). Credentials are in no plan: they come from the configuration or the environment, as ever.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  cachedeck prune .buildx-cache --keep-last 3 --plan-out plan.json
  cachedeck apply plan.json
  cachedeck apply plan.json @ci --yes      where the place is spelt otherwise here")]
pub(super) struct Apply {
    /// The plan; - reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// The place it is for, if that is spelt otherwise here
    #[arg(value_name = "LOCATION")]
    location: Option<String>,

    /// Where to fetch blobs from, for a plan that mends by them
    #[arg(long, value_name = "LOCATION")]
    from: Option<String>,

    /// Ask nothing; needed where there is no terminal
    #[arg(long, short = 'y', alias = "force", short_alias = 'f')]
    yes: bool,

    /// Only show it
    #[arg(long, short = 'n')]
    dry_run: bool,

    /// Nothing more is needed to do it
    #[arg(long, hide = true)]
    apply: bool,
}

impl Command for Apply {
    const NAME: &'static str = "apply";

    fn run(self, session: &mut Session) -> Outcome {
        let how = ApplyArgs::always(self.yes, self.dry_run);
        let plan = read(&self.file)?;
        let location = match &self.location {
            Some(given) => session.location(Some(given))?,
            None => change::place_of(session, &plan.location)?,
        };
        change::prepare(session, std::slice::from_ref(&location), &how)?;
        let place = Place::open(session, &location)?;
        let from = match &self.from {
            Some(given) => {
                let from = session.location(Some(given))?;
                Some(Place::open(session, &from)?.store)
            }
            None => None,
        };
        let again = format!("cachedeck apply {}", text::shell_quote(&self.file.to_string_lossy()));
        let done = change::carry_out(session, &place, &plan, &how, &again, from.as_ref())?;
        Ok(if plan.is_empty() { Exit::Done } else { done })
    }
}

fn read(path: &Path) -> Result<Plan> {
    let given = path.to_string_lossy();
    // A location in a file's place may hold secrets, which an error about the file would repeat.
    if given.contains('=') && !path.exists() {
        let error = Error::invalid("there is no such file, and the first that is needed is the file of a plan");
        return Err(error.with_hint("cachedeck apply FILE LOCATION; `cachedeck prune --plan-out FILE` writes one"));
    }
    let shown = mask_url(&given);
    let what = || format!("reading the plan {shown}");
    let input: Box<dyn Read> = match path.as_os_str() == NO_FILE {
        true => Box::new(io::stdin()),
        false => Box::new(File::open(path).map_err(|e| Error::io(what(), e))?),
    };
    let mut bytes = Vec::new();
    input.take(LONGEST + 1).read_to_end(&mut bytes).map_err(|e| Error::io(what(), e))?;
    let wrong = || Error::invalid(format!("{shown} is no plan"));
    if bytes.len() as u64 > LONGEST {
        return Err(wrong().with_hint("it is too long"));
    }
    serde_json::from_slice(&bytes)
        .map_err(|e| wrong().with_source(e).with_hint("`cachedeck prune --plan-out FILE` writes one"))
}
