//! What the terminal view costs.

use std::io::Write;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use leco_core::clock::boot_ns;
use leco_e2e::program;

use crate::process::{self, Watched};
use crate::report::Report;
use crate::terminal::Terminal;
use crate::{COLUMNS, ROWS};

const MEASURED: Duration = Duration::from_secs(60);
const LINES: u64 = 20;
/// Between two events.
const EVENT_INTERVAL: Duration = Duration::from_millis(500);
const BURST: Duration = Duration::from_secs(10);
const BURST_EVENTS_PER_SECOND: u32 = 5000;
const KNOWN: u64 = 10_000;

/// A view whose only source the benchmark is.
struct View {
    terminal: Terminal,
    process: Watched,
    socket: std::os::unix::net::UnixStream,
    _folder: tempfile::TempDir,
}

impl View {
    fn start(config: &str) -> Result<Self> {
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
        let mut terminal = Terminal::open(COLUMNS, ROWS)?;
        let process = terminal.start(command)?;
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

    fn send_usual(&mut self, number: u64, traffic: u64) -> Result<()> {
        let line = format!(
            "18:32 :: me :: firefox [app-firefox] :: example{number}.org 443 :: v {traffic}K / 26B ^"
        );
        self.send(number, &line)
    }
}

fn share(before: u64, after: u64, elapsed: Duration) -> f64 {
    (after - before) as f64 / elapsed.as_nanos() as f64 * 100.0
}

/// Figures of the view, against their limits.
pub(crate) fn measure(report: &mut Report) -> Result<()> {
    measure_fading(report)?;
    measure_silence(report)?;
    measure_burst(report)?;
    measure_known(report)
}

fn measure_fading(report: &mut Report) -> Result<()> {
    let mut view = View::start("")?;
    for number in 0..LINES {
        view.send_usual(number, number)?;
    }
    view.terminal.drain(Duration::from_secs(2))?;
    let (before, start) = (process::on_cpu(view.process.id())?, Instant::now());
    let mut number = 0;
    while start.elapsed() < MEASURED {
        view.send_usual(number % LINES, number)?;
        number += 1;
        view.terminal.drain(EVENT_INTERVAL)?;
    }
    let share = share(before, process::on_cpu(view.process.id())?, start.elapsed());
    report.limit("leco-tui: CPU of 60 s, 20 lines fading, 2 events/s", share, 0.3, "%");
    Ok(())
}

fn measure_silence(report: &mut Report) -> Result<()> {
    let mut view = View::start("[text]\nline-fade-time = 1\n")?;
    for number in 0..LINES {
        view.send_usual(number, number)?;
    }
    // Rates are shown to fall for as long as a history is.
    view.terminal.drain(Duration::from_secs(45))?;
    let before = process::sleeps(view.process.id())?;
    view.terminal.drain(MEASURED)?;
    let woken = process::sleeps(view.process.id())? - before;
    report.limit("leco-tui: wakeups in 60 s of silence", woken as f64, 0.0, "");
    Ok(())
}

fn measure_burst(report: &mut Report) -> Result<()> {
    let mut view = View::start("")?;
    let (before, start) = (process::on_cpu(view.process.id())?, Instant::now());
    let (mut number, mut keys) = (0_u32, Vec::new());
    while start.elapsed() < BURST {
        let due = start.elapsed().as_secs_f64() * f64::from(BURST_EVENTS_PER_SECOND);
        while f64::from(number) < due {
            view.send_usual(u64::from(number) % 1000, u64::from(number))?;
            number += 1;
        }
        view.terminal.drain(Duration::from_millis(5))?;
        if number % 2000 < 50 {
            let pressed = Instant::now();
            view.terminal.press(b"?")?;
            keys.push((view.terminal.wait_for("draw anew")? - pressed).as_secs_f64() * 1000.0);
            view.terminal.press(b"\x1b")?;
            view.terminal.wait_for("q quit   ? help")?;
        }
    }
    let share = share(before, process::on_cpu(view.process.id())?, start.elapsed());
    report.limit("leco-tui: CPU at 5,000 events/s", share, 20.0, "%");
    keys.sort_by(f64::total_cmp);
    let slowest = keys.last().copied().context("no key was pressed")?;
    report.limit(&format!("the same: slowest answer to {} keys", keys.len()), slowest, 50.0, "ms");
    Ok(())
}

fn measure_known(report: &mut Report) -> Result<()> {
    let mut view = View::start(&format!("[run]\nconn-list-cache = {KNOWN}\n"))?;
    for number in 0..KNOWN {
        view.send_usual(number, number % 1000)?;
        if number % 100 == 0 {
            view.terminal.drain(Duration::from_millis(2))?;
        }
    }
    view.terminal.drain(Duration::from_secs(2))?;
    let resident = process::resident(view.process.id())?;
    report.limit("leco-tui: resident, 10,000 connections known", resident, 8.0, "MB");
    Ok(())
}
