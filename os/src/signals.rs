// SPDX-License-Identifier: GPL-3.0-or-later
//! Which signals end a program, and which stop it for a while.

use std::{fs, io};

use libc::{SIGHUP, SIGINT, SIGTERM, c_int};
use nix::sys::signal::{SigSet, Signal, raise};

/// Signals that ask a frontend to end. Without SIGHUP where that was ignored when the program began, as nohup(1) does,
/// so that it stays when the terminal is closed from which it was started.
#[must_use]
pub fn asking_to_end() -> Vec<c_int> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    [SIGTERM, SIGINT, SIGHUP]
        .into_iter()
        .filter(|&signal| signal != SIGHUP || !is_ignored(signal, &status))
        .collect()
}

/// What job control asks of a program that draws on a whole terminal, which is to be given back before it stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobControl {
    /// To stop: SIGTSTP, of the terminal's key or of another program.
    Stop,
    /// It goes on after it was stopped, by whatever: SIGCONT.
    Continued,
}

/// Keeps the signals of job control for [`next_job_control`]: in this thread and all that it starts from now on. SIGCONT
/// lets a process go on all the same.
pub fn hold_job_control() -> io::Result<()> {
    Ok(job_control().thread_block()?)
}

/// Waits for the next of them.
pub fn next_job_control() -> io::Result<JobControl> {
    Ok(match job_control().wait()? {
        Signal::SIGCONT => JobControl::Continued,
        _ => JobControl::Stop,
    })
}

/// Stops all of the program as SIGTSTP does; returns when it goes on. The kernel does not stop what nobody could let go
/// on (an orphaned process group, setpgid(2)).
pub fn stop() -> io::Result<()> {
    let held = SigSet::from(Signal::SIGTSTP);
    raise(Signal::SIGTSTP)?;
    held.thread_unblock()?;
    Ok(held.thread_block()?)
}

fn job_control() -> SigSet {
    [Signal::SIGTSTP, Signal::SIGCONT].into_iter().collect()
}

/// Whether a text as in `/proc/PID/status` says that the process ignores a signal (`proc_pid_status(5)`).
fn is_ignored(signal: c_int, status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    let bit = u32::try_from(signal - 1).ok().and_then(|shift| 1_u64.checked_shl(shift));
    bit.is_some_and(|bit| mask & bit != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_stands_in_the_status() {
        let status = "SigBlk:\t0000000000000003\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000002\n";
        assert!(is_ignored(SIGHUP, status) && is_ignored(libc::SIGPIPE, status));
        assert!(!is_ignored(SIGINT, status) && !is_ignored(0, status) && !is_ignored(99, status));
        assert!(!is_ignored(SIGHUP, "") && !is_ignored(SIGHUP, "SigIgn:\t?\n"));
    }
}
