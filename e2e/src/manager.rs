// SPDX-License-Identifier: GPL-3.0-or-later
//! A service manager that does with descriptors what systemd does: takes them by messages, and passes them on.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::{DEADLINE, program, wait_for};

/// Where descriptors stand that are to be passed, above those that a shell makes of them.
const PASSED_FROM: i32 = 200;
/// `SCM_MAX_FD` of the kernel's net/scm.h.
const MESSAGE_FDS: usize = 253;

/// A service's manager.
pub struct ServiceManager {
    _folder: tempfile::TempDir,
    path: PathBuf,
    socket: UnixDatagram,
    /// What it keeps, by name (`FileDescriptorStoreMax=`).
    pub store: Vec<(String, OwnedFd)>,
    /// Other messages, in the order in which they came.
    pub told: Vec<String>,
}

impl Default for ServiceManager {
    fn default() -> Self {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no temporary folder: {error}"));
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        socket.set_read_timeout(Some(Duration::from_millis(10))).unwrap_or_else(|error| panic!("{error}"));
        Self { _folder: folder, path, socket, store: Vec::new(), told: Vec::new() }
    }
}

impl ServiceManager {
    /// Runs a command of the service before its main one, such as `ExecStartPre=`: it is passed no descriptors.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn run_before(&mut self, mut command: Command) -> Output {
        command.env("NOTIFY_SOCKET", &self.path).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        wait_for("a command to end", || {
            self.listen();
            child.try_wait().unwrap_or_else(|error| panic!("{error}"))
        });
        self.listen();
        child.wait_with_output().unwrap_or_else(|error| panic!("{error}"))
    }

    /// Runs the loader before the service.
    ///
    /// # Panics
    /// When it fails.
    pub fn load(&mut self, options: &[&str]) -> String {
        let mut command = Command::new(program("leco-ebpf-load"));
        command.args(options);
        let output = self.run_before(command);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A command that is passed what is kept, as the service's main one is (`sd_listen_fds(3)`).
    ///
    /// # Panics
    /// When a descriptor cannot be passed.
    #[must_use]
    pub fn main_command(&self, program: &std::path::Path) -> (Command, Vec<OwnedFd>) {
        let mut script = String::new();
        let mut passed = Vec::new();
        for (at, (_, fd)) in self.store.iter().enumerate() {
            let fd = fcntl_dupfd_cloexec(fd, PASSED_FROM).unwrap_or_else(|error| panic!("{error}"));
            fcntl_setfd(&fd, FdFlags::empty()).unwrap_or_else(|error| panic!("{error}"));
            script.push_str(&format!("exec {}<&{1} {1}<&-; ", 3 + at, fd.as_raw_fd()));
            passed.push(fd);
        }
        script.push_str("LISTEN_PID=$$ exec \"$@\"");
        // dash takes one digit only.
        let mut command = Command::new("bash");
        command.args(["-c", &script, "bash"]).arg(program);
        let names: Vec<&str> = self.store.iter().map(|(name, _)| name.as_str()).collect();
        command.env("LISTEN_FDS", names.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
        command.env("NOTIFY_SOCKET", &self.path);
        (command, passed)
    }

    /// Takes every message that has come.
    pub fn listen(&mut self) {
        while let Some((message, fds)) = self.receive() {
            let has = |wanted: &str| message.lines().any(|line| line == wanted);
            let name = message.lines().find_map(|line| line.strip_prefix("FDNAME=")).unwrap_or("stored");
            if has("FDSTORE=1") {
                self.store.extend(fds.into_iter().map(|fd| (name.to_owned(), fd)));
            } else if has("FDSTOREREMOVE=1") {
                self.store.retain(|(stored, _)| stored != name);
            } else if !has("BARRIER=1") {
                self.told.push(message);
            }
        }
    }

    /// Waits until the service says this.
    ///
    /// # Panics
    /// When it has not by the deadline.
    pub fn wait_until_told(&mut self, what: &str) {
        let start = std::time::Instant::now();
        while !self.told.iter().any(|told| told.contains(what)) {
            assert!(start.elapsed() < DEADLINE, "{what} was not told: {:?}", self.told);
            self.listen();
        }
        self.told.clear();
    }

    fn receive(&self) -> Option<(String, Vec<OwnedFd>)> {
        let mut bytes = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MESSAGE_FDS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut buffers = [IoSliceMut::new(&mut bytes)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let size = recvmsg(self.socket.as_fd(), &mut buffers, &mut ancillary, flags).ok()?.bytes;
        let fds = ancillary.drain().flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => fds.collect::<Vec<_>>(),
            _ => Vec::new(),
        });
        let fds = fds.collect();
        Some((String::from_utf8_lossy(&bytes[..size]).trim().to_owned(), fds))
    }
}
