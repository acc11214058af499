// SPDX-License-Identifier: GPL-3.0-or-later
//! What is another's is checked before it is used, and nobody who is slow is waited for.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};

use leco_e2e::{
    DEADLINE, EventPipe, FAR_V4, Kernel, LineReader, Netns, Peer, Running, can_test_the_kernel, program,
    run_to_end, skip, wait_for, wait_or_explain,
};
use libbpf_rs::libbpf_sys::bpf_map_create_opts;
use libbpf_rs::{MapHandle, MapType};
use rustix::net::sockopt::set_socket_send_buffer_size;
use rustix::process::Signal;
use serde_json::{Value, json};

const UID: u32 = 54321;
const OTHER: u32 = 54322;

/// A process that sends datagrams of 9 bytes from the near end; its number and the far port.
fn send(netns: &Netns, uid: u32, name: &[u8], count: usize) -> (u32, u16) {
    let socket = netns.at_far_end(|| UdpSocket::bind((FAR_V4, 0)).unwrap());
    let remote = socket.local_addr().unwrap();
    let mut steps = vec!["udp".to_owned(), remote.to_string()];
    steps.extend((0..count).flat_map(|_| ["send".to_owned(), "9".to_owned()]));
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    let peer = Peer::start(netns, uid, name, &steps);
    let pid = peer.id();
    peer.finish();
    (pid, remote.port())
}

#[test]
fn maps_of_another_kind_are_refused() {
    if !can_test_the_kernel() {
        return;
    }
    for (name, kind, max_entries) in [
        ("stats", MapType::PercpuArray, None),
        ("stats", MapType::Hash, None),
        ("stats", MapType::Array, Some(2)),
        ("closed", MapType::PercpuArray, None),
        ("flows", MapType::LruPercpuHash, None),
        ("flows", MapType::Hash, None),
        ("programs", MapType::Hash, None),
        ("events", MapType::Queue, None),
    ] {
        let kernel = Kernel::load(&[]);
        let path = kernel.pins().join("maps").join(name);
        let ours = MapHandle::from_pinned_path(&path).unwrap();
        let info = libbpf_rs::MapInfo::new(std::os::fd::AsFd::as_fd(&ours)).unwrap().info;
        let opts = bpf_map_create_opts {
            sz: libbpf_rs::libbpf_sys::size_t::try_from(size_of::<bpf_map_create_opts>()).unwrap(),
            ..Default::default()
        };
        let (key, value) = (info.key_size, info.value_size.max(if name == "events" { 4 } else { 0 }));
        let most = max_entries.unwrap_or(info.max_entries);
        let mut another = MapHandle::create(kind, Some("another"), key, value, most, &opts).unwrap();
        fs::remove_file(&path).unwrap();
        another.pin(&path).unwrap();
        let mut command = Command::new(program("leco-event-pipe"));
        command.arg("--pin").arg(kernel.pins()).env("LECO_MEMORY", "off");
        // Only who tells events opens the ring.
        command.args((name != "events").then_some("--stats"));
        let output = run_to_end(command);
        let said = String::from_utf8_lossy(&output.stderr);
        let expected =
            format!("another layout: {name} is {kind:?} of {most} entries, keys of {key} and values");
        assert_eq!(output.status.code(), Some(1), "{name} {kind:?}: {said}");
        assert!(said.contains(&expected), "{name} {kind:?}: {said}");
    }
}

/// A name service, as libc loads them, whose names come from a socket: as SSSD's do.
const NAME_SERVICE: &str = r"
#include <errno.h>
#include <nss.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
enum nss_status _nss_leco_getpwuid_r(uid_t uid, struct passwd *user, char *room, size_t size, int *error)
{
	struct sockaddr_un place = { .sun_family = AF_UNIX, .sun_path = PLACE };
	int server = uid == SLOW ? socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;
	size_t length = 0;
	ssize_t got;
	*error = ENOENT;
	if (server < 0)
		return NSS_STATUS_NOTFOUND;
	if (connect(server, (struct sockaddr *)&place, sizeof(place)) == 0)
		while (length + 2 < size && (got = read(server, room, size - 2)) > 0)
			length += got;
	close(server);
	if (!length)
		return NSS_STATUS_NOTFOUND;
	room[length] = room[length + 1] = 0;
	user->pw_uid = uid;
	user->pw_gid = uid;
	user->pw_name = room;
	user->pw_passwd = user->pw_gecos = user->pw_dir = user->pw_shell = room + length + 1;
	return NSS_STATUS_SUCCESS;
}
";

/// Builds the name service in a folder; what makes it the machine's for the commands that follow, in a mount namespace
/// of their own.
fn name_service(folder: &Path, uid: u32) -> Option<(UnixListener, String)> {
    let at = |name: &str| folder.join(name).display().to_string();
    fs::write(at("service.c"), NAME_SERVICE).unwrap();
    fs::write(at("nsswitch.conf"), "passwd: files leco\n").unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o", &at("libnss_leco.so.2"), &at("service.c")]);
    compiler.args([&format!("-DSLOW={uid}"), &format!("-DPLACE=\"{}\"", at("names"))]);
    let is_built = compiler.status().is_ok_and(|status| status.success());
    let has_glibc = is_built && Path::new("/etc/nsswitch.conf").exists();
    if !has_glibc && !skip("a name service of libc needs cc and glibc") {
        return None;
    }
    // The pipe keeps its right to read below /usr alone.
    let script = format!(
        "mount --bind {} /etc/nsswitch.conf && mount --bind {} /usr/local && export LD_LIBRARY_PATH=/usr/local",
        at("nsswitch.conf"),
        folder.display()
    );
    Some((UnixListener::bind(at("names")).unwrap(), script))
}

#[test]
fn a_slow_name_service_holds_no_event_up() {
    if !can_test_the_kernel() {
        return;
    }
    let (kernel, netns, folder) = (Kernel::load(&[]), Netns::new(), tempfile::tempdir().unwrap());
    let Some((service, script)) = name_service(folder.path(), UID) else { return };
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &format!("{script} && exec \"$@\""), "sh"]);
    command.arg(program("leco-event-pipe")).arg("--pin").arg(kernel.pins());
    let pipe = EventPipe::spawn({
        command.args(["-E", "-c", "conn-traffic-min=0"]);
        command
    });
    let (pid, port) = send(&netns, UID, b"slow", 1);
    let first = pipe.latest(pid, &json!({"rport": port, "tx": 9}));
    assert_eq!(first["user"], Value::Null, "{first}");
    assert!(first["line"].as_str().unwrap().contains(&UID.to_string()), "{first}");
    // It waits in the name service now, and the others go on, with names that a file has.
    let (mut question, _) = service.accept().unwrap();
    let (other, port) = send(&netns, 0, b"fast", 1);
    let _ = pipe.latest(other, &json!({"rport": port, "tx": 9, "user": "root"}));
    let (third, third_port) = send(&netns, UID, b"slow-too", 1);
    let _ = pipe.latest(third, &json!({"rport": third_port, "tx": 9, "user": null}));

    question.write_all(b"leco-slow").unwrap();
    drop(question);
    for (pid, ns) in [(pid, &first["ns"]), (third, &Value::Null)] {
        let named = pipe.latest(pid, &json!({"user": "leco-slow", "tx": 9}));
        assert!(ns.is_null() || named["ns"] == *ns, "the same line: {named}");
        assert!(named["line"].as_str().unwrap().contains("leco-slow"), "{named}");
    }
    // It is known from now on.
    let (pid, port) = send(&netns, UID, b"known", 1);
    let known = pipe.latest(pid, &json!({"rport": port, "tx": 9}));
    assert_eq!(known["user"], "leco-slow");
    assert!(pipe.stderr.lines().iter().all(|line| line.contains("sandbox: ")), "{:?}", pipe.stderr.lines());

    // Who prints what is known once waits for names.
    drop(pipe);
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &format!("{script} && exec \"$@\""), "sh"]);
    command.arg(program("leco-event-pipe")).arg("--pin").arg(kernel.pins()).args(["-C", "-E"]);
    let printing = command.stdout(Stdio::piped()).spawn().unwrap();
    let (mut question, _) = service.accept().unwrap();
    question.write_all(b"leco-slow").unwrap();
    drop(question);
    let printed = printing.wait_with_output().unwrap();
    let printed = String::from_utf8_lossy(&printed.stdout);
    assert!(printed.contains("\"user\":\"leco-slow\""), "{printed}");
}

#[test]
fn a_socket_as_standard_output_that_nobody_reads_holds_nobody_up() {
    if !can_test_the_kernel() {
        return;
    }
    let (kernel, netns, folder) = (Kernel::load(&[]), Netns::new(), tempfile::tempdir().unwrap());
    let (near, far) = UnixStream::pair().unwrap();
    set_socket_send_buffer_size(&near, 4096).unwrap();
    let kept = near.try_clone().unwrap();
    let recording = folder.path().join("events");
    let mut command = Command::new(program("leco-event-pipe"));
    command.arg("--pin").arg(kernel.pins()).args(["-E", "-o", "-", "-o"]);
    command.arg(format!("file:{}", recording.display())).args(["-c", "conn-traffic-min=0 memory=off"]);
    let stdout = Stdio::from(OwnedFd::from(near));
    let mut pipe = Running(command.stdin(Stdio::null()).stdout(stdout).spawn().unwrap());
    for turn in 0..40 {
        let (_, port) = send(&netns, UID, b"leco-many", 1);
        let what = || format!("turn {turn}: an event in {:?}", fs::read_to_string(&recording));
        wait_or_explain(what, || {
            let events = fs::read_to_string(&recording).unwrap_or_default();
            events.contains(&format!("\"rport\":{port},")).then_some(())
        });
    }
    // Whoever shares the socket finds it as it was.
    let flags = rustix::fs::fcntl_getfl(&kept).unwrap();
    assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK));
    drop(kept);
    // Who reads at last finds what is true then.
    let mut lines = BufReader::new(far).lines().map(Result::unwrap);
    let (_, port) = send(&netns, UID, b"leco-last", 1);
    assert!(lines.any(|line| line.contains(&format!("\"rport\":{port},"))));
    let id = rustix::process::Pid::from_child(&pipe.0);
    rustix::process::kill_process(id, Signal::TERM).unwrap();
    assert!(wait_for("its end", || pipe.0.try_wait().unwrap()).success());
}

/// A pipe that another user made cannot be opened anew, and nobody waits for its reader either.
#[test]
fn a_pipe_of_another_user_that_nobody_reads_holds_nobody_up() {
    const GROUP: u32 = 54323;
    if !can_test_the_kernel() {
        return;
    }
    let kernel = Kernel::load(&["--group", &GROUP.to_string()]);
    let (netns, folder) = (Netns::new(), tempfile::tempdir().unwrap());
    let (own, pipe) = leco_e2e::program_for_everybody("leco-event-pipe");
    let socket = folder.path().join("socket");
    std::os::unix::fs::chown(folder.path(), Some(OTHER), Some(GROUP)).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={OTHER}"), &format!("--regid={GROUP}"), "--clear-groups", "--"]);
    command.arg(pipe).arg("--pin").arg(kernel.pins()).args(["-E", "-o", "-", "-o"]);
    command.arg(format!("unix:{}", socket.display())).args(["-c", "conn-traffic-min=0 memory=off"]);
    let _pipe = Running(command.stdin(Stdio::null()).stdout(Stdio::from(writer)).spawn().unwrap());
    let events = LineReader::new(wait_for("a socket", || UnixStream::connect(&socket).ok()));
    for turn in 0..20 {
        let (_, port) = send(&netns, UID, b"leco-many", 1);
        wait_for(&format!("the event of turn {turn}"), || {
            events.lines().iter().any(|line| line.contains(&format!("\"rport\":{port},"))).then_some(())
        });
    }
    let (_, port) = send(&netns, UID, b"leco-last", 1);
    let mut lines = BufReader::new(reader).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains(&format!("\"rport\":{port},"))));
    drop(own);
}

#[test]
fn a_pipe_in_a_pid_namespace_does_not_tell_its_own_connections() {
    if !can_test_the_kernel() {
        return;
    }
    let (kernel, netns) = (Kernel::load(&["--update-interval", "0s"]), Netns::new());
    let receiver = netns.at_far_end(|| UdpSocket::bind((FAR_V4, 0)).unwrap());
    let address = receiver.local_addr().unwrap();
    let mut command = netns.near_command("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child"]).arg(program("leco-event-pipe"));
    command.arg("--pin").arg(kernel.pins()).args(["-E", "-o", "-", "-o", &format!("udp:{address}")]);
    command.args(["-c", "conn-traffic-min=0"]);
    let pipe = EventPipe::spawn(command);
    for name in [&b"leco-one"[..], b"leco-two", b"leco-three"] {
        let (pid, port) = send(&netns, UID, name, 2);
        let _ = pipe.latest(pid, &json!({"rport": port, "tx": 18}));
    }
    // The datagrams that it sent are there: they would be told by now.
    let mut room = [0; 2000];
    receiver.set_read_timeout(Some(DEADLINE)).unwrap();
    let (count, _) = receiver.recv_from(&mut room).unwrap();
    assert!(count > 0);
    let events = pipe.events();
    let own: Vec<_> = events.iter().filter(|event| event["rport"] == address.port()).collect();
    assert!(own.is_empty(), "{own:#?}");
}

#[test]
fn what_the_config_makes_of_options_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("debug.ini"), "[run]\ndebug = yes\n").unwrap();
    let event = json!({"ns": 1, "ns_trx": 1, "line": "a"});
    fs::write(at("events"), format!("{event}\n")).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(program("leco-tui"));
        command.args(arguments).current_dir(folder.path());
        let output = run_to_end(command);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for option in [&["--theme", "dark"][..], &["--colours", "16"]] {
        let (code, said) = run(&[&["debug.ini", "-s", "file:events"], option].concat());
        assert_eq!(code, Some(1), "{said}");
        assert!(
            said.contains(&format!("{} is for the view, and the config says debug", option[0])),
            "{said}"
        );
    }
    let (code, said) = run(&["debug.ini", "--replay", "events", "--speed", "2"]);
    assert!(code == Some(1) && said.contains("--speed is for the view"), "{said}");
    assert_eq!(run(&["debug.ini", "-s", "file:events"]).0, Some(0));

    // A value that is refused stands in the message once.
    for (name, option) in
        [("leco-event-pipe", "--since"), ("leco-tui", "--wait"), ("leco-ebpf-load", "--update-interval")]
    {
        let output = Command::new(program(name)).args([option, "wrong-value"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert_eq!(said.matches("wrong-value").count(), 1, "{said}");
    }
}
