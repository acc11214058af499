// SPDX-License-Identifier: GPL-3.0-or-later
//! The real pipe and many readers, good ones and bad ones, and after many connections.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::chown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use leco_core::wire::event::Event;
use leco_e2e::{Kernel, program};
use leco_os::clock::boot_ns;

use crate::process::{Watched, proportional, resident};
use crate::report::Report;
use crate::statistics::{Estimate, percentile};
use crate::traffic::Traffic;
use crate::{ID, unprivileged};

const HEALTHY: usize = 5;
const STALLING: usize = 2;
/// Time in which everybody reads, and in which some do not.
const BEFORE: Duration = Duration::from_secs(15);
const STALL: Duration = Duration::from_secs(30);
/// The pipe writes down what it saw within 5 seconds.
const SETTLES: Duration = Duration::from_secs(7);
/// So many connections, one after another.
const KNOWN: [u64; 4] = [100, 10_000, 100_000, 1_000_000];
/// What may be spent on them.
const AT_MOST: Duration = Duration::from_mins(1);
/// Events of a busy machine.
const EVENTS_PER_SECOND: u64 = 10_000;
/// Connections that live through it all.
const LIVE: usize = 50;
/// An event of a connection that is younger is its first: later ones are held back for an interval on purpose.
const FIRST_EVENT: u64 = 50_000_000;

/// A pipe that serves a socket, as an ordinary user.
pub(crate) struct Served {
    pub(crate) pipe: Watched,
    pub(crate) socket: PathBuf,
    folder: tempfile::TempDir,
    pub(crate) kernel: Kernel,
}

impl Served {
    pub(crate) fn start() -> Result<Self> {
        let kernel = Kernel::load(&["--group", &ID.to_string()]);
        let folder = tempfile::tempdir()?;
        chown(folder.path(), Some(ID), Some(ID))?;
        let binary = folder.path().join("leco-event-pipe");
        std::fs::copy(program("leco-event-pipe"), &binary)?;
        let socket = folder.path().join("socket");
        let mut command = unprivileged(binary);
        command.arg("--pin").arg(kernel.pins()).arg("-o").arg(format!("unix:{}", socket.display()));
        command.env("XDG_STATE_HOME", folder.path().join("state"));
        let pipe = Watched::start(command.stdin(Stdio::null()))?;
        let end = Instant::now() + Duration::from_secs(10);
        while UnixStream::connect(&socket).is_err() {
            ensure!(Instant::now() < end, "the pipe does not serve {}", socket.display());
            thread::sleep(Duration::from_millis(10));
        }
        Ok(Self { pipe, socket, folder, kernel })
    }

    /// A real reader, as the same user.
    fn start_view(&self) -> Result<Watched> {
        let (binary, config) = (self.folder.path().join("leco-tui"), self.folder.path().join("widget.ini"));
        std::fs::copy(program("leco-tui"), &binary)?;
        std::fs::write(&config, "")?;
        let mut command = unprivileged(binary);
        command.arg(config).arg("-d").arg("--source").arg(format!("unix:{}", self.socket.display()));
        Watched::start(command.stdin(Stdio::null()).stdout(Stdio::null()))
    }
}

/// What a reader got.
#[derive(Debug, Default)]
struct Got {
    /// The latest of each connection.
    latest: HashMap<u64, String>,
    /// From the kernel's time stamp to here, in ms, of connections' first events.
    latencies: Vec<f64>,
}

/// A thread that reads, except while it is told not to.
struct SocketReader {
    got: Arc<Mutex<Got>>,
    is_stalled: Arc<AtomicBool>,
    thread: thread::Thread,
}

impl SocketReader {
    fn start(socket: &Path) -> Result<Self> {
        let mut lines = BufReader::new(UnixStream::connect(socket)?);
        let (got, is_stalled) = (Arc::<Mutex<Got>>::default(), Arc::<AtomicBool>::default());
        let (to_fill, stalls) = (Arc::clone(&got), Arc::clone(&is_stalled));
        let spawned = thread::spawn(move || {
            let mut line = Vec::new();
            loop {
                while stalls.load(Ordering::Relaxed) {
                    thread::park();
                }
                line.clear();
                if lines.read_until(b'\n', &mut line).is_ok_and(|count| count > 0)
                    && let Ok(event) = Event::parse(line.trim_ascii_end())
                    && let Ok(mut got) = to_fill.lock()
                {
                    if event.ns_trx - event.ns < FIRST_EVENT {
                        got.latencies.push(boot_ns().saturating_sub(event.ns_trx) as f64 / 1e6);
                    }
                    got.latest.insert(event.ns, event.line);
                } else {
                    return;
                }
            }
        });
        Ok(Self { got, is_stalled, thread: spawned.thread().clone() })
    }

    fn stall(&self, stalls: bool) {
        self.is_stalled.store(stalls, Ordering::Relaxed);
        self.thread.unpark();
    }

    fn take_latencies(&self) -> Vec<f64> {
        self.got.lock().map(|mut got| std::mem::take(&mut got.latencies)).unwrap_or_default()
    }

    fn latest(&self) -> HashMap<u64, String> {
        self.got.lock().map(|got| got.latest.clone()).unwrap_or_default()
    }
}

/// Short connections some time apart, and a little on each of those that live, for so long.
fn make_traffic(live: &mut [(TcpStream, TcpStream)], time: Duration) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let end = Instant::now() + time;
    let mut number = 0;
    while Instant::now() < end {
        let mut near = TcpStream::connect(address)?;
        near.write_all(b"x")?;
        let (far, _) = listener.accept()?;
        rustix::net::sockopt::set_socket_linger(&near, Some(Duration::ZERO))?;
        drop((near, far));
        let count = live.len();
        let (near, far) = &mut live[number % count];
        near.write_all(b"more")?;
        far.read_exact(&mut [0; 4])?;
        number += 1;
        // Not in time with the 10 ms of the kernel side's wakeups.
        thread::sleep(Duration::from_millis(17 + (number * 7 % 13) as u64));
    }
    Ok(())
}

fn median_latency(readers: &[SocketReader]) -> Estimate {
    Estimate::median(readers.iter().flat_map(SocketReader::take_latencies).collect())
}

/// Eight readers, of which two stall for half a minute and one is killed.
fn measure_bad_readers(report: &mut Report) -> Result<()> {
    let served = Served::start()?;
    let healthy = (0..HEALTHY).map(|_| SocketReader::start(&served.socket)).collect::<Result<Vec<_>>>()?;
    let stalling = (0..STALLING).map(|_| SocketReader::start(&served.socket)).collect::<Result<Vec<_>>>()?;
    let killed = served.start_view()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut live = Vec::new();
    for _ in 0..LIVE {
        let near = TcpStream::connect(listener.local_addr()?)?;
        live.push((near, listener.accept()?.0));
    }

    make_traffic(&mut live, report.time(BEFORE))?;
    let before = median_latency(&healthy);
    let memory = resident(served.pipe.id())?;
    for reader in &stalling {
        reader.stall(true);
    }
    let victim = rustix::process::Pid::from_raw(i32::try_from(killed.id())?).context("no process")?;
    rustix::process::kill_process(victim, rustix::process::Signal::KILL)?;
    make_traffic(&mut live, report.time(STALL))?;
    let during = median_latency(&healthy);
    let grown = resident(served.pipe.id())? - memory;
    for reader in &stalling {
        reader.stall(false);
    }
    report.limit(
        "5 of 8 readers, latency while 2 stall and 1 was killed, beside before",
        during.value / before.value,
        1.1,
        "×",
    );
    report.tell("the same before, from the kernel's time stamp", before, "ms");
    report.tell("the same meanwhile", during, "ms");
    report.limit("the pipe's memory after half a minute of that, more by", grown, 4.0, "MB");
    report_last_states(&healthy[0], &stalling, report);
    Ok(())
}

/// Nothing happens any more, so everybody comes to know the same.
fn report_last_states(healthy: &SocketReader, stalled: &[SocketReader], report: &mut Report) {
    let end = Instant::now() + Duration::from_secs(30);
    let wrong = loop {
        let truth = healthy.latest();
        let wrong = stalled.iter().map(|reader| {
            let latest = reader.latest();
            truth.iter().filter(|(ns, line)| latest.get(ns) != Some(line)).count()
        });
        let wrong: usize = wrong.sum();
        if wrong == 0 || Instant::now() > end {
            report.tell("connections that every reader knows", truth.len() as f64, "");
            break wrong;
        }
        thread::sleep(Duration::from_millis(100));
    };
    report.limit("of them, last states that the stalled readers have wrong", wrong as f64, 0.0, "");
}

/// Address `number` of 127.0.0.0/8.
fn loopback(number: u64) -> Ipv4Addr {
    Ipv4Addr::from(0x7f00_0001 + (number % 65_536) as u32 * 3)
}

/// Answers each question with the address that its name holds, as a name server does.
fn serve_names(server: &UdpSocket) {
    let mut packet = [0; 512];
    while let Ok((size, client)) = server.recv_from(&mut packet) {
        let Some(number) =
            packet.get(14..size).and_then(|name| name.split(|byte| !byte.is_ascii_digit()).next())
        else {
            continue;
        };
        let number = std::str::from_utf8(number).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        let mut answer = packet[..size].to_vec();
        // Response, no error; one answer: a pointer to the question's name, A, IN, a minute, four bytes
        // (RFC 1035, 4.1).
        answer[2..4].copy_from_slice(&[0x81, 0x80]);
        answer[6..8].copy_from_slice(&[0, 1]);
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend(loopback(number).octets());
        let _ = server.send_to(&answer, client);
    }
}

/// Asks for `nNUMBER.example.test`.
fn ask_name(client: &UdpSocket, number: u64) -> Result<()> {
    let mut question = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in [format!("n{number}"), "example".into(), "test".into()] {
        question.push(u8::try_from(label.len())?);
        question.extend(label.bytes());
    }
    question.extend([0, 0, 1, 0, 1]);
    client.send(&question)?;
    client.recv(&mut [0; 512])?;
    Ok(())
}

/// Memory after ever more connections, a name asked for before every tenth.
fn measure_many(report: &mut Report) -> Result<()> {
    const THREADS: u64 = 2;
    let served = Served::start()?;
    let lines = Arc::new(AtomicU64::new(0));
    let stream = BufReader::new(UnixStream::connect(&served.socket)?);
    let counted = Arc::clone(&lines);
    thread::spawn(move || {
        for _ in stream.split(b'\n').map_while(Result::ok) {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let names = UdpSocket::bind("127.9.9.9:53")?;
    let names_address = names.local_addr()?;
    thread::spawn(move || serve_names(&names));
    let (mut spent, mut from) = (Duration::ZERO, 0);
    for until in KNOWN.into_iter().take(report.scaled(KNOWN.len(), 2)) {
        // All of them take as long as some did.
        let expected = spent.as_secs_f64() / f64::max(from as f64, 1.0) * until as f64;
        if expected > AT_MOST.as_secs_f64() {
            report.note(&format!(
                "Not measured: memory after {until} connections, which would take more than {} s here.",
                AT_MOST.as_secs()
            ));
            break;
        }
        let start = Instant::now();
        thread::scope(|scope| {
            let workers: Vec<_> = (0..THREADS)
                .map(|thread| scope.spawn(move || connect_many(names_address, from + thread, until)))
                .collect();
            workers.into_iter().try_for_each(|worker| worker.join().ok().context("a thread failed")?)
        })?;
        spent += start.elapsed();
        // What waits is read, and what was seen is written.
        thread::sleep(report.scaled(SETTLES, SETTLES / 5));
        let axes = ("connections", "MB");
        report.point(
            "Memory of the pipe (PSS) after short connections",
            axes,
            "leco-event-pipe",
            until as f64,
            proportional(served.pipe.id())?,
        );
        if until == 1_000_000 {
            report.limit(
                "the pipe after a million connections, resident",
                resident(served.pipe.id())?,
                8.0,
                "MB",
            );
        }
        from = until;
    }
    report.tell("lines read of all short connections", lines.load(Ordering::Relaxed) as f64, "");
    Ok(())
}

/// Every second connection from one number to another.
fn connect_many(names: SocketAddr, from: u64, until: u64) -> Result<()> {
    let listener = TcpListener::bind("0.0.0.0:0")?;
    let port = listener.local_addr()?.port();
    let client = UdpSocket::bind("127.0.0.1:0")?;
    client.connect(names)?;
    for number in (from..until).step_by(2) {
        if number % 20 < 2 {
            ask_name(&client, number)?;
        }
        connect_once(&listener, (loopback(number), port).into())?;
    }
    Ok(())
}

/// Makes a connection, sends a byte and resets it, so that nothing is left of it.
pub(crate) fn connect_once(listener: &TcpListener, address: SocketAddr) -> Result<()> {
    let mut near = TcpStream::connect(address)?;
    near.write_all(b"x")?;
    let (mut far, _) = listener.accept()?;
    far.read_exact(&mut [0])?;
    rustix::net::sockopt::set_socket_linger(&near, Some(Duration::ZERO))?;
    Ok(())
}

/// From before `connect()` until a reader has the connection's line, while little and while much happens.
fn measure_arrival(report: &mut Report) -> Result<()> {
    let served = Served::start()?;
    let marker = Arc::new(Mutex::new(Marker::default()));
    let (seen, lines) = (Arc::clone(&marker), Arc::new(AtomicU64::new(0)));
    let counted = Arc::clone(&lines);
    let (tell, arrived) = std::sync::mpsc::channel();
    let stream = BufReader::new(UnixStream::connect(&served.socket)?);
    thread::spawn(move || {
        for line in stream.lines().map_while(Result::ok) {
            let now = Instant::now();
            counted.fetch_add(1, Ordering::Relaxed);
            if let Ok(mut marker) = seen.lock()
                && marker.0.as_ref().is_some_and(|marker| line.contains(marker))
            {
                marker.0 = None;
                // The measurement may be over.
                let _ = tell.send(now);
            }
        }
    });
    let lines_each = lines_of_a_connection(&lines)?;
    for rate in [0, EVENTS_PER_SECOND] {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let traffic =
            if rate > 0 { Some(start_traffic(listener, rate as f64, lines_each, &lines)?) } else { None };
        let (before, start) = (lines.load(Ordering::Relaxed), Instant::now());
        let mut times = Vec::new();
        for number in 0..report.scaled(300, 30) {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let address = listener.local_addr()?;
            // Not in time with the 10 ms of the kernel side's wakeups.
            thread::sleep(Duration::from_millis(20 + number * 7 % 13));
            if let Ok(mut marker) = marker.lock() {
                marker.0 = Some(format!(" 127.0.0.1 {} ", address.port()));
            }
            let start = Instant::now();
            connect_once(&listener, address)?;
            let seen = arrived.recv_timeout(Duration::from_secs(10)).context("a line never came")?;
            times.push((seen - start).as_secs_f64() * 1000.0);
        }
        let reached = (lines.load(Ordering::Relaxed) - before) as f64 / start.elapsed().as_secs_f64();
        let what =
            if traffic.is_none() { "little else happens".to_owned() } else { format!("at {rate} events/s") };
        if traffic.is_some() {
            report.at_least(&format!("{what}: reached"), reached, rate as f64 * 0.9, "events/s");
        }
        report.tell(
            &format!("connect() to a reader of the pipe, {what}, 99 %"),
            percentile(&mut times, 99),
            "ms",
        );
        report.tell(&format!("connect() to a reader of the pipe, {what}"), Estimate::median(times), "ms");
    }
    Ok(())
}

/// Traffic of which this many lines a second are told: where much happens, several events are told by one.
fn start_traffic(listener: TcpListener, rate: f64, lines_each: f64, lines: &AtomicU64) -> Result<Traffic> {
    let per_second = rate / lines_each;
    let first = Traffic::start(listener.try_clone()?, per_second, None)?;
    let (before, start) = (lines.load(Ordering::Relaxed), Instant::now());
    thread::sleep(Duration::from_secs(2));
    let reached = (lines.load(Ordering::Relaxed) - before) as f64 / start.elapsed().as_secs_f64();
    if reached > 0.95 * rate {
        return Ok(first);
    }
    drop(first);
    Traffic::start(listener, per_second * (rate / reached.max(1.0)).min(3.0), None)
}

/// What the line of the connection that is waited for has in it.
#[derive(Debug, Default)]
struct Marker(Option<String>);

/// How many lines tell of a short connection, at both of its ends.
pub(crate) fn lines_of_a_connection(lines: &AtomicU64) -> Result<f64> {
    const CONNECTIONS: u32 = 200;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let settled = || {
        let mut known = lines.load(Ordering::Relaxed);
        loop {
            thread::sleep(Duration::from_millis(200));
            let now = lines.load(Ordering::Relaxed);
            if now == known {
                return now;
            }
            known = now;
        }
    };
    let before = settled();
    for _ in 0..CONNECTIONS {
        connect_once(&listener, address)?;
        thread::sleep(Duration::from_millis(1));
    }
    let told = settled() - before;
    ensure!(told > 0, "the pipe tells nothing of connections");
    Ok(told as f64 / f64::from(CONNECTIONS))
}

/// What readers are told, and when.
pub(crate) fn measure(report: &mut Report) -> Result<()> {
    measure_arrival(report)?;
    measure_many(report)?;
    measure_bad_readers(report)
}
