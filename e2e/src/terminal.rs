// SPDX-License-Identifier: GPL-3.0-or-later
//! A pseudo-terminal, and what a terminal emulator would show of it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

const DEADLINE: Duration = Duration::from_secs(20);

/// A terminal of a test's own, which is read by whoever waits for something on it.
pub struct Terminal {
    emulator: vt100::Parser,
    ours: File,
    theirs: File,
}

impl Terminal {
    /// Opens one of this size.
    pub fn open(columns: u16, rows: u16) -> Result<Self> {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        let name = ptsname(&ours, Vec::new())?;
        let path = std::path::Path::new(std::ffi::OsStr::from_bytes(name.as_bytes()));
        let mut options = OpenOptions::new();
        // It is the terminal of whoever is started on it, not ours.
        options.read(true).write(true).custom_flags(OFlags::NOCTTY.bits().cast_signed());
        let theirs = options.open(path).context("the terminal's end")?;
        let emulator = vt100::Parser::new(rows.try_into()?, columns.try_into()?, 0);
        let mut this = Self { emulator, ours: ours.into(), theirs };
        this.resize(columns, rows)?;
        Ok(this)
    }

    /// Changes its size.
    pub fn resize(&mut self, columns: u16, rows: u16) -> Result<()> {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.theirs, size)?;
        self.emulator.screen_mut().set_size(rows.try_into()?, columns.try_into()?);
        Ok(())
    }

    /// The command with this terminal as its input and outputs.
    pub fn attach(&self, mut command: Command) -> Result<Command> {
        let end = || self.theirs.try_clone();
        command.stdin(end()?).stdout(end()?).stderr(end()?);
        Ok(command)
    }

    /// The screen's text.
    #[must_use]
    pub fn screen(&self) -> String {
        self.emulator.screen().contents()
    }

    /// Types bytes.
    pub fn press(&mut self, keys: &[u8]) -> Result<()> {
        Ok(self.ours.write_all(keys)?)
    }

    /// Waits until the text is on the screen; returns when that was.
    pub fn wait_for(&mut self, text: &str) -> Result<Instant> {
        self.wait_until(text, |screen| screen.contains(text))
    }

    /// Waits until the screen is as it has to be; returns when that was.
    pub fn wait_until(&mut self, what: &str, is_there: impl Fn(&str) -> bool) -> Result<Instant> {
        let start = Instant::now();
        let mut buffer = [0; 16 << 10];
        loop {
            if is_there(&self.emulator.screen().contents()) {
                return Ok(Instant::now());
            }
            let left = DEADLINE.saturating_sub(start.elapsed());
            let mut fds = [PollFd::new(&self.ours, PollFlags::IN)];
            if left.is_zero() || poll(&mut fds, Some(&Timespec::try_from(left)?))? == 0 {
                bail!("waited in vain for {what:?}, the screen is:\n{}", self.emulator.screen().contents());
            }
            let count = self.ours.read(&mut buffer)?;
            self.emulator.process(&buffer[..count]);
        }
    }

    /// Takes what was drawn so far, so that the terminal's buffer never stops the view.
    pub fn drain(&mut self, time: Duration) -> Result<()> {
        self.watch(time, |_| {})
    }

    /// Takes what is drawn for so long, and looks at the screen after each part of it.
    pub fn watch(&mut self, time: Duration, mut look: impl FnMut(&Self)) -> Result<()> {
        let start = Instant::now();
        let mut buffer = [0; 16 << 10];
        while let Some(left) = time.checked_sub(start.elapsed()) {
            let mut fds = [PollFd::new(&self.ours, PollFlags::IN)];
            if poll(&mut fds, Some(&Timespec::try_from(left)?))? > 0 {
                let count = self.ours.read(&mut buffer)?;
                self.emulator.process(&buffer[..count]);
                look(self);
            }
        }
        Ok(())
    }
}
