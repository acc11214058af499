// SPDX-License-Identifier: GPL-3.0-or-later
//! What rules make of a line, and who is told of each step.

use std::ops::Range;

/// What the rules made of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is shown.
    Show {
        /// As the rules left it.
        line: String,
        /// Key of the group it belongs to, where it belongs to one.
        group: Option<String>,
    },
    /// It is not shown.
    Drop,
}

/// What is told of the rules while they are applied.
pub(super) trait Observer {
    fn held(&mut self, index: usize, made: Made<'_>);
    fn exceeded(&mut self, index: usize);
}

/// What a rule that held made of a line.
pub(super) struct Made<'m> {
    /// Bytes of the line before it.
    pub(super) matched: Vec<Range<usize>>,
    /// Bytes of the result that took their place.
    pub(super) placed: Vec<Range<usize>>,
    pub(super) result: &'m str,
    pub(super) group: Option<&'m str>,
    pub(super) dropped: bool,
}
