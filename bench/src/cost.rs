// SPDX-License-Identifier: GPL-3.0-or-later
//! What the kernel side costs those who send and receive.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use leco_e2e::{Kernel, program};
use libbpf_rs::query::{ProgInfoIter, ProgInfoQueryOptions};

use crate::cpus::Pinned;
use crate::empty::{self, Empty};
use crate::loopback::{BULK, CONNECT, CONNECTS, Kind, PIECES, TCP, UDP};
use crate::original::Original;
use crate::report::Report;
use crate::statistics::Estimate;

/// How often each side has its turn; the median counts.
const ROUNDS: usize = 25;
/// What is left of a throughput is known so well that a figure close to its limit says something.
const SPREAD: f64 = 0.05;
/// Nanoseconds that a send or recv over a known socket may cost, less those of a program that does nothing.
const HOT_NS: f64 = 20.0;
/// How often each kind of traffic is measured; the median counts.
const PROGRAM_ROUNDS: usize = 15;
const STATS_SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// What is loaded while traffic is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Nothing,
    Empty,
    Least,
    Counting,
    Leco,
    Original,
}

/// Those that are held against nothing.
const SIDES: [Side; 4] = [Side::Leco, Side::Least, Side::Empty, Side::Original];

/// Something that is loaded as long as this lives.
enum Loaded {
    Nothing,
    Programs { _programs: Empty },
    Leco { _pipe: Reading, _kernel: Kernel },
    Original(Original),
}

impl Side {
    /// Who reads what is announced is not where the traffic is.
    fn load(self) -> Result<Loaded> {
        let _pinned = Pinned::to_others()?;
        Ok(match self {
            Self::Nothing => Loaded::Nothing,
            Self::Empty => Loaded::Programs { _programs: Empty::at_every_hook()? },
            Self::Least => Loaded::Programs { _programs: Empty::knowing_every_socket()? },
            Self::Counting => Loaded::Programs { _programs: Empty::counting()? },
            Self::Leco => {
                let kernel = Kernel::load(&[]);
                Loaded::Leco { _pipe: Reading::start(&kernel)?, _kernel: kernel }
            }
            Self::Original => Loaded::Original(Original::attach()?),
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Empty => "programs that do nothing at the same hooks",
            Self::Least => "the least: a storage for every socket, and its bytes",
            Self::Counting => "bytes added up",
            Self::Leco => "LECO",
            Self::Original => "the original's design",
        }
    }
}

/// Nanoseconds per run of each program, less those of empty ones that are attached beside it.
pub(crate) fn measure_programs(report: &mut Report) -> Result<()> {
    report.note(
        "ns per hook: what the kernel counts for a program (`kernel.bpf_stats_enabled`), less what it counts for empty \
         programs that run beside it. `least_send` and `least_recv` only find a socket's storage and add to it. What it \
         takes to get to a program is in the throughput alone: plain tracepoints, as \
         in the original's design, take longer.",
    );
    for side in [Side::Leco, Side::Original] {
        for kind in [TCP, UDP, CONNECT] {
            measure_programs_of(side, &kind, report)?;
        }
    }
    measure_programs_of(Side::Counting, &TCP, report)
}

fn measure_programs_of(side: Side, kind: &Kind, report: &mut Report) -> Result<()> {
    // Others on this machine may have loaded programs of these names.
    let others: Vec<u32> = runs().into_keys().collect();
    // The first at a tracepoint finds what all of them read further away than the last: some before, some after.
    let _before = Empty::where_bytes_are_counted()?;
    let _loaded = side.load()?;
    let _after = Empty::where_bytes_are_counted()?;
    let mut figures: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for _ in 0..report.scaled(PROGRAM_ROUNDS, 3) {
        fs::write(STATS_SWITCH, "1").context(STATS_SWITCH)?;
        let mut before = runs();
        before.retain(|id, _| !others.contains(id));
        let done = kind.run();
        let after = runs();
        fs::write(STATS_SWITCH, "0").context(STATS_SWITCH)?;
        done?;
        for (name, net) in round(&before, &after)? {
            figures.entry(name).or_default().push(net);
        }
    }
    for (name, of_rounds) in figures {
        let net = Estimate::median(of_rounds);
        let figure = format!("{}: {name}: net of an empty program", kind.name);
        if side == Side::Leco && kind.name == TCP.name && name.ends_with("_length") {
            report.limit(&figure, net, HOT_NS, "ns");
        } else {
            report.tell(&figure, net, "ns");
        }
    }
    Ok(())
}

/// Nanoseconds that each program took between two looks at them, less those of an empty one.
fn round(before: &BTreeMap<u32, Runs>, after: &BTreeMap<u32, Runs>) -> Result<Vec<(String, f64)>> {
    let spent = before.iter().filter_map(|(id, before)| {
        let after = after.get(id)?;
        Some((&before.name, after.ns - before.ns, after.count - before.count))
    });
    let spent: Vec<_> = spent.collect();
    let empty = spent.iter().filter(|(name, ..)| name.starts_with(empty::PREFIX));
    let (ns, count) = empty.fold((0, 0), |(ns, count), (_, more, runs)| (ns + more, count + runs));
    ensure!(count > 0, "the empty programs did not run");
    let empty = ns as f64 / count as f64;
    let figures = spent.iter().filter(|(name, _, runs)| {
        // What ran less is not what this traffic is about.
        !name.starts_with(empty::PREFIX) && *runs >= CONNECTS as u64
    });
    Ok(figures.map(|(name, ns, runs)| ((*name).clone(), *ns as f64 / *runs as f64 - empty)).collect())
}

/// Throughput with each side loaded, each between two turns with nothing, of the kinds of
/// traffic whose name contains this.
pub(crate) fn measure_throughput(which: &str, report: &mut Report) -> Result<()> {
    let rounds = report.scaled(ROUNDS, 3);
    report.note(&format!(
        "Throughput with something loaded, as a share of that with nothing: {rounds} rounds, in which LECO, the least that \
         knows every socket, programs that do nothing at the same hooks, and the original's design have a turn in changing \
         order. Each is held against the turns with nothing before and after it. A turn's time is that of the median of \
         {PIECES} pieces, of each of which the second half counts. Traffic is over loopback and stays on one CPU (the \
         sender of the bulk on another), with one reader of what is announced on the others. What is lost with \
         programs that do nothing is lost to any that has these hooks: a limit above it cannot be kept."
    ));
    let kinds: Vec<_> =
        [TCP, UDP, CONNECT, BULK].into_iter().filter(|kind| kind.name.contains(which)).collect();
    let turn = |side: Side| -> Result<Vec<f64>> {
        let loaded = side.load()?;
        let seconds = kinds.iter().map(Kind::time).collect();
        if let Loaded::Original(original) = &loaded {
            ensure!(original.events() > 0, "the original's design announced nothing");
        }
        seconds
    };
    let mut ratios = vec![[const { Vec::new() }; SIDES.len()]; kinds.len()];
    let (mut sides, mut before) = ([0, 1, 2, 3], turn(Side::Nothing)?);
    for round in 0..rounds {
        for side in sides {
            let (with, after) = (turn(SIDES[side])?, turn(Side::Nothing)?);
            for (place, ratios) in ratios.iter_mut().enumerate() {
                ratios[side].push(f64::midpoint(before[place], after[place]) / with[place]);
            }
            before = after;
        }
        sides.rotate_left(1);
        if round % 2 == 1 {
            sides.reverse();
        }
    }
    for (kind, ratios) in kinds.iter().zip(ratios) {
        for (side, ratios) in SIDES.into_iter().zip(ratios) {
            let figure = format!("{}: throughput left with {}", kind.name, side.name());
            let left = Estimate::median(ratios);
            if side == Side::Leco {
                let spread = left.spread().unwrap_or(0.0);
                report.at_least(&figure, left, kind.least, "");
                report.limit(&format!("{figure}: spread"), spread, SPREAD, "");
            } else {
                report.tell(&figure, left, "");
            }
        }
    }
    Ok(())
}

/// A pipe that reads what is announced, as there always is one.
struct Reading(Child);

impl Reading {
    fn start(kernel: &Kernel) -> Result<Self> {
        let mut command = Command::new(program("leco-event-pipe"));
        command.arg("--pin").arg(kernel.pins()).stdin(Stdio::null()).stdout(Stdio::null());
        command.env("LECO_MEMORY", "off").stderr(Stdio::null());
        Ok(Self(command.spawn().context("leco-event-pipe")?))
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a program has run until now.
#[derive(Debug)]
struct Runs {
    name: String,
    ns: u64,
    count: u64,
}

/// Every program in the kernel, by its id.
fn runs() -> BTreeMap<u32, Runs> {
    ProgInfoIter::with_query_opts(ProgInfoQueryOptions::default())
        .map(|info| {
            let name = info.name.to_string_lossy().into_owned();
            (info.id, Runs { name, ns: info.run_time_ns, count: info.run_cnt })
        })
        .collect()
}
