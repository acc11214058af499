// SPDX-License-Identifier: GPL-3.0-or-later
//! Measures LECO as a whole on this machine's kernel and holds the figures against their limits.
//!
//! `leco-bench [--quick] [--json FILE] [PART…]` prints a line per figure and ends with 1 if a limit was missed. Parts are
//! `programs` (how long the kernel side's programs run), `cost` (what they leave of throughput; `cost=UDP` for that kind of
//! traffic alone), `pipe`, `receivers`, `together`, `tui`, `overlay`, `notify`, `views` (beside other programs), `model`,
//! `scaling`, `history` and `fleet` (many machines over a NATS server); without any, all of them. `--quick` scales durations down, for rough figures; `--json` also writes
//! the figures to a file, of which `leco-bench render FILE DOCUMENT` makes Markdown with plots. `leco-bench soak 30m` (and a seed) tells whether
//! anything grows meanwhile, `leco-bench soak-fleet 30m` the same of relays of 100 hosts. `LECO_TEST_HOOKS=peer=off`
//! chooses hooks. Needs root; its traffic goes over loopback and through network namespaces. Figures are of one run on
//! one machine: compare within a run, not between machines.

mod cost;
mod cpus;
mod empty;
mod fleet;
mod history;
mod latency;
mod loopback;
mod machine;
mod model;
mod notify;
mod original;
mod overlay;
mod process;
mod receivers;
mod render;
mod report;
mod scaling;
mod soak;
mod statistics;
mod svg;
mod throughput;
mod traffic;
mod tui;
mod views;

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};
use leco_core::text::parse_duration;
use leco_e2e::{Kernel, Terminal, program};
use leco_os::say;

use crate::process::Watched;
use crate::report::{Report, Results};

/// A group and user without a name on any machine.
const ID: u32 = 54321;
const COLUMNS: u16 = 120;
const ROWS: u16 = 40;

/// Measures a part.
type Measure = fn(&mut Report) -> Result<()>;

/// Chapter, part, and what measures it, in the report's order. What needs a quiet machine most comes first.
const PARTS: [(&str, &str, Measure); 17] = [
    ("Kernel", "cost", |report| cost::measure_throughput("", report)),
    ("Kernel", "programs", cost::measure_programs),
    ("Pipe", "pipe", throughput::measure),
    ("Pipe", "receivers", receivers::measure),
    ("Views", "together", measure_together),
    ("Views", "views", views::measure),
    ("Views", "tui", tui::measure),
    ("Views", "overlay", overlay::measure),
    ("Views", "notify", notify::measure),
    ("Model", "model", model::measure),
    ("Scaling", "scaling: live connections", scaling::measure_live),
    ("Scaling", "scaling: model", scaling::measure_model),
    ("Scaling", "scaling: receivers", scaling::measure_receivers),
    ("Scaling", "scaling: screen", scaling::measure_screen),
    ("History", "history", history::measure),
    ("History", "history: CPU", history::measure_busy),
    ("Many machines", "fleet", fleet::measure),
];

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say::err(format_args!("leco-bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Whether every limit was kept.
fn run() -> Result<bool> {
    let (mut quick, mut json, mut chosen) = (false, None, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "render" => {
                let (Some(json), Some(document)) = (arguments.next(), arguments.next()) else {
                    bail!("use leco-bench render FIGURES.json DOCUMENT.md");
                };
                render::write(Path::new(&json), Path::new(&document))?;
                return Ok(true);
            }
            "soak" | "soak-fleet" => {
                let duration = parse_duration(&arguments.next().unwrap_or_else(|| "5m".into()))?;
                let seed = arguments.next().map(|seed| seed.parse()).transpose()?;
                let mut report = Report::new(false);
                report.part("Soak", &argument, |report| match argument.as_str() {
                    "soak" => soak::measure(duration, seed, report),
                    _ => fleet::soak(duration, report),
                });
                return Ok(!report.results().missed());
            }
            // What this program starts of itself.
            "hold" => {
                let (count, peer) = (arguments.next(), arguments.next());
                scaling::hold(count.context("how many?")?.parse()?, &peer.context("with whom?")?)?;
                return Ok(true);
            }
            "--quick" => quick = true,
            "--json" => json = Some(arguments.next().context("--json needs a file")?),
            _ => chosen.push(argument),
        }
    }
    ensure!(rustix::process::geteuid().is_root(), "loading eBPF programs needs root");
    let mut report = Report::new(quick);
    for part in &chosen {
        let known = PARTS.iter().any(|(_, name, _)| is_of(name, part)) || part.starts_with("cost=");
        ensure!(known, "there is no part {part}");
    }
    if let Some(kind) = chosen.iter().find_map(|part| part.strip_prefix("cost=")) {
        report.part("Kernel", "cost", |report| cost::measure_throughput(kind, report));
    }
    for (chapter, name, measure) in PARTS {
        if chosen.is_empty() || chosen.iter().any(|part| is_of(name, part)) {
            report.part(chapter, name, measure);
            // A run that is interrupted keeps the figures measured so far.
            save(report.results(), json.as_deref())?;
        }
    }
    save(report.results(), json.as_deref())?;
    Ok(!report.results().missed())
}

fn save(results: &Results, json: Option<&str>) -> Result<()> {
    let Some(json) = json else { return Ok(()) };
    std::fs::write(json, serde_json::to_string_pretty(results)? + "\n").with_context(|| json.to_owned())
}

/// Whether a part has this name, or its name begins with it.
fn is_of(name: &str, part: &str) -> bool {
    name.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
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
