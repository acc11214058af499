// SPDX-License-Identifier: GPL-3.0-or-later
//! What a service manager and the keyboard ask of the pipe: systemd's notification protocol and signals.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use leco_bpf::PassedFds;
use leco_os::clock::BootNs;
use sd_notify::NotifyState;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Signals as descriptors.
#[derive(Debug)]
pub struct Signals {
    stop: io::PipeReader,
    reopen: io::PipeReader,
}

impl Signals {
    /// Catches SIGTERM and SIGINT, which ask to end, and SIGHUP, which asks to reopen outputs.
    pub fn catch() -> io::Result<Self> {
        let (stop, writer) = io::pipe()?;
        for signal in [SIGTERM, SIGINT] {
            signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
        }
        let (reopen, writer) = io::pipe()?;
        rustix::io::ioctl_fionbio(&reopen, true)?;
        signal_hook::low_level::pipe::register(SIGHUP, writer)?;
        Ok(Self { stop, reopen })
    }

    /// Becomes readable when it is time to end.
    pub(crate) fn stop_fd(&self) -> BorrowedFd<'_> {
        self.stop.as_fd()
    }

    /// Becomes readable when outputs are to be reopened.
    pub(crate) fn reopen_fd(&self) -> BorrowedFd<'_> {
        self.reopen.as_fd()
    }

    pub(crate) fn take_reopen(&self) {
        let mut asked = [0; 64];
        // It is empty when this fails.
        while (&self.reopen).read(&mut asked).is_ok_and(|count| count > 0) {}
    }
}

/// Tells the service manager how the pipe is doing, where there is one (`sd_notify(3)`).
#[derive(Debug, Default)]
pub struct Watchdog {
    /// How often it wants to hear; it is told twice as often.
    interval: Option<u64>,
    due: Option<BootNs>,
}

impl Watchdog {
    /// Says that the pipe is ready.
    #[must_use]
    pub fn ready(now: BootNs) -> Self {
        // Without a service manager there is nobody to tell.
        let _ = sd_notify::notify(&[NotifyState::Ready]);
        let interval = sd_notify::watchdog_enabled();
        let interval = interval.map(|interval| u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX) / 2);
        Self { interval, due: interval.map(|interval| now.saturating_add(interval)) }
    }

    pub(crate) fn due(&self) -> Option<BootNs> {
        self.due
    }

    pub(crate) fn keep_time(&mut self, now: BootNs) {
        if let (Some(due), Some(interval)) = (self.due, self.interval)
            && due <= now
        {
            let _ = sd_notify::notify(&[NotifyState::Watchdog]);
            self.due = Some(now.saturating_add(interval));
        }
    }

    pub(crate) fn stopping() {
        let _ = sd_notify::notify(&[NotifyState::Stopping]);
    }
}

/// Descriptors that the service manager passed, by their names (`sd_listen_fds(3)`): for the first caller, who is to
/// do so before anything else is opened. Miri cannot run it, for want of a service manager.
#[allow(unsafe_code)]
pub fn passed_descriptors() -> io::Result<PassedFds> {
    /// Who has them closes them, so nobody else may.
    static ARE_TAKEN: AtomicBool = AtomicBool::new(false);
    if ARE_TAKEN.swap(true, Ordering::Relaxed) {
        return Ok(PassedFds::new());
    }
    // What was passed to another process and is left over in the environment means nothing here.
    if std::env::var("LISTEN_PID").ok().as_deref() != Some(std::process::id().to_string().as_str()) {
        return Ok(PassedFds::new());
    }
    let passed = sd_notify::listen_fds_with_names()?;
    // SAFETY: they were open when the process began, as `listen_fds` found out, and nothing else owns them:
    // this is the one place that takes them.
    let passed = passed.map(|(fd, name)| (name, unsafe { OwnedFd::from_raw_fd(fd) }));
    Ok(passed.fold(PassedFds::new(), |mut all, (name, fd)| {
        all.entry(name).or_default().push(fd);
        all
    }))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn descriptors_are_handed_out_once() {
        const STEP: &str = "LECO_TEST_PASSED";
        if std::env::var_os(STEP).is_some() {
            let passed = passed_descriptors().unwrap();
            assert_eq!(passed["leco-test"].len(), 1);
            assert!(passed_descriptors().unwrap().is_empty(), "two owners would close it twice");
            return;
        }
        let name = "service::tests::descriptors_are_handed_out_once";
        let script = "exec 3</dev/null; LISTEN_PID=$$ exec \"$0\" --exact \"$1\" --nocapture";
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(std::env::current_exe().unwrap()).arg(name);
        command.envs([("LISTEN_FDS", "1"), ("LISTEN_FDNAMES", "leco-test"), (STEP, "1")]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}
