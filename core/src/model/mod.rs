// SPDX-License-Identifier: GPL-3.0-or-later
//! What a person should see now: `Overseer`, and what it is made of. It reads no clock and performs no I/O.

mod fader;
pub mod history;
mod in_force;
pub mod known_line;
mod line;
mod lines;
mod machines;
pub mod overseer;
mod packing;
mod store;
pub mod traffic;

pub use self::machines::Timeline;
