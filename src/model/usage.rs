//! A builder's usage records: what `buildx du` tells of its own cache. Their descriptions name layers of exported caches.

use jiff::Timestamp;
use std::sync::Arc;

/// One record of a builder's cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRecord {
    /// The builder's id for it.
    pub id: String,
    /// Ids of the records it builds on.
    pub parents: Vec<String>,
    /// `regular`, `source.local`, `exec.cachemount`, …
    pub kind: String,
    /// The Dockerfile step, or what else it holds. Untrusted text.
    pub description: String,
    /// Bytes, unpacked.
    pub bytes: u64,
    /// When it was made: to the nanosecond the `createdAt` of its exported layer.
    pub created: Option<Timestamp>,
    /// When a build last used it.
    pub last_used: Option<Timestamp>,
    /// How often builds used it.
    pub uses: u64,
    /// Whether a build holds it now.
    pub in_use: bool,
    /// Whether it can still change.
    pub mutable: bool,
    /// Whether others share its bytes.
    pub shared: bool,
}

/// A step that a builder told, kept for when the builder has forgotten it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LearntStep {
    /// When its layer was made: to the nanosecond the `createdAt` of the exported layer.
    pub created: Timestamp,
    /// The step as its Dockerfile has it. Untrusted text.
    pub step: Arc<str>,
    /// The builder that told it. Untrusted text.
    pub builder: Arc<str>,
    /// When it told it, to the second.
    pub learnt: Timestamp,
}
