// SPDX-License-Identifier: GPL-3.0-or-later
//! Opening a path that a person gave: whatever is there already stays as it is, unless it is what is expected.

use std::fs::{self, File, FileType, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// Why something cannot be opened or made at a path. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// Something else than a file is there.
    #[error("{0} is {1}, not an ordinary file: choose another path")]
    NotAFile(PathBuf, &'static str),
    /// A link is there whose target is missing.
    #[error("{0} is a symbolic link to a file that does not exist: create that file, or remove the link")]
    DanglingLink(PathBuf),
    /// The operating system refused it.
    #[error("cannot open {0}: {1}. Choose another path, or let this user open it.")]
    Io(PathBuf, #[source] io::Error),
}

/// Opens the file at a path, through links; `None` where nothing is there. Never waits, and opens no device.
pub fn open_file(path: &Path, options: &mut OpenOptions) -> Result<Option<File>, PlaceError> {
    let failed = |error| PlaceError::Io(path.to_owned(), error);
    let refuse_others = |kind: FileType| {
        if kind.is_file() { Ok(()) } else { Err(PlaceError::NotAFile(path.to_owned(), kind_of(kind))) }
    };
    match fs::metadata(path) {
        // To open some devices is to use them.
        Ok(there) => refuse_others(there.file_type())?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return match fs::symlink_metadata(path) {
                Ok(_) => Err(PlaceError::DanglingLink(path.to_owned())),
                Err(_) => Ok(None),
            };
        }
        Err(error) => return Err(failed(error)),
    }
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = options.custom_flags(flags).open(path).map_err(failed)?;
    // It may be another one by now.
    refuse_others(file.metadata().map_err(failed)?.file_type())?;
    Ok(Some(file))
}

/// Makes a file where nothing is, not through a link.
pub fn make_file(path: &Path, mode: u32) -> Result<File, PlaceError> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create_new(true).mode(mode);
    options.open(path).map_err(|error| PlaceError::Io(path.to_owned(), error))
}

/// What a person calls it.
#[must_use]
pub fn kind_of(kind: FileType) -> &'static str {
    match () {
        () if kind.is_symlink() => "a symbolic link",
        () if kind.is_dir() => "a directory",
        () if kind.is_file() => "a file",
        () if kind.is_fifo() => "a fifo",
        () if kind.is_socket() => "a socket",
        () if kind.is_block_device() || kind.is_char_device() => "a device",
        () => "something else",
    }
}
