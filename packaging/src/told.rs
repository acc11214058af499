// SPDX-License-Identifier: GPL-3.0-or-later
//! What the programs can be told: the same files that they are made of, since the overlay's library would bring SDL
//! with it.

#![allow(dead_code, reason = "only what can be told is of interest here")]

#[path = "../../bpf/src/cli.rs"]
pub(crate) mod loader;
#[path = "../../pipe/src/cli.rs"]
pub(crate) mod pipe;
#[path = "../../frontend-tui/src/cli.rs"]
pub(crate) mod terminal;
#[path = "../../frontend-sdl/src/cli.rs"]
pub(crate) mod widget;
