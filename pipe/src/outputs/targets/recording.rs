// SPDX-License-Identifier: GPL-3.0-or-later
//! Events appended to a file.

use std::path::Path;

use leco_core::source::recording;
use leco_core::source::recording::RecordError;

use crate::outputs::clock::ClockField;
use crate::outputs::reader::{QueueLimits, Reader};
use crate::outputs::warn_once::WarnOnce;

/// Bytes written at once.
const BATCH: usize = 64 << 10;

/// A file that grows by whole events.
#[derive(Debug)]
pub(crate) struct Recording {
    file: recording::Recording,
    pub(crate) reader: Reader,
    complaint: WarnOnce,
    /// Bytes that were not taken last, less those that were since: a shorter event may still fit into a file that is full.
    untaken: usize,
}

impl Recording {
    pub(crate) fn open(path: &Path, limits: QueueLimits) -> Result<Self, RecordError> {
        let file = recording::Recording::open(path)?;
        let reader = Reader::new(limits, BATCH);
        Ok(Self { file, reader, complaint: WarnOnce::default(), untaken: 0 })
    }

    /// Goes on in what is now at the path: another program moved the old one away.
    pub(crate) fn reopen(&mut self) -> Result<(), RecordError> {
        self.file.reopen()?;
        self.reader.clock_sent.forget();
        Ok(())
    }

    /// Writes what there is. What a full disk does not take is lost, and said so once.
    pub(crate) fn flush(&mut self, clock: &ClockField) {
        let mut batch = Vec::new();
        loop {
            batch.clear();
            let Reader { queue, clock_sent, .. } = &mut self.reader;
            queue.fill(&mut batch, BATCH, clock_sent, clock);
            if batch.is_empty() {
                return;
            }
            match self.file.append(&batch) {
                Ok(()) => {
                    self.untaken = self.untaken.saturating_sub(batch.len());
                    if self.untaken == 0 {
                        self.complaint.settle();
                    }
                }
                Err(error) => {
                    self.untaken = batch.len();
                    self.reader.clock_sent.forget();
                    let path = self.file.path().display();
                    self.complaint
                        .tell(&format!("cannot write to {path}: {error}. Events are missing there."));
                }
            }
        }
    }
}
