//! Whether the numbers are right: what programs counted themselves beside what LECO reports, as the table of
//! docs/ACCURACY.md. `LECO_BLESS=1` writes the table anew.

#![allow(clippy::unwrap_used)]

mod accuracy {
    pub(crate) mod scenarios;
}

use std::fmt::Write as _;
use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use accuracy::scenarios::{SCENARIOS, Scenario, Start};
use leco_e2e::{EventPipe, Kernel, LineReader, Netns, Side, can_test_the_kernel, program, wait_or_explain};
use serde_json::{Value, json};

const PRELUDE: &str = include_str!("accuracy/prelude.py");
const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/ACCURACY.md");
const BEGIN: &str = "<!-- made by the test: LECO_BLESS=1 cargo test -p leco-e2e --test accuracy -->\n";
const END: &str = "<!-- end -->\n";
/// So long a row may take to become right.
const DEADLINE: Duration = Duration::from_secs(12);

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
    counted: Option<(u64, u64)>,
    reported: Value,
    failure: Option<String>,
}

/// Runs a scenario; the kernel side is loaded before, unless the scenario is about what was there already.
fn run(scenario: &Scenario, netns: &Netns, loaded: &mut Option<(EventPipe, Kernel)>) -> Row {
    let load = || {
        let options: Vec<_> = ["--update-interval", "1s"].iter().chain(scenario.hooks).copied().collect();
        let kernel = Kernel::load(&options);
        (EventPipe::start(kernel.pins(), &[]), kernel)
    };
    if scenario.is_older || !scenario.hooks.is_empty() {
        *loaded = None;
    }
    if !scenario.is_older {
        loaded.get_or_insert_with(load);
    }
    shell(netns, Side::Near, scenario.near_setup);
    shell(netns, Side::Far, scenario.far_setup);
    let (near, far);
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
    let told = usize::from(scenario.start == Start::Near);
    let pipe = if scenario.is_older {
        let _ = near.line(told, scenario.what);
        &loaded.insert(load()).0
    } else {
        &loaded.as_ref().unwrap().0
    };
    let result: Value = serde_json::from_str(&near.line(told, scenario.what)).unwrap();
    let row = look(scenario, &result, pipe);
    drop((near, far));
    if !scenario.hooks.is_empty() {
        *loaded = None;
    }
    shell(netns, Side::Near, scenario.near_cleanup);
    shell(netns, Side::Far, scenario.far_cleanup);
    row
}

/// Waits until LECO reports what the program counted.
fn look(scenario: &Scenario, result: &Value, pipe: &EventPipe) -> Row {
    let mut wanted = json!({"dir": scenario.direction, "state": scenario.state});
    if !scenario.is_stranger {
        wanted["rx"] = result["rx"].clone();
        wanted["tx"] = result["tx"].clone();
    }
    for key in ["raddr", "rport", "lport", "proto", "comm"] {
        if result.get(key).is_some() {
            wanted[key] = result[key].clone();
        }
    }
    let pid = if scenario.is_stranger { Value::Null } else { result["pid"].clone() };
    // What else a process does is not this scenario's business where it names its peer.
    let is_meant = |event: &Value| {
        event["pid"] == pid
            && event.get("dir").is_some()
            && ["raddr", "rport", "lport"]
                .iter()
                .all(|key| result.get(*key).is_none_or(|value| *value == event[*key]))
    };
    let start = Instant::now();
    loop {
        let events: Vec<Value> = pipe.events().into_iter().filter(is_meant).collect();
        let last = events.last().cloned().unwrap_or_default();
        let is_right = wanted.as_object().unwrap().iter().all(|(key, value)| last[key] == *value);
        let mut lines: Vec<_> = events.iter().filter_map(|event| event["ns"].as_u64()).collect();
        lines.sort_unstable();
        lines.dedup();
        let failure = if !is_right {
            Some(format!("{wanted} was counted, {last} is reported; {:?}", pipe.stderr.lines()))
        } else if lines.len() > 1 {
            Some(format!("it is {} lines", lines.len()))
        } else {
            None
        };
        if failure.is_none() || start.elapsed() > DEADLINE {
            let counted = (!scenario.is_stranger)
                .then(|| (result["rx"].as_u64().unwrap(), result["tx"].as_u64().unwrap()));
            return Row { what: scenario.what, counted, reported: last, failure };
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn table(rows: &[Row]) -> String {
    let mut table = String::from(
        "| | what is done | counted in / out | reported in / out | process | direction | state | |\n\
         |--:|---|--:|--:|---|---|---|---|\n",
    );
    for (index, row) in rows.iter().enumerate() {
        let counted = row.counted.map_or("–".to_owned(), |(rx, tx)| format!("{rx} / {tx}"));
        let event = &row.reported;
        let text = |key: &str| event[key].as_str().unwrap_or("none").to_owned();
        writeln!(
            table,
            "| {} | {} | {counted} | {} / {} | {} | {} | {} | {} |",
            index + 1,
            row.what,
            event["rx"],
            event["tx"],
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
    for scenario in SCENARIOS.iter().filter(|scenario| scenario.what.contains(&chosen)) {
        let row = run(scenario, &netns, &mut loaded);
        println!("{}: {}", row.what, row.failure.as_deref().unwrap_or("pass"));
        rows.push(row);
    }
    let failed = rows.iter().filter(|row| row.failure.is_some()).count();
    assert_eq!(failed, 0, "scenarios failed");
    if !chosen.is_empty() || std::env::var_os("LECO_TEST_HOOKS").is_some() {
        return;
    }
    assert!(rows.len() >= 30);
    let table = table(&rows);
    let page = fs::read_to_string(TABLE).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (old, after) = rest.split_once(END).unwrap();
    if std::env::var_os("LECO_BLESS").is_some() {
        fs::write(TABLE, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    } else {
        assert_eq!(old, table, "docs/ACCURACY.md says something else: run with LECO_BLESS=1");
    }
}
