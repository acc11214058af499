// SPDX-License-Identifier: GPL-3.0-or-later
//! What the kernel side costs those who send and receive.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use leco_e2e::{Kernel, program};
use libbpf_rs::query::{ProgInfoIter, ProgInfoQueryOptions};
use libbpf_rs::{Link, Object, ObjectBuilder};

use crate::cpus::Pinned;
use crate::original::Original;
use crate::report::Report;
use crate::statistics::Estimate;

const ROUND_TRIPS: usize = 10_000;
const CONNECTS: usize = 3_000;
const BULK_BYTES: usize = 1 << 30;
const BULK_WRITE: usize = 64 << 10;
/// How often each side has its turn; the median counts.
const ROUNDS: usize = 25;
/// Of a turn's traffic.
const PIECES: usize = 20;
/// What is left of a throughput is known so well that a figure close to its limit says something.
const SPREAD: f64 = 0.05;
/// Nanoseconds that a send or recv over a known socket may cost, less those of a program that does nothing.
const HOT_NS: f64 = 25.0;
/// How often each kind of traffic is measured; the median counts.
const PROGRAM_ROUNDS: usize = 15;
const STATS_SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// A kind of traffic, and how much of its throughput has to be left with every hook attached.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    /// Makes so much of it.
    run: fn(usize) -> Result<()>,
    count: usize,
    least: f64,
}

const TCP: Kind = Kind { name: "TCP ping-pong", run: tcp_ping_pong, count: ROUND_TRIPS, least: 0.97 };
const UDP: Kind = Kind { name: "UDP sendto/recvfrom", run: udp_ping_pong, count: ROUND_TRIPS, least: 0.93 };
const CONNECT: Kind = Kind { name: "connect/close", run: connects, count: CONNECTS, least: 0.95 };
const BULK: Kind = Kind { name: "TCP bulk", run: bulk, count: BULK_BYTES / BULK_WRITE, least: 0.99 };

impl Kind {
    fn run(&self) -> Result<()> {
        let _pinned = Pinned::to_last()?;
        (self.run)(self.count)
    }

    /// Seconds of the median piece, after one that is not counted: what else runs on the machine meets some of them.
    fn time(&self) -> Result<f64> {
        let _pinned = Pinned::to_last()?;
        (self.run)(self.count / PIECES)?;
        let pieces = (0..PIECES).map(|_| {
            let start = Instant::now();
            (self.run)(self.count / PIECES)?;
            Ok(start.elapsed().as_secs_f64())
        });
        Ok(Estimate::median(pieces.collect::<Result<_>>()?).value)
    }
}

/// What is loaded while traffic is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Nothing,
    Leco,
    Original,
}

/// Something that is loaded as long as this lives.
enum Loaded {
    Nothing,
    Leco { _pipe: Reading, _kernel: Kernel },
    Original(Original),
}

impl Side {
    /// Who reads what is announced is not where the traffic is.
    fn load(self) -> Result<Loaded> {
        let _pinned = Pinned::to_others()?;
        Ok(match self {
            Self::Nothing => Loaded::Nothing,
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
            Self::Leco => "LECO",
            Self::Original => "the original's design",
        }
    }
}

/// Nanoseconds per run of each program, less those of empty ones that are attached beside it.
pub(crate) fn measure_programs(report: &mut Report) -> Result<()> {
    report.note(
        "ns per hook: what the kernel counts for a program (`kernel.bpf_stats_enabled`), less what it counts for empty \
         programs that run beside it. What it takes to get to a program is in the throughput alone: plain tracepoints, as \
         in the original's design, take longer.",
    );
    for side in [Side::Leco, Side::Original] {
        for kind in [TCP, UDP, CONNECT] {
            measure_programs_of(side, &kind, report)?;
        }
    }
    Ok(())
}

fn measure_programs_of(side: Side, kind: &Kind, report: &mut Report) -> Result<()> {
    // Others on this machine may have loaded programs of these names.
    let others: Vec<u32> = runs().into_keys().collect();
    // The first at a tracepoint finds what all of them read further away than the last: some before, some after.
    let _before = Empty::attach()?;
    let _loaded = side.load()?;
    let _after = Empty::attach()?;
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
    let empty = spent.iter().filter(|(name, ..)| name.starts_with(EMPTY));
    let (ns, count) = empty.fold((0, 0), |(ns, count), (_, more, runs)| (ns + more, count + runs));
    ensure!(count > 0, "the empty programs did not run");
    let empty = ns as f64 / count as f64;
    let figures = spent.iter().filter(|(name, _, runs)| {
        // What ran less is not what this traffic is about.
        !name.starts_with(EMPTY) && *runs >= CONNECTS as u64
    });
    Ok(figures.map(|(name, ns, runs)| ((*name).clone(), *ns as f64 / *runs as f64 - empty)).collect())
}

/// What names of empty programs begin with.
const EMPTY: &str = "empty_";

/// Programs that do nothing, attached.
struct Empty {
    _links: Vec<Link>,
    _object: Object,
}

impl Empty {
    fn attach() -> Result<Self> {
        let bytes = include_bytes!(concat!(env!("OUT_DIR"), "/empty.bpf.o"));
        let object = ObjectBuilder::default().open_memory(bytes)?.load().context("the empty programs")?;
        let links = object.progs_mut().map(|program| program.attach()).collect::<Result<_, _>>()?;
        Ok(Self { _links: links, _object: object })
    }
}

/// Throughput with LECO and with the original's design loaded, each between two turns with nothing, of the kinds of
/// traffic whose name contains this.
pub(crate) fn measure_throughput(which: &str, report: &mut Report) -> Result<()> {
    let rounds = report.scaled(ROUNDS, 3);
    report.note(&format!(
        "Throughput with something loaded, as a share of that with nothing: {rounds} rounds, in which LECO and the \
         original's design have a turn in changing order. Each is held against the turns with nothing before and after \
         it. A turn's time is that of the median of {PIECES} pieces. Traffic is over loopback and stays on one CPU (the \
         sender of the bulk on another), with one reader of what is announced on the others."
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
    let mut ratios = vec![[Vec::new(), Vec::new()]; kinds.len()];
    let (mut sides, mut before) = ([Side::Leco, Side::Original], turn(Side::Nothing)?);
    for _ in 0..rounds {
        for side in sides {
            let (with, after) = (turn(side)?, turn(Side::Nothing)?);
            for (place, [leco, original]) in ratios.iter_mut().enumerate() {
                let ratios = if side == Side::Leco { leco } else { original };
                ratios.push(f64::midpoint(before[place], after[place]) / with[place]);
            }
            before = after;
        }
        sides.reverse();
    }
    for (kind, [leco, original]) in kinds.iter().zip(ratios) {
        let leco = Estimate::median(leco);
        let figure = format!("{}: throughput left with {}", kind.name, Side::Leco.name());
        report.at_least(&figure, leco, kind.least, "");
        report.limit(&format!("{figure}: spread"), leco.spread().unwrap_or(0.0), SPREAD, "");
        let figure = format!("{}: throughput left with {}", kind.name, Side::Original.name());
        report.tell(&figure, Estimate::median(original), "");
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

fn tcp_ping_pong(round_trips: usize) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut near = TcpStream::connect(listener.local_addr()?)?;
    let (mut far, _) = listener.accept()?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let mut byte = [0];
    for _ in 0..round_trips {
        near.write_all(b"x")?;
        far.read_exact(&mut byte)?;
        far.write_all(b"y")?;
        near.read_exact(&mut byte)?;
    }
    Ok(())
}

pub(crate) fn udp_ping_pong(round_trips: usize) -> Result<()> {
    let [near, far] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0"));
    let (near, far) = (near?, far?);
    let (near_address, far_address) = (near.local_addr()?, far.local_addr()?);
    let mut byte = [0];
    for _ in 0..round_trips {
        near.send_to(b"x", far_address)?;
        far.recv_from(&mut byte)?;
        far.send_to(b"y", near_address)?;
        near.recv_from(&mut byte)?;
    }
    Ok(())
}

fn connects(count: usize) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let mut byte = [0];
    for _ in 0..count {
        let mut near = TcpStream::connect(address)?;
        let (mut far, _) = listener.accept()?;
        near.write_all(b"x")?;
        far.read_exact(&mut byte)?;
    }
    Ok(())
}

fn bulk(writes: usize) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let sender = std::thread::spawn(move || -> Result<()> {
        let _pinned = Pinned::to_others()?;
        let mut near = TcpStream::connect(address)?;
        let bytes = vec![b'x'; BULK_WRITE];
        for _ in 0..writes {
            near.write_all(&bytes)?;
        }
        Ok(())
    });
    let (mut far, _) = listener.accept()?;
    let mut bytes = vec![0; 2 * BULK_WRITE];
    while far.read(&mut bytes)? > 0 {}
    sender.join().map_err(|_| anyhow::anyhow!("the sender failed"))?
}
