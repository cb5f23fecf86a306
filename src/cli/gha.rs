//! `gha`: the cache of a GitHub repository as GitHub sees it: entries of BuildKit and of everybody else, which share one quota.

mod prune;

use super::Command;
use super::failure::{Outcome, Stop};
use super::list::ListArgs;
use super::output::{Cell, Column, Item, Tone};
use super::session::{Many, Session};
use crate::error::Error;
use crate::model::actions::{Actions, Entry, EntryKind, Total};
use crate::model::digest::Digest;
use crate::model::filter::{Field, FieldKind, Row, Value};
use crate::model::units::{Bytes, SizeStyle, count};
use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use std::borrow::Cow;

/// Show what a GitHub repository's caches take, and which of them go next
///
/// All caches of a repository share one quota, BuildKit's and those of actions/cache. When it is full, what was used least
/// recently goes.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  cachedeck gha usage type=gha,repo=OWNER/NAME
  cachedeck gha usage --by ref --sort size type=gha,repo=OWNER/NAME
  cachedeck gha entries -L 20 type=gha,repo=OWNER/NAME          what goes next
  cachedeck gha prune --superseded type=gha,repo=OWNER/NAME")]
pub(super) struct Gha {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// What is used of the quota, and by what
    #[command(after_help = "\
Fields to filter and sort by:
  name size entries indexes blobs used")]
    Usage(UsageArgs),
    /// Every entry, those first that go next
    #[command(after_help = "\
Fields to filter and sort by:
  key kind scope ref size used age id")]
    Entries(EntriesArgs),
    /// Give up entries: shows which would go and why, and does it with --apply. They can't be had back
    Prune(prune::PruneArgs),
}

#[derive(Args)]
struct UsageArgs {
    /// Where to look
    #[arg(value_name = "LOCATION")]
    locations: Vec<String>,

    /// What to add up: repository, ref, scope or kind
    #[arg(
        long,
        value_enum,
        value_name = "WHAT",
        default_value_t,
        hide_default_value = true,
        hide_possible_values = true
    )]
    by: By,

    #[command(flatten)]
    list: ListArgs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum By {
    /// A line a repository
    #[default]
    Repository,
    /// A line a Git ref
    Ref,
    /// A line a scope, which has indexes only: blobs belong to no scope
    Scope,
    /// A line for blobs, indexes, signatures and everybody else's entries
    Kind,
}

#[derive(Args)]
struct EntriesArgs {
    /// Where to look
    #[arg(value_name = "LOCATION")]
    locations: Vec<String>,

    #[command(flatten)]
    list: ListArgs,
}

impl Command for Gha {
    const NAME: &'static str = "gha";

    fn run(self, session: &mut Session) -> Outcome {
        match self.what {
            What::Prune(prune) => prune.run(session),
            What::Usage(UsageArgs { locations, by: By::Repository, list }) => {
                let selection = list.selection::<Usage<'_>>(&mut session.out)?;
                let many = load(session, &locations)?;
                let sections =
                    many.sections(|loaded| loaded.inventory.details.actions.iter().map(|a| Usage(a)).collect());
                session.show("actions-usage-list", sections, selection, &many)?;
                tell(session, &many);
                Ok(many.exit)
            }
            What::Usage(UsageArgs { locations, by, list }) => {
                let selection = list.selection::<Group>(&mut session.out)?;
                let many = load(session, &locations)?;
                let sections = many.sections(|loaded| {
                    loaded.inventory.details.actions.iter().flat_map(|a| Group::all(a, by)).collect()
                });
                session.show("actions-group-list", sections, selection, &many)?;
                tell(session, &many);
                Ok(many.exit)
            }
            What::Entries(EntriesArgs { locations, list }) => {
                let selection = list.selection::<EntryItem<'_>>(&mut session.out)?;
                let many = load(session, &locations)?;
                let sections = many.sections(|loaded| {
                    let of = |actions| EntryItem::all(actions);
                    loaded.inventory.details.actions.iter().flat_map(|actions| of(actions)).collect()
                });
                session.show("actions-entry-list", sections, selection, &many)?;
                tell(session, &many);
                Ok(many.exit)
            }
        }
    }
}

/// Reads locations, all of which must be on GitHub; without any, those of the config that are.
fn load(session: &mut Session, given: &[String]) -> Outcome<Many> {
    let mut locations = session.locations(given)?;
    if given.is_empty() {
        locations.retain(|location| location.kind() == "gha");
        if locations.is_empty() {
            return Err(Error::invalid("which repository?").with_hint("name one: type=gha,repo=OWNER/NAME").into());
        }
    }
    if let Some(other) = locations.iter().find(|location| location.kind() != "gha") {
        return Err(Stop::at(other, Error::unsupported(other.kind(), "usage of a GitHub repository's cache")));
    }
    session.load_all(&locations)
}

/// Says in a line or two how full it is, and what could not be had.
fn tell(session: &Session, many: &Many) {
    if !session.out.is_chatty() {
        return;
    }
    for actions in many.loaded.iter().filter_map(|loaded| loaded.inventory.details.actions.as_ref()) {
        session.words.note(&summary(actions, session.out.look.sizes, session.out.look.now));
        actions.unknown.iter().for_each(|what| session.words.say("unknown", Tone::Dim, what));
    }
}

fn summary(actions: &Actions, sizes: SizeStyle, now: Timestamp) -> String {
    let size = |bytes| Bytes(bytes).show(sizes);
    let mut parts = Vec::new();
    match (actions.used(), actions.quota) {
        (Some(used), Some(quota)) => {
            let percent = u128::from(used) * 100 / u128::from(quota.max(1));
            parts.push(format!("{} of {} used ({percent}%)", size(used), size(quota)));
        }
        (Some(used), None) => parts.push(format!("{} used", size(used))),
        (None, _) => {}
    }
    let soon = actions
        .entries
        .iter()
        .filter(|e| actions.expires(e).is_some_and(|t| t < now + jiff::SignedDuration::from_hours(24)));
    match soon.count() {
        0 => {}
        some => parts.push(format!("{} go within a day unless they are used", count(some as u64, "entry"))),
    }
    if let Some(rate) = actions.rate {
        parts.push(format!("{} of {} requests left this hour", rate.remaining, rate.limit));
    }
    parts.join("; ")
}

/// What a repository's cache takes.
struct Usage<'a>(&'a Actions);

impl Usage<'_> {
    fn others(&self) -> Total {
        self.0.totals(|e| (e.kind == EntryKind::Other).then_some(())).into_values().next().unwrap_or_default()
    }
}

impl Serialize for Usage<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Fields<'a> {
            repository: Option<&'a str>,
            entries: Option<u64>,
            bytes: Option<u64>,
            indexes: Option<u64>,
            blobs: Option<u64>,
            blob_bytes: Option<u64>,
            other_entries: Option<u64>,
            other_bytes: Option<u64>,
            told_entries: Option<u64>,
            told_bytes: Option<u64>,
            quota_bytes: Option<u64>,
            retention_days: Option<u32>,
            rate_limit: Option<u64>,
            rate_remaining: Option<u64>,
            rate_resets_at: Option<Timestamp>,
            contents: bool,
            unknown: &'a [String],
        }
        let actions = self.0;
        let (total, others) = (actions.total(), self.others());
        let listed = |number: u64| actions.rate.is_some().then_some(number);
        Fields {
            repository: actions.repository.as_deref(),
            entries: listed(total.entries),
            bytes: listed(total.bytes),
            indexes: listed(total.indexes),
            blobs: listed(total.blobs),
            blob_bytes: listed(total.blob_bytes),
            other_entries: listed(others.entries),
            other_bytes: listed(others.bytes),
            told_entries: actions.usage.map(|u| u.entries),
            told_bytes: actions.usage.map(|u| u.bytes),
            quota_bytes: actions.quota,
            retention_days: actions.retention_days,
            rate_limit: actions.rate.map(|r| r.limit),
            rate_remaining: actions.rate.map(|r| r.remaining),
            rate_resets_at: actions.rate.and_then(|r| r.resets),
            contents: actions.contents,
            unknown: &actions.unknown,
        }
        .serialize(serializer)
    }
}

const GROUP_FIELDS: &[Field] = &[
    Field::new("name", FieldKind::Text),
    Field::new("size", FieldKind::Size).or(&["bytes"]),
    Field::new("entries", FieldKind::Count),
    Field::new("indexes", FieldKind::Count),
    Field::new("blobs", FieldKind::Count),
    Field::new("used", FieldKind::Time).or(&["last_used_at"]),
];

fn field<'a>(total: &Total, own: &'a str, name: &str) -> Option<Value<'a>> {
    Some(match name {
        "name" => Value::Text(Cow::Borrowed(own)),
        "size" => Value::Size(total.bytes),
        "entries" => Value::Count(total.entries),
        "indexes" => Value::Count(total.indexes),
        "blobs" => Value::Count(total.blobs),
        "used" => Value::Time(total.last_used?),
        _ => return None,
    })
}

impl Row for Usage<'_> {
    fn fields() -> &'static [Field] {
        GROUP_FIELDS
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        field(&self.0.total(), self.0.repository.as_deref().unwrap_or_default(), name)
    }

    fn text(&self) -> Cow<'_, str> {
        self.0.repository.as_deref().unwrap_or_default().into()
    }
}

impl Item for Usage<'_> {
    const TYPE: &'static str = "actions-usage";

    fn fields() -> &'static [Field] {
        GROUP_FIELDS
    }

    fn row(&self) -> impl Row {
        Usage(self.0)
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::words("REPOSITORY", |u: &Self| Cell::known(u.0.repository.clone())).cut_middle(),
            Column::numbers("ENTRIES", |u: &Self| Cell::count(u.0.total().entries)).drop(2),
            Column::numbers("BYTES", |u: &Self| Cell::size(u.0.total().bytes)),
            Column::numbers("QUOTA", |u: &Self| Cell::size(u.0.quota)).field("quota_bytes"),
            Column::numbers("INDEXES", |u: &Self| Cell::count(u.0.total().indexes)).drop(3),
            Column::numbers("BLOBS", |u: &Self| Cell::size(u.0.total().blob_bytes)).field("blob_bytes"),
            Column::numbers("OTHERS", |u: &Self| Cell::size(u.others().bytes)).field("other_bytes").drop(1),
        ]
    }
}

/// What part of a repository's cache takes.
struct Group {
    by: By,
    name: String,
    total: Total,
}

impl Group {
    fn all(actions: &Actions, by: By) -> Vec<Self> {
        let name = |entry: &Entry| match by {
            By::Repository => actions.repository.clone(),
            By::Ref => Some(entry.git_ref.clone()),
            By::Scope => entry.scope().map(str::to_owned),
            By::Kind => Some(entry.kind.name().to_owned()),
        };
        let groups = actions.totals(name).into_iter();
        let mut all: Vec<Self> = groups.map(|(name, total)| Group { by, name, total }).collect();
        all.sort_by_key(|group| std::cmp::Reverse(group.total.bytes));
        all
    }

    fn named(&self, by: By) -> Option<&str> {
        (self.by == by).then_some(self.name.as_str())
    }
}

impl Serialize for Group {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Fields<'a> {
            r#ref: Option<&'a str>,
            scope: Option<&'a str>,
            kind: Option<&'a str>,
            entries: u64,
            bytes: u64,
            indexes: u64,
            blobs: u64,
            blob_bytes: u64,
            last_used_at: Option<Timestamp>,
        }
        Fields {
            r#ref: self.named(By::Ref),
            scope: self.named(By::Scope),
            kind: self.named(By::Kind),
            entries: self.total.entries,
            bytes: self.total.bytes,
            indexes: self.total.indexes,
            blobs: self.total.blobs,
            blob_bytes: self.total.blob_bytes,
            last_used_at: self.total.last_used,
        }
        .serialize(serializer)
    }
}

impl Row for Group {
    fn fields() -> &'static [Field] {
        GROUP_FIELDS
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        field(&self.total, &self.name, name)
    }

    fn text(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.name)
    }
}

impl Item for Group {
    const TYPE: &'static str = "actions-group";

    fn fields() -> &'static [Field] {
        GROUP_FIELDS
    }

    fn row(&self) -> impl Row {
        self
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::words("REF", |g: &Self| Cell::known(g.named(By::Ref))).if_known().cut_middle(),
            Column::words("SCOPE", |g: &Self| Cell::known(g.named(By::Scope))).if_known().cut_middle(),
            Column::words("KIND", |g: &Self| Cell::known(g.named(By::Kind))).if_known(),
            Column::numbers("ENTRIES", |g: &Self| Cell::count(g.total.entries)),
            Column::numbers("BYTES", |g: &Self| Cell::size(g.total.bytes)),
            Column::numbers("INDEXES", |g: &Self| Cell::count(g.total.indexes)).drop(2),
            Column::numbers("BLOBS", |g: &Self| Cell::size(g.total.blob_bytes)).field("blob_bytes").drop(1),
            Column::numbers("USED", |g: &Self| Cell::time(g.total.last_used)).field("last_used_at"),
        ]
    }
}

/// An entry, and when it goes.
struct EntryItem<'a> {
    entry: &'a Entry,
    expires: Option<Timestamp>,
}

impl<'a> EntryItem<'a> {
    fn all(actions: &'a Actions) -> Vec<Self> {
        actions.entries.iter().map(|entry| EntryItem { entry, expires: actions.expires(entry) }).collect()
    }
}

impl Serialize for EntryItem<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Fields<'a> {
            id: u64,
            key: &'a str,
            r#ref: &'a str,
            kind: &'a str,
            scope: Option<&'a str>,
            number: Option<u64>,
            digest: Option<Digest>,
            bytes: u64,
            created_at: Option<Timestamp>,
            last_used_at: Option<Timestamp>,
            expires_at: Option<Timestamp>,
        }
        let entry = self.entry;
        let (number, digest) = match &entry.kind {
            EntryKind::Index(key) => (Some(key.n), None),
            EntryKind::Blob(digest) | EntryKind::Signature(digest) => (None, Some(*digest)),
            EntryKind::Other => (None, None),
        };
        Fields {
            id: entry.id,
            key: &entry.key,
            r#ref: &entry.git_ref,
            kind: entry.kind.name(),
            scope: entry.scope(),
            number,
            digest,
            bytes: entry.bytes,
            created_at: entry.created,
            last_used_at: entry.last_used,
            expires_at: self.expires,
        }
        .serialize(serializer)
    }
}

impl Item for EntryItem<'_> {
    const TYPE: &'static str = "actions-entry";

    fn fields() -> &'static [Field] {
        <Entry as Row>::fields()
    }

    fn row(&self) -> impl Row {
        self.entry
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::words("KIND", |e: &Self| Cell::text(e.entry.kind.name())),
            Column::words("WHAT", |e: &Self| Cell::text(e.entry.what())).field("key").cut_middle(),
            Column::words("REF", |e: &Self| Cell::text(e.entry.git_ref.as_str())).cut_middle(),
            Column::numbers("SIZE", |e: &Self| Cell::size(e.entry.bytes)).field("bytes"),
            Column::numbers("CREATED", |e: &Self| Cell::time(e.entry.created)).field("created_at").drop(1),
            Column::numbers("USED", |e: &Self| Cell::time(e.entry.last_used)).field("last_used_at"),
            Column::numbers("ID", |e: &Self| Cell::count(e.entry.id)).wide(),
        ]
    }
}
