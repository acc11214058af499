// SPDX-License-Identifier: GPL-3.0-or-later
//! An X server without a screen, with or without a compositor.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use x11rb::connection::Connection;
use x11rb::errors::ReplyError;
use x11rb::protocol::composite::ConnectionExt as _;
use x11rb::protocol::damage::{ConnectionExt as _, ReportLevel};
use x11rb::protocol::xproto::{
    AtomEnum, BUTTON_PRESS_EVENT, BUTTON_RELEASE_EVENT, ConnectionExt as _, CreateGCAux, CreateWindowAux,
    EventMask, ImageFormat, MOTION_NOTIFY_EVENT, MapState, PropMode, Rectangle, Screen, WindowClass,
};
use x11rb::protocol::xtest::ConnectionExt as _;
use x11rb::protocol::{ErrorKind, Event};
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;

use super::{Picture, Rgb};
use crate::wait_for;

/// Size of its screen in pixels.
pub(super) const SCREEN: (u16, u16) = (1024, 600);

/// A running Xvfb.
pub struct XServer {
    server: Child,
    compositor: Option<Child>,
    connection: RustConnection,
    /// As it stands in `DISPLAY`.
    pub display: String,
}

impl XServer {
    /// Starts one.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts one that cannot compose: no window is transparent, and what is covered is forgotten.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start_without_composite() -> Self {
        Self::start_with(&["-extension", "Composite", "-bs"])
    }

    /// Starts one and its compositor.
    ///
    /// # Panics
    /// When they cannot be started.
    #[must_use]
    pub fn start_composed() -> Self {
        let mut server = Self::start();
        server.start_compositor();
        server
    }

    fn start_with(options: &[&str]) -> Self {
        let size = format!("{}x{}x24", SCREEN.0, SCREEN.1);
        let mut command = Command::new("Xvfb");
        command.args(["-displayfd", "1", "-screen", "0", &size, "-nolisten", "tcp"]).args(options);
        let spawned = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut server = spawned.unwrap_or_else(|error| panic!("Xvfb: {error}"));
        let mut number = String::new();
        if let Some(stdout) = server.stdout.take() {
            let _ = BufReader::new(stdout).read_line(&mut number);
        }
        let display = format!(":{}", number.trim());
        let connection =
            x11rb::connect(Some(&display)).unwrap_or_else(|error| panic!("{display}: {error}")).0;
        Self { server, compositor: None, connection, display }
    }

    /// Starts a compositor, and waits until it works.
    ///
    /// # Panics
    /// When it does not.
    pub fn start_compositor(&mut self) {
        let mut command = Command::new("picom");
        command.args(["--backend", "xrender", "--config", "/dev/null"]).env("DISPLAY", &self.display);
        let spawned = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.compositor = Some(spawned.unwrap_or_else(|error| panic!("picom: {error}")));
        wait_for("the compositor", || {
            (self.has_compositor() && self.overlay_window().is_some()).then_some(())
        });
    }

    /// The window above all others on which the compositor draws, once it does.
    fn overlay_window(&self) -> Option<u32> {
        let ask = || -> Result<Option<u32>, ReplyError> {
            self.connection.composite_query_version(0, 4)?.reply()?;
            let window =
                self.connection.composite_get_overlay_window(self.screen().root)?.reply()?.overlay_win;
            self.connection.composite_release_overlay_window(self.screen().root)?;
            let state = self.connection.get_window_attributes(window)?.reply()?.map_state;
            Ok((state == MapState::VIEWABLE).then_some(window))
        };
        ask().unwrap_or(None)
    }

    /// Ends the compositor.
    pub fn stop_compositor(&mut self) {
        if let Some(mut compositor) = self.compositor.take() {
            let _ = compositor.kill();
            let _ = compositor.wait();
        }
        wait_for("the compositor's end", || (!self.has_compositor()).then_some(()));
    }

    fn has_compositor(&self) -> bool {
        let ask = || -> Result<bool, ReplyError> {
            let selection = self.connection.intern_atom(false, b"_NET_WM_CM_S0")?.reply()?.atom;
            Ok(self.connection.get_selection_owner(selection)?.reply()?.owner != x11rb::NONE)
        };
        ask().unwrap_or(false)
    }

    /// Ends the server.
    pub fn stop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }

    fn screen(&self) -> &Screen {
        &self.connection.setup().roots[0]
    }

    /// What a person would see.
    ///
    /// # Panics
    /// When the server does not tell.
    #[must_use]
    pub fn screenshot(&self) -> Picture {
        // With a compositor, the screen is what it has drawn on its own window above all others.
        let read = || -> Result<Picture, ReplyError> {
            let drawn = self.compositor.as_ref().and_then(|_| self.overlay_window());
            let window = drawn.unwrap_or(self.screen().root);
            let (width, height) = SCREEN;
            let image =
                self.connection.get_image(ImageFormat::Z_PIXMAP, window, 0, 0, width, height, u32::MAX)?;
            let data = image.reply()?.data;
            let formats = &self.connection.setup().pixmap_formats;
            let format = formats.iter().find(|format| format.depth == 24);
            let bytes = format.map_or(4, |format| usize::from(format.bits_per_pixel / 8));
            let stride = data.len() / usize::from(height);
            let rows = data.chunks(stride);
            let pixels = rows.flat_map(|row| row.chunks(bytes).take(usize::from(width)));
            let pixels = pixels.map(|pixel| [pixel[2], pixel[1], pixel[0]]).collect();
            Ok(Picture::new(width.into(), height.into(), pixels))
        };
        read().unwrap_or_else(|error| panic!("no screenshot: {error}"))
    }

    /// Puts the pointer somewhere and clicks.
    ///
    /// # Panics
    /// When the server does not take it.
    pub fn click(&self, x: i16, y: i16) {
        let root = self.screen().root;
        let fake = |kind: u8, detail: u8| -> Result<(), ReplyError> {
            self.connection.xtest_fake_input(kind, detail, 0, root, x, y, 0)?.check()
        };
        for (kind, detail) in [(MOTION_NOTIFY_EVENT, 0), (BUTTON_PRESS_EVENT, 1), (BUTTON_RELEASE_EVENT, 1)] {
            fake(kind, detail).unwrap_or_else(|error| panic!("no click: {error}"));
        }
    }

    /// The windows on the screen, lowest first, with their titles.
    ///
    /// # Panics
    /// When the server does not tell.
    #[must_use]
    pub fn windows(&self) -> Vec<(u32, String)> {
        let read = || -> Result<Vec<(u32, String)>, ReplyError> {
            let name = self.connection.intern_atom(false, b"_NET_WM_NAME")?.reply()?.atom;
            let mut named = Vec::new();
            for window in self.connection.query_tree(self.screen().root)?.reply()?.children {
                match self.connection.get_property(false, window, name, 0_u32, 0, 256)?.reply() {
                    Ok(title) => named.push((window, String::from_utf8_lossy(&title.value).into_owned())),
                    // It was closed meanwhile.
                    Err(ReplyError::X11Error(error)) if error.error_kind == ErrorKind::Window => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(named)
        };
        read().unwrap_or_else(|error| panic!("no windows: {error}"))
    }

    /// The windows of applications that are shown.
    ///
    /// # Panics
    /// When the server does not tell.
    #[must_use]
    pub fn shown_windows(&self) -> Vec<u32> {
        let is_shown = |window: &(u32, String)| {
            let ask =
                || Ok::<_, ReplyError>(self.connection.get_window_attributes(window.0)?.reply()?.map_state);
            // An error is that it was closed meanwhile.
            ask().is_ok_and(|state| state == MapState::VIEWABLE)
        };
        self.windows().into_iter().filter(is_shown).map(|(window, _)| window).collect()
    }

    /// Counts how often something is drawn in a window, until it is over. What is drawn within half a frame
    /// of a usual display is one frame.
    ///
    /// # Panics
    /// When the server does not tell.
    pub fn count_frames(&self, window: u32, is_over: &AtomicBool) -> usize {
        const SAME_FRAME: Duration = Duration::from_millis(8);
        let count = || -> Result<usize, x11rb::errors::ReplyOrIdError> {
            self.connection.damage_query_version(1, 1)?.reply()?;
            let damage = self.connection.generate_id()?;
            self.connection.damage_create(damage, window, ReportLevel::NON_EMPTY)?;
            self.connection.flush()?;
            let (mut frames, mut last) = (0, None::<Instant>);
            while !is_over.load(Ordering::Relaxed) {
                if let Some(Event::DamageNotify(_)) = self.connection.poll_for_event()? {
                    if last.is_none_or(|last| last.elapsed() > SAME_FRAME) {
                        frames += 1;
                        last = Some(Instant::now());
                    }
                    self.connection.damage_subtract(damage, x11rb::NONE, x11rb::NONE)?;
                    self.connection.flush()?;
                } else {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            self.connection.damage_destroy(damage)?;
            Ok(frames)
        };
        count().unwrap_or_else(|error| panic!("no frames: {error}"))
    }

    /// Who has the keyboard.
    ///
    /// # Panics
    /// When the server does not tell.
    #[must_use]
    pub fn focus(&self) -> u32 {
        let read = || -> Result<u32, ReplyError> { Ok(self.connection.get_input_focus()?.reply()?.focus) };
        read().unwrap_or_else(|error| panic!("no focus: {error}"))
    }

    /// Place and size of a window.
    ///
    /// # Panics
    /// When the server does not tell.
    #[must_use]
    pub fn geometry(&self, window: u32) -> (i16, i16, u16, u16) {
        let read = || -> Result<_, ReplyError> {
            let geometry = self.connection.get_geometry(window)?.reply()?;
            Ok((geometry.x, geometry.y, geometry.width, geometry.height))
        };
        read().unwrap_or_else(|error| panic!("no geometry: {error}"))
    }

    /// Resizes a window, as its person would.
    ///
    /// # Panics
    /// When the server does not take it.
    pub fn resize(&self, window: u32, width: u32, height: u32) {
        let aux = x11rb::protocol::xproto::ConfigureWindowAux::new().width(width).height(height);
        let done = self.connection.configure_window(window, &aux).map_err(Into::into);
        let done = done.and_then(x11rb::cookie::VoidCookie::check);
        done.unwrap_or_else(|error: ReplyError| panic!("no resize: {error}"));
    }

    /// Hangs a wallpaper, as compositors find it: a pixmap that a property of the root window names.
    ///
    /// # Panics
    /// When the server does not take it.
    pub fn set_wallpaper(&self, pixel_at: impl Fn(usize, usize) -> Rgb) {
        let hang = || -> Result<(), x11rb::errors::ReplyOrIdError> {
            let screen = self.screen();
            let (width, height) = SCREEN;
            let (pixmap, gc) = (self.connection.generate_id()?, self.connection.generate_id()?);
            self.connection.create_pixmap(screen.root_depth, pixmap, screen.root, width, height)?;
            self.connection.create_gc(gc, pixmap, &CreateGCAux::new())?;
            // Rows of one colour are one rectangle.
            for y in 0..height {
                let mut x = 0;
                while x < width {
                    let rgb = pixel_at(x.into(), y.into());
                    let same = (x..width).take_while(|x| pixel_at((*x).into(), y.into()) == rgb).count();
                    let run = u16::try_from(same).unwrap_or(1);
                    let pixel = u32::from_be_bytes([0, rgb[0], rgb[1], rgb[2]]);
                    self.connection
                        .change_gc(gc, &x11rb::protocol::xproto::ChangeGCAux::new().foreground(pixel))?;
                    let [x_at, y_at] = [x, y].map(|at| i16::try_from(at).unwrap_or(0));
                    let area = Rectangle { x: x_at, y: y_at, width: run, height: 1 };
                    self.connection.poly_fill_rectangle(pixmap, gc, &[area])?;
                    x += run;
                }
            }
            let property = self.connection.intern_atom(false, b"_XROOTPMAP_ID")?.reply()?.atom;
            let kind = AtomEnum::PIXMAP;
            self.connection.change_property32(PropMode::REPLACE, screen.root, property, kind, &[pixmap])?;
            self.connection.sync()?;
            Ok(())
        };
        hang().unwrap_or_else(|error| panic!("no wallpaper: {error}"));
    }

    /// Opens a window over the whole screen in bands of colours, each as wide.
    ///
    /// # Panics
    /// When the server does not take it.
    #[must_use]
    pub fn open_below(&self, bands: &[Rgb]) -> Below {
        let open = || -> Result<Below, x11rb::errors::ReplyOrIdError> {
            let (connection, _) = x11rb::connect(Some(&self.display))
                .unwrap_or_else(|error| panic!("{}: {error}", self.display));
            let screen = connection.setup().roots[0].clone();
            let (width, height) = SCREEN;
            let pixmap = connection.generate_id()?;
            connection.create_pixmap(screen.root_depth, pixmap, screen.root, width, height)?;
            let gc = connection.generate_id()?;
            connection.create_gc(gc, pixmap, &CreateGCAux::new())?;
            let band = width.div_ceil(u16::try_from(bands.len()).unwrap_or(1));
            for (x, rgb) in (0..width).step_by(band.into()).zip(bands) {
                let pixel = u32::from_be_bytes([0, rgb[0], rgb[1], rgb[2]]);
                connection.change_gc(gc, &x11rb::protocol::xproto::ChangeGCAux::new().foreground(pixel))?;
                let x = i16::try_from(x).unwrap_or(0);
                connection.poly_fill_rectangle(pixmap, gc, &[Rectangle { x, y: 0, width: band, height }])?;
            }
            let window = connection.generate_id()?;
            let aux = CreateWindowAux::new()
                .background_pixmap(pixmap)
                .override_redirect(1)
                .event_mask(EventMask::BUTTON_PRESS);
            connection.create_window(
                x11rb::COPY_DEPTH_FROM_PARENT,
                window,
                screen.root,
                0,
                0,
                width,
                height,
                0,
                WindowClass::INPUT_OUTPUT,
                0,
                &aux,
            )?;
            let name = connection.intern_atom(false, b"_NET_WM_NAME")?.reply()?.atom;
            let utf8 = connection.intern_atom(false, b"UTF8_STRING")?.reply()?.atom;
            connection.change_property8(PropMode::REPLACE, window, name, utf8, b"below")?;
            connection.map_window(window)?;
            connection.sync()?;
            Ok(Below { connection, window })
        };
        open().unwrap_or_else(|error| panic!("no window: {error}"))
    }
}

impl Drop for XServer {
    fn drop(&mut self) {
        if let Some(compositor) = &mut self.compositor {
            let _ = compositor.kill();
            let _ = compositor.wait();
        }
        self.stop();
    }
}

/// A window that counts the clicks it gets.
pub struct Below {
    connection: RustConnection,
    /// Its id.
    pub window: u32,
}

impl Below {
    /// Waits for a click: where it was.
    ///
    /// # Panics
    /// When none comes by the deadline.
    pub fn wait_for_click(&self) -> (i16, i16) {
        wait_for("a click on the window below", || match self.connection.poll_for_event() {
            Ok(Some(Event::ButtonPress(press))) => Some((press.root_x, press.root_y)),
            _ => None,
        })
    }
}
