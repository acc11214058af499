// SPDX-License-Identifier: GPL-3.0-or-later
//! The programs, loaded for one test and gone with it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use nix::sched::{CloneFlags, unshare};
use rustix::fs::{FlockOperation, flock};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

use crate::{can_test_the_kernel, program};

/// Whether the loader can be tested here, as [`can_test_the_kernel`] says; gives this thread and what it starts a bpffs
/// of their own, of which modes and lock are no matter to other tests.
///
/// # Panics
/// With `LECO_TEST_REQUIRE=all` instead of skipping, and when there can be none.
#[must_use]
pub fn can_test_the_loader() -> bool {
    let alone = || -> std::io::Result<()> {
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?;
        Ok(mount("bpf", "/sys/fs/bpf", "bpf", MountFlags::empty(), None)?)
    };
    let can = can_test_the_kernel();
    if can {
        alone().unwrap_or_else(|error| panic!("a bpffs of its own: {error}"));
    }
    can
}

/// More may happen meanwhile than what is loaded for other tests can hold: they wait, and are waited for.
pub struct Flood(#[expect(dead_code, reason = "it is locked while it is open")] Option<File>);

static IS_FLOODED: AtomicBool = AtomicBool::new(false);

impl Flood {
    /// Waits until nothing is loaded for a test, also of another process. Begun before the test loads something itself.
    #[must_use]
    pub fn begin() -> Self {
        let this = Self(lock(FlockOperation::LockExclusive));
        IS_FLOODED.store(true, Ordering::Relaxed);
        this
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        IS_FLOODED.store(false, Ordering::Relaxed);
    }
}

/// A test that runs in a machine of its own has no such folder, and nobody to wait for.
fn lock(operation: FlockOperation) -> Option<File> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../target"));
    let path = folder.join("flood.lock");
    let locked = || File::create(&path).and_then(|file| Ok(flock(&file, operation).map(|()| file)?));
    let locked = folder.exists().then(locked).transpose();
    locked.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// `leco-ebpf-load` with a pin folder that no other test has.
pub struct Loader {
    pins: PathBuf,
    _no_flood: Option<File>,
}

impl Default for Loader {
    fn default() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let pins = format!("/sys/fs/bpf/leco-test-{}-{number}", std::process::id());
        let is_flooded = IS_FLOODED.load(Ordering::Relaxed);
        let no_flood = (!is_flooded).then(|| lock(FlockOperation::LockShared)).flatten();
        Self { pins: pins.into(), _no_flood: no_flood }
    }
}

impl Loader {
    /// Its pin folder.
    #[must_use]
    pub fn pins(&self) -> &Path {
        &self.pins
    }

    /// The loader with these options.
    ///
    /// # Panics
    /// When it is not built.
    #[must_use]
    pub fn command(&self, options: &[&str]) -> Command {
        let mut command = Command::new(program("leco-ebpf-load"));
        command.arg("--pin").arg(&self.pins).args(options);
        command
    }

    /// Runs the loader.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn run(&self, options: &[&str]) -> Output {
        let mut command = self.command(options);
        command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        let _ = self.run(&["--unload"]);
    }
}

/// Loaded programs.
pub struct Kernel {
    loader: Loader,
}

impl Kernel {
    /// Loads them with these options, and with the levels of hooks that `LECO_TEST_HOOKS` names.
    ///
    /// # Panics
    /// When the loader fails.
    #[must_use]
    pub fn load(options: &[&str]) -> Self {
        let loader = Loader::default();
        let hooks = std::env::var("LECO_TEST_HOOKS").unwrap_or_default();
        let forced = hooks.split_whitespace().flat_map(|level| ["--hook", level]);
        let output = loader.run(&forced.chain(options.iter().copied()).collect::<Vec<_>>());
        assert!(output.status.success(), "{output:?}");
        Self { loader }
    }

    /// Where the pins are.
    #[must_use]
    pub fn pins(&self) -> &Path {
        self.loader.pins()
    }
}
