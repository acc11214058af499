// SPDX-License-Identifier: GPL-3.0-or-later
//! What becomes of costs where there is more of everything.

use std::hint::black_box;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use leco_core::config::Config;
use leco_core::model::overseer::Overseer;
use leco_e2e::program;
use leco_os::say;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::cpus::Pinned;
use crate::loopback::udp_ping_pong;
use crate::model::{self, LINE, median_us};
use crate::process;
use crate::receivers::Served;
use crate::report::Report;
use crate::statistics::Estimate;
use crate::throughput;
use crate::tui;

const LIVE: [usize; 5] = [10, 1000, 10_000, 30_000, 100_000];
const RULES: [usize; 5] = [1, 10, 50, 100, 500];
const RECEIVERS: [usize; 4] = [1, 4, 16, 64];
const LINES: [u16; 5] = [1, 20, 50, 100, 200];
/// Sockets of one process: the limit of open files may be below what is measured.
const PER_PROCESS: usize = 10_000;
const ROUND_TRIPS: usize = 5000;

/// Everything, from what is in the kernel to what is on the screen.
pub(crate) fn measure_live(report: &mut Report) -> Result<()> {
    let most = LIVE[report.scaled(LIVE.len(), 3) - 1];
    report.note("Live connections are UDP sockets that are connected and have sent a byte.");
    let served = Served::start()?;
    let stream = BufReader::new(UnixStream::connect(&served.socket)?);
    thread::spawn(move || stream.split(b'\n').map_while(Result::ok).for_each(drop));
    let sink = UdpSocket::bind("127.0.0.1:0")?;
    let (mut live, mut made) = (Vec::new(), 0);
    for count in LIVE.into_iter().filter(|count| *count <= most) {
        while made < count {
            let more = PER_PROCESS.min(count - made);
            live.push(Holder::start(more, &sink.local_addr()?.to_string())?);
            made += more;
        }
        wait_until_told(&served, count)?;
        let times = (0..report.scaled(15, 3)).map(|_| -> Result<f64> {
            let _pinned = Pinned::to_last()?;
            let start = Instant::now();
            udp_ping_pong(ROUND_TRIPS, &mut || ())?;
            Ok(start.elapsed().as_secs_f64() * 1e6 / ROUND_TRIPS as f64)
        });
        let trip = Estimate::median(times.collect::<Result<Vec<_>>>()?);
        let x = count as f64;
        let axes = |unit| ("live connections", unit);
        report.point("A round trip beside live connections", axes("µs"), "UDP over loopback", x, trip.value);
        let memory = process::proportional(served.pipe.id())?;
        report.point("Memory beside live connections", axes("PSS in MB"), "leco-event-pipe", x, memory);
        let start = Instant::now();
        let listed = list(&served)?;
        ensure!(listed >= count, "{listed} of {count} live connections are listed");
        let ms = start.elapsed().as_secs_f64() * 1000.0;
        report.point("Listing live connections", axes("ms"), "leco-event-pipe -C", x, ms);
    }
    Ok(())
}

/// What is held back an update interval is told, too, and nothing happens any more.
fn wait_until_told(served: &Served, count: usize) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(60);
    let mut before = process::on_cpu(served.pipe.id())?;
    loop {
        thread::sleep(Duration::from_millis(500));
        let now = process::on_cpu(served.pipe.id())?;
        // Less than 2 %: at most what others on this machine do.
        if now - before < 10_000_000 {
            return Ok(());
        }
        ensure!(Instant::now() < end, "the pipe is still busy with {count} connections");
        before = now;
    }
}

/// How many lines a pipe has that only looks.
fn list(served: &Served) -> Result<usize> {
    let mut command = Command::new(program("leco-event-pipe"));
    command.arg("--pin").arg(served.kernel.pins()).arg("-C").env("LECO_MEMORY", "off");
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "{command:?}: {}", output.status);
    Ok(output.stdout.lines().count())
}

/// A process that holds sockets.
struct Holder(Child);

impl Holder {
    fn start(count: usize, peer: &str) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["hold", &count.to_string(), peer]);
        let mut this = Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
        let mut line = String::new();
        BufReader::new(this.0.stdout.take().context("no output")?).read_line(&mut line)?;
        ensure!(line.starts_with("ready"), "{count} sockets cannot be held");
        Ok(this)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Holds so many sockets that are connected with a peer, until standard input ends.
pub(crate) fn hold(count: usize, peer: &str) -> Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).context("the limit of open files")?;
    // An address of its own, whose ports are enough.
    let address = Ipv4Addr::from(0x7f10_0000 + (std::process::id() & 0xf_ffff));
    let sockets = (0..count).map(|_| -> Result<UdpSocket> {
        let socket = UdpSocket::bind((address, 0))?;
        socket.connect(peer)?;
        socket.send(b"x")?;
        Ok(socket)
    });
    let _sockets = sockets.collect::<Result<Vec<_>>>()?;
    say::out("ready");
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}

/// Rules on a line, and lines in a frame.
pub(crate) fn measure_model(report: &mut Report) -> Result<()> {
    for count in RULES {
        let mut rules = model::config(&model::rules(count - 1))?.rules;
        let time = median_us(500, || drop(black_box(rules.apply(black_box(LINE)))));
        report.point("Rules on a line", ("rules", "µs"), "leco-core", count as f64, time.value);
    }
    for count in LINES {
        let mut overseer = Overseer::new(Config::default());
        let now = 1_000_000_000_u64;
        let places = usize::from(count);
        overseer.frame(now, places);
        for ns in 0..count {
            let event = format!("{{\"ns\":{ns},\"ns_trx\":{now},\"line\":\"{LINE}\"}}");
            overseer.receive(event.as_bytes(), now);
        }
        let time = median_us(500, || {
            black_box(overseer.frame(now, places));
        });
        report.point(
            "Lines on the screen",
            ("lines", "µs a frame"),
            "leco-core",
            f64::from(count),
            time.value,
        );
    }
    Ok(())
}

/// What each event costs the pipe where more receivers are told of it.
pub(crate) fn measure_receivers(report: &mut Report) -> Result<()> {
    for count in RECEIVERS {
        let us = throughput::cpu_of_receivers(count, report.scaled(100_000, 10_000))?;
        report.point(
            "Receivers of each event",
            ("receivers", "µs of CPU"),
            "leco-event-pipe",
            count as f64,
            us,
        );
    }
    Ok(())
}

/// What a view costs whose screen is full.
pub(crate) fn measure_screen(report: &mut Report) -> Result<()> {
    for count in LINES {
        let share = tui::cpu_of_lines(count, report.scaled(Duration::from_secs(5), Duration::from_secs(1)))?;
        report.point(
            "Lines that fade, 2 events/s",
            ("lines", "% of one CPU"),
            "leco-tui",
            f64::from(count),
            share,
        );
    }
    Ok(())
}
