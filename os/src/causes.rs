// SPDX-License-Identifier: GPL-3.0-or-later
//! An error and why it came, as one sentence.

use std::error::Error;

use crate::limits;

/// An error and what caused it, each thing once: many say their cause themselves.
#[must_use]
pub fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    // What was said last, in whose words the next may stand already.
    let mut last = text.clone();
    let mut next = error.source();
    while let Some(cause) = next {
        next = cause.source();
        let cause = cause.to_string();
        if !last.contains(&cause) {
            text += &format!(": {cause}");
        }
        last = cause;
    }
    limits::name_in(text)
}

/// A text with one full stop at its end, so that another sentence can follow.
#[must_use]
pub fn sentence(text: &str) -> String {
    format!("{}.", text.trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read x: {source}")]
    struct Says {
        source: io::Error,
    }

    #[derive(Debug, thiserror::Error)]
    #[error("nothing to show")]
    struct Silent {
        source: Says,
    }

    #[test]
    fn a_sentence_has_one_end() {
        assert_eq!(sentence("cannot open x"), "cannot open x.");
        assert_eq!(sentence("cannot open x. Choose another path."), "cannot open x. Choose another path.");
    }

    #[test]
    fn nothing_is_said_twice_and_nothing_is_left_out() {
        let says = || Says { source: io::ErrorKind::IsADirectory.into() };
        assert_eq!(causes(&says()), "cannot read x: is a directory");
        assert_eq!(causes(&Silent { source: says() }), "nothing to show: cannot read x: is a directory");
    }
}
