// SPDX-License-Identifier: GPL-3.0-or-later
//! Where events come from.

mod fifo;
mod line_buffer;
mod owner;
pub mod recording;
mod runtime;
mod sources;
mod spec;
mod state;
mod stream;

pub use fifo::{Fifo, FifoState};
pub use line_buffer::{LineBuffer, MAX_PARTIAL_LINE};
pub use owner::{Owner, OwnerError};
pub use runtime::{NoRuntimeFolder, default_fifo};
pub use sources::{
    Origin, SOURCE_GIVEN_UP, SourceError, SourceSpec, Sources, are_allowed, open_recording, with_sources,
};
pub use spec::Spec;
pub use state::SourcesState;
