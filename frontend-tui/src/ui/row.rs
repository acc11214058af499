// SPDX-License-Identifier: GPL-3.0-or-later
//! One line on the screen.

use leco_core::model::overseer::Row;
use leco_core::model::traffic::BUCKETS;
use leco_core::text::{Part, SEPARATOR, bytes};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use crate::ui::columns::Columns;
use crate::ui::theme::Theme;

/// Cells of a rate, as in ` 1023.9K/s`.
const RATE_WIDTH: usize = 10;
/// Bytes a second from which on a line's traffic is bold.
const MUCH: u64 = 1 << 20;

/// What stands right of the parts of a line, where there is room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Margin {
    rate: bool,
    history: bool,
}

impl Margin {
    /// What fits beside columns of this width.
    pub(crate) fn fit(columns: usize, width: usize) -> Self {
        let rate = columns + RATE_WIDTH <= width;
        Self { rate, history: rate && columns + RATE_WIDTH + BUCKETS + 2 <= width }
    }

    fn width(self) -> usize {
        usize::from(self.rate) * RATE_WIDTH + usize::from(self.history) * (BUCKETS + 2)
    }
}

/// How a line is marked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Marks<'m> {
    /// It is selected.
    pub(crate) is_selected: bool,
    /// What is looked for, in lower case.
    pub(crate) search: &'m str,
}

/// Cells before the parts of a line: the mark and the tag.
pub(crate) fn lead_width(row: &Row) -> usize {
    let tag = row.tag.text.width();
    tag + 3
}

/// A line within a width.
pub(crate) fn line<'r>(
    row: &'r Row,
    columns: &Columns,
    margin: Margin,
    marks: Marks<'_>,
    theme: Theme,
    (now, width): (u64, usize),
) -> Line<'r> {
    let theme = theme.of_row(row);
    let mut spans = vec![Span::raw(if marks.is_selected { ">" } else { " " })];
    lead(row, theme, &mut spans);
    parts(row, columns, theme, &mut spans);
    if !marks.search.is_empty() {
        spans = highlight(spans, marks.search);
    }
    let used: usize = spans.iter().map(Span::width).sum();
    if row.traffic.is_lively(now) && used + margin.width() <= width && margin.rate {
        spans.push(Span::raw(" ".repeat(width - used - margin.width())));
        rates(row, margin, theme, now, &mut spans);
    }
    let style = theme.background(row.alpha);
    Line::from(spans).style(if marks.is_selected { style.add_modifier(Modifier::UNDERLINED) } else { style })
}

/// The tag, and the mark of what is new.
fn lead<'r>(row: &'r Row, theme: Theme, spans: &mut Vec<Span<'r>>) {
    if !row.tag.text.is_empty() {
        let mut style = theme.tag(row.tag.rgb, row.alpha);
        if row.is_first_ever {
            style = style.add_modifier(Modifier::REVERSED);
        }
        spans.push(Span::styled(row.tag.text.as_str(), style));
    }
    // A state is never told by colour alone.
    spans.push(Span::styled(if row.is_first_ever { "+ " } else { "  " }, theme.text(row.alpha)));
}

/// The parts of the line, in columns where they fit.
fn parts<'r>(row: &'r Row, columns: &Columns, theme: Theme, spans: &mut Vec<Span<'r>>) {
    if let Some(parts) = columns.align(&row.text) {
        for (text, part, padding) in parts {
            part_spans(text, part, row.alpha, theme, spans);
            spans.push(Span::raw(" ".repeat(padding)));
        }
        return;
    }
    for (index, text) in row.text.split(SEPARATOR).enumerate() {
        if index > 0 {
            spans.push(Span::styled(SEPARATOR, theme.faint(row.alpha)));
        }
        part_spans(text, Part::at(index), row.alpha, theme, spans);
    }
}

/// Bytes a second, and those of the latest seconds.
fn rates(row: &Row, margin: Margin, theme: Theme, now: u64, spans: &mut Vec<Span<'_>>) {
    let rate = row.traffic.rate(now).total();
    let text = if rate > 0 { format!("{}/s", bytes(rate)) } else { String::new() };
    let style = theme.text(row.alpha);
    let style = if rate >= MUCH { style.add_modifier(Modifier::BOLD) } else { style };
    spans.push(Span::styled(format!("{text:>RATE_WIDTH$}"), style));
    if margin.history {
        let history = format!("  {}", sparkline(&row.traffic.history(now)));
        spans.push(Span::styled(history, theme.faint(row.alpha)));
    }
}

fn part_spans<'r>(text: &'r str, part: Part, alpha: u8, theme: Theme, spans: &mut Vec<Span<'r>>) {
    let (text, faint) = part.split(text);
    let styled = [(text, theme.text(alpha)), (faint, theme.faint(alpha))];
    spans.extend(styled.into_iter().filter(|(text, _)| !text.is_empty()).map(|(t, s)| Span::styled(t, s)));
}

/// Marks each place where what is looked for stands within one span.
fn highlight<'r>(spans: Vec<Span<'r>>, search: &str) -> Vec<Span<'r>> {
    let mut marked = Vec::with_capacity(spans.len());
    for span in spans {
        // Lower case may be longer: only where it is not, places are the same.
        let lower = span.content.to_lowercase();
        let at = lower.find(search).filter(|_| lower.len() == span.content.len());
        let whole = at.and_then(|at| {
            let end = at + search.len();
            Some((
                span.content.get(..at)?.to_owned(),
                span.content.get(at..end)?.to_owned(),
                span.content.get(end..)?.to_owned(),
            ))
        });
        match whole {
            Some((before, found, after)) => {
                let style: Style = span.style;
                marked.push(Span::styled(before, style));
                marked.push(Span::styled(found, style.add_modifier(Modifier::REVERSED)));
                marked.push(Span::styled(after, style));
            }
            None => marked.push(span),
        }
    }
    marked
}

/// Values as bars of eight heights, the largest full.
pub(crate) fn sparkline(values: &[u64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let largest = values.iter().copied().max().unwrap_or(0).max(1);
    let bar = |value: &u64| {
        let height = usize::try_from(u128::from(*value) * 7 / u128::from(largest)).unwrap_or(7);
        if *value == 0 { ' ' } else { BARS[height] }
    };
    values.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_high_as_values() {
        assert_eq!(sparkline(&[0, 1, 4, 8]), " ▁▄█");
        assert_eq!(sparkline(&[0, 0]), "  ");
        assert_eq!(sparkline(&[u64::MAX]), "█");
    }

    #[test]
    fn what_is_looked_for_is_marked() {
        let marked = |text: &'static str, search| {
            highlight(vec![Span::raw(text)], search)
                .iter()
                .map(|span| span.content.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(marked("a Curl b", "curl"), ["a ", "Curl", " b"]);
        assert_eq!(marked("İcurl", "curl"), ["İcurl"], "its lower case is longer");
        assert_eq!(marked("x", "y"), ["x"]);
    }
}
