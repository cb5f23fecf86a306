//! `demo`: an example cache that is built in, for a first look.

use super::Command;
use super::failure::Outcome;
use super::session::Session;
use crate::error::{Error, Result};
use crate::ops::names::StepNames;
use clap::Parser;
use flate2::read::GzDecoder;
use std::path::{Path, PathBuf};

const CACHE: &[u8] = include_bytes!("../../assets/demo.tar.gz");
const NAMES: &[u8] = include_bytes!("../../assets/demo-names.json");

/// The folder in the tar.
const FOLDER: &str = "shop-cache";

/// Look around in an example cache that is built in
///
/// It grew over twelve exports of a web shop, as caches do, and something is wrong with one version. It is unpacked into
/// a temporary folder and removed at the end.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  cachedeck demo
  cachedeck demo --keep example && cachedeck verify example/shop-cache")]
pub(super) struct Demo {
    /// Unpack it there and leave it
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

impl Command for Demo {
    const NAME: &'static str = "demo";

    fn run(self, session: &mut Session) -> Outcome {
        let temporary = tempfile::Builder::new().prefix("cachedeck-demo-").tempdir();
        let temporary = temporary.map_err(|e| Error::io("making a temporary folder", e))?;
        let folder = match &self.keep {
            Some(folder) => unpack(folder)?,
            None => unpack(temporary.path())?,
        };
        session.use_names(StepNames::read(NAMES)?);
        let locations = vec![folder.to_string_lossy().into_owned()];
        let outcome = super::look(locations, session);
        // Failing to clean up is worth a word, but what was done is done.
        if let Err(error) = temporary.close() {
            session.words.error(&Error::io("removing the example", error), None);
        }
        outcome
    }
}

/// Unpacks the example into `folder`; gives the cache's own folder.
fn unpack(folder: &Path) -> Result<PathBuf> {
    let cache = folder.join(FOLDER);
    let what = || format!("unpacking the example into {}", folder.display());
    if cache.exists() {
        return Err(Error::invalid(format!("{} is there already", cache.display())).with_hint("give another folder"));
    }
    std::fs::create_dir_all(folder).map_err(|e| Error::io(what(), e))?;
    tar::Archive::new(GzDecoder::new(CACHE)).unpack(folder).map_err(|e| Error::io(what(), e))?;
    Ok(cache)
}
