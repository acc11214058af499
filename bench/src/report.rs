// SPDX-License-Identifier: GPL-3.0-or-later
//! Figures and their limits: printed as they come, and kept for the report.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use anyhow::Result;
use leco_os::say;
use serde::{Deserialize, Serialize};

use crate::machine;
use crate::statistics::Estimate;

/// Everything that was measured in a run.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Results {
    /// Durations were scaled down: the figures are rough.
    pub(crate) quick: bool,
    /// How long all of it took.
    pub(crate) seconds: u64,
    /// What the machine is, and the versions of what was measured.
    pub(crate) machine: Vec<(String, String)>,
    pub(crate) chapters: Vec<Chapter>,
}

/// What belongs together.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Chapter {
    pub(crate) name: String,
    /// How it was measured, and what was not.
    pub(crate) notes: Vec<String>,
    pub(crate) figures: Vec<Figure>,
    pub(crate) plots: Vec<Plot>,
    /// Why a part of it failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) failures: Vec<String>,
}

/// A value with its name, and the limit that it has to keep.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) value: Estimate,
    pub(crate) unit: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<Limit>,
    /// Whether the limit was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kept: Option<bool>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

impl Limit {
    fn is_kept(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
        }
    }
}

/// What a value depends on, for one or several things that are compared.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Plot {
    pub(crate) title: String,
    pub(crate) x: String,
    pub(crate) y: String,
    pub(crate) curves: Vec<Curve>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// What was measured so far.
#[derive(Debug)]
pub(crate) struct Report {
    results: Results,
    start: Instant,
}

impl Report {
    pub(crate) fn new(quick: bool) -> Self {
        let results = Results { quick, machine: machine::describe(), ..Results::default() };
        Self { results, start: Instant::now() }
    }

    /// Measures one part of a chapter. Should it fail, the others are measured all the same.
    pub(crate) fn part(&mut self, chapter: &str, part: &str, measure: impl FnOnce(&mut Self) -> Result<()>) {
        say::err(format_args!("leco-bench: {:>4} s: {chapter}: {part}", self.start.elapsed().as_secs()));
        let known = self.results.chapters.iter().position(|known| known.name == chapter);
        let place = known.unwrap_or(self.results.chapters.len());
        let chapter = match known {
            // What is measured goes to the last one.
            Some(place) => self.results.chapters.remove(place),
            None => Chapter { name: chapter.to_owned(), ..Chapter::default() },
        };
        self.results.chapters.push(chapter);
        let failure = match catch_unwind(AssertUnwindSafe(|| measure(self))) {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(format!("{error:#}")),
            Err(panic) => Some(words(&*panic)),
        };
        if let Some(failure) = failure {
            say::err(format_args!("leco-bench: {part} could not be measured: {failure}"));
            self.chapter().failures.push(format!("{part}: {failure}"));
        }
        if let Some(chapter) = self.results.chapters.pop() {
            self.results.chapters.insert(place, chapter);
        }
    }

    fn chapter(&mut self) -> &mut Chapter {
        if self.results.chapters.is_empty() {
            self.results.chapters.push(Chapter::default());
        }
        let last = self.results.chapters.len() - 1;
        &mut self.results.chapters[last]
    }

    /// One of two numbers: of a whole run, and of a quick one.
    pub(crate) fn scaled<T>(&self, whole: T, quick: T) -> T {
        if self.is_quick() { quick } else { whole }
    }

    /// Whether durations are scaled down.
    pub(crate) fn is_quick(&self) -> bool {
        self.results.quick
    }

    /// How long to measure: a tenth of that in a quick run.
    pub(crate) fn time(&self, whole: Duration) -> Duration {
        self.scaled(whole, whole / 10)
    }

    /// Says how the chapter's figures were measured, or why some are missing.
    pub(crate) fn note(&mut self, text: &str) {
        say::out(text);
        self.chapter().notes.push(text.to_owned());
    }

    /// A figure that has no limit.
    pub(crate) fn tell(&mut self, what: &str, value: impl Into<Estimate>, unit: &str) {
        self.keep(what, value.into(), unit, None);
    }

    /// A figure, and whether it keeps its limit.
    pub(crate) fn limit(&mut self, what: &str, value: impl Into<Estimate>, limit: f64, unit: &str) {
        self.keep(what, value.into(), unit, Some(Limit::AtMost(limit)));
    }

    /// A figure, and whether it is enough.
    pub(crate) fn at_least(&mut self, what: &str, value: impl Into<Estimate>, least: f64, unit: &str) {
        self.keep(what, value.into(), unit, Some(Limit::AtLeast(least)));
    }

    fn keep(&mut self, name: &str, value: Estimate, unit: &str, limit: Option<Limit>) {
        if !value.value.is_finite() {
            self.chapter().failures.push(format!("{name}: there was nothing to measure"));
            return;
        }
        let kept = limit.map(|limit| limit.is_kept(value.value));
        let figure = Figure { name: name.to_owned(), value, unit: unit.to_owned(), limit, kept };
        let verdict = match figure.kept {
            None => String::new(),
            Some(kept) => {
                format!(" ({}: {})", figure.limit_words(), if kept { "kept" } else { "MISSED" })
            }
        };
        say::out(format_args!("{name:<66} {}{verdict}", figure.words()));
        self.chapter().figures.push(figure);
    }

    /// One point of a curve in a plot.
    pub(crate) fn point(&mut self, title: &str, axes: (&str, &str), curve: &str, x: f64, y: f64) {
        if !y.is_finite() {
            return;
        }
        say::out(format_args!(
            "{:<66} {} {}",
            format!("{title}: {curve}: {x} {}", axes.0),
            number(y),
            axes.1
        ));
        let plots = &mut self.chapter().plots;
        let place = plots.iter().position(|plot| plot.title == title).unwrap_or_else(|| {
            let (x, y) = (axes.0.to_owned(), axes.1.to_owned());
            plots.push(Plot { title: title.to_owned(), x, y, curves: Vec::new() });
            plots.len() - 1
        });
        let curves = &mut plots[place].curves;
        match curves.iter_mut().find(|known| known.name == curve) {
            Some(known) => known.points.push((x, y)),
            None => curves.push(Curve { name: curve.to_owned(), points: vec![(x, y)] }),
        }
    }

    /// What was measured, and on what.
    pub(crate) fn results(&mut self) -> &Results {
        self.results.seconds = self.start.elapsed().as_secs();
        &self.results
    }
}

impl Results {
    /// Whether any limit was missed, or a part could not be measured.
    pub(crate) fn missed(&self) -> bool {
        self.chapters.iter().any(|chapter| {
            !chapter.failures.is_empty() || chapter.figures.iter().any(|figure| figure.kept == Some(false))
        })
    }
}

impl Figure {
    /// Value, interval and unit.
    pub(crate) fn words(&self) -> String {
        let interval = self.value.interval_words();
        let interval = if interval.is_empty() { interval } else { format!(" ({interval})") };
        format!("{}{interval} {}", number(self.value.value), self.unit).trim_end().to_owned()
    }

    /// Its limit.
    pub(crate) fn limit_words(&self) -> String {
        let (words, limit) = match self.limit {
            None => return String::new(),
            Some(Limit::AtMost(limit)) => ("at most", limit),
            Some(Limit::AtLeast(limit)) => ("at least", limit),
        };
        format!("{words} {limit} {}", self.unit).trim_end().to_owned()
    }
}

/// A number as short as it is still exact enough.
pub(crate) fn number(value: f64) -> String {
    let places = match value.abs() {
        size if size < 1e-9 => 0,
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        size if size >= 0.01 => 3,
        _ => 5,
    };
    let text = format!("{value:.places$}");
    if text.contains('.') && text.trim_end_matches('0').ends_with('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// What a panic says.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked").to_owned()
}
