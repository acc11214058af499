// SPDX-License-Identifier: GPL-3.0-or-later
//! `script/run`, as the README tells a newcomer to start it.

#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use leco_e2e::desktop::{Picture, XServer, can_use, screenshot_path};
use leco_e2e::{Kernel, Tmux, can_test_the_kernel, can_use_tmux};
use rustix::process::{Pid, Signal, kill_process};

fn script() -> PathBuf {
    script_of("run")
}

fn script_of(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../script").join(name)
}

/// What `script/left` says.
fn told_to_be_left() -> String {
    let output = Command::new(script_of("left")).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Pins and folders that a run made and did not remove.
fn left_behind() -> Vec<PathBuf> {
    ["/sys/fs/bpf", "/tmp", "/run"]
        .into_iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("leco-run")))
        .collect()
}

#[test]
fn once_prints_the_line_of_a_real_connection_and_leaves_nothing() {
    if !can_test_the_kernel() {
        return;
    }
    let output = Command::new(script()).arg("--once").output().unwrap();
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said} {complained}");
    assert!(
        said.lines().count() == 1 && said.contains("/udp !refused :: v 0B / 5B ^"),
        "{said} {complained}"
    );
    assert!(said.contains(" :: 127.0.0.1 "), "{said}");
    assert_eq!(left_behind(), Vec::<PathBuf>::new());
    assert!(complained.contains("loading the programs"), "{complained}");
    let (_, left) = complained.split_once("What is left on this machine:").unwrap();
    // Its own pins and its own fifo are gone by then.
    assert!(left.contains("what was built and downloaded") && !left.contains("leco-run"), "{left}");
}

#[test]
fn what_is_built_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let cargo = folder.path().join("cargo");
    // Says what it would build, and ends the script.
    std::fs::write(&cargo, "#!/bin/sh\necho \"cargo $*\" >&2\nexit 9\n").unwrap();
    std::fs::set_permissions(&cargo, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let output =
        Command::new(script()).arg("--once").env("PATH", path).env_remove("LECO_BIN").output().unwrap();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(9), "{complained}");
    assert!(complained.contains("script/run: building"), "{complained}");
    assert!(complained.contains("cargo build --release"), "{complained}");
    assert!(!complained.contains("--quiet"), "{complained}");
}

#[test]
fn what_is_left_is_told_with_how_to_remove_it() {
    if !can_test_the_kernel() {
        return;
    }
    let kernel = Kernel::load(&[]);
    let pins = kernel.pins().to_owned();
    let removal = format!("leco-ebpf-load --pin {0} --unload", pins.display());
    let said = told_to_be_left();
    assert!(said.contains(&removal), "{said}");
    drop(kernel);
    let said = told_to_be_left();
    assert!(!said.contains(&removal), "{said}");
    let folder = tempfile::Builder::new().prefix("leco-run.").tempdir().unwrap();
    let said = told_to_be_left();
    assert!(said.contains(&format!("rm -r {}", folder.path().display())), "{said}");
}

#[test]
fn however_the_view_ends_nothing_is_left() {
    if !can_test_the_kernel() || !can_use_tmux() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let pid_file = folder.path().join("pid");
    let by_key = |key: &'static str| move |terminal: &Tmux| terminal.type_keys(key);
    let by_signal_to_the_script = |_: &Tmux| {
        let pid: i32 = std::fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
    };
    let by_signal_to_the_view =
        |terminal: &Tmux| kill_process(terminal.process("leco-tui"), Signal::TERM).unwrap();
    let ways: [&dyn Fn(&Tmux); 4] =
        [&by_key("q"), &by_key("C-c"), &by_signal_to_the_script, &by_signal_to_the_view];
    for end in ways {
        let command = format!("sh -c 'echo $$ >{}; exec {}'", pid_file.display(), script().display());
        let terminal = Tmux::start(100, 20, &command);
        terminal.wait_for("the view", |screen| screen.contains("q quit"));
        assert!(left_behind().iter().any(|path| path.starts_with("/sys/fs/bpf")), "it is loaded");
        end(&terminal);
        terminal.wait_for("its end", |screen| screen.contains("exit status"));
        assert_eq!(left_behind(), Vec::<PathBuf>::new());
    }
}

#[test]
fn the_overlay_shows_connections_and_leaves_nothing() {
    if !can_test_the_kernel() || !can_use(&["Xvfb", "picom"]) {
        return;
    }
    let server = XServer::start_composed();
    let _below = server.open_below(&[[255, 255, 255]]);
    let mut command = Command::new(script());
    command.arg("--overlay").env("DISPLAY", &server.display).env_remove("WAYLAND_DISPLAY");
    let mut run = command.stderr(Stdio::null()).spawn().unwrap();
    // What it shows is the traffic of this machine, such as that of this test.
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let has_text = |picture: &Picture| {
        let first_line = picture.part(20, 48, 600, 21);
        let is_light = |pixel: [u8; 3]| pixel.iter().all(|channel| *channel > 200);
        // The window's background makes the white below darker: what is light is text.
        let background = picture.at(600, 430);
        !is_light(background) && first_line.pixels().filter(|pixel| is_light(*pixel)).count() > 20
    };
    let deadline = std::time::Instant::now() + Duration::from_secs(400);
    let picture = loop {
        assert!(run.try_wait().unwrap().is_none(), "it ended by itself");
        assert!(std::time::Instant::now() < deadline, "no line in the overlay");
        socket.send_to(b"leco", "127.0.0.1:9").unwrap();
        let picture = server.screenshot();
        if has_text(&picture) {
            break picture;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    picture.save(&screenshot_path("run-overlay"));
    kill_process(Pid::from_child(&run), Signal::TERM).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(143));
    assert_eq!(left_behind(), Vec::<PathBuf>::new());
}

#[test]
fn wrong_usage_is_told() {
    let output = Command::new(script()).arg("--nonsense").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("script/run --once"));
}
