// SPDX-License-Identifier: GPL-3.0-or-later
//! Plots as SVG.

use std::fmt::Write;

use crate::report::{Curve, Plot, number};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 340.0;
/// Of the area in which curves are.
const LEFT: f64 = 70.0;
const RIGHT: f64 = 500.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 285.0;
/// Between two names of curves.
const NAME_HEIGHT: f64 = 20.0;
/// Where values differ by more than this factor, the scale is logarithmic.
const LINEAR: f64 = 30.0;

/// Colours that people with any kind of colour vision tell apart (Okabe and Ito, 2008), each with a mark of its own.
const COLOURS: [&str; 8] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8a6d00"];

/// Where values are in the picture.
struct Scale {
    /// Values that have a line.
    ticks: Vec<f64>,
    is_logarithmic: bool,
}

impl Scale {
    fn of(plot: &Plot) -> Self {
        let values = || plot.curves.iter().flat_map(|curve| &curve.points).map(|point| point.1);
        let greatest = values().fold(0.0, f64::max);
        let least = values().filter(|value| *value > 0.0).fold(greatest, f64::min);
        if greatest <= 0.0 {
            return Self { ticks: vec![0.0, 1.0], is_logarithmic: false };
        }
        if greatest / least > LINEAR {
            let (low, high) = (least.log10().floor(), greatest.log10().ceil());
            let powers = std::iter::successors(Some(low), |power| (*power < high).then_some(power + 1.0));
            return Self { ticks: powers.map(|power| 10_f64.powf(power)).collect(), is_logarithmic: true };
        }
        let power = 10_f64.powf((greatest / 4.0).log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
        let step = step.into_iter().find(|step| greatest / step <= 5.0).unwrap_or(greatest);
        let steps =
            std::iter::successors(Some(0.0), |below| (*below < greatest / step).then_some(below + 1.0));
        Self { ticks: steps.map(|count| count * step).collect(), is_logarithmic: false }
    }

    /// How far down a value is. What a logarithm cannot show is at the bottom.
    fn y(&self, value: f64) -> f64 {
        let [Some(low), Some(high)] = [self.ticks.first(), self.ticks.last()] else { return BOTTOM };
        let part = if self.is_logarithmic {
            (value.max(*low) / low).ln() / (high / low).ln()
        } else {
            (value - low) / (high - low)
        };
        BOTTOM - part * (BOTTOM - TOP)
    }
}

/// The values of x that any curve has, in order. They are drawn at equal distances.
pub(crate) fn places(plot: &Plot) -> Vec<f64> {
    let mut places: Vec<f64> =
        plot.curves.iter().flat_map(|curve| &curve.points).map(|point| point.0).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    places
}

/// The whole picture.
pub(crate) fn draw(plot: &Plot) -> String {
    let (scale, places) = (Scale::of(plot), places(plot));
    let x = |value: f64| {
        let place = places.iter().position(|place| *place >= value).unwrap_or(0);
        LEFT + (place as f64 + 0.5) * (RIGHT - LEFT) / places.len() as f64
    };
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
         height=\"{HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\" role=\"img\">\n<title>{}</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
        escape(&plot.title)
    );
    text(&mut out, (LEFT, 20.0), "start", &format!("{}, {}", plot.title, plot.y));
    for tick in &scale.ticks {
        let y = scale.y(*tick);
        let _ = writeln!(out, "<path d=\"M{LEFT} {y:.1}H{RIGHT}\" stroke=\"#ddd\"/>");
        text(&mut out, (LEFT - 8.0, y + 4.0), "end", &grouped(*tick));
    }
    for place in &places {
        text(&mut out, (x(*place), BOTTOM + 18.0), "middle", &grouped(*place));
    }
    text(&mut out, (LEFT.midpoint(RIGHT), BOTTOM + 40.0), "middle", &plot.x);
    let mut names: Vec<_> = plot.curves.iter().zip(COLOURS.iter().cycle()).collect();
    for (curve, colour) in &names {
        let points: Vec<_> = curve.points.iter().map(|(at, value)| (x(*at), scale.y(*value))).collect();
        let line: Vec<_> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            line.join(" ")
        );
        for (x, y) in points {
            let _ = writeln!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"/>");
        }
    }
    // Names are in the order of the curves' ends, and near them.
    let end = |curve: &Curve| curve.points.last().map_or(BOTTOM, |(_, value)| scale.y(*value));
    names.sort_by(|(one, _), (other, _)| end(one).total_cmp(&end(other)));
    let mut lowest = BOTTOM + 6.0 - names.len() as f64 * NAME_HEIGHT;
    let mut next = TOP;
    for (curve, colour) in names {
        lowest += NAME_HEIGHT;
        let y = end(curve).max(next).min(lowest.max(TOP));
        next = y + NAME_HEIGHT;
        let _ = writeln!(
            out,
            "<path d=\"M{:.1} {:.1}L{} {y:.1}H{}\" fill=\"none\" stroke=\"{colour}\"/>",
            curve.points.last().map_or(RIGHT, |(at, _)| x(*at)) + 6.0,
            end(curve),
            RIGHT + 10.0,
            RIGHT + 20.0
        );
        text(&mut out, (RIGHT + 25.0, y + 4.0), "start", &curve.name);
    }
    out + "</svg>\n"
}

fn text(out: &mut String, (x, y): (f64, f64), anchor: &str, words: &str) {
    let _ = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"#222\">{}</text>",
        escape(words)
    );
}

/// A number whose thousands are separated.
pub(crate) fn grouped(value: f64) -> String {
    if value < 1000.0 || value.fract() != 0.0 {
        let text = number(value);
        return if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text
        };
    }
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
