// SPDX-License-Identifier: GPL-3.0-or-later
//! What a machine lacks and what a person's environment says: each program names it, and goes on where it can.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use leco_e2e::{
    EventPipe, Kernel, LineReader, Loader, Running, ServiceManager, Tmux, can_test_the_kernel, can_use_tmux,
    program, program_for_everybody, wait_for, wait_or_explain,
};
use rustix::fs::OFlags;

/// Runs a shell's command line with a program in `$P`.
fn shell(name: &str, script: &str) -> (Option<i32>, String) {
    let output = Command::new("bash").args(["-c", script]).env("P", program(name)).output().unwrap();
    (output.status.code(), said(&output))
}

/// What it wrote to standard error.
fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Everything that keeps the loader from loading is named before the kernel is asked.
#[test]
fn the_loader_says_what_it_lacks() {
    if !can_test_the_kernel() {
        return;
    }
    let pins = Loader::default();
    let pins = pins.pins().display();
    let (_folder, copy) = program_for_everybody("leco-ebpf-load");
    let capabilities = "+bpf,+perfmon,+net_admin";
    for (script, code, expected) in [
        (format!("unshare -Ur $P --pin {pins}"), 3, "this is a user namespace"),
        (format!("ulimit -n 16; $P --pin {pins}"), 1, "at most 16 file descriptors"),
        ("ulimit -n 16; $P --check".to_owned(), 1, "ulimit -n 256"),
        // What another user than root loads, the next loader would not know, and no reader could open.
        (
            format!(
                "setpriv --reuid=54321 --regid=54321 --clear-groups --inh-caps={capabilities} \
                 --ambient-caps={capabilities} {} --pin {pins}",
                copy.display()
            ),
            3,
            "needs root. Run it with sudo",
        ),
        (format!("setpriv --bounding-set=-all,+net_admin --inh-caps=-all $P --pin {pins}"), 3, "lacks them"),
        (format!("$P --pin {pins}.x"), 4, "takes no dots in names"),
        // A soft limit is no reason to fail.
        (format!("ulimit -S -n 16; $P --pin {pins}"), 0, ""),
        ("NOTIFY_SOCKET=/nonexistent/notify $P".to_owned(), 1, "with the service manager"),
        ("$P --no-dns --hook dns=recv --check".to_owned(), 1, "choose one"),
    ] {
        let (found, said) = shell("leco-ebpf-load", &script);
        assert!(found == Some(code) && said.contains(expected), "{script}: {found:?} {said}");
        assert!(!said.contains("the kernel refused"), "{script}: {said}");
    }
}

/// Where bpffs is not mounted, a loader waits for the others before it mounts one over theirs.
#[test]
fn bpffs_is_mounted_under_the_lock_of_loaders() {
    if !can_test_the_kernel() {
        return;
    }
    let script = r#"
        set -e
        mount --make-rprivate /
        while umount /sys/fs/bpf 2>/dev/null; do :; done
        exec 9</sys/fs/bpf; flock 9
        $P --pin /sys/fs/bpf/first 9<&- & first=$!
        $P --pin /sys/fs/bpf/second 9<&- & second=$!
        for pid in $first $second; do
            until ls -l /proc/$pid/fd 2>/dev/null | grep -q /sys/fs/bpf; do
                kill -0 $pid || exit 3
            done
        done
        grep -c ' /sys/fs/bpf bpf ' /proc/mounts >&2 && exit 4
        exec 9<&-
        wait $first; wait $second
        test "$(grep -c ' /sys/fs/bpf bpf ' /proc/mounts)" = 1
        test -d /sys/fs/bpf/first/maps -a -d /sys/fs/bpf/second/maps
        $P --pin /sys/fs/bpf/first --unload; $P --pin /sys/fs/bpf/second --unload"#;
    let mut command = Command::new("unshare");
    command.args(["-m", "bash", "-c", script]).env("P", program("leco-ebpf-load"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// A folder on bpffs in which tests pin, emptied in the end.
struct Removed(PathBuf);
impl Drop for Removed {
    fn drop(&mut self) {
        for pins in ["given/made/b", "given/made/c"] {
            let mut unload = Command::new(program("leco-ebpf-load"));
            let _ = unload.arg("--unload").arg("--pin").arg(self.0.join(pins)).status();
        }
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What a load made and opened above its pins goes with them, and with the last of those that share it.
#[test]
fn unloading_takes_back_what_loading_made_above_the_pins() {
    if !can_test_the_kernel() {
        return;
    }
    // Makes sure that bpffs is there.
    assert!(Loader::default().run(&[]).status.success());
    let top = Path::new("/sys/fs/bpf").join(format!("leco-test-above-{}", std::process::id()));
    let _removed = Removed(top.clone());
    let given = top.join("given");
    fs::create_dir_all(&given).unwrap();
    let close = |mode| fs::set_permissions(&given, fs::Permissions::from_mode(mode)).unwrap();
    let mode = || fs::metadata(&given).unwrap().permissions().mode() & 0o777;
    let run = |pins: &str, options: &[&str]| {
        let mut command = Command::new(program("leco-ebpf-load"));
        let output = command.arg("--pin").arg(given.join(pins)).args(options).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    close(0o700);
    run("made/b", &["--group", "nogroup"]);
    assert_eq!(mode(), 0o701);
    // Another version in its place knows it, too.
    run("made/b", &["--group", "nogroup", "--update-interval", "1s"]);
    run("made/b", &["--unload"]);
    assert!(mode() == 0o700 && !given.join("made").exists(), "{:o}", mode());

    run("made/b", &["--group", "nogroup"]);
    run("made/c", &["--group", "nogroup"]);
    run("made/b", &["--unload"]);
    assert!(mode() == 0o701 && given.join("made/c").exists(), "the others need it: {:o}", mode());
    run("made/c", &["--unload"]);
    assert!(mode() == 0o700 && !given.join("made").exists(), "{:o}", mode());

    // What somebody opened since is not LECO's to close.
    run("made/b", &["--group", "nogroup"]);
    close(0o755);
    run("made/b", &["--unload"]);
    assert!(mode() == 0o755, "{:o}", mode());

    // What was there and open before stays so.
    close(0o755);
    fs::create_dir(given.join("made")).unwrap();
    run("made/b", &["--group", "nogroup"]);
    run("made/b", &["--unload"]);
    assert!(mode() == 0o755 && given.join("made").exists());
}

/// An event as the pipe writes it.
fn event(ns: u64, line: &str) -> String {
    serde_json::json!({"ns": ns, "ns_trx": ns, "line": line}).to_string() + "\n"
}

/// `leco-tui` with plain output, in a folder of its own.
struct Stage(tempfile::TempDir);

impl Stage {
    fn set(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program(name));
        command.current_dir(self.0.path()).args(arguments).stdin(Stdio::null()).env("HOME", self.0.path());
        for name in ["XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "STATE_DIRECTORY"] {
            command.env_remove(name);
        }
        command
    }

    fn tui(&self, arguments: &[&str]) -> Output {
        self.command("leco-tui", arguments).output().unwrap()
    }
}

#[test]
fn an_empty_variable_is_unset_and_a_relative_one_is_ignored() {
    let config = "[rx-proc]\nx = home\n";
    let stage =
        Stage::set(&[(".config/leco/widget.ini", config), ("leco/widget.ini", "[rx-proc]\nx = wrong\n")]);
    for (name, value, expected) in [
        ("XDG_CONFIG_HOME", "", ""),
        ("XDG_CONFIG_HOME", ".", "leco-tui: XDG_CONFIG_HOME=. is not an absolute path: ignored\n"),
        ("XDG_RUNTIME_DIR", "run", "leco-tui: XDG_RUNTIME_DIR=run is not an absolute path: ignored\n"),
        ("XDG_RUNTIME_DIR", "", ""),
    ] {
        let output = stage.command("leco-tui", &["-r", "x"]).env(name, value).output().unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).contains("home\n"), "{name}={value}: {output:?}");
        assert_eq!(said(&output), expected, "{name}={value}");
    }
    let output = stage.command("leco-tui", &["-r", "x"]).env("HOME", "").output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("\nx\n"), "{output:?}");
    // The pipe's memory, too.
    for (home, expected) in [("", "no state directory"), ("here", "HOME=here is not an absolute path")] {
        let output = stage.command("leco-event-pipe", &["--seen"]).env("HOME", home).output().unwrap();
        assert!(said(&output).contains(expected), "{output:?}");
        assert!(!output.status.success());
    }
    let output = stage.command("leco-event-pipe", &["--seen"]).output().unwrap();
    assert!(said(&output).contains("no history yet: /"), "{output:?}");
}

#[test]
fn no_message_says_a_thing_twice() {
    let stage = Stage::set(&[("empty", "x\n")]);
    for (name, arguments, expected) in [
        (
            "leco-tui",
            &["."][..],
            "leco-tui: cannot read the config .: it is a directory, not an ordinary file\n",
        ),
        (
            "leco-tui",
            &["--replay", ".", "--once"],
            "leco-tui: cannot play .: cannot read the recording: is a directory\n",
        ),
        (
            "leco-tui",
            &["-s", "file:nothing", "--once"],
            "leco-tui: cannot follow nothing: No such file or directory (os error 2)\n",
        ),
        (
            "leco-tui",
            &["--replay", "empty", "--once"],
            "leco-tui: cannot play empty: it contains no events: expected JSON lines as leco-event-pipe --record writes them\n",
        ),
        (
            "leco-event-pipe",
            &["-p", "/sys/fs/bpf/leco_none"],
            "leco-event-pipe: nothing is loaded at /sys/fs/bpf/leco_none. Run: leco-ebpf-load --pin /sys/fs/bpf/leco_none\n",
        ),
    ] {
        let output = stage.command(name, arguments).output().unwrap();
        assert_eq!(said(&output), expected);
    }
}

#[test]
fn options_do_what_they_say_or_are_refused() {
    let lines = ["a curl one", "b wget two", "c curl three"];
    let events: String =
        lines.iter().zip(1_u64..).map(|(line, at)| event(at * 1_000_000_000, line)).collect();
    let stage = Stage::set(&[("recording", &events)]);
    let printed = |arguments: &[&str]| {
        let output = stage.tui(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(printed(&["--replay", "recording", "--once"]), lines.map(|line| format!("{line}\n")).concat());
    assert_eq!(printed(&["--replay", "recording", "--once", "--filter", "curl -one"]), "c curl three\n");
    assert_eq!(printed(&["-s", "file:recording", "--once", "--filter", "wget"]), "b wget two\n");
    let debug = printed(&["--replay", "recording", "-d", "--filter", "curl"]);
    assert!(debug.contains("new: a curl one") && debug.contains("does not match --filter"), "{debug}");
    let json = printed(&["--replay", "recording", "--once", "--json"]);
    assert_eq!(json.lines().count(), 3, "{json}");
    for (arguments, expected) in [
        (&["--speed", "nan", "--replay", "recording"][..], "expected a number from 0.0625 to 1024"),
        (&["--speed", "-1", "--replay", "recording"], "expected a number from 0.0625 to 1024"),
        (&["--speed", "0", "--replay", "recording"], "expected a number from 0.0625 to 1024"),
        (&["--speed", "inf", "--replay", "recording"], "expected a number from 0.0625 to 1024"),
        (&["-s", "unix:/x?filter=/y/", "--once"], "use --filter FILTER"),
        (&["-s", "unix:/x?share=1/2", "--once"], "only valid for outputs of leco-event-pipe"),
        (&["--json"], "--once|--rx-test"),
        (&["--once", "--record", "x"], "cannot be used with"),
        (&["--filter", "/(/"], "this group is never closed"),
    ] {
        let output = stage.tui(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        let said = said(&output).replace('\n', " ");
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}

#[test]
fn debug_reads_its_config_again() {
    let stage = Stage::set(&[("widget.ini", "[rx-proc]\nold = first\n")]);
    let mut command = stage.command("leco-tui", &["widget.ini", "-d", "-s", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = Running(command.spawn().unwrap());
    let mut input = child.0.stdin.take().unwrap();
    let lines = LineReader::new(child.0.stdout.take().unwrap());
    let errors = LineReader::new(child.0.stderr.take().unwrap());
    let comes = |what: &str, from: &LineReader| {
        wait_for(what, || from.lines().iter().any(|line| line.contains(what)).then_some(()));
    };
    input.write_all(event(1, "old").as_bytes()).unwrap();
    comes("new: first", &lines);
    fs::write(stage.path("widget.ini"), "[rx-proc]\nold = second\n").unwrap();
    comes("reloaded the config", &errors);
    input.write_all(event(2, "old").as_bytes()).unwrap();
    comes("new: second", &lines);
    fs::write(stage.path("widget.ini"), "[rx-proc]\n(old = third\n").unwrap();
    comes("keeping the previous config", &errors);
}

#[test]
fn sockets_of_one_name_all_serve_and_what_was_passed_to_another_process_is_ignored() {
    if !can_test_the_kernel() {
        return;
    }
    let kernel = Kernel::load(&[]);
    let folder = tempfile::tempdir().unwrap();
    let paths = ["one", "two"].map(|name| folder.path().join(name));
    let mut manager = ServiceManager::default();
    for path in &paths {
        manager.store.push(("leco".to_owned(), UnixListener::bind(path).unwrap().into()));
    }
    let (mut command, _passed) = manager.main_command(&program("leco-event-pipe"));
    command.arg("--pin").arg(kernel.pins()).args(["-E", "-o", "fd:leco"]).env("LECO_MEMORY", "off");
    let pipe = EventPipe::spawn(command);
    let readers = paths.map(|path| LineReader::new(UnixStream::connect(path).unwrap()));
    for reader in &readers {
        wait_for("an event at each socket", || {
            drop(talk());
            (!reader.lines().is_empty()).then_some(())
        });
    }

    let mut command = Command::new(program("leco-event-pipe"));
    command.arg("--pin").arg(kernel.pins()).args(["-C", "-E"]);
    command.envs([("LISTEN_PID", "1"), ("LISTEN_FDS", "7"), ("LISTEN_FDNAMES", "x:y")]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");

    drop(pipe);
    // As documented, an output may begin with a hyphen.
    let mut command = Command::new(program("leco-event-pipe"));
    command.arg("--pin").arg(kernel.pins()).args(["-E", "-c", "conn-traffic-min=0", "-o", "-?filter=/./"]);
    let pipe = EventPipe::spawn(command);
    wait_for("an event", || {
        drop(talk());
        (!pipe.events().is_empty()).then_some(())
    });
}

/// Something to tell: an event, and who comes later is told of it for as long as the socket is there.
fn talk() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(b"x", socket.local_addr().unwrap()).unwrap();
    socket
}

/// The first line that a reader of this fifo gets, who then goes. Without inotify one who comes the moment another
/// goes is taken for the same and told nothing: then it comes again, after more than the time between two looks of the pipe.
fn first_line(fifo: &Path) -> String {
    let open =
        || fs::OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(fifo);
    let (mut reader, mut came) = (None, Instant::now());
    let mut bytes = Vec::new();
    wait_for("a line in the fifo", || {
        if bytes.is_empty() && came.elapsed() > Duration::from_secs(3) {
            (reader, came) = (None, Instant::now());
            return None;
        }
        let reader = reader.get_or_insert_with(|| open().unwrap());
        let mut part = [0; 4096];
        let count = reader.read(&mut part).unwrap_or(0);
        bytes.extend_from_slice(&part[..count]);
        let text = String::from_utf8_lossy(&bytes);
        let whole = text.rfind('\n').map(|end| &text[..end])?;
        // The rest of a line may be there that the one before did not read.
        whole.lines().find(|line| line.starts_with('{')).map(ToOwned::to_owned)
    })
}

/// A command that finds no inotify instance left, until a file is there; it is alone with that limit.
fn without_inotify(until: &Path, command: &Command) -> Command {
    let script = r#"
        limit=/proc/sys/user/max_inotify_instances
        echo 0 >$limit || exit 9
        (until [ -e "$UNTIL" ]; do kill -0 $$ || exit; sleep 0.05; done; echo 100 >$limit) >/dev/null 2>&1 </dev/null &
        exec "$@""#;
    let mut alone = Command::new("unshare");
    alone.args(["-Ur", "bash", "-c", script, "bash"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => alone.env(name, value),
            None => alone.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        alone.current_dir(folder);
    }
    alone.env("UNTIL", until);
    alone
}

/// Whether a process waits for a timer, as it does where nothing tells it of changes.
fn has_timer(pid: u32) -> bool {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    files
        .filter_map(|file| fs::read_link(file.path()).ok())
        .any(|file| file.ends_with("anon_inode:[timerfd]"))
}

#[test]
fn a_frontend_without_inotify_says_so_and_looks_again() {
    if !can_test_the_kernel() {
        return;
    }
    let stage = Stage::set(&[("widget.ini", "[rx-proc]\nold = first\n")]);
    let command = stage.command("leco-tui", &["widget.ini", "-d", "-f", "fifo"]);
    let mut command = without_inotify(&stage.path("raised"), &command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = Running(command.spawn().unwrap());
    let pid = child.0.id();
    let lines = LineReader::new(child.0.stdout.take().unwrap());
    let errors = LineReader::new(child.0.stderr.take().unwrap());
    let comes = |what: &str, from: &LineReader| {
        let said = || format!("{what} in {:?} {:?}", lines.lines(), errors.lines());
        wait_or_explain(said, || from.lines().iter().any(|line| line.contains(what)).then_some(()));
    };
    comes("fs.inotify.max_user_instances", &errors);
    comes("waiting for", &errors);
    assert!(Command::new("mkfifo").arg(stage.path("fifo")).status().unwrap().success());
    comes("reading fifo", &errors);
    let mut fifo = fs::OpenOptions::new().write(true).open(stage.path("fifo")).unwrap();
    fifo.write_all(event(1, "old").as_bytes()).unwrap();
    comes("new: first", &lines);
    fs::write(stage.path("widget.ini"), "[rx-proc]\nold = second\n").unwrap();
    comes("reloaded the config", &errors);
    fifo.write_all(event(2, "old").as_bytes()).unwrap();
    comes("new: second", &lines);

    // Once there are instances again, nothing wakes it up for nothing.
    assert!(has_timer(pid));
    fs::write(stage.path("raised"), "").unwrap();
    wait_for("inotify to be used again", || (!has_timer(pid)).then_some(()));
    fs::write(stage.path("widget.ini"), "[rx-proc]\nold = third\n").unwrap();
    wait_for("the config", || {
        (errors.lines().iter().filter(|line| line.contains("reloaded the config")).count() == 2).then_some(())
    });
    let told = errors.lines().iter().filter(|line| line.contains("inotify")).count();
    assert_eq!(told, 1, "{:?}", errors.lines());
}

#[test]
fn a_pipe_without_inotify_finds_its_readers_and_its_end() {
    if !can_test_the_kernel() {
        return;
    }
    let loader = Loader::default();
    assert!(loader.run(&[]).status.success());
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("leco.fifo");
    for is_raised in [false, true] {
        let mut command = Command::new(program("leco-event-pipe"));
        command
            .arg("--pin")
            .arg(loader.pins())
            .arg("--fifo")
            .arg(&fifo)
            .args(["-c", "memory=off sandbox=0 conn-traffic-min=0"]);
        let raised = folder.path().join("raised");
        // What each reader is told.
        let _told = talk();
        let mut pipe = EventPipe::spawn(without_inotify(&raised, &command));
        let said = |pipe: &EventPipe, what: &str| {
            let lines = || pipe.stderr.lines();
            let explained = || format!("{what} in {:?}", lines());
            wait_or_explain(explained, || lines().iter().any(|line| line.contains(what)).then_some(()));
        };
        said(&pipe, "fs.inotify.max_user_instances");
        wait_for("the fifo", || fifo.exists().then_some(()));
        if is_raised {
            assert!(has_timer(pipe.id()));
            fs::write(&raised, "").unwrap();
            wait_for("inotify to be used again", || (!has_timer(pipe.id())).then_some(()));
        }
        for _ in 0..2 {
            // Whoever comes is told everything, the first one and the next.
            first_line(&fifo);
        }
        // Another fifo in its place is found, too.
        fs::remove_file(&fifo).unwrap();
        wait_for("a new fifo", || fifo.exists().then_some(()));
        assert!(
            loader.run(if is_raised { &["--unload"] } else { &["--update-interval", "1s"] }).status.success()
        );
        assert_eq!(pipe.wait().code(), Some(1));
        said(&pipe, "were unloaded or replaced");
        let _ = fs::remove_file(&fifo);
    }
}

#[test]
fn few_descriptors_are_named_or_enough() {
    if !can_test_the_kernel() {
        return;
    }
    let kernel = Kernel::load(&[]);
    let stage = Stage::set(&[("recording", &event(1, "a"))]);
    let pins = kernel.pins().display();
    let commands = [
        "leco-tui --once --wait 0.1 -s tcp:127.0.0.1:9".to_owned(),
        "leco-tui --once --wait 0.1 -f fifo".to_owned(),
        "leco-tui --once -s file:recording".to_owned(),
        "leco-tui --replay recording --once".to_owned(),
        format!("leco-event-pipe -p {pins} -C"),
        format!("leco-event-pipe -p {pins} -f made"),
        format!("leco-event-pipe -p {pins} -o unix:socket"),
        format!("leco-event-pipe -p {pins} -c reverse-dns=1"),
    ];
    let folder = program("leco-tui").parent().unwrap().display().to_string();
    for limit in [5, 12, 16] {
        for command in &commands {
            let mut limited = Command::new("bash");
            limited.args(["-c", &format!("ulimit -n {limit}; exec {folder}/{command}")]);
            limited.current_dir(stage.path("")).env("HOME", stage.path("")).env("LECO_MEMORY", "off");
            limited.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
            let mut child = Running(limited.spawn().unwrap());
            let errors = LineReader::new(child.0.stderr.take().unwrap());
            let start = Instant::now();
            // One that has enough goes on: it is given a moment in which it would have failed.
            let status = loop {
                let status = child.0.try_wait().unwrap();
                if status.is_some() || start.elapsed() > Duration::from_secs(2) {
                    break status;
                }
                std::thread::sleep(Duration::from_millis(5));
            };
            let has_failed = status.is_some_and(|status| !status.success());
            if has_failed {
                wait_for("its reason", || (!errors.lines().is_empty()).then_some(()));
            }
            let said = errors.lines().join("\n");
            assert!(!said.contains("panicked"), "{limit} {command}: {said}");
            if has_failed {
                let is_waiting = said.contains("start leco-event-pipe");
                assert!(is_waiting || said.contains("too few file descriptors"), "{limit} {command}: {said}");
            }
        }
    }
}

#[test]
fn a_view_with_few_descriptors_or_little_memory_does_not_panic() {
    if !can_use_tmux() {
        return;
    }
    let stage = Stage::set(&[]);
    let view = program("leco-tui");
    for limit in ["-n 5", "-n 8", "-n 12", "-n 16", "-v 20000", "-v 60000"] {
        let command =
            format!("bash -c 'ulimit {limit}; exec {} -f {}'", view.display(), stage.path("fifo").display());
        let tmux = Tmux::start(100, 10, &command);
        let screen = wait_for("a view or its end", || {
            let screen = tmux.screen();
            (screen.contains("exit status") || screen.contains("waiting for")).then_some(screen)
        });
        assert!(!screen.contains("panicked"), "{limit}: {screen}");
        let has_ended = screen.contains("exit status");
        assert!(
            !has_ended || screen.contains("descriptor") || screen.contains("memory"),
            "{limit}: {screen}"
        );
    }
}
