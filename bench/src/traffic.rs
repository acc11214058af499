// SPDX-License-Identifier: GPL-3.0-or-later
//! Short connections at a steady rate.

use std::fs::File;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::receivers::connect_once;

/// A thread that makes connections until this is dropped.
pub(crate) struct Traffic {
    is_over: Arc<AtomicBool>,
    made: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Traffic {
    /// To this listener, so many a second, from a network namespace if one is named.
    pub(crate) fn start(listener: TcpListener, per_second: f64, from: Option<PathBuf>) -> Result<Self> {
        let (is_over, made) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (ends, count) = (Arc::clone(&is_over), Arc::clone(&made));
        let address = listener.local_addr()?;
        let namespace = from.map(File::open).transpose().context("the network namespace")?;
        let thread = thread::spawn(move || -> Result<()> {
            if let Some(namespace) = &namespace {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            }
            let start = Instant::now();
            while !ends.load(Ordering::Relaxed) {
                // Should it not be fast enough, it makes up for little of that later.
                if (count.load(Ordering::Relaxed) as f64) < start.elapsed().as_secs_f64() * per_second {
                    connect_once(&listener, address)?;
                    count.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                thread::sleep(Duration::from_millis(1).max(Duration::from_secs_f64(0.1 / per_second)));
            }
            Ok(())
        });
        Ok(Self { is_over, made, thread: Some(thread) })
    }

    /// How many were made so far.
    pub(crate) fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
