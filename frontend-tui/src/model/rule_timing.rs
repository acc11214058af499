// SPDX-License-Identifier: GPL-3.0-or-later
//! How long rules take for a line, measured while somebody looks at them.

use std::time::{Duration, Instant};

use leco_core::model::overseer::{KnownLine, Overseer};

/// All rules together are measured for at most so long: a key is to be answered at once.
const BUDGET: Duration = Duration::from_millis(20);
/// On so many of the last lines.
const LINES: usize = 64;
/// A rule is slow beside others from so many times the middle one on,
const SLOW_FACTOR: u64 = 4;
/// and where a person could ever notice it, in ns.
const SLOW_LEAST: u64 = 1_000;

/// Time that each rule takes for a line, in ns; fewer than there are rules where time ran out.
#[must_use]
pub fn measure(overseer: &Overseer) -> Vec<u64> {
    let lines: Vec<_> = overseer.known().rev().take(LINES).collect();
    // Reading them takes its time, too.
    let lines: Vec<&str> = lines.iter().map(KnownLine::received).collect();
    let count = overseer.rules().count();
    if lines.is_empty() || count == 0 {
        return Vec::new();
    }
    let begin = Instant::now();
    let mut times = Vec::with_capacity(count);
    for rule in 0..count {
        // The first run of a pattern builds the states that it will go through.
        let _ = overseer.rule_holds(rule, lines[0]);
        let started = Instant::now();
        let mut tried = 0;
        for line in &lines {
            let _ = std::hint::black_box(overseer.rule_holds(rule, line));
            tried += 1;
            if begin.elapsed() > BUDGET {
                break;
            }
        }
        times.push(u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX) / tried);
        if begin.elapsed() > BUDGET {
            break;
        }
    }
    times
}

/// From which time on a rule is slow beside these.
pub(crate) fn slow_from(times: &[u64]) -> u64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let middle = sorted.get(sorted.len() / 2).copied().unwrap_or(0);
    (middle * SLOW_FACTOR).max(SLOW_LEAST)
}

#[cfg(test)]
mod tests {
    use leco_core::config::Config;

    use super::*;

    #[test]
    fn each_rule_is_measured_on_lines_that_are_known() {
        let config = "[rx-proc]\na = 1\nb = 2\n";
        let mut overseer = Overseer::new(Config::parse(config.as_bytes(), std::path::Path::new("test.ini")));
        assert_eq!(measure(&overseer), [0; 0], "nothing to measure on");
        overseer.receive(br#"{"ns": 1, "ns_trx": 1, "line": "me :: x"}"#, 5);
        let times = measure(&overseer).len();
        assert!((1..=2).contains(&times), "{times}");
    }

    #[test]
    fn a_slow_rule_stands_out() {
        let slow = |times: &[u64]| times.iter().filter(|time| **time >= slow_from(times)).count();
        assert_eq!(slow(&[596, 242, 869, 4_000]), 1);
        assert_eq!(slow(&[596, 242, 1_869, 3_196]), 0, "all are alike");
        assert_eq!(slow(&[20, 10, 15, 900]), 0, "nobody would notice it");
        assert_eq!(slow(&[]), 0);
    }
}
