// SPDX-License-Identifier: GPL-3.0-or-later
//! Names of users, which come from a file or, where LDAP or SSSD have them, from another machine.

use std::collections::HashSet;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use leco_os::bell::Bell;
use leco_os::clean::clean;
use leco_os::clock::BootNs;
use nix::unistd::{Uid, User};

use super::process::is_blank;
use crate::enrich::asker::Asker;
use crate::enrich::cache::TimedCache;

/// Users that are remembered, and asked for at once.
pub const USER_ENTRIES: usize = 1024;
/// So many are asked for at the same time: one that another machine has must not hold up those that a file has.
const THREADS: usize = 4;
/// A name from a file is there within this time, and needs no second event. It is waited for where nothing else is
/// asked for: once for all names that take longer.
const PATIENCE: Duration = Duration::from_millis(10);

/// Knows names of users, and asks for those that it does not know.
#[derive(Debug)]
pub(super) struct Users {
    names: TimedCache<u32, Option<Rc<str>>>,
    asker: Asker<u32, Option<String>>,
    asked: HashSet<u32>,
    patience: Duration,
}

impl Users {
    pub(super) fn new(lifetime: Duration) -> io::Result<Self> {
        let name = |uid: &u32| User::from_uid(Uid::from_raw(*uid)).ok().flatten().map(|user| user.name);
        Self::with(lifetime, name)
    }

    fn with(
        lifetime: Duration,
        name: impl Fn(&u32) -> Option<String> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Ok(Self {
            names: TimedCache::new(USER_ENTRIES, lifetime),
            asker: Asker::new("users", THREADS, USER_ENTRIES, &Bell::new()?, name),
            asked: HashSet::new(),
            patience: PATIENCE,
        })
    }

    /// Waits for every name, however long that takes.
    pub(super) fn wait_for_all(&mut self) {
        self.patience = Duration::MAX;
    }

    /// Becomes readable when names came.
    pub(super) fn bell(&self) -> &Bell {
        self.asker.bell()
    }

    /// Whether a name may still come.
    pub(super) fn is_asked_for(&self, uid: u32) -> bool {
        self.asked.contains(&uid)
    }

    /// The name, or the one that was known before; nothing where there is none, or it is asked for now.
    pub(super) fn name(&mut self, uid: u32, now: BootNs) -> Option<Rc<str>> {
        if let Some(known) = self.names.get(&uid, now) {
            return known.clone();
        }
        let is_alone = self.asker.open() == 0;
        if !self.asked.contains(&uid) && self.asker.ask(uid) {
            self.asked.insert(uid);
            if is_alone && let Some((uid, name)) = self.asker.wait(self.patience) {
                self.learn(uid, name.as_deref(), now);
            }
        }
        self.names.get_stale(&uid).cloned().flatten()
    }

    /// Takes what came; users that have another name than before.
    pub(super) fn take(&mut self, now: BootNs) -> Vec<(u32, Option<Rc<str>>)> {
        self.asker.bell().silence();
        let mut changed = Vec::new();
        while let Some((uid, name)) = self.asker.take() {
            let before = self.names.get_stale(&uid).cloned().flatten();
            let name = self.learn(uid, name.as_deref(), now);
            if name != before {
                changed.push((uid, name));
            }
        }
        changed
    }

    fn learn(&mut self, uid: u32, name: Option<&str>, now: BootNs) -> Option<Rc<str>> {
        self.asked.remove(&uid);
        let name = name.map(|name| Rc::<str>::from(clean(name))).filter(|name| !is_blank(name));
        self.names.insert(uid, name.clone(), now);
        name
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc;
    use std::time::Instant;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn wait(users: &mut Users, now: BootNs) -> Vec<(u32, Option<Rc<str>>)> {
        let start = Instant::now();
        loop {
            let changed = users.take(now);
            if !changed.is_empty() {
                return changed;
            }
            assert!(start.elapsed() < Duration::from_secs(20));
            let second = Timespec { tv_sec: 1, tv_nsec: 0 };
            poll(&mut [PollFd::new(users.bell(), PollFlags::IN)], Some(&second)).unwrap();
        }
    }

    #[test]
    fn a_name_that_is_there_at_once_needs_no_second_look() {
        let mut users = Users::with(HOUR, |uid| Some(format!("user{uid}"))).unwrap();
        users.patience = Duration::from_secs(20);
        assert_eq!(users.name(7, 0).as_deref(), Some("user7"));
        assert!(!users.is_asked_for(7) && users.take(0).is_empty());
    }

    #[test]
    fn a_slow_name_comes_later_and_nobody_waits_for_it() {
        let (answer, answers) = mpsc::channel::<Option<&str>>();
        let answers = Mutex::new(answers);
        let name = move |_: &u32| answers.lock().unwrap().recv().ok().flatten().map(ToOwned::to_owned);
        let mut users = Users::with(HOUR, name).unwrap();
        users.asker = users.asker.with_threads(1);
        let start = Instant::now();
        for uid in 0..500 {
            assert_eq!(users.name(uid, 0), None);
            assert!(users.is_asked_for(uid));
        }
        // One of them was waited for, and not each.
        assert!(start.elapsed() < 500 * PATIENCE / 2, "{:?}", start.elapsed());
        answer.send(Some("alice")).unwrap();
        assert_eq!(wait(&mut users, 1), [(0, Some("alice".into()))]);
        assert_eq!(users.name(0, 1).as_deref(), Some("alice"));
        assert!(!users.is_asked_for(0) && users.is_asked_for(1));

        // One that has no name is no change, nor is one that shows nothing; a hostile one is cleaned.
        for name in [None, Some(" "), Some("e\u{1b}vil")] {
            answer.send(name).unwrap();
        }
        assert_eq!(wait(&mut users, 1), [(3, Some("e\u{fffd}vil".into()))]);
        assert!(!users.is_asked_for(1) && !users.is_asked_for(2));

        // What is forgotten is asked for again, and counts until then.
        let later = u64::try_from(HOUR.as_nanos()).unwrap() + 2;
        for _ in 4..500 {
            answer.send(None).unwrap();
        }
        let start = Instant::now();
        while users.is_asked_for(499) {
            users.take(1);
            assert!(start.elapsed() < Duration::from_secs(20));
        }
        assert_eq!(users.name(0, later).as_deref(), Some("alice"));
        assert!(users.is_asked_for(0));
        answer.send(Some("bob")).unwrap();
        assert_eq!(wait(&mut users, later), [(0, Some("bob".into()))]);
    }
}
