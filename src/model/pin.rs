//! A version that is kept on purpose: an extra name leads to it, which every tool honours, and a note says why and how long.

use crate::model::digest::Digest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A pin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The name that keeps it. Untrusted text.
    pub name: String,
    /// The version it was made for. If the name leads elsewhere by now, it is no pin any more.
    pub digest: Digest,
    /// When it was made.
    pub made: Timestamp,
    /// Until when; `None` is for ever. Afterwards pruning takes the name away.
    pub until: Option<Timestamp>,
    /// What for. Untrusted text.
    pub reason: Option<String>,
}

impl Pin {
    /// Whether its time is over.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until < now)
    }

    /// The key of its note: names may hold anything, keys may not.
    pub fn key(name: &str) -> String {
        format!("pins/{}.json", Digest::of(name.as_bytes()).hex())
    }
}
