// SPDX-License-Identifier: GPL-3.0-or-later
//! System calls that fail in a sandbox (seccomp(2)).

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    sock_filter,
};

use super::confinement::SystemCalls;
use super::network::{Network, Sockets};

/// libc does not have it everywhere (the kernel's `include/uapi/asm-generic/unistd.h`).
#[cfg(target_arch = "riscv64")]
const SYS_KEXEC_FILE_LOAD: libc::c_long = 294;
/// See above (`arch/s390/kernel/syscalls/syscall.tbl`).
#[cfg(target_arch = "s390x")]
const SYS_KEXEC_FILE_LOAD: libc::c_long = 381;
#[cfg(not(any(target_arch = "riscv64", target_arch = "s390x")))]
const SYS_KEXEC_FILE_LOAD: libc::c_long = libc::SYS_kexec_file_load;
/// The same numbers everywhere, not yet in libc (Linux 6.6, 6.13, 6.15, 6.17).
const SYS_FCHMODAT2: libc::c_long = 452;
const SYS_SETXATTRAT: libc::c_long = 463;
const SYS_REMOVEXATTRAT: libc::c_long = 466;
const SYS_OPEN_TREE_ATTR: libc::c_long = 467;
const SYS_FILE_SETATTR: libc::c_long = 469;

/// Names and numbers of system calls.
macro_rules! calls {
    ($($name:ident)*) => { &[$((stringify!($name), libc::$name)),*] };
}

/// Calls that fail with `EPERM` in every sandbox, with their names: nothing here makes them, but somebody would who
/// took a program over.
pub const REFUSED_CALLS: &[(&str, libc::c_long)] = calls! {
    // Other processes: what they hold, how they run, and what they share.
    SYS_ptrace SYS_process_vm_readv SYS_process_vm_writev SYS_pidfd_getfd SYS_kcmp SYS_process_madvise
    SYS_process_mrelease SYS_migrate_pages SYS_move_pages
    SYS_setpriority SYS_ioprio_set SYS_sched_setscheduler SYS_sched_setparam SYS_sched_setattr
    SYS_sched_setaffinity
    SYS_msgget SYS_msgsnd SYS_msgrcv SYS_msgctl SYS_semget SYS_semop SYS_semtimedop SYS_semctl
    SYS_mq_open SYS_mq_unlink SYS_mq_timedsend SYS_mq_timedreceive SYS_mq_notify SYS_mq_getsetattr
    // What files are like: who may use them, whose they are, how old they look.
    SYS_fchmod SYS_fchmodat SYS_fchown SYS_fchownat SYS_utimensat
    SYS_setxattr SYS_lsetxattr SYS_fsetxattr SYS_removexattr SYS_lremovexattr SYS_fremovexattr
    // Other views of the file system.
    SYS_mount SYS_umount2 SYS_pivot_root SYS_chroot SYS_move_mount SYS_open_tree SYS_fsopen SYS_fsconfig
    SYS_fsmount SYS_fspick SYS_mount_setattr SYS_setns SYS_unshare
    // Another user, more privileges.
    SYS_setuid SYS_setgid SYS_setreuid SYS_setregid SYS_setresuid SYS_setresgid SYS_setfsuid SYS_setfsgid
    SYS_setgroups SYS_capset SYS_personality
    // The kernel and the machine.
    SYS_init_module SYS_finit_module SYS_delete_module SYS_kexec_load SYS_reboot SYS_swapon SYS_swapoff
    SYS_sethostname SYS_setdomainname SYS_settimeofday SYS_clock_settime SYS_clock_adjtime SYS_adjtimex
    SYS_acct SYS_quotactl SYS_quotactl_fd SYS_syslog SYS_vhangup
    // Where holes of the kernel are found.
    SYS_perf_event_open SYS_userfaultfd SYS_io_uring_setup SYS_io_uring_enter SYS_io_uring_register
    SYS_add_key SYS_request_key SYS_keyctl SYS_fanotify_init
};
/// More of them, which libc does not have everywhere or a processor has of its own.
pub const MORE_REFUSED_CALLS: &[(&str, libc::c_long)] = &[
    ("SYS_kexec_file_load", SYS_KEXEC_FILE_LOAD),
    ("SYS_open_tree_attr", SYS_OPEN_TREE_ATTR),
    ("SYS_fchmodat2", SYS_FCHMODAT2),
    ("SYS_setxattrat", SYS_SETXATTRAT),
    ("SYS_removexattrat", SYS_REMOVEXATTRAT),
    ("SYS_file_setattr", SYS_FILE_SETATTR),
    #[cfg(target_arch = "x86_64")]
    ("SYS_chmod", libc::SYS_chmod),
    #[cfg(target_arch = "x86_64")]
    ("SYS_chown", libc::SYS_chown),
    #[cfg(target_arch = "x86_64")]
    ("SYS_lchown", libc::SYS_lchown),
    #[cfg(target_arch = "x86_64")]
    ("SYS_utime", libc::SYS_utime),
    #[cfg(target_arch = "x86_64")]
    ("SYS_utimes", libc::SYS_utimes),
    #[cfg(target_arch = "x86_64")]
    ("SYS_futimesat", libc::SYS_futimesat),
    #[cfg(target_arch = "x86_64")]
    ("SYS_iopl", libc::SYS_iopl),
    #[cfg(target_arch = "x86_64")]
    ("SYS_ioperm", libc::SYS_ioperm),
    #[cfg(target_arch = "x86_64")]
    ("SYS_modify_ldt", libc::SYS_modify_ldt),
];
/// Flags of clone(2) that make a namespace, in which a process of any user can be root and reach more of the kernel.
/// (`CLONE_NEWTIME` is known to clone3 and unshare alone.)
pub const NAMESPACE_FLAGS: [libc::c_int; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];
/// Calls that share memory with other programs, as a server of X11 wants it.
pub const SHARED_MEMORY_CALLS: &[(&str, libc::c_long)] = calls! { SYS_shmget SYS_shmat SYS_shmctl SYS_shmdt };
/// Requests of ioctl(2) that type into a terminal (TIOCSTI, TIOCLINUX): what a program types there, the shell after it
/// runs. And such as change what files are like (`FS_IOC_SETFLAGS`, `FS_IOC_FSSETXATTR`, as processors number them
/// for which there is a filter).
pub const REFUSED_IOCTLS: [u32; 4] = [0x5412, 0x541C, 0x4008_6602, 0x401C_5820];
/// From here on numbers are those of the x32 ABI on x86-64, under which every call would have another number. Nowhere
/// else are there so many calls.
pub const X32_BIT: u32 = 0x4000_0000;
/// Commands of bpf(2) that only read what descriptors give: `BPF_MAP_LOOKUP_ELEM`, `BPF_MAP_GET_NEXT_KEY`,
/// `BPF_OBJ_GET_INFO_BY_FD`, `BPF_MAP_LOOKUP_BATCH` and `BPF_ITER_CREATE` of the kernel's uapi/linux/bpf.h.
const READING_MAPS: [u32; 5] = [1, 4, 15, 24, 33];
/// The part of a socket's type that is no flag (the kernel's linux/net.h).
const TYPE_MASK: u64 = 0xf;
/// An old way to a packet socket, by the family of IPv4.
const SOCK_PACKET: libc::c_int = 10;
/// Types of sockets that no part makes over a network.
const NEVER_TYPES: [libc::c_int; 5] =
    [libc::SOCK_RAW, libc::SOCK_RDM, libc::SOCK_SEQPACKET, libc::SOCK_DCCP, SOCK_PACKET];

/// Classic BPF, of the kernel's headers `bpf_common.h` and `seccomp.h`.
mod code {
    pub(super) const LOAD_WORD: u16 = 0x20;
    pub(super) const JUMP_IF_EQUAL: u16 = 0x15;
    pub(super) const JUMP_IF_AT_LEAST: u16 = 0x35;
    pub(super) const RETURN: u16 = 0x06;
    pub(super) const OFFSET_OF_NUMBER: u32 = 0;
}

/// What differs between parts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Calls {
    pub(super) runs_programs: bool,
    pub(super) reads_maps: bool,
    pub(super) shares_memory: bool,
    pub(super) sockets: Sockets,
}

impl Calls {
    /// Gives up the others, for this thread and all that it starts.
    pub(super) fn keep(self) -> SystemCalls {
        // The crate knows three processors. For any other nothing can be done, but told.
        let Ok(processor) = std::env::consts::ARCH.try_into() else {
            return SystemCalls::NoFilterForProcessor;
        };
        let applied = self.program(processor).map_err(|error| error.to_string()).and_then(|program| {
            seccompiler::apply_filter(&program).map_err(|error| crate::limits::name_in(error.to_string()))
        });
        applied.map_or_else(SystemCalls::Failed, |()| SystemCalls::Filtered)
    }

    /// Calls of another processor's kind, such as those of 32 bits on x86-64, end the process.
    fn program(self, processor: seccompiler::TargetArch) -> Result<BpfProgram, seccompiler::BackendError> {
        let all = REFUSED_CALLS.iter().chain(MORE_REFUSED_CALLS);
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
            all.map(|(_, number)| (*number, Vec::new())).collect();
        if !self.runs_programs {
            rules.extend([libc::SYS_execve, libc::SYS_execveat].map(|call| (call, Vec::new())));
        }
        rules.insert(libc::SYS_clone, any_flag_of(0, &NAMESPACE_FLAGS.map(i32::cast_unsigned))?);
        rules.insert(libc::SYS_ioctl, one_of(1, &REFUSED_IOCTLS)?);
        rules.insert(libc::SYS_socket, self.refused_sockets()?);
        rules.insert(libc::SYS_socketpair, self.refused_pairs()?);
        // Limits of other processes: its own are asked for as those of 0.
        rules.insert(libc::SYS_prlimit64, vec![none_of(0, &[0])?]);
        if !self.shares_memory {
            rules.extend(SHARED_MEMORY_CALLS.iter().map(|(_, number)| (*number, Vec::new())));
        }
        if self.reads_maps {
            rules.insert(libc::SYS_bpf, vec![none_of(0, &READING_MAPS)?]);
        } else {
            rules.extend([libc::SYS_bpf, libc::SYS_open_by_handle_at].map(|call| (call, Vec::new())));
        }
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, errno(libc::EPERM), processor)?;
        let mut program = before_all();
        program.extend(BpfProgram::try_from(filter)?);
        Ok(program)
    }

    fn refused_sockets(self) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
        let Sockets { network, unix } = self.sockets;
        let inet = [libc::AF_INET, libc::AF_INET6].into_iter().filter(|_| network != Network::None);
        let kept = inet.clone().chain(Some(libc::AF_UNIX).filter(|_| unix));
        let kept: Vec<u32> = kept.map(i32::cast_unsigned).collect();
        if kept.is_empty() {
            return Ok(Vec::new());
        }
        let mut rules = vec![none_of(0, &kept)?];
        let streams = Some(libc::SOCK_STREAM).filter(|_| network != Network::All);
        for kind in NEVER_TYPES.into_iter().chain(streams) {
            for family in inet.clone() {
                rules.push(SeccompRule::new(vec![
                    compare(0, SeccompCmpOp::Eq, family.cast_unsigned())?,
                    is_of_type(kind)?,
                ])?);
            }
        }
        Ok(rules)
    }

    /// A pair of streams is connected for ever. One end of a pair of datagram sockets could connect to another socket.
    fn refused_pairs(self) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
        let mut rules = vec![none_of(0, &[libc::AF_UNIX.cast_unsigned()])?];
        if !self.sockets.unix {
            rules.push(SeccompRule::new(vec![is_of_type(libc::SOCK_DGRAM)?])?);
            // Another name of the same for unix sockets.
            rules.push(SeccompRule::new(vec![is_of_type(libc::SOCK_RAW)?])?);
        }
        Ok(rules)
    }
}

/// `clone3`, whose flags no filter can read, is not there: libc then calls `clone`. Then numbers of x32.
fn before_all() -> BpfProgram {
    let statement = |code, k| sock_filter { code, jt: 0, jf: 0, k };
    let skip_one_unless = |code, k| sock_filter { code, jt: 0, jf: 1, k };
    let clone3 = u32::try_from(libc::SYS_clone3).unwrap_or(u32::MAX);
    vec![
        statement(code::LOAD_WORD, code::OFFSET_OF_NUMBER),
        skip_one_unless(code::JUMP_IF_EQUAL, clone3),
        statement(code::RETURN, errno(libc::ENOSYS).into()),
        skip_one_unless(code::JUMP_IF_AT_LEAST, X32_BIT),
        statement(code::RETURN, errno(libc::EPERM).into()),
    ]
}

fn errno(number: libc::c_int) -> SeccompAction {
    SeccompAction::Errno(number.cast_unsigned())
}

fn compare(
    argument: u8,
    how: SeccompCmpOp,
    value: u32,
) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, how, value.into())
}

/// Holds where the second argument is this type of a socket, with whatever flags.
fn is_of_type(kind: libc::c_int) -> Result<SeccompCondition, seccompiler::BackendError> {
    let how = SeccompCmpOp::MaskedEq(TYPE_MASK);
    SeccompCondition::new(1, SeccompCmpArgLen::Dword, how, kind.cast_unsigned().into())
}

/// Holds where an argument is none of these.
fn none_of(argument: u8, values: &[u32]) -> Result<SeccompRule, seccompiler::BackendError> {
    let conditions = values.iter().map(|value| compare(argument, SeccompCmpOp::Ne, *value));
    SeccompRule::new(conditions.collect::<Result<_, _>>()?)
}

/// Each holds where an argument is one of these.
fn one_of(argument: u8, values: &[u32]) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let rule = |value: &u32| SeccompRule::new(vec![compare(argument, SeccompCmpOp::Eq, *value)?]);
    values.iter().map(rule).collect()
}

/// Each holds where an argument has one of these flags, whatever else.
fn any_flag_of(argument: u8, flags: &[u32]) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let rule = |flag: &u32| {
        SeccompRule::new(vec![compare(argument, SeccompCmpOp::MaskedEq(u64::from(*flag)), *flag)?])
    };
    flags.iter().map(rule).collect()
}
