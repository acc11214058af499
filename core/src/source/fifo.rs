// SPDX-License-Identifier: GPL-3.0-or-later
//! Reading events from a fifo that may come, go and be replaced at any time.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use inotify::{WatchDescriptor, WatchMask};
use leco_os::limits;
use leco_os::watch::Watcher;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;

use super::{LineBuffer, Owner, OwnerError};

/// Bytes of a pipe's buffer on Linux, so that one read empties it.
pub(crate) const READ_BYTES: usize = 64 << 10;

/// What the source is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FifoState {
    /// The fifo is open; events arrive when there are any.
    Reading,
    /// There is no such file (or no such folder).
    Missing,
    /// There is something else in its place.
    NotAFifo,
    /// It cannot be opened.
    Unreadable(String),
    /// Another user may have written what is in it.
    Refused(OwnerError),
}

/// A fifo, followed by its path.
#[derive(Debug)]
pub struct Fifo {
    path: PathBuf,
    owner: Owner,
    state: FifoState,
    file: Option<File>,
    watcher: Watcher,
    watch: Option<(WatchDescriptor, PathBuf)>,
    opened: u64,
    lines: LineBuffer,
    buffer: Vec<u8>,
}

impl Fifo {
    /// Starts to follow a path; whatever is or is not there now, it is waited for. What is another user's is not
    /// read.
    pub fn follow(path: &Path) -> io::Result<Self> {
        Self::follow_of(path, Owner::Known)
    }

    /// The same, of these users.
    pub(crate) fn follow_of(path: &Path, owner: Owner) -> io::Result<Self> {
        let mut fifo = Self {
            path: path.to_owned(),
            owner,
            state: FifoState::Missing,
            file: None,
            watcher: Watcher::new()?,
            watch: None,
            opened: 0,
            lines: LineBuffer::default(),
            buffer: vec![0; READ_BYTES],
        };
        fifo.look_again()?;
        Ok(fifo)
    }

    /// The path that it follows.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it is doing now.
    #[must_use]
    pub fn state(&self) -> &FifoState {
        &self.state
    }

    /// How often it was opened: anew after its writers were gone.
    pub(crate) fn opened(&self) -> u64 {
        self.opened
    }

    /// Lines that were too long to keep.
    #[must_use]
    pub fn overlong(&self) -> u64 {
        self.lines.overlong()
    }

    /// What becomes readable when [`Self::wait`] has something to do: for a loop that waits for other things,
    /// too. They change whenever it has done something.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(self.watcher.as_fd()).chain(self.file.as_ref().map(AsFd::as_fd))
    }

    /// Sleeps until something arrives, the fifo comes or goes, or the time is over; hands out every line
    /// that arrived. Tells whether the time was over.
    pub fn wait(&mut self, timeout: Option<Duration>, mut deliver: impl FnMut(&[u8])) -> io::Result<bool> {
        let timeout = timeout
            .map(|timeout| Timespec::try_from(timeout).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 }));
        let mut fds = vec![PollFd::new(&self.watcher, PollFlags::IN)];
        if let Some(file) = &self.file {
            fds.push(PollFd::new(file, PollFlags::IN));
        }
        match poll(&mut fds, timeout.as_ref()) {
            Ok(0) => return Ok(true),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let moved = !fds[0].revents().is_empty();
        let readable = fds.get(1).map_or(PollFlags::empty(), PollFd::revents);
        drop(fds);
        if readable.contains(PollFlags::IN) {
            self.read(&mut deliver)?;
        } else if !readable.is_empty() {
            self.reopen()?;
        }
        if moved {
            self.watcher.read(|_| ())?;
            self.look_again()?;
            // One that was removed without a writer will never have one, and poll(2) says nothing of that.
            if fs::metadata(&self.path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
                self.read(&mut deliver)?;
            }
        }
        Ok(false)
    }

    fn read(&mut self, deliver: impl FnMut(&[u8])) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        match file.read(&mut self.buffer) {
            Ok(0) => self.reopen(),
            Ok(count) => {
                self.lines.push(&self.buffer[..count], deliver);
                Ok(())
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Ok(())
            }
            Err(_) => self.reopen(),
        }
    }

    /// After its writers are gone a fifo reports a hang-up for ever; one opened anew is quiet until the
    /// next writer. The old one is closed after that, so that nothing a new writer sent is lost.
    fn reopen(&mut self) -> io::Result<()> {
        let old = self.file.take();
        self.look_again()?;
        drop(old);
        // Where there was no descriptor for both, nothing else would say when to try again.
        if matches!(self.state, FifoState::Unreadable(_)) { self.look_again() } else { Ok(()) }
    }

    /// Brings watch and file in line with what is at the path now.
    fn look_again(&mut self) -> io::Result<()> {
        // The watch comes first: what changes after the look is then seen.
        self.watch_nearest_folder()?;
        let opened = self.file.as_ref().and_then(|file| file.metadata().ok());
        let there = fs::metadata(&self.path);
        if let (Some(opened), Ok(there)) = (&opened, &there)
            && (opened.dev(), opened.ino()) == (there.dev(), there.ino())
        {
            return Ok(());
        }
        match there {
            // An unlinked fifo still delivers what its writer sends, until there is a new one.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if self.file.is_none() {
                    self.state = FifoState::Missing;
                }
            }
            Err(error) => self.state = FifoState::Unreadable(error.to_string()),
            Ok(there) if !there.file_type().is_fifo() => self.state = FifoState::NotAFifo,
            Ok(_) => self.open(),
        }
        Ok(())
    }

    fn open(&mut self) {
        let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
        let open = |path: &Path| OpenOptions::new().read(true).custom_flags(flags).open(path);
        let mut opened = open(&self.path);
        let is_limit = |error: &io::Error| limits::named(error).is_some();
        if opened.as_ref().is_err_and(is_limit) && self.file.take().is_some() {
            // There is no descriptor for both. Nothing else would say when to try again.
            opened = open(&self.path);
        }
        let opened = opened.and_then(|file| Ok((file.metadata()?, file)));
        // What is open counts: the path may lead elsewhere since it was looked at.
        self.state = match opened {
            Err(error) => FifoState::Unreadable(limits::explain(error).to_string()),
            Ok((opened, _)) if !opened.file_type().is_fifo() => FifoState::NotAFifo,
            Ok((opened, file)) => {
                if let Err(error) = self.owner.check(&self.path, &opened) {
                    FifoState::Refused(error)
                } else {
                    self.file = Some(file);
                    self.opened += 1;
                    FifoState::Reading
                }
            }
        };
    }

    fn watch_nearest_folder(&mut self) -> io::Result<()> {
        let mask = WatchMask::CREATE
            | WatchMask::DELETE
            | WatchMask::MOVED_TO
            | WatchMask::MOVED_FROM
            | WatchMask::ATTRIB
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR;
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        for folder in folder.ancestors() {
            // Adding a watch again gives the same descriptor, and a new one where the folder is another.
            match self.watcher.add(folder, mask) {
                Ok(None) => {
                    self.watch = None;
                    return Ok(());
                }
                Ok(Some(watch)) => {
                    let old = self.watch.replace((watch.clone(), folder.to_owned()));
                    if let Some((old, _)) = old.filter(|(old, _)| *old != watch) {
                        self.watcher.remove(old);
                    }
                    return Ok(());
                }
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                // A folder that may not be read: one above it tells when that changes.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Path and state in words for a person.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.state {
            FifoState::Refused(error) => format!("{}: {error}", self.path.display()),
            state => format!("{state} {}", self.path.display()),
        }
    }
}

impl fmt::Display for FifoState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reading => f.write_str("reading"),
            Self::Missing => f.write_str("waiting for"),
            Self::NotAFifo => f.write_str("waiting: not a fifo:"),
            Self::Unreadable(error) => write!(f, "waiting ({error}):"),
            Self::Refused(error) => write!(f, "{error}:"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Instant;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(20);

    fn make_fifo(path: &Path) {
        mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    }

    /// Waits until so many lines came or the state is as wanted.
    fn wait_until(fifo: &mut Fifo, mut done: impl FnMut(&Fifo, &[String]) -> bool) -> Vec<String> {
        let start = Instant::now();
        let mut lines = Vec::new();
        while !done(fifo, &lines) {
            assert!(start.elapsed() < DEADLINE, "{:?} {lines:?}", fifo.state());
            let left = DEADLINE.saturating_sub(start.elapsed());
            fifo.wait(Some(left), |line| lines.push(String::from_utf8_lossy(line).into_owned())).unwrap();
        }
        lines
    }

    fn write(path: &Path, text: &str) {
        OpenOptions::new().write(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn follows_a_fifo_through_every_change() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/leco.fifo");
        let mut fifo = Fifo::follow(&path).unwrap();
        assert_eq!(fifo.state(), &FifoState::Missing);

        fs::create_dir(dir.path().join("a")).unwrap();
        fifo.wait(Some(DEADLINE), |_| ()).unwrap();
        fs::create_dir(dir.path().join("a/b")).unwrap();
        fifo.wait(Some(DEADLINE), |_| ()).unwrap();
        make_fifo(&path);
        wait_until(&mut fifo, |fifo, _| *fifo.state() == FifoState::Reading);

        write(&path, "one\ntwo\npart");
        assert_eq!(wait_until(&mut fifo, |_, lines| lines.len() == 2), ["one", "two"]);
        write(&path, "ial\n");
        assert_eq!(wait_until(&mut fifo, |_, lines| lines.len() == 1), ["partial"]);

        fs::remove_file(&path).unwrap();
        fs::write(&path, "not a fifo").unwrap();
        wait_until(&mut fifo, |fifo, _| *fifo.state() == FifoState::NotAFifo);
        let beside = dir.path().join("a/b/beside");
        make_fifo(&beside);
        fs::rename(&beside, &path).unwrap();
        wait_until(&mut fifo, |fifo, _| *fifo.state() == FifoState::Reading);
        write(&path, "three\n");
        assert_eq!(wait_until(&mut fifo, |_, lines| lines.len() == 1), ["three"]);

        fs::remove_dir_all(dir.path().join("a")).unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        make_fifo(&path);
        wait_until(&mut fifo, |fifo, _| {
            let opened = fifo.file.as_ref().map(|file| file.metadata().unwrap().ino());
            opened == Some(fs::metadata(&path).unwrap().ino())
        });
        write(&path, "four\n");
        assert_eq!(wait_until(&mut fifo, |_, lines| lines.len() == 1), ["four"]);
    }

    #[test]
    fn one_that_is_removed_without_a_writer_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("leco.fifo");
        make_fifo(&path);
        let mut fifo = Fifo::follow(&path).unwrap();
        write(&path, "one\n");
        wait_until(&mut fifo, |_, lines| lines.len() == 1);
        // The hang-up, after which it is opened anew.
        wait_until(&mut fifo, |fifo, _| fifo.opened() == 2);
        let mut writer = OpenOptions::new().write(true).open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        writer.write_all(b"two\n").unwrap();
        assert_eq!(wait_until(&mut fifo, |_, lines| lines.len() == 1), ["two"]);
        drop(writer);
        wait_until(&mut fifo, |fifo, _| *fifo.state() == FifoState::Missing);

        make_fifo(&path);
        wait_until(&mut fifo, |fifo, _| *fifo.state() == FifoState::Reading);
        fs::remove_file(&path).unwrap();
        wait_until(&mut fifo, |fifo, _| *fifo.state() == FifoState::Missing);
    }

    #[test]
    fn a_writer_that_left_costs_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("leco.fifo");
        make_fifo(&path);
        let mut fifo = Fifo::follow(&path).unwrap();
        write(&path, "one\n");
        wait_until(&mut fifo, |_, lines| lines.len() == 1);
        // The hang-up is noticed once; then the wait must last its whole time.
        fifo.wait(Some(Duration::from_millis(100)), |_| ()).unwrap();
        assert!(fifo.wait(Some(Duration::from_millis(50)), |_| ()).unwrap(), "woke up without a reason");
    }

    /// Root may read everything: the test thread becomes another user, which threads can one by one.
    #[test]
    fn waits_for_permission() {
        use rustix::process::{Uid, geteuid};
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let path = dir.path().join("leco.fifo");
        make_fifo(&path);
        let set_mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        set_mode(0o000);
        std::thread::scope(|scope| {
            let (refused, receiver) = std::sync::mpsc::channel();
            let path = &path;
            let reader = scope.spawn(move || {
                if geteuid().is_root() {
                    let nobody = Uid::from_raw(65534);
                    rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
                }
                let mut fifo = Fifo::follow(path).unwrap();
                assert!(matches!(fifo.state(), FifoState::Unreadable(_)));
                refused.send(()).unwrap();
                wait_until(&mut fifo, |fifo, _| *fifo.state() == FifoState::Reading);
            });
            receiver.recv().unwrap();
            set_mode(0o644);
            reader.join().unwrap();
        });
    }
}
