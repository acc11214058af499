// SPDX-License-Identifier: GPL-3.0-or-later
//! Characters of which terminals disagree how wide they are: joined emoji, clusters of Indic scripts, emoji that are newer
//! than a terminal. One that makes them wider draws over what stands beside them.

use std::io::{self, Write};

use crossterm::cursor::{MoveTo, RestorePosition, SavePosition};
use crossterm::queue;
use crossterm::style::ResetColor;
use crossterm::terminal::{Clear, ClearType};
use ratatui::backend::Backend;
use ratatui::buffer::{Buffer, Cell, CellWidth};
use unicode_width::UnicodeWidthChar;

/// Rows that held such characters when they were drawn last.
#[derive(Debug, Default)]
pub(crate) struct Disputed {
    rows: Vec<u16>,
}

/// A row with such characters, or one that had them: each cell that begins something, with where it stands.
pub(crate) type Row = (u16, Vec<(u16, Cell)>);

impl Disputed {
    /// The rows of a screen that have to be drawn again, each as a whole.
    pub(crate) fn rows(&mut self, screen: &Buffer) -> Vec<Row> {
        let area = screen.area;
        let of_row = |y: u16| (area.left()..area.right()).map(move |x| (x, &screen[(x, y)]));
        let before = std::mem::take(&mut self.rows);
        self.rows = (area.top()..area.bottom())
            .filter(|y| of_row(*y).any(|(_, cell)| is_disputed(cell.symbol())))
            .collect();
        let again = (area.top()..area.bottom()).filter(|y| self.rows.contains(y) || before.contains(y));
        let cells = |y: u16| {
            let mut next = area.left();
            let begins = |(x, cell): &(u16, &Cell)| {
                let is_begin = *x >= next;
                if is_begin {
                    next = x + cell.symbol().cell_width().max(1);
                }
                is_begin
            };
            of_row(y).filter(begins).map(|(x, cell)| (x, cell.clone())).collect()
        };
        again.map(|y| (y, cells(y))).collect()
    }
}

/// Draws rows from their begin, and puts the cursor in its place behind each character that may have moved it elsewhere.
pub(crate) fn draw_again<B: Backend<Error = io::Error>>(
    rows: &[Row],
    backend: &mut B,
    out: &mut impl Write,
) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    queue!(out, SavePosition)?;
    for (y, cells) in rows {
        queue!(out, MoveTo(0, *y), ResetColor, Clear(ClearType::CurrentLine))?;
        out.flush()?;
        for part in cells.split_inclusive(|(_, cell)| is_disputed(cell.symbol())) {
            backend.draw(part.iter().map(|(x, cell)| (*x, *y, cell)))?;
        }
        backend.flush()?;
    }
    queue!(out, RestorePosition)?;
    out.flush()
}

/// Of one character with marks over or under it, and of older single ones, they agree.
fn is_disputed(symbol: &str) -> bool {
    if symbol.len() == 1 {
        return false;
    }
    let mut characters = symbol.chars();
    let first = characters.next().unwrap_or(' ');
    // Emoji have been added to this block every year.
    first >= '\u{1f000}'
        || first.width().is_none_or(|width| width == 0)
        || characters.any(|mark| !('\u{300}'..='\u{36f}').contains(&mark))
}

#[cfg(test)]
mod tests {
    use ratatui::layout::Rect;
    use ratatui::style::Style;

    use super::*;

    #[test]
    fn what_terminals_agree_on_is_drawn_once() {
        for text in ["", "a", " ", "é", "e\u{301}", "日", "…", "│", "▁"] {
            assert!(!is_disputed(text), "{text}");
        }
        for text in ["👨‍👩‍👧", "ब्रा", "❤️", "🇩🇪", "👍", "1️⃣", "\u{1100}\u{1161}"]
        {
            assert!(is_disputed(text), "{text}");
        }
    }

    #[test]
    fn a_row_is_drawn_as_a_whole_while_it_has_them_and_once_afterwards() {
        let mut disputed = Disputed::default();
        let mut screen = Buffer::empty(Rect::new(0, 0, 8, 3));
        screen.set_string(0, 0, "abc", Style::new());
        assert!(disputed.rows(&screen).is_empty());
        screen.set_string(1, 1, "👨‍👩‍👧x日y", Style::new());
        let rows = disputed.rows(&screen);
        let places: Vec<u16> = rows[0].1.iter().map(|(x, _)| *x).collect();
        assert_eq!((rows.len(), rows[0].0, places), (1, 1, vec![0, 1, 3, 4, 6, 7]));
        let screen = Buffer::empty(screen.area);
        assert_eq!(disputed.rows(&screen).len(), 1);
        assert!(disputed.rows(&screen).is_empty());
    }
}
