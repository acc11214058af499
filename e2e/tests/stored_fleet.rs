// SPDX-License-Identifier: GPL-3.0-or-later
//! The example that stores the events of a fleet in a database, with real servers: whatever is killed, each event is there
//! once.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use leco_e2e::{Running, program, run_to_end, skip, wait_for, wait_or_explain};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The example's user, and one who may not acknowledge.
const FLEET: &str = include_str!("../../docs/FLEET.md");
/// Connections that were active in the last hour, and those of them that were before.
const CONNECTIONS: u64 = 20_000;
const OLD_EACH: u64 = 50;
const OLD: u64 = CONNECTIONS / OLD_EACH;

/// Below `target`, or nothing with a word about it.
fn fetched(name: &str) -> Option<PathBuf> {
    let this = std::env::current_exe().unwrap();
    let found = this.ancestors().map(|folder| folder.join("tools").join(name)).find(|path| path.exists());
    if found.is_none() {
        let _ = skip(&format!("there is no {name} below target/tools"));
    }
    found
}

/// The distribution's server, and a current one.
fn servers() -> Vec<PathBuf> {
    let installed = ["/usr/sbin/nats-server", "/usr/bin/nats-server"].map(PathBuf::from);
    installed
        .into_iter()
        .filter(|path| path.exists())
        .take(1)
        .chain(fetched("nats/bin/nats-server"))
        .collect()
}

/// A server with its store, which outlives it, and the database.
struct Fleet {
    server: PathBuf,
    modules: PathBuf,
    folder: TempDir,
    port: u16,
    running: Option<Running>,
}

impl Fleet {
    fn start(server: &Path, modules: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (_, chapter) = FLEET.split_once("## Into a database").unwrap();
        let user = chapter.split("```conf\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let may_not = user.replace("store", "mute").replace(r#", "$JS.ACK.LECO.sqlite.>""#, "");
        assert!(may_not.len() < user.len(), "{user}");
        let users = format!("{{ user: admin, password: change-me }}\n{user}\n{may_not}");
        fs::write(folder.path().join("server.conf"), format!("authorization {{ users = [\n{users}] }}"))
            .unwrap();
        fs::write(folder.path().join("password"), "change-me\n").unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (server, modules) = (server.to_owned(), modules.to_owned());
        let mut fleet = Self { server, modules, folder, port, running: None };
        fleet.start_again();
        fleet
    }

    /// Kills what runs.
    fn start_again(&mut self) {
        self.running = None;
        let mut command = Command::new(&self.server);
        command.args(["-a", "127.0.0.1", "-p", &self.port.to_string(), "-js", "-sd"]).arg(self.path("store"));
        command.arg("-c").arg(self.path("server.conf")).stdout(Stdio::null()).stderr(Stdio::null());
        self.running = Some(Running(command.spawn().unwrap()));
        wait_for("the server", || {
            let mut socket = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
            socket.read_exact(&mut [0; 4]).ok()
        });
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    fn relay(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("leco-relay"));
        command.arg(arguments[0]).args(["--nats", &self.url(), "--user", "admin", "--password-file"]);
        command.arg(self.path("password")).args(&arguments[1..]);
        command
    }

    fn publish(&self, recording: &Path) -> Command {
        let mut command = self.relay(&["publish", "--source"]);
        command.arg(format!("file:{}", recording.display()));
        command
    }

    fn python(&self) -> Command {
        let mut command = Command::new("python3");
        command.env("PYTHONPATH", &self.modules).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    fn store(&self, user: &str, more: &[&str]) -> Command {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/examples/leco-to-sqlite.py");
        let mut command = self.python();
        command.arg(example).args(["--nats", &self.url(), "--user", user, "--password-file"]);
        command.arg(self.path("password")).args(["--ack-wait", "2"]).args(more).arg(self.path("leco.db"));
        command
    }

    /// Rows of an answer.
    fn ask(&self, query: &str) -> Option<Vec<Value>> {
        let script = "import json, sqlite3, sys
rows = sqlite3.connect(f'file:{sys.argv[1]}?mode=ro', uri=True, timeout=60).execute(sys.argv[2]).fetchall()
print(json.dumps(rows))";
        let mut command = self.python();
        command.args(["-c", script]).arg(self.path("leco.db")).arg(query);
        serde_json::from_slice(&run_to_end(command).stdout).ok()
    }

    fn stored(&self) -> u64 {
        let rows = self.ask("SELECT count(*) FROM events").unwrap_or_default();
        rows.first().and_then(|row| row[0].as_u64()).unwrap_or(0)
    }

    /// Messages of the stream, where a window of doubles can be set first.
    fn messages(&self, window: Option<f64>) -> u64 {
        let script = "import asyncio, nats, sys
async def main():
    client = await nats.connect(sys.argv[1], user='admin', password='change-me')
    stream = client.jetstream()
    info = await stream.stream_info('LECO')
    if len(sys.argv) > 2:
        info.config.duplicate_window = float(sys.argv[2])
        await stream.update_stream(info.config)
    print(info.state.messages)
    await client.close()
asyncio.run(main())";
        let mut command = self.python();
        command.args(["-c", script, &self.url()]).args(window.map(|window| window.to_string()));
        let output = succeeded(run_to_end(command));
        output.trim().parse().unwrap()
    }
}

fn succeeded(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// An event of a connection that has moved so much by a second of the boot clock, which is at 10,000 s.
fn event(connection: u64, second: u64, rx: u64) -> String {
    const SECOND: u64 = 1_000_000_000;
    let (host, boot) = if connection.is_multiple_of(2) { ("web1", "0f1e2d3c") } else { ("db1", "1f1e2d3c") };
    let wall = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap();
    let clock = json!({"boot": format!("{boot}-0000"), "host": host, "ns": 10_000 * SECOND, "wall": wall});
    let ns = 1000 * SECOND + connection;
    let event = json!({
        "ns": ns, "ns_trx": second * SECOND + connection, "line": "18:32 :: me :: curl :: a.test 443 :: ", "boot": boot,
        "clock": clock, "unit": format!("u{}.service", connection % 3), "rx": rx, "tx": 1,
    });
    event.to_string() + "\n"
}

/// Bytes by host and unit in the last hour.
fn expected() -> BTreeMap<(String, String), (u64, u64, u64)> {
    let mut all = BTreeMap::new();
    for connection in 0..CONNECTIONS {
        let host = if connection.is_multiple_of(2) { "web1" } else { "db1" };
        let (rx, tx, count) =
            all.entry((host.to_owned(), format!("u{}.service", connection % 3))).or_insert((0, 0, 0));
        let is_old = connection.is_multiple_of(OLD_EACH);
        *rx += 10 + connection - if is_old { 5 } else { 0 };
        *tx += u64::from(!is_old);
        *count += 1;
    }
    all
}

/// Publishes as any client may.
fn publish_plainly(fleet: &Fleet, payloads: &[&str]) {
    let mut socket = TcpStream::connect(("127.0.0.1", fleet.port)).unwrap();
    let mut told = String::from("CONNECT {\"verbose\":false,\"user\":\"admin\",\"pass\":\"change-me\"}\r\n");
    for payload in payloads {
        write!(told, "PUB leco.web1.x {}\r\n{payload}\r\n", payload.len()).unwrap();
    }
    socket.write_all((told + "PING\r\n").as_bytes()).unwrap();
    assert!(BufReader::new(socket).lines().any(|line| line.unwrap() == "PONG"));
}

#[test]
fn every_event_is_stored_once_whatever_is_killed() {
    let Some(modules) = fetched("nats-py") else { return };
    for server in servers() {
        let mut fleet = Fleet::start(&server, &modules);
        assert!(succeeded(run_to_end(fleet.relay(&["setup"]))).contains("made stream LECO"));
        let (old, new) = (fleet.path("old.jsonl"), fleet.path("new.jsonl"));
        let events = (0..CONNECTIONS).step_by(usize::try_from(OLD_EACH).unwrap());
        fs::write(&old, events.map(|connection| event(connection, 2000, 5)).collect::<String>()).unwrap();
        fs::write(
            &new,
            (0..CONNECTIONS).map(|connection| event(connection, 9900, 10 + connection)).collect::<String>(),
        )
        .unwrap();

        // All is committed, nothing acknowledged: so all of it comes again.
        succeeded(run_to_end(fleet.publish(&old)));
        let output = run_to_end(fleet.store("mute", &[]));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.to_lowercase().contains("permissions violation"), "{said}");
        assert_eq!(fleet.stored(), OLD);

        // Killed while it stores, and so is the server.
        let mut publisher = Running(fleet.publish(&new).stderr(Stdio::null()).spawn().unwrap());
        let mut killed_at = Vec::new();
        for round in 1..=3 {
            let storing = Running(fleet.store("store", &[]).stderr(Stdio::null()).spawn().unwrap());
            let enough = (fleet.stored() + CONNECTIONS / 10).min(OLD + CONNECTIONS);
            wait_or_explain(
                || format!("{} of {enough}", fleet.stored()),
                || (fleet.stored() >= enough).then_some(()),
            );
            if round == 1 {
                fleet.start_again();
                let now = fleet.stored();
                wait_for("it to go on", || (fleet.stored() > now || now == OLD + CONNECTIONS).then_some(()));
            }
            drop(storing);
            killed_at.push(fleet.stored());
        }
        println!("{}: killed with {killed_at:?} stored", server.display());
        assert!(killed_at[0] < OLD + CONNECTIONS, "it was killed when all was over");
        let status = wait_for("the publisher", || publisher.0.try_wait().unwrap());
        assert!(status.success(), "{status}");

        // The stream has doubles where they are older than its window.
        let before = fleet.messages(Some(0.1));
        succeeded(run_to_end(fleet.publish(&new)));
        assert!(fleet.messages(None) > before, "no doubles");
        let deep = "[".repeat(100_000);
        let odd = [
            "no event",
            "[1]",
            "{\"ns\":\"x\",\"line\":\"\"}",
            "{\"ns\":1e999,\"ns_trx\":1}",
            "{\"ns\":1,\"ns_trx\":2,\"clock\":{\"ns\":1,\"wall\":NaN}}",
            &deep,
        ];
        publish_plainly(&fleet, &odd);
        let strange = r#"{"ns":1,"ns_trx":-99999999999999999999999999999999,"clock":{"ns":1,"wall":1},"unit":"\ud800","rx":-5,"tx":true,"boot":"\udfff"}"#;
        publish_plainly(&fleet, &[strange]);
        let output = run_to_end(fleet.store("store", &["--once"]));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        let ignored = said
            .lines()
            .filter_map(|line| line.split("ignored ").nth(1)?.split(' ').next()?.parse::<usize>().ok());
        assert_eq!(ignored.sum::<usize>(), odd.len(), "{said}");
        assert_eq!(fleet.stored(), OLD + CONNECTIONS + 1);
        assert_eq!(
            fleet.ask("SELECT at, unit, rx, tx FROM events WHERE id LIKE 'sequence-%'").unwrap(),
            [json!([0, "?", 0, 0])]
        );

        let rows = fleet.ask("SELECT host, unit, received, sent, connections FROM last_hour").unwrap();
        let told: BTreeMap<_, _> = rows
            .iter()
            .map(|row| {
                let text = |at: usize| row[at].as_str().unwrap().to_owned();
                let number = |at: usize| row[at].as_u64().unwrap();
                ((text(0), text(1)), (number(2), number(3), number(4)))
            })
            .collect();
        assert_eq!(told, expected());
        // Nothing is left, and it is quick.
        assert_eq!(succeeded(run_to_end(fleet.store("store", &["--once"]))), "");
    }
}
