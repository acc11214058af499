// SPDX-License-Identifier: GPL-3.0-or-later
//! What a line must contain for a regex to match, so that most regexes need not be tried at all.

/// More alternatives than this are as good as none.
const MAX_ALTERNATIVES: usize = 16;
/// Of longer literals so much is looked for: bytes.
const MAX_LITERAL: usize = 48;

/// What is known of the text that a part of a regex matches, letters of ASCII in lower case.
#[derive(Debug, Clone, Default)]
pub(crate) struct Need {
    /// It is this and nothing else.
    exact: Option<String>,
    /// It begins with this, and ends with that.
    prefix: String,
    suffix: String,
    /// It contains one of these; none where nothing is known.
    any: Vec<String>,
}

impl Need {
    pub(super) fn exactly(text: &str) -> Self {
        let text = text.to_ascii_lowercase();
        Self { exact: Some(text.clone()), prefix: text.clone(), suffix: text, any: Vec::new() }
    }

    /// This, and then that.
    pub(super) fn then(self, after: Self) -> Self {
        let joined = self.suffix.clone() + &after.prefix;
        let any = better(better(self.any, after.any), vec![joined]);
        let prefix = match &self.exact {
            Some(exact) => exact.clone() + &after.prefix,
            None => self.prefix,
        };
        let suffix = match &after.exact {
            Some(exact) => self.suffix + exact,
            None => after.suffix,
        };
        let exact = self.exact.zip(after.exact).map(|(one, other)| one + &other);
        Self { exact, prefix, suffix, any }
    }

    /// This or that.
    pub(super) fn or(&self, other: &Self) -> Self {
        let (mut any, others) = (self.best(), other.best());
        if any.is_empty() || others.is_empty() || any.len() + others.len() > MAX_ALTERNATIVES {
            return Self::default();
        }
        any.extend(others);
        Self { any, ..Self::default() }
    }

    /// Once or more often.
    pub(super) fn repeated(self) -> Self {
        Self { any: self.best(), exact: None, prefix: self.prefix, suffix: self.suffix }
    }

    /// Texts of which a line that matches contains one; none where it need not contain anything.
    pub(crate) fn best(&self) -> Vec<String> {
        let [prefix, suffix] = [&self.prefix, &self.suffix].map(|text| vec![text.clone()]);
        let mut best = better(better(self.any.clone(), prefix), suffix);
        for text in &mut best {
            text.truncate(text.floor_char_boundary(MAX_LITERAL));
        }
        if score(&best) == 0 { Vec::new() } else { best }
    }
}

fn better(one: Vec<String>, other: Vec<String>) -> Vec<String> {
    let rank = |texts: &[String]| (score(texts), std::cmp::Reverse(texts.len()));
    if rank(&other) > rank(&one) { other } else { one }
}

/// How seldom a line contains one of them. What separates the parts of a line stands in every line.
fn score(texts: &[String]) -> usize {
    let characters = |text: &String| text.bytes().filter(|byte| !matches!(byte, b' ' | b':')).count();
    texts.iter().map(characters).min().unwrap_or(0)
}
