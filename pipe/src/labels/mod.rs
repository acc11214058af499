//! Who: users, scripts and cgroups by name, from bounded caches.

mod cgroup;
mod process;
mod script;
mod unique;
mod workload;

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use leco_bpf::record::{Conn, DnsAnswer};
use leco_core::event::BootNs;
use leco_core::text::{clean, clean_bytes};
use nix::unistd::{Uid, User};

use self::cgroup::{CgroupLabels, CgroupPaths};
use self::process::parents;
pub(crate) use self::process::{is_alive, is_gone};
use self::unique::{cut, cut_with_suffix};
use self::workload::Workload;
use crate::asn::{AsnError, Asns, AutonomousSystem};
use crate::cache::TimedCache;
use crate::names::Names;
use crate::reverse::ReverseDns;
use crate::tunables::Tunables;

pub use self::cgroup::CGROUP_ENTRIES;

/// Processes whose names are remembered, all together.
pub const PROCESS_ENTRIES: usize = 4096;
/// After this time they are put together anew.
const PROCESS_LIFETIME: Duration = Duration::from_secs(60);
/// Users that are remembered.
pub const USER_ENTRIES: usize = 1024;
/// Processes whose script is remembered.
pub const SCRIPT_ENTRIES: usize = 4096;
/// Of a command line so many bytes are read.
const CMDLINE_BYTES: u64 = 4096;

/// Who it is: a process's names, safe to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
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
    /// Unit of the service manager in which it runs.
    pub unit: Option<Rc<str>>,
    /// Container in which it runs, as `KIND:NAME`.
    pub container: Option<Rc<str>>,
    /// Names of the processes that started it, the nearest first, where they are asked for.
    pub parents: Vec<Rc<str>>,
}

/// The name of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerName {
    /// In lower case, without the final dot.
    pub text: Rc<str>,
    /// Where it is from.
    pub source: NameSource,
}

/// Who said that an address has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameSource {
    /// An answer that a process received.
    Dns,
    /// The system's resolver, asked for the address.
    Reverse,
}

/// What a connection is shown with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    /// Its process.
    pub who: Rc<Who>,
    /// Name of its peer, where one is known.
    pub name: Option<PeerName>,
    /// Who operates its peer's network, where that is known.
    pub system: Option<Rc<AutonomousSystem>>,
    /// Its program was never seen with its peer before.
    pub is_new: bool,
}

impl Who {
    /// Where no process is known.
    pub(crate) fn nobody() -> Self {
        Self {
            user: None,
            comm: "-".into(),
            script: None,
            cgroup_path: None,
            cgroup: None,
            unit: None,
            container: None,
            parents: Vec::new(),
        }
    }
}

/// What tells one process from another, and from what it executed before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct ProcessKey {
    pid: u32,
    uid: u32,
    started: u64,
    cgroup: u64,
    comm: [u8; 16],
}

/// Looks names up and remembers them.
#[derive(Debug)]
pub struct Labeler {
    processes: TimedCache<ProcessKey, Rc<Who>>,
    nobody: Rc<Who>,
    users: TimedCache<u32, Option<Rc<str>>>,
    /// By process, which start time and name tell from a later one and from what it executed before.
    scripts: TimedCache<(u32, u64, Rc<str>), Option<Rc<str>>>,
    /// Which script has a cut name, so that another one gets another.
    script_names: HashMap<Rc<str>, String>,
    script_cut: usize,
    parents: usize,
    paths: CgroupPaths,
    cgroups: Option<CgroupLabels>,
    names: Names,
    reverse: Option<ReverseDns>,
    asns: Option<Asns>,
}

/// Why labels cannot be made as asked for.
#[derive(Debug, thiserror::Error)]
pub enum LabelError {
    /// The database of autonomous systems.
    #[error(transparent)]
    Asn(#[from] AsnError),
    /// The thread that asks the resolver.
    #[error("cannot start asking for names: {0}")]
    Reverse(io::Error),
}

impl Labeler {
    /// With empty caches; `cgroup_root` is where cgroup2 is mounted.
    pub fn new(tunables: &Tunables, cgroup_root: Option<PathBuf>) -> Result<Self, LabelError> {
        let cgroups_shown = tunables.cg_label_cut > 0 && !tunables.cache_cg_labels.is_zero();
        // Short enough that every cache behind it counts.
        let caches = [tunables.cache_cg_labels, tunables.cache_users, tunables.cache_pid_cmd];
        let lifetime =
            caches.into_iter().filter(|cache| !cache.is_zero()).fold(PROCESS_LIFETIME, Duration::min);
        let reverse =
            tunables.reverse_dns.then(ReverseDns::start).transpose().map_err(LabelError::Reverse)?;
        let asns = tunables.asn_db.as_deref().map(Asns::open).transpose()?;
        Ok(Self {
            processes: TimedCache::new(PROCESS_ENTRIES, lifetime),
            nobody: Rc::new(Who::nobody()),
            users: TimedCache::new(USER_ENTRIES, tunables.cache_users),
            scripts: TimedCache::new(SCRIPT_ENTRIES, tunables.cache_pid_cmd),
            script_names: HashMap::new(),
            script_cut: if tunables.cache_pid_cmd.is_zero() { 0 } else { tunables.script_name_cut },
            parents: tunables.parents,
            paths: CgroupPaths::new(cgroup_root, tunables.cache_cg_paths),
            cgroups: cgroups_shown
                .then(|| CgroupLabels::new(tunables.cg_label_cut, tunables.cache_cg_labels)),
            names: Names::new(tunables.cache_names),
            reverse,
            asns,
        })
    }

    /// Becomes readable when cgroups come and go.
    #[must_use]
    pub fn cgroups_fd(&self) -> Option<BorrowedFd<'_>> {
        self.paths.fd()
    }

    /// Takes note of cgroups that came and went.
    pub fn follow_cgroups(&mut self, now: BootNs) {
        self.paths.follow(now);
    }

    /// Becomes readable when the resolver answered.
    #[must_use]
    pub fn resolver_fd(&self) -> Option<BorrowedFd<'_>> {
        self.reverse.as_ref().map(ReverseDns::fd)
    }

    /// Takes the resolver's answers; the addresses that have a name now.
    pub fn take_resolved(&mut self, now: BootNs) -> Vec<IpAddr> {
        self.reverse.as_mut().map(|reverse| reverse.take_answers(now)).unwrap_or_default()
    }

    /// Learns names from an answer that a process received.
    pub fn learn(&mut self, answer: &DnsAnswer) {
        self.names.learn(answer);
    }

    /// What a connection is shown with.
    pub fn labels(&mut self, conn: &Conn, now: BootNs) -> Labels {
        let who = if conn.has_process() { self.who(conn, now) } else { Rc::clone(&self.nobody) };
        let dns = self.names.name(conn, now).map(|text| PeerName { text, source: NameSource::Dns });
        let name = dns.or_else(|| {
            let address = conn.remote.to_canonical();
            let reverse = self.reverse.as_mut().filter(|_| !address.is_unspecified())?;
            Some(PeerName { text: reverse.name(address, now)?, source: NameSource::Reverse })
        });
        let system = self.asns.as_mut().and_then(|asns| asns.find(conn.remote, now));
        Labels { who, name, system, is_new: false }
    }

    fn who(&mut self, conn: &Conn, now: BootNs) -> Rc<Who> {
        let Conn { pid, uid, started, cgroup, comm, .. } = *conn;
        let key = ProcessKey { pid, uid, started, cgroup, comm };
        if let Some(known) = self.processes.get(&key, now) {
            return Rc::clone(known);
        }
        let before = self.processes.get_stale(&key).map(Rc::clone);
        let who = Rc::new(self.find_who(conn, before.as_deref(), now));
        self.processes.insert(key, Rc::clone(&who), now);
        who
    }

    /// Of a process that is gone, what was known `before` stays true.
    fn find_who(&mut self, conn: &Conn, before: Option<&Who>, now: BootNs) -> Who {
        let comm: Rc<str> = clean_bytes(conn.comm()).into();
        let cgroup_path = self.paths.path(conn.cgroup, conn.pid, now);
        let workload = cgroup_path.as_deref().map(Workload::of).unwrap_or_default();
        let cgroup = match (&mut self.cgroups, &cgroup_path) {
            (Some(labels), Some(path)) => labels.label(path, workload.shown.as_deref(), now),
            _ => None,
        };
        let script = self.script(conn, &comm, now);
        let parents = parents(conn.pid, conn.started, self.parents);
        Who {
            user: self.user(conn.uid, now),
            script: script.or_else(|| before?.script.clone()),
            comm,
            cgroup_path,
            cgroup,
            unit: workload.unit.map(Rc::from),
            container: workload.container.map(Rc::from),
            parents: match before {
                Some(before) if parents.is_empty() => before.parents.clone(),
                _ => parents,
            },
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
                assert_eq!(labels.label(&path, None, 0).as_deref(), expected.as_str(), "{case}");
                assert_eq!(
                    labels.label(&path, None, 1).as_deref(),
                    expected.as_str(),
                    "the same when asked again"
                );
            }
        }
    }

    #[test]
    fn a_hundred_cgroups_of_one_name_have_a_hundred_labels() {
        let mut labels = CgroupLabels::new(8, Tunables::default().cache_cg_labels);
        let mut seen = std::collections::HashSet::new();
        for number in 0..100 {
            let label = labels.label(&format!("a.slice/container-{number:04}-same").into(), None, 0).unwrap();
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
            let mut labeler = Labeler::new(&tunables, None).unwrap();
            let script = script::is_interpreter(comm)
                .then(|| script::script_name(comm, argv.join("\0").as_bytes()))
                .flatten()
                .map(|name| labeler.cut_script(&name));
            assert_eq!(script.as_deref().unwrap_or(comm), case["shown"].as_str().unwrap(), "{case}");
        }
    }

    #[test]
    fn scripts_cut_to_the_same_name_are_numbered() {
        let mut labeler = Labeler::new(&Tunables::default(), None).unwrap();
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
