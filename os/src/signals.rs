// SPDX-License-Identifier: GPL-3.0-or-later
//! Which signals end a program.

use std::fs;

use libc::{SIGHUP, SIGINT, SIGTERM, c_int};

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
