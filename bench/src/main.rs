// SPDX-License-Identifier: GPL-3.0-or-later
//! Measures LECO as a whole on this machine's kernel and holds the figures against their limits.
//!
//! `leco-bench` prints a line per figure and ends with 1 if a limit was missed; `leco-bench model` measures the model
//! alone, `leco-bench overlay` the overlay, `leco-bench pipe` the pipe, `leco-bench tui` the terminal view,
//! `leco-bench notify` what tells of connections,
//! `leco-bench cost` what the kernel side costs others (`leco-bench cost UDP` that kind of traffic alone),
//! `leco-bench programs` how long its programs run, `leco-bench soak 30m` (and a seed) whether anything grows meanwhile.
//! `LECO_TEST_HOOKS=peer=off` chooses hooks. Needs root; its traffic goes over loopback. Figures are of one run on one
//! machine: compare within a run, not between machines.

mod cost;
mod history;
mod latency;
mod model;
mod notify;
mod overlay;
mod process;
mod receivers;
mod report;
mod soak;
mod throughput;
mod tui;

use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};
use leco_e2e::{Kernel, Terminal, program};

use crate::process::Watched;
use crate::report::Report;

/// A group and user without a name on any machine.
const ID: u32 = 54321;
const COLUMNS: u16 = 120;
const ROWS: u16 = 40;

fn main() -> ExitCode {
    match run() {
        Ok(report) if report.missed() => ExitCode::FAILURE,
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("leco-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<Report> {
    ensure!(rustix::process::geteuid().is_root(), "loading eBPF programs needs root");
    let mut report = Report::default();
    let (part, kind) = (std::env::args().nth(1), std::env::args().nth(2));
    match part.as_deref() {
        Some("overlay") => overlay::measure(&mut report)?,
        Some("model") => model::measure(&mut report)?,
        Some("pipe") => {
            throughput::measure(&mut report)?;
            receivers::measure(&mut report)?;
        }
        Some("together") => measure_together(&mut report)?,
        Some("history") => history::measure(&mut report)?,
        Some("tui") => tui::measure(&mut report)?,
        Some("notify") => notify::measure(&mut report)?,
        Some("soak") => {
            let duration = leco_core::text::parse_duration(kind.as_deref().unwrap_or("5m"))?;
            let seed = std::env::args().nth(3).map(|seed| seed.parse()).transpose()?;
            soak::measure(duration, seed, &mut report)?;
        }
        Some("programs") => cost::measure_programs(&mut report)?,
        Some("cost") => match kind {
            Some(kind) => cost::measure_throughput(&kind, &mut report)?,
            None => cost::measure(&mut report)?,
        },
        _ => measure_all(&mut report)?,
    }
    Ok(report)
}

fn measure_all(report: &mut Report) -> Result<()> {
    model::measure(report)?;
    throughput::measure(report)?;
    measure_together(report)?;
    receivers::measure(report)?;
    history::measure(report)?;
    tui::measure(report)?;
    notify::measure(report)?;
    overlay::measure(report)?;
    cost::measure(report)
}

/// Pipe and terminal view as a person has them, each without privileges.
fn measure_together(report: &mut Report) -> Result<()> {
    let kernel = Kernel::load(&["--group", &ID.to_string()]);
    let folder = tempfile::tempdir()?;
    std::os::unix::fs::chown(folder.path(), Some(ID), Some(ID))?;
    for name in ["leco-event-pipe", "leco-tui"] {
        std::fs::copy(program(name), folder.path().join(name)).with_context(|| name.to_owned())?;
    }
    // Lines are gone at once, so that nothing changes on screen while nothing happens.
    let config = folder.path().join("widget.ini");
    std::fs::write(&config, "[text]\nline-fade-time = 1\n")?;
    let fifo = folder.path().join("fifo");
    let mut pipe = unprivileged(folder.path().join("leco-event-pipe"));
    pipe.arg("--pin").arg(kernel.pins()).arg("--fifo").arg(&fifo);
    let pipe = Watched::start(pipe.stdin(Stdio::null()))?;
    let mut view = unprivileged(folder.path().join("leco-tui"));
    view.arg(&config).arg("--fifo").arg(&fifo).env("TERM", "xterm-256color");
    let mut terminal = Terminal::open(COLUMNS, ROWS)?;
    let view = Watched::start(&mut terminal.attach(view)?)?;
    terminal.wait_for("no connections yet")?;

    latency::measure(&mut terminal, report)?;
    process::measure_idle(&[("leco-event-pipe", &pipe), ("leco-tui", &view)], report)?;
    process::measure_memory(&[("leco-event-pipe", &pipe), ("leco-tui", &view)], report)
}

fn unprivileged(program: std::path::PathBuf) -> Command {
    let mut command = Command::new("setpriv");
    let id = ID.to_string();
    command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--no-new-privs", "--"]).arg(program);
    command
}
