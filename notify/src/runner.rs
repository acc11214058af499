// SPDX-License-Identifier: GPL-3.0-or-later
//! The process that runs a program for each event, since what reads events gives up running any. It is this program once
//! more, under another name, before the sandbox: it reads nothing but events, one a line, and writes a byte for each that
//! is done.

use std::env;
use std::ffi::OsString;
use std::io::{self, BufRead, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use leco_os::start;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Access, access};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use crate::report::report;

/// How the process is called.
const NAME: &str = "leco-notify-run";
/// What of the environment a program gets.
const ENVIRONMENT: [&str; 8] = ["PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "XDG_RUNTIME_DIR"];

/// Starts it; where events go, and what says that one is done.
pub(crate) fn start(command: &[OsString], time_limit: Duration) -> anyhow::Result<(ChildStdin, ChildStdout)> {
    let program = command.first().context("--exec needs a program")?;
    if !can_run(Path::new(program)) {
        anyhow::bail!(
            "cannot run {}: there is no such program, or it may not be executed",
            program.display()
        );
    }
    let child = Command::new("/proc/self/exe")
        .arg0(NAME)
        .arg(time_limit.as_millis().to_string())
        .args(command)
        // What ends this program from a terminal ends it by its input alone.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = child.context("cannot start the process that runs programs")?;
    child.stdin.take().zip(child.stdout.take()).context("cannot start the process that runs programs")
}

/// Whether there is such a program, in `PATH` where it is a name alone.
fn can_run(program: &Path) -> bool {
    let is_program = |path: &Path| path.is_file() && access(path, Access::EXEC_OK).is_ok();
    let path = env::var_os("PATH").unwrap_or_default();
    if program.as_os_str().as_bytes().contains(&b'/') {
        return is_program(program);
    }
    env::split_paths(&path).any(|folder| is_program(&folder.join(program)))
}

/// What the process was started with.
pub(crate) struct Runner {
    time_limit: Duration,
    command: Vec<OsString>,
}

/// Whether this is to be that process.
pub(crate) fn asked() -> Option<Runner> {
    let mut arguments = env::args_os();
    arguments.next().filter(|name| name == NAME)?;
    let time_limit = arguments.next()?.to_str()?.parse().ok()?;
    let command: Vec<_> = arguments.collect();
    (!command.is_empty()).then(|| Runner { time_limit: Duration::from_millis(time_limit), command })
}

impl Runner {
    /// Runs the program for each event until no more can come.
    pub(crate) fn run(self) -> ExitCode {
        start::pass_on_nothing();
        let mut events = io::stdin().lock();
        let mut event = Vec::new();
        while events.read_until(b'\n', &mut event).is_ok_and(|length| length > 0) {
            if let Err(error) = self.run_for(&event) {
                report(format_args!("cannot run {}: {error}", self.command[0].display()));
            }
            event.clear();
            if io::stdout().write_all(b"\n").and_then(|()| io::stdout().flush()).is_err() {
                break;
            }
        }
        ExitCode::SUCCESS
    }

    fn run_for(&self, event: &[u8]) -> io::Result<()> {
        let kept = ENVIRONMENT.iter().filter_map(|name| Some((name, env::var_os(name)?)));
        // Standard output is for the one that sends events.
        let words = io::stderr().as_fd().try_clone_to_owned()?;
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).env_clear().envs(kept).process_group(0);
        let mut child = command.stdin(Stdio::piped()).stdout(words).spawn()?;
        let pid = Pid::from_child(&child);
        let is_over = wait(&mut child, pid, event, self.time_limit);
        if !matches!(is_over, Ok(true)) {
            // The group has no other number as long as nobody has waited for its first process.
            let _ = kill_process_group(pid, Signal::KILL);
        }
        let status = child.wait()?;
        if is_over? {
            if !status.success() {
                report(format_args!("{}: {status}", self.command[0].display()));
            }
        } else {
            report(format_args!("{}: killed after {:?}", self.command[0].display(), self.time_limit));
        }
        Ok(())
    }
}

/// Writes an event to a process and waits for its end; whether that came in time.
fn wait(child: &mut Child, pid: Pid, event: &[u8], time_limit: Duration) -> io::Result<bool> {
    let start = Instant::now();
    let end = pidfd_open(pid, PidfdFlags::empty())?;
    let mut input = child.stdin.take().map(OwnedFd::from);
    if let Some(input) = &input {
        ioctl_fionbio(input, true)?;
    }
    let mut left = event;
    loop {
        let Some(time) = time_limit.checked_sub(start.elapsed()) else { return Ok(false) };
        let mut fds = vec![PollFd::new(&end, PollFlags::IN)];
        fds.extend(input.iter().map(|input| PollFd::new(input, PollFlags::OUT)));
        match poll(&mut fds, Timespec::try_from(time).ok().as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if !fds[0].revents().is_empty() {
            return Ok(true);
        }
        if let Some(open) = &input {
            match rustix::io::write(open, left) {
                Ok(written) => left = &left[written..],
                Err(Errno::AGAIN | Errno::INTR) => {}
                // A program need not read.
                Err(_) => left = &[],
            }
            if left.is_empty() {
                input = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runner(script: &str) -> Runner {
        let command = ["sh", "-c", script].map(OsString::from).to_vec();
        Runner { time_limit: Duration::from_millis(300), command }
    }

    #[test]
    fn a_program_gets_the_event_and_little_else() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out").display().to_string();
        // More than a pipe holds.
        let event = [b"x".repeat(100_000).as_slice(), b"\n"].concat();
        let mut runner = runner(&format!("cat >{out}; env >{out}.env"));
        runner.time_limit = Duration::from_secs(20);
        runner.run_for(&event).unwrap();
        assert_eq!(std::fs::read(&out).unwrap(), event);
        let environment = std::fs::read_to_string(format!("{out}.env")).unwrap();
        // The shell has its own.
        let names = environment.lines().filter_map(|line| line.split('=').next());
        let more: Vec<_> = names
            .filter(|name| !ENVIRONMENT.contains(name) && !["PWD", "OLDPWD", "_", "SHLVL"].contains(name))
            .collect();
        assert_eq!(more, [""; 0]);
        // One that reads nothing.
        runner.command = vec!["true".into()];
        runner.run_for(&event).unwrap();
        runner.command = vec!["/nonexistent/program".into()];
        assert!(runner.run_for(&event).is_err());
        assert!(
            can_run(Path::new("sh"))
                && !can_run(Path::new("/nonexistent/sh"))
                && !can_run(Path::new("/etc/passwd"))
                && !can_run(Path::new("no/sh"))
        );
    }

    #[test]
    fn what_takes_too_long_is_killed_with_all_of_its_group() {
        let folder = tempfile::tempdir().unwrap();
        let pids = folder.path().join("pids");
        let script = format!("sleep 60 & echo $! $$ >{}; sleep 60", pids.display());
        let start = Instant::now();
        runner(&script).run_for(b"{}\n").unwrap();
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
        let pids = std::fs::read_to_string(pids).unwrap();
        assert_eq!(pids.split_whitespace().count(), 2);
        for pid in pids.split_whitespace() {
            // A kill takes a moment, and its parent may not have waited for it yet.
            loop {
                let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
                if status.is_empty() || status.contains("State:\tZ") {
                    break;
                }
                assert!(start.elapsed() < Duration::from_secs(30), "{status}");
                std::thread::yield_now();
            }
        }
    }
}
