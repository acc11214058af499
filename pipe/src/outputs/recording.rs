//! Events appended to a file.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::clock::ClockField;
use super::complaint::Complaint;
use super::reader::{QueueLimits, Reader};

/// Bytes written at once.
const BATCH: usize = 64 << 10;

/// A file that grows by whole events.
#[derive(Debug)]
pub(crate) struct Recording {
    path: PathBuf,
    file: File,
    pub(crate) reader: Reader,
    complaint: Complaint,
}

impl Recording {
    pub(crate) fn open(path: &Path, limits: QueueLimits) -> io::Result<Self> {
        let file = append_to(path)?;
        let reader = Reader::new(limits, BATCH);
        Ok(Self { path: path.to_owned(), file, reader, complaint: Complaint::default() })
    }

    /// Goes on in what is now at the path: another program moved the old one away.
    pub(crate) fn reopen(&mut self) -> io::Result<()> {
        self.file = append_to(&self.path)?;
        self.reader.told.forget();
        Ok(())
    }

    /// Writes what there is. What a full disk does not take is lost, and said so once.
    pub(crate) fn flush(&mut self, clock: &ClockField) {
        let mut batch = Vec::new();
        loop {
            batch.clear();
            let Reader { queue, told, .. } = &mut self.reader;
            queue.fill(&mut batch, BATCH, told, clock);
            if batch.is_empty() {
                return;
            }
            let length = self.file.metadata().map(|metadata| metadata.len());
            match self.file.write_all(&batch) {
                Ok(()) => self.complaint.settle(),
                Err(error) => {
                    // Half an event would make the next one unreadable, too.
                    if let Ok(length) = length {
                        let _ = self.file.set_len(length);
                    }
                    self.reader.told.forget();
                    self.complaint.tell(&format!(
                        "cannot write to {}: {error}. Events are missing there.",
                        self.path.display()
                    ));
                }
            }
        }
    }
}

/// What is recorded tells who talked to whom: it is for this user alone.
fn append_to(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not an ordinary file"));
    }
    Ok(file)
}
