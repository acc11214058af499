// SPDX-License-Identifier: GPL-3.0-or-later
//! A surface on a Wayland desktop: by layer-shell among the layers of the desktop, else as an ordinary window.
//!
//! It has a connection of its own. SDL has no window surface for software on Wayland, its wait does not return
//! for events of other queues, and its objects for fractional scale would stand in the way of ours.

mod buffers;
mod dispatch;
mod surface;

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use anyhow::Context;
use leco_core::config::WindowSettings;
use wayland_client::backend::WaylandError;
use wayland_client::globals::registry_queue_init;
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
use wayland_protocols_wlr::layer_shell::v1::client::zwlr_layer_shell_v1::ZwlrLayerShellV1;
use wayland_protocols_wlr::layer_shell::v1::client::zwlr_layer_surface_v1::ZwlrLayerSurfaceV1;

use self::buffers::Buffers;
use crate::presenter::{Geometry, Paint, Presenter, USUAL_RATE, interval};

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
    globals: Globals,
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

/// What the compositor offers.
struct Globals {
    compositor: WlCompositor,
    shm: WlShm,
    layer_shell: Option<ZwlrLayerShellV1>,
    wm_base: Option<XdgWmBase>,
    viewporter: Option<WpViewporter>,
    fractional_scales: Option<WpFractionalScaleManagerV1>,
}

/// A monitor.
struct Output {
    /// Of the global.
    id: u32,
    proxy: WlOutput,
    name: Option<String>,
    scale: i32,
    /// It stands on its side.
    is_turned: bool,
    /// Pixels of it as it was built.
    mode: Option<(i32, i32)>,
    /// Frames per second.
    rate: f64,
    is_done: bool,
}

impl Output {
    /// Pixels as it stands.
    fn size(&self) -> Option<(i32, i32)> {
        self.mode.map(|(width, height)| if self.is_turned { (height, width) } else { (width, height) })
    }
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
        self.client.globals.layer_shell.is_some()
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
