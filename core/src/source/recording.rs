// SPDX-License-Identifier: GPL-3.0-or-later
//! Files to which events are appended: only those that hold events, or nothing, are taken.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use leco_os::files::{PlaceError, make_file, open_file};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::source::MAX_PARTIAL_LINE;
use crate::wire::event::Event;

/// In so many bytes at the end of a file the last whole line is found, if it is an event.
const TAIL_BYTES: u64 = 2 * MAX_PARTIAL_LINE as u64 + 2;

/// Why events cannot be appended to a file. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It cannot be opened or made.
    #[error("cannot record: {0}")]
    Place(#[from] PlaceError),
    /// Something else is in it.
    #[error(
        "{0} is not a recording: its last line is not an event. It was not changed; name another file, or \
         an empty one."
    )]
    NotARecording(PathBuf),
    /// Another writer appends to it.
    #[error("{0} is already being recorded to: name another file")]
    InUse(PathBuf),
    /// It cannot be read, or its last line cannot be ended.
    #[error("cannot record to {0}: {1}")]
    Io(PathBuf, #[source] io::Error),
}

/// A file that grows by whole events.
#[derive(Debug)]
pub struct Recording {
    path: PathBuf,
    file: File,
}

impl Recording {
    /// Opens a file that is empty or ends with an event, or makes one for this user alone: what is in it tells who
    /// talked to whom.
    pub fn open(path: &Path) -> Result<Self, RecordError> {
        let failed = |error| RecordError::Io(path.to_owned(), error);
        let file = match open_file(path, OpenOptions::new().read(true).append(true))? {
            Some(file) => file,
            None => make_file(path, 0o600)?,
        };
        // Two writers would cut each other's events where the disk is full. Not every file system has locks.
        if flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
            return Err(RecordError::InUse(path.to_owned()));
        }
        let mut recording = Self { path: path.to_owned(), file };
        match end_of(&recording.file).map_err(failed)? {
            End::Event => {}
            // Written by somebody who was killed, or whose disk was full: what follows begins a line.
            End::CutOff => recording.append(b"\n").map_err(failed)?,
            End::Other => return Err(RecordError::NotARecording(path.to_owned())),
        }
        Ok(recording)
    }

    /// Where it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends whole lines, all of them or nothing.
    pub fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        self.file.write_all(lines).inspect_err(|_| {
            // Half an event would make the next one unreadable, too. Where that fails, the next line is begun anew
            // when it is opened.
            let _ = self.file.set_len(length);
        })
    }

    /// Goes on in what is now at the path: another program moved the old file away.
    pub fn reopen(&mut self) -> Result<(), RecordError> {
        if !self.is_at(&self.path) {
            *self = Self::open(&self.path)?;
        }
        Ok(())
    }

    /// Whether the path leads to this file.
    #[must_use]
    pub fn is_at(&self, path: &Path) -> bool {
        match (self.file.metadata(), std::fs::metadata(path)) {
            (Ok(open), Ok(there)) => (open.dev(), open.ino()) == (there.dev(), there.ino()),
            _ => false,
        }
    }
}

/// How a file ends.
enum End {
    /// With an event, or it is empty.
    Event,
    /// In the middle of an event, or behind one without the end of its line.
    CutOff,
    /// With anything else.
    Other,
}

fn end_of(file: &File) -> io::Result<End> {
    let length = file.metadata()?.len();
    let start = length.saturating_sub(TAIL_BYTES);
    let mut tail = vec![0; usize::try_from(length - start).unwrap_or(0)];
    file.read_exact_at(&mut tail, start)?;
    let is_event = |line: &[u8]| Event::parse(line).is_ok();
    // A line that begins before what was read is too long for an event, and cannot be read as one.
    let (whole, rest) = match tail.iter().rposition(|byte| *byte == b'\n') {
        Some(end) => (Some(&tail[..end]), &tail[end + 1..]),
        None => (None, &tail[..]),
    };
    let last = whole.and_then(|lines| lines.rsplit(|byte| *byte == b'\n').next());
    let ends_with_event = last.is_some_and(is_event);
    Ok(match rest {
        [] if tail.is_empty() || ends_with_event => End::Event,
        rest if is_event(rest) || ends_with_event && rest.starts_with(b"{") => End::CutOff,
        _ => End::Other,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const EVENT: &str = "{\"ns\":1,\"ns_trx\":2,\"line\":\"18:32 :: me :: x\"}\n";

    #[test]
    fn only_recordings_and_empty_files_are_appended_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let half = &EVENT[..20];
        let whole = &EVENT[..EVENT.len() - 1];
        let long = format!("{{\"x\":\"{}\"}}\n", "y".repeat(3 * MAX_PARTIAL_LINE));
        for (before, after) in [
            (String::new(), Some("")),
            (EVENT.into(), Some("")),
            (EVENT.repeat(3000), Some("")),
            (format!("junk\n{EVENT}"), Some("")),
            (whole.into(), Some("\n")),
            (format!("{EVENT}{half}"), Some("\n")),
            (half.into(), None),
            (format!("{EVENT}tail"), None),
            (format!("{EVENT}\n"), None),
            (format!("{EVENT}{{}}\n"), None),
            ("root:x:0:0:root:/root:/bin/sh\n".into(), None),
            ("\n".into(), None),
            (format!("{EVENT}{long}"), None),
            ("x".repeat(3 * MAX_PARTIAL_LINE), None),
        ] {
            fs::write(&path, &before).unwrap();
            let shown = &before[..before.len().min(60)];
            let opened = Recording::open(&path);
            let expected = match (opened, after) {
                (Ok(mut recording), Some(added)) => {
                    recording.append(EVENT.as_bytes()).unwrap();
                    format!("{before}{added}{EVENT}")
                }
                (Err(RecordError::NotARecording(named)), None) => {
                    assert_eq!(named, path);
                    before.clone()
                }
                (opened, _) => panic!("{shown}: {opened:?}"),
            };
            assert!(fs::read_to_string(&path).unwrap() == expected, "{shown}");
        }
    }

    #[test]
    fn two_writers_are_one_too_many() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut first = Recording::open(&path).unwrap();
        assert!(matches!(Recording::open(&path), Err(RecordError::InUse(_))));
        // The same file is gone on with, another one is opened.
        first.reopen().unwrap();
        fs::rename(&path, dir.path().join("log.1")).unwrap();
        assert!(!first.is_at(&path));
        first.reopen().unwrap();
        assert!(first.is_at(&path));
    }
}
