//! `leco-sdl-widget`: connections on the desktop.

#![deny(clippy::print_stdout, clippy::print_stderr, reason = "they panic: see leco_os::say")]

mod cli;

use std::io;
use std::process::ExitCode;

use anstream::{AutoStream, ColorChoice};
use clap::Parser;
use leco_core::batch;
use leco_core::config::{Config, ConfigError};
use leco_core::model::overseer::Overseer;
use leco_core::source::SourceSpec;
use leco_core::text::causes;
use leco_os::clock::boot_id;
use leco_os::{environment, say};

use crate::cli::Cli;

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            say::err(format_args!("leco-sdl-widget: {}", causes(&*error)));
            ExitCode::from(if error.is::<ConfigError>() { 2 } else { 1 })
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    for notice in environment::ignored(&["XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "HOME"]) {
        say::err(format_args!("leco-sdl-widget: {notice}"));
    }
    let config = Config::load(cli.config.as_deref())?;
    let in_colour = AutoStream::auto(io::stderr()).current_choice() != ColorChoice::Never;
    for diagnostic in &config.diagnostics {
        say::err(diagnostic.render(in_colour));
    }
    if cli.check_config {
        return Ok(if config.diagnostics.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let given = cli.source.iter().cloned().chain(cli.fifo.as_deref().map(SourceSpec::fifo));
    let sources: Vec<_> = given.collect();
    if let Some(line) = &cli.rx_test {
        batch::explain(&config, line, AutoStream::auto(io::stdout()).lock())?;
    } else if cli.debug || config.settings.run.debug {
        let file = Config::path(cli.config.as_deref());
        let mut overseer = Overseer::on_machine(config, &boot_id());
        overseer.set_filter(cli.filter.clone());
        batch::debug("leco-sdl-widget", &mut overseer, &sources, file.as_deref(), io::stdout().lock())?;
    } else {
        let file = Config::path(cli.config.as_deref());
        leco_sdl_widget::app::run(config, sources, cli.filter.clone(), file.as_deref())?;
    }
    Ok(ExitCode::SUCCESS)
}
