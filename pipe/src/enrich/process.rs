//! What `/proc` tells of a process.

use std::fs;
use std::rc::Rc;
use std::sync::LazyLock;

use leco_os::clean::clean_bytes;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// Parents that are followed at most.
pub(crate) const MAX_PARENTS: usize = 16;
/// So many parents a process has in common with those that are kin to it.
const MAX_KIN: usize = 4;

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

/// Names of the processes that started this one, the nearest first; none where it is gone.
pub(crate) fn parents(pid: u32, started_ns: u64, count: usize) -> Vec<Rc<str>> {
    let mut names = Vec::new();
    if count == 0 || !is_alive(pid, started_ns) {
        return names;
    }
    let mut next = stat(pid).map(|stat| stat.parent);
    while let Some(pid) = next.filter(|&pid| pid > 0)
        && names.len() < count.min(MAX_PARENTS)
        && let Some(stat) = stat(pid)
    {
        names.push(if is_blank(&stat.comm) { pid.to_string().into() } else { stat.comm });
        next = Some(stat.parent);
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
    let Some(mut child) = alive(pid, started_ns) else { return Vec::new() };
    let mut line = vec![Process { pid, started: child.started }];
    // Where this program has a user namespace of its own, some users look the same; the names of one user never
    // count for another anyway.
    let user = effective_user(pid);
    while line.len() <= MAX_KIN && child.parent > 1 {
        let pid = child.parent;
        let Some(parent) = stat(pid) else { break };
        // Another one may have got the number meanwhile.
        if parent.started > child.started || &*parent.comm == "systemd" || effective_user(pid) != user {
            break;
        }
        line.push(Process { pid, started: parent.started });
        child = parent;
    }
    line
}

/// As this program's user namespace numbers it: the second number of `Uid:` (`proc_pid_status(5)`).
fn effective_user(pid: u32) -> Option<u32> {
    let status = fs::read(format!("/proc/{pid}/status")).ok()?;
    let numbers = status.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"Uid:"))?;
    std::str::from_utf8(numbers).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Whether a process lives that began at this moment of the boot clock: a later one may have its number. Where
/// the start is not known, any that has the number counts.
pub(crate) fn is_alive(pid: u32, started_ns: u64) -> bool {
    alive(pid, started_ns).is_some()
}

/// The same, and what is known of it.
pub(super) fn alive(pid: u32, started_ns: u64) -> Option<Stat> {
    let tick_ns = 1_000_000_000 / rustix::param::clock_ticks_per_second().max(1);
    // The kernel rounds down to its ticks.
    stat(pid).filter(|stat| started_ns == 0 || stat.started.abs_diff(started_ns / tick_ns) <= 1)
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
    parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)
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
mod tests {
    use super::*;

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
        let own = lineage(std::process::id(), 0);
        assert!((1..=MAX_KIN + 1).contains(&own.len()), "{own:?}");
        for child in &children {
            let line = lineage(child.id(), 0);
            assert_eq!(line[0].pid, child.id());
            assert_eq!(line[1], own[0]);
        }
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert!(lineage(children[0].id(), 0).is_empty(), "it is gone");
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
        let started = 0;
        assert!(parents(std::process::id(), started, 0).is_empty());
        assert_eq!(parents(std::process::id(), started, 1).len(), 1);
        assert!(parents(u32::MAX, started, 3).is_empty());
    }
}
