// SPDX-License-Identifier: GPL-3.0-or-later
//! `leco-tui`: connections in a terminal.

#![deny(clippy::print_stdout, clippy::print_stderr, reason = "they panic: see leco_os::say")]

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use jiff::tz::TimeZone;
use leco_cli::frontend;
use leco_cli::tui::Cli;
use leco_core::batch;
use leco_core::batch::follow::{Follow, FollowFormat, Sentences, follow};
use leco_core::batch::{Format, PlainError};
use leco_core::config::{Config, TerminalColours, TerminalTheme, TuiSettings};
use leco_core::model::overseer::Overseer;
use leco_core::source::recording::Recording;
use leco_core::source::{SourceSpec, with_sources};
use leco_os::clock::boot_id;
use leco_os::sandbox::Sandbox;
use leco_os::{say, start, time_zone};
use leco_tui::app::{self, Options};
use leco_tui::player::{Lost, Player};
use leco_tui::printed::InGlyphs;
use leco_tui::terminal;
use leco_tui::terminal::{assumed_size, can_be_drawn_on};
use leco_tui::ui::glyphs::Glyphs;
use leco_tui::ui::theme::{ColorDepth, Theme};

/// Terminals answer at once; over a slow line in this time.
const ANSWER_TIME: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    frontend::main(run)
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    match frontend::load_config::<Cli>(&cli.input, &cli.checks)? {
        Ok(config) => show(cli, config).map(|()| ExitCode::SUCCESS),
        Err(code) => Ok(code),
    }
}

/// How events are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Output {
    /// As lines, once.
    Once,
    /// As lines, what happens.
    Follow,
    /// As plain lines, each event as it comes.
    Debug,
    /// As sentences: the terminal cannot be drawn on.
    Printed,
    /// On the whole terminal.
    View,
}

impl Output {
    /// What the config asks for comes after what the command line does.
    fn wanted(cli: &Cli, config: &Config) -> Self {
        match () {
            () if cli.once => Self::Once,
            () if cli.follow => Self::Follow,
            () if cli.checks.debug || config.settings.run.debug => Self::Debug,
            () if !can_be_drawn_on(variable("TERM").as_deref(), entry().as_ref()) => Self::Printed,
            () => Self::View,
        }
    }

    /// Refuses what cannot be shown so.
    fn check<'s>(self, cli: &Cli, mut sources: impl Iterator<Item = &'s SourceSpec>) -> anyhow::Result<()> {
        // Keys come from the terminal, wherever standard input comes from.
        if matches!(self, Self::View | Self::Printed)
            && (!io::stdout().is_terminal()
                || !io::stdin().is_terminal() && !sources.any(SourceSpec::is_stdin))
        {
            anyhow::bail!("not a terminal: use --once, --follow or --debug for plain lines");
        }
        let of_the_view = [
            ("--record", cli.record.is_some()),
            ("--theme", cli.theme.is_some()),
            ("--colours", cli.colours.is_some()),
            ("--speed", cli.speed.is_some()),
        ];
        let given = of_the_view.iter().find(|(_, is_given)| *is_given);
        if self == Self::Printed && cli.record.is_some() {
            anyhow::bail!(
                "--record is for the view, for which this terminal cannot move its cursor (TERM={}): \
                 let leco-event-pipe --record write the events",
                variable("TERM").unwrap_or_default()
            );
        }
        if let Some((option, _)) = given.filter(|_| self == Self::Debug) {
            anyhow::bail!("{option} is for the view, and the config says debug = yes in [run]: set it to no");
        }
        Ok(())
    }
}

/// Where everything comes from, and what may be read and written for it.
struct Inputs {
    /// Sources of the command line.
    named: Vec<SourceSpec>,
    sources: Vec<SourceSpec>,
    config: Option<PathBuf>,
    /// What of the config cannot be used.
    faults: Vec<String>,
    sandbox: Sandbox,
}

impl Inputs {
    fn new(cli: &Cli, config: &Config, named: Vec<SourceSpec>) -> anyhow::Result<Self> {
        let sources = match &cli.replay {
            Some(_) => Vec::new(),
            None if named.is_empty() => config.settings.run.all_sources()?,
            None => named.clone(),
        };
        let faults = config.all_diagnostics().map(ToString::to_string).collect();
        let sandbox = with_sources(Sandbox::default(), &sources);
        let mut sandbox = config.names.lists.paths().fold(sandbox, Sandbox::reads);
        let config = Config::path(cli.input.config.as_deref());
        if let Some(path) = &config {
            // Rules can be appended to it.
            sandbox = sandbox.reads(path).writes(path);
        }
        Ok(Self { named, sources, config, faults, sandbox })
    }
}

fn show(cli: &Cli, config: Config) -> anyhow::Result<()> {
    let output = Output::wanted(cli, &config);
    if output != Output::View || cli.checks.rx_test.is_some() {
        start::has_stdout().map_err(PlainError::Write)?;
    }
    if let Some(line) = &cli.checks.rx_test {
        return Ok(explain(&config, line, format_of(cli))?);
    }
    let named = cli.input.sources();
    output.check(cli, named.iter().chain(&config.settings.run.sources))?;
    let inputs = Inputs::new(cli, &config, named)?;
    cli.input.check_filter(&config)?;
    let overseer = Overseer::with_list(config, &boot_id());
    match output {
        Output::View => view(cli, inputs, overseer),
        Output::Once | Output::Follow | Output::Debug | Output::Printed => {
            print(cli, output, inputs, overseer)
        }
    }
}

fn format_of(cli: &Cli) -> Format {
    if cli.json { Format::Json } else { Format::Text }
}

fn explain(config: &Config, line: &str, format: Format) -> Result<(), PlainError> {
    let out = io::stdout();
    match format {
        Format::Json => batch::explain_as_json(config, line, out.lock()),
        Format::Text => batch::explain(config, line, anstream::AutoStream::auto(out).lock()),
    }
}

/// Shows events as plain lines.
fn print(cli: &Cli, output: Output, inputs: Inputs, mut overseer: Overseer) -> anyhow::Result<()> {
    overseer.set_filter(cli.input.filter.as_deref())?;
    let Inputs { named, sources, config, sandbox, .. } = inputs;
    let sandbox = cli.replay.iter().fold(sandbox, Sandbox::reads);
    let confinement = sandbox.enter();
    if output == Output::Debug || !confinement.is_whole() {
        report(&confinement);
    }
    if let Some(path) = &cli.replay {
        return replay_plainly(path, output, format_of(cli), overseer);
    }
    let out = io::stdout().lock();
    // A format is given with --follow only.
    let format = match output {
        Output::Printed => FollowFormat::Plain,
        _ => cli.format.clone().unwrap_or_default(),
    };
    let inputs = batch::Inputs { named_sources: &named, config: config.as_deref(), sandbox: &sandbox };
    let options = Follow { inputs, format: &format, escape: cli.escape.unwrap_or_default() };
    Ok(match output {
        Output::Once => batch::once("leco-tui", &mut overseer, &sources, cli.wait, format_of(cli), out),
        Output::Printed => follow("leco-tui", &mut overseer, options, InGlyphs::new(out, glyphs())),
        Output::Follow => follow("leco-tui", &mut overseer, options, out),
        Output::Debug | Output::View => batch::debug("leco-tui", &mut overseer, inputs, out),
    }?)
}

/// Shows events on the whole terminal.
fn view(cli: &Cli, inputs: Inputs, overseer: Overseer) -> anyhow::Result<()> {
    let Inputs { sources, config, faults, sandbox, .. } = inputs;
    let player =
        cli.replay.as_deref().map(|path| open_recording(path, cli.speed.unwrap_or(1.0))).transpose()?;
    let record = cli.record.as_deref().map(Recording::open).transpose()?;
    if let Some(record) = &record
        && sources.iter().filter_map(SourceSpec::path).any(|source| record.is_at(source))
    {
        anyhow::bail!("cannot record {} to itself: name another file", record.path().display());
    }
    let entry = entry();
    let assumed_size =
        assumed_size(variable("COLUMNS").as_deref(), variable("LINES").as_deref(), entry.as_ref());
    // What follows asks the terminal.
    terminal::wait_until_ours().context("cannot get the terminal from another job")?;
    let theme = theme(cli, &overseer.settings().tui, entry.as_ref());
    // Its files are read now.
    let zone = time_zone::local().unwrap_or_else(|error| {
        report(error);
        TimeZone::UTC
    });
    let confinement = sandbox.enter();
    if !confinement.is_whole() {
        report(&confinement);
    }
    let filter = cli.input.filter.clone();
    let options = Options { sources, player, record, config, faults, filter, zone, theme, assumed_size };
    app::run(overseer, options)
}

/// Colours that the command line asks for, else the config, else the terminal.
fn theme(cli: &Cli, settings: &TuiSettings, entry: Option<&termini::TermInfo>) -> Theme {
    let depth = match cli.colours.unwrap_or(settings.colours) {
        TerminalColours::Auto => ColorDepth::detect(
            variable("NO_COLOR").as_deref(),
            variable("COLORTERM").as_deref(),
            variable("TERM").as_deref(),
            entry,
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
    Theme::new(depth).upon(ground).with_glyphs(glyphs())
}

/// What the database of terminals has on this one.
fn entry() -> Option<termini::TermInfo> {
    termini::TermInfo::from_env().ok()
}

/// Characters that the locale has.
fn glyphs() -> &'static Glyphs {
    let [all, characters, language] = ["LC_ALL", "LC_CTYPE", "LANG"].map(variable);
    Glyphs::detect(all.as_deref(), characters.as_deref(), language.as_deref())
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn report(notice: impl Display) {
    say::err(format_args!("leco-tui: {notice}"));
}

fn open_recording(path: &Path, speed: f64) -> anyhow::Result<Player> {
    Player::open(path, speed).with_context(|| format!("cannot play {}", path.display()))
}

/// Prints what a recording holds, all at once: each event and what became of it, or the lines at its end.
fn replay_plainly(path: &Path, output: Output, format: Format, mut overseer: Overseer) -> anyhow::Result<()> {
    let mut player = open_recording(path, 1.0)?;
    overseer.fix_clocks(player.clocks());
    let Lost { malformed, overlong } = player.lost();
    if let Some(notice) = batch::not_understood(malformed, overlong) {
        say::err(format_args!("leco-tui: {notice}"));
    }
    let mut out = io::BufWriter::new(io::stdout().lock());
    let (mut sentences, mut said) = (Sentences::default(), String::new());
    let mut is_read = Ok(true);
    player.seek(i64::MAX);
    player.catch_up(|at, line| match is_read {
        Ok(true) if output == Output::Debug => {
            is_read = batch::debug_event(&mut overseer, line, at.into(), &mut out);
        }
        Ok(true) if output == Output::Printed => {
            sentences.receive(&mut overseer, line, at.into(), &mut said);
        }
        Ok(true) => drop(overseer.receive(line, at)),
        _ => {}
    });
    if is_read? && output == Output::Once {
        batch::known(&mut overseer, player.now().into(), format, &mut out)?;
    }
    let written = out.write_all(glyphs().shown(&said).as_bytes()).and_then(|()| out.flush());
    Ok(quietly_broken(written).map_err(PlainError::Write)?)
}

/// A reader that has seen enough is no failure.
fn quietly_broken(written: io::Result<()>) -> io::Result<()> {
    written.or_else(|error| if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })
}

/// Asks the terminal for its background (OSC 11), where that makes a difference. One that does not answer is dark.
fn background(depth: ColorDepth) -> [u8; 3] {
    if depth == ColorDepth::None {
        return [0; 3];
    }
    let mut options = terminal_colorsaurus::QueryOptions::default();
    options.timeout = ANSWER_TIME;
    terminal_colorsaurus::background_color(options).map_or([0; 3], |colour| {
        let (red, green, blue) = colour.scale_to_8bit();
        [red, green, blue]
    })
}
