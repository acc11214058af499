//! `leco-tui`: connections in a terminal.

#![deny(clippy::print_stdout, clippy::print_stderr, reason = "they panic: see leco_core::say")]

mod cli;

use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anstream::ColorChoice;
use anyhow::Context;
use clap::Parser;
use leco_core::clock::boot_id;
use leco_core::config::{Config, ConfigError, TerminalColours, TerminalTheme};
use leco_core::overseer::Overseer;
use leco_core::plain::{self, Format};
use leco_core::recording::Recording;
use leco_core::sandbox::Sandbox;
use leco_core::say;
use leco_core::source::SourceSpec;
use leco_tui::app::{self, Options};
use leco_tui::player::Player;
use leco_tui::terminal::assumed_size;
use leco_tui::theme::{ColorDepth, Theme};

use crate::cli::Cli;

/// Terminals answer at once; over a slow line in this time.
const ANSWER_TIME: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            say::err(format_args!("leco-tui: {error:#}"));
            ExitCode::from(if error.is::<ConfigError>() { 2 } else { 1 })
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(!cli.json || cli.once || cli.rx_test.is_some(), "--json needs --once or --rx-test LINE");
    let config = Config::load(cli.config.as_deref())?;
    let stderr = anstream::AutoStream::auto(io::stderr());
    let in_colour = stderr.current_choice() != ColorChoice::Never;
    for diagnostic in &config.diagnostics {
        say::err(diagnostic.render(in_colour));
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
    // Keys come from the terminal, wherever standard input comes from.
    let reads_stdin = sources.iter().chain(&config.settings.run.sources).any(SourceSpec::is_stdin);
    let is_plain = cli.once || debug;
    if !is_plain && (!io::stdout().is_terminal() || !io::stdin().is_terminal() && !reads_stdin) {
        anyhow::bail!("this is no terminal: use --once or --debug for plain lines");
    }
    if sources.is_empty() && cli.replay.is_none() {
        sources = config.settings.run.all_sources()?;
    }
    let config_path = Config::path(cli.config.as_deref());
    let mut overseer = Overseer::on_machine(config, &boot_id());
    let mut sandbox = Sandbox::default().follows(&sources);
    if let Some(path) = &config_path {
        // Rules can be appended to it.
        sandbox = sandbox.reads(path).writes(path);
    }
    if is_plain {
        // Where somebody else confines it, that may be refused: then there is nothing to add.
        let _ = sandbox.enter();
    }
    if cli.once {
        let format = if cli.json { Format::Json } else { Format::Text };
        return Ok(plain::once("leco-tui", &mut overseer, &sources, cli.wait, format, out.lock())?);
    }
    if debug {
        return Ok(plain::debug("leco-tui", &mut overseer, &sources, out.lock())?);
    }
    let play = |path: &Path| Player::open(path, cli.speed).with_context(|| path.display().to_string());
    let player = cli.replay.as_deref().map(play).transpose()?;
    let record = cli.record.as_deref().map(Recording::open).transpose()?;
    if let Some(record) = &record
        && sources.iter().filter_map(SourceSpec::path).any(|source| record.is_at(source))
    {
        anyhow::bail!("cannot record {} to itself: name another file", record.path().display());
    }
    let settings = overseer.settings().tui.clone();
    let variable = |name| std::env::var(name).ok();
    let entry = termini::TermInfo::from_env().ok();
    let assumed_size =
        assumed_size(variable("COLUMNS").as_deref(), variable("LINES").as_deref(), entry.as_ref());
    let depth = match cli.colours.unwrap_or(settings.colours) {
        TerminalColours::Auto => ColorDepth::detect(
            variable("NO_COLOR").as_deref(),
            variable("COLORTERM").as_deref(),
            variable("TERM").as_deref(),
            entry.as_ref(),
        ),
        TerminalColours::None => ColorDepth::None,
        TerminalColours::Sixteen => ColorDepth::Sixteen,
        TerminalColours::Indexed => ColorDepth::Indexed,
        TerminalColours::True => ColorDepth::True,
    };
    let ground = match cli.theme.unwrap_or(settings.theme) {
        TerminalTheme::Auto => background(depth),
        TerminalTheme::Dark => [0; 3],
        TerminalTheme::Light => [255; 3],
    };
    let theme = Theme::new(depth).upon(ground);
    let _ = sandbox.enter();
    app::run(overseer, Options { sources, player, record, config: config_path, theme, assumed_size })
}

/// Asks the terminal for its background (OSC 11), where that makes a difference. One that does not answer is dark.
fn background(depth: ColorDepth) -> [u8; 3] {
    if matches!(depth, ColorDepth::None | ColorDepth::Sixteen) {
        return [0; 3];
    }
    let mut options = terminal_colorsaurus::QueryOptions::default();
    options.timeout = ANSWER_TIME;
    terminal_colorsaurus::background_color(options).map_or([0; 3], |colour| {
        let (red, green, blue) = colour.scale_to_8bit();
        [red, green, blue]
    })
}
