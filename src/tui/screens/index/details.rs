//! What is known of one layer, for previews and boxes.

use super::facts::Facts;
use crate::model::cache::Outcome;
use crate::model::inventory::State;
use crate::model::text;
use crate::tui::screen::{Look, count, old, thousands};
use crate::tui::screens::{digest_lines, used_by, wrapped};
use ratatui::text::{Line, Span};

/// What matters most of one layer, in four lines for a low pane.
pub(super) fn brief(number: usize, facts: &Facts, width: usize, look: Look<'_>) -> Vec<Line<'static>> {
    let Some(layer) = facts.cache.layers.get(number) else { return Vec::new() };
    let dot = format!(" {} ", look.glyphs.dot);
    let mut lines = Vec::new();
    match &facts.steps[number] {
        Some(name) => {
            let step = text::safe(&name.step).into_owned();
            let room = width.saturating_sub(20 + name.source.word().len());
            let step = text::fit_end(&step, room, look.glyphs.ellipsis).into_owned();
            lines.push(look.fact("step", vec![step.into(), look.dim(format!("  named by {}", name.source.word()))]));
        }
        None => lines.push(look.fact("step", vec![look.dim("nothing tells")])),
    }
    lines.push(look.fact("digest", vec![layer.blob.to_string().into()]));
    let blob = facts.inventory.as_ref().and_then(|inventory| inventory.blob(&layer.blob));
    if blob.is_some_and(|blob| blob.state == State::Missing) {
        lines.push(look.fact("blob", vec![look.state(State::Missing), " missing".into()]));
    }
    let mut words = vec![layer.size.map_or("size unknown".to_owned(), |n| format!("{} B", thousands(n)))];
    words.push(layer.compression.name().to_owned());
    words.push(layer.parent.map_or("no parent".to_owned(), |parent| format!("on #{parent}")));
    words.push(if facts.min[number] { "in mode=min".to_owned() } else { "not in mode=min".to_owned() });
    words.extend(layer.created.map(|time| old(look.shared.now, time)));
    lines.push(look.fact("size", vec![words.join(&dot).into()]));
    if let Some(inventory) = &facts.inventory {
        lines.push(look.fact("used by", vec![used_by(inventory, &layer.blob, 6).into()]));
    }
    lines
}

/// Everything known of one layer.
pub(super) fn details(number: usize, facts: &Facts, width: usize, look: Look<'_>) -> Vec<Line<'static>> {
    let Some(layer) = facts.cache.layers.get(number) else { return Vec::new() };
    let mut lines = Vec::new();
    if let Some(name) = &facts.steps[number] {
        lines.extend(wrapped("step", &text::safe(&name.step), width, look));
        lines.push(look.fact("", vec![look.dim(format!("named by {}", name.source.word()))]));
    }
    let size = layer.size.map_or("unknown".to_owned(), |n| format!("{} ({} B)", look.bytes(n), thousands(n)));
    lines.push(look.fact("size", vec![size.into()]));
    let blob = facts.inventory.as_ref().and_then(|inventory| inventory.blob(&layer.blob));
    let state = match blob {
        Some(blob) if blob.state == State::Missing => vec![look.state(State::Missing), " missing".into()],
        Some(blob) if blob.wrong_size() => {
            let says = format!("{} has {}", look.glyphs.finding, look.bytes(blob.size.unwrap_or(0)));
            vec![Span::styled(says, look.theme.finding)]
        }
        Some(_) => vec!["present".into()],
        None => vec![look.dim("not listed here")],
    };
    lines.push(look.fact("blob", state));
    lines.extend(digest_lines("digest", &layer.blob, width, look));
    if let Some(diff_id) = &layer.diff_id {
        lines.extend(digest_lines("diffID", diff_id, width, look));
    }
    let media = text::safe(&layer.media_type).into_owned();
    lines.extend(wrapped("media", media.rsplit('.').next().unwrap_or(&media), width, look));
    lines.push(look.fact("created", look.time(layer.created)));
    let depth = facts.forest.depth(number);
    let parent = layer.parent.map_or("none".to_owned(), |p| format!("#{p}, {} deep", depth));
    lines.push(look.fact("parent", vec![parent.into()]));
    let above = facts.forest.children(number).len();
    if above > 0 {
        let weight = facts.forest.subtree_bytes(number).saturating_sub(layer.size.unwrap_or(0));
        lines
            .push(look.fact("above", vec![format!("{}, {} in all", count(above, "layer"), look.bytes(weight)).into()]));
    }
    let records: Vec<String> = facts.records_of[number].iter().take(6).map(|r| format!("#{r}")).collect();
    if !records.is_empty() {
        let more = facts.records_of[number].len().saturating_sub(6);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        lines.extend(wrapped("records", &format!("{}{more}", records.join(" ")), width, look));
    }
    lines.push(look.fact("mode=min", vec![if facts.min[number] { "kept".into() } else { look.dim("left out") }]));
    if let Some(inventory) = &facts.inventory {
        lines.extend(wrapped("used by", &used_by(inventory, &layer.blob, 12), width, look));
    }
    lines
}

/// Layers an outcome stands for, lowest first, for messages: `#3` or `#1 #2 #3`.
pub(super) fn outcome_words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Layer { layer, .. } => format!("layer #{layer} with its parents"),
        Outcome::Chain { layers, .. } => {
            format!("layers {}", layers.iter().map(|l| format!("#{l}")).collect::<Vec<_>>().join(" "))
        }
    }
}
