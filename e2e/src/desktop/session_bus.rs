// SPDX-License-Identifier: GPL-3.0-or-later
//! A session bus of a test's own.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::{LineReader, wait_for};

/// A session bus that starts no services but those that it is told of.
pub struct SessionBus {
    daemon: Child,
    config: PathBuf,
    /// As it stands in `DBUS_SESSION_BUS_ADDRESS`.
    pub address: String,
    folder: tempfile::TempDir,
}

impl SessionBus {
    /// Starts one.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start() -> Self {
        Self::offering(&[])
    }

    /// Starts one that starts services, each by its name and command.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn offering(services: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no temporary folder: {error}"));
        let config = folder.path().join("bus.conf");
        let text = format!(
            "<busconfig><type>session</type><listen>unix:path={}</listen><auth>EXTERNAL</auth>\
             <servicedir>{}</servicedir>\
             <policy context=\"default\"><allow send_destination=\"*\" eavesdrop=\"true\"/>\
             <allow eavesdrop=\"true\"/><allow own=\"*\"/></policy></busconfig>",
            folder.path().join("bus").display(),
            folder.path().display()
        );
        for (name, command) in services {
            let path = folder.path().join(format!("{name}.service"));
            let text = format!("[D-BUS Service]\nName={name}\nExec={command}\n");
            fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
        fs::write(&config, text).unwrap_or_else(|error| panic!("{}: {error}", config.display()));
        let (daemon, address) = spawn(&config);
        Self { daemon, config, address, folder }
    }

    /// Ends it, and so every connection to it.
    pub fn stop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
        let _ = fs::remove_file(self.folder.path().join("bus"));
    }

    /// Starts it again where it was.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_again(&mut self) {
        (self.daemon, self.address) = spawn(&self.config);
    }
}

fn spawn(config: &PathBuf) -> (Child, String) {
    let mut command = Command::new("dbus-daemon");
    command.arg("--config-file").arg(config).args(["--nofork", "--nopidfile", "--print-address=1"]);
    let spawned = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut daemon = spawned.unwrap_or_else(|error| panic!("dbus-daemon: {error}"));
    let said = daemon.stdout.take().map(LineReader::new);
    let address = wait_for("the bus", || said.as_ref()?.lines().first().cloned());
    (daemon, address)
}

impl Drop for SessionBus {
    fn drop(&mut self) {
        self.stop();
    }
}
