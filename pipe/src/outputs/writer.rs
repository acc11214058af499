//! Writing a queue to a descriptor that may not take everything.

use std::fs::File;
use std::io::{self, Write};

use super::queue::Queue;

/// Pipes take so many bytes whole or not at all (`PIPE_BUF`, pipe(7)): no reader ever sees half an event
/// because another one left.
const BATCH_BYTES: usize = 4096;

/// What a write came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    /// Nothing is left.
    All,
    /// The rest has to wait until the descriptor is writable.
    Blocked,
}

/// Encoded bytes on their way out.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    batch: Vec<u8>,
    written: usize,
}

impl Writer {
    /// Writes as much of the queue as the descriptor takes.
    pub(crate) fn write(&mut self, mut file: &File, queue: &mut Queue) -> io::Result<Written> {
        loop {
            if self.written == self.batch.len() {
                self.batch.clear();
                self.written = 0;
                queue.fill(&mut self.batch, BATCH_BYTES);
                if self.batch.is_empty() {
                    return Ok(Written::All);
                }
            }
            match file.write(&self.batch[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Written::Blocked),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Forgets what was not written, for a new reader.
    pub(crate) fn reset(&mut self) {
        self.batch.clear();
        self.written = 0;
    }
}
