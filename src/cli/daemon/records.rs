//! `daemon du`: the records of builders.

use super::super::failure::Outcome;
use super::super::list::ListArgs;
use super::super::output::{Cell, Column, Item, Tone};
use super::super::session::Session;
use super::super::summary;
use super::{Which, builder, sections};
use crate::model::builder::{Builder, Node};
use crate::model::filter::{Field, Row};
use crate::model::rows::RecordOfBuilder;
use crate::ops::kept::{Keeping, Kept, Verdict};
use clap::Parser;
use jiff::Timestamp;
use serde::{Serialize, Serializer};

#[derive(Parser)]
pub(in crate::cli) struct Du {
    #[command(flatten)]
    which: Which,

    #[command(flatten)]
    list: ListArgs,
}

impl Du {
    pub(super) fn run(self, session: &mut Session) -> Outcome {
        let selection = self.list.selection::<RecordItem<'_>>(&mut session.out)?;
        let many = self.which.load(session)?;
        let now = session.out.look.now;
        let sections = sections(&many, |builder| RecordItem::all(builder, now));
        session.show("usage-record-list", sections, selection, &many)?;
        if session.out.is_chatty() {
            for loaded in &many.loaded {
                let place =
                    if many.several { format!("{}: ", loaded.inventory.location.title()) } else { String::new() };
                for line in summary::of_builder(builder(loaded)?, session.out.look.sizes) {
                    session.words.note(&format!("{place}{line}"));
                }
            }
        }
        Ok(many.exit)
    }
}

/// A record, and why it is kept.
pub(super) struct RecordItem<'a> {
    pub(super) row: RecordOfBuilder<'a>,
    pub(super) kept: Kept<'a>,
}

impl<'a> RecordItem<'a> {
    /// All records of a builder, largest first.
    pub(super) fn all(builder: &'a Builder, now: Timestamp) -> Vec<Self> {
        let mut all: Vec<Self> = builder.nodes.iter().flat_map(|node| Self::of_node(node, now)).collect();
        all.sort_by_key(|item| std::cmp::Reverse(item.row.record.bytes));
        all
    }

    fn of_node(node: &'a Node, now: Timestamp) -> Vec<Self> {
        let keeping = Keeping::new(node);
        let records = node.records.as_deref().unwrap_or_default();
        let item = |(at, record)| {
            let kept = keeping.why(at, now);
            RecordItem { row: RecordOfBuilder { node: &node.name, record, kept: kept.verdict.name() }, kept }
        };
        records.iter().enumerate().map(item).collect()
    }
}

impl Serialize for RecordItem<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Fields<'a> {
            id: &'a str,
            node: &'a str,
            #[serde(rename = "type")]
            kind: &'a str,
            description: &'a str,
            bytes: u64,
            in_use: bool,
            shared: bool,
            mutable: bool,
            reclaimable: bool,
            uses: u64,
            created_at: Option<Timestamp>,
            last_used_at: Option<Timestamp>,
            parents: &'a [String],
            kept: &'static str,
            kept_by: Option<&'a str>,
            descendants: usize,
        }
        let record = self.row.record;
        Fields {
            id: &record.id,
            node: self.row.node,
            kind: &record.kind,
            description: &record.description,
            bytes: record.bytes,
            in_use: record.in_use,
            shared: record.shared,
            mutable: record.mutable,
            reclaimable: !record.in_use,
            uses: record.uses,
            created_at: record.created,
            last_used_at: record.last_used,
            parents: &record.parents,
            kept: self.kept.verdict.name(),
            kept_by: self.kept.holder.map(|(record, _)| record.id.as_str()),
            descendants: self.kept.descendants,
        }
        .serialize(serializer)
    }
}

/// A word for why a record is kept.
pub(super) fn verdict(verdict: Verdict) -> Cell {
    Cell::text(verdict.words()).tone(match verdict {
        Verdict::InUse => Tone::Good,
        Verdict::Nothing => Tone::Warn,
        _ => Tone::Dim,
    })
}

impl Item for RecordItem<'_> {
    const TYPE: &'static str = "usage_record";

    fn fields() -> &'static [Field] {
        RecordOfBuilder::fields()
    }

    fn row(&self) -> impl Row {
        self.row
    }

    fn columns() -> Vec<Column<Self>> {
        fn yes(is: bool) -> Cell {
            Cell::known(is.then_some("yes"))
        }
        vec![
            Column::words("ID", |r: &Self| Cell::text(r.row.record.id.get(..12).unwrap_or(&r.row.record.id)))
                .field("id"),
            Column::words("NODE", |r: &Self| Cell::text(r.row.node)).wide(),
            Column::words("TYPE", |r: &Self| Cell::text(&r.row.record.kind)),
            Column::numbers("SIZE", |r: &Self| Cell::size(r.row.record.bytes)).field("bytes"),
            Column::words("IN USE", |r: &Self| yes(r.row.record.in_use)).drop(2).field("in_use"),
            Column::words("SHARED", |r: &Self| yes(r.row.record.shared)).drop(1),
            Column::words("RECLAIMABLE", |r: &Self| yes(!r.row.record.in_use)).wide(),
            Column::words("KEPT BY", |r: &Self| verdict(r.kept.verdict)).field("kept"),
            Column::numbers("USES", |r: &Self| Cell::count(r.row.record.uses)).drop(3),
            Column::numbers("USED", |r: &Self| Cell::time(r.row.record.last_used.or(r.row.record.created)))
                .field("last_used_at"),
            Column::words("DESCRIPTION", |r: &Self| Cell::text(&r.row.record.description)).cut_end(),
        ]
    }
}
