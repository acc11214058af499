// SPDX-License-Identifier: GPL-3.0-or-later
//! What the model costs: rules, events, frames.

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use leco_core::config::Config;
use leco_core::lists::List;
use leco_core::model::overseer::{Answers, Overseer};
use leco_core::query::Query;

use crate::report::Report;
use crate::statistics::Estimate;
use crate::tui::{KNOWN, detailed_event};

pub(crate) const LINE: &str =
    "18:32 :: myuser :: drill [tmux-spawn-822f3728+] :: 192.0.2.1 853 :: v 58B / 26B ^";
const ROUNDS: usize = 21;

/// Time of one call in µs.
pub(crate) fn median_us(calls: u32, mut call: impl FnMut()) -> Estimate {
    let times = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..calls {
                call();
            }
            start.elapsed().as_secs_f64() * 1e6 / f64::from(calls)
        })
        .collect();
    Estimate::median(times)
}

pub(crate) fn config(text: &str) -> Result<Config> {
    let config = Config::parse(text.as_bytes(), Path::new("bench.ini"));
    ensure!(config.diagnostics.is_empty(), "{:?}", config.diagnostics);
    Ok(config)
}

/// So many rules of the kinds that widget.ini has, few of which match.
pub(crate) fn rules(count: usize) -> String {
    let mut text = String::from("[rx-proc]\n");
    for number in 0..count {
        text += &match number % 5 {
            0 => format!("\\ {number}53/udp :: = \\ name{number} ::\n"),
            1 => format!(":: (fire|water)fox{number}\\b.* :: (\\S+) 443 :: = $1 $2\n"),
            2 => format!("/proc{number}/ && !/{number}/ = x\n"),
            3 => format!("\\ \\[app-(gnome|kde)?-?([\\w.]+){number}\\S*\\] :: = \\ [$2] ::\n"),
            _ => format!("^(\\s*\\S+ ::) user{number} :: = $1\n"),
        };
    }
    text + "\\ \\[tmux-spawn-\\S+\\] :: = \\ [tmux] ::\n"
}

/// Figures of the model, against their limits.
pub(crate) fn measure(report: &mut Report) -> Result<()> {
    measure_usual(report)?;
    measure_filter(report)?;
    measure_many_rules(report)?;
    measure_lists(report)?;
    measure_hostile_regexes(report)
}

/// As many rules and lines as people have.
fn measure_usual(report: &mut Report) -> Result<()> {
    let mut hundred = config(&rules(99))?.rules;
    let time = median_us(500, || drop(black_box(hundred.apply(black_box(LINE)))));
    report.limit("100 rules on a line, one of which matches", time, 10.0, "µs");

    let mut overseer = Overseer::new(config(&rules(24))?);
    overseer.frame(1, 50);
    let mut now = 1_000_000_000_u64;
    let time = median_us(500, || {
        now += 1_000_000;
        let ns = now % 50;
        let event = format!("{{\"ns\":{ns},\"ns_trx\":{now},\"line\":\"{LINE}\",\"more\":\"{:x<180}\"}}", "");
        overseer.receive(event.as_bytes(), now);
    });
    report.limit("receiving a 300-byte event with 25 rules", time, 5.0, "µs");

    for ns in 0..50 {
        let event = format!("{{\"ns\":{ns},\"ns_trx\":{now},\"line\":\"{LINE}\"}}");
        overseer.receive(event.as_bytes(), now);
    }
    let time = median_us(2000, || {
        black_box(overseer.frame(now, 50));
    });
    report.limit("a frame of 50 lines", time, 10.0, "µs");
    Ok(())
}

/// What is asked of all lines that a list has, packed as they are.
fn measure_filter(report: &mut Report) -> Result<()> {
    let mut overseer = Overseer::with_list(Config::default(), "");
    let now = 1_000_000_000_000;
    for number in 0..KNOWN {
        overseer.receive(detailed_event(number, now).to_string().as_bytes(), now);
    }
    ensure!(overseer.known().len() as u64 == KNOWN, "lines are missing");
    let mut slowest: f64 = 0.0;
    for filter in ["edge77", "port:443 proc:ssh", "peer:2001 -state:closed", "/edge[0-9]+7\\./ unit:scope"] {
        let query = Query::parse(filter)?;
        let time = median_us(1, || {
            let answers = Answers::default();
            black_box(overseer.known().filter(|line| line.is_chosen(&query, &answers, now)).count());
        });
        slowest = slowest.max(time.value / 1000.0);
    }
    report.limit("a filter over 10,000 lines known with -E", slowest, 50.0, "ms");
    let time = median_us(1, || {
        let mut totals: Vec<_> = overseer.known().map(|line| line.total().total()).collect();
        totals.sort_unstable();
        black_box(totals);
    });
    report.limit("the same lines sorted by their bytes", time / 1000.0, 10.0, "ms");
    let mut number = 0;
    let time = median_us(100, || {
        number += 1;
        let mut event = detailed_event(number % 1000, now);
        event["ns_trx"] = (now + number).into();
        overseer.receive(event.to_string().as_bytes(), now + number);
    });
    report.limit("receiving a 1,000-byte event among them, its making included", time, 30.0, "µs");
    Ok(())
}

/// Lists as those who block trackers publish them.
fn measure_lists(report: &mut Report) -> Result<()> {
    // So they are in no order.
    let mixed = |number: u32| number.wrapping_mul(2_654_435_761);
    measure_list(report, "domains", "www.", |number| format!("ad{number}.tracker{}.test", number % 1000))?;
    measure_list(report, "IPv4 addresses", "", |number| Ipv4Addr::from(mixed(number)).to_string())?;
    measure_list(report, "IPv6 addresses", "", |number| {
        format!("2001:db8:{:x}:{:x}::1", mixed(number) >> 16, mixed(number) & 0xffff)
    })
}

/// A list of a million entries, and peers of which half are in it.
fn measure_list(report: &mut Report, kind: &str, before: &str, entry: impl Fn(u32) -> String) -> Result<()> {
    let lines: Vec<_> = (1..=1_000_000).map(&entry).collect();
    let text = lines.join("\n");
    let start = Instant::now();
    let (list, _) = List::parse(text.as_bytes(), Path::new("list"))?;
    report.limit(&format!("reading a list of a million {kind}"), start.elapsed().as_secs_f64(), 2.0, "s");
    ensure!(list.len() == lines.len(), "{} of {kind}", list.len());
    report.limit(&format!("a list of a million {kind}: memory"), list.bytes() as f64 / 1e6, 30.0, "MB");
    let peers: Vec<_> = (1..=20_000).map(|number| before.to_owned() + &entry(number * 100)).collect();
    let found = || peers.iter().filter(|peer| list.has(peer)).count();
    ensure!(found() == peers.len() / 2, "{} of {kind} are found", found());
    let time = median_us(1, || {
        black_box(found());
    });
    report.limit(&format!("looking a peer up in a million {kind}"), time / peers.len() as f64, 1.0, "µs");
    Ok(())
}

/// What is typed and generated: a hosts file made into rules has as many.
fn measure_many_rules(report: &mut Report) -> Result<()> {
    let text = rules(9999);
    let load = || {
        let start = Instant::now();
        config(&text).map(|config| (config, start.elapsed()))
    };
    let (many, first_load) = load()?;
    let (_, second_load) = load()?;
    report.limit("loading 10,000 rules", first_load.min(second_load).as_secs_f64(), 1.0, "s");
    let mut many = many.rules;
    let start = Instant::now();
    black_box(many.apply(LINE));
    report.limit("the first line through 10,000 rules", start.elapsed().as_secs_f64() * 1000.0, 16.0, "ms");
    let time = median_us(500, || drop(black_box(many.apply(black_box(LINE)))));
    report.limit("10,000 rules on a line, one of which matches", time, 50.0, "µs");
    Ok(())
}

/// Regexes that take exponential time in engines without a limit of steps.
fn measure_hostile_regexes(report: &mut Report) -> Result<()> {
    let line = "a".repeat(4096) + "!";
    for regex in ["(?=(a+)+$).", "(?=a)(a|a)+\\1$"] {
        let mut rules = config(&format!("[rx-proc]\n{regex} = x\n"))?.rules;
        for length in [4097, 1000] {
            let time = median_us(1, || drop(black_box(rules.apply(&line[4097 - length..]))));
            report.limit(&format!("{regex} on {length} bytes"), time / 1000.0, 5.0, "ms");
        }
    }
    Ok(())
}
