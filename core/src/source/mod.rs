//! Where events come from.

mod fifo;
mod line_buffer;
mod sources;
mod spec;
mod stream;

pub use fifo::{Fifo, FifoState};
pub use line_buffer::{LineBuffer, MAX_PARTIAL_LINE};
pub use sources::{Origin, SourceError, SourceSpec, Sources, SourcesState};
pub use spec::Spec;
