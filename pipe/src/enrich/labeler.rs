// SPDX-License-Identifier: GPL-3.0-or-later
//! Who: users, scripts and cgroups by name, from bounded caches.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use leco_bpf::read::messages::DnsAnswer;
use leco_bpf::read::program::Programs;
use leco_bpf::read::record::Conn;
use leco_cli::tunables::Tunables;
use leco_os::clean::clean_bytes;
use leco_os::clock::BootNs;

use crate::enrich::asn::{AsnError, Asns};
use crate::enrich::cache::TimedCache;
pub use crate::enrich::cgroup::CGROUP_ENTRIES;
use crate::enrich::cgroup::{CgroupLabels, CgroupPaths};
use crate::enrich::country::{Countries, CountryError};
use crate::enrich::labels::{Labels, Who};
use crate::enrich::names::standing::Place;
use crate::enrich::peer_names::{Called, PeerNames};
use crate::enrich::process::{ProcessDir, is_blank, parents};
use crate::enrich::script_names::{ScriptNames, cmdline};
use crate::enrich::short_name::cut;
pub use crate::enrich::users::USER_ENTRIES;
use crate::enrich::users::Users;
use crate::enrich::workload::Workload;
use crate::history::KeptName;

/// Processes whose names are remembered, all together.
pub const PROCESS_ENTRIES: usize = 4096;
/// After this time they are put together anew.
const PROCESS_LIFETIME: Duration = Duration::from_secs(60);
/// Processes whose name now, and whose parents, are remembered.
const LIVE_ENTRIES: usize = 1024;
/// Characters of a command line.
const CMDLINE_CHARS: usize = 256;
/// So long it is remembered what a process is called now.
const NAME_NOW_LIFETIME: Duration = Duration::from_secs(1);

/// What tells one process from another, and from what it executed before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct ProcessKey {
    pid: u32,
    uid: u32,
    started: u64,
    cgroup: u64,
    comm: [u8; 16],
    exec: u16,
}

/// By process, told from a later one with its number by its start.
type NamesNow = TimedCache<(u32, u64), Option<Rc<str>>>;

/// Looks names up and remembers them.
#[derive(Debug)]
pub struct Labeler {
    processes: TimedCache<ProcessKey, Rc<Who>>,
    nobody: Rc<Who>,
    users: Users,
    scripts: ScriptNames,
    parents: usize,
    paths: CgroupPaths,
    cgroups: Option<CgroupLabels>,
    peers: PeerNames,
    /// What processes are called now, where that is wanted; `None` for those that are gone.
    names_now: Option<NamesNow>,
    asns: Option<Asns>,
    countries: Option<Countries>,
    /// What processes ran when they first had to do with a connection.
    programs: Option<Programs>,
    wants_all_fields: bool,
}

/// Why labels cannot be made as asked for.
#[derive(Debug, thiserror::Error)]
pub enum LabelError {
    /// The database of autonomous systems.
    #[error(transparent)]
    Asn(#[from] AsnError),
    /// The database of countries.
    #[error(transparent)]
    Country(#[from] CountryError),
    /// What says that answers came.
    #[error("cannot start asking for names: {0}")]
    Ask(io::Error),
}

impl Labeler {
    /// With empty caches; `cgroup_root` is where cgroup2 is mounted.
    pub fn new(tunables: &Tunables, cgroup_root: Option<PathBuf>) -> Result<Self, LabelError> {
        let cgroups_shown = tunables.cg_label_cut > 0 && !tunables.cache_cg_labels.is_zero();
        // Short enough that every cache behind it counts.
        let caches = [tunables.cache_cg_labels, tunables.cache_users, tunables.cache_pid_cmd];
        let lifetime =
            caches.into_iter().filter(|cache| !cache.is_zero()).fold(PROCESS_LIFETIME, Duration::min);
        let asns = tunables.asn_db.as_deref().map(Asns::open).transpose()?;
        let countries = tunables.geo_db.as_deref().map(Countries::open).transpose()?;
        Ok(Self {
            processes: TimedCache::new(PROCESS_ENTRIES, lifetime),
            nobody: Rc::new(Who::nobody()),
            users: Users::new(tunables.cache_users).map_err(LabelError::Ask)?,
            scripts: ScriptNames::new(tunables.script_name_cut, tunables.cache_pid_cmd),
            parents: tunables.parents,
            paths: CgroupPaths::new(cgroup_root, tunables.cache_cg_paths),
            cgroups: cgroups_shown
                .then(|| CgroupLabels::new(tunables.cg_label_cut, tunables.cache_cg_labels)),
            peers: PeerNames::new(tunables).map_err(LabelError::Ask)?,
            names_now: tunables.extra_ev_data.then(|| TimedCache::new(LIVE_ENTRIES, NAME_NOW_LIFETIME)),
            asns,
            countries,
            programs: None,
            wants_all_fields: tunables.extra_ev_data,
        })
    }

    /// With what the kernel side knows of processes.
    #[must_use]
    pub fn with_programs(mut self, programs: Programs) -> Self {
        self.programs = Some(programs);
        self
    }

    /// Remembers the names of so many connections.
    #[must_use]
    pub fn with_connections(mut self, connections: usize) -> Self {
        self.peers.remember(connections);
        self
    }

    /// Waits for every user's name, however long that takes.
    #[must_use]
    pub fn with_all_users(mut self) -> Self {
        self.users.wait_for_all();
        self
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

    /// Becomes readable when names of users came.
    #[must_use]
    pub fn users_fd(&self) -> BorrowedFd<'_> {
        self.users.bell().as_fd()
    }

    /// Whether the name of a user may still come.
    #[must_use]
    pub fn awaits_user(&self, uid: u32) -> bool {
        self.users.is_asked_for(uid)
    }

    /// Takes names of users that came; those that are called otherwise now.
    pub fn take_users(&mut self, now: BootNs) -> Vec<u32> {
        let changed = self.users.take(now);
        for (uid, name) in &changed {
            let of_user = self.processes.iter_mut().filter(|(key, _)| key.uid == *uid);
            for (_, who) in of_user {
                *who = Rc::new(Who { user: name.clone(), ..Who::clone(who) });
            }
        }
        changed.into_iter().map(|(uid, _)| uid).collect()
    }

    /// Learns names from an answer that a process received. Returns connections that had no name and have one now.
    pub fn learn(&mut self, answer: &DnsAnswer, now: BootNs) -> Vec<Conn> {
        let path = self.paths.path(answer.cgroup, answer.pid, now);
        let container = path.as_deref().and_then(|path| Workload::of(path).container);
        let place = Place::of(path.is_some(), container.map(Rc::from).as_ref());
        self.peers.learn_answer(answer, place, now)
    }

    /// What is known of peers.
    pub(crate) fn peers(&mut self) -> &mut PeerNames {
        &mut self.peers
    }

    /// Becomes readable when the resolver answered.
    #[must_use]
    pub fn resolver_fd(&self) -> Option<BorrowedFd<'_>> {
        self.peers.resolver_fd()
    }

    /// Knows again what connections were called before this pipe.
    pub fn restore(&mut self, names: Vec<KeptName>) {
        self.peers.restore(names);
    }

    /// What a connection is shown with.
    pub fn labels(&mut self, conn: &Conn, now: BootNs) -> Labels {
        let who = if conn.has_process() { self.who(conn, now) } else { Rc::clone(&self.nobody) };
        let Called { name, proxied, alpn } = self.peers.of(conn, &who, now);
        let located = self.asns.as_mut().map(|asns| asns.find(conn.remote, now)).unwrap_or_default();
        let country = self.countries.as_mut().and_then(|countries| countries.find(conn.remote, now));
        let (system, country) = (located.system, country.or(located.country));
        let comm_now = self.comm_now(conn, &who, now);
        Labels { who, name, proxied, alpn, system, country, is_new: false, comm_now }
    }

    /// A process may rename itself, or execute another program.
    fn comm_now(&mut self, conn: &Conn, who: &Who, now: BootNs) -> Option<Rc<str>> {
        let names_now = self.names_now.as_mut().filter(|_| conn.has_process())?;
        let process = (conn.pid, conn.started);
        let name = if let Some(known) = names_now.get(&process, now) {
            known.clone()
        } else {
            let name = ProcessDir::of(conn.pid, conn.started).map(|(_, stat)| stat.comm);
            names_now.insert(process, name.clone(), now);
            name
        };
        name.filter(|name| *name != who.comm)
    }

    fn who(&mut self, conn: &Conn, now: BootNs) -> Rc<Who> {
        let Conn { pid, uid, started, cgroup, comm, exec, .. } = *conn;
        let key = ProcessKey { pid, uid, started, cgroup, comm, exec };
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
            (Some(labels), Some(path)) => {
                let own: Option<Rc<str>> = workload.own.and_then(|own| path.get(..own)).map(Rc::from);
                labels.label(own.as_ref().unwrap_or(path), workload.shown.as_deref(), now)
            }
            _ => None,
        };
        let cgroup = cgroup.filter(|label| !is_blank(label));
        let script = self.scripts.of(conn, &comm, now);
        let parents = parents(conn.pid, conn.started, self.parents);
        let program = self.programs.as_ref().filter(|_| self.wants_all_fields || self.parents > 0);
        let program = program.and_then(|programs| programs.find(conn)).unwrap_or_default();
        let ancestors: Vec<Rc<str>> = program.parents.iter().map(|name| clean_bytes(name).into()).collect();
        let parents = as_they_were(parents, &ancestors, self.parents);
        let (exe, cmdline) = if self.wants_all_fields {
            let exe = Some(program.exe).filter(|path| !path.is_empty());
            (exe.map(|path| clean_bytes(&path).into()), cmdline(conn, &comm).and_then(|line| shown(&line)))
        } else {
            (None, None)
        };
        Who {
            user: self.users.name(conn.uid, now),
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
            ancestors: match before {
                Some(before) if ancestors.is_empty() => before.ancestors.clone(),
                _ => ancestors,
            },
            exe: exe.or_else(|| before?.exe.clone()),
            cmdline: cmdline.or_else(|| before?.cmdline.clone()),
        }
    }
}

/// Names of those that started a process, as they are now and as far as they were noted: who has ended since, was
/// replaced by another, or has another name, stays as it was.
fn as_they_were(mut now: Vec<Rc<str>>, noted: &[Rc<str>], count: usize) -> Vec<Rc<str>> {
    for (at, name) in noted.iter().take(count).enumerate().filter(|(_, name)| !is_blank(name)) {
        match now.get_mut(at) {
            Some(known) => known.clone_from(name),
            None => now.push(Rc::clone(name)),
        }
    }
    now
}

/// A command line for a person: its arguments with spaces between.
fn shown(cmdline: &[u8]) -> Option<Rc<str>> {
    let line = cmdline.strip_suffix(b"\0").unwrap_or(cmdline);
    // Characters have at most 4 bytes.
    let line = line.get(..4 * (CMDLINE_CHARS + 1)).unwrap_or(line);
    let line: Vec<u8> = line.iter().map(|&byte| if byte == 0 { b' ' } else { byte }).collect();
    let line = clean_bytes(&line);
    (!is_blank(&line)).then(|| cut(&line, CMDLINE_CHARS).into())
}

#[cfg(test)]
mod tests {
    use std::fs;

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
    fn all_of_a_container_has_its_label() {
        use std::os::unix::fs::MetadataExt;
        let root = tempfile::tempdir().unwrap();
        let id = "0123456789abcdef".repeat(4);
        let own = [
            (format!("system.slice/docker-{id}.scope"), "docker-0123456789ab+"),
            (format!("user.slice/libpod-{id}.scope"), "podman-0123456789ab"),
            (format!("a.service/kubepods-pod1.slice:cri-containerd:{id}"), "k8s-0123456789ab"),
            ("lxc.payload/web".to_owned(), "lxc-web"),
        ];
        let mut labeler = Labeler::new(&Tunables::default(), Some(root.path().to_owned())).unwrap();
        for (own, label) in &own {
            for below in ["", "container", "init.scope", "system.slice/nginx.service"] {
                let folder = root.path().join(own).join(below);
                fs::create_dir_all(&folder).unwrap();
                let conn = Conn { cgroup: fs::symlink_metadata(&folder).unwrap().ino(), ..conn() };
                assert_eq!(labeler.who(&conn, 1).cgroup.as_deref(), Some(*label), "{own}/{below}");
            }
        }
    }

    /// Of no process that lives.
    fn conn() -> Conn {
        crate::enrich::names::table::tests::conn(u32::MAX, 1000, "192.0.2.1")
    }

    #[test]
    fn parents_are_as_they_were_as_far_as_that_was_noted() {
        let names = |names: &[&str]| names.iter().map(|name| Rc::from(*name)).collect::<Vec<Rc<str>>>();
        for (now, noted, count, shown) in [
            (&["init"][..], &["sh", "sshd", "init"][..], 3, &["sh", "sshd", "init"][..]),
            (&["init"], &["sh", "sshd", "init"], 2, &["sh", "sshd"]),
            (&["a", "b", "c"], &["a", "", "d"], 3, &["a", "b", "d"]),
            (&["a", "b"], &[], 2, &["a", "b"]),
            (&[], &["a"], 0, &[]),
        ] {
            assert_eq!(as_they_were(names(now), &names(noted), count), names(shown), "{now:?} {noted:?}");
        }
    }

    #[test]
    fn a_command_line_is_shown_safely_and_cut() {
        assert_eq!(shown(b"curl\0-s\0a b\x1b\0").as_deref(), Some("curl -s a b\u{fffd}"));
        assert_eq!((shown(b""), shown(b"\0\0")), (None, None));
        let long = shown("ü\0".repeat(9999).as_bytes()).unwrap();
        assert_eq!(long.chars().count(), CMDLINE_CHARS);
    }

    #[test]
    fn a_process_that_executed_another_program_keeps_the_name_of_its_connect() {
        let tunables = Tunables { extra_ev_data: true, ..Tunables::default() };
        let mut labeler = Labeler::new(&tunables, None).unwrap();
        let mut comm = [0; 16];
        comm[..6].copy_from_slice(b"python");
        let conn = Conn {
            pid: std::process::id(),
            started: crate::enrich::process::tests::started_ns(std::process::id()),
            comm,
            ..conn()
        };
        let labels = labeler.labels(&conn, 1);
        assert_eq!((&*labels.who.comm, &labels.who.script), ("python", &None), "not this test's arguments");
        let now = fs::read_to_string("/proc/self/comm").unwrap();
        assert_eq!(labels.comm_now.as_deref(), Some(now.trim_end()));
    }
}
