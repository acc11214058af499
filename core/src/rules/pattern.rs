//! One regex: linear-time where it can be, backtracking with a step limit where it needs look-around or
//! back-references.

use std::ops::Range;

/// Steps after which a backtracking match gives up; then the pattern counts as not matching.
const BACKTRACK_LIMIT: usize = 50_000;
/// Bytes that one compiled pattern may take.
const SIZE_LIMIT: usize = 4 << 20;

/// Why a regex does not compile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PatternError {
    /// Byte in the regex where the fault is, where it is known.
    pub(crate) offset: Option<usize>,
    /// What is wrong.
    pub(crate) message: String,
}

/// A match took more steps than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StepLimit;

#[derive(Debug, Clone)]
enum Engine {
    Linear(regex::Regex),
    Backtracking(Box<fancy_regex::Regex>),
}

/// A regex of a rule.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    engine: Engine,
    /// Matches where the regex does not.
    pub(crate) negated: bool,
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

    pub(crate) fn name(&self, name: &str) -> &str {
        match self {
            Self::Linear(captures) => captures.name(name).map_or("", |group| group.as_str()),
            Self::Backtracking(captures) => captures.name(name).map_or("", |group| group.as_str()),
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

impl Pattern {
    pub(crate) fn compile(regex: &str, case_insensitive: bool, negated: bool) -> Result<Self, PatternError> {
        let linear =
            regex::RegexBuilder::new(regex).case_insensitive(case_insensitive).size_limit(SIZE_LIMIT).build();
        let engine = match linear {
            Ok(regex) => Engine::Linear(regex),
            Err(linear_error) => {
                let backtracking = fancy_regex::RegexBuilder::new(regex)
                    .case_insensitive(case_insensitive)
                    .backtrack_limit(BACKTRACK_LIMIT)
                    .delegate_size_limit(SIZE_LIMIT)
                    .build();
                match backtracking {
                    Ok(regex) => Engine::Backtracking(Box::new(regex)),
                    Err(error) => return Err(PatternError::new(&error, &linear_error)),
                }
            }
        };
        Ok(Self { engine, negated })
    }

    /// Whether the regex is found, whatever the negation.
    pub(crate) fn is_found(&self, text: &str) -> Result<bool, StepLimit> {
        match &self.engine {
            Engine::Linear(regex) => Ok(regex.is_match(text)),
            Engine::Backtracking(regex) => regex.is_match(text).map_err(|_| StepLimit),
        }
    }

    /// The first match.
    pub(crate) fn first<'t>(&self, text: &'t str) -> Result<Option<Captures<'t>>, StepLimit> {
        match &self.engine {
            Engine::Linear(regex) => Ok(regex.captures(text).map(Captures::Linear)),
            Engine::Backtracking(regex) => {
                regex.captures(text).map(|found| found.map(Captures::Backtracking)).map_err(|_| StepLimit)
            }
        }
    }

    /// Every match, from left to right.
    pub(crate) fn all<'t>(&self, text: &'t str) -> Result<Vec<Captures<'t>>, StepLimit> {
        match &self.engine {
            Engine::Linear(regex) => Ok(regex.captures_iter(text).map(Captures::Linear).collect()),
            Engine::Backtracking(regex) => regex
                .captures_iter(text)
                .map(|found| found.map(Captures::Backtracking).map_err(|_| StepLimit))
                .collect(),
        }
    }
}

impl PatternError {
    fn new(error: &fancy_regex::Error, linear: &regex::Error) -> Self {
        match error {
            fancy_regex::Error::ParseError(offset, kind) => {
                Self { offset: Some(*offset), message: kind.to_string() }
            }
            // The last line of the linear engine's report is its one-line summary.
            _ => Self {
                offset: None,
                message: linear
                    .to_string()
                    .lines()
                    .last()
                    .map_or_else(|| error.to_string(), |line| line.trim_start_matches("error: ").to_owned()),
            },
        }
    }
}
