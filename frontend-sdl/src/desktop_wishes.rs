// SPDX-License-Identifier: GPL-3.0-or-later
//! What the person has asked of all programs of the desktop: less motion, more contrast. The XDG desktop portal tells
//! (`org.freedesktop.portal.Settings`), where there is one.
//!
//! Who may speak on the session bus may have programs run there, which the sandbox is to prevent. So the connection
//! that asks is closed with the first answer, and the one that hears of changes has become a monitor, which the bus
//! lets say nothing more.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use leco_bus::{BUS, Bus, Message, RETURN, SIGNAL};
use zbus::{OwnedVariant, Variant};

const PORTAL: &str = "org.freedesktop.portal.Desktop";
const PORTAL_PATH: &str = "/org/freedesktop/portal/desktop";
const SETTINGS: &str = "org.freedesktop.portal.Settings";
const CHANGED: &str = "SettingChanged";
const APPEARANCE: &str = "org.freedesktop.appearance";
const CONTRAST: (&str, &str) = (APPEARANCE, "contrast");
const REDUCED_MOTION: (&str, &str) = (APPEARANCE, "reduced-motion");
/// GNOME's, older than the one above: both mean less motion.
const ANIMATIONS: (&str, &str) = ("org.gnome.desktop.interface", "enable-animations");

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wishes {
    has_reduced_motion: bool,
    has_no_animations: bool,
    /// What can be read is to be easily read.
    pub is_high_contrast: bool,
}

impl Wishes {
    /// Nothing is to move that need not.
    #[must_use]
    pub fn is_still(self) -> bool {
        self.has_reduced_motion || self.has_no_animations
    }

    /// Takes a setting. What is of another type, or unknown, is no wish.
    fn set(&mut self, namespace: &str, key: &str, value: &Variant<'_>) {
        match (namespace, key) {
            CONTRAST => self.is_high_contrast = *value == Variant::U32(1),
            REDUCED_MOTION => self.has_reduced_motion = *value == Variant::U32(1),
            ANIMATIONS => self.has_no_animations = *value == Variant::Bool(false),
            _ => {}
        }
    }
}

/// Hears what is asked for.
#[derive(Debug, Default)]
pub(crate) struct DesktopWishes {
    wishes: Wishes,
    /// Asks, until there is an answer to the call of this serial.
    asking: Option<(Bus, u32)>,
    /// Hears of changes.
    listening: Option<Bus>,
}

impl DesktopWishes {
    /// Asks, and waits for nothing. Where there is no session bus, nobody has wishes.
    pub(crate) fn ask() -> Self {
        // First, so that no change comes between the two.
        let listening = listen().ok();
        Self { wishes: Wishes::default(), asking: ask().ok(), listening }
    }

    /// What was asked for, so far as it is known.
    pub(crate) fn now(&self) -> Wishes {
        self.wishes
    }

    /// What becomes readable when there is something to [`Self::take`].
    pub(crate) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.asking.iter().map(|(bus, _)| bus.as_fd()).chain(self.listening.iter().map(AsFd::as_fd))
    }

    /// Takes what the bus has sent.
    pub(crate) fn take(&mut self) {
        if let Some((bus, serial)) = &mut self.asking {
            let serial = *serial;
            let is_open = each(bus, |message| {
                let is_answer = message.reply_to == serial;
                if is_answer && message.kind == RETURN {
                    self.wishes = answered(message).unwrap_or_default();
                }
                !is_answer
            });
            if !is_open {
                self.asking = None;
            }
        }
        if let Some(bus) = &mut self.listening {
            let is_open = each(bus, |message| {
                let is_change = message.kind == SIGNAL && message.member == CHANGED;
                let change = is_change.then(|| message.body::<(String, String, OwnedVariant)>()).flatten();
                if let Some((namespace, key, value)) = change {
                    self.wishes.set(&namespace, &key, &value);
                }
                true
            });
            if !is_open {
                self.listening = None;
            }
        }
    }
}

/// Hands over each message that has come, while more are wanted. False: the connection is of no more use.
fn each(bus: &mut Bus, mut is_wanted: impl FnMut(&Message) -> bool) -> bool {
    loop {
        match bus.receive() {
            Ok(Some(message)) if is_wanted(&message) => {}
            Ok(None) => return true,
            _ => return false,
        }
    }
}

fn ask() -> io::Result<(Bus, u32)> {
    let mut bus = Bus::open()?;
    let serial = bus.call((PORTAL, PORTAL_PATH, SETTINGS, "ReadAll"), &vec![APPEARANCE, ANIMATIONS.0])?;
    Ok((bus, serial))
}

fn listen() -> io::Result<Bus> {
    let rules = [CONTRAST, REDUCED_MOTION, ANIMATIONS].map(|(namespace, key)| {
        format!(
            "type='signal',sender='{PORTAL}',path='{PORTAL_PATH}',interface='{SETTINGS}',member='{CHANGED}',\
             arg0='{namespace}',arg1='{key}'"
        )
    });
    let mut bus = Bus::open()?;
    let monitoring = (BUS, "/org/freedesktop/DBus", "org.freedesktop.DBus.Monitoring", "BecomeMonitor");
    bus.call(monitoring, &(rules.to_vec(), 0_u32))?;
    Ok(bus)
}

/// All settings that an answer tells.
fn answered(message: &Message) -> Option<Wishes> {
    let settings: HashMap<String, HashMap<String, OwnedVariant>> = message.body()?;
    let mut wishes = Wishes::default();
    for (namespace, values) in &settings {
        for (key, value) in values {
            wishes.set(namespace, key, value);
        }
    }
    Some(wishes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_setting_asks_for_less_motion_and_only_what_is_known_is_a_wish() {
        let of = |settings: &[((&str, &str), Variant<'_>)]| {
            let mut wishes = Wishes::default();
            for ((namespace, key), value) in settings {
                wishes.set(namespace, key, value);
            }
            (wishes.is_still(), wishes.is_high_contrast)
        };
        assert_eq!(of(&[(REDUCED_MOTION, Variant::U32(1)), (CONTRAST, Variant::U32(1))]), (true, true));
        assert_eq!(
            of(&[(REDUCED_MOTION, Variant::U32(0)), (ANIMATIONS, Variant::Bool(false))]),
            (true, false)
        );
        assert_eq!(
            of(&[(ANIMATIONS, Variant::Bool(false)), (ANIMATIONS, Variant::Bool(true))]),
            (false, false)
        );
        // Unknown values are no preference.
        assert_eq!(of(&[(REDUCED_MOTION, Variant::U32(2)), (CONTRAST, Variant::new("1"))]), (false, false));
        assert_eq!(of(&[((ANIMATIONS.0, CONTRAST.1), Variant::U32(1))]), (false, false));
    }
}
