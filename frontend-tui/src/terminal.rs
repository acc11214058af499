// SPDX-License-Identifier: GPL-3.0-or-later
//! The terminal on standard output: taken, drawn on in a size within reason, given back, and gone.

use std::fmt;
use std::io::{self, IsTerminal, Stdout, stdin, stdout};
use std::os::fd::{AsFd, BorrowedFd};

use crossterm::cursor::Show;
use crossterm::event::{DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste};
use crossterm::terminal::{
    EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use crossterm::{Command, execute};
use leco_os::say;
use ratatui::backend::{Backend, ClearType, CrosstermBackend, WindowSize};
use ratatui::buffer::Cell;
use ratatui::layout::{Position, Size};
use rustix::process::getpgrp;
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, tcdrain, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr,
};
use termini::{NumberCapability, StringCapability, TermInfo};

/// No more is drawn, at the upper left: two cells for each (some 100 MB) are kept. An 8K monitor has fewer in any font
/// that can be read, but anybody can set a terminal to 65535×65535.
const LARGEST: Size = Size { width: 2000, height: 500 };
/// Where nothing says more.
const USUAL: Size = Size { width: 80, height: 24 };

/// A terminal that is drawn on.
pub type Terminal = ratatui::Terminal<Tty>;

/// The size of a terminal that does not know its own, as a serial line: from `COLUMNS` and `LINES`, else its entry in
/// terminfo, else 80×24.
#[must_use]
pub fn assumed_size(columns: Option<&str>, lines: Option<&str>, entry: Option<&TermInfo>) -> Size {
    let side = |variable: Option<&str>, capability, usual: u16| {
        let named = variable.and_then(|text| text.trim().parse().ok());
        let known = || entry?.number_cap(capability).and_then(|number| u16::try_from(number).ok());
        named.filter(|&side| side > 0).or_else(|| known().filter(|&side| side > 0)).unwrap_or(usual)
    };
    Size {
        width: side(columns, NumberCapability::Columns, USUAL.width),
        height: side(lines, NumberCapability::Lines, USUAL.height),
    }
}

/// What is drawn on a terminal that says it has this size.
fn drawn(reported: Size, assumed: Size) -> Size {
    let side =
        |reported: u16, assumed, largest: u16| largest.min(if reported == 0 { assumed } else { reported });
    Size {
        width: side(reported.width, assumed.width, LARGEST.width),
        height: side(reported.height, assumed.height, LARGEST.height),
    }
}

/// Whether it can be drawn on: one that only prints cannot move its cursor. An unknown one can, as nearly all do.
#[must_use]
pub fn can_be_drawn_on(term: Option<&str>, entry: Option<&TermInfo>) -> bool {
    let moves = |entry: &TermInfo| entry.raw_string_cap(StringCapability::CursorAddress).is_some();
    term != Some("dumb") && entry.is_none_or(moves)
}

/// Which terminal it is: standard input is another file where events come from it.
fn tty() -> BorrowedFd<'static> {
    static IN_AND_OUT: std::sync::LazyLock<(io::Stdin, Stdout)> =
        std::sync::LazyLock::new(|| (stdin(), stdout()));
    let (input, output) = &*IN_AND_OUT;
    if input.is_terminal() { input.as_fd() } else { output.as_fd() }
}

/// Whether another job has it. One that is not of this session has no jobs.
#[must_use]
pub fn is_of_another_job() -> bool {
    tcgetpgrp(tty()).is_ok_and(|job| job != getpgrp())
}

/// Waits until this job has the terminal. Before, nothing may be written to it, asked of it or changed in it.
pub fn wait_until_ours() -> io::Result<()> {
    if is_of_another_job() {
        // The kernel stops a job that does this without having the terminal, so that the shell tells of it; fg lets it
        // go on. Unlike tcsetattr it changes nothing.
        tcdrain(tty())?;
    }
    Ok(())
}

/// Takes the terminal: keys come one by one, and what was on the screen is kept.
pub fn take(assumed: Size, with_mouse: bool) -> io::Result<Terminal> {
    let tty = Tty { backend: CrosstermBackend::new(stdout()), assumed, with_mouse };
    enter(with_mouse)?;
    Terminal::new(tty).inspect_err(|_| give_back())
}

/// Takes it again, with everything on it, after it was given back.
pub fn take_again(terminal: &mut Terminal) -> io::Result<()> {
    enter(terminal.backend().with_mouse)?;
    terminal.clear()
}

/// The same after another program had it without it being given back.
pub fn recover(terminal: &mut Terminal) -> io::Result<()> {
    wait_until_ours()?;
    give_back();
    take_again(terminal)
}

fn enter(with_mouse: bool) -> io::Result<()> {
    wait_until_ours()?;
    enable_raw_mode()?;
    let entered =
        keep_stop_key().and_then(|()| execute!(stdout(), EnterAlternateScreen, EnableBracketedPaste));
    entered.inspect_err(|_| give_back())?;
    // Where the mouse cannot be had, keys do all of it.
    if with_mouse {
        let _ = execute!(stdout(), EnableMouse);
    }
    Ok(())
}

/// Of the keys that are signals the one that stops remains: the kernel stops all of the job by it, what feeds standard
/// input included, which the sandbox keeps us from.
fn keep_stop_key() -> io::Result<()> {
    // That of a key that does nothing: _POSIX_VDISABLE of the kernel's asm/termbits.h.
    const DISABLED: u8 = 0;
    let mut modes = tcgetattr(tty())?;
    // Without NOFLSH half a frame would be thrown away.
    modes.local_modes |= LocalModes::ISIG | LocalModes::NOFLSH;
    modes.special_codes[SpecialCodeIndex::VINTR] = DISABLED;
    modes.special_codes[SpecialCodeIndex::VQUIT] = DISABLED;
    Ok(tcsetattr(tty(), OptionalActions::Now, &modes)?)
}

/// Gives it back. One that is gone, or that another job has, cannot be given back, and there is nobody to be reported.
pub fn give_back() {
    if is_of_another_job() {
        return;
    }
    let _ = execute!(
        stdout(),
        EndSynchronizedUpdate,
        DisableMouseCapture,
        DisableBracketedPaste,
        LeaveAlternateScreen,
        Show
    );
    let _ = disable_raw_mode();
}

/// Reports presses, the wheel and motion with a button held (1002) in cells of any number (1006). crossterm's own command
/// asks for all motion, too (1003).
struct EnableMouse;

impl Command for EnableMouse {
    fn write_ansi(&self, out: &mut impl fmt::Write) -> fmt::Result {
        out.write_str("\x1b[?1000h\x1b[?1002h\x1b[?1006h")
    }
}

/// Whether it is gone: its window closed, its connection lost.
#[must_use]
pub fn is_gone() -> bool {
    say::is_gone(stdout())
}

/// Draws as crossterm does, on no more than can be meant.
#[derive(Debug)]
pub struct Tty {
    backend: CrosstermBackend<Stdout>,
    assumed: Size,
    with_mouse: bool,
}

impl Backend for Tty {
    type Error = io::Error;

    fn draw<'a, I: Iterator<Item = (u16, u16, &'a Cell)>>(&mut self, content: I) -> io::Result<()> {
        self.backend.draw(content)
    }

    fn append_lines(&mut self, count: u16) -> io::Result<()> {
        self.backend.append_lines(count)
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        self.backend.hide_cursor()
    }

    /// A destructor of ratatui calls it and panics where its failure cannot be printed; the drawing thread finds out anyway.
    fn show_cursor(&mut self) -> io::Result<()> {
        let _ = self.backend.show_cursor();
        Ok(())
    }

    /// Asks nobody, as the answer would have to be read among keys. Only for what is cleared it matters, and each frame
    /// puts the cursor where it belongs.
    fn get_cursor_position(&mut self) -> io::Result<Position> {
        Ok(Position::ORIGIN)
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        self.backend.set_cursor_position(position)
    }

    fn clear(&mut self) -> io::Result<()> {
        self.backend.clear()
    }

    fn clear_region(&mut self, kind: ClearType) -> io::Result<()> {
        self.backend.clear_region(kind)
    }

    /// Asks the kernel, and nobody else: crossterm would start `tput` where that fails.
    fn size(&self) -> io::Result<Size> {
        let reported = tcgetwinsize(stdout())?;
        Ok(drawn(Size { width: reported.ws_col, height: reported.ws_row }, self.assumed))
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize { columns_rows: self.size()?, pixels: Size::default() })
    }

    fn flush(&mut self) -> io::Result<()> {
        Backend::flush(&mut self.backend)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_prints_is_not_drawn_on() {
        // term(5): a name, no numbers, and strings, of which the eleventh (10) moves the cursor.
        let entry = |has_cup: bool| {
            let header = [0o432_i16, 2, 0, 0, 11, 4];
            let mut bytes: Vec<u8> = header.into_iter().flat_map(i16::to_le_bytes).collect();
            bytes.extend(b"t\0");
            let mut strings = [-1_i16; 11];
            strings[10] = if has_cup { 0 } else { -1 };
            bytes.extend(strings.into_iter().flat_map(i16::to_le_bytes));
            bytes.extend(b"cup\0");
            TermInfo::parse(&*bytes).unwrap()
        };
        assert!(can_be_drawn_on(Some("t"), Some(&entry(true))));
        assert!(!can_be_drawn_on(Some("t"), Some(&entry(false))));
        assert!(!can_be_drawn_on(Some("dumb"), None));
        assert!(can_be_drawn_on(Some("newest"), None) && can_be_drawn_on(None, None));
    }

    #[test]
    fn a_size_that_is_not_known_is_assumed() {
        assert_eq!(assumed_size(None, None, None), USUAL);
        assert_eq!(assumed_size(Some("132"), Some(" 43 "), None), Size { width: 132, height: 43 });
        for odd in ["", "0", "-1", "65536", "x"] {
            assert_eq!(assumed_size(Some(odd), Some(odd), None), USUAL, "{odd:?}");
        }
        // term(5): a name, and the first three numbers, of which the second one is of tabs.
        let mut bytes: Vec<u8> = [0o432_i16, 8, 0, 3, 0, 0].into_iter().flat_map(i16::to_le_bytes).collect();
        bytes.extend(b"console\0");
        bytes.extend([132_i16, 8, 50].into_iter().flat_map(i16::to_le_bytes));
        let entry = TermInfo::parse(&*bytes).unwrap();
        assert_eq!(assumed_size(None, None, Some(&entry)), Size { width: 132, height: 50 });
        assert_eq!(assumed_size(Some("100"), None, Some(&entry)), Size { width: 100, height: 50 });
    }

    #[test]
    fn what_is_drawn_has_an_end() {
        let size = |width, height| Size { width, height };
        assert_eq!(drawn(size(0, 0), size(100, 30)), size(100, 30));
        assert_eq!(drawn(size(0, 7), size(100, 30)), size(100, 7));
        assert_eq!(drawn(size(1, u16::MAX), USUAL), size(1, LARGEST.height));
        assert_eq!(drawn(size(0, 0), size(u16::MAX, u16::MAX)), LARGEST);
    }
}
