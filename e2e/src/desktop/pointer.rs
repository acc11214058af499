// SPDX-License-Identifier: GPL-3.0-or-later
//! A pointer of a test's own on a Wayland desktop.

use std::os::unix::net::UnixStream;
use std::path::Path;

use wayland_client::globals::{GlobalListContents, registry_queue_init};
use wayland_client::protocol::wl_pointer::ButtonState;
use wayland_client::protocol::wl_registry::{self, WlRegistry};
use wayland_client::protocol::wl_seat::WlSeat;
use wayland_client::{Connection, Dispatch, EventQueue, QueueHandle, delegate_noop};
use wayland_protocols_wlr::virtual_pointer::v1::client::zwlr_virtual_pointer_manager_v1::ZwlrVirtualPointerManagerV1;
use wayland_protocols_wlr::virtual_pointer::v1::client::zwlr_virtual_pointer_v1::ZwlrVirtualPointerV1;

/// The left button, as the kernel's `input-event-codes.h` numbers it.
const BTN_LEFT: u32 = 0x110;

/// A pointer that exists as long as this does.
pub struct VirtualPointer {
    pointer: ZwlrVirtualPointerV1,
    queue: EventQueue<Nothing>,
}

struct Nothing;

impl Dispatch<WlRegistry, GlobalListContents> for Nothing {
    fn event(
        _: &mut Self,
        _: &WlRegistry,
        _: wl_registry::Event,
        _: &GlobalListContents,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
    }
}

delegate_noop!(Nothing: ignore WlSeat);
delegate_noop!(Nothing: ignore ZwlrVirtualPointerManagerV1);
delegate_noop!(Nothing: ignore ZwlrVirtualPointerV1);

impl VirtualPointer {
    /// Plugs it in.
    ///
    /// # Panics
    /// When the compositor has no such thing.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        let make = || -> anyhow::Result<Self> {
            let connection = Connection::from_socket(UnixStream::connect(socket)?)?;
            let (globals, mut queue) = registry_queue_init::<Nothing>(&connection)?;
            let handle = queue.handle();
            let manager: ZwlrVirtualPointerManagerV1 = globals.bind(&handle, 1..=2, ())?;
            let pointer = manager.create_virtual_pointer(None, &handle, ());
            queue.roundtrip(&mut Nothing)?;
            Ok(Self { pointer, queue })
        };
        make().unwrap_or_else(|error| panic!("no pointer: {error}"))
    }

    /// Moves it to a place on a screen of this size, and clicks.
    ///
    /// # Panics
    /// When the compositor is gone.
    pub fn click(&mut self, (x, y): (u32, u32), (width, height): (u32, u32)) {
        self.pointer.motion_absolute(0, x, y, width, height);
        self.pointer.frame();
        for state in [ButtonState::Pressed, ButtonState::Released] {
            self.pointer.button(0, BTN_LEFT, state);
            self.pointer.frame();
        }
        self.queue.roundtrip(&mut Nothing).unwrap_or_else(|error| panic!("no click: {error}"));
    }
}
