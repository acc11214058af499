// SPDX-License-Identifier: GPL-3.0-or-later
//! `leco-notify` tells of connections: by a real notification daemon, by one whose every call is looked at, and by a
//! program that it runs.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use leco_e2e::desktop::{SessionBus, XServer, can_use};
use leco_e2e::{LineReader, Running, program, wait_for, wait_or_explain};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};
use zbus::{Connection, OwnedVariant, Variant, block_on, connection};

const SERVER: &str = "org.freedesktop.Notifications";
const PATH: &str = "/org/freedesktop/Notifications";
/// From one notification to the next.
const INTERVAL: Duration = Duration::from_secs(10);

/// A running `leco-notify`, which has heard all that is known at the start.
struct Notifier {
    child: Running,
    stderr: LineReader,
    fifo: File,
    config: PathBuf,
    folder: tempfile::TempDir,
}

impl Notifier {
    fn start(bus: &str, config: &str, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (path, fifo) = (folder.path().join("widget.ini"), folder.path().join("fifo"));
        fs::write(&path, config).unwrap();
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        // Open for reading, too, it is there before its reader is.
        let mut writer = OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
        // What is known at the start ends with a silence.
        writer.write_all(event(1, "nobody", true, "known.test").as_bytes()).unwrap();
        let mut command = Command::new(program("leco-notify"));
        command.arg(&path).arg("--fifo").arg(&fifo).args(arguments).env("DBUS_SESSION_BUS_ADDRESS", bus);
        command.env("SECRET", "secret").env_remove("XDG_RUNTIME_DIR");
        let mut child = Running(
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap(),
        );
        let stderr = LineReader::new(child.0.stderr.take().unwrap());
        let notifier = Self { child, stderr, fifo: writer, config: path, folder };
        wait_for("a reader", || {
            notifier.stderr.lines().iter().any(|line| line.contains("reading")).then_some(())
        });
        notifier.wait_for_sleep();
        notifier
    }

    /// Waits until it has slept for longer than it waits for what is known.
    fn wait_for_sleep(&self) {
        let mut before = (String::new(), Instant::now());
        wait_for("sleep", || {
            let now = self.switches();
            if now != before.0 {
                before = (now, Instant::now());
            }
            (before.1.elapsed() > Duration::from_millis(300)).then_some(())
        });
    }

    /// How often it went to sleep, which it only does after it was awake.
    fn switches(&self) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.0.id())).unwrap();
        status.lines().find(|line| line.starts_with("voluntary_ctxt")).unwrap().to_owned()
    }

    fn send(&mut self, events: &str) {
        self.fifo.write_all(events.as_bytes()).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn event(ns: u64, process: &str, is_new: bool, peer: &str) -> String {
    let line = format!("18:32 :: me :: {process} :: {peer} 443 :: ");
    json!({"ns": ns, "ns_trx": ns, "line": line, "new": is_new}).to_string() + "\n"
}

/// A daemon of the distribution's, which prints what it shows.
fn start_dunst(bus: &SessionBus, server: &XServer, config: &Path) -> (Running, LineReader) {
    let mut command = Command::new("dunst");
    command.args(["-print", "-conf"]).arg(config).env("DISPLAY", &server.display).env("LC_ALL", "C.UTF-8");
    command.env("DBUS_SESSION_BUS_ADDRESS", &bus.address).env_remove("WAYLAND_DISPLAY");
    let mut child = Running(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let printed = LineReader::new(child.0.stdout.take().unwrap());
    (child, printed)
}

/// What was printed of the bodies.
fn bodies(printed: &LineReader) -> Vec<String> {
    let lines = printed.lines();
    let bodies = lines.iter().filter_map(|line| line.trim().strip_prefix("body: '")?.strip_suffix('\''));
    bodies.map(ToOwned::to_owned).collect()
}

fn has_window(server: &XServer) -> bool {
    server.windows().iter().any(|(_, title)| title.contains("Dunst"))
        && server.screenshot().pixels().any(|pixel| pixel != [0; 3])
}

#[test]
fn a_daemon_shows_a_notification_at_once_and_names_as_text() {
    if !can_use(&["Xvfb", "dbus-daemon", "dunst"]) {
        return;
    }
    let (server, bus) = (XServer::start(), SessionBus::start());
    let config = tempfile::NamedTempFile::new().unwrap();
    fs::write(config.path(), "[global]\nmarkup = full\n").unwrap();
    let (dunst, printed) = start_dunst(&bus, &server, config.path());
    let owner = block_on(connection::Builder::address(bus.address.as_str()).build()).unwrap();
    wait_for("the daemon", || has_owner(&owner).then_some(()));
    let mut notifier = Notifier::start(&bus.address, "", &[]);
    assert!(!has_window(&server));
    let start = Instant::now();
    notifier.send(&event(2, "<b>cu&rl</b>\u{202e}", true, "a.test"));
    wait_for("a window", || has_window(&server).then_some(()));
    println!("from an event to the window of a notification: {} ms", start.elapsed().as_millis());
    let hostile =
        "&lt;b&gt;cu&amp;rl&lt;/b&gt;\u{fffd} of me connects to a.test on port 443 for the first time.";
    wait_or_explain(
        || format!("{hostile}: {:?}", printed.lines()),
        || bodies(&printed).contains(&hostile.to_owned()).then_some(()),
    );
    drop(notifier);

    // A daemon that goes is waited for. The one that comes takes markup, and says that it does not.
    let mut notifier = Notifier::start(&bus.address, "", &[]);
    drop(dunst);
    wait_for("the daemon's end", || (!has_owner(&owner)).then_some(()));
    notifier.send(&event(3, "<i>wget", true, "b.test"));
    notifier.wait_for_sleep();
    let (_dunst, printed) = start_dunst(&bus, &server, Path::new("/dev/null"));
    wait_for("a notification", || {
        bodies(&printed).iter().any(|body| body.starts_with("‹i›wget of me connects")).then_some(())
    });
}

#[test]
fn a_daemon_that_the_bus_can_start_is_started() {
    if !can_use(&["Xvfb", "dbus-daemon", "dunst"]) {
        return;
    }
    let server = XServer::start();
    let command = format!("/usr/bin/env DISPLAY={} dunst -conf /dev/null", server.display);
    let bus = SessionBus::offering(&[(SERVER, &command)]);
    let mut notifier = Notifier::start(&bus.address, "", &[]);
    assert!(!has_window(&server), "not before there is something to tell");
    notifier.send(&event(2, "curl", true, "a.test"));
    wait_for("a window", || has_window(&server).then_some(()));
}

fn has_owner(connection: &Connection) -> bool {
    let bus = Some("org.freedesktop.DBus");
    let asked = connection.call_method(bus, "/org/freedesktop/DBus", bus, "NameHasOwner", &SERVER);
    block_on(asked).unwrap().body().deserialize().unwrap()
}

/// What was asked to be shown.
#[derive(Debug, Clone)]
struct Shown {
    replaces: u32,
    body: String,
    actions: Vec<String>,
    /// Program, icon, summary, whether it says how urgent it is, and how long it stays.
    look: (String, String, String, bool, i32),
}

/// A server of notifications that only remembers.
struct Server {
    shown: Arc<Mutex<Vec<Shown>>>,
    is_inhibited: Arc<Mutex<bool>>,
}

#[zbus::interface(name = "org.freedesktop.Notifications")]
#[allow(
    clippy::too_many_arguments,
    clippy::unused_self,
    reason = "the interface is as the specification has it"
)]
impl Server {
    fn notify(
        &self,
        application: String,
        replaces: u32,
        icon: String,
        summary: String,
        body: String,
        actions: Vec<String>,
        hints: HashMap<String, OwnedVariant>,
        time: i32,
    ) -> u32 {
        let look = (application, icon, summary, hints.into_keys().any(|key| key == "urgency"), time);
        self.shown.lock().unwrap().push(Shown { replaces, body, actions, look });
        if replaces == 0 { 7 } else { replaces }
    }

    fn get_capabilities(&self) -> Vec<String> {
        vec!["body".into(), "actions".into()]
    }

    #[zbus(property)]
    fn inhibited(&self) -> bool {
        *self.is_inhibited.lock().unwrap()
    }
}

struct Daemon {
    connection: Connection,
    shown: Arc<Mutex<Vec<Shown>>>,
    is_inhibited: Arc<Mutex<bool>>,
}

impl Daemon {
    fn start(bus: &SessionBus) -> Self {
        let (shown, is_inhibited) = (Arc::default(), Arc::default());
        let served = Server { shown: Arc::clone(&shown), is_inhibited: Arc::clone(&is_inhibited) };
        let builder = connection::Builder::address(bus.address.as_str()).name(SERVER).serve_at(PATH, served);
        Self { connection: block_on(builder.build()).unwrap(), shown, is_inhibited }
    }

    /// A button is pressed, as the server says.
    fn press(&self, id: u32, action: &str) {
        press(&self.connection, id, action);
    }

    fn set_inhibited(&self, is_inhibited: bool) {
        *self.is_inhibited.lock().unwrap() = is_inhibited;
        let values = HashMap::from([("Inhibited", Variant::Bool(is_inhibited))]);
        let (properties, body) = ("org.freedesktop.DBus.Properties", (SERVER, values, Vec::<String>::new()));
        let to = None::<&str>;
        block_on(self.connection.emit_signal(to, PATH, properties, "PropertiesChanged", &body)).unwrap();
    }

    fn shown(&self) -> Vec<Shown> {
        self.shown.lock().unwrap().clone()
    }

    fn wait_for(&self, count: usize) -> Vec<Shown> {
        wait_or_explain(
            || format!("{count} notifications: {:?}", self.shown()),
            || Some(self.shown()).filter(|shown| shown.len() >= count),
        )
    }
}

fn wait_for_reloads(notifier: &Notifier, count: usize) {
    wait_or_explain(
        || format!("{count} reloads: {:?}", notifier.stderr.lines()),
        || {
            let said = notifier.stderr.lines();
            (said.iter().filter(|line| line.contains("reloaded the config")).count() >= count).then_some(())
        },
    );
}

fn press(connection: &Connection, id: u32, action: &str) {
    let to = None::<&str>;
    block_on(connection.emit_signal(to, PATH, SERVER, "ActionInvoked", &(id, action))).unwrap();
}

#[test]
fn a_thousand_pairs_are_two_notifications_whose_buttons_make_rules() {
    if !can_use(&["dbus-daemon"]) {
        return;
    }
    let bus = SessionBus::start();
    let daemon = Daemon::start(&bus);
    let mut notifier = Notifier::start(&bus.address, "[text]\n", &[]);
    let start = Instant::now();
    let pairs: Vec<_> =
        (0..1000).map(|pair| event(pair + 2, &format!("<i>{pair}"), true, "a.test")).collect();
    notifier.send(&pairs[0]);
    let first = &daemon.wait_for(1)[0];
    assert_eq!(
        (first.replaces, first.body.as_str()),
        (0, "‹i›0 of me connects to a.test on port 443 for the first time.")
    );
    assert_eq!(first.look, ("LECO".into(), "leco".into(), "Network connection".into(), true, -1));
    notifier.send(&pairs[1..].concat());
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());

    // A name that is not the one of this notification, and another's notification.
    let [accept, accept_label, hide, _] = first.actions.as_slice() else { panic!("{first:?}") };
    assert_eq!(accept_label, "Accept");
    for (id, action) in [(8, accept.as_str()), (7, "Accept-99"), (7, "default")] {
        daemon.press(id, action);
    }
    // Not from the server.
    let other = block_on(connection::Builder::address(bus.address.as_str()).build()).unwrap();
    press(&other, 7, hide);
    daemon.press(7, accept);
    let rule = ":: <i>0 :: a\\.test 443( !\\w+)? :: =\n";
    let config = |notifier: &Notifier| fs::read_to_string(&notifier.config).unwrap();
    wait_for("a rule", || (config(&notifier) == format!("[text]\n\n[rx-notify]\n{rule}")).then_some(()));
    wait_for_reloads(&notifier, 1);
    daemon.press(7, hide);
    let hidden = format!("[text]\n\n[rx-notify]\n{rule}\n[rx-group]\n{rule}");
    wait_for("another", || (config(&notifier) == hidden).then_some(()));
    // Nothing of that pair is told, and all else as before.
    wait_for_reloads(&notifier, 2);
    notifier.send(&event(5000, "<i>0", true, "a.test"));

    // Who wants to be left alone is, for as long as that is so.
    daemon.set_inhibited(true);
    while start.elapsed() < INTERVAL + Duration::from_millis(300) {
        assert_eq!(daemon.shown().len(), 1);
        thread::sleep(Duration::from_millis(100));
    }
    daemon.set_inhibited(false);
    let second = &daemon.wait_for(2)[1];
    assert_eq!(second.replaces, 7);
    assert!(
        second.body.starts_with("‹i›999 of me") && second.body.ends_with("\nand 998 others"),
        "{second:?}"
    );
    notifier.wait_for_sleep();
    assert_eq!(daemon.shown().len(), 2);
}

#[test]
fn a_bus_that_goes_is_met_again_and_silence_costs_nothing() {
    if !can_use(&["dbus-daemon"]) {
        return;
    }
    let mut bus = SessionBus::start();
    let daemon = Daemon::start(&bus);
    let mut notifier = Notifier::start(&bus.address, "", &[]);
    let before = notifier.switches();
    thread::sleep(Duration::from_millis(500));
    assert_eq!(notifier.switches(), before, "nothing happens");
    drop(daemon);
    bus.stop();
    notifier.wait_for_sleep();
    let before = notifier.switches();
    notifier.send(&event(2, "curl", true, "a.test"));
    // It looks for the bus at once, and then ever more seldom.
    thread::sleep(Duration::from_millis(500));
    let count = |switches: &str| switches.split_whitespace().last().unwrap().parse::<u64>().unwrap();
    assert!(count(&notifier.switches()) - count(&before) < 10, "{before}, then {}", notifier.switches());
    bus.start_again();
    let daemon = Daemon::start(&bus);
    let shown = daemon.wait_for(1);
    assert!(shown[0].replaces == 0 && shown[0].body.starts_with("curl of me"), "{shown:?}");
    notifier.wait_for_sleep();
    let told: Vec<_> =
        notifier.stderr.lines().into_iter().filter(|line| line.contains("no session bus")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
}

#[test]
fn a_program_gets_each_event_one_at_a_time() {
    // It waits for the file go, and notes its begin and its end.
    let script = "cd \"$0\"; echo begin >>log; while ! [ -e go ]; do sleep 0.02; done; cat >>events; env >env; \
                  ls /proc/self/fd >fds; echo end >>log";
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().display().to_string();
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
    let config = "[rx-notify]\n:: (\\S+) :: \\S+ 443 = $1 for {user}\n";
    let mut notifier =
        Notifier::start("disabled:", config, &["--exec-timeout", "60", "--exec", "sh", "-c", script, &place]);
    notifier.send(&event(2, "p2", false, "a.test"));
    wait_for("the program", || (read("log") == "begin\n").then_some(()));
    // As many as there is room for, and ten more.
    let events: Vec<_> = (3..77).map(|ns| event(ns, &format!("p{ns}"), false, "a.test")).collect();
    notifier.send(&events.concat());
    notifier.wait_for_sleep();
    assert_eq!(read("log"), "begin\n");
    fs::write(folder.path().join("go"), "").unwrap();
    wait_for("all of them", || (read("log").matches("end").count() == 65).then_some(()));
    assert_eq!(read("log"), "begin\nend\n".repeat(65));
    let told: Vec<Value> = read("events").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (event, ns) in told.iter().zip(2_u64..) {
        assert_eq!(
            (&event["ns"], &event["notice"]),
            (&json!(ns), &json!(format!("p{ns} for me"))),
            "{event}"
        );
        assert_eq!(event["reason"], ":: (\\S+) :: \\S+ 443");
        assert_eq!(event["shown"], event["line"]);
    }
    wait_for("a word about the rest", || {
        notifier.stderr.lines().iter().any(|line| line.contains("10 events lost")).then_some(())
    });
    assert!(!read("env").contains("SECRET") && read("env").contains("PATH="), "{}", read("env"));
    // Standard streams, and the directory that is listed.
    assert_eq!(read("fds"), "0\n1\n2\n3\n");
    notifier.wait_for_sleep();
}

#[test]
fn a_program_gets_every_event_of_a_recording() {
    let folder = tempfile::tempdir().unwrap();
    let (recording, config, told) =
        (folder.path().join("recording"), folder.path().join("widget.ini"), folder.path().join("told"));
    fs::write(&config, "[rx-notify]\n:: (p\\d+) :: = $1\n").unwrap();
    let events: Vec<_> = (1..=300).map(|ns| event(ns, &format!("p{ns}"), false, "a.test")).collect();
    fs::write(&recording, events.concat()).unwrap();
    let mut notifier = Command::new(program("leco-notify"));
    notifier.arg(&config).arg("--source").arg(format!("file:{}", recording.display()));
    notifier.args(["--exec", "sh", "-c", "cat >>\"$0\""]).arg(&told);
    let said = notifier.output().unwrap();
    assert!(said.status.success(), "{said:?}");
    let told = fs::read_to_string(&told).unwrap();
    let told: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(
        told.iter()
            .map(|event| &event["notice"])
            .eq(&(1..=300).map(|ns| json!(format!("p{ns}"))).collect::<Vec<_>>()),
        "{said:?}"
    );
}

#[test]
fn a_program_that_does_not_end_is_killed_with_what_it_started() {
    let mut notifier = Notifier::start(
        "disabled:",
        "",
        &["--exec-timeout", "0.3", "--exec", "sh", "-c", "sleep 60 & echo $$ $! >&2; wait"],
    );
    notifier.send(&(event(2, "a", true, "a.test") + &event(3, "b", true, "b.test")));
    let killed = |notifier: &Notifier| {
        notifier.stderr.lines().iter().filter(|line| line.ends_with("killed after 300ms")).count()
    };
    wait_for("both to be killed", || (killed(&notifier) == 2).then_some(()));
    let is_pids = |line: &&String| line.chars().all(|c| c.is_ascii_digit() || c == ' ');
    let said = notifier.stderr.lines();
    let pids: Vec<_> = said.iter().filter(is_pids).flat_map(|line| line.split(' ')).collect();
    assert_eq!(pids.len(), 4, "{said:?}");
    for pid in pids {
        wait_for("the end of a process", || {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            (status.is_empty() || status.contains("State:\tZ")).then_some(())
        });
    }
    // Nor does anything stay when it ends itself.
    let children = format!("/proc/{0}/task/{0}/children", notifier.child.0.id());
    let runner = fs::read_to_string(children).unwrap().trim().to_owned();
    assert!(!runner.is_empty() && notifier.path("fifo").exists());
    drop(notifier);
    wait_for("the end of the one that runs programs", || {
        let status = fs::read_to_string(format!("/proc/{runner}/status")).unwrap_or_default();
        (status.is_empty() || status.contains("State:\tZ")).then_some(())
    });
}

#[test]
fn what_cannot_be_run_is_told_at_the_start() {
    let mut command = Command::new(program("leco-notify"));
    command.args(["--source", "file:/dev/null", "--exec", "/nonexistent/program", "--with", "-options"]);
    let output = leco_e2e::run_to_end(command);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("cannot run /nonexistent/program: there is no such program"), "{said}");
}
