// SPDX-License-Identifier: GPL-3.0-or-later
//! The lock under which pins are made and removed.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::bpffs::BPFFS;
use super::pin_dir::PinError;

/// Several loaders that wait for each other are done before, also on a busy machine, where each takes seconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);
const LOCK_INTERVAL: Duration = Duration::from_millis(20);

/// Takes the lock under which pins are made and removed, and keeps it as long as the file lives.
pub(crate) fn lock() -> Result<File, PinError> {
    let root = Path::new(BPFFS);
    // Anybody who may read that folder can lock it: it is not waited for without end.
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        let file = File::open(root).map_err(PinError::io("open", root))?;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK) if Instant::now() < deadline => thread::sleep(LOCK_INTERVAL),
                Err(Errno::WOULDBLOCK) => return Err(PinError::Locked),
                Err(error) => return Err(PinError::io("lock", root)(error.into())),
            }
        }
        // Where another loader mounted a filesystem meanwhile, the next one would not see this lock.
        let there = fs::metadata(root).map_err(PinError::io("inspect", root))?;
        let locked = file.metadata().map_err(PinError::io("inspect", root))?;
        if (there.dev(), there.ino()) == (locked.dev(), locked.ino()) {
            return Ok(file);
        }
    }
}
