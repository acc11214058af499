// SPDX-License-Identifier: GPL-3.0-or-later
//! Drawing one line, which most of a screen consists of.

use ratatui::buffer::{Buffer, CellWidth};
use ratatui::layout::Rect;
use ratatui::text::Line;

/// Draws a line, with each part where the one before it ends, as a paragraph of one line does: a line as a widget takes a
/// part for as wide as a terminal that joins Arabic letters would draw it. It begins at the left, whatever its alignment.
pub(crate) fn draw(buffer: &mut Buffer, area: Rect, line: &Line<'_>) {
    let area = area.intersection(buffer.area);
    buffer.set_style(area, line.style);
    if area.is_empty() {
        return;
    }
    let (mut x, y) = (area.left(), area.top());
    for span in &line.spans {
        // In most parts each byte is a cell, and nothing has to be found out.
        if span.content.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            let style = line.style.patch(span.style);
            for (at, byte) in (x..area.right()).zip(span.content.bytes()) {
                buffer[(at, y)].set_char(byte.into()).set_style(style);
                x = at + 1;
            }
            continue;
        }
        for grapheme in span.styled_graphemes(line.style) {
            let width = grapheme.symbol.cell_width();
            if width == 0 || width > area.width {
                continue;
            }
            if width > area.right() - x {
                return;
            }
            buffer[(x, y)].set_symbol(grapheme.symbol).set_style(grapheme.style);
            x += width;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ratatui::buffer::Cell;
    use ratatui::style::{Color, Modifier, Style};
    use ratatui::text::Span;
    use ratatui::widgets::{Paragraph, Widget};

    use super::*;

    fn style() -> impl Strategy<Value = Style> {
        let color = || proptest::option::of(any::<u8>().prop_map(Color::Indexed));
        (color(), color(), any::<bool>(), any::<bool>()).prop_map(|(fg, bg, is_bold, is_plain)| {
            let style = Style { fg, bg, ..Style::default() };
            let style = if is_bold { style.add_modifier(Modifier::BOLD) } else { style };
            if is_plain { style.remove_modifier(Modifier::REVERSED) } else { style }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_line_is_drawn_as_a_paragraph_is(
            spans in proptest::collection::vec(
                (prop_oneof![3 => "[ -~]{0,12}", 1 => "[ -~\u{2580}-\u{259f}…ẞ日本語\u{301}\u{200b}ﾞسلا👍]{0,8}", 1 => "\\PC{0,6}"], style()),
                0..6,
            ),
            own in style(),
            (left, width, height) in (0_u16..5, 0_u16..40, 0_u16..3),
        ) {
            let spans = spans.into_iter().map(|(text, style)| Span::styled(text, style));
            let line = Line::from(spans.collect::<Vec<_>>()).style(own);
            let area = Rect::new(left, 0, width, height);
            let mut drawn = Buffer::filled(Rect::new(0, 0, 30, 2), Cell::new("x"));
            let mut expected = drawn.clone();
            draw(&mut drawn, area, &line);
            Paragraph::new(line).style(own).render(area, &mut expected);
            prop_assert_eq!(drawn, expected);
        }
    }
}
