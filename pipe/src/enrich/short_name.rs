// SPDX-License-Identifier: GPL-3.0-or-later
//! Names cut to a length, told apart where cutting made them the same.

/// Cuts to so many characters; a final `+` says that something is missing.
pub(crate) fn cut(name: &str, chars: usize) -> String {
    if name.chars().count() <= chars {
        return name.to_owned();
    }
    let kept: String = name.chars().take(chars.saturating_sub(1)).collect();
    kept + "+"
}

/// Cuts so that a suffix fits within so many characters.
pub(crate) fn cut_with_suffix(name: &str, chars: usize, suffix: &str) -> String {
    let kept: String = name.chars().take(chars.saturating_sub(suffix.chars().count())).collect();
    kept + suffix
}

/// `a` … `z`, `aa`, `ab` …
pub(crate) fn letters(mut number: usize) -> String {
    let mut text = Vec::new();
    loop {
        text.insert(0, b"abcdefghijklmnopqrstuvwxyz"[number % 26] as char);
        if number < 26 {
            return text.into_iter().collect();
        }
        number = number / 26 - 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_count_characters() {
        assert_eq!(cut("żółwie", 4), "żół+");
        assert_eq!(cut("żółw", 4), "żółw");
        assert_eq!(cut_with_suffix("żółwie", 4, ".a"), "żó.a");
        assert_eq!(cut("abc", 1), "+");
    }

    #[test]
    fn letters_go_on_after_z() {
        let shown: Vec<_> = [0, 1, 25, 26, 27, 51, 52, 701, 702].map(letters).into();
        assert_eq!(shown, ["a", "b", "z", "aa", "ab", "az", "ba", "zz", "aaa"]);
    }
}
