// SPDX-License-Identifier: GPL-3.0-or-later
//! What the terminal view costs.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use leco_e2e::{FAR_V4, Kernel, Netns, Terminal, program};
use leco_os::clock::boot_ns;

use crate::latency;
use crate::machine;
use crate::process::{self, Watched};
use crate::report::Report;
use crate::{COLUMNS, ROWS};

const MEASURED: Duration = Duration::from_secs(30);
const LINES: u64 = 20;
/// Between two events.
const EVENT_INTERVAL: Duration = Duration::from_millis(500);
const BURST: Duration = Duration::from_secs(10);
const BURST_EVENTS_PER_SECOND: u32 = 5000;
pub(crate) const KNOWN: u64 = 10_000;

/// A view whose only source the benchmark is.
struct View {
    terminal: Terminal,
    process: Watched,
    socket: std::os::unix::net::UnixStream,
    _folder: tempfile::TempDir,
}

impl View {
    fn start(config: &str) -> Result<Self> {
        Self::start_with(config, ROWS)
    }

    fn start_with(config: &str, rows: u16) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("widget.ini");
        std::fs::write(&path, config)?;
        let listener = UnixListener::bind(folder.path().join("socket"))?;
        let mut command = Command::new(program("leco-tui"));
        command
            .arg(&path)
            .args(["--theme", "dark"])
            .env("TERM", "xterm-256color")
            .env("COLORTERM", "truecolor");
        command.arg("--source").arg(format!("unix:{}", folder.path().join("socket").display()));
        let mut terminal = Terminal::open(COLUMNS, rows)?;
        let process = Watched::start(&mut terminal.attach(command)?)?;
        let (socket, _) = listener.accept()?;
        terminal.wait_for("no connections yet")?;
        Ok(Self { terminal, process, socket, _folder: folder })
    }

    /// An event of a connection, of which the pipe tells all fields.
    fn send(&mut self, number: u64, line: &str) -> Result<()> {
        let now = boot_ns();
        let event = serde_json::json!({
            "ns": number + 1, "ns_trx": now, "line": line, "dir": "out", "state": "open",
        });
        // At once, as the pipe writes.
        Ok(self.socket.write_all(format!("{event}\n").as_bytes())?)
    }

    /// The same as the pipe writes it with `-E`, of which each is another peer's.
    fn send_details(&mut self, number: u64) -> Result<()> {
        let event = detailed_event(number, boot_ns());
        Ok(self.socket.write_all(format!("{event}\n").as_bytes())?)
    }

    fn send_usual(&mut self, number: u64, traffic: u64) -> Result<()> {
        let line = format!(
            "18:32 :: me :: firefox [app-firefox] :: example{number}.org 443 :: v {traffic}K / 26B ^"
        );
        self.send(number, &line)
    }
}

/// An event of one of many connections, as the pipe writes it with `-E`: some 1,000 bytes.
pub(crate) fn detailed_event(number: u64, now: u64) -> serde_json::Value {
    /// Spreads numbers, so that they are of the lengths that such numbers have.
    fn spread(number: u64, below: u64) -> u64 {
        (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 17) % below
    }
    let programs = [
        ("firefox", "app-firefox"),
        ("ssh", "tmux-spawn-822f3728"),
        ("apt", "apt-daily"),
        ("nginx", "nginx"),
    ];
    let (program, unit) = programs[(number % 4) as usize];
    let (rx, tx) = (spread(number, 5_000_000), spread(number + 1, 90_000));
    let name = format!("edge{}.example{}.org", spread(number, 99_999), number % 50);
    let ns = now - (KNOWN - number.min(KNOWN)) * 1_000_000;
    let line = format!(
        "18:{:02} :: me :: {program} [{unit}] :: {name} 443 :: v {}.{}K / {tx}B ^",
        number / 200 % 60,
        rx / 1024,
        rx % 10
    );
    let cg = format!(
        "/user.slice/user-1000.slice/user@1000.service/app.slice/app-org.example.{unit}-3921.scope/payload/\
         instances-of-a-template-with-a-long-name.slice"
    );
    serde_json::json!({
        "ns": ns, "ns_trx": ns + spread(number + 2, 900_000), "line": line, "boot": "0f1e2d3c", "dir": "out",
        "state": if number.is_multiple_of(3) { "open" } else { "closed" }, "v": 1,
        "key": format!("0f1e2d3c-{ns}"), "host": "workstation", "proto": "tcp", "pid": 1000 + spread(number, 60_000),
        "uid": 1000, "user": "me", "comm": program, "comm_now": format!("{program}-worker"),
        "script": "deploy-everything-that-was-built-to-production.py", "parents": ["bash", "tmux: server", "systemd", "systemd"],
        "cg": cg,
        "unit": format!("{unit}.scope"), "container": "podman:registry.example.org-development-environment",
        "laddr": "2001:db8:7f00:1200:a8b1:33ff:fe41:90ac", "lport": 32_768 + spread(number, 28_000),
        "raddr": format!("2001:db8:{:x}:{:x}::{:x}", spread(number, 65_536), spread(number + 1, 65_536), number % 999),
        "rport": 443, "name": name, "name_src": "hello", "alpn": "h2", "asn": 64_496 + number % 9,
        "as_org": "An Operator of Networks With a Long Name, Inc.", "rx": rx, "tx": tx,
    })
}

fn share(before: u64, after: u64, elapsed: Duration) -> f64 {
    (after - before) as f64 / elapsed.as_nanos() as f64 * 100.0
}

/// Figures of the view, against their limits.
pub(crate) fn measure(report: &mut Report) -> Result<()> {
    measure_fading(report)?;
    measure_silence(report)?;
    measure_burst(report)?;
    measure_in_burst(report)?;
    measure_known(report)?;
    measure_yardsticks(report)
}

/// CPU in percent of a view with so many lines that fade and are updated in turn.
pub(crate) fn cpu_of_lines(lines: u16, time: Duration) -> Result<f64> {
    // Bars above and below the lines.
    let mut view = View::start_with("", ROWS.max(lines + 5))?;
    let lines = u64::from(lines);
    for number in 0..lines {
        view.send_usual(number, number)?;
    }
    view.terminal.drain(Duration::from_secs(2))?;
    let (before, start) = (process::on_cpu(view.process.id())?, Instant::now());
    let mut number = 0;
    while start.elapsed() < time {
        view.send_usual(number % lines, number)?;
        number += 1;
        view.terminal.drain(EVENT_INTERVAL)?;
    }
    Ok(share(before, process::on_cpu(view.process.id())?, start.elapsed()))
}

fn measure_fading(report: &mut Report) -> Result<()> {
    let share = cpu_of_lines(20, report.time(MEASURED))?;
    report.limit("leco-tui: CPU, 20 lines fading, 2 events/s", share, 0.2, "%");
    Ok(())
}

fn measure_silence(report: &mut Report) -> Result<()> {
    if report.is_quick() {
        report.note(
            "Wakeups of leco-tui in silence are not measured in a quick run: silence begins after 45 s.",
        );
        return Ok(());
    }
    let mut view = View::start("[text]\nline-fade-time = 1\n")?;
    for number in 0..LINES {
        view.send_usual(number, number)?;
    }
    // Rates are shown to fall for as long as a history is.
    view.terminal.drain(Duration::from_secs(45))?;
    let before = process::sleeps(view.process.id())?;
    view.terminal.drain(MEASURED)?;
    let woken = process::sleeps(view.process.id())? - before;
    report.limit("leco-tui: wakeups in 30 s of silence", woken as f64, 0.0, "");
    Ok(())
}

fn measure_burst(report: &mut Report) -> Result<()> {
    let mut view = View::start("")?;
    let (before, start) = (process::on_cpu(view.process.id())?, Instant::now());
    let (mut number, mut keys) = (0_u32, Vec::new());
    while start.elapsed() < report.scaled(BURST, BURST / 5) {
        let due = start.elapsed().as_secs_f64() * f64::from(BURST_EVENTS_PER_SECOND);
        while f64::from(number) < due {
            view.send_usual(u64::from(number) % 1000, u64::from(number))?;
            number += 1;
        }
        view.terminal.drain(Duration::from_millis(5))?;
        if number % 2000 < 50 {
            let pressed = Instant::now();
            view.terminal.press(b"?")?;
            keys.push((view.terminal.wait_for("redraw")? - pressed).as_secs_f64() * 1000.0);
            view.terminal.press(b"\x1b")?;
            view.terminal.wait_for("listeners   ? help")?;
        }
    }
    let share = share(before, process::on_cpu(view.process.id())?, start.elapsed());
    report.limit("leco-tui: CPU at 5,000 events/s", share, 8.0, "%");
    keys.sort_by(f64::total_cmp);
    let slowest = keys.last().copied().context("no key was pressed")?;
    report.limit("leco-tui: slowest answer to a key at 5,000 events/s", slowest, 50.0, "ms");
    Ok(())
}

/// How long an event among many takes to the screen.
fn measure_in_burst(report: &mut Report) -> Result<()> {
    let mut view = View::start("")?;
    let (start, mut number, mut times) = (Instant::now(), 0_u64, Vec::new());
    for marked in 0..report.scaled(200, 20) {
        let until = Instant::now() + Duration::from_millis(40 + marked * 7 % 23);
        while Instant::now() < until {
            let due = start.elapsed().as_secs_f64() * f64::from(BURST_EVENTS_PER_SECOND);
            while (number as f64) < due {
                view.send_usual(1 + number % LINES, number)?;
                number += 1;
            }
            view.terminal.drain(Duration::from_millis(1))?;
        }
        let told = 100_000 + marked;
        let sent = Instant::now();
        view.send_usual(0, told)?;
        times.push((view.terminal.wait_for(&format!("{told}K"))? - sent).as_secs_f64() * 1000.0);
    }
    latency::tell("event to the screen of leco-tui, at 5,000 events/s", times, 20.0, report);
    Ok(())
}

fn measure_known(report: &mut Report) -> Result<()> {
    for (what, with_details) in [("", false), (" with -E", true)] {
        let mut view = View::start("")?;
        for number in 0..KNOWN {
            if with_details {
                view.send_details(number)?;
            } else {
                view.send_usual(number, number % 1000)?;
            }
            if number % 100 == 0 {
                view.terminal.drain(Duration::from_millis(2))?;
            }
        }
        view.terminal.drain(Duration::from_secs(2))?;
        let memory = process::proportional(view.process.id())?;
        report.limit(&format!("leco-tui: PSS, 10,000 connections known{what}"), memory, 8.0, "MB");
    }
    Ok(())
}

/// Processes that name themselves, make one connection, and are gone, some a second, beside a stream.
const SHORT_LIVES: &str = r#"
import os, socket, sys, threading, time
address = (sys.argv[1], int(sys.argv[2]))
def stream():
    peer = socket.socket()
    peer.connect(address)
    while True:
        peer.sendall(bytes(200000))
        time.sleep(0.02)
threading.Thread(target=stream, daemon=True).start()
longest, pids = 0, []
for number in range(int(sys.argv[3])):
    start = time.monotonic()
    pid = os.fork()
    if not pid:
        with open("/proc/self/comm", "w") as comm:
            comm.write("short-%d" % number)
        peer = socket.socket()
        peer.connect(address)
        peer.send(b"hello")
        os._exit(0)
    os.waitpid(pid, 0)
    pids.append(str(pid))
    lived = time.monotonic() - start
    longest = max(longest, lived)
    time.sleep(max(0, 0.1 - lived))
print(longest * 1000, *pids)
"#;
const SHORT: usize = 500;

/// A program that captures packets and looks for sockets in /proc, where it writes what it finds.
struct Yardstick {
    name: &'static str,
    process: Watched,
    output: PathBuf,
}

impl Yardstick {
    fn start(name: &'static str, program: OsString, arguments: &[&str], at: &Seen) -> Result<Self> {
        let output = at.folder.path().join(name);
        let mut command = at.netns.near_command(program);
        command.args(arguments).stdin(Stdio::null()).stdout(File::create(&output)?).stderr(Stdio::null());
        Ok(Self { name, process: Watched::start(&mut command)?, output })
    }

    /// How many of the processes it listed.
    fn count(&self, pids: &[&str]) -> Result<usize> {
        let output = std::fs::read(&self.output)?;
        let output = String::from_utf8_lossy(&output);
        // One tells processes by their own names, the other by their numbers.
        let is_seen = |(number, pid): &(usize, &&str)| {
            output.contains(&format!("\"short-{number}\"")) || output.contains(&format!("/{pid}/"))
        };
        Ok(pids.iter().enumerate().filter(is_seen).count())
    }
}

/// LECO beside a network of two ends, and what all of them write.
struct Seen {
    pipe: Watched,
    view: Watched,
    terminal: Terminal,
    netns: Netns,
    folder: tempfile::TempDir,
    _kernel: Kernel,
}

impl Seen {
    fn start() -> Result<Self> {
        let kernel = Kernel::load(&[]);
        let folder = tempfile::tempdir()?;
        let socket = format!("unix:{}", folder.path().join("socket").display());
        let mut pipe = Command::new(program("leco-event-pipe"));
        pipe.arg("--pin").arg(kernel.pins()).arg("-o").arg(&socket);
        let pipe = Watched::start(pipe.env("LECO_MEMORY", "off"))?;
        let config = folder.path().join("widget.ini");
        std::fs::write(&config, "[tui]\nlines-kept = 5000\n")?;
        let mut terminal = Terminal::open(COLUMNS, ROWS)?;
        let mut view = Command::new(program("leco-tui"));
        view.arg(config).args(["--theme", "dark", "--source"]).arg(socket);
        let view = Watched::start(&mut terminal.attach(view)?)?;
        terminal.wait_for("reading")?;
        Ok(Self { pipe, view, terminal, netns: Netns::new(), folder, _kernel: kernel })
    }

    /// Lets the processes live, each with its connection: the longest life in ms, and their numbers.
    fn make_traffic(&mut self, address: SocketAddr, count: usize) -> Result<(f64, String)> {
        let mut traffic = self.netns.near_command("python3");
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        traffic.args(["-c", SHORT_LIVES, &ip, &port, &count.to_string()]);
        let mut traffic = traffic.stdout(Stdio::piped()).spawn()?;
        while traffic.try_wait()?.is_none() {
            self.terminal.drain(Duration::from_millis(100))?;
        }
        let mut told = String::new();
        traffic.stdout.take().context("no output")?.read_to_string(&mut told)?;
        let (longest, pids) = told.trim().split_once(' ').context("no processes")?;
        Ok((longest.parse()?, pids.to_owned()))
    }

    /// CPU time so far, in ns: LECO's, and that of each of the others.
    fn on_cpu(&self, others: &[Yardstick]) -> Result<Vec<u64>> {
        let leco = process::on_cpu(self.pipe.id())? + process::on_cpu(self.view.id())?;
        let others = others.iter().map(|other| process::on_cpu(other.process.id()));
        std::iter::once(Ok(leco)).chain(others).collect()
    }
}

/// Reads what comes, and says nothing.
fn swallow(listener: TcpListener) {
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || std::io::copy(&mut stream, &mut std::io::sink()));
        }
    });
}

/// The same traffic seen by LECO and by programs that capture packets and look for sockets in /proc.
fn measure_yardsticks(report: &mut Report) -> Result<()> {
    let (bandwhich, short) = (machine::yardstick("bandwhich"), report.scaled(SHORT, SHORT / 10));
    if !bandwhich.exists() || Command::new("nethogs").arg("-V").output().is_err() {
        report.note("bandwhich or nethogs is not here: script/bench installs them.");
        return Ok(());
    }
    let mut seen = Seen::start()?;
    let others = [
        Yardstick::start("bandwhich", bandwhich.into(), &["--raw", "-n", "-i", "wire"], &seen)?,
        Yardstick::start("nethogs", "nethogs".into(), &["-t", "-d", "1", "wire"], &seen)?,
    ];
    let listener = seen.netns.at_far_end(|| TcpListener::bind((FAR_V4, 0)))?;
    let address = listener.local_addr()?;
    swallow(listener);
    seen.terminal.drain(Duration::from_secs(2))?;
    let (before, start) = (seen.on_cpu(&others)?, Instant::now());
    let (longest, pids) = seen.make_traffic(address, short)?;
    let (after, elapsed) = (seen.on_cpu(&others)?, start.elapsed());
    report.tell(&format!("{short} processes with a connection each, longest life"), longest, "ms");
    seen.terminal.drain(Duration::from_secs(4))?;
    seen.terminal.press(b"f/:: short-[0-9]+ /")?;
    let listed = seen.terminal.wait_for(&format!("   {short} of ")).is_ok();
    report.limit("of them, not listed with their process by leco-tui", f64::from(u8::from(!listed)), 0.0, "");
    let shares: Vec<f64> =
        before.iter().zip(&after).map(|(before, after)| share(*before, *after, elapsed)).collect();
    report.tell("LECO (pipe and view): CPU meanwhile", shares[0], "%");
    let pids: Vec<&str> = pids.split(' ').collect();
    for (other, share) in others.iter().zip(&shares[1..]) {
        let (name, count) = (other.name, other.count(&pids)?);
        report.tell(&format!("of them, listed by {name}"), count as f64, "");
        report.tell(&format!("{name}: CPU meanwhile"), *share, "%");
        report.limit(&format!("LECO's CPU beside {name}'s"), shares[0] / share, 1.0, "×");
    }
    Ok(())
}
