// SPDX-License-Identifier: GPL-3.0-or-later
//! What is told of sources.

/// How the sources are doing, for a person.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourcesState {
    /// All of them in words, in short.
    pub text: String,
    /// Each of them in words.
    pub each: Vec<String>,
    /// All of them can bring events.
    pub is_reading: bool,
    /// What to do where no events come, to be put behind the text; nothing where to start a pipe would be no help.
    pub remedy: String,
    /// None of them will ever bring an event again.
    pub has_ended: bool,
    /// Lines that were too long to keep.
    pub overlong: u64,
}
