// SPDX-License-Identifier: GPL-3.0-or-later
//! The same traffic on other kernels, with the hooks that they prefer and with those they would fall back to.

use std::time::Duration;

use leco_e2e::program;
use leco_e2e::vm::{Booted, VmKernel, which};

/// A boot takes half a minute to a minute; on a machine that is busy with other things, several times that.
const WITHIN: Duration = Duration::from_secs(400);

fn boot(series: &str, command: &str) -> Option<Booted> {
    let kernel = VmKernel::find(series)?;
    let mut programs = vec![std::env::current_exe().unwrap()];
    programs.extend(["leco-ebpf-load", "leco-event-pipe", "leco-e2e-peer"].map(program));
    programs.extend(["ip", "nft", "nsenter", "setpriv"].map(which));
    let test = programs[0].file_name().unwrap().to_str().unwrap();
    let modules = ["veth", "nf_tables", "sctp"];
    let booted = kernel.run(&programs, &modules, &command.replace("TESTS", test), WITHIN);
    println!("Linux {series}: {:.1} s", booted.took.as_secs_f64());
    Some(booted)
}

/// Runs all other tests of this program, but those that need a whole system, with these levels of hooks.
fn traffic_passes(series: &str, hooks: &str, choices: &[&str]) {
    let forced = hooks.split_whitespace().fold(String::new(), |forced, hook| forced + " --hook " + hook);
    let command = format!(
        "leco-ebpf-load --check{forced}; LECO_TEST_REQUIRE=all LECO_TEST_SCTP=1 LECO_TEST_HOOKS='{hooks}' RUST_BACKTRACE=0 \
         TESTS --skip matrix:: --skip way:: --test-threads=1"
    );
    let Some(booted) = boot(series, &command) else { return };
    assert_eq!(booted.status, Some(0), "{}", booted.console);
    for choice in choices {
        let is_used = booted.console.lines().any(|line| {
            let mut words = line.split_whitespace();
            words.next().zip(words.next()) == choice.split_once('=')
        });
        assert!(is_used, "{choice} is not used: {}", booted.console);
    }
}

#[test]
fn linux_6_12_with_the_hooks_it_prefers() {
    let best = [
        "bytes=tp_btf",
        "state=tp_btf",
        "peer=cgroup",
        "raw=kprobe",
        "close=cgroup",
        "firewall=tp_btf",
        "listen=cgroup",
    ];
    traffic_passes("6.12", "", &best);
}

#[test]
fn linux_6_12_with_the_next_best_hooks() {
    let next = ["bytes=tracepoint", "state=tracepoint", "peer=kprobe", "raw=tp_btf", "listen=off"];
    traffic_passes("6.12", "bytes=tracepoint peer=kprobe raw=tp_btf listen=off", &next);
}

#[test]
fn linux_6_12_with_as_few_hooks_as_possible() {
    let few = "state=off accept=off peer=off raw=off close=off listen=off refused=off firewall=off dns=off live=off old=off";
    traffic_passes("6.12", few, &few.split_whitespace().collect::<Vec<_>>());
}

#[test]
fn linux_6_1_is_told_to_be_too_old() {
    let Some(booted) = boot("6.1", "leco-ebpf-load --check; leco-ebpf-load --pin /sys/fs/bpf/leco") else {
        return;
    };
    assert_eq!(booted.status, Some(5), "{}", booted.console);
    let lines: Vec<_> = booted.console.lines().filter(|line| line.contains("leco-ebpf-load: ")).collect();
    assert_eq!(lines.len(), 2, "{}", booted.console);
    for line in lines {
        assert!(
            line.contains("this kernel is 6.1.") && line.ends_with(": LECO needs Linux 6.3 or newer."),
            "{line}"
        );
    }
}
