// SPDX-License-Identifier: GPL-3.0-or-later
//! The loop between source, model, painter and display: one thread that sleeps in `poll`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use leco_core::config::{Config, ConfigFollower, Effects, Reload, Settings};
use leco_core::matching::Filter;
use leco_core::model::overseer::{Frame, Overseer, Row};
use leco_core::model::traffic::Traffic;
use leco_core::source::{SOURCE_GIVEN_UP, SourceSpec, Sources, SourcesState, are_allowed, with_sources};
use leco_core::style::LineStyle;
use leco_core::wire::event::ConnectionState;
use leco_core::wire::tag::Tag;
use leco_os::clock::{Now, boot_id, boot_ns};
use leco_os::reclaim::give_back;
use leco_os::sandbox::Sandbox;
use leco_os::{say, signals, watch};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::painter::Painter;
use crate::presenter::{Geometry, Presenter};
use crate::{display, power};

/// A line is drawn anew when its opacity is off by more steps (of 1/255) than this.
const ALPHA_TOLERANCE: u8 = 1;
/// In a burst of events, so long no more are waited for: many are one wakeup.
const READ_INTERVAL: Duration = Duration::from_millis(10);
/// Events that follow others within this are a burst.
const BURST_GAP: Duration = Duration::from_millis(30);
/// So often at most it is asked whether the machine runs on its battery.
const POWER_INTERVAL: Duration = Duration::from_mins(1);
/// After so many frames the memory that a start or a reload took is given back.
const START_FRAMES: u32 = 2;
/// So many reads before the screen is drawn, whatever is left.
const MAX_READS: usize = 32;

/// Shows the sources' events until a signal or the end of the display.
///
/// The config file is followed: a good one takes effect at once, a bad one is told and the old one stays.
pub fn run(
    config: Config,
    sources: Vec<SourceSpec>,
    filter: Option<Filter>,
    config_file: Option<&Path>,
) -> anyhow::Result<()> {
    let signals = Signals::catch()?;
    let mut app = App::start(config, sources, config_file)?;
    app.overseer.set_filter(filter);
    let result = app.run(&signals);
    if result.is_err() {
        // Xlib ends the program, with words of its own, when windows of a display that is gone are closed.
        std::mem::forget(app);
    }
    result
}

#[allow(clippy::struct_excessive_bools)]
struct App {
    presenter: Box<dyn Presenter>,
    sandbox: Sandbox,
    /// None until there is something to draw on.
    painter: Option<Painter>,
    geometry: Option<Geometry>,
    overseer: Overseer,
    sources: Sources,
    /// Whether the command line named them, so that the config does not.
    are_sources_fixed: bool,
    config_watch: Option<ConfigFollower>,
    has_config_news: bool,
    /// Something came that is not on the screen yet.
    is_changed: bool,
    drawn: Option<Instant>,
    /// Before this nothing is read.
    read_from: Instant,
    last_events: Option<Instant>,
    /// Whether a source may have something.
    has_input: bool,
    power_asked: Option<Instant>,
    told_of_sources: Option<SourcesState>,
    /// Frames until the memory of a start is given back: what drawing needs is in use by then.
    frames_of_start: u32,
}

impl App {
    fn start(config: Config, sources: Vec<SourceSpec>, config_file: Option<&Path>) -> anyhow::Result<Self> {
        let presenter = display::open(&config.settings.window)?;
        let are_sources_fixed = !sources.is_empty();
        let sources = if are_sources_fixed { sources } else { config.settings.run.all_sources()? };
        let boot = boot_id();
        let sandbox = sandbox(&config.settings, &sources, config_file);
        let in_force = config.fingerprint;
        let confinement = sandbox.enter();
        if !confinement.is_whole() {
            tell(&confinement.to_string());
        }
        Ok(Self {
            presenter,
            sandbox,
            painter: None,
            geometry: None,
            overseer: Overseer::on_machine(config, &boot),
            sources: follow(&sources)?,
            are_sources_fixed,
            // A file that cannot be followed only never changes.
            config_watch: config_file.and_then(|file| ConfigFollower::follow(file, in_force).ok()),
            has_config_news: true,
            is_changed: true,
            drawn: None,
            read_from: Instant::now(),
            last_events: None,
            has_input: true,
            power_asked: None,
            told_of_sources: None,
            frames_of_start: START_FRAMES,
        })
    }

    fn run(&mut self, signals: &Signals) -> anyhow::Result<()> {
        while !signals.has_come() && !self.presenter.is_closed() {
            self.take_changes()?;
            self.draw()?;
            self.sleep(signals)?;
            self.presenter.dispatch()?;
        }
        Ok(())
    }

    fn take_changes(&mut self) -> anyhow::Result<()> {
        if std::mem::take(&mut self.has_config_news)
            && let Some(reload) = self.config_watch.as_mut().and_then(|watch| watch.look().ok().flatten())
        {
            self.reload(reload)?;
        }
        self.read()?;
        self.fit()?;
        if let Some(notice) = self.overseer.take_notice().or_else(watch::take_notice) {
            tell(&notice);
        }
        while let Some(notice) = self.presenter.take_notice() {
            tell(&notice);
        }
        Ok(())
    }

    fn read(&mut self) -> anyhow::Result<()> {
        if !self.has_input || Instant::now() < self.read_from {
            return Ok(());
        }
        self.has_input = false;
        let now = Now::read();
        let mut has_come = false;
        for turn in 0..MAX_READS {
            self.has_input = turn + 1 == MAX_READS;
            let overseer = &mut self.overseer;
            let is_empty = self.sources.wait(Some(Duration::ZERO), |origin, line| {
                overseer.receive_from(origin, line, now);
                has_come = true;
            })?;
            if is_empty {
                break;
            }
        }
        if has_come {
            self.is_changed = true;
            let is_burst =
                self.last_events.replace(Instant::now()).is_some_and(|last| last.elapsed() < BURST_GAP);
            if is_burst {
                self.read_from = Instant::now() + READ_INTERVAL;
            }
        }
        let state = self.sources.state();
        if self.told_of_sources.as_ref() != Some(&state) {
            self.is_changed = true;
            if !state.is_reading {
                tell(&waiting(&state));
            }
            self.told_of_sources = Some(state);
        }
        Ok(())
    }

    /// Brings the painter in line with the display.
    fn fit(&mut self) -> anyhow::Result<()> {
        let geometry = self.presenter.geometry();
        if geometry != self.geometry {
            self.is_changed = true;
            if let Some(geometry) = geometry {
                let is_scaled =
                    self.geometry.is_none_or(|known| (known.factor - geometry.factor).abs() > f32::EPSILON);
                match &mut self.painter {
                    Some(painter) if !is_scaled => painter.fit(geometry.width, geometry.height),
                    _ => self.painter = Some(new_painter(self.overseer.settings(), geometry)?),
                }
            }
            self.geometry = geometry;
        }
        if let Some(painter) = &mut self.painter {
            self.is_changed |= painter.set_opaque(self.presenter.is_opaque());
        }
        Ok(())
    }

    fn reload(&mut self, reload: Reload) -> anyhow::Result<()> {
        const STAYS: &str = "keeping the previous config";
        match reload {
            Reload::Good(config) => {
                let settings = config.settings.clone();
                self.overseer.reload(*config);
                self.presenter.configure(&settings.window)?;
                self.geometry = self.presenter.geometry();
                if let Some(geometry) = self.geometry {
                    match new_painter(&settings, geometry) {
                        Ok(painter) => self.painter = Some(painter),
                        Err(error) => tell(&format!("{error:#}; keeping the previous font")),
                    }
                }
                let sources = settings.run.all_sources().unwrap_or_else(|error| {
                    tell(&format!("{error}; keeping the previous sources"));
                    self.sources.specs().to_vec()
                });
                if settings.text.font.as_deref().is_some_and(|font| !self.sandbox.covers(font)) {
                    tell("the font is in a directory that this program can no longer read: restart it");
                }
                if !self.are_sources_fixed && sources != self.sources.specs() {
                    if are_allowed(&self.sandbox, &sources) {
                        self.sources = follow(&sources)?;
                    } else {
                        tell(SOURCE_GIVEN_UP);
                    }
                }
                self.power_asked = None;
                self.frames_of_start = START_FRAMES;
                self.is_changed = true;
            }
            Reload::Bad(diagnostics) => {
                for diagnostic in &diagnostics {
                    tell(&diagnostic.to_string());
                }
                tell(STAYS);
            }
            Reload::Unreadable(reason) => tell(&format!("{reason}; {STAYS}")),
        }
        Ok(())
    }

    /// Draws if there is anything new to see and the display takes it.
    fn draw(&mut self) -> anyhow::Result<()> {
        if self.time_to_frame() != Some(Duration::ZERO) || !self.presenter.is_ready() {
            return Ok(());
        }
        let has_effects = self.has_effects();
        let Some(painter) = &mut self.painter else { return Ok(()) };
        painter.set_effects(has_effects);
        let clocks = Now::read();
        let now = clocks.boot;
        self.overseer.keep_time(clocks);
        let rows = painter.rows();
        let frame = self.overseer.frame_within(now, rows, ALPHA_TOLERANCE);
        let state = (frame.counts.received == 0).then(|| self.sources.state());
        match state.filter(|state| !state.is_reading) {
            Some(state) => painter.update(&one_line(&waiting(&state)), now),
            None => painter.update(frame, now),
        }
        self.presenter.present(&mut |canvas, stale| painter.paint(canvas, stale, now))?;
        self.is_changed = false;
        self.drawn = Some(Instant::now());
        if self.frames_of_start > 0 {
            self.frames_of_start -= 1;
            if self.frames_of_start == 0 {
                give_back();
            }
        }
        Ok(())
    }

    /// Time until the next frame should be drawn; `None` while nothing changes.
    fn time_to_frame(&self) -> Option<Duration> {
        let painter = self.painter.as_ref()?;
        self.geometry?;
        let wanted = if self.is_changed {
            Some(Duration::ZERO)
        } else {
            let now = boot_ns();
            let fades = self.overseer.next_visible_change(now, ALPHA_TOLERANCE);
            fades.into_iter().chain(painter.next_step(now)).min()
        };
        let since = self.drawn.map_or(Duration::MAX, |drawn| drawn.elapsed());
        wanted.map(|wanted| wanted.max(self.frame_interval().saturating_sub(since)))
    }

    fn frame_interval(&self) -> Duration {
        let display = self.presenter.frame_interval();
        let most = self.overseer.settings().window.frames_per_second_max;
        if most > 0.0 { display.max(Duration::from_secs_f64(1.0 / most.max(1e-3))) } else { display }
    }

    fn has_effects(&mut self) -> bool {
        let is_mains = |app: &Self| app.power_asked.is_some_and(|asked| asked.elapsed() < POWER_INTERVAL);
        match self.overseer.settings().text.effects {
            Effects::None => false,
            Effects::Always => true,
            Effects::Auto if is_mains(self) => true,
            Effects::Auto => {
                let is_on_battery = power::is_on_battery(Path::new(power::POWER_SUPPLIES));
                self.power_asked = (!is_on_battery).then(Instant::now);
                !is_on_battery
            }
        }
    }

    /// Sleeps until something comes, or something on the screen is to change.
    fn sleep(&mut self, signals: &Signals) -> anyhow::Result<()> {
        let reads_in = self.read_from.saturating_duration_since(Instant::now());
        let reads_now = reads_in.is_zero();
        let mut fds: Vec<BorrowedFd<'_>> = self.presenter.fds();
        fds.push(signals.received.as_fd());
        let config = fds.len();
        fds.extend(self.config_watch.as_ref().map(AsFd::as_fd));
        let others = fds.len();
        if reads_now {
            fds.extend(self.sources.fds());
        }
        // A display that takes no frame now will say when it does.
        let frame_in = if self.presenter.is_ready() { self.time_to_frame() } else { None };
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
        self.has_input |= !reads_now || any(&fds[others..]);
        self.has_config_news |= any(&fds[config..others]);
        Ok(())
    }
}

/// What is needed once the display is there: fonts, fontconfig's programs, config and sources.
fn sandbox(settings: &Settings, sources: &[SourceSpec], config_file: Option<&Path>) -> Sandbox {
    let mut sandbox = with_sources(Sandbox::default().with_programs(), sources);
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

fn follow(sources: &[SourceSpec]) -> anyhow::Result<Sources> {
    Sources::open(sources).context("cannot follow a source")
}

fn new_painter(settings: &Settings, geometry: Geometry) -> anyhow::Result<Painter> {
    let (painter, notice) = Painter::new(settings, geometry.width, geometry.height, geometry.factor)?;
    if let Some(notice) = notice {
        tell(&notice);
    }
    Ok(painter)
}

fn waiting(state: &SourcesState) -> String {
    format!("{}{}", state.text, SourcesState::hint(state.is_refused))
}

/// A frame that says something itself.
fn one_line(text: &str) -> Frame {
    let row = Row {
        id: (0, 0),
        text: leco_os::clean::clean(text).into(),
        tag: Tag { text: String::new(), rgb: [0; 3] }.into(),
        alpha: 255,
        state: ConnectionState::Ordinary,
        is_first_ever: false,
        style: LineStyle::default(),
        age: Duration::MAX,
        traffic: Traffic::default(),
    };
    Frame { rows: vec![Some(row)], ..Frame::default() }
}

fn tell(notice: &str) {
    say::err(format_args!("leco-sdl-widget: {notice}"));
}
