// SPDX-License-Identifier: GPL-3.0-or-later
//! The loader as a process.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use leco_e2e::{
    EventPipe, FAR_V4, Kernel, Loader, NEAR_V4, Netns, Peer, can_test_the_loader, program,
    program_for_everybody,
};
use serde_json::json;

#[test]
fn loads_once_replaces_other_versions_and_leaves_nothing() {
    if !can_test_the_loader() {
        return;
    }
    let loader = Loader::default();
    let said = |options: &[&str]| {
        let output = loader.run(options);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(said(&[]).contains(" is loaded at "));
    let links = || {
        let mut names: Vec<_> = fs::read_dir(loader.pins().join("links"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let first = links();
    assert!(first.iter().any(|name| name.starts_with("send_length@v")), "{first:?}");
    assert!(said(&[]).contains(" is already loaded at "));
    assert_eq!(links(), first);

    let replaced = said(&["--update-interval", "1s", "-v"]);
    assert!(
        replaced.contains("replaced v") && replaced.contains("sock_send_length, sock_recv_length  ok"),
        "{replaced}"
    );
    assert_eq!(links().len(), first.len());
    assert!(links().iter().all(|name| !first.contains(name)), "only the new ones are left");

    said(&["--unload"]);
    assert!(!loader.pins().exists());
    said(&["--unload"]);
}

#[test]
fn refuses_foreign_folders() {
    if !can_test_the_loader() {
        return;
    }
    let loader = Loader::default();
    assert!(loader.run(&[]).status.success(), "mounts bpffs where it is not");
    let foreign = Loader::default();
    fs::create_dir_all(foreign.pins().join("someone-elses")).unwrap();
    for options in [&[][..], &["--unload"]] {
        let output = foreign.run(options);
        assert_eq!(output.status.code(), Some(4));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("not LECO's (someone-elses)"), "{said}");
    }
    assert!(foreign.pins().join("someone-elses").exists());
    fs::remove_dir_all(foreign.pins()).unwrap();

    // Among LECO's own pins, too.
    let pins = loader.pins().to_owned();
    fs::create_dir_all(pins.join("links/someone-elses")).unwrap();
    for options in [&["--update-interval", "1s"][..], &["--unload"]] {
        let output = loader.run(options);
        assert_eq!(output.status.code(), Some(4));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("not LECO's (links/someone-elses)"), "{said}");
    }
    fs::remove_dir(pins.join("links/someone-elses")).unwrap();
    is_complete(&loader).unwrap();
}

/// Fails with the reason unless a pipe can read everything.
fn is_complete(loader: &Loader) -> Result<(), String> {
    let mut command = Command::new(program("leco-event-pipe"));
    let output = command.arg("--pin").arg(loader.pins()).arg("-C").output().unwrap();
    let links = fs::read_dir(loader.pins().join("links")).map(Iterator::count).unwrap_or_default();
    if output.status.success() && links > 10 {
        Ok(())
    } else {
        Err(format!("{links} links, {}", String::from_utf8_lossy(&output.stderr)))
    }
}

/// System calls of the loader that change something: programs, maps, links, pins, folders, modes.
const CALLS: [&str; 8] =
    ["bpf", "perf_event_open", "mkdir", "rename", "renameat2", "unlinkat", "chmod", "chown"];

/// Runs the loader, killed at this system call of this number; whether it made so many.
fn killed_at(loader: &Loader, call: &str, number: usize, options: &[&str]) -> bool {
    let mut command = Command::new("strace");
    command.args(["-qq", "-o", "/dev/null", "-e", &format!("inject={call}:signal=KILL:when={number}")]);
    command.arg(program("leco-ebpf-load")).arg("--pin").arg(loader.pins()).args(options);
    !command.output().unwrap().status.success()
}

/// What each feature is done by here, as `--hook` takes it.
fn levels() -> Vec<String> {
    let output = Command::new(program("leco-ebpf-load")).args(["--check", "--json"]).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let hooks = report["hooks"].as_array().unwrap().iter();
    hooks.map(|hook| format!("{}={}", text(&hook["name"]), text(&hook["used"]))).collect()
}

/// A kill at any system call leaves the pins of before or those of after, never some of each.
fn survives_kills(loader: &Loader, options: &[&str], before: &dyn Fn()) {
    // What the kernel refuses is left out at once: trying it changes nothing that stays.
    let levels = levels();
    let hooks = levels.iter().flat_map(|level| ["--hook", level]);
    let options: Vec<&str> = options.iter().copied().chain(hooks).collect();
    let mut kills = 0;
    for call in CALLS {
        // Most calls of bpf look at what is there: a third of them is as good as all.
        for number in (1..).step_by(if call == "bpf" { 3 } else { 1 }) {
            before();
            let had_pins = loader.pins().exists();
            if !killed_at(loader, call, number, &options) {
                break;
            }
            kills += 1;
            let there = loader.pins().exists();
            assert!(there || !had_pins, "{call} {number}: the old pins are gone");
            if there {
                is_complete(loader).unwrap_or_else(|error| panic!("{call} {number}: {error}"));
            }
        }
        is_complete(loader).unwrap();
    }
    println!("killed at {kills} calls");
    assert!(kills > 50, "only {kills} kills: the injection does nothing");
}

#[test]
fn a_loader_that_is_killed_at_any_stage_leaves_all_pins_or_none() {
    if !can_test_the_loader() {
        return;
    }
    let loader = Loader::default();
    survives_kills(&loader, &["--group", "0"], &|| {
        // What a killed one left goes with the next --unload, too.
        assert!(loader.run(&["--unload"]).status.success());
        let beside = format!("{}-loading", loader.pins().display());
        assert!(!loader.pins().exists() && !Path::new(&beside).exists());
    });
}

#[test]
fn a_loader_that_is_killed_while_it_replaces_leaves_the_old_pins_or_the_new() {
    if !can_test_the_loader() {
        return;
    }
    let loader = Loader::default();
    survives_kills(&loader, &["--update-interval", "1s", "--group", "0"], &|| {
        assert!(loader.run(&["--update-interval", "2s"]).status.success());
    });
}

#[test]
fn loaders_at_the_same_time_take_turns() {
    if !can_test_the_loader() {
        return;
    }
    let loader = Loader::default();
    let running: Vec<_> = (1..=4)
        .map(|seconds| {
            let mut command = Command::new(program("leco-ebpf-load"));
            command.arg("--pin").arg(loader.pins()).args(["--update-interval", &seconds.to_string()]);
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut child in running {
        assert!(child.wait().unwrap().success());
    }
    is_complete(&loader).unwrap();
    let names = fs::read_dir(loader.pins().join("links")).unwrap();
    let mut versions: Vec<_> = names
        .map(|name| name.unwrap().file_name().into_string().unwrap().split_once('@').unwrap().1.to_owned())
        .collect();
    versions.dedup();
    assert_eq!(versions.len(), 1, "one loader's pins and no other's: {versions:?}");
}

#[test]
fn a_read_only_bpffs_is_named() {
    if !can_test_the_loader() {
        return;
    }
    let loader = Loader::default();
    let script = "mount -o remount,ro,bind /sys/fs/bpf && exec \"$0\" --pin \"$1\"";
    let mount = "mount --bind /sys/fs/bpf /sys/fs/bpf && ";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", &format!("{mount}{script}")])
        .arg(program("leco-ebpf-load"))
        .arg(loader.pins())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("Read-only file system") && said.contains("/sys/fs/bpf"), "{said}");
}

#[test]
fn what_the_kernel_can_do_is_told_and_nothing_stays() {
    if !can_test_the_loader() {
        return;
    }
    let check = |options: &[&str]| {
        let mut command = Command::new(program("leco-ebpf-load"));
        let output = command.arg("--check").args(options).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        // How wide its columns are is no matter.
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n")
            .collect::<String>()
    };
    let table = check(&[]);
    assert!(table.starts_with("kernel "), "{table}");
    assert!(table.contains("\nbytes tp_btf sock_send_length, sock_recv_length ok\n"), "{table}");
    let table = check(&["--hook", "bytes=tracepoint", "--hook", "dns=off"]);
    assert!(
        table.contains("\nbytes tracepoint sock_send_length, sock_recv_length as requested\nlost: "),
        "{table}"
    );
    assert!(table.contains("\nstate tracepoint inet_sock_set_state it follows `bytes`\nlost: "), "{table}");
    assert!(table.contains("\ndns off as requested\nlost: names of addresses\n"), "{table}");
    let report: serde_json::Value = serde_json::from_str(&check(&["--json", "--hook", "old=off"])).unwrap();
    let old = report["hooks"].as_array().unwrap().iter().find(|hook| hook["name"] == "old").unwrap();
    assert_eq!((&old["used"], &old["why"]), (&"off".into(), &"as requested".into()));
    let mut wrong = Command::new(program("leco-ebpf-load"));
    let output = wrong.args(["--check", "--hook", "dns=yes"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn wrong_options_and_folders_have_their_own_exit_codes() {
    if !can_test_the_loader() {
        return;
    }
    let loader = Loader::default();
    let run = |options: &[&str]| {
        let output = loader.run(options);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for (options, words) in [
        (&["--ring-size", "5000"][..], "--ring-size 5000: the kernel takes a power of two"),
        (&["--max-conns", "0"], "at least one connection must fit"),
        (&["--max-conns", "4294967295"], "the kernel takes at most 134217728"),
        (&["--btf", "/dev/zero"], "--btf /dev/zero: not an ordinary file"),
        (&["--group", "no-such-group"], "there is no such group"),
        (&["--update-interval", "x"], "invalid value 'x' for '--update-interval <TIME>': expected seconds, "),
        (&["--nonsense"], "--nonsense"),
    ] {
        let (code, said) = run(options);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(words), "{said}");
    }
    let output = Command::new(program("leco-ebpf-load")).args(["--pin", "/etc/leco"]).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
}

#[test]
fn an_ordinary_user_is_told_to_use_root() {
    if !can_test_the_loader() {
        return;
    }
    let (_folder, loader) = program_for_everybody("leco-ebpf-load");
    let output = Command::new("setpriv")
        .args(["--reuid=54321", "--regid=54321", "--clear-groups", "--inh-caps=-all", "--"])
        .arg(loader)
        .args(["--pin", "/sys/fs/bpf/leco-test-unprivileged"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("needs root") && said.contains("Run it with sudo"), "{said}");
}

/// Runs a shell command as a user without rights, who has a group.
fn as_somebody(command: &str, group: &str) -> Output {
    let mut setpriv = Command::new("setpriv");
    setpriv.args(["--reuid=54321", "--clear-groups", "--inh-caps=-all", "--regid", group]);
    setpriv.args(["--", "sh", "-c", command]).output().unwrap()
}

/// Everything below a folder, with modes and owners.
fn state_of(folder: &Path) -> String {
    let listed = Command::new("find").arg(folder).args(["-printf", "%p %m %U %G\\n"]).output().unwrap();
    String::from_utf8(listed.stdout).unwrap()
}

/// A bpffs that was mounted without options lets everybody put things into it, as into /tmp.
#[test]
fn nobody_can_make_the_loader_work_outside_its_folder() {
    if !can_test_the_loader() {
        return;
    }
    let victim = Loader::default();
    assert!(victim.run(&[]).status.success());
    let bpffs = Path::new("/sys/fs/bpf");
    let mode = fs::metadata(bpffs).unwrap().permissions().mode();
    fs::set_permissions(bpffs, fs::Permissions::from_mode(0o1777)).unwrap();
    let before = state_of(victim.pins());
    let refused = |pins: &Path, words: &str| {
        for options in [&[][..], &["--unload"], &["--group", "54321"]] {
            let mut command = Command::new(program("leco-ebpf-load"));
            let output = command.arg("--pin").arg(pins).args(options).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.code() == Some(4) && said.contains(words), "{said}");
        }
        let pipe =
            Command::new(program("leco-event-pipe")).args(["--stats", "--pin"]).arg(pins).output().unwrap();
        assert!(!pipe.status.success() && String::from_utf8_lossy(&pipe.stderr).contains(words), "{pipe:?}");
        assert_eq!(state_of(victim.pins()), before);
    };

    let trap = Loader::default();
    let (pins, target) = (trap.pins().display(), victim.pins().display());
    assert!(as_somebody(&format!("ln -s {target} {pins}"), "54321").status.success());
    refused(trap.pins(), "is a symbolic link");
    refused(&trap.pins().join("leco"), "is a symbolic link");
    assert!(as_somebody(&format!("rm {pins} && mkdir -p {pins}/links"), "54321").status.success());
    refused(trap.pins(), "does not belong to root");
    refused(&trap.pins().join("leco"), "does not belong to root");
    let rest = format!("rm -r {pins} && ln -s {target} {pins}-loading");
    assert!(as_somebody(&rest, "54321").status.success());
    refused(trap.pins(), "is a symbolic link");
    assert!(as_somebody(&format!("rm {pins}-loading"), "54321").status.success());

    // While the loader runs, in the hope that it looks at one thing and uses another.
    let is_over = format!("{}-over", trap.pins().display());
    let race = format!(
        "until [ -e {is_over} ]; do for at in {pins} {pins}-loading; do
            ln -s {target} $at; rm -f $at; mkdir $at; rmdir $at; done; done 2>/dev/null; true"
    );
    let attack = std::thread::spawn(move || as_somebody(&race, "54321"));
    for round in 0..20 {
        let options = if round % 2 == 0 { &["--group", "54321"][..] } else { &["--unload"] };
        let code = trap.run(options).status.code();
        assert!(matches!(code, Some(0 | 4)), "{code:?}");
    }
    assert_eq!(state_of(victim.pins()), before, "another's pins were touched");
    fs::create_dir(&is_over).unwrap();
    assert!(attack.join().unwrap().status.success());
    fs::remove_dir(&is_over).unwrap();
    drop(trap);
    fs::set_permissions(bpffs, fs::Permissions::from_mode(mode)).unwrap();
}

/// bpf(2) by its number: `BPF_OBJ_GET`, and with a descriptor `BPF_MAP_UPDATE_ELEM`.
const OPEN_MAP: &str = "import ctypes, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def bpf(command, attributes):
    data = ctypes.create_string_buffer(attributes, 128)
    done = libc.syscall(321, command, data, 128)
    return done if done >= 0 else -ctypes.get_errno()
path = ctypes.create_string_buffer(sys.argv[1].encode())
fd = bpf(7, struct.pack('QII', ctypes.addressof(path), 0, int(sys.argv[2])))
if fd >= 0:
    space = ctypes.create_string_buffer(65536)
    at = ctypes.addressof(space)
    print('opened', bpf(2, struct.pack('IIQQQ', fd, 0, at, at, 0)))
else:
    print('refused', fd)";
const READ_ONLY: &str = "8";
const EPERM: &str = "opened -1";
const EACCES: &str = "refused -13";

#[test]
fn only_the_group_reads_the_maps_and_nobody_writes_them() {
    if !can_test_the_loader() || std::env::consts::ARCH != "x86_64" {
        return;
    }
    let loader = Loader::default();
    assert!(loader.run(&["--group", "54321"]).status.success());
    let map = |name: &str, flags: &str, group: &str| {
        let path = loader.pins().join("maps").join(name);
        let said = as_somebody(
            &format!("python3 -c \"$(cat)\" {} {flags}", path.display()).replace("$(cat)", OPEN_MAP),
            group,
        );
        String::from_utf8_lossy(&said.stdout).trim().to_owned()
    };
    for name in ["closed", "flows", "programs", "stats"] {
        assert_eq!(map(name, READ_ONLY, "54321"), EPERM, "{name}: read by the group, but not written");
        assert_eq!(map(name, "0", "54321"), EACCES, "{name}: not opened by the group for writing");
        assert_eq!(map(name, READ_ONLY, "54322"), EACCES, "{name}: not read by others");
    }
    assert_eq!(map("events", "0", "54322"), EACCES, "the ring is not for others");
    let (_folder, pipe) = program_for_everybody("leco-event-pipe");
    let pipe = format!("{} --stats --pin {}", pipe.display(), loader.pins().display());
    assert!(as_somebody(&pipe, "54321").status.success());
    let others = as_somebody(&pipe, "54322");
    assert!(String::from_utf8_lossy(&others.stderr).contains("ermission"), "{others:?}");
}

#[test]
fn a_lock_that_somebody_holds_is_named() {
    if !can_test_the_loader() {
        return;
    }
    let loader = Loader::default();
    assert!(loader.run(&[]).status.success());
    let lock = fs::File::open("/sys/fs/bpf").unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let output = loader.run(&["--unload"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(4) && said.contains("holds the lock on /sys/fs/bpf"), "{said}");
}

/// The kernel's types as they were if its configuration left out these fields: others have their place.
fn types_without(fields: &[&str]) -> tempfile::NamedTempFile {
    let mut types = fs::read("/sys/kernel/btf/vmlinux").unwrap();
    for field in fields {
        // Names stand one after another, each between two NULs.
        let name = [b"\0", field.as_bytes(), b"\0"].concat();
        let at: Vec<_> = (0..types.len() - name.len()).filter(|at| types[*at..].starts_with(&name)).collect();
        assert!(!at.is_empty(), "no {field}");
        for at in at {
            types[at + 1] = b'_';
        }
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), types).unwrap();
    file
}

#[test]
fn kernels_without_mptcp_or_ipv6_show_everything_else() {
    const MPTCP: &[&str] = &["tcp_sock.is_mptcp"];
    const IPV6: &[&str] =
        &["sock_common.skc_v6_daddr", "sock_common.skc_v6_rcv_saddr", "rt6_info.rt6i_flags"];
    if !can_test_the_loader() {
        return;
    }
    let check = |options: &[&str]| -> serde_json::Value {
        let mut command = Command::new(program("leco-ebpf-load"));
        let output = command.args(["--check", "--json"]).args(options).output().unwrap();
        assert!(output.status.success(), "{options:?} {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let complete = check(&[]);
    assert_eq!(complete["missing_fields"], json!([]));
    let netns = Netns::new();
    for missing in [MPTCP.to_vec(), IPV6.to_vec(), [IPV6, MPTCP].concat()] {
        let fields: Vec<_> = missing.iter().map(|field| field.rsplit_once('.').unwrap().1).collect();
        let types = types_without(&fields);
        let options = ["--btf", types.path().to_str().unwrap()];
        let report = check(&options);
        assert_eq!(report["hooks"], complete["hooks"], "nothing is given up for {missing:?}");
        let told: Vec<_> = report["missing_fields"].as_array().unwrap().iter().collect();
        assert_eq!(told.iter().map(|told| &told["field"]).collect::<Vec<_>>(), missing);
        assert!(told.iter().all(|told| told["lost"].as_str().is_some_and(|lost| !lost.is_empty())));

        let kernel = Kernel::load(&options);
        let pipe = EventPipe::start(kernel.pins(), &[]);
        let listener = netns.at_far_end(|| TcpListener::bind((FAR_V4, 0)).unwrap());
        let remote = listener.local_addr().unwrap();
        let reading = std::thread::spawn(move || {
            std::io::copy(&mut listener.accept().unwrap().0, &mut std::io::sink())
        });
        let steps = ["tcp", &remote.to_string(), "send", "1000", "hold", "send", "500"];
        let peer = Peer::start(&netns, 54321, b"leco-peer", &steps);
        let pid = peer.id();
        let ends = json!({"raddr": FAR_V4, "rport": remote.port(), "laddr": NEAR_V4, "dir": "out"});
        let event = |more: serde_json::Value| {
            let mut fields = ends.clone();
            fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            pipe.latest(pid, &fields)
        };
        let begun = event(json!({"tx": 1000, "state": "open"}));
        peer.finish();
        assert_eq!(event(json!({"tx": 1500, "state": "closed"}))["key"], begun["key"]);
        assert_eq!(reading.join().unwrap().unwrap(), 1500);
    }
}
