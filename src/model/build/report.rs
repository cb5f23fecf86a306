//! What came of a build: its steps, the caches that it imported, and what it exported.

use super::watch::{Kind, State, Watch, Watched};
use super::{Assembled, Facts};
use crate::model::digest::Digest;
use crate::model::graph::Summary;
use crate::model::inventory::CacheIndex;
use crate::model::location::Location;
use jiff::Timestamp;
use std::time::Duration;

/// How a build ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Well.
    Done,
    /// It failed.
    Failed,
    /// The user stopped it.
    Stopped,
}

impl Ending {
    /// A word.
    pub fn name(self) -> &'static str {
        match self {
            Ending::Done => "done",
            Ending::Failed => "failed",
            Ending::Stopped => "stopped",
        }
    }
}

/// Where the result of a cached step was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In the builder itself.
    Builder,
    /// In a cache that was imported.
    Imported,
    /// One of both: builders do not tell.
    Unknown,
}

impl Origin {
    /// A word.
    pub fn name(self) -> &'static str {
        match self {
            Origin::Builder => "builder",
            Origin::Imported => "imported",
            Origin::Unknown => "unknown",
        }
    }
}

/// A step of the build.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What it does. Untrusted.
    pub name: String,
    /// How it ended.
    pub state: State,
    /// Where its result was, of a step that was cached.
    pub origin: Option<Origin>,
    /// The cache it came from, where only one can be meant.
    pub source: Option<Location>,
    /// When it began.
    pub started: Option<Timestamp>,
    /// How long it took.
    pub took: Option<Duration>,
}

/// What became of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Imported {
    /// The builder read it.
    Read,
    /// The builder could not read it, and went on without. Untrusted.
    Failed(String),
    /// The builder was never asked for it: the program left it out, or the build ended before.
    LeftOut,
    /// One of several that can't be told apart, of which not all went well.
    Unknown,
}

impl Imported {
    /// A word.
    pub fn name(&self) -> &'static str {
        match self {
            Imported::Read => "read",
            Imported::Failed(_) => "failed",
            Imported::LeftOut => "left-out",
            Imported::Unknown => "unknown",
        }
    }
}

/// A cache that was to be imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Where.
    pub location: Location,
    /// What became of it.
    pub state: Imported,
    /// How long reading its manifest took.
    pub took: Option<Duration>,
}

/// A cache that was to be exported to.
#[derive(Clone, Debug, PartialEq)]
pub struct Export {
    /// Where.
    pub location: Location,
    /// The manifest that was written, where the builder told it.
    pub manifest: Option<Digest>,
    /// What is there now.
    pub index: Option<Written>,
    /// Why that is not known. Untrusted.
    pub unknown: Option<String>,
    /// How long it took, where only one export can be meant.
    pub took: Option<Duration>,
}

/// A version that an export wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its digest.
    pub digest: Option<Digest>,
    /// Names that lead to it.
    pub tags: Vec<String>,
    /// Entries of its layer table.
    pub layers: Option<usize>,
    /// Bytes of all its layers.
    pub bytes: Option<u64>,
    /// Bytes that no other version there needs.
    pub exclusive_bytes: u64,
    /// Blobs that it needs and that are not there.
    pub missing: usize,
}

impl Written {
    /// What is told of a version.
    pub fn of(index: &CacheIndex) -> Self {
        let sum = |of: fn(&Summary) -> u64| index.summary.as_ref().map(of);
        Self {
            digest: index.known_digest(),
            tags: index.tags.clone(),
            layers: index.summary.as_ref().map(|summary| summary.layers),
            bytes: sum(|summary| summary.max_bytes),
            exclusive_bytes: index.exclusive_bytes,
            missing: index.missing.len(),
        }
    }
}

/// Why a build failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// The step that failed, if one did. Untrusted.
    pub step: Option<String>,
    /// What is said of it. Untrusted.
    pub error: String,
    /// The last that the step, or else the program, said. Untrusted.
    pub log: Vec<String>,
}

/// What came of a build.
#[derive(Clone, Debug)]
pub struct Report {
    /// Who built.
    pub facts: Facts,
    /// How it ended.
    pub ending: Ending,
    /// From when to when it went, by the builder's clock.
    pub span: Option<(Timestamp, Timestamp)>,
    /// Its steps, each after those it is made from.
    pub steps: Vec<Step>,
    /// Caches it imported.
    pub imports: Vec<Import>,
    /// Where it exported to.
    pub exports: Vec<Export>,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
    /// What was not as one may have thought.
    pub warnings: Vec<String>,
}

impl Report {
    /// What is known when the program has ended. `was_empty` says whether the builder held nothing before, where that is known;
    /// `said` are the last lines of the program that were no messages.
    pub fn new(
        watch: &Watch,
        assembled: &Assembled,
        facts: Facts,
        ending: Ending,
        was_empty: Option<bool>,
        said: &[String],
    ) -> Self {
        let imports = imports(watch, &assembled.imports);
        let steps = steps(watch, &imports, was_empty);
        let mut warnings = assembled.warnings.clone();
        if watch.cut {
            warnings.push("the build has more steps than are told here".to_owned());
        }
        Self {
            facts,
            ending,
            span: watch.span(),
            steps,
            imports,
            exports: exports(watch, &assembled.exports),
            failure: (ending == Ending::Failed).then(|| failure(watch, said)),
            warnings,
        }
    }

    /// How many steps are in this state.
    pub fn count(&self, state: State) -> usize {
        self.steps.iter().filter(|step| step.state == state).count()
    }

    /// How many steps were cached, and there.
    pub fn cached_from(&self, origin: Origin) -> usize {
        self.steps.iter().filter(|step| step.origin == Some(origin)).count()
    }

    /// How long it took.
    pub fn took(&self) -> Option<Duration> {
        let (started, completed) = self.span?;
        completed.duration_since(started).try_into().ok()
    }
}

/// What became of each import.
///
/// A builder calls an import by its reference, and those that have none by their type and a hash of their keys
/// (`llbsolver/bridge.go`: `cmKey`).
fn imports(watch: &Watch, locations: &[Location]) -> Vec<Import> {
    let told: Vec<&Watched> = watch.all().iter().filter(|watched| watched.kind == Kind::Import).collect();
    let registry = |location: &Location| matches!(location.kind(), "registry" | "inline");
    let import = |location: &Location| {
        let of_kind = |other: &&Location| other.kind() == location.kind();
        let fits = |watched: &&&Watched| {
            let id = watched.import().unwrap_or_default();
            match registry(location) {
                true => location.value("ref") == Some(id),
                false => id.split_once(':').is_some_and(|(kind, _)| kind == location.kind()),
            }
        };
        let found: Vec<&&Watched> = told.iter().filter(fits).collect();
        let expected = if registry(location) { 1 } else { locations.iter().filter(of_kind).count() };
        let failed = |watched: &&&Watched| watched.error.is_some();
        let state = match found[..] {
            [] => Imported::LeftOut,
            _ if found.len() < expected => Imported::Unknown,
            [only] if expected == 1 => only.error.clone().map_or(Imported::Read, Imported::Failed),
            _ if !found.iter().any(failed) => Imported::Read,
            _ => Imported::Unknown,
        };
        let took = if let [only] = found[..] { only.took() } else { None };
        Import { location: location.clone(), state, took }
    };
    locations.iter().map(import).collect()
}

/// What became of each export, as far as the builder tells one from another: it names no more than their type.
fn exports(watch: &Watch, locations: &[Location]) -> Vec<Export> {
    let export = |location: &Location| {
        let of_kind = |watched: &&Watched| watched.exports_to() == Some(location.kind());
        let told: Vec<&Watched> = watch.all().iter().filter(of_kind).collect();
        let alone = locations.iter().filter(|other| other.kind() == location.kind()).count() == 1;
        let only = if let ([only], true) = (&told[..], alone) { Some(*only) } else { None };
        let failed = told.iter().find_map(|watched| watched.error.as_ref());
        let unknown = match (only, failed) {
            (_, None) => None,
            (Some(_), Some(error)) => Some(format!("the export failed: {error}")),
            (None, Some(error)) => Some(format!("one of the exports of type {} failed: {error}", location.kind())),
        };
        Export {
            location: location.clone(),
            manifest: only.and_then(|watched| watched.manifest),
            index: None,
            unknown,
            took: only.and_then(Watched::took),
        }
    };
    locations.iter().map(export).collect()
}

fn steps(watch: &Watch, imports: &[Import], was_empty: Option<bool>) -> Vec<Step> {
    let read: Vec<&Import> = imports.iter().filter(|import| import.state == Imported::Read).collect();
    let none_read = imports.iter().all(|import| matches!(import.state, Imported::Failed(_) | Imported::LeftOut));
    // Which one it was is only certain where no other can have been it.
    let only = match read[..] {
        [only] if !imports.iter().any(|import| import.state == Imported::Unknown) => Some(&only.location),
        _ => None,
    };
    let step = |watched: &Watched| {
        let state = watched.state();
        let origin = (state == State::Cached).then_some(match was_empty {
            _ if none_read => Origin::Builder,
            Some(true) => Origin::Imported,
            // Blobs that are fetched for it tell nothing: results of the builder's own may be fetched late, too.
            _ => Origin::Unknown,
        });
        Step {
            name: watched.name.clone(),
            state,
            origin,
            source: only.filter(|_| origin == Some(Origin::Imported)).cloned(),
            started: watched.started(),
            took: watched.took(),
        }
    };
    watch.steps().into_iter().map(step).collect()
}

fn failure(watch: &Watch, said: &[String]) -> Failure {
    let failed = watch.all().iter().filter(|watched| watched.state() == State::Failed);
    // An import that fails does not fail a build.
    let failed: Vec<&Watched> = failed.filter(|watched| watched.kind != Kind::Import).collect();
    let step = failed.iter().find(|watched| watched.kind == Kind::Step).or(failed.first());
    let last = said.iter().rev().map(|line| line.trim()).find(|line| !line.is_empty());
    let last = last.map(|line| ["ERROR: ", "error: "].iter().find_map(|word| line.strip_prefix(word)).unwrap_or(line));
    match step {
        Some(step) => {
            Failure { step: Some(step.name.clone()), error: step.error.clone().unwrap_or_default(), log: step.log() }
        }
        None => Failure {
            step: None,
            error: last.unwrap_or("the program does not say why").to_owned(),
            log: said.iter().rev().take(10).rev().cloned().collect(),
        },
    }
}
