//! `cat`: the content of one file in a layer.

use super::Command;
use super::failure::{Exit, Outcome, Stop};
use super::layer_choice::LayerChoice;
use super::session::{Needs, Session};
use crate::ops::files::Pick;
use crate::progress::Progress;
use clap::Parser;

/// Print a file from a layer
///
/// On a terminal control characters are spelled out; into a file or pipe it goes byte for byte.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  cachedeck cat .buildx-cache '#3' etc/os-release
  cachedeck cat .buildx-cache 4f7a1c app/package-lock.json | jq .name")]
pub(super) struct Cat {
    #[command(flatten)]
    layer: LayerChoice,

    /// Which file, as `files` lists it
    #[arg(value_name = "PATH")]
    path: String,
}

impl Command for Cat {
    const NAME: &'static str = "cat";
    const NEEDS: Needs = Needs { format: false, config: true };

    fn run(self, session: &mut Session) -> Outcome {
        let layer = self.layer.load(session)?;
        let progress = Progress::new();
        let (sink, closed) = session.out.sink();
        let files = layer.files();
        let pick = Pick::path(self.path.as_str());
        let work = files.cat(&pick, sink, &progress);
        match session.jobs.run_quietly(&progress, work) {
            Ok(_) => Ok(Exit::Done),
            Err(_) if closed.is_closed() => Err(Stop::Closed),
            Err(error) => Err(layer.failed(error)),
        }
    }
}
