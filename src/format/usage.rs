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
            .with_hint("give what `docker buildx du --format json` prints, or an array of such objects")
    };
    Ok(raw.map_err(wrong)?.into_iter().map(record).collect())
}

fn record(raw: Raw) -> UsageRecord {
    UsageRecord {
        id: raw.id,
        parents: raw.parents.unwrap_or_default(),
        kind: raw.record_type,
        description: raw.description,
        // Some versions of buildx quote the number; others print sizes for people ("4.1kB"), which are no bytes.
        bytes: raw.size.and_then(|s| s.as_u64().or_else(|| s.as_str()?.parse().ok())).unwrap_or(0),
        created: raw.created_at.time(),
        last_used: raw.last_used_at.time(),
        uses: raw.usage_count.unwrap_or(0),
        in_use: raw.in_use,
        mutable: raw.mutable,
        shared: raw.shared,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    const RECORDS: &str = include_str!("../../tests/fixtures/daemon-du.json");

    #[test]
    fn what_a_builder_says_is_read() {
        let records = read(RECORDS.as_bytes()).unwrap();
        let step = records.iter().find(|r| r.description.starts_with("[web 2/3] LINK")).unwrap();
        assert_eq!((step.id.as_str(), step.parents.len()), ("cdxjomnqpcb8w94a205l7o704", 2));
        assert_eq!((step.kind.as_str(), step.bytes, step.uses), ("regular", 8192, 6));
        assert_eq!(step.created, Some("2026-11-20T17:31:29.627960038Z".parse().unwrap()), "to the nanosecond");
        assert!(!step.mutable && !step.in_use && !step.shared);
        assert!(records.iter().any(|r| r.kind == "source.local" && r.mutable && r.parents.is_empty()));
    }

    #[test]
    fn a_list_and_one_object_a_line_are_the_same() {
        let list = read(RECORDS.as_bytes()).unwrap();
        let values: Vec<serde_json::Value> = serde_json::from_str(RECORDS).unwrap();
        let lines: String = values.iter().map(|v| format!("{v}\n")).collect();
        assert_eq!(read(format!("\n{lines}\n").as_bytes()).unwrap(), list);
        assert_eq!(read(b" [] ").unwrap(), []);
        assert_eq!(read(b"").unwrap(), []);
    }

    #[test]
    fn both_spellings_of_the_keys_are_read() {
        let small =
            r#"{"id":"a","recordType":"regular","size":4096,"createdAt":"2026-01-01T00:00:00Z","parents":["b"]}"#;
        let large = r#"{"ID":"a","Type":"regular","Size":"4096","CreatedAt":"2026-01-01T00:00:00Z","Parents":["b"]}"#;
        assert_eq!(read(small.as_bytes()).unwrap(), read(large.as_bytes()).unwrap());
        let shown = read(br#"{"ID":"a","Size":"4.1kB","CreatedAt":"2 minutes ago","Parents":null}"#).unwrap();
        assert_eq!((shown[0].bytes, shown[0].created), (0, None), "what is meant for people tells nothing");
    }

    #[test]
    fn what_is_something_else_is_an_error_with_a_hint() {
        let deep = "[".repeat(100_000);
        for bad in ["7", "{}", "[1]", r#"[{"id":"a"}] x"#, r#"{"id":"a"} {"#, r#"{"id":5}"#, "no", &deep] {
            let error = read(bad.as_bytes()).expect_err(bad);
            assert_eq!(error.kind(), Kind::Invalid, "{bad}");
            assert!(error.hint().unwrap().contains("buildx du"));
        }
    }
}
