//! LECO on the desktop.
