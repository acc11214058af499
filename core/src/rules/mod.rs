//! Rules that rename, hide and group lines.

mod parse;
mod pattern;
mod template;

use std::ops::Range;

use self::parse::{Action, Chain, parse_key, parse_value};
use self::pattern::{Captures, StepLimit};
use crate::config::ini::{Entry, Ini};

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

/// A rule that was left out, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleWarning {
    /// Line in the file, from 1.
    pub line: usize,
    /// Column of the fault in that line's key, from 1, where it is known.
    pub column: Option<usize>,
    /// What is wrong.
    pub message: String,
}

/// The rules of a config, in the order of the file.
#[derive(Debug, Clone, Default)]
pub struct RuleSet {
    rules: Vec<Rule>,
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

/// One rule that held for a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Line of the rule in the file, from 1.
    pub rule_line: usize,
    /// The rule's key as it stands there.
    pub rule_key: String,
    /// What it matched, in bytes of the line as the rules before left it.
    pub matched: Vec<Range<usize>>,
    /// The line after it.
    pub result: String,
    /// The group it put the line into.
    pub group: Option<String>,
    /// It dropped the line.
    pub dropped: bool,
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

impl RuleSet {
    /// Compiles the rules of a file; those that cannot be used are left out and named.
    #[must_use]
    pub fn compile(ini: &Ini) -> (Self, Vec<RuleWarning>) {
        let mut set = Self::default();
        let mut warnings = Vec::new();
        for entry in &ini.entries {
            let section = match entry.section.as_str() {
                "rx-group" => Section::Group,
                "rx-proc" => Section::Proc,
                _ => continue,
            };
            match Rule::compile(entry, section) {
                Ok(rule) => set.rules.push(rule),
                Err(warning) => warnings.push(warning),
            }
        }
        (set, warnings)
    }

    /// Applies the rules to a line.
    #[must_use]
    pub fn apply(&self, line: &str) -> Verdict {
        self.run(line, &mut |_| ())
    }

    /// Applies the rules to a line and tells every step.
    #[must_use]
    pub fn explain(&self, line: &str) -> Explanation {
        let mut steps = Vec::new();
        let verdict = self.run(line, &mut |step| steps.push(step));
        Explanation { original: line.to_owned(), steps, verdict }
    }

    fn in_section(&self, section: Section) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(move |rule| rule.section == section)
    }

    fn run(&self, line: &str, tell: &mut dyn FnMut(Step)) -> Verdict {
        let mut group = None;
        for rule in self.in_section(Section::Group) {
            if !rule.holds(line) {
                continue;
            }
            let found = rule.target().and_then(|pattern| pattern.first(line).ok().flatten());
            let matched = found.iter().map(Captures::span).collect();
            let mut key = String::new();
            rule.action.template.expand(&found.unwrap_or(Captures::None), &mut key);
            let dropped = key.is_empty();
            group = (!dropped).then_some(key);
            tell(rule.step(matched, line, group.clone(), dropped));
            if dropped {
                return Verdict::Drop;
            }
            break;
        }
        let mut current = line.to_owned();
        for rule in self.in_section(Section::Proc) {
            if !rule.holds(&current) {
                continue;
            }
            let Some(Ok(found)) = rule.target().map(|pattern| pattern.all(&current)) else { continue };
            let Replaced { text, key, matched } = replace(&current, &found, &rule.action);
            if matched.is_empty() {
                continue;
            }
            let grouped = (rule.action.groups && group.is_none()).then_some(key);
            let dropped = grouped.as_ref().is_some_and(String::is_empty);
            tell(rule.step(matched, &text, grouped.clone(), dropped));
            if dropped {
                return Verdict::Drop;
            }
            group = group.or(grouped);
            current = text;
        }
        Verdict::Show { line: current, group }
    }
}

struct Replaced {
    text: String,
    /// The expansions, joined.
    key: String,
    matched: Vec<Range<usize>>,
}

fn replace(line: &str, found: &[Captures<'_>], action: &Action) -> Replaced {
    let mut replaced =
        Replaced { text: String::with_capacity(line.len()), key: String::new(), matched: Vec::new() };
    let mut copied = 0;
    for captures in found {
        let span = captures.span();
        let start = replaced.key.len();
        action.template.expand(captures, &mut replaced.key);
        replaced.text.push_str(&line[copied..span.start]);
        replaced.text.push_str(&replaced.key[start..]);
        copied = span.end;
        replaced.matched.push(span);
    }
    replaced.text.push_str(&line[copied..]);
    replaced
}

impl Rule {
    fn compile(entry: &Entry, section: Section) -> Result<Self, RuleWarning> {
        let warning = |column, message: &str| RuleWarning {
            line: entry.line,
            column,
            message: format!("{message}, the rule is skipped"),
        };
        let chain = parse_key(&entry.key)
            .map_err(|error| warning(error.offset.map(|offset| offset + 1), &error.message))?;
        let action = parse_value(&entry.value);
        if let Some(target) = action.target {
            match chain.patterns.get(target) {
                None => {
                    let message = format!("there is no regex number {} in this chain", target + 1);
                    return Err(warning(None, &message));
                }
                Some(pattern) if pattern.negated => {
                    let message =
                        format!("regex number {} is negated and matches nothing to replace", target + 1);
                    return Err(warning(None, &message));
                }
                Some(_) => {}
            }
        }
        if section == Section::Proc && chain.patterns.iter().all(|pattern| pattern.negated) {
            return Err(warning(None, "only negated regexes leave nothing to replace"));
        }
        Ok(Self { section, line: entry.line, key: entry.key.clone(), chain, action })
    }

    /// The pattern whose matches count: the one chosen, else the last that is not negated.
    fn target(&self) -> Option<&pattern::Pattern> {
        match self.action.target {
            Some(index) => self.chain.patterns.get(index),
            None => self.chain.patterns.iter().rfind(|pattern| !pattern.negated),
        }
    }

    fn holds(&self, line: &str) -> bool {
        let all: Result<bool, StepLimit> = self
            .chain
            .patterns
            .iter()
            .try_fold(true, |holds, pattern| Ok(holds && pattern.is_found(line)? != pattern.negated));
        all == Ok(true)
    }

    fn step(&self, matched: Vec<Range<usize>>, result: &str, group: Option<String>, dropped: bool) -> Step {
        Step {
            rule_line: self.line,
            rule_key: self.key.clone(),
            matched,
            result: result.to_owned(),
            group,
            dropped,
        }
    }
}
