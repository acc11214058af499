// SPDX-License-Identifier: GPL-3.0-or-later
//! Command-line options of `leco-relay`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use leco_core::source::SourceSpec;
use leco_core::text::{parse_duration, parse_size};

use crate::frontend::filter_without_names;
use crate::listed;

fn details() -> String {
    listed(
        "Examples:",
        [
            ("leco-relay setup --nats URL", "make the stream, once"),
            ("leco-relay publish --nats URL", "on each machine"),
            ("leco-relay subscribe --nats URL -o -", "where the events are read"),
        ]
        .map(|(command, what)| (command.to_owned(), what)),
    )
}

/// Carries events between machines over NATS (JetStream).
///
/// Each machine publishes to subjects leco.HOST.UNIT of a stream; a subscriber gets the latest event of each connection
/// first, then live events. While the server is away, events wait in a spool on disk.
#[derive(Debug, Parser)]
#[command(name = "leco-relay", version, after_long_help = details(), disable_help_subcommand = true)]
pub struct Cli {
    /// What is to be done.
    #[command(subcommand)]
    pub task: Task,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub enum Task {
    /// Send events of this machine to a stream
    Publish(Publish),
    /// Read events of a stream, and hand them to frontends
    Subscribe(Subscribe),
    /// Make the stream, or set its limits; safe to run again
    Setup(Setup),
}

/// Which server, and as whom.
#[derive(Debug, Args)]
#[group(skip)]
pub struct Server {
    /// Server: nats://HOST:PORT, or tls://HOST:PORT, which insists on TLS; several, separated by commas, are one cluster
    #[arg(long, value_name = "URL")]
    pub nats: String,
    /// Credentials: a .creds file, as nsc writes them
    #[arg(long, value_name = "FILE", conflicts_with_all = ["nkey", "user"])]
    pub creds: Option<PathBuf>,
    /// File with the seed of an nkey
    #[arg(long, value_name = "FILE", conflicts_with = "user")]
    pub nkey: Option<PathBuf>,
    /// User name
    #[arg(long, value_name = "NAME", requires = "password_file")]
    pub user: Option<String>,
    /// File with the password of the user
    #[arg(long, value_name = "FILE", requires = "user")]
    pub password_file: Option<PathBuf>,
    /// First words of the subjects on which this program gets answers: who may subscribe to another one's sees its
    /// events [default: _INBOX_NAME with --user NAME, else _INBOX]
    #[allow(clippy::doc_markdown, reason = "help is printed as it is, without Markdown")]
    #[arg(long, value_name = "SUBJECT", value_parser = inbox)]
    pub inbox: Option<String>,
    /// Certificates (PEM) to trust beside those of the system
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// Certificate (PEM) to present to the server
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
}

/// Options of `leco-relay publish`.
#[derive(Debug, Args)]
pub struct Publish {
    /// The server.
    #[command(flatten)]
    pub server: Server,
    /// Read events from here, as frontends do; may be given several times
    #[arg(short, long, value_name = "SOURCE", allow_hyphen_values = true, value_parser = SourceSpec::parse, default_value = "unix:/run/leco.sock")]
    pub source: Vec<SourceSpec>,
    /// Name of the machine where events do not say one [default: its host name]
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,
    /// Directory for events that wait while the server is away [default: $STATE_DIRECTORY; without either they
    /// wait in memory]
    #[arg(long, value_name = "DIR")]
    pub spool: Option<PathBuf>,
    /// Size of the spool; beyond it the oldest events are lost
    #[arg(long, value_name = "BYTES", value_parser = size, default_value = "64M")]
    pub spool_max: u64,
}

/// Options of `leco-relay subscribe`.
#[derive(Debug, Args)]
pub struct Subscribe {
    /// The server.
    #[command(flatten)]
    pub server: Server,
    /// Name of the stream
    #[arg(long, value_name = "NAME", value_parser = stream, default_value = STREAM)]
    pub stream: String,
    /// Only these machines; * stands for any characters
    #[arg(long, value_name = "PATTERN", default_value = "*")]
    pub host: String,
    /// Begin with connections that were active within this time
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "4h")]
    pub since: Duration,
    /// Only connections that this chooses: words, /regex/, field:value, -not
    #[arg(long, value_name = "FILTER", allow_hyphen_values = true, value_parser = filter_without_names)]
    pub filter: Option<String>,
    /// Send events here, as leco-event-pipe does: unix:PATH, tcp:ADDRESS:PORT, fifo:PATH, file:PATH or -, with its
    /// options but history=; may be given several times
    #[allow(clippy::doc_markdown, reason = "help is printed as it is, without Markdown")]
    #[arg(short, long, value_name = "OUTPUT", allow_hyphen_values = true, default_value = "-")]
    pub output: Vec<String>,
}

/// Options of `leco-relay setup`.
#[derive(Debug, Args)]
pub struct Setup {
    /// The server.
    #[command(flatten)]
    pub server: Server,
    /// Name of the stream
    #[arg(long, value_name = "NAME", value_parser = stream, default_value = STREAM)]
    pub stream: String,
    /// Events are kept for this time
    #[arg(long, value_name = "TIME", value_parser = age, default_value = "24h")]
    pub max_age: Duration,
    /// Size of the stream; beyond it the oldest events go
    #[arg(long, value_name = "BYTES", value_parser = size, default_value = "1G")]
    pub max_bytes: u64,
    /// Number of servers of a cluster that keep a copy
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=5))]
    pub replicas: u8,
    /// Change nothing: say what the stream has otherwise, and exit: 1 if there is anything
    #[arg(long)]
    pub check: bool,
}

const STREAM: &str = "LECO";

/// Words without what has a meaning in subjects.
fn is_word(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|char| char.is_ascii_alphanumeric() || "-_$".contains(char))
}

/// A subject without wildcards.
fn inbox(text: &str) -> Result<String, &'static str> {
    let is_subject = text.split('.').all(is_word);
    is_subject.then(|| text.to_owned()).ok_or("expected words like _INBOX_web1")
}

/// The name of a stream: it is a word of subjects by which the server is asked for it.
fn stream(text: &str) -> Result<String, &'static str> {
    is_word(text).then(|| text.to_owned()).ok_or("expected letters, digits, -, _ and $, such as LECO")
}

/// How long a stream keeps events: none is for ever to a server, which counts nanoseconds.
fn age(text: &str) -> Result<Duration, &'static str> {
    let age = parse_duration(text).ok().filter(|age| (1..=36_500 * 86_400).contains(&age.as_secs()));
    age.ok_or("expected 1s to 36500d, such as 24h or 7d")
}

fn size(text: &str) -> Result<u64, String> {
    parse_size(text)
        .filter(|bytes| *bytes >= 1 << 20)
        .ok_or_else(|| "expected at least 1M, such as 64M or 1G".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_server_takes_is_refused_at_once() {
        for (option, value) in [
            ("--stream", "a b.c"),
            ("--stream", ""),
            ("--stream", "leco.>"),
            ("--max-age", "0"),
            ("--max-age", "0.5s"),
            ("--max-age", "40000d"),
            ("--max-bytes", "1K"),
            ("--inbox", "a..b"),
        ] {
            let given = ["leco-relay", "setup", "--nats", "nats://localhost", option, value];
            assert!(Cli::try_parse_from(given).is_err(), "{option} {value}");
        }
        let given = ["leco-relay", "setup", "--nats", "x", "--stream", "LECO_2", "--max-age", "1s"];
        Cli::try_parse_from(given).unwrap();
        let given = ["leco-relay", "subscribe", "--nats", "x", "--stream", "a b"];
        Cli::try_parse_from(given).unwrap_err();
    }
}
