// SPDX-License-Identifier: GPL-3.0-or-later
//! One reader of a ring at a time: two would take each other's announcements, and neither would know.
//!
//! The lock is an flock(2) of the folder of maps: it goes with its process however that ends, holds across namespaces
//! and users, and needs no more than to read the folder.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use leco_os::clean::clean_bytes;
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, fstat, major, minor, openat};
use rustix::io::Errno;

/// A reader that was told to end, or was killed, is gone before that; a loader has put new pins in place.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long the loader waits for the reader of pins that it has replaced.
const LEAVE: Duration = Duration::from_millis(500);
const INTERVAL: Duration = Duration::from_millis(10);
/// Where a socket stands in what a person is told to type, if the other reader has none.
const EXAMPLE: &str = "unix:/run/leco.sock";

/// The right to read a ring, until it is dropped.
#[derive(Debug)]
pub(crate) struct ReaderLock {
    _folder: OwnedFd,
}

impl ReaderLock {
    /// Takes the lock of a folder of maps, unless another holds it. Others may have copies of its descriptor, and a lock
    /// on that would be theirs, too, and outlive this process: so it is opened anew.
    pub(crate) fn take(folder: impl AsFd) -> io::Result<Result<Self, Holder>> {
        let folder = open_folder(folder, Path::new("."))?;
        let deadline = Instant::now() + PATIENCE;
        while !try_lock(&folder)? {
            if Instant::now() >= deadline {
                return Ok(Err(Holder::of(&folder)));
            }
            thread::sleep(INTERVAL);
        }
        Ok(Ok(Self { _folder: folder }))
    }
}

/// A descriptor of a folder, by which also somebody who cannot reach it can open and lock it.
pub(crate) fn open_folder(at: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    Ok(openat(at, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

fn try_lock(folder: &OwnedFd) -> io::Result<bool> {
    match flock(folder, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Keeps new readers from pins that are about to take the place of others, until nobody reads those any more: both
/// may have the same ring.
#[derive(Debug)]
pub(crate) struct Replacement {
    old: Option<OwnedFd>,
    _new: Option<OwnedFd>,
}

impl Replacement {
    /// Of the folders of maps of both.
    pub(crate) fn begin(old: &Path, new: &Path) -> io::Result<Self> {
        let old = match open_folder(CWD, old) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            old => Some(old?),
        };
        let new = open_folder(CWD, new)?;
        // Nobody knows of it yet: where it is locked none the less, that is no reason to fail.
        let new = try_lock(&new)?.then_some(new);
        Ok(Self { old, _new: new })
    }

    /// Waits a moment for the reader of the old pins, which sees that they are gone. One that was stopped does so
    /// before anything else when it goes on.
    pub(crate) fn finish(self) {
        let Some(old) = self.old else { return };
        let deadline = Instant::now() + LEAVE;
        // All is done: an error here is no reason to undo it.
        while matches!(try_lock(&old), Ok(false)) && Instant::now() < deadline {
            thread::sleep(INTERVAL);
        }
    }
}

/// Who reads already, as far as it can be known, and what to use instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its process and that process's name; nothing where it is in a PID namespace that is not seen from here.
    process: Option<(u32, String)>,
    /// A socket that it serves, as `unix:PATH`.
    socket: Option<String>,
}

impl Holder {
    fn of(folder: &OwnedFd) -> Self {
        let pid = fstat(folder).ok().and_then(|there| {
            let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
            holder_in(&locks, (major(there.st_dev), minor(there.st_dev)), there.st_ino)
        });
        let read = |pid: u32, what: &str| fs::read(format!("/proc/{pid}/{what}")).unwrap_or_default();
        Self {
            process: pid.map(|pid| (pid, clean_bytes(read(pid, "comm").trim_ascii_end()).into_owned())),
            socket: pid.and_then(|pid| served_socket(&read(pid, "cmdline"))),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.process {
            Some((pid, name)) if name.is_empty() => write!(f, "process {pid} already reads them")?,
            Some((pid, name)) => write!(f, "process {pid} ({name}) already reads them")?,
            None => f.write_str("another process already reads them")?,
        }
        f.write_str(", and a second reader would take events from it. ")?;
        match &self.socket {
            Some(socket) => write!(f, "Read what it writes: leco-tui --source {socket}"),
            None => write!(
                f,
                "Start that one with a further --output {EXAMPLE}, and read what it writes: \
                 leco-tui --source {EXAMPLE}"
            ),
        }
    }
}

/// The process that holds the lock of a file, by the lines of `/proc/locks` (proc(5)): number, kind, mode, access,
/// process, device and inode, range.
fn holder_in(locks: &str, device: (u32, u32), inode: u64) -> Option<u32> {
    let file = format!("{:02x}:{:02x}:{inode}", device.0, device.1);
    locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        match fields.as_slice() {
            // A process that waits for it has `->` before its kind.
            [_, "FLOCK", _, _, pid, at, ..] if *at == file => pid.parse().ok().filter(|pid| *pid > 0),
            _ => None,
        }
    })
}

/// The first output of a command line that is a socket in the file system.
fn served_socket(command_line: &[u8]) -> Option<String> {
    let mut arguments = command_line.split(|byte| *byte == 0);
    let mut output = None;
    while output.is_none() {
        let argument = arguments.next()?;
        let value = match argument {
            b"-o" | b"--output" => arguments.next(),
            _ => argument.strip_prefix(b"--output=").or_else(|| argument.strip_prefix(b"-o")),
        };
        output = value.filter(|value| value.starts_with(b"unix:/"));
    }
    // What follows is for the output alone.
    let path = output?.split(|byte| *byte == b'?').next()?;
    let path = OsStr::from_bytes(path).to_str()?;
    // What a person copies must mean the same to a shell.
    let is_plain = path.chars().all(|char| char.is_ascii_alphanumeric() || "/:._-@+".contains(char));
    is_plain.then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_found_among_all_locks() {
        let locks = "1: FLOCK  ADVISORY  WRITE 5709 00:27:67828 0 EOF\n\
                     2: POSIX  ADVISORY  WRITE 11 00:27:7 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 12 fe:00:7 0 EOF\n\
                     3: -> FLOCK  ADVISORY  WRITE 13 00:27:7 0 EOF\n\
                     4: FLOCK  ADVISORY  WRITE 0 00:27:8 0 EOF\n\
                     garbage\n";
        assert_eq!(holder_in(locks, (0, 0x27), 67828), Some(5709));
        assert_eq!(holder_in(locks, (0, 0x27), 7), None, "another kind of lock, or one that is waited for");
        assert_eq!(holder_in(locks, (0xfe, 0), 7), Some(12));
        assert_eq!(holder_in(locks, (0, 0x27), 8), None, "of another PID namespace");
    }

    #[test]
    fn what_to_use_instead_is_what_the_other_serves() {
        let socket = |arguments: &[&str]| served_socket(arguments.join("\0").as_bytes());
        let leco = Some("unix:/run/leco.sock".to_owned());
        assert_eq!(socket(&["leco-event-pipe", "-o", "-", "-o", "unix:/run/leco.sock?mode=0660"]), leco);
        assert_eq!(socket(&["leco-event-pipe", "--output=unix:/run/leco.sock", "-E"]), leco);
        assert_eq!(socket(&["leco-event-pipe", "-ounix:/run/leco.sock"]), leco);
        assert_eq!(socket(&["leco-event-pipe", "--output"]), None);
        assert_eq!(socket(&["leco-event-pipe", "-o", "unix:relative"]), None);
        assert_eq!(socket(&["leco-event-pipe", "-o", "unix:/tmp/$(reboot)"]), None);
        assert_eq!(socket(&[]), None);
    }

    #[test]
    fn a_refusal_says_what_to_type() {
        let mut holder = Holder { process: Some((7, "leco-event-pipe".into())), socket: None };
        let said = holder.to_string();
        assert!(said.starts_with("process 7 (leco-event-pipe) already reads them, "), "{said}");
        assert!(said.ends_with(": leco-tui --source unix:/run/leco.sock"), "{said}");
        holder.socket = Some("unix:/a".into());
        assert!(holder.to_string().ends_with(". Read what it writes: leco-tui --source unix:/a"));
        holder.process = None;
        assert!(holder.to_string().starts_with("another process already reads them, "));
    }

    #[test]
    fn a_lock_excludes_others_and_goes_with_its_holder() {
        let folder = std::env::temp_dir().join(format!("leco-reader-lock-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let passed = open_folder(CWD, &folder).unwrap();
        let opened = open_folder(CWD, &folder).unwrap();
        let first = ReaderLock::take(&passed).unwrap().unwrap();
        for descriptor in [&passed, &opened] {
            let holder = ReaderLock::take(descriptor).unwrap().unwrap_err();
            assert_eq!(holder.process.unwrap().0, std::process::id());
        }
        drop(first);
        assert!(ReaderLock::take(&opened).unwrap().is_ok());
        fs::remove_dir(&folder).unwrap();
    }
}
