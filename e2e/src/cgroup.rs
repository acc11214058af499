// SPDX-License-Identifier: GPL-3.0-or-later
//! Cgroups of tests.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::DEADLINE;

/// A cgroup that goes with the test, whatever becomes of it.
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// Makes it below the hierarchy's root.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let root =
            leco_bpf::load::cgroup2::root().unwrap_or_else(|| panic!("no cgroup2 hierarchy is mounted"));
        let folder = root.join(name);
        fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        Self(folder)
    }

    /// The file that takes processes in.
    #[must_use]
    pub fn procs(&self) -> PathBuf {
        self.0.join("cgroup.procs")
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A process leaves it a moment after its end.
        let start = Instant::now();
        while fs::remove_dir(&self.0).is_err() && start.elapsed() < DEADLINE {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
