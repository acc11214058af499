//! `leco-tui`: connections in a terminal.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use leco_core::config::{Config, ConfigError};
use leco_core::overseer::Overseer;
use leco_core::text::parse_duration;
use leco_tui::theme::{ColorDepth, Theme};
use leco_tui::{app, plain};

/// Shows network connections as lines that appear, are updated, and fade.
///
/// Events come through a fifo from leco-event-pipe; rules in the config rename, hide and group lines.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// Settings and rules [default: leco/widget.ini in the config folder, if there is one]
    config: Option<PathBuf>,
    /// Read events from this fifo [default: leco.fifo in the runtime folder]
    #[arg(short, long, value_name = "PATH")]
    fifo: Option<PathBuf>,
    /// Show what the rules make of a line, and exit
    #[arg(short, long, value_name = "LINE")]
    rx_test: Option<String>,
    /// Print raw events and what became of them, as plain lines
    #[arg(short, long)]
    debug: bool,
    /// Print the lines now known, and exit
    #[arg(long)]
    once: bool,
    /// With --once: wait at most so long for them
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = parse_duration)]
    wait: Duration,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("leco-tui: {error:#}");
            ExitCode::from(if error.is::<ConfigError>() { 2 } else { 1 })
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    let config = Config::load(cli.config.as_deref())?;
    for warning in &config.warnings {
        eprintln!("{warning}");
    }
    let out = io::stdout();
    if let Some(line) = &cli.rx_test {
        return plain::explain(&config, line, out.lock());
    }
    let debug = cli.debug || config.settings.debug;
    let fifo = cli.fifo.clone().unwrap_or_else(|| config.settings.fifo.clone());
    let mut overseer = Overseer::new(config);
    if cli.once {
        return plain::once(&mut overseer, &fifo, cli.wait, out.lock());
    }
    if debug {
        return plain::debug(&mut overseer, &fifo, out.lock());
    }
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        anyhow::bail!("this is no terminal: use --once or --debug for plain lines");
    }
    let variable = |name| std::env::var(name).ok();
    let depth = ColorDepth::detect(
        variable("NO_COLOR").as_deref(),
        variable("COLORTERM").as_deref(),
        variable("TERM").as_deref(),
    );
    app::run(&mut overseer, fifo, Theme { depth })
}
