//! Step names for layers. An exported cache carries none; they come from an image's history, or from a builder's usage
//! records, whose creation times equal those of the layers to the nanosecond. Those come in a file, from builders that are
//! asked, or from what such a builder told before.

mod ask;

pub use ask::ask;

use crate::error::Result;
use crate::format::usage;
use crate::model::cache::Layer;
use crate::model::usage::{LearntStep, UsageRecord};
use jiff::Timestamp;
use std::collections::HashMap;
use std::sync::Arc;

/// Where a name was taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The history of the image the cache is inline in.
    History,
    /// A builder's usage record, in a file that the user gave.
    Usage,
    /// A builder that was asked now.
    Builder,
    /// A builder that told it before.
    Remembered,
}

impl Source {
    /// A word for a narrow column, of at most seven letters, that also ends the phrase `named by`.
    pub fn word(self) -> &'static str {
        match self {
            Source::Remembered => "memory",
            other => other.name(),
        }
    }

    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Source::History => "history",
            Source::Usage => "usage",
            Source::Builder => "builder",
            Source::Remembered => "remembered",
        }
    }
}

/// The Dockerfile step that made a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepName {
    /// The step. Untrusted text.
    pub step: Arc<str>,
    /// Who says so.
    pub source: Source,
}

/// Names learnt from builders, by creation time.
#[derive(Clone, Debug, Default)]
pub struct StepNames {
    by_time: HashMap<Timestamp, StepName>,
}

/// How BuildKit describes the root file system of a `RUN` step, and the shell that runs it.
const EXEC: &str = "mount / from exec ";
const SHELL: &str = "/bin/sh -c ";
/// How it describes a layer of an image, and the registry that names of images leave out.
const PULLED: &str = "pulled from ";
const HUB: [&str; 2] = ["docker.io/library/", "docker.io/"];

impl StepNames {
    /// Takes names from usage records. Where several were made at the same instant, none is sure, so none is taken.
    pub fn from_usage(records: &[UsageRecord]) -> Self {
        Self::of_records(records, Source::Usage)
    }

    /// As [`StepNames::from_usage`], from records that a builder told when it was asked.
    pub fn from_builder(records: &[UsageRecord]) -> Self {
        Self::of_records(records, Source::Builder)
    }

    fn of_records(records: &[UsageRecord], source: Source) -> Self {
        let mut by_time: HashMap<Timestamp, Option<Arc<str>>> = HashMap::new();
        for record in records.iter().filter(|r| r.kind == "regular" || r.kind.is_empty()) {
            let Some(created) = record.created.filter(|_| !record.description.is_empty()) else { continue };
            let step = step_of(&record.description);
            by_time.entry(created).and_modify(|n| *n = n.take().filter(|n| *n == step)).or_insert(Some(step));
        }
        let sure = |(time, step): (_, Option<_>)| Some((time, StepName { step: step?, source }));
        Self { by_time: by_time.into_iter().filter_map(sure).collect() }
    }

    /// Takes names from usage records as JSON: an array, or an object a line.
    ///
    /// [`crate::error::Kind::Invalid`] if it is neither.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        Ok(Self::from_usage(&usage::read(bytes)?))
    }

    /// Takes names that builders told another time.
    pub fn from_learnt(steps: Vec<LearntStep>) -> Self {
        let name = |step| StepName { step, source: Source::Remembered };
        Self { by_time: steps.into_iter().map(|step| (step.created, name(step.step))).collect() }
    }

    /// The names as `builder` told them, to be kept for when it has forgotten them.
    pub fn to_learn(&self, builder: &str, now: Timestamp) -> Vec<LearntStep> {
        let builder: Arc<str> = builder.into();
        let step = |(created, name): (&Timestamp, &StepName)| LearntStep {
            created: *created,
            step: name.step.clone(),
            builder: builder.clone(),
            learnt: now,
        };
        self.by_time.iter().map(step).collect()
    }

    /// Adds the names of another builder. What is known already stays.
    pub fn extend(&mut self, other: Self) {
        for (time, name) in other.by_time {
            self.by_time.entry(time).or_insert(name);
        }
    }

    /// The step that made `layer`, if anything tells.
    pub fn of(&self, layer: &Layer) -> Option<StepName> {
        if let Some(step) = &layer.history {
            return Some(StepName { step: step.clone(), source: Source::History });
        }
        self.by_time.get(&layer.created?).cloned()
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.by_time.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_time.is_empty()
    }
}

/// A step as its Dockerfile has it, from how BuildKit describes what it made.
fn step_of(description: &str) -> Arc<str> {
    if let Some(command) = description.strip_prefix(EXEC) {
        return format!("RUN {}", command.strip_prefix(SHELL).unwrap_or(command)).into();
    }
    match description.strip_prefix(PULLED) {
        Some(image) => {
            let short = HUB.iter().find_map(|hub| image.strip_prefix(hub)).unwrap_or(image);
            format!("FROM {short}").into()
        }
        None => description.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_read_as_in_the_dockerfile() {
        for (description, step) in [
            ("mount / from exec /bin/sh -c npm ci", "RUN npm ci"),
            ("mount / from exec /usr/bin/make", "RUN /usr/bin/make"),
            ("pulled from docker.io/library/node:22", "FROM node:22"),
            ("pulled from docker.io/grafana/k6:1.0", "FROM grafana/k6:1.0"),
            ("pulled from ghcr.io/acme/base:3", "FROM ghcr.io/acme/base:3"),
            ("[web 2/3] COPY . .", "[web 2/3] COPY . ."),
        ] {
            assert_eq!(&*step_of(description), step);
        }
    }

    fn record(description: &str, kind: &str, created: &str) -> UsageRecord {
        UsageRecord {
            id: "x".to_owned(),
            parents: Vec::new(),
            kind: kind.to_owned(),
            description: description.to_owned(),
            bytes: 0,
            created: created.parse().ok(),
            last_used: None,
            uses: 0,
            in_use: false,
            mutable: false,
            shared: false,
        }
    }

    fn layer(created: &str, history: Option<&str>) -> Layer {
        Layer {
            blob: crate::model::digest::Digest::of(b""),
            parent: None,
            size: None,
            compression: crate::model::cache::Compression::Gzip,
            media_type: "".into(),
            diff_id: None,
            created: created.parse().ok(),
            platform: None,
            history: history.map(Into::into),
        }
    }

    fn named(names: &StepNames, created: &str) -> Option<String> {
        names.of(&layer(created, None)).map(|n| n.step.to_string())
    }

    #[test]
    fn times_match_to_the_nanosecond() {
        let names = StepNames::from_usage(&[record("COPY a b", "regular", "2026-01-01T00:00:00.000000001Z")]);
        assert_eq!(named(&names, "2026-01-01T00:00:00.000000001Z").as_deref(), Some("COPY a b"));
        assert_eq!(named(&names, "2026-01-01T01:00:00.000000001+01:00").as_deref(), Some("COPY a b"));
        assert_eq!(named(&names, "2026-01-01T00:00:00.000000002Z"), None);
        assert_eq!(named(&names, "no time"), None);
    }

    #[test]
    fn an_image_names_its_own_layers() {
        let time = "2026-01-01T00:00:00Z";
        let names = StepNames::from_usage(&[record("from the builder", "regular", time)]);
        let of = |history| names.of(&layer(time, history)).unwrap();
        assert_eq!((&*of(Some("RUN x")).step, of(Some("RUN x")).source), ("RUN x", Source::History));
        assert_eq!(of(None).source, Source::Usage);
    }

    #[test]
    fn what_is_not_sure_is_no_name() {
        let (one, two, three) = ("2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z", "2026-01-01T00:00:03Z");
        let names = StepNames::from_usage(&[
            record("a", "regular", one),
            record("b", "regular", one),
            record("a", "regular", one),
            record("same", "regular", two),
            record("same", "regular", two),
            record("a mount", "exec.cachemount", three),
            record("", "regular", three),
            record("never made", "regular", "0001"),
        ]);
        assert_eq!(
            (named(&names, one), named(&names, two).as_deref(), named(&names, three)),
            (None, Some("same"), None)
        );
        assert_eq!(names.len(), 1);
    }

    #[test]
    fn of_several_builders_the_first_is_believed() {
        let (one, two) = ("2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z");
        let mut names = StepNames::from_usage(&[record("first", "regular", one)]);
        names.extend(StepNames::from_usage(&[record("other", "regular", one), record("more", "", two)]));
        assert_eq!((named(&names, one).as_deref(), named(&names, two).as_deref()), (Some("first"), Some("more")));
    }
}
