// SPDX-License-Identifier: GPL-3.0-or-later
//! Every step from a line to what is shown of it.

use std::ops::Range;

use serde::Serialize;

use super::rule::Rule;
use super::verdict::{Made, Observer, Verdict};

/// One rule that held for a line, or could not be decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Line of the rule in the file, from 1.
    pub rule_line: usize,
    /// The rule's key as it stands there.
    pub rule_key: String,
    /// What it matched, in bytes of the line as the rules before left it.
    pub matched: Vec<Range<usize>>,
    /// What took the place of each match, in bytes of the result.
    pub placed: Vec<Range<usize>>,
    /// The line after it.
    pub result: String,
    /// The group it put the line into.
    pub group: Option<String>,
    /// It dropped the line.
    pub dropped: bool,
    /// It took too many steps or made the line too long, and so counts as not holding.
    pub exceeded: bool,
}

/// Every step from a line to its verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The line as received.
    pub original: String,
    /// Rules that held, in the order in which they were applied.
    pub steps: Vec<Step>,
    /// What came of them.
    pub verdict: Verdict,
}

/// Writes the steps down.
pub(super) struct Recorder<'r> {
    pub(super) rules: &'r [Rule],
    pub(super) steps: Vec<Step>,
}

impl Recorder<'_> {
    fn record(&mut self, index: usize, made: Option<Made<'_>>) {
        let rule = &self.rules[index];
        let exceeded = made.is_none();
        let before = || self.steps.last().map(|step| step.result.clone()).unwrap_or_default();
        let made = made.unwrap_or_else(|| Made {
            matched: Vec::new(),
            placed: Vec::new(),
            result: "",
            group: None,
            dropped: false,
        });
        let result = if exceeded { before() } else { made.result.to_owned() };
        self.steps.push(Step {
            rule_line: rule.line,
            rule_key: rule.key.clone(),
            matched: made.matched,
            placed: made.placed,
            result,
            group: made.group.map(Into::into),
            dropped: made.dropped,
            exceeded,
        });
    }
}

impl Observer for Recorder<'_> {
    fn held(&mut self, index: usize, made: Made<'_>) {
        self.record(index, Some(made));
    }

    fn exceeded(&mut self, index: usize) {
        self.record(index, None);
    }
}
