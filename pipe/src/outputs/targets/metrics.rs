// SPDX-License-Identifier: GPL-3.0-or-later
//! Metrics in a file that is replaced as a whole, for the textfile collector of `node_exporter`.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use leco_os::clock::{BootNs, boot_ns};
use leco_os::files;

use crate::outputs::counts::Counts;
use crate::outputs::exact::with_mode;
use crate::outputs::warn_once::WarnOnce;

/// What the file begins with.
const MARK: &[u8] = b"# HELP leco_";
/// Others read it.
const MODE: u32 = 0o644;

/// Why there cannot be metrics at a path.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// There is nothing to write to.
    #[error("{0} is not a directory: create it, or name another for {1}")]
    NoDirectory(PathBuf, PathBuf),
    /// Something else is there.
    #[error("{0} exists and is not a file with metrics of LECO: name another path")]
    Foreign(PathBuf),
    /// It cannot be looked at.
    #[error("cannot read {0}: {1}")]
    Read(PathBuf, #[source] io::Error),
}

/// Counters, and the file that they are written to now and then.
#[derive(Debug)]
pub(crate) struct Metrics {
    path: PathBuf,
    /// Beside it, and not read by who reads that.
    unfinished: PathBuf,
    /// In ns.
    every: u64,
    due: BootNs,
    pub(crate) counts: Counts,
    complaint: WarnOnce,
}

impl Metrics {
    /// Looks at what is there. Whether it can be written is said when it is written.
    pub(crate) fn open(path: &Path, every: Duration) -> Result<Self, MetricsError> {
        let directory = path.parent().unwrap_or(path);
        if !directory.is_dir() {
            return Err(MetricsError::NoDirectory(directory.to_owned(), path.to_owned()));
        }
        if !may_replace(path)? {
            return Err(MetricsError::Foreign(path.to_owned()));
        }
        let mut name = std::ffi::OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(".unfinished");
        Ok(Self {
            path: path.to_owned(),
            unfinished: path.with_file_name(name),
            every: u64::try_from(every.as_nanos()).unwrap_or(u64::MAX),
            due: 0,
            counts: Counts::new(boot_ns()),
            complaint: WarnOnce::default(),
        })
    }

    /// When to call [`Self::keep_time`].
    pub(crate) fn due(&self) -> BootNs {
        self.due
    }

    /// Writes the file where it is time.
    pub(crate) fn keep_time(&mut self, now: BootNs) {
        if self.due <= now {
            self.due = now.saturating_add(self.every);
            self.write();
        }
    }

    /// Writes the file. What cannot be written is said once, and tried again the next time.
    pub(crate) fn write(&mut self) {
        let text = self.counts.text();
        let path = self.path.display();
        match self.replace(text.as_bytes()) {
            Ok(()) => {
                if self.complaint.lasts() {
                    tracing::info!("{path} is written again");
                }
                self.complaint.settle();
            }
            Err(error) => {
                // It may never have been made.
                let _ = fs::remove_file(&self.unfinished);
                self.complaint.tell(&format!("cannot write {path}: {error}. Counting goes on."));
            }
        }
    }

    fn replace(&self, text: &[u8]) -> io::Result<()> {
        let new_file = || {
            with_mode(MODE, |_| {
                OpenOptions::new().write(true).create_new(true).mode(MODE).open(&self.unfinished)
            })
        };
        let mut file = match new_file() {
            // A killed pipe left it, or somebody put a link there.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(&self.unfinished)?;
                new_file()?
            }
            file => file?,
        };
        file.write_all(text)?;
        fs::rename(&self.unfinished, &self.path)
    }
}

/// Whether nothing is there, or what an earlier pipe wrote.
fn may_replace(path: &Path) -> Result<bool, MetricsError> {
    let failed = |error| MetricsError::Read(path.to_owned(), error);
    match fs::symlink_metadata(path) {
        Ok(there) if there.is_file() => {}
        Ok(_) => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(failed(error)),
    }
    let (file, _) = files::open_to_read(path).map_err(failed)?;
    let mut begin = Vec::new();
    file.take(MARK.len() as u64).read_to_end(&mut begin).map_err(failed)?;
    Ok(begin.is_empty() || begin == MARK)
}
