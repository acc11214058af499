// SPDX-License-Identifier: GPL-3.0-or-later
//! Cells of a terminal that texts take, as they are drawn: by what a person sees as one character.

use ratatui::buffer::CellWidth;
use unicode_segmentation::UnicodeSegmentation;

/// What takes room on a line.
pub(crate) trait Width {
    /// Cells that it takes.
    fn width(&self) -> usize;
}

impl Width for str {
    fn width(&self) -> usize {
        // Most texts are, and a list measures a thousand lines at once.
        if self.is_ascii() {
            return self.bytes().filter(|byte| !byte.is_ascii_control()).count();
        }
        graphemes(self).map(|(_, _, cells)| cells).sum()
    }
}

/// Each character as a person sees it, with where it stands and the cells it takes.
pub(crate) fn graphemes(text: &str) -> impl DoubleEndedIterator<Item = (usize, &str, usize)> {
    text.grapheme_indices(true).map(|(at, grapheme)| {
        // Control characters are not drawn.
        let cells = if grapheme.contains(char::is_control) { 0 } else { grapheme.cell_width() };
        (at, grapheme, cells.into())
    })
}

#[cfg(test)]
mod tests {
    use ratatui::buffer::Buffer;
    use ratatui::layout::Rect;
    use ratatui::style::Style;

    use super::*;

    #[test]
    fn a_text_is_as_wide_as_it_is_drawn() {
        for text in [
            "",
            "abc",
            "日本",
            "❤️❤️.py",
            "👨‍👩‍👧",
            "🇩🇪",
            "1️⃣",
            "e\u{301}",
            "\u{1100}\u{1161}\u{11a8}",
            "لا",
            "ﾊﾟ",
            "a\u{7}b",
        ] {
            let mut buffer = Buffer::empty(Rect::new(0, 0, 20, 1));
            let (end, _) = buffer.set_stringn(0, 0, text, 20, Style::new());
            assert_eq!(text.width(), usize::from(end), "{text:?}");
        }
    }
}
