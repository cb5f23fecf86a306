//! `daemon history`: the builds that a builder remembers.

use super::super::failure::Outcome;
use super::super::list::ListArgs;
use super::super::output::{Cell, Column, Item, Tone};
use super::super::session::Session;
use super::{Which, sections};
use crate::model::builder::{Build, Node, Produced};
use crate::model::filter::{Field, Row};
use crate::model::rows::BuildRow;
use crate::model::units;
use clap::Parser;
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

#[derive(Parser)]
pub(in crate::cli) struct History {
    #[command(flatten)]
    which: Which,

    #[command(flatten)]
    list: ListArgs,
}

impl History {
    pub(super) fn run(self, session: &mut Session) -> Outcome {
        let selection = self.list.selection::<BuildItem<'_>>(&mut session.out)?;
        let many = self.which.load(session)?;
        let sections = sections(&many, |builder| {
            let of_node = |node| builds(node).iter().map(move |build| BuildItem(BuildRow { node: &node.name, build }));
            let mut all: Vec<_> = builder.nodes.iter().flat_map(of_node).collect();
            all.sort_by_key(|item| std::cmp::Reverse(item.0.build.created));
            all
        });
        session.show("build-list", sections, selection, &many)?;
        Ok(many.exit)
    }
}

fn builds(node: &Node) -> &[Build] {
    node.builds.as_deref().unwrap_or_default()
}

/// A build, and the node that made it.
struct BuildItem<'a>(BuildRow<'a>);

impl Serialize for BuildItem<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Result {
            platform: Option<String>,
            media_type: String,
            digest: String,
            bytes: u64,
        }
        #[derive(Serialize)]
        struct Fields<'a> {
            id: &'a str,
            node: &'a str,
            state: &'static str,
            frontend: &'a str,
            target: Option<&'a str>,
            attributes: &'a BTreeMap<String, String>,
            created_at: Option<Timestamp>,
            completed_at: Option<Timestamp>,
            error: Option<&'a str>,
            pinned: bool,
            cached_steps: u32,
            completed_steps: u32,
            total_steps: u32,
            build_warnings: u32,
            exporters: &'a [String],
            response: &'a BTreeMap<String, String>,
            results: Vec<Result>,
        }
        let BuildRow { node, build } = self.0;
        let result = |made: &'_ Produced| Result {
            platform: made.platform.clone(),
            media_type: made.media_type.clone(),
            digest: made.digest.clone(),
            bytes: made.bytes,
        };
        Fields {
            id: &build.id,
            node,
            state: build.state(),
            frontend: &build.frontend,
            target: build.target.as_deref(),
            attributes: &build.attributes,
            created_at: build.created,
            completed_at: build.completed,
            error: build.error.as_deref(),
            pinned: build.pinned,
            cached_steps: build.cached_steps,
            completed_steps: build.completed_steps,
            total_steps: build.total_steps,
            build_warnings: build.warnings,
            exporters: &build.exporters,
            response: &build.response,
            results: build.results.iter().map(result).collect(),
        }
        .serialize(serializer)
    }
}

impl Item for BuildItem<'_> {
    const TYPE: &'static str = "build";

    fn fields() -> &'static [Field] {
        BuildRow::fields()
    }

    fn row(&self) -> impl Row {
        self.0
    }

    fn columns() -> Vec<Column<Self>> {
        fn state(build: &Build) -> Cell {
            let state = build.state();
            Cell::text(state).tone(match state {
                "failed" => Tone::Bad,
                "running" => Tone::Warn,
                _ => Tone::Good,
            })
        }
        fn what(build: &Build) -> Cell {
            Cell::text(build.error.as_ref().map_or_else(|| build.produced(), |error| error.clone()))
        }
        vec![
            Column::words("ID", |b: &Self| Cell::text(b.0.build.id.get(..12).unwrap_or(&b.0.build.id))).field("id"),
            Column::words("NODE", |b: &Self| Cell::text(b.0.node)).wide(),
            Column::words("STATE", |b: &Self| state(b.0.build)),
            Column::words("TARGET", |b: &Self| Cell::known(b.0.build.target.as_deref())).cut_end(),
            Column::numbers("CACHED", |b: &Self| {
                Cell::text(format!("{}/{}", b.0.build.cached_steps, b.0.build.total_steps))
            })
            .field("cached_steps"),
            Column::numbers("TOOK", |b: &Self| Cell::known(b.0.build.took().map(units::short_duration))).drop(2),
            Column::words("PINNED", |b: &Self| Cell::known(b.0.build.pinned.then_some("yes"))).drop(1),
            Column::numbers("AGE", |b: &Self| Cell::time(b.0.build.created)).field("created_at"),
            Column::words("MADE", |b: &Self| what(b.0.build)).cut_end().field("response"),
        ]
    }
}
