// SPDX-License-Identifier: GPL-3.0-or-later
//! Running processes of LECO, and the one they watch.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread;

use jsonschema::Validator;
use serde_json::Value;

use crate::{Netns, program, program_for_everybody, wait_for, wait_or_explain};

/// Lines that a process writes, as they come.
pub struct LineReader {
    lines: Arc<Mutex<Vec<(u64, String)>>>,
    thread: thread::JoinHandle<()>,
}

/// The boot clock now, in ns.
#[must_use]
pub fn boot_clock() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

impl LineReader {
    /// Reads on a thread of its own until the end.
    pub fn new(from: impl Read + Send + 'static) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        let thread = thread::spawn(move || {
            for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
                if let Ok(mut lines) = sink.lock() {
                    lines.push((boot_clock(), String::from_utf8_lossy(&line).into_owned()));
                }
            }
        });
        Self { lines, thread }
    }

    /// Whether nothing more will come.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Every line so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.timed(0).into_iter().map(|(_, line)| line).collect()
    }

    /// Every line from this number on, with the boot clock's time in ns when it had been read.
    #[must_use]
    pub fn timed(&self, from: usize) -> Vec<(u64, String)> {
        self.lines.lock().map(|lines| lines.get(from..).unwrap_or_default().to_vec()).unwrap_or_default()
    }

    /// Forgets what came so far.
    pub fn clear(&self) {
        if let Ok(mut lines) = self.lines.lock() {
            lines.clear();
        }
    }
}

/// A process that is killed with the test that started it, however that ends.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a command that has to end by itself; its standard input is empty.
///
/// # Panics
/// When it cannot be started, or does not end by the deadline.
#[must_use]
pub fn run_to_end(mut command: Command) -> Output {
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = Running(spawned.unwrap_or_else(|error| panic!("{command:?}: {error}")));
    // Both at once: it would wait for the one that is not read.
    let stdout = child.0.stdout.take().map(|out| thread::spawn(|| read_all(out)));
    let stderr = child.0.stderr.take().map(|err| thread::spawn(|| read_all(err)));
    let all = |reader: Option<thread::JoinHandle<Vec<u8>>>| {
        reader.and_then(|reader| reader.join().ok()).unwrap_or_default()
    };
    let status = wait_or_explain(|| format!("the end of {command:?}"), || child.0.try_wait().ok().flatten());
    Output { status, stdout: all(stdout), stderr: all(stderr) }
}

fn read_all(mut from: impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    // What came before a fault is all there is.
    let _ = from.read_to_end(&mut all);
    all
}

/// A running `leco-event-pipe`.
pub struct EventPipe {
    child: Child,
    /// What it writes to standard output.
    pub stdout: LineReader,
    /// What it complains of.
    pub stderr: LineReader,
}

impl EventPipe {
    /// Starts it with all fields and all traffic shown, and these arguments besides.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(pins: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(program("leco-event-pipe"));
        command.arg("--pin").arg(pins).args(["-E", "-c", "conn-traffic-min=0"]).args(arguments);
        Self::spawn(command)
    }

    /// Starts a command that runs it.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn spawn(mut command: Command) -> Self {
        // What is new would depend on who ran tests here before.
        if !command.get_envs().any(|(name, _)| name == "LECO_MEMORY") {
            command.env("LECO_MEMORY", "off");
        }
        // What is new is wanted at once.
        if !command.get_envs().any(|(name, _)| name == "LECO_LEARN") {
            command.env("LECO_LEARN", "off");
        }
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let reader = |from: Box<dyn Read + Send>| LineReader::new(from);
        Self {
            stdout: reader(stdout.map_or_else(|| Box::new(std::io::empty()) as _, |out| Box::new(out) as _)),
            stderr: reader(stderr.map_or_else(|| Box::new(std::io::empty()) as _, |err| Box::new(err) as _)),
            child,
        }
    }

    /// Its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Every event so far.
    ///
    /// # Panics
    /// When a line is no JSON.
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        let parse =
            |line: &String| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.stdout.lines().iter().map(parse).collect()
    }

    /// The latest event of a process that has these fields, once there is one.
    ///
    /// # Panics
    /// When there is none by the deadline.
    #[must_use]
    pub fn latest(&self, pid: u32, fields: &Value) -> Value {
        let wanted = fields.as_object().cloned().unwrap_or_default();
        let matches =
            |event: &Value| event["pid"] == pid && wanted.iter().all(|(key, value)| event[key] == *value);
        let what = || {
            let of_pid: Vec<_> = self.events().into_iter().filter(|event| event["pid"] == pid).collect();
            format!("{fields} of process {pid} in {of_pid:#?} {:?}", self.stderr.lines())
        };
        wait_or_explain(what, || self.events().into_iter().rfind(matches))
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it is gone.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap_or_else(|error| panic!("signal: {error}"));
    }

    /// Waits until it ends by itself, and all that it said has been read.
    ///
    /// # Panics
    /// When it does not by the deadline.
    pub fn wait(&mut self) -> ExitStatus {
        let status = wait_for("the pipe to end", || self.child.try_wait().ok().flatten());
        wait_for("what it said", || (self.stderr.has_ended() && self.stdout.has_ended()).then_some(()));
        status
    }
}

/// Holds what a pipe wrote against the schema that is promised.
///
/// # Panics
/// When a line is something else.
pub fn validate(lines: &[String]) {
    static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| {
        let schema = include_str!("../../docs/events.schema.json");
        let schema = serde_json::from_str(schema).unwrap_or_else(|error| panic!("the schema: {error}"));
        let options = jsonschema::options().should_validate_formats(true);
        options.build(&schema).unwrap_or_else(|error| panic!("the schema: {error}"))
    });
    for line in lines {
        let event = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        VALIDATOR.validate(&event).unwrap_or_else(|error| panic!("not as the schema says: {error}: {line}"));
    }
}

impl Drop for EventPipe {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !thread::panicking() {
            validate(&self.stdout.lines());
        }
    }
}

/// A running `leco-e2e-peer`.
pub struct Peer {
    child: Child,
    _program: tempfile::TempDir,
    stdin: Option<ChildStdin>,
}

impl Peer {
    /// Starts it at the near end as a user, with a name and steps.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(netns: &Netns, uid: u32, name: &[u8], steps: &[&str]) -> Self {
        let hex = name.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        let (folder, peer) = program_for_everybody("leco-e2e-peer");
        let mut command = netns.near_command("setpriv");
        command.args([&format!("--reuid={uid}"), &format!("--regid={uid}"), "--clear-groups", "--"]);
        command.arg(peer).arg(hex).args(steps);
        let spawned = command.stdin(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdin = child.stdin.take();
        Self { child, stdin, _program: folder }
    }

    /// Its process: the commands before it replaced themselves by it.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Lets it go on from `hold`, and waits until it has done everything.
    ///
    /// # Panics
    /// When it failed, or did not end by the deadline.
    pub fn finish(mut self) {
        drop(self.stdin.take());
        let status = wait_for("the peer to end", || self.child.try_wait().ok().flatten());
        assert!(status.success(), "the peer failed: {status}");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
