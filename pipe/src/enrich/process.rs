// SPDX-License-Identifier: GPL-3.0-or-later
//! What `/proc` tells of a process.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::LazyLock;

use leco_os::clean::clean_bytes;
use leco_os::clock::namespace_offset;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// Parents that are followed at most.
pub(crate) const MAX_PARENTS: usize = 16;
/// So many parents a process has in common with those that are kin to it.
const MAX_KIN: usize = 4;
/// Of a command line so many bytes are read: a path of classes may be long.
const CMDLINE_BYTES: usize = 64 << 10;
/// Other files in a process's directory are shorter.
const FILE_BYTES: usize = 64 << 10;

/// A process, told from a later one with its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// Since boot, in clock ticks of user space.
    pub(crate) started: u64,
}

/// A line of `/proc/PID/stat`, as far as it is of interest.
#[derive(Debug)]
pub(super) struct Stat {
    /// Its name now: of its first thread.
    pub(super) comm: Rc<str>,
    parent: u32,
    /// Since boot, in clock ticks of user space.
    started: u64,
}

/// Whether a process's start in ticks, as `/proc` tells it, is this moment of the boot clock, in ns.
fn is_start(ticks: u64, started_ns: u64) -> bool {
    let tick_ns = 1_000_000_000 / rustix::param::clock_ticks_per_second().max(1);
    let started_ns = i128::from(started_ns) + i128::from(namespace_offset());
    // The kernel rounds down to its ticks.
    (i128::from(ticks) - started_ns / i128::from(tick_ns)).abs() <= 1
}

/// A process's directory in `/proc`, open: what is read in it is of this process, and of no other that gets its number
/// meanwhile.
#[derive(Debug)]
pub(super) struct ProcessDir(OwnedFd);

impl ProcessDir {
    fn open(pid: u32) -> Option<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(CWD, format!("/proc/{pid}"), flags, Mode::empty()).ok().map(Self)
    }

    /// Of the process that began at this moment of the boot clock, in ns: where that is not known, nobody can tell it
    /// from a later one.
    pub(super) fn of(pid: u32, started_ns: u64) -> Option<(Self, Stat)> {
        let dir = Self::open(pid).filter(|_| started_ns != 0)?;
        let stat = dir.stat().filter(|stat| is_start(stat.started, started_ns))?;
        Some((dir, stat))
    }

    /// As it is now.
    pub(super) fn stat(&self) -> Option<Stat> {
        parse(&self.read("stat", FILE_BYTES))
    }

    /// Without an argument that is too long to be read to its end.
    pub(super) fn cmdline(&self) -> Vec<u8> {
        let mut bytes = self.read("cmdline", CMDLINE_BYTES);
        if bytes.len() == CMDLINE_BYTES {
            bytes.truncate(bytes.iter().rposition(|&byte| byte == 0).unwrap_or(0));
        }
        bytes
    }

    /// As this program's user namespace numbers it: the second number of `Uid:` (`proc_pid_status(5)`).
    fn effective_user(&self) -> Option<u32> {
        let status = self.read("status", FILE_BYTES);
        let numbers = status.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"Uid:"))?;
        std::str::from_utf8(numbers).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
    }

    /// The process that started it, and what was known of that.
    fn parent_of(child: &Stat) -> Option<(u32, Self, Stat)> {
        let dir = Self::open(child.parent).filter(|_| child.parent > 0)?;
        let stat = dir.stat()?;
        // Another one may have got the number meanwhile.
        (stat.started <= child.started).then_some((child.parent, dir, stat))
    }

    fn read(&self, name: &str, limit: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Ok(file) = openat(&self.0, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            // A process that ends while it is read leaves what was read so far.
            let _ = File::from(file).take(limit as u64).read_to_end(&mut bytes);
        }
        bytes
    }
}

/// Names of the processes that started this one, the nearest first; none where it is gone.
pub(crate) fn parents(pid: u32, started_ns: u64, count: usize) -> Vec<Rc<str>> {
    let mut names = Vec::new();
    if count == 0 {
        return names;
    }
    let Some((_, mut child)) = ProcessDir::of(pid, started_ns) else { return names };
    while names.len() < count.min(MAX_PARENTS)
        && let Some((pid, _, parent)) = ProcessDir::parent_of(&child)
    {
        names.push(if is_blank(&parent.comm) { pid.to_string().into() } else { Rc::clone(&parent.comm) });
        child = parent;
    }
    names
}

/// Whether a name shows nothing.
pub(crate) fn is_blank(name: &str) -> bool {
    name.trim().is_empty()
}

/// A process and those of the same user that started it, the nearest first; none where it is gone. It ends at a
/// service manager, which starts what has nothing to do with each other.
pub(crate) fn lineage(pid: u32, started_ns: u64) -> Vec<Process> {
    let Some((dir, mut child)) = ProcessDir::of(pid, started_ns) else { return Vec::new() };
    let mut line = vec![Process { pid, started: child.started }];
    // Where this program has a user namespace of its own, some users look the same; the names of one user never
    // count for another anyway.
    let user = dir.effective_user();
    while line.len() <= MAX_KIN
        && child.parent > 1
        && let Some((pid, dir, parent)) = ProcessDir::parent_of(&child)
    {
        if &*parent.comm == "systemd" || dir.effective_user() != user {
            break;
        }
        line.push(Process { pid, started: parent.started });
        child = parent;
    }
    line
}

/// Whether a process lives that began at this moment of the boot clock: a later one may have its number. Where
/// the start is not known, any that has the number counts.
pub(crate) fn is_alive(pid: u32, started_ns: u64) -> bool {
    stat(pid).is_some_and(|stat| started_ns == 0 || is_start(stat.started, started_ns))
}

/// This process, as the kernel side tells of its own connections: when it began, in a way that is only known to its
/// tick.
pub(crate) fn is_start_of_this(started_ns: u64) -> bool {
    static OWN: LazyLock<Option<u64>> =
        LazyLock::new(|| parse(&fs::read("/proc/self/stat").ok()?).map(|stat| stat.started));
    started_ns != 0 && OWN.is_some_and(|own| is_start(own, started_ns))
}

/// Whether a process has certainly ended. Where not all processes can be seen, none has.
pub(crate) fn is_gone(pid: u32, started_ns: u64) -> bool {
    let Some(number) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return false };
    if !sees_all_processes() {
        return false;
    }
    // `/proc` may hide the processes of others; a signal that is not sent does not.
    test_kill_process(number) == Err(Errno::SRCH) || (stat(pid).is_some() && !is_alive(pid, started_ns))
}

/// Whether numbers of processes mean here what they mean to the kernel side: not in a PID namespace.
pub(crate) fn sees_all_processes() -> bool {
    /// `PROC_PID_INIT_INO` of `linux/proc_ns.h`.
    const INITIAL: &str = "pid:[4026531836]";
    static IS_INITIAL: LazyLock<bool> =
        LazyLock::new(|| fs::read_link("/proc/self/ns/pid").is_ok_and(|path| path.as_os_str() == INITIAL));
    *IS_INITIAL
}

fn stat(pid: u32) -> Option<Stat> {
    ProcessDir::open(pid)?.stat()
}

/// `PID (COMM) STATE PPID …`, where the name may hold anything, brackets and newlines too (`proc_pid_stat(5)`).
fn parse(line: &[u8]) -> Option<Stat> {
    let open = line.iter().position(|&byte| byte == b'(')?;
    let close = line.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(line.get(close + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    // Field 22 of the line; the parent was field 4.
    let started = fields.nth(17)?.parse().ok()?;
    Some(Stat { comm: clean_bytes(line.get(open + 1..close)?).into(), parent, started })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::enrich) fn started_ns(pid: u32) -> u64 {
        stat(pid).unwrap().started * 1_000_000_000 / rustix::param::clock_ticks_per_second()
    }

    /// Runs `sleep` with the number of a process that is gone, where this user may choose numbers.
    fn take_its_place(pid: u32, seconds: &str) -> Option<std::process::Child> {
        let start = std::time::Instant::now();
        while start.elapsed() < std::time::Duration::from_secs(20) {
            fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).ok()?;
            let mut child = std::process::Command::new("sleep").arg(seconds).spawn().unwrap();
            if child.id() == pid {
                return Some(child);
            }
            child.kill().unwrap();
            child.wait().unwrap();
        }
        panic!("the number {pid} is not free");
    }

    #[test]
    fn what_is_read_of_a_process_is_not_of_the_next_one_with_its_number() {
        let mut first = std::process::Command::new("sleep").arg("61").spawn().unwrap();
        let pid = first.id();
        let started = started_ns(pid);
        let (dir, _) = ProcessDir::of(pid, started).unwrap();
        // It has its name before it is executed.
        let start = std::time::Instant::now();
        while dir.cmdline() != b"sleep\x0061\0" {
            assert!(start.elapsed() < std::time::Duration::from_secs(20));
        }
        first.kill().unwrap();
        first.wait().unwrap();
        let Some(mut second) = take_its_place(pid, "62") else {
            leco_os::say::err("SKIPPED: numbers of processes cannot be chosen here");
            return;
        };
        assert!(dir.cmdline().is_empty() && dir.stat().is_none(), "it is gone");
        // Where it began within the same tick, not even its start tells it from the first.
        assert!(ProcessDir::open(pid).unwrap().stat().is_some());
        second.kill().unwrap();
        second.wait().unwrap();
    }

    #[test]
    fn hostile_names_do_not_move_the_fields() {
        let line = b"7 (a) b ( 1 2\x1b\n) S 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 2100 22 23";
        let stat = parse(line).unwrap();
        assert_eq!((&*stat.comm, stat.parent, stat.started), ("a) b ( 1 2\u{fffd}\u{fffd}", 3, 2100));
        for broken in [&b""[..], b"7 (a", b"7 (a) S", b"7 )a( S 1", b"7 (a) S x"] {
            assert!(parse(broken).is_none());
        }
    }

    #[test]
    fn a_number_that_another_process_got_is_not_the_same_process() {
        let own = std::process::id();
        let tick_ns = 1_000_000_000 / rustix::param::clock_ticks_per_second();
        let started = stat(own).unwrap().started * tick_ns + tick_ns / 2;
        assert!(is_alive(own, started));
        assert!(is_alive(own, 0), "where the start is not known");
        assert!(!is_alive(own, started + 10 * tick_ns));
        assert!(!is_alive(u32::MAX, started));
    }

    #[test]
    fn a_process_is_kin_to_those_that_its_parent_started() {
        let start = || std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let mut children = [start(), start()];
        let own = lineage(std::process::id(), started_ns(std::process::id()));
        assert!((1..=MAX_KIN + 1).contains(&own.len()), "{own:?}");
        for child in &children {
            let line = lineage(child.id(), started_ns(child.id()));
            assert_eq!(line[0].pid, child.id());
            assert_eq!(line[1], own[0]);
        }
        let starts = children.each_ref().map(|child| started_ns(child.id()));
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert!(lineage(children[0].id(), starts[0]).is_empty(), "it is gone");
        assert!(lineage(std::process::id(), 0).is_empty(), "nobody can tell whether it is another one");
        assert!(lineage(std::process::id(), u64::MAX).is_empty(), "another one has its number");
    }

    #[test]
    fn only_a_process_that_has_certainly_ended_is_gone() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        assert!(!is_gone(pid, 0), "not waited for yet");
        child.wait().unwrap();
        assert_eq!(is_gone(pid, 0), sees_all_processes());
        assert!(!is_gone(std::process::id(), 0));
        assert!(!is_gone(0, 0) && !is_gone(u32::MAX, 0), "no process has such a number");
    }

    #[test]
    fn the_chain_ends_where_it_is_told_to() {
        let started = started_ns(std::process::id());
        assert!(parents(std::process::id(), started, 0).is_empty());
        assert_eq!(parents(std::process::id(), started, 1).len(), 1);
        assert!(parents(u32::MAX, started, 3).is_empty());
    }
}
