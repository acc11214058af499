// SPDX-License-Identifier: GPL-3.0-or-later
//! What is drawn: a header, the list or a pane, a footer.

use leco_core::model::overseer::Overseer;
use leco_os::clock::BootNs;
use ratatui::Frame as Screen;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Clear, Paragraph, Scrollbar, ScrollbarOrientation, ScrollbarState};

use crate::input::action::Mode;
use crate::model::listing::{Listing, Sort};
use crate::model::state::State;
use crate::ui::columns::{Columns, Wanted};
use crate::ui::glyphs::Glyphs;
use crate::ui::header;
use crate::ui::history;
use crate::ui::keys;
use crate::ui::one_line;
use crate::ui::panes::Pane;
use crate::ui::row::Marks;
use crate::ui::shorten::wrapped;
use crate::ui::theme::Theme;
use crate::ui::{panes, row};
use crate::width::{Width, graphemes};

/// The list keeps at least so many rows beside a pane.
const LEAST_LIST: u16 = 8;
/// From this height of the screen on the list has a heading.
const HEADING_FROM: u16 = 10;
/// From this height on the footer has keys.
const FOOTER_FROM: u16 = 8;
/// Rows for what can be typed; what is wrong is told in as many as it takes.
const MOST_HINTS: usize = 3;

/// What the screen shows beside the model.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// Where events come from.
    pub source: Source,
    /// What was last to be told, once.
    pub notice: Option<String>,
    /// How far the recording is that is played.
    pub progress: Option<String>,
    /// What of the config in force cannot be used.
    pub faults: Vec<String>,
}

/// The source of events, and how it is.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// Its name, or what is waited for.
    pub text: String,
    /// The same of each of several.
    pub each: Vec<String>,
    /// Whether events can arrive now.
    pub is_reading: bool,
    /// Whether none will.
    pub has_ended: bool,
    /// What to do where no events come, to be put behind the text.
    pub remedy: String,
    /// Lines of it that were too long to keep; of a recording all that are no events.
    pub overlong: u64,
}

/// Where on the screen everything is.
#[derive(Debug, Clone, Copy)]
struct Areas {
    header: Rect,
    heading: Rect,
    list: Rect,
    pane: Rect,
    hints: Rect,
    footer: Rect,
    /// Rows of the list while nothing else is open.
    slots: u16,
}

/// Header, list, pane and footer, where there is room.
fn layout(area: Rect, state: &State, hints: u16) -> Areas {
    let mode = state.mode;
    let is_typing = state.is_typing() || mode == Mode::Confirm;
    let header = u16::from(area.height >= 3);
    let footer = u16::from(area.height >= FOOTER_FROM || is_typing && area.height >= 2);
    let heading = u16::from(state.has_heading && area.height >= HEADING_FROM);
    let slots = area.height - header - u16::from(area.height >= FOOTER_FROM) - heading;
    let rest = area.height - header - footer;
    let hints = hints.min(rest);
    let rest = rest - hints;
    let pane = match mode {
        Mode::List | Mode::Search | Mode::Filter => 0,
        Mode::EditRule | Mode::Confirm if rest >= LEAST_LIST + 8 => 8,
        Mode::Detail if rest >= 2 * LEAST_LIST => rest / 2,
        // On a small screen it has all of it.
        _ => rest,
    };
    let heading = if pane == rest { 0 } else { heading };
    let [header, heading, list, pane, hints, footer] = Layout::vertical([
        Constraint::Length(header),
        Constraint::Length(heading),
        Constraint::Length(rest - pane - heading),
        Constraint::Length(pane),
        Constraint::Length(hints),
        Constraint::Length(footer),
    ])
    .areas(area);
    Areas { header, heading, list, pane, hints, footer, slots }
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
    let notice = state.notice.as_ref().or(status.notice.as_ref()).cloned();
    let all = screen.area();
    let room = usize::from(all.width).saturating_sub(2);
    let tab = completions(overseer, state);
    let rows = hints(overseer, state, &tab, notice.as_deref(), theme.glyphs(), (all, room)).len();
    let areas = layout(all, state, u16::try_from(rows).unwrap_or(u16::MAX));
    state.list(overseer, (areas.slots, areas.list), now);
    let keys = match state.mode {
        _ if areas.footer.height > 0 => "",
        Mode::List => "?",
        _ => "Esc",
    };
    let text = header::line(overseer, state, status, theme.glyphs(), keys, (now, areas.header.width.into()));
    draw_bar(screen, areas.header, text, theme);
    draw_list(screen, areas, overseer, state, status, theme, now);
    draw_pane(screen, areas.pane, overseer, state, status, theme, now);
    // What is listed now is counted in it.
    let hints = hints(overseer, state, &tab, notice.as_deref(), theme.glyphs(), (all, room));
    let inline = if areas.hints.height == 0 { hints.join(" ") } else { String::new() };
    let hints = hints.into_iter().map(|hint| Line::styled(format!(" {hint}"), theme.text(255)));
    screen.render_widget(hints.collect::<Text<'_>>(), areas.hints);
    let is_marked = state.selected(overseer).is_some_and(|line| line.details().is_first_ever);
    draw_footer(screen, areas.footer, (&inline, is_marked), state, status, theme);
    if let Some(said) = said(state, notice) {
        draw_said(screen, &said, theme);
    }
}

/// What is told, or asked, over whatever else is at the bottom.
fn said(state: &State, notice: Option<String>) -> Option<String> {
    match (state.mode, &state.config) {
        (Mode::Confirm, Some(file)) => {
            Some(format!("append this rule to {}?   y yes   any other key: no", file.display()))
        }
        _ if state.is_typing() => None,
        _ => notice,
    }
}

/// Draws it as a whole, in as many lines as it takes.
fn draw_said(screen: &mut Screen<'_>, said: &str, theme: Theme) {
    let all = screen.area();
    let mut lines = wrapped(said, usize::from(all.width).saturating_sub(2));
    lines.truncate(all.height.into());
    let rows = u16::try_from(lines.len()).unwrap_or(u16::MAX);
    let area = Rect { y: all.bottom() - rows, height: rows, ..all };
    screen.render_widget(Clear, area);
    for (line, area) in lines.into_iter().zip(area.rows()) {
        draw_bar(screen, area, format!(" {line}"), theme);
    }
}

fn draw_list(
    screen: &mut Screen<'_>,
    areas: Areas,
    overseer: &Overseer,
    state: &State,
    status: &Status,
    theme: Theme,
    now: BootNs,
) {
    let area = areas.list;
    if area.height == 0 {
        return;
    }
    let listing = state.lines.listed();
    let is_scrolled = listing.all > listing.rows.len();
    // A number does not stand at the bar.
    let text_area = Rect { width: area.width.saturating_sub(if is_scrolled { 2 } else { 0 }), ..area };
    let width = usize::from(text_area.width);
    let by_rate = state.lines.sort == Sort::Rate;
    let wanted = Wanted { chart: row::CHART, by_rate, units: overseer.settings().text.units };
    let columns = Columns::fit(state.lines.widest(), wanted, width);
    let has_heading = areas.heading.height > 0;
    let at = state.lines.shown_at(now);
    if has_heading && listing.shown > 0 {
        screen.render_widget(row::heading(&columns, theme), areas.heading);
    }
    for (row, area) in listing.rows.iter().zip(text_area.rows()) {
        if let Some(row) = row.as_ref().filter(|row| row.alpha > 0) {
            let is_selected = state.selection == Some(row.id);
            let marks = Marks { is_selected, search: &state.search, has_heading };
            let line = row::line(row, &columns, marks, theme, (at, width));
            one_line::draw(screen.buffer_mut(), area, &line);
        }
    }
    draw_emptiness(screen, area, overseer, state, status, theme);
    if is_scrolled {
        let last = listing.all - listing.rows.len();
        let mut at =
            ScrollbarState::new(last).position(listing.first).viewport_content_length(listing.rows.len());
        let bar = Scrollbar::new(ScrollbarOrientation::VerticalRight).begin_symbol(None).end_symbol(None);
        screen.render_stateful_widget(bar.style(theme.faint(160)), area, &mut at);
    }
}

/// Why nothing is there.
fn draw_emptiness(
    screen: &mut Screen<'_>,
    area: Rect,
    overseer: &Overseer,
    state: &State,
    status: &Status,
    theme: Theme,
) {
    let source = &status.source;
    let known = overseer.known().len();
    let text = match () {
        () if state.lines.listed().shown > 0 => return,
        () if known > 0 && state.lines.shows_slots() => {
            let known = header::lines(known);
            format!("{known} faded; s shows them all, l who listens")
        }
        () if known > 0 && state.lines.is_frozen() => {
            "frozen with nothing on the screen; space resumes".to_owned()
        }
        // A filter that cannot be read chooses nothing, nor does it leave out anything.
        () if known > 0 && state.prompt.error.is_some() => return,
        () if known > 0 && overseer.forgotten() > 0 => {
            let forgotten = header::grouped(overseer.forgotten());
            format!("nothing matches the filter; {forgotten} older lines were forgotten (lines-kept)")
        }
        () if known > 0 => "nothing matches the filter".to_owned(),
        () if source.is_reading => "no connections yet".to_owned(),
        () if source.text.is_empty() => return,
        () => format!("{}{}", source.text, source.remedy),
    };
    let lines = wrapped(&text, usize::from(area.width).saturating_sub(2));
    let lines = lines.into_iter().map(|line| Line::styled(format!(" {line}"), theme.faint(255)));
    screen.render_widget(lines.collect::<Text<'_>>(), area);
}

fn draw_pane(
    screen: &mut Screen<'_>,
    area: Rect,
    overseer: &Overseer,
    state: &mut State,
    status: &Status,
    theme: Theme,
    now: BootNs,
) {
    if state.shows_history() {
        let second = state.second(now);
        let shown = state.history.look(overseer.history(), second).clone();
        let units = overseer.settings().text.units;
        state.pane_height = history::draw(screen, area, (&state.history, &shown), (theme, units), second);
        return;
    }
    let width = usize::from(area.width);
    let file = state.config.as_deref();
    let Pane { lines, cursor, beside, above } = match (state.mode, &state.editor) {
        (Mode::Detail, _) => {
            let fields = state.fields(overseer, now);
            state.field = state.field.min(fields.len().saturating_sub(1));
            let units = overseer.settings().text.units;
            let line = state.selected(overseer);
            panes::detail(line.as_ref(), (&fields, state.field), units, theme, (now, width))
        }
        (Mode::Rules, _) => panes::rules(overseer, (file, &status.faults), &state.rule_times, theme, width),
        (Mode::Help, _) => panes::help(&status.source.each, theme, width),
        (Mode::EditRule | Mode::Confirm, Some(editor)) => {
            panes::rule_editor(editor, theme, (width, area.height.into()))
        }
        _ => return,
    };
    let height = usize::from(area.height);
    state.pane_height = height;
    let last = lines.len().saturating_sub(height);
    let mut offset = state.pane_offset;
    if let Some(cursor) = cursor {
        // The first field is seen with what stands above it.
        let first = if state.field == 0 { 0 } else { cursor.start };
        offset = offset.max(cursor.end.saturating_sub(height)).min(first);
    }
    state.pane_offset = offset.min(last);
    let offset = u16::try_from(state.pane_offset).unwrap_or(u16::MAX);
    screen.render_widget(Paragraph::new(lines).scroll((offset, 0)), area);
    if !beside.is_empty() {
        let half = area.width / 2;
        // The title scrolls away, and the chart takes its place.
        let above = above.saturating_sub(state.pane_offset).min(height);
        let top = u16::try_from(above).unwrap_or(u16::MAX);
        let right = Rect {
            x: area.x + half + 1,
            y: area.y + top,
            width: area.width - half - 1,
            height: area.height - top,
        };
        screen.render_widget(Paragraph::new(beside), right);
    }
}

/// Draws a line over the whole width, as the frame of what is between.
fn draw_bar(screen: &mut Screen<'_>, area: Rect, text: impl Into<Line<'static>>, theme: Theme) {
    one_line::draw(screen.buffer_mut(), area, &text.into().style(theme.frame()));
}

fn draw_footer(
    screen: &mut Screen<'_>,
    area: Rect,
    (inline_hint, is_marked): (&str, bool),
    state: &State,
    status: &Status,
    theme: Theme,
) {
    if area.height == 0 {
        return;
    }
    let prompt = match state.mode {
        Mode::Search => Some(" search  ".to_owned()),
        Mode::Filter | Mode::HistoryFilter => Some(" filter  ".to_owned()),
        Mode::EditRule => state.editor.as_ref().map(|editor| format!(" [{}]  ", editor.section.name())),
        _ => None,
    };
    if let Some(prompt) = prompt {
        return draw_prompt(screen, area, prompt, inline_hint, state, theme);
    }
    let text = match (&status.progress, state.mode) {
        (Some(progress), Mode::List) => progress.clone(),
        _ => keys::line(state, is_marked, theme.glyphs(), area.width.into()),
    };
    draw_bar(screen, area, text, theme);
}

/// Draws what is typed, with the cursor in it.
fn draw_prompt(
    screen: &mut Screen<'_>,
    area: Rect,
    prompt: String,
    inline_hint: &str,
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
    if !inline_hint.is_empty() {
        spans.push(Span::styled(format!("   {inline_hint}"), theme.faint(255)));
    }
    one_line::draw(screen.buffer_mut(), area, &Line::from(spans));
    let cursor = begin + input.visual_cursor().saturating_sub(scroll);
    let column = u16::try_from(cursor).unwrap_or(u16::MAX).min(area.width.saturating_sub(1));
    screen.set_cursor_position((area.x + column, area.y));
}

/// How the filter that is typed may go on: this looks at lines.
fn completions(overseer: &Overseer, state: &State) -> String {
    if !state.is_filtering() || state.prompt.error.is_some() {
        return String::new();
    }
    let last = state.prompt.input.value().rsplit(' ').next().unwrap_or_default();
    let term = last.strip_prefix('-').unwrap_or(last);
    let typed_value = term.split_once(':').map_or(term, |(_, value)| value);
    let more = state.completions(overseer);
    let more: Vec<_> = more.into_iter().map(|(more, _)| format!("{typed_value}{more}")).collect();
    if more.is_empty() { String::new() } else { format!("   Tab: {}", more.join(" ")) }
}

/// What is wrong with what is typed, else what can be done with it, in lines.
fn hints(
    overseer: &Overseer,
    state: &State,
    tab: &str,
    notice: Option<&str>,
    glyphs: &'static Glyphs,
    (screen, width): (Rect, usize),
) -> Vec<String> {
    let lines = |text: &str| wrapped(text, width).into_iter().map(ToOwned::to_owned).collect::<Vec<_>>();
    let wrong = state.prompt.error.as_ref().map(|error| error.message.as_str());
    if !state.is_typing() {
        return Vec::new();
    }
    if let Some(told) = wrong.or(notice) {
        return lines(told);
    }
    let possible = match state.mode {
        Mode::Filter => {
            let listed = header::grouped(state.lines.listed().shown as u64);
            lines(&format!("{listed} of {}{tab}", header::grouped(overseer.known().len() as u64)))
        }
        Mode::HistoryFilter => lines(tab.trim_start()),
        Mode::EditRule => lines(&glyphs.text("⏎ copy   Tab section   Ctrl-S append   Esc back")),
        _ => return Vec::new(),
    };
    let most = MOST_HINTS.min(usize::from(screen.height.saturating_sub(2) / 3));
    possible.into_iter().take(most).collect()
}

/// A text without its first cells.
fn skip_width(text: &str, cells: usize) -> &str {
    let mut skipped = 0;
    let first = graphemes(text).find(|(_, _, width)| {
        let is_first = skipped >= cells;
        skipped += width;
        is_first
    });
    first.map_or("", |(at, ..)| &text[at..])
}

/// Whether something on screen changes with time alone.
#[must_use]
pub fn ticks(overseer: &Overseer, state: &State, listing: &Listing, now: BootNs) -> bool {
    state.lines.frozen(now).is_some()
        || state.history.is_welcoming(state.second(now))
        || overseer.traffic().is_lively(now)
        || listing.rows.iter().flatten().any(|row| row.traffic.is_lively(now))
}
