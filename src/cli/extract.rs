//! `extract`: a file or folder out of a layer, onto the disk.

use super::Command;
use super::failure::{Exit, Outcome};
use super::files::lossy;
use super::layer_choice::LayerChoice;
use super::output::{Format, Tone};
use super::session::{Needs, Session};
use crate::model::digest::Digest;
use crate::model::text;
use crate::model::units::Bytes;
use crate::ops::files::Pick;
use crate::ops::files::extract::{Extracted, Target};
use crate::progress::Progress;
use clap::Parser;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Extract a file or folder from a layer
///
/// Nothing is written outside the folder: names that lead out of it, devices and the like are left out and told. Owners
/// and special permissions are not taken over.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  cachedeck extract .buildx-cache '#3' app -o out
  cachedeck extract .buildx-cache 4f7a1c / -o out      the whole layer")]
pub(super) struct Extract {
    #[command(flatten)]
    layer: LayerChoice,

    /// What to extract, as `files` lists it; / for all
    #[arg(value_name = "PATH")]
    path: String,

    /// Where to put it
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    out: PathBuf,

    /// Replace a file that is there already
    #[arg(long)]
    overwrite: bool,
}

impl Command for Extract {
    const NAME: &'static str = "extract";
    const NEEDS: Needs = Needs { format: true, config: true };

    fn run(self, session: &mut Session) -> Outcome {
        let layer = self.layer.load(session)?;
        let progress = Progress::new();
        progress.expect(0, layer.bytes);
        let target = Target { folder: self.out.clone(), overwrite: self.overwrite };
        let files = layer.files();
        let pick = Pick::path(self.path.as_str());
        let work = files.extract(&pick, &target, &progress);
        let done = session.jobs.run("extracting", &progress, work).map_err(|error| layer.failed(error))?;
        match session.out.format {
            Format::Json | Format::Jsonl => session.out.json(&object(&layer.digest, &done))?,
            _ => tell(session, &done)?,
        }
        Ok(match (done.ending.is_complete(), done.skipped_count) {
            (false, _) => Exit::Damage,
            (true, 0) => Exit::Done,
            (true, _) => Exit::Partly,
        })
    }
}

fn tell(session: &mut Session, done: &Extracted) -> Outcome<()> {
    session.out.line(&text::safe(&done.path.to_string_lossy()))?;
    session.out.flush()?;
    let size = Bytes(done.bytes).show(session.out.look.sizes);
    session.words.note(&format!("{} files, {} folders, {} links, {size}", done.files, done.directories, done.symlinks));
    for (name, why) in &done.skipped {
        session.words.say("left out", Tone::Warn, &format!("{}: {why}", lossy(name)));
    }
    let more = done.skipped_count.saturating_sub(done.skipped.len() as u64);
    if more > 0 {
        session.words.say("left out", Tone::Warn, &format!("{more} more"));
    }
    if !done.ending.is_complete() {
        session.words.say("warning", Tone::Warn, &done.ending.to_string());
    }
    Ok(())
}

fn object(layer: &Digest, done: &Extracted) -> Value {
    let skipped: Vec<Value> =
        done.skipped.iter().map(|(name, why)| json!({"path": lossy(name), "why": why.to_string()})).collect();
    json!({
        "schema": "cachedeck.extracted/1",
        "layer": layer,
        "path": done.path.to_string_lossy(),
        "files": done.files,
        "directories": done.directories,
        "symlinks": done.symlinks,
        "bytes": done.bytes,
        "skipped": skipped,
        "skipped_count": done.skipped_count,
        "complete": done.ending.is_complete(),
    })
}
