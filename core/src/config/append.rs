// SPDX-License-Identifier: GPL-3.0-or-later
//! Appending a rule or a setting to a config, and to nothing else.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use leco_os::files::{PlaceError, make_file, open_file};

use super::file::{MAX_CONFIG_BYTES, is_known_section};
use super::new_rule::{NewRule, NotARule, to_section};
use crate::ini::Ini;
use crate::lists::Lists;

/// Why nothing was appended. The file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// It cannot be opened or made.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// Something else is in it.
    #[error("{0} is not a LECO config: it has none of LECO's sections. Name another file.")]
    NotAConfig(PathBuf),
    /// It would be larger than a config may be.
    #[error("{0} would be larger than {max} MiB", max = MAX_CONFIG_BYTES >> 20)]
    TooLarge(PathBuf),
    /// Read again, it would not have the rule.
    #[error(transparent)]
    NotARule(#[from] NotARule),
    /// It cannot be read or written.
    #[error("cannot append to {0}: {1}")]
    Io(PathBuf, #[source] io::Error),
}

/// Appends a rule to the config at a path, through links, all of it or nothing: only where the file, read again, has
/// this rule. It is made where nothing is.
pub fn append(path: &Path, rule: NewRule<'_>) -> Result<(), AppendError> {
    let place = Place::open(path)?;
    rule.read_after(&place.before, path, &Lists::default())?;
    place.end_with(path, place.before.len(), &rule.appended_text(&place.before))
}

/// Notes a setting at the end of the config at a path, in the place of what was noted so before.
pub fn append_setting(path: &Path, section: &str, key: &str, value: &str) -> Result<(), AppendError> {
    let place = Place::open(path)?;
    let before = place.before.as_slice();
    let last_line = before.strip_suffix(b"\n").map(|lines| {
        let begin = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        (begin, &lines[begin..])
    });
    let noted = last_line.filter(|(begin, line)| {
        line.starts_with(format!("{key} = ").as_bytes()) && to_section(&before[..*begin], section).is_empty()
    });
    let kept = noted.map_or(before.len(), |(begin, _)| begin);
    let text = format!("{}{key} = {value}\n", to_section(&before[..kept], section));
    place.end_with(path, kept, &text)
}

/// A config to be written to.
struct Place {
    /// Nothing where there is no file yet.
    file: Option<File>,
    before: Vec<u8>,
}

impl Place {
    fn open(path: &Path) -> Result<Self, AppendError> {
        let failed = |error| AppendError::Io(path.to_owned(), error);
        let file = open_file(path, OpenOptions::new().read(true).append(true))?;
        let mut before = Vec::new();
        if let Some(file) = &file {
            file.take(MAX_CONFIG_BYTES + 1).read_to_end(&mut before).map_err(failed)?;
        }
        if before.len() as u64 > MAX_CONFIG_BYTES || !is_config(&before) {
            return Err(AppendError::NotAConfig(path.to_owned()));
        }
        Ok(Self { file, before })
    }

    /// Writes a text behind so many bytes of the file.
    fn end_with(&self, path: &Path, kept: usize, text: &str) -> Result<(), AppendError> {
        let failed = |error| AppendError::Io(path.to_owned(), error);
        let kept = kept as u64;
        if kept + text.len() as u64 > MAX_CONFIG_BYTES {
            return Err(AppendError::TooLarge(path.to_owned()));
        }
        let made;
        let file = if let Some(file) = &self.file {
            file
        } else {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            folder.map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
            made = make_file(path, 0o666)?;
            &made
        };
        file.set_len(kept).map_err(failed)?;
        let mut end = file;
        end.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|error| {
            // Half of it is something else.
            let _ = file.set_len(kept);
            if self.file.is_none() {
                let _ = fs::remove_file(path);
            }
            failed(error)
        })
    }
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
    use crate::config::Config;

    const NEW: NewRule<'_> = NewRule { section: "rx-proc", text: "a = b" };
    const RULE: &str = "\n[rx-proc]\na = b\n";

    #[test]
    fn configs_are_appended_to_and_other_files_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for (before, is_config) in [
            ("", true),
            ("[rx-proc]\nx = y\n[text]\nfont-height = 15\n", true),
            ("# nothing yet\n\n; and here\n", true),
            ("[text]\nfont-height = 15", true),
            ("lost line\n[rx-group]\nx =\n", true),
            ("root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/:/bin/false\n", false),
            ("PATH=/usr/bin\nLANG=C\n", false),
            ("[user]\n\tname = somebody\n", false),
            ("SQLite format 3\0 and more", false),
        ] {
            fs::write(&path, before).unwrap();
            let result = append(&path, NEW);
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
    fn a_rule_joins_the_last_section_where_that_is_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for (before, after) in [
            ("[rx-proc]\nx = y\n", "[rx-proc]\nx = y\na = b\n"),
            ("[rx-proc] # here", "[rx-proc] # here\na = b\n"),
            ("[rx-proc]\nx = y\n  more\n\n# end\n", "[rx-proc]\nx = y\n  more\n\n# end\na = b\n"),
            ("[rx-proc]\nx = y\n[rx-group]\n", "[rx-proc]\nx = y\n[rx-group]\n\n[rx-proc]\na = b\n"),
        ] {
            fs::write(&path, before).unwrap();
            append(&path, NEW).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), after);
            append(&path, NewRule { text: "c = d", ..NEW }).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("{after}c = d\n"));
            append(&path, NewRule { text: "(e = f", ..NEW }).unwrap_err();
        }
        fs::write(&path, "[tui]\nmouse = no\n").unwrap();
        append_setting(&path, "tui", "heading", "no").unwrap();
        append_setting(&path, "tui", "heading", "yes").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "[tui]\nmouse = no\nheading = yes\n");
    }

    #[test]
    fn nothing_is_written_where_the_file_would_not_have_the_rule() {
        let folder = tempfile::tempdir().unwrap();
        let (path, new) = (folder.path().join("file"), folder.path().join("new/file"));
        let before = "[text]\nfont-height = 15\n";
        fs::write(&path, before).unwrap();
        for text in
            ["#foo = bar", "; foo", "[text]", " = x", "  foo = bar", "a = b\nc", "a = b # c", "(a = b", ""]
        {
            for section in ["rx-group", "rx-proc", "rx-style"] {
                let error = append(&path, NewRule { section, text }).unwrap_err();
                assert!(matches!(error, AppendError::NotARule(_)), "{text:?}: {error}");
                assert_eq!(fs::read_to_string(&path).unwrap(), before, "{text:?}");
                append(&new, NewRule { section, text }).unwrap_err();
                assert!(!new.parent().unwrap().exists(), "{text:?}");
            }
        }
    }

    #[test]
    fn a_config_does_not_become_too_large_to_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let most = usize::try_from(MAX_CONFIG_BYTES).unwrap();
        let before = format!("[text]\n#{}\n", "x".repeat(most - RULE.len() - 8));
        fs::write(&path, &before).unwrap();
        let error = append(&path, NewRule { text: "aa = b", ..NEW }).unwrap_err().to_string();
        assert!(error.ends_with("would be larger than 4 MiB"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap().len(), before.len());
        append(&path, NewRule { text: "a = ", ..NEW }).unwrap();
        assert_eq!(Config::read(&path).unwrap().rules.infos().count(), 1);
    }

    #[test]
    fn a_setting_is_noted_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let note = |value: &str| append_setting(&path, "tui", "heading", value).unwrap();
        note("no");
        assert_eq!(fs::read_to_string(&path).unwrap(), "\n[tui]\nheading = no\n");
        note("yes");
        assert_eq!(fs::read_to_string(&path).unwrap(), "\n[tui]\nheading = yes\n");
        append(&path, NEW).unwrap();
        note("no");
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("\n[tui]\nheading = yes\n{RULE}\n[tui]\nheading = no\n"));
        assert!(!Config::read(&path).unwrap().settings.tui.heading);
        fs::write(&path, "PATH=/usr/bin\n").unwrap();
        append_setting(&path, "tui", "heading", "no").unwrap_err();
        assert_eq!(fs::read_to_string(&path).unwrap(), "PATH=/usr/bin\n");
    }

    #[test]
    fn a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("dotfiles/widget.ini"), folder.path().join("widget.ini"));
        symlink("dotfiles/widget.ini", &link).unwrap();
        let error = append(&link, NEW).unwrap_err().to_string();
        assert!(error.contains("symbolic link") && !target.exists(), "{error}");
        fs::create_dir(target.parent().unwrap()).unwrap();
        fs::write(&target, "").unwrap();
        append(&link, NEW).unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(&target).unwrap(), RULE);
        let new = folder.path().join("a/b/widget.ini");
        append(&new, NEW).unwrap();
        assert_eq!(fs::read_to_string(new).unwrap(), RULE);
    }
}
