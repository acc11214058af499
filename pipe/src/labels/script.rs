//! What an interpreter runs.

use leco_core::text::clean_bytes;

/// Names of interpreters, to which a version may be added: `python3.11`.
const INTERPRETERS: [&str; 27] = [
    "python",
    "python3",
    "java",
    "node",
    "perl",
    "lua",
    "php",
    "stack",
    "ocamlscript",
    "nimrun",
    "tcl",
    "tclsh",
    "sh",
    "zsh",
    "bash",
    "nix-shell",
    "awk",
    "scm",
    "guile",
    "clisp",
    "racket",
    "cl",
    "sbcl",
    "ruby",
    "deno",
    "bun",
    "dash",
];

/// Whether a process of this name runs scripts. A thread's name may follow after a space.
pub(crate) fn is_interpreter(comm: &str) -> bool {
    let name = comm.split(' ').next().unwrap_or_default().to_ascii_lowercase();
    let unversioned = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    INTERPRETERS.contains(&name.as_str()) || unversioned == "fish" || INTERPRETERS.contains(&unversioned)
}

/// The script among an interpreter's arguments: the first after the program that has a `.` or `/` and no
/// `=`, its last path part; after one that was passed over for its `=`, with `COMM/` before it.
pub(crate) fn script_name(comm: &str, cmdline: &[u8]) -> Option<String> {
    let mut prefix = "";
    for argument in cmdline.split(|&byte| byte == 0).skip(1) {
        if argument.contains(&b'=') {
            prefix = comm;
        } else if argument.iter().any(|byte| b"./".contains(byte)) {
            let name = argument.split(|&byte| byte == b'/').rfind(|part| !part.is_empty())?;
            let name = clean_bytes(name);
            return Some(if prefix.is_empty() { name.into_owned() } else { format!("{prefix}/{name}") });
        }
    }
    None
}
