// SPDX-License-Identifier: GPL-3.0-or-later
//! What is installed: the package in a bare system, and its units under the systemd of a booted one.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use leco_e2e::debian::{Debian, package};
use leco_e2e::vm::VmKernel;
use leco_e2e::{nats_servers, program, skip};

const PROGRAMS: [&str; 6] =
    ["leco-ebpf-load", "leco-event-pipe", "leco-notify", "leco-relay", "leco-sdl-widget", "leco-tui"];
const RELAYS: [&str; 2] = ["leco-relay-publish.service", "leco-relay-subscribe.service"];
/// In a completion of `--he`.
const COMPLETE: &str = ". /usr/share/bash-completion/bash_completion
    . /usr/share/bash-completion/completions/$0
    COMP_WORDS=($0 --he) COMP_CWORD=1
    $(complete -p $0 | sed 's/.*-F \\([^ ]*\\).*/\\1/') $0 --he $0
    echo \"${COMPREPLY[*]}\"";

/// Paths below a folder, without what a package manager notes for itself.
fn files_of(debian: &Debian) -> BTreeSet<String> {
    let root = debian.path("/");
    let listed = Command::new("find").arg(&root).arg("-xdev").output().unwrap();
    let of_dpkg = ["/var/lib/dpkg/", "/var/log/", "/var/cache/", "/etc/group", "/etc/gshadow"];
    let paths = String::from_utf8(listed.stdout).unwrap();
    let paths = paths.lines().map(|path| path.strip_prefix(root.to_str().unwrap()).unwrap().to_owned());
    let paths = paths.map(|path| format!("/{}", path.trim_start_matches('/')));
    paths.filter(|path| !of_dpkg.iter().any(|folder| path.starts_with(folder))).collect()
}

#[test]
fn the_package_comes_and_goes() {
    let (Some(debian), Some(first)) = (Debian::unpack(), package("first")) else { return };
    let before = files_of(&debian);
    debian.copy(&first, "/tmp/leco.deb");
    debian.run("dpkg", &["--install", "/tmp/leco.deb"]);
    fs::remove_file(debian.path("/tmp/leco.deb")).unwrap();
    for name in PROGRAMS {
        assert_eq!(debian.run(name, &["--version"]), format!("{name} {}\n", env!("CARGO_PKG_VERSION")));
        assert!(debian.run("man", &["-P", "cat", name]).contains("SYNOPSIS"), "{name}");
        assert_eq!(debian.run("bash", &["-c", COMPLETE, name]), "--help\n", "{name}");
        for shell in ["zsh/vendor-completions/_", "fish/vendor_completions.d/"] {
            let suffix = if shell.starts_with("fish") { ".fish" } else { "" };
            assert!(debian.path(&format!("/usr/share/{shell}{name}{suffix}")).exists(), "{shell} {name}");
        }
    }
    assert!(debian.run("man", &["-P", "cat", "widget.ini"]).contains("[rx-proc]"));
    let example = "/usr/share/doc/leco/examples/widget.ini";
    assert_eq!(debian.run("leco-tui", &["--check-config", example]), "");
    assert!(debian.run("getent", &["group", "leco"]).starts_with("leco:"));

    debian.run("dpkg", &["--remove", "leco"]);
    let left: Vec<_> = files_of(&debian).difference(&before).cloned().collect();
    assert_eq!(left, [""; 0], "only what dpkg notes may be left");
    debian.run("dpkg", &["--purge", "leco"]);
    assert!(!fs::read_to_string(debian.path("/etc/group")).unwrap().contains("leco"));
}

#[test]
fn units_are_valid_and_locked_down() {
    let (Some(debian), Some(first)) = (Debian::unpack(), package("first")) else { return };
    debian.copy(&first, "/tmp/leco.deb");
    debian.run("dpkg", &["--install", "/tmp/leco.deb"]);
    let verify = [
        "verify",
        "leco.service",
        "leco.socket",
        "leco-history.socket",
        "leco@1000.service",
        "leco-fifo@1000.service",
        "leco-relay.socket",
        RELAYS[0],
        RELAYS[1],
    ];
    assert_eq!(debian.run("systemd-analyze", &verify), "");
    for unit in ["leco-sdl-widget.service", "leco-notify.service"] {
        assert_eq!(debian.run("systemd-analyze", &["--user", "verify", unit]), "");
    }
    // The relays have the network.
    let limits = [("leco.service", 7), ("leco@1000.service", 7), (RELAYS[0], 13), (RELAYS[1], 13)];
    for (unit, limit) in limits {
        // In tenths, as docs/SECURITY.md has them.
        let limit = format!("--threshold={limit}");
        let secure = ["security", "--offline=true", "--no-pager", &limit, unit];
        let report = debian.run("systemd-analyze", &secure);
        println!("{}", report.lines().last().unwrap_or_default());
    }
    let drop_ins = debian.path("/usr/share/doc/leco/examples");
    for unit in ["leco.service", "leco@1000.service"] {
        let folder = debian.path(&format!("/etc/systemd/system/{unit}.d"));
        fs::create_dir_all(&folder).unwrap();
        for example in fs::read_dir(&drop_ins).unwrap().map(|entry| entry.unwrap().path()) {
            if example.extension().is_some_and(|extension| extension == "conf") {
                fs::copy(&example, folder.join(example.file_name().unwrap())).unwrap();
            }
        }
        assert_eq!(debian.run("systemd-analyze", &["verify", unit]), "", "with drop-ins");
    }
}

/// Two to four minutes of an emulated machine.
#[test]
fn systemd_runs_restarts_upgrades_and_stops_it() {
    let Some((debian, first, second)) =
        Debian::unpack().and_then(|debian| Some((debian, package("first")?, package("second")?)))
    else {
        return;
    };
    let Some(kernel) = VmKernel::find("6.12") else { return };
    debian.copy(&first, "/srv/first.deb");
    debian.copy(&second, "/srv/second.deb");
    // The relays need a server: any that runs in this system.
    let Some(server) = nats_servers().pop() else { return };
    fs::copy(server, debian.path("/usr/local/bin/nats-server")).unwrap();
    let peer = debian.path("/usr/local/bin/leco-e2e-peer");
    let stripped = Command::new("strip").arg("-o").arg(&peer).arg(program("leco-e2e-peer")).status();
    assert!(stripped.unwrap().success());
    debian.run("dpkg", &["--install", "/srv/first.deb"]);
    debian.run("useradd", &["--create-home", "--uid", "1000", "--groups", "leco", "me"]);
    debian.run("useradd", &["--create-home", "--uid", "1001", "other"]);
    let write = |inside: &str, text: &str| {
        let path = debian.path(inside);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    // As `loginctl enable-linger me` does: the user's services are started with the system.
    write("/var/lib/systemd/linger/me", "");
    let all_fields = fs::read_to_string(debian.path("/usr/share/doc/leco/examples/all-fields.conf")).unwrap();
    for unit in ["leco.service", "leco@.service"] {
        write(&format!("/etc/systemd/system/{unit}.d/all-fields.conf"), &all_fields);
    }
    write("/srv/check.sh", include_str!("installed/check.sh"));
    write(
        "/etc/systemd/system/leco-check.service",
        "[Service]\nType=idle\nExecStart=/bin/bash /srv/check.sh\nExecStopPost=systemctl poweroff -ff\n\
         StandardOutput=tty\nStandardError=tty\nTTYPath=/dev/ttyS0\n[Install]\nWantedBy=multi-user.target\n",
    );
    // As early as anything may use the network, and others of the start wait for it, as they do for cloud-init.
    write(
        "/etc/systemd/system/leco-early.service",
        "[Unit]\nDefaultDependencies=no\nAfter=network-pre.target\nBefore=network.target sysinit.target\n\
         [Service]\nType=oneshot\nExecStart=leco-e2e-peer '' udp 127.0.0.1:19999 send 6100\n\
         [Install]\nWantedBy=sysinit.target\n",
    );
    let units = ["leco.service", "leco@1000.service", "leco-early.service", "leco-check.service"];
    debian.run("systemctl", &[&["enable"], &units[..]].concat());
    debian.run("systemctl", &["set-default", "multi-user.target"]);
    debian.run("systemctl", &["mask", "serial-getty@ttyS0.service", "getty@tty1.service"]);
    let folder = tempfile::tempdir().unwrap();
    let booted = kernel.run_system(&debian.disk(folder.path()), Duration::from_secs(420));
    println!("Debian's systemd ran its checks in {:.0?}", booted.took);
    let checks = booted.console.lines().filter(|line| line.starts_with("ok: ")).count();
    assert!(booted.status == Some(0) && checks > 40, "{checks} checks passed:\n{}", booted.console);
}

/// Runs a tool of a distribution's packagers; says what is skipped where there is none.
fn packagers(tool: &mut Command) -> Option<String> {
    let name = tool.get_program().to_string_lossy().into_owned();
    let Ok(output) = tool.output() else {
        let _ = skip(&format!("there is no {name}: run script/bootstrap test"));
        return None;
    };
    let (said, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name}: {said}{failed}");
    Some(said.into_owned())
}

fn checkout() -> &'static str {
    concat!(env!("CARGO_MANIFEST_DIR"), "/..")
}

#[test]
fn make_installs_what_it_uninstalls_and_rpm_packages_it() {
    let folder = tempfile::tempdir().unwrap();
    let programs = program("leco-tui").parent().unwrap().to_owned();
    let make = |target: &str| {
        let mut make = Command::new("make");
        make.current_dir(checkout()).args([target, "PREFIX=/opt/leco"]);
        make.arg(format!("DESTDIR={}", folder.path().display())).arg(format!("BIN={}", programs.display()));
        packagers(&mut make).unwrap()
    };
    let files = || -> BTreeSet<String> {
        let listed = Command::new("find").current_dir(&folder).args([".", "-type", "f"]).output().unwrap();
        String::from_utf8(listed.stdout).unwrap().lines().map(|path| path[1..].to_owned()).collect()
    };
    if !Path::new(checkout()).join("target/manual/man").exists() {
        let _ = skip("there are no man pages: run script/packages");
        return;
    }
    make("install");
    let installed = files();
    let unit = fs::read_to_string(folder.path().join("opt/leco/lib/systemd/system/leco.service")).unwrap();
    assert!(unit.contains("ExecStart=/opt/leco/bin/leco-event-pipe") && !unit.contains("/usr/bin/leco"));
    make("uninstall");
    assert_eq!(files(), BTreeSet::new());

    let top = tempfile::tempdir().unwrap();
    let mut rpmbuild = Command::new("rpmbuild");
    rpmbuild.current_dir(checkout()).args(["-bb", "--build-in-place", "--nodeps", "--without", "build"]);
    rpmbuild.arg("--define").arg(format!("_topdir {}", top.path().display()));
    rpmbuild.arg("--define").arg(format!("bindir_of_build {}", programs.display()));
    // Debug builds are large, and nobody keeps this package.
    rpmbuild.args(["--define", "_binary_payload w0.gzdio", "packaging/rpm/leco.spec"]);
    let Some(_) = packagers(&mut rpmbuild) else { return };
    let mut rpms = fs::read_dir(top.path().join("RPMS").join(std::env::consts::ARCH)).unwrap();
    let package = rpms.next().unwrap().unwrap().path();
    let packaged = packagers(Command::new("rpm").args(["-qlp"]).arg(package)).unwrap();
    let packaged: BTreeSet<&str> = packaged.lines().collect();
    for file in installed {
        let file = file.replace("/opt/leco", "/usr");
        assert!(packaged.contains(file.as_str()), "{file} is not in the package");
    }
}

/// Evaluates a Nix expression with nothing of nixpkgs but what it uses.
const EVALUATE: &str = "let
  lib = {
    escapeShellArgs = builtins.concatStringsSep \" \";
    cleanSource = source: source;
    optionals = condition: list: if condition then list else [ ];
    licenses.gpl3Plus = \"GPL-3.0-or-later\";
  };
  inputs = { clang = 0; pkg-config = 0; elfutils = 0; zlib = 0; sdl3 = 0; sdl3-ttf = 0; };
  package = withOverlay: import ./packaging/nix/package.nix (inputs // {
    inherit lib withOverlay;
    rustPlatform.buildRustPackage = attributes: attributes;
  });
in assert builtins.pathExists (package true).cargoLock.lockFile;
  \"${(package true).version} ${(package true).buildPhase} ${(package false).installPhase}\"";

#[test]
fn recipes_of_other_distributions_have_this_version() {
    let version = env!("CARGO_PKG_VERSION");
    let mut nix = Command::new("nix-instantiate");
    if let Some(said) = packagers(nix.current_dir(checkout()).args(["--eval", "--strict", "-E", EVALUATE])) {
        assert!(said.contains(version) && said.contains("OVERLAY=no"), "{said}");
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    for file in ["PKGBUILD", "leco.install"] {
        fs::copy(Path::new(checkout()).join("packaging/arch").join(file), folder.path().join(file)).unwrap();
    }
    let mut makepkg = Command::new("makepkg");
    // It refuses root, and wants to know where pacman is even if it does not need it.
    if rustix::process::geteuid().is_root() {
        makepkg = Command::new("setpriv");
        makepkg.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--", "makepkg"]);
    }
    makepkg.current_dir(&folder).envs([("PACMAN", "true"), ("HOME", "/nonexistent")]);
    if Command::new("makepkg").arg("--version").output().is_err() {
        let _ = skip("there is no makepkg: run script/bootstrap test");
    } else if let Some(said) = packagers(makepkg.arg("--printsrcinfo")) {
        assert!(said.contains(&format!("pkgver = {version}")) && said.contains("depends = libelf"), "{said}");
    }
    for script in ["packaging/openrc", "packaging/runit"] {
        packagers(Command::new("sh").current_dir(checkout()).args(["-n", script])).unwrap();
    }
    let spec = fs::read_to_string(Path::new(checkout()).join("packaging/rpm/leco.spec")).unwrap();
    assert!(spec.contains(&format!("Version:        {version}\n")));
}
