// SPDX-License-Identifier: GPL-3.0-or-later
//! What a receiver is told first, where it wants that: totals of the time before, page by page, as fast as it takes them.

use std::sync::Arc;

use leco_cli::history::Moment;
use leco_core::query::Query;

use super::clock::{ClockField, ClockSent};
use crate::history::pages::{Cursor, Page};

/// What is wanted of the time before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredWish {
    /// Since when.
    pub since: Moment,
    /// Whether events follow; else that is all.
    pub is_live: bool,
}

/// A page that a receiver waits for.
#[derive(Debug)]
pub struct PageWish {
    /// Who waits for it.
    pub(crate) receiver: u64,
    /// Since when.
    pub(crate) since: Moment,
    /// Which totals.
    pub(crate) filter: Option<Arc<Query>>,
    /// Where it begins; the first one where there was none before.
    pub(crate) from: Option<Cursor>,
}

/// How far a receiver was told.
#[derive(Debug, Default)]
pub(crate) enum Stored {
    /// All of it, or it wants none.
    #[default]
    Told,
    /// The page from here on has to be asked for.
    Wanted(Option<Cursor>),
    /// It was, in this name.
    Asked(u64),
    /// A page, what of it was told, and where the next one begins.
    Here { page: Vec<u8>, told: usize, next: Option<Cursor> },
}

impl Stored {
    /// Takes a page that was asked for in this name.
    pub(crate) fn take(&mut self, receiver: u64, page: &mut Option<Page>) {
        if matches!(self, Self::Asked(asked) if *asked == receiver)
            && let Some(Page { lines, next }) = page.take()
        {
            *self = Self::Here { page: lines, told: 0, next };
        }
    }

    /// Moves whole lines into `batch`, up to `limit` bytes of it; one that is larger goes alone.
    pub(crate) fn fill(
        &mut self,
        batch: &mut Vec<u8>,
        limit: usize,
        clock_sent: &mut ClockSent,
        clock: &ClockField,
    ) {
        let Self::Here { page, told, next } = self else { return };
        while let Some(line) = page[*told..].split_inclusive(|byte| *byte == b'\n').next() {
            if !clock_sent.add(batch, line, limit, clock) {
                return;
            }
            *told += line.len();
        }
        *self = next.take().map_or(Self::Told, |next| Self::Wanted(Some(next)));
    }
}
