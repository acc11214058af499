// SPDX-License-Identifier: GPL-3.0-or-later
//! What programs say and do where the system gives them too little: files that may not grow, few descriptors, a standard
//! output that is closed, files that have no end.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use leco_e2e::{
    EventPipe, FAR_V4, Kernel, Netns, Peer, can_test_the_kernel, program, wait_for, wait_or_explain,
};
use leco_os::clock::boot_ns;

/// A program that a shell runs in its place, after it did something else.
fn after(first: &str, name: &str, arguments: &[&str]) -> Command {
    let mut shell = Command::new("bash");
    shell.args(["-c", &format!("{first} exec \"$@\""), "bash"]).arg(program(name)).args(arguments);
    shell.env("LECO_MEMORY", "off").stdin(Stdio::null());
    shell
}

/// Runs it to its end, which has to come soon.
fn ended(mut command: Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let waited = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wait_or_explain(|| format!("the end of {command:?}"), || child.try_wait().unwrap());
    }));
    let _ = child.kill();
    waited.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    child.wait_with_output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_file_that_may_not_grow_is_told_once_and_ends_nothing() {
    if !can_test_the_kernel() {
        return;
    }
    let (kernel, netns) = (Kernel::load(&[]), Netns::new());
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("record");
    let pins = kernel.pins().display().to_string();
    let arguments = ["--pin", &pins, "-E", "-c", "conn-traffic-min=0", "-o", "-", "--record"];
    let mut command = after("ulimit -f 2;", "leco-event-pipe", &arguments);
    command.arg(&record);
    let pipe = EventPipe::spawn(command);
    let complaints = || {
        let lines = pipe.stderr.lines();
        lines.into_iter().filter(|line| line.contains("cannot write to")).collect::<Vec<_>>()
    };
    let send = || {
        let peer = Peer::start(&netns, 54321, b"grower", &["udp", &format!("{FAR_V4}:9"), "send", "9"]);
        let pid = peer.id();
        peer.finish();
        let _ = pipe.latest(pid, &serde_json::json!({"tx": 9}));
    };
    wait_for("a file that is full", || {
        send();
        (!complaints().is_empty()).then_some(())
    });
    for _ in 0..3 {
        send();
    }
    let told = complaints();
    assert!(told.len() == 1 && told[0].contains("ulimit -f"), "{told:?}");
    let recorded = fs::read_to_string(&record).unwrap();
    assert!(recorded.len() <= 2048 && recorded.ends_with('\n'), "whole events: {recorded}");
}

#[test]
fn a_view_whose_recording_may_not_grow_ends_with_the_reason() {
    if !leco_e2e::can_use_tmux() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (events, record) = (folder.path().join("events"), folder.path().join("record"));
    let line = serde_json::json!({"ns": boot_ns(), "ns_trx": boot_ns(), "line": "x".repeat(100)});
    fs::write(&events, format!("{line}\n").repeat(100)).unwrap();
    let view = program("leco-tui");
    let (view, events, record) = (view.display(), events.display(), record.display());
    let command = format!("bash -c 'ulimit -f 2; exec {view} -s file:{events} --record {record}'");
    let tmux = leco_e2e::Tmux::start(150, 10, &command);
    let screen = wait_for("its end", || Some(tmux.screen()).filter(|screen| screen.contains("exit status")));
    assert!(screen.contains("cannot record to") && screen.contains("ulimit -f"), "{screen}");
}

#[test]
fn a_pipe_without_a_standard_output_says_so() {
    if !can_test_the_kernel() {
        return;
    }
    let kernel = Kernel::load(&[]);
    let pins = kernel.pins().display().to_string();
    for arguments in [
        &["--pin", &pins][..],
        &["--pin", &pins, "-o", "-"],
        &["--pin", &pins, "-C"],
        &["--pin", &pins, "--stats"],
    ] {
        let output = ended(after("exec >&-;", "leco-event-pipe", arguments));
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        assert!(said(&output).contains("cannot write to standard output: it is closed"), "{output:?}");
    }
    // One that was redirected to the same file is no such case.
    let mut redirected = after("exec 1<>/dev/null;", "leco-event-pipe", &["--pin", &pins, "-C"]);
    assert!(redirected.output().unwrap().status.success());
}

#[test]
fn few_descriptors_are_the_reason_that_is_told() {
    if !can_test_the_kernel() {
        return;
    }
    let kernel = Kernel::load(&[]);
    let folder = tempfile::tempdir().unwrap();
    let memory = folder.path().join("seen.sqlite");
    let pins = kernel.pins().display().to_string();
    let fifo = folder.path().join("fifo").display().to_string();
    for limit in 5..=24 {
        let first = format!("ulimit -n {limit};");
        let mut command = after(&first, "leco-event-pipe", &["--pin", &pins, "--fifo", &fifo]);
        command.env("LECO_MEMORY", &memory);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let errors = leco_e2e::LineReader::new(child.stderr.take().unwrap());
        // One that has enough is ready when it catches signals.
        let caught = |pid: u32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).map(str::trim);
            caught.is_some_and(|mask| u64::from_str_radix(mask, 16).is_ok_and(|mask| mask & 1 != 0))
        };
        let is_enough = wait_for("its start or its end", || match child.try_wait().unwrap() {
            Some(_) => Some(false),
            None => caught(child.id()).then_some(true),
        });
        let _ = child.kill();
        let status = child.wait().unwrap();
        let words = format!("(RLIMIT_NOFILE is {limit})");
        if !is_enough {
            assert_eq!(status.code(), Some(1), "{limit}");
            wait_for("its reason", || {
                errors.lines().last().is_some_and(|last| last.contains(&words)).then_some(())
            });
        }
        let all = errors.lines().join("\n");
        assert!(!all.contains("no cgroup2") && !all.contains(".."), "{limit}: {all}");
        for line in errors.lines().iter().filter(|line| line.contains("WARN")) {
            assert!(line.contains(&words) && !line.contains("complete"), "{limit}: {line}");
        }
    }
}

#[test]
fn what_has_no_end_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    for name in ["leco-tui", "leco-sdl-widget", "leco-notify"] {
        for (path, kind) in
            [(fifo.as_path(), "a fifo"), (Path::new("/dev/zero"), "a device"), (folder.path(), "a directory")]
        {
            let output = ended(after("", name, &[&path.display().to_string(), "--check-config"]));
            assert_eq!(output.status.code(), Some(2), "{output:?}");
            let words = format!("it is {kind}, not an ordinary file");
            assert!(said(&output).contains(&words), "{output:?}");
        }
        assert!(ended(after("", name, &["/dev/null", "--check-config"])).status.success());
    }
}

#[test]
fn a_device_is_no_recording() {
    // That of a terminal, too, which is not the controlling one of whoever opens it.
    for device in ["/dev/zero", "/dev/null", "/dev/ptmx"] {
        let source = format!("file:{device}");
        for arguments in
            [&["--replay", device, "--once"][..], &["-s", source.as_str(), "--once", "--wait", "0"]]
        {
            let output = ended(after("", "leco-tui", arguments));
            assert!(said(&output).contains("a device, not a recording"), "{arguments:?} {output:?}");
            assert_eq!(output.status.code(), Some(1), "{arguments:?} {output:?}");
        }
    }
}

#[test]
fn a_database_of_networks_has_an_end() {
    if !can_test_the_kernel() {
        return;
    }
    let kernel = Kernel::load(&[]);
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo").display().to_string();
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let pins = kernel.pins().display().to_string();
    for (path, kind) in [(fifo.as_str(), "a fifo"), ("/dev/zero", "a device")] {
        let option = format!("asn-db={path}");
        let output = ended(after("", "leco-event-pipe", &["--pin", &pins, "-C", "-c", &option]));
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(said(&output).contains(&format!("{option}: it is {kind}")), "{output:?}");
    }
}
