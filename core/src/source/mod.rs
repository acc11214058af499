//! Where events come from.

mod fifo;
mod line_buffer;
mod spec;

pub use fifo::{Fifo, FifoState};
pub use line_buffer::{LineBuffer, MAX_PARTIAL_LINE};
pub use spec::Spec;
