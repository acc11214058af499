//! What is drawn: a header, a line per slot, a footer.

use leco_core::overseer::{Frame, Row};
use leco_core::text::{SEPARATOR, split_part};
use ratatui::Frame as Screen;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use crate::columns::Columns;
use crate::theme::Theme;

/// What the screen shows beside the frame of the model.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// Where events come from.
    pub source: Source,
    /// What was last to be told, once.
    pub notice: Option<String>,
}

/// The source of events, and how it is.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// Its name, or what is waited for.
    pub text: String,
    /// Whether events can arrive now.
    pub is_reading: bool,
    /// Lines of it that were too long to keep.
    pub overlong: u64,
}

/// Header and footer, where there is room.
fn layout(area: Rect) -> [Rect; 3] {
    let header = u16::from(area.height >= 3);
    let footer = u16::from(area.height >= 8);
    Layout::vertical([Constraint::Length(header), Constraint::Fill(1), Constraint::Length(footer)])
        .areas(area)
}

/// Slots that fit on a screen.
#[must_use]
pub fn rows(area: Rect) -> usize {
    layout(area)[1].height.into()
}

/// Draws everything.
pub fn draw(screen: &mut Screen<'_>, frame: &Frame, status: &Status, theme: Theme) {
    let [header, list, footer] = layout(screen.area());
    screen.render_widget(header_line(frame, status, header.width).style(theme.frame()), header);
    let visible = frame.rows.iter().flatten().filter(|row| row.alpha > 0);
    let columns = Columns::fit(visible.map(|row| &*row.text));
    for (row, area) in frame.rows.iter().zip(list.rows()) {
        if let Some(row) = row.as_ref().filter(|row| row.alpha > 0) {
            screen.render_widget(row_line(row, &columns, theme), area);
        }
    }
    if frame.rows.iter().flatten().next().is_none() {
        let source = &status.source;
        let text = if source.is_reading { "no connections yet" } else { source.text.as_str() };
        let hint = if source.is_reading { "" } else { " (start leco-event-pipe, or: script/run)" };
        screen.render_widget(Line::styled(format!(" {text}{hint}"), theme.faint(255)), list);
    }
    let notice = status.notice.as_ref().map_or_else(String::new, |notice| format!("   {notice}"));
    screen.render_widget(Line::raw(format!(" q quit{notice}")).style(theme.frame()), footer);
}

fn header_line(frame: &Frame, status: &Status, width: u16) -> Line<'static> {
    let shown = frame.rows.iter().flatten().filter(|row| row.alpha > 0).count();
    let counts = frame.counts;
    let mut facts = format!("{shown} shown · {} ruled away", counts.dropped);
    let lost = counts.malformed + status.source.overlong;
    if lost > 0 {
        facts = format!("{facts} · {lost} malformed");
    }
    let left = format!(" leco   {}", status.source.text);
    let gap = usize::from(width).saturating_sub(left.width() + facts.width() + 1);
    // The facts matter more than where they come from.
    if gap == 0 {
        Line::raw(format!(" {facts}"))
    } else {
        Line::raw(format!("{left}{}{facts} ", " ".repeat(gap)))
    }
}

fn row_line<'r>(row: &'r Row, columns: &Columns, theme: Theme) -> Line<'r> {
    let alpha = row.alpha;
    let theme = theme.of_row(row);
    let mut spans = vec![Span::raw(" ")];
    if !row.tag.text.is_empty() {
        spans.push(Span::styled(row.tag.text.as_str(), theme.tag(row.tag.rgb, alpha)));
        spans.push(Span::raw("  "));
    }
    match columns.align(&row.text) {
        Some(parts) => {
            for (index, (part, padding)) in parts.into_iter().enumerate() {
                part_spans(part, index == 0, alpha, theme, &mut spans);
                spans.push(Span::raw(" ".repeat(padding)));
            }
        }
        None => {
            for (index, part) in row.text.split(SEPARATOR).enumerate() {
                if index > 0 {
                    spans.push(Span::styled(SEPARATOR, theme.faint(alpha)));
                }
                part_spans(part, index == 0, alpha, theme, &mut spans);
            }
        }
    }
    Line::from(spans).style(theme.background(alpha))
}

fn part_spans<'r>(part: &'r str, is_time: bool, alpha: u8, theme: Theme, spans: &mut Vec<Span<'r>>) {
    let (text, faint) = split_part(part, is_time);
    let styled = [(text, theme.text(alpha)), (faint, theme.faint(alpha))];
    spans.extend(styled.into_iter().filter(|(text, _)| !text.is_empty()).map(|(t, s)| Span::styled(t, s)));
}
