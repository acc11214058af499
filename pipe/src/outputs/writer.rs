// SPDX-License-Identifier: GPL-3.0-or-later
//! Writing a queue to a descriptor that may not take everything.

use std::io::{self, Write};

use rustix::event::PollFlags;

/// Pipes take so many bytes whole or not at all (`PIPE_BUF`, pipe(7)): no reader ever sees half an event
/// because another one left.
pub(crate) const PIPE_BATCH: usize = 4096;
/// A connected socket has one reader: fewer system calls.
pub(crate) const SOCKET_BATCH: usize = 32 << 10;

/// Encoded bytes on their way out.
#[derive(Debug)]
pub(crate) struct Writer {
    batch: Vec<u8>,
    written: usize,
    limit: usize,
    /// The descriptor took not everything; nothing is tried until it is writable.
    is_blocked: bool,
}

impl Writer {
    /// Writes so many bytes at once, or one event.
    pub(crate) fn new(limit: usize) -> Self {
        Self { batch: Vec::new(), written: 0, limit, is_blocked: false }
    }

    /// What to wait for; without a wish the kernel still reports that the reader is gone.
    pub(crate) fn wish(&self) -> PollFlags {
        if self.is_blocked { PollFlags::OUT } else { PollFlags::empty() }
    }

    /// The descriptor may take more, or fail and say why.
    pub(crate) fn look(&mut self, ready: PollFlags) {
        self.is_blocked &= ready.is_empty();
    }

    /// Writes as much as the descriptor takes of what `next` puts into a batch of so many bytes.
    pub(crate) fn write(
        &mut self,
        mut file: impl Write,
        mut next: impl FnMut(&mut Vec<u8>, usize),
    ) -> io::Result<()> {
        while !self.is_blocked {
            if self.written == self.batch.len() {
                self.reset();
                next(&mut self.batch, self.limit);
                if self.batch.is_empty() {
                    break;
                }
            }
            match file.write(&self.batch[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.is_blocked = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether everything that was taken from the queue is written.
    pub(crate) fn is_idle(&self) -> bool {
        self.written == self.batch.len()
    }

    /// Forgets what was not written, for a new reader.
    pub(crate) fn reset(&mut self) {
        self.batch.clear();
        self.written = 0;
        self.is_blocked = false;
    }
}
