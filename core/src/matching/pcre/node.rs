// SPDX-License-Identifier: GPL-3.0-or-later
//! Parts of a translated regex, put together.

use regex_syntax::escape_into;

use super::need::Need;
use super::quantifier::Quantifier;
use crate::matching::pattern::Case;

/// From this on a regex may be too large for the engine: instructions that it takes, about.
pub(crate) const EAGER_WEIGHT: u64 = 2000;
/// Deeper than this the backtracking engine may refuse.
pub(crate) const EAGER_DEPTH: usize = 24;

/// A part, as the engine reads it.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) text: String,
    /// It can be repeated as it stands.
    pub(super) is_single: bool,
    /// It takes no characters, by its nature.
    pub(super) is_position: bool,
    pub(super) has_groups: bool,
    /// Characters it takes: at least, and at most.
    pub(super) length: (u64, Option<u64>),
    /// Instructions that it takes, about.
    pub(super) weight: u64,
    pub(super) need: Need,
}

impl Node {
    pub(super) fn empty() -> Self {
        Self {
            text: String::new(),
            is_single: false,
            is_position: false,
            has_groups: false,
            length: (0, Some(0)),
            weight: 0,
            need: Need::exactly(""),
        }
    }

    /// Characters that mean themselves.
    pub(super) fn literal(text: &str, case: Case) -> Self {
        let has_case =
            case == Case::Ignored && text.chars().any(|c| c.is_ascii_alphabetic() || !c.is_ascii());
        let mut written = String::with_capacity(text.len() + 8);
        if has_case {
            written.push_str("(?i:");
        }
        escape_into(text, &mut written);
        if has_case {
            written.push(')');
        }
        let length = text.chars().count() as u64;
        // Other cases of a letter outside ASCII are not known here.
        let need =
            if case == Case::Ignored && !text.is_ascii() { Need::default() } else { Need::exactly(text) };
        Self {
            text: written,
            is_single: has_case || length == 1,
            length: (length, Some(length)),
            weight: text.len() as u64 * 2,
            need,
            ..Self::empty()
        }
    }

    /// One character of a set.
    pub(super) fn set(text: String, weight: u64) -> Self {
        let need = Need::default();
        Self { text, is_single: true, length: (1, Some(1)), weight, need, ..Self::empty() }
    }

    /// A place between characters.
    pub(super) fn position(text: &str) -> Self {
        Self { text: text.to_owned(), is_position: true, weight: 2, ..Self::empty() }
    }

    /// What nothing is known of but its text.
    pub(super) fn unknown(text: String) -> Self {
        Self { text, is_single: true, length: (0, None), weight: 8, need: Need::default(), ..Self::empty() }
    }

    /// The same between brackets.
    pub(super) fn wrapped(self, open: &str) -> Self {
        Self { text: format!("{open}{})", self.text), is_single: true, is_position: false, ..self }
    }

    pub(super) fn alternation(branches: Vec<Self>) -> Self {
        let mut branches = branches.into_iter();
        let Some(mut all) = branches.next() else { return Self::empty() };
        for branch in branches {
            all.text.push('|');
            all.text.push_str(&branch.text);
            all.is_single = false;
            all.is_position = false;
            all.has_groups |= branch.has_groups;
            all.length.0 = all.length.0.min(branch.length.0);
            all.length.1 = all.length.1.zip(branch.length.1).map(|(one, other)| one.max(other));
            all.weight = all.weight.saturating_add(branch.weight + 1);
            all.need = all.need.or(&branch.need);
        }
        all
    }

    pub(super) fn repeat(self, quantifier: Quantifier) -> Self {
        let Quantifier { min, max, is_lazy, is_possessive } = quantifier;
        if self.length.1 == Some(0) && !self.has_groups {
            // Nothing, however often; the engines do not repeat what is empty.
            return if min == 0 { Self::empty() } else { Self { is_single: false, ..self } };
        }
        let times = match (min, max) {
            (0, None) => "*".to_owned(),
            (1, None) => "+".to_owned(),
            (0, Some(1)) => "?".to_owned(),
            (min, None) => format!("{{{min},}}"),
            (min, Some(max)) if min == max => format!("{{{min}}}"),
            (min, Some(max)) => format!("{{{min},{max}}}"),
        };
        let lazy = if is_lazy { "?" } else { "" };
        let atom = if self.is_single { self.text } else { format!("(?:{})", self.text) };
        let text = format!("{atom}{times}{lazy}");
        let text = if is_possessive { format!("(?>{text})") } else { text };
        let copies = u64::from(max.unwrap_or(min).max(1));
        Self {
            text,
            is_single: is_possessive,
            is_position: false,
            has_groups: self.has_groups,
            length: (
                self.length.0.saturating_mul(u64::from(min)),
                self.length.1.zip(max).map(|(length, max)| length.saturating_mul(u64::from(max))),
            ),
            weight: self.weight.saturating_add(1).saturating_mul(copies),
            need: if min == 0 { Need::default() } else { self.need.repeated() },
        }
    }
}

/// Parts one after the other.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    node: Option<Node>,
    /// Characters that are written together.
    run: String,
    run_case: Case,
}

impl Sequence {
    pub(super) fn push_literal(&mut self, c: char, case: Case) {
        if self.run_case != case {
            self.flush();
        }
        self.run_case = case;
        self.run.push(c);
    }

    pub(super) fn push(&mut self, node: Node) {
        self.flush();
        let Some(all) = &mut self.node else {
            self.node = Some(node);
            return;
        };
        all.text.push_str(&node.text);
        all.is_single = false;
        all.is_position &= node.is_position;
        all.has_groups |= node.has_groups;
        all.length.0 = all.length.0.saturating_add(node.length.0);
        all.length.1 = all.length.1.zip(node.length.1).map(|(one, other)| one.saturating_add(other));
        all.weight = all.weight.saturating_add(node.weight);
        all.need = std::mem::take(&mut all.need).then(node.need);
    }

    fn flush(&mut self) {
        if !self.run.is_empty() {
            let run = std::mem::take(&mut self.run);
            self.push(Node::literal(&run, self.run_case));
        }
    }

    pub(super) fn finish(mut self) -> Node {
        self.flush();
        self.node.unwrap_or_else(Node::empty)
    }
}
