//! What a machine lacks and what a person's environment says: each program names it, and goes on where it can.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use leco_e2e::{Loader, can_test_the_kernel, program, program_for_everybody};

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
        (format!("ulimit -n 16; $P --check"), 1, "ulimit -n 256"),
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
        (
            format!("setpriv --bounding-set=-all,+net_admin --inh-caps=-all $P --pin {pins}"),
            3,
            "was left without them",
        ),
        (format!("$P --pin {pins}.x"), 4, "takes no dots in names"),
        // A soft limit is no reason to fail.
        (format!("ulimit -S -n 16; $P --pin {pins}"), 0, ""),
        (format!("NOTIFY_SOCKET=/nonexistent/notify $P"), 1, "with the service manager"),
        (format!("$P --no-dns --hook dns=recv --check"), 1, "choose one"),
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

/// What a load made and opened above its pins goes with them, and with the last of those that share it.
#[test]
fn unloading_takes_back_what_loading_made_above_the_pins() {
    if !can_test_the_kernel() {
        return;
    }
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

    // What was there and open before stays so.
    close(0o755);
    fs::create_dir(given.join("made")).unwrap();
    run("made/b", &["--group", "nogroup"]);
    run("made/b", &["--unload"]);
    assert!(mode() == 0o755 && given.join("made").exists());
}
