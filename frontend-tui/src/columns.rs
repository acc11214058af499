//! Parts of lines set under each other.

use leco_core::text::SEPARATOR;
use unicode_width::UnicodeWidthStr;

/// A part that is wider than this does not widen its column.
const MAX_COLUMN: usize = 44;

/// Widths of the columns in which the lines on screen stand, in cells.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Columns {
    widths: Vec<usize>,
}

impl Columns {
    /// Fits the columns to lines. Those that have as many parts as most have are aligned; one whose parts
    /// the rules have merged flows.
    pub fn fit<'l>(lines: impl Iterator<Item = &'l str> + Clone) -> Self {
        let counts = lines.clone().map(|line| line.split(SEPARATOR).count());
        let mut frequency: Vec<usize> = Vec::new();
        for count in counts {
            if frequency.len() <= count {
                frequency.resize(count + 1, 0);
            }
            frequency[count] += 1;
        }
        let usual =
            frequency.iter().enumerate().max_by_key(|(_, times)| **times).map_or(0, |(count, _)| count);
        let mut widths = vec![0; usual];
        for line in lines.filter(|line| line.split(SEPARATOR).count() == usual) {
            for (width, part) in widths.iter_mut().zip(line.split(SEPARATOR)) {
                *width = (*width).max(part.width().min(MAX_COLUMN));
            }
        }
        Self { widths }
    }

    /// A line's parts, each with the spaces that follow it; `None` for a line that flows.
    #[must_use]
    pub fn align<'l>(&self, line: &'l str) -> Option<Vec<(&'l str, usize)>> {
        let parts: Vec<&str> = line.split(SEPARATOR).collect();
        (parts.len() == self.widths.len()).then(|| {
            let padding =
                self.widths.iter().zip(&parts).map(|(width, part)| width.saturating_sub(part.width()) + 2);
            parts.iter().copied().zip(padding).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_lines_align_and_others_flow() {
        let lines = ["a :: bb :: c", "aaa :: 日本 :: ", "x :: y"];
        let columns = Columns::fit(lines.into_iter());
        assert_eq!(columns.align(lines[0]), Some(vec![("a", 4), ("bb", 4), ("c", 2)]));
        assert_eq!(columns.align(lines[1]), Some(vec![("aaa", 2), ("日本", 2), ("", 3)]));
        assert_eq!(columns.align(lines[2]), None);
    }

    #[test]
    fn one_very_long_part_does_not_push_the_others_away() {
        let long = format!("{} :: b", "x".repeat(500));
        let columns = Columns::fit(["a :: b", long.as_str()].into_iter());
        assert_eq!(columns.align("a :: b"), Some(vec![("a", 45), ("b", 2)]));
        assert_eq!(columns.align(&long).unwrap()[0].1, 2);
    }
}
