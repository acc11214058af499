// SPDX-License-Identifier: GPL-3.0-or-later
//! What the compositor says.

use wayland_client::globals::GlobalListContents;
use wayland_client::protocol::wl_buffer::{self, WlBuffer};
use wayland_client::protocol::wl_callback::{self, WlCallback};
use wayland_client::protocol::wl_compositor::WlCompositor;
use wayland_client::protocol::wl_output::{self, WlOutput};
use wayland_client::protocol::wl_region::WlRegion;
use wayland_client::protocol::wl_registry::{self, WlRegistry};
use wayland_client::protocol::wl_shm::WlShm;
use wayland_client::protocol::wl_shm_pool::WlShmPool;
use wayland_client::protocol::wl_surface::{self, WlSurface};
use wayland_client::{Connection, Dispatch, Proxy, QueueHandle, WEnum, delegate_noop};
use wayland_protocols::wp::fractional_scale::v1::client::wp_fractional_scale_manager_v1::WpFractionalScaleManagerV1;
use wayland_protocols::wp::fractional_scale::v1::client::wp_fractional_scale_v1::{
    self, WpFractionalScaleV1,
};
use wayland_protocols::wp::viewporter::client::wp_viewport::WpViewport;
use wayland_protocols::wp::viewporter::client::wp_viewporter::WpViewporter;
use wayland_protocols::xdg::shell::client::xdg_surface::{self, XdgSurface};
use wayland_protocols::xdg::shell::client::xdg_toplevel::{self, XdgToplevel};
use wayland_protocols::xdg::shell::client::xdg_wm_base::{self, XdgWmBase};
use wayland_protocols_wlr::layer_shell::v1::client::zwlr_layer_shell_v1::ZwlrLayerShellV1;
use wayland_protocols_wlr::layer_shell::v1::client::zwlr_layer_surface_v1::{self, ZwlrLayerSurfaceV1};

use super::{Client, Output, Role};
use crate::presenter::USUAL_RATE;

/// Fractional scales are told in parts of this.
const SCALE_UNIT: f32 = 120.0;
/// A monitor tells its name from this version on.
const OUTPUT_VERSION: u32 = 4;

delegate_noop!(Client: ignore WlCompositor);
delegate_noop!(Client: ignore WlShm);
delegate_noop!(Client: ignore WlShmPool);
delegate_noop!(Client: ignore WlRegion);
delegate_noop!(Client: ignore WpFractionalScaleManagerV1);
delegate_noop!(Client: ignore WpViewporter);
delegate_noop!(Client: ignore WpViewport);
delegate_noop!(Client: ignore ZwlrLayerShellV1);

impl Client {
    pub(super) fn add_output(&mut self, registry: &WlRegistry, id: u32, version: u32) {
        let output = registry.bind(id, version.min(OUTPUT_VERSION), &self.handle, ());
        // Before version 2 nothing says that all is said.
        let is_done = version < 2;
        self.outputs.push(Output {
            id,
            proxy: output,
            name: None,
            scale: 1,
            is_turned: false,
            mode: None,
            rate: USUAL_RATE,
            is_done,
        });
    }

    /// Makes the surface that could not be made, or was taken away, once its monitor is there.
    fn outputs_changed(&mut self) {
        let are_known = self.outputs.iter().all(|output| output.is_done);
        if self.awaits_outputs && are_known && self.wanted_output().is_ok() {
            self.make_surface();
        }
    }
}

impl Dispatch<WlRegistry, GlobalListContents> for Client {
    fn event(
        client: &mut Self,
        registry: &WlRegistry,
        event: wl_registry::Event,
        _: &GlobalListContents,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        match event {
            wl_registry::Event::Global { name, interface, version } if interface == "wl_output" => {
                client.add_output(registry, name, version);
            }
            wl_registry::Event::GlobalRemove { name } => {
                let gone = client.outputs.iter().position(|output| output.id == name);
                if let Some(output) = gone.map(|index| client.outputs.remove(index)) {
                    if output.proxy.version() >= 3 {
                        output.proxy.release();
                    }
                    client.outputs_changed();
                }
            }
            _ => {}
        }
    }
}

impl Dispatch<WlOutput, ()> for Client {
    fn event(
        client: &mut Self,
        proxy: &WlOutput,
        event: wl_output::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        let Some(output) = client.outputs.iter_mut().find(|output| output.proxy == *proxy) else { return };
        match event {
            wl_output::Event::Name { name } => output.name = Some(name),
            wl_output::Event::Scale { factor } => output.scale = factor.max(1),
            wl_output::Event::Mode { flags: WEnum::Value(flags), width, height, refresh }
                if flags.contains(wl_output::Mode::Current) =>
            {
                output.mode = Some((width, height));
                output.rate = f64::from(refresh) / 1000.0;
            }
            wl_output::Event::Geometry { transform: WEnum::Value(transform), .. } => {
                // By quarters; the others are those and mirrored.
                output.is_turned = u32::from(transform) % 2 == 1;
            }
            wl_output::Event::Done => {
                output.is_done = true;
                client.outputs_changed();
            }
            _ => {}
        }
    }
}

impl Dispatch<WlSurface, ()> for Client {
    #[allow(clippy::cast_precision_loss)]
    fn event(
        client: &mut Self,
        proxy: &WlSurface,
        event: wl_surface::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        let Some(surface) = client.surface.as_mut().filter(|surface| surface.proxy == *proxy) else { return };
        let is_fractional = surface.fractional_scale.is_some();
        match event {
            wl_surface::Event::Enter { output } => {
                surface.output = Some(output.clone());
                if !is_fractional {
                    client.scaled(client.scale_of(Some(&output)));
                }
            }
            wl_surface::Event::PreferredBufferScale { factor } if !is_fractional => {
                client.scaled(factor.max(1) as f32);
            }
            _ => {}
        }
    }
}

impl Dispatch<WpFractionalScaleV1, ()> for Client {
    #[allow(clippy::cast_precision_loss)]
    fn event(
        client: &mut Self,
        _: &WpFractionalScaleV1,
        event: wp_fractional_scale_v1::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let wp_fractional_scale_v1::Event::PreferredScale { scale } = event {
            client.scaled((scale.max(1) as f32 / SCALE_UNIT).min(16.0));
        }
    }
}

impl Dispatch<ZwlrLayerSurfaceV1, ()> for Client {
    fn event(
        client: &mut Self,
        proxy: &ZwlrLayerSurfaceV1,
        event: zwlr_layer_surface_v1::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        let is_ours = |role: &Role| matches!(role, Role::Layer(layer) if layer == proxy);
        if !client.surface.as_ref().is_some_and(|surface| is_ours(&surface.role)) {
            return;
        }
        match event {
            zwlr_layer_surface_v1::Event::Configure { serial, width, height } => {
                proxy.ack_configure(serial);
                let side = |length: u32| i32::try_from(length).unwrap_or(0);
                client.configured(side(width), side(height));
            }
            zwlr_layer_surface_v1::Event::Closed => client.close(),
            _ => {}
        }
    }
}

impl Dispatch<XdgWmBase, ()> for Client {
    fn event(
        _: &mut Self,
        proxy: &XdgWmBase,
        event: xdg_wm_base::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let xdg_wm_base::Event::Ping { serial } = event {
            proxy.pong(serial);
        }
    }
}

impl Dispatch<XdgToplevel, ()> for Client {
    fn event(
        client: &mut Self,
        _: &XdgToplevel,
        event: xdg_toplevel::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        match event {
            xdg_toplevel::Event::Configure { width, height, .. } => client.configured(width, height),
            xdg_toplevel::Event::Close => client.is_closed = true,
            _ => {}
        }
    }
}

impl Dispatch<XdgSurface, ()> for Client {
    fn event(
        _: &mut Self,
        proxy: &XdgSurface,
        event: xdg_surface::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let xdg_surface::Event::Configure { serial } = event {
            proxy.ack_configure(serial);
        }
    }
}

impl Dispatch<WlBuffer, usize> for Client {
    fn event(
        client: &mut Self,
        proxy: &WlBuffer,
        event: wl_buffer::Event,
        _: &usize,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let wl_buffer::Event::Release = event
            && let Some(buffers) = client.surface.as_mut().and_then(|surface| surface.buffers.as_mut())
        {
            buffers.release(proxy);
        }
    }
}

impl Dispatch<WlCallback, ()> for Client {
    fn event(
        client: &mut Self,
        _: &WlCallback,
        event: wl_callback::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let wl_callback::Event::Done { .. } = event
            && let Some(surface) = &mut client.surface
        {
            surface.is_frame_done = true;
        }
    }
}
