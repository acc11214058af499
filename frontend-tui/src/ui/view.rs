// SPDX-License-Identifier: GPL-3.0-or-later
//! What is drawn: a header, the list or a pane, a footer.

use leco_core::model::overseer::Overseer;
use leco_core::source::SourcesState;
use leco_core::text::bytes;
use leco_os::clock::BootNs;
use ratatui::Frame as Screen;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Scrollbar, ScrollbarOrientation, ScrollbarState};
use unicode_width::UnicodeWidthStr;

use crate::input::action::Mode;
use crate::model::listing::{Listing, Sort};
use crate::model::state::State;
use crate::ui::columns::Columns;
use crate::ui::row::{Margin, Marks, sparkline};
use crate::ui::theme::Theme;
use crate::ui::{panes, row};

/// The list keeps at least so many rows beside a pane.
const LEAST_LIST: u16 = 8;

/// What the screen shows beside the model.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// Where events come from.
    pub source: Source,
    /// What was last to be told, once.
    pub notice: Option<String>,
    /// How far the recording is that is played.
    pub progress: Option<String>,
}

/// The source of events, and how it is.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// Its name, or what is waited for.
    pub text: String,
    /// Whether events can arrive now.
    pub is_reading: bool,
    /// Whether something is there that is not read for what it is.
    pub is_refused: bool,
    /// Lines of it that were too long to keep; of a recording all that are no events.
    pub overlong: u64,
}

/// Header, list, pane and footer, where there is room.
fn layout(area: Rect, mode: Mode) -> [Rect; 4] {
    let is_typing = matches!(mode, Mode::Search | Mode::Filter | Mode::EditRule | Mode::Confirm);
    let header = u16::from(area.height >= 3);
    let footer = u16::from(area.height >= 8 || is_typing && area.height >= 2);
    let rest = area.height - header - footer;
    let pane = match mode {
        Mode::List | Mode::Search | Mode::Filter => 0,
        Mode::EditRule | Mode::Confirm if rest >= LEAST_LIST + 8 => 8,
        Mode::Detail if rest >= 2 * LEAST_LIST => rest / 2,
        // On a small screen it has all of it.
        _ => rest,
    };
    Layout::vertical([
        Constraint::Length(header),
        Constraint::Length(rest - pane),
        Constraint::Length(pane),
        Constraint::Length(footer),
    ])
    .areas(area)
}

/// Draws everything.
pub fn draw(
    screen: &mut Screen<'_>,
    overseer: &mut Overseer,
    state: &mut State,
    status: &Status,
    theme: Theme,
    now: BootNs,
) {
    let [header, list, pane, footer] = layout(screen.area(), state.mode);
    state.lines.list(overseer, list, now);
    let header_text = header_line(overseer, state, status, header.width, now);
    draw_bar(screen, header, header_text, theme);
    draw_list(screen, list, overseer, state, status, theme, now);
    draw_pane(screen, pane, overseer, state, theme, now);
    draw_footer(screen, footer, overseer, state, status, theme);
}

fn draw_list(
    screen: &mut Screen<'_>,
    area: Rect,
    overseer: &Overseer,
    state: &State,
    status: &Status,
    theme: Theme,
    now: BootNs,
) {
    let listing = state.lines.listed();
    let is_scrolled = listing.all > listing.rows.len();
    let text_area = Rect { width: area.width.saturating_sub(u16::from(is_scrolled)), ..area };
    let visible = listing.rows.iter().flatten().filter(|row| row.alpha > 0);
    let width = usize::from(text_area.width);
    let lead = visible.clone().map(row::lead_width).max().unwrap_or(0);
    let columns = Columns::fit(visible.clone().map(|row| &*row.text), width.saturating_sub(lead));
    let margin = Margin::fit(lead + columns.width(), width);
    for (row, area) in listing.rows.iter().zip(text_area.rows()) {
        if let Some(row) = row.as_ref().filter(|row| row.alpha > 0) {
            let marks = Marks { is_selected: state.selection == Some(row.id), search: &state.search };
            let line = row::line(row, &columns, margin, marks, theme, (now, width));
            screen.render_widget(line, area);
        }
    }
    if overseer.known().len() == 0 {
        let source = &status.source;
        let text = if source.is_reading { "no connections yet" } else { source.text.as_str() };
        let hint = if source.is_reading || source.text.is_empty() {
            ""
        } else {
            SourcesState::hint(source.is_refused)
        };
        screen.render_widget(Line::styled(format!(" {text}{hint}"), theme.faint(255)), area);
    } else if listing.all == 0 {
        screen.render_widget(Line::styled(" nothing matches the filter", theme.faint(255)), area);
    }
    if is_scrolled {
        let last = listing.all - listing.rows.len();
        let mut at =
            ScrollbarState::new(last).position(listing.first).viewport_content_length(listing.rows.len());
        let bar = Scrollbar::new(ScrollbarOrientation::VerticalRight).begin_symbol(None).end_symbol(None);
        screen.render_stateful_widget(bar.style(theme.faint(160)), area, &mut at);
    }
}

fn draw_pane(
    screen: &mut Screen<'_>,
    area: Rect,
    overseer: &Overseer,
    state: &mut State,
    theme: Theme,
    now: BootNs,
) {
    let file = state.config.as_deref();
    let lines = match (state.mode, &state.editor) {
        (Mode::Detail, _) => {
            panes::detail(state.selected(overseer), overseer, file, theme, (now, area.width.into()))
        }
        (Mode::Rules, _) => panes::rules(overseer, file, &state.rule_times, theme),
        (Mode::Help, _) => panes::help(theme),
        (Mode::EditRule | Mode::Confirm, Some(editor)) => panes::rule_editor(editor, theme),
        _ => return,
    };
    state.pane_offset = state.pane_offset.min(lines.len().saturating_sub(usize::from(area.height)));
    let offset = u16::try_from(state.pane_offset).unwrap_or(u16::MAX);
    screen.render_widget(Paragraph::new(lines).scroll((offset, 0)), area);
}

fn header_line(
    overseer: &Overseer,
    state: &State,
    status: &Status,
    width: u16,
    now: BootNs,
) -> Line<'static> {
    let listing = state.lines.listed();
    let shown = listing.rows.iter().flatten().filter(|row| row.alpha > 0).count();
    let counts = overseer.counts();
    let lost = counts.malformed + status.source.overlong;
    let mut summary = match state.lines.frozen(now) {
        Some((ns, new)) => format!("FROZEN {} s, {new} new", ns / 1_000_000_000),
        None => format!("{shown} shown · {} hidden", counts.dropped),
    };
    if lost > 0 {
        summary = format!("{summary} · {lost} malformed");
    }
    let (total, rate) = (overseer.traffic(), overseer.traffic().rate(now));
    let rates = if total.is_lively(now) {
        format!("   ↓ {}/s  ↑ {}/s  {}", bytes(rate.rx), bytes(rate.tx), sparkline(&total.history(now)))
    } else {
        String::new()
    };
    let name = if state.lines.sort == Sort::Slots {
        String::new()
    } else {
        format!("   by {}", state.lines.sort.name())
    };
    let left = format!(" leco   {}{name}", status.source.text);
    // The numbers matter more than where they come from, and that more than rates.
    for (left, right) in
        [(left.as_str(), format!("{summary}{rates}")), (&left, summary.clone()), (" leco", summary.clone())]
    {
        let needed = left.width() + right.width() + 2;
        if let Some(gap) = usize::from(width).checked_sub(needed) {
            return Line::raw(format!("{left}{}{right} ", " ".repeat(gap + 1)));
        }
    }
    Line::raw(format!(" {summary}"))
}

/// Draws a line over the whole width, as the frame of what is between.
fn draw_bar(screen: &mut Screen<'_>, area: Rect, text: impl Into<Line<'static>>, theme: Theme) {
    screen.render_widget(text.into().style(theme.frame()), area);
}

fn draw_footer(
    screen: &mut Screen<'_>,
    area: Rect,
    overseer: &Overseer,
    state: &State,
    status: &Status,
    theme: Theme,
) {
    if area.height == 0 {
        return;
    }
    let prompt = match state.mode {
        Mode::Search => Some(" search  ".to_owned()),
        Mode::Filter => Some(" filter  ".to_owned()),
        Mode::EditRule => state.editor.as_ref().map(|editor| format!(" [{}]  ", editor.section.name())),
        _ => None,
    };
    if let Some(prompt) = prompt {
        return draw_prompt(screen, area, prompt, overseer, state, theme);
    }
    let notice = state.notice.as_ref().or(status.notice.as_ref());
    let text = match (notice, &status.progress, state.mode) {
        (Some(notice), ..) => format!(" {notice}"),
        (None, Some(progress), Mode::List) => progress.clone(),
        _ => keys(state, overseer),
    };
    draw_bar(screen, area, text, theme);
}

/// Draws what is typed, with the cursor in it.
fn draw_prompt(
    screen: &mut Screen<'_>,
    area: Rect,
    prompt: String,
    overseer: &Overseer,
    state: &State,
    theme: Theme,
) {
    let input = &state.prompt.input;
    let begin = prompt.width();
    let room = usize::from(area.width).saturating_sub(begin + 1);
    let scroll = input.visual_scroll(room.max(1));
    let mut spans = vec![Span::styled(prompt, theme.frame())];
    match &state.prompt.error {
        // From where it is wrong on.
        Some(error) if scroll == 0 && input.value().is_char_boundary(error.span.start) => {
            let (good, bad) = input.value().split_at(error.span.start);
            spans.push(Span::raw(good.to_owned()));
            spans.push(Span::styled(bad.to_owned(), theme.wrong()));
        }
        _ => spans.push(Span::raw(skip_width(input.value(), scroll))),
    }
    spans.push(Span::styled(hint(overseer, state), theme.faint(255)));
    screen.render_widget(Line::from(spans), area);
    let cursor = begin + input.visual_cursor().saturating_sub(scroll);
    let column = u16::try_from(cursor).unwrap_or(u16::MAX).min(area.width.saturating_sub(1));
    screen.set_cursor_position((area.x + column, area.y));
}

/// What is wrong with what is typed, else what can be done with it.
fn hint(overseer: &Overseer, state: &State) -> String {
    match (&state.prompt.error, state.mode) {
        (Some(error), _) => format!("   {}", error.message),
        (None, Mode::Filter) => {
            let last = state.prompt.input.value().rsplit(' ').next().unwrap_or_default();
            let term = last.strip_prefix('-').unwrap_or(last);
            let typed_value = term.split_once(':').map_or(term, |(_, value)| value);
            let more = state.completions(overseer);
            let more: Vec<_> = more.into_iter().map(|(more, _)| format!("{typed_value}{more}")).collect();
            let tab = if more.is_empty() { String::new() } else { format!("   Tab: {}", more.join(" ")) };
            format!("   {}{tab}", chosen(overseer, state))
        }
        (None, Mode::EditRule) => "   ⏎ copy   Tab section   Ctrl-S append   Esc back".into(),
        (None, _) => state.notice.as_ref().map(|notice| format!("   {notice}")).unwrap_or_default(),
    }
}

/// How many of the lines the filter chooses.
fn chosen(overseer: &Overseer, state: &State) -> String {
    format!("{} of {}", state.lines.listed().all, overseer.known().len())
}

/// The keys that matter now.
fn keys(state: &State, overseer: &Overseer) -> String {
    match state.mode {
        Mode::Confirm => {
            let file = state.config.as_ref().map_or_else(String::new, |file| file.display().to_string());
            format!(" append this rule to {file}?   y yes   any other key: no")
        }
        Mode::Detail => " Esc back   ↑ ↓ scroll   x hide   e rename   m merge   q quit".into(),
        Mode::Rules => " Esc back   ↑ ↓ scroll   t try a rule   q quit".into(),
        Mode::Help => " Esc back   ↑ ↓ scroll   q quit".into(),
        _ if !state.lines.filter.is_empty() => {
            let chosen = chosen(overseer, state);
            format!(" filter {}   {chosen}   f change   Esc all   q quit", state.lines.filter)
        }
        _ if !state.search.is_empty() => format!(" /{}   n next   N back   Esc end   q quit", state.search),
        _ if state.selection.is_some() => {
            " q quit   ? help   ⏎ detail   x hide   e rename   m merge   space freeze".into()
        }
        _ => format!(
            " q quit   ? help   / search   f filter   space freeze   s sort ({})   ⏎ detail   r rules",
            state.lines.sort.name()
        ),
    }
}

/// A text without its first cells.
fn skip_width(text: &str, cells: usize) -> String {
    let mut skipped = 0;
    text.chars()
        .skip_while(|c| {
            let is_before = skipped < cells;
            skipped += c.to_string().width();
            is_before
        })
        .collect()
}

/// Rows of the list on a screen, as long as nothing else is open.
#[must_use]
pub fn rows(area: Rect) -> usize {
    layout(area, Mode::List)[1].height.into()
}

/// Whether something on screen changes with time alone.
#[must_use]
pub fn ticks(overseer: &Overseer, state: &State, listing: &Listing, now: BootNs) -> bool {
    state.lines.frozen(now).is_some()
        || overseer.traffic().is_lively(now)
        || listing.rows.iter().flatten().any(|row| row.traffic.is_lively(now))
}
