//! The file in which pairs are kept.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, params};
use serde::Serialize;

/// Pairs that are kept; of more, those seen least recently go.
pub const SEEN_ROWS: usize = 10_000;
/// Another pipe that writes to the same file is waited for so long.
const PATIENCE: Duration = Duration::from_secs(2);
/// Version of the table.
const VERSION: i64 = 1;

/// A program and whom it talked to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pair {
    /// Hash of the fields that follow, up to `peer`.
    #[serde(skip)]
    pub id: u64,
    /// Script or process name.
    pub program: String,
    /// User of the process.
    pub uid: u32,
    /// The peer connected to the program.
    #[serde(rename = "incoming")]
    pub is_incoming: bool,
    /// Name, operator or network.
    pub peer: String,
    /// First seen, in seconds since 1970.
    pub first: i64,
    /// Last seen to connect, in seconds since 1970.
    pub last: i64,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Its folder cannot be made, or it cannot be opened.
    #[error("cannot keep what was seen in {0}: {1}")]
    Open(PathBuf, io::Error),
    /// The thread that writes cannot be started.
    #[error("cannot write what was seen to {0}: {1}")]
    Start(PathBuf, io::Error),
    /// A newer version made it.
    #[error("{0} is of a newer version of LECO ({1}): update, or use another file with memory=PATH")]
    Newer(PathBuf, i64),
    /// `SQLite` refused.
    #[error("cannot use {0}: {1}")]
    Sqlite(PathBuf, rusqlite::Error),
}

/// The file, open.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    connection: Connection,
}

impl Store {
    /// Opens the file for writing, made with its folder where it is missing; one that is damaged is put aside.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        match Self::try_open(path) {
            Err(StoreError::Sqlite(_, error))
                if matches!(
                    error.sqlite_error_code(),
                    Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt)
                ) =>
            {
                let mut aside = path.as_os_str().to_owned();
                aside.push(".damaged");
                tracing::warn!("{} is damaged: it is put aside, and a new one is begun", path.display());
                std::fs::rename(path, &aside).map_err(|error| StoreError::Open(path.to_owned(), error))?;
                Self::try_open(path)
            }
            opened => opened,
        }
    }

    fn try_open(path: &Path) -> Result<Self, StoreError> {
        let failed = |error| StoreError::Open(path.to_owned(), error);
        if let Some(folder) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        }
        // Who talked to whom is for this user alone.
        OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(failed)?;
        let store = Self::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        // After a crash what was written last may be missing, and nothing is damaged (sqlite.org/wal.html).
        store.sql("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-64; PRAGMA journal_size_limit=1048576")?;
        let version: i64 = store.first("PRAGMA user_version")?;
        if version > VERSION {
            return Err(StoreError::Newer(path.to_owned(), version));
        }
        store.sql(&format!(
            "CREATE TABLE IF NOT EXISTS seen (id INTEGER PRIMARY KEY, program TEXT NOT NULL, uid INTEGER NOT NULL,
             incoming INTEGER NOT NULL, peer TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL);
             CREATE INDEX IF NOT EXISTS seen_last ON seen (last);
             PRAGMA user_version={VERSION}"
        ))?;
        Ok(store)
    }

    /// Opens a file that is there, for reading.
    pub fn open_to_read(path: &Path) -> Result<Self, StoreError> {
        if !path.exists() {
            return Err(StoreError::Open(path.to_owned(), io::ErrorKind::NotFound.into()));
        }
        Self::connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
    }

    fn connect(path: &Path, flags: OpenFlags) -> Result<Self, StoreError> {
        let failed = |error| StoreError::Sqlite(path.to_owned(), error);
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.busy_timeout(PATIENCE).map_err(failed)?;
        Ok(Self { path: path.to_owned(), connection })
    }

    fn failed(&self) -> impl Fn(rusqlite::Error) -> StoreError {
        |error| StoreError::Sqlite(self.path.clone(), error)
    }

    fn sql(&self, statements: &str) -> Result<(), StoreError> {
        self.connection.execute_batch(statements).map_err(self.failed())
    }

    fn first<T: rusqlite::types::FromSql>(&self, query: &str) -> Result<T, StoreError> {
        self.connection.query_row(query, [], |row| row.get(0)).map_err(self.failed())
    }

    /// Keys of the pairs that are kept, the one seen last at the end.
    pub fn ids(&mut self) -> Result<Vec<u64>, StoreError> {
        let read = || -> rusqlite::Result<Vec<u64>> {
            let mut query = self.connection.prepare("SELECT id FROM seen ORDER BY last")?;
            let ids = query.query_map([], |row| row.get::<_, i64>(0))?;
            ids.map(|id| id.map(i64::cast_unsigned)).collect()
        };
        read().map_err(self.failed())
    }

    /// Adds pairs, or the time at which those that are known were seen again. All or nothing.
    pub fn write(&mut self, pairs: &[Pair]) -> Result<(), StoreError> {
        let path = &self.path;
        let connection = &mut self.connection;
        let mut write = || -> rusqlite::Result<()> {
            let transaction = connection.transaction()?;
            {
                let mut insert = transaction.prepare(
                    "INSERT INTO seen VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                     ON CONFLICT (id) DO UPDATE SET last = max(last, excluded.last)",
                )?;
                for pair in pairs {
                    let Pair { id, program, uid, is_incoming, peer, first, last } = pair;
                    insert.execute(params![
                        id.cast_signed(),
                        program,
                        uid,
                        is_incoming,
                        peer,
                        first,
                        last
                    ])?;
                }
                let rows: i64 = transaction.query_row("SELECT count(*) FROM seen", [], |row| row.get(0))?;
                let excess = rows - i64::try_from(SEEN_ROWS).unwrap_or(i64::MAX);
                if excess > 0 {
                    transaction.execute(
                        "DELETE FROM seen WHERE id IN (SELECT id FROM seen ORDER BY last LIMIT ?1)",
                        [excess],
                    )?;
                }
            }
            transaction.commit()
        };
        write().map_err(|error| StoreError::Sqlite(path.clone(), error))
    }

    /// Every pair, the one seen last at the end.
    pub fn pairs(&self) -> Result<Vec<Pair>, StoreError> {
        let read = || -> rusqlite::Result<Vec<Pair>> {
            let mut query = self.connection.prepare(
                "SELECT id, program, uid, incoming, peer, first, last FROM seen ORDER BY last, first",
            )?;
            let pairs = query.query_map([], |row| {
                Ok(Pair {
                    id: row.get::<_, i64>(0)?.cast_unsigned(),
                    program: row.get(1)?,
                    uid: row.get(2)?,
                    is_incoming: row.get(3)?,
                    peer: row.get(4)?,
                    first: row.get(5)?,
                    last: row.get(6)?,
                })
            })?;
            pairs.collect()
        };
        read().map_err(self.failed())
    }
}
