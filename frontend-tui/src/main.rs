// SPDX-License-Identifier: GPL-3.0-or-later
//! `leco-tui`: connections in a terminal.

#![deny(clippy::print_stdout, clippy::print_stderr, reason = "they panic: see leco_os::say")]

mod cli;

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anstream::ColorChoice;
use anyhow::Context;
use clap::Parser;
use leco_core::batch;
use leco_core::batch::{Format, PlainError};
use leco_core::config::{Config, ConfigError, TerminalColours, TerminalTheme};
use leco_core::model::overseer::Overseer;
use leco_core::source::recording::Recording;
use leco_core::source::{SourceSpec, with_sources};
use leco_os::causes::causes;
use leco_os::clock::boot_id;
use leco_os::sandbox::Sandbox;
use leco_os::{environment, say, start};
use leco_tui::app::{self, Options};
use leco_tui::player::{Lost, Player};
use leco_tui::terminal::assumed_size;
use leco_tui::ui::theme::{ColorDepth, Theme};

use crate::cli::Cli;

/// Terminals answer at once; over a slow line in this time.
const ANSWER_TIME: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    start::outlive_file_size_limit();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(said) => {
            let code = u8::try_from(said.exit_code()).unwrap_or(2);
            return say::instead_of_running("leco-tui", said.use_stderr(), code, || said.print());
        }
    };
    match run(&cli) {
        Ok(code) => code,
        Err(error) => {
            say::err(format_args!("leco-tui: {}", causes(&*error)));
            ExitCode::from(if error.is::<ConfigError>() { 2 } else { 1 })
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    for notice in environment::ignored(&["XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "HOME"]) {
        say::err(format_args!("leco-tui: {notice}"));
    }
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
    let debug = cli.debug || config.settings.run.debug;
    let is_plain = cli.once || debug;
    if is_plain || cli.rx_test.is_some() {
        start::has_stdout().map_err(PlainError::Write)?;
    }
    let out = io::stdout();
    if let Some(line) = &cli.rx_test {
        return Ok(if cli.json {
            batch::explain_as_json(&config, line, out.lock())
        } else {
            batch::explain(&config, line, anstream::AutoStream::auto(out).lock())
        }?);
    }
    let given = cli.source.iter().cloned().chain(cli.fifo.as_deref().map(SourceSpec::fifo));
    let named: Vec<_> = given.collect();
    // Keys come from the terminal, wherever standard input comes from.
    let reads_stdin = named.iter().chain(&config.settings.run.sources).any(SourceSpec::is_stdin);
    if !is_plain && (!io::stdout().is_terminal() || !io::stdin().is_terminal() && !reads_stdin) {
        anyhow::bail!("not a terminal: use --once or --debug for plain lines");
    }
    let sources = match &cli.replay {
        Some(_) => Vec::new(),
        None if named.is_empty() => config.settings.run.all_sources()?,
        None => named.clone(),
    };
    let config_path = Config::path(cli.config.as_deref());
    let mut overseer = Overseer::on_machine(config, &boot_id());
    overseer.set_filter(cli.filter.clone());
    let format = if cli.json { Format::Json } else { Format::Text };
    // What the config asks for comes after what the command line does.
    let debug = debug && !cli.once;
    let of_the_view = [
        ("--record", cli.record.is_some()),
        ("--theme", cli.theme.is_some()),
        ("--colours", cli.colours.is_some()),
        ("--speed", cli.speed.is_some()),
    ];
    if let Some((option, _)) = of_the_view.iter().find(|(_, is_given)| debug && *is_given) {
        anyhow::bail!("{option} is for the view, and the config says debug = yes in [run]: set it to no");
    }
    let mut sandbox = with_sources(Sandbox::default(), &sources);
    if let Some(path) = &config_path {
        // Rules can be appended to it.
        sandbox = sandbox.reads(path).writes(path);
    }
    if is_plain {
        if let Some(path) = &cli.replay {
            sandbox = sandbox.reads(path);
        }
        confine(&sandbox, debug);
    }
    if let Some(path) = cli.replay.as_deref().filter(|_| cli.once || debug) {
        return replay_plainly(path, debug, format, overseer);
    }
    if cli.once {
        return Ok(batch::once("leco-tui", &mut overseer, &sources, cli.wait, format, out.lock())?);
    }
    if debug {
        let (config, out) = (config_path.as_deref(), out.lock());
        return Ok(batch::debug("leco-tui", &mut overseer, &named, config, &sandbox, out)?);
    }
    let player =
        cli.replay.as_deref().map(|path| open_recording(path, cli.speed.unwrap_or(1.0))).transpose()?;
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
    confine(&sandbox, false);
    app::run(overseer, Options { sources, player, record, config: config_path, theme, assumed_size })
}

/// Gives up the rest, and tells what could not be given up; with debug in any case.
fn confine(sandbox: &Sandbox, debug: bool) {
    let confinement = sandbox.enter();
    if debug || !confinement.is_whole() {
        say::err(format_args!("leco-tui: {confinement}"));
    }
}

fn open_recording(path: &Path, speed: f64) -> anyhow::Result<Player> {
    Player::open(path, speed).with_context(|| format!("cannot play {}", path.display()))
}

/// Prints what a recording holds, all at once: each event and what became of it, or the lines at its end.
fn replay_plainly(path: &Path, debug: bool, format: Format, mut overseer: Overseer) -> anyhow::Result<()> {
    let mut player = open_recording(path, 1.0)?;
    overseer.fix_clocks(player.clocks());
    let Lost { malformed, overlong } = player.lost();
    if let Some(notice) = batch::not_understood(malformed, overlong) {
        say::err(format_args!("leco-tui: {notice}"));
    }
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut is_read = Ok(true);
    player.seek(i64::MAX);
    player.catch_up(|at, line| match is_read {
        Ok(true) if debug => is_read = batch::debug_event(&mut overseer, line, at.into(), &mut out),
        Ok(true) => drop(overseer.receive(line, at)),
        _ => {}
    });
    if is_read? && !debug {
        batch::known(&mut overseer, player.now().into(), format, &mut out)?;
    }
    Ok(quietly_broken(out.flush()).map_err(PlainError::Write)?)
}

/// A reader that has seen enough is no failure.
fn quietly_broken(written: io::Result<()>) -> io::Result<()> {
    written.or_else(|error| if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })
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
