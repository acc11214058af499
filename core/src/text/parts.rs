// SPDX-License-Identifier: GPL-3.0-or-later
//! The parts of a line, and what of them is beside the point.

/// What stands between the parts of a line.
pub const SEPARATOR: &str = " :: ";

/// Which part of a line it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The first one, which is the time.
    Time,
    /// Any other.
    Other,
}

impl Part {
    /// The one of this number, from 0.
    #[must_use]
    pub fn at(index: usize) -> Self {
        if index == 0 { Self::Time } else { Self::Other }
    }

    /// Splits its text into what is read first and what only completes it: a time does, and a cgroup, which stands in
    /// brackets at the end, as in `drill [tmux]`.
    #[must_use]
    pub fn split(self, text: &str) -> (&str, &str) {
        let faint_from = match self {
            Self::Time => 0,
            Self::Other if text.ends_with(']') => text.rfind(" [").unwrap_or(text.len()),
            Self::Other => text.len(),
        };
        text.split_at(faint_from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_cgroups_are_beside_the_point() {
        assert_eq!(Part::Time.split("18:32"), ("", "18:32"));
        assert_eq!(Part::Other.split("drill [tmux]"), ("drill", " [tmux]"));
        assert_eq!(Part::Other.split("[::1] 53/udp"), ("[::1] 53/udp", ""));
        assert_eq!(Part::Other.split(""), ("", ""));
    }
}
