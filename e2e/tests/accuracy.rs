// SPDX-License-Identifier: GPL-3.0-or-later
//! Whether the numbers are right: what programs counted themselves beside what LECO reports, as the table of
//! docs/ACCURACY.md. `LECO_BLESS=1` writes the table anew.

#![allow(clippy::unwrap_used)]

mod accuracy {
    pub(crate) mod datagrams;
    pub(crate) mod judge;
    pub(crate) mod mptcp;
    pub(crate) mod receiving;
    pub(crate) mod scenarios;
    pub(crate) mod sharing;
}

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use accuracy::judge::{Told, Wanted, judge};
use accuracy::scenarios::{Scenario, Start};
use accuracy::{datagrams, mptcp, receiving, scenarios, sharing};
use leco_e2e::{
    EventPipe, Kernel, LineReader, Netns, Side, boot_clock, can_test_the_kernel, program, wait_or_explain,
};
use serde_json::Value;

const PRELUDE: &str = include_str!("accuracy/prelude.py");
const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/ACCURACY.md");
const BEGIN: &str = "<!-- made by the test: LECO_BLESS=1 cargo test -p leco-e2e --test accuracy -->\n";
const END: &str = "<!-- end -->\n";
/// So long a row may take to become right.
const DEADLINE: Duration = Duration::from_secs(12);
/// So long after a row is right nothing may come that makes it wrong, where more than the end of a line counts.
const SETTLED: Duration = Duration::from_millis(200);
/// The table shows up to so many lines of a row, and of more the sum.
const SHOWN: usize = 4;
/// Options of the loader, unless a scenario says otherwise.
const OPTIONS: &[&str] = &["--update-interval", "1s"];

/// A process of a scenario.
struct Script {
    child: Child,
    stdout: LineReader,
    stderr: LineReader,
}

impl Script {
    fn start(netns: &Netns, side: Side, source: &str, port: Option<&str>) -> Self {
        let mut command;
        if let Some(shell) = source.strip_prefix("$ ") {
            command = netns.command(side, "sh");
            command.args(["-c", shell, "sh"]).env("PEER", program("leco-e2e-peer"));
        } else {
            command = netns.command(side, "python3");
            command.args(["-c", &format!("{PRELUDE}\n{source}")]);
        }
        command.args(port).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = LineReader::new(child.stdout.take().unwrap());
        let stderr = LineReader::new(child.stderr.take().unwrap());
        Self { child, stdout, stderr }
    }

    /// The line of this number, once it is there.
    fn line(&self, index: usize, what: &str) -> String {
        let what = || format!("{what}: {:#?}", self.stderr.lines());
        wait_or_explain(what, || self.stdout.lines().get(index).cloned())
    }

    /// Lets it go on from `go()`.
    fn go(&mut self) {
        // Who does not wait for it may have ended.
        let _ = self.child.stdin.as_mut().unwrap().write_all(b"\n");
    }

    /// What it has put in, and when.
    fn fed(&self) -> Vec<(u64, u64)> {
        let lines = self.stdout.lines().into_iter().filter_map(|line| serde_json::from_str(&line).ok());
        lines.filter_map(|line: Value| Some((line.get("at")?.as_u64()?, line["fed"].as_u64()?))).collect()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn shell(netns: &Netns, side: Side, script: &str) {
    if script.is_empty() {
        return;
    }
    let output = netns.command(side, "sh").args(["-ec", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

/// One line of the table.
struct Row {
    what: &'static str,
    /// Whether a process of this machine counted anything.
    is_stranger: bool,
    /// Whether it is another number of bytes each time.
    varies: bool,
    counted: Vec<Value>,
    reported: Vec<Value>,
    failure: Option<String>,
}

/// Programs, and who reads what they tell.
struct Loaded {
    pipe: EventPipe,
    kernel: Kernel,
    options: Vec<&'static str>,
}

impl Loaded {
    fn new(options: Vec<&'static str>) -> Self {
        let kernel = Kernel::load(&options);
        Self { pipe: EventPipe::start(kernel.pins(), &[]), kernel, options }
    }

    /// What another reader is told now of connections that began since then, in ns of the boot clock.
    fn look(&self, begin: u64) -> Vec<Told> {
        let mut command = Command::new(program("leco-event-pipe"));
        command.arg("--pin").arg(self.kernel.pins()).args(["-E", "-C", "-c", "conn-traffic-min=0"]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let now = boot_clock();
        let mut told = told(String::from_utf8(output.stdout).unwrap().lines().map(|line| (now, line)));
        told.retain(|told| told.event["ns"].as_u64().is_some_and(|ns| ns >= begin));
        told
    }
}

fn told<'a>(lines: impl Iterator<Item = (u64, &'a str)>) -> Vec<Told> {
    let parse = |(at, line): (u64, &str)| Told {
        at,
        event: serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")),
    };
    lines.map(parse).collect()
}

fn options_of(scenario: &Scenario) -> Vec<&'static str> {
    let default = if scenario.options.contains(&OPTIONS[0]) { &[] } else { OPTIONS };
    default.iter().chain(scenario.options).copied().collect()
}

/// Runs a scenario; the kernel side is loaded before, unless the scenario is about what was there already.
fn run(scenario: &Scenario, netns: &Netns, loaded: &mut Option<Loaded>) -> Row {
    let options = options_of(scenario);
    if scenario.is_older || loaded.as_ref().is_some_and(|loaded| loaded.options != options) {
        *loaded = None;
    }
    if !scenario.is_older {
        loaded.get_or_insert_with(|| Loaded::new(options.clone()));
    }
    // What comes later is of this scenario, or the end of another.
    let begin = boot_clock();
    let from = loaded.as_ref().map_or(0, |loaded| loaded.pipe.stdout.lines().len());
    shell(netns, Side::Near, scenario.near_setup);
    shell(netns, Side::Far, scenario.far_setup);
    let (mut near, mut far);
    match scenario.start {
        Start::Far => {
            let first =
                (!scenario.far.is_empty()).then(|| Script::start(netns, Side::Far, scenario.far, None));
            let port = first.as_ref().map_or_else(|| "9".to_owned(), |far| far.line(0, scenario.what));
            near = Script::start(netns, Side::Near, scenario.near, Some(&port));
            far = first;
        }
        Start::Near => {
            near = Script::start(netns, Side::Near, scenario.near, None);
            let port = near.line(0, scenario.what);
            far = Some(Script::start(netns, Side::Far, scenario.far, Some(&port)));
        }
    }
    let mut line = usize::from(scenario.start == Start::Near);
    let first = near.line(line, scenario.what);
    let loaded =
        if scenario.is_older { loaded.insert(Loaded::new(options)) } else { loaded.as_mut().unwrap() };
    let mut looked = Vec::new();
    if first == "ready" {
        for _ in 0..scenario.looks {
            looked.extend(loaded.look(begin));
        }
        near.go();
        far.iter_mut().for_each(Script::go);
        line += 1;
    }
    let result: Value = serde_json::from_str(&near.line(line, scenario.what)).unwrap();
    let fed = || far.as_ref().map(Script::fed).unwrap_or_default();
    let row = look(scenario, &result, fed, loaded, (from, begin), &looked);
    drop((near, far));
    shell(netns, Side::Near, scenario.near_cleanup);
    shell(netns, Side::Far, scenario.far_cleanup);
    row
}

/// What has to be reported of what a program counted.
fn wanted(scenario: &Scenario, result: &Value) -> Vec<Value> {
    let mut lines = vec![result.clone()];
    lines.extend(result["lines"].as_array().cloned().unwrap_or_default());
    for line in &mut lines {
        let line = line.as_object_mut().unwrap();
        // Other fields are the scenario's own business.
        let fields = ["pid", "uid", "raddr", "rport", "lport", "proto", "comm", "dir", "state", "rx", "tx"];
        line.retain(|key, _| fields.contains(&key.as_str()));
        line.entry("dir").or_insert_with(|| scenario.direction.into());
        line.entry("state").or_insert_with(|| scenario.state.into());
        // What the script says it does not know.
        line.retain(|_, value| !value.is_null());
        if scenario.is_stranger {
            line.retain(|key, _| !["rx", "tx"].contains(&key.as_str()));
            line.insert("pid".to_owned(), Value::Null);
        }
    }
    lines
}

/// Waits until LECO reports what the program counted.
fn look(
    scenario: &Scenario,
    result: &Value,
    fed: impl Fn() -> Vec<(u64, u64)>,
    loaded: &Loaded,
    (from, begin): (usize, u64),
    looked: &[Told],
) -> Row {
    let pipe = &loaded.pipe;
    let lines = wanted(scenario, result);
    let is_whole = result.get("lines").is_some();
    let start = Instant::now();
    let mut right_since = None;
    loop {
        let wanted = Wanted { lines: lines.clone(), is_whole, fed: fed() };
        let text = pipe.stdout.timed(from);
        let events = told(text.iter().map(|(at, line)| (*at, line.as_str())));
        let mut verdict = judge(&wanted, &events, looked);
        let settled = if is_whole { SETTLED } else { Duration::ZERO };
        let is_over = match verdict {
            Ok(_) => right_since.get_or_insert_with(Instant::now).elapsed() >= settled,
            Err(_) => start.elapsed() > DEADLINE,
        };
        if is_over {
            if verdict.is_ok() {
                let later = loaded.look(begin);
                verdict =
                    judge(&wanted, &later, &[]).map_err(|failure| format!("for a later reader: {failure}"));
            }
            let (what, is_stranger) = (scenario.what, scenario.is_stranger);
            let varies = scenario.looks > 0 || scenario.varies;
            let (reported, failure) = match verdict {
                Ok(reported) => (reported, None),
                Err(failure) => (Vec::new(), Some(format!("{failure}; {:?}", pipe.stderr.lines()))),
            };
            return Row { what, is_stranger, varies, counted: lines, reported, failure };
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What differs between lines, for a cell of the table.
fn cell(lines: &[Value], text: impl Fn(&Value) -> String) -> String {
    let mut texts: Vec<_> = lines.iter().map(text).collect();
    texts.dedup();
    texts.join(", ")
}

fn table(rows: &[Row]) -> String {
    let mut table = String::from(
        "| | what is done | counted in / out | reported in / out | process | direction | state | |\n\
         |--:|---|--:|--:|---|---|---|---|\n",
    );
    let bytes = |event: &Value| format!("{} / {}", event["rx"], event["tx"]);
    for (index, row) in rows.iter().enumerate() {
        let each = |lines: &[Value]| {
            if row.varies {
                return "differs".to_owned();
            }
            if lines.len() > SHOWN {
                let sum = |key: &str| lines.iter().filter_map(|line| line[key].as_u64()).sum::<u64>();
                return format!("{} lines: {} / {}", lines.len(), sum("rx"), sum("tx"));
            }
            lines.iter().map(bytes).collect::<Vec<_>>().join(", ")
        };
        let counted = if row.is_stranger { "–".to_owned() } else { each(&row.counted) };
        let text = |key: &str| cell(&row.reported, |event| event[key].as_str().unwrap_or("none").to_owned());
        writeln!(
            table,
            "| {} | {} | {counted} | {} | {} | {} | {} | {} |",
            index + 1,
            row.what,
            each(&row.reported),
            text("comm"),
            text("dir"),
            text("state"),
            if row.failure.is_none() { "pass" } else { "FAIL" },
        )
        .unwrap();
    }
    table
}

#[test]
fn what_is_reported_is_what_happened() {
    if !can_test_the_kernel() {
        return;
    }
    let chosen = std::env::var("LECO_SCENARIO").unwrap_or_default();
    let netns = Netns::new();
    let mut loaded = None;
    let mut rows = Vec::new();
    let all = [scenarios::ROWS, datagrams::ROWS, sharing::ROWS, receiving::ROWS, mptcp::ROWS].concat();
    let is_chosen = |scenario: &&Scenario| chosen.split('|').any(|part| scenario.what.contains(part));
    for scenario in all.iter().filter(is_chosen) {
        let start = Instant::now();
        let row = run(scenario, &netns, &mut loaded);
        let verdict = row.failure.as_deref().unwrap_or("pass");
        println!("{:.1} s, {}: {verdict}", start.elapsed().as_secs_f32(), row.what);
        rows.push(row);
    }
    let failed: Vec<_> = rows.iter().filter(|row| row.failure.is_some()).map(|row| row.what).collect();
    assert!(failed.is_empty(), "{} of {} scenarios failed: {failed:#?}", failed.len(), rows.len());
    if !chosen.is_empty() || std::env::var_os("LECO_TEST_HOOKS").is_some() {
        return;
    }
    assert!(rows.len() >= 75);
    let table = table(&rows);
    let page = fs::read_to_string(TABLE).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (old, after) = rest.split_once(END).unwrap();
    if std::env::var_os("LECO_BLESS").is_some() {
        fs::write(TABLE, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    } else {
        let differ: Vec<_> = old.lines().zip(table.lines()).filter(|(old, new)| old != new).collect();
        assert!(old == table, "docs/ACCURACY.md says something else, run with LECO_BLESS=1: {differ:#?}");
    }
}
