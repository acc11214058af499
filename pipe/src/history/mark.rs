// SPDX-License-Identifier: GPL-3.0-or-later
//! By what a database is known to be LECO's: nothing else is written to, moved or removed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use leco_core::source::Owner;
use leco_os::files::{PlaceError, open_file};
use rusqlite::{Connection, OpenFlags};

use crate::history::errors::StoreError;

/// `LECO`, at offset 68 of the file (`sqlite.org/pragma.html`).
pub(super) const APPLICATION_ID: i32 = 0x4c45_434f;

/// With what an `SQLite` database begins (sqlite.org/fileformat2.html).
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
const HEADER_BYTES: usize = 100;
/// Files that `SQLite` keeps beside a database, and with which of these bytes they begin.
const BESIDE: [(&str, &[&[u8]]); 3] = [
    ("-journal", &[&[0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7], &[0; 8]]),
    ("-wal", &[&[0x37, 0x7f, 0x06, 0x82], &[0x37, 0x7f, 0x06, 0x83]]),
    // In the machine's byte order.
    ("-shm", &[&[0x00, 0x2d, 0xe2, 0x18], &[0x18, 0xe2, 0x2d, 0x00], &[0; 4]]),
];

/// The tables as they were before databases were marked, and as they still are.
pub(super) const TABLE: &str = "CREATE TABLE seen (id INTEGER PRIMARY KEY, program TEXT NOT NULL, uid INTEGER NOT NULL, \
     incoming INTEGER NOT NULL, peer TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL)";
pub(super) const INDEX: &str = "CREATE INDEX seen_last ON seen (last)";

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    /// An empty file: nothing can be lost in it.
    Empty,
    /// LECO's, whole or damaged.
    Marked,
    /// Of before databases were marked: its tables are exactly LECO's.
    Unmarked,
}

/// Looks at what is there without changing anything. Refuses what is not LECO's.
pub(super) fn look(path: &Path) -> Result<Found, StoreError> {
    let foreign = || StoreError::Foreign(path.to_owned());
    // The database first: where its directory is the matter, a file beside it has the same error.
    let file = open_file(path, OpenOptions::new().read(true))?;
    for (suffix, begins) in BESIDE {
        refuse_foreign(&beside(path, suffix), begins)?;
    }
    let Some(file) = file else { return Ok(Found::Nothing) };
    check_owner(path, &file)?;
    let header = first_bytes(&file, HEADER_BYTES).map_err(|error| PlaceError::Io(path.to_owned(), error))?;
    match (header.strip_prefix(MAGIC), header.get(68..72)) {
        _ if header.is_empty() => Ok(Found::Empty),
        (Some(_), Some(id)) if *id == APPLICATION_ID.to_be_bytes() => Ok(Found::Marked),
        (Some(_), Some([0, 0, 0, 0])) if has_our_tables(path) => Ok(Found::Unmarked),
        _ => Err(foreign()),
    }
}

/// Another user, who is not root, could write into it what was never seen.
fn check_owner(path: &Path, file: &File) -> Result<(), StoreError> {
    let opened = file.metadata().map_err(|error| PlaceError::Io(path.to_owned(), error))?;
    match Owner::Known.check_user(opened.uid()) {
        Ok(()) => Ok(()),
        Err(_) => Err(StoreError::Owner(path.to_owned(), opened.uid())),
    }
}

/// A file beside the database that is not `SQLite`'s would be overwritten or removed by it.
fn refuse_foreign(path: &Path, begins: &[&[u8]]) -> Result<(), StoreError> {
    let Some(file) = open_file(path, OpenOptions::new().read(true))? else { return Ok(()) };
    check_owner(path, &file)?;
    let first = first_bytes(&file, 8).map_err(|error| PlaceError::Io(path.to_owned(), error))?;
    if first.is_empty() || begins.iter().any(|begin| first.starts_with(begin)) {
        Ok(())
    } else {
        Err(StoreError::Foreign(path.to_owned()))
    }
}

fn first_bytes(file: &File, count: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(count);
    file.take(count as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A path with something behind its name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Whether the tables of an unmarked database are LECO's and no others.
fn has_our_tables(path: &Path) -> bool {
    // As it lies on the disk: nothing is made beside a database of another program, and nobody is locked out.
    let in_file = read_schema(path, true);
    match in_file.as_deref() {
        Ok([]) => {
            // A pipe that was killed soon left its tables in the log.
            beside(path, "-wal").exists() && read_schema(path, false).is_ok_and(|schema| is_ours(&schema))
        }
        Ok(schema) => is_ours(schema),
        Err(_) => false,
    }
}

/// Whether these statements make LECO's tables, and nothing else.
pub(super) fn is_ours(schema: &[String]) -> bool {
    // White space stands as it was written.
    let plain = |sql: &String| sql.split_whitespace().collect::<Vec<_>>().join(" ");
    schema.iter().map(plain).eq([TABLE, INDEX])
}

/// The statements that made what is in a database.
pub(super) fn schema_of(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut query =
        connection.prepare("SELECT coalesce(sql, name) FROM sqlite_schema ORDER BY type DESC, name")?;
    query.query_map([], |row| row.get(0))?.collect()
}

fn read_schema(path: &Path, is_immutable: bool) -> rusqlite::Result<Vec<String>> {
    let mut uri = "file:".to_owned();
    for byte in std::os::unix::ffi::OsStrExt::as_bytes(fs::canonicalize(path).unwrap_or_default().as_os_str())
    {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                uri.push(char::from(*byte));
            }
            byte => uri += &format!("%{byte:02x}"),
        }
    }
    uri += if is_immutable { "?immutable=1" } else { "?mode=ro" };
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    schema_of(&Connection::open_with_flags(uri, flags)?)
}
