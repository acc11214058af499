// SPDX-License-Identifier: GPL-3.0-or-later
//! A program that is run for each event. Another process runs it, which was there before the sandbox: see
//! [`crate::runner`].

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{ChildStdin, ChildStdout};
use std::time::Duration;

use anyhow::Context;
use leco_core::batch::notify::{Notice, Outlet};
use rustix::io::{Errno, ioctl_fionbio, read};

use crate::report::report;
use crate::runner;

/// Events that wait for the program.
const QUEUE: usize = 64;

/// Hands events over, one at a time.
pub(crate) struct Exec {
    events: ChildStdin,
    /// A byte comes when the program has ended.
    ended: ChildStdout,
    is_running: bool,
    queue: VecDeque<String>,
    /// Whether what comes waits until there is room, but for what was on its way.
    is_waited_for: bool,
    /// Events for which the queue had no room, since it was last said.
    fallen: u64,
}

impl Exec {
    pub(crate) fn start(
        command: &[OsString],
        time_limit: Duration,
        is_waited_for: bool,
    ) -> anyhow::Result<Self> {
        let (events, ended) = runner::start(command, time_limit)?;
        ioctl_fionbio(&ended, true).context("cannot wait for programs")?;
        Ok(Self { events, ended, is_running: false, queue: VecDeque::new(), is_waited_for, fallen: 0 })
    }

    /// Whether the program has ended since the last look.
    fn has_ended(&self) -> io::Result<bool> {
        match read(&self.ended, &mut [0; 1]) {
            Ok(0) => Err(io::Error::other("the process that runs the program has ended")),
            Ok(_) => Ok(true),
            Err(Errno::AGAIN | Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl Outlet for Exec {
    fn take(&mut self, notice: Notice) {
        if self.is_waited_for || self.has_room() {
            self.queue.push_back(notice.json);
        } else {
            self.fallen += 1;
        }
    }

    fn has_room(&self) -> bool {
        self.queue.len() < QUEUE
    }

    fn work(&mut self) -> io::Result<Option<Duration>> {
        if self.has_ended()? {
            self.is_running = false;
        }
        if !self.is_running {
            let fallen = std::mem::take(&mut self.fallen);
            if fallen > 0 {
                report(format_args!(
                    "{fallen} event{} lost: {QUEUE} wait for the program already",
                    if fallen == 1 { "" } else { "s" }
                ));
            }
            if let Some(mut event) = self.queue.pop_front() {
                event.push('\n');
                // It is waited for by the one that reads.
                self.events.write_all(event.as_bytes())?;
                self.is_running = true;
            }
        }
        Ok(None)
    }

    fn fds(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.ended.as_fd()]
    }

    fn is_done(&self) -> bool {
        !self.is_running && self.queue.is_empty()
    }
}
