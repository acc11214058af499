// SPDX-License-Identifier: GPL-3.0-or-later
//! What all frontends have in common.

use std::path::PathBuf;

use clap::Args;
use leco_core::config::Config;
use leco_core::query::Query;
use leco_core::source::SourceSpec;

/// What is shown, and where it is from.
#[derive(Debug, Args)]
#[group(skip)]
pub struct Input {
    /// Settings and rules [default: leco/widget.ini in the config directory, if it exists]
    pub config: Option<PathBuf>,
    /// Read events from here: fifo:PATH, unix:PATH, tcp:HOST:PORT, udp:ADDRESS:PORT, `file:PATH` or `-`;
    /// may be given several times. With ?owner=any after it, a path may belong to any user [default:
    /// leco.fifo in the runtime directory]
    #[arg(short, long, value_name = "SOURCE", allow_hyphen_values = true, value_parser = SourceSpec::parse, conflicts_with_all = ["rx_test", "check_config"])]
    pub source: Vec<SourceSpec>,
    /// The same as --source fifo:PATH
    #[arg(short, long, value_name = "PATH", conflicts_with_all = ["rx_test", "check_config"])]
    pub fifo: Option<PathBuf>,
    /// Show only connections that this chooses: words, /regex/, field:value, -not, @NAME of the config
    #[arg(long, value_name = "FILTER", allow_hyphen_values = true, value_parser = filter, conflicts_with_all = ["rx_test", "check_config"])]
    pub filter: Option<String>,
}

/// What is printed instead of shown.
#[derive(Debug, Args)]
#[group(skip)]
pub struct Checks {
    /// Show what the rules make of a line, and exit
    #[arg(short, long, value_name = "LINE", allow_hyphen_values = true, conflicts_with_all = ["debug", "check_config"])]
    pub rx_test: Option<String>,
    /// Report problems in the config, and exit: 1 if there are any
    #[arg(long, conflicts_with = "debug")]
    pub check_config: bool,
    /// Print raw events and what the rules make of them, as plain lines
    #[arg(short, long)]
    pub debug: bool,
}

/// A filter, as far as it can be read before the config is: the config may name others.
pub(crate) fn filter(text: &str) -> Result<String, String> {
    Query::check(text).map_err(|error| error.placed(text))?;
    Ok(text.to_owned())
}

/// A filter where no config names others.
pub(crate) fn filter_without_names(text: &str) -> Result<String, String> {
    Query::parse(text).map_err(|error| error.placed(text))?;
    Ok(text.to_owned())
}

/// A filter that names one which the config does not have.
#[derive(Debug, thiserror::Error)]
#[error("--filter: {0}")]
pub struct FilterError(String);

impl Input {
    /// Whether the filter can be used with a config.
    pub fn check_filter(&self, config: &Config) -> Result<(), FilterError> {
        let Some(filter) = &self.filter else { return Ok(()) };
        let read = Query::parse_with(filter, &config.names);
        read.map(|_| ()).map_err(|error| FilterError(error.placed(filter)))
    }

    /// Sources that are named on the command line, in their order.
    #[must_use]
    pub fn sources(&self) -> Vec<SourceSpec> {
        self.source.iter().cloned().chain(self.fifo.as_deref().map(SourceSpec::fifo)).collect()
    }
}
