//! The loader as a process.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::process::Command;

use leco_e2e::{Loader, can_test_the_kernel, program, program_for_everybody};

#[test]
fn loads_once_replaces_other_versions_and_leaves_nothing() {
    if !can_test_the_kernel() {
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
    assert!(replaced.contains("replaced v") && replaced.contains("bytes     tp_btf"), "{replaced}");
    assert_eq!(links().len(), first.len());
    assert!(links().iter().all(|name| !first.contains(name)), "only the new ones are left");

    said(&["--unload"]);
    assert!(!loader.pins().exists());
    said(&["--unload"]);
}

#[test]
fn refuses_foreign_folders() {
    if !can_test_the_kernel() {
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
}

#[test]
fn wrong_options_and_folders_have_their_own_exit_codes() {
    if !can_test_the_kernel() {
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
        (&["--group", "no-such-group"], "there is no such group"),
        (&["--update-interval", "x"], "`x` is not a duration"),
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
    if !can_test_the_kernel() {
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
