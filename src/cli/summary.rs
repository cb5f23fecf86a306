//! A location in a sentence: what stands below tables that people look at.

use super::session::Many;
use crate::model::builder::{Builder, Totals};
use crate::model::inventory::Inventory;
use crate::model::text;
use crate::model::units::{Bytes, SizeStyle, count};

/// What each location holds, a line each.
pub(super) fn holdings(many: &Many, sizes: SizeStyle) -> Vec<String> {
    lines(many, |inventory| vec![holding(inventory, sizes)])
}

/// The same of builders alone.
pub(super) fn builders(many: &Many, sizes: SizeStyle) -> Vec<String> {
    lines(many, |inventory| inventory.details.builder.iter().map(|_| holding(inventory, sizes)).collect())
}

/// How much of each location no tag needs.
pub(super) fn unneeded(many: &Many, sizes: SizeStyle) -> Vec<String> {
    lines(many, |inventory| waste(inventory, sizes))
}

fn lines(many: &Many, of: impl Fn(&Inventory) -> Vec<String>) -> Vec<String> {
    let mut lines = Vec::new();
    for loaded in &many.loaded {
        let place = if many.several { format!("{}: ", loaded.inventory.location.title()) } else { String::new() };
        lines.extend(of(&loaded.inventory).into_iter().map(|line| format!("{place}{line}")));
    }
    lines
}

/// What a builder holds, by type of record and in all.
pub(super) fn of_builder(builder: &Builder, sizes: SizeStyle) -> Vec<String> {
    let size = |bytes| Bytes(bytes).show(sizes);
    let line = |what: &str, totals: Totals| {
        let records = count(totals.records, "record");
        let mut line =
            format!("{what}: {records}, {}, {} reclaimable", size(totals.bytes), size(totals.reclaimable_bytes));
        if totals.shared_bytes > 0 {
            line.push_str(&format!(", {} shared", size(totals.shared_bytes)));
        }
        if totals.in_use > 0 {
            line.push_str(&format!(", {} in use", totals.in_use));
        }
        line
    };
    let by_type = Totals::by_type(builder.records().map(|(_, record)| record));
    let mut lines: Vec<String> = by_type.iter().map(|(kind, totals)| line(kind, *totals)).collect();
    if lines.len() != 1 {
        lines.push(line("in all", builder.totals()));
    }
    lines
}

fn holding(inventory: &Inventory, sizes: SizeStyle) -> String {
    let usage = inventory.usage;
    let size = |bytes| Bytes(bytes).show(sizes);
    if let Some(builder) = &inventory.details.builder {
        let totals = builder.totals();
        let location = text::shell_quote(&inventory.location.to_string()).into_owned();
        return format!(
            "a builder has no versions: it keeps {}, {}; `cachedeck daemon du {location}` lists them",
            count(totals.records, "record"),
            size(totals.bytes)
        );
    }
    let states = [
        (usage.live_bytes, "live"),
        (usage.dangling_bytes, "dangling"),
        (usage.orphan_bytes, "orphan"),
        (usage.unknown_bytes, "unknown"),
    ];
    let parts: Vec<String> = states
        .into_iter()
        .filter(|(bytes, _)| *bytes > 0)
        .map(
            |(bytes, what)| {
                if bytes == usage.bytes { format!("all {what}") } else { format!("{} {what}", size(bytes)) }
            },
        )
        .collect();
    let parts = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) };
    let dangling = match dangling(inventory) {
        0 => String::new(),
        some => format!(", {some} of them dangling"),
    };
    let (versions, blobs) = (count(usage.indexes, "version"), count(usage.blobs, "blob"));
    format!("{versions}{dangling}; {blobs}, {}{parts}", size(usage.bytes))
}

fn waste(inventory: &Inventory, sizes: SizeStyle) -> Vec<String> {
    if let Some(builder) = &inventory.details.builder {
        return of_builder(builder, sizes);
    }
    let usage = inventory.usage;
    let size = |bytes| Bytes(bytes).show(sizes);
    let mut lines = Vec::new();
    let unneeded = usage.dangling_bytes.saturating_add(usage.orphan_bytes);
    if unneeded > 0 {
        let percent = u128::from(unneeded) * 100 / u128::from(usage.bytes.max(1));
        let mut parts = Vec::new();
        if usage.dangling_bytes > 0 {
            let versions = count(dangling(inventory), "dangling version");
            parts.push(format!("{} only in {versions}", size(usage.dangling_bytes)));
        }
        if usage.orphan_bytes > 0 {
            parts.push(format!("{} in {}", size(usage.orphan_bytes), count(usage.orphan_blobs, "orphan blob")));
        }
        lines.push(format!("{} of it no tag needs ({percent}%): {}", size(unneeded), parts.join(", ")));
    } else if usage.unknown_bytes > 0 {
        lines.push("what of it a tag needs can't be told: not all versions can be read".to_owned());
    } else if usage.bytes > 0 {
        lines.push("all of it is needed by a tag".to_owned());
    }
    if !inventory.leftovers.is_empty() {
        let bytes = inventory.leftovers.iter().map(|l| l.bytes).fold(0, u64::saturating_add);
        let uploads = count(inventory.leftovers.len(), "upload");
        lines.push(format!("besides, {} in {uploads} that did not finish", size(bytes)));
    }
    lines
}

fn dangling(inventory: &Inventory) -> usize {
    inventory.indexes.iter().filter(|index| index.is_dangling()).count()
}
