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

use crate::report::Report;

const ROUND_TRIPS: u32 = 10_000;
const CONNECTS: u32 = 2_000;
const BULK_BYTES: usize = 1 << 31;
const BULK_WRITE: usize = 64 << 10;
const ROUNDS: usize = 31;
/// Nanoseconds that a send or recv over a known socket may cost, less those of a program that does nothing.
const HOT_NS: f64 = 25.0;
/// How often each kind of traffic is measured; the median counts.
const PROGRAM_ROUNDS: usize = 15;
const STATS_SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// A kind of traffic, and how much of its throughput has to be left with every hook attached.
struct Kind {
    name: &'static str,
    run: fn() -> Result<()>,
    least: f64,
}

const TCP: Kind = Kind { name: "TCP ping-pong", run: tcp_ping_pong, least: 0.97 };
const UDP: Kind = Kind { name: "UDP sendto/recvfrom", run: udp_ping_pong, least: 0.93 };
const CONNECT: Kind = Kind { name: "connect/close", run: connects, least: 0.95 };
const BULK: Kind = Kind { name: "TCP bulk", run: bulk, least: 0.99 };

/// What each program takes, then what that leaves of the throughput.
pub(crate) fn measure(report: &mut Report) -> Result<()> {
    measure_programs(report)?;
    measure_throughput("", report)
}

/// Nanoseconds per run of each program, less those of empty ones that are attached beside it.
pub(crate) fn measure_programs(report: &mut Report) -> Result<()> {
    for kind in [TCP, UDP, CONNECT] {
        // Others on this machine may have loaded programs of these names.
        let others: Vec<u32> = runs().into_keys().collect();
        // The first at a tracepoint finds what all of them read further away than the last: some before, some after.
        let _before = Empty::attach()?;
        let kernel = Kernel::load(&[]);
        let _after = Empty::attach()?;
        let _pipe = Reading::start(&kernel)?;
        let mut figures: BTreeMap<String, Vec<Figure>> = BTreeMap::new();
        for _ in 0..PROGRAM_ROUNDS {
            fs::write(STATS_SWITCH, "1").context(STATS_SWITCH)?;
            let mut before = runs();
            before.retain(|id, _| !others.contains(id));
            let done = (kind.run)();
            let after = runs();
            fs::write(STATS_SWITCH, "0").context(STATS_SWITCH)?;
            done?;
            for (name, figure) in round(&before, &after)? {
                figures.entry(name).or_default().push(figure);
            }
        }
        for (name, mut of_rounds) in figures {
            of_rounds.sort_by(|one, other| one.net.total_cmp(&other.net));
            let Figure { whole, net, runs } = of_rounds[of_rounds.len() / 2];
            let figure = format!("{}: {name}: ns per run, net of an empty program", kind.name);
            if kind.name == TCP.name && name.ends_with("_length") {
                report.limit(&figure, net, HOT_NS, "ns");
                report.tell(
                    &format!("{}: {name}: with the measuring itself", kind.name),
                    &format!("{whole:.0} ({runs} runs)"),
                );
            } else {
                report
                    .tell(&figure, &format!("{net:.0} ({whole:.0} with the measuring itself, {runs} runs)"));
            }
        }
    }
    Ok(())
}

/// What a program took in one round.
#[derive(Debug, Clone, Copy)]
struct Figure {
    whole: f64,
    net: f64,
    runs: u64,
}

/// What each of LECO's programs took between two looks at them.
fn round(before: &BTreeMap<u32, Runs>, after: &BTreeMap<u32, Runs>) -> Result<Vec<(String, Figure)>> {
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
        !name.starts_with(EMPTY) && *runs >= u64::from(CONNECTS)
    });
    let figures = figures.map(|(name, ns, runs)| {
        let whole = *ns as f64 / *runs as f64;
        ((*name).clone(), Figure { whole, net: whole - empty, runs: *runs })
    });
    Ok(figures.collect())
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

/// Throughput with and without the programs, in turn, of the kinds of traffic whose name contains this.
pub(crate) fn measure_throughput(which: &str, report: &mut Report) -> Result<()> {
    for kind in [TCP, UDP, CONNECT, BULK].into_iter().filter(|kind| kind.name.contains(which)) {
        (kind.run)()?;
        let mut ratios = Vec::new();
        for round in 0..ROUNDS {
            let with = || -> Result<f64> {
                let kernel = Kernel::load(&[]);
                let pipe = Reading::start(&kernel)?;
                let seconds = time(kind.run)?;
                drop(pipe);
                Ok(seconds)
            };
            // Neither is always the later one.
            let (without, with) = if round % 2 == 0 {
                (time(kind.run)?, with()?)
            } else {
                let with = with()?;
                (time(kind.run)?, with)
            };
            ratios.push(without / with);
        }
        ratios.sort_by(f64::total_cmp);
        let figure = format!(
            "{}: throughput against nothing loaded, median of {ROUNDS} ({:.3}–{:.3})",
            kind.name,
            ratios[0],
            ratios[ROUNDS - 1]
        );
        report.at_least(&figure, ratios[ROUNDS / 2], kind.least);
    }
    Ok(())
}

/// A pipe that reads what is announced, as there always is one.
struct Reading(Child);

impl Reading {
    fn start(kernel: &Kernel) -> Result<Self> {
        let mut command = Command::new(program("leco-event-pipe"));
        command.arg("--pin").arg(kernel.pins()).stdin(Stdio::null()).stdout(Stdio::null());
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

fn time(traffic: fn() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    traffic()?;
    Ok(start.elapsed().as_secs_f64())
}

fn tcp_ping_pong() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut near = TcpStream::connect(listener.local_addr()?)?;
    let (mut far, _) = listener.accept()?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let mut byte = [0];
    for _ in 0..ROUND_TRIPS {
        near.write_all(b"x")?;
        far.read_exact(&mut byte)?;
        far.write_all(b"y")?;
        near.read_exact(&mut byte)?;
    }
    Ok(())
}

fn udp_ping_pong() -> Result<()> {
    let [near, far] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0"));
    let (near, far) = (near?, far?);
    let (near_address, far_address) = (near.local_addr()?, far.local_addr()?);
    let mut byte = [0];
    for _ in 0..ROUND_TRIPS {
        near.send_to(b"x", far_address)?;
        far.recv_from(&mut byte)?;
        far.send_to(b"y", near_address)?;
        near.recv_from(&mut byte)?;
    }
    Ok(())
}

fn connects() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let mut byte = [0];
    for _ in 0..CONNECTS {
        let mut near = TcpStream::connect(address)?;
        let (mut far, _) = listener.accept()?;
        near.write_all(b"x")?;
        far.read_exact(&mut byte)?;
    }
    Ok(())
}

fn bulk() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let sender = std::thread::spawn(move || -> Result<()> {
        let mut near = TcpStream::connect(address)?;
        let bytes = vec![b'x'; BULK_WRITE];
        for _ in 0..BULK_BYTES / BULK_WRITE {
            near.write_all(&bytes)?;
        }
        Ok(())
    });
    let (mut far, _) = listener.accept()?;
    let mut bytes = vec![0; 2 * BULK_WRITE];
    while far.read(&mut bytes)? > 0 {}
    sender.join().map_err(|_| anyhow::anyhow!("the sender failed"))?
}
