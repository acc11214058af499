// SPDX-License-Identifier: GPL-3.0-or-later
//! The command lines of LECO's programs: each option once, for the program, its man page and its completions.
//!
//! None of the libraries that the programs need is among its dependencies: who describes a program need not build it.

#![deny(clippy::print_stdout, clippy::print_stderr, reason = "they panic: see leco_os::say")]

pub mod frontend;
pub mod hooks;
pub mod keys;
pub mod loader;
pub mod modes;
pub mod pipe;
pub mod tui;
pub mod tunables;
pub mod widget;

use std::process::ExitCode;

use clap::Parser;
use leco_os::say;

/// Reads the command line of this process. Where the program is not to run, for `--help` or wrong usage, says what there
/// is to say and returns the exit code.
pub fn parse<C: Parser>() -> Result<C, ExitCode> {
    C::try_parse().map_err(|said| {
        let code = u8::try_from(said.exit_code()).unwrap_or(2);
        say::instead_of_running(C::command().get_name(), said.use_stderr(), code, || said.print())
    })
}
