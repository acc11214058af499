//! Rules that rename, hide and group lines.

mod explain;
mod filter;
mod parse;
mod pattern;
mod template;

use std::borrow::Cow;
use std::cell::OnceCell;
use std::ops::Range;

use regex::{RegexSet, RegexSetBuilder, SetMatches};

pub use self::explain::{Explanation, Step};
pub use self::filter::{Filter, FilterError};
pub(crate) use self::parse::Chain;
use self::parse::{Action, parse_value};
pub use self::pattern::LimitExceeded;
use self::pattern::{Captures, Pattern};
use crate::config::Fault;
use crate::config::ini::{Entry, Ini};

/// Bytes that the automata of all patterns together may take.
const SET_SIZE_LIMIT: usize = 64 << 20;
/// A line that rules make longer than this many bytes is left as it was before.
const MAX_LINE_BYTES: usize = 64 << 10;

/// Which section a rule stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    Group,
    Proc,
}

#[derive(Debug, Clone)]
struct Rule {
    section: Section,
    line: usize,
    key: String,
    chain: Chain,
    action: Action,
}

/// How often a rule held, and how often it could not be decided.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RuleHits {
    /// Lines for which it held.
    pub held: u64,
    /// Lines on which it took too many steps, or which it made too long: there it counts as not holding.
    pub exceeded: u64,
}

/// A rule as a person knows it, and what it did so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleInfo<'r> {
    /// Its line in the file, from 1.
    pub line: usize,
    /// Its key as it stands there.
    pub key: &'r str,
    /// Since the config was read.
    pub hits: RuleHits,
}

/// The rules of a config, in the order of the file.
#[derive(Debug, Clone, Default)]
pub struct RuleSet {
    rules: Vec<Rule>,
    hits: Vec<RuleHits>,
    /// Of which rules it was told that they exceeded a limit.
    told: Vec<bool>,
    /// Every pattern that needs no backtracking: one pass over a line finds the rules that may hold.
    set: Option<RegexSet>,
}

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
trait Observer {
    fn held(&mut self, index: usize, made: Made<'_>);
    fn exceeded(&mut self, index: usize);
}

/// What a rule that held made of a line.
struct Made<'m> {
    /// Bytes of the line before it.
    matched: Vec<Range<usize>>,
    /// Bytes of the result that took their place.
    placed: Vec<Range<usize>>,
    result: &'m str,
    group: Option<&'m str>,
    dropped: bool,
}

impl Observer for Vec<RuleHits> {
    fn held(&mut self, index: usize, _: Made<'_>) {
        self[index].held += 1;
    }

    fn exceeded(&mut self, index: usize) {
        self[index].exceeded += 1;
    }
}

impl RuleSet {
    /// Compiles the rules of a file; those that cannot be used are left out and named.
    pub(crate) fn compile(ini: &Ini, text: &str) -> (Self, Vec<Fault>) {
        let mut rules = Vec::new();
        let mut faults = Vec::new();
        for entry in &ini.entries {
            let section = match entry.section.as_str() {
                "rx-group" => Section::Group,
                "rx-proc" => Section::Proc,
                _ => continue,
            };
            let line = text[..entry.key_at].matches('\n').count() + 1;
            match Rule::compile(entry, section, line) {
                Ok(rule) => rules.push(rule),
                Err(fault) => faults.push(fault),
            }
        }
        let (hits, told) = (vec![RuleHits::default(); rules.len()], vec![false; rules.len()]);
        let set = Self { hits, told, set: build_set(&mut rules), rules };
        (set, faults)
    }

    /// Applies the rules to a line and counts those that held.
    pub fn apply(&mut self, line: &str) -> Verdict {
        let mut hits = std::mem::take(&mut self.hits);
        let verdict = self.run(line, &mut hits);
        self.hits = hits;
        verdict
    }

    /// Applies the rules to a line and tells every step; counts nothing.
    #[must_use]
    pub fn explain(&self, line: &str) -> Explanation {
        let mut recorder = explain::Recorder { rules: &self.rules, steps: Vec::new() };
        let verdict = self.run(line, &mut recorder);
        Explanation { original: line.to_owned(), steps: recorder.steps, verdict }
    }

    /// Whether a rule, counted from the first, holds for a line by itself; one that takes too many steps does not.
    #[must_use]
    pub fn holds(&self, rule: usize, line: &str) -> bool {
        self.rules.get(rule).is_some_and(|rule| rule.chain.holds(line).unwrap_or(false))
    }

    /// Rules that exceeded a limit for the first time since the last call.
    pub(crate) fn take_newly_exceeded(&mut self) -> Vec<RuleInfo<'_>> {
        let (rules, hits) = (&self.rules, &self.hits);
        let newly = rules
            .iter()
            .zip(hits)
            .zip(&mut self.told)
            .filter(|((_, hits), told)| hits.exceeded > 0 && !**told);
        newly
            .map(|((rule, &hits), told)| {
                *told = true;
                RuleInfo { line: rule.line, key: &rule.key, hits }
            })
            .collect()
    }

    /// Every rule with what it did so far.
    pub fn infos(&self) -> impl Iterator<Item = RuleInfo<'_>> {
        self.rules.iter().zip(&self.hits).map(|(rule, &hits)| RuleInfo {
            line: rule.line,
            key: &rule.key,
            hits,
        })
    }

    fn in_section(&self, section: Section) -> impl Iterator<Item = (usize, &Rule)> {
        self.rules.iter().enumerate().filter(move |(_, rule)| rule.section == section)
    }

    fn run(&self, line: &str, observer: &mut dyn Observer) -> Verdict {
        let candidates = Candidates::new(self.set.as_ref());
        let mut group = None;
        for (index, rule) in self.in_section(Section::Group) {
            match rule.group_key(line, &candidates) {
                Ok(None) => {}
                Err(LimitExceeded) => observer.exceeded(index),
                Ok(Some((key, matched))) => {
                    let dropped = key.is_empty();
                    let placed = Vec::new();
                    let told = (!dropped).then_some(key.as_str());
                    observer.held(index, Made { matched, placed, result: line, group: told, dropped });
                    if dropped {
                        return Verdict::Drop;
                    }
                    group = Some(key);
                    break;
                }
            }
        }
        let mut current = Cow::Borrowed(line);
        let mut candidates = candidates;
        for (index, rule) in self.in_section(Section::Proc) {
            let replaced = match rule.replace(&current, &candidates) {
                Ok(Some(replaced)) => replaced,
                Ok(None) => continue,
                Err(LimitExceeded) => {
                    observer.exceeded(index);
                    continue;
                }
            };
            let Replaced { text, key, matched, placed } = replaced;
            let grouped = (rule.action.groups && group.is_none()).then_some(key);
            let dropped = grouped.as_ref().is_some_and(String::is_empty);
            let told = grouped.as_deref().filter(|key| !key.is_empty());
            observer.held(index, Made { matched, placed, result: &text, group: told, dropped });
            if dropped {
                return Verdict::Drop;
            }
            group = group.or(grouped);
            if text != *current {
                current = Cow::Owned(text);
                candidates = Candidates::new(self.set.as_ref());
            }
        }
        Verdict::Show { line: current.into_owned(), group }
    }
}

/// Joins every linear pattern into one automaton; without one each pattern is tried by itself.
fn build_set(rules: &mut [Rule]) -> Option<RegexSet> {
    let mut regexes = Vec::new();
    for pattern in rules.iter_mut().flat_map(|rule| &mut rule.chain.patterns) {
        if let Some(regex) = pattern.for_set() {
            pattern.in_set = Some(regexes.len());
            regexes.push(regex);
        }
    }
    let set = RegexSetBuilder::new(regexes).case_insensitive(true).size_limit(SET_SIZE_LIMIT).build();
    set.ok()
}

/// Which linear patterns are found in a line, looked for when first asked.
struct Candidates<'s> {
    set: Option<&'s RegexSet>,
    found: OnceCell<SetMatches>,
}

impl<'s> Candidates<'s> {
    fn new(set: Option<&'s RegexSet>) -> Self {
        Self { set, found: OnceCell::new() }
    }

    fn is_found(&self, pattern: &Pattern, line: &str) -> Result<bool, LimitExceeded> {
        match (self.set, pattern.in_set) {
            (Some(set), Some(index)) => Ok(self.found.get_or_init(|| set.matches(line)).matched(index)),
            _ => pattern.is_found(line),
        }
    }
}

/// A group's key, and what of the line was matched for it.
type GroupKey = (String, Vec<Range<usize>>);

struct Replaced {
    text: String,
    /// The expansions, joined.
    key: String,
    matched: Vec<Range<usize>>,
    placed: Vec<Range<usize>>,
}

impl Rule {
    fn compile(entry: &Entry, section: Section, line: usize) -> Result<Self, Fault> {
        let chain = Chain::parse(entry)?;
        let action = parse_value(&entry.value);
        if let Some(target) = action.target {
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
        if section == Section::Proc && chain.patterns.iter().all(|pattern| pattern.negated) {
            let message = "only negated regexes leave nothing to replace, the rule is skipped";
            return Err(Fault::new(entry.key_span(), message)
                .with_help("move it to [rx-group] to drop or group lines, or add a regex without a !"));
        }
        Ok(Self { section, line, key: entry.key.clone(), chain, action })
    }

    /// The pattern whose matches count: the one chosen, else the last that is not negated.
    fn target(&self) -> Option<&Pattern> {
        match self.action.target {
            Some(index) => self.chain.patterns.get(index),
            None => self.chain.patterns.iter().rfind(|pattern| !pattern.negated),
        }
    }

    fn holds(&self, line: &str, candidates: &Candidates<'_>) -> Result<bool, LimitExceeded> {
        self.chain.holds_if(|pattern| candidates.is_found(pattern, line))
    }

    /// The group of a line; `None` where the rule does not hold.
    fn group_key(&self, line: &str, candidates: &Candidates<'_>) -> Result<Option<GroupKey>, LimitExceeded> {
        if !self.holds(line, candidates)? {
            return Ok(None);
        }
        let found = match self.target() {
            Some(pattern) => pattern.first(line)?,
            None => None,
        };
        let matched = found.iter().map(Captures::span).collect();
        let mut key = String::new();
        self.action.template.expand(&found.unwrap_or(Captures::None), &mut key);
        if key.len() > MAX_LINE_BYTES { Err(LimitExceeded) } else { Ok(Some((key, matched))) }
    }

    /// Replaces every match; `None` where the rule does not hold.
    fn replace(&self, line: &str, candidates: &Candidates<'_>) -> Result<Option<Replaced>, LimitExceeded> {
        if !self.holds(line, candidates)? {
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
            self.action.template.expand(&captures, &mut key);
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
