// SPDX-License-Identifier: GPL-3.0-or-later
//! What it costs to remember a busy month, and how long it takes to ask for it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use leco_bpf::read::record::{Conn, Direction, State, Tcp};
use leco_e2e::program;
use leco_pipe::clock::Now;
use leco_pipe::enrich::labels::{Labels, NameSource, PeerName, Who};
use leco_pipe::history::{Limits, Memory, Saved};
use rustix::time::{ClockId, clock_gettime};

use crate::report::Report;

const DAYS: u64 = 30;
const CONNECTIONS: u64 = 10_000_000;
const PAIRS: u64 = 200_000;
const PROGRAMS: u64 = 400;
const LIMITS: Limits = Limits { days: 30, bytes: 64 << 20 };
/// Between two writes of a pipe.
const WRITE_INTERVAL: u64 = 5;
const SECOND: u64 = 1_000_000_000;
const BOOT: &str = "0f1e2d3c";
/// Connections of a busy machine.
const PER_SECOND: u64 = 500;

/// Figures of the history, against their limits.
pub(crate) fn measure(report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("seen.sqlite");
    write_month(&path, report)?;
    let bytes = path.metadata()?.len();
    let figure = format!("history: file of 30 days, {} connections, 200,000 pairs", connections(report));
    report.limit(&figure, megabytes(bytes), 64.0, "MiB");
    ask(&path, report)
}

/// What it costs while many connections are made.
pub(crate) fn measure_busy(report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    measure_cpu(&folder.path().join("busy.sqlite"), report)
}

fn connections(report: &Report) -> u64 {
    report.scaled(CONNECTIONS, CONNECTIONS / 100)
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Numbers that look like chance, and are the same each time (`SplitMix64`).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of the pairs: the n-th comes about 1/n times as often as the first.
    fn pair(&mut self) -> u64 {
        loop {
            // As many of each power of two.
            let first = 1 << (self.next() % u64::from(PAIRS.ilog2() + 1));
            let pair = first - 1 + self.next() % first;
            if pair < PAIRS {
                return pair;
            }
        }
    }
}

fn connection(number: u64, pair: u64, at: u64) -> (Conn, Labels) {
    let conn = Conn {
        ns: at,
        ns_trx: at,
        rx: number % 90_000,
        tx: number % 3_000,
        cgroup: 0,
        started: 0,
        socket: number,
        local: [10, 0, 0, 1].into(),
        remote: [192, 0, 2, 1].into(),
        pid: 1000,
        uid: u32::try_from(1000 + pair % 3).unwrap_or(1000),
        local_port: 40_000,
        remote_port: 443,
        protocol: 6,
        is_packet: false,
        direction: Direction::Outgoing,
        state: if number.is_multiple_of(50) { State::Refused } else { State::Open },
        comm: [0; 16],
        exec: 0,
        tcp: Tcp::default(),
        iface: [0; 16],
    };
    let program = pair % PROGRAMS;
    let who = Who {
        comm: format!("program-{program}").into(),
        cgroup: Some(format!("app-program-{program}").into()),
        ..Who::nobody()
    };
    let text = format!("edge{pair}.cdn.example{}.org", pair % 50).into();
    let labels = Labels {
        who: Rc::new(who),
        name: Some(PeerName { text, source: NameSource::Dns }),
        proxied: None,
        alpn: None,
        system: None,
        country: None,
        is_new: false,
        comm_now: None,
    };
    (conn, labels)
}

fn saved() -> Saved {
    Saved { totals: Some(LIMITS), ..Saved::default() }
}

/// A month through the writer, as a pipe writes it, which ends now. It writes as often as many connections make it, not
/// every five seconds.
fn write_month(path: &Path, report: &mut Report) -> Result<()> {
    let (end, connections) = (Timestamp::now().as_second(), connections(report));
    let month = DAYS * 24 * 3600;
    // In memory: how fast the disk of this machine is has nothing to do with it, and it would be most of the time.
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())?;
    let written = folder.path().join("seen.sqlite");
    let mut memory = Memory::open(&written, BOOT, &saved())?.0;
    let mut chance = Chance(7);
    let start = Instant::now();
    let at_once = 20_000;
    for number in 0..connections {
        let second = number * month / connections;
        let boot = second * SECOND + number % SECOND;
        let wall = Timestamp::from_second(end - i64::try_from(month - second)?)?;
        let (conn, labels) = connection(number, chance.pair(), boot);
        let now = Now { boot, wall };
        memory.see(&conn, &labels, &now);
        memory.count(&conn, &labels, &now);
        if number % at_once == at_once - 1 {
            memory.flush();
        }
    }
    memory.finish();
    ensure!(!written.with_extension("sqlite-wal").exists(), "the history was not closed");
    std::fs::copy(&written, path)?;
    report.tell("history: written in", start.elapsed().as_secs_f64(), "s");
    Ok(())
}

/// Every kind of question, each by a process of its own that finds nothing of the file in memory.
fn ask(path: &Path, report: &mut Report) -> Result<()> {
    let mut slowest = 0.0_f64;
    for since in report.scaled(&["24h", "7d", "30d"][..], &["30d"][..]) {
        for by in ["program", "unit", "user", "peer", "port", "hour", "day"] {
            for filter in [&[][..], &["--filter", "edge77"]] {
                drop_cache(path)?;
                let mut command = Command::new(program("leco-event-pipe"));
                command.args(["--history", "--since", since, "--by", by]).args(filter);
                command.env("LECO_MEMORY", path).stdout(Stdio::null()).stderr(Stdio::inherit());
                let start = Instant::now();
                ensure!(command.status()?.success(), "{command:?}");
                let ms = start.elapsed().as_secs_f64() * 1000.0;
                slowest = slowest.max(ms);
                let filtered = if filter.is_empty() { "" } else { ", filtered" };
                report.tell(&format!("history: {since} by {by}{filtered}, cold"), ms, "ms");
            }
        }
    }
    report.limit("history: slowest question, cold", slowest, 300.0, "ms");
    Ok(())
}

/// Lets go of what of the file is in memory.
fn drop_cache(path: &Path) -> Result<()> {
    let file = std::fs::File::open(path)?;
    file.sync_all()?;
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).context("posix_fadvise")
}

fn cpu() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Ten minutes of a busy machine, written every five seconds, in CPU of this process by the time that it stands for.
fn measure_cpu(path: &Path, report: &mut Report) -> Result<()> {
    let mut memory = Memory::open(path, BOOT, &saved())?.0;
    let mut chance = Chance(11);
    let seconds = 600;
    let begin = Timestamp::now().as_second();
    let events: Vec<_> = (0..seconds * PER_SECOND)
        .map(|number| (connection(number, chance.pair(), number * SECOND / PER_SECOND + number), number))
        .collect();
    let before = cpu();
    for ((conn, labels), number) in &events {
        let second = number / PER_SECOND;
        let now = Now { boot: conn.ns, wall: Timestamp::from_second(begin + i64::try_from(second)?)? };
        memory.see(conn, labels, &now);
        memory.count(conn, labels, &now);
        if number % (PER_SECOND * WRITE_INTERVAL) == PER_SECOND * WRITE_INTERVAL - 1 {
            memory.flush();
        }
    }
    memory.finish();
    let share = (cpu() - before) / seconds as f64 * 100.0;
    report.limit("history: CPU at 500 connections/s", share, 3.0, "%");
    Ok(())
}
