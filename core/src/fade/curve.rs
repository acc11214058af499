// SPDX-License-Identifier: GPL-3.0-or-later
//! Opacity as a function of time, as it stands in a config.

use std::ops::Range;

use splines::{Interpolation, Key, Spline};

/// Curve of a line that fades evenly.
pub const DEFAULT_CURVE: &str = "0,100 100,0";

/// Why a text is no curve.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CurveFault {
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

/// A fault and the bytes of the text that are meant.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{fault}")]
pub struct CurveError {
    /// What is wrong.
    pub fault: CurveFault,
    /// Where.
    pub span: Range<usize>,
}

/// What joins the points of a curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SplineKind {
    /// A cubic cardinal spline (Catmull–Rom) with finite-difference tangents.
    #[default]
    Cardinal,
    /// A cubic spline whose second derivative is continuous, and zero at both ends.
    Natural,
    /// Straight lines.
    Linear,
}

impl SplineKind {
    /// By its name in a config.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "cardinal" => Some(Self::Cardinal),
            "natural" => Some(Self::Natural),
            "linear" => Some(Self::Linear),
            _ => None,
        }
    }
}

/// Points of a curve: `(x, y)` with x in any unit of time and y as opacity, where 0.0–1.0 is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Points(Vec<(f64, f64)>);

impl Points {
    /// Reads `x,y` pairs (spaces, commas and parentheses separate), with an optional `range=a:b` that says
    /// which y are 0 % and 100 %; else these are the lowest and the highest y.
    pub fn parse(text: &str) -> Result<Self, CurveError> {
        let error = |fault, span| CurveError { fault, span };
        let mut range = None;
        let mut numbers: Vec<(f64, Range<usize>)> = Vec::new();
        for part in text.split([' ', '\t', ',', '(', ')']).filter(|part| !part.is_empty()) {
            let at = part.as_ptr() as usize - text.as_ptr() as usize;
            let span = at..at + part.len();
            if let Some(ends) = part.strip_prefix("range=") {
                let pair = ends.split_once(':').and_then(|(low, high)| Some((finite(low)?, finite(high)?)));
                let pair = pair.filter(|(low, high)| low < high);
                range = Some(pair.ok_or_else(|| error(CurveFault::Range(ends.into()), span))?);
            } else {
                let number =
                    finite(part).ok_or_else(|| error(CurveFault::NotANumber(part.into()), span.clone()));
                numbers.push((number?, span));
            }
        }
        let (pairs, odd) = numbers.as_chunks::<2>();
        if let Some((_, span)) = odd.first() {
            return Err(error(CurveFault::Odd, span.clone()));
        }
        if pairs.len() < 2 {
            return Err(error(CurveFault::TooFew, 0..text.len()));
        }
        if let Some([(before, _), (x, span)]) =
            pairs.windows(2).map(|two| [&two[0][0], &two[1][0]]).find(|[before, x]| x.0 <= before.0)
        {
            return Err(error(CurveFault::NotRising(*before, *x), span.clone()));
        }
        let ys = || pairs.iter().map(|pair| pair[1].0);
        let (low, high) = range
            .unwrap_or_else(|| (ys().fold(f64::INFINITY, f64::min), ys().fold(f64::NEG_INFINITY, f64::max)));
        // A flat curve has no lowest and highest point to stand for 0 % and 100 %: it is opaque.
        let opacity = |y: f64| if high > low { (y - low) / (high - low) } else { 1.0 };
        Ok(Self(pairs.iter().map(|pair| (pair[0].0, opacity(pair[1].0))).collect()))
    }
}

impl Default for Points {
    /// [`DEFAULT_CURVE`].
    fn default() -> Self {
        Self(vec![(0.0, 1.0), (100.0, 0.0)])
    }
}

fn finite(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite() && number.abs() < 1e12)
}

/// Opacity as a function of time: points joined by a spline.
#[derive(Debug, Clone)]
pub struct Curve {
    spline: Spline<f64, f64>,
    points: Vec<(f64, f64)>,
}

impl Curve {
    /// Joins points.
    #[must_use]
    pub fn new(points: &Points, kind: SplineKind) -> Self {
        let points = points.0.clone();
        let spline = match kind {
            SplineKind::Cardinal => cardinal(&points),
            SplineKind::Natural => natural(&points),
            SplineKind::Linear => {
                points.iter().map(|&(x, y)| Key::new(x, y, Interpolation::Linear)).collect()
            }
        };
        Self { spline, points }
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
    pub(super) fn point_fractions(&self) -> impl Iterator<Item = f64> {
        let (first, last) = (self.points[0].0, self.points[self.points.len() - 1].0);
        self.points.iter().map(move |(x, _)| (x - first) / (last - first))
    }
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

/// The second derivatives at the points solve a tridiagonal system (Thomas algorithm; Numerical Recipes,
/// "Cubic Spline Interpolation"); with them each segment is a cubic, sampled as a Bézier curve.
fn natural(points: &[(f64, f64)]) -> Spline<f64, f64> {
    let count = points.len();
    let width = |index: usize| points[index + 1].0 - points[index].0;
    let slope = |index: usize| (points[index + 1].1 - points[index].1) / width(index);
    let mut second = vec![0.0; count];
    let mut upper = vec![0.0; count];
    for index in 1..count - 1 {
        let (left, right) = (width(index - 1), width(index));
        let pivot = 2.0 * (left + right) - left * upper[index - 1];
        upper[index] = right / pivot;
        second[index] = (6.0 * (slope(index) - slope(index - 1)) - left * second[index - 1]) / pivot;
    }
    for index in (1..count - 1).rev() {
        second[index] -= upper[index] * second[index + 1];
    }
    // A third of the tangent away from each point lies its control point.
    let after = |index: usize| {
        let tangent = slope(index) - width(index) * (2.0 * second[index] + second[index + 1]) / 6.0;
        points[index].1 + width(index) * tangent / 3.0
    };
    let before = |index: usize| {
        let tangent = slope(index - 1) + width(index - 1) * (second[index - 1] + 2.0 * second[index]) / 6.0;
        points[index].1 - width(index - 1) * tangent / 3.0
    };
    let keys = points.iter().enumerate().map(|(index, &(x, y))| {
        let incoming = if index == 0 { y } else { before(index) };
        let outgoing = if index == count - 1 { y } else { after(index) };
        Key::new(x, y, Interpolation::StrokeBezier(incoming, outgoing))
    });
    keys.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn faulty_curves_are_told_apart_and_named_by_place() {
        let error = |text: &str| {
            let error = Points::parse(text).unwrap_err();
            (error.fault, text[error.span].to_owned())
        };
        let named = |fault, part: &str| (fault, part.to_owned());
        assert_eq!(error("0,1 2"), named(CurveFault::Odd, "2"));
        assert_eq!(error("0,1"), named(CurveFault::TooFew, "0,1"));
        assert_eq!(error(""), named(CurveFault::TooFew, ""));
        assert_eq!(error("0,1 5,2 0,3"), named(CurveFault::NotRising(5.0, 0.0), "0"));
        assert_eq!(error("0,a 1,2"), named(CurveFault::NotANumber("a".into()), "a"));
        assert_eq!(error("0,nan 1,2"), named(CurveFault::NotANumber("nan".into()), "nan"));
        assert_eq!(error("range=1:0 0,1 1,2"), named(CurveFault::Range("1:0".into()), "range=1:0"));
    }

    #[test]
    fn the_default_is_its_text() {
        assert_eq!(Points::parse(DEFAULT_CURVE), Ok(Points::default()));
    }

    #[test]
    fn the_example_of_the_specification() {
        let text = "range=0:100 0,41 2,62 4,80 6,94 18,98 58,100 97,84 161,67 270,63 340,60 395,48 560,46 \
                    645,45 715,43 774,31 834,27 902,24 953,17 994,11";
        let curve = Curve::new(&Points::parse(text).unwrap(), SplineKind::Cardinal);
        for (fraction, opacity) in [(0.0, 0.41), (58.0 / 994.0, 1.0), (1.0, 0.11)] {
            assert!((curve.opacity(fraction) - opacity).abs() < 1e-9, "{fraction}");
        }
    }

    proptest! {
        #[test]
        fn every_kind_goes_through_its_points_and_stays_in_bounds(
            steps in proptest::collection::vec((0.01_f64..1e6, -100.0_f64..200.0), 2..20),
            fraction in 0.0_f64..1.0,
        ) {
            let mut x = 0.0;
            let text: Vec<String> = steps.iter().map(|(dx, y)| { x += dx; format!("{x},{y}") }).collect();
            let points = Points::parse(&text.join(" ")).unwrap();
            for kind in [SplineKind::Cardinal, SplineKind::Natural, SplineKind::Linear] {
                let curve = Curve::new(&points, kind);
                prop_assert!((0.0..=1.0).contains(&curve.opacity(fraction)));
                for (at, (_, y)) in curve.point_fractions().zip(&points.0) {
                    prop_assert!((curve.opacity(at) - y).abs() < 1e-6, "{kind:?} {at} {y}");
                }
            }
        }

        #[test]
        fn no_text_panics(text in "[0-9a-z=:.,() \t+-]{0,40}|.{0,40}") {
            if let Ok(points) = Points::parse(&text) {
                for kind in [SplineKind::Cardinal, SplineKind::Natural, SplineKind::Linear] {
                    prop_assert!((0.0..=1.0).contains(&Curve::new(&points, kind).opacity(0.5)));
                }
            }
        }
    }
}
