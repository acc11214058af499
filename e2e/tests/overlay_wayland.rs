// SPDX-License-Identifier: GPL-3.0-or-later
//! The overlay on real Wayland compositors: sway, which has layers for it, and weston, which has none.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use leco_e2e::desktop::{
    Compositor, Overlay, Picture, Rgb, SWAY_OUTPUT, VirtualPointer, XServer, assert_background,
    assert_fading, can_use, still_config, wait_for_picture,
};
use leco_e2e::{LineReader, wait_for};
use rustix::process::Signal;
use serde_json::json;

const WHITE: Rgb = [255, 255, 255];
const BLACK: Rgb = [0, 0, 0];
const RED: Rgb = [255, 0, 0];
const BANDS: [Rgb; 4] = [WHITE, BLACK, [40, 90, 150], [255, 128, 0]];
const NOW: Duration = Duration::ZERO;

fn can_test() -> bool {
    can_use(&["sway", "swaymsg", "swaybg", "grim", "wev", "weston", "fc-match"])
}

/// sway over a picture of bands of colours.
fn sway() -> (Compositor, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(folder.path(), Some(54321), None).unwrap();
    let path = folder.path().join("bands.png");
    let row = (0..1024).map(|x| BANDS[x / 256]);
    Picture::new(1024, 600, (0..600).flat_map(|_| row.clone()).collect()).save(&path);
    let compositor = Compositor::sway(&format!("output * bg {} stretch", path.display()));
    (compositor, folder)
}

/// A window that says what input it gets, over the whole screen.
struct Wev {
    child: std::process::Child,
    said: LineReader,
}

impl Wev {
    fn open(desktop: &Compositor) -> Self {
        let mut command = desktop.command("stdbuf");
        command.args(["-oL", "wev"]).stdout(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        let said = LineReader::new(child.stdout.take().unwrap());
        wait_for("the window below", || {
            let tree = desktop.swaymsg(&["-r", "-t", "get_tree"]).stdout;
            String::from_utf8_lossy(&tree).contains("\"wev\"").then_some(())
        });
        Self { child, said }
    }

    fn clicks(&self) -> usize {
        self.said.lines().iter().filter(|line| line.contains("button:") && line.contains("pressed")).count()
    }
}

impl Drop for Wev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_background_lets_shine_through_what_its_alpha_says() {
    if !can_test() {
        return;
    }
    let (desktop, _folder) = sway();
    wait_for_picture(&desktop, "sway-bands", |picture| picture.at(900, 300) == BANDS[3]);
    let _overlay = Overlay::on_wayland(&desktop, &still_config("rgba-bg = 10608066", "")).with_empty_line();
    assert_background(&desktop, "sway-background", [0x10, 0x60, 0x80, 0x66], BANDS);
}

#[test]
fn lines_fade_by_the_curve() {
    if !can_test() {
        return;
    }
    let (desktop, _folder) = sway();
    // Over the black band.
    assert_fading(&desktop, "sway-fading", 260, |config| Overlay::on_wayland(&desktop, config));
}

#[test]
fn a_click_goes_to_the_window_below_and_the_keyboard_stays_where_it_is() {
    if !can_test() {
        return;
    }
    let (desktop, _folder) = sway();
    let mut pointer = VirtualPointer::new(&desktop.socket());
    let wev = Wev::open(&desktop);
    let mut overlay = Overlay::on_wayland(&desktop, &still_config("rgba-bg = ff0000ff\nlayer = overlay", ""))
        .with_empty_line();
    overlay.send("x :: line", NOW, &json!({}));
    wait_for_picture(&desktop, "sway-click", |picture| picture.at(30, 300) == RED);
    wait_for("a click on the window below", || {
        pointer.click((100, 100), (1024, 600));
        (wev.clicks() > 0).then_some(())
    });
    let said = wev.said.lines();
    let left = said.iter().any(|line| line.contains("wl_keyboard") && line.contains("leave"));
    assert!(!left, "the keyboard never leaves the window below");

    overlay.reconfigure(&still_config("rgba-bg = 0000ffff\nlayer = overlay\nclick-through = no", ""));
    wait_for_picture(&desktop, "sway-click-taken", |picture| picture.at(30, 300) == [0, 0, 255]);
    let before = wev.clicks();
    pointer.click((100, 100), (1024, 600));
    let mut beside = 0;
    wait_for("a click beside the overlay", || {
        pointer.click((900, 550), (1024, 600));
        beside += 1;
        (wev.clicks() > before).then_some(())
    });
    wait_for("the other clicks beside it", || (wev.clicks() >= before + beside).then_some(()));
    assert_eq!(wev.clicks(), before + beside, "the click on the overlay is the overlay's");
}

#[test]
fn each_layer_is_above_or_below_windows() {
    if !can_test() {
        return;
    }
    let (desktop, _folder) = sway();
    for (layer, is_above) in [("overlay", true), ("top", true), ("bottom", false), ("background", false)] {
        let window = format!("rgba-bg = ff0000ff\nlayer = {layer}");
        let overlay = Overlay::on_wayland(&desktop, &still_config(&window, "")).with_empty_line();
        let is_shown = |picture: &Picture| picture.at(100, 300) == RED;
        wait_for_picture(&desktop, &format!("sway-{layer}"), is_shown);
        let wev = Wev::open(&desktop);
        // Where the overlay is not, the window is seen.
        let is_covered = |picture: &Picture| picture.at(10, 300) != WHITE;
        wait_for_picture(&desktop, &format!("sway-{layer}-window"), |picture| {
            is_covered(picture) && is_shown(picture) == is_above
        });
        drop(wev);
        wait_for_picture(&desktop, &format!("sway-{layer}"), |picture| {
            !is_covered(picture) && is_shown(picture)
        });
        drop(overlay);
        wait_for_picture(&desktop, "sway-layers", |picture| !is_shown(picture));
    }
}

#[test]
fn a_monitor_may_be_unplugged_scaled_and_come_back() {
    if !can_test() {
        return;
    }
    let (desktop, _folder) = sway();
    for monitor in [String::new(), format!("monitor = {SWAY_OUTPUT}")] {
        let overlay = Overlay::on_wayland(
            &desktop,
            &still_config(&format!("rgba-bg = ff0000ff\ninit-width = 300\ninit-height = 200\n{monitor}"), ""),
        )
        .with_empty_line();
        let is_shown = |picture: &Picture| {
            picture.at(20, 40) == RED && picture.at(319, 239) == RED && picture.at(320, 240) != RED
        };
        wait_for_picture(&desktop, "sway-monitor", is_shown);
        for _ in 0..3 {
            desktop.swaymsg(&["output", SWAY_OUTPUT, "disable"]);
            desktop.swaymsg(&["output", SWAY_OUTPUT, "enable"]);
            wait_for_picture(&desktop, "sway-monitor-back", is_shown);
        }
        for (scale, edge) in [("2", 2.0), ("1.5", 1.5), ("1", 1.0)] {
            desktop.swaymsg(&["output", SWAY_OUTPUT, "scale", scale]);
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let at = |length: f64| (length * edge) as usize;
            wait_for_picture(&desktop, &format!("sway-scale-{scale}"), |picture| {
                picture.at(at(20.0) + 1, at(40.0) + 1) == RED
                    && picture.at(at(20.0) - 2, at(40.0) + 20) != RED
                    && picture.at(at(320.0) - 2, at(200.0)) == RED
                    && picture.at(at(320.0) + 2, at(200.0)) != RED
            });
        }
        drop(overlay);
        wait_for_picture(&desktop, "sway-monitor", |picture| picture.at(100, 300) != RED);
    }
    let overlay = Overlay::on_wayland(&desktop, &still_config("monitor = DP-7", ""));
    wait_for("the complaint", || {
        let said = overlay.stderr.lines();
        said.iter().any(|line| line.contains("no monitor DP-7") && line.contains(SWAY_OUTPUT)).then_some(())
    });
}

#[test]
fn twice_the_scale_is_twice_the_pixels_of_a_glyph() {
    if !can_test() {
        return;
    }
    let (desktop, _folder) = sway();
    desktop.swaymsg(&["output", SWAY_OUTPUT, "scale", "2"]);
    let window =
        "rgba-bg = 000000ff\ninit-offset-left = 0\ninit-offset-top = 0\ninit-width = 500\ninit-height = 290";
    let mut overlay =
        Overlay::on_wayland(&desktop, &still_config(window, "font-outline = none\nfont-height = 20\n"));
    overlay.send("x :: \u{2588}", NOW, &json!({}));
    let overlay_of = |picture: &Picture| picture.part(0, 0, 1000, 580);
    let white = |picture: &Picture| {
        (0..picture.height).filter(|y| (0..picture.width).any(|x| picture.at(x, *y) == WHITE)).count()
    };
    // The block is as high as the font: 20 pixels and what is below them, each of 2 pixels.
    let picture = wait_for_picture(&desktop, "sway-hidpi", |picture| {
        picture.at(5, 500) == BLACK && white(&overlay_of(picture)) > 30
    });
    // A block that were only enlarged would have edges between black and white.
    let picture = overlay_of(&picture);
    let greys = picture.pixels().filter(|pixel| pixel[0] > 8 && pixel[0] < 247).count();
    let whites = picture.pixels().filter(|pixel| *pixel == WHITE).count();
    assert!(whites > greys, "{whites} {greys}");
}

#[test]
fn without_layers_it_is_an_ordinary_window_and_says_so() {
    if !can_test() {
        return;
    }
    let desktop = Compositor::weston();
    let mut overlay =
        Overlay::on_wayland(&desktop, &still_config("rgba-bg = ff0000ff", "")).with_empty_line();
    overlay.send("x :: line", NOW, &json!({}));
    wait_for("the note", || {
        overlay.stderr.lines().iter().any(|line| line.contains("no layer-shell")).then_some(())
    });
    // weston takes no screenshots of others: that it draws is seen by its answers to frames.
    let wakeups = |overlay: &Overlay| {
        let status = std::fs::read_to_string(format!("/proc/{}/status", overlay.id())).unwrap();
        let line =
            status.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).unwrap().to_owned();
        line.split_whitespace().last().unwrap().parse::<u64>().unwrap()
    };
    let before = wakeups(&overlay);
    overlay.send("x :: another line", NOW, &json!({}));
    wait_for("a frame", || (wakeups(&overlay) > before).then_some(()));
    assert!(overlay.is_running(), "{:?}", overlay.stderr.lines());
    overlay.signal(Signal::TERM);
    assert_eq!(overlay.wait().code(), Some(0));
}

#[test]
fn without_layers_but_with_an_x_server_it_is_a_window_of_that_above_all_others() {
    if !can_test() || !can_use(&["Xvfb", "picom"]) {
        return;
    }
    let desktop = Compositor::weston();
    let server = XServer::start_composed();
    let below = server.open_below(&BANDS);
    let overlay = Overlay::on_wayland_with_x(&desktop, &server, &still_config("rgba-bg = ff0000ff", ""))
        .with_empty_line();
    wait_for_picture(&server, "weston-x11", |picture| picture.at(100, 300) == RED);
    let above = server.open_below(&[BLACK]);
    wait_for_picture(&server, "weston-x11", |picture| {
        picture.at(100, 300) == RED && picture.at(800, 300) == BLACK
    });
    drop(above);
    server.click(100, 300);
    assert_eq!(below.wait_for_click(), (100, 300));
    assert_eq!(overlay.stderr.lines(), Vec::<String>::new());
}

#[test]
fn odd_lines_and_sizes_are_shown_and_a_lost_compositor_is_one_line() {
    if !can_test() {
        return;
    }
    let (mut desktop, _folder) = sway();
    let window = "rgba-bg = 101010ff\ninit-width = 20000\ninit-height = 20000\ninit-offset-left = -100\npad-x = 120\n\
                  hints = wayland_scale_to_display=1";
    let mut overlay = Overlay::on_wayland(&desktop, &still_config(window, ""));
    overlay.send(&format!("long :: {}", "\u{301}a".repeat(16_000)), NOW, &json!({}));
    overlay.send("\u{5e9}\u{5dc}\u{5d5}\u{5dd} :: \u{645}\u{631}\u{62d}\u{628}\u{627}", NOW, &json!({}));
    overlay.send("z :: \u{2588}\u{2588}", NOW, &json!({}));
    wait_for_picture(&desktop, "sway-odd", |picture| {
        picture.at(5, 300) == [16, 16, 16]
            && picture.part(0, 40, 400, 100).pixels().any(|pixel| pixel == WHITE)
    });
    desktop.stop();
    assert_eq!(overlay.wait().code(), Some(1));
    let said = overlay.stderr.lines();
    assert!(said.len() == 1 && said[0].contains("the Wayland compositor closed the connection"), "{said:?}");
}
