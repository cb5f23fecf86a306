//! Which entries of the cache of a GitHub repository go: by scope, ref, key, age, and down to a size, least recently used first as
//! GitHub itself does it.
//!
//! Outside a workflow run nobody can tell which blobs a cache needs. So a scope is given up by its indexes alone, blobs go only
//! where a whole ref, a key or the order of GitHub's own eviction takes them, and signatures stay with their indexes.

use super::{Sight, empty};
use crate::error::{Error, Result};
use crate::model::actions::{Entry, EntryKind, IndexKey, short_ref};
use crate::model::plan::{Fate, Plan, Row, Step, Subject};
use crate::model::units::{Bytes, Limit, SizeStyle, short_duration};
use globset::{Glob, GlobMatcher};
use jiff::{SignedDuration, Timestamp};
use std::collections::{HashMap, HashSet};

/// What is wanted. What is given must all hold of an entry for it to go.
#[derive(Clone, Debug, Default)]
pub struct EntryWish {
    /// Indexes of these scopes.
    pub scopes: Vec<String>,
    /// Entries under these Git refs; branches by their name alone, too.
    pub refs: Vec<String>,
    /// Entries with keys like these.
    pub keys: Vec<String>,
    /// Entries that were not used for so long.
    pub unused_for: Option<SignedDuration>,
    /// Entries that were saved so long ago.
    pub older_than: Option<SignedDuration>,
    /// Saves of a scope that a later one replaces.
    pub superseded: bool,
    /// No more than is needed for all entries to take this; a share is one of the quota.
    pub max_size: Option<Limit>,
    /// What was saved or used more recently stays; the place's own word where nothing is said.
    pub grace: Option<SignedDuration>,
}

/// Plans to give entries up.
///
/// [`crate::error::Kind::Unsupported`] for what is no such cache; [`crate::error::Kind::Invalid`] for a wish that says nothing, or
/// a share of a quota that is not known; [`crate::error::Kind::Unavailable`] where not all entries could be listed.
pub async fn entries(sight: &Sight<'_>, wish: &EntryWish) -> Result<Plan> {
    let kind = sight.inventory.location.kind();
    let actions = sight.inventory.details.actions.as_deref();
    let actions = actions.ok_or_else(|| Error::unsupported(kind, "entries of a GitHub repository's cache"))?;
    let mut plan = empty(sight, words(wish), actions.entries.iter().map(|entry| entry.id.to_string())).await?;
    if !actions.listed {
        let what = "not all entries could be listed, so none is given up";
        return Err(Error::new(crate::error::Kind::Unavailable, what)
            .with_hint("try again when fewer runs save caches; listing needs ghtoken or GH_TOKEN"));
    }
    plan.promise.grace = wish.grace.unwrap_or(plan.promise.grace);
    plan.before = actions.total().bytes;
    let most = match wish.max_size {
        None => None,
        Some(Limit::Size(Bytes(bytes))) => Some(bytes),
        Some(Limit::Percent(share)) => {
            let unknown = || Error::invalid("the quota is not known, so a share of it is not either");
            let quota = actions.quota.ok_or_else(|| unknown().with_hint("give --max-size in bytes"))?;
            Some((quota as f64 * share / 100.0) as u64)
        }
    };
    let picks = Picks::new(wish, &actions.entries)?;
    let since = sight.now.checked_sub(plan.promise.grace).unwrap_or(Timestamp::MIN);
    let (mut goes, mut young) = (Vec::new(), 0_u64);
    let mut left = plan.before;
    // In the order that they are evicted in: least recently used first.
    for entry in &actions.entries {
        if most.is_some_and(|most| left <= most) {
            break;
        }
        let Some(why) = picks.why(entry, sight.now) else { continue };
        let latest = entry.created.max(entry.last_used);
        if latest.is_none_or(|latest| latest > since) {
            young += 1;
            continue;
        }
        left = left.saturating_sub(entry.bytes);
        goes.push((entry, why));
    }
    // Indexes first, so that nothing leads to what is gone.
    goes.sort_by_key(|(entry, _)| (!matches!(entry.kind, EntryKind::Index(_)), entry.touched(), entry.id));
    let blobs = goes.iter().any(|(entry, _)| matches!(entry.kind, EntryKind::Blob(_)));
    for (entry, reason) in goes {
        plan.rows.push(row(Fate::Remove, entry, reason));
        let (id, name) = (entry.id.to_string(), entry.key.clone());
        plan.steps.push(Step::Discard { id, name, bytes: entry.bytes });
        plan.frees = plan.frees.saturating_add(entry.bytes);
    }
    if young > 0 {
        let within = short_duration(plan.promise.grace.unsigned_abs());
        plan.warnings.push(format!("{young} stay that were saved or used within {within}: a run may count on them"));
    }
    if !wish.scopes.is_empty() || wish.superseded {
        plan.warnings.push("blobs stay: which of them other scopes and refs need can't be told".to_owned());
    }
    if blobs {
        let what = "which caches need the blobs can't be told: a build that does may miss its cache, as when GitHub evicts them";
        plan.warnings.push(what.to_owned());
    }
    if most.is_some_and(|most| left > most) {
        let what = format!("{} would still be left: nothing else may go", Bytes(left).show(SizeStyle::default()));
        plan.warnings.push(what);
    }
    Ok(plan)
}

/// What picks entries.
struct Picks<'a> {
    wish: &'a EntryWish,
    keys: Vec<GlobMatcher>,
    /// Numbers of indexes that a later save replaces.
    replaced: HashSet<u64>,
}

impl<'a> Picks<'a> {
    fn new(wish: &'a EntryWish, entries: &[Entry]) -> Result<Self> {
        let says_something = !wish.scopes.is_empty()
            || !wish.refs.is_empty()
            || !wish.keys.is_empty()
            || wish.unused_for.is_some()
            || wish.older_than.is_some()
            || wish.superseded
            || wish.max_size.is_some();
        if !says_something {
            return Err(Error::invalid("what is to go? nothing was said")
                .with_hint("--superseded, --scope, --ref, --key, --unused-for, --older-than or --max-size say it"));
        }
        let glob = |text: &String| {
            let bad = |e: globset::Error| Error::invalid(format!("bad pattern {text:?}")).with_source(e);
            Glob::new(text).map(|glob| glob.compile_matcher()).map_err(bad)
        };
        let keys = wish.keys.iter().map(glob).collect::<Result<Vec<_>>>()?;
        Ok(Self { wish, keys, replaced: replaced(entries) })
    }

    /// Why an entry may go; `None` if it stays.
    fn why(&self, entry: &Entry, now: Timestamp) -> Option<String> {
        let wish = self.wish;
        let mut why = Vec::new();
        if wish.superseded {
            if !self.replaced.contains(&entry.id) {
                return None;
            }
            why.push("a later save replaces it".to_owned());
        }
        if !wish.scopes.is_empty() {
            let scope = entry.scope().filter(|scope| wish.scopes.iter().any(|wanted| wanted == scope))?;
            why.push(format!("of scope {scope}"));
        }
        if !wish.refs.is_empty() {
            let is_it = |wanted: &String| *wanted == entry.git_ref || wanted == short_ref(&entry.git_ref);
            wish.refs.iter().find(|wanted| is_it(wanted))?;
            why.push(format!("of {}", short_ref(&entry.git_ref)));
        }
        if !self.keys.is_empty() {
            self.keys.iter().find(|glob| glob.is_match(&entry.key))?;
            why.push("its key fits".to_owned());
        }
        let longer = |since: Option<Timestamp>, least: SignedDuration| {
            since.filter(|since| now.duration_since(*since) > least).map(|_| short_duration(least.unsigned_abs()))
        };
        if let Some(least) = wish.unused_for {
            why.push(format!("not used for {}", longer(entry.touched(), least)?));
        }
        if let Some(least) = wish.older_than {
            why.push(format!("saved more than {} ago", longer(entry.created, least)?));
        }
        // A signature is good for an index that nobody here can name, and is as small as can be.
        if matches!(entry.kind, EntryKind::Signature(_)) && self.keys.is_empty() && wish.refs.is_empty() {
            return None;
        }
        if wish.max_size.is_some() {
            why.push("used least recently".to_owned());
        }
        Some(why.join(", "))
    }
}

/// Numbers of indexes of which there is a later save: of the same scope, under the same ref, signed alike.
fn replaced(entries: &[Entry]) -> HashSet<u64> {
    fn series<'a>(entry: &'a Entry, key: &'a IndexKey) -> (&'a str, &'a str, &'a str, bool) {
        (&entry.git_ref, &key.scope, &key.hash, key.signed)
    }
    let mut newest = HashMap::new();
    let indexes = || {
        entries.iter().filter_map(|entry| match &entry.kind {
            EntryKind::Index(key) => Some((entry, key)),
            _ => None,
        })
    };
    for (entry, key) in indexes() {
        let known = newest.entry(series(entry, key)).or_insert(key.n);
        *known = key.n.max(*known);
    }
    let is_old = |(entry, key): &(&Entry, &IndexKey)| newest.get(&series(entry, key)).is_some_and(|n| key.n < *n);
    indexes().filter(is_old).map(|(entry, _)| entry.id).collect()
}

fn row(fate: Fate, entry: &Entry, reason: String) -> Row {
    Row {
        fate,
        subject: Subject::Entry,
        names: vec![entry.what().into_owned()],
        digest: None,
        reason,
        count: 1,
        bytes: entry.bytes,
        frees: entry.bytes,
        time: entry.touched(),
        group: Some(short_ref(&entry.git_ref).to_owned()),
    }
}

/// What decided, for people.
fn words(wish: &EntryWish) -> Vec<String> {
    let mut words = Vec::new();
    let duration = |duration: SignedDuration| short_duration(duration.unsigned_abs());
    words.extend(wish.superseded.then(|| "saves that a later one replaces".to_owned()));
    words.extend((!wish.scopes.is_empty()).then(|| format!("indexes of scope {}", wish.scopes.join(" or "))));
    words.extend((!wish.refs.is_empty()).then(|| format!("under {}", wish.refs.join(" or "))));
    words.extend((!wish.keys.is_empty()).then(|| format!("with keys like {}", wish.keys.join(" or "))));
    words.extend(wish.unused_for.map(|least| format!("not used for {}", duration(least))));
    words.extend(wish.older_than.map(|least| format!("saved more than {} ago", duration(least))));
    words.extend(wish.max_size.map(|limit| match limit {
        Limit::Size(size) => format!("until {} are left", size.show(SizeStyle::default())),
        Limit::Percent(share) => format!("until {share}% of the quota are left"),
    }));
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::actions::VERSION;

    fn entry(id: u64, key: &str, git_ref: &str, used: i64) -> Entry {
        let time = Timestamp::from_second(used).ok();
        let kind = EntryKind::of(key, VERSION);
        Entry { id, key: key.to_owned(), git_ref: git_ref.to_owned(), kind, bytes: 10, created: time, last_used: time }
    }

    fn picked(wish: &EntryWish) -> Vec<u64> {
        let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let entries = [
            entry(1, "index-web-1-f921bd05#1", "refs/heads/main", 100),
            entry(2, "index-web-1-f921bd05#2", "refs/heads/main", 200),
            entry(3, "index-web-1-f921bd05-sig#1", "refs/heads/main", 100),
            entry(4, "index-web-1-0a0b0c0d#1", "refs/heads/other", 100),
            entry(5, &format!("buildkit-blob-1-{digest}"), "refs/heads/main", 50),
            entry(6, &format!("buildkit-blob-1-{digest}-sig"), "refs/heads/main", 50),
            entry(7, "node-modules", "refs/heads/other", 50),
        ];
        let picks = Picks::new(wish, &entries).unwrap();
        let now = Timestamp::from_second(1000).unwrap();
        entries.iter().filter(|entry| picks.why(entry, now).is_some()).map(|entry| entry.id).collect()
    }

    #[test]
    fn each_word_leaves_fewer() {
        let wish = EntryWish::default;
        assert_eq!(picked(&EntryWish { superseded: true, ..wish() }), [1], "a series is its ref's and its signing's");
        let web = || vec!["web".to_owned()];
        assert_eq!(picked(&EntryWish { scopes: web(), ..wish() }), [1, 2, 3, 4]);
        let main = EntryWish { scopes: web(), refs: vec!["main".to_owned()], ..wish() };
        assert_eq!(picked(&main), [1, 2, 3]);
        assert_eq!(picked(&EntryWish { keys: vec!["node-*".to_owned()], ..wish() }), [7]);
        let unused = Some(SignedDuration::from_secs(920));
        assert_eq!(picked(&EntryWish { unused_for: unused, ..wish() }), [5, 7], "signatures stay");
        let all = Some(Limit::Size(Bytes(0)));
        assert_eq!(picked(&EntryWish { max_size: all, ..wish() }), [1, 2, 3, 4, 5, 7]);
        assert!(Picks::new(&wish(), &[]).is_err(), "nothing said is not everything");
    }
}
