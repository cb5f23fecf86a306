//! One SQLite file: opened late, private, shared with other processes, and never a reason to fail.

use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long to wait for another process that writes.
const BUSY: Duration = Duration::from_secs(1);

/// What becomes of a file that can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    /// All in it can be had again: it is replaced, also if a newer version wrote it.
    Nothing,
    /// It is kept: beside a new one if it is damaged, and left alone if a newer version wrote it.
    Kept,
}

/// What a file must be.
#[derive(Debug)]
pub(super) struct Sort {
    /// Its name in the folder.
    pub(super) name: &'static str,
    /// Its `user_version`.
    pub(super) version: i64,
    /// Makes its tables.
    pub(super) schema: &'static str,
    pub(super) worth: Worth,
}

/// A file of one sort.
#[derive(Debug)]
pub(super) struct Database {
    sort: Sort,
    folder: Option<PathBuf>,
    slot: Mutex<Slot>,
}

#[derive(Debug)]
enum Slot {
    Unopened,
    Open(Connection),
    /// It can't be used, and that was said.
    Without,
}

/// Why there is no connection.
enum Fault {
    Newer,
    Sql(rusqlite::Error),
    Disk(io::Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Fault::Sql(error)
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Fault::Disk(error)
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::Newer => f.write_str("a newer version wrote it"),
            Fault::Sql(error) => error.fmt(f),
            Fault::Disk(error) => error.fmt(f),
        }
    }
}

impl Database {
    /// The file in `folder`; without a folder, nothing is kept.
    pub(super) fn new(folder: Option<&Path>, sort: Sort) -> Self {
        Self { sort, folder: folder.map(Path::to_owned), slot: Mutex::new(Slot::Unopened) }
    }

    /// As [`Database::with`], but only if there is a file: to look at nothing, none is made.
    pub(super) fn look<T>(&self, work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Option<T> {
        self.folder.as_deref()?.join(self.sort.name).try_exists().ok().filter(|&exists| exists)?;
        self.with(work)
    }

    /// Works with the file, which is made if it is not there; `None` if there can be none or the work failed, which is said in
    /// the log. Blocks.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Option<T> {
        let folder = self.folder.as_deref()?;
        // A connection is whole between any two statements, and an unfinished transaction is rolled back.
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*slot, Slot::Unopened) {
            *slot = match self.open(folder) {
                Ok(connection) => Slot::Open(connection),
                Err(fault) => {
                    let file = folder.join(self.sort.name);
                    tracing::warn!(file = %file.display(), "nothing is remembered: {fault}");
                    Slot::Without
                }
            };
        }
        let Slot::Open(connection) = &mut *slot else { return None };
        match work(connection) {
            Ok(done) => Some(done),
            Err(error) => {
                let file = folder.join(self.sort.name);
                tracing::warn!(file = %file.display(), "{error}");
                if is_damage(&error) {
                    // Closed first: the next use looks at the file anew and sets it aside.
                    *slot = Slot::Unopened;
                    self.set_aside(folder);
                }
                None
            }
        }
    }

    /// The file, made or set aside as is needed. Only one process at a time does this.
    fn open(&self, folder: &Path) -> Result<Connection, Fault> {
        make_private_folder(folder)?;
        let _lock = lock(folder);
        match self.connect(folder) {
            Err(Fault::Sql(error)) if is_damage(&error) => {}
            Err(Fault::Newer) if self.sort.worth == Worth::Nothing => {}
            other => return other,
        }
        self.move_away(folder)?;
        self.connect(folder)
    }

    fn connect(&self, folder: &Path) -> Result<Connection, Fault> {
        // SQLite is to follow no link to the file itself, but those on the way to it are the user's.
        let path = folder.canonicalize()?.join(self.sort.name);
        make_private_file(&path)?;
        let flags =
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let mut connection = Connection::open_with_flags(&path, flags)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.pragma_update(None, "cell_size_check", true)?;
        let version = |connection: &Connection| connection.pragma_query_value(None, "user_version", |row| row.get(0));
        let found: i64 = version(&connection)?;
        if found > self.sort.version {
            return Err(Fault::Newer);
        }
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "normal")?;
        connection.pragma_update(None, "journal_size_limit", 16 << 20)?;
        if found < self.sort.version {
            // There is no older version than this yet, so what is there is nothing, or nothing of ours.
            let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
            if tables > 0 {
                return Err(Fault::Sql(unreadable()));
            }
            let making = connection.transaction()?;
            making.execute_batch(self.sort.schema)?;
            making.pragma_update(None, "user_version", self.sort.version)?;
            making.commit()?;
        }
        Ok(connection)
    }

    /// Moves a damaged file away, unless another process has done so already.
    fn set_aside(&self, folder: &Path) {
        let _lock = lock(folder);
        let sound = self.connect(folder).is_ok_and(|connection| {
            connection
                .query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0))
                .is_ok_and(|said| said == "ok")
        });
        if !sound && let Err(error) = self.move_away(folder) {
            tracing::warn!(folder = %folder.display(), "a damaged file stays: {error}");
        }
    }

    fn move_away(&self, folder: &Path) -> io::Result<()> {
        for end in ["", "-wal", "-shm"] {
            let path = folder.join(format!("{}{end}", self.sort.name));
            let moved = match self.sort.worth {
                Worth::Nothing => fs::remove_file(&path),
                Worth::Kept => fs::rename(&path, folder.join(format!("{}.damaged{end}", self.sort.name))),
            };
            match moved {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        tracing::warn!(file = %folder.join(self.sort.name).display(), "unusable: begun anew");
        Ok(())
    }
}

/// Whether the file itself is at fault, and not the moment.
fn is_damage(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(error, _) => {
            matches!(error.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
                // A table or column that should be there is not.
                || error.code == ErrorCode::Unknown
        }
        rusqlite::Error::SqlInputError { .. }
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::FromSqlConversionFailure(..) => true,
        _ => false,
    }
}

fn unreadable() -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_NOTADB);
    rusqlite::Error::SqliteFailure(code, Some("tables of something else".to_owned()))
}

fn make_private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Makes the file, if it is not there, before SQLite does so with the usual mode; its companions take over this one's.
fn make_private_file(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
        let file = options.mode(0o600).open(path)?;
        if file.metadata()?.permissions().mode() & 0o077 != 0 {
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
        }
        Ok(())
    }
    #[cfg(not(unix))]
    options.open(path).map(drop)
}

/// Keeps other processes from opening or moving files of this folder until it is dropped. Where that cannot be had, things go
/// on without: SQLite's own locks keep the contents whole.
fn lock(folder: &Path) -> Option<File> {
    let path = folder.join("lock");
    make_private_file(&path).ok()?;
    let file = OpenOptions::new().write(true).open(path).ok()?;
    let until = Instant::now() + BUSY;
    while file.try_lock().is_err() {
        if Instant::now() > until {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Some(file)
}
