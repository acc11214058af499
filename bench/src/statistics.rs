// SPDX-License-Identifier: GPL-3.0-or-later
//! Medians, and how far they can be trusted.

use std::ops::Div;

use serde::{Deserialize, Serialize};

use crate::report::number;

/// A value, and where it is measured several times the interval in which the true median is, with 95 %.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Estimate {
    pub(crate) value: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) interval: Option<(f64, f64)>,
}

impl From<f64> for Estimate {
    fn from(value: f64) -> Self {
        Self { value, interval: None }
    }
}

impl Div<f64> for Estimate {
    type Output = Self;

    fn div(self, by: f64) -> Self {
        let interval = self.interval.map(|(low, high)| (low / by, high / by));
        Self { value: self.value / by, interval }
    }
}

impl Estimate {
    /// The median, with the interval between two of the values in their order: how many of n values are below the
    /// true median is as chance as n coins are. No shape of their distribution is supposed. Fewer than six values
    /// have no such interval; theirs is from the least to the greatest.
    pub(crate) fn median(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let (Some(least), Some(greatest)) = (values.first(), values.last()) else {
            return f64::NAN.into();
        };
        let (count, middle) = (values.len(), values.len() / 2);
        let value = if count.is_multiple_of(2) {
            f64::midpoint(values[middle - 1], values[middle])
        } else {
            values[middle]
        };
        let below = ranks_outside(count);
        let interval =
            if below == 0 { (*least, *greatest) } else { (values[below - 1], values[count - below]) };
        Self { value, interval: (count > 1).then_some(interval) }
    }

    /// How wide the interval is, as a share of the value.
    pub(crate) fn spread(&self) -> Option<f64> {
        self.interval.map(|(low, high)| (high - low) / self.value.abs())
    }

    /// The interval, or nothing where there is none.
    pub(crate) fn interval_words(&self) -> String {
        self.interval.map_or_else(String::new, |(low, high)| format!("{}–{}", number(low), number(high)))
    }
}

/// The greatest rank, counted from 1, such that the median is below the value of that rank by chance at most 2.5 %.
fn ranks_outside(count: usize) -> usize {
    if count > 500 {
        // The normal distribution is as good, 1.96 times its deviation, and the first term would be too small a number.
        return (count - (count * 38_416).isqrt() / 100) / 2;
    }
    // Of a sum of coins, each term from the one before.
    let mut term = 0.5_f64.powf(count as f64);
    let (mut sum, mut rank) = (term, 0);
    while sum <= 0.025 && rank < count {
        term *= (count - rank) as f64 / (rank + 1) as f64;
        rank += 1;
        sum += term;
    }
    rank
}

/// The value below which this share of them is.
pub(crate) fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) * percent / 100).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_of_medians_have_the_ranks_of_the_tables() {
        // Conover, Practical Nonparametric Statistics: sign-test intervals of at least 95 %.
        for (count, rank) in [
            (5, 0),
            (6, 1),
            (8, 1),
            (9, 2),
            (15, 4),
            (20, 6),
            (31, 10),
            (41, 14),
            (500, 228),
            (501, 229),
            (2000, 956),
        ] {
            assert_eq!(ranks_outside(count), rank, "{count}");
        }
    }

    #[test]
    fn a_median_stays_where_it_is_in_any_order() {
        let estimate = Estimate::median(vec![3.0, 1.0, 2.0, 5.0, 4.0, 6.0, 8.0, 7.0, 9.0]);
        assert_eq!(estimate, Estimate { value: 5.0, interval: Some((2.0, 8.0)) });
        assert_eq!(Estimate::median(vec![1.0, 3.0]), Estimate { value: 2.0, interval: Some((1.0, 3.0)) });
        assert!(Estimate::median(Vec::new()).value.is_nan());
    }
}
