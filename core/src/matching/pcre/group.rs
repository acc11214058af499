// SPDX-License-Identifier: GPL-3.0-or-later
//! What follows an opening bracket: groups, look-around, conditions and options.

use super::node::Node;
use super::{Atom, Flags, Parser};
use crate::matching::pattern::{Case, PatternError};

/// Groups that are known but not to be had: what follows their `(?`, what they are, and what to write instead.
const REFUSED: [(&str, &str, &str); 7] = [
    ("<*", "non-atomic look-around is", "write (?<=…)"),
    ("*", "non-atomic look-around is", "write (?=…)"),
    (
        "|",
        "branches that restart the numbering of groups are",
        "write (?:…), and a group of its own number for each branch",
    ),
    ("[", "classes with operators are", "write one class, like [a-z]"),
    ("{", "code in regexes is", "leave it out"),
    ("?", "code in regexes is", "leave it out"),
    ("~", "absent groups are", "write (?:(?!…).)*"),
];

/// A kind of look-around.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    is_behind: bool,
    is_negative: bool,
}

impl Look {
    const AHEAD: Self = Self { is_behind: false, is_negative: false };
    const BEHIND: Self = Self { is_behind: true, is_negative: false };

    fn opposite(self) -> Self {
        Self { is_negative: !self.is_negative, ..self }
    }

    fn open(self) -> &'static str {
        match (self.is_behind, self.is_negative) {
            (false, false) => "(?=",
            (false, true) => "(?!",
            (true, false) => "(?<=",
            (true, true) => "(?<!",
        }
    }

    /// The begin of a group, where it is one of these.
    pub(super) fn parse(text: &str) -> Option<(Self, &'static str)> {
        let kinds = [Self::AHEAD, Self::AHEAD.opposite(), Self::BEHIND, Self::BEHIND.opposite()];
        let begins = kinds.into_iter().map(|kind| (kind, &kind.open()[1..]));
        begins.into_iter().find(|(_, written)| text.starts_with(written))
    }
}

impl Parser<'_> {
    /// Reads a group whose opening bracket, at a place, was read.
    pub(super) fn group(&mut self, start: usize) -> Result<Atom, PatternError> {
        self.nesting.depth += 1;
        self.nesting.deepest = self.nesting.deepest.max(self.nesting.depth);
        if self.nesting.depth > MAX_DEPTH {
            return Err(PatternError::at(start..start + 1, "groups are nested too deeply here")
                .help(format!("nest up to {MAX_DEPTH}")));
        }
        let flags = self.flags;
        let atom = self.group_of_kind(start, flags)?;
        self.nesting.depth -= 1;
        if !matches!(atom, Atom::Nothing) {
            self.flags = flags;
        }
        Ok(atom)
    }

    fn group_of_kind(&mut self, start: usize, flags: Flags) -> Result<Atom, PatternError> {
        if self.rest().starts_with('*')
            && self.rest()[1..].starts_with(|c: char| c.is_ascii_alphabetic() || c == ':')
        {
            return self.verb(start).map(Atom::Node);
        }
        if !self.rest().starts_with('?') {
            return if flags.no_auto_capture { self.plain(start, "(?:") } else { self.capture(start, None) }
                .map(Atom::Node);
        }
        if let Some((look, written)) = Look::parse(self.rest()) {
            self.at += written.len();
            return self.look_around(start, look).map(Atom::Node);
        }
        self.at += 1;
        self.refuse_kind(start)?;
        let node = match self.peek() {
            Some(':') => {
                self.at += 1;
                self.plain(start, "(?:")?
            }
            Some('>') => {
                self.at += 1;
                self.demands.backtracking = true;
                self.plain(start, "(?>")?
            }
            Some('<' | '\'') => {
                let name = self.delimited_name(start)?;
                self.capture(start, Some(name))?
            }
            Some('P') if self.eat("P<") => {
                let name = self.name_until(start, '>')?;
                self.capture(start, Some(name))?
            }
            Some('P') if self.eat("P=") => {
                let name = self.name_until(start, ')')?;
                self.named(start, name)?
            }
            Some('(') => self.condition(start)?,
            _ => return self.options(start, flags),
        };
        Ok(Atom::Node(node))
    }

    /// Refuses what `(?` at a place, which was read, begins, where that is known but not to be had.
    fn refuse_kind(&mut self, start: usize) -> Result<(), PatternError> {
        let rest = self.rest();
        if let Some((begin, what, help)) = REFUSED.iter().find(|(begin, ..)| rest.starts_with(begin)) {
            self.at += begin.len();
            return Err(self.refuse(start, what, *help));
        }
        let is_digit = |c: char| c.is_ascii_digit();
        let is_callout = rest.starts_with('C');
        let is_recursion = rest.starts_with(['R', '&', '+'])
            || rest.starts_with(is_digit)
            || rest.starts_with("P>")
            || rest.strip_prefix('-').is_some_and(|rest| rest.starts_with(is_digit));
        if !is_callout && !is_recursion {
            return Ok(());
        }
        let begin = if rest.starts_with("P>") { 2 } else { 1 };
        self.at += rest.find(')').map_or(begin, |end| end + 1);
        Err(if is_callout {
            self.refuse(start, "callouts are", "leave it out")
        } else {
            self.recursion(start)
        })
    }

    /// What stands between here and the closing bracket.
    fn inside(&mut self, start: usize) -> Result<Node, PatternError> {
        let node = self.alternation()?;
        self.close(start)?;
        Ok(node)
    }

    fn close(&mut self, start: usize) -> Result<(), PatternError> {
        if self.eat(")") { Ok(()) } else { Err(never_closed(start)) }
    }

    pub(super) fn plain(&mut self, start: usize, open: &str) -> Result<Node, PatternError> {
        Ok(self.inside(start)?.wrapped(open))
    }

    fn capture(&mut self, start: usize, name: Option<String>) -> Result<Node, PatternError> {
        self.groups.count += 1;
        let group = self.groups.count;
        if let Some(name) = name {
            if self.groups.names.iter().any(|(known, _)| *known == name) {
                return Err(self
                    .fault(start, format!("there are two groups named {name}"))
                    .help("give one of them another name"));
            }
            self.groups.names.push((name, group));
        }
        self.groups.open.push(group);
        self.groups.least.push(0);
        let node = self.inside(start)?;
        self.groups.open.pop();
        self.groups.least[group - 1] = node.length.0;
        Ok(Node { has_groups: true, ..node.wrapped("(") })
    }

    pub(super) fn look_around(&mut self, start: usize, look: Look) -> Result<Node, PatternError> {
        self.nesting.look_arounds += 1;
        let groups = self.groups.count;
        self.demands.backtracking = false;
        let node = self.inside(start)?;
        let is_plain = !self.demands.backtracking && !node.has_groups;
        self.demands.backtracking = true;
        self.nesting.look_arounds -= 1;
        if look.is_behind {
            let (least, most) = node.length;
            let Some(most) = most.filter(|most| *most <= MAX_BEHIND) else {
                return Err(self
                    .fault(start, "there is no limit to how far this looks behind")
                    .help("repeat a fixed number of times, or match that part in front of \\K"));
            };
            // What more than text is looked for behind, not each engine takes.
            self.demands.is_doubtful |= !is_plain || least != most;
            if least != most {
                // Which of several lengths is tried first decides what groups match.
                if self.groups.count > groups {
                    return Err(self.refuse(
                        start,
                        "a look-behind of several lengths with groups is",
                        "write (?:…) for its groups",
                    ));
                }
            }
        }
        let text = format!("{}{})", look.open(), node.text);
        let has_groups = self.groups.count > groups;
        Ok(Node { is_single: true, has_groups, weight: node.weight + 2, ..Node::position(&text) })
    }

    /// `(?(…)…|…)`.
    fn condition(&mut self, start: usize) -> Result<Node, PatternError> {
        self.at += 1;
        let at = self.at;
        if let Some((look, written)) = Look::parse(self.rest()) {
            self.at += written.len();
            let groups = self.groups.count;
            let test = self.look_around(at - 1, look)?;
            if self.groups.count > groups {
                return Err(self.refuse(start, "a condition with groups is", "write (?:…) for its groups"));
            }
            let (then, other) = self.condition_branches(start)?;
            let otherwise =
                format!("{}{}", look.opposite().open(), &test.text[look_open_length(&test.text)..]);
            let node = Node::alternation(vec![
                Node { text: format!("{}(?:{})", test.text, then.text), ..then },
                Node { text: format!("{otherwise}(?:{})", other.text), ..other },
            ]);
            return Ok(node.wrapped("(?:"));
        }
        let group = self.condition_group(start)?;
        self.demands.backtracking = true;
        self.groups.references.push(super::Reference { span: start..self.at, group });
        let (then, other) = self.condition_branches(start)?;
        let text = format!("(?({group})(?:{})|(?:{}))", then.text, other.text);
        let node = Node::alternation(vec![then, other]);
        Ok(Node { text, is_single: true, is_position: false, ..node })
    }

    /// The group of which a condition asks whether it took part.
    fn condition_group(&mut self, start: usize) -> Result<usize, PatternError> {
        let Some(end) = self.rest().find(')') else { return Err(never_closed(start)) };
        let inside = self.rest()[..end].to_owned();
        let signed = |number: &str| number.parse::<usize>().ok().filter(|number| *number > 0);
        let group = if let Some(number) = inside.strip_prefix('-') {
            signed(number)
                .and_then(|number| (self.groups.count + 1).checked_sub(number))
                .filter(|group| *group > 0)
        } else if let Some(number) = inside.strip_prefix('+') {
            signed(number).and_then(|number| self.groups.count.checked_add(number))
        } else {
            signed(&inside)
        };
        if let Some(group) = group {
            self.at += end + 1;
            return Ok(group);
        }
        let is_recursion = inside == "R"
            || inside.starts_with("R&")
            || inside
                .strip_prefix('R')
                .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        if is_recursion || inside == "DEFINE" {
            self.at += end + 1;
            return Err(self.recursion(start));
        }
        if inside.starts_with("VERSION") {
            self.at += end + 1;
            return Err(self.refuse(start, "checking the version is", "write the branch that is meant"));
        }
        if inside.starts_with(['?', '*']) {
            self.at += end + 1;
            return Err(self.refuse(start, "this condition is", "write (?(?=…)…|…) or (?(1)…|…)"));
        }
        let at = self.at;
        let name = if inside.starts_with(['<', '\'']) {
            self.delimited_name(at)?
        } else {
            let name = self.name_until(at, ')')?;
            self.at -= 1;
            name
        };
        self.close(start)?;
        Ok(self.group_named(at, name))
    }

    fn condition_branches(&mut self, start: usize) -> Result<(Node, Node), PatternError> {
        let then = self.sequence()?;
        let other = if self.eat("|") { self.sequence()? } else { Node::empty() };
        if self.peek() == Some('|') {
            return Err(PatternError::at(self.at..self.at + 1, "a condition has two branches at most")
                .help("put further ones into (?:…)"));
        }
        self.close(start)?;
        Ok((then, other))
    }

    /// `(?imsx-imsx)` or `(?imsx-imsx:…)`.
    fn options(&mut self, start: usize, flags: Flags) -> Result<Atom, PatternError> {
        let mut new = flags;
        if self.eat("^") {
            new = Flags { ungreedy: flags.ungreedy, ..Flags::default() };
        }
        let mut is_on = true;
        loop {
            let at = self.at;
            match self.next() {
                Some('-') if is_on => is_on = false,
                Some(')') => {
                    self.flags = new;
                    return Ok(Atom::Nothing);
                }
                Some(':') => {
                    self.flags = new;
                    return self.plain(start, "(?:").map(Atom::Node);
                }
                Some(c) if self.set_option(c, is_on, &mut new) => {}
                Some('J') => {
                    let help = "give each its own name";
                    return Err(self.refuse(start, "several groups with the same name are", help));
                }
                Some('r') => {
                    return Err(self.refuse(start, "keeping case within ASCII is", "leave the r out"));
                }
                Some(c) => {
                    return Err(PatternError::at(at..self.at, format!("there is no option {c}"))
                        .help("the options are i m s x n U; write \\( if a bracket is meant"));
                }
                None => return Err(never_closed(start)),
            }
        }
    }

    /// Sets an option whose first letter was read; whether there is one of that letter.
    fn set_option(&mut self, letter: char, is_on: bool, flags: &mut Flags) -> bool {
        match letter {
            'i' => flags.case = if is_on { Case::Ignored } else { Case::Counts },
            'm' => flags.multiline = is_on,
            's' => flags.dot_all = is_on,
            'n' => flags.no_auto_capture = is_on,
            'U' => flags.ungreedy = is_on,
            'x' => {
                flags.extended = is_on;
                flags.extended_more = self.eat("x") && is_on;
            }
            // Names and classes are of ASCII anyway.
            'a' if is_on => {
                if let Some('D' | 'S' | 'W' | 'P' | 'T') = self.peek() {
                    self.at += 1;
                }
            }
            _ => return false,
        }
        true
    }
}

fn never_closed(start: usize) -> PatternError {
    PatternError::at(start..start + 1, "this group is never closed")
        .help("add a \")\" at the end of the regex")
}

/// Bytes of the begin of a look-around.
fn look_open_length(text: &str) -> usize {
    if text.starts_with("(?<") { 4 } else { 3 }
}

/// Groups may be nested so deep: the stack of a thread holds that.
const MAX_DEPTH: usize = 100;
/// A look-behind reaches so far back, in characters, as in PCRE.
const MAX_BEHIND: u64 = 255;
