//! Labels of cgroups: from an id to a path, from a path to a name that no other cgroup has.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use leco_core::event::BootNs;
use leco_core::text::clean_bytes;

use super::unique::{cut, cut_with_suffix, letters};
use crate::cache::TimedCache;

/// Entries of each cache of cgroups.
pub const CGROUP_ENTRIES: usize = 4096;
/// Folders looked at when an id can only be found by going through the tree.
const SCAN_FOLDERS: usize = 20_000;

/// Finds the path of a cgroup by its id.
#[derive(Debug)]
pub(crate) struct CgroupPaths {
    root: Option<PathBuf>,
    /// `None` for one that could not be found.
    paths: TimedCache<u64, Option<Rc<str>>>,
}

impl CgroupPaths {
    pub(crate) fn new(root: Option<PathBuf>, lifetime: Duration) -> Self {
        Self { root, paths: TimedCache::new(CGROUP_ENTRIES, lifetime) }
    }

    /// Path below the root of the hierarchy, without a leading slash; a cgroup's id is the inode number of
    /// its folder. The process knows it while it lives, the tree while the cgroup does.
    pub(crate) fn path(&mut self, id: u64, pid: u32, now: BootNs) -> Option<Rc<str>> {
        if let Some(known) = self.paths.get(&id, now) {
            return known.clone();
        }
        let root = self.root.as_deref()?;
        let found = of_process(root, id, pid).or_else(|| find(root, id));
        let path = found.map(|path| Rc::from(clean_bytes(path.as_os_str().as_bytes())));
        self.paths.insert(id, path.clone(), now);
        path
    }
}

/// As `/proc/PID/cgroup` has it, if the process is still in that cgroup.
fn of_process(root: &Path, id: u64, pid: u32) -> Option<PathBuf> {
    let listed = fs::read(format!("/proc/{pid}/cgroup")).ok()?;
    let path = listed.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"0::/"))?;
    let path = Path::new(std::ffi::OsStr::from_bytes(path));
    (fs::symlink_metadata(root.join(path)).ok()?.ino() == id).then(|| path.to_owned())
}

/// Goes through the tree, level by level.
fn find(root: &Path, id: u64) -> Option<PathBuf> {
    let mut folders = std::collections::VecDeque::from([PathBuf::new()]);
    let mut looked_at = 0;
    while let Some(folder) = folders.pop_front() {
        let path = root.join(&folder);
        looked_at += 1;
        if looked_at > SCAN_FOLDERS {
            return None;
        }
        if fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.ino() == id) {
            return Some(folder);
        }
        for entry in fs::read_dir(&path).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push_back(folder.join(entry.file_name()));
            }
        }
    }
    None
}

/// Gives each path a label that no other path has at the time.
#[derive(Debug)]
pub(crate) struct CgroupLabels {
    cut: usize,
    labels: TimedCache<Rc<str>, Rc<str>>,
}

impl CgroupLabels {
    pub(crate) fn new(cut: usize, lifetime: Duration) -> Self {
        Self { cut, labels: TimedCache::new(CGROUP_ENTRIES, lifetime) }
    }

    /// The last part of the path without its unit type, cut; where another path has that, with a parent
    /// that differs in front; where that is taken, too, cut further with a suffix.
    pub(crate) fn label(&mut self, path: &Rc<str>, now: BootNs) -> Option<Rc<str>> {
        if let Some(known) = self.labels.get_and_renew(path, now) {
            return Some(Rc::clone(known));
        }
        let parts: Vec<&str> =
            path.split('/').filter(|part| !part.is_empty()).map(without_unit_type).collect();
        let (name, parents) = parts.split_last()?;
        let plain = cut(name, self.cut);
        let label = match self.owner(&plain, now) {
            None => plain,
            Some(other) => {
                let differing = parents
                    .iter()
                    .rev()
                    .find(|parent| !other.split('/').any(|part| without_unit_type(part) == **parent));
                let with_parent = differing.map(|parent| cut(&format!("{parent}/{name}"), self.cut));
                let with_suffix =
                    (0..).map(|number| cut_with_suffix(name, self.cut, &format!(".{}", letters(number))));
                with_parent.into_iter().chain(with_suffix).find(|label| self.owner(label, now).is_none())?
            }
        };
        let label: Rc<str> = label.into();
        self.labels.insert(Rc::clone(path), Rc::clone(&label), now);
        Some(label)
    }

    fn owner(&self, label: &str, now: BootNs) -> Option<Rc<str>> {
        self.labels.iter(now).find(|(_, taken)| ***taken == *label).map(|(path, _)| Rc::clone(path))
    }
}

fn without_unit_type(part: &str) -> &str {
    [".service", ".scope", ".slice"].iter().find_map(|suffix| part.strip_suffix(suffix)).unwrap_or(part)
}
