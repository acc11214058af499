// SPDX-License-Identifier: GPL-3.0-or-later
//! Words for a person, on standard output and standard error.
//!
//! Words that cannot be said are left out: `println!` and `eprintln!` panic where the reader has left, the disk is full
//! or the terminal is gone, and so would end what the words are only about. What a program is run for, such as events,
//! is written with its errors looked at instead.

use std::fmt::Display;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitCode;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::start;

/// Writes a line to standard output.
pub fn out(words: impl Display) {
    line_to(io::stdout().lock(), &words);
}

/// How a program ends that was asked for words alone, such as its help: what could not be written is told on standard
/// error under its name. A reader that has seen enough is no failure.
pub fn instead_of_running(
    program: &str,
    is_failure: bool,
    code: u8,
    print: impl FnOnce() -> io::Result<()>,
) -> ExitCode {
    if is_failure {
        // There is nowhere else to tell it.
        let _ = print();
        return ExitCode::from(code);
    }
    match asked(|_| print()) {
        Ok(()) => ExitCode::from(code),
        Err(error) => {
            err(format_args!("{program}: cannot write to standard output: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Bytes that are written at once where very much is asked for.
const MANY_LINES: usize = 64 << 10;

/// Writes to standard output what was asked for: unlike other words it may not be left out without an error. A reader
/// that has seen enough is none.
pub fn asked(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    start::has_stdout()?;
    let mut out = io::BufWriter::with_capacity(MANY_LINES, io::stdout());
    let written = write(&mut out).and_then(|()| out.flush());
    written.or_else(|error| if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })
}

/// Writes a line to standard error.
pub fn err(words: impl Display) {
    line_to(io::stderr().lock(), &words);
}

/// Whether nobody can read what is written any more: the pipe's reader has left, or the terminal is gone.
#[must_use]
pub fn is_gone(out: impl AsFd) -> bool {
    let mut fds = [waits_for_end(&out)];
    poll(&mut fds, Some(&Timespec::default())).is_ok() && has_ended(&fds[0])
}

/// Waits for the same, in a poll for other things: the kernel reports it without being asked to.
#[must_use]
pub fn waits_for_end(out: &impl AsFd) -> PollFd<'_> {
    PollFd::new(out, PollFlags::empty())
}

/// Whether that has come.
#[must_use]
pub fn has_ended(out: &PollFd<'_>) -> bool {
    out.revents().intersects(PollFlags::HUP | PollFlags::ERR)
}

/// Sleeps until something can be read, or nobody can read any more what is written; whether that is so.
pub fn wait_for_input<'a>(from: impl Iterator<Item = BorrowedFd<'a>>, out: &impl AsFd) -> io::Result<bool> {
    wait_for_input_within(from, out, None)
}

/// The same for so long at most.
pub fn wait_for_input_within<'a>(
    from: impl Iterator<Item = BorrowedFd<'a>>,
    out: &impl AsFd,
    time: Option<Duration>,
) -> io::Result<bool> {
    let mut fds = vec![waits_for_end(out)];
    fds.extend(from.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
    let time = time.and_then(|time| Timespec::try_from(time).ok());
    match poll(&mut fds, time.as_ref()) {
        Ok(_) => Ok(has_ended(&fds[0])),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// One write, so that lines of programs that share a file do not mix.
fn line_to(mut file: impl Write, words: &impl Display) {
    let line = format!("{words}\n");
    let _ = file.write_all(line.as_bytes()).and_then(|()| file.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes whole lines, or none at all.
    struct File<'a>(Option<&'a mut Vec<Vec<u8>>>);

    impl Write for File<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let lines = self.0.as_mut().ok_or(io::ErrorKind::StorageFull)?;
            lines.push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_left_is_noticed() {
        let (reader, writer) = io::pipe().unwrap();
        let (quiet, _other) = io::pipe().unwrap();
        assert!(!is_gone(&writer));
        drop(reader);
        assert!(is_gone(&writer));
        assert!(wait_for_input([quiet.as_fd()].into_iter(), &writer).unwrap());
    }

    #[test]
    fn a_line_is_written_at_once_or_left_out() {
        let mut lines = Vec::new();
        line_to(File(Some(&mut lines)), &format_args!("{} of {}", 1, 2));
        assert_eq!(lines, [b"1 of 2\n"]);
        line_to(File(None), &"lost");
    }
}
