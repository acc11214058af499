// SPDX-License-Identifier: GPL-3.0-or-later
//! The config file: what it says, what is wrong with it, how it is followed and appended to.

mod append;
mod file;
mod follower;
mod keys;
mod new_rule;
mod settings;
mod watch;

pub use self::append::{AppendError, append, append_setting};
pub use self::file::{Config, ConfigError, Fingerprint, MAX_CONFIG_BYTES};
pub use self::follower::ConfigFollower;
pub use self::keys::SETTINGS;
pub use self::new_rule::{NewRule, NotARule};
pub use self::settings::{
    Anchor, Effect, Effects, Layer, LineColumns, LineHeight, RunSettings, Settings, Shadow, StateColours,
    TerminalColours, TerminalTheme, TextSettings, TuiSettings, WindowFlag, WindowHint, WindowSettings,
};
pub use self::watch::{ConfigWatch, Reload};
