// SPDX-License-Identifier: GPL-3.0-or-later
//! The terminal on standard output: taken, drawn on in a size within reason, given back, and gone.

use std::io::{self, Stdout, stdout};

use crossterm::cursor::Show;
use crossterm::event::{DisableMouseCapture, EnableMouseCapture};
use crossterm::execute;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use leco_os::say;
use ratatui::backend::{Backend, ClearType, CrosstermBackend, WindowSize};
use ratatui::buffer::Cell;
use ratatui::layout::{Position, Size};
use rustix::termios::tcgetwinsize;
use termini::{NumberCapability, TermInfo};

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

/// Takes the terminal: keys come one by one, and what was on the screen is kept.
pub fn take(assumed: Size, with_mouse: bool) -> io::Result<Terminal> {
    enable_raw_mode()?;
    let tty = Tty { backend: CrosstermBackend::new(stdout()), assumed };
    let terminal = execute!(stdout(), EnterAlternateScreen).and_then(|()| Terminal::new(tty));
    let terminal = terminal.inspect_err(|_| give_back())?;
    // Where the mouse cannot be had, keys do all of it.
    if with_mouse {
        let _ = execute!(stdout(), EnableMouseCapture);
    }
    Ok(terminal)
}

/// Gives it back. One that is gone cannot be given back, and there is nobody to be reported.
pub fn give_back() {
    let _ = execute!(stdout(), DisableMouseCapture, LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
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

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        self.backend.get_cursor_position()
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
