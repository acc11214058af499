// SPDX-License-Identifier: GPL-3.0-or-later
//! A real name server, and what it was asked.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};

use crate::{FAR_V4, LineReader, Netns, Side, wait_for};

/// `dnsmasq` at the far end, which ends with the test.
pub struct NameServer {
    child: Child,
    log: LineReader,
    resolv_conf: tempfile::NamedTempFile,
}

impl NameServer {
    /// Starts it with these records, given as options.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(netns: &Netns, records: &[&str]) -> Self {
        let resolv_conf =
            tempfile::NamedTempFile::new().unwrap_or_else(|error| panic!("no temporary file: {error}"));
        std::fs::write(resolv_conf.path(), format!("nameserver {FAR_V4}\n"))
            .and_then(|()| std::fs::set_permissions(resolv_conf.path(), Permissions::from_mode(0o644)))
            .unwrap_or_else(|error| panic!("resolv.conf: {error}"));
        let mut command = netns.command(Side::Far, "dnsmasq");
        command.args(["--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null"]);
        command.args([
            "--user=root",
            "--pid-file=",
            "--bind-interfaces",
            "--log-queries",
            "--log-facility=-",
        ]);
        command.arg(format!("--listen-address={FAR_V4}")).args(records).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let log = match child.stderr.take() {
            Some(stderr) => LineReader::new(stderr),
            None => LineReader::new(std::io::empty()),
        };
        let server = Self { child, log, resolv_conf };
        wait_for("the name server", || {
            server.log.lines().iter().any(|line| line.contains("started")).then_some(())
        });
        server
    }

    /// Every query so far, as it logs them.
    #[must_use]
    pub fn queries(&self) -> Vec<String> {
        self.log.lines().into_iter().filter(|line| line.contains("query[")).collect()
    }

    /// A shell's command that makes it the resolver of what follows, in a mount namespace of its own.
    #[must_use]
    pub fn as_resolver(&self) -> String {
        format!("mount --bind {} /etc/resolv.conf", self.resolv_conf.path().display())
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
