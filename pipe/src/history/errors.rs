// SPDX-License-Identifier: GPL-3.0-or-later
//! Why the file cannot be used.

use std::io;
use std::path::PathBuf;

use leco_os::files::PlaceError;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Its folder cannot be made, or it cannot be opened.
    #[error("cannot save the history in {0}: {1}")]
    Open(PathBuf, io::Error),
    /// The thread that writes cannot be started.
    #[error("cannot write the history to {0}: {1}")]
    Start(PathBuf, io::Error),
    /// Something else is there, or it cannot be opened.
    #[error("cannot save the history: {0}")]
    Place(#[from] PlaceError),
    /// Another program made it, or nobody can tell who.
    #[error(
        "{0} is not a LECO history: it was not changed. Name another file with memory=PATH, or move it away."
    )]
    Foreign(PathBuf),
    /// A newer version made it.
    #[error("{0} is of a newer version of LECO ({1}): update, or use another file with memory=PATH")]
    Newer(PathBuf, i64),
    /// `SQLite` refused.
    #[error("cannot use {0}: {1}")]
    Sqlite(PathBuf, rusqlite::Error),
}
