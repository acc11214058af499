// SPDX-License-Identifier: GPL-3.0-or-later
//! The parts of a line, and what of them is beside the point.

/// What stands between the parts of a line.
pub const SEPARATOR: &str = " :: ";

/// Splits a part of a line into what is read first and what only completes it: the first part is the time,
/// and a cgroup stands in brackets at the end, as in `drill [tmux]`.
#[must_use]
pub fn split_part(part: &str, is_first: bool) -> (&str, &str) {
    let faint_from = if is_first {
        0
    } else if part.ends_with(']') {
        part.rfind(" [").unwrap_or(part.len())
    } else {
        part.len()
    };
    part.split_at(faint_from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_cgroups_are_beside_the_point() {
        assert_eq!(split_part("18:32", true), ("", "18:32"));
        assert_eq!(split_part("drill [tmux]", false), ("drill", " [tmux]"));
        assert_eq!(split_part("[::1] 53/udp", false), ("[::1] 53/udp", ""));
        assert_eq!(split_part("", false), ("", ""));
    }
}
