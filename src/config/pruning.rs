//! `[locations.NAME.policy]`: how a place is pruned where the command line does not say it. The words are those of
//! `cachedeck prune`.

use crate::error::{Error, Result};
use crate::model::policy::{GroupBy, Policy};
use crate::model::units::{self, Limit};
use jiff::SignedDuration;
use serde::Deserialize;

/// How a place is pruned.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pruning {
    /// What stays.
    pub policy: Policy,
    /// What is younger stays; the place's own word where nothing is said.
    pub grace: Option<SignedDuration>,
    /// How long what is hidden settles; the place's own word where nothing is said.
    pub settle: Option<SignedDuration>,
    /// Blobs that may go at most.
    pub max_delete: Option<u64>,
    /// Bytes that may go at most.
    pub max_delete_size: Option<Limit>,
}

/// The table, before its values are read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Raw {
    keep_last: Option<u32>,
    keep_within: Option<String>,
    keep_hourly: Option<u32>,
    keep_daily: Option<u32>,
    keep_weekly: Option<u32>,
    keep_monthly: Option<u32>,
    keep_tag: Words,
    keep_digest: Words,
    keep_unused_for: Option<String>,
    keep_none: bool,
    max_size: Option<String>,
    group_by: Option<String>,
    grace: Option<String>,
    settle: Option<String>,
    max_delete: Option<u64>,
    max_delete_size: Option<String>,
}

/// A word or a list of words.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Words {
    One(String),
    Many(Vec<String>),
}

impl Default for Words {
    fn default() -> Self {
        Words::Many(Vec::new())
    }
}

impl Words {
    fn all(&self) -> &[String] {
        match self {
            Words::One(word) => std::slice::from_ref(word),
            Words::Many(words) => words,
        }
    }
}

/// A duration as the policy has it.
pub fn duration(given: &str) -> Result<SignedDuration> {
    SignedDuration::try_from(units::parse_duration(given)?)
        .map_err(|error| Error::invalid("a duration that is too long").with_source(error))
}

impl Raw {
    /// Reads the values. [`crate::error::Kind::Invalid`] names the key.
    pub(super) fn read(&self) -> Result<Pruning> {
        let policy = Policy {
            keep_last: self.keep_last,
            keep_within: value("keep_within", &self.keep_within, duration)?,
            keep_hourly: self.keep_hourly,
            keep_daily: self.keep_daily,
            keep_weekly: self.keep_weekly,
            keep_monthly: self.keep_monthly,
            keep_tags: self.keep_tag.all().to_vec(),
            keep_digests: self
                .keep_digest
                .all()
                .iter()
                .map(|word| word.parse().map_err(|error: Error| error.context("policy.keep_digest")))
                .collect::<Result<_>>()?,
            keep_unused_for: value("keep_unused_for", &self.keep_unused_for, duration)?,
            max_size: value("max_size", &self.max_size, str::parse)?,
            group_by: value("group_by", &self.group_by, str::parse::<GroupBy>)?,
            remove: Vec::new(),
            keep: Vec::new(),
            keep_none: self.keep_none,
        };
        Ok(Pruning {
            policy,
            grace: value("grace", &self.grace, duration)?,
            settle: value("settle", &self.settle, duration)?,
            max_delete: self.max_delete,
            max_delete_size: value("max_delete_size", &self.max_delete_size, str::parse)?,
        })
    }
}

fn value<T>(key: &str, given: &Option<String>, parse: impl Fn(&str) -> Result<T>) -> Result<Option<T>> {
    let parse = |given: &str| parse(given).map_err(|error| error.context(format_args!("policy.{key}")));
    given.as_deref().map(parse).transpose()
}
