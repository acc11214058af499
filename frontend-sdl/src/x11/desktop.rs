//! What SDL does not do on an X desktop: layers, input, monitors, and whether there is a compositor.

use anyhow::{Context, bail};
use leco_core::config::{Layer, WindowFlag, WindowSettings};
use x11rb::connection::Connection;
use x11rb::protocol::Event;
use x11rb::protocol::randr::{ConnectionExt as _, NotifyMask};
use x11rb::protocol::shape::SK;
use x11rb::protocol::xfixes::{ConnectionExt as _, SelectionEventMask};
use x11rb::protocol::xproto::{
    Atom, ChangeWindowAttributesAux, ClientMessageEvent, ConfigureWindowAux, ConnectionExt as _, EventMask,
    InputFocus, Screen, StackMode, VisualClass, Visualid,
};
use x11rb::rust_connection::RustConnection;
use x11rb::{CURRENT_TIME, atom_manager};

use crate::painter::pixels::Rect;
use crate::presenter::USUAL_RATE;

atom_manager! {
    #[allow(clippy::struct_field_names)]
    /// Names of the Extended Window Manager Hints (version 1.5).
    Atoms: AtomsCookie {
        _NET_WM_STATE,
        _NET_WM_STATE_ABOVE,
        _NET_WM_STATE_BELOW,
        _NET_WM_STATE_STICKY,
        _NET_WM_STATE_SKIP_TASKBAR,
        _NET_WM_STATE_SKIP_PAGER,
        _NET_WM_DESKTOP,
    }
}

/// Adds a state, in a message to the window manager.
const STATE_ADD: u32 = 1;
/// Who asks: an ordinary application.
const SOURCE_APPLICATION: u32 = 1;
/// Stands for all desktops.
const ALL_DESKTOPS: u32 = u32::MAX;

/// A connection of our own beside SDL's.
pub(super) struct Desktop {
    connection: RustConnection,
    screen: usize,
    atoms: Atoms,
    /// Its owner is the compositor.
    compositor_selection: Atom,
    pub(super) has_compositor: bool,
}

/// What has changed on the desktop.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Changes {
    pub(super) any: bool,
    pub(super) monitors: bool,
    /// A window came above ours.
    pub(super) is_covered: bool,
}

/// A monitor, or the whole screen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Monitor {
    pub(super) area: Rect,
    /// Frames per second.
    pub(super) rate: f64,
}

impl Desktop {
    pub(super) fn connect() -> anyhow::Result<Self> {
        let (connection, screen) = x11rb::connect(None).context("cannot reach the X server")?;
        let atoms = Atoms::new(&connection)?.reply()?;
        let name = format!("_NET_WM_CM_S{screen}");
        let compositor_selection = connection.intern_atom(false, name.as_bytes())?.reply()?.atom;
        connection.xfixes_query_version(5, 0)?.reply().context("the X server has no XFixes")?;
        connection.randr_query_version(1, 5)?.reply().context("the X server has no RandR")?;
        let mut desktop = Self { connection, screen, atoms, compositor_selection, has_compositor: false };
        let root = desktop.root().root;
        desktop.connection.xfixes_select_selection_input(
            root,
            compositor_selection,
            SelectionEventMask::SET_SELECTION_OWNER
                | SelectionEventMask::SELECTION_WINDOW_DESTROY
                | SelectionEventMask::SELECTION_CLIENT_CLOSE,
        )?;
        desktop.connection.randr_select_input(root, NotifyMask::SCREEN_CHANGE | NotifyMask::CRTC_CHANGE)?;
        desktop.has_compositor =
            desktop.connection.get_selection_owner(compositor_selection)?.reply()?.owner != x11rb::NONE;
        Ok(desktop)
    }

    fn root(&self) -> &Screen {
        &self.connection.setup().roots[self.screen]
    }

    pub(super) fn stream(&self) -> &x11rb::rust_connection::DefaultStream {
        self.connection.stream()
    }

    /// A visual with 8 bits of alpha: the one in which a window can be seen through.
    pub(super) fn alpha_visual(&self) -> Option<Visualid> {
        let depth = self.root().allowed_depths.iter().find(|depth| depth.depth == 32)?;
        depth
            .visuals
            .iter()
            .find(|visual| visual.class == VisualClass::TRUE_COLOR)
            .map(|visual| visual.visual_id)
    }

    /// Takes what the server has sent, without waiting.
    pub(super) fn dispatch(&mut self, ours: u32) -> anyhow::Result<Changes> {
        let mut changes = Changes::default();
        while let Some(event) =
            self.connection.poll_for_event().context("the X server closed the connection")?
        {
            changes.any = true;
            match event {
                Event::XfixesSelectionNotify(event) if event.selection == self.compositor_selection => {
                    self.has_compositor = event.owner != x11rb::NONE;
                }
                Event::RandrScreenChangeNotify(_) | Event::RandrNotify(_) => changes.monitors = true,
                Event::MapNotify(event) => changes.is_covered |= event.window != ours,
                Event::ConfigureNotify(event) => {
                    changes.is_covered |= event.window != ours && event.above_sibling == ours;
                }
                _ => {}
            }
        }
        Ok(changes)
    }

    /// The monitor of the config; `None` where it is not there.
    pub(super) fn monitor(&self, name: Option<&str>) -> anyhow::Result<Option<Monitor>> {
        let root = self.root();
        let geometry = self.connection.get_geometry(root.root)?.reply()?;
        let whole = Rect { x: 0, y: 0, width: geometry.width.into(), height: geometry.height.into() };
        let rate = self.rate(root.root).unwrap_or(USUAL_RATE);
        let Some(name) = name else { return Ok(Some(Monitor { area: whole, rate })) };
        for monitor in self.connection.randr_get_monitors(root.root, true)?.reply()?.monitors {
            let known = self.connection.get_atom_name(monitor.name)?.reply()?.name;
            if known == name.as_bytes() || (name == "primary" && monitor.primary) {
                let area = Rect {
                    x: monitor.x.into(),
                    y: monitor.y.into(),
                    width: monitor.width.into(),
                    height: monitor.height.into(),
                };
                return Ok(Some(Monitor { area, rate }));
            }
        }
        // A screen without a primary monitor has all of itself.
        Ok((name == "primary").then_some(Monitor { area: whole, rate }))
    }

    /// The highest rate of a monitor in use, in frames per second.
    fn rate(&self, root: u32) -> Option<f64> {
        let resources = self.connection.randr_get_screen_resources_current(root).ok()?.reply().ok()?;
        let modes = resources.crtcs.iter().filter_map(|crtc| {
            let info =
                self.connection.randr_get_crtc_info(*crtc, resources.config_timestamp).ok()?.reply().ok()?;
            resources.modes.iter().find(|mode| mode.id == info.mode)
        });
        modes
            .filter_map(|mode| {
                let pixels = f64::from(mode.htotal) * f64::from(mode.vtotal);
                (pixels > 0.0 && mode.dot_clock > 0).then(|| f64::from(mode.dot_clock) / pixels)
            })
            .reduce(f64::max)
    }

    /// Lets clicks through to what is below the window.
    pub(super) fn let_clicks_through(&self, window: u32) -> anyhow::Result<()> {
        let region = self.connection.generate_id()?;
        self.connection.xfixes_create_region(region, &[])?;
        self.connection.xfixes_set_window_shape_region(window, SK::INPUT, 0, 0, region)?;
        self.connection.xfixes_destroy_region(region)?;
        Ok(())
    }

    /// Tells the server and the window manager what the window, which is on the screen, is to be.
    pub(super) fn adopt(
        &self,
        window: u32,
        settings: &WindowSettings,
        is_override: bool,
    ) -> anyhow::Result<()> {
        let atoms = &self.atoms;
        let is_above = settings.layer == Layer::Top || settings.has(WindowFlag::AlwaysOnTop);
        if is_override {
            self.watch_stack(settings.layer)?;
            self.restack(window, settings.layer)?;
        } else {
            let layer = if is_above { atoms._NET_WM_STATE_ABOVE } else { atoms._NET_WM_STATE_BELOW };
            self.ask(window, atoms._NET_WM_STATE, [STATE_ADD, layer, atoms._NET_WM_STATE_STICKY])?;
            if settings.has(WindowFlag::Utility) {
                let skip = [STATE_ADD, atoms._NET_WM_STATE_SKIP_TASKBAR, atoms._NET_WM_STATE_SKIP_PAGER];
                self.ask(window, atoms._NET_WM_STATE, skip)?;
            }
            self.ask(window, atoms._NET_WM_DESKTOP, [ALL_DESKTOPS, SOURCE_APPLICATION, 0])?;
        }
        self.connection.flush()?;
        Ok(())
    }

    /// A message to the window manager, as EWMH wants it: through the root window.
    fn ask(&self, window: u32, about: Atom, data: [u32; 3]) -> anyhow::Result<()> {
        let data = [data[0], data[1], data[2], SOURCE_APPLICATION, 0];
        let message = ClientMessageEvent::new(32, window, about, data);
        let to = EventMask::SUBSTRUCTURE_REDIRECT | EventMask::SUBSTRUCTURE_NOTIFY;
        self.connection.send_event(false, self.root().root, to, message)?;
        Ok(())
    }

    /// No window manager keeps a window in its layer that it does not know.
    fn watch_stack(&self, layer: Layer) -> anyhow::Result<()> {
        if matches!(layer, Layer::Overlay | Layer::Top) {
            let watched = ChangeWindowAttributesAux::new().event_mask(EventMask::SUBSTRUCTURE_NOTIFY);
            self.connection.change_window_attributes(self.root().root, &watched)?;
        }
        Ok(())
    }

    pub(super) fn restack(&self, window: u32, layer: Layer) -> anyhow::Result<()> {
        let is_above = matches!(layer, Layer::Overlay | Layer::Top);
        let mode = if is_above { StackMode::ABOVE } else { StackMode::BELOW };
        self.connection.configure_window(window, &ConfigureWindowAux::new().stack_mode(mode))?;
        self.connection.flush()?;
        Ok(())
    }

    /// Which window has the keyboard.
    pub(super) fn focus(&self) -> anyhow::Result<u32> {
        Ok(self.connection.get_input_focus()?.reply()?.focus)
    }

    /// Gives the keyboard to another window, should ours have it.
    pub(super) fn release_focus(&self, ours: u32, to: u32) -> anyhow::Result<()> {
        if self.focus()? == ours {
            self.connection.set_input_focus(InputFocus::POINTER_ROOT, to, CURRENT_TIME)?;
            self.connection.flush()?;
        }
        Ok(())
    }

    /// Names of all monitors.
    pub(super) fn monitor_names(&self) -> anyhow::Result<Vec<String>> {
        let monitors = self.connection.randr_get_monitors(self.root().root, true)?.reply()?.monitors;
        let mut names = Vec::new();
        for monitor in monitors {
            let name = self.connection.get_atom_name(monitor.name)?.reply()?.name;
            names.push(leco_os::clean::clean_bytes(&name).into_owned());
        }
        if names.is_empty() {
            bail!("the X server reports no monitor");
        }
        Ok(names)
    }
}
