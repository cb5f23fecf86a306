//! `daemon why`: why one record is kept.

use super::super::failure::{Exit, Outcome};
use super::super::output::Tone;
use super::super::session::Session;
use super::records::RecordItem;
use super::{Which, builder};
use crate::error::Error;
use crate::model::builder::Rule;
use crate::model::text;
use crate::model::units::{self, Bytes};
use crate::ops::kept::rule_words;
use clap::Parser;
use serde::Serialize;

#[derive(Parser)]
pub(in crate::cli) struct Why {
    /// The record: its id or the beginning of it, or a part of its description that no other has
    #[arg(value_name = "RECORD")]
    record: String,

    #[command(flatten)]
    which: Which,
}

/// The JSON: the record, and what stands behind the verdict.
#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    #[serde(flatten)]
    item: &'a RecordItem<'a>,
    ancestors: usize,
    kept_by_description: Option<&'a str>,
    rules: Option<Vec<RuleSays>>,
    reasons: Vec<String>,
}

#[derive(Serialize)]
struct RuleSays {
    rule: String,
    says: String,
}

impl Why {
    pub(super) fn run(self, session: &mut Session) -> Outcome {
        let many = self.which.load(session)?;
        let (now, sizes) = (session.out.look.now, session.out.look.sizes);
        let mut all = Vec::new();
        for loaded in &many.loaded {
            all.extend(RecordItem::all(builder(loaded)?, now));
        }
        let item = self.find(&all)?;
        let node = many.loaded.iter().filter_map(|l| l.inventory.details.builder.as_ref()).flat_map(|b| &b.nodes);
        let rules: &[Rule] = node
            .filter(|node| node.name == item.row.node)
            .find_map(|node| Some(&node.workers.as_ref().ok()?.first()?.rules[..]))
            .unwrap_or_default();
        let reasons = item.kept.sentences(sizes, now);
        if session.out.is_json() {
            let says = |(rule, says): (&Rule, &crate::ops::kept::Says)| RuleSays {
                rule: rule_words(rule, sizes).join("; "),
                says: says.sentence(sizes, now),
            };
            session.out.json(&Document {
                schema: "cachedeck.kept/1",
                item,
                ancestors: item.kept.ancestors,
                kept_by_description: item.kept.holder.map(|(record, _)| record.description.as_str()),
                rules: item.kept.rules_known.then(|| rules.iter().zip(&item.kept.rules).map(says).collect()),
                reasons,
            })?;
            return Ok(many.exit);
        }
        let record = item.row.record;
        let used = record.last_used.map_or("never".to_owned(), |time| format!("{} ago", units::age(now, time)));
        let mut facts = vec![
            ("record", record.id.clone()),
            ("step", record.description.clone()),
            ("type", record.kind.clone()),
            ("size", Bytes(record.bytes).show(sizes)),
            ("used", format!("{used}, {} in all", units::count(record.uses, "use"))),
        ];
        facts.extend(reasons.iter().enumerate().map(|(at, line)| (if at == 0 { "kept" } else { "" }, line.clone())));
        facts.extend(rules.iter().enumerate().map(|(at, rule)| {
            (if at == 0 { "rules" } else { "" }, format!("{at}: {}", rule_words(rule, sizes).join("; ")))
        }));
        for (name, value) in facts {
            let name = session.out.paint(&format!("{name:<8}"), Tone::Dim);
            let line = format!("{name}{}", session.out.paint(&value, Tone::Plain));
            session.out.line(&line)?;
        }
        session.out.flush()?;
        Ok(if many.exit == Exit::Done { Exit::Done } else { many.exit })
    }

    fn find<'a, 'b>(&self, all: &'b [RecordItem<'a>]) -> Result<&'b RecordItem<'a>, Error> {
        let by_id: Vec<_> = all.iter().filter(|item| item.row.record.id.starts_with(&self.record)).collect();
        let found = if by_id.is_empty() {
            all.iter().filter(|item| item.row.record.description.contains(&self.record)).collect()
        } else {
            by_id
        };
        match found[..] {
            [only] => Ok(only),
            [] => Err(Error::not_found(format!("no record {}", text::safe(&self.record)))
                .with_hint("`cachedeck daemon du` lists them")),
            [..] => {
                let exact = found.iter().find(|item| item.row.record.id == self.record);
                exact.copied().ok_or_else(|| {
                    let ids: Vec<_> = found.iter().take(8).map(|item| item.row.record.id.as_str()).collect();
                    let what = format!("{} fits {} records", text::safe(&self.record), found.len());
                    Error::invalid(what).with_hint(format!("choose one: {}", ids.join(", ")))
                })
            }
        }
    }
}
