// SPDX-License-Identifier: GPL-3.0-or-later
//! Being told of changes of files: by inotify, or where none can be had by looking again once in a while.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use inotify::{Event, Inotify, WatchDescriptor, WatchMask};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::limits;

/// Without inotify files are looked at so often, and inotify is asked for again.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Says when to look at files again.
#[derive(Debug)]
pub struct Watcher {
    by: By,
}

#[derive(Debug)]
enum By {
    Inotify(Inotify),
    /// A timer that becomes readable after each [`LOOK_INTERVAL`].
    Clock(OwnedFd),
}

/// A limit of inotify, for each user.
#[derive(Debug, Clone, Copy)]
enum Limit {
    Instances,
    Watches,
}

impl Watcher {
    /// By inotify, else by the clock, which [`take_notice`] then tells. Fails where there is no descriptor for either.
    pub fn new() -> io::Result<Self> {
        match Inotify::init() {
            Ok(inotify) => Ok(Self { by: By::Inotify(inotify) }),
            Err(error) if is_a_limit(&error) => Ok(Self { by: clock(Limit::Instances)? }),
            Err(error) => Err(limits::explain(error)),
        }
    }

    /// Whether nothing tells of changes, so that everything is to be looked at.
    #[must_use]
    pub fn is_polling(&self) -> bool {
        matches!(self.by, By::Clock(_))
    }

    /// Watches a path; nothing where the clock does, which looks at everything.
    pub fn add(&mut self, path: &Path, mask: WatchMask) -> io::Result<Option<WatchDescriptor>> {
        let By::Inotify(inotify) = &self.by else { return Ok(None) };
        match inotify.watches().add(path, mask) {
            Ok(watch) => Ok(Some(watch)),
            Err(error) if is_a_limit(&error) => {
                self.by = clock(Limit::Watches)?;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Watches a path no more.
    pub fn remove(&self, watch: WatchDescriptor) {
        if let By::Inotify(inotify) = &self.by {
            // It is gone already where its file is.
            let _ = inotify.watches().remove(watch);
        }
    }

    /// Hands out what changed, and never waits. Tells whether anything may have: then every path is to be looked at,
    /// and added again, since inotify may have taken the clock's place.
    pub fn read(&mut self, mut take: impl FnMut(Event<&OsStr>)) -> io::Result<bool> {
        match &mut self.by {
            By::Inotify(inotify) => {
                let mut buffer = [0; 4096];
                loop {
                    match inotify.read_events(&mut buffer) {
                        Ok(events) => events.for_each(&mut take),
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                        Err(error) => return Err(error),
                    }
                }
            }
            By::Clock(timer) => {
                let has_struck = rustix::io::read(timer, &mut [0; 8]).is_ok();
                if has_struck && let Ok(inotify) = Inotify::init() {
                    self.by = By::Inotify(inotify);
                }
                Ok(true)
            }
        }
    }
}

impl AsFd for Watcher {
    /// Becomes readable when [`Self::read`] has something.
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.by {
            By::Inotify(inotify) => inotify.as_fd(),
            By::Clock(timer) => timer.as_fd(),
        }
    }
}

fn is_a_limit(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(code, Some(Errno::MFILE | Errno::NOSPC | Errno::NOMEM))
}

fn clock(limit: Limit) -> io::Result<By> {
    let new = || -> rustix::io::Result<OwnedFd> {
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        let interval = Timespec { tv_sec: LOOK_INTERVAL.as_secs().cast_signed(), tv_nsec: 0 };
        timerfd_settime(
            &timer,
            TimerfdTimerFlags::empty(),
            &Itimerspec { it_interval: interval, it_value: interval },
        )?;
        Ok(timer)
    };
    // Where no descriptor is left at all, it was not inotify's limit.
    let timer = new().map_err(|error| limits::explain(error.into()))?;
    note(limit);
    Ok(By::Clock(timer))
}

/// What a person should be told, and whether it was.
static NOTICE: Mutex<Option<String>> = Mutex::new(None);
static HAS_NOTICE: AtomicBool = AtomicBool::new(false);
static WAS_NOTED: AtomicBool = AtomicBool::new(false);

/// Notes an error of inotify that does not stop its user.
pub fn note_error(error: &io::Error) {
    if is_a_limit(error) {
        note(Limit::Instances);
    }
}

fn note(limit: Limit) {
    if WAS_NOTED.swap(true, Ordering::Relaxed) {
        return;
    }
    let (what, name) = match limit {
        Limit::Instances => ("instance", "max_user_instances"),
        Limit::Watches => ("watch", "max_user_watches"),
    };
    let most = fs::read_to_string(format!("/proc/sys/fs/inotify/{name}")).unwrap_or_default();
    let most = if most.is_empty() { String::new() } else { format!(" = {}", most.trim()) };
    let text = format!(
        "no inotify {what} is left for this user (fs.inotify.{name}{most}): checking files every {} s \
         instead. Raise the limit with sysctl, or stop what uses it up",
        LOOK_INTERVAL.as_secs()
    );
    if let Ok(mut notice) = NOTICE.lock() {
        *notice = Some(text);
        HAS_NOTICE.store(true, Ordering::Release);
    }
}

/// What a person should be told of inotify's limits, once in the life of a process.
#[must_use]
pub fn take_notice() -> Option<String> {
    if !HAS_NOTICE.swap(false, Ordering::Acquire) {
        return None;
    }
    NOTICE.lock().ok()?.take()
}
