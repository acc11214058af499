// SPDX-License-Identifier: GPL-3.0-or-later
//! The file in which pairs are kept.

use std::fs::{self, DirBuilder};
use std::io;
use std::num::NonZero;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::tz::TimeZone;
use leco_os::files::{PlaceError, make_file};
use rusqlite::{Connection, ErrorCode, OpenFlags, params};
use rustix::fs::{Advice, CWD, Mode, OFlags, RenameFlags, fadvise, fstat, renameat_with};
use rustix::io::Errno;
use serde::Serialize;

use crate::history::errors::StoreError;
use crate::history::mark;
use crate::history::mark::{APPLICATION_ID, Found, INDEX, TABLE, beside};
use crate::history::names::{self, KeptName, NAMES};
use crate::history::pages::Place;
use crate::history::totals::{self, Column, Flow, FlowRef, Limits, TABLES, Total, Totals, TotalsBatch};

/// Pairs that are kept; of more, those seen least recently go.
pub const SEEN_ROWS: usize = 10_000;
/// Another pipe that writes to the same file is waited for so long.
const PATIENCE: Duration = Duration::from_secs(2);
/// Damaged databases that are kept; of more, nothing is remembered until they are removed.
const MAX_ASIDE: u32 = 8;
/// What is sorted is in memory: no other file may be opened in the sandbox.
const IN_MEMORY: &str = "PRAGMA temp_store=MEMORY";
/// Of more at once the kernel reads only so much as it reads ahead of a reader; that is the usual.
const READ_AHEAD: usize = 128 << 10;
/// Version of the table.
const VERSION: i64 = 4;

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

/// The file, open.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    connection: Connection,
    /// Bytes of what is no total, when that was last measured.
    others: i64,
}

impl Store {
    /// Opens the file for writing, made with its folder where it is missing. One of LECO's own that is damaged is put
    /// aside; whatever is not LECO's is refused, and not changed.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let found = mark::look(path)?;
        match Self::open_found(path, found) {
            Err(StoreError::Sqlite(_, error)) if found == Found::Marked && is_damage(&error) => {
                let aside = put_aside(path)?;
                let (path, aside) = (path.display(), aside.display());
                tracing::warn!("{path} is damaged: moved it to {aside} and started a new one");
            }
            opened => return opened,
        }
        Self::open_found(path, mark::look(path)?)
    }

    fn open_found(path: &Path, found: Found) -> Result<Self, StoreError> {
        if found == Found::Nothing {
            if let Some(folder) = path.parent() {
                let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
                made.map_err(|error| StoreError::Open(path.to_owned(), error))?;
            }
            // Who talked to whom is for this user alone.
            match make_file(path, 0o600) {
                // Another pipe was faster, or what is there now is refused below.
                Err(PlaceError::Io(_, error)) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => drop(made?),
            }
        }
        let mut store = Self::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let begun = if found == Found::Marked { Ok(()) } else { store.begin() };
        if begun.is_err() && found == Found::Nothing && fs::metadata(path).is_ok_and(|made| made.len() == 0) {
            // On a disk that is full nothing is left of the try.
            let _ = fs::remove_file(path);
        }
        begun?;
        if store.first::<i32>("PRAGMA application_id")? != APPLICATION_ID {
            return Err(StoreError::Foreign(path.to_owned()));
        }
        let version: i64 = store.first("PRAGMA user_version")?;
        if version > VERSION {
            return Err(StoreError::Newer(path.to_owned(), version));
        }
        if version < VERSION {
            upgrade(&mut store)?;
        }
        // After a crash what was written last may be missing, and nothing is damaged (sqlite.org/wal.html).
        store.sql("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-64; PRAGMA journal_size_limit=1048576")?;
        if store.first::<String>("PRAGMA quick_check(1)")? != "ok" {
            let damage = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
            return Err(StoreError::of_sqlite(path, rusqlite::Error::SqliteFailure(damage, None)));
        }
        // SQLite has no sums of what it keeps.
        totals::check(&store.connection).map_err(store.failed())?;
        Ok(store)
    }

    /// Makes the tables where there are none yet, and marks the database: all or nothing, and only where nothing else
    /// is in it.
    fn begin(&self) -> Result<(), StoreError> {
        self.sql("BEGIN IMMEDIATE")?;
        let schema = mark::schema_of(&self.connection).map_err(self.failed())?;
        let marked: i32 = self.first("PRAGMA application_id")?;
        let version: i64 = self.first("PRAGMA user_version")?;
        match schema.as_slice() {
            // Another pipe was faster.
            _ if marked == APPLICATION_ID => return self.sql("ROLLBACK"),
            [] if marked == 0 => self.sql(&format!("{TABLE}; {INDEX}; {NAMES}; {TABLES}"))?,
            schema if marked == 0 && mark::is_ours(schema) => {
                tracing::debug!("converting {}, which is of an older version", self.path.display());
                self.sql(&format!("{NAMES}; {TABLES}"))?;
            }
            _ => return Err(StoreError::Foreign(self.path.clone())),
        }
        if version > VERSION {
            return Err(StoreError::Newer(self.path.clone(), version));
        }
        self.sql(&format!("PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={VERSION}; COMMIT"))
    }

    /// Opens a file that is there, for reading all of it.
    pub fn open_to_read(path: &Path) -> Result<Self, StoreError> {
        let store = Self::open_to_ask(path)?;
        // A part of a table would look like all of it.
        match store.first::<String>("PRAGMA quick_check(1)") {
            Ok(found) if found == "ok" => Ok(store),
            Ok(found) => Err(StoreError::Damaged(path.to_owned(), found)),
            Err(StoreError::Sqlite(path, error)) if is_damage(&error) => {
                Err(StoreError::Damaged(path, error.to_string()))
            }
            Err(error) => Err(error),
        }
    }

    /// Has the kernel read the whole file while its first pages are looked at: one page after the other is slower. For a
    /// process that has not opened it yet, see [`Self::open_again`].
    pub fn read_ahead(path: &Path) {
        // Whatever is there, nobody waits for it.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        if let Ok(file) = rustix::fs::open(path, flags, Mode::empty()) {
            let length = fstat(&file).map_or(0, |found| found.st_size.unsigned_abs());
            for part in (0..length).step_by(READ_AHEAD) {
                // It is read either way.
                let _ = fadvise(&file, part, NonZero::new(READ_AHEAD as u64), Advice::WillNeed);
            }
        }
    }

    /// Opens a file that is there, to ask for totals. Of a large one most is not read then, so it is not checked first.
    pub fn open_to_ask(path: &Path) -> Result<Self, StoreError> {
        match mark::look(path)? {
            Found::Nothing => return Err(StoreError::Open(path.to_owned(), io::ErrorKind::NotFound.into())),
            Found::Empty => return Err(StoreError::Empty(path.to_owned())),
            Found::Marked | Found::Unmarked => {}
        }
        Self::open_again(path)
    }

    /// The same for a process that has opened it before: to look at what is there, and to close it, would end all locks that
    /// the process has on it (fcntl(2)), and others would write over what is being read.
    pub(super) fn open_again(path: &Path) -> Result<Self, StoreError> {
        let store = Self::connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        // Whatever is asked, all of it is as it was at the first question: hours become days meanwhile.
        store.sql("BEGIN")?;
        Ok(store)
    }

    fn connect(path: &Path, flags: OpenFlags) -> Result<Self, StoreError> {
        let failed = |error| StoreError::of_sqlite(path, error);
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.busy_timeout(PATIENCE).map_err(failed)?;
        connection.execute_batch(IN_MEMORY).map_err(failed)?;
        Ok(Self { path: path.to_owned(), connection, others: 0 })
    }

    fn failed(&self) -> impl Fn(rusqlite::Error) -> StoreError {
        |error| StoreError::of_sqlite(&self.path, error)
    }

    fn sql(&self, statements: &str) -> Result<(), StoreError> {
        self.connection.execute_batch(statements).map_err(self.failed())
    }

    fn first<T: rusqlite::types::FromSql>(&self, query: &str) -> Result<T, StoreError> {
        self.connection.query_row(query, [], |row| row.get(0)).map_err(self.failed())
    }

    #[cfg(test)]
    pub(super) fn sorts_in_memory(&self) -> Option<bool> {
        self.first::<i64>("PRAGMA temp_store").ok().map(|store| store == 2)
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

    /// Forgets names of connections that were told last a day before now, in seconds since 1970.
    pub fn forget_names(&self, now: i64) -> Result<(), StoreError> {
        names::forget(&self.connection, now).map_err(self.failed())
    }

    /// Names of connections of a boot, the one that was told last at the end.
    pub fn names(&self, boot: &str) -> Result<Vec<KeptName>, StoreError> {
        names::read(&self.connection, boot).map_err(self.failed())
    }

    /// Totals that go on with what was counted of connections of a boot.
    pub(super) fn restore_totals(&self, totals: &mut Totals, boot: &str) -> Result<(), StoreError> {
        totals.restore(&self.connection, boot).map_err(self.failed())
    }

    /// Makes hours days, and forgets what is too old.
    pub(super) fn tidy(
        &mut self,
        boot: &str,
        now: i64,
        zone: &TimeZone,
        limits: Limits,
    ) -> Result<(), StoreError> {
        let path = &self.path;
        totals::tidy(&mut self.connection, boot, now, zone, limits)
            .map_err(|error| StoreError::of_sqlite(path, error))?;
        self.others = 0;
        self.bound(limits)
    }

    /// Forgets the oldest totals where the file is too large.
    pub(super) fn bound(&mut self, limits: Limits) -> Result<(), StoreError> {
        let path = &self.path;
        totals::bound(&mut self.connection, limits, &mut self.others)
            .map_err(|error| StoreError::of_sqlite(path, error))
    }

    /// Flows whose ids are wanted.
    pub fn flows(
        &self,
        ids: (i64, i64),
        is_wanted: impl Fn(i64) -> bool,
        each: impl FnMut(i64, &FlowRef<'_>),
    ) -> Result<(), StoreError> {
        totals::flows(&self.connection, ids, is_wanted, each).map_err(|error| self.unreadable(error))
    }

    /// One text of each flow from one id up to another.
    pub fn labels(
        &self,
        column: Column,
        ids: (i64, i64),
        each: impl FnMut(i64, &str),
    ) -> Result<(), StoreError> {
        totals::labels(&self.connection, column, ids, each).map_err(|error| self.unreadable(error))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What went wrong while reading: damage is told as such.
    fn unreadable(&self, error: rusqlite::Error) -> StoreError {
        if is_damage(&error) {
            return StoreError::Damaged(self.path.clone(), error.to_string());
        }
        StoreError::of_sqlite(&self.path, error)
    }

    /// What was counted from one moment until before another, in seconds since 1970.
    pub fn totals(&self, range: (i64, i64), each: impl FnMut(Total)) -> Result<(), StoreError> {
        totals::read(&self.connection, range, each).map_err(|error| self.unreadable(error))
    }

    /// When the first hour begins of which totals are kept, in seconds since 1970.
    pub(super) fn first_hour(&self) -> Result<i64, StoreError> {
        totals::first_hour(&self.connection).map(|first| first.unwrap_or(i64::MAX)).map_err(self.failed())
    }

    /// So many hours or days before one of them, but since a moment in seconds since 1970, the latest first.
    pub(super) fn totals_before(
        &self,
        place: &Place,
        since: i64,
        rows: usize,
    ) -> Result<Vec<(Total, Option<Flow>)>, StoreError> {
        totals::read_before(&self.connection, place, since, rows).map_err(|error| self.unreadable(error))
    }

    /// Whether an earlier version made it, which counted nothing.
    pub fn has_totals(&self) -> Result<bool, StoreError> {
        totals::has_table(&self.connection, "hours").map_err(|error| self.unreadable(error))
    }

    /// When the first pair of all was seen, in seconds since 1970; none where there is none. Of more pairs than are kept
    /// the first are gone: totals go back further.
    pub(super) fn began(&self) -> Result<Option<i64>, StoreError> {
        self.first(
            "SELECT min(first) FROM (SELECT min(first) AS first FROM seen UNION ALL SELECT min(start) FROM hours \
             UNION ALL SELECT min(start) FROM packed)",
        )
    }

    /// Adds pairs, or the time at which those that are known were seen again, names of connections of a boot, and totals
    /// at a moment in seconds since 1970. All or nothing.
    pub(super) fn write(
        &mut self,
        pairs: &[Pair],
        boot: &str,
        names: &[KeptName],
        (totals, now): (&TotalsBatch, i64),
    ) -> Result<(), StoreError> {
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
            names::write(&transaction, boot, names)?;
            totals::write(&transaction, boot, totals, now)?;
            transaction.commit()
        };
        write().map_err(|error| StoreError::of_sqlite(path, error))
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

/// A database of version 1 has no names of connections, one of version 2 no totals, and one of version 3 a row for each.
fn upgrade(store: &mut Store) -> Result<(), StoreError> {
    let names = NAMES.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS");
    store.sql(&format!("BEGIN IMMEDIATE; {names}; {TABLES}; COMMIT"))?;
    let path = &store.path;
    totals::pack_days(&mut store.connection).map_err(|error| StoreError::of_sqlite(path, error))?;
    store.sql(&format!("PRAGMA user_version={VERSION}"))
}

fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::Error;
    match error {
        // Nothing of another type is ever written.
        Error::InvalidColumnType(..) | Error::IntegralValueOutOfRange(..) | Error::Utf8Error(..) => true,
        error => {
            matches!(error.sqlite_error_code(), Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt))
        }
    }
}

/// Moves a database of LECO's, with its log, to a name that nothing has; returns that.
fn put_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let failed = |error: io::Error| StoreError::Open(path.to_owned(), error);
    // A link stays: what it leads to is moved.
    let path = &fs::canonicalize(path).map_err(failed)?;
    for number in 1..=MAX_ASIDE {
        let suffix = if number == 1 { ".damaged".to_owned() } else { format!(".damaged-{number}") };
        let aside = beside(path, &suffix);
        match renameat_with(CWD, path, CWD, &aside, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            Err(Errno::EXIST) => continue,
            Err(error) => return Err(failed(error.into())),
        }
        // It would be taken for that of the next database.
        let wal =
            renameat_with(CWD, beside(path, "-wal"), CWD, beside(&aside, "-wal"), RenameFlags::NOREPLACE);
        match wal {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(failed(error.into())),
        }
        // What is in it can be found anew.
        let _ = fs::remove_file(beside(path, "-shm"));
        return Ok(aside);
    }
    Err(failed(io::Error::other(format!(
        "it is damaged, like {MAX_ASIDE} before it: remove its *.damaged* files"
    ))))
}
