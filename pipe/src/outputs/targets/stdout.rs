// SPDX-License-Identifier: GPL-3.0-or-later
//! Events on standard output.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};

use leco_os::{say, start};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::net::{SendFlags, send};

use crate::outputs::clock::ClockField;
use crate::outputs::reader::{QueueLimits, Reader};
use crate::outputs::writer::PIPE_BATCH;

/// How to write without waiting. Making the inherited description non-blocking would make it so for every process that
/// shares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It never blocks.
    Plain,
    /// Each send says so.
    Socket,
    /// It could not be opened anew, such as a pipe that another user made: a pipe that is writable takes as much as
    /// [`PIPE_BATCH`] without waiting, unless somebody else writes to it at the same moment.
    WhenWritable,
}

#[derive(Debug)]
struct Sink<'f> {
    file: &'f File,
    way: Way,
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.way {
            Way::Plain => self.file.write(bytes),
            Way::Socket => Ok(send(self.file, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?),
            Way::WhenWritable => {
                let mut wish = [PollFd::new(self.file, PollFlags::OUT)];
                if poll(&mut wish, Some(&Timespec::default()))? == 0 {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                self.file.write(&bytes[..bytes.len().min(PIPE_BATCH)])
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Standard output as a receiver.
#[derive(Debug)]
pub(crate) struct Stdout {
    file: File,
    way: Way,
    /// Regular files cannot be waited for and never block.
    can_poll: bool,
    /// What the kernel reports when nobody can read any more, asked or not: waiting again would not wait.
    end: PollFlags,
    is_gone: bool,
    pub(crate) reader: Reader,
}

impl Stdout {
    /// Opens the same file anew where it can block, but for a socket, which cannot be opened.
    pub(crate) fn open(limits: QueueLimits) -> io::Result<Self> {
        start::has_stdout()?;
        let inherited = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let kind = inherited.metadata()?.file_type();
        let can_block = kind.is_fifo() || kind.is_char_device();
        let reopened = can_block.then(|| {
            OpenOptions::new()
                .write(true)
                .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
                .open("/proc/self/fd/1")
        });
        let (file, way) = match reopened {
            Some(Ok(file)) => (file, Way::Plain),
            Some(Err(_)) => (inherited, Way::WhenWritable),
            None if kind.is_socket() => (inherited, Way::Socket),
            None => (inherited, Way::Plain),
        };
        // A socket's error may be one of a single send.
        let end = if kind.is_socket() { PollFlags::HUP } else { PollFlags::HUP | PollFlags::ERR };
        let reader = Reader::new(limits, PIPE_BATCH);
        Ok(Self { file, way, can_poll: !kind.is_file(), end, is_gone: false, reader })
    }

    pub(crate) fn poll(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        self.can_poll.then(|| (self.file.as_fd(), self.reader.writer.wish()))
    }

    /// What the descriptor is ready for.
    pub(crate) fn look(&mut self, ready: PollFlags) {
        self.is_gone |= ready.intersects(self.end);
        self.reader.writer.look(ready);
    }

    /// Writes what there is; `false` when nobody reads any more, be it a pipe or a terminal, or nothing more comes.
    pub(crate) fn flush(&mut self, clock: &ClockField) -> io::Result<bool> {
        match self.reader.flush(Sink { file: &self.file, way: self.way }, clock) {
            Ok(()) => Ok(!self.is_gone && !self.reader.is_over()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe || say::is_gone(&self.file) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    use rustix::fs::fcntl_getfl;

    use super::*;

    #[test]
    fn nobody_waits_for_a_reader_that_does_not_read() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        for (file, way, reader) in [
            (File::from(OwnedFd::from(near)), Way::Socket, &mut far as &mut dyn Read),
            (File::from(OwnedFd::from(writer)), Way::WhenWritable, &mut reader),
        ] {
            let mut sink = Sink { file: &file, way };
            let mut all = 0;
            let error = loop {
                match sink.write(&[b'x'; 5000]) {
                    Ok(count) => all += count,
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{way:?} after {all} bytes");
            assert!(all > 0, "{way:?}");
            assert!(!fcntl_getfl(&file).unwrap().contains(OFlags::NONBLOCK), "others share it: {way:?}");
            let mut read = vec![0; all];
            reader.read_exact(&mut read).unwrap();
            assert!(sink.write(b"more").is_ok_and(|count| count == 4), "{way:?}");
        }
    }
}
