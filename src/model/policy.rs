//! What is to stay when a cache is brought to size. Rules are ORed: what any of them keeps stays; pins always do.

use crate::error::{Error, Result};
use crate::model::digest::DigestPrefix;
use crate::model::units::Limit;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// What to keep, and what was chosen by hand.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    /// The newest so many of each group.
    pub keep_last: Option<u32>,
    /// What is younger.
    pub keep_within: Option<SignedDuration>,
    /// The newest of each of the last so many hours, days, weeks and months that have one, in each group.
    pub keep_hourly: Option<u32>,
    /// See [`Policy::keep_hourly`].
    pub keep_daily: Option<u32>,
    /// See [`Policy::keep_hourly`].
    pub keep_weekly: Option<u32>,
    /// See [`Policy::keep_hourly`].
    pub keep_monthly: Option<u32>,
    /// Names, as globs.
    pub keep_tags: Vec<String>,
    /// Versions.
    pub keep_digests: Vec<DigestPrefix>,
    /// What was used more recently, where the place knows.
    pub keep_unused_for: Option<SignedDuration>,
    /// What no rule keeps goes only as far as this needs, oldest first. Without it all of that goes.
    /// A share is one of the quota, where the place has one, else of what it takes now.
    pub max_size: Option<Limit>,
    /// How versions are grouped; the place's own way where nothing is said.
    pub group_by: Option<GroupBy>,
    /// Names or digests that go whatever the rules say, save for pins: staged by hand.
    pub remove: Vec<String>,
    /// Names or digests that stay whatever the rules say: taken off a plan by hand.
    pub keep: Vec<String>,
    /// Keep nothing but pins. Without it a policy that keeps nothing is refused.
    pub keep_none: bool,
}

/// What makes versions a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupBy {
    /// Their tag or name, also a former one. Where a place has just one name, what has none was its.
    Name,
    /// The scope of a GitHub Actions cache.
    Scope,
    /// Its Git ref.
    Ref,
    /// Nothing: all are one group.
    None,
}

impl GroupBy {
    /// The word on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            GroupBy::Name => "name",
            GroupBy::Scope => "scope",
            GroupBy::Ref => "ref",
            GroupBy::None => "none",
        }
    }
}

impl std::str::FromStr for GroupBy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "name" | "tag" => GroupBy::Name,
            "scope" => GroupBy::Scope,
            "ref" => GroupBy::Ref,
            "none" => GroupBy::None,
            other => {
                let error = Error::invalid(format!("no grouping {}", crate::model::text::safe(other)));
                return Err(error.with_hint("groupings: name, tag, scope, ref, none"));
            }
        })
    }
}

impl Policy {
    /// Whether it has a rule that says which versions stay. Without one, what has a name stays, and what has none goes.
    pub fn has_rules(&self) -> bool {
        let counts = [self.keep_last, self.keep_hourly, self.keep_daily, self.keep_weekly, self.keep_monthly];
        counts.iter().any(Option::is_some)
            || self.keep_within.is_some()
            || self.keep_unused_for.is_some()
            || !self.keep_tags.is_empty()
            || !self.keep_digests.is_empty()
            || self.keep_none
    }
}
