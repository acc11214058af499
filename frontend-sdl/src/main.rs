// SPDX-License-Identifier: GPL-3.0-or-later
//! `leco-sdl-widget`: connections on the desktop.

#![deny(clippy::print_stdout, clippy::print_stderr, reason = "they panic: see leco_os::say")]

use std::io;
use std::path::Path;
use std::process::ExitCode;

use anstream::{AutoStream, ColorChoice};
use leco_cli::frontend::FilterError;
use leco_cli::widget::Cli;
use leco_core::batch;
use leco_core::batch::PlainError;
use leco_core::config::{Config, ConfigError};
use leco_core::ini::Rendering;
use leco_core::model::overseer::Overseer;
use leco_core::source::{SourceSpec, with_sources};
use leco_os::causes::causes;
use leco_os::clock::boot_id;
use leco_os::sandbox::Sandbox;
use leco_os::{environment, say, start};

fn main() -> ExitCode {
    start::outlive_file_size_limit();
    let cli: Cli = match leco_cli::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    match run(&cli) {
        Ok(code) => code,
        Err(error) => {
            say::err(format_args!("leco-sdl-widget: {}", causes(&*error)));
            let is_usage = error.is::<ConfigError>() || error.is::<FilterError>();
            ExitCode::from(if is_usage { 2 } else { 1 })
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    for notice in environment::ignored(&["XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "HOME"]) {
        say::err(format_args!("leco-sdl-widget: {notice}"));
    }
    let config = Config::load(cli.input.config.as_deref())?;
    let rendering = match AutoStream::auto(io::stderr()).current_choice() {
        ColorChoice::Never => Rendering::Plain,
        _ => Rendering::Coloured,
    };
    for diagnostic in config.all_diagnostics() {
        say::err(diagnostic.render(rendering));
    }
    if cli.checks.check_config {
        return Ok(if config.all_diagnostics().next().is_none() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        });
    }
    let debug = cli.checks.debug || config.settings.run.debug;
    if debug || cli.checks.rx_test.is_some() {
        start::has_stdout().map_err(PlainError::Write)?;
    }
    cli.input.check_filter(&config)?;
    let sources = cli.input.sources();
    if let Some(line) = &cli.checks.rx_test {
        batch::explain(&config, line, AutoStream::auto(io::stdout()).lock())?;
    } else if debug {
        let file = Config::path(cli.input.config.as_deref());
        let mut overseer = Overseer::on_machine(config, &boot_id());
        overseer.set_filter(cli.input.filter.as_deref())?;
        let sandbox = confine(&overseer, &sources, file.as_deref());
        let (name, out) = ("leco-sdl-widget", io::stdout().lock());
        batch::debug(name, &mut overseer, &sources, file.as_deref(), &sandbox, out)?;
    } else {
        let file = Config::path(cli.input.config.as_deref());
        leco_sdl_widget::app::run(config, sources, cli.input.filter.as_deref(), file.as_deref())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Gives up all that plain lines do not need, and tells what that is here.
fn confine(overseer: &Overseer, named: &[SourceSpec], config: Option<&Path>) -> Sandbox {
    // Where there is none, opening them reports it.
    let configured = overseer.settings().run.all_sources().unwrap_or_default();
    let sources = if named.is_empty() { &configured } else { named };
    let sandbox = with_sources(Sandbox::default(), sources);
    let sandbox = config.into_iter().chain(overseer.names().lists.paths()).fold(sandbox, Sandbox::reads);
    say::err(format_args!("leco-sdl-widget: {}", sandbox.enter()));
    sandbox
}
