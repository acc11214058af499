// SPDX-License-Identifier: GPL-3.0-or-later
//! All rules of a config, in the order of the file.

use std::borrow::Cow;
use std::collections::HashMap;

use super::explain::{Explanation, Recorder};
use super::rule::{Replaced, Rule, RuleSection};
use super::verdict::{Made, Observer, Verdict};
use crate::ini::{Entry, Fault, Ini};
use crate::lists::Lists;
use crate::matching::{Candidates, Chain, LimitExceeded, Meaning, Prefilter};
use crate::wire::details::Peers;

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
    /// The section it stands in.
    pub section: RuleSection,
    /// Its key as it stands there.
    pub key: &'r str,
    /// Its right side as it stands there.
    pub value: &'r str,
    /// Since the config was read.
    pub hits: RuleHits,
}

/// The rules of a config, in the order of the file.
#[derive(Debug, Clone, Default)]
pub struct RuleSet {
    rules: Vec<Rule>,
    hits: Vec<RuleHits>,
    /// Of which rules it was reported that they exceeded a limit.
    reported: Vec<bool>,
    /// Some rule exceeded a limit of which it was not reported.
    newly_exceeded: bool,
    /// One pass over a line finds the rules that may hold.
    prefilter: Prefilter,
}

/// Counts.
struct Counter {
    hits: Vec<RuleHits>,
    exceeded: bool,
}

impl Observer for Counter {
    fn held(&mut self, index: usize, _: Made<'_>) {
        self.hits[index].held += 1;
    }

    fn exceeded(&mut self, index: usize) {
        self.hits[index].exceeded += 1;
        self.exceeded = true;
    }
}

/// Which rules take lines from those after them: of a line's groups only the first counts.
#[derive(Default)]
pub(super) struct FirstOf {
    /// By what its key means, the line of the first rule that has it, and that key.
    keys: HashMap<Vec<Meaning>, (usize, String)>,
    /// By key that is no regex, the line of the first rule that has it.
    words: HashMap<String, usize>,
    /// The line of a rule that holds for every line.
    all: Option<usize>,
}

impl FirstOf {
    /// Why a rule never applies.
    pub(super) fn shadows(&mut self, chain: &Chain, own_line: usize, entry: &Entry) -> Option<Fault> {
        if let Some(line) = self.all {
            let message = format!("the rule in line {line} takes every line, so this one never applies");
            return Some(Fault::new(entry.key_span(), message).with_help("move it above that one"));
        }
        self.all = chain.holds_for_all().then_some(own_line);
        let first = self.keys.entry(chain.meaning()).or_insert_with(|| (own_line, entry.key.clone()));
        let (line, key) = &*first;
        (*line != own_line).then(|| {
            let has = if *key == entry.key { "has the same key" } else { "matches the same lines" };
            never_applies(*line, has, entry)
        })
    }

    /// The same of a key that is no regex.
    pub(super) fn repeats(&mut self, own_line: usize, entry: &Entry) -> Option<Fault> {
        let line = *self.words.entry(entry.key.clone()).or_insert(own_line);
        (line != own_line).then(|| never_applies(line, "has the same key", entry))
    }
}

impl FirstOf {
    /// The line of the rule that has the same key.
    pub(super) fn line_of(&self, chain: Option<&Chain>, key: &str) -> Option<usize> {
        match chain {
            Some(chain) => self.keys.get(&chain.meaning()).map(|(line, _)| *line),
            None => self.words.get(key).copied(),
        }
    }
}

fn never_applies(line: usize, has: &str, entry: &Entry) -> Fault {
    let message = format!("the rule in line {line} {has}, so this one never applies");
    Fault::new(entry.key_span(), message).with_help("take one of them out")
}

/// In which lines entries stand, which come in the order of the file.
pub(super) struct Places<'t> {
    text: &'t str,
    line: usize,
    at: usize,
}

impl<'t> Places<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        Self { text, line: 1, at: 0 }
    }

    /// The line of the next one, from 1.
    pub(super) fn line_of(&mut self, entry: &Entry) -> usize {
        self.line += self.text[self.at..entry.key_at].matches('\n').count();
        self.at = entry.key_at;
        self.line
    }
}

impl RuleSet {
    /// Reads the rules of a file; those that cannot be used are left out and named.
    pub(crate) fn compile(ini: &Ini, text: &str, lists: &Lists) -> (Self, Vec<Fault>) {
        let mut rules = Vec::new();
        let mut faults = Vec::new();
        let mut places = Places::of(text);
        let mut first_of = FirstOf::default();
        for entry in &ini.entries {
            let Some(section) = RuleSection::parse(&entry.section) else { continue };
            match Rule::compile(entry, section, places.line_of(entry), lists) {
                Ok((rule, doubts)) => {
                    faults.extend(doubts);
                    if section == RuleSection::Group {
                        faults.extend(first_of.shadows(&rule.chain, rule.line, entry));
                    }
                    rules.push(rule);
                }
                Err(fault) => faults.push(fault),
            }
        }
        let (hits, reported) = (vec![RuleHits::default(); rules.len()], vec![false; rules.len()]);
        let prefilter = Prefilter::new(rules.iter().map(|rule| &rule.chain));
        (Self { hits, reported, newly_exceeded: false, prefilter, rules }, faults)
    }

    /// Applies the rules to a line as it was received and counts those that held.
    pub fn apply(&mut self, line: &str) -> Verdict {
        self.apply_to(line, &Peers::of(line, None))
    }

    /// The same where more may be known of the peers than the line says.
    pub(crate) fn apply_to(&mut self, line: &str, peers: &Peers<'_>) -> Verdict {
        let mut counter = Counter { hits: std::mem::take(&mut self.hits), exceeded: self.newly_exceeded };
        let verdict = self.run(line, peers, &mut counter);
        (self.hits, self.newly_exceeded) = (counter.hits, counter.exceeded);
        verdict
    }

    /// Applies the rules to a line and tells every step; counts nothing.
    #[must_use]
    pub fn explain(&self, line: &str) -> Explanation {
        let mut recorder = Recorder { rules: &self.rules, steps: Vec::new() };
        let verdict = self.run(line, &Peers::of(line, None), &mut recorder);
        Explanation { original: line.to_owned(), steps: recorder.steps, verdict }
    }

    /// Whether a rule, counted from the first, holds for a line by itself; one that takes too many steps does not.
    #[must_use]
    pub fn holds(&self, rule: usize, line: &str) -> bool {
        self.rules
            .get(rule)
            .is_some_and(|rule| rule.chain.holds(line, &Peers::of(line, None)).unwrap_or(false))
    }

    /// Rules that exceeded a limit for the first time since the last call.
    pub(crate) fn take_newly_exceeded(&mut self) -> Vec<RuleInfo<'_>> {
        if !std::mem::take(&mut self.newly_exceeded) {
            return Vec::new();
        }
        let (rules, hits) = (&self.rules, &self.hits);
        let newly = rules
            .iter()
            .zip(hits)
            .zip(&mut self.reported)
            .filter(|((_, hits), reported)| hits.exceeded > 0 && !**reported);
        newly
            .map(|((rule, &hits), reported)| {
                *reported = true;
                RuleInfo { line: rule.line, section: rule.section, key: &rule.key, value: &rule.value, hits }
            })
            .collect()
    }

    /// Every rule with what it did so far.
    pub fn infos(&self) -> impl Iterator<Item = RuleInfo<'_>> {
        self.rules.iter().zip(&self.hits).map(|(rule, &hits)| RuleInfo {
            line: rule.line,
            section: rule.section,
            key: &rule.key,
            value: &rule.value,
            hits,
        })
    }

    /// The rules of a section that may hold, from an index on.
    fn next_in(&self, section: RuleSection, candidates: &Candidates, from: usize) -> Option<(usize, &Rule)> {
        let mut from = from;
        loop {
            let index = candidates.next_from(from)?;
            match self.rules.get(index)? {
                rule if rule.section == section => return Some((index, rule)),
                _ => from = index + 1,
            }
        }
    }

    fn run(&self, line: &str, peers: &Peers<'_>, observer: &mut dyn Observer) -> Verdict {
        let mut candidates = self.prefilter.candidates(line);
        let mut group = None;
        let mut from = 0;
        while let Some((index, rule)) = self.next_in(RuleSection::Group, &candidates, from) {
            from = index + 1;
            match rule.group_key(line, peers) {
                Ok(None) => {}
                Err(LimitExceeded) => observer.exceeded(index),
                Ok(Some((key, matched))) => {
                    let dropped = key.is_empty();
                    let placed = Vec::new();
                    let its_group = (!dropped).then_some(key.as_str());
                    observer.held(index, Made { matched, placed, result: line, group: its_group, dropped });
                    if dropped {
                        return Verdict::Drop;
                    }
                    group = Some(key);
                    break;
                }
            }
        }
        let mut current = Cow::Borrowed(line);
        from = 0;
        while let Some((index, rule)) = self.next_in(RuleSection::Proc, &candidates, from) {
            from = index + 1;
            let replaced = match rule.replace(&current, peers) {
                Ok(Some(replaced)) => replaced,
                Ok(None) => continue,
                Err(LimitExceeded) => {
                    observer.exceeded(index);
                    continue;
                }
            };
            let Replaced { text, key, matched, placed } = replaced;
            let grouped = (rule.groups && group.is_none()).then_some(key);
            let dropped = grouped.as_ref().is_some_and(String::is_empty);
            let its_group = grouped.as_deref().filter(|key| !key.is_empty());
            observer.held(index, Made { matched, placed, result: &text, group: its_group, dropped });
            if dropped {
                return Verdict::Drop;
            }
            group = group.or(grouped);
            if text != *current {
                current = Cow::Owned(text);
                candidates = self.prefilter.candidates(&current);
            }
        }
        Verdict::Show { line: current.into_owned(), group }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::config::Config;

    fn config(text: &str) -> Config {
        Config::parse(text.as_bytes(), Path::new("w.ini"))
    }

    fn shown(rules: &mut RuleSet, line: &str) -> String {
        match rules.apply(line) {
            Verdict::Show { line, group } => {
                line + &group.map(|group| format!(" [{group}]")).unwrap_or_default()
            }
            Verdict::Drop => "dropped".into(),
        }
    }

    #[test]
    fn what_a_value_refers_to_wrongly_is_told_with_its_place_and_the_rule_stays() {
        let config = config("[rx-proc]\n(?<p>\\d+)/udp = \\ $q $p\n/(a)/ && /b/ = 1`$1$2\nc = \\U$0\n");
        let reported: Vec<_> = config.diagnostics.iter().map(ToString::to_string).collect();
        assert_eq!(
            reported,
            [
                "w.ini:2:19: there is no group named q, so `$q` stays",
                "w.ini:3:20: there is no group number 2, so nothing is inserted",
                "w.ini:4:5: `\\U` is taken literally here",
            ]
        );
        let mut rules = config.rules;
        assert_eq!(shown(&mut rules, "x53/udp"), "x $q 53");
        assert_eq!(shown(&mut rules, "ab"), "ab");
    }

    #[test]
    fn rules_that_would_do_nothing_or_drop_everything_are_told_with_what_to_do() {
        for (rules, place, words) in [
            (
                "[rx-group]\n:: chrome :: = $3\n",
                "2:16",
                "no group number 3: it would drop every line, so the rule is skipped",
            ),
            (
                "[rx-group]\n!/ssh/ = $0\n",
                "2:10",
                "only negated regexes have no groups: it would drop every line",
            ),
            ("[rx-proc]\na = g`$1\n", "2:7", "it would drop every line"),
            ("[rx-proc]\n/a/ && !/(b)/ = x$1\n", "2:18", "no group number 1, so nothing is inserted"),
            ("[rx-proc]\n/(a)/ && /b/ = $1\n", "2:16", "no group number 1, so nothing is inserted"),
            ("[rx-proc]\na = 12`x\n", "2:5", "no prefix"),
            ("[rx-proc]\na = $0\n", "2:5", "does nothing"),
            ("[rx-group]\na = b\nc = d\na = e\n", "4:1", "line 2 has the same key"),
            ("[rx-group]\nfoo = b\nc = d\nFoo = e\n", "4:1", "line 2 matches the same lines"),
            ("[rx-group]\n/a/ && /b/ = b\n/B/ && /a/ = e\n", "3:1", "line 2 matches the same lines"),
            ("[rx-proc]\nfoo = foo\n", "2:7", "by the same text"),
            ("[rx-proc]\n/x/ && /a\\.b\\[1\\]/ = a.b[1]\n", "2:22", "by the same text"),
            ("[rx-proc]\nI/Foo/ = Foo\n", "2:10", "by the same text"),
            ("[rx-group]\n.* = b\n[rx-proc]\nx = y\n[rx-group]\nc = d\n", "6:1", "line 2 takes every line"),
            ("[rx-group]\n\\[cron\\] && !/!\\w+/ = cron\n", "2:1", "between slashes"),
            ("[rx-proc]\n/ :: a/ && / b :: = x\n", "2:12", "between slashes"),
            ("[rx-style]\nx| = fg=fff\n", "2:2", "an empty alternative"),
        ] {
            let config = config(rules);
            let told: Vec<_> = config.diagnostics.iter().map(ToString::to_string).collect();
            assert!(
                told.len() == 1
                    && told[0].starts_with(&format!("w.ini:{place}: "))
                    && told[0].contains(words),
                "{rules}: {told:?}"
            );
            assert!(config.diagnostics[0].help.is_some(), "{rules}");
        }
        for works in [
            "[rx-proc]\nFirefox = Firefox\n",
            "[rx-proc]\na.b = a.b\n",
            "[rx-group]\nfoo = foo\n",
            "[rx-proc]\nfoo = g`foo\n",
            "[rx-group]\n\\s = b\n\\S = c\n",
            "[rx-group]\nI/a/ = b\nI/A/ = c\na = d\n",
            "[rx-proc]\nfoo = b\nFoo = c\n",
        ] {
            assert_eq!(config(works).diagnostics, [], "{works}");
        }
        let help = |rules: &str| config(rules).diagnostics[0].help.clone().unwrap_or_default();
        assert!(help("[rx-proc]\n/(a)/ && /b/ = $1\n").contains("write 1`$1"));
        assert!(help("[rx-proc]\n/a/ && !/(b)/ = x$1\n").contains("regex number 2 has one, but is negated"));
        let mut rules = config("[rx-group]\n:: chrome :: = $3\n").rules;
        assert_eq!(shown(&mut rules, "x :: chrome :: y"), "x :: chrome :: y", "nothing is dropped");
    }

    #[test]
    fn a_dollar_holds_before_a_last_newline_and_takes_nothing_of_it() {
        let mut rules = config("[rx-proc]\nb$ = x\n\\s\\z = !\n").rules;
        assert_eq!(shown(&mut rules, "ab"), "ax");
        assert_eq!(shown(&mut rules, "ab\n"), "ax!");
        assert_eq!(shown(&mut rules, "ab\n\n"), "ab\n!");
    }

    #[test]
    fn rules_see_what_the_ones_before_made() {
        let text = "[rx-group]\nzwei = two\n[rx-proc]\none = two\ntwo = three\n/three/ && !/one/ = g`four\none = never\n";
        let mut rules = config(text).rules;
        assert_eq!(shown(&mut rules, "one"), "four [four]");
        assert_eq!(shown(&mut rules, "zwei one"), "zwei four [two]");
        assert_eq!(shown(&mut rules, "five"), "five");
    }

    #[test]
    fn letters_that_fold_into_ascii_pass_the_prefilter() {
        let mut rules = config("[rx-proc]\nkiss = x\nI/skip/ = y\n").rules;
        assert_eq!(shown(&mut rules, "\u{212a}iſs skip"), "x y");
    }

    proptest! {
        #[test]
        fn the_prefilter_leaves_out_nothing_that_holds(
            rules in prop::collection::vec("(I/)?[abk:. ]{1,4}|\\(a\\|bk\\)[:s]?|a\\?b[+*]?|\\\\d", 1..90),
            line in "[abkKs:. 1\u{212a}]{0,12}",
        ) {
            let rules: Vec<String> = rules.iter().map(|rule| {
                if rule.starts_with("I/") { format!("{rule}/") } else { rule.clone() }
            }).collect();
            let written: Vec<_> = rules.iter().map(|rule| format!("/{rule}/ && /{rule}/ = $0
    ")).collect();
            let text = format!("[rx-proc]
    {}", written.concat());
            let set = config(&text).rules;
            let steps: Vec<_> = set.explain(&line).steps.iter().map(|step| step.rule_line).collect();
            let held: Vec<_> = set.infos().enumerate()
                .filter(|(index, _)| set.holds(*index, &line))
                .map(|(_, info)| info.line)
                .collect();
            prop_assert_eq!(steps, held);
        }
    }
}
