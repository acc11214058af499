// SPDX-License-Identifier: GPL-3.0-or-later
//! What stands on the screen, at several sizes and depths of colour.

#![allow(clippy::unwrap_used)]

use leco_core::config::Config;
use leco_core::model::overseer::Overseer;
use leco_tui::input::action::{Action, Mode, Offer};
use leco_tui::model::state::State;
use leco_tui::ui::theme::{ColorDepth, Theme};
use leco_tui::ui::view;
use leco_tui::ui::view::{Source, Status};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::{Color, Modifier};
use serde_json::json;
use tui_input::InputRequest;

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
    screen_after(width, height, depth, status, &[])
}

/// The screen after these actions.
fn screen_after(
    width: u16,
    height: u16,
    depth: ColorDepth,
    status: &Status,
    actions: &[Action],
) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let mut overseer = overseer();
    let mut state = State::new(None);
    let mut draw = |overseer: &mut Overseer, state: &mut State| {
        terminal
            .draw(|screen| view::draw(screen, overseer, state, status, Theme::new(depth), 60 * SECOND))
            .unwrap();
    };
    draw(&mut overseer, &mut state);
    for action in actions {
        let _ = state.apply(*action, &overseer, 60 * SECOND);
        draw(&mut overseer, &mut state);
    }
    // As a terminal has it: this one keeps what wide characters once stood upon.
    let mut clean = Terminal::new(TestBackend::new(width, height)).unwrap();
    let theme = Theme::new(depth);
    clean.draw(|screen| view::draw(screen, &mut overseer, &mut state, status, theme, 60 * SECOND)).unwrap();
    clean
}

fn reading() -> Status {
    Status {
        source: Source {
            text: "reading /run/user/1000/leco.fifo".into(),
            is_reading: true,
            ..Source::default()
        },
        ..Status::default()
    }
}

const SIZES: [(u16, u16); 4] = [(120, 40), (80, 24), (40, 10), (20, 3)];

const DEPTHS: [ColorDepth; 4] =
    [ColorDepth::None, ColorDepth::Sixteen, ColorDepth::Indexed, ColorDepth::True];

/// Each view at each size, with its colours at each depth.
fn each_size(name: &str, actions: &[Action]) {
    for (width, height) in SIZES {
        let mut pages = Vec::new();
        for depth in DEPTHS {
            let terminal = screen_after(width, height, depth, &reading(), actions);
            let text = terminal.backend().to_string();
            let (text_before, _) = pages.first().get_or_insert(&(text.clone(), String::new())).clone();
            assert_eq!(text, text_before, "words do not depend on colours");
            pages.push((text, format!("{depth:?}\n{}", styles(&terminal))));
        }
        let colours: Vec<_> = pages.iter().map(|(_, styles)| styles.as_str()).collect();
        let page = format!("{}\n{}", pages[0].0, colours.join("\n"));
        insta::assert_snapshot!(format!("{name}_{width}x{height}"), page);
    }
}

/// The style of each cell as a letter, a line for each row that has any, and what the letters stand for.
fn styles(terminal: &Terminal<TestBackend>) -> String {
    let buffer = terminal.backend().buffer();
    let mut known: Vec<String> =
        vec![format!("{} on {} {:?}", Color::Reset, Color::Reset, Modifier::empty())];
    let mut rows = Vec::new();
    for y in 0..buffer.area.height {
        let letters: String = (0..buffer.area.width)
            .map(|x| {
                let cell = &buffer[(x, y)];
                let style = format!("{} on {} {:?}", cell.fg, cell.bg, cell.modifier);
                let at = known.iter().position(|other| *other == style).unwrap_or_else(|| {
                    known.push(style);
                    known.len() - 1
                });
                std::iter::once('.').chain('a'..='z').chain('A'..='Z').nth(at).unwrap()
            })
            .collect();
        let letters = letters.trim_end_matches('.');
        if !letters.is_empty() {
            rows.push(format!("{y:>3} {letters}"));
        }
    }
    let legend = known.iter().enumerate().skip(1);
    let legend =
        legend.map(|(at, style)| format!("  {} {style}", ('a'..='z').chain('A'..='Z').nth(at - 1).unwrap()));
    rows.extend(legend);
    rows.join("\n")
}

fn typed(text: &str) -> impl Iterator<Item = Action> + '_ {
    text.chars().map(|c| Action::Edit(InputRequest::InsertChar(c)))
}

#[test]
fn the_list() {
    each_size("list", &[]);
}

#[test]
fn a_selected_line_and_its_details() {
    each_size("detail", &[Action::Move(1), Action::Move(1), Action::Open(Mode::Detail)]);
}

#[test]
fn the_rules() {
    each_size("rules", &[Action::Open(Mode::Rules)]);
}

#[test]
fn rules_that_hold_and_a_slow_one() {
    let config = "[rx-proc]\n^\\S+ :: me :: = $1\nnever = x\n(?=slow) = y\n";
    let mut overseer = Overseer::new(Config::parse(config.as_bytes(), std::path::Path::new("test.ini")));
    let event = json!({"ns": SECOND, "ns_trx": SECOND, "line": "18:34 :: me :: ssh :: nas 22 :: "});
    overseer.receive(event.to_string().as_bytes(), SECOND);
    let mut state = State::new(None);
    let _ = state.apply(Action::Open(Mode::Rules), &overseer, SECOND);
    state.rule_times = vec![300, 200, 12_400];
    let mut terminal = Terminal::new(TestBackend::new(60, 8)).unwrap();
    let theme = Theme::new(ColorDepth::None);
    terminal.draw(|screen| view::draw(screen, &mut overseer, &mut state, &reading(), theme, SECOND)).unwrap();
    insta::assert_snapshot!(terminal.backend());
}

#[test]
fn a_value_is_completed_from_what_is_seen() {
    let keys: Vec<_> = [Action::Open(Mode::Filter)].into_iter().chain(typed("proc:")).collect();
    let terminal = screen_after(100, 12, ColorDepth::None, &reading(), &keys);
    let screen = terminal.backend().to_string();
    assert!(screen.contains("Tab: curl firefox nginx ssh"), "{screen}");
    let keys: Vec<_> = keys.into_iter().chain(typed("f")).chain([Action::Complete]).collect();
    let screen = screen_after(100, 12, ColorDepth::None, &reading(), &keys).backend().to_string();
    assert!(screen.contains("filter  proc:firefox   1 of 6"), "{screen}");
}

#[test]
fn a_rule_that_is_typed_goes_into_either_section() {
    let keys: Vec<_> = [Action::Open(Mode::Rules), Action::Offer(Offer::Blank)]
        .into_iter()
        .chain(typed("ssh = shell"))
        .collect();
    let screen = screen_after(90, 24, ColorDepth::None, &reading(), &keys).backend().to_string();
    assert!(screen.contains("rx-proc") && screen.contains("change 1 and hide 0"), "{screen}");
    let keys: Vec<_> = keys.into_iter().chain([Action::Complete]).collect();
    let screen = screen_after(90, 24, ColorDepth::None, &reading(), &keys).backend().to_string();
    assert!(screen.contains("rx-group"), "{screen}");
}

#[test]
fn the_keys() {
    each_size("help", &[Action::Open(Mode::Help)]);
}

#[test]
fn a_filter_with_a_fault_in_it() {
    let keys: Vec<_> = [Action::Open(Mode::Filter)].into_iter().chain(typed("user:me prot:443")).collect();
    each_size("filter_fault", &keys);
}

#[test]
fn a_filter_that_is_being_typed() {
    let keys: Vec<_> = [Action::Open(Mode::Filter)].into_iter().chain(typed("user:me p")).collect();
    each_size("filter", &keys);
}

#[test]
fn a_search() {
    let keys: Vec<_> = [Action::Open(Mode::Search)].into_iter().chain(typed("NAS")).collect();
    each_size("search", &keys);
}

#[test]
fn a_rule_that_is_tried() {
    each_size("trial", &[Action::Move(1), Action::Offer(Offer::Hide)]);
}

#[test]
fn frozen() {
    each_size("frozen", &[Action::Freeze]);
}

#[test]
fn by_total() {
    each_size("sorted", &[Action::Sort, Action::Sort, Action::Sort]);
}

#[test]
fn waiting() {
    let status = Status {
        source: Source { text: "waiting for /run/leco.fifo".into(), ..Source::default() },
        ..Status::default()
    };
    let mut terminal = Terminal::new(TestBackend::new(90, 8)).unwrap();
    let (mut overseer, mut state) = (Overseer::new(Config::default()), State::new(None));
    let theme = Theme::new(ColorDepth::None);
    terminal.draw(|screen| view::draw(screen, &mut overseer, &mut state, &status, theme, 0)).unwrap();
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
    let changed = colours("[window]\nrgba-in = a0b0c0\nrgba-blocked = 102030\n", ColorDepth::True);
    assert_eq!(changed[1], rgb(0xa0_b0c0));
    assert!(changed[4].is_some() && changed[4] != rgb(0x10_2030), "it could not be read on black");
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

#[test]
fn a_click_selects_and_the_scrollbar_scrolls() {
    let mut overseer = Overseer::new(Config::default());
    for number in 0..100_u64 {
        let line = format!("18:34 :: me :: proc-{number:03} :: 192.0.2.1 443 :: ");
        let event = json!({"ns": number, "ns_trx": number + SECOND, "line": line});
        overseer.receive(event.to_string().as_bytes(), 2 * SECOND);
    }
    let mut terminal = Terminal::new(TestBackend::new(80, 12)).unwrap();
    let (mut state, theme) = (State::new(None), Theme::new(ColorDepth::None));
    let mut after = |action| {
        let _ = state.apply(action, &overseer, 2 * SECOND);
        terminal
            .draw(|screen| view::draw(screen, &mut overseer, &mut state, &reading(), theme, 2 * SECOND))
            .unwrap();
        terminal.backend().to_string()
    };
    after(Action::Sort);
    // Last seen first: ten rows, from the second of the screen.
    let screen = after(Action::Point(10, 3));
    assert!(screen.lines().any(|line| line.starts_with("\">") && line.contains("proc-097")), "{screen}");
    let screen = after(Action::Point(79, 10));
    assert!(screen.contains("proc-000") && !screen.contains("proc-010"), "{screen}");
    let screen = after(Action::Point(79, 1));
    assert!(screen.contains("proc-099"), "{screen}");
}
