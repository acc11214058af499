//! `leco-tui`: connections in a terminal.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anstream::ColorChoice;
use clap::Parser;
use leco_core::config::{Config, ConfigError};
use leco_core::overseer::Overseer;
use leco_core::plain;
use leco_core::source::SourceSpec;
use leco_core::text::parse_duration;
use leco_tui::app;
use leco_tui::theme::{ColorDepth, Theme};

/// Shows network connections as lines that appear, are updated, and fade.
///
/// Events come through a fifo from leco-event-pipe; rules in the config rename, hide and group lines.
#[derive(Parser)]
#[allow(clippy::struct_excessive_bools)]
#[command(version)]
struct Cli {
    /// Settings and rules [default: leco/widget.ini in the config folder, if there is one]
    config: Option<PathBuf>,
    /// Read events from here: fifo:PATH, unix:PATH, tcp:HOST:PORT, udp:ADDRESS:PORT, `file:PATH` or `-`; may be
    /// given several times [default: leco.fifo in the runtime folder]
    #[arg(short, long, value_name = "SOURCE", value_parser = SourceSpec::parse)]
    source: Vec<SourceSpec>,
    /// The same as --source fifo:PATH
    #[arg(short, long, value_name = "PATH")]
    fifo: Option<PathBuf>,
    /// Show what the rules make of a line, and exit
    #[arg(short, long, value_name = "LINE")]
    rx_test: Option<String>,
    /// With --rx-test: as JSON, for scripts
    #[arg(long, requires = "rx_test")]
    json: bool,
    /// Show everything in the config that cannot be used, and exit: 1 if there is anything
    #[arg(long)]
    check_config: bool,
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
        Ok(code) => code,
        Err(error) => {
            eprintln!("leco-tui: {error:#}");
            ExitCode::from(if error.is::<ConfigError>() { 2 } else { 1 })
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let config = Config::load(cli.config.as_deref())?;
    let stderr = anstream::AutoStream::auto(io::stderr());
    let in_colour = stderr.current_choice() != ColorChoice::Never;
    for diagnostic in &config.diagnostics {
        eprintln!("{}", diagnostic.render(in_colour));
    }
    if cli.check_config {
        return Ok(if config.diagnostics.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    show(cli, config)?;
    Ok(ExitCode::SUCCESS)
}

fn show(cli: &Cli, config: Config) -> anyhow::Result<()> {
    let out = io::stdout();
    if let Some(line) = &cli.rx_test {
        return Ok(if cli.json {
            plain::explain_as_json(&config, line, out.lock())
        } else {
            plain::explain(&config, line, anstream::AutoStream::auto(out).lock())
        }?);
    }
    let debug = cli.debug || config.settings.run.debug;
    let given = cli.source.iter().cloned().chain(cli.fifo.as_deref().map(SourceSpec::fifo));
    let mut sources: Vec<_> = given.collect();
    if sources.is_empty() {
        sources = config.settings.run.all_sources();
    }
    let config_path = Config::path(cli.config.as_deref());
    let mut overseer = Overseer::new(config);
    if cli.once {
        return Ok(plain::once(&mut overseer, &sources, cli.wait, out.lock())?);
    }
    if debug {
        return Ok(plain::debug("leco-tui", &mut overseer, &sources, out.lock())?);
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
    app::run(&mut overseer, sources, config_path, Theme::new(depth))
}
