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
            address if address.starts_with("-?") => ("-", &address[1..]),
            address => address.split_once(':').filter(|(_, target)| !target.is_empty())?,
        };
        let ends = starts.iter().skip(1).copied().chain([text.len()]);
        let options =
            starts.iter().zip(ends).filter_map(|(&start, end)| text[start + 1..end].split_once('='));
        Some(Self { kind, target, options: options.collect() })
    }

    /// What looks like an option and is none that is known: a word and `=` behind a `?` of the target, or nothing behind
    /// it. A `?` that anything else follows is part of a path.
    #[must_use]
    pub fn unknown_option(&self) -> Option<&'t str> {
        let mut after = self.target.match_indices('?').map(|(at, _)| &self.target[at + 1..]);
        after.find_map(option_in)
    }

    /// The key of an option that is there twice: one of them would not count.
    #[must_use]
    pub fn repeated_option(&self) -> Option<&'t str> {
        let mut keys = self.options.iter().map(|(key, _)| *key).enumerate();
        keys.find(|(at, key)| self.options[..*at].iter().any(|(earlier, _)| earlier == key))
            .map(|(_, key)| key)
    }
}

fn option_in(text: &str) -> Option<&str> {
    let word =
        |key: &str| !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    match text.split_once('=') {
        Some((key, _)) if word(key) => Some(key),
        None if text.is_empty() => Some(text),
        _ => None,
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
        let unknown = |text| Spec::parse(text, &KEYS).unwrap().unknown_option();
        for (text, key) in [
            ("-?bogus=1", Some("bogus")),
            ("-?", Some("")),
            ("unix:/p?", Some("")),
            ("unix:/p?rate_limit=1&share=1/2", None),
            ("unix:/p?bogus=1?share=1/2", Some("bogus")),
            ("unix:/run/a?b.sock", None),
            ("unix:/run/a?B=1", None),
            ("unix:/p?filter=/a?b=c/", None),
            ("-", None),
        ] {
            assert_eq!(unknown(text), key, "{text}");
        }
        for none in ["", "unix:", "/run/leco.fifo"] {
            assert_eq!(Spec::parse(none, &KEYS), None, "{none}");
        }
    }
}
