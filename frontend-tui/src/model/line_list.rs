// SPDX-License-Identifier: GPL-3.0-or-later
//! The lines to go through: how they are filtered, sorted, scrolled and held still.

use std::sync::Arc;

use leco_core::model::known_line::{Answers, LineId};
use leco_core::model::overseer::{Overseer, Row};
use leco_core::query::{Names, Query};
use leco_os::clock::BootNs;
use ratatui::layout::Rect;

use crate::model::listing::{Candidate, Listing, Sort, ordered, readable};
use crate::model::widest::Widest;

/// An alpha may be off by so much, in steps of 1/255, before a line is drawn anew: with fewer frames, an eye sees
/// none of the steps.
pub const FADE_TOLERANCE: u8 = 4;

/// Of a list that begins, so many lines at each end say at once how wide columns are; others when they are seen.
const MEASURED: usize = 500;

/// Everything held still.
#[derive(Debug)]
struct Frozen {
    since: BootNs,
    /// Lines that were new since.
    new: u64,
    /// All that there are, whatever part of them has room.
    rows: Vec<Option<Row>>,
    /// Where the list was.
    offset: Option<usize>,
}

/// The lines to go through, and which of them are on the screen.
#[derive(Debug, Default)]
pub struct LineList {
    /// The order of lines.
    pub sort: Sort,
    /// The filter as it was typed.
    pub filter: String,
    query: Query,
    /// While another one is typed, that one.
    typed: Option<Query>,
    answers: Answers,
    frozen: Option<Frozen>,
    /// First line of a list that is shown; `None`: follows the end.
    offset: Option<usize>,
    /// Where lines stand on the screen.
    area: Rect,
    listing: Listing,
    /// In slots, of all that are seen; of a list, of all that were looked at since it is this one, so that columns stay
    /// while it is scrolled.
    widest: Widest,
}

impl LineList {
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

    /// The moment that is shown.
    #[must_use]
    pub fn shown_at(&self, now: BootNs) -> BootNs {
        self.frozen.as_ref().map_or(now, |frozen| frozen.since)
    }

    /// How many lines there are to scroll through, and how many the filter chooses, at the last listing.
    #[must_use]
    pub fn listed(&self) -> &Listing {
        &self.listing
    }

    /// What its lines need in each column.
    #[must_use]
    pub fn widest(&self) -> &Widest {
        &self.widest
    }

    /// Lines may be others now, and so may names in the filter; what the config has no more stays what it was.
    pub(super) fn reloaded(&mut self, names: &Names) {
        if let Ok(query) = Query::parse_with(&self.filter, names) {
            self.query = query;
        }
        self.widest = Widest::default();
        self.answers = Answers::default();
    }

    /// Whether everything is held still.
    pub(crate) fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    /// Goes on from where the list was.
    pub(super) fn unfreeze(&mut self) {
        if let Some(frozen) = self.frozen.take() {
            self.offset = frozen.offset;
        }
    }

    /// Shows other lines, or in another order: neither is known of what is held still.
    fn begin_anew(&mut self) {
        self.frozen = None;
        self.widest = Widest::default();
        self.answers = Answers::default();
        self.offset = None;
    }

    /// What chooses lines now.
    fn query(&self) -> &Query {
        self.typed.as_ref().unwrap_or(&self.query)
    }

    pub(super) fn set_query(&mut self, query: Query) {
        (self.query, self.typed) = (query, None);
        self.begin_anew();
    }

    /// The filter that was typed is the one in force from now on.
    pub(super) fn keep_typed(&mut self) {
        if let Some(query) = self.typed.take() {
            self.query = query;
        }
    }

    /// Tries a filter as long as it is typed, or goes back to the one in force.
    pub(super) fn set_typed(&mut self, typed: Option<Query>) {
        if typed.is_some() || self.typed.is_some() {
            self.typed = typed;
            self.begin_anew();
        }
    }

    pub(super) fn set_sort(&mut self, sort: Sort) {
        self.sort = sort;
        self.begin_anew();
    }

    /// Whether lines stand where they first stood, and fade, rather than in a list.
    pub(crate) fn shows_slots(&self) -> bool {
        self.sort == Sort::Slots && self.query().is_empty() && self.frozen.is_none()
    }

    /// Lists what stands in this part of the screen, which has so many rows while nothing else is open; in slots, so
    /// that the selected line is seen.
    pub(super) fn list(
        &mut self,
        overseer: &mut Overseer,
        (slots, area): (u16, Rect),
        selection: Option<LineId>,
        now: BootNs,
    ) {
        self.area = area;
        let height = usize::from(area.height);
        let units = overseer.settings().text.units;
        // Slots go on whatever is shown, so that they are filled when they are shown again.
        let frame = overseer.frame_within(now, slots.into(), FADE_TOLERANCE);
        let is_seen = |row: &&Row| row.alpha > 0;
        self.listing = if self.shows_slots() {
            self.widest = Widest::default();
            frame.rows.iter().flatten().filter(is_seen).for_each(|row| self.widest.take(row, units));
            let selected =
                frame.rows.iter().position(|row| row.as_ref().is_some_and(|row| Some(row.id) == selection));
            let first = selected.map_or(0, |at| (at + 1).saturating_sub(height));
            let rows: Vec<_> = frame.rows.iter().skip(first).take(height).cloned().collect();
            let shown = frame.rows.iter().flatten().filter(is_seen).count();
            let all = frame.rows.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
            Listing { all: all.max(rows.len()), first, rows, shown }
        } else if let Some(frozen) = &self.frozen {
            let all = frozen.rows.len();
            let first = self.first_shown(all, 0);
            let rows = frozen.rows.iter().skip(first).take(height).cloned().collect();
            Listing { rows, first, all, shown: frozen.rows.iter().flatten().filter(is_seen).count() }
        } else {
            let lines = ordered(overseer, self.query(), &self.answers, self.sort, now);
            // In the order in which they began, the end is where something comes.
            let usual = if self.sort == Sort::Slots { lines.len() } else { 0 };
            let first = self.first_shown(lines.len(), usual);
            if self.widest == Widest::default() {
                let ends = lines.iter().take(MEASURED).chain(lines.iter().rev().take(MEASURED));
                ends.for_each(|line| self.widest.take(&overseer.row(line, now), units));
            }
            let rows = lines.iter().skip(first).take(height).map(|line| Some(readable(overseer, line, now)));
            Listing { rows: rows.collect(), first, all: lines.len(), shown: lines.len() }
        };
        self.listing.rows.resize(height, None);
        self.listing.rows.iter().flatten().filter(is_seen).for_each(|row| self.widest.take(row, units));
    }

    /// Scrolls to where the selected line is seen, if it is among the lines.
    pub(super) fn show_selection(&mut self, selection: Option<LineId>, overseer: &Overseer, now: BootNs) {
        if self.shows_slots() {
            return;
        }
        let lines = self.candidates(overseer, now);
        if let Some(at) = lines.iter().position(|(id, _)| Some(*id) == selection) {
            self.scroll_to(lines[at].0, at);
        }
    }

    /// Which of all lines is the first that is shown; the usual one where nothing was scrolled.
    fn first_shown(&self, all: usize, usual: usize) -> usize {
        self.offset.unwrap_or(usual).min(all.saturating_sub(self.area.height.into()))
    }

    /// Every line that can be gone through. Where all have faded, who asks for one goes into the list of them.
    pub(super) fn candidates<'o>(
        &mut self,
        overseer: &'o Overseer,
        now: BootNs,
    ) -> Vec<(LineId, Candidate<'o>)> {
        let of_rows = |rows: &[Option<Row>]| {
            rows.iter()
                .flatten()
                .filter(|row| row.alpha > 0)
                .map(|row| (row.id, Candidate::Row(Arc::clone(&row.text))))
                .collect()
        };
        if self.shows_slots() && self.listing.shown == 0 {
            self.set_sort(Sort::LastSeen);
        }
        match &self.frozen {
            Some(frozen) => of_rows(&frozen.rows),
            None if self.shows_slots() => of_rows(&overseer.last_frame().rows),
            None => {
                let lines = ordered(overseer, self.query(), &self.answers, self.sort, now);
                lines.into_iter().map(|line| (line.id(), Candidate::Known(line))).collect()
            }
        }
    }

    /// Scrolls to where a line is seen, which has this number among the candidates.
    pub(super) fn scroll_to(&mut self, id: LineId, to: usize) {
        if self.shows_slots() {
            return;
        }
        // What is held still may have gaps.
        let rows = self.frozen.as_ref().map(|frozen| &frozen.rows);
        let to = rows
            .and_then(|rows| rows.iter().position(|row| row.as_ref().is_some_and(|row| row.id == id)))
            .unwrap_or(to);
        let height = usize::from(self.area.height).max(1);
        let first = self.listing.first;
        self.offset = Some(first.clamp((to + 1).saturating_sub(height), to));
    }

    /// Lines that one screen is further.
    pub(super) fn screen_step(&self) -> isize {
        isize::try_from(self.area.height.max(2) - 1).unwrap_or(1)
    }

    /// Goes through all that is known; from slots into the list of it, where there is more than they have.
    pub(super) fn scroll(&mut self, lines: isize, overseer: &Overseer) {
        if self.shows_slots() {
            if self.listing.shown < overseer.known().len() {
                self.set_sort(Sort::LastSeen);
                self.offset = Some(0);
            }
            return;
        }
        let last = self.listing.all.saturating_sub(usize::from(self.area.height));
        self.offset = Some(self.listing.first.saturating_add_signed(lines).min(last));
    }

    /// The line at a place of the screen. The last column is the scrollbar, where there is more than fits.
    pub(super) fn point(&mut self, column: u16, row: u16) -> Option<LineId> {
        let at = usize::from(row.checked_sub(self.area.y).filter(|at| *at < self.area.height)?);
        let hidden = self.listing.all.saturating_sub(self.listing.rows.len());
        if hidden > 0 && column + 1 == self.area.right() {
            self.offset = Some(at * hidden / usize::from(self.area.height - 1).max(1));
            return None;
        }
        let there = self.listing.rows.get(at).and_then(Option::as_ref);
        there.filter(|row| row.alpha > 0).map(|row| row.id)
    }

    /// Holds everything still, or lets it go on.
    pub(super) fn freeze(&mut self, overseer: &Overseer, now: BootNs) {
        if self.is_frozen() {
            self.unfreeze();
            return;
        }
        let rows = if self.shows_slots() {
            let rows = &overseer.last_frame().rows;
            rows[..rows.iter().rposition(Option::is_some).map_or(0, |last| last + 1)].to_vec()
        } else {
            let lines = ordered(overseer, self.query(), &self.answers, self.sort, now);
            lines.iter().map(|line| Some(readable(overseer, line, now))).collect()
        };
        let offset = self.offset.replace(self.listing.first);
        self.frozen = Some(Frozen { since: now, new: 0, rows, offset });
    }
}
