//! `graph`: a version's layers or records as a picture.

use super::Command;
use super::choice::Choice;
use super::failure::{Exit, Outcome};
use super::session::{Needs, Session};
use super::usage;
use crate::model::units::Bytes;
use crate::ops::picture::{Format, Graph as Which, Options, Subject, draw};
use clap::Parser;
use clap::builder::PossibleValuesParser;

/// Draw the layers of a version, or its records
///
/// Layers form chains: each stands on its parent. Records are the steps of the build, from its results down to its
/// sources.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  cachedeck graph .buildx-cache --tag main
  cachedeck graph .buildx-cache --records --format svg > records.svg
  cachedeck graph .buildx-cache --format dot | dot -Tpng > layers.png")]
pub(super) struct Graph {
    #[command(flatten)]
    choice: Choice,

    /// Draw it as tree, dot, mermaid, svg or json
    #[arg(long, value_name = "FORMAT", default_value = "tree", hide_possible_values = true, hide_default_value = true,
          value_parser = PossibleValuesParser::new(Format::ALL.map(Format::name)))]
    format: String,

    /// Draw the records instead of the layers
    #[arg(long)]
    records: bool,

    /// Draw at most so many nodes; the largest stay
    #[arg(long, short = 'L', value_name = "N")]
    limit: Option<usize>,

    /// Draw runs of layers smaller than this as one
    #[arg(long, value_name = "SIZE", value_parser = usage::value::<Bytes>)]
    fold_below: Option<Bytes>,
}

impl Command for Graph {
    const NAME: &'static str = "graph";
    const NEEDS: Needs = Needs { format: false, config: true };

    fn run(self, session: &mut Session) -> Outcome {
        // The global option of this name is read as a word too, so this one can't be anything else. Clap lets only the
        // names of formats through.
        let named = Format::ALL.into_iter().find(|format| format.name() == self.format).unwrap_or(Format::Tree);
        let format = if session.globals.is_json() { Format::Json } else { named };
        session.ask_names(&[])?;
        let chosen = self.choice.load(session)?;
        let cache = chosen.cache()?;
        let names = session.step_names()?;
        let index = chosen.index();
        let steps: Vec<_> = cache.layers.iter().map(|layer| names.of(layer)).collect();
        let title = match index.name() {
            Some(tag) => format!("{} {tag}", chosen.location().title()),
            None => format!("{} {}", chosen.location().title(), index.short()),
        };
        let subject = Subject { title: &title, cache, steps: &steps, missing: &index.missing };
        let mut options = Options::of(format);
        options.limit = self.limit.unwrap_or(options.limit);
        options.fold_below = self.fold_below.map_or(options.fold_below, |bytes| bytes.0);
        options.width = session.out.width().unwrap_or(options.width);
        options.ascii = session.out.look.ascii;
        options.sizes = session.out.look.sizes;
        let which = if self.records { Which::Records } else { Which::Layers };
        let picture = draw(&subject, which, format, &options);
        session.out.raw(picture.as_bytes())?;
        session.out.flush()?;
        Ok(Exit::Done)
    }
}
