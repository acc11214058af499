// SPDX-License-Identifier: GPL-3.0-or-later
//! Words for the one who started it.

use std::fmt::Display;

use leco_os::say;

/// Says something on standard error.
pub(crate) fn report(notice: impl Display) {
    say::err(format_args!("leco-notify: {notice}"));
}
