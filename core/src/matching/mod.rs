// SPDX-License-Identifier: GPL-3.0-or-later
//! What chooses lines: regular expressions in the dialect of PCRE, chains of them, and what finds their candidates.

mod chain;
mod pattern;
mod pcre;
mod prefilter;
mod reach;

pub(crate) use self::chain::Chain;
pub use self::pattern::LimitExceeded;
pub(crate) use self::pattern::{Captures, Case, Meaning, Pattern};
pub(crate) use self::prefilter::{Candidates, Prefilter};
