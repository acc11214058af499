// SPDX-License-Identifier: GPL-3.0-or-later
//! Whether the machine runs on its battery, and so whether effects are worth their frames.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use leco_core::config::Effects;

/// So often at most it is asked whether the machine runs on its battery.
const POWER_INTERVAL: Duration = Duration::from_mins(1);
/// Where the kernel tells of batteries and chargers.
pub const POWER_SUPPLIES: &str = "/sys/class/power_supply";

/// Whether a battery of the machine itself (not one of a mouse, whose scope is `Device`) is discharging. See
/// the kernel's Documentation/ABI/testing/sysfs-class-power.
#[must_use]
pub fn is_on_battery(supplies: &Path) -> bool {
    let entries = fs::read_dir(supplies).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).any(|supply| {
        let says = |file: &str, word: &str| {
            fs::read_to_string(supply.join(file)).is_ok_and(|text| text.trim() == word)
        };
        says("type", "Battery") && says("status", "Discharging") && !says("scope", "Device")
    })
}

/// Remembers for a while whether the machine runs on its battery.
#[derive(Debug, Default)]
pub(crate) struct PowerCheck {
    /// When it was last asked, and whether it does.
    answer: Option<(Instant, bool)>,
}

impl PowerCheck {
    /// Whether lines come and go with their effects.
    pub(crate) fn has_effects(&mut self, effects: Effects) -> bool {
        match effects {
            Effects::None => false,
            Effects::Always => true,
            Effects::Auto => {
                let known = self.answer.filter(|(asked, _)| asked.elapsed() < POWER_INTERVAL);
                let (asked, is_on_battery) =
                    known.unwrap_or_else(|| (Instant::now(), is_on_battery(Path::new(POWER_SUPPLIES))));
                self.answer = Some((asked, is_on_battery));
                !is_on_battery
            }
        }
    }

    /// It is asked again the next time.
    pub(crate) fn forget(&mut self) {
        self.answer = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_discharging_battery_of_the_machine_counts() {
        let folder = tempfile::tempdir().unwrap();
        let supply = |name: &str, files: &[(&str, &str)]| {
            let path = folder.path().join(name);
            fs::create_dir_all(&path).unwrap();
            for (file, text) in files {
                fs::write(path.join(file), format!("{text}\n")).unwrap();
            }
        };
        assert!(!is_on_battery(&folder.path().join("none")));
        supply("AC", &[("type", "Mains"), ("online", "0")]);
        supply("mouse", &[("type", "Battery"), ("status", "Discharging"), ("scope", "Device")]);
        supply("BAT0", &[("type", "Battery"), ("status", "Full")]);
        assert!(!is_on_battery(folder.path()));
        supply("BAT0", &[("status", "Discharging")]);
        assert!(is_on_battery(folder.path()));
    }
}
