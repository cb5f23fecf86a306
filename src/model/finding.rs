//! What looking at a cache brings up: each finding says what is wrong, with what, how bad it is and what helps.

use crate::model::digest::Digest;
use serde::Serialize;

/// How bad a finding is, worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; nothing breaks.
    Note,
    /// Something is off, or could not be looked at.
    Warning,
    /// A build that uses this cache can fail.
    Error,
}

impl Severity {
    /// `note`, `warning` or `error`.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

/// The sorts of findings. The names are part of the JSON; more may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Problem {
    /// A blob that something refers to is not there.
    BlobMissing,
    /// A blob's length differs from what its manifest says.
    WrongSize,
    /// A blob's content does not hash to its name.
    WrongDigest,
    /// A blob, manifest or config could not be read.
    Unreadable,
    /// A manifest or config is not what it should be.
    Malformed,
    /// Something in the blobs folder that is not a blob: a folder, link, device or odd name.
    Stray,
    /// An upload that never finished.
    Leftover,
    /// A location option that nobody knows, or that is given twice.
    UnknownOption,
    /// The location changed while it was being read.
    Changed,
    /// Layers whose size nothing tells, so that builds ignore what needs them.
    UnlistedLayer,
    /// A config that builds refuse to read from here because of its size.
    TooLarge,
    /// Something that was deleted, and that the place still keeps for a while.
    Deleted,
    /// More is there than is shown.
    Limited,
    /// Another cache may use the same blobs.
    Shared,
}

impl Problem {
    /// All of them.
    pub const ALL: [Problem; 14] = [
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
        Problem::Deleted,
        Problem::Limited,
        Problem::Shared,
    ];

    /// The JSON name.
    pub fn code(self) -> &'static str {
        match self {
            Problem::BlobMissing => "blob_missing",
            Problem::WrongSize => "wrong_size",
            Problem::WrongDigest => "wrong_digest",
            Problem::Unreadable => "unreadable",
            Problem::Malformed => "malformed",
            Problem::Stray => "stray",
            Problem::Leftover => "leftover",
            Problem::UnknownOption => "unknown_option",
            Problem::Changed => "changed",
            Problem::UnlistedLayer => "unlisted_layer",
            Problem::TooLarge => "too_large",
            Problem::Deleted => "deleted",
            Problem::Limited => "limited",
            Problem::Shared => "shared",
        }
    }
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What sort of thing.
    #[serde(rename = "code")]
    pub problem: Problem,
    /// The blob, manifest or config it is about, where there is one.
    pub digest: Option<Digest>,
    /// What was found, in a sentence without a full stop. May hold untrusted text.
    pub message: String,
    /// What helps.
    pub remedy: Option<String>,
}

/// Blobs that are there and not what they should be.
pub fn corrupt(findings: &[Finding]) -> impl Iterator<Item = Digest> {
    let is_corrupt = |finding: &&Finding| matches!(finding.problem, Problem::WrongSize | Problem::WrongDigest);
    findings.iter().filter(is_corrupt).filter_map(|finding| finding.digest)
}

impl Finding {
    /// A finding of `problem`, as bad as such things are.
    pub fn new(problem: Problem, digest: Option<Digest>, message: impl Into<String>) -> Self {
        use Problem as P;
        let severity = match problem {
            P::BlobMissing | P::WrongSize | P::WrongDigest | P::Malformed | P::TooLarge => Severity::Error,
            P::Unreadable | P::Changed | P::UnknownOption | P::UnlistedLayer | P::Shared => Severity::Warning,
            P::Stray | P::Leftover | P::Deleted | P::Limited => Severity::Note,
        };
        let remedy = match problem {
            P::BlobMissing => Some("export the cache again from a builder that still has it"),
            P::WrongSize | P::WrongDigest => Some("remove the blob and export the cache again"),
            P::Unreadable => Some("check the permissions, then look again"),
            P::Malformed => Some("export the cache again under the same tag"),
            P::Changed => Some("look again once the build that writes here is done"),
            P::TooLarge => Some("export with mode=min, or to s3 or azblob, which have no such limit"),
            P::Deleted => Some("undelete it where it is kept, then look again"),
            P::Shared => Some("look at each of the caches by itself; nothing here is called orphan meanwhile"),
            P::Stray | P::Leftover | P::UnknownOption | P::UnlistedLayer | P::Limited => None,
        };
        Self { severity, problem, digest, message: message.into(), remedy: remedy.map(Into::into) }
    }
}
