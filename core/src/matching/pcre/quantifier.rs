// SPDX-License-Identifier: GPL-3.0-or-later
//! How often: `* + ? {n} {n,} {n,m}`, lazy or possessive.

use super::Parser;
use crate::matching::pattern::PatternError;

/// A repetition goes up to this.
const MAX_TIMES: u32 = 65535;

#[derive(Debug, Clone, Copy)]
pub(super) struct Quantifier {
    pub(super) min: u32,
    pub(super) max: Option<u32>,
    pub(super) is_lazy: bool,
    pub(super) is_possessive: bool,
}

impl Parser<'_> {
    /// Reads a quantifier, where one stands here.
    pub(super) fn quantifier(&mut self) -> Result<Option<Quantifier>, PatternError> {
        if self.is_quoted {
            return Ok(None);
        }
        let (min, max) = match self.peek() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') => return self.counted(),
            _ => return Ok(None),
        };
        self.at += 1;
        self.with_suffix(min, max).map(Some)
    }

    fn with_suffix(&mut self, min: u32, max: Option<u32>) -> Result<Quantifier, PatternError> {
        if self.flags.extended {
            self.skip_nothings()?;
        }
        let is_possessive = self.eat("+");
        let is_lazy = !is_possessive && self.eat("?") != self.flags.ungreedy;
        self.skip_nothings()?;
        let start = self.at;
        let again = match self.peek() {
            _ if self.is_quoted => false,
            Some('*' | '+' | '?') => true,
            Some('{') => self.braces()?.is_some(),
            _ => false,
        };
        if again {
            return Err(PatternError::at(start..start + 1, "a repetition cannot be repeated")
                .help("put what is repeated into (?:…), or write a backslash before a sign that is meant"));
        }
        let is_lazy = is_lazy && !is_possessive;
        Ok(Quantifier { min, max, is_lazy, is_possessive })
    }

    fn counted(&mut self) -> Result<Option<Quantifier>, PatternError> {
        let start = self.at;
        let Some((min, max, length)) = self.braces()? else { return Ok(None) };
        self.at += length;
        if max.is_some_and(|max| max < min) {
            return Err(self
                .fault(start, "this repetition ends before it begins")
                .help("write the smaller number first"));
        }
        self.with_suffix(min, max).map(Some)
    }

    /// Numbers between braces, and how long that is; `None` where the brace means itself.
    pub(super) fn braces(&self) -> Result<Option<(u32, Option<u32>, usize)>, PatternError> {
        let Some(end) = self.rest().find('}') else { return Ok(None) };
        let span = self.at..self.at + end + 1;
        let inside = &self.rest()[1..end];
        let (first, last) = match inside.split_once(',') {
            Some((first, last)) => (first, Some(last)),
            None => (inside, None),
        };
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = |text: &str| {
            text.parse().ok().filter(|times| *times <= MAX_TIMES).ok_or_else(|| {
                PatternError::at(span.clone(), "this is repeated too often")
                    .help(format!("a repetition goes up to {MAX_TIMES}"))
            })
        };
        if is_number(first) && last.is_none_or(|last| last.is_empty() || is_number(last)) {
            let min = number(first)?;
            let max = match last {
                None => Some(min),
                Some("") => None,
                Some(last) => Some(number(last)?),
            };
            return Ok(Some((min, max, span.len())));
        }
        let trimmed = |text: &str| text.trim_matches([' ', '\t']).to_owned();
        let [first, last] = [trimmed(first), last.map(trimmed).unwrap_or_default()];
        let like_numbers = [&first, &last].iter().all(|text| text.is_empty() || is_number(text));
        if like_numbers && !(first.is_empty() && last.is_empty()) {
            // A repetition since PCRE2 10.43, text before.
            let written = &self.regex[span.clone()];
            let comma = if inside.contains(',') { "," } else { "" };
            let first = if first.is_empty() { "0" } else { &first };
            return Err(PatternError::at(
                span,
                format!("`{written}` means different things to versions of PCRE"),
            )
            .help(format!("write {{{first}{comma}{last}}}, or \\{written} if the text is meant")));
        }
        Ok(None)
    }
}
