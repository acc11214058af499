//! What stands on the screen, at several sizes and depths of colour.

#![allow(clippy::unwrap_used)]

use leco_core::config::Config;
use leco_core::overseer::Overseer;
use leco_tui::theme::{ColorDepth, Theme};
use leco_tui::view::{self, Source, Status};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::layout::Rect;
use ratatui::style::Color;
use serde_json::json;

const SECOND: u64 = 1_000_000_000;

fn overseer() -> Overseer {
    let mut overseer = Overseer::new(Config::default());
    for (second, line) in [
        (10, "18:34 :: me :: firefox [app-firefox] :: example.org 443 :: v 1.2M / 80.5K ^"),
        (20, "18:33 :: me :: ssh [tmux] :: nas.lan 22 :: v 5K / 12.4K ^"),
        (30, "18:33 :: root :: curl [cron] :: 203.0.113.9 443 !blocked :: "),
        (40, "18:31 :: www :: nginx :: <- 198.51.100.23 443 :: v 912B / 33K ^"),
        (50, "merged by a rule"),
        (55, "18:30 :: me :: 日本語 :: 2001:db8::1 443/udp :: "),
    ] {
        let event =
            serde_json::json!({"ns": second * SECOND, "ns_trx": second * SECOND, "line": line}).to_string();
        overseer.receive(event.as_bytes(), 60 * SECOND);
    }
    overseer.receive(b"not an event", 60 * SECOND);
    overseer
}

fn screen(width: u16, height: u16, depth: ColorDepth, status: &Status) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let mut overseer = overseer();
    let frame = overseer.frame(60 * SECOND, view::rows(Rect::new(0, 0, width, height)));
    terminal.draw(|screen| view::draw(screen, frame, status, Theme::new(depth))).unwrap();
    terminal
}

fn reading() -> Status {
    Status {
        source: Source { text: "reading /run/user/1000/leco.fifo".into(), is_reading: true, overlong: 0 },
        notice: None,
    }
}

#[test]
fn a_wide_screen() {
    insta::assert_snapshot!(screen(100, 12, ColorDepth::True, &reading()).backend());
}

#[test]
fn a_narrow_one() {
    insta::assert_snapshot!(screen(44, 7, ColorDepth::True, &reading()).backend());
}

#[test]
fn the_smallest_one() {
    insta::assert_snapshot!(screen(20, 3, ColorDepth::True, &reading()).backend());
}

#[test]
fn waiting() {
    let status = Status {
        source: Source { text: "waiting for /run/leco.fifo".into(), ..Source::default() },
        notice: None,
    };
    let mut terminal = Terminal::new(TestBackend::new(90, 8)).unwrap();
    let mut overseer = Overseer::new(Config::default());
    let frame = overseer.frame(0, 6);
    terminal.draw(|screen| view::draw(screen, frame, &status, Theme::new(ColorDepth::None))).unwrap();
    insta::assert_snapshot!(terminal.backend());
}

#[test]
fn states_have_the_colours_of_the_config() {
    let colours = |text: &str, depth| -> Vec<Option<Color>> {
        let config = Config::parse(text.as_bytes(), std::path::Path::new("test.ini"));
        let mut overseer = Overseer::new(config);
        for (ns, fields) in [
            (1, json!({})),
            (2, json!({"dir": "in"})),
            (3, json!({"dir": "in", "state": "refused"})),
            (4, json!({"state": "unanswered"})),
            (5, json!({"state": "blocked"})),
            (6, json!({"new": true})),
        ] {
            let mut event = json!({"ns": ns * SECOND, "ns_trx": ns * SECOND, "line": "x"});
            event.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            overseer.receive(event.to_string().as_bytes(), 7 * SECOND);
        }
        let theme = Theme::new(depth).with_states(overseer.settings().window.state_colours());
        let frame = overseer.frame(7 * SECOND, 6);
        let mut rows: Vec<_> = frame.rows.iter().flatten().collect();
        rows.sort_by_key(|row| row.id);
        rows.into_iter().map(|row| theme.of_row(row).text(255).fg).collect()
    };
    let rgb = |rgb: u32| Some(Color::from_u32(rgb));
    assert_eq!(
        colours("", ColorDepth::True),
        [rgb(0xe6_e6e6), rgb(0x7f_c8a9), rgb(0xf4_a259), rgb(0xf4_a259), rgb(0xef_6f6c), rgb(0xff_d166)]
    );
    let changed = colours("[window]\nrgba-in = 102030\n", ColorDepth::True);
    assert_eq!(changed[1], rgb(0x10_2030));
    assert!(colours("", ColorDepth::None).iter().all(Option::is_none), "words only");
}

#[test]
fn older_lines_are_dimmer() {
    let terminal = screen(100, 12, ColorDepth::True, &reading());
    let buffer = terminal.backend().buffer();
    let brightness = |row: u16| {
        let cell = (0..100).map(|x| &buffer[(x, row)]).find(|cell| cell.symbol() == "m").unwrap();
        let Color::Rgb(red, green, blue) = cell.fg else { panic!("{:?}", cell.fg) };
        u32::from(red) + u32::from(green) + u32::from(blue)
    };
    assert!(
        brightness(1) < brightness(2) && brightness(2) < brightness(6),
        "{:?}",
        [1, 2, 6].map(brightness)
    );
}

#[test]
fn no_size_panics() {
    for width in [0, 1, 2, 19, 250] {
        for height in [0, 1, 2, 3, 7, 8, 60] {
            for depth in [ColorDepth::None, ColorDepth::Sixteen, ColorDepth::Indexed] {
                screen(width, height, depth, &reading());
            }
        }
    }
}
