// SPDX-License-Identifier: GPL-3.0-or-later
//! What a person should be told, on standard error.

use std::fmt::Display;

use leco_os::say;

/// Says something under the program's name.
pub(crate) fn report(notice: impl Display) {
    say::err(format_args!("leco-sdl-widget: {notice}"));
}
