// SPDX-License-Identifier: GPL-3.0-or-later
//! Where a text may end early.

use super::is_address;

/// Letters of what numbers are of, such as `udp` behind a port.
const LONGEST_UNIT: usize = 4;

/// Where a text ends that has room for `at` bytes: there, or before the number that would be cut, which could be read as
/// another one; in an address behind a whole number.
#[must_use]
pub fn cut(text: &str, at: usize) -> usize {
    let at = text.floor_char_boundary(at);
    let (head, rest) = text.split_at(at);
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '/' | ',');
    if !rest.starts_with(is_part) {
        return at;
    }
    let begin = head.char_indices().rfind(|(_, c)| !is_part(*c)).map_or(0, |(at, c)| at + c.len_utf8());
    let end = rest.find(|c| !is_part(c)).map_or(text.len(), |behind| at + behind);
    let word = &text[begin..end];
    if is_address(word) {
        return head[begin..].rfind(['.', ':']).map_or(begin, |separator| begin + separator + 1);
    }
    let is_number = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',' | ':' | '/');
    let unit = word.trim_start_matches(is_number);
    let has_unit = unit.len() <= LONGEST_UNIT && unit.chars().all(|c| c.is_ascii_alphabetic());
    let is_within = at < begin + word.len() - unit.len();
    if word.starts_with(|c: char| c.is_ascii_digit()) && (has_unit || is_within) {
        return begin;
    }
    if rest.starts_with(|c: char| c.is_ascii_digit()) {
        return head.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | ',')).len();
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_is_cut() {
        for (text, at, kept) in [
            ("198.51.100.123", 9, "198.51."),
            ("<- 198.51.100.123 443", 8, "<- 198."),
            ("<- 198.51.100.123 443", 19, "<- 198.51.100.123 "),
            ("2001:db8:1111:2222::1", 17, "2001:db8:1111:"),
            ("fe80::1", 2, ""),
            ("v 878.9K", 7, "v "),
            ("a 443/udp", 6, "a "),
            ("example.org", 9, "example.o"),
            ("0.debian.pool.ntp.org", 13, "0.debian.pool"),
            ("1e100.net", 7, "1e100.n"),
            ("1e100.net", 4, "1e"),
            ("1234567.fls.example", 4, ""),
            ("1234567.fls.example", 10, "1234567.fl"),
            ("18:34:05 a", 6, ""),
            ("host-4711", 7, "host-"),
            ("host1.example.org", 5, "host1"),
            ("ip1,234", 5, "ip"),
            ("größe", 3, "gr"),
            ("日12345", 6, "日"),
            ("", 3, ""),
        ] {
            assert_eq!(&text[..cut(text, at)], kept, "{text} at {at}");
        }
    }
}
