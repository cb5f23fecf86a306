//! `daemon workers`: the workers of builders, and the rules that they collect by.

use super::super::failure::Outcome;
use super::super::list::ListArgs;
use super::super::output::{Cell, Column, Item, Tone};
use super::super::session::Session;
use super::{Which, builder, sections};
use crate::model::builder::{Node, Worker};
use crate::model::filter::{Field, FieldKind, Row, Value};
use crate::ops::kept::rule_words;
use clap::Parser;
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::collections::BTreeMap;

#[derive(Parser)]
pub(in crate::cli) struct Workers {
    #[command(flatten)]
    which: Which,

    #[command(flatten)]
    list: ListArgs,
}

impl Workers {
    pub(super) fn run(self, session: &mut Session) -> Outcome {
        let selection = self.list.selection::<WorkerItem<'_>>(&mut session.out)?;
        let many = self.which.load(session)?;
        let sections = sections(&many, |builder| {
            let of_node = |node| workers(node).iter().map(move |worker| WorkerItem { node, worker });
            builder.nodes.iter().flat_map(of_node).collect()
        });
        session.show("worker-list", sections, selection, &many)?;
        if !session.out.is_json() {
            for loaded in &many.loaded {
                for worker in builder(loaded)?.nodes.iter().flat_map(workers) {
                    for (at, rule) in worker.rules.iter().enumerate() {
                        let words = rule_words(rule, session.out.look.sizes).join("; ");
                        session.words.say(&format!("rule {at}"), Tone::Dim, &words);
                    }
                    if worker.rules.is_empty() {
                        session.words.note("no rules: it collects nothing by itself");
                    }
                }
            }
        }
        Ok(many.exit)
    }
}

fn workers(node: &Node) -> &[Worker] {
    node.workers.as_deref().unwrap_or_default()
}

struct WorkerItem<'a> {
    node: &'a Node,
    worker: &'a Worker,
}

impl Serialize for WorkerItem<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Rule<'a> {
            all: bool,
            filters: &'a [String],
            keep_seconds: u64,
            reserved_bytes: Option<u64>,
            max_used_bytes: Option<u64>,
            min_free_bytes: Option<u64>,
        }
        #[derive(Serialize)]
        struct Fields<'a> {
            id: &'a str,
            node: &'a str,
            address: &'a str,
            version: Option<&'a str>,
            platforms: &'a [String],
            labels: &'a BTreeMap<String, String>,
            rules: Vec<Rule<'a>>,
        }
        let set = |bytes: u64| Some(bytes).filter(|bytes| *bytes > 0);
        let rule = |rule: &'_ crate::model::builder::Rule| {
            (
                rule.all,
                rule.keep.as_secs(),
                set(rule.reserved_bytes),
                set(rule.max_used_bytes),
                set(rule.min_free_bytes),
            )
        };
        let rules = self.worker.rules.iter().map(|each| {
            let (all, keep_seconds, reserved_bytes, max_used_bytes, min_free_bytes) = rule(each);
            Rule { all, filters: &each.filters, keep_seconds, reserved_bytes, max_used_bytes, min_free_bytes }
        });
        Fields {
            id: &self.worker.id,
            node: &self.node.name,
            address: &self.node.address,
            version: self.node.version.as_deref(),
            platforms: &self.worker.platforms,
            labels: &self.worker.labels,
            rules: rules.collect(),
        }
        .serialize(serializer)
    }
}

impl Row for WorkerItem<'_> {
    fn fields() -> &'static [Field] {
        const FIELDS: &[Field] = &[
            Field::new("id", FieldKind::Text),
            Field::new("platforms", FieldKind::Text).or(&["platform"]),
            Field::new("rules", FieldKind::Count),
            Field::new("node", FieldKind::Text),
        ];
        FIELDS
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        match name {
            "id" => Some(Value::Text(Cow::Borrowed(&self.worker.id))),
            "platforms" => {
                Some(Value::Texts(self.worker.platforms.iter().map(|p| Cow::Borrowed(p.as_str())).collect()))
            }
            "rules" => Some(Value::Count(self.worker.rules.len() as u64)),
            "node" => Some(Value::Text(Cow::Borrowed(&self.node.name))),
            _ => None,
        }
    }

    fn text(&self) -> Cow<'_, str> {
        Cow::Owned(format!("{} {}", self.worker.id, self.node.name))
    }
}

impl Item for WorkerItem<'_> {
    const TYPE: &'static str = "worker";

    fn fields() -> &'static [Field] {
        <Self as Row>::fields()
    }

    fn row(&self) -> impl Row {
        self
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::words("ID", |w: &Self| Cell::text(&w.worker.id)).cut_end(),
            Column::words("NODE", |w: &Self| Cell::text(&w.node.name)),
            Column::words("BUILDKIT", |w: &Self| Cell::known(w.node.version.as_deref())).field("version"),
            Column::words("PLATFORMS", |w: &Self| Cell::text(w.worker.platforms.join(", "))).cut_end(),
            Column::numbers("RULES", |w: &Self| Cell::count(w.worker.rules.len() as u64)),
        ]
    }
}
