// SPDX-License-Identifier: GPL-3.0-or-later
//! What was measured, and on what.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use jiff::Timestamp;

/// A program built by cargo that LECO is measured beside, which script/bench installs.
pub(crate) fn yardstick(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/yardsticks/bin").join(name)
}

/// Machine, system and versions; what cannot be found out is left out.
pub(crate) fn describe() -> Vec<(String, String)> {
    let package = env!("CARGO_MANIFEST_DIR");
    let first = |program: &str, arguments: &[&str]| output(Path::new(program), arguments);
    let commit = first("git", &["-C", package, "describe", "--always", "--dirty", "--abbrev=12"]);
    let commit = commit.map_or_else(String::new, |commit| format!(", commit {commit}"));
    let yardsticks = [
        ("conky", PathBuf::from("conky"), "--version"),
        ("nethogs", "nethogs".into(), "-V"),
        ("bandwhich", yardstick("bandwhich"), "--version"),
        ("rustnet-monitor", yardstick("rustnet"), "--version"),
        ("netwatch-tui", yardstick("netwatch"), "--version"),
    ];
    let system = [
        ("Date", Some(Timestamp::now().strftime("%Y-%m-%d").to_string())),
        ("LECO", Some(format!("{}{commit}", env!("CARGO_PKG_VERSION")))),
        ("Processor", processor()),
        ("Memory", memory()),
        ("Kernel", Some(first("uname", &["-srm"]).unwrap_or_default())),
        ("JIT of eBPF", read("/proc/sys/net/core/bpf_jit_enable")),
        ("System", read("/etc/os-release").and_then(|text| value(&text, "PRETTY_NAME=", '\n'))),
        ("Governor", read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        ("Load before (1, 5, 15 min)", read("/proc/loadavg").map(|text| first_words(&text, 3))),
        ("Rust", first("rustc", &["--version"])),
        ("clang", first("clang", &["--version"])),
    ];
    let yardsticks =
        yardsticks.into_iter().map(|(name, program, option)| (name, output(&program, &[option])));
    let all = system.into_iter().chain(yardsticks);
    all.filter_map(|(name, value)| Some((name.to_owned(), value.filter(|value| !value.is_empty())?)))
        .collect()
}

/// The first line that a program prints.
fn output(program: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    Some(String::from_utf8_lossy(&text).lines().find(|line| !line.trim().is_empty())?.trim().to_owned())
}

fn read(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

fn first_words(text: &str, count: usize) -> String {
    text.split_whitespace().take(count).collect::<Vec<_>>().join(" ")
}

fn value(text: &str, label: &str, end: char) -> Option<String> {
    let rest = text.lines().find_map(|line| line.strip_prefix(label))?;
    Some(rest.split(end).next()?.trim().trim_matches(['"', ':', '\t', ' ']).to_owned())
}

fn processor() -> Option<String> {
    let text = read("/proc/cpuinfo")?;
    let model = value(&text, "model name", '\n').unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Some(format!("{model}, {count} used"))
}

fn memory() -> Option<String> {
    let kib: f64 = value(&read("/proc/meminfo")?, "MemTotal:", 'k')?.parse().ok()?;
    Some(format!("{:.0} GiB", kib / f64::from(1 << 20)))
}
