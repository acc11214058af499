//! `leco-sdl-widget`: connections on the desktop.

fn main() {}
