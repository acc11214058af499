// SPDX-License-Identifier: GPL-3.0-or-later
//! The command lines of LECO's programs: each option once, for the program, its man page and its completions.
//!
//! None of the libraries that the programs need is among its dependencies: who describes a program need not build it.

#![deny(clippy::print_stdout, clippy::print_stderr, reason = "they panic: see leco_os::say")]

pub mod frontend;
pub mod history;
pub mod hooks;
pub mod keys;
pub mod loader;
pub mod modes;
pub mod notify;
pub mod pipe;
pub mod relay;
pub mod tui;
pub mod tunables;
pub mod widget;

use std::process::ExitCode;

use clap::Parser;
use clap::error::{ContextKind, ContextValue};
use leco_os::say;

/// Reads the command line of this process. Where the program is not to run, for `--help` or wrong usage, says what there
/// is to say and returns the exit code.
pub fn parse<C: Parser>() -> Result<C, ExitCode> {
    C::try_parse().map_err(|said| {
        let said = with_help(said);
        let code = u8::try_from(said.exit_code()).unwrap_or(2);
        say::instead_of_running(C::command().get_name(), said.use_stderr(), code, || said.print())
    })
}

/// Terms and what they mean, below each other.
fn listed<'t>(heading: &str, terms: impl IntoIterator<Item = (String, &'t str)>) -> String {
    let terms: Vec<_> = terms.into_iter().collect();
    let width = terms.iter().map(|(term, _)| term.chars().count()).filter(|width| *width <= 24).max();
    let width = width.unwrap_or(0);
    terms.iter().fold(format!("{heading}\n"), |text, (term, meaning)| {
        text + &format!("  {term:<width$}  {meaning}\n")
    })
}

/// Says beside two options that cannot be used together what to do instead, where that is known.
fn with_help(mut error: clap::Error) -> clap::Error {
    let named = |kind| match error.get(kind) {
        Some(ContextValue::String(name)) => name.as_str(),
        _ => "",
    };
    let both = [named(ContextKind::InvalidArg), named(ContextKind::PriorArg)];
    let instead = tui::INSTEAD.iter().find(|(options, _)| options.iter().all(|option| both.contains(option)));
    if let Some((_, instead)) = instead {
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![(*instead).into()]));
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_conflict_are_named_with_what_to_do_in_either_order() {
        for options in [["--json", "--follow"], ["--follow", "--json"]] {
            let error = tui::Cli::try_parse_from(["leco-tui"].into_iter().chain(options)).unwrap_err();
            let said = with_help(error).to_string();
            for part in [options[0], options[1], "cannot be used with", "--once --json prints"] {
                assert!(said.contains(part), "{said}");
            }
        }
    }
}
