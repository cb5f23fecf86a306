//! `raw`: a version's manifest or config as it is stored.

use super::Command;
use super::choice::{Choice, Chosen};
use super::failure::{Exit, Outcome, Stop};
use super::session::{Needs, Session};
use crate::error::{Error, Kind};
use crate::model::cache::Form;
use crate::model::digest::Digest;
use crate::model::text;
use crate::ops::load;
use crate::progress::Progress;
use clap::Parser;
use std::path::{Path, PathBuf};

/// Print the manifest of a version, or its config
///
/// On a terminal it is laid out and made safe to look at; into a file or pipe it goes byte for byte.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  cachedeck raw .buildx-cache --tag main
  cachedeck raw .buildx-cache --config | jq '.records | length'")]
pub(super) struct Raw {
    #[command(flatten)]
    choice: Choice,

    /// Print the config instead of the manifest; --config=FILE still names a configuration file
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = NO_FILE)]
    config: Option<PathBuf>,
}

/// What `--config` stands for that names no file.
pub(super) const NO_FILE: &str = "-";

/// The longest document that is printed.
const LIMIT: u64 = 64 << 20;

impl Command for Raw {
    const NAME: &'static str = "raw";
    const NEEDS: Needs = Needs { format: false, config: true };

    fn run(self, session: &mut Session) -> Outcome {
        let chosen = self.choice.load(session)?;
        let config = self.config(&chosen)?;
        let (progress, store) = (Progress::new(), &chosen.loaded.store);
        let work = async {
            match config {
                Some(digest) => store.read(&digest, LIMIT).await,
                None => load::manifest(store, chosen.index(), LIMIT).await,
            }
        };
        let read = session.jobs.run("reading", &progress, work);
        let bytes = read.map_err(|error| Stop::at(chosen.location(), error))?;
        if !session.out.terminal {
            session.out.raw(&bytes)?;
            session.out.flush()?;
        } else if let Ok(value) = serde_json::from_slice::<serde_json::Value>(&bytes) {
            session.out.json(&value)?;
        } else {
            for line in bytes.split(|b| *b == b'\n') {
                session.out.line(&text::safe_bytes(line))?;
            }
            session.out.flush()?;
        }
        Ok(Exit::Done)
    }
}

impl Raw {
    /// The config to print; `None` for the manifest, which in some places is the config itself.
    fn config(&self, chosen: &Chosen) -> Outcome<Option<Digest>> {
        let index = chosen.index();
        if self.config.as_deref() != Some(Path::new(NO_FILE)) || index.form == Some(Form::Config) {
            return Ok(None);
        }
        index.config.map(Some).ok_or_else(|| {
            let error = Error::new(Kind::Unsupported, format!("{} has no config of its own", index.short()));
            let error = error.with_hint("an index of images has one for each platform: `cachedeck raw` shows which");
            Stop::at(chosen.location(), error)
        })
    }
}
