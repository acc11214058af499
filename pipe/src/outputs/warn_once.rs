// SPDX-License-Identifier: GPL-3.0-or-later
//! A trouble that lasts is said once.

use leco_os::limits;

/// What was complained of last.
#[derive(Debug, Default)]
pub(crate) struct WarnOnce(Option<String>);

impl WarnOnce {
    /// Says it, unless it was the last thing said; limits in it by their names.
    pub(crate) fn tell(&mut self, text: &str) {
        let text = &*limits::name_in(text.to_owned());
        if self.0.as_deref() != Some(text) {
            tracing::warn!("{text}");
            self.0 = Some(text.to_owned());
        }
    }

    /// Whether there is trouble.
    pub(crate) fn lasts(&self) -> bool {
        self.0.is_some()
    }

    /// The trouble is over: the next one is said again.
    pub(crate) fn settle(&mut self) {
        self.0 = None;
    }
}
