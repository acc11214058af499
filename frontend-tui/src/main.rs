//! `leco-tui`: connections in a terminal.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anstream::ColorChoice;
use anyhow::Context;
use clap::{CommandFactory, Parser};
use clap_complete::Shell;
use leco_core::config::{Config, ConfigError, TerminalColours, TerminalTheme};
use leco_core::overseer::Overseer;
use leco_core::plain::{self, Format};
use leco_core::source::SourceSpec;
use leco_core::text::parse_duration;
use leco_tui::app::{self, Options};
use leco_tui::player::Player;
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
    /// Append every event to this file, too
    #[arg(long, value_name = "FILE", conflicts_with = "replay")]
    record: Option<PathBuf>,
    /// Play a recording instead: space pauses, the arrow keys seek, + and - change the speed
    #[arg(long, value_name = "FILE", conflicts_with_all = ["source", "fifo"])]
    replay: Option<PathBuf>,
    /// With --replay: so many times as fast
    #[arg(long, value_name = "N", default_value = "1")]
    speed: f64,
    /// What the terminal's background is [default: theme of the config, which asks the terminal]
    #[arg(long, value_name = "auto|dark|light", value_parser = named(TerminalTheme::parse, TerminalTheme::NAMES))]
    theme: Option<TerminalTheme>,
    /// How many colours the terminal has [default: colours of the config, which looks at COLORTERM and terminfo]
    #[arg(long, value_name = "auto|none|16|256|true", value_parser = named(TerminalColours::parse, TerminalColours::NAMES))]
    colours: Option<TerminalColours>,
    /// Show what the rules make of a line, and exit
    #[arg(short, long, value_name = "LINE")]
    rx_test: Option<String>,
    /// With --rx-test or --once: as JSON, for scripts
    #[arg(long)]
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
    /// Print the man page, and exit
    #[arg(long, hide = true)]
    man: bool,
    /// Print completions for a shell, and exit
    #[arg(long, hide = true, value_name = "SHELL")]
    completions: Option<Shell>,
    /// With --once: wait at most so long for them
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = parse_duration)]
    wait: Duration,
}

/// Terminals answer at once; over a slow line in this time.
const ANSWER_TIME: Duration = Duration::from_millis(500);

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
    if let Some(page) = page(cli)? {
        return match io::stdout().lock().write_all(&page) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(ExitCode::SUCCESS),
        };
    }
    anyhow::ensure!(!cli.json || cli.once || cli.rx_test.is_some(), "--json needs --once or --rx-test LINE");
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

/// What packagers install beside the program, made from its options.
fn page(cli: &Cli) -> io::Result<Option<Vec<u8>>> {
    let mut page = Vec::new();
    if cli.man {
        clap_mangen::Man::new(Cli::command()).render(&mut page)?;
    } else if let Some(shell) = cli.completions {
        clap_complete::generate(shell, &mut Cli::command(), "leco-tui", &mut page);
    }
    Ok((!page.is_empty()).then_some(page))
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
        let format = if cli.json { Format::Json } else { Format::Text };
        return Ok(plain::once(&mut overseer, &sources, cli.wait, format, out.lock())?);
    }
    if debug {
        return Ok(plain::debug("leco-tui", &mut overseer, &sources, out.lock())?);
    }
    // Keys come from the terminal, wherever standard input comes from.
    let reads_stdin = sources.iter().any(SourceSpec::is_stdin);
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() && !reads_stdin {
        anyhow::bail!("this is no terminal: use --once or --debug for plain lines");
    }
    let player = cli.replay.as_deref().map(|path| Player::open(path, cli.speed)).transpose()?;
    let record = cli.record.as_deref().map(append_to).transpose()?;
    let settings = overseer.settings().tui.clone();
    let variable = |name| std::env::var(name).ok();
    let depth = match cli.colours.unwrap_or(settings.colours) {
        TerminalColours::Auto => ColorDepth::detect(
            variable("NO_COLOR").as_deref(),
            variable("COLORTERM").as_deref(),
            variable("TERM").as_deref(),
            termini::TermInfo::from_env().ok().as_ref(),
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
    app::run(overseer, Options { sources, player, record, config: config_path, theme })
}

fn append_to(path: &Path) -> anyhow::Result<File> {
    let opened = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
    opened.with_context(|| format!("cannot append to {}", path.display()))
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

/// Reads a value that has a name.
fn named<T: Clone + Send + Sync + 'static>(
    parse: fn(&str) -> Option<T>,
    names: &'static [&str],
) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |text| parse(text).ok_or_else(|| format!("expected {}", names.join(", ")))
}
