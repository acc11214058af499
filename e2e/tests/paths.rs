// SPDX-License-Identifier: GPL-3.0-or-later
//! Paths that a person gave: a mistyped one costs nothing, and what another user put there is not shown.

#![allow(clippy::unwrap_used)]

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::SystemTime;

use leco_core::config::{NewRule, append};
use leco_e2e::{
    Kernel, Running, Tmux, can_test_the_kernel, can_use_tmux, program, program_for_everybody, run_to_end,
    wait_for, wait_or_explain,
};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

/// Neither root, nor any user of this machine.
const STRANGER: u32 = 54321;

/// Everything that may be in the place of what a person meant.
struct Places {
    folder: tempfile::TempDir,
    _served: UnixListener,
}

/// What there is to know of a file: kind, mode, owner, when it was changed, and what is in it.
type Entry = (PathBuf, u32, u32, u64, SystemTime, Vec<u8>);

impl Places {
    fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("passwd"), "root:x:0:0:root:/root:/bin/sh\n".repeat(50)).unwrap();
        fs::write(at("database"), empty_database()).unwrap();
        fs::create_dir(at("directory")).unwrap();
        fs::write(at("directory/file"), "precious").unwrap();
        symlink("passwd", at("link")).unwrap();
        symlink("missing", at("dangling")).unwrap();
        mknodat(CWD, at("device"), FileType::CharacterDevice, Mode::RUSR | Mode::WUSR, makedev(1, 3))
            .unwrap();
        mknodat(CWD, at("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let served = UnixListener::bind(at("socket")).unwrap();
        drop(UnixListener::bind(at("left-over")).unwrap());
        chown(at("left-over"), Some(STRANGER), None).unwrap();
        fs::write(at("unreadable"), "secret").unwrap();
        fs::set_permissions(at("unreadable"), fs::Permissions::from_mode(0o000)).unwrap();
        for (name, options) in [("full", c"size=16k,nr_inodes=4"), ("readonly", c"size=16k")] {
            fs::create_dir(at(name)).unwrap();
            mount("tmpfs", at(name), "tmpfs", MountFlags::empty(), Some(options)).unwrap();
            fs::write(at(name).join("passwd"), "precious\n").unwrap();
        }
        let mut full = fs::File::create(at("full/block")).unwrap();
        while full.write_all(&[0; 4096]).is_ok() {}
        let mut number = 0;
        while fs::create_dir(at(&format!("full/{number}"))).is_ok() {
            number += 1;
        }
        mount_remount(at("readonly"), MountFlags::RDONLY, "").unwrap();
        Self { folder, _served: served }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn snapshot(&self) -> Vec<Entry> {
        let (mut all, mut folders) = (Vec::new(), vec![self.folder.path().to_owned()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let there = fs::symlink_metadata(&path).unwrap();
                let kind = there.file_type();
                let inside = match () {
                    () if kind.is_file() => fs::read(&path).unwrap(),
                    () if kind.is_symlink() => {
                        fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
                    }
                    () => Vec::new(),
                };
                if kind.is_dir() {
                    folders.push(path.clone());
                }
                all.push((path, there.mode(), there.uid(), there.ino(), there.modified().unwrap(), inside));
            }
        }
        all.sort();
        all
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        for name in ["full", "readonly"] {
            let _ = unmount(self.at(name), UnmountFlags::DETACH);
        }
    }
}

/// A database of `SQLite` in which there is nothing, as the file format says it.
fn empty_database() -> Vec<u8> {
    let mut page = vec![0; 4096];
    page[..16].copy_from_slice(b"SQLite format 3\0");
    page[16..18].copy_from_slice(&4096_u16.to_be_bytes());
    page[18..24].copy_from_slice(&[1, 1, 0, 64, 32, 32]);
    for (at, number) in [(28, 1_u32), (44, 4), (56, 1), (60, 1)] {
        page[at..at + 4].copy_from_slice(&number.to_be_bytes());
    }
    page[100] = 0x0d;
    page[105..107].copy_from_slice(&4096_u16.to_be_bytes());
    page
}

/// What is refused of which kind of option, and in what words: each of the places, and of the kinds `regular` (a file
/// of LECO's is expected), `fifo` and `socket`.
const TABLE: [(&str, [&str; 3]); 12] = [
    ("passwd", ["not", "is a file, not a fifo", "is a file, not a socket"]),
    ("database", ["not", "is a file, not a fifo", "is a file, not a socket"]),
    ("directory", ["is a directory", "is a directory, not a fifo", "is a directory, not a socket"]),
    ("link", ["not", "is a symbolic link, not a fifo", "is a symbolic link, not a socket"]),
    (
        "dangling",
        ["is a symbolic link", "is a symbolic link, not a fifo", "is a symbolic link, not a socket"],
    ),
    ("device", ["is a device", "is a device, not a fifo", "is a device, not a socket"]),
    ("fifo", ["is a fifo", "", "is a fifo, not a socket"]),
    ("socket", ["is a socket", "is a socket, not a fifo", "is served by another process"]),
    ("left-over", ["is a socket", "is a socket, not a fifo", "was left behind by user 54321"]),
    ("passwd/new", ["Not a directory", "Not a directory", "Not a directory"]),
    ("readonly/new", ["Read-only file system", "Read-only file system", "Read-only file system"]),
    ("full/new", ["No space left on device", "No space left on device", "No space left on device"]),
];

fn pipe(kernel: &Kernel, arguments: &[&str]) -> Command {
    let mut command = Command::new(program("leco-event-pipe"));
    command.arg("--pin").arg(kernel.pins()).args(arguments).env("LECO_MEMORY", "off").stdin(Stdio::null());
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Starts it, waits until it complains of the path, and ends it.
fn complaint_of(mut command: Command, path: &str) -> String {
    let log = tempfile::NamedTempFile::new().unwrap();
    command.stdout(Stdio::null()).stderr(log.reopen().unwrap());
    let child = Running(command.spawn().unwrap());
    let read = || fs::read_to_string(log.path()).unwrap();
    let complaint = wait_or_explain(
        || format!("a complaint of {path} in {}", read()),
        || Some(read()).filter(|text| text.contains(path) && text.ends_with('\n')),
    );
    drop(child);
    complaint
}

#[test]
fn a_mistyped_option_changes_nothing() {
    if !can_test_the_kernel() {
        return;
    }
    let (kernel, places) = (Kernel::load(&[]), Places::make());
    let before = places.snapshot();
    for (name, [regular, fifo, socket]) in TABLE {
        let path = places.at(name);
        let path = path.to_str().unwrap();
        let outputs = [
            (vec!["-o".to_owned(), format!("file:{path}")], regular),
            (vec!["--record".into(), path.into()], regular),
            (vec!["-o".into(), format!("fifo:{path}")], fifo),
            (vec!["--fifo".into(), path.into()], fifo),
            (vec!["-o".into(), format!("unix:{path}")], socket),
        ];
        for (arguments, words) in outputs.iter().filter(|(_, words)| !words.is_empty()) {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let output = run_to_end(pipe(&kernel, &arguments));
            let said = said(&output);
            assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
            assert!(said.contains(path) && said.contains(words), "{arguments:?}: {said}");
            assert!(places.snapshot() == before, "{arguments:?} changed something: {said}");
        }
        let memory = format!("memory={path}");
        let complaint = complaint_of(pipe(&kernel, &["-c", &memory]), path);
        assert!(complaint.contains(regular) && complaint.contains("not saved"), "{memory}: {complaint}");
        assert!(!complaint.contains(".."), "{memory}: {complaint}");
        assert!(places.snapshot() == before, "{memory} changed something: {complaint}");
        let mut seen = Command::new(program("leco-event-pipe"));
        seen.args(["--seen", "-c", &memory]);
        let output = run_to_end(seen);
        assert!(!output.status.success() && said(&output).contains(path), "{}", said(&output));
        assert!(places.snapshot() == before, "--seen -c {memory} changed something");
        // As the rules' editor of leco-tui does it.
        let error =
            append(Path::new(path), NewRule { section: "rx-proc", text: "a = b" }).unwrap_err().to_string();
        assert!(error.contains(path) && error.contains(regular), "a rule: {error}");
        assert!(places.snapshot() == before, "a rule changed something: {error}");
    }
    // A disk that fills up takes no half of a rule, and no file is left that was made for one.
    let full = places.at("full/passwd");
    fs::write(&full, "[text]\n").unwrap();
    let before = places.snapshot();
    let rule = format!("{} = b", "a".repeat(8192));
    let rule = NewRule { section: "rx-proc", text: &rule };
    let error = append(&full, rule).unwrap_err().to_string();
    assert!(error.contains(full.to_str().unwrap()) && error.contains("No space left"), "{error}");
    let contents =
        |entries: Vec<Entry>| entries.into_iter().map(|entry| (entry.0, entry.5)).collect::<Vec<_>>();
    assert!(contents(places.snapshot()) == contents(before), "half a rule was written");
    // Nor is a database left that could be made, but not written.
    fs::remove_dir(places.at("full/0")).unwrap();
    let before = contents(places.snapshot());
    let path = places.at("full/seen.sqlite");
    let complaint =
        complaint_of(pipe(&kernel, &["-c", &format!("memory={}", path.display())]), path.to_str().unwrap());
    assert!(complaint.contains("full"), "{complaint}");
    assert!(contents(places.snapshot()) == before, "{complaint}");
}

#[test]
fn a_history_and_an_output_in_one_place_are_refused() {
    if !can_test_the_kernel() {
        return;
    }
    let (kernel, folder) = (Kernel::load(&[]), tempfile::tempdir().unwrap());
    let path = folder.path().join("both");
    let (output, memory) = (format!("file:{}", path.display()), format!("memory={}", path.display()));
    let complaint = complaint_of(pipe(&kernel, &["-o", &output, "-c", &memory]), path.to_str().unwrap());
    assert!(complaint.contains("leads to the same place as"), "{complaint}");
    assert!(!path.exists());
}

#[test]
fn what_may_not_be_read_is_named_and_stays() {
    if !can_test_the_kernel() {
        return;
    }
    let group = STRANGER.to_string();
    let (kernel, places) = (Kernel::load(&["--group", &group]), Places::make());
    let (_folder, copy) = program_for_everybody("leco-event-pipe");
    let as_stranger = |arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args([&format!("--reuid={group}"), &format!("--regid={group}"), "--clear-groups", "--"]);
        command.arg(&copy).arg("--pin").arg(kernel.pins()).args(arguments).env("LECO_MEMORY", "off");
        command
    };
    let before = places.snapshot();
    // A file, and a folder in which nothing may be made.
    for name in ["unreadable", "new"] {
        let path = places.at(name);
        let path = path.to_str().unwrap();
        for kind in ["file", "fifo", "unix"] {
            let output = run_to_end(as_stranger(&["-o", &format!("{kind}:{path}")]));
            let said = said(&output);
            assert!(!output.status.success() && said.contains(path), "{kind}: {said}");
            assert!(places.snapshot() == before, "{kind}: {said}");
        }
        let complaint = complaint_of(as_stranger(&["-c", &format!("memory={path}")]), path);
        assert!(complaint.contains("Permission denied"), "{complaint}");
        assert!(places.snapshot() == before, "{complaint}");
    }
    let socket = places.at("left-over");
    let mut own = as_stranger(&["-o", &format!("unix:{}", socket.display())]).spawn().unwrap();
    // Its folder is root's: it may not be removed, and is not.
    assert!(!own.wait().unwrap().success());
    assert!(places.snapshot() == before);
}

#[test]
fn a_view_records_to_nothing_but_recordings() {
    if !can_test_the_kernel() || !can_use_tmux() {
        return;
    }
    let places = Places::make();
    let before = places.snapshot();
    let log = tempfile::NamedTempFile::new().unwrap();
    for (name, [words, ..]) in TABLE {
        let path = places.at(name);
        let command = format!(
            "{} --fifo {} --record {} 2>{}",
            program("leco-tui").display(),
            places.at("nothing").display(),
            path.display(),
            log.path().display()
        );
        let terminal = Tmux::start(100, 10, &command);
        terminal.wait_for("its end", |screen| screen.contains("exit status 1"));
        let said = fs::read_to_string(log.path()).unwrap();
        assert!(said.contains(path.to_str().unwrap()) && said.contains(words), "{name}: {said}");
        assert!(places.snapshot() == before, "{name}: {said}");
    }
    let source = tempfile::NamedTempFile::new().unwrap();
    let file = source.path().display();
    let tui = program("leco-tui");
    let command = format!("{} -s file:{file} --record {file} 2>{}", tui.display(), log.path().display());
    Tmux::start(100, 10, &command).wait_for("its end", |screen| screen.contains("exit status 1"));
    assert!(fs::read_to_string(log.path()).unwrap().contains("to itself"));
}

/// A rotation that put something else in the recording's place: what was open goes on, and nothing is appended there.
#[test]
fn what_replaced_a_recording_stays_as_it_is() {
    if !can_test_the_kernel() {
        return;
    }
    let (kernel, folder) = (Kernel::load(&[]), tempfile::tempdir().unwrap());
    let (path, other) = (folder.path().join("events"), folder.path().join("other"));
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut command = pipe(&kernel, &["-o", &format!("file:{}", path.display()), "-c", "sandbox=0"]);
    let child = Running(command.stderr(log.reopen().unwrap()).spawn().unwrap());
    wait_for("the recording", || path.exists().then_some(()));
    // It catches signals once it has opened its outputs: the time comes when it caught this one.
    let status = format!("/proc/{}/status", child.0.id());
    wait_for("the pipe to catch signals", || {
        let status = fs::read_to_string(&status).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:\t")).unwrap();
        (u64::from_str_radix(caught, 16).unwrap() & 1 != 0).then_some(())
    });
    fs::write(&other, "precious\n").unwrap();
    fs::rename(&other, &path).unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_child(&child.0), rustix::process::Signal::HUP)
        .unwrap();
    wait_for("a complaint", || {
        let said = fs::read_to_string(log.path()).unwrap();
        (said.contains("is not a recording") && said.contains(path.to_str().unwrap())).then_some(())
    });
    drop(child);
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious\n");
}

const FORGED: &str =
    "{\"ns\":1,\"ns_trx\":1,\"line\":\"09:00 :: root :: sshd :: example.org 443 :: v 1B / 2B ^\"}\n";

/// A process of another user that opens a fifo and writes the forged line, as soon as somebody reads.
fn forger(fifo: &Path) -> Running {
    let mut command = Command::new("setpriv");
    let ids = [format!("--reuid={STRANGER}"), format!("--regid={STRANGER}"), "--clear-groups".into()];
    command.args(ids).args(["--", "sh", "-c", "printf '%s\\n' \"$1\" >\"$0\"; exec sleep 60"]);
    Running(command.arg(fifo).arg(FORGED.trim_end()).spawn().unwrap())
}

/// A folder like `/tmp`.
fn shared_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    folder
}

fn once(arguments: &[&str]) -> Command {
    let mut command = Command::new(program("leco-tui"));
    command.args(["--once", "--wait", "3"]).args(arguments).stdin(Stdio::null());
    command.env("XDG_CONFIG_HOME", "/nonexistent");
    command
}

/// Neither is it shown where the source has these options; with `owner=any` it is.
fn expect_refusal(source: &str, reason: &str, path: &Path, mut forge: impl FnMut() -> Option<Running>) {
    for (source, is_shown) in [(source.to_owned(), false), (format!("{source}?owner=any"), true)] {
        let forger = forge();
        let output = once(&["-s", &source]).output().unwrap();
        drop(forger);
        let (shown, said) = (String::from_utf8_lossy(&output.stdout), said(&output));
        assert_eq!(shown.contains("sshd"), is_shown, "{source}: {shown}{said}");
        assert_eq!(output.status.success(), is_shown, "{source}: {shown}{said}");
        if !is_shown {
            let is_explained = said.contains(reason) && said.contains("?owner=any");
            assert!(is_explained && said.contains(path.to_str().unwrap()), "{source}: {said}");
            // What is there is not waited for, and starting a pipe is no help.
            assert!(said.contains("refused, ") && !said.contains("waiting"), "{source}: {said}");
            assert!(!said.contains("start leco-event-pipe"), "{source}: {said}");
        }
    }
}

#[test]
fn a_fifo_of_another_user_is_not_shown() {
    if !can_test_the_kernel() {
        return;
    }
    let folder = shared_folder();
    let path = folder.path().join("leco.fifo");
    let make = |owner: u32, mode: u32| {
        let _ = fs::remove_file(&path);
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR, 0).unwrap();
        chown(&path, Some(owner), Some(owner)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let source = format!("fifo:{}", path.display());
    make(STRANGER, 0o644);
    expect_refusal(&source, "it belongs to user 54321", &path, || Some(forger(&path)));
    // The shorter form of the option knows it, too.
    let child = forger(&path);
    let output = once(&["--fifo", &format!("{}?owner=any", path.display())]).output().unwrap();
    drop(child);
    assert!(String::from_utf8_lossy(&output.stdout).contains("sshd"), "{}", said(&output));
    make(0, 0o666);
    expect_refusal(&source, "every user may write to it", &path, || Some(forger(&path)));
    // Another member of a group that may write to it could have written it: here a user of another group reads it.
    make(0, 0o664);
    chown(&path, None, Some(STRANGER)).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let closed = once(&["-s", &source]).output().unwrap();
    assert!(!said(&closed).contains("refused"), "nobody else gets there: {}", said(&closed));
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    expect_refusal(&source, "group 54321 may write to it", &path, || Some(forger(&path)));
    // Of the reader's own, and of root, it is: here a user reads them.
    let (_folder, tui) = program_for_everybody("leco-tui");
    for owner in [0, STRANGER] {
        make(owner, 0o644);
        let mut writer = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        writer.write_all(FORGED.as_bytes()).unwrap();
        let mut command = Command::new("setpriv");
        command.args([&format!("--reuid={STRANGER}"), "--clear-groups", "--"]).arg(&tui);
        let output = command.args(["--once", "-s", &source]).env("XDG_CONFIG_HOME", "/nonexistent").output();
        let output = output.unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).contains("sshd"), "{owner}: {}", said(&output));
    }
}

#[test]
fn a_recording_of_another_user_is_not_shown() {
    if !can_test_the_kernel() {
        return;
    }
    let folder = shared_folder();
    let path = folder.path().join("events");
    fs::write(&path, FORGED).unwrap();
    chown(&path, Some(STRANGER), None).unwrap();
    expect_refusal(&format!("file:{}", path.display()), "it belongs to user 54321", &path, || None);
    // A fifo without a writer is not waited for when it is opened.
    let fifo = folder.path().join("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let output = once(&["-s", &format!("file:{}", fifo.display())]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    if can_use_tmux() {
        let log = folder.path().join("log");
        let tui = program("leco-tui");
        let command = format!("{} --replay {} 2>{}", tui.display(), path.display(), log.display());
        Tmux::start(100, 10, &command).wait_for("its end", |screen| screen.contains("exit status 1"));
        let said = fs::read_to_string(&log).unwrap();
        assert!(said.contains("it belongs to user 54321") && said.contains(path.to_str().unwrap()), "{said}");
        let command = format!("{} --replay '{}?owner=any'", tui.display(), path.display());
        Tmux::start(100, 10, &command).wait_for("the recording", |screen| screen.contains("sshd"));
    }
}

#[test]
fn a_socket_that_another_user_serves_is_not_shown() {
    if !can_test_the_kernel() {
        return;
    }
    let folder = shared_folder();
    let path = folder.path().join("socket");
    let serve = || {
        let _ = fs::remove_file(&path);
        let (listening, ready) = std::sync::mpsc::channel();
        let place = path.clone();
        std::thread::spawn(move || {
            // Threads become other users one by one; who listens counts.
            let stranger = rustix::process::Uid::from_raw(STRANGER);
            rustix::thread::set_thread_res_uid(stranger, stranger, stranger).unwrap();
            let listener = UnixListener::bind(&place).unwrap();
            listening.send(()).unwrap();
            // It is tried again and again, until the test is over.
            while let Ok((mut stream, _)) = listener.accept() {
                // Who refuses it reads none of it.
                let _ = stream.write_all(FORGED.as_bytes());
                let _ = stream.read(&mut [0]);
            }
        });
        ready.recv().unwrap();
        // That the file is root's does not help.
        chown(&path, Some(0), None).unwrap();
        None
    };
    expect_refusal(&format!("unix:{}", path.display()), "it belongs to user 54321", &path, serve);
}

/// Where no folder is the user's own, nothing is waited for that anybody can make.
#[test]
fn without_a_folder_of_ones_own_there_is_no_default() {
    if !can_test_the_kernel() {
        return;
    }
    let shared = shared_folder();
    let own = tempfile::tempdir().unwrap();
    let fifo = own.path().join("leco.fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let mut writer = OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
    let (_folder, tui) = program_for_everybody("leco-tui");
    let as_stranger = |runtime: Option<&Path>| {
        let mut command = Command::new("setpriv");
        command.args([&format!("--reuid={STRANGER}"), "--clear-groups", "--"]).arg(&tui);
        command.args(["--once", "--wait", "1"]).env("XDG_CONFIG_HOME", "/nonexistent").stdin(Stdio::null());
        match runtime {
            Some(folder) => command.env("XDG_RUNTIME_DIR", folder),
            None => command.env_remove("XDG_RUNTIME_DIR"),
        };
        command.output().unwrap()
    };
    for (runtime, reason) in [
        (None, "XDG_RUNTIME_DIR is not set, and /run/user/54321"),
        (Some(shared.path()), "other users can write to"),
    ] {
        let output = as_stranger(runtime);
        let said = said(&output);
        assert!(!output.status.success() && said.contains(reason), "{said}");
        assert!(said.contains("--fifo") && !said.contains("waiting"), "{said}");
    }
    writer.write_all(FORGED.as_bytes()).unwrap();
    let output = once(&[]).env("XDG_RUNTIME_DIR", own.path()).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("sshd"), "{}", said(&output));
}
