// SPDX-License-Identifier: GPL-3.0-or-later
//! What the view is at: which lines are looked at, and what is being typed.

use std::path::PathBuf;

use leco_core::model::known_line::{KnownLine, LineId};
use leco_core::model::overseer::Overseer;
use leco_core::query::{Query, QueryError};
use leco_os::clock::BootNs;
use ratatui::layout::Rect;
use tui_input::Input;

use crate::input::action::{Action, Copied, Mode};
use crate::model::detail;
use crate::model::detail::Field;
use crate::model::history::HistoryView;
use crate::model::line_list::LineList;
use crate::model::listing::{Candidate, Sort};
use crate::model::rule_editor::RuleEditor;

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
    /// Note in the config whether the list has a heading.
    KeepHeading(bool),
}

/// What a key says that is about a line, where none is selected.
pub(super) const SELECT_FIRST: &str = "select a line first (↑ ↓)";

/// What is said where a rule cannot be kept.
pub(super) const NO_CONFIG: &str = "there is no config to append to: name one on the command line";

/// What is being typed.
#[derive(Debug, Default)]
pub struct Prompt {
    /// As far as it is typed.
    pub input: Input,
    /// What is wrong with it.
    pub error: Option<QueryError>,
    /// Which saved filter was taken last.
    pub(super) saved: Option<usize>,
}

/// What the view is at.
#[derive(Debug, Default)]
pub struct State {
    /// What keys are for.
    pub mode: Mode,
    /// The lines to go through.
    pub lines: LineList,
    /// The selected line.
    pub selection: Option<LineId>,
    /// What is being typed.
    pub prompt: Prompt,
    /// What is looked for, in lower case.
    pub search: String,
    /// How far a pane is scrolled.
    pub pane_offset: usize,
    /// Rows of the pane, when it was last drawn.
    pub pane_height: usize,
    /// Which field of the details the cursor is on.
    pub field: usize,
    /// The list has a heading.
    pub has_heading: bool,
    /// The rule that is edited.
    pub editor: Option<RuleEditor>,
    /// Time that each rule takes for a line, in ns, as far as it was measured.
    pub rule_times: Vec<u64>,
    /// What is to be told, once.
    pub notice: Option<String>,
    /// The file to which rules can be appended.
    pub config: Option<PathBuf>,
    /// What is looked at of what went over the network.
    pub history: HistoryView,
    /// By how much the wall clock is ahead of the boot clock, in ns.
    pub wall_ahead: i64,
}

impl State {
    /// Starts with the list; rules can be appended to this config.
    #[must_use]
    pub fn new(config: Option<PathBuf>) -> Self {
        Self { config, has_heading: true, ..Self::default() }
    }

    /// The rules or the config changed: lines may be others now.
    pub fn reloaded(&mut self, overseer: &Overseer) {
        self.rule_times.clear();
        self.lines.reloaded(overseer.names());
        self.history.reloaded(overseer.names());
        if matches!(self.mode, Mode::Filter | Mode::HistoryFilter) {
            self.typed(overseer, 0);
        }
    }

    /// The selected line, as it was received, where it is still known.
    #[must_use]
    pub fn selected<'o>(&self, overseer: &'o Overseer) -> Option<KnownLine<'o>> {
        let id = self.selection?;
        overseer.known().find(|line| line.id() == id)
    }

    /// Everything about the selected line.
    #[must_use]
    pub fn fields(&self, overseer: &Overseer, now: BootNs) -> Vec<Field> {
        let line = self.selected(overseer);
        line.map(|line| detail::fields(&line, overseer, self.config.as_deref(), now)).unwrap_or_default()
    }

    /// Whether letters are typed rather than keys pressed.
    #[must_use]
    pub fn is_typing(&self) -> bool {
        self.mode.is_typing()
    }

    /// Whether a filter is typed, of the list or of the history.
    #[must_use]
    pub fn is_filtering(&self) -> bool {
        matches!(self.mode, Mode::Filter | Mode::HistoryFilter)
    }

    /// Whether the history is shown, which has a filter of its own.
    #[must_use]
    pub fn shows_history(&self) -> bool {
        matches!(self.mode, Mode::History | Mode::HistoryFilter)
    }

    /// The wall clock in seconds since 1970.
    #[must_use]
    pub fn second(&self, now: BootNs) -> i64 {
        i64::try_from(now).unwrap_or(i64::MAX).saturating_add(self.wall_ahead).div_euclid(1_000_000_000)
    }

    /// Lists what stands in this part of the screen, which has so many rows while nothing else is open.
    pub fn list(&mut self, overseer: &mut Overseer, (slots, area): (u16, Rect), now: BootNs) {
        self.lines.list(overseer, (slots, area), self.selection, now);
    }

    /// Does what a person wants.
    pub fn apply(&mut self, action: Action, overseer: &Overseer, now: BootNs) -> Effect {
        self.notice = None;
        self.history.touch(overseer.history(), self.second(now));
        match action {
            Action::Quit => return Effect::Quit,
            Action::Repaint => return Effect::Repaint,
            Action::Move(lines) if self.has_list() => self.step(lines, overseer, now),
            Action::Scroll(lines) if self.has_list() => self.lines.scroll(lines, overseer),
            Action::Move(lines) | Action::Scroll(lines) => self.scroll_pane(lines),
            Action::MoveScreens(screens) if self.has_list() => {
                self.lines.scroll(screens.saturating_mul(self.lines.screen_step()), overseer);
            }
            Action::MoveScreens(screens) => {
                let step = isize::try_from(self.pane_height.max(2) - 1).unwrap_or(1);
                self.scroll_pane(screens.saturating_mul(step));
            }
            Action::First => self.go_to(0, overseer, now),
            Action::Last => self.go_to(usize::MAX, overseer, now),
            Action::Point(column, row) => self.selection = self.lines.point(column, row).or(self.selection),
            Action::Freeze => self.lines.freeze(overseer, now),
            Action::Sort => self.lines.set_sort(self.lines.sort.next()),
            Action::Open(mode) => self.open(mode, overseer, now),
            Action::Match(by) => self.go_to_match(by, overseer, now),
            Action::Offer(offer) => self.offer(offer, overseer),
            Action::Back => self.back(),
            Action::Accept => return self.accept(overseer),
            Action::By(by) => self.history.turn(by),
            Action::Range(key) => self.notice = self.history.set_range(key).err().map(ToOwned::to_owned),
            Action::GoOut => drop(self.history.go_back()),
            Action::Edit(request) => {
                self.prompt.input.handle(request);
                self.typed(overseer, now);
            }
            Action::Complete => self.complete(overseer, now),
            Action::Saved(by) => self.take_saved(by, overseer, now),
            Action::Append if self.mode == Mode::EditRule => {
                if self.config.is_none() {
                    self.notice = Some(NO_CONFIG.into());
                } else if self.editor.as_ref().is_some_and(RuleEditor::is_complete) {
                    self.mode = Mode::Confirm;
                }
            }
            Action::Append => {}
            Action::Confirm => self.append(),
            Action::AcceptNew => self.accept_or_show_peer(overseer, now),
            Action::Alone(alone) => self.toggle_alone(alone, overseer, now),
            Action::Copy(copied) => return self.copy(copied, overseer, now),
            Action::Heading => {
                self.has_heading = !self.has_heading;
                return Effect::KeepHeading(self.has_heading);
            }
        }
        Effect::None
    }

    /// Takes what is to be copied.
    fn copy(&mut self, copied: Copied, overseer: &Overseer, now: BootNs) -> Effect {
        let Some(line) = self.selected(overseer) else {
            self.notice = Some(SELECT_FIRST.into());
            return Effect::None;
        };
        let (what, text) = match (copied, self.mode) {
            (Copied::Event, _) => ("the event".to_owned(), line.json(now).to_string()),
            (Copied::Field, Mode::Detail) => match self.fields(overseer, now).into_iter().nth(self.field) {
                Some(field) => (field.name, field.value),
                None => return Effect::None,
            },
            // The address says who it is, where the line has only a name.
            (Copied::Field, _) => match line.details().peers.pop() {
                Some(peer) => (peer.clone(), peer),
                None => ("the line".to_owned(), line.text().to_string()),
            },
        };
        self.notice = Some(format!("copied: {what}"));
        Effect::Copy(text)
    }

    fn step(&mut self, by: isize, overseer: &Overseer, now: BootNs) {
        let lines = self.lines.candidates(overseer, now);
        let at = self.selection.and_then(|id| lines.iter().position(|(known, _)| *known == id));
        let to = match at {
            Some(at) => at.saturating_add_signed(by),
            None if by > 0 => 0,
            None => usize::MAX,
        };
        self.select(to, &lines);
    }

    /// Whether the selected line is one of those that are listed; a slot may have faded.
    fn is_listed(&mut self, overseer: &Overseer, now: BootNs) -> bool {
        let Some(selection) = self.selection else { return false };
        self.lines.shows_slots()
            || self.lines.candidates(overseer, now).iter().any(|(id, _)| *id == selection)
    }

    fn go_to(&mut self, to: usize, overseer: &Overseer, now: BootNs) {
        match self.mode {
            Mode::List => {
                let lines = self.lines.candidates(overseer, now);
                self.select(to, &lines);
            }
            Mode::Detail => self.field = to,
            Mode::History => self.history.at = to,
            _ => self.pane_offset = to,
        }
    }

    /// Selects a line by its number, and scrolls to where it is seen.
    fn select(&mut self, to: usize, lines: &[(LineId, Candidate<'_>)]) {
        let Some(last) = lines.len().checked_sub(1) else { return };
        let to = to.min(last);
        self.selection = Some(lines[to].0);
        self.lines.scroll_to(lines[to].0, to);
    }

    /// Whether the list has all of the screen.
    fn has_list(&self) -> bool {
        matches!(self.mode, Mode::List | Mode::Search | Mode::Filter)
    }

    /// Goes up or down in what is open.
    fn scroll_pane(&mut self, lines: isize) {
        let at = match self.mode {
            Mode::Detail => &mut self.field,
            Mode::History | Mode::HistoryFilter => &mut self.history.at,
            _ => &mut self.pane_offset,
        };
        *at = at.saturating_add_signed(lines);
    }

    fn open(&mut self, mode: Mode, overseer: &Overseer, now: BootNs) {
        (self.pane_offset, self.field) = (0, 0);
        match mode {
            Mode::Detail if self.mode != mode && !self.is_listed(overseer, now) => {
                self.step(1, overseer, now);
                if self.selection.is_none() {
                    self.notice = Some("no line to open".into());
                    return;
                }
            }
            Mode::Search => self.prompt.input = Input::default(),
            Mode::Filter => self.prompt.input = to_be_continued(&self.lines.filter),
            Mode::HistoryFilter => self.prompt.input = to_be_continued(&self.history.filter),
            Mode::History if self.mode != mode => self.history.open(),
            _ => {}
        }
        // The same key closes what it opened.
        self.mode = if self.mode == mode { Mode::List } else { mode };
        self.prompt.error = None;
        self.prompt.saved = None;
    }

    fn back(&mut self) {
        match self.mode {
            Mode::List => {
                // One thing after the other.
                if self.lines.is_frozen() {
                    self.lines.unfreeze();
                } else if !self.search.is_empty() {
                    self.search.clear();
                } else if !self.lines.filter.is_empty() {
                    self.lines.filter.clear();
                    self.lines.set_query(Query::default());
                } else if self.lines.sort != Sort::Slots {
                    self.lines.set_sort(Sort::Slots);
                } else {
                    self.selection = None;
                }
            }
            Mode::Search => {
                self.search.clear();
                self.mode = Mode::List;
            }
            Mode::Filter => {
                self.lines.set_typed(None);
                self.mode = Mode::List;
            }
            Mode::Confirm => self.mode = Mode::EditRule,
            Mode::HistoryFilter => self.mode = Mode::History,
            Mode::History if self.history.go_back() => {}
            Mode::History => self.mode = Mode::List,
            Mode::Detail | Mode::Rules | Mode::EditRule | Mode::Help => {
                self.mode = Mode::List;
                self.editor = None;
            }
        }
        self.prompt.error = None;
    }

    /// Goes to the line that holds what is looked for: by 0 the next one from here on, by 1 the one after.
    pub(super) fn go_to_match(&mut self, by: isize, overseer: &Overseer, now: BootNs) {
        if self.search.is_empty() {
            return;
        }
        let lines = self.lines.candidates(overseer, now);
        let at = self.selection.and_then(|id| lines.iter().position(|(known, _)| *known == id)).unwrap_or(0);
        let holds = |index: &usize| lines[*index].1.contains(&self.search);
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
/// A filter behind which another term can be typed.
fn to_be_continued(filter: &str) -> Input {
    Input::new(if filter.is_empty() { String::new() } else { format!("{filter} ") })
}
