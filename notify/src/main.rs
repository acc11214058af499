// SPDX-License-Identifier: GPL-3.0-or-later
//! `leco-notify`: tells of connections as they happen.

#![deny(clippy::print_stdout, clippy::print_stderr, reason = "they panic: see leco_os::say")]

mod desktop;
mod exec;
mod pace;
mod report;
mod runner;

use std::process::ExitCode;
use std::time::Duration;

use leco_cli::frontend;
use leco_cli::notify::Cli;
use leco_core::batch::Inputs;
use leco_core::batch::notify::{Outlet, notify};
use leco_core::config::Config;
use leco_core::model::overseer::Overseer;
use leco_core::source::{SourceSpec, with_sources};
use leco_os::clock::boot_id;
use leco_os::sandbox::Sandbox;

use crate::desktop::Desktop;
use crate::exec::Exec;
use crate::report::report;

/// For a program that is run.
const TIME_LIMIT: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    match runner::asked() {
        Some(runner) => runner.run(),
        None => frontend::main(run),
    }
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let config = match frontend::print_plainly::<Cli>(&cli.input, &cli.checks)? {
        Ok(config) => config,
        Err(code) => return Ok(code),
    };
    let file = Config::path(cli.input.config.as_deref());
    let named = cli.input.sources();
    let configured = if named.is_empty() { config.settings.run.all_sources()? } else { Vec::new() };
    let sandbox = with_sources(Sandbox::default(), if named.is_empty() { &configured } else { &named });
    let sandbox = config.names.lists.paths().fold(sandbox, Sandbox::reads);
    let sandbox = file.iter().fold(sandbox, Sandbox::reads);
    // What is to run others has to be there before they cannot be run.
    let (mut outlet, sandbox): (Box<dyn Outlet>, _) = if cli.exec.is_empty() {
        // Rules are appended to the config; a bus that is lost is met again.
        let sandbox = file.iter().fold(sandbox, Sandbox::writes).with_unix_sockets();
        (Box::new(Desktop::new(file.clone())), sandbox)
    } else {
        let time_limit = cli.exec_timeout.unwrap_or(TIME_LIMIT);
        let sources = if named.is_empty() { &configured } else { &named };
        let is_waited_for = sources.iter().all(SourceSpec::is_recording);
        (Box::new(Exec::start(&cli.exec, time_limit, is_waited_for)?), sandbox)
    };
    let mut overseer = Overseer::on_machine(config, &boot_id());
    overseer.set_filter(cli.input.filter.as_deref())?;
    let confinement = sandbox.enter();
    if !confinement.is_whole() {
        report(&confinement);
    }
    let inputs = Inputs { named_sources: &named, config: file.as_deref(), sandbox: &sandbox };
    notify("leco-notify", &mut overseer, inputs, &mut *outlet)?;
    Ok(ExitCode::SUCCESS)
}
