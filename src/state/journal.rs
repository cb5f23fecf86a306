//! What we did to places: notes of those that can keep none themselves, and copies of what others keep of runs.

use super::Place;
use super::database::{Database, Sort, Worth};
use rusqlite::params;
use std::path::Path;

const SCHEMA: &str = "
    CREATE TABLE notes (
        place BLOB NOT NULL,
        key TEXT NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (place, key)
    ) WITHOUT ROWID;
    CREATE INDEX notes_by_key ON notes (key);
";

#[derive(Debug)]
pub(super) struct Journal {
    file: Database,
}

impl Journal {
    pub(super) fn new(folder: Option<&Path>) -> Self {
        let sort = Sort { name: "journal.db", version: 1, schema: SCHEMA, worth: Worth::Kept };
        Self { file: Database::new(folder, sort) }
    }

    /// Whether it was written down.
    pub(super) fn note(&self, place: Place, key: &str, body: &[u8]) -> bool {
        let written = self.file.with(|db| {
            // Other files may lose their last moments to a power cut; this one says how to take something back.
            db.pragma_update(None, "synchronous", "full")?;
            let sql = "INSERT INTO notes (place, key, body) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET body = excluded.body";
            db.execute(sql, params![place.key(), key, body])
        });
        written.is_some()
    }

    pub(super) fn notes(&self, place: Place, prefix: &str) -> Vec<String> {
        let found = self.file.look(|db| {
            let sql = "SELECT key FROM notes WHERE place = ?1 AND substr(key, 1, length(?2)) = ?2 ORDER BY key";
            db.prepare_cached(sql)?.query_map(params![place.key(), prefix], |row| row.get(0))?.collect()
        });
        found.unwrap_or_default()
    }

    /// Bodies of the notes of all places whose keys begin and end so, newest keys first.
    pub(super) fn everywhere(&self, prefix: &str, end: &str) -> Vec<Vec<u8>> {
        let found = self.file.look(|db| {
            let sql = "SELECT body FROM notes WHERE substr(key, 1, length(?1)) = ?1 AND substr(key, -length(?2)) = ?2
                       ORDER BY key DESC";
            db.prepare_cached(sql)?.query_map(params![prefix, end], |row| row.get(0))?.collect()
        });
        found.unwrap_or_default()
    }

    pub(super) fn read(&self, place: Place, key: &str) -> Option<Vec<u8>> {
        let found = self.file.look(|db| {
            let mut rows = db.prepare_cached("SELECT body FROM notes WHERE place = ?1 AND key = ?2")?;
            rows.query_map(params![place.key(), key], |row| row.get(0))?.next().transpose()
        });
        found.flatten()
    }

    pub(super) fn drop_note(&self, place: Place, key: &str) {
        self.file.look(|db| db.execute("DELETE FROM notes WHERE place = ?1 AND key = ?2", params![place.key(), key]));
    }
}
