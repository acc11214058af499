//! Events as they travel, and what they say.

pub mod details;
pub mod event;
pub mod tag;
