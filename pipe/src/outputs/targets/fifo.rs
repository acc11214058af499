// SPDX-License-Identifier: GPL-3.0-or-later
//! Events into a fifo, for its reader.

use std::fs::{self, File, FileType, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use inotify::{EventMask, WatchDescriptor, WatchMask};
use leco_os::files::kind_of;
use leco_os::watch::Watcher;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, OFlags, mknodat};

use crate::outputs::clock::ClockField;
use crate::outputs::exact::{Identity, identity, made, with_mode};
use crate::outputs::reader::{QueueLimits, Reader};
use crate::outputs::warn_once::WarnOnce;
use crate::outputs::writer::PIPE_BATCH;

/// Why a fifo cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FifoError {
    /// Something else is in its place.
    #[error("{0} is {1}, not a fifo: choose another path")]
    NotAFifo(PathBuf, &'static str),
    /// It cannot be made.
    #[error("cannot create the fifo {0}: {1}. Choose another path, or let this user create it.")]
    Make(PathBuf, io::Error),
    /// It cannot be opened.
    #[error("cannot open the fifo {0}: {1}. Its mode must let this user read and write.")]
    Open(PathBuf, io::Error),
    /// Its folder cannot be watched.
    #[error("cannot watch the directory of {0}: {1}. Choose another path, or let this user read it.")]
    Watch(PathBuf, io::Error),
}

/// The fifo, and whether somebody reads it.
#[derive(Debug)]
pub(crate) struct FifoOutput {
    path: PathBuf,
    mode: u32,
    /// Device and inode of the fifo this pipe made, which it removes on exit.
    made: Option<Identity>,
    watcher: Watcher,
    folder_watch: Option<WatchDescriptor>,
    fifo_watch: Option<WatchDescriptor>,
    /// Held open for writing even while nobody reads: then a reader's open succeeds at once, and inotify
    /// tells of it. That is how to wait for a reader without trying again and again.
    file: Option<File>,
    has_reader: bool,
    /// A reader closed it while it still seemed to be read: the next one may have come before anybody looked.
    reader_left: bool,
    pub(crate) reader: Reader,
    complaint: WarnOnce,
}

impl FifoOutput {
    pub(crate) fn open(path: &Path, mode: u32, limits: QueueLimits) -> Result<Self, FifoError> {
        let watcher = Watcher::new().map_err(|error| FifoError::Watch(path.to_owned(), error))?;
        let mut output = Self {
            path: path.to_owned(),
            mode,
            made: None,
            watcher,
            folder_watch: None,
            fifo_watch: None,
            file: None,
            has_reader: false,
            reader_left: false,
            reader: Reader::new(limits, PIPE_BATCH),
            complaint: WarnOnce::default(),
        };
        output.watch_folder()?;
        output.attach()?;
        Ok(output)
    }

    fn watch_folder(&mut self) -> Result<(), FifoError> {
        let mask = WatchMask::CREATE
            | WatchMask::DELETE
            | WatchMask::MOVED_TO
            | WatchMask::MOVED_FROM
            | WatchMask::ONLYDIR;
        let folder = folder_of(&self.path);
        let watch = self.watcher.add(folder, mask);
        self.folder_watch = watch.map_err(|error| FifoError::Watch(self.path.clone(), error))?;
        Ok(())
    }

    fn watch_fifo(&mut self) -> Result<(), FifoError> {
        let mask = WatchMask::OPEN | WatchMask::CLOSE_NOWRITE | WatchMask::DONT_FOLLOW;
        let watch = self.watcher.add(&self.path, mask);
        self.fifo_watch = watch.map_err(|error| FifoError::Watch(self.path.clone(), error))?;
        Ok(())
    }

    /// Whether nothing tells of readers: then it is looked at whenever there is another reason to be awake, too.
    pub(crate) fn is_polling(&self) -> bool {
        self.watcher.is_polling()
    }

    /// Makes the fifo where it is missing and opens it.
    fn attach(&mut self) -> Result<(), FifoError> {
        // Once it is closed, its inode's number may be given to another file.
        if identity(&self.path) != self.made {
            self.made = None;
        }
        self.detach();
        let path = self.path.clone();
        let open_error = |error| FifoError::Open(path.clone(), error);
        match fs::symlink_metadata(&self.path) {
            Ok(there) if there.file_type().is_fifo() => {}
            Ok(there) => return Err(FifoError::NotAFifo(self.path.clone(), kind_of(there.file_type()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.make()?,
            Err(error) => return Err(open_error(error)),
        }
        // Opening for both never blocks and never fails for want of a reader; while it is open, the one
        // for writing alone succeeds, too.
        let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC).bits().cast_signed();
        let both = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(flags)
            .open(&self.path)
            .map_err(open_error)?;
        let file = OpenOptions::new().write(true).custom_flags(flags).open(&self.path).map_err(open_error)?;
        drop(both);
        let kind = file.metadata().map_err(open_error)?.file_type();
        if !kind.is_fifo() {
            return Err(FifoError::NotAFifo(self.path.clone(), kind_of(kind)));
        }
        // Watched only now, so that these two opens are not taken for a reader's.
        self.watch_fifo()?;
        self.has_reader = is_read(&file);
        self.reader.start_anew(self.has_reader);
        self.file = Some(file);
        Ok(())
    }

    /// Closes the fifo, with which the kernel forgets what was in it and not read.
    fn detach(&mut self) {
        if let Some(watch) = self.fifo_watch.take() {
            self.watcher.remove(watch);
        }
        self.file = None;
        self.has_reader = false;
        self.reader_left = false;
        self.reader.start_anew(false);
    }

    fn make(&mut self) -> Result<(), FifoError> {
        let make_error = |error: io::Error| FifoError::Make(self.path.clone(), error);
        let kind = rustix::fs::FileType::Fifo;
        with_mode(self.mode, |mode| mknodat(CWD, &self.path, kind, mode, 0))
            .map_err(|error| make_error(error.into()))?;
        self.made = Some(made(&self.path, FileType::is_fifo).map_err(make_error)?);
        Ok(())
    }

    pub(crate) fn poll(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        // A fifo without a reader reports an error for ever: it is not asked then.
        let wish = self.reader.writer.wish();
        let file = self.file.as_ref().filter(|_| self.has_reader).map(|file| (file.as_fd(), wish));
        std::iter::once((self.watcher.as_fd(), PollFlags::IN)).chain(file)
    }

    /// Follows what happened to the fifo and who reads it.
    pub(crate) fn look(&mut self, ready: PollFlags) {
        self.reader.writer.look(ready);
        let (mut replaced, mut opened) = (false, false);
        let Self { watcher, path, folder_watch, fifo_watch, reader_left, .. } = self;
        let was_polling = watcher.read(|event| {
            if Some(&event.wd) == folder_watch.as_ref() {
                replaced |= event.name.is_none_or(|name| Some(name) == path.file_name());
            } else if Some(&event.wd) == fifo_watch.as_ref() {
                opened |= event.mask.contains(EventMask::OPEN);
                *reader_left |= event.mask.contains(EventMask::CLOSE_NOWRITE);
            }
        });
        // The queue is empty when this fails.
        if was_polling.unwrap_or(false) {
            (replaced, opened) = (true, true);
            if !self.is_polling() {
                let watched = self.watch_folder().and_then(|()| self.watch_fifo());
                if let Err(error) = watched {
                    self.complaint.tell(&error.to_string());
                }
            }
        }
        if replaced && !self.is_current() {
            self.reattach();
            return;
        }
        let Some(file) = &self.file else { return };
        let had_reader = self.has_reader;
        let is_read = is_read(file);
        if had_reader && !is_read {
            // What the reader left behind must not greet the next one.
            self.reattach();
            return;
        }
        self.has_reader = is_read;
        if is_read && opened && (!had_reader || std::mem::take(&mut self.reader_left)) {
            self.reader.greet();
        }
    }

    fn is_current(&self) -> bool {
        let opened = self.file.as_ref().and_then(|file| file.metadata().ok());
        opened.is_some_and(|opened| identity(&self.path) == Some((opened.dev(), opened.ino())))
    }

    /// Begins anew with what is now at the path.
    pub(crate) fn reattach(&mut self) {
        match self.attach() {
            Ok(()) => self.complaint.settle(),
            Err(error) => self.complaint.tell(&error.to_string()),
        }
    }

    pub(crate) fn has_reader(&self) -> bool {
        self.has_reader
    }

    /// Writes what the reader takes. It may be gone, and another have come who has to be told everything.
    pub(crate) fn flush(&mut self, clock: &ClockField) {
        let Some(file) = self.file.as_ref().filter(|_| self.has_reader) else { return };
        if self.reader.flush(file, clock).is_err() {
            self.reattach();
        }
    }
}

impl Drop for FifoOutput {
    fn drop(&mut self) {
        if self.made.is_some() && identity(&self.path) == self.made {
            // Nothing can be done about a folder that became unwritable.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A fifo open for writing reports an error condition as long as nobody has it open for reading.
fn is_read(file: &File) -> bool {
    let mut fds = [PollFd::new(file, PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&at_once)).is_ok() && !fds[0].revents().contains(PollFlags::ERR)
}

/// The folder that a path is in.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
