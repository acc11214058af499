// SPDX-License-Identifier: GPL-3.0-or-later
//! One regex: linear-time where it can be, backtracking with a step limit where it needs look-around or
//! back-references. It is read at once and compiled when it is first tried.

use std::ops::Range;
use std::sync::OnceLock;

use crate::matching::pcre;
use crate::matching::pcre::{Demands, Dialect, Translated};
use crate::matching::reach::Reach;

/// Steps after which a backtracking match gives up; then the pattern counts as not matching.
const BACKTRACK_LIMIT: usize = 50_000;
/// A longer line is too much for backtracking at once: what is looked at ahead of each position takes no
/// steps, but time that grows with the square of the length (20 ms at 4 KiB).
const BACKTRACK_BYTES: usize = 1024;
/// Bytes that one compiled pattern may take.
const SIZE_LIMIT: usize = 4 << 20;

/// Whether upper and lower case are different letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Case {
    #[default]
    Counts,
    Ignored,
}

/// Why a regex cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PatternError {
    /// Bytes of the regex that are meant, where they are known.
    pub(crate) span: Option<Range<usize>>,
    /// What is wrong.
    pub(crate) message: String,
    /// What to do.
    pub(crate) help: Option<String>,
}

impl PatternError {
    pub(super) fn at(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span: Some(span), message: message.into(), help: None }
    }

    pub(super) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

/// Whether a pattern is negated, whether its case counts, and its regex.
pub(crate) type Meaning = (bool, bool, String);

/// A match took more steps than it may, or its result more room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitExceeded;

#[derive(Debug, Clone)]
enum Engine {
    Linear(regex::Regex),
    Backtracking(Box<fancy_regex::Regex>),
}

/// A regex of a rule.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    regex: Box<str>,
    case: Case,
    demands: Demands,
    /// Matches where the regex does not.
    pub(crate) negated: bool,
    /// How many groups it has.
    pub(crate) groups: usize,
    /// Groups with a name.
    pub(crate) names: Vec<(String, usize)>,
    /// Texts of which a line contains one, in either case of ASCII, where the regex is found; none where any line may
    /// do.
    pub(crate) need: Vec<String>,
    engine: OnceLock<Option<Engine>>,
    /// For lines that end with a newline, where that makes a difference.
    newline_engine: OnceLock<Option<Engine>>,
}

/// The groups of one match.
pub(crate) enum Captures<'t> {
    /// Of the linear engine.
    Linear(regex::Captures<'t>),
    /// Of the backtracking one.
    Backtracking(fancy_regex::Captures<'t, str>),
    /// Of a match that has none: a chain of negations held.
    None,
}

impl Captures<'_> {
    pub(crate) fn get(&self, index: usize) -> &str {
        match self {
            Self::Linear(captures) => captures.get(index).map_or("", |group| group.as_str()),
            Self::Backtracking(captures) => captures.get(index).map_or("", |group| group.as_str()),
            Self::None => "",
        }
    }

    /// Bytes of the text that matched.
    pub(crate) fn span(&self) -> Range<usize> {
        match self {
            Self::Linear(captures) => captures.get(0).map_or(0..0, |group| group.range()),
            Self::Backtracking(captures) => captures.get(0).map_or(0..0, |group| group.range()),
            Self::None => 0..0,
        }
    }
}

/// Whether a line ends with a newline, which no line of the wire does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineEnd {
    Newline,
    Other,
}

impl Pattern {
    /// Reads a regex.
    pub(crate) fn parse(regex: &str, case: Case) -> Result<Self, PatternError> {
        let linear = Dialect { backtracking: false, final_newline: false };
        let translated = pcre::translate(regex, case, linear)?;
        let Translated { demands, groups, names, need, .. } = translated;
        let pattern = Self {
            regex: regex.into(),
            case,
            demands,
            negated: false,
            groups,
            names,
            need,
            engine: OnceLock::new(),
            newline_engine: OnceLock::new(),
        };
        if demands.is_doubtful && !pattern.prepare() {
            let message = "this regex is too large or too deep".into();
            let error = PatternError { span: None, message, help: None };
            return Err(error.help("repeat less, nest less, or look behind for less"));
        }
        Ok(pattern)
    }

    /// Which lines it can match. Most regexes need not be looked at for that: those that need a text match no line
    /// without it, and without anchors and escapes few match none.
    pub(crate) fn reach(&self) -> Reach {
        let inner = self.regex.strip_prefix('^').unwrap_or(&self.regex);
        let inner = inner.strip_suffix('$').unwrap_or(inner);
        let is_control = |after: &str| {
            after.starts_with(['n', 't', 'r', 'x', 'e', 'a', 'f', 'v', 'c', '0', 'A', 'z', 'Z'])
        };
        let has_control = || inner.match_indices('\\').any(|(at, _)| is_control(&inner[at + 1..]));
        let is_doubtful = self.need.is_empty() || inner.contains(['^', '$']) || has_control();
        let dialect = Dialect { backtracking: false, final_newline: false };
        if self.demands.backtracking {
            return self.reach_without_impossible();
        }
        if !is_doubtful {
            return Reach::Some;
        }
        pcre::translate(&self.regex, self.case, dialect).map_or(Reach::Some, |regex| Reach::of(&regex.text))
    }

    /// Whether an empty negative look-around keeps it from matching anything.
    fn reach_without_impossible(&self) -> Reach {
        const NOTHING: &str = r"[^\s\S]";
        // In a class or behind a backslash it is text.
        if self.regex.contains(['[', '\\']) {
            return Reach::Some;
        }
        let replaced = self.regex.replace("(?!)", NOTHING).replace("(?<!)", NOTHING);
        let dialect = Dialect { backtracking: false, final_newline: false };
        match pcre::translate(&replaced, self.case, dialect) {
            Ok(regex) if !regex.demands.backtracking => match Reach::of(&regex.text) {
                Reach::None(_) => Reach::None("(?!) holds nowhere"),
                _ => Reach::Some,
            },
            _ => Reach::Some,
        }
    }

    /// Two patterns of which this is the same match the same.
    pub(crate) fn meaning(&self) -> Meaning {
        let regex = &self.regex;
        // Otherwise letters may be more than themselves.
        let escapes = regex.match_indices('\\').map(|(at, _)| regex[at + 1..].chars().next());
        let mut escapes = escapes.flatten();
        let is_plain = !regex.contains("(?") && !regex.contains("[:") && !escapes.any(char::is_alphanumeric);
        let folds = self.case == Case::Ignored && is_plain;
        let regex = if folds { regex.to_ascii_lowercase() } else { regex.to_string() };
        (self.negated, self.case == Case::Counts, regex)
    }

    /// The text that alone it matches, and whether in one case only, if there is one.
    pub(crate) fn literal(&self) -> Option<(String, Case)> {
        let mut text = String::new();
        let mut chars = self.regex.chars();
        while let Some(c) = chars.next() {
            text.push(match c {
                '\\' => chars.next().filter(|c| !c.is_alphanumeric())?,
                '.' | '^' | '$' | '|' | '?' | '*' | '+' | '(' | ')' | '[' | '{' => return None,
                c => c,
            });
        }
        Some((text, self.case))
    }

    /// Compiles it, as the first line would, and tells whether the engine takes it.
    pub(crate) fn prepare(&self) -> bool {
        self.engine.get_or_init(|| self.compile(LineEnd::Other)).is_some()
    }

    fn compile(&self, line_end: LineEnd) -> Option<Engine> {
        let final_newline = line_end == LineEnd::Newline;
        let backtracking = self.demands.backtracking || final_newline;
        let dialect = Dialect { backtracking, final_newline };
        let text = pcre::translate(&self.regex, self.case, dialect).ok()?.text;
        if backtracking {
            let regex = fancy_regex::RegexBuilder::new(&text)
                .backtrack_limit(BACKTRACK_LIMIT)
                .delegate_size_limit(SIZE_LIMIT)
                // What it changes is not always the same: it makes `(x+?)*` one round.
                .optimize(false)
                .build();
            regex.ok().map(|regex| Engine::Backtracking(Box::new(regex)))
        } else {
            let regex = regex::RegexBuilder::new(&text).size_limit(SIZE_LIMIT).build();
            regex.ok().map(Engine::Linear)
        }
    }

    /// What is to read this text; one that cannot be compiled counts as one that takes too many steps.
    fn engine(&self, text: &str) -> Result<&Engine, LimitExceeded> {
        let (engine, line_end) = if self.demands.minds_newline && text.ends_with('\n') {
            (&self.newline_engine, LineEnd::Newline)
        } else {
            (&self.engine, LineEnd::Other)
        };
        engine.get_or_init(|| self.compile(line_end)).as_ref().ok_or(LimitExceeded)
    }

    /// Whether the regex is found, whatever the negation.
    pub(crate) fn is_found(&self, text: &str) -> Result<bool, LimitExceeded> {
        match self.engine(text)? {
            Engine::Linear(regex) => Ok(regex.is_match(text)),
            Engine::Backtracking(regex) => regex.is_match(short(text)?).map_err(|_| LimitExceeded),
        }
    }

    /// The first match.
    pub(crate) fn first<'t>(&self, text: &'t str) -> Result<Option<Captures<'t>>, LimitExceeded> {
        match self.engine(text)? {
            Engine::Linear(regex) => Ok(regex.captures(text).map(Captures::Linear)),
            Engine::Backtracking(regex) => regex
                .captures(short(text)?)
                .map(|found| found.map(Captures::Backtracking))
                .map_err(|_| LimitExceeded),
        }
    }

    /// Every match, from left to right.
    pub(crate) fn all<'t>(&self, text: &'t str) -> Result<Vec<Captures<'t>>, LimitExceeded> {
        match self.engine(text)? {
            Engine::Linear(regex) => Ok(regex.captures_iter(text).map(Captures::Linear).collect()),
            Engine::Backtracking(regex) => regex
                .captures_iter(short(text)?)
                .map(|found| found.map(Captures::Backtracking).map_err(|_| LimitExceeded))
                .collect(),
        }
    }
}

/// A text that may be tried with backtracking.
fn short(text: &str) -> Result<&str, LimitExceeded> {
    if text.len() > BACKTRACK_BYTES { Err(LimitExceeded) } else { Ok(text) }
}
