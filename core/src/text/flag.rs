// SPDX-License-Identifier: GPL-3.0-or-later
//! Yes and no as people write them.

/// What [`parse_flag`] takes, for an error.
pub const FLAG_WORDS: &str = "yes or no (or: on off, true false, y n, 1 0)";

/// Reads a switch: the same words in config, tunables and filters, in whatever case.
#[must_use]
pub fn parse_flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "y" | "yes" | "true" | "1" | "on" => Some(true),
        "n" | "no" | "false" | "0" | "off" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_that_is_promised_is_taken() {
        let (yes, no): (Vec<&str>, Vec<&str>) =
            (vec!["yes", "on", "TRUE", "y", "1"], vec!["no", "off", "False", "n", "0"]);
        for (yes, no) in yes.into_iter().zip(no) {
            assert_eq!((parse_flag(yes), parse_flag(no)), (Some(true), Some(false)), "{yes} {no}");
            for word in [yes, no] {
                assert!(FLAG_WORDS.contains(&word.to_ascii_lowercase()), "{word}");
            }
        }
        assert_eq!((parse_flag(""), parse_flag("2"), parse_flag("maybe")), (None, None, None));
    }
}
