// SPDX-License-Identifier: GPL-3.0-or-later
//! A surface on a Wayland desktop: by layer-shell among the layers of the desktop, else as an ordinary window.
//!
//! It has a connection of its own. SDL has no window surface for software on Wayland, its wait does not return
//! for events of other queues, and its objects for fractional scale would stand in the way of ours.

mod buffers;
mod dispatch;

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use anyhow::Context;
use leco_core::config::{Layer, WindowFlag, WindowHint, WindowSettings};
use wayland_client::backend::WaylandError;
use wayland_client::globals::{GlobalList, registry_queue_init};
use wayland_client::protocol::wl_compositor::WlCompositor;
use wayland_client::protocol::wl_output::WlOutput;
use wayland_client::protocol::wl_shm::WlShm;
use wayland_client::protocol::wl_surface::WlSurface;
use wayland_client::{Connection, EventQueue, Proxy, QueueHandle};
use wayland_protocols::wp::fractional_scale::v1::client::wp_fractional_scale_manager_v1::WpFractionalScaleManagerV1;
use wayland_protocols::wp::fractional_scale::v1::client::wp_fractional_scale_v1::WpFractionalScaleV1;
use wayland_protocols::wp::viewporter::client::wp_viewport::WpViewport;
use wayland_protocols::wp::viewporter::client::wp_viewporter::WpViewporter;
use wayland_protocols::xdg::shell::client::xdg_surface::XdgSurface;
use wayland_protocols::xdg::shell::client::xdg_toplevel::XdgToplevel;
use wayland_protocols::xdg::shell::client::xdg_wm_base::XdgWmBase;
use wayland_protocols_wlr::layer_shell::v1::client::zwlr_layer_shell_v1::{self, ZwlrLayerShellV1};
use wayland_protocols_wlr::layer_shell::v1::client::zwlr_layer_surface_v1::{
    Anchor, KeyboardInteractivity, ZwlrLayerSurfaceV1,
};

use self::buffers::Buffers;
use crate::presenter::{Geometry, Paint, Presenter, USUAL_RATE, interval, no_monitor};

/// By this name compositors know the surface.
const NAMESPACE: &str = "leco";
/// A surface is at most so large where no monitor tells its size. Pixels.
const MAX_SIDE: i32 = 16_384;

/// The overlay on a Wayland desktop.
pub struct Wayland {
    queue: EventQueue<Client>,
    connection: Connection,
    client: Client,
}

/// What is known of the compositor and was asked of it.
struct Client {
    compositor: WlCompositor,
    shm: WlShm,
    layer_shell: Option<ZwlrLayerShellV1>,
    wm_base: Option<XdgWmBase>,
    viewporter: Option<WpViewporter>,
    fractional_scales: Option<WpFractionalScaleManagerV1>,
    handle: QueueHandle<Self>,
    outputs: Vec<Output>,
    settings: WindowSettings,
    surface: Option<Surface>,
    /// The compositor took the surface away; another one is made when its monitors change.
    awaits_outputs: bool,
    is_closed: bool,
    generation: u64,
    notices: Vec<String>,
    error: Option<anyhow::Error>,
}

/// A monitor.
struct Output {
    /// Of the global.
    id: u32,
    proxy: WlOutput,
    name: Option<String>,
    scale: i32,
    /// Pixels.
    size: Option<(i32, i32)>,
    /// Frames per second.
    rate: f64,
    is_done: bool,
}

struct Surface {
    proxy: WlSurface,
    role: Role,
    viewport: Option<WpViewport>,
    fractional_scale: Option<WpFractionalScaleV1>,
    /// In units of the compositor, as it last said; none before it did.
    size: Option<(i32, i32)>,
    /// Pixels for one of these units.
    factor: f32,
    /// The monitor that it is on.
    output: Option<WlOutput>,
    buffers: Option<Buffers>,
    /// Whether the compositor has shown the last frame.
    is_frame_done: bool,
}

enum Role {
    Layer(ZwlrLayerSurfaceV1),
    Window(XdgSurface, XdgToplevel),
}

impl Wayland {
    /// Connects to the compositor that the environment names.
    pub fn connect(settings: &WindowSettings) -> anyhow::Result<Self> {
        let connection = Connection::connect_to_env().context("cannot reach the Wayland compositor")?;
        let (globals, queue) =
            registry_queue_init::<Client>(&connection).context("the Wayland compositor does not answer")?;
        let client = Client::new(&globals, queue.handle(), settings.clone())?;
        let mut wayland = Self { queue, connection, client };
        // Once for the monitors, once for what they say of themselves.
        for _ in 0..2 {
            wayland.queue.roundtrip(&mut wayland.client).context("the Wayland compositor does not answer")?;
        }
        Ok(wayland)
    }

    /// Whether the compositor has layers for windows that are part of the desktop.
    #[must_use]
    pub fn has_layers(&self) -> bool {
        self.client.layer_shell.is_some()
    }

    /// Puts the surface on the desktop.
    pub fn show(&mut self) -> anyhow::Result<()> {
        if !self.has_layers() {
            self.client.notices.push(
                "this compositor has no layer-shell and there is no X display: the overlay is an ordinary \
                 window, which the compositor places"
                    .into(),
            );
        }
        self.client.make_surface();
        self.dispatch()
    }
}

impl Client {
    fn new(
        globals: &GlobalList,
        handle: QueueHandle<Self>,
        settings: WindowSettings,
    ) -> anyhow::Result<Self> {
        let mut client = Self {
            compositor: globals.bind(&handle, 1..=6, ()).context("the compositor has no wl_compositor")?,
            shm: globals.bind(&handle, 1..=1, ()).context("the compositor has no wl_shm")?,
            layer_shell: globals.bind(&handle, 1..=4, ()).ok(),
            wm_base: globals.bind(&handle, 1..=2, ()).ok(),
            viewporter: globals.bind(&handle, 1..=1, ()).ok(),
            fractional_scales: globals.bind(&handle, 1..=1, ()).ok(),
            handle,
            outputs: Vec::new(),
            settings,
            surface: None,
            awaits_outputs: false,
            is_closed: false,
            generation: 0,
            notices: Vec::new(),
            error: None,
        };
        globals.contents().with_list(|list| {
            for global in list.iter().filter(|global| global.interface == "wl_output") {
                client.add_output(globals.registry(), global.name, global.version);
            }
        });
        Ok(client)
    }

    /// The monitor of the config; `Err` where it is not there, `Ok(None)` where the compositor may choose.
    fn wanted_output(&self) -> Result<Option<&Output>, ()> {
        match self.settings.monitor.as_deref() {
            None | Some("primary") => Ok(None),
            Some(name) => {
                self.outputs.iter().find(|output| output.name.as_deref() == Some(name)).map(Some).ok_or(())
            }
        }
    }

    fn make_surface(&mut self) {
        // Until it is there.
        self.awaits_outputs = true;
        let Ok(wanted) = self.wanted_output() else {
            let known: Vec<String> = self.outputs.iter().filter_map(|output| output.name.clone()).collect();
            self.notices.push(no_monitor(&self.settings, &known));
            return;
        };
        if self.outputs.is_empty() {
            return;
        }
        let wanted = wanted.map(|output| output.proxy.clone());
        let surface = self.compositor.create_surface(&self.handle, ());
        let role = match (&self.layer_shell, &self.wm_base) {
            (Some(shell), _) => {
                let layer = match self.settings.layer {
                    Layer::Overlay => zwlr_layer_shell_v1::Layer::Overlay,
                    _ if self.settings.has(WindowFlag::AlwaysOnTop) => zwlr_layer_shell_v1::Layer::Top,
                    Layer::Top => zwlr_layer_shell_v1::Layer::Top,
                    // Of the surfaces in the layer of the background, where wallpapers are, sway before 1.9
                    // puts the newest below the others: we would be hidden.
                    Layer::Bottom | Layer::Background => zwlr_layer_shell_v1::Layer::Bottom,
                };
                let namespace = NAMESPACE.to_owned();
                Role::Layer(shell.get_layer_surface(
                    &surface,
                    wanted.as_ref(),
                    layer,
                    namespace,
                    &self.handle,
                    (),
                ))
            }
            (None, Some(wm_base)) => {
                let xdg = wm_base.get_xdg_surface(&surface, &self.handle, ());
                let toplevel = xdg.get_toplevel(&self.handle, ());
                toplevel.set_app_id(NAMESPACE.to_owned());
                toplevel.set_title(self.settings.title.clone());
                Role::Window(xdg, toplevel)
            }
            (None, None) => {
                self.error =
                    Some(anyhow::anyhow!("this Wayland compositor has neither layer-shell nor xdg-shell"));
                return;
            }
        };
        let fractional_scale = self
            .fractional_scales
            .as_ref()
            .filter(|_| self.viewporter.is_some())
            .map(|manager| manager.get_fractional_scale(&surface, &self.handle, ()));
        let viewport =
            self.viewporter.as_ref().map(|viewporter| viewporter.get_viewport(&surface, &self.handle, ()));
        if self.settings.click_through {
            let nothing = self.compositor.create_region(&self.handle, ());
            surface.set_input_region(Some(&nothing));
            nothing.destroy();
        }
        let factor = if fractional_scale.is_some() { 1.0 } else { self.scale_of(wanted.as_ref()) };
        self.surface = Some(Surface {
            proxy: surface,
            role,
            viewport,
            fractional_scale,
            size: None,
            factor,
            output: wanted,
            buffers: None,
            is_frame_done: true,
        });
        self.awaits_outputs = false;
        self.place();
        if let Some(surface) = &self.surface {
            surface.proxy.commit();
        }
    }

    #[allow(clippy::cast_precision_loss)]
    fn scale_of(&self, output: Option<&WlOutput>) -> f32 {
        self.outputs
            .iter()
            .find(|known| Some(&known.proxy) == output)
            .map_or(1.0, |output| output.scale as f32)
    }

    fn output_of_surface(&self) -> Option<&Output> {
        let output = self.surface.as_ref()?.output.as_ref();
        self.outputs.iter().find(|known| Some(&known.proxy) == output).or(self.outputs.first())
    }

    /// Whether the config's pixels are the display's own.
    fn is_in_display_pixels(&self) -> bool {
        self.settings.is_on(WindowHint::WaylandScaleToDisplay)
    }

    /// Size and place of the config, in units of the compositor.
    #[allow(clippy::cast_possible_truncation)]
    fn wanted_place(&self) -> (i32, i32, i32, i32) {
        let settings = &self.settings;
        let factor = self.surface.as_ref().map_or(1.0, |surface| surface.factor);
        let divisor = if self.is_in_display_pixels() { factor } else { 1.0 };
        let unit = |length: f32| (length / divisor).round() as i32;
        let (left, top) = (unit(settings.init_offset_left as f32), unit(settings.init_offset_top as f32));
        let (most_wide, most_high) = self
            .output_of_surface()
            .and_then(|output| output.size)
            .map_or((MAX_SIDE, MAX_SIDE), |(width, height)| {
                ((width as f32 / factor).ceil() as i32, (height as f32 / factor).ceil() as i32)
            });
        let width = unit(settings.init_width as f32).clamp(1, most_wide.max(1));
        let height = unit(settings.init_height as f32).clamp(1, most_high.max(1));
        (left, top, width, height)
    }

    /// Asks for size and place; the next commit carries it.
    fn place(&mut self) {
        let (left, top, width, height) = self.wanted_place();
        let fills = self.settings.has(WindowFlag::Fullscreen) || self.settings.has(WindowFlag::Maximized);
        match self.surface.as_ref().map(|surface| &surface.role) {
            Some(Role::Layer(layer)) => {
                if fills {
                    layer.set_anchor(Anchor::all());
                    layer.set_size(0, 0);
                } else {
                    layer.set_anchor(Anchor::Top | Anchor::Left);
                    layer.set_size(width.unsigned_abs(), height.unsigned_abs());
                    layer.set_margin(top, 0, 0, left);
                }
                // Offsets count from the monitor's edge, not from that of a panel.
                layer.set_exclusive_zone(-1);
                layer.set_keyboard_interactivity(KeyboardInteractivity::None);
            }
            Some(Role::Window(_, toplevel)) => {
                if self.settings.has(WindowFlag::Fullscreen) {
                    toplevel.set_fullscreen(None);
                } else if self.settings.has(WindowFlag::Maximized) {
                    toplevel.set_maximized();
                }
                if self.settings.has(WindowFlag::Minimized) {
                    toplevel.set_minimized();
                }
            }
            None => {}
        }
    }

    /// The compositor said how large the surface is; 0 leaves it to us.
    fn configured(&mut self, width: i32, height: i32) {
        let (_, _, own_width, own_height) = self.wanted_place();
        if let Some(surface) = &mut self.surface {
            let or = |said: i32, own: i32| if said > 0 { said.min(MAX_SIDE) } else { own };
            surface.size = Some((or(width, own_width), or(height, own_height)));
        }
        self.fit_buffers();
    }

    fn scaled(&mut self, factor: f32) {
        let Some(surface) = &mut self.surface else { return };
        if (surface.factor - factor).abs() < f32::EPSILON {
            return;
        }
        surface.factor = factor;
        if self.is_in_display_pixels() {
            self.place();
        }
        self.fit_buffers();
    }

    /// Makes buffers of the surface's size in pixels.
    fn fit_buffers(&mut self) {
        let Some(surface) = &mut self.surface else { return };
        let Some(size) = surface.size else { return };
        let (width, height) = in_pixels(size, surface.factor);
        if surface.buffers.as_ref().map(Buffers::size) == Some((width, height)) {
            return;
        }
        self.generation += 1;
        match Buffers::new(&self.shm, &self.handle, width, height) {
            Ok(buffers) => surface.buffers = Some(buffers),
            Err(error) => self.error = Some(anyhow::Error::from(error).context("cannot share memory")),
        }
    }

    fn close(&mut self) {
        self.surface = None;
        self.awaits_outputs = true;
    }
}

/// A size in pixels, of one in units of the compositor.
#[allow(clippy::cast_possible_truncation)]
fn in_pixels((width, height): (i32, i32), factor: f32) -> (i32, i32) {
    let pixels = |length: i32| ((length as f32 * factor).round() as i32).max(1);
    (pixels(width), pixels(height))
}

impl Drop for Surface {
    fn drop(&mut self) {
        if let Some(scale) = &self.fractional_scale {
            scale.destroy();
        }
        if let Some(viewport) = &self.viewport {
            viewport.destroy();
        }
        match &self.role {
            Role::Layer(layer) => layer.destroy(),
            Role::Window(xdg, toplevel) => {
                toplevel.destroy();
                xdg.destroy();
            }
        }
        self.proxy.destroy();
    }
}

impl Presenter for Wayland {
    fn fds(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.connection.as_fd()]
    }

    fn dispatch(&mut self) -> anyhow::Result<()> {
        const GONE: &str = "the Wayland compositor closed the connection";
        if let Some(guard) = self.connection.prepare_read() {
            match guard.read() {
                Ok(_) => {}
                Err(WaylandError::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context(GONE),
            }
        }
        self.queue.dispatch_pending(&mut self.client).context(GONE)?;
        if let Some(error) = self.client.error.take() {
            return Err(error);
        }
        match self.connection.flush() {
            Err(WaylandError::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
            flushed => flushed.context(GONE),
        }
    }

    fn geometry(&self) -> Option<Geometry> {
        let surface = self.client.surface.as_ref()?;
        let (width, height) = surface.buffers.as_ref()?.size();
        let factor = if self.client.is_in_display_pixels() { 1.0 } else { surface.factor };
        Some(Geometry { width, height, factor, generation: self.client.generation })
    }

    fn is_ready(&self) -> bool {
        self.client.surface.as_ref().is_some_and(|surface| {
            surface.is_frame_done && surface.buffers.as_ref().is_some_and(Buffers::has_free)
        })
    }

    fn present(&mut self, paint: &mut Paint<'_>) -> anyhow::Result<()> {
        let Some(surface) = &mut self.client.surface else { return Ok(()) };
        let (Some(buffers), Some((width, height))) = (&mut surface.buffers, surface.size) else {
            return Ok(());
        };
        let Some((buffer, damage)) = buffers.paint(paint) else { return Ok(()) };
        match &surface.viewport {
            Some(viewport) if surface.fractional_scale.is_some() => viewport.set_destination(width, height),
            #[allow(clippy::cast_possible_truncation)]
            _ if surface.proxy.version() >= 3 => surface.proxy.set_buffer_scale(surface.factor as i32),
            _ => {}
        }
        surface.proxy.attach(Some(buffer), 0, 0);
        for area in damage {
            if surface.proxy.version() >= 4 {
                surface.proxy.damage_buffer(area.x, area.y, area.width, area.height);
            } else {
                surface.proxy.damage(0, 0, width, height);
            }
        }
        surface.proxy.frame(&self.client.handle, ());
        surface.is_frame_done = false;
        surface.proxy.commit();
        self.dispatch()
    }

    fn frame_interval(&self) -> Duration {
        interval(self.client.output_of_surface().map_or(USUAL_RATE, |output| output.rate))
    }

    fn is_opaque(&self) -> bool {
        false
    }

    fn configure(&mut self, settings: &WindowSettings) -> anyhow::Result<()> {
        if self.client.settings != *settings {
            self.client.settings = settings.clone();
            // A surface cannot change its monitor, and a new one costs no more than a changed one.
            self.client.surface = None;
            self.client.make_surface();
        }
        self.dispatch()
    }

    fn is_closed(&self) -> bool {
        self.client.is_closed
    }

    fn take_notice(&mut self) -> Option<String> {
        (!self.client.notices.is_empty()).then(|| self.client.notices.remove(0))
    }
}
