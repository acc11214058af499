// SPDX-License-Identifier: GPL-3.0-or-later
//! The names of scripts that are shown in place of their interpreters', cut so that each has one of its own.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use leco_bpf::read::record::Conn;
use leco_os::clock::BootNs;

use crate::enrich::cache::TimedCache;
use crate::enrich::process::ProcessDir;
use crate::enrich::script;
use crate::enrich::short_name::{cut, cut_with_suffix};

/// Processes whose script is remembered.
const ENTRIES: usize = 4096;

/// The command line of a connection's process while it lives, each argument with a NUL behind it. Another process may
/// have its number; one that executed another program has another command line.
pub(super) fn cmdline(conn: &Conn, comm: &str) -> Option<Vec<u8>> {
    let (dir, _) = ProcessDir::of(conn.pid, conn.started)?;
    let cmdline = dir.cmdline();
    // Its name comes last: it is of the command line, or of a program that was executed since.
    let is_of_comm = *dir.stat()?.comm == *comm || script::is_same_interpreter(comm, &cmdline);
    is_of_comm.then_some(cmdline)
}

/// Finds what interpreters run, and remembers it.
#[derive(Debug)]
pub(crate) struct ScriptNames {
    /// By process, which start time and name tell from a later one and from what it executed before.
    known: TimedCache<(u32, u64, Rc<str>), Option<Rc<str>>>,
    /// Which script has a cut name, so that another one gets another.
    owners: HashMap<Rc<str>, String>,
    /// Characters of a name; 0 where none is shown.
    max_chars: usize,
}

impl ScriptNames {
    /// Names of so many characters; either argument turns them off by being zero.
    pub(crate) fn new(max_chars: usize, lifetime: Duration) -> Self {
        let max_chars = if lifetime.is_zero() { 0 } else { max_chars };
        Self { known: TimedCache::new(ENTRIES, lifetime), owners: HashMap::new(), max_chars }
    }

    /// What a process runs, where it is called `comm` by the name of an interpreter.
    pub(crate) fn of(&mut self, conn: &Conn, comm: &Rc<str>, now: BootNs) -> Option<Rc<str>> {
        if self.max_chars == 0 || !script::is_interpreter(comm) {
            return None;
        }
        let process = (conn.pid, conn.started, Rc::clone(comm));
        if let Some(known) = self.known.get(&process, now) {
            return known.clone();
        }
        let name = cmdline(conn, comm).and_then(|cmdline| script::script_name(comm, &cmdline));
        let name = name.map(|name| self.cut(&name));
        self.known.insert(process, name.clone(), now);
        name
    }

    /// Cuts a script's name; two that would be cut to the same are told apart by `~1`, `~2`.
    fn cut(&mut self, name: &str) -> Rc<str> {
        if name.chars().count() <= self.max_chars {
            return name.into();
        }
        if self.owners.len() >= ENTRIES {
            self.owners.clear();
        }
        let plain = std::iter::once(cut(name, self.max_chars));
        let numbered = (1..).map(|number| cut_with_suffix(name, self.max_chars, &format!("~{number}")));
        for candidate in plain.chain(numbered) {
            match self.owners.get(candidate.as_str()) {
                Some(owner) if owner != name => {}
                Some(_) => return candidate.into(),
                None => {
                    let candidate: Rc<str> = candidate.into();
                    self.owners.insert(Rc::clone(&candidate), name.to_owned());
                    return candidate;
                }
            }
        }
        name.into()
    }
}

#[cfg(test)]
mod tests {
    use leco_cli::tunables::Tunables;
    use serde_json::Value;

    use super::*;

    fn names(max_chars: usize) -> ScriptNames {
        ScriptNames::new(max_chars, Tunables::default().cache_pid_cmd)
    }

    #[test]
    fn script_names_of_the_conformance_cases() {
        let cases: Value =
            serde_json::from_str(include_str!("../../../core/tests/conformance/format.json")).unwrap();
        for case in cases["script_name"].as_array().unwrap() {
            let mut names = names(usize::try_from(case["cut"].as_u64().unwrap()).unwrap());
            let argv: Vec<&str> =
                case["argv"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap()).collect();
            let comm = case["comm"].as_str().unwrap();
            let script = script::is_interpreter(comm)
                .then(|| script::script_name(comm, argv.join("\0").as_bytes()))
                .flatten()
                .map(|name| names.cut(&name));
            assert_eq!(script.as_deref().unwrap_or(comm), case["shown"].as_str().unwrap(), "{case}");
        }
    }

    #[test]
    fn scripts_cut_to_the_same_name_are_numbered() {
        let mut names = names(Tunables::default().script_name_cut);
        let shown: Vec<_> = ["a-very-long-script-1.py", "a-very-long-script-2.py", "a-very-long-script-3.py"]
            .map(|name| names.cut(name).to_string())
            .into();
        assert_eq!(shown, ["a-very-long-scr+", "a-very-long-sc~1", "a-very-long-sc~2"]);
        assert_eq!(&*names.cut("a-very-long-script-2.py"), "a-very-long-sc~1");
    }
}
