// SPDX-License-Identifier: GPL-3.0-or-later
//! One rule: a chain of regexes, and what a match becomes.

use std::ops::Range;

use super::template::Template;
use super::value::parse_value;
use crate::ini::{Entry, Fault};
use crate::lists::Lists;
use crate::matching::{Captures, Case, Chain, LimitExceeded, Pattern};
use crate::wire::details::Peers;

/// A line that rules make longer than this many bytes is left as it was before.
const MAX_LINE_BYTES: usize = 64 << 10;

/// Which section a rule stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleSection {
    /// Lines that are merged or dropped.
    Group,
    /// Text that is replaced.
    Proc,
    /// Lines that are told of.
    Notify,
}

impl RuleSection {
    /// The one of this name, of those that change what is shown.
    pub(super) fn parse(name: &str) -> Option<Self> {
        [Self::Group, Self::Proc].into_iter().find(|section| section.name() == name)
    }

    /// As its header has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Group => "rx-group",
            Self::Proc => "rx-proc",
            Self::Notify => "rx-notify",
        }
    }

    /// The other one of those that change what is shown.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Group => Self::Proc,
            Self::Proc | Self::Notify => Self::Group,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) section: RuleSection,
    pub(super) line: usize,
    pub(super) key: String,
    /// Its right side as it stands there.
    pub(super) value: Box<str>,
    pub(super) chain: Chain,
    /// Index in the chain of the pattern whose matches count, where one does.
    pub(super) target: Option<usize>,
    pub(super) template: Template,
    /// The expansion groups lines, too.
    pub(super) groups: bool,
}

/// A group's key, and what of the line was matched for it.
pub(super) type GroupKey = (String, Vec<Range<usize>>);

pub(super) struct Replaced {
    pub(super) text: String,
    /// The expansions, joined.
    pub(super) key: String,
    pub(super) matched: Vec<Range<usize>>,
    pub(super) placed: Vec<Range<usize>>,
}

/// What to write for a group that another regex of the chain has.
fn in_another(chain: &Chain, group: usize, template: &str) -> Option<String> {
    let index = chain.patterns.iter().position(|pattern| pattern.groups >= group)?;
    let number = index + 1;
    Some(if chain.patterns[index].negated {
        format!(
            "regex number {number} has one, but is negated and so matches no text: refer to another, or write a text"
        )
    } else {
        format!("regex number {number} has one: write {number}`{template} to replace what that matches")
    })
}

/// Reads what a match of a regex of the chain becomes, which is a part of the entry's value.
pub(super) fn read_template(
    entry: &Entry,
    text: &str,
    chain: &Chain,
    target: Option<usize>,
) -> (Template, Vec<Fault>) {
    let (template, doubts) = Template::parse(text, target.and_then(|target| chain.patterns.get(target)));
    let start = text.as_ptr() as usize - entry.value.as_ptr() as usize;
    let doubts = doubts.into_iter().map(|doubt| {
        let in_another = doubt.group.and_then(|group| in_another(chain, group, text));
        let span = entry.value_span(Some(start + doubt.span.start..start + doubt.span.end));
        Fault::new(span, doubt.message).with_help(in_another.unwrap_or(doubt.help))
    });
    (template, doubts.collect())
}

impl Rule {
    /// Reads a rule, and tells what of its value may be meant in another way.
    pub(super) fn compile(
        entry: &Entry,
        section: RuleSection,
        line: usize,
        lists: &Lists,
    ) -> Result<(Self, Vec<Fault>), Fault> {
        let chain = Chain::parse(entry, lists)?;
        let value = parse_value(&entry.value);
        if let Some(target) = value.target {
            let fault = |message: &str| {
                let prefix = entry.value.find('`').unwrap_or_default();
                Fault::new(entry.value_span(Some(0..prefix)), format!("{message}, the rule is skipped"))
            };
            match chain.patterns.get(target) {
                None => {
                    let count = chain.patterns.len();
                    return Err(fault(&format!("there is no regex number {} in this chain", target + 1))
                        .with_help(format!("it has {count}, write a number up to that")));
                }
                Some(pattern) if pattern.negated => {
                    return Err(fault(&format!("regex number {} is negated", target + 1))
                        .with_help("it matches nothing to replace: choose another"));
                }
                Some(_) => {}
            }
        }
        // The one chosen, else the last that is not negated.
        let target = value.target.or_else(|| chain.patterns.iter().rposition(|pattern| !pattern.negated));
        if section == RuleSection::Proc && target.is_none() {
            let message = "only negated regexes and lists leave nothing to replace, the rule is skipped";
            return Err(Fault::new(entry.key_span(), message)
                .with_help("move it to [rx-group] to drop or group lines, or add a regex without a !"));
        }
        let pattern = target.and_then(|target| chain.patterns.get(target));
        let (template, mut doubts) = read_template(entry, value.template, &chain, target);
        if template.is_always_empty(pattern)
            && (section == RuleSection::Group || value.groups)
            && let Some(doubt) = doubts.drain(..).next()
        {
            let what = doubt.message.trim_end_matches(", so nothing is inserted").to_owned();
            let help = doubt.help.unwrap_or_default();
            return Err(Fault::new(
                doubt.span,
                format!("{what}: it would drop every line, so the rule is skipped"),
            )
            .with_help(format!("{help}; leave the value empty to drop lines")));
        }
        if let Some(prefix) = value.odd_prefix {
            let message = format!("`{prefix}` before the backtick is no prefix, so it is text");
            doubts.push(
                Fault::new(entry.value_span(Some(0..prefix.len())), message)
                    .with_help("write g to group lines, a digit 1 to 9 for a regex of the chain, or both"),
            );
        }
        if section == RuleSection::Proc && !value.groups && template.is_the_match() {
            doubts.push(
                Fault::new(
                    entry.value_span(None),
                    "this rule replaces each match by itself, so it does nothing",
                )
                .with_help("write what is to stand there, or take the rule out"),
            );
        }
        // A text with capitals may be there for them.
        let is_same = |(text, case): (String, Case)| {
            template.is_text(&text) && (case == Case::Counts || !text.contains(char::is_uppercase))
        };
        if section == RuleSection::Proc
            && !value.groups
            && pattern.and_then(Pattern::literal).is_some_and(is_same)
        {
            doubts.push(
                Fault::new(
                    entry.value_span(None),
                    "this rule replaces a text by the same text, so it changes nothing",
                )
                .with_help("write what is to stand there, or take the rule out"),
            );
        }
        let rule = Self {
            section,
            line,
            key: entry.key.clone(),
            value: entry.value.as_str().into(),
            chain,
            target,
            template,
            groups: value.groups,
        };
        Ok((rule, doubts))
    }

    /// The pattern whose matches count.
    pub(super) fn target(&self) -> Option<&Pattern> {
        self.chain.patterns.get(self.target?)
    }

    /// The group of a line; `None` where the rule does not hold.
    pub(super) fn group_key(&self, line: &str, peers: &Peers<'_>) -> Result<Option<GroupKey>, LimitExceeded> {
        if !self.chain.holds(line, peers)? {
            return Ok(None);
        }
        let found = match self.target() {
            Some(pattern) => pattern.first(line)?,
            None => None,
        };
        let matched = found.iter().map(Captures::span).collect();
        let mut key = String::new();
        self.template.expand(&found.unwrap_or(Captures::None), &mut key);
        if key.len() > MAX_LINE_BYTES { Err(LimitExceeded) } else { Ok(Some((key, matched))) }
    }

    /// Replaces every match; `None` where the rule does not hold.
    pub(super) fn replace(&self, line: &str, peers: &Peers<'_>) -> Result<Option<Replaced>, LimitExceeded> {
        if !self.chain.holds(line, peers)? {
            return Ok(None);
        }
        let Some(target) = self.target() else { return Ok(None) };
        let mut text = String::with_capacity(line.len());
        let mut key = String::new();
        let (mut matched, mut placed) = (Vec::new(), Vec::new());
        let mut copied = 0;
        for captures in target.all(line)? {
            let span = captures.span();
            let start = key.len();
            self.template.expand(&captures, &mut key);
            text.push_str(&line[copied..span.start]);
            placed.push(text.len()..text.len() + key.len() - start);
            text.push_str(&key[start..]);
            if text.len() > MAX_LINE_BYTES {
                return Err(LimitExceeded);
            }
            copied = span.end;
            matched.push(span);
        }
        text.push_str(&line[copied..]);
        if text.len() > MAX_LINE_BYTES {
            return Err(LimitExceeded);
        }
        Ok((!matched.is_empty()).then_some(Replaced { text, key, matched, placed }))
    }
}
