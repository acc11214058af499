// SPDX-License-Identifier: GPL-3.0-or-later
//! Memory shared with the compositor.

use std::io;
use std::os::fd::AsFd;

use memmap2::MmapMut;
use wayland_client::protocol::wl_buffer::WlBuffer;
use wayland_client::protocol::wl_shm::{Format, WlShm};
use wayland_client::protocol::wl_shm_pool::WlShmPool;
use wayland_client::{Dispatch, QueueHandle};

use crate::painter::pixels::{Canvas, Rect, join, side};
use crate::presenter::Paint;
use crate::system;

/// While the compositor reads one, the other is drawn on.
const BUFFERS: usize = 2;

/// Two canvases, of which the compositor shows one.
pub(super) struct Buffers {
    width: i32,
    height: i32,
    canvases: Vec<Shared>,
}

struct Shared {
    memory: MmapMut,
    buffer: WlBuffer,
    is_free: bool,
    /// Where it does not hold what was drawn last.
    stale: Vec<Rect>,
}

impl Buffers {
    /// In the queue, a buffer's events carry its index.
    pub(super) fn new<State>(
        shm: &WlShm,
        queue: &QueueHandle<State>,
        width: i32,
        height: i32,
    ) -> io::Result<Self>
    where
        State: Dispatch<WlShmPool, ()> + Dispatch<WlBuffer, usize> + 'static,
    {
        let too_large = || io::Error::other("the window is larger than a buffer can be");
        let bytes =
            width.checked_mul(height).and_then(|pixels| pixels.checked_mul(4)).ok_or_else(too_large)?;
        let mut canvases = Vec::new();
        for index in 0..BUFFERS {
            let (file, memory) = system::shared_memory(u64::try_from(bytes).map_err(|_| too_large())?)?;
            let pool = shm.create_pool(file.as_fd(), bytes, queue, ());
            let buffer = pool.create_buffer(0, width, height, width * 4, Format::Argb8888, queue, index);
            // The buffer keeps the memory.
            pool.destroy();
            let stale = vec![Rect { x: 0, y: 0, width, height }];
            canvases.push(Shared { memory, buffer, is_free: true, stale });
        }
        Ok(Self { width, height, canvases })
    }

    pub(super) fn size(&self) -> (i32, i32) {
        (self.width, self.height)
    }

    pub(super) fn release(&mut self, buffer: &WlBuffer) {
        if let Some(shared) = self.canvases.iter_mut().find(|shared| shared.buffer == *buffer) {
            shared.is_free = true;
        }
    }

    pub(super) fn has_free(&self) -> bool {
        self.canvases.iter().any(|shared| shared.is_free)
    }

    /// Paints on a free canvas: that one, and where it differs from what is shown.
    pub(super) fn paint(&mut self, paint: &mut Paint<'_>) -> Option<(&WlBuffer, Vec<Rect>)> {
        let (width, height) = (side(self.width), side(self.height));
        let free = self.canvases.iter().position(|shared| shared.is_free)?;
        let shared = &mut self.canvases[free];
        let pixels = bytemuck::try_cast_slice_mut(&mut shared.memory).ok()?;
        let mut canvas = Canvas::new(pixels, width, height, width)?;
        let damage = paint(&mut canvas, &shared.stale);
        if damage.is_empty() {
            return None;
        }
        shared.stale.clear();
        let others = self.canvases.iter_mut().enumerate().filter(|(index, _)| *index != free);
        for (_, other) in others {
            for &area in &damage {
                join(&mut other.stale, area);
            }
        }
        let shared = &mut self.canvases[free];
        shared.is_free = false;
        Some((&shared.buffer, damage))
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        for shared in &self.canvases {
            shared.buffer.destroy();
        }
    }
}
