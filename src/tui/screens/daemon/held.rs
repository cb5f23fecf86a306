//! The rows of the screen of a builder: its records and builds over all nodes, with their columns, kinds and orders.

use crate::model::builder::{Build, Builder, Node};
use crate::model::filter;
use crate::model::rows::{BuildRow, RecordOfBuilder};
use crate::model::text;
use crate::model::units::short_duration;
use crate::model::usage::UsageRecord;
use crate::ops::kept::{Keeping, Verdict};
use crate::tui::list::Source;
use crate::tui::listing::{Listing, Shape};
use crate::tui::screen::Look;
use crate::tui::widgets::cell::{Cell, Cut};
use crate::tui::widgets::table::{Column, Row, Width};
use jiff::Timestamp;
use ratatui::text::Span;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

pub(super) mod by {
    pub const SIZE: u8 = 0;
    pub const USED: u8 = 1;
    pub const TYPE: u8 = 2;
    pub const WHAT: u8 = 3;
    pub const KEPT: u8 = 4;
    pub const USES: u8 = 5;
    pub const MADE: u8 = 6;
    pub const ID: u8 = 7;
    // Of builds.
    pub const AGE: u8 = 8;
    pub const STATE: u8 = 9;
    pub const TARGET: u8 = 10;
    pub const CACHED: u8 = 11;
    pub const TOOK: u8 = 12;
}

const RECORD_COLUMNS: [Column; 9] = [
    Column::new("id", Width::Shrinks(12, 8)).sort(by::ID).rank(7),
    Column::new("type", Width::Shrinks(15, 8)).sort(by::TYPE).rank(4),
    Column::new("description", Width::Name(36, 16)).sort(by::WHAT),
    Column::new("size", Width::Cells(10)).right().sort(by::SIZE),
    Column::new("shared", Width::Cells(6)).rank(6),
    Column::new("in use", Width::Cells(6)).rank(5),
    Column::new("kept by", Width::Cells(13)).sort(by::KEPT).rank(1),
    Column::new("used", Width::Cells(5)).right().sort(by::USED).rank(2),
    Column::new("uses", Width::Cells(5)).right().sort(by::USES).rank(3),
];

pub(super) const RECORDS: Shape = Shape {
    columns: &RECORD_COLUMNS,
    orders: &[
        ("size", by::SIZE),
        ("used", by::USED),
        ("type", by::TYPE),
        ("description", by::WHAT),
        ("kept by", by::KEPT),
        ("uses", by::USES),
        ("made", by::MADE),
        ("id", by::ID),
    ],
    falls: |by| matches!(by, by::SIZE | by::USED | by::USES | by::MADE),
    kinds: &["all", "reclaimable", "in use", "shared", "kept by nothing"],
    fields: <RecordOfBuilder<'_> as filter::Row>::fields,
    marks: false,
};

const BUILD_COLUMNS: [Column; 8] = [
    Column::new("id", Width::Shrinks(12, 8)).sort(by::ID).rank(4),
    Column::new("state", Width::Cells(7)).sort(by::STATE),
    Column::new("target", Width::Name(20, 8)).sort(by::TARGET),
    Column::new("cached", Width::Cells(7)).right().sort(by::CACHED),
    Column::new("took", Width::Cells(5)).right().sort(by::TOOK).rank(1),
    Column::new("pinned", Width::Cells(6)).rank(2),
    Column::new("made", Width::Name(28, 12)).rank(3),
    Column::new("age", Width::Cells(5)).right().sort(by::AGE),
];

pub(super) const BUILDS: Shape = Shape {
    columns: &BUILD_COLUMNS,
    orders: &[
        ("age", by::AGE),
        ("state", by::STATE),
        ("target", by::TARGET),
        ("cached", by::CACHED),
        ("took", by::TOOK),
        ("id", by::ID),
    ],
    falls: |by| matches!(by, by::AGE | by::CACHED | by::TOOK),
    kinds: &["all", "done", "failed", "running", "pinned"],
    fields: <BuildRow<'_> as filter::Row>::fields,
    marks: false,
};

/// What a builder holds.
#[derive(Default)]
pub(super) struct Held {
    /// The builder, once it was asked.
    pub(super) builder: Option<Arc<Builder>>,
    /// Of each record its node, its place there, and why it is kept.
    records: Vec<(usize, usize, Verdict)>,
    /// Of each build its node and its place there.
    builds: Vec<(usize, usize)>,
}

impl Held {
    /// All of `builder`, with why records are kept at `now`.
    pub(super) fn of(builder: Option<Arc<Builder>>, now: Timestamp) -> Held {
        let (mut records, mut builds) = (Vec::new(), Vec::new());
        for (n, node) in builder.iter().flat_map(|builder| builder.nodes.iter().enumerate()) {
            let keeping = Keeping::new(node);
            records.extend((0..len(&node.records)).map(|at| (n, at, keeping.why(at, now).verdict)));
            builds.extend((0..len(&node.builds)).map(|at| (n, at)));
        }
        Held { builder, records, builds }
    }

    /// The nodes, none before the builder was asked.
    pub(super) fn nodes(&self) -> &[Node] {
        self.builder.as_ref().map_or(&[], |builder| &builder.nodes)
    }

    /// How many records there are.
    pub(super) fn records(&self) -> usize {
        self.records.len()
    }

    /// How many builds.
    pub(super) fn builds(&self) -> usize {
        self.builds.len()
    }

    /// The record of a row: the node, its place there, itself, and why it is kept.
    pub(super) fn record(&self, row: usize) -> Option<(usize, usize, &UsageRecord, Verdict)> {
        let &(node, at, verdict) = self.records.get(row)?;
        Some((node, at, self.nodes().get(node)?.records.as_ref().ok()?.get(at)?, verdict))
    }

    /// The build of a row, and its node.
    pub(super) fn build(&self, row: usize) -> Option<(usize, &Build)> {
        let &(node, at) = self.builds.get(row)?;
        Some((node, self.nodes().get(node)?.builds.as_ref().ok()?.get(at)?))
    }

    /// Arranges the records in their list.
    pub(super) fn arrange_records(&self, revision: u64, now: Timestamp, listing: &mut Listing<u64>) {
        let kinds = listing.kinds;
        let all: Vec<(usize, &UsageRecord, Verdict)> =
            (0..self.records()).filter_map(|row| self.record(row)).map(|(node, _, r, kept)| (node, r, kept)).collect();
        let source = Source {
            len: all.len(),
            key: &|n| key(all[n].0, &all[n].1.id),
            row: &|n| {
                let (node, record, kept) = all[n];
                RecordOfBuilder { node: &self.nodes()[node].name, record, kept: kept.name() }
            },
            kind: &|n| match (kinds, all[n]) {
                (1, (_, record, _)) => !record.in_use,
                (2, (_, record, _)) => record.in_use,
                (3, (_, record, _)) => record.shared,
                (4, (_, _, kept)) => kept == Verdict::Nothing,
                _ => true,
            },
            order: &|by, a, b| {
                let ((_, a, kept_a), (_, b, kept_b)) = (all[a], all[b]);
                match by {
                    by::USED => a.last_used.cmp(&b.last_used),
                    by::TYPE => a.kind.cmp(&b.kind),
                    by::WHAT => a.description.cmp(&b.description),
                    by::KEPT => kept_a.cmp(&kept_b),
                    by::USES => a.uses.cmp(&b.uses),
                    by::MADE => a.created.cmp(&b.created),
                    by::ID => a.id.cmp(&b.id),
                    _ => a.bytes.cmp(&b.bytes),
                }
            },
            now,
        };
        listing.arrange(revision, &source);
    }

    /// Arranges the builds in theirs.
    pub(super) fn arrange_builds(&self, revision: u64, now: Timestamp, listing: &mut Listing<u64>) {
        let kinds = listing.kinds;
        let all: Vec<(usize, &Build)> = (0..self.builds()).filter_map(|row| self.build(row)).collect();
        let source = Source {
            len: all.len(),
            key: &|n| key(all[n].0, &all[n].1.id),
            row: &|n| BuildRow { node: &self.nodes()[all[n].0].name, build: all[n].1 },
            kind: &|n| match (kinds, all[n].1) {
                (1, build) => build.state() == "done",
                (2, build) => build.state() == "failed",
                (3, build) => build.state() == "running",
                (4, build) => build.pinned,
                _ => true,
            },
            order: &|by, a, b| {
                let (a, b) = (all[a].1, all[b].1);
                match by {
                    by::STATE => a.state().cmp(b.state()),
                    by::TARGET => a.target.cmp(&b.target),
                    by::CACHED => a.cached_steps.cmp(&b.cached_steps),
                    by::TOOK => a.took().cmp(&b.took()),
                    by::ID => a.id.cmp(&b.id),
                    _ => a.created.cmp(&b.created),
                }
            },
            now,
        };
        listing.arrange(revision, &source);
    }

    /// A record as a row.
    pub(super) fn record_row<'a>(&'a self, row: usize, look: Look<'_>) -> Row<'a> {
        let Some((_, _, record, verdict)) = self.record(row) else { return Row::default() };
        let theme = look.theme;
        let yes = |is: bool| Cell::text(if is { Span::raw("yes") } else { look.dim(look.dash()) });
        let kept = match verdict {
            Verdict::InUse => theme.live,
            Verdict::Nothing => theme.orphan,
            _ => theme.dim,
        };
        Row::from(vec![
            Cell::digest(Span::styled(text::safe(short(&record.id)), theme.dim)),
            Cell::text(Span::styled(text::safe(&record.kind), theme.dim)),
            Cell::text(text::safe(&record.description)),
            look.size(Some(record.bytes)),
            yes(record.shared),
            yes(record.in_use),
            Cell::text(Span::styled(verdict.words(), kept)),
            look.age(record.last_used),
            Cell::text(record.uses.to_string()),
        ])
    }

    /// A build as a row.
    pub(super) fn build_row<'a>(&'a self, row: usize, look: Look<'_>) -> Row<'a> {
        let Some((_, build)) = self.build(row) else { return Row::default() };
        let theme = look.theme;
        let state = match build.state() {
            "failed" => Span::styled("failed", theme.missing),
            "running" => Span::styled("running", theme.focus),
            state => Span::styled(state, theme.verified),
        };
        let (made, style) = match &build.error {
            Some(error) => (error.clone(), theme.missing),
            None => (build.produced(), theme.text),
        };
        let dash = || look.dim(look.dash());
        Row::from(vec![
            Cell::digest(Span::styled(text::safe(short(&build.id)), theme.dim)),
            Cell::text(state),
            Cell::name(build.target.as_deref().map_or_else(dash, |target| text::safe(target).into())),
            Cell::text(format!("{}/{}", build.cached_steps, build.total_steps)),
            Cell::text(build.took().map_or_else(dash, |took| short_duration(took).into())),
            Cell::text(if build.pinned { "yes".into() } else { dash() }),
            Cell::of(vec![Span::styled(text::safe(&made).into_owned(), style)], 0, Cut::End),
            look.age(build.created),
        ])
    }
}

fn len<T>(part: &Result<Vec<T>, String>) -> usize {
    part.as_ref().map_or(0, Vec::len)
}

/// As much of an id as tells it from others.
fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// What a row is known by: ids are unique on a node.
fn key(node: usize, id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (node, id).hash(&mut hasher);
    hasher.finish()
}
