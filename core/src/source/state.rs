// SPDX-License-Identifier: GPL-3.0-or-later
//! What is told of sources.

/// How the sources are doing, for a person.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourcesState {
    /// In words.
    pub text: String,
    /// All of them can bring events.
    pub is_reading: bool,
    /// One of them is not read for what it is, though something is there: to start a pipe would be no help.
    pub is_refused: bool,
    /// None of them will ever bring an event again.
    pub has_ended: bool,
    /// Lines that were too long to keep.
    pub overlong: u64,
}

impl SourcesState {
    /// What to do where no events come, to be put behind the text.
    #[must_use]
    pub fn hint(is_refused: bool) -> &'static str {
        if is_refused { "" } else { " (start leco-event-pipe, or: script/run)" }
    }
}
