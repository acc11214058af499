// SPDX-License-Identifier: GPL-3.0-or-later
//! Words for numbers, durations and endpoints; texts with fields.

mod cells;
mod cut;
mod duration;
mod flag;
mod format;
mod network;
mod parts;
mod path;
mod speed;
mod template;
mod units;

pub use cells::{Cells, is_address};
pub use cut::cut;
pub use duration::{DurationError, parse_duration};
pub use flag::{FLAG_WORDS, parse_flag};
pub use format::{
    Protocol, address, bytes, endpoint, parse_bytes, parse_size, port_of, relative_time, round_trip, traffic,
};
pub(crate) use format::{decimal, whole_number};
pub use network::network;
pub use parts::{Part, SEPARATOR};
pub(crate) use path::expand;
pub use speed::{SPEEDS, parse_speed};
pub(crate) use template::field_names;
pub use template::{Escape, FIELDS, Template, TemplateError};
pub use units::Units;
