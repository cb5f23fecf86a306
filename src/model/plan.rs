//! What is going to be changed at a place, step by step, each with its reason. Nothing is changed but by a plan: it is made
//! first, shown, may be kept in a file, and is applied once, to the place it was made for, as that was then.

use crate::model::digest::Digest;
use crate::model::location::Location;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What the JSON of a plan says it is.
pub const SCHEMA: &str = "cachedeck.plan/1";

/// Names a plan and, once it is applied, what it did: `20261121-134500-3f9a2c`. Sorts by time. A plan is applied at most once,
/// as its run is known by this.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

impl RunId {
    /// The id of a plan made `now`; `salt` tells apart those of one second.
    pub fn new(now: Timestamp, salt: u32) -> Self {
        Self(format!("{}-{:06x}", now.strftime("%Y%m%d-%H%M%S"), salt & 0xff_ffff))
    }

    /// The text: digits, `-` and small letters only, so it may be a name of a file or object.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for RunId {
    type Error = crate::error::Error;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let is_one = text.len() == 22
            && text.bytes().enumerate().all(|(at, byte)| match at {
                8 | 15 => byte == b'-',
                0..15 => byte.is_ascii_digit(),
                _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            });
        let wrong = || crate::error::Error::invalid("not the id of a run; `cachedeck log` lists those there are");
        is_one.then_some(Self(text)).ok_or_else(wrong)
    }
}

impl std::str::FromStr for RunId {
    type Err = crate::error::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::try_from(text.to_owned())
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.0
    }
}

/// What a plan is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Bring a cache to size.
    Prune,
    /// Take one version away, with its names.
    Delete,
    /// Take a name away.
    Untag,
    /// Give a version a name that keeps it.
    Pin,
    /// Take such a name away.
    Unpin,
    /// Mend what is broken.
    Repair,
    /// Bring versions here from another place.
    Copy,
}

impl Purpose {
    /// The JSON name, which is the command's.
    pub fn name(self) -> &'static str {
        match self {
            Purpose::Prune => "prune",
            Purpose::Delete => "delete",
            Purpose::Untag => "untag",
            Purpose::Pin => "pin",
            Purpose::Unpin => "unpin",
            Purpose::Repair => "repair",
            Purpose::Copy => "copy",
        }
    }
}

/// What a place can promise about changes: how long what is young is left alone, how long what is hidden can come back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promise {
    /// What is younger stays: a build may be about to use it.
    #[serde(rename = "grace_seconds", with = "seconds")]
    pub grace: SignedDuration,
    /// How long what is hidden stays hidden before it is freed: longer than any export takes. Zero where nothing can be hidden,
    /// or where the user says that no build is writing.
    #[serde(rename = "settle_seconds", with = "seconds")]
    pub settle: SignedDuration,
    /// Whether what is done can be undone.
    pub undo: Undo,
    /// Whether freed bytes are freed exactly, or at most so many.
    pub exact: bool,
    /// What cannot be promised, and why, a sentence each.
    pub caveats: Vec<String>,
}

impl Promise {
    /// With the user's word that no build is writing.
    pub fn exclusive(mut self) -> Self {
        self.grace = SignedDuration::ZERO;
        self.settle = SignedDuration::ZERO;
        self
    }
}

/// Whether a change can be undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "possible", content = "why")]
pub enum Undo {
    /// Until what was hidden is freed.
    UntilFreed,
    /// As long as somebody else does not collect; the sentence says who.
    UntilCollected(String),
    /// Never; the sentence says why.
    Never(String),
}

/// Durations are whole seconds in JSON.
mod seconds {
    use jiff::SignedDuration;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(duration: &SignedDuration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i64(duration.as_secs())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SignedDuration, D::Error> {
        Ok(SignedDuration::from_secs(i64::deserialize(from)?.max(0)))
    }
}

/// One version, or one lot of blobs, and what becomes of it: what people read to judge a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Whether it goes.
    pub fate: Fate,
    /// What it is.
    pub subject: Subject,
    /// Names of a version, or what a lot of blobs is called. Untrusted text.
    pub names: Vec<String>,
    /// The version.
    pub digest: Option<Digest>,
    /// Why.
    pub reason: String,
    /// How many blobs, records or entries.
    pub count: u64,
    /// Their bytes; of a version, what all of it takes.
    #[serde(rename = "size_bytes")]
    pub bytes: u64,
    /// Bytes that go because of this row alone. What several rows share counts in a row of its own.
    #[serde(rename = "frees_bytes")]
    pub frees: u64,
    /// How old it is, by the time that the policy went by.
    #[serde(rename = "dated_at")]
    pub time: Option<Timestamp>,
    /// The group it was judged in. Untrusted text.
    pub group: Option<String>,
}

/// What becomes of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// It stays.
    Keep,
    /// It goes.
    Remove,
    /// It is written, or written anew.
    Write,
}

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// A version of a cache.
    Version,
    /// A name.
    Name,
    /// Blobs that nothing reaches.
    Orphans,
    /// Blobs that only versions reach which go.
    Shared,
    /// Unfinished uploads.
    Leftovers,
    /// Entries of a GitHub repository's cache.
    Entry,
    /// A builder's record.
    Record,
}

/// One change. Steps are applied in this order: documents are written, names are led, names are taken away, blobs are hidden,
/// what can't be hidden is given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "do")]
pub enum Step {
    /// Writes a blob that is small enough to be in the plan: a manifest or a config.
    Write {
        /// Its digest.
        digest: Digest,
        /// Its bytes. Documents are JSON, hence text.
        text: String,
    },
    /// Fetches a blob from another location, whose location line is kept beside the plan.
    Fetch {
        /// Which.
        digest: Digest,
        /// Bytes it should have.
        #[serde(rename = "size_bytes")]
        bytes: u64,
    },
    /// Lets a name lead to a document. Where names lead to bare configs this writes the object.
    Lead {
        /// The name. Untrusted text.
        name: String,
        /// To this document.
        digest: Digest,
        /// The version the name has now; `None` where it is new.
        was: Option<String>,
        /// What the name leads to now, for the way back.
        before: Option<Digest>,
        /// Blobs that must be there for it.
        needs: Vec<Digest>,
    },
    /// Takes a name away.
    Unname {
        /// The name. Untrusted text.
        name: String,
        /// The version it must still have.
        version: String,
        /// What it leads to.
        digest: Option<Digest>,
    },
    /// Hides a blob, and frees it once it has settled.
    Hide(Target),
    /// Gives up something that can't be hidden: a leftover, an entry, a record.
    Discard {
        /// What the place knows it by: a folder of `ingest/`, an upload's id, an entry's number, a record's id.
        id: String,
        /// What people know it by. Untrusted text.
        name: String,
        /// Bytes it takes.
        #[serde(rename = "size_bytes")]
        bytes: u64,
    },
}

/// A blob to hide, as it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Target {
    /// Which blob.
    pub digest: Digest,
    /// Bytes it takes.
    #[serde(rename = "size_bytes")]
    pub bytes: u64,
    /// When it was written here.
    #[serde(rename = "modified_at")]
    pub modified: Option<Timestamp>,
}

/// What is to be changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// [`SCHEMA`].
    pub schema: String,
    /// Its id, and that of the run it becomes.
    pub id: RunId,
    /// What for.
    pub purpose: Purpose,
    /// When it was made.
    #[serde(rename = "made_at")]
    pub made: Timestamp,
    /// The place, as people write it, without secrets.
    pub location: String,
    /// The place, as told from all others: a plan is never applied to another.
    pub identity: String,
    /// What the plan saw of the place; if that has changed it is refused.
    pub fingerprint: Digest,
    /// What decided, a phrase each: `keep the last 3 of each tag`.
    pub policy: Vec<String>,
    /// What the place promises, with the user's own grace and settling time.
    pub promise: Promise,
    /// What becomes of everything, for people.
    pub rows: Vec<Row>,
    /// What is done, in the order it is done.
    pub steps: Vec<Step>,
    /// Bytes that the place takes now.
    #[serde(rename = "before_bytes")]
    pub before: u64,
    /// Bytes that go, exactly or at most.
    #[serde(rename = "frees_bytes")]
    pub frees: u64,
    /// Why it is not applied as it is, and what helps, a sentence each: guards that spoke up. Empty for a plan that can be.
    pub refused: Vec<String>,
    /// What deserves to be known beforehand, a sentence each.
    pub warnings: Vec<String>,
}

impl Plan {
    /// A plan for that place, in which nothing is done yet. `identity` and `fingerprint` are as in its fields.
    pub fn new(
        id: RunId,
        purpose: Purpose,
        made: Timestamp,
        location: &Location,
        (identity, fingerprint): (String, Digest),
        promise: Promise,
    ) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            id,
            purpose,
            made,
            location: location.to_string(),
            identity,
            fingerprint,
            policy: Vec::new(),
            promise,
            rows: Vec::new(),
            steps: Vec::new(),
            before: 0,
            frees: 0,
            refused: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Blobs it hides.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.steps.iter().filter_map(|step| match step {
            Step::Hide(target) => Some(target),
            _ => None,
        })
    }

    /// The same, but for the blobs it hides.
    pub fn without_targets(&self) -> Self {
        let steps = self.steps.iter().filter(|step| !matches!(step, Step::Hide(_))).cloned().collect();
        // Not cloned whole: what is left out may be millions of steps.
        Self {
            schema: self.schema.clone(),
            id: self.id.clone(),
            purpose: self.purpose,
            made: self.made,
            location: self.location.clone(),
            identity: self.identity.clone(),
            fingerprint: self.fingerprint,
            policy: self.policy.clone(),
            promise: self.promise.clone(),
            rows: self.rows.clone(),
            steps,
            before: self.before,
            frees: self.frees,
            refused: self.refused.clone(),
            warnings: self.warnings.clone(),
        }
    }

    /// Rows that go.
    pub fn removed(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.fate == Fate::Remove)
    }

    /// Bytes that the place takes once all is freed.
    pub fn after(&self) -> u64 {
        self.before.saturating_sub(self.frees)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_fit_for_a_name_and_sorts_by_time() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let first = RunId::new(at("2026-11-21T13:45:00Z"), 0x3f9a2c);
        assert_eq!(first.as_str(), "20261121-134500-3f9a2c");
        assert!(first < RunId::new(at("2026-11-21T13:45:01Z"), 0));
        assert_eq!("20261121-134500-3f9a2c".parse::<RunId>().unwrap(), first);
        for wrong in ["", "../../etc", "20261121-134500-3F9A2C", "20261121-134500-3f9a2c/", "2026-1121134500-3f9a2c"] {
            assert!(wrong.parse::<RunId>().is_err(), "{wrong}");
        }
    }
}
