// SPDX-License-Identifier: GPL-3.0-or-later
//! The overlay on a real X server.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use leco_e2e::desktop::{
    Overlay, Picture, Rgb, XServer, assert_background, assert_fading, can_use, is_near, over, still_config,
    wait_for_picture,
};
use leco_e2e::{program, wait_for};
use rustix::process::Signal;
use serde_json::json;

const WHITE: Rgb = [255, 255, 255];
const BLACK: Rgb = [0, 0, 0];
const BANDS: [Rgb; 4] = [WHITE, BLACK, [40, 90, 150], [255, 128, 0]];
const NOW: Duration = Duration::ZERO;

fn can_test() -> bool {
    can_use(&["Xvfb", "picom", "fc-match"])
}

/// The pixels of one colour: the first and last column and row.
fn extent(picture: &Picture, colour: Rgb) -> Option<[usize; 4]> {
    let mut found: Option<[usize; 4]> = None;
    for y in 0..picture.height {
        for x in (0..picture.width).filter(|x| picture.at(*x, y) == colour) {
            let [left, top, right, bottom] = found.unwrap_or([x, y, x, y]);
            found = Some([left.min(x), top.min(y), right.max(x), bottom.max(y)]);
        }
    }
    found
}

#[test]
fn the_background_lets_shine_through_what_its_alpha_says() {
    if !can_test() {
        return;
    }
    let server = XServer::start_composed();
    let _below = server.open_below(&BANDS);
    let _overlay = Overlay::on_x(&server, &still_config("rgba-bg = 10608066", "")).with_empty_line();
    assert_background(&server, "x11-background", [0x10, 0x60, 0x80, 0x66], BANDS);
}

#[test]
fn lines_fade_by_the_curve() {
    if !can_test() {
        return;
    }
    let server = XServer::start_composed();
    let _below = server.open_below(&[BLACK]);
    assert_fading(&server, "x11-fading", 20, |config| Overlay::on_x(&server, config));
}

#[test]
fn outline_and_shadow_are_where_they_should_be() {
    const RED: Rgb = [255, 0, 0];
    const GREEN: Rgb = [0, 255, 0];
    const BLUE: Rgb = [0, 0, 255];
    if !can_test() {
        return;
    }
    let server = XServer::start_composed();
    let _below = server.open_below(&[WHITE]);
    let window = "rgba-bg = 00000000\nrgba-fg = ff0000ff";
    let text = "columns = off\nline-height = 60\nfont-height = 24\n";
    let outline = still_config(window, &format!("{text}font-outline = 2,0000ff"));
    let mut overlay = Overlay::on_x(&server, &outline);
    overlay.send("x :: \u{2588}", NOW, &json!({}));
    let red = |picture: &Picture| extent(picture, RED);
    let picture = wait_for_picture(&server, "x11-outline", |picture| red(picture).is_some());
    let [left, top, right, bottom] = red(&picture).unwrap();
    assert!(right - left > 5 && bottom - top > 15, "{left} {top} {right} {bottom}");
    let (centre, middle) = (usize::midpoint(left, right), usize::midpoint(top, bottom));
    for distance in 2..=2 {
        assert_eq!(picture.at(left - distance, middle), BLUE, "{distance} left");
        assert_eq!(picture.at(right + distance, middle), BLUE, "{distance} right");
        assert_eq!(picture.at(centre, top - distance), BLUE, "{distance} above");
        assert_eq!(picture.at(centre, bottom + distance), BLUE, "{distance} below");
    }
    for distance in 5..=8 {
        assert_eq!(picture.at(left - distance, middle), WHITE);
        assert_eq!(picture.at(right + distance, middle), WHITE);
        assert_eq!(picture.at(centre, bottom + distance), WHITE);
    }

    overlay
        .reconfigure(&still_config(window, &format!("{text}font-outline = none\nfont-shadow = 6,4,00ff00")));
    let green = |picture: &Picture| extent(picture, GREEN);
    let picture = wait_for_picture(&server, "x11-shadow", |picture| green(picture).is_some());
    let [left, top, right, bottom] = red(&picture).unwrap();
    let [_, _, shadow_right, shadow_bottom] = green(&picture).unwrap();
    assert_eq!((shadow_right, shadow_bottom), (right + 6, bottom + 4));
    assert_eq!(picture.at(right + 3, bottom), GREEN);
    assert_eq!(picture.at(usize::midpoint(left, right), bottom + 3), GREEN);
    assert_eq!(picture.at(right + 3, top + 1), WHITE, "the shadow is 4 pixels lower");
    assert_eq!(
        picture.at(usize::midpoint(left, right), usize::midpoint(top, bottom)),
        RED,
        "the shadow is behind"
    );
}

#[test]
fn a_click_goes_to_the_window_below_and_the_keyboard_stays_where_it_is() {
    if !can_test() {
        return;
    }
    let server = XServer::start_composed();
    let below = server.open_below(&BANDS);
    for layer in ["top", "bottom", "overlay", "background"] {
        let focus = server.focus();
        let mut overlay = Overlay::on_x(&server, &still_config(&format!("layer = {layer}"), ""));
        overlay.send("x :: line", NOW, &json!({}));
        wait_for_picture(&server, "x11-click", |picture| picture.at(30, 300) != WHITE);
        server.click(100, 100);
        assert_eq!(below.wait_for_click(), (100, 100), "{layer}");
        // SDL gives it to each new window, and the overlay back.
        wait_for(&format!("the keyboard's focus, {layer}"), || (server.focus() == focus).then_some(()));
    }
    let mut overlay = Overlay::on_x(&server, &still_config("click-through = no", ""));
    overlay.send("x :: line", NOW, &json!({}));
    wait_for_picture(&server, "x11-click", |picture| picture.at(30, 300) != WHITE);
    server.click(100, 100);
    server.click(900, 500);
    assert_eq!(below.wait_for_click(), (900, 500), "the overlay takes clicks where it is told to");
}

#[test]
fn a_compositor_may_come_and_go() {
    if !can_test() {
        return;
    }
    let mut server = XServer::start();
    let _below = server.open_below(&[WHITE]);
    let overlay = Overlay::on_x(&server, &still_config("rgba-bg = 10608066", "")).with_empty_line();
    let opaque = |picture: &Picture| is_near(picture.at(300, 300), [0x10, 0x60, 0x80], 1);
    wait_for_picture(&server, "x11-no-compositor", opaque);
    server.start_compositor();
    let wanted = over([0x10, 0x60, 0x80, 0x66], WHITE);
    let shines_through = |picture: &Picture| is_near(picture.at(300, 300), wanted, 1);
    wait_for_picture(&server, "x11-compositor-came", shines_through);
    server.stop_compositor();
    wait_for_picture(&server, "x11-compositor-gone", opaque);
    server.start_compositor();
    wait_for_picture(&server, "x11-compositor-back", shines_through);
    let said = overlay.stderr.lines();
    assert_eq!(said.iter().filter(|line| line.contains("compositor")).count(), 1, "{said:?}");
}

#[test]
fn what_another_window_covered_comes_back_on_a_server_that_forgets_it() {
    if !can_test() {
        return;
    }
    let server = XServer::start_without_composite();
    let mut overlay = Overlay::on_x(&server, &still_config("rgba-bg = ff0000ff", "")).with_empty_line();
    overlay.send("x :: \u{2588}", NOW, &json!({}));
    let is_shown =
        |picture: &Picture| picture.at(300, 300) == [255, 0, 0] && extent(picture, WHITE).is_some();
    let before = wait_for_picture(&server, "x11-uncovered", is_shown);
    let above = server.open_below(&[BLACK]);
    wait_for_picture(&server, "x11-covered", |picture| picture.at(300, 300) == BLACK);
    drop(above);
    wait_for_picture(&server, "x11-uncovered", |picture| *picture == before);
}

#[test]
fn a_resize_refills_and_tears_no_line() {
    if !can_test() {
        return;
    }
    let server = XServer::start_composed();
    let _below = server.open_below(&[BLACK]);
    let text = "font-outline = none\nline-height = 20\n";
    let mut overlay = Overlay::on_x(&server, &still_config("rgba-bg = 00000000\ninit-height = 216", text));
    for number in 0..10 {
        overlay.send(&format!("x :: line {number} {}", "w".repeat(200)), NOW, &json!({}));
    }
    let rows_lit = |picture: &Picture| {
        (0..20)
            .filter(|row| picture.part(20, 48 + 20 * row, 700, 20).pixels().any(|pixel| pixel[0] > 200))
            .count()
    };
    let first = wait_for_picture(&server, "x11-resize-before", |picture| rows_lit(picture) == 10);
    let window = server.windows().into_iter().find(|(_, title)| title == "LECO").unwrap().0;
    server.resize(window, 600, 76);
    wait_for_picture(&server, "x11-resize-small", |picture| rows_lit(picture) == 3);
    server.resize(window, 600, 216);
    let again = wait_for_picture(&server, "x11-resize-again", |picture| rows_lit(picture) == 10);
    // What stayed has not moved.
    let upper = |picture: &Picture| picture.part(0, 40, 700, 68);
    assert!(upper(&first) == upper(&again));
    // A long line ends in an ellipsis before the padding.
    let edge = again.part(620 - 8, 48, 8, 200);
    assert!(edge.pixels().all(|pixel| pixel == BLACK));
    server.resize(window, 900, 216);
    let wide = wait_for_picture(&server, "x11-resize-wide", |picture| {
        picture.part(800, 48, 100, 200).pixels().any(|pixel| pixel[0] > 200)
    });
    assert!(wide.part(920 - 8, 48, 8, 200).pixels().all(|pixel| pixel == BLACK));
}

#[test]
fn a_changed_config_takes_effect_at_once() {
    if !can_test() {
        return;
    }
    let server = XServer::start_composed();
    let _below = server.open_below(&[WHITE]);
    let mut overlay = Overlay::on_x(&server, &still_config("rgba-bg = ff0000ff", "")).with_empty_line();
    overlay.send("x :: \u{2588}", NOW, &json!({}));
    wait_for_picture(&server, "x11-reload-before", |picture| {
        extent(picture, WHITE).is_some() && picture.at(30, 400) == [255, 0, 0]
    });
    overlay.reconfigure(&still_config(
        "rgba-bg = 00ff00ff\nrgba-fg = 0000ff\ninit-offset-left = 100\ninit-width = 300",
        "font-height = 40",
    ));
    let picture = wait_for_picture(&server, "x11-reload-after", |picture| {
        picture.at(90, 400) == WHITE
            && picture.at(101, 400) == [0, 255, 0]
            && picture.at(399, 400) == [0, 255, 0]
            && picture.at(401, 400) == WHITE
            && extent(picture, [0, 0, 255]).is_some()
    });
    let [_, top, _, bottom] = extent(&picture, [0, 0, 255]).unwrap();
    assert!(bottom - top > 35, "the line is there, in the new size");
    overlay.reconfigure("[window]\nrgba-bg = nonsense\n");
    wait_for("the complaint", || {
        overlay.stderr.lines().iter().any(|line| line.contains("widget.ini:2:11")).then_some(())
    });
    assert!(server.screenshot() == picture, "a bad config changes nothing");
}

/// The screens of these tests are 1024 pixels wide and 768 high.
#[test]
fn an_anchor_puts_it_where_no_pixels_need_to_be_counted() {
    if !can_test() {
        return;
    }
    let server = XServer::start_composed();
    let _below = server.open_below(&[WHITE]);
    let window = |anchor: &str| {
        still_config(&format!("rgba-bg = ff0000ff\ninit-width = 300\ninit-height = 200\n{anchor}"), "")
    };
    let first = window("anchor = top-right");
    let overlay = Overlay::on_x(&server, &first).with_empty_line();
    let screen = server.screenshot();
    let (width, height) = (screen.width, screen.height);
    for (anchor, left, top) in [
        ("anchor = top-right", width - 320, 40),
        ("anchor = bottom-right", width - 320, height - 240),
        ("anchor = bottom\ninit-offset-top = 0", (width - 300) / 2, height - 200),
        ("init-offset-left = -10", width - 310, 40),
        ("init-offset-left = 9999", width - 300, 40),
    ] {
        overlay.reconfigure(&window(anchor));
        wait_for_picture(&server, "x11-anchor", |picture| {
            extent(picture, [255, 0, 0]) == Some([left, top, left + 299, top + 199])
        });
    }
}

#[test]
fn the_overlay_layer_stays_above_and_the_bottom_layer_below() {
    if !can_test() {
        return;
    }
    let server = XServer::start();
    let is_at = |last: bool| {
        let windows = server.windows();
        let named: Vec<&str> = windows
            .iter()
            .map(|(_, title)| title.as_str())
            .filter(|title| ["LECO", "below"].contains(title))
            .collect();
        (if last { named.last() } else { named.first() }).is_some_and(|title| *title == "LECO")
    };
    let overlay = Overlay::on_x(&server, &still_config("layer = overlay", ""));
    wait_for("the window", || is_at(true).then_some(()));
    let _above = server.open_below(&[WHITE]);
    wait_for("the overlay to be above", || is_at(true).then_some(()));
    drop(overlay);
    let _overlay = Overlay::on_x(&server, &still_config("layer = bottom\nhints = override_redirect=1", ""));
    wait_for("the overlay to be below", || is_at(false).then_some(()));
}

#[test]
fn monitors_are_found_by_name_and_waited_for() {
    if !can_test() {
        return;
    }
    let server = XServer::start();
    let overlay = Overlay::on_x(&server, &still_config("monitor = DP-7", ""));
    wait_for("the complaint", || {
        let said = overlay.stderr.lines();
        said.iter()
            .any(|line| line.contains("there is no monitor DP-7") && line.contains("screen"))
            .then_some(())
    });
    overlay.reconfigure(&still_config("monitor = screen\ninit-offset-left = 33", ""));
    let window = wait_for("the window", || server.windows().into_iter().find(|(_, title)| title == "LECO"));
    wait_for("its place", || (server.geometry(window.0) == (33, 40, 600, 400)).then_some(()));
}

#[test]
fn whatever_is_configured_and_sent_something_is_shown() {
    if !can_test() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken.ttf");
    std::fs::write(&broken, b"\0\x01\0\0 no font at all").unwrap();
    let server = XServer::start_composed();
    let _below = server.open_below(&[BLACK]);
    let absurd = "init-width = 20000\ninit-height = 20000\ninit-offset-left = -300\npad-x = 320\npad-y = 0\n\
                  flags = minimized maximized fullscreen borderless transparent\nflags = transparent borderless\n\
                  hints = vsync=banana display_priority=,,,\u{fe0f} activate_when_shown=-1 override_redirect=maybe\n\
                  frames-per-second-max = 0.001\nframes-per-second-max = 500\nlayer = overlay";
    let zero = "init-width = 0\ninit-height = 0\n";
    let text = format!("font = {}\n", broken.display());
    for (name, window) in [("absurd", absurd), ("zero", zero)] {
        let mut overlay =
            Overlay::on_x(&server, &still_config(&format!("rgba-bg = 101010ff\n{window}"), &text))
                .with_empty_line();
        let odd = [
            "\u{5e9}\u{5dc}\u{5d5}\u{5dd} :: \u{645}\u{631}\u{62d}\u{628}\u{627} 123 :: \u{202e}evil",
            "x :: e\u{301}\u{302}\u{303}\u{304}\u{305}\u{306} \u{200b}\u{200d}\u{feff} :: \u{1f468}\u{200d}\u{1f469}\u{fe0f}",
            "",
            " :: :: :: ",
            "\u{0}\u{1}\u{1b}[31m\u{fffd}\u{10ffff}",
            "\u{65e5}\u{672c}\u{8a9e} :: \u{1f389}\u{1f389}",
        ];
        for line in odd {
            overlay.send(line, NOW, &json!({"dir": 7, "state": [], "new": "perhaps"}));
        }
        overlay.send(&format!("long :: {}", "\u{301}a".repeat(16_000)), NOW, &json!({}));
        overlay.send(&format!("marks :: {}", "\u{301}".repeat(16_000)), NOW, &json!({}));
        overlay.send_raw(&"x".repeat(200_000));
        overlay.send_raw("\n{not json\n\u{ff}\n");
        overlay.send("z :: \u{2588}\u{2588}", NOW, &json!({}));
        wait_for_picture(&server, &format!("x11-{name}"), |picture| extent(picture, WHITE).is_some());
        assert!(overlay.is_running());
        let said = overlay.stderr.lines().join("\n");
        assert!(said.contains("broken.ttf") && !said.contains("panicked"), "{said}");
        overlay.signal(Signal::TERM);
        assert_eq!(overlay.wait().code(), Some(0));
    }
}

#[test]
fn without_a_server_it_ends_with_a_line_and_a_service_manager_brings_it_back() {
    if !can_test() {
        return;
    }
    let run = |display: &str| {
        let mut command = Command::new(program("leco-sdl-widget"));
        command.arg(Path::new("/dev/null")).env("DISPLAY", display).env_remove("WAYLAND_DISPLAY");
        command.output().unwrap()
    };
    for display in ["", ":4711"] {
        let output = run(display);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    }
    let mut server = XServer::start();
    let is_shown = |server: &XServer| server.windows().iter().any(|(_, title)| title == "LECO").then_some(());
    let mut overlay = Overlay::on_x(&server, &still_config("rgba-bg = ff0000ff", "")).with_empty_line();
    wait_for_picture(&server, "x11-server-gone", |picture| picture.at(100, 300) == [255, 0, 0]);
    server.stop();
    assert_eq!(overlay.wait().code(), Some(1));
    let said = overlay.stderr.lines();
    assert!(
        said.last().is_some_and(|line| line.starts_with("leco-sdl-widget: the X server closed")),
        "{said:?}"
    );
    let server = XServer::start();
    let _again = Overlay::on_x(&server, &still_config("", ""));
    wait_for("the window", || is_shown(&server));
}
