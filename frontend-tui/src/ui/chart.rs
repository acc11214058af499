// SPDX-License-Identifier: GPL-3.0-or-later
//! Traffic over time, in both directions, with axes.

use leco_core::model::traffic::{BUCKET_NS, BUCKETS, Traffic};
use leco_core::text::Units;
use leco_os::clock::BootNs;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Chart, Dataset, GraphType, LegendPosition, Widget};

use crate::ui::theme::Theme;

/// Seconds of a bucket, and of all.
const BUCKET_S: u64 = BUCKET_NS / 1_000_000_000;
const ALL_S: u64 = BUCKET_S * BUCKETS as u64;

/// Draws what went over a line into lines of this size.
pub(crate) fn of_line(
    traffic: &Traffic,
    size: (u16, u16),
    units: Units,
    theme: Theme,
    now: BootNs,
) -> Vec<Line<'static>> {
    let (received, sent) = traffic.rates(now);
    if received.iter().chain(&sent).all(|rate| *rate == 0) && is_fit(size) {
        return vec![Line::styled(
            format!(" nothing sent or received in the last {ALL_S} s"),
            theme.faint(255),
        )];
    }
    let labels = [format!("-{ALL_S} s"), format!("-{} s", ALL_S / 2), "now".into()];
    lines((&received, &sent), labels, size, units, theme)
}

fn is_fit((width, height): (u16, u16)) -> bool {
    width >= 20 && height >= 4
}

/// Draws bytes a second, received and sent, into lines of this size, with what stands below its begin, middle and end.
pub(crate) fn lines(
    (received, sent): (&[u64], &[u64]),
    labels: [String; 3],
    size: (u16, u16),
    units: Units,
    theme: Theme,
) -> Vec<Line<'static>> {
    if !is_fit(size) {
        return Vec::new();
    }
    let area = Rect::new(0, 0, size.0, size.1);
    let highest = received.iter().chain(sent).copied().max().unwrap_or(0);
    let points = |rates: &[u64]| -> Vec<(f64, f64)> {
        rates.iter().enumerate().map(|(at, rate)| (at as f64, *rate as f64)).collect()
    };
    let last = received.len().saturating_sub(1).max(1) as f64;
    let (received, sent) = (points(received), points(sent));
    let dataset = |name: &'static str, style: Style| {
        Dataset::default().name(name).marker(Marker::Braille).graph_type(GraphType::Line).style(style)
    };
    let faint = theme.faint(255);
    let rate = |rate: u64| format!("{}/s", units.amount(rate));
    let chart = Chart::new(vec![
        dataset("received", theme.received()).data(&received),
        dataset("sent", theme.sent()).data(&sent),
    ])
    .x_axis(Axis::default().bounds([0.0, last]).labels(labels).style(faint))
    .y_axis(
        Axis::default()
            .bounds([0.0, highest.max(1) as f64])
            .labels(["0".to_owned(), rate(highest / 2), rate(highest)])
            .style(faint),
    )
    .legend_position(Some(LegendPosition::TopLeft));
    let mut buffer = Buffer::empty(area);
    chart.render(area, &mut buffer);
    area.rows().map(|row| line_of(&buffer, row)).collect()
}

fn line_of(buffer: &Buffer, row: Rect) -> Line<'static> {
    let mut spans: Vec<Span<'static>> = Vec::new();
    for position in row.positions() {
        let cell = &buffer[position];
        match spans.last_mut().filter(|span| span.style == cell.style()) {
            Some(span) => span.content.to_mut().push_str(cell.symbol()),
            None => spans.push(Span::styled(cell.symbol().to_owned(), cell.style())),
        }
    }
    Line::from(spans)
}
