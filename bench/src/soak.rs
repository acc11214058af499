// SPDX-License-Identifier: GPL-3.0-or-later
//! Whether anything grows while all parts run together for long.
//!
//! There are two of each. Of the first, the pipe runs all the time while its readers are ended and started again; of the
//! second, the readers run on while what is loaded is replaced, and with it the pipe. So each part is measured that
//! outlives all others. Meanwhile there are connections, changed configs and sizes, and in the end the screens of both
//! have to say what the maps say.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use leco_e2e::{Part, Random, Wanted, Whole};
use rustix::process::Signal;

use crate::process;
use crate::report::Report;

const SEED: u64 = 20_261_129;
/// So much of the time caches have to fill.
const WARM_UP: f64 = 0.3;
const FLOOD: f64 = 0.15;
/// Growth of memory that counts: MB.
const GROWTH: f64 = 1.0;
/// Of what comes after the warm-up, the first and the last part of these are compared, by the least that was found in
/// each: what comes and goes is no growth.
const PARTS: usize = 3;
/// What changes is soon as it was: what is measured then can be compared.
const BETWEEN: Duration = Duration::from_millis(100);
const CONFIG: &str = "[tui]\nlines-kept = 200\n";
const OTHER_CONFIG: &str = "[tui]\nlines-kept = 100\n[text]\nfont-height = 16\n[rx-proc]\nfirst = 1st\n";
const SIZES: [(u16, u16); 2] = [(40, 10), (200, 60)];
/// The overlay's usual size.
const WINDOW: (u32, u32) = (600, 400);

/// What a part has at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sample {
    /// MB, without pages of files: which of these are there is the kernel's choice.
    memory: f64,
    descriptors: u64,
    threads: u64,
}

impl Sample {
    pub(crate) fn of(process: u32) -> Result<Self> {
        let count = |what: &str| -> Result<u64> {
            Ok(std::fs::read_dir(format!("/proc/{process}/{what}"))?.count() as u64)
        };
        Ok(Self { memory: process::own(process)?, descriptors: count("fd")?, threads: count("task")? })
    }

    fn least(samples: &[Self]) -> Self {
        samples.iter().copied().reduce(Self::and).unwrap_or_default()
    }

    fn and(self, other: Self) -> Self {
        Self {
            memory: self.memory.min(other.memory),
            descriptors: self.descriptors.min(other.descriptors),
            threads: self.threads.min(other.threads),
        }
    }
}

/// A part that runs from the begin to the end.
struct Steady {
    name: &'static str,
    whole: usize,
    part: Part,
    process: u32,
    samples: Vec<Sample>,
}

/// Runs for so long, and holds growth against its limits.
pub(crate) fn measure(duration: Duration, seed: Option<u64>, report: &mut Report) -> Result<()> {
    let mut random = Random(seed.unwrap_or(SEED));
    report.note(&format!("seed {}", random.0));
    // Small, so that it is soon full.
    let start = |name| {
        let loader = ["--max-conns", "256"].map(ToOwned::to_owned).to_vec();
        Whole::start(Wanted { name, loader, with_overlay: true, ..Wanted::default() })
    };
    let mut wholes = [start("first")?, start("second")?];
    wholes.iter().try_for_each(|whole| whole.reconfigure(CONFIG))?;
    let kept = [
        ("leco-event-pipe", 0, Part::Pipe),
        ("leco-tui", 1, Part::View),
        ("leco-sdl-widget", 1, Part::Overlay),
    ];
    let kept = kept.map(|(name, whole, part)| {
        let process = wholes[whole].id(part).unwrap_or_default();
        Steady { name, whole, part, process, samples: Vec::new() }
    });
    let mut steady = kept;
    let begin = Instant::now();
    let (mut turns, mut restarts) = (0, 0);
    while begin.elapsed() < duration {
        turns += 1;
        for whole in &mut wholes {
            whole.make_connections()?;
        }
        // First as many connections as there can be, so that what is bounded is full when the warm-up is over.
        let is_flood = begin.elapsed() < duration.mul_f64(FLOOD);
        if !is_flood {
            restarts += u64::from(disturb(&mut wholes, &mut random)?);
        }
        for whole in &mut wholes {
            whole.settle()?;
            whole.watch(if is_flood { Duration::from_millis(1) } else { BETWEEN })?;
            whole.look_after()?;
        }
        for kept in &mut steady {
            ensure!(wholes[kept.whole].id(kept.part) == Some(kept.process), "{} has ended", kept.name);
            if begin.elapsed() > duration.mul_f64(WARM_UP) {
                kept.samples.push(Sample::of(kept.process)?);
            }
        }
    }
    for whole in &mut wholes {
        whole.make_connections()?;
        whole.agrees()?;
    }
    report.note(&format!("{turns} rounds of connections, {restarts} restarts"));
    for kept in &steady {
        tell_growth_of(kept.name, &kept.samples, report)?;
    }
    Ok(())
}

/// Holds the growth between the first and the last samples of a process against its limits.
pub(crate) fn tell_growth_of(name: &str, samples: &[Sample], report: &mut Report) -> Result<()> {
    let window = samples.len() / PARTS;
    ensure!(window > 0, "it was too short to tell growth");
    let [first, last] = [&samples[..window], &samples[samples.len() - window..]];
    tell_growth(name, Sample::least(first), Sample::least(last), report);
    Ok(())
}

/// Does one thing that happens to programs; whether it was a restart.
fn disturb(wholes: &mut [Whole; 2], random: &mut Random) -> Result<bool> {
    let signal = if random.below(2) == 0 { Signal::TERM } else { Signal::KILL };
    let [first, second] = wholes;
    match random.below(10) {
        0 => first.restart(Part::View, signal)?,
        1 => first.restart(Part::Overlay, signal)?,
        2 => second.restart(Part::Pipe, signal)?,
        3 => second.reload()?,
        4 | 5 => {
            for config in [OTHER_CONFIG, CONFIG] {
                wholes.iter().try_for_each(|whole| whole.reconfigure(config))?;
                wholes.iter_mut().try_for_each(|whole| whole.watch(BETWEEN))?;
            }
            return Ok(false);
        }
        6 | 7 => {
            for size in [Some(SIZES[usize::try_from(random.below(2))?]), None] {
                wholes.iter_mut().try_for_each(|whole| whole.resize(size))?;
                wholes.iter_mut().try_for_each(|whole| whole.watch(BETWEEN))?;
            }
            return Ok(false);
        }
        8 => {
            // The window of the other one comes and goes.
            let server = second.server().context("no X server")?;
            for (window, _) in server.windows().into_iter().filter(|(_, title)| title == "LECO") {
                server.resize(
                    window,
                    (300 + random.below(300)).try_into()?,
                    (200 + random.below(200)).try_into()?,
                );
                first.watch(BETWEEN)?;
                server.resize(window, WINDOW.0, WINDOW.1);
            }
            return Ok(false);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn tell_growth(name: &str, first: Sample, last: Sample, report: &mut Report) {
    let grown = |first: u64, last: u64| last as f64 - first as f64;
    let figures = [
        ("memory of its own", last.memory - first.memory, GROWTH, "MB", first.memory, last.memory),
        (
            "descriptors",
            grown(first.descriptors, last.descriptors),
            0.0,
            "",
            first.descriptors as f64,
            last.descriptors as f64,
        ),
        ("threads", grown(first.threads, last.threads), 0.0, "", first.threads as f64, last.threads as f64),
    ];
    for (what, growth, limit, unit, first, last) in figures {
        report.limit(&format!("{name}: {what} grew, from {first:.2} to {last:.2}"), growth, limit, unit);
    }
}
