// SPDX-License-Identifier: GPL-3.0-or-later
//! Regexes as pcre2pattern(3) has them, translated into what the engines read.
//!
//! The engines understand much of PCRE's syntax, but not all of it alike (`\h` is a hex digit, `[a&&b]` an
//! intersection, `$` no place before a last newline). So nothing is passed on as it is: what was understood here is
//! written anew, in constructs that mean one thing, and what was not is refused by name. Text is UTF-8 (`(*UTF)`), and
//! `\d \w \s \b` and POSIX classes are ASCII, as PCRE has them unless `(*UCP)` says otherwise.

mod class;
mod escape;
mod group;
mod need;
mod node;
mod property;
mod quantifier;
#[cfg(test)]
mod tests;
mod verb;

use std::ops::Range;

use self::node::{EAGER_DEPTH, EAGER_WEIGHT, Node};
use crate::matching::pattern::{Case, PatternError};

/// Which engine is to read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dialect {
    /// The backtracking engine, not the linear one.
    pub(crate) backtracking: bool,
    /// For lines that end with a newline, before which `$` holds, too.
    pub(crate) final_newline: bool,
}

/// A regex that was understood.
#[derive(Debug)]
pub(crate) struct Translated {
    /// What the engine reads; case is in it, so the engine itself takes it as it is.
    pub(crate) text: String,
    /// What it asks of an engine.
    pub(crate) demands: Demands,
    /// How many groups capture.
    pub(crate) groups: usize,
    /// Groups that have a name.
    pub(crate) names: Vec<(String, usize)>,
    /// What a line must contain to match.
    pub(crate) need: Vec<String>,
}

/// What a regex asks of an engine.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Demands {
    /// Only the backtracking engine can do it.
    pub(crate) backtracking: bool,
    /// It means something else where the line ends with a newline.
    pub(crate) minds_newline: bool,
    /// It may be too much for the engine, which has to be asked.
    pub(crate) is_doubtful: bool,
}

/// Translates a regex.
pub(crate) fn translate(regex: &str, case: Case, dialect: Dialect) -> Result<Translated, PatternError> {
    let parser = Parser::new(regex, case, dialect, Vec::new());
    match parser.run()? {
        Outcome::Done(translated) => Ok(translated),
        // A name was used before its group: now they are known.
        Outcome::NamesLater(names) => match Parser::new(regex, case, dialect, names).run()? {
            Outcome::Done(translated) => Ok(translated),
            Outcome::NamesLater(_) => Err(PatternError::at(0..regex.len(), "a name has no group")),
        },
    }
}

enum Outcome {
    Done(Translated),
    NamesLater(Vec<(String, usize)>),
}

/// What inline options say.
#[derive(Debug, Clone, Copy, Default)]
#[allow(clippy::struct_excessive_bools)]
struct Flags {
    case: Case,
    multiline: bool,
    dot_all: bool,
    extended: bool,
    extended_more: bool,
    no_auto_capture: bool,
    ungreedy: bool,
}

/// A place that refers to a group.
#[derive(Debug)]
struct Reference {
    span: Range<usize>,
    group: usize,
}

#[derive(Debug)]
struct Parser<'r> {
    regex: &'r str,
    at: usize,
    dialect: Dialect,
    flags: Flags,
    /// Between `\Q` and `\E`.
    is_quoted: bool,
    groups: Groups,
    nesting: Nesting,
    demands: Demands,
}

/// Groups that capture, and what refers to them.
#[derive(Debug, Default)]
struct Groups {
    count: usize,
    names: Vec<(String, usize)>,
    /// Names with their groups from a first pass.
    known: Vec<(String, usize)>,
    /// Names that have no group yet.
    unknown: Vec<(String, Range<usize>)>,
    /// Those that are open here.
    open: Vec<usize>,
    /// Characters that each takes at least, as far as they are closed.
    least: Vec<u64>,
    references: Vec<Reference>,
}

/// How deep a place is in groups of any kind.
#[derive(Debug, Default)]
struct Nesting {
    depth: usize,
    deepest: usize,
    look_arounds: usize,
}

/// What stands at a place.
enum Atom {
    /// A character that means itself.
    Literal(char),
    Node(Node),
    /// An option, a comment: nothing that could be repeated.
    Nothing,
}

impl<'r> Parser<'r> {
    fn new(regex: &'r str, case: Case, dialect: Dialect, known: Vec<(String, usize)>) -> Self {
        Self {
            regex,
            at: 0,
            dialect,
            flags: Flags { case, ..Flags::default() },
            is_quoted: false,
            groups: Groups { known, ..Groups::default() },
            nesting: Nesting::default(),
            demands: Demands { backtracking: dialect.backtracking, ..Demands::default() },
        }
    }

    fn run(mut self) -> Result<Outcome, PatternError> {
        self.skip_settings()?;
        let node = self.alternation()?;
        if self.peek() == Some(')') {
            return Err(PatternError::at(self.at..self.at + 1, "no group is open here")
                .help("write \\) for a bracket that is meant"));
        }
        if let Some((name, span)) = self.groups.unknown.first() {
            if self.groups.names.iter().any(|(known, _)| known == name) {
                return Ok(Outcome::NamesLater(self.groups.names));
            }
            return Err(PatternError::at(span.clone(), format!("there is no group named {name}"))
                .help("name one with (?<NAME>…)"));
        }
        if let Some(reference) =
            self.groups.references.iter().find(|reference| reference.group > self.groups.count)
        {
            let count = self.groups.count;
            let help = if count == 0 {
                "it has no groups: write \\\\ for a backslash that is meant".to_owned()
            } else {
                format!("it has {count}, write a number up to that")
            };
            let message = format!("there is no group number {}", reference.group);
            return Err(PatternError::at(reference.span.clone(), message).help(help));
        }
        let is_large = node.weight > EAGER_WEIGHT || self.nesting.deepest > EAGER_DEPTH;
        Ok(Outcome::Done(Translated {
            text: node.text,
            demands: Demands { is_doubtful: self.demands.is_doubtful || is_large, ..self.demands },
            groups: self.groups.count,
            names: self.groups.names,
            need: node.need.best(),
        }))
    }

    fn rest(&self) -> &'r str {
        &self.regex[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn eat(&mut self, text: &str) -> bool {
        let is_there = self.rest().starts_with(text);
        if is_there {
            self.at += text.len();
        }
        is_there
    }

    /// A fault from a place to the current one.
    fn fault(&self, start: usize, message: impl Into<String>) -> PatternError {
        PatternError::at(start..self.at.max(start + 1), message)
    }

    /// A construct that is known but not to be had.
    fn refuse(&self, start: usize, what: &str, help: impl Into<String>) -> PatternError {
        let written: String = self.regex[start..self.at].chars().take(24).collect();
        self.fault(start, format!("`{written}`: {what} not supported")).help(help)
    }

    /// Branches up to a closing bracket or the end.
    fn alternation(&mut self) -> Result<Node, PatternError> {
        let mut branches = vec![self.sequence()?];
        while self.eat("|") {
            branches.push(self.sequence()?);
        }
        Ok(Node::alternation(branches))
    }

    fn sequence(&mut self) -> Result<Node, PatternError> {
        let mut sequence = node::Sequence::default();
        loop {
            self.skip_nothings()?;
            let start = self.at;
            let Some(c) = self.peek() else { break };
            if !self.is_quoted && matches!(c, '|' | ')') {
                break;
            }
            let atom = self.atom()?;
            if matches!(atom, Atom::Nothing) {
                continue;
            }
            self.skip_nothings()?;
            match (self.quantifier()?, atom) {
                (None, Atom::Literal(c)) => sequence.push_literal(c, self.flags.case),
                (None, Atom::Node(node)) => sequence.push(node),
                (Some(quantifier), atom) => {
                    let node = match atom {
                        Atom::Literal(c) => Node::literal(&c.to_string(), self.flags.case),
                        Atom::Node(node) => node,
                        Atom::Nothing => Node::empty(),
                    };
                    if node.is_position {
                        return Err(self
                            .fault(start, "a position cannot be repeated")
                            .help("leave the repetition out"));
                    }
                    if node.has_groups && quantifier.max == Some(0) {
                        let message = "this group is repeated zero times";
                        return Err(self.fault(start, message).help("leave it out"));
                    }
                    // What an empty round does is not the same in all engines.
                    if quantifier.max.is_none() && node.length.0 == 0 {
                        let message = "something that can match nothing is repeated without limit";
                        let help = "write + for a * in it, or leave one of the repetitions out";
                        return Err(self.fault(start, message).help(help));
                    }
                    self.demands.backtracking |= quantifier.is_possessive;
                    sequence.push(node.repeat(quantifier));
                }
                (None, Atom::Nothing) => {}
            }
        }
        Ok(sequence.finish())
    }

    /// Passes over what stands for nothing: comments, in extended mode spaces, and where quoting begins and ends.
    fn skip_nothings(&mut self) -> Result<(), PatternError> {
        loop {
            let start = self.at;
            if self.is_quoted {
                if !self.eat("\\E") {
                    return Ok(());
                }
                self.is_quoted = false;
            } else if self.eat("\\Q") {
                self.is_quoted = true;
            } else if self.eat("\\E") {
            } else if self.eat("(?#") {
                let Some(end) = self.rest().find(')') else {
                    return Err(PatternError::at(start..start + 3, "this comment is never closed")
                        .help("add a \")\" after it"));
                };
                self.at += end + 1;
            } else if self.flags.extended
                && self.peek().is_some_and(|c| matches!(c, '\t'..='\r' | ' ' | '\u{85}' | '\u{200e}'..='\u{200f}' | '\u{2028}' | '\u{2029}'))
            {
                self.next();
            } else if self.flags.extended && self.peek() == Some('#') {
                self.at += self.rest().find('\n').map_or(self.rest().len(), |end| end + 1);
            } else {
                return Ok(());
            }
        }
    }

    fn atom(&mut self) -> Result<Atom, PatternError> {
        let start = self.at;
        let Some(c) = self.next() else { return Ok(Atom::Nothing) };
        if self.is_quoted {
            return Ok(Atom::Literal(c));
        }
        Ok(Atom::Node(match c {
            '\\' => return self.escape(start),
            '(' => return self.group(start),
            '[' => self.class(start)?,
            '.' if self.flags.dot_all => Node::set("[\\x{0}-\\x{10FFFF}]".to_owned(), 4),
            '.' => Node::set("[^\\n]".to_owned(), 4),
            '^' if self.flags.multiline && self.dialect.final_newline => {
                self.demands.backtracking = true;
                Node::position("(?m:^)(?!(?<=\\n)\\z)")
            }
            '^' if self.flags.multiline => {
                self.demands.minds_newline = true;
                Node::position("(?m:^)")
            }
            '^' => Node::position("\\A"),
            '$' if self.flags.multiline => Node::position("(?m:$)"),
            '$' => self.end_of_line(),
            '*' | '+' | '?' => {
                return Err(self
                    .fault(start, "there is nothing to repeat here")
                    .help("write \\* \\+ or \\? if the sign is meant"));
            }
            '{' => {
                self.at = start;
                if self.quantifier()?.is_some() {
                    return Err(self
                        .fault(start, "there is nothing to repeat here")
                        .help("write \\{ if the brace is meant"));
                }
                self.at = start + 1;
                return Ok(Atom::Literal('{'));
            }
            c => return Ok(Atom::Literal(c)),
        }))
    }

    /// The end of the line, or before a newline that ends it.
    fn end_of_line(&mut self) -> Node {
        self.demands.minds_newline = true;
        if self.dialect.final_newline {
            self.demands.backtracking = true;
            Node::position("(?=\\n?\\z)")
        } else {
            Node::position("\\z")
        }
    }
}
