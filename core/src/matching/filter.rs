// SPDX-License-Identifier: GPL-3.0-or-later
//! A pattern that chooses lines.

use std::fmt;

use super::chain::{Chain, parse_key};

/// What a rule's key is, used to choose lines: a regex, or several as `/…/` with flags, joined by ` && `.
#[derive(Clone)]
pub struct Filter {
    text: String,
    chain: Chain,
}

/// Why a filter cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct FilterError {
    /// Bytes of the text that are meant, where they are known.
    pub at: Option<usize>,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(at) => write!(f, "{} (at character {})", self.message, at + 1),
            None => f.write_str(&self.message),
        }
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Filter({})", self.text)
    }
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Filter {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let chain = parse_key(text).map_err(|error| FilterError {
            at: error.span.map(|span| text.get(..span.start).unwrap_or(text).chars().count()),
            message: error.message,
        })?;
        Ok(Self { text: text.to_owned(), chain })
    }

    /// Whether a line is chosen; one on which it takes too many steps is not.
    #[must_use]
    pub fn holds(&self, line: &str) -> bool {
        self.chain.holds(line).unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chooses_as_a_rules_key_does() {
        let line = "18:32 :: alice :: curl :: 192.0.2.1 443 :: ";
        for (pattern, holds) in [
            (":: CURL", true),
            ("/CURL/", true),
            ("I/CURL/", false),
            ("!/curl/", false),
            ("/curl/ && /443/", true),
            ("/curl/ && !/443/", false),
        ] {
            assert_eq!(Filter::parse(pattern).unwrap().holds(line), holds, "{pattern}");
        }
    }

    #[test]
    fn a_fault_has_its_place() {
        let error = Filter::parse("/ok/ && /żó(ł/").unwrap_err();
        assert_eq!(error.to_string(), "this group is never closed (at character 12)");
    }
}
