// SPDX-License-Identifier: GPL-3.0-or-later
//! What a program gives up once it has all it needs: files that are none of its business (Landlock), and system calls
//! that it never makes (seccomp).
//!
//! An attacker who takes over a program that reads names from the kernel or lines from a socket then has no way to run
//! others, to read what its user has, or to ask the kernel for more. See `landlock(7)` and `seccomp(2)`.

mod calls;
mod confinement;
mod files;
mod network;
mod privileges;

use std::path::{Path, PathBuf};

use self::calls::Calls;
pub use self::calls::{
    MORE_REFUSED_CALLS, NAMESPACE_FLAGS, REFUSED_CALLS, REFUSED_IOCTLS, SHARED_MEMORY_CALLS, X32_BIT,
};
pub use self::confinement::{Confinement, Gap, LANDLOCK_WANTED, Landlock, LostPath, SystemCalls};
use self::files::{Files, OF_THE_SYSTEM};
pub use self::network::Network;
use self::network::Sockets;
pub use self::privileges::Privileges;

/// What a program keeps.
#[derive(Debug, Clone, Default)]
pub struct Sandbox {
    readable: Vec<PathBuf>,
    writable: Vec<PathBuf>,
    lost: Vec<LostPath>,
    sockets: Sockets,
    runs_programs: bool,
    reads_maps: bool,
    shares_memory: bool,
}

impl Sandbox {
    /// Reads this file or folder; while it is missing, whatever comes to the folder that is there of its path.
    #[must_use]
    pub fn reads(mut self, path: impl AsRef<Path>) -> Self {
        self.readable.extend(places_of(path.as_ref()));
        self
    }

    /// Reads this file whenever it comes, for which its folder has to be there: else [`Confinement`] tells it as lost.
    #[must_use]
    pub fn waits_for(mut self, path: &Path) -> Self {
        let places = places_of(path);
        if places.is_empty() {
            let reason = "its directory does not exist; restart this program when it does".to_owned();
            self.lost.push(LostPath { path: path.to_owned(), reason });
        }
        self.readable.extend(places);
        self
    }

    /// Reads this folder if it is there now.
    #[must_use]
    pub fn reads_if_there(self, folder: impl AsRef<Path>) -> Self {
        if folder.as_ref().exists() { self.reads(folder) } else { self }
    }

    /// Writes this file, makes it where it is missing, and removes it.
    #[must_use]
    pub fn writes(mut self, path: impl AsRef<Path>) -> Self {
        let folder = path.as_ref().parent().filter(|folder| !folder.as_os_str().is_empty());
        self.writable.extend(places_of(folder.unwrap_or(Path::new("."))));
        self
    }

    /// Makes sockets of a network. Those that are open before need no word.
    #[must_use]
    pub fn with_network(mut self, network: Network) -> Self {
        self.sockets.network = self.sockets.network.max(network);
        self.sockets.unix |= network == Network::All;
        self
    }

    /// Makes unix sockets, by which it may ask other programs of its user to do something.
    #[must_use]
    pub fn with_unix_sockets(mut self) -> Self {
        self.sockets.unix = true;
        self
    }

    /// Shares memory with a display's server (MIT-SHM of X11).
    #[must_use]
    pub fn with_shared_memory(mut self) -> Self {
        self.shares_memory = true;
        self
    }

    /// Reads what `/proc` has about all processes.
    #[must_use]
    pub fn with_processes(mut self) -> Self {
        self.readable.push(PathBuf::from("/proc"));
        self
    }

    /// Runs programs of the system, which are restricted as much.
    #[must_use]
    pub fn with_programs(mut self) -> Self {
        self.runs_programs = true;
        self
    }

    /// Reads eBPF maps that it has descriptors of, and finds cgroups by their ids.
    #[must_use]
    pub fn with_maps(mut self) -> Self {
        self.reads_maps = true;
        self
    }

    /// Whether a file can still be read, so far as it is there.
    #[must_use]
    pub fn covers(&self, path: &Path) -> bool {
        let system = OF_THE_SYSTEM.iter().map(PathBuf::from);
        let kept: Vec<PathBuf> = system
            .chain(self.readable.iter().cloned())
            .chain(self.writable.iter().cloned())
            .filter_map(|folder| folder.canonicalize().ok())
            .collect();
        let real = path.ancestors().find_map(|place| place.canonicalize().ok());
        real.is_none_or(|real| kept.iter().any(|folder| real.starts_with(folder)))
    }

    /// Whether it still makes sockets of a network.
    #[must_use]
    pub fn permits(&self, network: Network) -> bool {
        self.sockets.network >= network
    }

    /// Whether it still makes unix sockets.
    #[must_use]
    pub fn permits_unix_sockets(&self) -> bool {
        self.sockets.unix
    }

    /// Gives up everything else, for this thread and all that it starts from now on. What that was depends on the kernel:
    /// it goes on with less.
    pub fn enter(&self) -> Confinement {
        let Self { readable, writable, sockets, runs_programs, reads_maps, shares_memory, .. } = self;
        let (sockets, runs_programs) = (*sockets, *runs_programs);
        let files = Files { readable, writable, runs_programs, network: sockets.network };
        // What follows can be had only by what these leave.
        let privileges = Privileges::drop();
        let (landlock, unopened) = files.keep();
        let lost = self.lost.iter().cloned().chain(unopened).collect();
        let (reads_maps, shares_memory) = (*reads_maps, *shares_memory);
        let calls = Calls { runs_programs, reads_maps, shares_memory, sockets }.keep();
        let (keeps_tcp, keeps_unix_sockets) = (sockets.network == Network::All, sockets.unix);
        Confinement { landlock, calls, privileges, keeps_tcp, keeps_unix_sockets, lost }
    }
}

/// What is there of a path: the path itself or the nearest folder above it, and if it is a link, where that leads. It
/// is never the root directory, which would be everything: then it is the file alone, or nothing.
fn places_of(path: &Path) -> Vec<PathBuf> {
    let there = path.ancestors().find(|place| place.exists() || place.is_symlink());
    let Some(there) = there.filter(|place| !place.as_os_str().is_empty()) else {
        return vec![PathBuf::from(".")];
    };
    // A file that is replaced by another of its name is another file: the folder counts.
    let kept = |place: &Path| {
        let folder = if place.is_dir() { place } else { place.parent().unwrap_or(place) };
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        if folder.parent().is_some() || folder.is_relative() {
            Some(folder.to_owned())
        } else {
            Some(place.to_owned()).filter(|_| place != folder)
        }
    };
    let target = there.canonicalize().ok();
    kept(there).into_iter().chain(target.and_then(|target| kept(&target))).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::ErrorKind;
    use std::process::Command;
    use std::thread;

    use super::*;

    /// What a thread does in a sandbox; others go on as they were.
    fn inside<T: Send>(sandbox: &Sandbox, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let confinement = sandbox.enter();
                assert!(confinement.landlock.version() > 0, "{confinement}");
                work()
            });
            thread.join().unwrap()
        })
    }

    /// Landlock comes with the kernel, but may be turned off.
    fn has_landlock() -> bool {
        let lsm = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
        let is_there = lsm.contains("landlock")
            || thread::spawn(|| Sandbox::default().enter()).join().unwrap().landlock.version() > 0;
        assert!(
            is_there || std::env::var("LECO_TEST_REQUIRE").as_deref() != Ok("all"),
            "there is no Landlock"
        );
        is_there
    }

    #[test]
    fn only_what_was_named_can_be_read_and_written() {
        if !has_landlock() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["mine", "config", "others"] {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("file"), name).unwrap();
        }
        let sandbox = Sandbox::default().writes(at("mine/new")).reads(at("config/missing/widget.ini"));
        inside(&sandbox, || {
            assert_eq!(fs::read_to_string(at("config/file")).unwrap(), "config");
            assert!(sandbox.covers(&at("config/file")) && sandbox.covers(Path::new("/etc/passwd")));
            assert!(!sandbox.covers(&at("others/file")));
            let refused = |error: std::io::Error| error.kind() == ErrorKind::PermissionDenied;
            assert!(refused(fs::write(at("config/file"), "").unwrap_err()));
            assert!(refused(fs::read(at("others/file")).unwrap_err()));
            fs::write(at("mine/new"), "new").unwrap();
            fs::remove_file(at("mine/new")).unwrap();
            // Not by a link either.
            std::os::unix::fs::symlink(at("others/file"), at("config/link")).unwrap_err();
            assert!(fs::read_to_string("/etc/passwd").is_ok() && fs::read_dir("/proc/self").is_ok());
        });
        assert_eq!(fs::read_to_string(at("others/file")).unwrap(), "others");
    }

    #[test]
    fn a_link_is_followed_to_where_it_led() {
        if !has_landlock() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("dotfiles")).unwrap();
        fs::create_dir_all(at("config")).unwrap();
        fs::write(at("dotfiles/widget.ini"), "here").unwrap();
        std::os::unix::fs::symlink(at("dotfiles/widget.ini"), at("config/widget.ini")).unwrap();
        inside(&Sandbox::default().reads(at("config/widget.ini")), || {
            assert_eq!(fs::read_to_string(at("config/widget.ini")).unwrap(), "here");
        });
    }

    #[test]
    fn no_program_is_run_and_nothing_asked_of_the_kernel() {
        if !has_landlock() {
            return;
        }
        let pair = std::os::unix::net::UnixStream::pair;
        let udp = || std::net::UdpSocket::bind("127.0.0.1:0");
        let tcp = || std::net::TcpListener::bind("127.0.0.1:0");
        inside(&Sandbox::default(), || {
            assert_eq!(Command::new("true").status().unwrap_err().kind(), ErrorKind::PermissionDenied);
            assert!(rustix::process::chroot("/").is_err());
            // A thread, for which libc tries clone3 first, and a process.
            thread::spawn(|| ()).join().unwrap();
            assert!(pair().is_ok() && udp().is_err() && tcp().is_err());
        });
        inside(&Sandbox::default().with_network(Network::Udp), || {
            assert!(pair().is_ok() && udp().is_ok() && tcp().is_err());
        });
        inside(&Sandbox::default().with_network(Network::All).with_programs(), || {
            assert!(Command::new("true").status().unwrap().success());
            assert!(pair().is_ok() && udp().is_ok() && tcp().is_ok());
            // The system's resolver goes without netlink.
            assert!(std::net::ToSocketAddrs::to_socket_addrs("localhost:1").unwrap().next().is_some());
        });
    }

    #[test]
    fn no_missing_path_opens_everything() {
        let none: Vec<PathBuf> = Vec::new();
        assert_eq!(places_of(Path::new("/no-such-folder/leco/widget.ini")), none);
        assert_eq!(places_of(Path::new("/")), none);
        assert_eq!(places_of(Path::new("/tmp/no-such-folder/x")).first(), Some(&"/tmp".into()));
        let sandbox = Sandbox::default().waits_for(Path::new("/no-such-folder/leco.fifo"));
        let lost = thread::spawn(move || sandbox.enter().lost).join().unwrap();
        assert_eq!(lost.len(), 1, "{lost:?}");
        assert_eq!(lost[0].path, Path::new("/no-such-folder/leco.fifo"));
    }
}
