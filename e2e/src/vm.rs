// SPDX-License-Identifier: GPL-3.0-or-later
//! Another kernel, booted in an emulator for one command.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::skip;

/// A kernel of Debian's that `script/bootstrap test` has unpacked.
pub struct VmKernel {
    folder: PathBuf,
    release: String,
}

/// What came of a boot.
pub struct Booted {
    /// Everything that was written to the console.
    pub console: String,
    /// Exit status of the command; `None` when it never came to an end.
    pub status: Option<i32>,
    /// From power on to power off.
    pub took: Duration,
}

const STARTED: &str = "the command starts";
const DONE: &str = "the command ended with ";
/// Emulated processors sometimes run into an instruction that another is about to replace, at boot, where the
/// kernel patches itself most.
const BOOTS: usize = 3;

impl VmKernel {
    /// The unpacked kernel of this series, such as `6.12`; where there is none, says so, and fails where nothing
    /// may be skipped.
    ///
    /// # Panics
    /// With `LECO_TEST_REQUIRE=all` instead of skipping.
    #[must_use]
    pub fn find(series: &str) -> Option<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/kernels").join(series);
        let release = fs::read_dir(folder.join("lib/modules"))
            .ok()
            .and_then(|mut entries| entries.next()?.ok()?.file_name().into_string().ok());
        let has_emulator = Command::new("qemu-system-x86_64").arg("--version").output().is_ok();
        let Some(release) = release.filter(|_| has_emulator) else {
            let _ =
                skip(&format!("there is no Linux {series} to boot, or no qemu: run script/bootstrap test"));
            return None;
        };
        Some(Self { folder, release })
    }

    /// Boots it with these programs of the host and modules, and runs a shell command in it.
    ///
    /// # Panics
    /// When the image cannot be made or the emulator cannot be started.
    #[must_use]
    pub fn run(&self, programs: &[PathBuf], modules: &[&str], command: &str, within: Duration) -> Booted {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no temporary folder: {error}"));
        let image = self.image(folder.path(), programs, modules, command);
        self.boot(&image, &["-smp", "2", "-accel", "tcg,thread=multi"], within)
    }

    /// Boots it from a disk with a whole system on it, of which nothing is changed. One of its services has to say on
    /// the console what came of it: `the command ended with` and a status.
    ///
    /// # Panics
    /// When the image cannot be made or the emulator cannot be started.
    #[must_use]
    pub fn run_system(&self, disk: &Path, within: Duration) -> Booted {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no temporary folder: {error}"));
        let command =
            "mkdir /system; mount -t ext4 /dev/vda /system && exec busybox switch_root /system /sbin/init";
        let image = self.image(folder.path(), &[], &["virtio_pci", "virtio_blk", "ext4"], command);
        let drive = format!("file={},if=virtio,format=raw,snapshot=on", disk.display());
        // One processor cannot run into what another is about to replace.
        self.boot(&image, &["-smp", "1", "-accel", "tcg,thread=single", "-drive", &drive], within)
    }

    fn boot(&self, image: &Path, machine: &[&str], within: Duration) -> Booted {
        let mut qemu = Command::new("timeout");
        qemu.arg(within.as_secs().to_string()).arg("qemu-system-x86_64").args(machine);
        qemu.args(["-cpu", "max", "-m", "1536", "-nographic", "-no-reboot", "-nic", "none"]);
        qemu.args(["-append", "console=ttyS0 quiet panic=-1 mitigations=off systemd.show_status=no"]);
        qemu.arg("-kernel").arg(self.folder.join(format!("boot/vmlinuz-{}", self.release)));
        qemu.arg("-initrd").arg(image).stdin(Stdio::null());
        let mut boots = 0;
        loop {
            let start = Instant::now();
            let output = qemu.output().unwrap_or_else(|error| panic!("{qemu:?}: {error}"));
            let console = String::from_utf8_lossy(&output.stdout).replace('\r', "");
            boots += 1;
            if boots < BOOTS && !console.contains(STARTED) {
                println!("Linux {} did not get as far as user space: {console}", self.release);
                continue;
            }
            let status = console.lines().find_map(|line| line.split_once(DONE)?.1.trim().parse().ok());
            return Booted { console, status, took: start.elapsed() };
        }
    }

    /// A file system in memory with nothing but what the command needs.
    fn image(&self, folder: &Path, programs: &[PathBuf], modules: &[&str], command: &str) -> PathBuf {
        let root = folder.join("root");
        for name in
            ["bin", "dev", "etc", "modules", "proc", "run", "sys", "tmp", "sbin", "usr/sbin", "usr/bin"]
        {
            make(&root.join(name));
        }
        let busybox = which("busybox");
        copy(&busybox, &root.join("bin/busybox"));
        for applet in ["sh", "mount", "mkdir", "cat", "ls", "insmod", "poweroff", "sleep", "grep", "uname"] {
            link("busybox", &root.join("bin").join(applet));
        }
        let mut libraries = BTreeSet::new();
        for program in programs {
            let name = program.file_name().unwrap_or_default();
            let there = root.join("bin").join(name);
            copy(program, &there);
            // Symbols for a debugger are most of a test program.
            let _ = Command::new("strip").arg(&there).status();
            libraries.extend(libraries_of(program));
        }
        for library in libraries {
            let there = root.join(library.strip_prefix("/").unwrap_or(&library));
            make(there.parent().unwrap_or(&root));
            copy(&library, &there);
        }
        let mut init = String::from(
            "#!/bin/sh\nexport PATH=/bin HOME=/tmp\n\
             mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev\n\
             mount -t tmpfs tmp /tmp; mount -t tmpfs run /run; mkdir -p /run/netns\n\
             mount -t cgroup2 cgroup /sys/fs/cgroup; mount -t tracefs trace /sys/kernel/tracing\n",
        );
        for (number, module) in self.files_of(modules).iter().enumerate() {
            let there = format!("modules/{number}.ko");
            if module.extension().is_some_and(|extension| extension == "xz") {
                let plain = output(Command::new("xz").args(["-dc"]).arg(module));
                fs::write(root.join(&there), plain).unwrap_or_else(|error| panic!("{there}: {error}"));
            } else {
                copy(module, &root.join(&there));
            }
            init += &format!("insmod /{there}\n");
        }
        init += &format!("cd /tmp\necho \"{STARTED}\"\n{command}\necho \"{DONE}$?\"\npoweroff -f\n");
        let init_path = root.join("init");
        fs::write(&init_path, init).unwrap_or_else(|error| panic!("init: {error}"));
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&init_path, executable).unwrap_or_else(|error| panic!("init: {error}"));
        fs::write(root.join("etc/passwd"), "root:x:0:0::/tmp:/bin/sh\n")
            .unwrap_or_else(|error| panic!("{error}"));

        let image = folder.join("image");
        let names = output(Command::new("find").arg(".").current_dir(&root));
        let mut archive = Command::new(busybox);
        archive.args(["cpio", "-o", "-H", "newc"]).current_dir(&root).stdin(Stdio::piped());
        let file = File::create(&image).unwrap_or_else(|error| panic!("{}: {error}", image.display()));
        let spawned = archive.stdout(file).stderr(Stdio::null()).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("{archive:?}: {error}"));
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(&names).unwrap_or_else(|error| panic!("cpio: {error}"));
        }
        assert!(child.wait().is_ok_and(|status| status.success()), "cpio failed");
        image
    }

    /// Files of these modules and of those they need, in the order in which they can be loaded.
    fn files_of(&self, modules: &[&str]) -> Vec<PathBuf> {
        let depmod = |program: &str| {
            let mut command = Command::new(program);
            command.env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin");
            command
        };
        if !self.folder.join("lib/modules").join(&self.release).join("modules.dep.bin").exists() {
            output(depmod("depmod").arg("-b").arg(&self.folder).arg(&self.release));
        }
        let mut files = Vec::new();
        for module in modules {
            let mut command = depmod("modprobe");
            command.arg("-d").arg(&self.folder).args(["-S", &self.release, "--show-depends", module]);
            for line in String::from_utf8_lossy(&output(&mut command)).lines() {
                // Anything else is built in.
                if let Some(path) = line.strip_prefix("insmod ") {
                    let path = PathBuf::from(path.trim());
                    if !files.contains(&path) {
                        files.push(path);
                    }
                }
            }
        }
        files
    }
}

/// A program of the host's, by its name.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn which(name: &str) -> PathBuf {
    find_program(name).unwrap_or_else(|| panic!("there is no {name}"))
}

/// Where a program of the system is, if it is there.
#[must_use]
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Shared libraries of a program, its loader among them.
fn libraries_of(program: &Path) -> Vec<PathBuf> {
    let listed = Command::new("ldd").arg(program).output().map(|output| output.stdout).unwrap_or_default();
    let listed = String::from_utf8_lossy(&listed).into_owned();
    listed
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .map(PathBuf::from)
        .collect()
}

/// What a command of the host's says; it has to succeed.
pub(crate) fn output(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy);
    assert!(output.status.success(), "{command:?}: {}{}", said[0], said[1]);
    output.stdout
}

fn make(folder: &Path) {
    fs::create_dir_all(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
}

fn copy(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
}

fn link(target: &str, at: &Path) {
    symlink(target, at).unwrap_or_else(|error| panic!("{}: {error}", at.display()));
}
