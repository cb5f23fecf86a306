//! A builder's usage records as JSON: an array of objects, or one object a line, as `buildx du --format json` and
//! BuildKit's API give them. Field names differ in case and spelling between the two; both are read.

use crate::error::{Error, Result};
use crate::format::lenient::{GoTime, Lenient};
use crate::model::usage::UsageRecord;
use serde::Deserialize;

/// The longest list that is read.
pub const LIMIT: u64 = 64 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(alias = "ID")]
    id: String,
    #[serde(default, alias = "Parents")]
    parents: Option<Vec<String>>,
    #[serde(default, alias = "Type", alias = "RecordType")]
    record_type: String,
    #[serde(default, alias = "Description")]
    description: String,
    #[serde(default, alias = "Size")]
    size: Option<serde_json::Value>,
    #[serde(default, alias = "CreatedAt")]
    created_at: Lenient<GoTime>,
    #[serde(default, alias = "LastUsedAt")]
    last_used_at: Lenient<GoTime>,
    #[serde(default, alias = "UsageCount")]
    usage_count: Option<u64>,
    #[serde(default, alias = "InUse")]
    in_use: bool,
    #[serde(default, alias = "Mutable")]
    mutable: bool,
    #[serde(default, alias = "Shared")]
    shared: bool,
}

/// Reads usage records, in the order given.
pub fn read(bytes: &[u8]) -> Result<Vec<UsageRecord>> {
    if bytes.len() as u64 > LIMIT {
        return Err(Error::invalid(format!("the usage records are longer than {} MiB", LIMIT >> 20)));
    }
    let starts = bytes.iter().find(|b| !b.is_ascii_whitespace());
    let raw: serde_json::Result<Vec<Raw>> = match starts {
        Some(b'[') => serde_json::from_slice(bytes),
        _ => serde_json::Deserializer::from_slice(bytes).into_iter().collect(),
    };
    let wrong = |e| {
        Error::invalid("not usage records")
            .with_source(e)
            .with_hint("give what `docker buildx du --verbose --format json` prints, or an array of such objects")
    };
    Ok(raw.map_err(wrong)?.into_iter().map(record).collect())
}

fn record(raw: Raw) -> UsageRecord {
    UsageRecord {
        id: raw.id,
        parents: raw.parents.unwrap_or_default(),
        kind: raw.record_type,
        description: raw.description,
        // buildx prints sizes for people ("4.1kB"); only numbers are taken for bytes.
        bytes: raw.size.and_then(|s| s.as_u64()).unwrap_or(0),
        created: raw.created_at.time(),
        last_used: raw.last_used_at.time(),
        uses: raw.usage_count.unwrap_or(0),
        in_use: raw.in_use,
        mutable: raw.mutable,
        shared: raw.shared,
    }
}
