//! What cannot be had again: where names once led, and which steps made which layers.

use super::Place;
use super::database::{Database, Sort, Worth};
use crate::model::digest::Digest;
use crate::model::usage::LearntStep;
use jiff::{Timestamp, ToSpan as _};
use rusqlite::params;
use std::path::Path;

/// Digests remembered for a place.
const PER_PLACE: i64 = 1_000;
/// Steps remembered: some tens of megabytes.
const STEPS: i64 = 200_000;
/// What was not seen for so long is forgotten.
const HOURS: i64 = 365 * 24;
/// A digest that was looked for in vain so often is forgotten.
const MISSES: i64 = 3;

const SCHEMA: &str = "
    CREATE TABLE seen (
        place BLOB NOT NULL,
        name TEXT NOT NULL,
        digest BLOB NOT NULL,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL,
        missed INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (place, name, digest)
    ) WITHOUT ROWID;
    CREATE INDEX seen_by_time ON seen (place, last);
    CREATE TABLE steps (
        created TEXT PRIMARY KEY,
        step TEXT NOT NULL,
        builder TEXT NOT NULL,
        learnt INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX steps_by_time ON steps (learnt);
";

/// What a name once led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Former {
    /// The name. Untrusted text.
    pub name: String,
    /// What it led to.
    pub digest: Digest,
    /// When it was first seen to, to the second.
    pub first: Timestamp,
    /// When it was last seen to.
    pub last: Timestamp,
}

#[derive(Debug)]
pub(super) struct History {
    file: Database,
}

impl History {
    pub(super) fn new(folder: Option<&Path>) -> Self {
        let sort = Sort { name: "history.db", version: 1, schema: SCHEMA, worth: Worth::Kept };
        Self { file: Database::new(folder, sort) }
    }

    pub(super) fn saw(&self, place: Place, names: &[(String, Digest)], now: Timestamp) {
        self.file.with(|db| {
            let writing = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            {
                let mut seen = writing.prepare_cached(
                    "INSERT INTO seen (place, name, digest, first, last) VALUES (?1, ?2, ?3, ?4, ?4)
                     ON CONFLICT DO UPDATE SET last = max(last, excluded.last), missed = 0",
                )?;
                for (name, digest) in names {
                    seen.execute(params![place.key(), name, digest.as_bytes(), now.as_second()])?;
                }
            }
            writing.execute("DELETE FROM seen WHERE place = ?1 AND last < ?2", params![place.key(), long_ago(now)])?;
            writing.execute(
                "DELETE FROM seen WHERE place = ?1 AND (name, digest) IN
                     (SELECT name, digest FROM seen WHERE place = ?1 ORDER BY last DESC LIMIT -1 OFFSET ?2)",
                params![place.key(), PER_PLACE.max(i64::try_from(names.len()).unwrap_or(i64::MAX))],
            )?;
            writing.commit()
        });
    }

    pub(super) fn formerly(&self, place: Place, limit: usize) -> Vec<Former> {
        let found = self.file.look(|db| {
            let mut rows = db.prepare_cached(
                "SELECT name, digest, first, last FROM seen WHERE place = ?1 ORDER BY last DESC, name, digest LIMIT ?2",
            )?;
            let row = |row: &rusqlite::Row<'_>| {
                let (digest, first, last): ([u8; 32], _, _) = (row.get(1)?, row.get(2)?, row.get(3)?);
                Ok((row.get(0)?, Digest::from_bytes(digest), first, last))
            };
            rows.query_map(params![place.key(), i64::try_from(limit).unwrap_or(i64::MAX)], row)?
                .collect::<rusqlite::Result<Vec<(String, Digest, i64, i64)>>>()
        });
        let former = |(name, digest, first, last)| {
            let time = |seconds| Timestamp::from_second(seconds).ok();
            Some(Former { name, digest, first: time(first)?, last: time(last)? })
        };
        found.unwrap_or_default().into_iter().filter_map(former).collect()
    }

    pub(super) fn missed(&self, place: Place, gone: &[Digest]) {
        self.file.look(|db| {
            let writing = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            {
                let mut missed =
                    writing.prepare_cached("UPDATE seen SET missed = missed + 1 WHERE place = ?1 AND digest = ?2")?;
                for digest in gone {
                    missed.execute(params![place.key(), digest.as_bytes()])?;
                }
            }
            writing.execute("DELETE FROM seen WHERE place = ?1 AND missed >= ?2", params![place.key(), MISSES])?;
            writing.commit()
        });
    }

    pub(super) fn learn(&self, steps: &[LearntStep], now: Timestamp) {
        self.file.with(|db| {
            let writing = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            {
                let mut learnt = writing.prepare_cached(
                    "INSERT INTO steps (created, step, builder, learnt) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
                )?;
                for step in steps {
                    let created = step.created.to_string();
                    learnt.execute(params![created, &*step.step, &*step.builder, now.as_second()])?;
                }
            }
            writing.execute("DELETE FROM steps WHERE learnt < ?1", [long_ago(now)])?;
            writing.execute(
                "DELETE FROM steps WHERE created IN
                     (SELECT created FROM steps ORDER BY learnt DESC, created DESC LIMIT -1 OFFSET ?1)",
                [STEPS],
            )?;
            writing.commit()
        });
    }

    pub(super) fn learnt(&self) -> Vec<LearntStep> {
        let found = self.file.look(|db| {
            let mut rows = db.prepare_cached("SELECT created, step, builder, learnt FROM steps ORDER BY created")?;
            rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
                .collect::<rusqlite::Result<Vec<(String, String, String, i64)>>>()
        });
        let step = |(created, step, builder, learnt): (String, String, String, i64)| {
            let learnt = Timestamp::from_second(learnt).ok()?;
            Some(LearntStep { created: created.parse().ok()?, step: step.into(), builder: builder.into(), learnt })
        };
        found.unwrap_or_default().into_iter().filter_map(step).collect()
    }

    pub(super) fn forget_steps(&self, time: Timestamp) -> usize {
        self.file.look(|db| db.execute("DELETE FROM steps WHERE learnt < ?1", [time.as_second()])).unwrap_or_default()
    }
}

fn long_ago(now: Timestamp) -> i64 {
    now.checked_sub(HOURS.hours()).map_or(i64::MIN, Timestamp::as_second)
}
