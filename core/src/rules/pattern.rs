//! One regex: linear-time where it can be, backtracking with a step limit where it needs look-around or
//! back-references.

use std::ops::Range;

use regex_syntax::ast::{self, ErrorKind};

/// Steps after which a backtracking match gives up; then the pattern counts as not matching.
const BACKTRACK_LIMIT: usize = 50_000;
/// A longer line is too much for backtracking at once: what is looked at ahead of each position takes no
/// steps, but time that grows with the square of the length (20 ms at 4 KiB).
const BACKTRACK_BYTES: usize = 1024;
/// Bytes that one compiled pattern may take.
const SIZE_LIMIT: usize = 4 << 20;

/// Why a regex does not compile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PatternError {
    /// Bytes of the regex that are meant, where they are known.
    pub(crate) span: Option<Range<usize>>,
    /// What is wrong.
    pub(crate) message: String,
    /// What to do.
    pub(crate) help: Option<&'static str>,
}

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
    engine: Engine,
    case_insensitive: bool,
    /// Matches where the regex does not.
    pub(crate) negated: bool,
    /// Its index in the set of all linear patterns, where it is in one.
    pub(crate) in_set: Option<usize>,
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
                    Err(error) => return Err(PatternError::new(regex, &error, &linear_error)),
                }
            }
        };
        Ok(Self { engine, case_insensitive, negated, in_set: None })
    }

    /// The regex as it goes into a set of case-insensitive ones; `None` where it needs backtracking.
    pub(crate) fn for_set(&self) -> Option<String> {
        match &self.engine {
            Engine::Linear(regex) if self.case_insensitive => Some(regex.as_str().to_owned()),
            Engine::Linear(regex) => Some(format!("(?-i){}", regex.as_str())),
            Engine::Backtracking(_) => None,
        }
    }

    /// Whether the regex is found, whatever the negation.
    pub(crate) fn is_found(&self, text: &str) -> Result<bool, LimitExceeded> {
        match &self.engine {
            Engine::Linear(regex) => Ok(regex.is_match(text)),
            Engine::Backtracking(regex) => regex.is_match(short(text)?).map_err(|_| LimitExceeded),
        }
    }

    /// The first match.
    pub(crate) fn first<'t>(&self, text: &'t str) -> Result<Option<Captures<'t>>, LimitExceeded> {
        match &self.engine {
            Engine::Linear(regex) => Ok(regex.captures(text).map(Captures::Linear)),
            Engine::Backtracking(regex) => regex
                .captures(short(text)?)
                .map(|found| found.map(Captures::Backtracking))
                .map_err(|_| LimitExceeded),
        }
    }

    /// Every match, from left to right.
    pub(crate) fn all<'t>(&self, text: &'t str) -> Result<Vec<Captures<'t>>, LimitExceeded> {
        match &self.engine {
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

impl PatternError {
    fn new(regex: &str, error: &fancy_regex::Error, linear: &regex::Error) -> Self {
        match (ast::parse::Parser::new().parse(regex), error) {
            // What only the backtracking engine understands, its own error is about.
            (Err(ast), fancy_regex::Error::ParseError(at, kind))
                if matches!(
                    ast.kind(),
                    ErrorKind::UnsupportedLookAround | ErrorKind::UnsupportedBackreference
                ) =>
            {
                Self { span: Some(*at..*at + 1), message: kind.to_string(), help: None }
            }
            (Err(ast), _) => {
                let (message, help) = describe(ast.kind());
                let span = ast.span();
                let span = span.start.offset..span.end.offset.max(span.start.offset + 1);
                Self { span: Some(span), message, help }
            }
            _ => {
                let message = match linear {
                    regex::Error::CompiledTooBig(_) => "this regex is too large".to_owned(),
                    other => other
                        .to_string()
                        .lines()
                        .last()
                        .unwrap_or_default()
                        .trim_start_matches("error: ")
                        .into(),
                };
                Self { span: None, message, help: Some("repeat less") }
            }
        }
    }
}

/// A fault of a regex in words, and what to do.
fn describe(kind: &ErrorKind) -> (String, Option<&'static str>) {
    let known = match kind {
        ErrorKind::GroupUnclosed => ("this group is never closed", "add a \")\" before \" =\""),
        ErrorKind::GroupUnopened => ("no group is open here", "write \\) for a bracket that is meant"),
        ErrorKind::ClassUnclosed => {
            ("this class is never closed", "add a \"]\", or write \\[ if a bracket is meant")
        }
        ErrorKind::RepetitionMissing => {
            ("nothing stands here to be repeated", "write \\* or \\+ if the sign is meant")
        }
        ErrorKind::EscapeUnexpectedEof => {
            ("nothing follows this backslash", "write \\\\ for a backslash that is meant")
        }
        ErrorKind::EscapeUnrecognized => ("there is no such escape", "leave the backslash out"),
        ErrorKind::RepetitionCountUnclosed | ErrorKind::RepetitionCountDecimalEmpty => {
            ("this is not a repetition like {2,3}", "write \\{ for a brace that is meant")
        }
        other => {
            let text = other.to_string();
            return (text, None);
        }
    };
    (known.0.to_owned(), Some(known.1))
}
