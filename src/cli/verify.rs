//! `verify`: whether what caches need is there and is what it should be.

use super::Command;
use super::failure::{Exit, Outcome, Stop};
use super::list::ListArgs;
use super::output::{Cell, Column, Item, Section, Tone};
use super::session::Session;
use crate::error::{Error, Result};
use crate::model::filter::{Field, Row, Value};
use crate::model::finding::{Finding, Problem, Severity};
use crate::model::text;
use crate::model::units::Bytes;
use crate::ops::verify::{Level, Report, verify};
use crate::progress::Progress;
use clap::Parser;
use serde::Serialize;
use std::borrow::Cow;

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
  unlisted_layer too_large; --fail-on also takes
  missing (blob_missing), corrupt (wrong_size wrong_digest malformed), warning, note, any and none

Examples:
  cachedeck verify .buildx-cache
  cachedeck verify --level digest --fail-on missing,corrupt .buildx-cache")]
pub(super) struct Verify {
    /// Where to look
    #[arg(value_name = "LOCATION")]
    locations: Vec<String>,

    /// How closely: exists, size or digest
    #[arg(long, short = 'l', value_name = "LEVEL", default_value = "size", value_parser = level)]
    level: Level,

    /// Which findings fail, instead of all errors
    #[arg(long, value_name = "FINDINGS", value_delimiter = ',', value_parser = failing)]
    fail_on: Vec<FailOn>,

    #[command(flatten)]
    list: ListArgs,
}

fn level(given: &str) -> Result<Level> {
    let all = [Level::Exists, Level::Size, Level::Digest];
    all.into_iter()
        .find(|level| level.name() == given)
        .ok_or_else(|| Error::invalid("levels are exists, size and digest"))
}

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FailOn {
    None,
    Severity(Severity),
    Corrupt,
    Problem(Problem),
}

const PROBLEMS: [Problem; 11] = [
    Problem::BlobMissing,
    Problem::WrongSize,
    Problem::WrongDigest,
    Problem::Unreadable,
    Problem::Malformed,
    Problem::Stray,
    Problem::Leftover,
    Problem::UnknownOption,
    Problem::Changed,
    Problem::UnlistedLayer,
    Problem::TooLarge,
];

fn failing(given: &str) -> Result<FailOn> {
    Ok(match given {
        "none" => FailOn::None,
        "any" | "note" => FailOn::Severity(Severity::Note),
        "warning" => FailOn::Severity(Severity::Warning),
        "error" => FailOn::Severity(Severity::Error),
        "missing" => FailOn::Problem(Problem::BlobMissing),
        "corrupt" => FailOn::Corrupt,
        code => match PROBLEMS.into_iter().find(|problem| problem.code() == code) {
            Some(problem) => FailOn::Problem(problem),
            None => {
                let known = ["missing", "corrupt", "any", "none", "warning", "error", "note"];
                let all = known.into_iter().chain(PROBLEMS.iter().map(|p| p.code()));
                let meant = text::nearest(code, all).map(|m| format!(", did you mean {m}?")).unwrap_or_default();
                return Err(Error::invalid(format!("no such finding{meant}")));
            }
        },
    })
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
        let locations = session.locations(&self.locations)?;
        let many = session.load_all(&locations)?;
        let mut reports = Vec::new();
        for loaded in &many.loaded {
            let progress = Progress::new();
            let work = verify(&loaded.store, &loaded.inventory, self.level, &progress);
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
            reports.iter().for_each(|report| self.sum_up(session, report));
        }
        Ok(if damaged { Exit::Damage } else { many.exit })
    }
}

impl Verify {
    fn sum_up(&self, session: &Session, report: &Report) {
        let level = self.level.name();
        let read = match self.level {
            Level::Digest => format!(", {} hashed", Bytes(report.hashed_bytes).show(session.out.look.sizes)),
            Level::Exists | Level::Size => String::new(),
        };
        let found = match report.findings.len() {
            0 => "nothing wrong".to_owned(),
            1 => "1 finding".to_owned(),
            more => format!("{more} findings"),
        };
        session.words.note(&format!("{found}; {} blobs looked at, level {level}{read}", report.blobs));
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct FindingItem(Finding);

impl Row for FindingItem {
    fn fields() -> &'static [Field] {
        <&Finding as Row>::fields()
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        match name {
            "message" => Some(Value::Text(Cow::Borrowed(&self.0.message))),
            "severity" => Some(Value::Text(Cow::Borrowed(self.0.severity.name()))),
            "code" => Some(Value::Text(Cow::Borrowed(self.0.problem.code()))),
            "digest" => self.0.digest.map(|d| Value::Text(Cow::Owned(d.to_string()))),
            _ => None,
        }
    }

    fn text(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.0.message)
    }
}

impl Item for FindingItem {
    const TYPE: &'static str = "finding";

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::words("SEVERITY", |f: &Self| {
                Cell::text(f.0.severity.name()).tone(match f.0.severity {
                    Severity::Error => Tone::Bad,
                    Severity::Warning => Tone::Warn,
                    Severity::Note => Tone::Dim,
                })
            }),
            Column::words("FINDING", |f: &Self| Cell::text(f.0.problem.code())),
            Column::words("WHAT", |f: &Self| Cell::text(f.0.message.as_str())).cut_end(),
            Column::words("REMEDY", |f: &Self| Cell::known(f.0.remedy.as_deref())).wide(),
        ]
    }
}
