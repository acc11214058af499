// SPDX-License-Identifier: GPL-3.0-or-later
//! Threads that read: the sources, the terminal, the config. Each sends what it read to the one that draws.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::{Duration, Instant};

use crossterm::event::{self, Event};
use leco_core::config::{ConfigWatch, Fingerprint, Reload};
use leco_core::source::recording::Recording;
use leco_core::source::{SourceSpec, Sources};
use leco_os::signals::JobControl;
use leco_os::{limits, say, signals};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::handoff::Batch;
use crate::input::action;
use crate::ui::view::Source;

/// What reading keys takes at most: an epoll, the terminal, two pipes.
const INPUT_DESCRIPTORS: usize = 8;

/// What comes so soon after something else is a burst: to wake up twice for it costs more than reading it.
const BURST_GAP: Duration = Duration::from_millis(3);
/// In a burst events are gathered for so long, of which a frame takes no notice.
const TOGETHER: Duration = Duration::from_millis(2);
/// Where so much came at once the next is read at once: its sender must not be held up.
const MANY_BYTES: usize = 16 << 10;

/// What happens to the view.
#[derive(Debug)]
pub enum Message {
    /// Events, each a line of the wire, with where it came from.
    Events(Batch),
    /// The source came, went or lost something.
    Source(Source),
    /// The config changed.
    Config(Reload),
    /// A key, a resize.
    Terminal(Event),
    /// Asked to stop, when it had been continued so many times.
    Stop(u64),
    /// Continued, this many times.
    Continued(u64),
    /// Asked to leave by a signal, or by the end of the terminal.
    Leave,
    /// The terminal or the source cannot be read any more.
    Broken(String),
}

pub(crate) fn read_sources(
    specs: &[SourceSpec],
    mut record: Option<Recording>,
    sender: &SyncSender<Message>,
) {
    // So that a test can see the terminal given back.
    #[cfg(debug_assertions)]
    assert!(std::env::var_os("LECO_TUI_PANIC").is_none(), "asked to panic");
    let broken = |error: io::Error| Message::Broken(format!("cannot follow {error}"));
    let mut sources = match Sources::open(specs) {
        Ok(sources) => sources,
        Err(error) => {
            let _ = sender.send(broken(error));
            return;
        }
    };
    let (mut reported, mut last) = (None, None::<Instant>);
    loop {
        let state = sources.state();
        if reported.as_ref() != Some(&state) {
            let source = Source {
                text: state.text.clone(),
                each: if state.each.len() > 1 { state.each.clone() } else { Vec::new() },
                is_reading: state.is_reading,
                has_ended: state.has_ended,
                remedy: state.remedy.clone(),
                overlong: state.overlong,
            };
            reported = Some(state);
            if sender.send(Message::Source(source)).is_err() {
                return;
            }
        }
        let (mut batch, mut bytes) = (Batch::default(), 0);
        let message = match sources.wait(None, |origin, line| {
            bytes += line.len();
            batch.push(origin, line);
        }) {
            Ok(_) if batch.is_empty() => continue,
            Ok(_) => match record.as_mut().map_or(Ok(()), |file| file.append(&batch.events())) {
                Ok(()) => Message::Events(batch),
                Err(error) => {
                    let path = record.as_ref().map_or(Path::new(""), Recording::path);
                    Message::Broken(format!("cannot record to {}: {error}", path.display()))
                }
            },
            Err(error) => broken(error),
        };
        let is_broken = matches!(message, Message::Broken(_));
        if sender.send(message).is_err() || is_broken {
            return;
        }
        let is_burst = last.replace(Instant::now()).is_some_and(|last| last.elapsed() < BURST_GAP);
        if is_burst && bytes < MANY_BYTES {
            thread::sleep(TOGETHER);
        }
    }
}

/// Tells of every change of the config, and of the terminal's end: a thread that reads that would go on in vain. A file that
/// cannot be followed only never changes.
pub(crate) fn watch_terminal_and_config(
    followed: Option<(PathBuf, Option<Fingerprint>)>,
    sender: &SyncSender<Message>,
) {
    let mut config = followed.and_then(|(path, in_force)| ConfigWatch::follow(&path, in_force).ok());
    let out = io::stdout();
    loop {
        let mut fds = vec![say::waits_for_end(&out)];
        fds.extend(config.as_ref().map(|watch| PollFd::new(watch, PollFlags::IN)));
        if !matches!(poll(&mut fds, None), Ok(_) | Err(Errno::INTR)) {
            return;
        }
        if say::has_ended(&fds[0]) {
            let _ = sender.send(Message::Leave);
            return;
        }
        let Some(watch) = &mut config else { continue };
        match watch.look() {
            Ok(None) => {}
            Ok(Some(reload)) => {
                if sender.send(Message::Config(reload)).is_err() {
                    return;
                }
            }
            Err(_) => config = None,
        }
    }
}

/// Tells of signals to stop and to go on; the caller holds them. How often it went on is counted at once.
pub(crate) fn await_job_control(continued: &AtomicU64, sender: &SyncSender<Message>) {
    while let Ok(signal) = signals::next_job_control() {
        let message = match signal {
            JobControl::Stop => Message::Stop(continued.load(Ordering::SeqCst)),
            JobControl::Continued => Message::Continued(continued.fetch_add(1, Ordering::SeqCst) + 1),
        };
        if sender.send(message).is_err() {
            return;
        }
    }
}

pub(crate) fn read_terminal(sender: &SyncSender<Message>) {
    loop {
        let message = match event::read() {
            Ok(event) if action::is_idle(&event) => continue,
            Ok(event) => Message::Terminal(event),
            Err(error) => {
                let error = limits::out_of_descriptors(INPUT_DESCRIPTORS).unwrap_or(error);
                Message::Broken(format!("cannot read the terminal: {error}"))
            }
        };
        let is_broken = matches!(message, Message::Broken(_));
        if sender.send(message).is_err() || is_broken {
            return;
        }
    }
}
