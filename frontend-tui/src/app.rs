// SPDX-License-Identifier: GPL-3.0-or-later
//! The loop between source, keys, model and screen.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::panic;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use base64::prelude::{BASE64_STANDARD, Engine};
use crossterm::event::Event;
use crossterm::execute;
use crossterm::terminal::{BeginSynchronizedUpdate, EndSynchronizedUpdate};
use jiff::tz::TimeZone;
use leco_core::config::{Fingerprint, Reload, append_setting};
use leco_core::ini::Diagnostic;
use leco_core::model::overseer as core_overseer;
use leco_core::model::overseer::Overseer;
use leco_core::source::SourceSpec;
use leco_core::source::recording::Recording;
use leco_os::clock::{BootNs, Now, boot_ns};
use leco_os::reclaim::give_back;
use leco_os::{signals, watch};
use ratatui::layout::Size;
use signal_hook::iterator::Signals;

use crate::disputed::{self, Disputed};
use crate::handoff::Batch;
use crate::input::action::{Action, Mode, PlayAction, action, play_action};
use crate::model::line_list::FADE_TOLERANCE;
use crate::model::rule_timing;
use crate::model::state::{Effect, State};
use crate::player::Player;
use crate::readers::{Message, await_job_control, read_sources, read_terminal, watch_terminal_and_config};
use crate::terminal::{self, Terminal};
use crate::ui::glyphs::in_ascii;
use crate::ui::theme::Theme;
use crate::ui::view;
use crate::ui::view::{Source, Status};

/// Bytes of events, of which what was needed to read them is given back.
const GIVE_BACK_AFTER: usize = 1 << 20;
/// Two frames that show events are at least so far apart: a burst is one change to an eye.
const FRAME_INTERVAL: Duration = Duration::from_millis(16);
/// However many messages wait, the screen is drawn at least so often.
const MAX_BATCH_TIME: Duration = Duration::from_millis(50);
/// Fading is drawn at most so often: an eye sees no step between.
const FADE_INTERVAL: Duration = Duration::from_millis(250);
/// What changes with time alone, such as a rate, is drawn so often while it does.
const TICK: Duration = Duration::from_secs(1);
/// The history is drawn so often although nothing happens.
const MINUTE: Duration = Duration::from_mins(1);
/// What is told is shown for so long.
const NOTICE_TIME: Duration = Duration::from_secs(8);
/// Asked to leave by a signal, it takes at most so long.
const LEAVING_TIME: Duration = Duration::from_secs(1);
/// Why there is none, mostly.
const NO_THREAD: &str =
    "cannot start a thread: too little memory, or too many processes (ulimit -v, ulimit -u, TasksMax=)";
/// Messages that may wait for the screen; then the source waits, too, and the pipe keeps only what is true.
/// Each is up to 64 KiB of events, and what waited at once stays with the thread that read it.
const MESSAGES: usize = 8;

/// What is shown, and how.
#[derive(Debug)]
pub struct Options {
    /// Where events come from, where no recording is played.
    pub sources: Vec<SourceSpec>,
    /// A recording to be played.
    pub player: Option<Player>,
    /// Events are appended to this file, too.
    pub record: Option<Recording>,
    /// The config: a good one takes effect at once, a bad one is told and the old one stays.
    pub config: Option<PathBuf>,
    /// What of the config cannot be used.
    pub faults: Vec<String>,
    /// What the view starts with, as if it had been typed.
    pub filter: Option<String>,
    /// Days are those of this zone.
    pub zone: TimeZone,
    /// Colours.
    pub theme: Theme,
    /// The size of a terminal that does not know its own.
    pub assumed_size: Size,
}

/// Shows events until a key or a signal ends it.
pub fn run(overseer: Overseer, options: Options) -> anyhow::Result<()> {
    let Options { sources, player, record, config, faults, filter, zone, theme, assumed_size } = options;
    let mut overseer = overseer;
    if let Some(player) = &player {
        overseer.fix_clocks(player.clocks());
    }
    overseer.keep_history(player.as_ref().map_or_else(Now::read, |player| player.now().into()));
    let mut state = State::new(config.clone());
    state.history.zone = zone;
    if let Some(filter) = &filter {
        state.set_filter(filter, &overseer)?;
    }
    let (sender, receiver) = sync_channel(MESSAGES);
    let signals = Signals::new(signals::asking_to_end())?;
    // Before there are other threads.
    signals::hold_job_control()?;
    let mut terminal = terminal::take(assumed_size, overseer.settings().tui.mouse)?;
    give_back_on_panic();
    let is_played = player.is_some();
    let read = (!is_played).then_some((sources, record));
    let followed = config.map(|path| (path, overseer.config_fingerprint()));
    let continued = Arc::new(AtomicU64::new(0));
    let for_jobs = (sender.clone(), Arc::clone(&continued));
    let started = start_threads(sender, signals, followed, read)
        .and_then(|()| spawn(for_jobs.0, move |sender| await_job_control(&for_jobs.1, sender)));
    if let Err(error) = started {
        terminal::give_back();
        return Err(error);
    }
    let mut status = Status { faults, ..Status::default() };
    if let Some(lost) = player.as_ref().map(Player::lost) {
        status.source = Source {
            text: "playing a recording".into(),
            is_reading: true,
            overlong: lost.malformed + lost.overlong,
            ..Source::default()
        };
    }
    state.has_heading = overseer.settings().tui.heading;
    let app = App {
        overseer,
        state,
        status,
        noticed: None,
        theme,
        player,
        played: Instant::now(),
        continued,
        resumed: 0,
        disputed: Disputed::default(),
    };
    let result = app.run(&mut terminal, &receiver);
    terminal::give_back();
    // The person who closed it asked to leave, as a signal does.
    if terminal::is_gone() { Ok(()) } else { result }
}

/// Everything that sends messages; what is read, and recorded, where no recording is played.
fn start_threads(
    sender: SyncSender<Message>,
    mut signals: Signals,
    config: Option<(PathBuf, Option<Fingerprint>)>,
    read: Option<(Vec<SourceSpec>, Option<Recording>)>,
) -> anyhow::Result<()> {
    let for_signals = sender.clone();
    thread::Builder::new()
        .spawn(move || {
            if signals.forever().next().is_some() {
                let end = Instant::now() + LEAVING_TIME;
                while for_signals.try_send(Message::Leave).is_err() && Instant::now() < end {
                    thread::sleep(FRAME_INTERVAL);
                }
                // A terminal that accepts no more output blocks the drawing thread, and cannot be restored either.
                thread::sleep(end.saturating_duration_since(Instant::now()));
                process::exit(1);
            }
        })
        .context(NO_THREAD)?;
    if let Some((sources, record)) = read {
        spawn(sender.clone(), move |sender| read_sources(&sources, record, sender))?;
    }
    spawn(sender.clone(), move |sender| watch_terminal_and_config(config, sender))?;
    spawn(sender, read_terminal)
}

/// Gives the terminal back where the thread that draws panics. Another one must not: the screen would be
/// drawn over the shell that it gave back. Its panic ends the drawing first.
fn give_back_on_panic() {
    let report = panic::take_hook();
    let drawing = thread::current().id();
    panic::set_hook(Box::new(move |info| {
        if thread::current().id() == drawing {
            terminal::give_back();
            report(info);
        }
    }));
}

/// Runs a thread whose panic ends the view with its reason.
fn spawn(
    sender: SyncSender<Message>,
    work: impl FnOnce(&SyncSender<Message>) + Send + 'static,
) -> anyhow::Result<()> {
    let spawned = thread::Builder::new().spawn(move || {
        if let Err(panicked) = panic::catch_unwind(AssertUnwindSafe(|| work(&sender))) {
            let reason = panicked.downcast_ref::<String>().map(String::as_str);
            let reason = reason.or_else(|| panicked.downcast_ref::<&str>().copied()).unwrap_or("no reason");
            let _ = sender
                .send(Message::Broken(format!("it panicked: {reason}. This is a bug, please report it.")));
        }
    });
    spawned.context(NO_THREAD).map(drop)
}

/// Everything between messages and the screen.
struct App {
    overseer: Overseer,
    state: State,
    status: Status,
    /// Since when a notice is shown.
    noticed: Option<Instant>,
    theme: Theme,
    player: Option<Player>,
    /// Up to when the recording was played, on our clock.
    played: Instant,
    /// How often the program went on after it was stopped, and up to which of those the terminal was taken again.
    continued: Arc<AtomicU64>,
    resumed: u64,
    disputed: Disputed,
}

impl App {
    fn run(mut self, terminal: &mut Terminal, messages: &Receiver<Message>) -> anyhow::Result<()> {
        let mut has_begun = false;
        // When events were drawn last: what only fades holds nothing up.
        let mut events_drawn: Option<Instant> = None;
        let mut has_events = false;
        // Bytes of them since memory was given back.
        let mut received = 0;
        loop {
            self.play();
            self.let_notice_go();
            self.draw(terminal)?;
            if !std::mem::replace(&mut has_begun, true) || received > GIVE_BACK_AFTER {
                give_back();
                received = 0;
            }
            if std::mem::take(&mut has_events) {
                events_drawn = Some(Instant::now());
            }
            let first = match self.next_frame_in() {
                None => messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(time) => messages.recv_timeout(time),
            };
            let mut next = match first {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            let awake = Instant::now();
            // What comes within the interval is drawn together.
            while let Some(message) = next {
                match message {
                    Message::Events(lines) => {
                        received += lines.iter().map(|(_, line)| line.len()).sum::<usize>();
                        self.receive(&lines);
                        has_events = true;
                    }
                    Message::Source(source) => {
                        self.status.source = source;
                        self.tell(watch::take_notice());
                    }
                    Message::Config(reload) => {
                        self.reload(reload);
                    }
                    Message::Terminal(event) => {
                        if self.react(&event, terminal)? == ControlFlow::Break(()) {
                            return Ok(());
                        }
                        // What a person did is seen at once.
                        break;
                    }
                    Message::Stop(continued) => self.stop(continued, terminal)?,
                    Message::Continued(times) if times > self.resumed => self.recover(terminal)?,
                    Message::Continued(_) => {}
                    Message::Leave => return Ok(()),
                    Message::Broken(reason) => anyhow::bail!(reason),
                }
                let since = events_drawn.map_or(Duration::MAX, |drawn| drawn.elapsed());
                let left = FRAME_INTERVAL.saturating_sub(since);
                next = if awake.elapsed() < MAX_BATCH_TIME { messages.recv_timeout(left).ok() } else { None };
            }
        }
    }

    /// The recording's clock, else that of events.
    fn now(&self) -> BootNs {
        self.player.as_ref().map_or_else(boot_ns, Player::now)
    }

    /// The same and the wall clock, which in a recording is the same.
    fn clocks(&self) -> Now {
        self.player.as_ref().map_or_else(Now::read, |player| player.now().into())
    }

    /// Hands on how far the wall clock is.
    fn set_clock(&mut self) {
        let now = self.clocks();
        self.state.wall_ahead = now.wall.saturating_sub(i64::try_from(now.boot).unwrap_or(i64::MAX));
    }

    /// Takes away what was told some time ago.
    fn let_notice_go(&mut self) {
        if self.state.notice.is_none() && self.status.notice.is_none() {
            self.noticed = None;
        } else if self.noticed.get_or_insert_with(Instant::now).elapsed() >= NOTICE_TIME {
            (self.state.notice, self.status.notice, self.noticed) = (None, None, None);
        }
    }

    /// Tells something, from now on.
    fn tell(&mut self, notice: Option<String>) {
        if notice.is_some() {
            (self.status.notice, self.noticed) = (notice, None);
        }
    }

    fn reload(&mut self, reload: Reload) {
        self.status.faults = faults(&reload);
        let notice = apply(reload, &mut self.overseer);
        self.tell(Some(notice));
        self.state.has_heading = self.overseer.settings().tui.heading;
        self.state.reloaded(&self.overseer);
    }

    /// Time until something changes by itself; `None` while nothing will.
    fn next_frame_in(&self) -> Option<Duration> {
        let now = self.now();
        let notice = self.noticed.map(|since| NOTICE_TIME.saturating_sub(since.elapsed()));
        let fade = match self.state.lines.frozen(now) {
            None => self.overseer.next_visible_change(now, FADE_TOLERANCE),
            Some(_) => None,
        };
        let fade = fade.map(|change| change.max(FADE_INTERVAL));
        // Time goes by in the history, too.
        let history = self.state.shows_history().then_some(MINUTE);
        let tick = view::ticks(&self.overseer, &self.state, self.state.lines.listed(), now).then_some(TICK);
        let next = fade.into_iter().chain(tick).chain(history).min();
        let next = match &self.player {
            None => next,
            Some(player) => {
                let next = next.and_then(|next| player.ours(next)).into_iter().chain(player.next_in());
                let progress = player.ours(Duration::ZERO).map(|_| TICK);
                next.map(|next| next.max(FRAME_INTERVAL)).chain(progress).min()
            }
        };
        next.into_iter().chain(notice).min()
    }

    /// Plays the recording up to now.
    fn play(&mut self) {
        let elapsed = self.played.elapsed();
        self.played = Instant::now();
        if let Some(player) = &mut self.player {
            player.play(elapsed, |at, line| drop(self.overseer.receive(line, at)));
        }
    }

    fn receive(&mut self, batch: &Batch) {
        let now = Now::read();
        for (origin, line) in batch.iter() {
            let received = self.overseer.receive_from(origin, line, now);
            if matches!(received, core_overseer::Received::Line { is_new: true, .. }) {
                self.state.lines.line_appeared();
            }
        }
        let notice = self.overseer.take_notice().or_else(watch::take_notice);
        self.tell(notice);
    }

    /// Does what an event of the terminal means; breaks to leave.
    fn react(&mut self, event: &Event, terminal: &mut Terminal) -> io::Result<ControlFlow<()>> {
        self.set_clock();
        if let Some(action) = self.player.as_ref().and_then(|_| play_action(event, self.state.mode)) {
            self.steer(action);
            return Ok(ControlFlow::Continue(()));
        }
        if let Event::Paste(text) = event {
            self.state.paste(text, &self.overseer, self.now());
        }
        let Some(action) = action(event, self.state.mode) else {
            return Ok(ControlFlow::Continue(()));
        };
        (self.status.notice, self.noticed) = (None, None);
        match self.state.apply(action, &self.overseer, self.now()) {
            Effect::None => {}
            Effect::Quit => return Ok(ControlFlow::Break(())),
            Effect::Repaint => terminal.clear()?,
            Effect::Copy(text) => copy(&text)?,
            Effect::KeepHeading(is_kept) => self.keep_heading(is_kept),
        }
        if self.state.mode == Mode::Rules && action == Action::Open(Mode::Rules) {
            self.state.rule_times = rule_timing::measure(&self.overseer);
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Notes in the config whether there is a heading, so that it is so the next time.
    fn keep_heading(&mut self, is_kept: bool) {
        let value = if is_kept { "yes" } else { "no" };
        let noted = self.state.config.as_deref().map(|path| append_setting(path, "tui", "heading", value));
        self.state.notice = Some(match noted {
            Some(Err(error)) => format!("for this time only: {error}"),
            _ if is_kept => "the heading is back".into(),
            _ => "the heading is hidden: H shows it again".into(),
        });
    }

    /// Stops as asked, unless it has gone on since.
    fn stop(&mut self, continued: u64, terminal: &mut Terminal) -> io::Result<()> {
        if continued < self.continued.load(Ordering::SeqCst) {
            return Ok(());
        }
        terminal::give_back();
        signals::stop()?;
        terminal::take_again(terminal)?;
        self.resumed();
        Ok(())
    }

    /// Goes on after another job had the terminal.
    fn recover(&mut self, terminal: &mut Terminal) -> io::Result<()> {
        terminal::recover(terminal)?;
        self.resumed();
        Ok(())
    }

    /// Takes note of the terminal being ours. A recording stood still meanwhile.
    fn resumed(&mut self) {
        self.resumed = self.continued.load(Ordering::SeqCst);
        self.played = Instant::now();
    }

    /// Steers the recording.
    fn steer(&mut self, action: PlayAction) {
        self.play();
        let Some(player) = &mut self.player else { return };
        let begins_anew = match action {
            PlayAction::Pause => player.pause(),
            PlayAction::Seek(seconds) => player.seek(seconds),
            PlayAction::Speed(factor) => {
                player.change_speed(factor);
                false
            }
        };
        if begins_anew {
            self.overseer.forget();
        }
        player.catch_up(|at, line| drop(self.overseer.receive(line, at)));
    }

    fn draw(&mut self, terminal: &mut Terminal) -> io::Result<()> {
        // After bg, the signal may still be on its way.
        if terminal::is_of_another_job() {
            self.recover(terminal)?;
        }
        self.set_clock();
        let clocks = self.clocks();
        let now = clocks.boot;
        self.overseer.keep_time(clocks);
        let Self { overseer, state, status, theme, player, disputed, .. } = self;
        let theme = theme.with_states(overseer.settings().window.state_colours());
        if let Some(player) = player {
            status.progress = Some(player.progress(theme.glyphs(), terminal.size()?.width.into()));
        }
        // The terminal shows all of it or nothing.
        execute!(io::stdout(), BeginSynchronizedUpdate)?;
        let drawn = terminal.draw(|screen| {
            view::draw(screen, overseer, state, status, theme, now);
            if theme.glyphs().is_ascii {
                in_ascii(screen.buffer_mut());
            }
        })?;
        let again = disputed.rows(drawn.buffer);
        disputed::draw_again(&again, terminal.backend_mut(), &mut io::stdout())?;
        execute!(io::stdout(), EndSynchronizedUpdate)
    }
}

/// Puts a text into the terminal's clipboard: OSC 52 of xterm's control sequences, which works over SSH, too.
fn copy(text: &str) -> io::Result<()> {
    let mut out = io::stdout();
    write!(out, "\x1b]52;c;{}\x07", BASE64_STANDARD.encode(text))?;
    out.flush()
}

/// What of the file as it is now cannot be used, whether the rest of it takes effect or not.
fn faults(reload: &Reload) -> Vec<String> {
    match reload {
        Reload::Good(config) => config.all_diagnostics().map(ToString::to_string).collect(),
        Reload::Bad(diagnostics) => diagnostics.iter().map(Diagnostic::cause).collect(),
        Reload::Unreadable(reason) => vec![reason.clone()],
    }
}

/// Lets a changed config take effect, if it is good; what to tell of it.
fn apply(reload: Reload, overseer: &mut Overseer) -> String {
    const STAYS: &str = "keeping the previous config";
    match reload {
        Reload::Good(config) => {
            let notice = match config.list_diagnostics.as_slice() {
                [] => "reloaded the config".into(),
                [only] => format!("reloaded the config; {only}"),
                [first, others @ ..] => format!("reloaded the config; {first}; and {} more", others.len()),
            };
            overseer.reload(*config);
            notice
        }
        Reload::Bad(diagnostics) => match diagnostics.as_slice() {
            [only] => format!("{}; {STAYS}", only.cause()),
            [first, others @ ..] => format!("{}; and {} more; {STAYS}", first.cause(), others.len()),
            [] => STAYS.into(),
        },
        Reload::Unreadable(reason) => format!("{reason}; {STAYS}"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use leco_core::config::Config;

    use super::*;

    #[test]
    fn faults_of_a_config_last_until_a_good_one_comes() {
        let read = |text: &str| Config::parse(text.as_bytes(), Path::new("widget.ini"));
        let bad = faults(&Reload::Bad(read("[rx-proc]\n( = x\n[tui]\nmouse = 7\n").diagnostics));
        assert_eq!(bad.len(), 2, "{bad:?}");
        assert!(bad[0].starts_with("widget.ini:2:") && !bad[0].contains("skipped"), "{bad:?}");
        assert_eq!(faults(&Reload::Unreadable("permission denied".into())), ["permission denied"]);
        assert_eq!(faults(&Reload::Good(Box::new(read("[tui]\nmouse = yes\n")))), [""; 0]);
    }
}
