//! The curve of a line's opacity over time, sampled to the steps of alpha that an 8-bit channel can tell apart.

use std::time::Duration;

use splines::{Interpolation, Key, Spline};

/// Curve of a line that fades evenly.
pub const DEFAULT_CURVE: &str = "0,100 100,0";
/// Samples between two points of a curve, from which its steps are taken.
const SAMPLES_PER_SEGMENT: u32 = 1024;

/// Why a text is no curve.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CurveError {
    /// A part that is no number.
    #[error("`{0}` is not a number, expected pairs like `0,100 100,0`")]
    NotANumber(String),
    /// An odd count of numbers.
    #[error("a point lacks its y, expected pairs like `0,100 100,0`")]
    Odd,
    /// No span of time.
    #[error("a curve needs at least two points")]
    TooFew,
    /// Time must go on.
    #[error("x must rise from point to point, but {1} follows {0}")]
    NotRising(f64, f64),
    /// A range in which nothing lies.
    #[error("`range={0}` is not a range, expected like `range=0:100`")]
    Range(String),
}

/// Opacity as a function of time: points joined by a cardinal spline (Catmull–Rom), as they stand in a config.
#[derive(Debug, Clone)]
pub struct Curve {
    spline: Spline<f64, f64>,
    points: Vec<(f64, f64)>,
}

impl Curve {
    /// Reads `x,y` pairs (spaces, commas and parentheses separate), with an optional `range=a:b` that says
    /// which y are 0 % and 100 %; else these are the lowest and the highest y.
    pub fn parse(text: &str) -> Result<Self, CurveError> {
        let mut range = None;
        let mut numbers = Vec::new();
        for part in text.split([' ', '\t', ',', '(', ')']).filter(|part| !part.is_empty()) {
            if let Some(ends) = part.strip_prefix("range=") {
                let pair = ends.split_once(':').and_then(|(low, high)| Some((finite(low)?, finite(high)?)));
                range = Some(
                    pair.filter(|(low, high)| low < high).ok_or_else(|| CurveError::Range(ends.into()))?,
                );
            } else {
                numbers.push(finite(part).ok_or_else(|| CurveError::NotANumber(part.into()))?);
            }
        }
        let (pairs, odd) = numbers.as_chunks::<2>();
        if !odd.is_empty() {
            return Err(CurveError::Odd);
        }
        if pairs.len() < 2 {
            return Err(CurveError::TooFew);
        }
        if let Some(pair) = pairs.windows(2).find(|pair| pair[1][0] <= pair[0][0]) {
            return Err(CurveError::NotRising(pair[0][0], pair[1][0]));
        }
        let ys = || pairs.iter().map(|pair| pair[1]);
        let (low, high) = range
            .unwrap_or_else(|| (ys().fold(f64::INFINITY, f64::min), ys().fold(f64::NEG_INFINITY, f64::max)));
        // A flat curve has no lowest and highest point to stand for 0 % and 100 %: it is opaque.
        let opacity = |y: f64| if high > low { (y - low) / (high - low) } else { 1.0 };
        let points: Vec<_> = pairs.iter().map(|pair| (pair[0], opacity(pair[1]))).collect();
        Ok(Self { spline: cardinal(&points), points })
    }

    /// Opacity (0.0–1.0) at a fraction (0.0–1.0) of the whole time.
    #[must_use]
    pub fn opacity(&self, fraction: f64) -> f64 {
        let (first, last) = (self.points[0], self.points[self.points.len() - 1]);
        let x = first.0 + (last.0 - first.0) * fraction.clamp(0.0, 1.0);
        // The sampler has no value exactly at the last key: there the last point holds.
        self.spline.sample(x).unwrap_or(last.1).clamp(0.0, 1.0)
    }

    /// Fractions of the whole time at which the points stand.
    fn point_fractions(&self) -> impl Iterator<Item = f64> {
        let (first, last) = (self.points[0].0, self.points[self.points.len() - 1].0);
        self.points.iter().map(move |(x, _)| (x - first) / (last - first))
    }
}

fn finite(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite() && number.abs() < 1e12)
}

/// Catmull–Rom needs a key before the first point and one after the last: the ends mirrored (`2p0-p1`).
fn cardinal(points: &[(f64, f64)]) -> Spline<f64, f64> {
    let mirror = |end: (f64, f64), inner: (f64, f64)| (2.0 * end.0 - inner.0, 2.0 * end.1 - inner.1);
    let count = points.len();
    let before = mirror(points[0], points[1]);
    let after = mirror(points[count - 1], points[count - 2]);
    let keys = std::iter::once(before).chain(points.iter().copied()).chain(std::iter::once(after));
    keys.map(|(x, y)| Key::new(x, y, Interpolation::CatmullRom)).collect()
}

/// A curve laid over a time, as steps of alpha.
#[derive(Debug, Clone)]
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
        let mut steps = vec![(0, alpha(curve.opacity(0.0)))];
        for segment in fractions.windows(2) {
            for sample in 1..=SAMPLES_PER_SEGMENT {
                let part = f64::from(sample) / f64::from(SAMPLES_PER_SEGMENT);
                let fraction = segment[0] + (segment[1] - segment[0]) * part;
                let level = alpha(curve.opacity(fraction));
                if steps.last().is_none_or(|&(_, last)| last != level) {
                    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                    steps.push(((total * fraction) as u64, level));
                }
            }
        }
        Self { steps }
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
}

fn alpha(opacity: f64) -> u8 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let level = (opacity * 255.0).round() as u8;
    level
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faulty_curves_are_told_apart() {
        let error = |text: &str| Curve::parse(text).unwrap_err();
        assert_eq!(error("0,1 2"), CurveError::Odd);
        assert_eq!(error("0,1"), CurveError::TooFew);
        assert_eq!(error(""), CurveError::TooFew);
        assert_eq!(error("0,1 0,2"), CurveError::NotRising(0.0, 0.0));
        assert_eq!(error("0,a 1,2"), CurveError::NotANumber("a".into()));
        assert_eq!(error("0,nan 1,2"), CurveError::NotANumber("nan".into()));
        assert_eq!(error("range=1:0 0,1 1,2"), CurveError::Range("1:0".into()));
    }

    #[test]
    fn steps_name_each_change_and_nothing_else() {
        let fade = Fade::new(&Curve::parse(DEFAULT_CURVE).unwrap(), Duration::from_mins(1));
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
    fn a_flat_curve_never_changes() {
        let fade = Fade::new(&Curve::parse("0,5 1,5").unwrap(), Duration::from_secs(1));
        assert_eq!((fade.alpha(0), fade.next_change(0)), (255, None));
    }

    #[test]
    fn a_fade_of_no_time_is_at_its_end_at_once() {
        let fade = Fade::new(&Curve::parse(DEFAULT_CURVE).unwrap(), Duration::ZERO);
        assert_eq!((fade.alpha(0), fade.next_change(0)), (0, None));
    }
}
