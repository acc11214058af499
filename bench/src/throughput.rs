// SPDX-License-Identifier: GPL-3.0-or-later
//! What the pipe can say in a second, and how it bears readers that do not listen.

use std::collections::HashMap;
use std::hint::black_box;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use jiff::tz::TimeZone;
use leco_bpf::read::record::{CONN_SIZE, Conn};
use leco_cli::tunables::Tunables;
use leco_pipe::clock::Now;
use leco_pipe::enrich::labeler::Labeler;
use leco_pipe::history::Memory;
use leco_pipe::outputs::{OutputSpec, Outputs};
use leco_pipe::render::line::{Formatter, Machine};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::time::{ClockId, clock_gettime};

use crate::report::Report;
use crate::statistics::Estimate;

const CONNECTIONS: u64 = 4096;
const EVENTS: u64 = 1_000_000;
const ROUNDS: usize = 9;

/// A record as the kernel side writes it (`struct conn` of leco.h): of one of 64 processes to one of 256 networks.
fn record(number: u64, now: u64) -> [u8; CONN_SIZE] {
    let id = number % CONNECTIONS;
    let mut bytes = [0; CONN_SIZE];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, &(number * 100).to_ne_bytes());
    put(8, &(number * 10).to_ne_bytes());
    put(16, &(now - id).to_ne_bytes());
    put(24, &(now + number).to_ne_bytes());
    put(56, &[192, 0, 2, 7]);
    put(72, &[198, 51]);
    put(74, &u16::try_from(id).unwrap_or(0).to_be_bytes());
    put(88, &(1_000_000 + (id % 64) as u32).to_ne_bytes());
    put(92, &1000_u32.to_ne_bytes());
    put(96, &40_000_u16.to_ne_bytes());
    put(98, &443_u16.to_ne_bytes());
    put(100, &6_u16.to_ne_bytes());
    put(102, &[2]);
    put(104, format!("worker-{}", id % 64).as_bytes());
    bytes
}

/// Everything between the ring and the receivers.
struct WarmPath {
    labeler: Labeler,
    memory: Memory,
    formatter: Formatter,
    outputs: Outputs,
    now: Now,
}

impl WarmPath {
    fn new(output: &str) -> Result<Self> {
        let tunables = Tunables::default();
        let spec = OutputSpec::parse(output)?;
        let (now, machine) = (Now::read(), Machine::this());
        let mut outputs = Outputs::open(&[spec], 8192, &mut HashMap::new())?;
        outputs.tell_clock(&now, &machine);
        Ok(Self {
            labeler: Labeler::new(&tunables, leco_bpf::load::cgroup2::root())?,
            memory: Memory::default(),
            formatter: Formatter::new(tunables, TimeZone::system(), machine),
            outputs,
            now,
        })
    }

    fn event(&mut self, record: &[u8]) -> Result<()> {
        let conn = Conn::decode(record).context("the record is not as the kernel side writes it")?;
        let mut labels = self.labeler.labels(&conn, self.now.boot);
        labels.is_new = self.memory.see(&conn, &labels, &self.now);
        let event = self.formatter.event(&conn, &labels, &self.now);
        self.outputs.push(conn.ns, event.line, &Rc::from(event.json), conn.is_open(), self.now.boot);
        Ok(())
    }

    /// One turn of the loop: writes what the reader takes, and waits for it where it takes not everything.
    /// Whether everything was written.
    fn turn(&mut self) -> Result<bool> {
        self.outputs.flush()?;
        let is_flushed = self.outputs.is_flushed();
        let ready: Vec<PollFlags> = {
            let mut fds: Vec<_> = self
                .outputs
                .poll()
                .into_iter()
                .map(|(fd, wish)| PollFd::from_borrowed_fd(fd, wish))
                .collect();
            let timeout = Timespec { tv_sec: (!is_flushed).into(), tv_nsec: 0 };
            poll(&mut fds, Some(&timeout))?;
            fds.iter().map(PollFd::revents).collect()
        };
        self.outputs.look(&ready, self.now.boot);
        Ok(is_flushed)
    }
}

/// Events a second on one core, and into a socket.
pub(crate) fn measure(report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("socket");
    let mut path = WarmPath::new(&format!("unix:{}", socket.display()))?;
    let reader = UnixStream::connect(&socket)?;
    path.turn()?;
    ensure!(path.outputs.has_reader(), "the reader was not taken");
    measure_warm_path(&mut path, report)?;
    drop(reader);
    path.turn()?;
    let reader = UnixStream::connect(&socket)?;
    path.turn()?;
    measure_socket(path, reader, report)
}

fn measure_warm_path(path: &mut WarmPath, report: &mut Report) -> Result<()> {
    let records: Vec<_> = (0..CONNECTIONS).map(|number| record(number, path.now.boot)).collect();
    let (mut rates, events) = (Vec::new(), report.scaled(EVENTS, EVENTS / 10));
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for number in 0..events {
            path.event(black_box(&records[(number % CONNECTIONS) as usize]))?;
        }
        rates.push(events as f64 / start.elapsed().as_secs_f64() / 1e6);
    }
    report.at_least("from record to queue", Estimate::median(rates), 1.0, "million events/s");
    Ok(())
}

/// CPU in µs that an event takes from its record into so many sockets, all of which are read.
pub(crate) fn cpu_of_receivers(count: usize, events: u64) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("socket");
    let mut path = WarmPath::new(&format!("unix:{}", socket.display()))?;
    for _ in 0..count {
        let mut reader = UnixStream::connect(&socket)?;
        path.turn()?;
        std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    }
    let cpu = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
    };
    let (before, now) = (cpu(), path.now.boot);
    for number in 0..events {
        path.event(&record(number, now))?;
        if number % 256 == 255 {
            while !path.turn()? {}
        }
    }
    while !path.turn()? {}
    Ok((cpu() - before) / events as f64)
}

fn measure_socket(mut path: WarmPath, reader: UnixStream, report: &mut Report) -> Result<()> {
    let counter = std::thread::spawn(move || {
        let mut reader = BufReader::with_capacity(256 << 10, reader);
        let mut lines = 0_u64;
        loop {
            let bytes = reader.fill_buf().unwrap_or_default();
            if bytes.is_empty() {
                return lines;
            }
            lines += bytes.lines().count() as u64;
            let count = bytes.len();
            reader.consume(count);
        }
    });
    let (start, events) = (Instant::now(), report.scaled(EVENTS, EVENTS / 10));
    let now = path.now.boot;
    for number in 0..events {
        path.event(&record(number, now))?;
        // As much as a busy ring brings at once; then everything is written, so that nothing is told once for twice.
        if number % 256 == 255 {
            while !path.turn()? {}
        }
    }
    while !path.turn()? {}
    drop(path);
    let lines = counter.join().ok().context("the reader failed")?;
    let rate = events as f64 / start.elapsed().as_secs_f64();
    // Where the reader's buffer ends within a line, that line counts twice.
    ensure!(lines >= events, "{lines} of {events} events arrived");
    report.at_least("into a unix socket", rate / 1e3, 200.0, "thousand events/s");
    Ok(())
}
