// SPDX-License-Identifier: GPL-3.0-or-later
//! Rules that say which lines are told of, and in which words: `[rx-notify]`.

use super::rule::{RuleSection, read_template};
use super::rule_set::{FirstOf, Places};
use super::template::Part;
use super::value::parse_value;
use crate::ini::{Entry, Fault, Ini};
use crate::lists::Lists;
use crate::matching::{Captures, Chain, LimitExceeded, Prefilter};
use crate::text::{Escape, Template};
use crate::wire::details::Peers;
use crate::wire::event::State;

/// What counts where no rule has a text.
const DEFAULTS: &str = "[rx-notify]\nnew = {sentence}\nblocked = {sentence}\n";

/// What may stand in the place of a regex, with what it means.
pub const NOTICE_WORDS: [(&str, &str); 3] = [
    ("new", "the program was never seen with this peer before, or never listened there"),
    ("blocked", "a firewall of this machine stopped it"),
    ("refused", "the peer refused it"),
];

/// When a rule holds.
#[derive(Debug, Clone)]
enum When {
    Line {
        chain: Chain,
        /// Index in the chain of the pattern whose groups the text has.
        target: Option<usize>,
    },
    FirstEver,
    State(State),
}

/// A part of a text.
#[derive(Debug, Clone)]
enum TextPart {
    Fields(Template),
    Group(usize),
}

/// One rule.
#[derive(Debug, Clone)]
pub struct NoticeRule {
    line: usize,
    key: String,
    when: When,
    /// Nothing where it keeps lines from being told of.
    text: Vec<TextPart>,
}

/// What is known of a connection, as far as rules ask.
#[derive(Debug)]
pub struct Facts<'l> {
    /// Its line as it was received.
    pub line: &'l str,
    /// Names and address of its peer.
    pub peers: &'l Peers<'l>,
    /// Its program was never seen with its peer before.
    pub is_first_ever: bool,
    /// How it stands, where that is told.
    pub state: Option<State>,
}

/// The rules of a config, in the order of the file.
#[derive(Debug, Clone)]
pub struct NoticeRules {
    rules: Vec<NoticeRule>,
    prefilter: Prefilter,
}

impl Default for NoticeRules {
    fn default() -> Self {
        Self::compile(&Ini::default(), "", &Lists::default()).0
    }
}

impl NoticeRules {
    /// Reads the rules of a file; those that cannot be used are left out and named.
    pub(crate) fn compile(ini: &Ini, text: &str, lists: &Lists) -> (Self, Vec<Fault>) {
        let (mut rules, mut faults) = (Vec::new(), Vec::new());
        let mut places = Places::of(text);
        let (mut tellers, mut silencers) = (FirstOf::default(), FirstOf::default());
        for entry in ini.entries.iter().filter(|entry| entry.section == RuleSection::Notify.name()) {
            let line = places.line_of(entry);
            match NoticeRule::compile(entry, line, lists) {
                Ok((rule, doubts)) => {
                    faults.extend(doubts);
                    let (first, others) = if rule.is_silent() {
                        (&mut silencers, &tellers)
                    } else {
                        (&mut tellers, &silencers)
                    };
                    let chain = match &rule.when {
                        When::Line { chain, .. } => Some(chain),
                        When::FirstEver | When::State(_) => None,
                    };
                    let repeated = match chain {
                        Some(chain) => first.shadows(chain, line, entry),
                        None => first.repeats(line, entry),
                    };
                    faults.extend(repeated.or_else(|| {
                        others.line_of(chain, &entry.key).map(|other| contradicts(other, &rule, entry))
                    }));
                    rules.push(rule);
                }
                Err(fault) => faults.push(fault),
            }
        }
        if rules.iter().all(NoticeRule::is_silent) {
            let defaults = Ini::parse(DEFAULTS);
            let defaults =
                defaults.entries.iter().filter_map(|entry| NoticeRule::compile(entry, 0, lists).ok());
            rules.extend(defaults.map(|(rule, _)| rule));
        }
        let any = Chain::default();
        let chains = rules.iter().map(|rule| match &rule.when {
            When::Line { chain, .. } => chain,
            When::FirstEver | When::State(_) => &any,
        });
        (Self { prefilter: Prefilter::new(chains), rules }, faults)
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &NoticeRule> {
        self.rules.iter()
    }

    /// Rules that tell of a connection, in the order of the file: none where one with an empty text holds.
    #[must_use]
    pub fn of(&self, facts: &Facts<'_>) -> Vec<&NoticeRule> {
        let candidates = self.prefilter.candidates(facts.line);
        let (mut telling, mut from) = (Vec::new(), 0);
        while let Some(index) = candidates.next_from(from) {
            from = index + 1;
            // What takes too many steps counts as not holding.
            let Some(rule) = self.rules.get(index).filter(|rule| rule.holds(facts) == Ok(true)) else {
                continue;
            };
            if rule.is_silent() {
                return Vec::new();
            }
            telling.push(rule);
        }
        telling
    }
}

/// Two rules of one key, of which one keeps from being told what the other tells.
fn contradicts(other: usize, rule: &NoticeRule, entry: &Entry) -> Fault {
    let message = if rule.is_silent() {
        format!(
            "the rule in line {other} has the same key, and this one has no text, so neither tells of anything"
        )
    } else {
        format!("the rule in line {other} has the same key and no text, so neither tells of anything")
    };
    Fault::new(entry.key_span(), message).with_help("take one of them out")
}

/// A key that looks like a word, and is a regex.
fn almost_a_word(entry: &Entry) -> Option<Fault> {
    let key = entry.key.to_ascii_lowercase();
    let is_state = State::parse(&key).is_some();
    (is_state || NOTICE_WORDS.iter().any(|(word, _)| *word == key)).then(|| {
        let words = NOTICE_WORDS.map(|(word, _)| word).join(", ");
        Fault::new(entry.key_span(), format!("{} is a regex here: the words are {words}", entry.key))
            .with_help(format!("write a word, or /{}/ where the regex is meant", entry.key))
    })
}

impl NoticeRule {
    fn compile(entry: &Entry, line: usize, lists: &Lists) -> Result<(Self, Vec<Fault>), Fault> {
        let skipped =
            |message: String| Fault::new(entry.value_span(None), format!("{message}, the rule is skipped"));
        let value = parse_value(&entry.value);
        let word = match entry.key.as_str() {
            "new" => Some(When::FirstEver),
            "blocked" => Some(When::State(State::Blocked)),
            "refused" => Some(When::State(State::Refused)),
            _ => None,
        };
        let is_word = word.is_some();
        let when = if let Some(word) = word {
            word
        } else {
            let chain = Chain::parse(entry, lists)?;
            let last = chain.patterns.iter().rposition(|pattern| !pattern.negated);
            let target = match value.target {
                Some(target) if chain.patterns.get(target).is_none_or(|pattern| pattern.negated) => {
                    return Err(skipped(format!(
                        "no regex number {} of this chain matches a text",
                        target + 1
                    ))
                    .with_help("write the number of one without !"));
                }
                named => named.or(last),
            };
            When::Line { chain, target }
        };
        if value.groups || is_word && value.target.is_some() {
            return Err(skipped("nothing is grouped or replaced here".into())
                .with_help("write the text alone, without what stands before the backtick"));
        }
        let none = Chain::default();
        let (chain, target) = match &when {
            When::Line { chain, target } => (chain, *target),
            When::FirstEver | When::State(_) => (&none, None),
        };
        let (template, mut doubts) = read_template(entry, value.template, chain, target);
        if let Some(doubt) = doubts.first().filter(|_| is_word) {
            let help = "write a field such as {proc}, or $$ for a $";
            return Err(Fault::new(
                doubt.span.clone(),
                format!("{} is no regex and has no groups", entry.key),
            )
            .with_help(help));
        }
        let text = template.parts.into_iter().map(|part| match part {
            Part::Group(group) => Ok(TextPart::Group(group)),
            Part::Text(text) => Template::parse(&text).map(TextPart::Fields),
        });
        let text: Vec<_> = text.collect::<Result<_, _>>().map_err(|error| skipped(error.message))?;
        if !is_word {
            doubts.extend(almost_a_word(entry));
        }
        Ok((Self { line, key: entry.key.clone(), when, text }, doubts))
    }

    /// Its line in the file, from 1; 0 where it stands in none.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    /// Its key, as it stands in the file.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    fn is_silent(&self) -> bool {
        self.text.is_empty()
    }

    fn holds(&self, facts: &Facts<'_>) -> Result<bool, LimitExceeded> {
        match &self.when {
            When::Line { chain, .. } => chain.holds(facts.line, facts.peers),
            When::FirstEver => Ok(facts.is_first_ever),
            When::State(state) => Ok(facts.state == Some(*state)),
        }
    }

    /// What it says of a connection that it holds for, with these values of fields.
    pub fn text(&self, facts: &Facts<'_>, field: impl Fn(&str) -> String) -> String {
        let found = match &self.when {
            When::Line { chain, target: Some(target) } => {
                chain.patterns.get(*target).and_then(|pattern| pattern.first(facts.line).ok().flatten())
            }
            _ => None,
        };
        let found = found.unwrap_or(Captures::None);
        let text: String = self
            .text
            .iter()
            .map(|part| match part {
                TextPart::Fields(template) => template.expand(&field, Escape::None),
                TextPart::Group(group) => found.get(*group).to_owned(),
            })
            .collect();
        text.trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn config(text: &str) -> Config {
        Config::parse(text.as_bytes(), Path::new("w.ini"))
    }

    /// What each rule that holds says.
    fn told(rules: &NoticeRules, line: &str, is_first_ever: bool, state: Option<State>) -> Vec<String> {
        let peers = Peers::of(line, None);
        let facts = Facts { line, peers: &peers, is_first_ever, state };
        rules.of(&facts).into_iter().map(|rule| rule.text(&facts, |field| format!("<{field}>"))).collect()
    }

    const LINE: &str = "18:32 :: me :: curl :: a.test 443 :: ";

    #[test]
    fn texts_have_groups_and_fields() {
        // The word as a text.
        let rules = config("[rx-notify]\n/new/ = x\n");
        assert_eq!(told(&rules.notices, "a New b", false, None), ["x"]);
        let config = config(
            "[rx-notify]\n:: (c\\w+) :: = $1, {proc} ${1} $$5 {{}}\n/me/ && /(443)/ && !/x/ = to $1\n\
             /(m)e/ && /443/ = 1`$1\nnew = first time: {proc} to {peer}\nrefused = no\n",
        );
        assert_eq!(config.diagnostics, []);
        assert_eq!(told(&config.notices, LINE, false, None), ["curl, <proc> curl $5 {}", "to 443", "m"]);
        let all = told(&config.notices, LINE, true, Some(State::Refused));
        assert_eq!(all[3..], ["first time: <proc> to <peer>", "no"]);
        assert_eq!(told(&config.notices, "x", true, Some(State::Reset)), ["first time: <proc> to <peer>"]);
    }

    #[test]
    fn an_empty_text_silences_wherever_it_stands() {
        let rules = config("[rx-notify]\nnew = n\n:: curl :: a\\.test =\n").notices;
        assert_eq!(told(&rules, LINE, true, None), [""; 0]);
        assert_eq!(told(&rules, "18:32 :: me :: curl :: b.test 443 :: ", true, None), ["n"]);
        // Silence alone changes nothing else.
        for text in ["", "[rx-notify]\n", "[rx-notify]\nwget =\n"] {
            let rules = config(text).notices;
            assert_eq!(told(&rules, LINE, true, Some(State::Blocked)), ["<sentence>"; 2], "{text}");
            assert_eq!(told(&rules, LINE, false, Some(State::Refused)), [""; 0], "{text}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_told_with_its_place() {
        for (rules, place, words) in [
            ("(open = x\n", "2:1", "never closed"),
            ("new = {process}\n", "2:7", "there is no field {process}; fields are {time}"),
            ("new = a } b\n", "2:7", "this brace has no other"),
            ("new = $1\n", "2:7", "new is no regex and has no groups"),
            ("new = g`x\n", "2:7", "nothing is grouped"),
            ("a = $2\n", "2:5", "there is no group number 2"),
            ("/a/ && !/b/ = 2`x\n", "2:15", "no regex number 2"),
            ("a = b\nc = d\nA = e\n", "4:1", "line 2 matches the same lines"),
            ("new = b\nnew = c\n", "3:1", "line 2 has the same key"),
            ("new = b\nnew =\n", "3:1", "and this one has no text, so neither tells"),
            ("/a/ =\na = b\n", "3:1", "line 2 has the same key and no text, so neither tells"),
            ("NEW = b\n", "2:1", "NEW is a regex here: the words are new, blocked, refused"),
            ("timeout = b\n", "2:1", "timeout is a regex here"),
        ] {
            let config = config(&format!("[rx-notify]\n{rules}"));
            let told: Vec<_> = config.diagnostics.iter().map(ToString::to_string).collect();
            assert!(
                told.len() == 1
                    && told[0].starts_with(&format!("w.ini:{place}: "))
                    && told[0].contains(words),
                "{rules}: {told:?}"
            );
        }
        assert_eq!(config("[rx-notify]\n/timeout/ = b\nnew = c\n").diagnostics, []);
    }
}
