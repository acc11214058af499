//! LECO on the desktop. The model is `leco_core`; here it is drawn and put among the windows.

pub mod app;
pub mod display;
pub mod painter;
pub mod power;
pub mod presenter;
mod system;
pub mod wayland;
pub mod x11;
