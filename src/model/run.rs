//! What became of a plan that was applied.

use crate::model::plan::{Plan, Purpose, RunId, Step};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the JSON of a run says it is.
pub const SCHEMA: &str = "cachedeck.run/1";

/// A plan that was applied, and how far that is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// [`SCHEMA`].
    pub schema: String,
    /// Its plan's id.
    pub id: RunId,
    /// What for.
    pub purpose: Purpose,
    /// The place, as people write it.
    pub location: String,
    /// When it was begun.
    #[serde(rename = "begun_at")]
    pub begun: Timestamp,
    /// How far it is.
    pub phase: Phase,
    /// Blobs it hid that are hidden still, as far as is known without looking.
    pub hidden: u64,
    /// Their bytes.
    #[serde(rename = "hidden_bytes")]
    pub hidden_bytes: u64,
    /// Blobs, entries and records that are gone for good.
    pub freed: u64,
    /// Their bytes.
    #[serde(rename = "freed_bytes")]
    pub freed_bytes: u64,
    /// Blobs that were brought back or left alone, as somebody needs them or wrote them again.
    pub restored: u64,
    /// Names that were led elsewhere, or taken away.
    pub names: u64,
    /// What did not work, a sentence each. May hold untrusted text.
    pub failures: Vec<String>,
    /// What names led to that were changed, by name, for the way back where the place itself keeps no copy.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub documents: BTreeMap<String, String>,
    /// How long what is hidden settles.
    pub settle_seconds: i64,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is", content = "at")]
pub enum Phase {
    /// It was begun; if nobody is at it, it broke off.
    Applying,
    /// All is done, and what was hidden settles since then.
    Hidden(Timestamp),
    /// All is done, and nothing is hidden any more.
    Done(Timestamp),
    /// It was undone.
    Undone(Timestamp),
}

impl Phase {
    /// The word for people and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Applying => "applying",
            Phase::Hidden(_) => "hidden",
            Phase::Done(_) => "done",
            Phase::Undone(_) => "undone",
        }
    }

    /// When it came to that.
    pub fn at(self) -> Option<Timestamp> {
        match self {
            Phase::Applying => None,
            Phase::Hidden(at) | Phase::Done(at) | Phase::Undone(at) => Some(at),
        }
    }
}

impl Run {
    /// The run that `plan` becomes `now`.
    pub fn begin(plan: &Plan, now: Timestamp) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            id: plan.id.clone(),
            purpose: plan.purpose,
            location: plan.location.clone(),
            begun: now,
            phase: Phase::Applying,
            hidden: 0,
            hidden_bytes: 0,
            freed: 0,
            freed_bytes: 0,
            restored: 0,
            names: 0,
            failures: Vec::new(),
            documents: BTreeMap::new(),
            settle_seconds: plan.promise.settle.as_secs(),
        }
    }

    /// Whether something of it may still be hidden.
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Applying | Phase::Hidden(_))
    }

    /// When what it hid may be freed; `None` where it broke off, or nothing is hidden.
    pub fn due(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Hidden(at) => at.checked_add(SignedDuration::from_secs(self.settle_seconds)).ok(),
            _ => None,
        }
    }
}

/// Whether a step can be taken back by name alone, once what was hidden is there again.
pub fn is_about_names(step: &Step) -> bool {
    matches!(step, Step::Lead { .. } | Step::Unname { .. })
}
