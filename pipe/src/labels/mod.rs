//! Who: users, scripts and cgroups by name, from bounded caches.

mod cgroup;
mod script;
mod unique;

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::rc::Rc;

use leco_bpf::record::{Conn, DnsAnswer};
use leco_core::event::BootNs;
use leco_core::text::{clean, clean_bytes};
use nix::unistd::{Uid, User};

use self::cgroup::{CgroupLabels, CgroupPaths};
use self::unique::{cut, cut_with_suffix};
use crate::cache::TimedCache;
use crate::names::Names;
use crate::tunables::Tunables;

pub use self::cgroup::CGROUP_ENTRIES;

/// Users that are remembered.
pub const USER_ENTRIES: usize = 1024;
/// Processes whose script is remembered.
pub const SCRIPT_ENTRIES: usize = 4096;
/// Of a command line so many bytes are read.
const CMDLINE_BYTES: u64 = 4096;

/// A process's names, safe to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    /// User's name, where there is one.
    pub user: Option<Rc<str>>,
    /// The kernel's name of the process.
    pub comm: Rc<str>,
    /// What it runs, where it is an interpreter.
    pub script: Option<Rc<str>>,
    /// Path of its cgroup, where it is known.
    pub cgroup_path: Option<Rc<str>>,
    /// Label of its cgroup.
    pub cgroup: Option<Rc<str>>,
    /// Name of its peer, where one is known.
    pub name: Option<Rc<str>>,
}

impl Labels {
    /// Where no process is known.
    pub(crate) fn of_nobody() -> Self {
        Self { user: None, comm: "-".into(), script: None, cgroup_path: None, cgroup: None, name: None }
    }
}

/// Looks names up and remembers them.
#[derive(Debug)]
pub struct Labeler {
    users: TimedCache<u32, Option<Rc<str>>>,
    /// By process, which start time and name tell from a later one and from what it executed before.
    scripts: TimedCache<(u32, u64, Rc<str>), Option<Rc<str>>>,
    /// Which script has a cut name, so that another one gets another.
    script_names: HashMap<Rc<str>, String>,
    script_cut: usize,
    paths: CgroupPaths,
    cgroups: Option<CgroupLabels>,
    names: Names,
}

impl Labeler {
    /// With empty caches; `cgroup_root` is where cgroup2 is mounted.
    #[must_use]
    pub fn new(tunables: &Tunables, cgroup_root: Option<PathBuf>) -> Self {
        let cgroups_shown = tunables.cg_label_cut > 0 && !tunables.cache_cg_labels.is_zero();
        Self {
            users: TimedCache::new(USER_ENTRIES, tunables.cache_users),
            scripts: TimedCache::new(SCRIPT_ENTRIES, tunables.cache_pid_cmd),
            script_names: HashMap::new(),
            script_cut: if tunables.cache_pid_cmd.is_zero() { 0 } else { tunables.script_name_cut },
            paths: CgroupPaths::new(cgroup_root, tunables.cache_cg_paths),
            cgroups: cgroups_shown
                .then(|| CgroupLabels::new(tunables.cg_label_cut, tunables.cache_cg_labels)),
            names: Names::new(tunables.cache_names),
        }
    }

    /// Becomes readable when cgroups come and go.
    #[must_use]
    pub fn cgroups_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Takes note of cgroups that came and went.
    pub fn follow_cgroups(&mut self, _now: BootNs) {}

    /// Learns names from an answer that a process received.
    pub fn learn(&mut self, answer: &DnsAnswer) {
        self.names.learn(answer);
    }

    /// The names of a connection's process.
    pub fn labels(&mut self, conn: &Conn, now: BootNs) -> Labels {
        if !conn.has_process() {
            return Labels::of_nobody();
        }
        let comm: Rc<str> = clean_bytes(conn.comm()).into();
        let cgroup_path = self.paths.path(conn.cgroup, conn.pid, now);
        let cgroup = match (&mut self.cgroups, &cgroup_path) {
            (Some(labels), Some(path)) => labels.label(path, now),
            _ => None,
        };
        Labels {
            user: self.user(conn.uid, now),
            script: self.script(conn, &comm, now),
            comm,
            cgroup_path,
            cgroup,
            name: self.names.name(conn, now),
        }
    }

    fn user(&mut self, uid: u32, now: BootNs) -> Option<Rc<str>> {
        if let Some(known) = self.users.get(&uid, now) {
            return known.clone();
        }
        let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        let name: Option<Rc<str>> = user.map(|user| clean(&user.name).into());
        self.users.insert(uid, name.clone(), now);
        name
    }

    fn script(&mut self, conn: &Conn, comm: &Rc<str>, now: BootNs) -> Option<Rc<str>> {
        if self.script_cut == 0 || !script::is_interpreter(comm) {
            return None;
        }
        let process = (conn.pid, conn.started, Rc::clone(comm));
        if let Some(known) = self.scripts.get(&process, now) {
            return known.clone();
        }
        let name = script::script_name(comm, &cmdline(conn.pid)).map(|name| self.cut_script(&name));
        self.scripts.insert(process, name.clone(), now);
        name
    }

    /// Cuts a script's name; two that would be cut to the same are told apart by `~1`, `~2`.
    fn cut_script(&mut self, name: &str) -> Rc<str> {
        if name.chars().count() <= self.script_cut {
            return name.into();
        }
        if self.script_names.len() >= SCRIPT_ENTRIES {
            self.script_names.clear();
        }
        let plain = std::iter::once(cut(name, self.script_cut));
        let numbered = (1..).map(|number| cut_with_suffix(name, self.script_cut, &format!("~{number}")));
        for candidate in plain.chain(numbered) {
            match self.script_names.get(candidate.as_str()) {
                Some(owner) if owner != name => {}
                Some(_) => return candidate.into(),
                None => {
                    let candidate: Rc<str> = candidate.into();
                    self.script_names.insert(Rc::clone(&candidate), name.to_owned());
                    return candidate;
                }
            }
        }
        name.into()
    }
}

fn cmdline(pid: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(file) = fs::File::open(format!("/proc/{pid}/cmdline")) {
        // A process that ends while it is read leaves what was read so far.
        let _ = file.take(CMDLINE_BYTES).read_to_end(&mut bytes);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn format_cases() -> Value {
        serde_json::from_str(include_str!("../../../core/tests/conformance/format.json")).unwrap()
    }

    #[test]
    fn cgroup_labels_of_the_conformance_cases() {
        for case in format_cases()["cgroup_label"].as_array().unwrap() {
            let cut = usize::try_from(case["cut"].as_u64().unwrap()).unwrap();
            let mut labels = CgroupLabels::new(cut, Tunables::default().cache_cg_labels);
            let pairs = case["paths"].as_array().unwrap().iter().zip(case["labels"].as_array().unwrap());
            for (path, expected) in pairs {
                let path: Rc<str> = path.as_str().unwrap().into();
                assert_eq!(labels.label(&path, 0).as_deref(), expected.as_str(), "{case}");
                assert_eq!(labels.label(&path, 1).as_deref(), expected.as_str(), "the same when asked again");
            }
        }
    }

    #[test]
    fn a_hundred_cgroups_of_one_name_have_a_hundred_labels() {
        let mut labels = CgroupLabels::new(8, Tunables::default().cache_cg_labels);
        let mut seen = std::collections::HashSet::new();
        for number in 0..100 {
            let label = labels.label(&format!("a.slice/container-{number:04}-same").into(), 0).unwrap();
            assert!(label.chars().count() <= 8, "{label}");
            assert!(seen.insert(label));
        }
    }

    #[test]
    fn script_names_of_the_conformance_cases() {
        for case in format_cases()["script_name"].as_array().unwrap() {
            let tunables = Tunables {
                script_name_cut: usize::try_from(case["cut"].as_u64().unwrap()).unwrap(),
                ..Tunables::default()
            };
            let argv: Vec<&str> =
                case["argv"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap()).collect();
            let comm = case["comm"].as_str().unwrap();
            let mut labeler = Labeler::new(&tunables, None);
            let script = script::is_interpreter(comm)
                .then(|| script::script_name(comm, argv.join("\0").as_bytes()))
                .flatten()
                .map(|name| labeler.cut_script(&name));
            assert_eq!(script.as_deref().unwrap_or(comm), case["shown"].as_str().unwrap(), "{case}");
        }
    }

    #[test]
    fn scripts_cut_to_the_same_name_are_numbered() {
        let mut labeler = Labeler::new(&Tunables::default(), None);
        let shown: Vec<_> = ["a-very-long-script-1.py", "a-very-long-script-2.py", "a-very-long-script-3.py"]
            .map(|name| labeler.cut_script(name).to_string())
            .into();
        assert_eq!(shown, ["a-very-long-scr+", "a-very-long-sc~1", "a-very-long-sc~2"]);
        assert_eq!(&*labeler.cut_script("a-very-long-script-2.py"), "a-very-long-sc~1");
    }

    #[test]
    fn versions_and_extended_interpreters_are_known() {
        for comm in ["python3.11", "lua5.4", "ruby", "deno", "bun", "dash", "fish", "Python"] {
            assert!(script::is_interpreter(comm), "{comm}");
        }
        for comm in ["pythonista", "curl", "", "3.11", "showme"] {
            assert!(!script::is_interpreter(comm), "{comm}");
        }
    }
}
