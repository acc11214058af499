//! Memory shared with the compositor.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use wayland_client::QueueHandle;
use wayland_client::protocol::wl_buffer::WlBuffer;
use wayland_client::protocol::wl_shm::{Format, WlShm};

use super::Client;
use crate::painter::pixels::{Pixmap, Rect, pixels};
use crate::presenter::Paint;

/// While the compositor reads one, the other is written.
const BUFFERS: usize = 2;

/// The canvas, and copies of it that the compositor reads. They are written through their file, not mapped:
/// the pixels are in this process's memory once.
pub(super) struct Buffers {
    canvas: Pixmap,
    copies: Vec<Copy>,
}

struct Copy {
    file: File,
    buffer: WlBuffer,
    is_free: bool,
    /// Rows that differ from the canvas, from the first to behind the last.
    stale: Vec<Rect>,
}

impl Buffers {
    pub(super) fn new(shm: &WlShm, queue: &QueueHandle<Client>, width: i32, height: i32) -> io::Result<Self> {
        let side = |length: i32| usize::try_from(length).unwrap_or(0);
        let canvas = Pixmap::new(side(width), side(height));
        let bytes = i32::try_from(side(width) * side(height) * 4)
            .map_err(|_| io::Error::other("the window is larger than a buffer can be"))?;
        let mut copies = Vec::new();
        for index in 0..BUFFERS {
            let file = memfd_create("leco", MemfdFlags::CLOEXEC)?;
            ftruncate(&file, u64::try_from(bytes).unwrap_or(0))?;
            let pool = shm.create_pool(file.as_fd(), bytes, queue, ());
            let buffer = pool.create_buffer(0, width, height, width * 4, Format::Argb8888, queue, index);
            // The buffer keeps the memory.
            pool.destroy();
            let stale = vec![canvas.bounds()];
            copies.push(Copy { file: file.into(), buffer, is_free: true, stale });
        }
        Ok(Self { canvas, copies })
    }

    pub(super) fn size(&self) -> (i32, i32) {
        (pixels(self.canvas.width()), pixels(self.canvas.height()))
    }

    pub(super) fn release(&mut self, buffer: &WlBuffer) {
        if let Some(copy) = self.copies.iter_mut().find(|copy| copy.buffer == *buffer) {
            copy.is_free = true;
        }
    }

    pub(super) fn has_free(&self) -> bool {
        self.copies.iter().any(|copy| copy.is_free)
    }

    /// Paints, and brings a free copy up to date: that copy and where it differs from the last one.
    pub(super) fn paint(&mut self, paint: &mut Paint<'_>) -> io::Result<Option<(&WlBuffer, Vec<Rect>)>> {
        let Some(free) = self.copies.iter().position(|copy| copy.is_free) else { return Ok(None) };
        let damage = paint(&mut self.canvas.canvas());
        if damage.is_empty() {
            return Ok(None);
        }
        for copy in &mut self.copies {
            for &area in &damage {
                add_band(&mut copy.stale, area);
            }
        }
        let copy = &mut self.copies[free];
        for band in std::mem::take(&mut copy.stale) {
            let row_bytes = self.canvas.width() * 4;
            let side = |length: i32| usize::try_from(length).unwrap_or(0);
            let rows = side(band.y)..side(band.y + band.height);
            let bytes = self.canvas.row_bytes(rows.clone());
            copy.file.write_all_at(bytes, u64::try_from(rows.start * row_bytes).unwrap_or(0))?;
        }
        copy.is_free = false;
        Ok(Some((&copy.buffer, damage)))
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        for copy in &self.copies {
            copy.buffer.destroy();
        }
    }
}

/// Adds the rows of an area to bands of rows, joining those that touch.
fn add_band(bands: &mut Vec<Rect>, mut area: Rect) {
    let touches = |band: &Rect, area: Rect| band.y <= area.y + area.height && area.y <= band.y + band.height;
    while let Some(index) = bands.iter().position(|band| touches(band, area)) {
        area = area.union(bands.swap_remove(index));
    }
    bands.push(area);
}
