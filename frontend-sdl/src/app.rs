// SPDX-License-Identifier: GPL-3.0-or-later
//! The loop between source, model, painter and display: one thread that sleeps in `poll`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use leco_core::config::{Config, ConfigFollower, Effects, Fingerprint, Reload, Settings};
use leco_core::model::overseer::Overseer;
use leco_core::source::{SOURCE_GIVEN_UP, SourceSpec, are_allowed, with_sources};
use leco_os::clock::boot_id;
use leco_os::sandbox::Sandbox;
use leco_os::{signals, watch};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::desktop_wishes::DesktopWishes;
use crate::display;
use crate::event_reader::EventReader;
use crate::power::PowerCheck;
use crate::report::report;
use crate::screen::Screen;
use crate::system::leave_session_bus;

/// Shows the sources' events until a signal or the end of the display.
///
/// The config file is followed: a good one takes effect at once, a bad one is reported and the old one stays.
pub fn run(
    config: Config,
    sources: Vec<SourceSpec>,
    filter: Option<&str>,
    config_file: Option<&Path>,
) -> anyhow::Result<()> {
    let signals = Signals::catch()?;
    let mut app = App::start(config, sources, config_file)?;
    app.overseer.set_filter(filter)?;
    let result = app.run(&signals);
    if result.is_err() {
        // Xlib ends the program, with words of its own, when windows of a display that is gone are closed.
        std::mem::forget(app);
    }
    result
}

struct App {
    screen: Screen,
    sandbox: Sandbox,
    overseer: Overseer,
    events: EventReader,
    config: ConfigFile,
    power: PowerCheck,
    wishes: DesktopWishes,
}

/// The config file, where it can be followed.
struct ConfigFile {
    follower: Option<ConfigFollower>,
    has_news: bool,
}

impl ConfigFile {
    /// A file that cannot be followed only never changes.
    fn follow(file: Option<&Path>, in_force: Option<Fingerprint>) -> Self {
        let follower = file.and_then(|file| ConfigFollower::follow(file, in_force).ok());
        Self { follower, has_news: true }
    }

    fn take_reload(&mut self) -> Option<Reload> {
        if !std::mem::take(&mut self.has_news) {
            return None;
        }
        self.follower.as_mut()?.look().ok().flatten()
    }
}

impl App {
    fn start(config: Config, sources: Vec<SourceSpec>, config_file: Option<&Path>) -> anyhow::Result<Self> {
        // Later there are more threads, and it makes no sockets.
        let wishes = DesktopWishes::ask();
        leave_session_bus();
        let presenter = display::open(&config.settings.window)?;
        let are_named = !sources.is_empty();
        let sources = if are_named { sources } else { config.settings.run.all_sources()? };
        let boot = boot_id();
        let sandbox =
            config.names.lists.paths().fold(sandbox(&config.settings, &sources, config_file), Sandbox::reads);
        let in_force = config.fingerprint.clone();
        let confinement = sandbox.enter();
        if !confinement.is_whole() {
            report(&confinement);
        }
        Ok(Self {
            screen: Screen::new(presenter),
            sandbox,
            overseer: Overseer::on_machine(config, &boot),
            events: EventReader::open(&sources, are_named)?,
            config: ConfigFile::follow(config_file, in_force),
            power: PowerCheck::default(),
            wishes,
        })
    }

    fn run(&mut self, signals: &Signals) -> anyhow::Result<()> {
        while !signals.has_come() && !self.screen.presenter().is_closed() {
            self.take_changes()?;
            self.draw()?;
            self.sleep(signals)?;
            self.screen.dispatch()?;
        }
        Ok(())
    }

    fn take_changes(&mut self) -> anyhow::Result<()> {
        if let Some(reload) = self.config.take_reload() {
            self.reload(reload)?;
        }
        if self.events.read(&mut self.overseer)? {
            self.screen.set_changed();
        }
        self.screen.fit(self.overseer.settings(), self.wishes.now().is_high_contrast)?;
        if let Some(notice) = self.overseer.take_notice().or_else(watch::take_notice) {
            report(notice);
        }
        self.screen.report_notices();
        Ok(())
    }

    fn reload(&mut self, reload: Reload) -> anyhow::Result<()> {
        const STAYS: &str = "keeping the previous config";
        match reload {
            Reload::Good(config) => return self.take_config(*config),
            Reload::Bad(diagnostics) => {
                for diagnostic in &diagnostics {
                    report(diagnostic.cause());
                }
                report(STAYS);
            }
            Reload::Unreadable(reason) => report(format_args!("{reason}; {STAYS}")),
        }
        Ok(())
    }

    fn take_config(&mut self, config: Config) -> anyhow::Result<()> {
        for diagnostic in &config.list_diagnostics {
            report(diagnostic);
        }
        let settings = config.settings.clone();
        self.overseer.reload(config);
        self.screen.configure(&settings)?;
        if settings.text.font.as_deref().is_some_and(|font| !self.sandbox.covers(font)) {
            report("the font is in a directory that this program can no longer read: restart it");
        }
        self.power.forget();
        if self.events.are_named() {
            return Ok(());
        }
        let sources = match settings.run.all_sources() {
            Ok(sources) => sources,
            Err(error) => {
                report(format_args!("{error}; keeping the previous sources"));
                return Ok(());
            }
        };
        if self.events.would_change(&sources) {
            if are_allowed(&self.sandbox, &sources) {
                self.events.follow(&sources)?;
            } else {
                report(SOURCE_GIVEN_UP);
            }
        }
        Ok(())
    }

    fn draw(&mut self) -> anyhow::Result<()> {
        if !self.screen.is_due(&self.overseer) {
            return Ok(());
        }
        let effects = match self.overseer.settings().text.effects {
            Effects::Auto if self.wishes.now().is_still() => Effects::None,
            effects => effects,
        };
        let has_effects = self.power.has_effects(effects);
        self.screen.draw(&mut self.overseer, has_effects, || self.events.waiting())
    }

    /// Sleeps until something comes, or something on the screen is to change.
    fn sleep(&mut self, signals: &Signals) -> anyhow::Result<()> {
        let reads_in = self.events.time_to_read(Instant::now());
        let reads_now = reads_in.is_zero();
        let mut fds: Vec<BorrowedFd<'_>> = self.screen.presenter().fds();
        fds.push(signals.received.as_fd());
        let wishes = fds.len();
        fds.extend(self.wishes.fds());
        let config = fds.len();
        fds.extend(self.config.follower.as_ref().map(AsFd::as_fd));
        let others = fds.len();
        if reads_now {
            fds.extend(self.events.fds());
        }
        // A display that takes no frame now will say when it does.
        let frame_in =
            self.screen.time_to_frame(&self.overseer).filter(|_| self.screen.presenter().is_ready());
        let timeout = frame_in.into_iter().chain((!reads_now).then_some(reads_in)).min();
        let timeout =
            timeout.map(|time| Timespec::try_from(time).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 }));
        let mut fds: Vec<_> = fds.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait for events"),
        }
        // While nothing is read, there may be anything.
        let any = |fds: &[PollFd<'_>]| fds.iter().any(|fd| !fd.revents().is_empty());
        let (has_input, has_news) = (!reads_now || any(&fds[others..]), any(&fds[config..others]));
        if any(&fds[wishes..config]) {
            self.wishes.take();
        }
        if has_input {
            self.events.set_has_input();
        }
        self.config.has_news |= has_news;
        Ok(())
    }
}

/// What is needed once the display is there: fonts, fontconfig's programs, config and sources.
fn sandbox(settings: &Settings, sources: &[SourceSpec], config_file: Option<&Path>) -> Sandbox {
    let mut sandbox = with_sources(Sandbox::default().with_programs().with_shared_memory(), sources);
    for path in config_file.into_iter().chain(settings.text.font.as_deref()) {
        sandbox = sandbox.reads(path);
    }
    let home = leco_os::environment::folder("HOME");
    let folders = [".fonts", ".local/share/fonts", ".config/fontconfig", ".cache/fontconfig"];
    for folder in home.iter().flat_map(|home| folders.map(|folder| home.join(folder))) {
        sandbox = sandbox.reads_if_there(folder);
    }
    sandbox.reads_if_there("/var/cache/fontconfig").reads_if_there("/opt")
}

/// Signals that end the program.
struct Signals {
    received: UnixStream,
}

impl Signals {
    fn catch() -> anyhow::Result<Self> {
        let (received, raised) = UnixStream::pair().context("cannot watch for signals")?;
        received.set_nonblocking(true).context("cannot watch for signals")?;
        for signal in signals::asking_to_end() {
            let raised = raised.try_clone().context("cannot watch for signals")?;
            signal_hook::low_level::pipe::register(signal, raised).context("cannot watch for signals")?;
        }
        Ok(Self { received })
    }

    fn has_come(&self) -> bool {
        io::Read::read(&mut &self.received, &mut [0]).is_ok()
    }
}
