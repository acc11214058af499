// SPDX-License-Identifier: GPL-3.0-or-later
//! Two network namespaces with a wire between them, removed with the test.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// An end of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Where the processes are that tests watch.
    Near,
    /// Where their peers are.
    Far,
}

/// The near and the far end of a wire, each in a namespace of its own.
pub struct Netns {
    name: String,
}

/// Addresses of both ends.
pub const NEAR_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 83, 1, 1));
/// See [`NEAR_V4`].
pub const FAR_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 83, 1, 2));
/// See [`NEAR_V4`].
pub const FAR_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd83, 0, 0, 0, 0, 0, 0, 2));

impl Netns {
    /// Makes both namespaces.
    ///
    /// # Panics
    /// When `ip` fails.
    #[must_use]
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let this = Self { name: format!("leco-{}-{number}", std::process::id()) };
        let (near, far) = (this.side("near"), this.side("far"));
        ip(&["netns", "add", &near]);
        ip(&["netns", "add", &far]);
        ip(&["-n", &near, "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", &far]);
        for (side, end) in [(&near, 1), (&far, 2)] {
            ip(&["-n", side, "addr", "add", &format!("10.83.1.{end}/24"), "dev", "wire"]);
            // Without duplicate address detection the address can be used at once.
            ip(&["-n", side, "addr", "add", &format!("fd83::{end}/64"), "dev", "wire", "nodad"]);
            ip(&["-n", side, "link", "set", "lo", "up"]);
            ip(&["-n", side, "link", "set", "wire", "up"]);
        }
        this
    }

    /// Where the namespace of one end can be entered.
    #[must_use]
    pub fn path(&self, side: Side) -> PathBuf {
        let side = match side {
            Side::Near => "near",
            Side::Far => "far",
        };
        Path::new("/run/netns").join(self.side(side))
    }

    fn side(&self, side: &str) -> String {
        format!("{}-{side}", self.name)
    }

    /// A command to be run at one end. `ip netns exec` would hide the cgroup mounts.
    #[must_use]
    pub fn command(&self, side: Side, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path(side).display())).arg("--").arg(program);
        command
    }

    /// A command to be run at the near end.
    #[must_use]
    pub fn near_command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        self.command(Side::Near, program)
    }

    /// Runs a function on a thread of its own at the far end.
    ///
    /// # Panics
    /// When the namespace cannot be entered, or the function panics.
    pub fn at_far_end<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        self.at(Side::Far, run)
    }

    /// The same at the near end.
    ///
    /// # Panics
    /// As [`Self::at_far_end`].
    pub fn at_near_end<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        self.at(Side::Near, run)
    }

    fn at<T: Send>(&self, side: Side, run: impl FnOnce() -> T + Send) -> T {
        let path = self.path(side);
        thread::scope(|scope| {
            let inside = scope.spawn(move || {
                let namespace =
                    File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                    .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                run()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Default for Netns {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        for side in ["near", "far"] {
            let _ = Command::new("ip").args(["netns", "del", &self.side(side)]).status();
        }
    }
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().unwrap_or_else(|error| panic!("ip: {error}"));
    assert!(
        output.status.success(),
        "ip {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Sends back what each connection sends, for as long as the test runs, and keeps a socket that answers nothing.
pub fn echo(listener: TcpListener, silent: UdpSocket) {
    thread::spawn(move || {
        let _silent = silent;
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut buffer = [0; 1024];
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    if stream.write_all(&buffer[..count]).is_err() {
                        return;
                    }
                }
            });
        }
    });
}
