// SPDX-License-Identifier: GPL-3.0-or-later
//! A config that is followed while the one who follows it does something else.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::thread;

use leco_os::bell::Bell;

use super::file::Fingerprint;
use super::watch::{ConfigWatch, Reload};

/// What a look brought, and what looked.
type Looked = (ConfigWatch, io::Result<Option<Reload>>);

/// A config file that is read in a thread of its own, so that nobody waits for thousands of rules; the thread is there
/// while it reads.
#[derive(Debug)]
pub struct ConfigFollower {
    state: State,
    /// Says that the thread is done.
    done: Bell,
}

#[derive(Debug)]
enum State {
    Waiting(ConfigWatch),
    Reading(Receiver<Looked>),
    /// The thread ended without a word.
    Over,
}

impl ConfigFollower {
    /// Starts to follow a path, as [`ConfigWatch::follow`] does.
    pub fn follow(path: &Path, in_force: Option<Fingerprint>) -> io::Result<Self> {
        let state = State::Waiting(ConfigWatch::follow(path, in_force)?);
        Ok(Self { state, done: Bell::new()? })
    }

    /// What changed, where that is known by now. Never waits, and reads no config: the descriptor tells when to
    /// call again, and is not the same one after each call.
    pub fn look(&mut self) -> io::Result<Option<Reload>> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Waiting(watch) => self.read(watch),
            State::Reading(looked) => {
                self.done.silence();
                match looked.try_recv() {
                    Ok((watch, reload)) => {
                        self.state = State::Waiting(watch);
                        reload
                    }
                    Err(mpsc::TryRecvError::Empty) => {
                        self.state = State::Reading(looked);
                        Ok(None)
                    }
                    Err(mpsc::TryRecvError::Disconnected) => Err(io::ErrorKind::BrokenPipe.into()),
                }
            }
            State::Over => Ok(None),
        }
    }

    fn read(&mut self, watch: ConfigWatch) -> io::Result<Option<Reload>> {
        let (give, take) = mpsc::channel::<ConfigWatch>();
        let (sender, looked) = mpsc::channel();
        let done = self.done.clone();
        let reader = thread::Builder::new().name("config".into()).spawn(move || {
            if let Ok(mut watch) = take.recv() {
                let reload = watch.look();
                // Who follows may be gone.
                let _ = sender.send((watch, reload));
                done.ring();
            }
        });
        if reader.is_ok() {
            return match give.send(watch) {
                Ok(()) => {
                    self.state = State::Reading(looked);
                    Ok(None)
                }
                Err(_) => Err(io::ErrorKind::BrokenPipe.into()),
            };
        }
        // Without a thread, who follows waits.
        let mut watch = watch;
        let reload = watch.look();
        self.state = State::Waiting(watch);
        reload
    }
}

impl AsFd for ConfigFollower {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.state {
            State::Waiting(watch) => watch.as_fd(),
            State::Reading(_) | State::Over => self.done.as_fd(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::{Duration, Instant};

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(60);

    fn wait(follower: &ConfigFollower, start: Instant) {
        let left = DEADLINE.checked_sub(start.elapsed()).expect("a reload in time");
        poll(&mut [PollFd::new(follower, PollFlags::IN)], Some(&Timespec::try_from(left).unwrap())).unwrap();
    }

    /// Looks until there is something; how often there was nothing.
    fn next(follower: &mut ConfigFollower) -> (Reload, u32) {
        let start = Instant::now();
        let mut nothing = 0;
        loop {
            wait(follower, start);
            match follower.look().unwrap() {
                Some(reload) => return (reload, nothing),
                None => nothing += 1,
            }
        }
    }

    #[test]
    fn a_large_config_is_read_while_others_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("widget.ini");
        let mut follower = ConfigFollower::follow(&path, None).unwrap();
        let rules: Vec<String> = (0..10_000).map(|number| format!("user{number} \\S+ = x\n")).collect();
        fs::write(&path, format!("[rx-proc]\n{}", rules.concat())).unwrap();
        wait(&follower, Instant::now());
        // It is being read now, and what comes meanwhile is seen, too.
        assert!(follower.look().unwrap().is_none());
        fs::write(&path, "[run]\nconn-list-cache = 7\n").unwrap();
        let mut last = next(&mut follower);
        if !matches!(&last.0, Reload::Good(config) if config.settings.run.conn_list_cache == 7) {
            last = next(&mut follower);
        }
        assert!(
            matches!(&last.0, Reload::Good(config) if config.settings.run.conn_list_cache == 7),
            "{last:?}"
        );

        fs::write(&path, "[run]\nconn-list-cache = many\n").unwrap();
        let (reload, nothing) = next(&mut follower);
        assert!(matches!(reload, Reload::Bad(_)));
        assert!(nothing > 0, "it is read by somebody else");
        fs::remove_file(&path).unwrap();
        assert!(matches!(next(&mut follower).0, Reload::Unreadable(_)));
    }
}
