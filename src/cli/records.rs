//! `records`: the cache keys of one version, with inputs and results.

use super::Command;
use super::choice::{Choice, Chosen};
use super::failure::{Exit, Outcome};
use super::list::ListArgs;
use super::output::{Cell, Column, Item};
use super::session::Session;
use crate::model::cache::Outcome as Made;
use crate::model::digest::Digest;
use crate::model::filter::{Field, Row};
use crate::model::rows::RecordRow;
use crate::ops::names::{StepName, StepNames};
use clap::Parser;
use jiff::Timestamp;
use serde::{Serialize, Serializer};

/// List the records of a version
///
/// A record is the key of a build step, with what it was made from and what it made.
#[derive(Parser)]
#[command(after_help = "\
Inputs are numbers of records: one for each input of the step, alternatives between bars.
Results are numbers of layers.

Fields to filter and sort by:
  step digest size inputs results number

Examples:
  cachedeck records .buildx-cache --filter 'results>0'
  cachedeck records --json .buildx-cache | jq '.items[].inputs'")]
pub(super) struct Records {
    #[command(flatten)]
    choice: Choice,

    #[command(flatten)]
    list: ListArgs,
}

impl Command for Records {
    const NAME: &'static str = "records";

    fn run(self, session: &mut Session) -> Outcome {
        let mut selection = self.list.selection::<RecordItem<'_>>(&mut session.out)?;
        session.ask_names(&[])?;
        let chosen = self.choice.load(session)?;
        let names = session.step_names()?;
        let mut section = chosen.section(all(&chosen, &names)?);
        section.select(&mut selection, session.out.look.now);
        session.out.list("record-list", &[section], false)?;
        Ok(Exit::Done)
    }
}

struct RecordItem<'a> {
    row: RecordRow<'a>,
    name: Option<StepName>,
}

fn all<'a>(chosen: &'a Chosen, names: &StepNames) -> Outcome<Vec<RecordItem<'a>>> {
    let cache = chosen.cache()?;
    let records = cache.records.iter().enumerate().map(|(number, record)| {
        let tops = record.results.iter().filter_map(Made::top);
        let name = tops.filter_map(|layer| names.of(&cache.layers[layer])).next();
        RecordItem { row: RecordRow { number, record, cache, step: None }, name }
    });
    Ok(records.collect())
}

impl RecordItem<'_> {
    fn inputs(&self) -> String {
        let alternatives = |links: &Vec<crate::model::cache::Link>| {
            let numbers: Vec<_> = links.iter().map(|link| link.record.to_string()).collect();
            numbers.join("|")
        };
        self.row.record.inputs.iter().map(alternatives).collect::<Vec<_>>().join(", ")
    }

    fn results(&self) -> String {
        let made = self.row.record.results.iter().map(|made| match made {
            Made::Layer { layer, .. } => layer.to_string(),
            Made::Chain { layers, .. } => layers.iter().map(usize::to_string).collect::<Vec<_>>().join("+"),
        });
        made.collect::<Vec<_>>().join(", ")
    }
}

impl Serialize for RecordItem<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Input<'a> {
            record: usize,
            selector: Option<&'a str>,
        }
        #[derive(Serialize)]
        struct Result<'a> {
            layer: Option<usize>,
            chain: Option<&'a [usize]>,
            created_at: Option<Timestamp>,
        }
        #[derive(Serialize)]
        struct Fields<'a> {
            number: usize,
            digest: Digest,
            inputs: Vec<Vec<Input<'a>>>,
            results: Vec<Result<'a>>,
            result_bytes: u64,
            step: Option<&'a str>,
            step_source: Option<&'static str>,
        }
        let record = self.row.record;
        let inputs = record.inputs.iter().map(|links| {
            links.iter().map(|link| Input { record: link.record, selector: link.selector.as_deref() }).collect()
        });
        let results = record.results.iter().map(|made| match made {
            Made::Layer { layer, created } => Result { layer: Some(*layer), chain: None, created_at: *created },
            Made::Chain { layers, created } => Result { layer: None, chain: Some(layers), created_at: *created },
        });
        Fields {
            number: self.row.number,
            digest: record.digest,
            inputs: inputs.collect(),
            results: results.collect(),
            result_bytes: self.row.bytes(),
            step: self.name.as_ref().map(|n| &*n.step),
            step_source: self.name.as_ref().map(|n| n.source.name()),
        }
        .serialize(serializer)
    }
}

impl Item for RecordItem<'_> {
    const TYPE: &'static str = "record";

    fn fields() -> &'static [Field] {
        RecordRow::fields()
    }

    fn row(&self) -> impl Row {
        RecordRow { step: self.name.as_ref().map(|n| &*n.step), ..self.row }
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::numbers("#", |r: &Self| Cell::count(r.row.number as u64)).field("number"),
            Column::words("DIGEST", |r: &Self| Cell::digest(r.row.record.digest)),
            Column::words("INPUTS", |r: &Self| Cell::text(r.inputs())).cut_end(),
            Column::words("RESULTS", |r: &Self| Cell::text(r.results())).cut_end(),
            Column::numbers("SIZE", |r: &Self| {
                let made = !r.row.record.results.is_empty();
                Cell::size(made.then(|| r.row.bytes()))
            })
            .field("result_bytes"),
            Column::words("STEP", |r: &Self| Cell::known(r.name.as_ref().map(|n| &*n.step))).cut_end().if_known(),
        ]
    }
}
