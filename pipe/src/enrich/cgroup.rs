// SPDX-License-Identifier: GPL-3.0-or-later
//! Labels of cgroups: from an id to a path, from a path to a name that no other cgroup has.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask};
use leco_os::clean::clean_bytes;
use leco_os::clock::BootNs;
use leco_os::watch;

use crate::enrich::cache::TimedCache;
use crate::enrich::short_name::{cut, cut_with_suffix, letters};

/// Entries of each cache of cgroups, and folders that are watched at most.
pub const CGROUP_ENTRIES: usize = 4096;
/// Folders looked at when an id can only be found by going through the tree.
const SCAN_FOLDERS: usize = 20_000;
/// The tree is gone through at most so often.
const SCAN_INTERVAL_NS: u64 = 1_000_000_000;

/// Every cgroup there is, as far as they can be watched.
#[derive(Debug)]
struct CgroupIndex {
    inotify: Inotify,
    folders: HashMap<WatchDescriptor, (PathBuf, u64)>,
    ids: HashMap<u64, WatchDescriptor>,
    /// There are no more than could be watched.
    is_complete: bool,
}

impl CgroupIndex {
    fn new(root: &Path) -> Option<Self> {
        // Without it the tree is gone through when something is asked for.
        let inotify = Inotify::init().inspect_err(watch::note_error).ok()?;
        let mut index = Self { inotify, folders: HashMap::new(), ids: HashMap::new(), is_complete: true };
        index.add(root, PathBuf::new());
        Some(index)
    }

    /// Watches a folder and all below it. The watch comes first: what is made after it is told.
    fn add(&mut self, root: &Path, below: PathBuf) {
        let mask = WatchMask::CREATE | WatchMask::DELETE_SELF | WatchMask::ONLYDIR | WatchMask::DONT_FOLLOW;
        let mut folders = VecDeque::from([below]);
        while let Some(folder) = folders.pop_front() {
            let path = root.join(&folder);
            if self.folders.len() >= CGROUP_ENTRIES {
                self.is_complete = false;
                return;
            }
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            match self.inotify.watches().add(&path, mask) {
                Ok(watch) => {
                    self.ids.insert(metadata.ino(), watch.clone());
                    self.folders.insert(watch, (folder.clone(), metadata.ino()));
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                // The user's limit, or a folder that may not be read.
                Err(_) => self.is_complete = false,
            }
            folders.extend(subfolders(&path).map(|name| folder.join(name)));
        }
    }

    fn path(&self, id: u64) -> Option<&Path> {
        self.folders.get(self.ids.get(&id)?).map(|(path, _)| path.as_path())
    }

    /// Takes note of what came, and hands out what went.
    fn follow(&mut self, root: &Path, mut gone: impl FnMut(u64, PathBuf)) {
        let mut buffer = [0; 8192];
        // The queue is empty when this fails.
        while let Ok(events) = self.inotify.read_events(&mut buffer) {
            let events: Vec<_> = events.map(|event| event.to_owned()).collect();
            for event in events {
                if event.mask.contains(EventMask::Q_OVERFLOW) {
                    self.is_complete = false;
                } else if event.mask.contains(EventMask::IGNORED) {
                    if let Some((path, id)) = self.folders.remove(&event.wd) {
                        self.ids.remove(&id);
                        gone(id, path);
                    }
                } else if event.mask.contains(EventMask::CREATE)
                    && let (Some((above, _)), Some(name)) = (self.folders.get(&event.wd), event.name)
                {
                    let below = above.join(name);
                    self.add(root, below);
                }
            }
        }
    }
}

fn subfolders(path: &Path) -> impl Iterator<Item = std::ffi::OsString> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.file_name())
}

/// Finds the path of a cgroup by its id, which is the inode number of its folder.
#[derive(Debug)]
pub(crate) struct CgroupPaths {
    root: Option<PathBuf>,
    index: Option<CgroupIndex>,
    /// Of cgroups that are gone or could not be watched; `None` for one that could not be found.
    paths: TimedCache<u64, Option<Rc<str>>>,
    next_scan: BootNs,
}

impl CgroupPaths {
    pub(crate) fn new(root: Option<PathBuf>, lifetime: Duration) -> Self {
        let index = root.as_deref().and_then(CgroupIndex::new);
        Self { root, index, paths: TimedCache::new(CGROUP_ENTRIES, lifetime), next_scan: 0 }
    }

    /// Becomes readable when cgroups come and go.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.index.as_ref().map(|index| index.inotify.as_fd())
    }

    /// Takes note of cgroups that came and went; the paths of those that went are kept for their connections.
    pub(crate) fn follow(&mut self, now: BootNs) {
        if let (Some(root), Some(index)) = (&self.root, &mut self.index) {
            index.follow(root, |id, path| self.paths.insert(id, Some(shown(&path)), now));
        }
    }

    /// Path below the root of the hierarchy, without a leading slash. The index knows it, else the process while
    /// it lives, else the tree is gone through.
    pub(crate) fn path(&mut self, id: u64, pid: u32, now: BootNs) -> Option<Rc<str>> {
        if let Some(path) = self.index.as_ref().and_then(|index| index.path(id)) {
            return Some(shown(path));
        }
        if let Some(known) = self.paths.get(&id, now) {
            return known.clone();
        }
        self.follow(now);
        let root = self.root.as_deref()?;
        let indexed = self.index.as_ref().and_then(|index| index.path(id)).map(Path::to_owned);
        let is_complete = self.index.as_ref().is_some_and(|index| index.is_complete);
        let may_scan = !is_complete && now >= self.next_scan;
        let found = indexed.or_else(|| of_process(root, id, pid)).or_else(|| {
            may_scan.then(|| {
                self.next_scan = now.saturating_add(SCAN_INTERVAL_NS);
                find(root, id)
            })?
        });
        // What was known of a cgroup that is gone stays true.
        let path = found.map(|path| shown(&path)).or_else(|| self.paths.get_stale(&id)?.clone());
        if path.is_some() || is_complete || may_scan {
            self.paths.insert(id, path.clone(), now);
        }
        path
    }
}

fn shown(path: &Path) -> Rc<str> {
    clean_bytes(path.as_os_str().as_bytes()).into()
}

/// As `/proc/PID/cgroup` has it, if the process is still in that cgroup.
fn of_process(root: &Path, id: u64, pid: u32) -> Option<PathBuf> {
    let listed = fs::read(format!("/proc/{pid}/cgroup")).ok()?;
    let path = listed.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"0::/"))?;
    let path = Path::new(std::ffi::OsStr::from_bytes(path));
    // In a cgroup namespace paths begin at its root, which need not be that of the hierarchy that is mounted.
    if path.components().any(|part| matches!(part, std::path::Component::ParentDir)) {
        return None;
    }
    (fs::symlink_metadata(root.join(path)).ok()?.ino() == id).then(|| path.to_owned())
}

/// Goes through the tree, level by level.
fn find(root: &Path, id: u64) -> Option<PathBuf> {
    let mut folders = VecDeque::from([PathBuf::new()]);
    for _ in 0..SCAN_FOLDERS {
        let folder = folders.pop_front()?;
        let path = root.join(&folder);
        if fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.ino() == id) {
            return Some(folder);
        }
        folders.extend(subfolders(&path).map(|name| folder.join(name)));
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
    /// that differs in front; where that is taken, too, cut further with a suffix. What a workload is `shown` as
    /// takes the place of the last part.
    pub(crate) fn label(&mut self, path: &Rc<str>, shown: Option<&str>, now: BootNs) -> Option<Rc<str>> {
        if let Some(known) = self.labels.get_and_renew(path, now) {
            return Some(Rc::clone(known));
        }
        let parts: Vec<&str> =
            path.split('/').filter(|part| !part.is_empty()).map(without_unit_type).collect();
        let (last, parents) = parts.split_last()?;
        let name = shown.unwrap_or(last);
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

pub(crate) fn without_unit_type(part: &str) -> &str {
    [".service", ".scope", ".slice"].iter().find_map(|suffix| part.strip_suffix(suffix)).unwrap_or(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn id(path: &Path) -> u64 {
        fs::symlink_metadata(path).unwrap().ino()
    }

    #[test]
    fn cgroups_that_come_and_go_are_known_without_a_scan() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("system.slice/ssh.service")).unwrap();
        let mut paths = CgroupPaths::new(Some(root.path().to_owned()), HOUR);
        paths.next_scan = BootNs::MAX;
        let there = id(&root.path().join("system.slice/ssh.service"));
        assert_eq!(paths.path(there, 0, 1).as_deref(), Some("system.slice/ssh.service"));
        let new = root.path().join("machine.slice/a/b");
        fs::create_dir_all(&new).unwrap();
        let new_id = id(&new);
        paths.follow(2);
        fs::remove_dir_all(root.path().join("machine.slice")).unwrap();
        paths.follow(3);
        assert_eq!(paths.path(new_id, 0, 4).as_deref(), Some("machine.slice/a/b"), "it is gone");
        assert_eq!(paths.path(u64::MAX, 0, 5), None);
        assert!(paths.index.as_ref().unwrap().is_complete);
        assert_eq!(paths.index.as_ref().unwrap().folders.len(), 3, "what went is forgotten there");
    }

    #[test]
    fn more_cgroups_than_are_watched_are_found_all_the_same_and_memory_is_bounded() {
        const MANY: usize = CGROUP_ENTRIES + 1000;
        let root = tempfile::tempdir().unwrap();
        for number in 0..MANY {
            fs::create_dir(root.path().join(format!("c{number}"))).unwrap();
        }
        let mut paths = CgroupPaths::new(Some(root.path().to_owned()), HOUR);
        let index = paths.index.as_ref().unwrap();
        assert!(!index.is_complete && index.folders.len() <= CGROUP_ENTRIES);
        let unwatched = (0..MANY).map(|number| root.path().join(format!("c{number}")));
        let unwatched: Vec<_> = unwatched.filter(|path| index.path(id(path)).is_none()).take(2).collect();
        let [first, second] = unwatched.try_into().unwrap();
        let mut find = |path: &Path, now| paths.path(id(path), 0, now).map(|path| path.to_string());
        assert_eq!(find(&first, 10), first.file_name().unwrap().to_str().map(ToOwned::to_owned));
        assert_eq!(find(&second, 11), None, "the tree is not gone through again at once");
    }
}
