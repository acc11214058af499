// SPDX-License-Identifier: GPL-3.0-or-later
//! Command-line options of `leco-tui`: a field for each, so they are not split.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Parser};
use leco_core::batch::follow::FollowFormat;
use leco_core::config::{TerminalColours, TerminalTheme};
use leco_core::query;
use leco_core::text::{Escape, FIELDS, parse_duration, parse_speed};

use crate::frontend::{Checks, Input};
use crate::keys::KEYS;
use crate::listed;

/// Commands, each with what it does.
pub const EXAMPLES: [(&str, &str); 10] = [
    ("leco-tui --filter 'trouble -port:53'", "the view of what went wrong, but for DNS"),
    ("leco-tui --once --filter 'proc:firefox open'", "what firefox is connected to now"),
    ("leco-tui --once --json | jq -r .shown", "what is known, read by a program"),
    (
        "leco-tui --replay yesterday.jsonl --once --filter new",
        "of a recording, what had never been seen before",
    ),
    ("leco-tui --follow --filter @unknown", "lines as they come, by the filter unknown of the config"),
    (
        "leco-tui --follow --format plain",
        "sentences about what begins, ends or goes wrong, for a screen reader",
    ),
    ("leco-tui --follow --format waybar", "an object for a bar, rewritten with each change"),
    ("leco-tui --follow --format '{time} {user} {proc} {peer} {rx}'", "a line whenever one of these changes"),
    ("leco-tui -s - -s unix:/tmp/web1.sock -s tcp:127.0.0.1:7001", "three machines, each line with its own"),
    ("leco-tui -r '18:32 :: me :: curl :: www.example.org 443 :: '", "what the rules make of a line"),
];

/// Keys, filters, fields and examples.
fn details() -> String {
    let parts = [
        listed("Keys of the view:", KEYS.map(|(keys, what)| (keys.replace("  ", ", "), what))),
        listed(
            "Filters: --filter and the key f take terms with spaces between, all of which have to hold:",
            [
                ("WORD", "the line contains it, in either case; \"in quotes\" with spaces"),
                ("/REGEX/", "the line matches it"),
                ("FIELD:VALUE", "the field contains the word, or matches the /regex/"),
                ("-TERM", "the term does not hold"),
                ("@NAME", "what the config has by this name in [filters]"),
            ]
            .map(|(term, what)| (term.to_owned(), what))
            .into_iter()
            .chain(query::WORDS.map(|(word, what)| (word.to_owned(), what))),
        ),
        listed("Fields of filters:", query::FIELDS.map(|(field, what)| (format!("{field}:"), what))),
        listed(
            "Numbers of filters, compared by < <= > >=:",
            query::NUMBERS.map(|(number, what)| (number.to_owned(), what)),
        ),
        listed("Fields of --format:", FIELDS.map(|(field, what)| (format!("{{{field}}}"), what))),
        listed("Examples:", EXAMPLES.map(|(command, what)| (command.to_owned(), what))),
    ];
    parts.join("\n")
}

/// Shows network connections as lines that appear, are updated, and fade.
///
/// Events come through a fifo from leco-event-pipe; rules in the config rename, hide and group lines.
#[derive(Debug, Parser)]
#[command(name = "leco-tui", version, after_long_help = details(), group = ArgGroup::new("script").args(["once", "rx_test"]))]
pub struct Cli {
    /// What is shown, and where it is from.
    #[command(flatten)]
    pub input: Input,
    /// Also append every event to this file, which must be new, empty or a recording
    #[arg(long, value_name = "FILE", conflicts_with_all = ["replay", "once", "debug", "rx_test", "check_config"])]
    pub record: Option<PathBuf>,
    /// Play a recording instead: space pauses, the arrow keys seek, + and - change the speed
    #[arg(long, value_name = "FILE", conflicts_with_all = ["source", "fifo", "rx_test", "check_config"])]
    pub replay: Option<PathBuf>,
    /// With --replay: speed factor [default: 1]
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = parse_speed, requires = "replay", conflicts_with_all = ["once", "debug"])]
    pub speed: Option<f64>,
    /// Background of the terminal [default: theme of the config, which asks the terminal]
    #[arg(long, value_name = "auto|dark|light", value_parser = named(TerminalTheme::parse, TerminalTheme::NAMES), conflicts_with_all = ["once", "debug", "rx_test", "check_config"])]
    pub theme: Option<TerminalTheme>,
    /// Number of colours that the terminal has [default: colours of the config, which looks at COLORTERM
    /// and terminfo]
    #[arg(long, value_name = "auto|none|16|256|true", value_parser = named(TerminalColours::parse, TerminalColours::NAMES), conflicts_with_all = ["once", "debug", "rx_test", "check_config"])]
    pub colours: Option<TerminalColours>,
    /// What is printed instead of shown.
    #[command(flatten)]
    pub checks: Checks,
    /// Print the known lines, and exit
    #[arg(long, conflicts_with_all = ["rx_test", "check_config", "debug"])]
    pub once: bool,
    /// With --once: maximum time to wait for them
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = parse_duration, requires = "once", conflicts_with = "replay")]
    pub wait: Duration,
    /// Print what happens as lines, for bars, scripts and screen readers
    #[arg(long, conflicts_with_all = ["once", "rx_test", "check_config", "debug", "record", "replay", "theme", "colours"])]
    pub follow: bool,
    /// With --follow: waybar (an object, rewritten with each change), plain (sentences) or a text with fields, as in
    /// '{time} {user} {proc} {peer} {rx}' [default: {line}]
    #[arg(long, value_name = "waybar|plain|TEXT", allow_hyphen_values = true, value_parser = FollowFormat::parse, requires = "follow")]
    pub format: Option<FollowFormat>,
    /// With fields in --format: keep what they hold from being read as markup of Pango, or as tags of polybar, some of
    /// which run commands
    #[arg(long, value_name = "none|pango|polybar", value_parser = named(Escape::parse, Escape::NAMES), requires = "format")]
    pub escape: Option<Escape>,
    /// With --rx-test or --once: as JSON, for scripts
    #[arg(long, requires = "script", conflicts_with = "follow")]
    pub json: bool,
}

/// What to do where two options cannot be used together.
pub(crate) const INSTEAD: [([&str; 2], &str); 1] = [(
    ["--json", "--follow"],
    "--once --json prints what is known as objects; --follow --format '{time} {proc} {peer}' a line of fields for each change",
)];

/// Reads a value that has a name.
fn named<T: Clone + Send + Sync + 'static>(
    parse: fn(&str) -> Option<T>,
    names: &'static [&str],
) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |text| parse(text).ok_or_else(|| format!("expected {}", names.join(", ")))
}
