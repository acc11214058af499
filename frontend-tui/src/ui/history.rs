// SPDX-License-Identifier: GPL-3.0-or-later
//! What went over the network: a chart over time, and below it a table.

use leco_core::model::history::Moved;
use leco_core::text::Units;
use ratatui::Frame as Screen;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use crate::model::history::{HistoryView, Shown};
use crate::ui::chart;
use crate::ui::header::grouped;
use crate::ui::row::sparkline;
use crate::ui::shorten;
use crate::ui::theme::Theme;
use crate::width::Width;

/// From this height on there is a chart with axes; below it has a row for each direction.
const CHART_FROM: u16 = 14;
/// Rows of the chart, at most.
const MOST_CHART: u16 = 12;
/// Cells of a number of bytes, and of a count, with what stands before them.
const BYTES: usize = 10;
const COUNT: usize = 13;
/// A name keeps so many cells before a column is left out.
const LEAST_NAME: usize = 16;

/// Draws it; returns how many rows the table has.
pub(crate) fn draw(
    screen: &mut Screen<'_>,
    area: Rect,
    (view, shown): (&HistoryView, &Shown),
    (theme, units): (Theme, Units),
    now: i64,
) -> usize {
    let width = usize::from(area.width);
    let mut lines = vec![title(view, shown, width, (theme, units))];
    lines.push(faint(&view.origin(now), width, theme));
    if !view.filter.is_empty() {
        lines.push(faint(&format!("filter: {}", view.filter), width, theme));
    }
    lines.extend(over_time(shown, area, (theme, units)));
    let columns = Columns::fit(width);
    lines.push(columns.row((view.by.word(), ["received", "sent", "connections", "failed", "share"]), theme));
    if let Some(heading) = lines.last_mut() {
        *heading = std::mem::take(heading).style(theme.heading());
    }
    let room = usize::from(area.height).saturating_sub(lines.len());
    if shown.rows.is_empty() {
        lines.push(faint("nothing moved in this time", width, theme));
    }
    let first = (view.at + 1).saturating_sub(room);
    for (at, (name, moved)) in shown.rows.iter().enumerate().skip(first).take(room) {
        let is_selected = at == view.at;
        let theme = if is_selected { theme.on_selection() } else { theme };
        let name = if name.is_empty() { "-" } else { name };
        let line =
            columns.row((name, cells(moved, &shown.total, units).each_ref().map(String::as_str)), theme);
        lines.push(if is_selected { line.patch_style(theme.selected()) } else { line });
    }
    screen.render_widget(Paragraph::new(lines), area);
    room
}

/// What is shown and its sums, in the colours of the chart.
fn title(view: &HistoryView, shown: &Shown, width: usize, (theme, units): (Theme, Units)) -> Line<'static> {
    let Moved { connections, bytes: moved, .. } = shown.total;
    let what = format!(" {} by {}", view.range.name(), view.by.word());
    let (received, sent) = (format!("v {}", units.amount(moved.rx)), format!("{} ^", units.amount(moved.tx)));
    let noun = if connections == 1 { "connection" } else { "connections" };
    let count = format!("   {} {noun}", grouped(connections.into()));
    let bold = theme.text(255).add_modifier(Modifier::BOLD);
    let all = [(received, theme.received()), (" / ".to_owned(), bold), (sent, theme.sent()), (count, bold)];
    let room = width.saturating_sub(what.width() + 3);
    let used = |parts: &[(String, _)]| parts.iter().map(|(text, _)| text.width()).sum::<usize>();
    // The count goes first.
    let parts = [&all[..], &all[..3], &[]].into_iter().find(|parts| used(parts) <= room).unwrap_or_default();
    let padding = " ".repeat(room - used(parts) + 2);
    let mut spans = vec![Span::styled(format!("{what}{padding}"), bold)];
    spans.extend(
        parts.iter().map(|(text, style)| Span::styled(text.clone(), style.add_modifier(Modifier::BOLD))),
    );
    Line::from(spans)
}

fn faint(text: &str, width: usize, theme: Theme) -> Line<'static> {
    Line::styled(format!(" {}", shorten::end(text, width.saturating_sub(2))), theme.faint(255))
}

/// Both directions over the range: with axes, or where there is no room for them as bars with the highest rate.
fn over_time(shown: &Shown, area: Rect, (theme, units): (Theme, Units)) -> Vec<Line<'static>> {
    let (received, sent) = &shown.rates;
    if area.height >= CHART_FROM {
        let size = (area.width.saturating_sub(1), (area.height / 3).min(MOST_CHART));
        let (from, until) = shown.range;
        let age = until - from;
        let labels = [format!("-{}", span(age)), format!("-{}", span(age / 2)), "now".to_owned()];
        return chart::lines((received, sent), labels, size, units, theme);
    }
    let glyphs = theme.glyphs();
    let rows = [(glyphs.down, received, theme.received()), (glyphs.up, sent, theme.sent())];
    let rows = rows.map(|(mark, rates, style)| {
        let most = format!("{}/s", units.amount(rates.iter().copied().max().unwrap_or(0)));
        let room = usize::from(area.width).saturating_sub(most.width() + 5).max(1);
        let bars = sparkline(&squeezed(rates, room), glyphs);
        Line::from(vec![
            Span::styled(format!(" {mark} "), theme.faint(255)),
            Span::styled(bars, style),
            Span::styled(format!(" {most}"), theme.faint(255)),
        ])
    });
    rows.into()
}

/// So many values, or as many as there are: of those that become one the highest.
fn squeezed(values: &[u64], room: usize) -> Vec<u64> {
    let each = values.len().div_ceil(room).max(1);
    values.chunks(each).map(|values| values.iter().copied().max().unwrap_or(0)).collect()
}

/// A time in the largest unit of which there are several.
fn span(seconds: i64) -> String {
    for (unit, name) in [(86_400, "d"), (3600, "h"), (60, "min")] {
        if seconds >= 2 * unit || name == "min" && seconds >= unit {
            return format!("{} {name}", seconds / unit);
        }
    }
    format!("{seconds} s")
}

/// What stands in the columns behind a name.
fn cells(moved: &Moved, total: &Moved, units: Units) -> [String; 5] {
    let all = u128::from(total.bytes.total().max(1));
    let percent = (u128::from(moved.bytes.total()) * 100 + all / 2) / all;
    let share = match percent {
        0 if moved.bytes.total() == 0 => String::new(),
        0 => "<1 %".to_owned(),
        percent => format!("{percent} %"),
    };
    let failed = if moved.failed > 0 { grouped(moved.failed.into()) } else { String::new() };
    [
        units.amount(moved.bytes.rx).to_string(),
        units.amount(moved.bytes.tx).to_string(),
        grouped(moved.connections.into()),
        failed,
        share,
    ]
}

/// Widths of the columns: of those behind the name, as many as there is room for.
struct Columns {
    name: usize,
    others: [usize; 5],
}

impl Columns {
    fn fit(width: usize) -> Self {
        let mut others = [BYTES, BYTES, COUNT, BYTES, BYTES];
        let mut left = width.saturating_sub(2 + LEAST_NAME);
        for column in &mut others {
            if *column > left {
                (*column, left) = (0, 0);
            } else {
                left -= *column;
            }
        }
        Self { name: width.saturating_sub(2 + others.iter().sum::<usize>()), others }
    }

    fn row(&self, (name, others): (&str, [&str; 5]), theme: Theme) -> Line<'static> {
        let name = shorten::middle(name, self.name);
        let padding = " ".repeat(self.name.saturating_sub(name.width()));
        let mut spans = vec![Span::styled(format!(" {name}{padding}"), theme.text(255))];
        for (text, width) in others.iter().zip(self.others).filter(|(_, width)| *width > 0) {
            spans.push(Span::styled(format!("{text:>width$}"), theme.text(200)));
        }
        spans.push(Span::raw(" "));
        Line::from(spans)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_units_of_which_there_are_several() {
        let said = [59, 60, 3600, 7200, 86_400, 90_000, 172_800, 30 * 86_400].map(span);
        assert_eq!(said, ["59 s", "1 min", "60 min", "2 h", "24 h", "25 h", "2 d", "30 d"]);
    }

    #[test]
    fn bars_that_become_one_are_as_high_as_the_highest() {
        assert_eq!(squeezed(&[1, 5, 2, 3, 9], 2), [5, 9]);
        assert_eq!((squeezed(&[1, 2], 9), squeezed(&[], 3)), (vec![1, 2], vec![]));
    }

    #[test]
    fn a_name_has_room_before_the_last_columns() {
        for width in 0..200 {
            let columns = Columns::fit(width);
            let used = columns.name + columns.others.iter().sum::<usize>();
            assert!(used <= width && (width < 20 || columns.name >= LEAST_NAME.min(width - 2)), "{width}");
            assert!(columns.others.is_sorted_by(|before, after| *before > 0 || *after == 0), "{width}");
        }
    }
}
