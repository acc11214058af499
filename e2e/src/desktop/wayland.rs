// SPDX-License-Identifier: GPL-3.0-or-later
//! Wayland compositors without a screen, run as an ordinary user: sway refuses to run as root.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::Picture;
use crate::wait_for;

/// Nobody's user id on any machine.
const USER: u32 = 54321;
/// The output of sway when it has no screen.
pub const SWAY_OUTPUT: &str = "HEADLESS-1";

/// A running compositor with a runtime folder of its own.
pub struct Compositor {
    child: Child,
    folder: tempfile::TempDir,
    socket: String,
}

impl Compositor {
    /// Starts sway with further lines of config.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn sway(config: &str) -> Self {
        let folder = runtime_folder();
        let file = folder.path().join("config");
        let config = format!(
            "output {SWAY_OUTPUT} resolution 1024x600 position 0,0\nxwayland disable\nseat * hide_cursor 100\n{config}\n"
        );
        std::fs::write(&file, config).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let mut command = as_user("sway", folder.path());
        command.arg("-c").arg(&file).env("WLR_BACKENDS", "headless").env("WLR_LIBINPUT_NO_DEVICES", "1");
        command.env("WLR_RENDERER", "pixman").env("SWAYSOCK", folder.path().join("ipc"));
        Self::start(command, folder)
    }

    /// Starts weston, which has no layers for overlays.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn weston() -> Self {
        let folder = runtime_folder();
        let mut command = as_user("weston", folder.path());
        command.args(["--backend=headless-backend.so", "--width=1024", "--height=600", "--idle-time=0"]);
        Self::start(command, folder)
    }

    fn start(mut command: Command, folder: tempfile::TempDir) -> Self {
        let log = std::fs::File::create(folder.path().join("log"));
        let log = log.unwrap_or_else(|error| panic!("no log: {error}"));
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let socket = wait_for("the compositor's socket", || {
            let log = || std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
            assert!(!matches!(child.try_wait(), Ok(Some(_))), "the compositor ended: {}", log());
            let entries = std::fs::read_dir(folder.path()).into_iter().flatten().flatten();
            let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
            names.into_iter().find(|name| name.starts_with("wayland-") && !name.contains(".lock"))
        });
        Self { child, folder, socket }
    }

    /// A command run by the compositor's user, in its session.
    #[must_use]
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = as_user(program, self.folder.path());
        command.env("WAYLAND_DISPLAY", &self.socket).env("SWAYSOCK", self.folder.path().join("ipc"));
        command
    }

    /// Path of its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join(&self.socket)
    }

    /// A folder of its user's.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Says something to sway.
    ///
    /// # Panics
    /// When it is not understood.
    pub fn swaymsg(&self, arguments: &[&str]) -> Output {
        let output = self.command("swaymsg").args(arguments).output();
        let output = output.unwrap_or_else(|error| panic!("swaymsg: {error}"));
        assert!(output.status.success(), "swaymsg {arguments:?}: {output:?}");
        output
    }

    /// What a person would see.
    ///
    /// # Panics
    /// When grim fails.
    #[must_use]
    pub fn screenshot(&self) -> Picture {
        let output = self.command("grim").args(["-t", "ppm", "-"]).output();
        let output = output.unwrap_or_else(|error| panic!("grim: {error}"));
        assert!(output.status.success(), "grim: {}", String::from_utf8_lossy(&output.stderr));
        Picture::from_ppm(&output.stdout).unwrap_or_else(|| panic!("grim made no picture"))
    }

    /// Ends it.
    pub fn stop(&mut self) {
        // Its child processes end with it only if it may tell them.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

impl Drop for Compositor {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.stop();
        }
    }
}

fn runtime_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no temporary folder: {error}"));
    let mode = std::fs::Permissions::from_mode(0o700);
    let done = std::fs::set_permissions(folder.path(), mode)
        .and_then(|()| if is_root() { chown(folder.path(), Some(USER), Some(USER)) } else { Ok(()) });
    done.unwrap_or_else(|error| panic!("{}: {error}", folder.path().display()));
    folder
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn as_user(program: impl AsRef<Path>, runtime: &Path) -> Command {
    let program = program.as_ref();
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        let id = USER.to_string();
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    for name in ["DISPLAY", "WAYLAND_DISPLAY", "XDG_CONFIG_HOME"] {
        command.env_remove(name);
    }
    command.env("XDG_RUNTIME_DIR", runtime).env("HOME", runtime);
    command
}
