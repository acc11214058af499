// SPDX-License-Identifier: GPL-3.0-or-later
//! The value of a rule: what a match becomes.

/// The value of a rule as it stands there.
#[derive(Debug)]
pub(crate) struct Value<'v> {
    /// What a match becomes.
    pub(crate) template: &'v str,
    /// The expansion groups lines, too.
    pub(crate) groups: bool,
    /// Index in the chain, from 0, of the pattern whose matches are replaced.
    pub(crate) target: Option<usize>,
    /// What stands before a backtick, and is not understood: a part of the text.
    pub(crate) odd_prefix: Option<&'v str>,
}

/// Reads a value: an optional prefix before a backtick, then the template.
pub(crate) fn parse_value(value: &str) -> Value<'_> {
    let mut odd_prefix = None;
    let (groups, target, text) = match value.split_once('`') {
        Some(("g", text)) => (true, None, text),
        Some((prefix, text)) => match prefix.as_bytes() {
            [digit @ b'1'..=b'9'] => (false, Some(usize::from(digit - b'1')), text),
            [b'g', digit @ b'1'..=b'9'] | [digit @ b'1'..=b'9', b'g'] => {
                (true, Some(usize::from(digit - b'1')), text)
            }
            _ => {
                let is_odd = (1..=3).contains(&prefix.len())
                    && prefix.bytes().all(|byte| matches!(byte, b'g' | b'G' | b'0'..=b'9'));
                odd_prefix = is_odd.then_some(prefix);
                (false, None, value)
            }
        },
        None => (false, None, value),
    };
    Value { template: unprotect_spaces(text), groups, target, odd_prefix }
}

/// A leading `\ ` and a trailing ` \` protect a space from being trimmed away.
fn unprotect_spaces(text: &str) -> &str {
    let text = text.trim();
    let leading = text.strip_prefix('\\').filter(|rest| rest.starts_with(' ') || rest.is_empty());
    let text = leading.unwrap_or(text);
    text.strip_suffix('\\').filter(|rest| rest.ends_with(' ')).unwrap_or(text)
}
