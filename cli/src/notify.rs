// SPDX-License-Identifier: GPL-3.0-or-later
//! Command-line options of `leco-notify`.

use std::ffi::OsString;
use std::time::Duration;

use clap::Parser;
use leco_core::rules::NOTICE_WORDS;
use leco_core::text::{FIELDS, parse_duration};

use crate::frontend::{Checks, Input};
use crate::listed;

/// Rules, fields and examples.
fn details() -> String {
    let rule = |(key, what): (&str, &'static str)| (format!("{key} = TEXT"), what);
    let rules =
        [("REGEX", "the regex matches the line as it was received; $1 in the text is its first group")];
    let parts = [
        listed(
            "Rules of [rx-notify] in the config:",
            rules
                .into_iter()
                .chain(NOTICE_WORDS)
                .map(rule)
                .chain([("… =".to_owned(), "an empty text: not told of, whatever else holds")]),
        ),
        listed("Fields of a text:", FIELDS.map(|(field, what)| (format!("{{{field}}}"), what))),
        listed(
            "Examples:",
            [
                ("leco-notify", "a notification on the desktop when there is something to tell"),
                (
                    "leco-notify --source unix:/run/leco.sock --exec mail -s connection root",
                    "a mail for each event",
                ),
            ]
            .map(|(command, what)| (command.to_owned(), what)),
        ),
    ];
    parts.join("\n")
}

/// Tells of network connections as they happen: of those never seen before and those that a firewall blocked, or
/// what rules in the config say.
///
/// One notification on the desktop is replaced at most every ten seconds, and counts what else came. Its buttons
/// append a rule to the config: Accept, so that this process and peer are told of no more, or Hide, so that no
/// frontend shows them. Without a desktop, --exec runs a program for each event.
#[derive(Debug, Parser)]
#[command(name = "leco-notify", version, after_long_help = details())]
pub struct Cli {
    /// What is told of, and where it is from.
    #[command(flatten)]
    pub input: Input,
    /// What is printed instead.
    #[command(flatten)]
    pub checks: Checks,
    /// Run this program for each event instead, with all arguments that follow: one at a time, without a shell. The
    /// event is one line of JSON on its standard input
    #[arg(long, value_names = ["PROGRAM", "ARG"], num_args = 1.., allow_hyphen_values = true, conflicts_with_all = ["rx_test", "check_config", "debug"])]
    pub exec: Vec<OsString>,
    /// With --exec: kill the program and its process group after this time [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = some_time, requires = "exec")]
    pub exec_timeout: Option<Duration>,
}

/// A duration in which a program can do something.
fn some_time(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Ok(time) if time.is_zero() => Err("a program needs some time: write 1 or more".into()),
        Ok(time) => Ok(time),
        Err(error) => Err(error.to_string()),
    }
}
