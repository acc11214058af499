//! What keys and the mouse ask for.

pub mod action;
