// SPDX-License-Identifier: GPL-3.0-or-later
//! A running overlay, its config and its events.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use leco_os::clock::boot_ns;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{Compositor, XServer};
use crate::{LineReader, program, wait_for};

/// A running `leco-sdl-widget`.
pub struct Overlay {
    child: Child,
    /// What it complains of.
    pub stderr: LineReader,
    config: PathBuf,
    fifo: File,
    _folder: tempfile::TempDir,
}

impl Overlay {
    /// Starts it on an X server.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn on_x(server: &XServer, config: &str) -> Self {
        let mut command = Command::new(program("leco-sdl-widget"));
        command.env("DISPLAY", &server.display).env_remove("WAYLAND_DISPLAY");
        Self::start(command, config)
    }

    /// Starts it on a Wayland desktop, as its user.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn on_wayland(compositor: &Compositor, config: &str) -> Self {
        Self::start(for_user(compositor), config)
    }

    /// Starts it on a Wayland desktop with an X server, as its user.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn on_wayland_with_x(compositor: &Compositor, server: &XServer, config: &str) -> Self {
        let mut command = for_user(compositor);
        command.env("DISPLAY", &server.display);
        Self::start(command, config)
    }

    /// Starts a command that runs it.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(mut command: Command, config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no temporary folder: {error}"));
        let (config_path, fifo) = (folder.path().join("widget.ini"), folder.path().join("fifo"));
        let everybody = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
        let make = || -> std::io::Result<File> {
            everybody(folder.path(), 0o755)?;
            fs::write(&config_path, config)?;
            mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
            everybody(&fifo, 0o644)?;
            // Open for reading, too, it is there before its reader is.
            OpenOptions::new().read(true).write(true).open(&fifo)
        };
        let writer = make().unwrap_or_else(|error| panic!("{}: {error}", folder.path().display()));
        command.arg(&config_path).arg("--fifo").arg(&fifo);
        let bus = OsStr::new("DBUS_SESSION_BUS_ADDRESS");
        if !command.get_envs().any(|(name, _)| name == bus) {
            // The settings of the tester's own desktop must not change the result.
            command.env(bus, "disabled:");
        }
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stderr = child.stderr.take().map_or_else(
            || Box::new(std::io::empty()) as _,
            |err| Box::new(err) as Box<dyn std::io::Read + Send>,
        );
        Self { child, stderr: LineReader::new(stderr), config: config_path, fifo: writer, _folder: folder }
    }

    /// The same with a line of which nothing is seen but the ground behind it.
    #[must_use]
    pub fn with_empty_line(mut self) -> Self {
        self.send(" ", Duration::ZERO, &json!({}));
        self
    }

    /// Its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a line whose connection was updated so long ago, with further fields.
    ///
    /// # Panics
    /// When the fifo does not take it.
    pub fn send(&mut self, line: &str, age: Duration, fields: &Value) {
        let ns = boot_ns().saturating_sub(u64::try_from(age.as_nanos()).unwrap_or(u64::MAX));
        let mut event = json!({"ns": ns, "ns_trx": ns, "line": line});
        if let (Some(event), Some(fields)) = (event.as_object_mut(), fields.as_object()) {
            event.extend(fields.clone());
        }
        self.send_raw(&format!("{event}\n"));
    }

    /// Sends anything.
    ///
    /// # Panics
    /// When the fifo does not take it.
    pub fn send_raw(&mut self, text: &str) {
        self.fifo.write_all(text.as_bytes()).unwrap_or_else(|error| panic!("fifo: {error}"));
    }

    /// Writes another config.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn reconfigure(&self, config: &str) {
        let mut options = OpenOptions::new();
        options.write(true).truncate(true).custom_flags(OFlags::CLOEXEC.bits().cast_signed());
        let written = options.open(&self.config).and_then(|mut file| file.write_all(config.as_bytes()));
        written.unwrap_or_else(|error| panic!("{}: {error}", self.config.display()));
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it is gone.
    pub fn signal(&self, signal: Signal) {
        let sent = kill_process(Pid::from_child(&self.child), signal);
        sent.unwrap_or_else(|error| panic!("signal: {error}"));
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// When it does not by the deadline.
    pub fn wait(&mut self) -> ExitStatus {
        wait_for("the overlay's end", || self.child.try_wait().ok().flatten())
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

/// The program where the compositor's user may run it.
fn for_user(compositor: &Compositor) -> Command {
    let copy = compositor.folder().join("leco-sdl-widget");
    fs::copy(program("leco-sdl-widget"), &copy).unwrap_or_else(|error| panic!("{}: {error}", copy.display()));
    compositor.command(copy)
}

impl Drop for Overlay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
