// SPDX-License-Identifier: GPL-3.0-or-later
//! Appending to a config, and to nothing else.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use leco_os::files::{PlaceError, make_file, open_file};

use super::file::{MAX_CONFIG_BYTES, is_known_section};
use crate::ini::Ini;

/// Why nothing was appended. The file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// It cannot be opened or made.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// Something else is in it.
    #[error("{0} is not a LECO config: it has none of LECO's sections. Name another file.")]
    NotAConfig(PathBuf),
    /// It cannot be read or written.
    #[error("cannot append to {0}: {1}")]
    Io(PathBuf, #[source] io::Error),
}

/// Appends lines to the config at a path, through links, all of them or nothing. It is made where nothing is.
pub fn append(path: &Path, lines: &str) -> Result<(), AppendError> {
    let failed = |error| AppendError::Io(path.to_owned(), error);
    let found = open_file(path, OpenOptions::new().read(true).append(true))?;
    let is_new = found.is_none();
    let mut file = if let Some(file) = found {
        file
    } else {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        folder.map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
        make_file(path, 0o666)?
    };
    let mut before = Vec::new();
    (&file).take(MAX_CONFIG_BYTES + 1).read_to_end(&mut before).map_err(failed)?;
    let length = before.len() as u64;
    if length > MAX_CONFIG_BYTES || !is_config(&before) {
        return Err(AppendError::NotAConfig(path.to_owned()));
    }
    file.write_all(lines.as_bytes()).and_then(|()| file.sync_all()).map_err(|error| {
        // Half a rule is another rule.
        let _ = file.set_len(length);
        if is_new {
            let _ = fs::remove_file(path);
        }
        failed(error)
    })
}

/// Whether there is a section of LECO in it, or nothing but comments.
fn is_config(bytes: &[u8]) -> bool {
    let ini = Ini::parse(&String::from_utf8_lossy(bytes));
    let is_empty = ini.headers.is_empty() && ini.entries.is_empty() && ini.malformed.is_empty();
    is_empty || ini.headers.iter().any(|header| is_known_section(&header.name))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const RULE: &str = "\n[rx-proc]\na = b\n";

    #[test]
    fn configs_are_appended_to_and_other_files_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for (before, is_config) in [
            ("", true),
            ("# nothing yet\n\n; and here\n", true),
            ("[text]\nfont-height = 15", true),
            ("lost line\n[rx-group]\nx =\n", true),
            ("root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/:/bin/false\n", false),
            ("PATH=/usr/bin\nLANG=C\n", false),
            ("[user]\n\tname = somebody\n", false),
            ("SQLite format 3\0 and more", false),
        ] {
            fs::write(&path, before).unwrap();
            let result = append(&path, RULE);
            let after = fs::read_to_string(&path).unwrap();
            if is_config {
                result.unwrap();
                assert_eq!(after, format!("{before}{RULE}"));
            } else {
                let error = result.unwrap_err().to_string();
                assert!(error.contains(path.to_str().unwrap()), "{error}");
                assert_eq!(after, before);
            }
        }
    }

    #[test]
    fn a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("dotfiles/widget.ini"), folder.path().join("widget.ini"));
        symlink("dotfiles/widget.ini", &link).unwrap();
        let error = append(&link, RULE).unwrap_err().to_string();
        assert!(error.contains("symbolic link") && !target.exists(), "{error}");
        fs::create_dir(target.parent().unwrap()).unwrap();
        fs::write(&target, "").unwrap();
        append(&link, RULE).unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(&target).unwrap(), RULE);
        let new = folder.path().join("a/b/widget.ini");
        append(&new, RULE).unwrap();
        assert_eq!(fs::read_to_string(new).unwrap(), RULE);
    }
}
