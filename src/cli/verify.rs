//! `verify`: whether what caches need is there and is what it should be.

use super::Command;
use super::failure::{Exit, Outcome, Stop};
use super::list::ListArgs;
use super::output::Value::Words;
use super::output::{Cell, Column, Item, Section, Tone};
use super::session::Session;
use super::usage;
use crate::error::Error;
use crate::model::filter::{Field, Row};
use crate::model::finding::{Finding, Problem, Severity};
use crate::model::units::{Bytes, SizeStyle, count};
use crate::ops::verify::{Level, Report, Sample, SampleSize, verify_some};
use crate::progress::Progress;
use clap::Parser;
use clap::builder::TypedValueParser;
use serde::Serialize;
use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, RandomState};

/// Check that what caches need is there and undamaged
///
/// Ends with exit code 6 if there is damage that can fail a build, or if anything named by --fail-on was found.
#[derive(Parser)]
#[command(after_help = "\
Levels, each with those before it:
  exists  every blob that a version needs is there
  size    and is as long as its manifest says
  digest  and every blob has the content that its name promises; reads everything

Findings:
  blob_missing wrong_size wrong_digest unreadable malformed stray leftover unknown_option changed
  unlisted_layer too_large deleted limited shared; --fail-on also takes
  missing (blob_missing), corrupt (wrong_size wrong_digest malformed), error, warning, note, any and none

Fields to filter and sort by:
  severity code digest message

Examples:
  cachedeck verify .buildx-cache
  cachedeck verify --level digest --fail-on missing,corrupt .buildx-cache
  cachedeck verify --level digest --sample 5% @ci")]
pub(super) struct Verify {
    /// Where to look
    #[arg(value_name = "LOCATION")]
    locations: Vec<String>,

    /// How closely: exists, size or digest
    #[arg(long, short = 'l', value_name = "LEVEL", default_value = "size", value_parser = levels(), hide_possible_values = true)]
    level: Level,

    /// At level digest read only so many blobs, chosen by chance: 5%, 200
    #[arg(long, value_name = "N|%", value_parser = usage::value::<SampleSize>)]
    sample: Option<SampleSize>,

    /// Which findings fail, instead of all errors
    #[arg(long, value_name = "FINDINGS", value_delimiter = ',', value_parser = failing(), hide_possible_values = true)]
    fail_on: Vec<FailOn>,

    #[command(flatten)]
    list: ListArgs,
}

/// Reads a level, for clap.
pub(super) fn levels() -> impl TypedValueParser<Value = Level> {
    usage::one_of([Level::Exists, Level::Size, Level::Digest].map(|level| (level.name(), level)))
}

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FailOn {
    None,
    Severity(Severity),
    Corrupt,
    Problem(Problem),
}

const GROUPS: [(&str, FailOn); 7] = [
    ("missing", FailOn::Problem(Problem::BlobMissing)),
    ("corrupt", FailOn::Corrupt),
    ("error", FailOn::Severity(Severity::Error)),
    ("warning", FailOn::Severity(Severity::Warning)),
    ("note", FailOn::Severity(Severity::Note)),
    ("any", FailOn::Severity(Severity::Note)),
    ("none", FailOn::None),
];

fn failing() -> impl TypedValueParser<Value = FailOn> {
    usage::one_of(GROUPS.into_iter().chain(Problem::ALL.map(|problem| (problem.code(), FailOn::Problem(problem)))))
}

impl FailOn {
    fn fails(self, finding: &Finding) -> bool {
        match self {
            FailOn::None => false,
            FailOn::Severity(least) => finding.severity >= least,
            FailOn::Problem(problem) => finding.problem == problem,
            FailOn::Corrupt => {
                matches!(finding.problem, Problem::WrongSize | Problem::WrongDigest | Problem::Malformed)
            }
        }
    }
}

impl Command for Verify {
    const NAME: &'static str = "verify";

    fn run(self, session: &mut Session) -> Outcome {
        let selection = self.list.selection::<FindingItem>(&mut session.out)?;
        let sample = self.sample.map(|size| Sample { size, seed: RandomState::new().hash_one(()) });
        if sample.is_some() && self.level != Level::Digest {
            return Err(Error::invalid("--sample is for level digest").with_hint("add --level digest").into());
        }
        let locations = session.locations(&self.locations)?;
        let many = session.load_all(&locations)?;
        let mut reports = Vec::new();
        for loaded in &many.loaded {
            let progress = Progress::new();
            let work = verify_some(&loaded.store, &loaded.inventory, self.level, sample, &progress);
            let report = session.jobs.run("verifying", &progress, work);
            reports.push(report.map_err(|error| Stop::at(&loaded.inventory.location, error))?);
        }
        let fail_on = if self.fail_on.is_empty() { &[FailOn::Severity(Severity::Error)] } else { &*self.fail_on };
        let damaged = reports.iter().flat_map(|r| &r.findings).any(|f| fail_on.iter().any(|fail| fail.fails(f)));
        let sections: Vec<_> = many
            .loaded
            .iter()
            .zip(&reports)
            .map(|(loaded, report)| {
                let items = report.findings.iter().cloned().map(FindingItem).collect();
                let complete = loaded.inventory.complete && many.exit == Exit::Done;
                Section { location: Some(&loaded.inventory.location), items, warnings: Vec::new(), complete }
            })
            .collect();
        session.show("finding-list", sections, selection, &many)?;
        if !session.out.is_json() {
            for (loaded, report) in many.loaded.iter().zip(&reports) {
                let place =
                    if many.several { format!("{}: ", loaded.inventory.location.title()) } else { String::new() };
                session.words.note(&format!("{place}{}", self.sum_up(report, session.out.look.sizes)));
            }
            let remedies: BTreeSet<&str> =
                reports.iter().flat_map(|r| &r.findings).filter_map(|f| f.remedy.as_deref()).collect();
            remedies.iter().for_each(|remedy| session.words.say("hint", Tone::Dim, remedy));
        }
        Ok(if damaged { Exit::Damage } else { many.exit })
    }
}

impl Verify {
    fn sum_up(&self, report: &Report, sizes: SizeStyle) -> String {
        let found = match report.findings.len() {
            0 => "nothing wrong".to_owned(),
            some => count(some, "finding"),
        };
        let blobs = count(report.blobs, "blob");
        match self.level {
            Level::Digest => {
                let of = if self.sample.is_some() { format!(" of {}", report.hashed) } else { String::new() };
                format!("{found}; {blobs} looked at and {}{of} hashed", Bytes(report.hashed_bytes).show(sizes))
            }
            Level::Size => format!("{found}; {blobs} looked at, their contents only with --level digest"),
            Level::Exists => format!("{found}; {blobs} looked at, their sizes and contents not"),
        }
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct FindingItem(Finding);

impl Item for FindingItem {
    const TYPE: &'static str = "finding";

    fn fields() -> &'static [Field] {
        Finding::fields()
    }

    fn row(&self) -> impl Row {
        &self.0
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::words("SEVERITY", |f: &Self| {
                Cell::text(f.0.severity.name()).tone(match f.0.severity {
                    Severity::Error => Tone::Bad,
                    Severity::Warning => Tone::Warn,
                    Severity::Note => Tone::Dim,
                })
            }),
            Column::words("FINDING", |f: &Self| Cell::text(f.0.problem.code())).drop(1).field("code"),
            Column::words("WHAT", |f: &Self| Cell::new(Words(f.0.message.clone()))).cut_end().field("message"),
            Column::words("REMEDY", |f: &Self| Cell::known(f.0.remedy.as_deref())).wide(),
        ]
    }
}
