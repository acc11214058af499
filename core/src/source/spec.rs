// SPDX-License-Identifier: GPL-3.0-or-later
//! Where events come from or go to, as a text: `KIND:TARGET?KEY=VALUE&KEY=VALUE`.

/// A text such as `unix:/run/leco.sock?share=1/2&filter=/curl/ && !/443/`, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec<'t> {
    /// What stands before the first colon; `-` for standard input or output.
    pub kind: &'t str,
    /// Path or address.
    pub target: &'t str,
    /// Keys and their values as they stand there: nothing is decoded, so that a regex is written as it is.
    pub options: Vec<(&'t str, &'t str)>,
}

impl<'t> Spec<'t> {
    /// Takes a text apart. Options begin at the first `?` or `&` before a known key and its `=`: any other is part
    /// of the target or the value before it.
    #[must_use]
    pub fn parse(text: &'t str, keys: &[&str]) -> Option<Self> {
        let starts_option = |at: usize| {
            keys.iter().any(|key| text[at + 1..].strip_prefix(key).is_some_and(|rest| rest.starts_with('=')))
        };
        let mut starts: Vec<usize> = Vec::new();
        for (at, _) in text.match_indices(['?', '&']) {
            let is_first = starts.is_empty();
            if text[at..].starts_with(if is_first { '?' } else { '&' }) && starts_option(at) {
                starts.push(at);
            }
        }
        let (kind, target) = match &text[..starts.first().copied().unwrap_or(text.len())] {
            "-" => ("-", ""),
            address => address.split_once(':').filter(|(_, target)| !target.is_empty())?,
        };
        let ends = starts.iter().skip(1).copied().chain([text.len()]);
        let options =
            starts.iter().zip(ends).filter_map(|(&start, end)| text[start + 1..end].split_once('='));
        Some(Self { kind, target, options: options.collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 2] = ["filter", "share"];

    #[test]
    fn regexes_need_no_escapes() {
        let spec = Spec::parse("unix:/run/a?b.sock?filter=/a?b=c&d/ && !/share/&share=1/2", &KEYS).unwrap();
        assert_eq!((spec.kind, spec.target), ("unix", "/run/a?b.sock"));
        assert_eq!(spec.options, [("filter", "/a?b=c&d/ && !/share/"), ("share", "1/2")]);
    }

    #[test]
    fn standard_output_and_addresses() {
        assert_eq!(Spec::parse("-", &KEYS).unwrap().kind, "-");
        assert_eq!(Spec::parse("-?share=1/2", &KEYS).unwrap().options, [("share", "1/2")]);
        assert_eq!(Spec::parse("tcp:[::1]:7", &KEYS).unwrap().target, "[::1]:7");
        for none in ["", "unix:", "/run/leco.fifo"] {
            assert_eq!(Spec::parse(none, &KEYS), None, "{none}");
        }
    }
}
