// SPDX-License-Identifier: GPL-3.0-or-later
//! The key of a rule: one regex, or several that must hold together, and lists of peers beside them.

use std::ops::Range;
use std::sync::Arc;

use crate::ini::{Entry, Fault};
use crate::lists::{List, Lists, unquoted};
use crate::matching::pattern::{Case, LimitExceeded, Meaning, Pattern, PatternError};
use crate::matching::reach::Reach;
use crate::wire::details::Peers;

/// All regexes and lists of a key, which must hold together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Chain {
    pub(crate) patterns: Vec<Pattern>,
    lists: Vec<ListTerm>,
}

/// `list:NAME`, or `!list:NAME`.
#[derive(Debug, Clone)]
struct ListTerm {
    negated: bool,
    name: String,
    list: Arc<List>,
}

impl Chain {
    /// Reads the key of an entry; the fault names the place in the file.
    pub(crate) fn parse(entry: &Entry, lists: &Lists) -> Result<Self, Fault> {
        parse_key(&entry.key, lists).map_err(|error| {
            let span = error.span.map_or(entry.key_span(), |span| {
                entry.key_at + span.start..entry.key_at + span.end.min(entry.key.len()).max(span.start)
            });
            let fault = Fault::new(span, format!("{}, the rule is skipped", error.message));
            match error.help {
                Some(help) => fault.with_help(help),
                None => fault,
            }
        })
    }

    /// Whether every regex of it holds for a line, and every list for the peers.
    pub(crate) fn holds(&self, line: &str, peers: &Peers<'_>) -> Result<bool, LimitExceeded> {
        for pattern in &self.patterns {
            if pattern.is_found(line)? == pattern.negated {
                return Ok(false);
            }
        }
        let has = |list: &List| peers.get().iter().any(|peer| list.has(peer));
        Ok(self.lists.iter().all(|term| has(&term.list) != term.negated))
    }

    /// Two chains of which this is the same hold for the same lines.
    pub(crate) fn meaning(&self) -> Vec<Meaning> {
        // No regex has a line break.
        let of_list = |term: &ListTerm| (term.negated, false, format!("\n{}", term.name));
        let mut meanings: Vec<_> =
            self.patterns.iter().map(Pattern::meaning).chain(self.lists.iter().map(of_list)).collect();
        meanings.sort_unstable();
        meanings
    }

    /// Whether it says that it holds for every line.
    pub(crate) fn holds_for_all(&self) -> bool {
        self.lists.is_empty()
            && self.patterns.iter().all(|pattern| !pattern.negated && pattern.reach() == Reach::Every)
    }
}

/// Reads a key: one regex, or several as `/…/` with flags and lists, joined by ` && `.
fn parse_key(key: &str, lists: &Lists) -> Result<Chain, PatternError> {
    let key = key.strip_suffix("&&").map_or(key, str::trim_end);
    refuse_half_a_chain(key)?;
    let links = split_wrapped(key).unwrap_or_else(|| vec![Link { regex: key, ..Link::default() }]);
    let mut chain = Chain::default();
    for link in links {
        if let Some((negated, name)) = list_term(link.regex).filter(|_| link.is_list) {
            let span = link.offset..link.offset + link.regex.len();
            let fault = |message: String| PatternError::at(span.clone(), message);
            let list = lists.find(name).map_err(fault)?;
            let name = name.to_lowercase();
            if chain.lists.iter().any(|other| other.name == name && other.negated != negated) {
                let message = "this chain asks for one list with and without !, so it never holds".to_owned();
                return Err(fault(message).help("take one of the two out"));
            }
            chain.lists.push(ListTerm { negated, name, list });
            continue;
        }
        let case = match link.flags.chars().rfind(|flag| "iI".contains(*flag)) {
            Some('I') => Case::Counts,
            _ => Case::Ignored,
        };
        let placed = |error: PatternError| PatternError {
            span: error.span.map(|span| span.start + link.offset..span.end + link.offset),
            ..error
        };
        let mut pattern = Pattern::parse(link.regex, case).map_err(placed)?;
        pattern.negated = link.flags.contains('!');
        refuse_without_sense(&pattern, link.regex).map_err(placed)?;
        refuse_contradiction(&pattern, &chain.patterns, link.regex).map_err(placed)?;
        chain.patterns.push(pattern);
    }
    Ok(chain)
}

/// Refuses a regex that matches every line or none, where that cannot be meant.
fn refuse_without_sense(pattern: &Pattern, regex: &str) -> Result<(), PatternError> {
    match pattern.reach() {
        Reach::None(reason) => {
            let help = format!("{reason}: take that out, or put a \\ before a ^ or $ that is meant as text");
            Err(PatternError::at(0..regex.len(), "this regex never matches").help(help))
        }
        Reach::Every | Reach::EveryByMistake if pattern.negated => {
            Err(PatternError::at(0..regex.len(), "this regex matches every line, so with ! it never holds")
                .help("take it out, or write what a line must not have"))
        }
        Reach::EveryByMistake => Err(match empty_alternative(regex) {
            Some(span) => PatternError::at(span, "an empty alternative matches every line")
                .help("take the | out, or write .* for every line, \\| for the character"),
            None => {
                PatternError::at(0..regex.len(), "this regex matches every line: all of it may be missing")
                    .help("write + for *, or .* for every line")
            }
        }),
        Reach::Every | Reach::Some => Ok(()),
    }
}

/// Refuses a regex of which another one of its chain is the opposite.
fn refuse_contradiction(pattern: &Pattern, others: &[Pattern], regex: &str) -> Result<(), PatternError> {
    let (negated, case, meant) = pattern.meaning();
    if others.iter().any(|other| other.meaning() == (!negated, case, meant.clone())) {
        let message = "this chain asks for one regex with and without !, so it never holds";
        return Err(PatternError::at(0..regex.len(), message).help("take one of the two out"));
    }
    Ok(())
}

/// Where an alternative is empty, if that is to be seen.
fn empty_alternative(regex: &str) -> Option<Range<usize>> {
    let is_escaped = |at: usize| regex[..at].bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1;
    let bars = regex.match_indices('|').map(|(at, _)| at).filter(|at| !is_escaped(*at));
    let mut empty = bars.filter(|at| {
        let (before, after) = (&regex[..*at], &regex[at + 1..]);
        before.is_empty()
            || after.is_empty()
            || after.starts_with(['|', ')'])
            || before.ends_with('(') && !is_escaped(at - 1)
    });
    empty.next().map(|at| at..at + 1)
}

/// Refuses what was meant as a chain, or as a regex between slashes, and would be read as one regex with all that in it:
/// such a regex matches nothing.
fn refuse_half_a_chain(key: &str) -> Result<(), PatternError> {
    let is_flags = |text: &str| text.chars().all(|flag| "iI!".contains(flag));
    let begins = |part: &str| part.find('/').is_some_and(|slash| is_flags(&part[..slash]));
    let is_wrapped = |part: &str| {
        begins(part) && part.ends_with('/') && part.matches('/').count() > 1 || list_term(part).is_some()
    };
    for (joint, _) in key.match_indices(" & ") {
        let (before, after) = (key[..joint].trim(), key[joint + 3..].trim());
        if is_wrapped(before) && is_wrapped(after) {
            let help = format!("write {before} && {after}, or [&] for the text");
            return Err(PatternError::at(joint + 1..joint + 2, "one & joins nothing").help(help));
        }
    }
    for (joint, word) in ["&&", "||"].iter().flat_map(|word| key.match_indices(*word)) {
        let (before, after) = (&key[..joint], &key[joint + 2..]);
        let touches = before.trim_end().ends_with('/') && begins(key) || begins(after.trim_start());
        let is_spaced = before.ends_with(' ') && after.starts_with(' ');
        let span = joint..joint + 2;
        if word == "||" {
            if touches && is_spaced {
                let help = "write one regex with | for one or the other: /A|B/";
                return Err(PatternError::at(span, "|| joins nothing").help(help));
            }
            continue;
        }
        if !touches && !is_spaced {
            continue;
        }
        let mut at = 0;
        let mut parts = Vec::new();
        let mut unwrapped = None;
        for part in key.split("&&") {
            let text = part.trim();
            let start = at + part.find(text).unwrap_or_default();
            at += part.len() + 2;
            if is_wrapped(text) {
                parts.push(text.to_owned());
                continue;
            }
            unwrapped.get_or_insert(start..start + text.len());
            let (flags, text) = match text.find('/').filter(|_| begins(text)) {
                Some(slash) => text.split_at(slash),
                None => ("", text),
            };
            parts.push(format!("{flags}/{}/", text.trim_matches('/')));
        }
        let help = format!("write {}, or [&]& for the text", parts.join(" && "));
        match unwrapped {
            Some(part) => {
                let message = "each regex of a chain stands between slashes, and this one does not";
                return Err(PatternError::at(part, message).help(help));
            }
            None if !is_spaced => {
                return Err(PatternError::at(span, "&& joins regexes with a space on each side").help(help));
            }
            None => {}
        }
    }
    if key.starts_with(['!', 'i', 'I']) && begins(key) && !is_wrapped(key) && key.contains("!/") {
        return Err(PatternError::at(0..key.len(), "the closing / of this regex is missing")
            .help(format!("write {}/", key.trim_end_matches('/'))));
    }
    let flags = key.rfind('/').map(|slash| &key[slash + 1..]).unwrap_or_default();
    if key.starts_with('/')
        && key.matches('/').count() == 2
        && (1..=3).contains(&flags.len())
        && flags.chars().all(|flag| "iIgmsu".contains(flag))
    {
        let regex = &key[..key.len() - flags.len()];
        return Err(PatternError::at(regex.len()..key.len(), "flags stand before the first slash")
            .help(format!("write {regex}, which ignores case, or I{regex}, for which case counts")));
    }
    Ok(())
}

#[derive(Default)]
struct Link<'k> {
    /// With `is_list` it is no regex, but [`list_term`] reads it.
    regex: &'k str,
    offset: usize,
    flags: &'k str,
    is_list: bool,
}

/// Whether a part of a chain is a list that is negated, and its name.
fn list_term(part: &str) -> Option<(bool, &str)> {
    let (negated, rest) = match part.strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, part),
    };
    let name = unquoted(rest.strip_prefix("list:")?);
    (!name.is_empty()).then_some((negated, name))
}

/// Where a part ends that is a list.
fn end_of_list(key: &str) -> Option<usize> {
    let end = key.find(" && ").unwrap_or(key.len());
    list_term(&key[..end]).map(|_| end)
}

/// The parts of a key that consists of wrapped regexes and lists throughout; `None` where it is a plain regex.
fn split_wrapped(key: &str) -> Option<Vec<Link<'_>>> {
    let mut links = Vec::new();
    let mut at = 0;
    loop {
        let rest = &key[at..];
        if let Some(end) = end_of_list(rest) {
            links.push(Link { regex: &rest[..end], offset: at, flags: "", is_list: true });
            at += end + " && ".len();
            if at > key.len() {
                return Some(links);
            }
            continue;
        }
        let flags = &rest[..rest.find('/')?];
        if !flags.chars().all(|flag| "iI!".contains(flag)) {
            return None;
        }
        let start = at + flags.len() + 1;
        let body = &key[start..];
        // A regex ends at the first slash after which the key ends or another part of its kind or a list follows.
        let next = body.match_indices("/ && ").map(|(end, _)| end).find(|end| {
            let follower = &body[end + 5..];
            follower.trim_start_matches(['i', 'I', '!']).starts_with('/') || end_of_list(follower).is_some()
        });
        if let Some(end) = next {
            links.push(Link { regex: &body[..end], offset: start, flags, is_list: false });
            at = start + end + 5;
        } else {
            links.push(Link { regex: body.strip_suffix('/')?, offset: start, flags, is_list: false });
            return Some(links);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with a key: the part that is meant, the message and what to do.
    fn fault(key: &str) -> Option<(String, String)> {
        let error = parse_key(key, &Lists::default()).err()?;
        let span = error.span.unwrap_or(0..key.len());
        Some((key[span].to_owned(), format!("{}: {}", error.message, error.help.unwrap_or_default())))
    }

    #[test]
    fn what_means_nothing_is_refused_with_what_to_write() {
        for (key, meant, words) in [
            (
                r"\[cron\] && !/!\w+/",
                r"\[cron\]",
                r"between slashes, and this one does not: write /\[cron\]/ && !/!\w+/, or",
            ),
            ("/ :: a/ && / b ::", "/ b ::", "write / :: a/ && / b ::/, or"),
            ("/a/ && b", "b", "write /a/ && /b/"),
            ("a && b", "a", "write /a/ && /b/"),
            ("/a/ &&/b/", "&&", "a space on each side: write /a/ && /b/"),
            ("/a/&& /b/", "&&", "a space on each side"),
            ("/a/ || /b/", "||", "/A|B/"),
            ("/a/ & /b/", "&", "one & joins nothing: write /a/ && /b/, or"),
            ("/a/ && !/a/", "a", "never holds: take one of the two out"),
            ("!/A b/ && /x/ && /a B/", "a B", "never holds"),
            ("(?!)", "(?!)", "never matches: (?!) holds nowhere"),
            ("/a/ && /b(?<!)|(c(?!))+/", "b(?<!)|(c(?!))+", "(?!) holds nowhere"),
            ("!/a", "!/a", "the closing / of this regex is missing: write !/a/"),
            ("/a/i", "i", "flags stand before the first slash: write /a/, which"),
            ("a|", "|", "an empty alternative matches every line"),
            ("/a/ && /(b||c)?/", "|", "an empty alternative"),
            ("x*", "x*", "all of it may be missing: write + for *"),
            ("//", "", "all of it may be missing"),
            ("!/a*/", "a*", "so with ! it never holds"),
            ("/b/ && !/.*/", ".*", "so with ! it never holds"),
            ("a$b", "a$b", "never matches: nothing stands behind the end"),
            (r"a\tb", r"a\tb", "no control characters"),
        ] {
            let (part, told) = fault(key).unwrap_or_else(|| panic!("{key} passes"));
            assert!(part == meant && told.contains(words), "{key}: {part}: {told}");
        }
    }

    #[test]
    fn lists_stand_among_regexes() {
        let lists = Lists::of(&[("a", "a.test"), ("b c", "b.test")]);
        let line = |peer: &str| format!("18:32 :: me :: curl :: {peer} 443 :: ");
        for (key, holds) in [
            ("list:a", [true, false]),
            ("!list:a", [false, true]),
            ("!list:\"b c\"", [true, false]),
            ("!list:b c && I/curl/", [true, false]),
            ("/a\\.test/ && list:A", [true, false]),
            ("/test/ && !list:a && /4{2}3/", [false, true]),
            ("list:a && list:b c", [false, false]),
            ("list:a && !/curl/", [false, false]),
            ("list:a &&", [true, false]),
            ("xlist:a", [false, false]),
        ] {
            let chain = parse_key(key, &lists).unwrap_or_else(|error| panic!("{key}: {}", error.message));
            let found = ["a.test", "b.test"].map(|peer| {
                let line = line(peer);
                chain.holds(&line, &Peers::of(&line, None)).unwrap()
            });
            assert_eq!(found, holds, "{key}");
            assert!(!chain.holds_for_all() && chain.meaning() != parse_key("x", &lists).unwrap().meaning());
        }
        for (key, words) in [
            ("list:x", "there is no list x; there are a, b c"),
            ("list:a && b", "each regex of a chain stands between slashes"),
            ("a && list:a", "each regex of a chain stands between slashes"),
            ("/a/ &&list:a", "a space on each side"),
            ("!list:a && list:A", "one list with and without !"),
        ] {
            let error = parse_key(key, &lists).err().unwrap_or_else(|| panic!("{key} passes"));
            assert!(
                error.message.contains(words) || error.help.clone().unwrap_or_default().contains(words),
                "{key}: {}",
                error.message
            );
        }
    }

    #[test]
    fn what_may_be_meant_is_read() {
        for key in [
            ".*",
            "^",
            "^ *",
            "$",
            "/udp",
            "443/udp",
            "/a/ && !/b/",
            "/a/ &&",
            "[&]& b",
            "a&&b",
            "/a&&b/",
            "i/o",
            "/a|b/",
            r"a\|",
            "/ 53/udp/",
            "I/A/ && i!/b/",
            "!refused",
            "/a/b/x",
            "a & b",
            "/a & b/",
            "/usr & /bin",
            r"/\s/ && !/\S/",
            "I/a/ && !I/A/",
            "I/a/ && !/a/",
            "/(?i:a)/ && !/(?-i:a)/",
            "(a(?!))?b",
            "a|(?!)",
            "[(?!)]",
            r"\(?!\)",
            "(?!a)b",
            "a /b/",
        ] {
            assert_eq!(fault(key), None, "{key}");
        }
    }
}
