// SPDX-License-Identifier: GPL-3.0-or-later
//! Drawing one line, which most of a screen consists of.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, Widget};

/// Draws a line with each part where the one before it ends: a line as a widget takes a part for as wide as a terminal
/// that joins Arabic letters would draw it.
pub(crate) fn draw(buffer: &mut Buffer, area: Rect, line: Line<'_>) {
    if line.alignment.is_none() && line.spans.iter().all(|span| is_plain(&span.content)) {
        draw_plain(buffer, area, &line);
    } else {
        let style = line.style;
        Paragraph::new(line).style(style).render(area, buffer);
    }
}

/// Whether each byte is a cell.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// The same where nothing has to be found out of the text: in a third of the time.
fn draw_plain(buffer: &mut Buffer, area: Rect, line: &Line<'_>) {
    let area = area.intersection(buffer.area);
    buffer.set_style(area, line.style);
    if area.is_empty() {
        return;
    }
    let cells = line.spans.iter().flat_map(|span| {
        let style = line.style.patch(span.style);
        span.content.bytes().map(move |byte| (byte, style))
    });
    for (x, (byte, style)) in (area.left()..area.right()).zip(cells) {
        if let Some(cell) = buffer.cell_mut((x, area.top())) {
            cell.set_char(byte.into()).set_style(style);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ratatui::style::{Color, Modifier, Style};
    use ratatui::text::Span;

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
        fn a_plain_line_is_drawn_as_any_other(
            spans in proptest::collection::vec(("[ -~]{0,12}", style()), 0..6),
            own in style(),
            (left, width, height) in (0_u16..5, 0_u16..40, 0_u16..3),
        ) {
            let spans = spans.into_iter().map(|(text, style)| Span::styled(text, style));
            let line = Line::from(spans.collect::<Vec<_>>()).style(own);
            let area = Rect::new(left, 0, width, height);
            let screen = Rect::new(0, 0, 30, 2);
            let (mut plain, mut any) = (Buffer::filled(screen, ratatui::buffer::Cell::new("x")), Buffer::empty(screen));
            any.clone_from(&plain);
            draw_plain(&mut plain, area, &line);
            Paragraph::new(line).style(own).render(area, &mut any);
            prop_assert_eq!(plain, any);
        }
    }
}
