//! What a program gives up once it has all it needs: files that are none of its business (Landlock), and system calls
//! that it never makes (seccomp).
//!
//! Whoever takes over a program that reads names from the kernel or lines from a socket then finds no way to run
//! others, to read what its user has, or to ask the kernel for more. See `landlock(7)` and `seccomp(2)`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, make_bitflags, path_beneath_rules,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// What every program reads: libraries, settings of the system, names of users and hosts, processes and cgroups.
const OF_THE_SYSTEM: [&str; 14] = [
    "/usr",
    "/lib",
    "/lib64",
    "/bin",
    "/etc",
    "/dev/urandom",
    "/proc",
    "/sys",
    "/run/systemd",
    "/run/nscd",
    "/var/lib/sss",
    "/var/db",
    "/nix/store",
    "/gnu/store",
];
/// Files that may be written wherever they may be read.
const DEVICES: [&str; 3] = ["/dev/null", "/dev/tty", "/dev/pts"];

const READ: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});
const USE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | WriteFile | IoctlDev});
const WRITE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
    ReadFile | ReadDir | WriteFile | Truncate | RemoveFile | MakeReg | MakeDir | MakeSock | MakeFifo
});
/// What kernels are asked for; an older one does what it can.
const LANDLOCK: ABI = ABI::V6;

/// libc does not have it everywhere (the kernel's `include/uapi/asm-generic/unistd.h`).
#[cfg(target_arch = "riscv64")]
const SYS_KEXEC_FILE_LOAD: libc::c_long = 294;
/// See above (`arch/s390/kernel/syscalls/syscall.tbl`).
#[cfg(target_arch = "s390x")]
const SYS_KEXEC_FILE_LOAD: libc::c_long = 381;
#[cfg(not(any(target_arch = "riscv64", target_arch = "s390x")))]
const SYS_KEXEC_FILE_LOAD: libc::c_long = libc::SYS_kexec_file_load;
/// Calls that nothing here makes, but that somebody would who took a program over.
const NEVER: &[libc::c_long] = &[
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // Other views of the file system.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_setns,
    libc::SYS_unshare,
    // Another user, more privileges.
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_setgroups,
    libc::SYS_capset,
    libc::SYS_personality,
    // The kernel and the machine.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    SYS_KEXEC_FILE_LOAD,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    // Where holes of the kernel are found.
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_fanotify_init,
];
/// Kinds of sockets that are made; others are refused.
const FAMILIES: [libc::c_int; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
/// Commands of bpf(2) that only read what descriptors give: `BPF_MAP_LOOKUP_ELEM`, `BPF_MAP_GET_NEXT_KEY`,
/// `BPF_OBJ_GET_INFO_BY_FD`, `BPF_MAP_LOOKUP_BATCH` and `BPF_ITER_CREATE` of the kernel's uapi/linux/bpf.h.
const READING_MAPS: [u32; 5] = [1, 4, 15, 24, 33];

/// Why a program could not give up what it does not need.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Files.
    #[error("cannot restrict this program to its files: {0}")]
    Landlock(#[from] RulesetError),
    /// System calls.
    #[error("cannot restrict the system calls of this program: {0}")]
    Seccomp(#[from] seccompiler::Error),
}

impl From<seccompiler::BackendError> for SandboxError {
    fn from(error: seccompiler::BackendError) -> Self {
        Self::Seccomp(error.into())
    }
}

/// What a program keeps.
#[derive(Debug, Clone, Default)]
pub struct Sandbox {
    readable: Vec<PathBuf>,
    writable: Vec<PathBuf>,
    has_tcp: bool,
    runs_programs: bool,
    reads_maps: bool,
}

impl Sandbox {
    /// Reads this file or folder; while it is missing, whatever comes to the folder that is there of its path.
    #[must_use]
    pub fn reads(mut self, path: impl AsRef<Path>) -> Self {
        self.readable.extend(places_of(path.as_ref()));
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

    /// Connects and listens over TCP.
    #[must_use]
    pub fn with_tcp(mut self, wanted: bool) -> Self {
        self.has_tcp |= wanted;
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

    /// Whether it still connects and listens over TCP.
    #[must_use]
    pub fn has_tcp(&self) -> bool {
        self.has_tcp
    }

    /// Gives up everything else, for this thread and all that it starts from now on. Whether the kernel keeps files
    /// away: it may be one without Landlock.
    pub fn enter(&self) -> Result<bool, SandboxError> {
        let has_landlock = self.keep_files();
        self.keep_calls()?;
        Ok(has_landlock?)
    }

    fn keep_files(&self) -> Result<bool, RulesetError> {
        let mut ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(LANDLOCK))?
            .scope(Scope::from_all(LANDLOCK))?;
        if !self.has_tcp {
            ruleset = ruleset.handle_access(AccessNet::from_all(LANDLOCK))?;
        }
        let system = if self.runs_programs { READ | AccessFs::Execute } else { READ };
        let status = ruleset
            .create()?
            .add_rules(path_beneath_rules(OF_THE_SYSTEM, system))?
            .add_rules(path_beneath_rules(DEVICES, USE))?
            .add_rules(path_beneath_rules(&self.readable, READ))?
            .add_rules(path_beneath_rules(&self.writable, WRITE))?
            .restrict_self()?;
        Ok(status.ruleset != RulesetStatus::NotEnforced)
    }

    fn keep_calls(&self) -> Result<(), SandboxError> {
        // There is none for this kind of processor: nothing can be done about it.
        let Ok(arch) = std::env::consts::ARCH.try_into() else { return Ok(()) };
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
            NEVER.iter().map(|call| (*call, Vec::new())).collect();
        if !self.runs_programs {
            rules.extend([libc::SYS_execve, libc::SYS_execveat].map(|call| (call, Vec::new())));
        }
        let families = FAMILIES.map(i32::cast_unsigned);
        rules.insert(libc::SYS_socket, vec![none_of(&families)?]);
        if self.reads_maps {
            rules.insert(libc::SYS_bpf, vec![none_of(&READING_MAPS)?]);
        } else {
            rules.extend([libc::SYS_bpf, libc::SYS_open_by_handle_at].map(|call| (call, Vec::new())));
        }
        let refused = SeccompAction::Errno(libc::EPERM.cast_unsigned());
        let program: BpfProgram =
            SeccompFilter::new(rules, SeccompAction::Allow, refused, arch)?.try_into()?;
        Ok(seccompiler::apply_filter(&program)?)
    }
}

/// Holds where the first argument is none of these.
fn none_of(values: &[u32]) -> Result<SeccompRule, seccompiler::BackendError> {
    let conditions = values
        .iter()
        .map(|value| SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, u64::from(*value)));
    SeccompRule::new(conditions.collect::<Result<_, _>>()?)
}

/// What is there of a path: the path itself or the nearest folder above it, and if it is a link, where that leads.
fn places_of(path: &Path) -> Vec<PathBuf> {
    let there = path.ancestors().find(|place| place.exists() || place.is_symlink());
    let Some(there) = there.filter(|place| !place.as_os_str().is_empty()) else {
        return vec![PathBuf::from(".")];
    };
    // A file that is replaced by another of its name is another file: the folder counts.
    let folder = if there.is_dir() { there } else { there.parent().unwrap_or(there) };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let target = there.canonicalize().ok();
    let target = target
        .and_then(|target| if target.is_dir() { Some(target) } else { target.parent().map(Into::into) });
    std::iter::once(folder.to_owned()).chain(target).collect()
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
                assert!(sandbox.enter().unwrap(), "this kernel has no Landlock");
                work()
            });
            thread.join().unwrap()
        })
    }

    /// Landlock comes with the kernel, but may be turned off.
    fn has_landlock() -> bool {
        let lsm = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
        let is_there =
            lsm.contains("landlock") || thread::spawn(|| Sandbox::default().enter().unwrap()).join().unwrap();
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
        inside(&Sandbox::default(), || {
            assert_eq!(Command::new("true").status().unwrap_err().kind(), ErrorKind::PermissionDenied);
            assert!(rustix::process::chroot("/").is_err());
            let socket = |family| rustix::net::socket(family, rustix::net::SocketType::RAW, None);
            assert!(socket(rustix::net::AddressFamily::PACKET).is_err());
            assert!(std::os::unix::net::UnixStream::pair().is_ok());
            assert!(std::net::UdpSocket::bind("127.0.0.1:0").is_ok());
            assert!(std::net::TcpListener::bind("127.0.0.1:0").is_err());
        });
        inside(&Sandbox::default().with_tcp(true).with_programs(), || {
            assert!(Command::new("true").status().unwrap().success());
            assert!(std::net::TcpListener::bind("127.0.0.1:0").is_ok());
        });
    }
}
