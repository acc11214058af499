// SPDX-License-Identifier: GPL-3.0-or-later
//! What all frontends have in common.

use std::fmt::Display;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use anstream::{AutoStream, ColorChoice};
use clap::{Args, Parser};
use leco_core::batch::{self, Inputs, PlainError};
use leco_core::config::{Config, ConfigError};
use leco_core::ini::Rendering;
use leco_core::model::overseer::Overseer;
use leco_core::query::Query;
use leco_core::source::{SourceSpec, with_sources};
use leco_os::causes::causes;
use leco_os::clock::boot_id;
use leco_os::sandbox::Sandbox;
use leco_os::{environment, say, start};

/// A frontend's `main`: reads the command line, and says under its name why it failed.
pub fn main<C: Parser>(run: impl FnOnce(&C) -> anyhow::Result<ExitCode>) -> ExitCode {
    start::outlive_file_size_limit();
    let cli: C = match crate::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    run(&cli).unwrap_or_else(|error| {
        report::<C>(causes(&*error));
        let is_usage = error.is::<ConfigError>() || error.is::<FilterError>();
        ExitCode::from(if is_usage { 2 } else { 1 })
    })
}

/// Reads the config, and says what of it cannot be used. Where that is all that was asked for, ends with an exit code.
pub fn load_config<C: Parser>(
    input: &Input,
    checks: &Checks,
) -> Result<Result<Config, ExitCode>, ConfigError> {
    for notice in environment::ignored(&["XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "HOME"]) {
        report::<C>(notice);
    }
    let config = Config::load(input.config.as_deref())?;
    let rendering = match AutoStream::auto(io::stderr()).current_choice() {
        ColorChoice::Never => Rendering::Plain,
        _ => Rendering::Coloured,
    };
    for diagnostic in config.all_diagnostics() {
        say::err(diagnostic.render(rendering));
    }
    if !checks.check_config {
        return Ok(Ok(config));
    }
    let has_faults = config.all_diagnostics().next().is_some();
    Ok(Err(if has_faults { ExitCode::FAILURE } else { ExitCode::SUCCESS }))
}

/// Does what is asked of a frontend that prints nothing else: says what is wrong with the config, or what rules make of a
/// line or of events. Where none of that was asked for, the config is left to be used.
pub fn print_plainly<C: Parser>(input: &Input, checks: &Checks) -> anyhow::Result<Result<Config, ExitCode>> {
    let config = match load_config::<C>(input, checks)? {
        Ok(config) => config,
        Err(code) => return Ok(Err(code)),
    };
    let is_debug = checks.debug || config.settings.run.debug;
    if is_debug || checks.rx_test.is_some() {
        start::has_stdout().map_err(PlainError::Write)?;
    }
    input.check_filter(&config)?;
    if let Some(line) = &checks.rx_test {
        batch::explain(&config, line, AutoStream::auto(io::stdout()).lock())?;
    } else if is_debug {
        debug::<C>(input, config)?;
    } else {
        return Ok(Ok(config));
    }
    Ok(Err(ExitCode::SUCCESS))
}

/// Prints events and what the rules make of them, and gives up all that this does not need.
fn debug<C: Parser>(input: &Input, config: Config) -> anyhow::Result<()> {
    let file = Config::path(input.config.as_deref());
    let named = input.sources();
    let mut overseer = Overseer::on_machine(config, &boot_id());
    overseer.set_filter(input.filter.as_deref())?;
    // Where there is none, opening them reports it.
    let configured = overseer.settings().run.all_sources().unwrap_or_default();
    let sandbox = with_sources(Sandbox::default(), if named.is_empty() { &configured } else { &named });
    let files = file.as_deref().into_iter().chain(overseer.names().lists.paths());
    let sandbox = files.fold(sandbox, Sandbox::reads);
    report::<C>(sandbox.enter());
    let inputs = Inputs { named_sources: &named, config: file.as_deref(), sandbox: &sandbox };
    Ok(batch::debug(C::command().get_name(), &mut overseer, inputs, io::stdout().lock())?)
}

/// Says something under the name of a program.
pub fn report<C: Parser>(notice: impl Display) {
    say::err(format_args!("{}: {notice}", C::command().get_name()));
}

/// What is shown, and where it is from.
#[derive(Debug, Args)]
#[group(skip)]
pub struct Input {
    /// Settings and rules [default: leco/widget.ini in the config directory, if it exists]
    pub config: Option<PathBuf>,
    /// Read events from here: fifo:PATH, unix:PATH, tcp:HOST:PORT, udp:ADDRESS:PORT, file:PATH or -;
    /// may be given several times. With ?owner=any after it, a path may belong to any user [default:
    /// leco.fifo in the runtime directory]
    #[allow(clippy::doc_markdown, reason = "help is printed as it is, without Markdown")]
    #[arg(short, long, value_name = "SOURCE", allow_hyphen_values = true, value_parser = SourceSpec::parse, conflicts_with_all = ["rx_test", "check_config"])]
    pub source: Vec<SourceSpec>,
    /// The same as --source fifo:PATH
    #[arg(short, long, value_name = "PATH", conflicts_with_all = ["rx_test", "check_config"])]
    pub fifo: Option<PathBuf>,
    /// Show only connections that this chooses: words, /regex/, field:value, -not, @NAME of the config
    #[arg(long, value_name = "FILTER", allow_hyphen_values = true, value_parser = filter, conflicts_with_all = ["rx_test", "check_config"])]
    pub filter: Option<String>,
}

/// What is printed instead of shown.
#[derive(Debug, Args)]
#[group(skip)]
pub struct Checks {
    /// Show what the rules make of a line, and exit
    #[arg(short, long, value_name = "LINE", allow_hyphen_values = true, conflicts_with_all = ["debug", "check_config"])]
    pub rx_test: Option<String>,
    /// Report problems in the config, and exit: 1 if there are any
    #[arg(long, conflicts_with = "debug")]
    pub check_config: bool,
    /// Print raw events and what the rules make of them, as plain lines
    #[arg(short, long)]
    pub debug: bool,
}

/// A filter, as far as it can be read before the config is: the config may name others.
pub(crate) fn filter(text: &str) -> Result<String, String> {
    Query::check(text).map_err(|error| error.placed(text))?;
    Ok(text.to_owned())
}

/// A filter where no config names others.
pub(crate) fn filter_without_names(text: &str) -> Result<String, String> {
    Query::parse(text).map_err(|error| error.placed(text))?;
    Ok(text.to_owned())
}

/// A filter that names one which the config does not have.
#[derive(Debug, thiserror::Error)]
#[error("--filter: {0}")]
pub struct FilterError(String);

impl Input {
    /// Whether the filter can be used with a config.
    pub fn check_filter(&self, config: &Config) -> Result<(), FilterError> {
        let Some(filter) = &self.filter else { return Ok(()) };
        let read = Query::parse_with(filter, &config.names);
        read.map(|_| ()).map_err(|error| FilterError(error.placed(filter)))
    }

    /// Sources that are named on the command line, in their order.
    #[must_use]
    pub fn sources(&self) -> Vec<SourceSpec> {
        self.source.iter().cloned().chain(self.fifo.as_deref().map(SourceSpec::fifo)).collect()
    }
}
