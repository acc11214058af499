// SPDX-License-Identifier: GPL-3.0-or-later
//! Real NATS servers with `JetStream`, each with a store of its own.

use std::fs;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{Running, skip, wait_for};

/// The distribution's server, and a current one where there is one.
#[must_use]
pub fn nats_servers() -> Vec<PathBuf> {
    let this = std::env::current_exe().unwrap_or_default();
    let fetched = this.ancestors().map(|folder| folder.join("tools/nats/bin/nats-server"));
    let installed = ["/usr/sbin/nats-server", "/usr/bin/nats-server"].map(PathBuf::from);
    let found: Vec<_> =
        [installed.into_iter().find(|path| path.exists()), fetched.into_iter().find(|path| path.exists())]
            .into_iter()
            .flatten()
            .collect();
    if found.is_empty() {
        let _ = skip("there is no nats-server");
    }
    found
}

/// A server that keeps its store when it is killed.
pub struct NatsServer {
    /// What runs when it is started again.
    pub program: PathBuf,
    /// Where others find it.
    address: IpAddr,
    /// What runs it, with its arguments, such as `nsenter`.
    before: Vec<String>,
    folder: TempDir,
    /// Its port.
    pub port: u16,
    running: Option<Running>,
}

impl NatsServer {
    /// Starts one on loopback.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn start(program: &Path, config: &str) -> Self {
        Self::start_at(program, config, Ipv4Addr::LOCALHOST.into(), &[])
    }

    /// Starts one at another address, by a command before it; it counts as there when it says so.
    ///
    /// # Panics
    /// As [`Self::start`].
    #[must_use]
    pub fn start_at(program: &Path, config: &str, address: IpAddr, before: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no temporary folder: {error}"));
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = free.unwrap_or_else(|error| panic!("no port: {error}")).port();
        let file = folder.path().join("server.conf");
        fs::write(&file, config).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let before = before.iter().map(ToString::to_string).collect();
        let mut server = Self { program: program.to_owned(), address, before, folder, port, running: None };
        server.start_again();
        server
    }

    /// Starts it with the store that it had.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn start_again(&mut self) {
        let mut words = self.before.clone();
        words.push(self.program.display().to_string());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        let address = if self.address.is_loopback() { "127.0.0.1" } else { "0.0.0.0" };
        command.args(["-a", address, "-p", &self.port.to_string(), "-js", "-sd"]).arg(self.path("store"));
        command.arg("-c").arg(self.path("server.conf")).stdin(Stdio::null()).stdout(Stdio::null());
        let log = self.path("log");
        let file = fs::File::create(&log).unwrap_or_else(|error| panic!("{}: {error}", log.display()));
        let spawned = command.stderr(file).spawn();
        self.running = Some(Running(spawned.unwrap_or_else(|error| panic!("{command:?}: {error}"))));
        let is_here = self.address.is_loopback();
        wait_for("the server", || {
            if is_here {
                // It greets each client.
                let mut socket = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
                return socket.read_exact(&mut [0; 4]).ok();
            }
            fs::read_to_string(&log).ok()?.contains("Server is ready").then_some(())
        });
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.running = None;
    }

    /// Its process.
    ///
    /// # Panics
    /// While it does not run.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.running.as_ref().map_or_else(|| panic!("the server is killed"), |running| running.0.id())
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// While it does not run.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.id().cast_signed());
        let sent = pid.map(|pid| kill_process(pid, signal));
        assert!(matches!(sent, Some(Ok(()))), "signal: {sent:?}");
    }

    /// Where clients find it.
    #[must_use]
    pub fn url(&self) -> String {
        let host = if self.address.is_loopback() { "localhost".to_owned() } else { self.address.to_string() };
        format!("nats://{host}:{}", self.port)
    }

    /// A path beside its store, gone with it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}
