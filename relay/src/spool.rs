// SPDX-License-Identifier: GPL-3.0-or-later
//! Messages on disk that wait for the server: files that are written one after another, and removed when all of one arrived.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rustix::fs::{FlockOperation, flock};

use crate::message::Message;

/// A spool is so many files at least: what is too much goes by the file.
const FILES: u64 = 16;
/// A file is held in memory while it is sent.
const LARGEST: u64 = 4 << 20;
const ENDING: &str = "events";
/// What the server will not have of this user.
const REFUSED: &str = "refused.json";

/// One file.
#[derive(Debug)]
struct Segment {
    number: u64,
    bytes: u64,
    messages: usize,
}

/// A directory of them.
#[derive(Debug)]
pub(crate) struct Spool {
    folder: PathBuf,
    limit: u64,
    /// The oldest first.
    segments: VecDeque<Segment>,
    /// The last of them, while it grows.
    growing: Option<File>,
    /// The first of them is in memory.
    is_loaded: bool,
    next: u64,
    _lock: File,
}

impl Spool {
    /// Opens a directory, which is made, for so many bytes. What an earlier program left there is still to be sent.
    pub(crate) fn open(folder: &Path, limit: u64) -> anyhow::Result<Self> {
        let failed = || format!("cannot use the spool {}", folder.display());
        fs::create_dir_all(folder).with_context(failed)?;
        let mut options = OpenOptions::new();
        let lock = options.write(true).create(true).truncate(false).mode(0o600).open(folder.join("lock"));
        let lock = lock.with_context(failed)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .with_context(|| format!("{}: another leco-relay uses it", failed()))?;
        let mut segments = Vec::new();
        for entry in fs::read_dir(folder).with_context(failed)? {
            let path = entry.with_context(failed)?.path();
            let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
            if let Some(number) = number.filter(|_| path.extension().is_some_and(|ending| ending == ENDING)) {
                let text = fs::read(&path).with_context(failed)?;
                let messages = read(&text).count();
                segments.push(Segment { number, bytes: text.len() as u64, messages });
            }
        }
        segments.sort_by_key(|segment| segment.number);
        let next = segments.last().map_or(0, |last| last.number + 1);
        let (folder, segments) = (folder.to_owned(), segments.into());
        Ok(Self { folder, limit, segments, growing: None, is_loaded: false, next, _lock: lock })
    }

    /// Whether anything waits there: then what comes has to wait behind it.
    pub(crate) fn is_in_use(&self) -> bool {
        !self.segments.is_empty()
    }

    /// Writes a message behind all others.
    pub(crate) fn append(&mut self, message: &Message) -> io::Result<()> {
        let full = (self.limit / FILES).min(LARGEST);
        if self.segments.back().is_none_or(|last| last.bytes >= full) {
            self.growing = None;
        }
        if self.growing.is_none() {
            let mut options = OpenOptions::new();
            options.append(true).create_new(true).mode(0o600);
            self.growing = Some(options.open(path(&self.folder, self.next))?);
            self.segments.push_back(Segment { number: self.next, bytes: 0, messages: 0 });
            self.next += 1;
        }
        let line =
            [message.subject.as_bytes(), b" ", message.id.as_bytes(), b" ", &message.payload, b"\n"].concat();
        if let (Some(file), Some(segment)) = (&mut self.growing, self.segments.back_mut()) {
            if let Err(error) = file.write_all(&line) {
                // What follows must not be part of half a line, and a full disk not a file of each event.
                let is_whole = file.set_len(segment.bytes).is_ok();
                let is_gone =
                    segment.bytes == 0 && fs::remove_file(path(&self.folder, segment.number)).is_ok();
                if is_gone {
                    self.segments.pop_back();
                }
                if is_gone || !is_whole {
                    self.growing = None;
                }
                return Err(error);
            }
            segment.bytes += line.len() as u64;
            segment.messages += 1;
        }
        Ok(())
    }

    /// Writes what is in memory, where nothing is on disk: from now on it is there until it [arrived](Self::arrived).
    pub(crate) fn hold<'m>(&mut self, mut messages: impl Iterator<Item = &'m Message>) -> io::Result<()> {
        let written = messages.try_for_each(|message| self.append(message));
        self.growing = None;
        // More than one file where they are many: all but the first are read again, which the server knows as doubles.
        self.is_loaded = written.is_ok() && self.segments.len() == 1;
        written
    }

    /// Takes the oldest messages, which stay on disk until they [arrived](Self::arrived).
    pub(crate) fn load(&mut self) -> io::Result<Vec<Message>> {
        let Some(first) = self.segments.front() else { return Ok(Vec::new()) };
        if self.segments.len() == 1 {
            self.growing = None;
        }
        let text = fs::read(path(&self.folder, first.number))?;
        self.is_loaded = true;
        Ok(read(&text).collect())
    }

    /// Everything arrived that was taken. Where its file cannot be removed, only the next program sends it again.
    pub(crate) fn arrived(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.is_loaded)
            && let Err(error) = self.remove_first()
        {
            self.segments.pop_front();
            return Err(error);
        }
        Ok(())
    }

    /// Removes the oldest where there is too much; how many messages were lost, and whether they were those that were taken.
    pub(crate) fn trim(&mut self) -> io::Result<(usize, bool)> {
        let (mut lost, mut were_taken) = (0, false);
        while self.segments.len() > 1
            && self.segments.iter().map(|segment| segment.bytes).sum::<u64>() > self.limit
        {
            let removed = self.remove_first()?;
            let is_loaded = std::mem::take(&mut self.is_loaded);
            were_taken |= is_loaded;
            // Of those that were taken some may have arrived.
            lost += if is_loaded { 0 } else { removed };
        }
        Ok((lost, were_taken))
    }

    /// Leaves the oldest where it is, which cannot be read; how many messages are lost.
    pub(crate) fn give_up(&mut self) -> usize {
        self.is_loaded = false;
        self.segments.pop_front().map_or(0, |first| first.messages)
    }

    /// Writes the event of a message to a recording that nobody sends by itself; `None` where that is full.
    pub(crate) fn set_aside(&mut self, message: &Message) -> io::Result<Option<PathBuf>> {
        let path = self.folder.join(REFUSED);
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
        let bytes = file.metadata()?.len();
        if bytes + message.payload.len() as u64 >= (self.limit / FILES).min(LARGEST) {
            return Ok(None);
        }
        if let Err(error) = file.write_all(&[message.payload.trim_ascii_end(), b"\n"].concat()) {
            file.set_len(bytes)?;
            return Err(error);
        }
        Ok(Some(path))
    }

    fn remove_first(&mut self) -> io::Result<usize> {
        let Some(first) = self.segments.front() else { return Ok(0) };
        match fs::remove_file(path(&self.folder, first.number)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(self.segments.pop_front().map_or(0, |first| first.messages)),
        }
    }
}

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:012}.{ENDING}"))
}

/// Messages of a file. The last line may be half of one: the program was killed, or the disk was full.
fn read(text: &[u8]) -> impl Iterator<Item = Message> {
    text.split_inclusive(|byte| *byte == b'\n').filter_map(|line| {
        let line = line.strip_suffix(b"\n")?;
        let mut parts = line.splitn(3, |byte| *byte == b' ');
        let mut word = || Some(str::from_utf8(parts.next()?).ok()?.to_owned());
        let (subject, id) = (word()?, word()?);
        Some(Message { subject, id, payload: parts.next()?.to_vec() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: usize) -> Message {
        let payload = format!("{{\"ns\":{number},\"line\":\"{}\"}}", "x".repeat(1000)).into_bytes();
        Message { subject: "leco.a.b".to_owned(), id: format!("b-{number}-1-0"), payload }
    }

    /// Takes everything.
    fn drain(spool: &mut Spool) -> Vec<Message> {
        let mut all = Vec::new();
        while spool.is_in_use() {
            all.extend(spool.load().unwrap());
            spool.arrived().unwrap();
        }
        all
    }

    #[test]
    fn messages_come_back_in_their_order_and_after_a_crash() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(folder.path(), 1 << 20).unwrap();
        let all: Vec<_> = (0..200).map(message).collect();
        spool.hold(all[..10].iter()).unwrap();
        for message in &all[10..] {
            spool.append(message).unwrap();
        }
        assert!(Spool::open(folder.path(), 1 << 20).unwrap_err().to_string().contains("another leco-relay"));
        drop(spool);
        let newest = folder.path().join("000000000099.events");
        fs::write(&newest, b"leco.a.b b-1-1-0 {\"ns\"").unwrap();
        let mut spool = Spool::open(folder.path(), 1 << 20).unwrap();
        assert_eq!(spool.load().unwrap(), all[..10]);
        assert_eq!(drain(&mut spool), all);
        let left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["lock"]);
    }

    #[test]
    fn the_oldest_go_and_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let limit = 1 << 20;
        let mut spool = Spool::open(folder.path(), limit).unwrap();
        let mut lost = 0;
        for number in 0..3000 {
            spool.append(&message(number)).unwrap();
            lost += spool.trim().unwrap().0;
            assert!(spool.segments.iter().map(|segment| segment.bytes).sum::<u64>() <= limit);
        }
        let left = drain(&mut spool);
        assert_eq!(left.len() + lost, 3000);
        assert_eq!(left, (lost..3000).map(message).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_refused_is_a_recording_of_its_own_and_has_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(folder.path(), 1 << 20).unwrap();
        let kept =
            (0..1000).take_while(|number| spool.set_aside(&message(*number)).unwrap().is_some()).count();
        assert!((50..70).contains(&kept), "{kept}: a file's share of the spool");
        let text = fs::read(folder.path().join(REFUSED)).unwrap();
        assert!(text.ends_with(b"\"}\n") && text.split(|byte| *byte == b'\n').count() == kept + 1);
        drop(spool);
        assert!(!Spool::open(folder.path(), 1 << 20).unwrap().is_in_use(), "nobody sends it by itself");
    }
}
