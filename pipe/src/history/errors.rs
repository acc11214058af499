// SPDX-License-Identifier: GPL-3.0-or-later
//! Why the file cannot be used.

use std::io;
use std::path::{Path, PathBuf};

use leco_os::files::PlaceError;
use leco_os::limits;
use rusqlite::ErrorCode;
use rustix::fs::{Access, access};

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Its folder cannot be made, or it cannot be opened.
    #[error("cannot use the history in {0}: {1}")]
    Open(PathBuf, io::Error),
    /// The thread that writes cannot be started.
    #[error("cannot write the history to {0}: {1}")]
    Start(PathBuf, io::Error),
    /// Something else is there, or it cannot be opened.
    #[error("cannot use the history: {0}")]
    Place(#[from] PlaceError),
    /// Another program made it, or nobody can tell who.
    #[error(
        "{0} is not a LECO history: it was not changed. Name another file with memory=PATH, or move it away."
    )]
    Foreign(PathBuf),
    /// A newer version made it.
    #[error("{0} is of a newer version of LECO ({1}): update, or use another file with memory=PATH")]
    Newer(PathBuf, i64),
    /// Another user, who is not root, could have written anything into it.
    #[error("{0} belongs to user {1}: name a file of this user or of root with memory=PATH")]
    Owner(PathBuf, u32),
    /// Files cannot be made beside it.
    #[error(
        "cannot use the directory {0}: {1}. SQLite makes files beside a database: let this user write to the directory."
    )]
    Directory(PathBuf, io::Error),
    /// There is nothing in it yet.
    #[error("no history yet: {0} is empty")]
    Empty(PathBuf),
    /// What is in it cannot be trusted.
    #[error(
        "{0} is damaged ({1}): the next leco-event-pipe that writes to it moves it aside and starts a new one"
    )]
    Damaged(PathBuf, String),
    /// `SQLite` refused.
    #[error("cannot use {0}: {1}")]
    Sqlite(PathBuf, rusqlite::Error),
}

/// Descriptors that `SQLite` takes for a database: itself, its log, and the index of that.
const DESCRIPTORS: usize = 3;

impl StoreError {
    /// What `SQLite` says, or what is behind it, which it does not say.
    pub(super) fn of_sqlite(path: &Path, error: rusqlite::Error) -> Self {
        if !matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly)) {
            return Self::Sqlite(path.to_owned(), error);
        }
        if let Some(limit) = limits::out_of_descriptors(DESCRIPTORS) {
            return Self::Open(path.to_owned(), limit);
        }
        let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        match access(directory, Access::WRITE_OK | Access::EXEC_OK) {
            Ok(()) => Self::Sqlite(path.to_owned(), error),
            Err(errno) => Self::Directory(directory.to_owned(), errno.into()),
        }
    }
}
