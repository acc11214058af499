// SPDX-License-Identifier: GPL-3.0-or-later
//! The curve of a line's opacity over time, as the steps of alpha that an 8-bit channel can tell apart.

mod curve;

use std::time::Duration;

pub use self::curve::{Curve, CurveError, CurveFault, DEFAULT_CURVE, Points, SplineKind};

/// Between two points of a curve so many samples find out where its alpha rises and falls.
const SAMPLES_PER_SEGMENT: u32 = 128;
/// A step's time is known to so many ns.
const STEP_PRECISION_NS: f64 = 1e6;

/// A curve laid over a time, as steps of alpha.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fade {
    /// Ages in ns, rising from 0, at which alpha changes, with the alpha from then on.
    steps: Vec<(u64, u8)>,
}

impl Fade {
    /// Samples a curve once.
    #[must_use]
    pub fn new(curve: &Curve, time: Duration) -> Self {
        let total = time.as_nanos() as f64;
        let fractions: Vec<f64> = curve.point_fractions().collect();
        let mut sampler = Sampler { curve, total, steps: vec![(0, alpha(curve.opacity(0.0)))] };
        for segment in fractions.windows(2) {
            let at = |sample: u32| {
                segment[0] + (segment[1] - segment[0]) * f64::from(sample) / f64::from(SAMPLES_PER_SEGMENT)
            };
            for sample in 0..SAMPLES_PER_SEGMENT {
                sampler.between(at(sample), at(sample + 1));
            }
        }
        Self { steps: sampler.steps }
    }

    /// Alpha (0–255) at an age in ns; the last value stays.
    #[must_use]
    pub fn alpha(&self, age: u64) -> u8 {
        let after = self.steps.partition_point(|&(from, _)| from <= age);
        self.steps[after.saturating_sub(1)].1
    }

    /// The age in ns, above the given one, at which alpha changes next; `None` when it stays.
    #[must_use]
    pub fn next_change(&self, age: u64) -> Option<u64> {
        self.steps.get(self.steps.partition_point(|&(from, _)| from <= age)).map(|&(from, _)| from)
    }

    /// The age in ns at which the line becomes invisible for good; `None` if it never does.
    #[must_use]
    pub fn gone_from(&self) -> Option<u64> {
        self.steps.last().filter(|(_, alpha)| *alpha == 0).map(|&(from, _)| from)
    }
}

struct Sampler<'c> {
    curve: &'c Curve,
    /// ns.
    total: f64,
    steps: Vec<(u64, u8)>,
}

impl Sampler<'_> {
    /// Adds the steps between two fractions of the time, found by halving where alpha differs.
    fn between(&mut self, from: f64, to: f64) {
        let level = alpha(self.curve.opacity(to));
        let last = self.steps.last().copied().unwrap_or_default();
        if last.1 == level {
            return;
        }
        if (to - from) * self.total > STEP_PRECISION_NS {
            let middle = f64::midpoint(from, to);
            self.between(from, middle);
            self.between(middle, to);
            return;
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let age = (self.total * to) as u64;
        if age > last.0 {
            self.steps.push((age, level));
        } else {
            // All within one moment: only where it ends can be seen.
            self.steps.pop();
            if self.steps.last().is_none_or(|&(_, before)| before != level) {
                self.steps.push((last.0, level));
            }
        }
    }
}

fn alpha(opacity: f64) -> u8 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let level = (opacity * 255.0).round() as u8;
    level
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fade(curve: &str, time: Duration) -> Fade {
        Fade::new(&Curve::new(&Points::parse(curve).unwrap(), SplineKind::Cardinal), time)
    }

    #[test]
    fn steps_name_each_change_and_nothing_else() {
        let fade = fade(DEFAULT_CURVE, Duration::from_mins(1));
        assert_eq!((fade.alpha(0), fade.alpha(60_000_000_000), fade.alpha(u64::MAX)), (255, 0, 0));
        let mut age = 0;
        let mut changes = 0;
        while let Some(next) = fade.next_change(age) {
            assert!(
                next > age && fade.alpha(next) != fade.alpha(age) && fade.alpha(next - 1) == fade.alpha(age)
            );
            age = next;
            changes += 1;
        }
        assert_eq!(changes, 255);
    }

    #[test]
    fn alpha_is_the_curves_to_within_a_step_and_a_millisecond() {
        let hours = Duration::from_hours(10);
        let text = "range=0:100 0,41 2,62 4,80 6,94 18,98 58,100 97,84 161,67 270,63 340,60 395,48 994,11";
        let curve = Curve::new(&Points::parse(text).unwrap(), SplineKind::Natural);
        let fade = Fade::new(&curve, hours);
        for sample in 0..=10_000_u32 {
            let fraction = f64::from(sample) / 10_000.0;
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let age = (hours.as_nanos() as f64 * fraction) as u64 + 1_000_001;
            let exact = i32::from(alpha(curve.opacity(fraction)));
            assert!((i32::from(fade.alpha(age)) - exact).abs() <= 1, "{fraction}");
        }
    }

    #[test]
    fn a_flat_curve_never_changes() {
        let fade = fade("0,5 1,5", Duration::from_secs(1));
        assert_eq!((fade.alpha(0), fade.next_change(0), fade.gone_from()), (255, None, None));
    }

    #[test]
    fn a_fade_of_no_time_is_at_its_end_at_once() {
        let fade = fade(DEFAULT_CURVE, Duration::ZERO);
        assert_eq!((fade.alpha(0), fade.next_change(0), fade.gone_from()), (0, None, Some(0)));
    }
}
