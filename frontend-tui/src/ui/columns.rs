// SPDX-License-Identifier: GPL-3.0-or-later
//! Parts of lines set under each other.

use leco_core::text::{Part, SEPARATOR};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// A part that is wider than this does not widen its column.
const MAX_COLUMN: usize = 44;
/// Cells between two columns.
const GAP: usize = 2;
/// Numbers of columns, where lines have as many parts as the pipe's.
const TIME: usize = 0;
const USER: usize = 1;
const PROCESS: usize = 2;
/// A process keeps so many cells.
const LEAST_PROCESS: usize = 6;
/// Parts of a line of the pipe's.
const USUAL_PARTS: usize = 5;

/// Widths of the columns in which the lines on screen stand, in cells; a column that does not fit is left out.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Columns {
    widths: Vec<Option<usize>>,
    /// The process is cut to its width.
    is_cut: bool,
}

impl Columns {
    /// Fits the columns to lines. Those that have as many parts as most have are aligned; one whose parts
    /// the rules have merged flows. Where they are wider than the screen, the user goes first, then the time.
    pub fn fit<'l>(lines: impl Iterator<Item = &'l str> + Clone, width: usize) -> Self {
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
        let mut columns = Self { widths: widths.into_iter().map(Some).collect(), is_cut: false };
        if usual >= USUAL_PARTS {
            if columns.width() > width + GAP {
                columns.widths[USER] = None;
            }
            // Traffic may be cut, the peer not.
            if columns.width_before_traffic() > width {
                columns.widths[TIME] = None;
            }
            let excess = columns.width_before_traffic().saturating_sub(width);
            if let Some(process) = columns.widths[PROCESS].as_mut().filter(|_| excess > 0) {
                *process = process.saturating_sub(excess).max(LEAST_PROCESS.min(*process));
                columns.is_cut = true;
            }
        }
        columns
    }

    fn width_before_traffic(&self) -> usize {
        self.widths.iter().rev().skip(1).flatten().map(|width| width + GAP).sum()
    }

    /// Cells of all columns.
    #[must_use]
    pub fn width(&self) -> usize {
        self.widths.iter().flatten().map(|width| width + GAP).sum()
    }

    /// A line's parts, each with which one it is and the spaces that follow it; `None` for a line that flows.
    #[must_use]
    pub fn align<'l>(&self, line: &'l str) -> Option<Vec<(&'l str, Part, usize)>> {
        let parts: Vec<&str> = line.split(SEPARATOR).collect();
        (parts.len() == self.widths.len()).then(|| {
            let placed = self.widths.iter().zip(&parts).enumerate();
            placed
                .filter_map(|(index, (width, part))| {
                    let width = (*width)?;
                    let part = if self.is_cut && index == PROCESS { cut(part, width) } else { part };
                    Some((part, Part::at(index), width.saturating_sub(part.width()) + GAP))
                })
                .collect()
        })
    }
}

/// The begin of a text that fits.
fn cut(text: &str, width: usize) -> &str {
    let mut used = 0;
    let end = text.char_indices().find(|(_, c)| {
        used += c.width().unwrap_or(0);
        used > width
    });
    &text[..end.map_or(text.len(), |(at, _)| at)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: usize = 200;

    #[test]
    fn most_lines_align_and_others_flow() {
        let lines = ["a :: bb :: c", "aaa :: 日本 :: ", "x :: y"];
        let columns = Columns::fit(lines.into_iter(), WIDE);
        assert_eq!(
            columns.align(lines[0]),
            Some(vec![("a", Part::Time, 4), ("bb", Part::Other, 4), ("c", Part::Other, 2)])
        );
        assert_eq!(
            columns.align(lines[1]),
            Some(vec![("aaa", Part::Time, 2), ("日本", Part::Other, 2), ("", Part::Other, 3)])
        );
        assert_eq!(columns.align(lines[2]), None);
    }

    #[test]
    fn one_very_long_part_does_not_push_the_others_away() {
        let long = format!("{} :: b", "x".repeat(500));
        let columns = Columns::fit(["a :: b", long.as_str()].into_iter(), WIDE);
        assert_eq!(columns.align("a :: b"), Some(vec![("a", Part::Time, 45), ("b", Part::Other, 2)]));
        assert_eq!(columns.align(&long).unwrap()[0].2, 2);
    }

    #[test]
    fn the_user_goes_first_and_the_peer_never() {
        let line = "18:34 :: me :: firefox :: example.org 443 :: v 1M / 2K ^";
        let shown = |width| -> Vec<&str> {
            let parts = Columns::fit([line].into_iter(), width).align(line).unwrap();
            parts.into_iter().map(|(part, ..)| part).collect()
        };
        assert_eq!(shown(48), ["18:34", "me", "firefox", "example.org 443", "v 1M / 2K ^"]);
        assert_eq!(shown(47), ["18:34", "firefox", "example.org 443", "v 1M / 2K ^"]);
        assert_eq!(shown(26), ["firefox", "example.org 443", "v 1M / 2K ^"]);
        assert_eq!(shown(25), ["firefo", "example.org 443", "v 1M / 2K ^"]);
        assert_eq!(shown(9), ["firefo", "example.org 443", "v 1M / 2K ^"]);
        assert_eq!((cut("日本語", 3), cut("é", 1), cut("", 0)), ("日", "é", ""));
    }
}
