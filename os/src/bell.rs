// SPDX-License-Identifier: GPL-3.0-or-later
//! A descriptor by which one thread tells another that there is something to take.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, eventfd};

/// Readable from [`ring`](Self::ring) until [`silence`](Self::silence); any number of threads may share one. It is an
/// eventfd(2), so it takes a single descriptor.
#[derive(Debug, Clone)]
pub struct Bell(Arc<OwnedFd>);

impl Bell {
    /// One that is silent. Fails where no descriptor is left.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)))
    }

    /// Makes it readable.
    pub fn ring(&self) {
        // It says only that something came, not how often: full is as good.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// From now on it becomes readable again: to be called before what it rang for is taken.
    pub fn silence(&self) {
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
