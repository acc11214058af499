//! LECO on the desktop. The model is `leco_core`; here it is drawn and put among the windows.

pub mod painter;
