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
use ratatui::widgets::{Axis, Chart, Dataset, GraphType, Widget};

use crate::ui::theme::Theme;

/// Seconds of a bucket, and of all.
const BUCKET_S: u64 = BUCKET_NS / 1_000_000_000;
const ALL_S: u64 = BUCKET_S * BUCKETS as u64;

/// Cells of the axis that stay free of the key.
const KEY_FROM: u16 = 20;

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
    let (received, mut sent) = (points(received), points(sent));
    // They would only hide a part of the line.
    sent.retain(|(_, rate)| *rate > 0.0);
    let dataset = |marker: Marker, graph: GraphType, style: Style| {
        Dataset::default().marker(marker).graph_type(graph).style(style)
    };
    let faint = theme.faint(255);
    let rate = |rate: u64| format!("{}/s", units.amount(rate));
    let chart = Chart::new(vec![
        dataset(Marker::Braille, GraphType::Line, theme.received()).data(&received),
        dataset(Marker::Dot, GraphType::Scatter, theme.sent()).data(&sent),
    ])
    .x_axis(Axis::default().bounds([0.0, last]).labels(labels).style(faint))
    .y_axis(
        Axis::default()
            .bounds([0.0, highest.max(1) as f64])
            .labels(["0".to_owned(), rate(highest / 2), rate(highest)])
            .style(faint),
    );
    let mut buffer = Buffer::empty(area);
    chart.render(area, &mut buffer);
    // On the axis nothing is drawn.
    let key = Line::from(vec![
        Span::styled(" ⠤⠤", theme.received()),
        Span::styled(" received ", faint),
        Span::styled(" ••", theme.sent()),
        Span::styled(" sent ", faint),
    ]);
    let width = u16::try_from(key.width()).unwrap_or(u16::MAX);
    if width + KEY_FROM <= size.0 {
        buffer.set_line(size.0 - width - 1, size.1 - 2, &key, width);
    }
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
