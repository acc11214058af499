// SPDX-License-Identifier: GPL-3.0-or-later
//! Following the config file through every way in which editors and people replace it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use inotify::{EventMask, WatchDescriptor, WatchMask};
use leco_os::watch::Watcher;
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use super::file::{Config, ConfigError, Fingerprint, read_bounded};
use crate::ini::Diagnostic;
use crate::lists::{ListsFrom, Stamp, stamp};

/// Links that are followed from one config to the next: more are a circle (`MAXSYMLINKS` of the kernel).
const MAX_LINKS: usize = 40;

/// An editor may take a file away before it puts another in its place: so long a config counts as there.
const ABSENCE: Duration = Duration::from_secs(1);

/// What came of a change of the file, or of a list that it names.
#[derive(Debug)]
pub enum Reload {
    /// A config without a fault but in its lists, to take effect now; one without a file where the usual one is gone. One
    /// that is in force and of which lists changed has the faults that it had before.
    Good(Box<Config>),
    /// Faults: the config before stays in force.
    Bad(Vec<Diagnostic>),
    /// It cannot be read: the config before stays in force.
    Unreadable(String),
}

/// A config file, followed by its path, and the lists that it names.
#[derive(Debug)]
pub struct ConfigWatch {
    path: PathBuf,
    watcher: Watcher,
    /// Watched folders, each with the names in it that lead to the files.
    folders: BTreeMap<PathBuf, (WatchDescriptor, BTreeSet<OsString>)>,
    /// The files as they were when they were read last.
    last: Option<Fingerprint>,
    /// What took effect last.
    in_force: Option<Fingerprint>,
    /// It was another file when it began to be followed.
    is_another: bool,
    /// Readable as long as that is so, for those who look only when they are told to.
    another: Option<OwnedFd>,
    /// Nobody named the file: without it the defaults count, as at the start.
    is_usual: bool,
    /// It is missing, which counts when this can be read.
    absence: Option<OwnedFd>,
    /// What told one state of the files from others when they were looked at without inotify.
    stamps: Vec<Option<Stamp>>,
    /// It was another one then than before.
    has_changed: bool,
}

impl ConfigWatch {
    /// Starts to follow a path, whether there is a file now or not. In force is what was read from it before: where
    /// it is another one by now, that is the first change.
    pub fn follow(path: &Path, in_force: Option<Fingerprint>) -> io::Result<Self> {
        Self::follow_as(path, in_force, Config::path(None).as_deref() == Some(path))
    }

    fn follow_as(path: &Path, in_force: Option<Fingerprint>, is_usual: bool) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let mut watch = Self {
            path,
            watcher: Watcher::new()?,
            folders: BTreeMap::new(),
            last: in_force.clone(),
            in_force,
            is_another: false,
            another: None,
            is_usual,
            absence: None,
            stamps: Vec::new(),
            has_changed: false,
        };
        watch.watch_folders();
        // What changes from now on is told.
        let is_the_same = match (&watch.last, read_bounded(&watch.path)) {
            (Some(last), Ok(bytes)) => last.is_of(&bytes) && last.lists.are_current(),
            (last, read) => last.is_none() && read.is_err(),
        };
        if !is_the_same {
            watch.look_again();
        }
        Ok(watch)
    }

    /// Looks at what happened since the last call; `None` where the file says what it said before. Never
    /// waits: the descriptor tells when to call.
    pub fn look(&mut self) -> io::Result<Option<Reload>> {
        let mut relevant = std::mem::take(&mut self.is_another) || self.absence.is_some();
        self.another = None;
        let folders = &self.folders;
        let is_polling = self.watcher.read(|event| {
            let folder = folders.iter().find(|(_, (watch, _))| *watch == event.wd);
            relevant |= match (folder, event.name) {
                (Some((folder, (_, names))), Some(name)) if names.contains(name) => {
                    // A file that is only being written is read when that is done.
                    !event.mask.contains(EventMask::CREATE) || is_complete(&folder.join(name))
                }
                (_, Some(_)) => false,
                // The folder itself went or came.
                (_, None) => true,
            };
        })?;
        if is_polling {
            let there = self.paths().map(stamp).collect();
            // One that is being written may change again without another stamp: it is read until it is at rest.
            relevant |= there != self.stamps || self.has_changed;
            self.stamps = there;
            self.has_changed = relevant && !self.has_changed;
            if !relevant && !self.watcher.is_polling() {
                self.watch_folders();
            }
        }
        if !relevant {
            return Ok(None);
        }
        self.watch_folders();
        let reload = self.read_again();
        // It may name other lists now, and these may have changed before they were watched.
        self.watch_folders();
        if reload.is_some() && self.last.as_ref().is_some_and(|last| !last.lists.are_current()) {
            self.look_again();
        }
        Ok(reload)
    }

    fn look_again(&mut self) {
        self.is_another = true;
        self.another = eventfd(1, EventfdFlags::CLOEXEC).ok();
    }

    fn paths(&self) -> impl Iterator<Item = &Path> {
        let lists = self.last.iter().flat_map(|last| last.lists.paths());
        std::iter::once(self.path.as_path()).chain(lists)
    }

    fn read_again(&mut self) -> Option<Reload> {
        let read = read_bounded(&self.path);
        if self.is_usual && read.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return self.go_without();
        }
        self.absence = None;
        match read {
            Ok(bytes) => {
                let last = self.last.as_ref();
                if last.is_some_and(|last| last.is_of(&bytes) && last.lists.is_empty()) {
                    return None;
                }
                let before = last.map(|last| last.lists.clone()).unwrap_or_default();
                let config = Config::parse_with(&bytes, &self.path, ListsFrom::Files(&before));
                if std::mem::replace(&mut self.last, config.fingerprint.clone()) == self.last {
                    return None;
                }
                let is_in_force = self.in_force.as_ref().is_some_and(|in_force| in_force.is_of(&bytes));
                Some(if config.diagnostics.is_empty() || is_in_force {
                    self.in_force.clone_from(&config.fingerprint);
                    Reload::Good(Box::new(config))
                } else {
                    Reload::Bad(config.diagnostics)
                })
            }
            Err(source) => {
                self.last.take()?;
                Some(Reload::Unreadable(ConfigError { path: self.path.clone(), source }.to_string()))
            }
        }
    }

    /// What counts without the file, once it is sure that it is gone.
    fn go_without(&mut self) -> Option<Reload> {
        self.last.as_ref()?;
        let is_over = if let Some(timer) = &self.absence {
            rustix::io::read(timer, &mut [0; 8]).is_ok()
        } else {
            self.absence = timer(ABSENCE).ok();
            self.absence.is_none()
        };
        is_over.then(|| {
            (self.absence, self.last, self.in_force) = (None, None, None);
            Reload::Good(Box::default())
        })
    }

    /// Watches every folder in which a change can lead to another file, and no others: each one more would
    /// wake the frontend for what is none of its business.
    fn watch_folders(&mut self) {
        let mut wanted = BTreeMap::<PathBuf, BTreeSet<OsString>>::new();
        for (folder, name) in self.paths().flat_map(names_on_the_way) {
            wanted.entry(folder).or_default().insert(name);
        }
        let mask = WatchMask::CLOSE_WRITE
            | WatchMask::CREATE
            | WatchMask::MOVED_TO
            | WatchMask::MOVED_FROM
            | WatchMask::DELETE
            | WatchMask::ATTRIB
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR;
        let mut folders = BTreeMap::new();
        for (folder, names) in wanted {
            // A folder that is not there, or may not be read, tells nothing; the one above it does.
            if let Ok(Some(watch)) = self.watcher.add(&folder, mask) {
                folders.insert(folder, (watch, names));
            }
        }
        for (watch, _) in std::mem::replace(&mut self.folders, folders).into_values() {
            if !self.folders.values().any(|(kept, _)| *kept == watch) {
                self.watcher.remove(watch);
            }
        }
    }
}

impl AsFd for ConfigWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        let other = self.another.as_ref().or(self.absence.as_ref());
        other.map_or_else(|| self.watcher.as_fd(), AsFd::as_fd)
    }
}

/// What can be read after a time.
fn timer(time: Duration) -> io::Result<OwnedFd> {
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
    let it_value = Timespec::try_from(time).map_err(io::Error::other)?;
    let once = Itimerspec { it_interval: Timespec::default(), it_value };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &once)?;
    Ok(timer)
}

/// Whether a name that has just come stands for a whole file: a link does, a new file is still empty.
fn is_complete(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|there| !there.is_file() || there.nlink() > 1)
}

/// Each folder with the name in it on which it depends what file a path means: the file itself, symbolic
/// links on the way, whose targets the way goes on at, and the first part that is missing.
fn names_on_the_way(path: &Path) -> Vec<(PathBuf, OsString)> {
    let mut way = Vec::new();
    let mut rest: Vec<OsString> = parts(path);
    let mut folder = PathBuf::from("/");
    let mut links = 0;
    while let Some(name) = rest.pop() {
        if name == ".." {
            folder.pop();
            continue;
        }
        let there = folder.join(&name);
        let target = fs::read_link(&there).ok().filter(|_| links < MAX_LINKS);
        let is_missing = fs::symlink_metadata(&there).is_err();
        if target.is_some() || is_missing || rest.is_empty() {
            way.push((folder.clone(), name));
        }
        if is_missing {
            break;
        }
        if let Some(target) = target {
            links += 1;
            if target.is_absolute() {
                folder = PathBuf::from("/");
            }
            rest.extend(parts(&target));
        } else {
            folder = there;
        }
    }
    way
}

/// The parts of a path, last one first.
fn parts(path: &Path) -> Vec<OsString> {
    let part = |component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsStr::new("..").to_owned()),
        _ => None,
    };
    path.components().filter_map(part).rev().collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::time::Instant;

    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(20);

    fn config(cache: usize) -> String {
        format!("[run]\nconn-list-cache = {cache}\n")
    }

    /// Waits for the next reload.
    fn next(watch: &mut ConfigWatch) -> Reload {
        let start = Instant::now();
        loop {
            if let Some(reload) = watch.look().unwrap() {
                return reload;
            }
            let left = DEADLINE.checked_sub(start.elapsed()).expect("a reload in time");
            poll(&mut [PollFd::new(watch, PollFlags::IN)], Some(&Timespec::try_from(left).unwrap())).unwrap();
        }
    }

    /// Reads a config and follows it.
    fn follow(path: &Path) -> ConfigWatch {
        ConfigWatch::follow(path, Config::read(path).unwrap().fingerprint).unwrap()
    }

    #[test]
    fn what_changed_between_reading_and_following_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("widget.ini");
        let is_readable = |watch: &ConfigWatch| {
            poll(&mut [PollFd::new(watch, PollFlags::IN)], Some(&Timespec::default())).unwrap() == 1
        };
        fs::write(&path, config(1)).unwrap();
        let read = Config::read(&path).unwrap().fingerprint;
        let watch = ConfigWatch::follow(&path, read.clone()).unwrap();
        assert!(!is_readable(&watch), "it is the same");

        fs::write(&path, config(2)).unwrap();
        let mut watch = ConfigWatch::follow(&path, read.clone()).unwrap();
        assert!(is_readable(&watch));
        expect(&mut watch, 2);
        assert!(!is_readable(&watch));
        assert!(watch.look().unwrap().is_none(), "one change is reported once");
        fs::write(&path, config(3)).unwrap();
        expect(&mut watch, 3);

        // One that came, and one that went.
        expect(&mut ConfigWatch::follow(&path, None).unwrap(), 3);
        fs::remove_file(&path).unwrap();
        let mut watch = ConfigWatch::follow(&path, read).unwrap();
        assert!(is_readable(&watch));
        assert!(matches!(watch.look().unwrap(), Some(Reload::Unreadable(_))));
    }

    #[track_caller]
    fn expect(watch: &mut ConfigWatch, cache: usize) {
        let reload = next(watch);
        let Reload::Good(config) = reload else { panic!("{reload:?}") };
        assert_eq!(config.settings.run.conn_list_cache, cache);
    }

    #[test]
    fn every_way_of_replacing_a_file_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("leco/widget.ini");
        let mut watch = ConfigWatch::follow(&path, None).unwrap();
        fs::create_dir(path.parent().unwrap()).unwrap();
        // The folder's coming is no file's; but it is watched from now on.
        assert!(watch.look().unwrap().is_none());

        fs::write(&path, config(1)).unwrap();
        expect(&mut watch, 1);
        fs::write(&path, config(2)).unwrap();
        expect(&mut watch, 2);
        let beside = path.with_file_name(".widget.ini.swp");
        fs::write(&beside, config(3)).unwrap();
        fs::rename(&beside, &path).unwrap();
        expect(&mut watch, 3);
        fs::remove_file(&path).unwrap();
        assert!(matches!(next(&mut watch), Reload::Unreadable(_)));
        fs::write(&beside, config(4)).unwrap();
        fs::hard_link(&beside, &path).unwrap();
        expect(&mut watch, 4);
    }

    #[test]
    fn without_the_usual_file_the_defaults_count_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("widget.ini");
        fs::write(&path, config(1)).unwrap();
        let read = Config::read(&path).unwrap().fingerprint;
        let mut watch = ConfigWatch::follow_as(&path, read, true).unwrap();
        // What comes again at once was never away.
        fs::remove_file(&path).unwrap();
        assert!(watch.look().unwrap().is_none());
        fs::write(&path, config(1)).unwrap();
        assert!(watch.look().unwrap().is_none() && watch.absence.is_none());
        fs::remove_file(&path).unwrap();
        let Reload::Good(config_now) = next(&mut watch) else { panic!("no defaults") };
        assert!(config_now.file.is_none() && config_now.fingerprint.is_none());
        assert!(watch.look().unwrap().is_none(), "once");
        fs::write(&path, config(1)).unwrap();
        expect(&mut watch, 1);
    }

    #[test]
    fn a_bad_file_is_reported_and_a_good_one_takes_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("widget.ini");
        fs::write(&path, config(1)).unwrap();
        let mut watch = follow(&path);
        fs::write(&path, "[run]\nconn-list-cache = many\n[rx-proc]\n(a = b\n").unwrap();
        let Reload::Bad(diagnostics) = next(&mut watch) else { panic!("not bad") };
        assert_eq!(diagnostics.len(), 2);
        fs::write(&path, config(2)).unwrap();
        expect(&mut watch, 2);
        // The same again is no change.
        fs::write(&path, config(2)).unwrap();
        fs::write(folder.path().join("other.ini"), "x").unwrap();
        assert!(watch.look().unwrap().is_none());
    }

    #[test]
    fn lists_are_read_again_when_they_change_and_kept_while_they_are_missing() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("lists")).unwrap();
        fs::write(at("lists/ads"), "a.test\n").unwrap();
        let path = at("widget.ini");
        fs::write(&path, "[lists]\nads = lists/ads\nlater = later/list\n[run]\nconn-list-cache = many\n")
            .unwrap();
        let config = Config::read(&path).unwrap();
        let has = |config: &Config, list: &str, name: &str| config.names.lists.find(list).unwrap().has(name);
        assert!(has(&config, "ads", "a.test") && config.list_diagnostics.len() == 1);
        let mut watch = ConfigWatch::follow(&path, config.fingerprint.clone()).unwrap();
        assert!(watch.look().unwrap().is_none(), "it is the same");
        let good = |watch: &mut ConfigWatch| match next(watch) {
            Reload::Good(config) => config,
            other => panic!("{other:?}"),
        };

        // Written in place with the same size, replaced, and come; what is wrong with the config is known.
        fs::write(at("lists/ads"), "b.test\n").unwrap();
        let config = good(&mut watch);
        assert!(has(&config, "ads", "b.test") && !has(&config, "ads", "a.test"));
        fs::write(at("beside"), "c.test\nbad bad\n").unwrap();
        fs::rename(at("beside"), at("lists/ads")).unwrap();
        let config = good(&mut watch);
        let told: Vec<_> = config.list_diagnostics.iter().map(ToString::to_string).collect();
        assert!(has(&config, "ads", "c.test") && told.len() == 2, "{told:?}");
        assert!(
            told[0].contains("cannot read the list")
                && told[1].ends_with("ads:2:5: one entry a line, the line is skipped")
        );
        fs::create_dir(at("later")).unwrap();
        fs::write(at("later/list"), "d.test").unwrap();
        let config = good(&mut watch);
        assert!(has(&config, "later", "d.test") && config.list_diagnostics.len() == 1);

        // If the file is missing, the list keeps its contents, and that is reported once.
        fs::remove_file(at("lists/ads")).unwrap();
        let config = good(&mut watch);
        assert!(has(&config, "ads", "c.test") && config.list_diagnostics.len() == 1);
        assert!(config.list_diagnostics[0].message.ends_with("it stays what it was"));
        assert!(watch.look().unwrap().is_none());
        fs::write(at("lists/ads"), "c.test\nbad bad\n").unwrap();
        assert!(has(&good(&mut watch), "ads", "c.test"));
        fs::write(at("lists/ads"), "c.test\nbad bad\n").unwrap();
        fs::write(at("lists/other"), "x").unwrap();
        assert!(watch.look().unwrap().is_none());

        // A config that is bad still is when a list changes; a good one has its own lists watched.
        fs::write(&path, "[lists]\nads = new\n[run]\nconn-list-cache = lots\n").unwrap();
        assert!(matches!(next(&mut watch), Reload::Bad(_)));
        fs::write(at("new"), "e.test").unwrap();
        assert!(matches!(next(&mut watch), Reload::Bad(_)));
        fs::write(&path, "[lists]\nads = new\n").unwrap();
        assert!(has(&good(&mut watch), "ads", "e.test"));
        fs::write(at("new"), "f.test").unwrap();
        let config = good(&mut watch);
        assert!(has(&config, "ads", "f.test"));

        // What changed between the first reading and following is a change.
        fs::write(at("new"), "more.test").unwrap();
        let mut watch = ConfigWatch::follow(&path, config.fingerprint).unwrap();
        assert!(has(&good(&mut watch), "ads", "more.test"));
    }

    #[test]
    fn links_are_followed_wherever_they_change() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (version, cache) in [("v1", 1), ("v2", 2)] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("widget.ini"), config(cache)).unwrap();
        }
        fs::create_dir(at("conf")).unwrap();
        symlink("v1", at("current")).unwrap();
        symlink("../current/widget.ini", at("conf/widget.ini")).unwrap();
        let mut watch = follow(&at("conf/widget.ini"));
        // The file that is meant changes.
        fs::write(at("v1/widget.ini"), config(3)).unwrap();
        expect(&mut watch, 3);
        // A link in the middle changes.
        symlink("v2", at("next")).unwrap();
        fs::rename(at("next"), at("current")).unwrap();
        expect(&mut watch, 2);
        fs::write(at("v2/widget.ini"), config(4)).unwrap();
        expect(&mut watch, 4);
        // The link at the end becomes a file.
        fs::write(at("plain"), config(5)).unwrap();
        fs::rename(at("plain"), at("conf/widget.ini")).unwrap();
        expect(&mut watch, 5);
    }

    #[test]
    fn a_circle_of_links_ends() {
        let folder = tempfile::tempdir().unwrap();
        symlink("b", folder.path().join("a")).unwrap();
        symlink("a", folder.path().join("b")).unwrap();
        assert!(ConfigWatch::follow(&folder.path().join("a"), None).unwrap().look().unwrap().is_none());
    }
}
