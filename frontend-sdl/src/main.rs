// SPDX-License-Identifier: GPL-3.0-or-later
//! `leco-sdl-widget`: connections on the desktop.

#![deny(clippy::print_stdout, clippy::print_stderr, reason = "they panic: see leco_os::say")]

use std::process::ExitCode;

use leco_cli::frontend;
use leco_cli::widget::Cli;
use leco_core::config::Config;

fn main() -> ExitCode {
    frontend::main(run)
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let config = match frontend::print_plainly::<Cli>(&cli.input, &cli.checks)? {
        Ok(config) => config,
        Err(code) => return Ok(code),
    };
    let file = Config::path(cli.input.config.as_deref());
    let filter = cli.input.filter.as_deref();
    leco_sdl_widget::app::run(config, cli.input.sources(), filter, file.as_deref())?;
    Ok(ExitCode::SUCCESS)
}
