// SPDX-License-Identifier: GPL-3.0-or-later
//! Figures and their limits.

/// What was measured so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    missed: bool,
}

impl Report {
    /// Prints a figure that has no limit.
    #[allow(clippy::unused_self)]
    pub(crate) fn tell(&mut self, what: &str, figure: &str) {
        println!("{what:<66} {figure}");
    }

    /// Prints a figure, and whether it keeps its limit.
    pub(crate) fn limit(&mut self, what: &str, value: f64, limit: f64, unit: &str) {
        let kept = value <= limit;
        self.missed |= !kept;
        let verdict = if kept { "kept" } else { "MISSED" };
        self.tell(what, &format!("{value:.2} {unit} (limit {limit} {unit}: {verdict})"));
    }

    /// Prints a ratio, and whether enough is left of what it is compared with.
    pub(crate) fn at_least(&mut self, what: &str, ratio: f64, least: f64) {
        let kept = ratio >= least;
        self.missed |= !kept;
        let verdict = if kept { "kept" } else { "MISSED" };
        self.tell(what, &format!("{ratio:.3} (at least {least:.2}: {verdict})"));
    }

    /// Whether any limit was missed.
    pub(crate) fn missed(&self) -> bool {
        self.missed
    }
}
