// SPDX-License-Identifier: GPL-3.0-or-later
//! Metrics against what programs sent and received, as a real Prometheus reads them.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use leco_e2e::{
    Cgroup, EventPipe, FAR_V4, Kernel, NEAR_V4, Netns, Running, Side, can_test_the_kernel, program,
    run_to_end, skip, wait_for, wait_or_explain,
};
use rustix::process::Signal;
use serde_json::Value;

/// Of Prometheus: the distribution's, or what `script/bootstrap` unpacked.
fn tool(name: &str) -> Option<PathBuf> {
    let this = std::env::current_exe().unwrap();
    let fetched = this.ancestors().map(|folder| folder.join("tools/prometheus/bin").join(name));
    let found = [Path::new("/usr/bin").join(name)].into_iter().chain(fetched).find(|path| path.exists());
    if found.is_none() {
        let _ = skip(&format!("there is no {name}"));
    }
    found
}

/// A unit whose processes are watched.
struct Unit {
    cgroup: Cgroup,
    name: String,
}

impl Unit {
    fn new(name: &str) -> Self {
        let name = format!("leco-test-{}-{name}.service", std::process::id());
        Self { cgroup: Cgroup::new(&name), name }
    }

    /// The label of it, as it is written.
    fn label(&self) -> String {
        self.name.replace('\\', r"\\").replace('"', r#"\""#)
    }

    /// Starts a process of it at the near end that does these steps.
    fn start(&self, netns: &Netns, steps: &[&str]) -> Running {
        let mut command = netns.command(Side::Near, "sh");
        command.args(["-c", "echo $$ >\"$0\" && exec \"$@\""]).arg(self.cgroup.procs());
        command.arg(program("leco-e2e-peer")).arg("").args(steps);
        Running(command.stdin(Stdio::piped()).spawn().unwrap())
    }

    fn run(&self, netns: &Netns, steps: &[&str]) {
        finish(self.start(netns, steps));
    }
}

/// Lets a process go on from `hold`, and waits for its end.
fn finish(mut peer: Running) {
    drop(peer.0.stdin.take());
    let status = wait_for("the peer to end", || peer.0.try_wait().unwrap());
    assert!(status.success(), "{status}");
}

/// At the far end: takes connections, sends each `sends` bytes, and says how many bytes came before its end.
fn server(netns: &Netns, sends: usize) -> (SocketAddr, std::sync::mpsc::Receiver<usize>) {
    let listener = netns.at_far_end(|| TcpListener::bind((FAR_V4, 0)).unwrap());
    let address = listener.local_addr().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let tell = tell.clone();
            thread::spawn(move || {
                stream.write_all(&vec![b'x'; sends]).unwrap();
                let mut came = Vec::new();
                // A reset ends it, too.
                let _ = stream.read_to_end(&mut came);
                let _ = tell.send(came.len());
            });
        }
    });
    (address, told)
}

/// Every time series of a file, and that it is whole.
fn series(path: &Path) -> BTreeMap<String, u64> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.starts_with("# HELP leco_") && text.ends_with('\n'), "half a file: {text}");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            line.rsplit_once(' ').map(|(name, value)| (name.to_owned(), value.parse().unwrap())).unwrap()
        })
        .collect()
}

/// What a unit's series are, without its name. Connects that were under way leave a zero where a look fell into them.
fn of_unit(all: &BTreeMap<String, u64>, unit: &Unit) -> BTreeMap<String, u64> {
    let label = format!("{{unit=\"{}\",", unit.label());
    all.iter()
        .filter(|(name, value)| name.contains(&label) && !(name.contains("connecting") && **value == 0))
        .map(|(name, value)| (name.replace(&label, "{"), *value))
        .collect()
}

/// Waits until the unit's series are these, of which no counter ever goes backwards.
fn expect(path: &Path, unit: &Unit, wanted: &[(&str, u64)]) {
    let wanted: BTreeMap<String, u64> =
        wanted.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    wait_or_explain(
        || format!("{wanted:#?} in {:#?}", of_unit(&series(path), unit)),
        || {
            let now = series(path);
            for (name, value) in &last {
                assert!(!name.contains("_total") || now.get(name) >= Some(value), "{name} goes backwards");
            }
            last = now;
            (of_unit(&last, unit) == wanted).then_some(())
        },
    );
}

fn check(path: &Path, promtool: &Path) {
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" check metrics <\"$1\""]).args([promtool, path]);
    let output = run_to_end(command);
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    assert!(output.status.success() && said == ["", ""], "{said:?}");
}

fn metrics(folder: &Path, name: &str, every: &str) -> (PathBuf, String) {
    let path = folder.join(name);
    let output = format!("metrics:{}?every={every}", path.display());
    (path, output)
}

/// A pipe that has begun to count, with the umask of a service.
fn start(kernel: &Kernel, paths: &[&Path], outputs: &[&str]) -> EventPipe {
    let outputs: Vec<_> = outputs.iter().flat_map(|output| ["-o", output]).collect();
    let mut command = Command::new("sh");
    command.args(["-c", "umask 077 && exec \"$0\" \"$@\""]).arg(program("leco-event-pipe"));
    let pipe = EventPipe::spawn({
        command.arg("--pin").arg(kernel.pins()).args(outputs);
        command
    });
    for path in paths {
        wait_or_explain(
            || format!("{} {:?}", path.display(), pipe.stderr.lines()),
            || path.exists().then_some(()),
        );
    }
    pipe
}

#[test]
fn metrics_are_what_programs_sent_and_received() {
    let Some(promtool) = tool("promtool") else { return };
    if !can_test_the_kernel() {
        return;
    }
    let (kernel, netns) = (Kernel::load(&["--update-interval", "1"]), Netns::new());
    let folder = tempfile::tempdir().unwrap();
    let unit = Unit::new(r#"a "b" \c {d="e"} 1"#);
    let (address, told) = server(&netns, 54_321);
    let address = address.to_string();
    // What is before the pipe does not count, and what the same connection moves afterwards does.
    let old = unit.start(&netns, &["tcp", &address, "send", "4000", "recv", "54321", "hold", "send", "100"]);
    wait_for("the old connection", || {
        let output = Command::new(program("leco-event-pipe"))
            .arg("--pin")
            .arg(kernel.pins())
            .args(["-E", "-C", "-c", "conn-traffic-min=0 memory=off"])
            .output()
            .unwrap();
        let events = String::from_utf8(output.stdout).unwrap();
        events.lines().any(|event| event.contains("\"rx\":54321,\"tx\":4000")).then_some(())
    });
    let (path, output) = metrics(folder.path(), "leco.prom", "1s");
    let (rare, rare_output) = metrics(folder.path(), "rare.prom", "1h");
    let mut pipe = start(&kernel, &[&path, &rare], &[&output, &rare_output]);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    let tcp = r#"{direction="out",protocol="tcp"}"#;
    let of = |name: &str, labels: &str| format!("leco_{name}{labels}");
    let open = |labels: &str| of("open_connections", &labels.replace('}', r#",state="open"}"#));
    let (connections, received, sent) = ("connections_total", "received_bytes_total", "sent_bytes_total");
    expect(
        &path,
        &unit,
        &[(&of(connections, tcp), 0), (&of(received, tcp), 0), (&of(sent, tcp), 0), (&open(tcp), 1)],
    );
    check(&path, &promtool);
    finish(old);
    assert_eq!(told.recv_timeout(leco_e2e::DEADLINE).unwrap(), 4100);

    unit.run(&netns, &["tcp", &address, "recv", "54321", "send", "100000"]);
    assert_eq!(told.recv_timeout(leco_e2e::DEADLINE).unwrap(), 100_000);
    let far_socket = netns.at_far_end(|| UdpSocket::bind((FAR_V4, 0)).unwrap());
    unit.run(&netns, &["udp", &far_socket.local_addr().unwrap().to_string(), "send", "9", "send", "1000"]);
    let nobody = netns.at_far_end(|| TcpListener::bind((FAR_V4, 0)).unwrap().local_addr().unwrap());
    unit.run(&netns, &["try", &nobody.to_string()]);
    let here = netns.at_near_end(|| TcpListener::bind((NEAR_V4, 0)).unwrap().local_addr().unwrap());
    let called = unit.start(&netns, &["accept", &here.to_string(), "recv", "777", "send", "11", "hold"]);
    let mut client = netns.at_far_end(|| wait_for("who accepts", || TcpStream::connect(here).ok()));
    client.write_all(&[b'x'; 777]).unwrap();
    client.read_exact(&mut [0; 11]).unwrap();
    let (udp, incoming) = (tcp.replace("tcp", "udp"), tcp.replace("out", "in"));
    let all = |open_incoming| {
        [
            (of(connections, tcp), 2),
            (of(received, tcp), 54_321),
            (of(sent, tcp), 100_100),
            (of("failures_total", &tcp.replace('}', r#",state="refused"}"#)), 1),
            (open(tcp), 0),
            (of(connections, &udp), 1),
            (of(received, &udp), 0),
            (of(sent, &udp), 1009),
            (open(&udp), 0),
            (of(connections, &incoming), 1),
            (of(received, &incoming), 777),
            (of(sent, &incoming), 11),
            (open(&incoming), open_incoming),
        ]
    };
    let expect_all = |path: &Path, open_incoming| {
        let all = all(open_incoming);
        let wanted: Vec<_> = all.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        expect(path, &unit, &wanted);
    };
    expect_all(&path, 1);
    check(&path, &promtool);
    finish(called);
    drop(client);
    expect_all(&path, 0);

    // What is in the way is said once, and also when it is gone.
    let in_the_way = folder.path().join(".leco.prom.unfinished");
    fs::create_dir(&in_the_way).unwrap();
    let said = |what: &str| pipe.stderr.lines().iter().filter(|line| line.contains(what)).count();
    wait_for("a complaint", || (said("cannot write") == 1).then_some(()));
    unit.run(&netns, &["udp", &far_socket.local_addr().unwrap().to_string(), "send", "5"]);
    fs::remove_dir(&in_the_way).unwrap();
    wait_for("the end of it", || (said("leco.prom is written again") == 1).then_some(()));
    assert_eq!(said("cannot write"), 1);
    wait_for("what came meanwhile", || {
        (of_unit(&series(&path), &unit).get(&of(sent, &udp)) == Some(&1014)).then_some(())
    });

    // At the end everything is written.
    pipe.signal(Signal::TERM);
    assert!(pipe.wait().success());
    assert_eq!(of_unit(&series(&rare), &unit), of_unit(&series(&path), &unit));
    assert_eq!(of_unit(&series(&rare), &unit).get(&of(sent, &udp)), Some(&1014));
    check(&rare, &promtool);
    let left = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 2, "an unfinished file stays behind");
}

#[test]
fn a_real_prometheus_answers_with_them() {
    let (Some(prometheus), Some(exporter)) = (tool("prometheus"), tool("prometheus-node-exporter")) else {
        return;
    };
    if !can_test_the_kernel() {
        return;
    }
    let (kernel, netns) = (Kernel::load(&["--update-interval", "1"]), Netns::new());
    let folder = tempfile::tempdir().unwrap();
    let unit = Unit::new("scraped");
    let (address, _told) = server(&netns, 5000);
    let (path, output) = metrics(folder.path(), "leco.prom", "1s");
    let mut pipe = start(&kernel, &[&path], &[&output]);

    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (exporter_at, prometheus_at) = (free(), free());
    let config = folder.path().join("prometheus.yml");
    let text = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n  - {{job_name: node, static_configs: [{{targets: ['{exporter_at}']}}]}}\n"
    );
    fs::write(&config, text).unwrap();
    let log = |name: &str| fs::File::create(folder.path().join(name)).unwrap();
    let quiet = |command: &mut Command, name: &str| {
        Running(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log(name)).spawn().unwrap())
    };
    let _exporter = quiet(
        Command::new(exporter)
            .args(["--collector.disable-defaults", "--collector.textfile"])
            .arg(format!("--collector.textfile.directory={}", folder.path().display()))
            .arg(format!("--web.listen-address={exporter_at}")),
        "exporter.log",
    );
    let _prometheus = quiet(
        Command::new(prometheus)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={prometheus_at}")),
        "prometheus.log",
    );
    let ask = |query: &str| -> Option<Value> {
        let mut command = Command::new("curl");
        command.args(["-sfG", &format!("http://{prometheus_at}/api/v1/query"), "--data-urlencode"]);
        let answer: Value = serde_json::from_slice(
            &run_to_end({
                command.arg(format!("query={query}"));
                command
            })
            .stdout,
        )
        .ok()?;
        Some(answer["data"]["result"].get(0)?["value"][1].clone())
    };
    let logs = || {
        ["exporter.log", "prometheus.log"].map(|name| fs::read_to_string(folder.path().join(name)).unwrap())
    };
    for (round, bytes) in [(1, 3000), (2, 1234)] {
        unit.run(&netns, &["tcp", &address.to_string(), "recv", "5000", "send", &bytes.to_string()]);
        let sent = if round == 1 { 3000 } else { 4234 };
        for (query, expected) in [
            (format!("sum(leco_sent_bytes_total{{unit=\"{}\"}})", unit.name), sent),
            (
                format!(
                    "leco_received_bytes_total{{unit=\"{}\",direction=\"out\",protocol=\"tcp\"}}",
                    unit.name
                ),
                5000 * round,
            ),
            (format!("sum by (unit) (leco_connections_total{{unit=\"{}\"}})", unit.name), round),
            ("node_textfile_scrape_error".to_owned(), 0),
        ] {
            let expected = expected.to_string();
            wait_or_explain(
                || format!("{query} = {expected}, not {:?}: {:?}", ask(&query), logs()),
                || (ask(&query)? == expected).then_some(()),
            );
        }
    }
    // A pipe that ends leaves a file that grows old: that is how it is noticed.
    pipe.signal(Signal::TERM);
    assert!(pipe.wait().success());
    let written = fs::metadata(&path).unwrap().mtime();
    wait_for("the file's time", || {
        let told = ask("node_textfile_mtime_seconds")?.as_str()?.parse::<f64>().ok()?;
        #[allow(clippy::cast_precision_loss, reason = "seconds since 1970")]
        let is_old = (told - written as f64).abs() < 1.0;
        is_old.then_some(())
    });
}
