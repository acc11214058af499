// SPDX-License-Identifier: GPL-3.0-or-later
//! Command-line options of `leco-ebpf-load`: a field for each, so they are not split.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use leco_core::text::parse_duration;

use crate::hooks::{self, Forced};

const EXIT_CODES: &str = "\
Exit codes:
  0  loaded, or already loaded; with --check: can be loaded
  1  any other failure; with --check: cannot be loaded
  2  wrong usage
  3  not root on this machine
  4  no bpf filesystem, or the pin directory cannot be used
  5  the kernel is older than 6.3, or has no BTF
  6  the kernel refused something that LECO needs

Hooks, as --hook NAME=LEVEL; the first level is the best, and is used where the kernel has it:
";

/// Exit codes, and the levels of every hook.
fn details() -> String {
    EXIT_CODES.to_owned() + hooks::levels().trim_end()
}

/// Loads LECO's eBPF programs, and pins them for leco-event-pipe or leaves them with the service manager.
///
/// Pinned programs stay when this command ends. Without --pin it runs before a service starts (ExecStartPre=):
/// the service manager then passes the programs to leco-event-pipe, and unloads them when the service stops.
/// It is safe to run again: the same version with the same options is left as it is, any other is replaced,
/// and what it knew is taken over.
#[derive(Debug, Parser)]
#[command(name = "leco-ebpf-load", version, after_help = details())]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Cli {
    /// Directory below /sys/fs/bpf/ for maps and links
    #[arg(short, long, value_name = "DIR")]
    pub pin: Option<PathBuf>,
    /// With --pin: also leave the maps with the service manager, for a pipe that cannot reach the
    /// directory
    #[arg(long, requires = "pin", conflicts_with_all = ["check", "unload"])]
    pub pin_fdstore: bool,
    /// With --pin: group that may read connections, so that the pipe does not need root
    #[arg(short, long, value_name = "NAME", requires = "pin", conflicts_with_all = ["check", "unload"])]
    pub group: Option<String>,
    /// Announce a connection at most once in this time
    #[arg(long, value_name = "TIME", conflicts_with = "unload", default_value = "3s", value_parser = parse_duration)]
    pub update_interval: Duration,
    /// Number of closed connections to remember, and of flows without a socket of their own
    #[arg(long, value_name = "N", conflicts_with = "unload", default_value_t = 8192)]
    pub max_conns: u32,
    /// Size in bytes of the ring buffer between kernel and pipe, a power of two
    #[arg(long, value_name = "BYTES", conflicts_with = "unload", default_value_t = 256 * 1024)]
    pub ring_size: u32,
    /// Do not read the DNS responses that processes receive
    #[arg(long, conflicts_with = "unload")]
    pub no_dns: bool,
    /// Do not read the names that processes send when they connect (TLS, QUIC, proxies)
    #[arg(long, conflicts_with = "unload")]
    pub no_hello: bool,
    /// Use only this level of a hook, see below
    #[arg(long, value_name = "NAME=LEVEL", conflicts_with = "unload")]
    pub hook: Vec<Forced>,
    /// Fit the programs to the types in this file, for tests of what a kernel may lack
    #[arg(long, value_name = "FILE", hide = true, conflicts_with = "unload")]
    pub btf: Option<PathBuf>,
    /// Print what this kernel supports, and what is lost where it does not; nothing stays loaded
    #[arg(long, conflicts_with_all = ["pin", "unload"])]
    pub check: bool,
    /// With --check: print JSON
    #[arg(long, requires = "check")]
    pub json: bool,
    /// Remove the pins, which unloads the programs
    #[arg(short, long, requires = "pin")]
    pub unload: bool,
    /// Print what is attached, and the messages of libbpf and the kernel
    #[arg(short, long)]
    pub verbose: bool,
}
