// SPDX-License-Identifier: GPL-3.0-or-later
//! What two units have in common stands in one file, from which theirs is copied: an administrator who reads a unit
//! finds all that confines the service there, and no drop-in of ours is ordered among the administrator's.

use std::fs;
use std::path::Path;

const BEGIN: &str = "# From here on as in systemd/common.conf, which is changed first.\n";
const END: &str = "# Up to here.\n";

/// A unit with these lines between its two marks; `None` where it lacks one.
fn with_common(unit: &str, common: &str) -> Option<String> {
    let (before, rest) = unit.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{common}{END}{after}"))
}

/// The lines below the comment at the top of the file.
fn settings(file: &str) -> String {
    file.split_inclusive('\n').skip_while(|line| line.starts_with('#')).collect()
}

#[test]
fn what_units_have_in_common_is_as_in_its_file() {
    let systemd = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd");
    let common = settings(&fs::read_to_string(systemd.join("common.conf")).expect("the common lines"));
    assert!(common.contains("NoNewPrivileges=yes\n"), "{common}");
    for name in ["leco.service", "leco@.service"] {
        let path = systemd.join("system").join(name);
        let unit = fs::read_to_string(&path).expect(name);
        let wanted = with_common(&unit, &common).expect("both marks");
        if std::env::var_os("LECO_BLESS").is_some() {
            fs::write(&path, &wanted).expect(name);
        } else {
            assert!(
                unit == wanted,
                "{name} is not as systemd/common.conf says: run this test with LECO_BLESS=1"
            );
        }
    }
}

#[test]
fn a_unit_that_differs_is_made_equal() {
    assert_eq!(settings("# a\n# b\nc=1\n# d\ne=2\n"), "c=1\n# d\ne=2\n");
    let unit = format!("[Service]\n{BEGIN}a=1\nb=2\n{END}\n[Install]\n");
    assert_eq!(with_common(&unit, "a=1\n"), Some(format!("[Service]\n{BEGIN}a=1\n{END}\n[Install]\n")));
    assert_eq!(with_common("[Service]\na=1\n", "a=1\n"), None);
}

#[test]
fn a_drop_in_that_runs_something_else_runs_what_the_unit_does_and_more() {
    let systemd = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd");
    let command = |name: &str| {
        let unit = fs::read_to_string(systemd.join(name)).expect(name);
        let found = unit.lines().find(|line| line.starts_with("ExecStart=/")).map(ToOwned::to_owned);
        found.expect(name)
    };
    let (unit, drop_in) = (command("system/leco.service"), command("drop-ins/metrics.conf"));
    assert!(drop_in.starts_with(&format!("{unit} --output metrics:")), "{drop_in}");
}
