// SPDX-License-Identifier: GPL-3.0-or-later
//! One line on the screen.

use std::borrow::Cow;

use leco_core::model::overseer::Row;
use leco_core::model::traffic::RECENT;
use leco_core::text::{Cells, Part, SEPARATOR, bytes};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use crate::ui::columns::{Column, Columns, peer_within};
use crate::ui::glyphs::Glyphs;
use crate::ui::shorten;
use crate::ui::theme::Theme;

/// Bytes a second from which on a line's traffic is bold.
const MUCH: u64 = 1 << 20;
/// Cells of a small chart.
pub(crate) const CHART: usize = RECENT;

/// How a line is marked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Marks<'m> {
    /// It is selected.
    pub(crate) is_selected: bool,
    /// What is looked for, in lower case.
    pub(crate) search: &'m str,
    /// Numbers are told apart by a heading, not by marks of their own.
    pub(crate) has_heading: bool,
}

/// The heading row.
pub(crate) fn heading(columns: &Columns, theme: Theme) -> Line<'static> {
    let tag = if columns.tag() >= 3 { "tag" } else { "" };
    let mut text = format!(" {tag:<width$}   ", width = columns.tag());
    for (column, width, gap) in columns.shown() {
        let (long, short) = column.heading();
        let name = [long, short].into_iter().find(|name| name.len() <= width).unwrap_or_default();
        text += &if column.is_number() { format!("{name:>width$}") } else { format!("{name:<width$}") };
        text += &" ".repeat(gap);
    }
    Line::styled(text, theme.heading())
}

/// A line within a width.
pub(crate) fn line<'r>(
    row: &'r Row,
    columns: &Columns,
    marks: Marks<'_>,
    theme: Theme,
    (now, width): (u64, usize),
) -> Line<'r> {
    let theme = if marks.is_selected { theme.on_selection() } else { theme };
    let theme = theme.of_row(row);
    let mut spans = vec![Span::raw(if marks.is_selected { ">" } else { " " })];
    lead(row, columns, theme, &mut spans);
    match Cells::of(&row.text) {
        Some(cells) => in_columns(row, cells, columns, marks, theme, now, &mut spans),
        None => flowing(row, theme, width, &mut spans),
    }
    if !marks.search.is_empty() {
        spans = highlight(spans, marks.search);
    }
    let style = theme.background(row.alpha);
    if !marks.is_selected {
        return Line::from(spans).style(style);
    }
    let used: usize = spans.iter().map(Span::width).sum();
    spans.push(Span::raw(" ".repeat(width.saturating_sub(used))));
    Line::from(spans).style(style.patch(theme.selected()))
}

/// The tag, and the marks of what is new and of what has ended.
fn lead<'r>(row: &'r Row, columns: &Columns, theme: Theme, spans: &mut Vec<Span<'r>>) {
    if columns.tag() > 0 {
        let mut style = theme.tag(row.tag.rgb, row.alpha);
        if row.is_first_ever {
            style = style.add_modifier(Modifier::REVERSED);
        }
        let padding = columns.tag().saturating_sub(row.tag.text.width());
        spans.push(Span::styled(row.tag.text.as_str(), style));
        spans.push(Span::raw(" ".repeat(padding)));
    }
    // A state is never told by colour alone.
    let new = if row.is_first_ever { "+" } else { " " };
    let ended = if row.is_closed { "- " } else { "  " };
    spans.push(Span::styled(new, theme.text(row.alpha)));
    spans.push(Span::styled(ended, theme.faint(row.alpha)));
}

/// The parts of the line, each in its column.
fn in_columns<'r>(
    row: &'r Row,
    cells: Cells<'r>,
    columns: &Columns,
    marks: Marks<'_>,
    theme: Theme,
    now: u64,
    spans: &mut Vec<Span<'r>>,
) {
    let (text, faint) = (theme.text(row.alpha), theme.faint(row.alpha));
    for (column, width, gap) in columns.shown() {
        let mut put = |content: Vec<(Cow<'r, str>, Style)>| {
            let used: usize = content.iter().map(|(text, _)| text.width()).sum();
            let padding = width.saturating_sub(used);
            let (before, after) = if column.is_number() { (padding, 0) } else { (0, padding) };
            spans.push(Span::raw(" ".repeat(before)));
            spans.extend(content.into_iter().map(|(text, style)| Span::styled(text, style)));
            spans.push(Span::raw(" ".repeat(after + gap)));
        };
        match column {
            Column::Time => put(vec![(whole(cells.time, width).into(), faint)]),
            Column::User => put(vec![(shorten::middle(cells.user, width), text)]),
            Column::Process => {
                let times = times(row);
                let room = width.saturating_sub(times.width());
                put(vec![(shorten::middle(cells.process, room), text), (times.into(), faint)]);
            }
            Column::Unit => put(vec![(shorten::middle(cells.unit, width), faint)]),
            Column::Local => put(vec![(shorten::middle(cells.local, width), faint)]),
            Column::Peer => {
                let (peer, port, state) = peer_within(&cells, width);
                put(vec![(peer, text), (port.into(), text), (state.into(), text)]);
            }
            Column::Received | Column::Sent => {
                let total = row.traffic.total;
                let (said, counted, mark) = match column {
                    Column::Received => (cells.received, total.rx, "v"),
                    _ => (cells.sent, total.tx, "^"),
                };
                // Of several connections the line has only what the latest one moved.
                let number: Cow<'r, str> = if row.connections > 1 && total.total() > 0 {
                    bytes(counted).to_string().into()
                } else {
                    said.into()
                };
                let number: Cow<'r, str> = if number.width() <= width { number } else { "".into() };
                let has_mark = !marks.has_heading && !number.is_empty();
                // It stands in the gap, so that the number has all of its column.
                put(vec![(number, text)]);
                if has_mark && gap > 0 {
                    spans.pop();
                    spans.push(Span::styled(mark, faint));
                    spans.push(Span::raw(" ".repeat(gap - 1)));
                }
            }
            Column::Rate => {
                let rate = row.rate(now).total();
                let shown = if rate > 0 { format!("{}/s", bytes(rate)) } else { String::new() };
                let style = if rate >= MUCH { text.add_modifier(Modifier::BOLD) } else { text };
                put(vec![(whole(&shown, width).to_owned().into(), style)]);
            }
            Column::Chart => put(vec![(sparkline(&row.traffic.recent(now), theme.glyphs()).into(), faint)]),
        }
    }
}

/// How many connections rules have made one line, where they have.
pub(crate) fn times(row: &Row) -> String {
    if row.connections > 1 { format!(" ×{}", row.connections) } else { String::new() }
}

/// A number that does not fit is not there: a part of it would be another one.
fn whole(number: &str, width: usize) -> &str {
    if number.width() <= width { number } else { "" }
}

/// A line whose parts rules have merged.
fn flowing<'r>(row: &'r Row, theme: Theme, width: usize, spans: &mut Vec<Span<'r>>) {
    let used: usize = spans.iter().map(Span::width).sum();
    let times = times(row);
    let room = width.saturating_sub(used + times.width());
    let times = Span::styled(times, theme.faint(row.alpha));
    if row.text.width() > room {
        spans.push(Span::styled(shorten::end(&row.text, room), theme.text(row.alpha)));
        spans.push(times);
        return;
    }
    for (index, text) in row.text.split(SEPARATOR).enumerate() {
        if index > 0 {
            spans.push(Span::styled(SEPARATOR, theme.faint(row.alpha)));
        }
        let (text, faint) = Part::at(index).split(text);
        let styled = [(text, theme.text(row.alpha)), (faint, theme.faint(row.alpha))];
        spans
            .extend(styled.into_iter().filter(|(text, _)| !text.is_empty()).map(|(t, s)| Span::styled(t, s)));
    }
    spans.push(times);
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
pub(crate) fn sparkline(values: &[u64], glyphs: &Glyphs) -> String {
    let largest = values.iter().copied().max().unwrap_or(0).max(1);
    let bar = |value: &u64| {
        let height = usize::try_from(u128::from(*value) * 7 / u128::from(largest)).unwrap_or(7);
        if *value == 0 { " " } else { glyphs.heights[height] }
    };
    values.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_high_as_values() {
        assert_eq!(sparkline(&[0, 1, 4, 8], Glyphs::unicode()), " ▁▄█");
        assert_eq!(sparkline(&[0, 0], Glyphs::ascii()), "  ");
        assert_eq!(sparkline(&[u64::MAX], Glyphs::unicode()), "█");
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
