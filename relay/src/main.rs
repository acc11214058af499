// SPDX-License-Identifier: GPL-3.0-or-later
//! `leco-relay`: carries events between machines over NATS (`JetStream`).

#![deny(clippy::print_stdout, clippy::print_stderr, reason = "they panic: see leco_os::say")]

mod message;
mod publish;
mod seen;
mod server;
mod setup;
mod spool;
mod subscribe;
mod waiting;

use std::fmt::Display;
use std::future::Future;
use std::process::ExitCode;

use anyhow::Context;
use leco_cli::frontend;
use leco_cli::relay::{Cli, Task};
use leco_os::sandbox::Sandbox;
use leco_os::say;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

fn main() -> ExitCode {
    frontend::main(|cli: &Cli| match &cli.task {
        Task::Publish(options) => publish::run(options),
        Task::Subscribe(options) => subscribe::run(options),
        Task::Setup(options) => setup::run(options),
    })
}

/// Says something under the name of the program.
fn report(notice: impl Display) {
    say::err(format_args!("leco-relay: {notice}"));
}

/// Gives up what is not needed.
fn confine(sandbox: &Sandbox) {
    let confinement = sandbox.enter();
    if !confinement.is_whole() {
        report(confinement);
    }
}

/// Runs what waits for the network, in this thread.
fn block_on<T>(work: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot wait for the network")?;
    let done = runtime.block_on(work);
    // A name that is still looked up is not waited for.
    runtime.shutdown_background();
    Ok(done)
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// To end.
    End,
    /// To open anew what is written to: SIGHUP, which ends no daemon.
    Reopen,
}

/// Calls this whenever a signal asks for something.
fn at_signals(mut act: impl FnMut(Asked) + Send + 'static) -> anyhow::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).context("cannot wait for signals")?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            act(if signal == SIGHUP { Asked::Reopen } else { Asked::End });
        }
    });
    Ok(())
}
