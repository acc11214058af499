// SPDX-License-Identifier: GPL-3.0-or-later
//! Many machines over a real NATS server: one publisher that carries events of simulated hosts, and real subscribers.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use leco_e2e::{NatsServer, Terminal, nats_servers, program};
use leco_os::clock::Now;
use rustix::process::{Pid, Signal, kill_process};

use crate::process::{self, Watched};
use crate::report::Report;
use crate::soak::{self, Sample};
use crate::statistics::percentile;
use crate::{COLUMNS, ROWS};

const HOSTS: u64 = 1000;
/// Of each host.
const CONNECTIONS_PER_SECOND: u64 = 20;
const DURATION: Duration = Duration::from_mins(5);
const QUICK: Duration = Duration::from_secs(15);
/// Of each host, when somebody subscribes.
const KNOWN: u64 = 10;
/// Hosts of a view, and of the run for growth.
const VIEWED: u64 = 50;
const SOAKED: u64 = 100;
/// Connections that are open at a time, of each host: they last a tenth of a second.
const OPEN: u64 = CONNECTIONS_PER_SECOND / 10;
/// What was sent may take so long to arrive.
const DRAIN: Duration = Duration::from_secs(30);
/// Between two writes of the generator.
const TICK: Duration = Duration::from_millis(5);
/// Of so many events one is timed.
const TIMED: u64 = 64;
/// So much of a run caches have to fill.
const WARM_UP: f64 = 0.3;
/// What a part of a relay may take: MB.
const MEMORY: f64 = 32.0;

/// Figures of a fleet, against their limits.
pub(crate) fn measure(report: &mut Report) -> Result<()> {
    let Some(server) = nats_servers().pop() else {
        report.note("There is no nats-server here: script/bootstrap test fetches one.");
        return Ok(());
    };
    report.note(&format!(
        "One publisher carries the events of all simulated hosts, each with {CONNECTIONS_PER_SECOND} connections a second \
         of two events; its source waits when it is too fast. All parts, the server and its store are on this machine."
    ));
    measure_publisher(&server, report)?;
    measure_load(&server, report)?;
    measure_view(&server, report)
}

/// A server with its stream, and a publisher whose only source this is.
struct Fleet {
    publisher: Watched,
    source: UnixStream,
    hosts: u64,
    /// Connections that began.
    begun: u64,
    server: NatsServer,
}

impl Fleet {
    fn start(server: &Path, hosts: u64, max_bytes: &str) -> Result<Self> {
        let server = NatsServer::start(server, "");
        set_up(&server, max_bytes)?;
        let path = server.path("source.sock");
        let listener = UnixListener::bind(&path)?;
        let mut command = relay(&["publish", "--nats", &server.url(), "--host", "none"]);
        let publisher = Watched::start(command.arg("--source").arg(format!("unix:{}", path.display())))?;
        let (source, _) = listener.accept()?;
        let mut fleet = Self { publisher, source, hosts, begun: 0, server };
        let now = Now::read();
        for host in 0..hosts {
            let clock = format!(
                ",\"clock\":{{\"boot\":\"{host:08x}\",\"host\":\"{}\",\"ns\":{},\"wall\":{}}}",
                name(host),
                now.boot,
                now.wall
            );
            fleet.source.write_all(event(host, host + 1, now.boot, "open", &clock).as_bytes())?;
        }
        fleet.begun = hosts;
        Ok(fleet)
    }

    /// Opens the next connections, and closes those that were opened some time ago.
    fn churn(&mut self, count: u64) -> Result<()> {
        let (now, mut text) = (leco_os::clock::boot_ns(), String::new());
        for _ in 0..count {
            let closed = self.begun.saturating_sub(self.hosts * OPEN);
            text += &event(self.begun % self.hosts, self.begun + 1, now, "open", "");
            text += &event(closed % self.hosts, closed + 1, now, "closed", "");
            self.begun += 1;
        }
        Ok(self.source.write_all(text.as_bytes())?)
    }

    /// Does so at the rate of all hosts, for so long; meanwhile something is looked at now and then. Connections and time.
    fn run(&mut self, time: Duration, mut look: impl FnMut(Duration) -> Result<()>) -> Result<(u64, f64)> {
        let (start, begun) = (Instant::now(), self.begun);
        while start.elapsed() < time {
            let passed = u64::try_from(start.elapsed().as_millis())?;
            let due = begun + passed * self.hosts * CONNECTIONS_PER_SECOND / 1000;
            self.churn(due.saturating_sub(self.begun).min(2000))?;
            look(start.elapsed())?;
            if due.saturating_sub(self.begun) < 2000 {
                thread::sleep(TICK);
            }
        }
        Ok((self.begun - begun, start.elapsed().as_secs_f64()))
    }

    fn per_second(&self) -> f64 {
        (self.hosts * CONNECTIONS_PER_SECOND) as f64
    }

    /// Starts a subscriber that serves a socket of this name.
    fn subscribe(&self, name: &str, more: &[&str]) -> Result<(Watched, PathBuf)> {
        let socket = self.server.path(name);
        let mut command = relay(&["subscribe", "--nats", &self.server.url()]);
        command.args(more).arg("--output").arg(format!("unix:{}", socket.display()));
        Ok((Watched::start(&mut command)?, socket))
    }

    /// How long a new subscriber takes to tell of every host, in s.
    fn newcomer(&self, more: &[&str]) -> Result<f64> {
        let start = Instant::now();
        let (_relay, socket) = self.subscribe(&format!("new-{}", self.begun), more)?;
        let mut hosts = HashSet::new();
        let mut lines = BufReader::new(connect(&socket)?);
        lines.get_ref().set_read_timeout(Some(Duration::from_mins(2)))?;
        let mut line = Vec::new();
        while (hosts.len() as u64) < self.hosts {
            line.clear();
            let count = lines.read_until(b'\n', &mut line).context("a subscriber tells of no more hosts")?;
            ensure!(count > 0, "a subscriber ended");
            hosts.insert(text_after(&line, "\"boot\":\"").unwrap_or_default().to_vec());
        }
        Ok(start.elapsed().as_secs_f64())
    }
}

fn name(host: u64) -> String {
    format!("host{host:04}")
}

fn relay(arguments: &[&str]) -> Command {
    let mut command = Command::new(program("leco-relay"));
    command.args(arguments).stdin(Stdio::null()).stderr(Stdio::null());
    command
}

fn set_up(server: &NatsServer, max_bytes: &str) -> Result<()> {
    let mut setup = relay(&["setup", "--nats", &server.url(), "--max-bytes", max_bytes]);
    ensure!(setup.stdout(Stdio::null()).status()?.success(), "leco-relay setup failed");
    Ok(())
}

fn event(host: u64, connection: u64, now: u64, state: &str, more: &str) -> String {
    let unit = ["app-firefox", "cron", "nginx", "sshd"][(connection % 4) as usize];
    format!(
        "{{\"ns\":{connection},\"ns_trx\":{now},\"line\":\"18:32 :: me :: worker [{unit}] :: edge{}.example.org 443 :: \
         v {}K / 26B ^\",\"boot\":\"{host:08x}\",\"dir\":\"out\",\"state\":\"{state}\"{more}}}\n",
        connection % 500,
        connection % 1000,
    )
}

/// Connects as soon as somebody listens.
fn connect(socket: &Path) -> Result<UnixStream> {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() > end => return Err(error).context("a subscriber does not listen"),
            Err(_) => thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// What follows a label, up to a quote or comma.
fn text_after<'l>(line: &'l [u8], label: &str) -> Option<&'l [u8]> {
    let at = line.windows(label.len()).position(|window| window == label.as_bytes())? + label.len();
    line[at..].split(|byte| b"\",}".contains(byte)).next()
}

/// What a reader of a subscriber got.
#[derive(Debug, Default)]
struct Got {
    events: u64,
    closed: u64,
    /// From the source to here, in ms, of some.
    latencies: Vec<f64>,
}

/// Reads a subscriber in a thread of its own.
fn read(socket: &Path) -> Result<Arc<Mutex<Got>>> {
    let (mut lines, got) = (BufReader::new(connect(socket)?), Arc::<Mutex<Got>>::default());
    let to_fill = Arc::clone(&got);
    thread::spawn(move || {
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            let Ok(mut got) = to_fill.lock() else { return };
            got.events += 1;
            // The clock that may stand behind it says no state.
            got.closed += u64::from(text_after(&line, "\"state\":\"") == Some(b"closed"));
            if got.events.is_multiple_of(TIMED)
                && let Some(sent) =
                    text_after(&line, "\"ns_trx\":").and_then(|text| str::from_utf8(text).ok())
                && let Ok(sent) = sent.parse::<u64>()
            {
                got.latencies.push(leco_os::clock::boot_ns().saturating_sub(sent) as f64 / 1e6);
            }
            line.clear();
        }
    });
    Ok(got)
}

fn look<T>(got: &Mutex<Got>, ask: impl FnOnce(&mut Got) -> T) -> Result<T> {
    let mut got = got.lock().map_err(|_| anyhow::anyhow!("the reader failed"))?;
    Ok(ask(&mut got))
}

/// What one publisher takes from a recording, each event acknowledged.
fn measure_publisher(server: &Path, report: &mut Report) -> Result<()> {
    let server = NatsServer::start(server, "");
    set_up(&server, "1G")?;
    let count: u64 = report.scaled(100_000, 20_000);
    let now = Now::read();
    let mut text = String::new();
    for number in 0..count {
        write!(text, "{}", event(number % HOSTS, number + 1, now.boot, "open", ""))?;
    }
    let file = server.path("events");
    std::fs::write(&file, text)?;
    let source = format!("file:{}", file.display());
    let start = Instant::now();
    let status = relay(&["publish", "--nats", &server.url(), "--host", "x", "--source", &source]).status()?;
    ensure!(status.success(), "the publisher failed");
    let rate = count as f64 / start.elapsed().as_secs_f64();
    report.tell("leco-relay publish: events of a recording, each acknowledged", rate, "/s");
    Ok(())
}

/// All hosts at once, while one subscriber is stopped and a reader of the other one does not read.
fn measure_load(server: &Path, report: &mut Report) -> Result<()> {
    let mut fleet = Fleet::start(server, HOSTS, "1G")?;
    let (subscriber, socket) = fleet.subscribe("first.sock", &[])?;
    let got = read(&socket)?;
    // So many connections are known of each, none of which is closed yet.
    for _ in 0..KNOWN {
        fleet.churn(HOSTS)?;
    }
    let known = HOSTS * (KNOWN - OPEN);
    wait_until(|| Ok(look(&got, |got| got.closed)? >= known))?;
    report.limit(
        &format!("a new subscriber tells of {HOSTS} hosts with {KNOWN} connections each"),
        fleet.newcomer(&[])?,
        5.0,
        "s",
    );
    let _idle_reader = connect(&socket)?;
    let (stalled, _) = fleet.subscribe("second.sock", &[])?;
    let time = report.scaled(DURATION, QUICK);
    let (before, closed_before) = look(&got, |got| {
        got.latencies.clear();
        (got.events, got.closed)
    })?;
    let processes = [("publisher", fleet.publisher.id()), ("subscriber", subscriber.id())];
    let (server_id, mut most, mut looked) = (fleet.server.id(), [0.0_f64; 3], Duration::ZERO);
    let cpu = |id: u32| process::on_cpu(id);
    let cpu_before = [cpu(processes[0].1)?, cpu(processes[1].1)?, cpu(server_id)?];
    let mut is_stalled = false;
    let (connections, took) = fleet.run(time, |elapsed| {
        if !is_stalled && elapsed > time / 3 {
            is_stalled = true;
            signal(&stalled, Signal::STOP)?;
        }
        if elapsed > looked {
            looked = elapsed + time / 30;
            let ids = [processes[0].1, processes[1].1, server_id];
            for (most, id) in most.iter_mut().zip(ids) {
                *most = most.max(process::proportional(id)?);
            }
        }
        Ok(())
    })?;
    let arrived = wait_until(|| Ok(look(&got, |got| got.closed)? - closed_before >= connections));
    let cpu_after = [cpu(processes[0].1)?, cpu(processes[1].1)?, cpu(server_id)?];
    signal(&stalled, Signal::CONT)?;
    let (events, closed, mut latencies) = look(&got, |got| {
        (got.events - before, got.closed - closed_before, std::mem::take(&mut got.latencies))
    })?;
    let offered = fleet.per_second();
    report.tell(
        &format!("{HOSTS} hosts: connections a second, of {offered} wanted"),
        connections as f64 / took,
        "/s",
    );
    report.tell(&format!("{HOSTS} hosts: events that a reader gets"), events as f64 / took, "/s");
    let missing = if arrived.is_ok() { 0.0 } else { (connections - closed.min(connections)) as f64 };
    report.limit(&format!("{HOSTS} hosts: connections whose end did not arrive"), missing, 0.0, "");
    report.tell("from the source to a reader, 50 %", percentile(&mut latencies, 50), "ms");
    report.tell("from the source to a reader, 99 %", percentile(&mut latencies, 99), "ms");
    for ((name, _), most) in processes.iter().zip(most) {
        report.limit(&format!("leco-relay, {name}: PSS at most, another one stalled"), most, MEMORY, "MB");
    }
    report.tell("nats-server: PSS at most, a subscriber stalled", most[2], "MB");
    for (at, name) in ["publisher", "subscriber", "nats-server"].into_iter().enumerate() {
        let us = (cpu_after[at] - cpu_before[at]) as f64 / 1000.0 / (connections * 2) as f64;
        report.tell(&format!("{name}: CPU of an event"), us, "µs");
    }
    report.limit(
        &format!("a new subscriber tells of {HOSTS} hosts after that, --since 10s"),
        fleet.newcomer(&["--since", "10s"])?,
        5.0,
        "s",
    );
    fleet.churn(1)?;
    let all = fleet.newcomer(&[])?;
    report.tell(&format!("the same of all that the stream has ({} events)", fleet.begun * 2), all, "s");
    Ok(())
}

fn signal(process: &Watched, signal: Signal) -> Result<()> {
    Ok(kill_process(Pid::from_raw(process.id().cast_signed()).context("no process")?, signal)?)
}

fn wait_until(is_so: impl Fn() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + DRAIN;
    while !is_so()? {
        ensure!(Instant::now() < end, "not all events arrived");
        thread::sleep(TICK);
    }
    Ok(())
}

/// A view of some hosts.
fn measure_view(server: &Path, report: &mut Report) -> Result<()> {
    let mut fleet = Fleet::start(server, VIEWED, "256M")?;
    let (_subscriber, socket) = fleet.subscribe("view.sock", &[])?;
    drop(connect(&socket)?);
    let config = fleet.server.path("widget.ini");
    std::fs::write(&config, "")?;
    let mut command = Command::new(program("leco-tui"));
    command.arg(&config).args(["--theme", "dark", "--source"]).arg(format!("unix:{}", socket.display()));
    command.envs([("TERM", "xterm-256color"), ("COLORTERM", "truecolor")]);
    let mut terminal = Terminal::open(COLUMNS, ROWS)?;
    let view = Watched::start(&mut terminal.attach(command)?)?;
    terminal.wait_for(&name(0)[..6])?;
    let (mut keys, mut pressed) = (Vec::new(), Duration::ZERO);
    fleet.run(report.scaled(Duration::from_secs(30), Duration::from_secs(5)), |elapsed| {
        terminal.drain(Duration::from_millis(1))?;
        if elapsed > pressed + Duration::from_millis(100) {
            pressed = elapsed;
            for (key, shown) in [("?", "redraw"), ("\x1b", "? help")] {
                let start = Instant::now();
                terminal.press(key.as_bytes())?;
                keys.push((terminal.wait_for(shown)? - start).as_secs_f64() * 1000.0);
            }
        }
        Ok(())
    })?;
    report.limit(
        &format!("leco-tui, {VIEWED} hosts: key to screen, 99 %"),
        percentile(&mut keys, 99),
        50.0,
        "ms",
    );
    report.tell(
        &format!("leco-tui, {VIEWED} hosts: key to screen, slowest"),
        percentile(&mut keys, 100),
        "ms",
    );
    report.tell(&format!("leco-tui, {VIEWED} hosts: PSS"), process::proportional(view.id())?, "MB");
    Ok(())
}

/// Whether a publisher or a subscriber grows. The server does not count: its collector gives back when it likes.
pub(crate) fn soak(duration: Duration, report: &mut Report) -> Result<()> {
    let server = nats_servers().pop().context("there is no nats-server")?;
    let mut fleet = Fleet::start(&server, SOAKED, "256M")?;
    let (subscriber, socket) = fleet.subscribe("soak.sock", &[])?;
    let got = read(&socket)?;
    let parts = [("leco-relay publish", fleet.publisher.id()), ("leco-relay subscribe", subscriber.id())];
    let (mut samples, mut next) = ([const { Vec::new() }; 2], duration.mul_f64(WARM_UP));
    fleet.run(duration, |elapsed| {
        if elapsed > next {
            next = elapsed + Duration::from_millis(200);
            for (samples, (_, id)) in samples.iter_mut().zip(parts) {
                samples.push(Sample::of(id)?);
            }
            look(&got, |got| got.latencies.clear())?;
        }
        Ok(())
    })?;
    for ((name, _), samples) in parts.into_iter().zip(samples) {
        soak::tell_growth_of(name, &samples, report)?;
    }
    Ok(())
}
