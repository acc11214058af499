// SPDX-License-Identifier: GPL-3.0-or-later
//! The surface: made, placed, scaled, given memory to draw in, and closed.

use anyhow::Context;
use leco_core::config::{Layer, WindowFlag, WindowHint, WindowSettings};
use wayland_client::QueueHandle;
use wayland_client::globals::GlobalList;
use wayland_client::protocol::wl_output::WlOutput;
use wayland_client::protocol::wl_surface::WlSurface;
use wayland_protocols_wlr::layer_shell::v1::client::zwlr_layer_shell_v1;
use wayland_protocols_wlr::layer_shell::v1::client::zwlr_layer_surface_v1::{Anchor, KeyboardInteractivity};

use super::buffers::Buffers;
use super::{Client, Globals, MAX_SIDE, NAMESPACE, Output, Role, Surface};
use crate::placement::{Edge, Placement, placement};
use crate::presenter::no_monitor;

impl Globals {
    fn bind(globals: &GlobalList, handle: &QueueHandle<Client>) -> anyhow::Result<Self> {
        Ok(Self {
            compositor: globals.bind(handle, 1..=6, ()).context("the compositor has no wl_compositor")?,
            shm: globals.bind(handle, 1..=1, ()).context("the compositor has no wl_shm")?,
            layer_shell: globals.bind(handle, 1..=4, ()).ok(),
            wm_base: globals.bind(handle, 1..=2, ()).ok(),
            viewporter: globals.bind(handle, 1..=1, ()).ok(),
            fractional_scales: globals.bind(handle, 1..=1, ()).ok(),
        })
    }
}

impl Client {
    pub(super) fn new(
        globals: &GlobalList,
        handle: QueueHandle<Self>,
        settings: WindowSettings,
    ) -> anyhow::Result<Self> {
        let mut client = Self {
            globals: Globals::bind(globals, &handle)?,
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
    pub(super) fn wanted_output(&self) -> Result<Option<&Output>, ()> {
        match self.settings.monitor.as_deref() {
            None | Some("primary") => Ok(None),
            Some(name) => {
                self.outputs.iter().find(|output| output.name.as_deref() == Some(name)).map(Some).ok_or(())
            }
        }
    }

    /// Makes the surface, unless its monitor is not there yet.
    pub(super) fn make_surface(&mut self) {
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
        match self.new_surface(wanted) {
            Ok(surface) => self.surface = Some(surface),
            Err(error) => {
                self.error = Some(error);
                return;
            }
        }
        self.awaits_outputs = false;
        self.place();
        if let Some(surface) = &self.surface {
            surface.proxy.commit();
        }
    }

    /// A surface for this monitor, or for the one that the compositor chooses.
    fn new_surface(&self, output: Option<WlOutput>) -> anyhow::Result<Surface> {
        let Globals { compositor, viewporter, fractional_scales, .. } = &self.globals;
        let proxy = compositor.create_surface(&self.handle, ());
        let role = self.new_role(&proxy, output.as_ref())?;
        let fractional_scale = fractional_scales
            .as_ref()
            .filter(|_| viewporter.is_some())
            .map(|manager| manager.get_fractional_scale(&proxy, &self.handle, ()));
        let viewport =
            viewporter.as_ref().map(|viewporter| viewporter.get_viewport(&proxy, &self.handle, ()));
        if self.settings.click_through {
            let nothing = compositor.create_region(&self.handle, ());
            proxy.set_input_region(Some(&nothing));
            nothing.destroy();
        }
        let factor = if fractional_scale.is_some() { 1.0 } else { self.scale_of(output.as_ref()) };
        Ok(Surface {
            proxy,
            role,
            viewport,
            fractional_scale,
            size: None,
            factor,
            output,
            buffers: None,
            is_frame_done: true,
        })
    }

    /// Makes a surface part of a layer, or else a window.
    fn new_role(&self, surface: &WlSurface, output: Option<&WlOutput>) -> anyhow::Result<Role> {
        let handle = &self.handle;
        if let Some(shell) = &self.globals.layer_shell {
            let (layer, namespace) = (self.wanted_layer(), NAMESPACE.to_owned());
            return Ok(Role::Layer(shell.get_layer_surface(surface, output, layer, namespace, handle, ())));
        }
        let wm_base = self.globals.wm_base.as_ref();
        let wm_base = wm_base.context("this Wayland compositor has neither layer-shell nor xdg-shell")?;
        let xdg = wm_base.get_xdg_surface(surface, handle, ());
        let toplevel = xdg.get_toplevel(handle, ());
        toplevel.set_app_id(NAMESPACE.to_owned());
        toplevel.set_title(self.settings.title.clone());
        Ok(Role::Window(xdg, toplevel))
    }

    fn wanted_layer(&self) -> zwlr_layer_shell_v1::Layer {
        match self.settings.layer {
            Layer::Overlay => zwlr_layer_shell_v1::Layer::Overlay,
            _ if self.settings.has(WindowFlag::AlwaysOnTop) => zwlr_layer_shell_v1::Layer::Top,
            Layer::Top => zwlr_layer_shell_v1::Layer::Top,
            // Of the surfaces in the layer of the background, where wallpapers are, sway before 1.9
            // puts the newest below the others: we would be hidden.
            Layer::Bottom | Layer::Background => zwlr_layer_shell_v1::Layer::Bottom,
        }
    }

    #[allow(clippy::cast_precision_loss)]
    pub(super) fn scale_of(&self, output: Option<&WlOutput>) -> f32 {
        self.outputs
            .iter()
            .find(|known| Some(&known.proxy) == output)
            .map_or(1.0, |output| output.scale as f32)
    }

    pub(super) fn output_of_surface(&self) -> Option<&Output> {
        let output = self.surface.as_ref()?.output.as_ref();
        self.outputs.iter().find(|known| Some(&known.proxy) == output).or(self.outputs.first())
    }

    /// Whether the config's pixels are the display's own.
    pub(super) fn is_in_display_pixels(&self) -> bool {
        self.settings.is_on(WindowHint::WaylandScaleToDisplay)
    }

    /// Size and place of the config, in units of the compositor.
    #[allow(clippy::cast_possible_truncation)]
    pub(super) fn wanted_place(&self) -> [Placement; 2] {
        let factor = self.surface.as_ref().map_or(1.0, |surface| surface.factor);
        let unit = if self.is_in_display_pixels() { 1.0 / factor } else { 1.0 };
        let screen = self
            .output_of_surface()
            .and_then(Output::size)
            .map_or((MAX_SIDE, MAX_SIDE), |(width, height)| {
                ((width as f32 / factor).ceil() as i32, (height as f32 / factor).ceil() as i32)
            });
        placement(&self.settings, unit, screen)
    }

    /// Asks for size and place; the next commit carries it.
    pub(super) fn place(&mut self) {
        let [horizontal, vertical] = self.wanted_place();
        let fills = self.settings.has(WindowFlag::Fullscreen) || self.settings.has(WindowFlag::Maximized);
        match self.surface.as_ref().map(|surface| &surface.role) {
            Some(Role::Layer(layer)) => {
                if fills {
                    layer.set_anchor(Anchor::all());
                    layer.set_size(0, 0);
                } else {
                    let side = |edge, start, end| match edge {
                        Edge::Start => start,
                        // At neither edge the compositor centres it.
                        Edge::Middle => Anchor::empty(),
                        Edge::End => end,
                    };
                    layer.set_anchor(
                        side(horizontal.edge, Anchor::Left, Anchor::Right)
                            | side(vertical.edge, Anchor::Top, Anchor::Bottom),
                    );
                    layer.set_size(horizontal.length.unsigned_abs(), vertical.length.unsigned_abs());
                    // Of these, only those of the edges at which it is count.
                    let (beside, above) = (horizontal.margin, vertical.margin);
                    layer.set_margin(above, beside, above, beside);
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
    pub(super) fn configured(&mut self, width: i32, height: i32) {
        let [own_width, own_height] = self.wanted_place().map(|placement| placement.length);
        if let Some(surface) = &mut self.surface {
            let or = |said: i32, own: i32| if said > 0 { said.min(MAX_SIDE) } else { own };
            surface.size = Some((or(width, own_width), or(height, own_height)));
        }
        self.fit_buffers();
    }

    pub(super) fn scaled(&mut self, factor: f32) {
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
    pub(super) fn fit_buffers(&mut self) {
        let Some(surface) = &mut self.surface else { return };
        let Some(size) = surface.size else { return };
        let (width, height) = in_pixels(size, surface.factor);
        if surface.buffers.as_ref().map(Buffers::size) == Some((width, height)) {
            return;
        }
        self.generation += 1;
        match Buffers::new(&self.globals.shm, &self.handle, width, height) {
            Ok(buffers) => surface.buffers = Some(buffers),
            Err(error) => self.error = Some(anyhow::Error::from(error).context("cannot share memory")),
        }
    }

    pub(super) fn close(&mut self) {
        self.surface = None;
        self.awaits_outputs = true;
    }
}

/// A size in pixels, of one in units of the compositor.
#[allow(clippy::cast_possible_truncation)]
pub(super) fn in_pixels((width, height): (i32, i32), factor: f32) -> (i32, i32) {
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
