// SPDX-License-Identifier: GPL-3.0-or-later
//! What running processes cost while nothing happens.

use std::fs;
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::io::Errno;

use crate::report::Report;

const IDLE: Duration = Duration::from_secs(10);

/// A process that ends with the measurement.
pub(crate) struct Watched(Child);

impl Watched {
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        Ok(Self(command.spawn().with_context(|| format!("{command:?}"))?))
    }

    /// Whether it still runs; if not, how it ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.0.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("it ended: {status}"),
        }
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }
}

/// A process and all that it started.
pub(crate) fn family(process: u32) -> Result<Vec<u32>> {
    let mut all = vec![process];
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        // It may have ended meanwhile.
        let children = fs::read_to_string(task?.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
            all.extend(family(child).unwrap_or_default());
        }
    }
    Ok(all)
}

/// A value of a process or thread, unless it has ended.
pub(crate) fn unless_ended<T>(value: Result<T>) -> Result<Option<T>> {
    let has_ended = |error: &anyhow::Error| {
        let number = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
        number == Some(Errno::NOENT.raw_os_error()) || number == Some(Errno::SRCH.raw_os_error())
    };
    match value {
        Err(error) if has_ended(&error) => Ok(None),
        value => value.map(Some),
    }
}

/// Times any of a process's threads went to sleep: each was woken before.
pub(crate) fn sleeps(process: u32) -> Result<u64> {
    let mut total = 0;
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        let sleeps = field(&task?.path().join("status"), "voluntary_ctxt_switches:");
        total += unless_ended(sleeps)?.unwrap_or(0);
    }
    Ok(total)
}

/// Time that a process's threads have run, in ns (the kernel's Documentation/scheduler/sched-stats.rst).
pub(crate) fn on_cpu(process: u32) -> Result<u64> {
    let mut total = 0;
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        let path = task?.path().join("schedstat");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string());
        let Some(text) = unless_ended(text)? else { continue };
        let first = text.split_whitespace().next().and_then(|word| word.parse::<u64>().ok());
        total += first.with_context(|| format!("no time in {}", path.display()))?;
    }
    Ok(total)
}

/// A process's proportional share of memory in MB.
pub(crate) fn proportional(process: u32) -> Result<f64> {
    Ok(field(format!("/proc/{process}/smaps_rollup").as_ref(), "Pss:")? as f64 / 1024.0)
}

/// The same without pages of files, which the kernel takes back when it likes.
pub(crate) fn own(process: u32) -> Result<f64> {
    let path = format!("/proc/{process}/smaps_rollup");
    Ok((field(path.as_ref(), "Pss_Anon:")? + field(path.as_ref(), "Pss_Shmem:")?) as f64 / 1024.0)
}

/// A process's resident memory in MB.
pub(crate) fn resident(process: u32) -> Result<f64> {
    Ok(field(format!("/proc/{process}/status").as_ref(), "VmRSS:")? as f64 / 1024.0)
}

impl Drop for Watched {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

/// The number after a label in a file of /proc.
fn field(path: &std::path::Path, label: &str) -> Result<u64> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let number =
        text.lines().find_map(|line| line.strip_prefix(label)?.split_whitespace().next()?.parse().ok());
    number.with_context(|| format!("no {label} in {}", path.display()))
}

/// Wakeups of each process while nothing happens.
pub(crate) fn measure_idle(processes: &[(&str, &Watched)], report: &mut Report) -> Result<()> {
    let total = || -> Result<u64> { processes.iter().map(|(_, process)| sleeps(process.id())).sum() };
    // What was held back an update interval ago is shown and fades; then nothing is left to do.
    for _ in 0..60 {
        let before = total()?;
        thread::sleep(Duration::from_secs(4));
        if total()? == before {
            for (name, process) in processes {
                let before = sleeps(process.id())?;
                let time = report.time(IDLE);
                thread::sleep(time);
                let woken = sleeps(process.id())? - before;
                let figure = format!("{name}: wakeups in {} s of silence", time.as_secs());
                report.limit(&figure, woken as f64, 0.0, "");
            }
            return Ok(());
        }
    }
    bail!("the machine is never silent: no idle figures")
}

/// Memory of each process.
pub(crate) fn measure_memory(processes: &[(&str, &Watched)], report: &mut Report) -> Result<()> {
    for (name, process) in processes {
        report.tell(&format!("{name}: resident memory"), resident(process.id())?, "MB");
        report.tell(&format!("{name}: PSS"), proportional(process.id())?, "MB");
    }
    Ok(())
}
