// SPDX-License-Identifier: GPL-3.0-or-later
//! Opening a path that a person gave: whatever is there already stays as it is, unless it is what is expected.

use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::io::{self, Read};
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
    #[error("{0} is a symbolic link to a file that does not exist: create that file, or choose another path")]
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

/// Opens a file for reading, and tells what is known of it, through links. Never waits, and opens no device: what is no
/// ordinary file may have no end.
pub fn open_to_read(path: &Path) -> io::Result<(File, Metadata)> {
    let refuse_others = |there: &Metadata| match there.file_type() {
        kind if kind.is_file() => Ok(()),
        kind => Err(io::Error::other(format!("it is {}, not an ordinary file", kind_of(kind)))),
    };
    refuse_others(&fs::metadata(path)?)?;
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    // It may be another one by now.
    let opened = file.metadata()?;
    refuse_others(&opened)?;
    Ok((file, opened))
}

/// All that is in a file of at most so many bytes, and what is known of it, as [`open_to_read`] opens it.
pub fn read_file(path: &Path, most: u64) -> io::Result<(Vec<u8>, Metadata)> {
    let (file, opened) = open_to_read(path)?;
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let limit = if most < 1 << 20 { format!("{most} bytes") } else { format!("{} MiB", most >> 20) };
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {limit}")));
    }
    Ok((bytes, opened))
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

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, Mode, mknodat};

    use super::*;

    #[test]
    fn only_ordinary_files_are_read_and_only_so_much() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "12345678").unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        mknodat(CWD, at("fifo"), rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        for name in ["file", "link"] {
            assert_eq!(read_file(&at(name), 8).unwrap().0, b"12345678");
        }
        assert_eq!(read_file(&at("file"), 7).unwrap_err().to_string(), "it is larger than 7 bytes");
        assert_eq!(read_file(&at("none"), 7).unwrap_err().kind(), io::ErrorKind::NotFound);
        for (path, kind) in [
            (at("fifo"), "a fifo"),
            (at("socket"), "a socket"),
            (at("."), "a directory"),
            ("/dev/zero".into(), "a device"),
        ] {
            let error = read_file(&path, 8).unwrap_err().to_string();
            assert_eq!(error, format!("it is {kind}, not an ordinary file"));
        }
    }
}
