// SPDX-License-Identifier: GPL-3.0-or-later
//! Whether a regex can be what somebody meant: one that matches every line by mistake, or that never matches any.

use regex_syntax::hir::{Hir, HirKind, Look};

/// Which lines a regex can match, as far as it alone tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Some, or it is not known.
    Some,
    /// Every one, and it says so: `.*`.
    Every,
    /// Every one, because all of it may be left out.
    EveryByMistake,
    /// None, for this reason.
    None(&'static str),
}

impl Reach {
    /// That of a regex as the linear engine reads it.
    pub(super) fn of(regex: &str) -> Self {
        let Ok(hir) = regex_syntax::parse(regex) else { return Self::Some };
        if let Some(reason) = impossible(&hir) {
            return Self::None(reason);
        }
        match is_nullable(&hir) {
            true if takes_all(&hir) => Self::Every,
            true => Self::EveryByMistake,
            false => Self::Some,
        }
    }
}

/// Whether it matches nothing at all, wherever that stands.
fn is_nullable(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Empty => true,
        HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => false,
        HirKind::Repetition(repetition) => repetition.min == 0 || is_nullable(&repetition.sub),
        HirKind::Capture(capture) => is_nullable(&capture.sub),
        HirKind::Concat(parts) => parts.iter().all(is_nullable),
        HirKind::Alternation(ways) => ways.iter().any(is_nullable),
    }
}

/// Whether it has a part that takes whatever comes, such as `.*`.
fn takes_all(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Repetition(repetition) => {
            // Anything but a newline, which no line has.
            let is_any = |sub: &Hir| {
                matches!(sub.kind(), HirKind::Class(_))
                    && regex::Regex::new(&sub.to_string()).is_ok_and(|one| {
                        ["a", " ", ":", "\u{fe0f}", "\u{1}"].iter().all(|text| one.is_match(text))
                    })
            };
            repetition.max.is_none() && is_any(&repetition.sub)
        }
        HirKind::Capture(capture) => takes_all(&capture.sub),
        HirKind::Concat(parts) => parts.iter().any(takes_all),
        _ => false,
    }
}

/// Why no line matches.
fn impossible(hir: &Hir) -> Option<&'static str> {
    const CONTROL: &str = "a line has no control characters";
    let is_control = |byte: &u8| *byte < b' ' || *byte == 0x7f;
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => None,
        HirKind::Literal(literal) => literal.0.iter().any(is_control).then_some(CONTROL),
        HirKind::Class(class) => {
            let (least, most) = match class {
                regex_syntax::hir::Class::Unicode(class) => (
                    class.ranges().first().map(|range| u32::from(range.start())),
                    class.ranges().last().map(|range| u32::from(range.end())),
                ),
                regex_syntax::hir::Class::Bytes(class) => (
                    class.ranges().first().map(|range| u32::from(range.start())),
                    class.ranges().last().map(|range| u32::from(range.end())),
                ),
            };
            match (least, most) {
                (Some(least), Some(most)) => {
                    (most < 0x20 || least == 0x7f && most == 0x7f).then_some(CONTROL)
                }
                _ => Some("this class has no characters"),
            }
        }
        HirKind::Repetition(repetition) if repetition.min == 0 => None,
        HirKind::Repetition(repetition) => impossible(&repetition.sub),
        HirKind::Capture(capture) => impossible(&capture.sub),
        HirKind::Alternation(ways) => {
            let reasons: Option<Vec<_>> = ways.iter().map(impossible).collect();
            reasons?.first().copied()
        }
        HirKind::Concat(parts) => parts.iter().find_map(impossible).or_else(|| out_of_order(parts)),
    }
}

/// Whether something has to stand before the line's begin, or behind its end.
fn out_of_order(parts: &[Hir]) -> Option<&'static str> {
    let takes = |part: &Hir| part.properties().minimum_len().is_some_and(|length| length > 0);
    let begins = |part: &Hir| part.properties().look_set_prefix().contains(Look::Start);
    let ends = |part: &Hir| part.properties().look_set_suffix().contains(Look::End);
    let first = parts.iter().position(takes)?;
    if parts[first + 1..].iter().any(begins) {
        return Some("nothing stands before the begin of a line, which ^ means");
    }
    let last = parts.iter().rposition(takes)?;
    parts[..last].iter().any(ends).then_some("nothing stands behind the end of a line, which $ means")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_meant_is_known() {
        for regex in [
            r"a", r"a+", r"^", r"$", r"^$", r"(a|b)c", r" a| b", r"a$|b$", r"^a|^b", r"[^\n]+", r"\s+",
            r"^(a|^b)",
        ] {
            assert_eq!(Reach::of(regex), Reach::Some, "{regex}");
        }
        for regex in [r".*", r"(.*)", r".*(a)?", r"[^\n]*"] {
            assert_eq!(Reach::of(regex), Reach::Every, "{regex}");
        }
        for regex in [r"", r"a|", r"|a", r"a||b", r"(a|)", r"a*", r"a?b*", r"(a)?", r"(a*)+", r"\w*"] {
            assert_eq!(Reach::of(regex), Reach::EveryByMistake, "{regex}");
        }
        for regex in
            [r"a^b", r"a$b", r"(a)(^b)", r"\n", r"a\tb", r"[^\s\S]", r"a$b|c^d", r"\x1b\[", r"a+\x7f"]
        {
            assert!(matches!(Reach::of(regex), Reach::None(_)), "{regex}");
        }
    }
}
