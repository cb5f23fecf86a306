//! Documents that were read: the one file that grows, so the one with a bound.

use super::Place;
use super::database::{Database, Sort, Worth};
use crate::model::digest::Digest;
use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};
use std::path::Path;

/// Documents longer than this are not kept.
pub const KEPT: u64 = 4 << 20;

/// What the file may take.
const LIMIT: u64 = 512 << 20;

/// When a document is used again, that is written down if it was not for this long.
const FRESH: i64 = 24 * 60 * 60;

const SCHEMA: &str = "
    CREATE TABLE documents (
        id INTEGER PRIMARY KEY,
        digest BLOB NOT NULL UNIQUE,
        used INTEGER NOT NULL,
        size INTEGER NOT NULL,
        packed BLOB NOT NULL
    );
    CREATE INDEX documents_by_use ON documents (used);
    CREATE TABLE names (
        place BLOB NOT NULL,
        name TEXT NOT NULL,
        version TEXT NOT NULL,
        document INTEGER NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
        PRIMARY KEY (place, name, version)
    ) WITHOUT ROWID;
    CREATE INDEX names_by_document ON names (document);
";

/// A document that was read at a place.
#[derive(Clone, Debug)]
pub struct Read {
    /// The name it has there, in which version; `None` if it was read by digest.
    pub name: Option<(String, String)>,
    /// What its digest should be, if it was read by that; other bytes are not kept.
    pub digest: Option<Digest>,
    /// The whole of it.
    pub bytes: Bytes,
}

/// A document that is remembered. Its digest was computed, not looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Of its bytes.
    pub digest: Digest,
    /// The whole of it.
    pub bytes: Bytes,
}

#[derive(Debug)]
pub(super) struct Catalog {
    file: Database,
    limit: u64,
}

impl Catalog {
    pub(super) fn new(folder: Option<&Path>) -> Self {
        Self::with_limit(folder, LIMIT)
    }

    pub(super) fn with_limit(folder: Option<&Path>, limit: u64) -> Self {
        let sort = Sort { name: "catalog.db", version: 1, schema: SCHEMA, worth: Worth::Nothing };
        Self { file: Database::new(folder, sort), limit }
    }

    pub(super) fn known(&self, place: Place, name: &str, version: &str) -> Option<Known> {
        let packed = self.file.look(|db| {
            let mut found = db.prepare_cached(
                "SELECT id, digest, used, size, packed FROM names JOIN documents ON document = id
                 WHERE place = ?1 AND name = ?2 AND version = ?3",
            )?;
            found.query_row(params![place.key(), name, version], Packed::of).optional()
        })??;
        self.unpack(packed)
    }

    pub(super) fn document(&self, digest: &Digest) -> Option<Bytes> {
        let packed = self.file.look(|db| {
            let mut found =
                db.prepare_cached("SELECT id, digest, used, size, packed FROM documents WHERE digest = ?1")?;
            found.query_row([digest.as_bytes()], Packed::of).optional()
        })??;
        Some(self.unpack(packed)?.bytes)
    }

    /// Keeps documents, and makes room if the file has grown too large.
    pub(super) fn keep(&self, place: Place, read: &[Read], now: Timestamp) {
        // Hashing and packing take longer than writing, so they are done before anybody is kept waiting.
        let pack = |read: &'_ Read| {
            let digest = Digest::of(&read.bytes);
            let right = read.bytes.len() as u64 <= KEPT && read.digest.is_none_or(|should| should == digest);
            right.then(|| zstd::bulk::compress(&read.bytes, 1).ok())?.map(|packed| (digest, packed))
        };
        let packed: Vec<_> = read.iter().filter_map(|read| Some((read, pack(read)?))).collect();
        let now = now.as_second();
        self.file.with(|db| {
            let writing = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            {
                let mut document = writing.prepare_cached(
                    "INSERT INTO documents (digest, used, size, packed) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (digest) DO UPDATE SET used = max(used, excluded.used) RETURNING id",
                )?;
                let mut named = writing.prepare_cached(
                    "INSERT INTO names (place, name, version, document) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT DO UPDATE SET document = excluded.document",
                )?;
                for (read, (digest, packed)) in &packed {
                    let row = params![digest.as_bytes(), now, read.bytes.len() as i64, packed];
                    let id: i64 = document.query_row(row, |row| row.get(0))?;
                    if let Some((name, version)) = &read.name {
                        named.execute(params![place.key(), name, version, id])?;
                    }
                }
            }
            make_room(&writing, self.limit)?;
            writing.commit()
        });
    }

    /// The document, if it is what its digest says; if not, it is thrown away.
    fn unpack(&self, packed: Packed) -> Option<Known> {
        let size = usize::try_from(packed.size).ok().filter(|&size| size as u64 <= KEPT);
        let bytes = size.and_then(|size| zstd::bulk::decompress(&packed.bytes, size).ok());
        if let Some(bytes) = bytes.filter(|bytes| Digest::of(bytes).as_bytes()[..] == packed.digest[..]) {
            let now = Timestamp::now().as_second();
            if packed.used.saturating_add(FRESH) < now {
                self.file.with(|db| {
                    db.prepare_cached("UPDATE documents SET used = ?2 WHERE id = ?1")?.execute([packed.id, now])
                });
            }
            return Some(Known { digest: Digest::of(&bytes), bytes: bytes.into() });
        }
        tracing::warn!("a remembered document is damaged: read again");
        self.file.with(|db| db.execute("DELETE FROM documents WHERE id = ?1", [packed.id]));
        None
    }
}

/// A document as it is stored.
struct Packed {
    id: i64,
    digest: Vec<u8>,
    used: i64,
    size: i64,
    bytes: Vec<u8>,
}

impl Packed {
    fn of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { id: row.get(0)?, digest: row.get(1)?, used: row.get(2)?, size: row.get(3)?, bytes: row.get(4)? })
    }
}

/// Takes away what was not used for longest, until a tenth of `limit` is free again.
fn make_room(db: &Connection, limit: u64) -> rusqlite::Result<()> {
    if taken(db)? <= limit {
        return Ok(());
    }
    while taken(db)? > limit / 10 * 9 {
        let gone =
            db.execute("DELETE FROM documents WHERE id IN (SELECT id FROM documents ORDER BY used, id LIMIT 8)", [])?;
        if gone == 0 {
            break;
        }
    }
    Ok(())
}

/// Bytes of the file that hold something.
fn taken(db: &Connection) -> rusqlite::Result<u64> {
    let value = |name: &str| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let pages = value("page_count")?.saturating_sub(value("freelist_count")?);
    Ok(pages.saturating_mul(value("page_size")?).try_into().unwrap_or_default())
}
