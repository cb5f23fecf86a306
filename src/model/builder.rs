//! A builder (buildkitd) as it describes itself: its nodes, and of each the workers with their rules of garbage collection,
//! the records of its cache, and the builds it remembers. Plain data, as of BuildKit's `api/services/control/control.proto`.
//! All texts are untrusted.

use crate::model::usage::UsageRecord;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a node answered to one question; else why that is not known: an old version has not all of the questions.
pub type Part<T> = Result<Vec<T>, String>;

/// A builder. buildx builds on several machines under one name, so it has at least one node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Builder {
    /// In the order that buildx has them.
    pub nodes: Vec<Node>,
}

/// One buildkitd.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What buildx calls it, or the address.
    pub name: String,
    /// How it is reached.
    pub address: String,
    /// The version of BuildKit.
    pub version: Option<String>,
    /// What does its work.
    pub workers: Part<Worker>,
    /// Its cache, sorted by id.
    pub records: Part<UsageRecord>,
    /// Builds it remembers, newest first.
    pub builds: Part<Build>,
}

/// A worker: what runs steps and holds their results.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Worker {
    /// Its id.
    pub id: String,
    /// What it says of itself.
    pub labels: BTreeMap<String, String>,
    /// `linux/amd64` and the like.
    pub platforms: Vec<String>,
    /// What it collects, rule by rule in this order. Empty if it never does.
    pub rules: Vec<Rule>,
}

/// One rule of garbage collection. Of the three sizes 0 stands for "not set".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Also takes what other rules leave alone: internal records, frontends, and what images share.
    pub all: bool,
    /// Leaves what was used within this time; zero leaves nothing for that.
    pub keep: Duration,
    /// Takes only records that one of these fits, in containerd's filter language; none fits all.
    pub filters: Vec<String>,
    /// Bytes of cache that it never goes below: a floor.
    pub reserved_bytes: u64,
    /// Bytes of cache that it lets be: the cap.
    pub max_used_bytes: u64,
    /// Bytes that shall stay free on the disk.
    pub min_free_bytes: u64,
}

/// A build that the builder remembers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Build {
    /// Its id.
    pub id: String,
    /// What read the build's definition: `dockerfile.v0`, `gateway.v0`.
    pub frontend: String,
    /// The stage that was built, if one was named.
    pub target: Option<String>,
    /// What it was built from and how: file name, platforms, source. Values of build arguments are left out: they may be
    /// secrets.
    pub attributes: BTreeMap<String, String>,
    /// When it began.
    pub created: Option<Timestamp>,
    /// When it ended; `None` while it runs.
    pub completed: Option<Timestamp>,
    /// Why it failed, if it did.
    pub error: Option<String>,
    /// Whether it is kept when others are forgotten.
    pub pinned: bool,
    /// Steps that came from the cache.
    pub cached_steps: u32,
    /// Steps that are done.
    pub completed_steps: u32,
    /// All steps.
    pub total_steps: u32,
    /// Warnings it gave.
    pub warnings: u32,
    /// What it was exported as: `image`, `local`, …
    pub exporters: Vec<String>,
    /// What exporters said: digests and names.
    pub response: BTreeMap<String, String>,
    /// What it produced.
    pub results: Vec<Produced>,
}

impl Build {
    /// How it is, in a word.
    pub fn state(&self) -> &'static str {
        match (self.completed, &self.error) {
            (None, _) => "running",
            (Some(_), Some(_)) => "failed",
            (Some(_), None) => "done",
        }
    }

    /// What came out of it, in a line: the names it was given, else the digests of what it left.
    pub fn produced(&self) -> String {
        match self.response.get("image.name").filter(|name| !name.is_empty()) {
            Some(name) => name.clone(),
            None if !self.results.is_empty() => {
                let digests: Vec<_> =
                    self.results.iter().map(|made| made.digest.get(..19).unwrap_or(&made.digest)).collect();
                digests.join(", ")
            }
            None => self.exporters.join(", "),
        }
    }

    /// How long it took.
    pub fn took(&self) -> Option<Duration> {
        self.completed?.duration_since(self.created?).try_into().ok()
    }
}

/// A document that a build left in the builder: a manifest or an attestation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Produced {
    /// The platform, where a build has several.
    pub platform: Option<String>,
    /// What sort of document.
    pub media_type: String,
    /// Its digest, as given.
    pub digest: String,
    /// Bytes.
    pub bytes: u64,
}

/// Sums over records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many.
    pub records: u64,
    /// Bytes of all.
    pub bytes: u64,
    /// Records that a build holds now.
    pub in_use: u64,
    /// Bytes of those.
    pub in_use_bytes: u64,
    /// Bytes of records that others share, such as images.
    pub shared_bytes: u64,
    /// Bytes of records that no build holds now: what `buildx du` calls reclaimable.
    pub reclaimable_bytes: u64,
}

impl Totals {
    /// Adds up.
    pub fn of<'a>(records: impl IntoIterator<Item = &'a UsageRecord>) -> Self {
        let mut totals = Self::default();
        for record in records {
            totals.records += 1;
            totals.bytes = totals.bytes.saturating_add(record.bytes);
            if record.in_use {
                totals.in_use += 1;
                totals.in_use_bytes = totals.in_use_bytes.saturating_add(record.bytes);
            } else {
                totals.reclaimable_bytes = totals.reclaimable_bytes.saturating_add(record.bytes);
            }
            if record.shared {
                totals.shared_bytes = totals.shared_bytes.saturating_add(record.bytes);
            }
        }
        totals
    }

    /// By type of record, the largest first.
    pub fn by_type<'a>(records: impl IntoIterator<Item = &'a UsageRecord>) -> Vec<(&'a str, Self)> {
        let mut types: BTreeMap<&str, Vec<&UsageRecord>> = BTreeMap::new();
        for record in records {
            types.entry(&record.kind).or_default().push(record);
        }
        let mut totals: Vec<_> = types.into_iter().map(|(kind, records)| (kind, Self::of(records))).collect();
        totals.sort_by_key(|(_, totals)| std::cmp::Reverse(totals.bytes));
        totals
    }
}

impl Builder {
    /// All records of all nodes, each with its node.
    pub fn records(&self) -> impl Iterator<Item = (&Node, &UsageRecord)> {
        self.nodes.iter().flat_map(|node| node.records.iter().flatten().map(move |record| (node, record)))
    }

    /// Sums over all records.
    pub fn totals(&self) -> Totals {
        Totals::of(self.records().map(|(_, record)| record))
    }

    /// What could not be had, a sentence each.
    pub fn gaps(&self) -> Vec<String> {
        let mut gaps = Vec::new();
        for node in &self.nodes {
            let parts = [
                ("the records", node.records.as_ref().err()),
                ("the workers", node.workers.as_ref().err()),
                ("the builds", node.builds.as_ref().err()),
            ];
            let missing: Vec<_> = parts.iter().filter_map(|(what, why)| Some((*what, (*why)?))).collect();
            match missing[..] {
                // A node that does not answer at all has one reason.
                [(_, one), (_, other), (_, third)] if one == other && other == third => {
                    gaps.push(format!("node {}: {one}", node.name));
                }
                _ => gaps.extend(missing.iter().map(|(what, why)| format!("node {}: {what}: {why}", node.name))),
            }
        }
        gaps
    }
}
