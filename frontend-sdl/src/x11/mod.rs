// SPDX-License-Identifier: GPL-3.0-or-later
//! A window on an X desktop. SDL makes it and shows its pixels; what SDL does not do, a second connection does.

mod desktop;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use leco_core::config::{Layer, WindowFlag, WindowHint, WindowSettings};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sdl3::event::{Event, WindowEvent};
use sdl3::pixels::PixelFormat;
use sdl3::video::{Window, WindowFlags, WindowPos};
use sdl3::{EventPump, VideoSubsystem, hint};
use x11rb::protocol::xproto::InputFocus;

use self::desktop::{Desktop, Monitor};
use crate::painter::pixels::{Canvas, Rect};
use crate::placement::placement;
use crate::presenter::{Geometry, Paint, Presenter, USUAL_RATE, interval, no_monitor};
use crate::system;

/// Whose desktop the X server's windows are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// Its own.
    X11,
    /// That of a Wayland compositor, whose window manager knows nothing of layers and so is left out.
    Wayland,
}

/// What SDL may have for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pending {
    /// It may have read some events before.
    Events,
    Nothing,
}

/// The overlay on an X desktop.
#[allow(clippy::struct_excessive_bools)]
pub struct X11 {
    desktop: Desktop,
    /// Closed before SDL is.
    window: Option<Shown>,
    settings: WindowSettings,
    generation: u64,
    is_closed: bool,
    has_reported_compositor: bool,
    host: Host,
    notices: Vec<String>,
    events: EventPump,
    video: VideoSubsystem,
}

/// The window on a monitor.
struct Shown {
    window: Window,
    id: u32,
    /// SDL's own connection.
    fd: OwnedFd,
    monitor: Monitor,
    is_override: bool,
}

impl X11 {
    /// Connects to the server that the environment names, and puts the window on the screen.
    pub fn connect(settings: &WindowSettings, host: Host) -> anyhow::Result<Self> {
        let desktop = Desktop::connect()?;
        let fixed = [
            ("SDL_VIDEO_DRIVER", "x11"),
            // The window's pixels are in memory that the server shares, not in a texture.
            ("SDL_FRAMEBUFFER_ACCELERATION", "0"),
            ("SDL_VIDEO_X11_NET_WM_BYPASS_COMPOSITOR", "0"),
            ("SDL_VIDEO_ALLOW_SCREENSAVER", "1"),
            // Signals end the loop, as those of any daemon.
            ("SDL_NO_SIGNAL_HANDLERS", "1"),
        ];
        for (name, value) in fixed {
            hint::set(name, value);
        }
        apply_hints(settings);
        let sdl = sdl3::init().context("cannot start SDL")?;
        let video = sdl.video().context("SDL cannot use the X server")?;
        let events = sdl.event_pump().context("SDL has no events")?;
        let mut this = Self {
            desktop,
            window: None,
            settings: settings.clone(),
            generation: 0,
            is_closed: false,
            has_reported_compositor: false,
            host,
            notices: Vec::new(),
            events,
            video,
        };
        this.show()?;
        this.take_all(Pending::Events)?;
        Ok(this)
    }

    /// Makes the window anew, on the monitor of the config.
    fn show(&mut self) -> anyhow::Result<()> {
        self.window = None;
        self.generation += 1;
        let settings = &self.settings;
        let Some(monitor) = self.desktop.monitor(settings.monitor.as_deref())? else {
            let known = self.desktop.monitor_names().unwrap_or_default();
            self.notices.push(no_monitor(settings, &known));
            return Ok(());
        };
        let is_override = self.host == Host::Wayland
            || settings.layer == Layer::Overlay
            || settings.is_on(WindowHint::OverrideRedirect);
        hint::set("SDL_X11_FORCE_OVERRIDE_REDIRECT", if is_override { "1" } else { "0" });
        hint::set("SDL_X11_WINDOW_TYPE", window_type(settings));
        if let Some(visual) = self.desktop.alpha_visual() {
            hint::set("SDL_VIDEO_X11_WINDOW_VISUALID", &visual.to_string());
        }
        let place = place(settings, monitor.area);
        let side = |length: i32| length.unsigned_abs();
        let mut builder =
            self.video.window(&settings.title.replace('\0', ""), side(place.width), side(place.height));
        builder.set_flags(flags(settings)).position(place.x, place.y);
        let mut window = builder.build().context("cannot create a window")?;
        let (id, fd) = (system::window_id(&window)?, system::connection_fd(&window)?);
        if settings.click_through {
            self.desktop.let_clicks_through(id)?;
        }
        // With the answer, clicks go through, too.
        let focus = self.desktop.focus()?;
        window.show();
        if settings.has(WindowFlag::NotFocusable) {
            // Without a window manager SDL takes the keyboard for whatever it shows.
            self.desktop.release_focus(id, focus)?;
        }
        if !settings.has(WindowFlag::Minimized) {
            // A window manager may have its own idea of where new windows are.
            window.set_position(WindowPos::Positioned(place.x), WindowPos::Positioned(place.y));
        }
        self.desktop.adopt(id, settings, is_override)?;
        self.window = Some(Shown { window, id, fd, monitor, is_override });
        Ok(())
    }

    /// Whether the server has sent SDL something. Xlib ends the program, with words of its own, when it uses a
    /// connection that is broken: that is found out before.
    fn check_connections(&self) -> anyhow::Result<Pending> {
        let mut fds: Vec<_> =
            self.fds().into_iter().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        poll(&mut fds, Some(&Timespec::default())).context("cannot ask for the state of a connection")?;
        let is_broken = |fd: &PollFd<'_>| fd.revents().intersects(PollFlags::HUP | PollFlags::ERR);
        ensure!(!fds.iter().any(is_broken), "the X server closed the connection");
        let has_come = fds.iter().skip(1).any(|fd| fd.revents().contains(PollFlags::IN));
        Ok(if has_come { Pending::Events } else { Pending::Nothing })
    }

    /// Takes what was sent on both connections. SDL may have read some of it before.
    fn take_all(&mut self, mut pending: Pending) -> anyhow::Result<()> {
        // What one connection is told makes the other one ask, and with an answer may come further events.
        loop {
            let has_events = pending == Pending::Events && self.take_events()?;
            let id = self.window.as_ref().map_or(0, |shown| shown.id);
            let changes = self.desktop.dispatch(id)?;
            if let Some(shown) = self.window.as_ref().filter(|shown| shown.is_override && changes.is_covered)
            {
                self.desktop.restack(shown.id, self.settings.layer)?;
            }
            if changes.monitors {
                self.monitors_changed()?;
            }
            if !has_events && !changes.any {
                break;
            }
            pending = Pending::Events;
        }
        if !self.desktop.has_compositor && !self.has_reported_compositor {
            self.has_reported_compositor = true;
            self.notices.push("no compositor runs on this X display: the background is opaque".into());
        }
        Ok(())
    }

    /// Tells whether there were any.
    fn take_events(&mut self) -> anyhow::Result<bool> {
        let mut has_events = false;
        for event in self.events.poll_iter() {
            has_events = true;
            match event {
                Event::Quit { .. } => self.is_closed = true,
                Event::Window { win_event, .. } => match win_event {
                    WindowEvent::CloseRequested => self.is_closed = true,
                    // The server may keep nothing of a window that was covered.
                    WindowEvent::Resized(..) | WindowEvent::PixelSizeChanged(..) | WindowEvent::Exposed => {
                        self.generation += 1;
                    }
                    WindowEvent::FocusGained if self.settings.has(WindowFlag::NotFocusable) => {
                        if let Some(shown) = &mut self.window {
                            shown.window.set_keyboard_grab(false);
                            shown.window.set_mouse_grab(false);
                            self.desktop.release_focus(shown.id, InputFocus::POINTER_ROOT.into())?;
                        }
                    }
                    _ => {}
                },
                _ => {}
            }
        }
        Ok(has_events)
    }

    fn monitors_changed(&mut self) -> anyhow::Result<()> {
        let monitor = self.desktop.monitor(self.settings.monitor.as_deref())?;
        if monitor != self.window.as_ref().map(|shown| shown.monitor) {
            let had_window = self.window.is_some();
            if monitor.is_some() || had_window {
                self.show()?;
            }
        }
        Ok(())
    }
}

/// Hints of the config that SDL knows, by their names in SDL.
fn apply_hints(settings: &WindowSettings) {
    for (known, value) in &settings.hints {
        let name = match known {
            WindowHint::Vsync => "SDL_RENDER_VSYNC",
            WindowHint::ActivateWhenRaised => "SDL_WINDOW_ACTIVATE_WHEN_RAISED",
            WindowHint::ActivateWhenShown => "SDL_WINDOW_ACTIVATE_WHEN_SHOWN",
            WindowHint::DisplayPriority => "SDL_VIDEO_DISPLAY_PRIORITY",
            // The others are not SDL's on X.
            WindowHint::OverrideRedirect
            | WindowHint::NoSignalHandlers
            | WindowHint::WaylandScaleToDisplay => {
                continue;
            }
        };
        if !value.contains('\0') {
            hint::set(name, value);
        }
    }
}

/// The kind of window, by which window managers decide on frame, focus and layer.
fn window_type(settings: &WindowSettings) -> &'static str {
    match settings.layer {
        Layer::Overlay => "_NET_WM_WINDOW_TYPE_NOTIFICATION",
        Layer::Background => "_NET_WM_WINDOW_TYPE_DESKTOP",
        Layer::Top | Layer::Bottom if settings.has(WindowFlag::Utility) => "_NET_WM_WINDOW_TYPE_UTILITY",
        Layer::Top | Layer::Bottom => "_NET_WM_WINDOW_TYPE_NORMAL",
    }
}

fn flags(settings: &WindowSettings) -> WindowFlags {
    let mut flags = WindowFlags::HIDDEN;
    for flag in &settings.flags {
        flags |= match flag {
            WindowFlag::Resizable => WindowFlags::RESIZABLE,
            WindowFlag::NotFocusable => WindowFlags::NOT_FOCUSABLE,
            WindowFlag::Borderless => WindowFlags::BORDERLESS,
            WindowFlag::Transparent => WindowFlags::TRANSPARENT,
            WindowFlag::AlwaysOnTop => WindowFlags::ALWAYS_ON_TOP,
            WindowFlag::Fullscreen => WindowFlags::FULLSCREEN,
            WindowFlag::Minimized => WindowFlags::MINIMIZED,
            WindowFlag::Maximized => WindowFlags::MAXIMIZED,
            // SDL would set a type of window that is not the layer's.
            WindowFlag::Utility => continue,
        };
    }
    flags
}

/// Where the window is on the screen, never larger than its monitor.
fn place(settings: &WindowSettings, monitor: Rect) -> Rect {
    let [horizontal, vertical] = placement(settings, 1.0, (monitor.width, monitor.height));
    Rect {
        x: monitor.x.saturating_add(horizontal.start(monitor.width)),
        y: monitor.y.saturating_add(vertical.start(monitor.height)),
        width: horizontal.length,
        height: vertical.length,
    }
}

impl Presenter for X11 {
    fn fds(&self) -> Vec<BorrowedFd<'_>> {
        let sdl = self.window.as_ref().map(|shown| shown.fd.as_fd());
        std::iter::once(self.desktop.stream().as_fd()).chain(sdl).collect()
    }

    fn dispatch(&mut self) -> anyhow::Result<()> {
        let pending = self.check_connections()?;
        self.take_all(pending)
    }

    fn geometry(&self) -> Option<Geometry> {
        let (width, height) = self.window.as_ref()?.window.size_in_pixels();
        let side = |length: u32| i32::try_from(length).unwrap_or(i32::MAX);
        Some(Geometry { width: side(width), height: side(height), factor: 1.0, generation: self.generation })
    }

    fn is_ready(&self) -> bool {
        self.window.is_some()
    }

    fn present(&mut self, paint: &mut Paint<'_>) -> anyhow::Result<()> {
        let Some(shown) = &mut self.window else { return Ok(()) };
        let mut surface = shown.window.surface(&self.events).context("cannot draw in the window")?;
        if !matches!(surface.pixel_format(), PixelFormat::ARGB8888 | PixelFormat::XRGB8888) {
            bail!("the X server shows pixels of {:?}, not of ARGB8888", surface.pixel_format());
        }
        let side = |length: u32| usize::try_from(length).unwrap_or(0);
        let (width, height) = (side(surface.width()), side(surface.height()));
        let stride = side(surface.pitch()) / 4;
        let damage = surface.with_lock_mut(|bytes| {
            let pixels = bytemuck::try_cast_slice_mut(bytes).ok()?;
            Some(paint(&mut Canvas::new(pixels, width, height, stride)?, &[]))
        });
        let damage = damage.context("SDL's surface is not made of whole pixels")?;
        if !damage.is_empty() {
            let rects: Vec<_> = damage
                .iter()
                .map(|area| {
                    sdl3::rect::Rect::new(
                        area.x,
                        area.y,
                        area.width.unsigned_abs(),
                        area.height.unsigned_abs(),
                    )
                })
                .collect();
            surface.update_window_rects(&rects).context("cannot show the window")?;
        }
        // Waiting for the server, Xlib may have read events, which nothing would wake us up for.
        self.take_all(Pending::Events)
    }

    fn frame_interval(&self) -> Duration {
        interval(self.window.as_ref().map_or(USUAL_RATE, |shown| shown.monitor.rate))
    }

    fn is_opaque(&self) -> bool {
        !self.desktop.has_compositor || !self.settings.has(WindowFlag::Transparent)
    }

    fn configure(&mut self, settings: &WindowSettings) -> anyhow::Result<()> {
        if self.settings != *settings {
            self.settings = settings.clone();
            apply_hints(settings);
            self.show()?;
        }
        self.take_all(Pending::Events)
    }

    fn is_closed(&self) -> bool {
        self.is_closed
    }

    fn take_notice(&mut self) -> Option<String> {
        (!self.notices.is_empty()).then(|| self.notices.remove(0))
    }
}
