// SPDX-License-Identifier: GPL-3.0-or-later
//! Which display there is.

use std::env;

use anyhow::bail;
use leco_core::config::WindowSettings;

use crate::presenter::Presenter;
use crate::wayland::Wayland;
use crate::x11::{Host, X11};

/// Opens the display of the session: Wayland before X11, unless `SDL_VIDEO_DRIVER` names one of them.
///
/// A Wayland desktop without layer-shell (GNOME) is asked for a window through its X server, which can stay in
/// its place and let clicks through.
pub fn open(settings: &WindowSettings) -> anyhow::Result<Box<dyn Presenter>> {
    let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    let has_wayland = is_set("WAYLAND_DISPLAY") || is_set("WAYLAND_SOCKET");
    let has_x = is_set("DISPLAY");
    match env::var("SDL_VIDEO_DRIVER").as_deref() {
        Ok("x11") => return x11(settings, Host::X11),
        Ok("wayland") => return wayland(Wayland::connect(settings)?),
        _ => {}
    }
    match (has_wayland, has_x) {
        (true, false) => wayland(Wayland::connect(settings)?),
        (true, true) => match Wayland::connect(settings) {
            Ok(display) if display.has_layers() => wayland(display),
            Ok(_) => x11(settings, Host::Wayland),
            Err(_) => x11(settings, Host::X11),
        },
        (false, true) => x11(settings, Host::X11),
        (false, false) => bail!(
            "there is no display: neither WAYLAND_DISPLAY nor DISPLAY is set. Start it in a graphical session, \
             or use leco-tui"
        ),
    }
}

fn wayland(mut display: Wayland) -> anyhow::Result<Box<dyn Presenter>> {
    display.show()?;
    Ok(Box::new(display))
}

fn x11(settings: &WindowSettings, host: Host) -> anyhow::Result<Box<dyn Presenter>> {
    Ok(Box::new(X11::connect(settings, host)?))
}
