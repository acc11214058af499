// SPDX-License-Identifier: GPL-3.0-or-later
//! What tests and benchmarks of the whole system share: network namespaces, loaded programs, running
//! processes, and waiting for a condition with a deadline.

mod cgroup;
pub mod debian;
pub mod desktop;
pub mod hijack;
mod kernel;
mod manager;
mod name_server;
mod nats;
mod netns;
mod process;
mod rows;
mod sctp;
mod terminal;
mod tmux;
pub mod vm;
mod whole;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use cgroup::Cgroup;
pub use kernel::{Flood, Kernel, Loader, can_test_the_loader};
pub use manager::ServiceManager;
pub use name_server::NameServer;
pub use nats::{NatsServer, nats_servers};
pub use netns::{FAR_V4, FAR_V6, NEAR_V4, Netns, Side, echo};
pub use process::{EventPipe, LineReader, Peer, Running, boot_clock, run_to_end, validate};
pub use rows::screen_differs;
pub use sctp::{sctp_connect, sctp_listen};
pub use terminal::Terminal;
pub use tmux::Tmux;
pub use whole::{LATE, Part, Random, Wanted, Whole};

/// Nothing in these tests takes so long unless it never comes.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Whether the whole system can be tested here; if not, says why, and fails where nothing may be skipped.
///
/// # Panics
/// With `LECO_TEST_REQUIRE=all` instead of skipping.
#[must_use]
pub fn can_test_the_kernel() -> bool {
    if rustix::process::geteuid().is_root() {
        mount_tracefs();
        return true;
    }
    skip("loading eBPF programs and making network namespaces needs root")
}

/// Plain tracepoints are found in tracefs, which systemd mounts on most machines.
fn mount_tracefs() {
    const TRACEFS: &str = "/sys/kernel/tracing";
    static MOUNTED: std::sync::Once = std::sync::Once::new();
    MOUNTED.call_once(|| {
        if !std::path::Path::new(TRACEFS).join("events").exists() {
            // Tests that need it say what is missing.
            let _ =
                rustix::mount::mount("tracefs", TRACEFS, "tracefs", rustix::mount::MountFlags::empty(), None);
        }
    });
}

/// Whether there is a tmux to run a terminal program in; if not, says so, and fails where nothing may be
/// skipped.
///
/// # Panics
/// With `LECO_TEST_REQUIRE=all` instead of skipping.
#[must_use]
pub fn can_use_tmux() -> bool {
    std::process::Command::new("tmux").arg("-V").output().is_ok() || skip("there is no tmux")
}

/// Says that a test is skipped and why; returns `false`.
///
/// # Panics
/// With `LECO_TEST_REQUIRE=all`.
#[must_use]
pub fn skip(reason: &str) -> bool {
    assert!(std::env::var("LECO_TEST_REQUIRE").as_deref() != Ok("all"), "may not be skipped: {reason}");
    println!("SKIPPED: {reason}");
    false
}

/// A program of this workspace, built beside the running one.
///
/// # Panics
/// When it has not been built.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let this = std::env::current_exe().unwrap_or_default();
    let found = this.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is not built: run cargo build --workspace first"))
}

/// A copy of a program where any user may run it; it lives as long as the folder.
///
/// # Panics
/// When it cannot be copied.
#[must_use]
pub fn program_for_everybody(name: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no temporary folder: {error}"));
    let copy = folder.path().join(name);
    let done = std::fs::copy(program(name), &copy)
        .and_then(|_| std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)));
    done.unwrap_or_else(|error| panic!("{}: {error}", copy.display()));
    (folder, copy)
}

/// Asks until there is an answer.
///
/// # Panics
/// When there is none by the deadline; `what` says what was waited for.
pub fn wait_for<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    wait_or_explain(|| what.to_owned(), ask)
}

/// The same, where only the end knows what there is to say.
///
/// # Panics
/// When there is no answer by the deadline.
pub fn wait_or_explain<T>(what: impl Fn() -> String, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < DEADLINE, "waited in vain for {}", what());
        std::thread::sleep(Duration::from_millis(5));
    }
}
