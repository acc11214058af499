// SPDX-License-Identifier: GPL-3.0-or-later
//! The key of a rule: one regex, or several that must hold together.

use crate::ini::{Entry, Fault};
use crate::matching::pattern::{Case, LimitExceeded, Pattern, PatternError};

/// All regexes of a key, which must hold together.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    pub(crate) patterns: Vec<Pattern>,
}

impl Chain {
    /// Reads the key of an entry; the fault names the place in the file.
    pub(crate) fn parse(entry: &Entry) -> Result<Self, Fault> {
        parse_key(&entry.key).map_err(|error| {
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

    /// Whether every regex of it holds.
    pub(crate) fn holds(&self, line: &str) -> Result<bool, LimitExceeded> {
        for pattern in &self.patterns {
            if pattern.is_found(line)? == pattern.negated {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Reads a key: one regex, or several as `/…/` with flags, joined by ` && `.
pub(crate) fn parse_key(key: &str) -> Result<Chain, PatternError> {
    let key = key.strip_suffix("&&").map_or(key, str::trim_end);
    let links = split_wrapped(key).unwrap_or_else(|| vec![Link { regex: key, offset: 0, flags: "" }]);
    let mut patterns = Vec::with_capacity(links.len());
    for link in links {
        let case = match link.flags.chars().rfind(|flag| "iI".contains(*flag)) {
            Some('I') => Case::Counts,
            _ => Case::Ignored,
        };
        let mut pattern = Pattern::parse(link.regex, case).map_err(|error| PatternError {
            span: error.span.map(|span| span.start + link.offset..span.end + link.offset),
            ..error
        })?;
        pattern.negated = link.flags.contains('!');
        patterns.push(pattern);
    }
    Ok(Chain { patterns })
}

struct Link<'k> {
    regex: &'k str,
    offset: usize,
    flags: &'k str,
}

/// The parts of a key that consists of wrapped regexes throughout; `None` where it is a plain regex.
fn split_wrapped(key: &str) -> Option<Vec<Link<'_>>> {
    let mut links = Vec::new();
    let mut at = 0;
    loop {
        let rest = &key[at..];
        let flags = &rest[..rest.find('/')?];
        if !flags.chars().all(|flag| "iI!".contains(flag)) {
            return None;
        }
        let start = at + flags.len() + 1;
        let body = &key[start..];
        // A regex ends at the first slash after which the key ends or another wrapped regex follows.
        let next = body.match_indices("/ && ").map(|(end, _)| end).find(|end| {
            let follower = &body[end + 5..];
            follower.trim_start_matches(['i', 'I', '!']).starts_with('/')
        });
        if let Some(end) = next {
            links.push(Link { regex: &body[..end], offset: start, flags });
            at = start + end + 5;
        } else {
            links.push(Link { regex: body.strip_suffix('/')?, offset: start, flags });
            return Some(links);
        }
    }
}
