// SPDX-License-Identifier: GPL-3.0-or-later
//! The object of the eBPF programs: the same wherever it is compiled, and taken from elsewhere only where it belongs.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

#[path = "../build/prebuilt.rs"]
mod prebuilt;

use prebuilt::{Origin, beside};

const OBJECT: &str = concat!(env!("OUT_DIR"), "/leco.bpf.o");

fn origin(sources: &Path, target: &str) -> Origin {
    Origin::of(sources, &["-O2"], target.to_owned()).unwrap()
}

#[test]
fn no_directory_of_who_compiled_is_in_it() {
    let object = fs::read(OBJECT).unwrap();
    let contains = |text: &str| object.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(contains("./src/bpf/announce.h"), "names of files are in it");
    for directory in [env!("CARGO_MANIFEST_DIR"), env!("OUT_DIR"), "/tmp/"] {
        assert!(!contains(directory), "{directory}");
    }
}

#[test]
fn what_was_compiled_is_described_beside_it() {
    let said = fs::read_to_string(beside(Path::new(OBJECT))).unwrap();
    let keys: Vec<_> = said.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(keys, ["target", "sources", "object"], "{said}");
    assert!(said.contains(std::env::consts::ARCH), "{said}");
}

#[test]
fn an_object_of_other_sources_or_for_another_machine_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (sources, object) = (folder.path().join("sources"), folder.path().join("leco.bpf.o"));
    fs::create_dir(&sources).unwrap();
    fs::write(sources.join("a.bpf.c"), "int a;\n").unwrap();
    fs::write(sources.join("a.h"), "int b;\n").unwrap();
    let ours = origin(&sources, "x86_64 little");
    let refusal = |origin: &Origin| format!("{:#}", origin.take(&object).unwrap_err());
    assert!(refusal(&ours).contains("cannot read") && refusal(&ours).contains("leco.bpf.o"));
    fs::write(&object, "object").unwrap();
    assert!(refusal(&ours).contains("leco.bpf.o.origin, which a release has"), "{}", refusal(&ours));
    fs::write(beside(&object), ours.describe(b"object")).unwrap();
    assert_eq!(ours.take(&object).unwrap(), b"object");

    let elsewhere = refusal(&origin(&sources, "s390x big"));
    assert!(elsewhere.contains("is for x86_64 little, and this build is for s390x big"), "{elsewhere}");
    assert!(ours.take(Path::new("leco.bpf.o")).is_err_and(|error| error.to_string().contains("absolute")));
    // Of an editor's copies nothing is read.
    fs::write(sources.join("a.h~"), "int c;\n").unwrap();
    assert!(origin(&sources, "x86_64 little") == ours);
    for (name, text) in [("a.h", "int c;\n"), ("b.h", "")] {
        fs::write(sources.join(name), text).unwrap();
        let said = refusal(&origin(&sources, "x86_64 little"));
        assert!(said.contains("was compiled from other sources"), "{name}: {said}");
        fs::write(sources.join("a.h"), "int b;\n").unwrap();
    }
    fs::write(&object, "another").unwrap();
    assert!(refusal(&ours).contains("is not the object that"), "{}", refusal(&ours));
    fs::write(beside(&object), "").unwrap();
    assert!(refusal(&ours).contains("is for something unknown"), "{}", refusal(&ours));
    fs::write(beside(&object), [0xff, 0xfe]).unwrap();
    assert!(refusal(&ours).contains("cannot read"), "{}", refusal(&ours));
}
