// SPDX-License-Identifier: GPL-3.0-or-later
//! Which lines stand on the screen: those in slots, or any of all that are known.

use std::cmp::Reverse;
use std::sync::Arc;

use leco_core::model::known_line::{Answers, KnownLine};
use leco_core::model::overseer::{Overseer, Row};
use leco_core::query::Query;
use leco_os::clock::BootNs;

/// In lists of all that is known, a line is at least so bright, 55 %: who scrolls back wants to read.
const LEAST_ALPHA: u8 = 141;

/// In which order lines stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    /// Where they first stood, so that nothing moves; with a filter in the order in which they began.
    #[default]
    Slots,
    /// Last seen first.
    LastSeen,
    /// Most bytes a second first.
    Rate,
    /// Most bytes first.
    Total,
}

impl Sort {
    /// The one that follows.
    #[must_use]
    pub fn next(self) -> Self {
        match self {
            Self::Slots => Self::LastSeen,
            Self::LastSeen => Self::Rate,
            Self::Rate => Self::Total,
            Self::Total => Self::Slots,
        }
    }

    /// How it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Slots => "fixed",
            Self::LastSeen => "last seen",
            Self::Rate => "rate",
            Self::Total => "total",
        }
    }
}

/// Lines that stand on the screen, from the top, and where they stand among all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// One for each row; empty slots are `None`.
    pub rows: Vec<Option<Row>>,
    /// Number of the first one among all.
    pub first: usize,
    /// How many there are.
    pub all: usize,
    /// How many of them can be seen, here or by scrolling.
    pub shown: usize,
}

/// A line that can be gone to.
pub(crate) enum Candidate<'o> {
    /// As it stands on the screen.
    Row(Arc<str>),
    /// As it is known.
    Known(KnownLine<'o>),
}

impl Candidate<'_> {
    /// Whether it contains a text in lower case.
    pub(crate) fn contains(&self, text: &str) -> bool {
        match self {
            Self::Row(line) => line.to_lowercase().contains(text),
            Self::Known(line) => line.contains(text),
        }
    }
}

/// All known lines that the filter chooses, in an order.
pub(crate) fn ordered<'o>(
    overseer: &'o Overseer,
    query: &Query,
    answers: &Answers,
    sort: Sort,
    now: BootNs,
) -> Vec<KnownLine<'o>> {
    let mut lines: Vec<_> = overseer
        .known()
        .rev()
        .filter(|line| query.is_empty() || line.is_chosen(query, answers, now))
        .collect();
    match sort {
        Sort::Slots => lines.sort_by_cached_key(KnownLine::first),
        Sort::LastSeen => {}
        Sort::Rate => lines.sort_by_cached_key(|line| Reverse(line.rate(now).total())),
        Sort::Total => lines.sort_by_cached_key(|line| Reverse(line.total().total())),
    }
    lines
}

/// A line of such a list, to be read even when it has faded.
pub(crate) fn readable(overseer: &Overseer, line: &KnownLine<'_>, now: BootNs) -> Row {
    let row = overseer.row(line, now);
    Row { alpha: row.alpha.max(LEAST_ALPHA), ..row }
}
