// SPDX-License-Identifier: GPL-3.0-or-later
//! What the view is at: which lines are looked at, and what is being typed.

use std::path::PathBuf;

use leco_core::model::known_line::LineId;
use leco_core::model::overseer::{Overseer, Row};
use leco_core::query::{Query, QueryError};
use leco_os::clock::BootNs;
use ratatui::layout::Rect;
use tui_input::Input;

use crate::input::action::{Action, Mode};
use crate::model::listing::{Listing, Matches, Sort, ordered, readable};
use crate::model::rule_editor::RuleEditor;

/// An alpha may be off by so much, in steps of 1/255, before a line is drawn anew: with fewer frames, an eye sees
/// none of the steps.
pub const FADE_TOLERANCE: u8 = 4;

/// What the loop has to do, because the state cannot.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing but to draw.
    None,
    /// Leave.
    Quit,
    /// Draw everything anew.
    Repaint,
    /// Put this into the terminal's clipboard.
    Copy(String),
}

/// Everything held still.
#[derive(Debug)]
struct Frozen {
    since: BootNs,
    /// Lines that were new since.
    new: u64,
    rows: Vec<Option<Row>>,
}

/// What the view is at.
#[derive(Debug, Default)]
pub struct State {
    /// What keys are for.
    pub mode: Mode,
    /// The order of lines.
    pub sort: Sort,
    /// The selected line.
    pub selection: Option<LineId>,
    /// What is being typed.
    pub input: Input,
    /// What is wrong with it.
    pub error: Option<QueryError>,
    /// The filter as it was typed.
    pub filter: String,
    /// What is looked for, in lower case.
    pub search: String,
    /// How far a pane is scrolled.
    pub pane_offset: usize,
    /// The rule that is tried.
    pub editor: Option<RuleEditor>,
    /// Time that each rule takes for a line, in ns, as far as it was measured.
    pub rule_times: Vec<u64>,
    /// What is to be told, once.
    pub notice: Option<String>,
    /// The file to which rules can be appended.
    pub config: Option<PathBuf>,
    query: Query,
    matches: Matches,
    frozen: Option<Frozen>,
    /// First line of a list that is shown; `None`: follows the end.
    offset: Option<usize>,
    /// Which saved filter was taken last.
    pub(super) saved: Option<usize>,
    /// Where lines stand on the screen.
    list: Rect,
    listing: Listing,
}

impl State {
    /// Starts with the list; rules can be appended to this config.
    #[must_use]
    pub fn new(config: Option<PathBuf>) -> Self {
        Self { config, ..Self::default() }
    }

    /// Takes note that a line appeared.
    pub fn line_appeared(&mut self) {
        if let Some(frozen) = &mut self.frozen {
            frozen.new += 1;
        }
    }

    /// For how long everything has been held still, in ns, and how many lines are new since.
    #[must_use]
    pub fn frozen(&self, now: BootNs) -> Option<(u64, u64)> {
        self.frozen.as_ref().map(|frozen| (now.saturating_sub(frozen.since), frozen.new))
    }

    /// How many lines there are to scroll through, and how many the filter chooses, at the last listing.
    #[must_use]
    pub fn listed(&self) -> &Listing {
        &self.listing
    }

    /// The rules or the config changed: lines may be others now.
    pub fn reloaded(&mut self) {
        self.rule_times.clear();
        self.matches.clear();
    }

    fn shows_slots(&self) -> bool {
        self.sort == Sort::Slots && self.query.is_empty() && self.frozen.is_none()
    }

    /// What stands in this part of the screen.
    pub fn list(&mut self, overseer: &mut Overseer, area: Rect, now: BootNs) -> &Listing {
        self.list = area;
        let height = usize::from(area.height);
        // Slots go on whatever is shown, so that they are filled when they are shown again.
        let slots = overseer.frame_within(now, height, FADE_TOLERANCE);
        if self.shows_slots() {
            let rows = slots.rows.clone();
            self.listing = Listing { all: rows.len(), first: 0, rows };
            return &self.listing;
        }
        if let Some(frozen) = &self.frozen {
            let all = frozen.rows.len();
            let first = first_shown(self.offset, all, height, false);
            let rows = frozen.rows.iter().skip(first).take(height).cloned().collect();
            self.listing = Listing { rows, first, all };
        } else {
            let lines = ordered(overseer, &self.query, &mut self.matches, self.sort, now);
            let follows_end = self.sort == Sort::Slots;
            let first = first_shown(self.offset, lines.len(), height, follows_end);
            let rows = lines.iter().skip(first).take(height).map(|line| Some(readable(overseer, *line, now)));
            self.listing = Listing { rows: rows.collect(), first, all: lines.len() };
        }
        self.listing.rows.resize(height, None);
        &self.listing
    }

    /// Every line that can be gone through, with its text.
    fn candidates(&mut self, overseer: &Overseer, now: BootNs) -> Vec<(LineId, String)> {
        let of_rows = |rows: &[Option<Row>]| {
            rows.iter()
                .flatten()
                .filter(|row| row.alpha > 0)
                .map(|row| (row.id, row.text.to_string()))
                .collect()
        };
        match &self.frozen {
            Some(frozen) => of_rows(&frozen.rows),
            None if self.shows_slots() => of_rows(&self.listing.rows),
            None => {
                let lines = ordered(overseer, &self.query, &mut self.matches, self.sort, now);
                lines.iter().map(|line| (line.id(), line.text().to_owned())).collect()
            }
        }
    }

    /// The selected line, as it was received, where it is still known.
    #[must_use]
    pub fn selected<'o>(
        &self,
        overseer: &'o Overseer,
    ) -> Option<leco_core::model::known_line::KnownLine<'o>> {
        let id = self.selection?;
        overseer.known().find(|line| line.id() == id)
    }

    /// Does what a person wants.
    pub fn apply(&mut self, intention: Action, overseer: &Overseer, now: BootNs) -> Effect {
        self.notice = None;
        match intention {
            Action::Quit => return Effect::Quit,
            Action::Repaint => return Effect::Repaint,
            Action::Move(lines) if matches!(self.mode, Mode::Detail | Mode::Rules | Mode::Help) => {
                self.pane_offset = self.pane_offset.saturating_add_signed(lines);
            }
            Action::Move(lines) => self.step(lines, overseer, now),
            Action::MoveScreens(screens) => self.scroll(screens),
            Action::First => self.go_to(0, overseer, now),
            Action::Last => self.go_to(usize::MAX, overseer, now),
            Action::Point(column, row) => self.point(column, row),
            Action::Freeze => self.freeze(overseer, now),
            Action::Sort => {
                self.sort = self.sort.next();
                self.offset = None;
            }
            Action::Open(mode) => self.open(mode, overseer, now),
            Action::Match(by) => self.go_to_match(by, overseer, now),
            Action::Offer(offer) => self.offer(offer, overseer),
            Action::Back => self.back(),
            Action::Accept => return self.accept(),
            Action::Edit(request) => {
                self.input.handle(request);
                self.typed(overseer, now);
            }
            Action::Complete => self.complete(overseer, now),
            Action::Saved(by) => self.take_saved(by, overseer, now),
            Action::Append if self.mode == Mode::EditRule => {
                if self.editor.as_ref().is_some_and(RuleEditor::is_complete) {
                    self.mode = Mode::Confirm;
                }
            }
            Action::Append => {}
            Action::Confirm => self.append(),
        }
        Effect::None
    }

    fn step(&mut self, by: isize, overseer: &Overseer, now: BootNs) {
        let lines = self.candidates(overseer, now);
        let at = self.selection.and_then(|id| lines.iter().position(|(known, _)| *known == id));
        let to = match at {
            Some(at) => at.saturating_add_signed(by),
            None if by > 0 => 0,
            None => usize::MAX,
        };
        self.select(to, &lines);
    }

    fn go_to(&mut self, to: usize, overseer: &Overseer, now: BootNs) {
        match self.mode {
            Mode::List => {
                let lines = self.candidates(overseer, now);
                self.select(to, &lines);
            }
            _ => self.pane_offset = to,
        }
    }

    /// Selects a line by its number, and scrolls to where it is seen.
    fn select(&mut self, to: usize, lines: &[(LineId, String)]) {
        let Some(last) = lines.len().checked_sub(1) else { return };
        let to = to.min(last);
        self.selection = Some(lines[to].0);
        if self.shows_slots() {
            return;
        }
        let height = usize::from(self.list.height).max(1);
        let first = self.listing.first;
        self.offset = Some(first.clamp((to + 1).saturating_sub(height), to));
    }

    /// Goes through all that is known.
    fn scroll(&mut self, screens: isize) {
        let height = isize::try_from(self.list.height.max(2) - 1).unwrap_or(1);
        if self.mode != Mode::List {
            self.pane_offset = self.pane_offset.saturating_add_signed(screens * height);
            return;
        }
        if self.shows_slots() {
            self.sort = Sort::LastSeen;
            self.offset = Some(0);
            return;
        }
        let last = self.listing.all.saturating_sub(usize::from(self.list.height));
        self.offset = Some(self.listing.first.saturating_add_signed(screens * height).min(last));
    }

    /// The last column is the scrollbar, where there is more than fits.
    fn point(&mut self, column: u16, row: u16) {
        let Some(at) = row.checked_sub(self.list.y).filter(|at| *at < self.list.height) else { return };
        let at = usize::from(at);
        let hidden = self.listing.all.saturating_sub(self.listing.rows.len());
        if hidden > 0 && column + 1 == self.list.right() {
            self.offset = Some(at * hidden / usize::from(self.list.height - 1).max(1));
            return;
        }
        let there = self.listing.rows.get(at).and_then(Option::as_ref);
        if let Some(row) = there.filter(|row| row.alpha > 0) {
            self.selection = Some(row.id);
        }
    }

    fn freeze(&mut self, overseer: &Overseer, now: BootNs) {
        if self.frozen.take().is_some() {
            return;
        }
        let rows = if self.shows_slots() {
            self.listing.rows.clone()
        } else {
            let lines = ordered(overseer, &self.query, &mut self.matches, self.sort, now);
            lines.iter().map(|line| Some(readable(overseer, *line, now))).collect()
        };
        self.offset = Some(self.listing.first);
        self.frozen = Some(Frozen { since: now, new: 0, rows });
    }

    fn open(&mut self, mode: Mode, overseer: &Overseer, now: BootNs) {
        self.pane_offset = 0;
        match mode {
            Mode::Detail if self.selection.is_none() => self.step(1, overseer, now),
            Mode::Search => self.input = Input::default(),
            Mode::Filter => self.input = Input::new(self.filter.clone()),
            _ => {}
        }
        // The same key closes what it opened.
        self.mode = if self.mode == mode { Mode::List } else { mode };
        self.error = None;
        self.saved = None;
    }

    fn back(&mut self) {
        match self.mode {
            Mode::List => {
                // One thing after the other.
                if self.frozen.is_some() {
                    self.frozen = None;
                } else if !self.search.is_empty() {
                    self.search.clear();
                } else if !self.filter.is_empty() {
                    self.filter.clear();
                    self.set_query(Query::default());
                } else if self.sort != Sort::Slots {
                    self.sort = Sort::Slots;
                    self.offset = None;
                } else {
                    self.selection = None;
                }
            }
            Mode::Search => {
                self.search.clear();
                self.mode = Mode::List;
            }
            Mode::Filter => {
                let before = Query::parse(&self.filter).unwrap_or_default();
                self.set_query(before);
                self.mode = Mode::List;
            }
            Mode::Confirm => self.mode = Mode::EditRule,
            Mode::Detail | Mode::Rules | Mode::EditRule | Mode::Help => {
                self.mode = Mode::List;
                self.editor = None;
            }
        }
        self.error = None;
    }

    pub(super) fn set_query(&mut self, query: Query) {
        self.query = query;
        self.matches.clear();
        self.offset = None;
    }

    /// Goes to the line that holds what is looked for: by 0 the next one from here on, by 1 the one after.
    pub(super) fn go_to_match(&mut self, by: isize, overseer: &Overseer, now: BootNs) {
        if self.search.is_empty() {
            return;
        }
        let lines = self.candidates(overseer, now);
        let at = self.selection.and_then(|id| lines.iter().position(|(known, _)| *known == id)).unwrap_or(0);
        let holds = |index: &usize| lines[*index].1.to_lowercase().contains(&self.search);
        let count = lines.len();
        let found = if by < 0 {
            (1..=count).map(|back| (at + count - back) % count).find(holds)
        } else {
            let start = usize::from(by > 0);
            (start..count + start).map(|on| (at + on) % count).find(holds)
        };
        match found {
            Some(index) => self.select(index, &lines),
            None => self.notice = Some("not found".into()),
        }
    }
}

/// Which line is the first that is shown.
fn first_shown(offset: Option<usize>, all: usize, height: usize, follows_end: bool) -> usize {
    let last = all.saturating_sub(height);
    offset.unwrap_or(if follows_end { last } else { 0 }).min(last)
}
