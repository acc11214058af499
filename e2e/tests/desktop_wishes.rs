// SPDX-License-Identifier: GPL-3.0-or-later
//! The overlay does what the desktop's portal says that the person wants: on a bus of its own, with a portal that
//! another implementation of D-Bus serves.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use leco_e2e::desktop::{
    Overlay, Picture, Rgb, SessionBus, XServer, can_use, is_near, over, still_config, wait_for_picture,
};
use leco_e2e::{program, skip, wait_for};
use serde_json::json;
use zbus::{Connection, OwnedVariant, Variant, block_on, connection};

const CONTRAST: (&str, &str) = ("org.freedesktop.appearance", "contrast");
const REDUCED_MOTION: (&str, &str) = ("org.freedesktop.appearance", "reduced-motion");
const ANIMATIONS: (&str, &str) = ("org.gnome.desktop.interface", "enable-animations");
const PORTAL: &str = "org.freedesktop.portal.Desktop";
const PORTAL_PATH: &str = "/org/freedesktop/portal/desktop";
const BACKGROUND: [u8; 4] = [0x10, 0x60, 0x80, 0x66];
const WHITE: Rgb = [255, 255, 255];
/// Longer than any effect.
const EFFECT: Duration = Duration::from_secs(1);

fn overlay(bus: &SessionBus, server: &XServer, config: &str) -> Overlay {
    let mut command = Command::new(program("leco-sdl-widget"));
    command.env("DISPLAY", &server.display).env_remove("WAYLAND_DISPLAY");
    // Its fifo is named: it needs no directory in which to look for one, at a reload either.
    command.env_remove("XDG_RUNTIME_DIR");
    command.env("DBUS_SESSION_BUS_ADDRESS", format!("unix:path=/nowhere;{}", bus.address));
    Overlay::start(command, config)
}

type Values = HashMap<String, HashMap<String, OwnedVariant>>;

/// What the portal answers.
struct Settings {
    values: Arc<Mutex<Values>>,
    is_asked: Arc<AtomicBool>,
}

#[zbus::interface(name = "org.freedesktop.portal.Settings")]
impl Settings {
    fn read_all(&self, namespaces: Vec<String>) -> Values {
        self.is_asked.store(true, Ordering::Release);
        let known = self.values.lock().unwrap();
        let copied = |namespace: String| {
            let settings = known.get(&namespace)?.iter();
            let settings = settings.map(|(key, value)| (key.clone(), value.try_clone().unwrap()));
            Some((namespace, settings.collect()))
        };
        namespaces.into_iter().filter_map(copied).collect()
    }
}

struct Portal {
    connection: Connection,
    values: Arc<Mutex<Values>>,
    is_asked: Arc<AtomicBool>,
}

impl Portal {
    fn start(bus: &SessionBus, settings: &[((&str, &str), Variant<'static>)]) -> Self {
        let (values, is_asked) = (Arc::new(Mutex::new(Values::new())), Arc::new(AtomicBool::new(false)));
        for ((namespace, key), value) in settings {
            let value = value.try_to_owned().unwrap();
            values.lock().unwrap().entry((*namespace).into()).or_default().insert((*key).into(), value);
        }
        let served = Settings { values: values.clone(), is_asked: is_asked.clone() };
        let builder = connection::Builder::address(bus.address.as_str());
        let builder = builder.name(PORTAL).serve_at(PORTAL_PATH, served);
        Self { connection: block_on(builder.build()).unwrap(), values, is_asked }
    }

    fn set(&self, (namespace, key): (&str, &str), value: Variant<'static>) {
        let kept = value.try_to_owned().unwrap();
        self.values.lock().unwrap().entry(namespace.into()).or_default().insert(key.into(), kept);
        let to = None::<&str>;
        let settings = "org.freedesktop.portal.Settings";
        let body = (namespace, key, value);
        block_on(self.connection.emit_signal(to, PORTAL_PATH, settings, "SettingChanged", &body)).unwrap();
    }

    /// Names of the bus that somebody has, but for those of services.
    fn clients(&self) -> usize {
        let bus = Some("org.freedesktop.DBus");
        let call = self.connection.call_method(bus, "/org/freedesktop/DBus", bus, "ListNames", &());
        let names: Vec<String> = block_on(call).unwrap().body().deserialize().unwrap();
        names.iter().filter(|name| name.starts_with(':')).count()
    }
}

fn can_test() -> bool {
    can_use(&["Xvfb", "picom", "fc-match", "dbus-daemon"])
}

fn is_ground(picture: &Picture, ground: Rgb) -> bool {
    is_near(picture.at(300, 300), ground, 1)
}

#[test]
fn the_ground_is_opaque_while_more_contrast_is_wanted() {
    if !can_test() {
        return;
    }
    let opaque = [BACKGROUND[0], BACKGROUND[1], BACKGROUND[2]];
    let clear = over(BACKGROUND, WHITE);
    let server = XServer::start_composed();
    let _below = server.open_below(&[WHITE]);
    let bus = SessionBus::start();
    let portal = Portal::start(&bus, &[(CONTRAST, Variant::U32(1))]);
    let config = still_config("rgba-bg = 10608066", "");
    let overlay = overlay(&bus, &server, &config).with_empty_line();
    wait_for_picture(&server, "wishes-contrast", |picture| is_ground(picture, opaque));
    // Once answered it asks nothing any more, and a monitor has no name: the portal alone is there.
    wait_for("the end of asking", || (portal.clients() == 1).then_some(()));

    portal.set(CONTRAST, Variant::U32(0));
    wait_for_picture(&server, "wishes-no-contrast", |picture| is_ground(picture, clear));
    portal.set(CONTRAST, Variant::U32(1));
    wait_for_picture(&server, "wishes-contrast-again", |picture| is_ground(picture, opaque));
    // A changed config is no other wish.
    overlay.reconfigure(&still_config("rgba-bg = 60108066", ""));
    wait_for_picture(&server, "wishes-contrast-config", |picture| is_ground(picture, [0x60, 0x10, 0x80]));

    // Without a bus it stays as it was, and sleeps.
    drop(portal);
    drop(bus);
    overlay.reconfigure(&config);
    wait_for_picture(&server, "wishes-no-bus", |picture| is_ground(picture, opaque));
    let spent = || std::fs::read_to_string(format!("/proc/{}/schedstat", overlay.id())).unwrap();
    wait_for("sleep without a bus", || {
        let before = spent();
        std::thread::sleep(Duration::from_millis(300));
        (spent() == before).then_some(())
    });
    assert_eq!(overlay.stderr.lines(), [""; 0]);
}

#[test]
fn nothing_moves_while_less_motion_is_wanted_unless_effects_are_always_wanted() {
    if !can_test() {
        return;
    }
    let mut on_battery = Command::new("sh");
    on_battery.args(["-c", "grep -qs Discharging /sys/class/power_supply/*/status"]);
    if on_battery.status().unwrap().success() {
        let _ = skip("effects are off on battery power");
        return;
    }
    let server = XServer::start_composed();
    let bus = SessionBus::start();
    let portal = Portal::start(&bus, &[(REDUCED_MOTION, Variant::U32(1))]);
    let config = |effects: &str| {
        still_config("", "").replace("effects = none", &format!("effects = {effects}\neffect-new = glow"))
    };
    let mut overlay = overlay(&bus, &server, &config("auto"));
    wait_for("a question", || portal.is_asked.load(Ordering::Acquire).then_some(()));
    wait_for("the end of asking", || (portal.clients() == 1).then_some(()));
    let window = wait_for("a window", || {
        server.windows().into_iter().find(|(_, title)| title == "LECO").map(|(window, _)| window)
    });
    // Whether a new line comes with an effect is asked until it is as wanted: a change takes a moment to arrive.
    let moves = |overlay: &mut Overlay, wanted: bool| {
        wait_for(if wanted { "motion" } else { "stillness" }, || {
            let is_over = AtomicBool::new(false);
            let frames = std::thread::scope(|scope| {
                let counted = scope.spawn(|| server.count_frames(window, &is_over));
                overlay.send("x :: a new line", Duration::ZERO, &json!({}));
                std::thread::sleep(EFFECT);
                is_over.store(true, Ordering::Relaxed);
                counted.join().unwrap()
            });
            ((frames > 8) == wanted).then_some(())
        });
    };
    moves(&mut overlay, false);
    portal.set(REDUCED_MOTION, Variant::U32(0));
    moves(&mut overlay, true);
    portal.set(ANIMATIONS, Variant::Bool(false));
    moves(&mut overlay, false);
    portal.set(ANIMATIONS, Variant::Bool(true));
    moves(&mut overlay, true);
    portal.set(REDUCED_MOTION, Variant::U32(1));
    moves(&mut overlay, false);
    overlay.reconfigure(&config("always"));
    moves(&mut overlay, true);
}

#[test]
fn without_a_portal_or_a_bus_nothing_is_said() {
    if !can_test() {
        return;
    }
    let clear = over(BACKGROUND, WHITE);
    let server = XServer::start_composed();
    let _below = server.open_below(&[WHITE]);
    let bus = SessionBus::start();
    let config = still_config("rgba-bg = 10608066", "");
    let overlay = overlay(&bus, &server, &config).with_empty_line();
    wait_for_picture(&server, "wishes-no-portal", |picture| is_ground(picture, clear));
    // A portal that comes later is heard, too.
    let portal = Portal::start(&bus, &[]);
    wait_for("the end of asking", || (portal.clients() == 1).then_some(()));
    portal.set(CONTRAST, Variant::U32(1));
    let opaque = [BACKGROUND[0], BACKGROUND[1], BACKGROUND[2]];
    wait_for_picture(&server, "wishes-late-portal", |picture| is_ground(picture, opaque));
    assert_eq!(overlay.stderr.lines(), [""; 0]);
    drop(overlay);

    for address in ["disabled:", "unix:path=/nowhere", "unix:path=/dev/null"] {
        let mut command = Command::new(program("leco-sdl-widget"));
        command.env("DISPLAY", &server.display).env_remove("WAYLAND_DISPLAY");
        command.env("DBUS_SESSION_BUS_ADDRESS", address);
        let overlay = Overlay::start(command, &config).with_empty_line();
        wait_for_picture(&server, "wishes-nobody", |picture| is_ground(picture, clear));
        assert_eq!(overlay.stderr.lines(), [""; 0], "{address}");
    }
}
