//! Events on standard output.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};

use leco_os::say;
use rustix::event::PollFlags;
use rustix::fs::OFlags;

use crate::outputs::clock::ClockField;
use crate::outputs::reader::{QueueLimits, Reader};
use crate::outputs::writer::PIPE_BATCH;

/// Standard output as a receiver.
#[derive(Debug)]
pub(crate) struct Stdout {
    file: File,
    /// Regular files cannot be waited for and never block.
    can_poll: bool,
    /// What the kernel reports when nobody can read any more, asked or not: waiting again would not wait.
    end: PollFlags,
    is_gone: bool,
    pub(crate) reader: Reader,
}

impl Stdout {
    /// Opens the same file anew where it can block, since making the inherited one non-blocking would make
    /// it so for every process that shares it.
    pub(crate) fn open(limits: QueueLimits) -> io::Result<Self> {
        let inherited = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let kind = inherited.metadata()?.file_type();
        let reopened = (kind.is_fifo() || kind.is_char_device()).then(|| {
            OpenOptions::new()
                .write(true)
                .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
                .open("/proc/self/fd/1")
        });
        let file = match reopened {
            Some(Ok(file)) => file,
            _ => inherited,
        };
        // A socket's error may be one of a single send.
        let end = if kind.is_socket() { PollFlags::HUP } else { PollFlags::HUP | PollFlags::ERR };
        let reader = Reader::new(limits, PIPE_BATCH);
        Ok(Self { file, can_poll: !kind.is_file(), end, is_gone: false, reader })
    }

    pub(crate) fn poll(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        self.can_poll.then(|| (self.file.as_fd(), self.reader.writer.wish()))
    }

    /// What the descriptor is ready for.
    pub(crate) fn look(&mut self, ready: PollFlags) {
        self.is_gone |= ready.intersects(self.end);
        self.reader.writer.look(ready);
    }

    /// Writes what there is; `false` when nobody reads any more, be it a pipe or a terminal.
    pub(crate) fn flush(&mut self, clock: &ClockField) -> io::Result<bool> {
        match self.reader.flush(&self.file, clock) {
            Ok(()) => Ok(!self.is_gone),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe || say::is_gone(&self.file) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
