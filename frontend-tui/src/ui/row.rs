// SPDX-License-Identifier: GPL-3.0-or-later
//! One line on the screen.

use std::borrow::Cow;

use leco_core::model::overseer::Row;
use leco_core::model::traffic::RECENT;
use leco_core::text::{Cells, Part, SEPARATOR};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use crate::model::widest::{Column, amounts, times, whole_peer};
use crate::ui::columns::{Columns, LEAST_NAME, peer_within};
use crate::ui::glyphs::Glyphs;
use crate::ui::shorten;
use crate::ui::theme::Theme;
use crate::width::{Width, graphemes};

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
        let (long, short) =
            if column == Column::Local { (columns.local, columns.local) } else { column.heading() };
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
    let used: usize = spans.iter().map(|span| span.content.width()).sum();
    spans.push(Span::raw(" ".repeat(width.saturating_sub(used))));
    Line::from(spans).style(style.patch(theme.selected()))
}

/// The tag, and the marks of what is new and of what has ended.
fn lead<'r>(row: &'r Row, columns: &Columns, theme: Theme, spans: &mut Vec<Span<'r>>) {
    if columns.tag() > 0 {
        let style = if row.is_first_ever {
            theme.first_ever(row.alpha).add_modifier(Modifier::REVERSED)
        } else {
            theme.tag(row.tag.rgb, row.alpha)
        };
        let padding = columns.tag().saturating_sub(row.tag.text.width());
        spans.push(Span::styled(row.tag.text.as_str(), style));
        spans.push(Span::raw(" ".repeat(padding)));
    }
    // A state is never told by colour alone.
    let new = if row.is_first_ever { "+" } else { " " };
    let ended = if row.is_closed { "- " } else { "  " };
    spans.push(Span::styled(new, theme.first_ever(row.alpha)));
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
    let [received, sent] = amounts(row, &cells, columns.units);
    let rate = row.rate(now).total();
    let after_peer = |column: Column| -> (Cow<'r, str>, Style) {
        match column {
            Column::Received => (received.clone(), text),
            Column::Sent => (sent.clone(), text),
            Column::Rate if rate >= MUCH => {
                (format!("{}/s", columns.units.amount(rate)).into(), text.add_modifier(Modifier::BOLD))
            }
            Column::Rate if rate > 0 => (format!("{}/s", columns.units.amount(rate)).into(), text),
            Column::Chart => (sparkline(&row.traffic.recent(now), theme.glyphs()).into(), faint),
            _ => ("".into(), text),
        }
    };
    let mut shown = columns.shown().peekable();
    while let Some((column, mut width, mut gap)) = shown.next() {
        let mut mark = None;
        let content: Vec<(Cow<'r, str>, Style)> = match column {
            Column::Time => vec![(whole(cells.time.into(), width), faint)],
            Column::User => vec![(shorten::middle(cells.user, width), text)],
            Column::Process => {
                let times = times(row);
                let room = width.saturating_sub(times.width());
                vec![(shorten::middle(cells.process, room), text), (times.into(), faint)]
            }
            Column::Unit => vec![(shorten::middle(cells.unit, width), faint)],
            Column::Local => vec![(whole(cells.local.into(), width), faint)],
            Column::Peer => {
                // It flows over what is empty; an address and how it went over anything.
                let least = match cells.state.width() {
                    state if cells.has_address() => cells.peer.width() + state,
                    0 => 0,
                    state => cells.peer.width().min(LEAST_NAME) + state,
                };
                while width < whole_peer(&cells)
                    && let Some((_, more, after)) =
                        shown.next_if(|(next, ..)| width < least || after_peer(*next).0.trim().is_empty())
                {
                    (width, gap) = (width + gap + more, after);
                }
                let (peer, port, state) = peer_within(&cells, width);
                vec![(peer, text), (port.into(), text), (state.into(), text)]
            }
            Column::Received | Column::Sent | Column::Rate | Column::Chart => {
                let (value, style) = after_peer(column);
                let value = whole(value, width);
                mark = match column {
                    _ if marks.has_heading || value.is_empty() || gap == 0 => None,
                    Column::Received => Some("v"),
                    Column::Sent => Some("^"),
                    _ => None,
                };
                vec![(value, style)]
            }
        };
        let used: usize = content.iter().map(|(text, _)| text.width()).sum();
        let padding = width.saturating_sub(used);
        let (before, after) = if column.is_number() { (padding, 0) } else { (0, padding) };
        spans.push(Span::raw(" ".repeat(before)));
        spans.extend(content.into_iter().map(|(text, style)| Span::styled(text, style)));
        // It stands in the gap, so that the number has all of its column.
        spans.extend(mark.map(|mark| Span::styled(mark, faint)));
        spans.push(Span::raw(" ".repeat(after + gap - usize::from(mark.is_some()))));
    }
}

/// A number that does not fit is not there: a part of it would be another one.
fn whole(number: Cow<'_, str>, width: usize) -> Cow<'_, str> {
    if number.width() <= width { number } else { "".into() }
}

/// A line whose parts rules have merged.
fn flowing<'r>(row: &'r Row, theme: Theme, width: usize, spans: &mut Vec<Span<'r>>) {
    let used: usize = spans.iter().map(|span| span.content.width()).sum();
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
            // A part of what is seen as one character would be another one.
            let mut found =
                graphemes(&span.content).map(|(begin, grapheme, _)| begin..begin + grapheme.len());
            let begin = found.find(|grapheme| grapheme.end > at)?;
            let last = if begin.end < at + search.len() {
                found.find(|next| next.end >= at + search.len())?
            } else {
                begin.clone()
            };
            let (at, end) = (begin.start, last.end);
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
        assert_eq!(marked("a👨‍👩‍👧b", "👩"), ["a", "👨‍👩‍👧", "b"]);
        assert_eq!(marked("❤️x❤", "❤"), ["", "❤️", "x❤"]);
    }
}
