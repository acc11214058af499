// SPDX-License-Identifier: GPL-3.0-or-later
//! What stands on the screen, at several sizes and depths of colour.

#![allow(clippy::unwrap_used)]

use leco_core::config::Config;
use leco_core::model::overseer::Overseer;
use leco_os::clock::Now;
use leco_tui::input::action::{Action, Alone, Mode, Offer};
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
        (
            52,
            "18:29 :: systemd-timesync :: systemd-timesyn [systemd-timesyncd] :: prod.ntp.debian.pool.example.org 123/udp :: v 48B / 48B ^",
        ),
        (
            53,
            "18:29 :: me :: chromium [app-org.chromium.Chromium-4711.scope] :: ec2-203-0-113-77.eu-central-1.compute.amazonaws.example 65535 !unreachable :: v 878.9K / 1023.9M ^",
        ),
        (
            54,
            "  -3d :: root :: sshd [ssh] :: <- 2001:db8:1234:5678:9abc:def0:1234:5678 22 !timeout :: v 240.1K / 999.9T ^",
        ),
        (55, "18:30 :: me :: 日本語 :: 2001:db8::1 443/udp :: "),
        (
            56,
            "18:28 :: ada :: git-remote-http [user] :: git.example.com 443 via 10.0.0.1 3128 :: v 12.4M / 3K ^",
        ),
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

const SIZES: [(u16, u16); 7] = [(200, 50), (120, 40), (100, 30), (80, 24), (60, 20), (40, 10), (20, 3)];

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
    assert!(screen.contains("Tab: chromium curl firefox git-remote-http nginx ssh"), "{screen}");
    let keys: Vec<_> = keys.into_iter().chain(typed("f")).chain([Action::Complete]).collect();
    let screen = screen_after(100, 12, ColorDepth::None, &reading(), &keys).backend().to_string();
    assert!(screen.contains("filter  proc:firefox") && screen.contains("\" 1 of 10 "), "{screen}");
}

#[test]
fn a_rule_that_is_typed_goes_into_either_section() {
    let keys: Vec<_> = [Action::Open(Mode::Rules), Action::Offer(Offer::Blank)]
        .into_iter()
        .chain(typed("ssh = shell"))
        .collect();
    let screen = screen_after(90, 24, ColorDepth::None, &reading(), &keys).backend().to_string();
    assert!(screen.contains("rx-proc") && screen.contains("would change 2 lines"), "{screen}");
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

/// 2027-01-15 08:00 UTC, on clocks that are one.
const START: u64 = 1_800_000_000;

/// A model with what a pipe had stored of a day, if it told that, and an hour that was seen since.
fn with_history(is_stored: bool) -> (Overseer, u64) {
    let mut overseer = Overseer::with_list(Config::default(), "");
    overseer.keep_history(Now::from(START * SECOND));
    let day = START - 86_400;
    let total = |hour: u64, (program, unit, user): (&str, &str, &str), (peer, port): (&str, u64), rx: u64| {
        json!({"start": day + hour * 3600, "by": "hour", "program": program, "unit": unit, "uid": 1000,
            "user": user, "dir": "out", "proto": if port == 53 { "udp" } else { "tcp" }, "port": port,
            "peer": peer, "connections": 3 + hour % 4, "rx": rx, "tx": rx / 9 + 40,
            "failures": {"refused": u64::from(program == "curl")}})
    };
    for hour in (0..24).filter(|_| is_stored) {
        let wave = 1 + (hour * 7) % 12;
        let totals = [
            total(hour, ("firefox", "app-firefox", "me"), ("example.org", 443), wave * 90_000_000),
            total(
                hour,
                ("systemd-timesyncd-of-a-long-name", "timesyncd", "root"),
                ("AS64496 Example", 123),
                960,
            ),
            total(hour, ("curl", "cron", "root"), ("日本.example", 443), hour * 4_000_000),
            total(hour, ("nginx", "nginx", "www"), ("198.51.100.0/24", 443), wave * 700_000),
            total(hour, ("dig", "", "ada"), ("10.2.0.0/24", 53), 1234),
        ];
        let event = json!({"ns": 1, "ns_trx": 1, "line": "", "history": {"v": 1, "since": day, "until": START,
            "at": START * SECOND, "end": true, "totals": totals}});
        overseer.receive(event.to_string().as_bytes(), START * SECOND);
    }
    for minute in 1..60 {
        let at = (START + minute * 60) * SECOND;
        let lines = [
            ("me :: firefox [app-firefox] :: example.org 443", minute * minute * 40_000),
            ("me :: ssh [tmux] :: nas.lan 22", minute * 9_000),
        ];
        for (ns, (line, rx)) in (1..).zip(lines) {
            let event = json!({"ns": START * SECOND + ns, "ns_trx": at, "rx": rx, "tx": rx / 20,
                "line": format!("08:00 :: {line} :: "), "new": ns == 2});
            overseer.receive(event.to_string().as_bytes(), at);
        }
    }
    (overseer, (START + 3600) * SECOND)
}

/// The history at the sizes that are asked for most, with its colours at each depth.
fn each_size_of_history(name: &str, is_stored: bool, actions: &[Action]) {
    for (width, height) in [(120, 40), (80, 24), (40, 10)] {
        let mut pages = Vec::new();
        for depth in DEPTHS {
            let (mut overseer, now) = with_history(is_stored);
            let mut state = State::new(None);
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            let mut draw = |overseer: &mut Overseer, state: &mut State| {
                let theme = Theme::new(depth);
                terminal.draw(|screen| view::draw(screen, overseer, state, &reading(), theme, now)).unwrap();
            };
            draw(&mut overseer, &mut state);
            for action in actions {
                let _ = state.apply(*action, &overseer, now);
                draw(&mut overseer, &mut state);
            }
            let mut clean = Terminal::new(TestBackend::new(width, height)).unwrap();
            let theme = Theme::new(depth);
            clean
                .draw(|screen| view::draw(screen, &mut overseer, &mut state, &reading(), theme, now))
                .unwrap();
            pages.push((clean.backend().to_string(), format!("{depth:?}\n{}", styles(&clean))));
        }
        assert!(pages.iter().all(|(text, _)| *text == pages[0].0), "words do not depend on colours");
        let colours: Vec<_> = pages.iter().map(|(_, styles)| styles.as_str()).collect();
        let page = format!("{}\n{}", pages[0].0, colours.join("\n"));
        insta::assert_snapshot!(format!("{name}_{width}x{height}"), page);
    }
}

#[test]
fn the_history() {
    each_size_of_history("history", true, &[Action::Open(Mode::History)]);
}

#[test]
fn the_history_of_what_the_view_saw_itself() {
    each_size_of_history("history_seen", false, &[Action::Open(Mode::History), Action::Range(1)]);
}

#[test]
fn filter_and_order_of_the_list_are_not_told_of_the_history() {
    let (overseer, now) = with_history(false);
    let mut view = Used::new(overseer, (100, 24), now);
    view.after(Action::Sort);
    view.state.set_filter("peer:none", &view.overseer).unwrap();
    assert!(view.screen().contains("filter: peer:none · by last seen"), "{}", view.screen());
    for mode in [Mode::History, Mode::HistoryFilter] {
        let screen = view.after(Action::Open(mode));
        assert!(!screen.contains("peer:none") && !screen.contains("by last"), "{mode:?}: {screen}");
    }
}

#[test]
fn a_row_of_the_history_that_was_gone_into() {
    let keys = [Action::Open(Mode::History), Action::Move(1), Action::Accept, Action::By(1)];
    each_size_of_history("history_row", true, &keys);
}

#[test]
fn a_filter_of_the_history_that_it_does_not_know() {
    let keys: Vec<_> = [Action::Open(Mode::History), Action::Open(Mode::HistoryFilter)]
        .into_iter()
        .chain(typed("proc:curl rtt>1s"))
        .collect();
    each_size_of_history("history_filter", true, &keys);
}

#[test]
fn who_comes_back_is_told_what_is_new_and_h_shows_it() {
    let (mut overseer, now) = with_history(false);
    let mut state = State::new(None);
    let before = (START - 10) * SECOND;
    let _ = state.apply(Action::Move(1), &overseer, before);
    let _ = state.apply(Action::Move(1), &overseer, now);
    let screen = |overseer: &mut Overseer, state: &mut State, now: u64| {
        let mut terminal = Terminal::new(TestBackend::new(100, 24)).unwrap();
        let theme = Theme::new(ColorDepth::None);
        terminal.draw(|screen| view::draw(screen, overseer, state, &reading(), theme, now)).unwrap();
        terminal.backend().to_string()
    };
    let told = screen(&mut overseer, &mut state, now);
    assert!(told.contains("1 new pair since 07:59 · h"), "{told}");
    let later = screen(&mut overseer, &mut state, now + 61 * SECOND);
    assert!(!later.contains("new pair"), "{later}");
    let _ = state.apply(Action::Open(Mode::History), &overseer, now + SECOND);
    let shown = screen(&mut overseer, &mut state, now + SECOND);
    assert!(shown.contains("since I left by program") && !shown.contains("new pair"), "{shown}");
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
        [rgb(0xe6_e6e6), rgb(0x7e_e0b8), rgb(0xff_b26b), rgb(0xff_b26b), rgb(0xff_9492), rgb(0xff_d866)]
    );
    let changed = colours("[window]\nrgba-in = a0b0c0\nrgba-blocked = 102030\n", ColorDepth::True);
    assert_eq!(changed[1], rgb(0xa0_b0c0));
    assert!(changed[4].is_some() && changed[4] != rgb(0x10_2030), "it could not be read on black");
    assert!(colours("", ColorDepth::None).iter().all(Option::is_none), "words only");
}

#[test]
fn older_lines_are_dimmer() {
    let terminal = screen(120, 20, ColorDepth::True, &reading());
    let buffer = terminal.backend().buffer();
    let brightness = |row: u16| {
        let cell = (10..120).map(|x| &buffer[(x, row)]).find(|cell| cell.symbol() == "m").unwrap();
        let Color::Rgb(red, green, blue) = cell.fg else { panic!("{:?}", cell.fg) };
        u32::from(red) + u32::from(green) + u32::from(blue)
    };
    assert!(
        brightness(2) < brightness(3) && brightness(3) < brightness(8),
        "{:?}",
        [2, 3, 8].map(brightness)
    );
}

/// A view that is used.
struct Used {
    overseer: Overseer,
    state: State,
    status: Status,
    size: (u16, u16),
    now: u64,
}

impl Used {
    fn new(overseer: Overseer, size: (u16, u16), now: u64) -> Self {
        let mut used = Self { overseer, state: State::new(None), status: reading(), size, now };
        used.screen();
        used
    }

    fn rows(&mut self) -> Vec<String> {
        let (width, height) = self.size;
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let (theme, now) = (Theme::new(ColorDepth::None), self.now);
        terminal
            .draw(|screen| {
                view::draw(screen, &mut self.overseer, &mut self.state, &self.status, theme, now);
            })
            .unwrap();
        let buffer = terminal.backend().buffer();
        (0..height).map(|y| (0..width).map(|x| buffer[(x, y)].symbol()).collect()).collect()
    }

    fn screen(&mut self) -> String {
        self.rows().join("\n")
    }

    /// All that is said on the screen, however it is broken into lines.
    fn words(&mut self) -> String {
        self.screen().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn after(&mut self, action: Action) -> String {
        let _ = self.state.apply(action, &self.overseer, self.now);
        self.screen()
    }
}

#[test]
fn where_all_lines_have_faded_the_view_says_how_to_see_them() {
    const LATER: u64 = 100_000 * SECOND;
    let faded = |size| Used::new(overseer(), size, LATER);
    for size in [(80, 24), (40, 10), (20, 4)] {
        let words = faded(size).words();
        assert!(words.contains("10 lines faded; s shows them all, l who listens"), "{size:?}: {words}");
    }
    let mut view = faded((80, 24));
    assert!(view.after(Action::Sort).contains("nginx"));
    for action in [Action::Move(1), Action::Move(-1), Action::Last, Action::Open(Mode::Detail)] {
        let mut view = faded((80, 24));
        let screen = view.after(action);
        assert!(screen.contains("\n> "), "{action:?}: {screen}");
        view.state.mode = Mode::List;
        let screen = view.after(Action::Back);
        assert!(screen.contains("10 lines faded"), "{screen}");
    }
    let mut view = faded((80, 24));
    view.after(Action::Freeze);
    assert!(view.words().contains("frozen with nothing on the screen; space resumes"));
    let mut view = Used::new(Overseer::new(Config::default()), (80, 24), LATER);
    let screen = view.after(Action::Open(Mode::Detail));
    assert!(screen.contains("no line to open") && !screen.contains("gone"), "{screen}");
}

#[test]
fn columns_stay_while_a_list_is_scrolled() {
    let mut overseer = Overseer::with_list(Config::default(), "");
    for number in 0..3_000_u64 {
        // The widest are far from both ends, and not in the order of anything.
        let more =
            "x".repeat(usize::try_from(if number.abs_diff(1_500) < 5 { 20 } else { number % 7 }).unwrap());
        let line =
            format!("18:34 :: me{more} :: proc{more} [unit{more}] :: peer{more}.example 443 :: v 1K / 2K ^");
        let event = json!({"ns": number, "ns_trx": number + SECOND, "line": line});
        overseer.receive(event.to_string().as_bytes(), 2 * SECOND);
    }
    let mut view = Used::new(overseer, (120, 24), 2 * SECOND);
    view.after(Action::Sort);
    let first = view.rows()[1].clone();
    for action in [Action::Last, Action::First, Action::MoveScreens(1), Action::MoveScreens(-1)] {
        view.after(action);
        assert_eq!(view.rows()[1], first, "{action:?}");
    }
    view.after(Action::MoveScreens(75));
    let grown = view.rows()[1].clone();
    assert_ne!(grown, first);
    for action in [Action::Last, Action::First, Action::Freeze] {
        view.after(action);
        assert_eq!(view.rows()[1], grown, "{action:?}");
    }
}

#[test]
fn amounts_are_in_bits_where_the_config_says_so() {
    let config = Config::parse(b"[text]\nunits = bits\n", "widget.ini".as_ref());
    let mut overseer = Overseer::new(config);
    for (at, rx) in [(10, 1000), (11, 501_000)] {
        let line = "18:32 :: me :: ssh :: 20ms wg0 :: nas 22 :: v 1.2M / 58B ^";
        let event =
            serde_json::json!({"ns": SECOND, "ns_trx": at * SECOND, "line": line, "rx": rx, "tx": 58});
        overseer.receive(event.to_string().as_bytes(), at * SECOND);
    }
    let mut view = Used::new(overseer, (120, 24), 12 * SECOND);
    let screen = view.screen();
    for told in ["10Mb", "464b", "571kb/s", "about"] {
        assert!(screen.contains(told), "{told}: {screen}");
    }
    assert!(!screen.contains("1.2M") && !screen.contains("from"), "{screen}");
    let detail = view.after(Action::Open(Mode::Detail));
    assert!(detail.contains("4Mb (571kb/s)") && detail.contains("v 1.2M / 58B ^"), "{detail}");
}

#[test]
fn what_merged_connections_moved_has_room() {
    let overseer = |settings: &str| {
        let config = format!("{settings}[rx-group]\n:: curl :: = curl\n");
        let mut overseer = Overseer::new(Config::parse(config.as_bytes(), "widget.ini".as_ref()));
        for (ns, tx) in [(1, 1_034_240), (2, 512)] {
            let line =
                format!("18:34 :: me :: curl :: {ns}.test 443 :: v 2K / {} ^", leco_core::text::bytes(tx));
            let event = json!({"ns": ns, "ns_trx": ns, "line": line, "rx": 2048, "tx": tx});
            overseer.receive(event.to_string().as_bytes(), SECOND);
        }
        overseer
    };
    for width in [110, 80, 60] {
        let screen = Used::new(overseer(""), (width, 12), SECOND).screen();
        assert!(screen.contains("×2") && screen.contains(" 1010.5K "), "{width}: {screen}");
    }
    let screen = Used::new(overseer("[text]\nunits = bits\n"), (110, 12), SECOND).screen();
    assert!(screen.contains(" 8.3Mb "), "{screen}");
}

#[test]
fn columns_stand_under_each_other_whatever_names_are_made_of() {
    for name in ["❤️", "👨‍👩‍👧", "\u{1100}\u{1161}\u{11a8}", "لا", "ﾊﾟ", "1️⃣", "日", "e\u{301}"]
    {
        let mut overseer = Overseer::new(Config::default());
        for (ns, process) in [(1, format!("{}.py", name.repeat(16))), (2, "plain".to_owned())] {
            let line = format!("18:34 :: me :: {process} :: example.org 443 :: v 1.2M / 80.5K ^");
            overseer.receive(json!({"ns": ns, "ns_trx": ns, "line": line}).to_string().as_bytes(), SECOND);
        }
        let mut view = Used::new(overseer, (120, 8), SECOND);
        for width in [120, 80, 72, 60, 50, 44, 40] {
            view.size.0 = width;
            let rows = view.rows();
            let after = rows.iter().filter_map(|row| Some(row.split_once(" 80.5K")?.1.chars().count()));
            let after: Vec<_> = after.collect();
            assert!(after.len() == 2 && after[0] == after[1], "{name} {width}: {rows:#?}");
        }
    }
}

#[test]
fn a_listener_is_told_as_a_whole_over_empty_columns() {
    let overseer = || {
        let mut overseer = Overseer::new(Config::default());
        for (ns, peer, traffic) in [
            (1, "listening 198.51.100.23 65535/udp", ""),
            (2, "198.51.100.123 65535/udp !unreachable", ""),
            (3, "2001:db8:1234:5678:9abc:def0:1234:5678 443", "v 878.9K / 1023.9M ^"),
            (4, "nas.lan 22", "v 878.9K / 1023.9M ^"),
        ] {
            let line = format!("18:34 :: me :: process :: {peer} :: {traffic}");
            let event = json!({"ns": ns, "ns_trx": ns, "line": line});
            overseer.receive(event.to_string().as_bytes(), SECOND);
        }
        overseer
    };
    for width in [80, 70, 64, 60] {
        let mut view = Used::new(overseer(), (width, 12), SECOND);
        let screen = view.screen();
        for whole in [
            "listening 198.51.100.23 65535/udp",
            "198.51.100.123 65535/udp !unreachable",
            "2001:db8:1234:5678:9abc:def0:1234:5678",
            "1023.9M",
        ] {
            assert!(screen.contains(whole), "{width}: {screen}");
        }
    }
}

#[test]
fn what_a_rule_would_do_is_above_its_examples() {
    let mut overseer = Overseer::new(Config::default());
    for ns in 1..9 {
        let peer = "a-name-of-some-length.".repeat(4);
        let line = format!("18:34 :: me :: process [unit] :: {ns}.{peer}example 443 :: v 1K / 2K ^");
        let event = json!({"ns": ns, "ns_trx": ns, "line": line});
        overseer.receive(event.to_string().as_bytes(), SECOND);
    }
    let mut view = Used::new(overseer, (80, 24), SECOND);
    view.after(Action::Open(Mode::Rules));
    view.state.pane_offset = 7;
    view.after(Action::Back);
    view.after(Action::Move(1));
    let screen = view.after(Action::Offer(Offer::Group));
    assert!(screen.contains("would merge 8 lines into 1") && screen.contains("v 8K / 16K ^ ×8"), "{screen}");
    for offer in [Offer::Hide, Offer::Group] {
        view.state.mode = Mode::List;
        view.after(Action::Offer(offer));
        let screen = view.after(Action::MoveScreens(1));
        assert!(screen.contains(" at the end of the config would "), "{screen}");
    }
}

/// So many lines of a list, each of which a second later than the one before.
fn numbered(from: u64, to: u64, overseer: &mut Overseer) {
    for number in from..to {
        let line = format!("18:34 :: me :: proc-{number:03} :: peer.example 443 :: v 1K / 2K ^");
        let at = number * SECOND;
        let event = json!({"ns": at, "ns_trx": at, "line": line, "rx": number * 100_000, "tx": 2048});
        overseer.receive(event.to_string().as_bytes(), at);
    }
}

fn count_of_lines(rows: &[String]) -> usize {
    rows.iter().filter(|row| row.contains("peer.example")).count()
}

#[test]
fn all_is_held_still_whatever_part_of_it_has_room() {
    for (size, lines) in [((80, 24), 18), ((80, 12), 9)] {
        for mode in [Mode::Detail, Mode::Help, Mode::Rules] {
            let mut overseer = Overseer::with_list(Config::default(), "");
            numbered(1, lines + 1, &mut overseer);
            let mut view = Used::new(overseer, size, (lines + 1) * SECOND);
            view.after(Action::Open(mode));
            view.after(Action::Freeze);
            view.after(Action::Back);
            let rows = view.rows();
            assert_eq!(
                count_of_lines(&rows),
                usize::try_from(lines).unwrap(),
                "{size:?} {mode:?}: {rows:#?}"
            );
            assert!(rows[0].contains("FROZEN"), "{rows:#?}");
            for at in [Action::Last, Action::First] {
                view.after(at);
                assert!(view.rows().iter().any(|row| row.starts_with('>')), "{:#?}", view.rows());
            }
        }
        let mut overseer = Overseer::with_list(Config::default(), "");
        numbered(1, lines + 1, &mut overseer);
        let mut view = Used::new(overseer, size, (lines + 1) * SECOND);
        view.after(Action::Open(Mode::Detail));
        view.state.search = "proc".to_owned();
        let mut found = std::collections::HashSet::new();
        for _ in 0..lines {
            assert!(!view.after(Action::Match(1)).contains("not found"));
            found.insert(view.state.selected(&view.overseer).unwrap().text().to_owned());
        }
        assert_eq!(found.len(), usize::try_from(lines).unwrap());
    }
}

#[test]
fn what_is_held_still_stays_until_it_is_asked_for_otherwise() {
    let frozen = |sort: usize| {
        let mut overseer = Overseer::with_list(Config::default(), "");
        numbered(1, 15, &mut overseer);
        let mut view = Used::new(overseer, (120, 24), 15 * SECOND);
        (0..sort).for_each(|_| drop(view.after(Action::Sort)));
        view.after(Action::Freeze);
        view
    };
    for sort in 0..4 {
        let mut view = frozen(sort);
        let before = view.rows()[1..].to_vec();
        assert!(before.iter().any(|row| row.contains("/s ")), "{before:#?}");
        view.now += 3600 * SECOND;
        assert_eq!(view.rows()[1..], before);
    }
    let typed: Vec<_> = [Action::Open(Mode::Filter)].into_iter().chain(typed("proc:proc-003")).collect();
    for (actions, lines) in [(vec![Action::Sort], 14), (typed, 1), (vec![Action::Alone(Alone::Listeners)], 0)]
    {
        let mut view = frozen(0);
        for action in actions {
            view.after(action);
        }
        assert_eq!(count_of_lines(&view.rows()), lines, "{:#?}", view.rows());
        assert!(!view.screen().contains("FROZEN"));
    }
    let mut view = frozen(0);
    view.after(Action::Open(Mode::Filter));
    assert!(view.after(Action::Back).contains("FROZEN"), "nothing else was asked for");
}

#[test]
fn the_wheel_scrolls_through_all_that_is_known() {
    for (lines, size) in [(40, (80, 14)), (200, (80, 24))] {
        let mut overseer = Overseer::with_list(Config::default(), "");
        numbered(1, lines + 1, &mut overseer);
        let mut view = Used::new(overseer, size, (lines + 1) * SECOND);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..lines {
            seen.extend(view.after(Action::Scroll(3)).split_whitespace().map(ToOwned::to_owned));
        }
        let unseen = (1..=lines).filter(|number| !seen.contains(&format!("proc-{number:03}"))).count();
        assert_eq!(unseen, 0, "{}", view.screen());
        assert_eq!(view.state.selection, None);
        (0..lines).for_each(|_| drop(view.after(Action::Scroll(-3))));
        assert!(view.screen().contains(&format!("proc-{lines:03}")));
    }
    let mut overseer = Overseer::with_list(Config::default(), "");
    numbered(1, 5, &mut overseer);
    let mut view = Used::new(overseer, (80, 24), 5 * SECOND);
    let before = view.screen();
    assert_eq!(view.after(Action::Scroll(3)), before, "there is no more than that");
    view.after(Action::Open(Mode::Detail));
    view.after(Action::Scroll(3));
    assert_eq!(view.state.field, 3);
}

#[test]
fn a_list_that_was_held_still_goes_on_where_it_was() {
    for last in [Action::Freeze, Action::Back] {
        let mut overseer = Overseer::with_list(Config::default(), "");
        numbered(1, 41, &mut overseer);
        let mut view = Used::new(overseer, (80, 12), 41 * SECOND);
        view.state.set_filter("me", &view.overseer).unwrap();
        assert!(view.screen().contains("proc-040"));
        view.after(Action::Freeze);
        view.after(Action::MoveScreens(-1));
        numbered(41, 61, &mut view.overseer);
        assert!(!view.screen().contains("proc-060"));
        let screen = view.after(last);
        assert!(screen.contains("proc-060"), "{screen}");
        view.after(Action::MoveScreens(-2));
        let before = view.rows()[1..].to_vec();
        view.after(Action::Freeze);
        assert_eq!(view.rows()[1..], before);
        view.after(last);
        assert_eq!(view.rows()[1..], before);
    }
}

#[test]
fn a_filter_that_is_told_is_the_one_in_force() {
    let lines = ["a\\b [u\\x2d0]", "a|b [^u$]", "plain [unit]"];
    let view = |filters: &str| {
        let config = Config::parse(filters.as_bytes(), "widget.ini".as_ref());
        let mut overseer = Overseer::with_list(config, "");
        for (ns, who) in (1..).zip(lines) {
            let line = format!("18:34 :: me :: {who} :: peer{ns}.* 443 :: ");
            overseer.receive(json!({"ns": ns, "ns_trx": ns, "line": line}).to_string().as_bytes(), SECOND);
        }
        Used::new(overseer, (100, 12), SECOND)
    };
    for at in 1..=2 {
        for (alone, filter) in [
            (Alone::Process, "filter: proc:\"a"),
            (Alone::Unit, "filter: unit:\""),
            (Alone::Peer, "filter: peer:\"peer"),
        ] {
            let mut view = view("");
            (0..at).for_each(|_| drop(view.after(Action::Move(1))));
            let screen = view.after(Action::Alone(alone));
            assert!(screen.contains(filter) && screen.contains("1 of 3 lines"), "{at}: {screen}");
            let screen = view.after(Action::Alone(alone));
            assert!(!screen.contains("filter: ") && screen.contains("3 of 3 lines"), "{at}: {screen}");
        }
    }
    let mut view = view("[filters]\nweb = port:80\n");
    view.state.set_filter("@web", &view.overseer).unwrap();
    view.overseer.reload(Config::default());
    view.state.reloaded(&view.overseer);
    let stays = |screen: &str| screen.contains("filter: @web") && screen.contains("0 of 3 lines");
    assert!(stays(&view.screen()), "{}", view.screen());
    for actions in [
        vec![Action::Open(Mode::Filter), Action::Back],
        vec![Action::Open(Mode::Filter), Action::Accept],
        [Action::Open(Mode::Filter)].into_iter().chain(typed(" x")).chain([Action::Back]).collect(),
        vec![Action::Alone(Alone::Listeners)],
    ] {
        let screens: Vec<_> = actions.into_iter().map(|action| view.after(action)).collect();
        assert!(stays(screens.last().unwrap()), "{screens:#?}");
    }
    assert!(view.screen().contains("there is no saved filter web"), "{}", view.screen());
    let tried: Vec<_> = [Action::Open(Mode::Filter), Action::Edit(InputRequest::DeleteLine)]
        .into_iter()
        .chain(typed("plain"))
        .map(|action| view.after(action))
        .collect();
    assert!(tried.last().unwrap().contains("1 of 3 lines"), "{tried:#?}");
    assert!(stays(&view.after(Action::Back)));
}

#[test]
fn what_is_opened_is_a_line_of_the_list() {
    let mut view = Used::new(overseer(), (100, 30), 60 * SECOND);
    view.after(Action::Move(1));
    view.state.set_filter("proc:nginx", &view.overseer).unwrap();
    let screen = view.after(Action::Open(Mode::Detail));
    assert!(screen.contains("<- 198.51.100.23 443 :: v 912B"), "{screen}");
    let screen = view.after(Action::Open(Mode::Detail));
    assert!(!screen.contains("first seen"), "{screen}");
}

/// Whether all of a text is there, however it is broken into lines.
fn says(screen: &str, text: &str) -> bool {
    let solid = |text: &str| text.split_whitespace().collect::<String>();
    solid(screen).contains(&solid(text))
}

#[test]
fn every_message_can_be_read_as_a_whole() {
    let path = "/home/somebody/.config/a-directory/of-some-length/another-one/leco/widget.ini";
    let reload = format!("{path}:41:9: this group is never closed; and 12 more; keeping the previous config");
    for size in [(80, 24), (80, 7), (40, 10), (40, 7)] {
        let mut view = Used::new(overseer(), size, 60 * SECOND);
        view.status.notice = Some(reload.clone());
        for mode in [Mode::List, Mode::Detail, Mode::Rules, Mode::Help, Mode::Search, Mode::Filter] {
            view.state.mode = mode;
            let screen = view.screen();
            assert!(says(&screen, &reload), "{size:?} {mode:?}: {screen}");
        }
        let mut view = Used::new(overseer(), size, 60 * SECOND);
        view.after(Action::Move(1));
        view.after(Action::Offer(Offer::Hide));
        let screen = view.after(Action::Append);
        assert!(says(&screen, "there is no config to append to: name one on the command line"), "{screen}");
        view.state.config = Some(path.into());
        let screen = view.after(Action::Append);
        let question = format!("append this rule to {path}? y yes any other key: no");
        assert!(says(&screen, &question), "{size:?}: {screen}");
        let screen = view.after(Action::Accept);
        let screen = view.after(Action::Accept) + &screen;
        assert!(says(&screen, "copied: paste it into the config"), "{size:?}: {screen}");
        view.state.config = Some("/dev/null/widget.ini".into());
        view.after(Action::Append);
        let screen = view.after(Action::Confirm);
        assert!(says(&screen, "/dev/null") && view.state.mode == Mode::EditRule, "{size:?}: {screen}");
    }
    let keys: Vec<_> = [Action::Open(Mode::Filter)].into_iter().chain(typed("prot:443")).collect();
    let screen = screen_after(40, 10, ColorDepth::None, &reading(), &keys).backend().to_string();
    assert!(screen.contains("quote it"), "{screen}");
}

#[test]
fn help_is_offered_on_the_smallest_screen_and_not_in_itself() {
    let mut view = Used::new(overseer(), (20, 3), 60 * SECOND);
    assert!(view.rows()[0].contains(" ? "), "{}", view.screen());
    let screen = view.after(Action::Open(Mode::Help));
    assert!(screen.contains("Esc") && !screen.contains('?'), "{screen}");
    let mut view = Used::new(overseer(), (80, 24), 60 * SECOND);
    assert!(!view.after(Action::Open(Mode::Help)).contains("? help"));
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
    let mut view = Used::new(overseer, (80, 12), 2 * SECOND);
    view.after(Action::Sort);
    // Last seen first: nine rows, below header and heading.
    let screen = view.after(Action::Point(10, 4));
    assert!(screen.lines().any(|line| line.starts_with('>') && line.contains("proc-097")), "{screen}");
    let screen = view.after(Action::Point(79, 10));
    assert!(screen.contains("proc-000") && !screen.contains("proc-010"), "{screen}");
    let screen = view.after(Action::Point(79, 2));
    assert!(screen.contains("proc-099"), "{screen}");
}

/// Numbers in a text.
fn numbers(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_digit()).filter(|number| !number.is_empty())
}

/// A connection as a property test makes it: its process, unit, peer, how that is marked, port, bytes and state.
type Made = (String, String, String, &'static str, u16, u64, u64, &'static str, bool);

fn made() -> impl proptest::strategy::Strategy<Value = Vec<Made>> {
    use proptest::prelude::*;
    let peer = prop_oneof![
        "[a-z][a-z.-]{0,60}",
        "[a-z]([.-][a-z]{0,4}[0-9]{0,5}){0,8}",
        any::<std::net::Ipv4Addr>().prop_map(|address| address.to_string()),
        any::<std::net::Ipv6Addr>().prop_map(|address| address.to_string()),
    ];
    proptest::collection::vec(
        (
            "[a-z][a-z-]{0,30}",
            "( \\[[a-z.-]{1,40}\\])?",
            peer,
            proptest::sample::select(vec!["", "<- ", "listening "]),
            0_u16..,
            0_u64..,
            0_u64..,
            proptest::sample::select(vec!["", "/udp", " !refused", " !unreachable"]),
            proptest::bool::weighted(0.2),
        ),
        1..8,
    )
}

/// Lines of them, and each number as it may be shown.
fn of_made(made: &[Made], config: Config) -> (Overseer, std::collections::HashSet<String>) {
    let mut overseer = Overseer::new(config);
    let mut whole = std::collections::HashSet::new();
    for (number, (process, unit, peer, mark, port, rx, tx, state, is_merged)) in (1..).zip(made) {
        let (rx, tx) = (rx.checked_ilog2().map_or(0, |_| rx >> (number * 7 % 60)), tx >> (number * 11 % 60));
        let (said_rx, said_tx) =
            (leco_core::text::bytes(rx).to_string(), leco_core::text::bytes(tx).to_string());
        let line = if *is_merged {
            format!("{process} {port} {said_rx} {said_tx}")
        } else {
            format!(
                "18:34 :: user :: {process}{unit} :: {mark}{peer} {port}{state} :: v {said_rx} / {said_tx} ^"
            )
        };
        let event = json!({
            "v": 1, "ns": number, "ns_trx": 58 * SECOND + number, "line": line, "rx": rx, "tx": tx,
            "raddr": peer, "rport": port, "pid": number * 1_000_003, "comm": process,
        });
        overseer.receive(event.to_string().as_bytes(), 60 * SECOND);
        whole.extend([said_rx, said_tx, port.to_string(), format!("{port}{state}"), "18:34".to_owned()]);
        whole.insert(peer.clone());
    }
    whole.extend(
        overseer
            .known()
            .map(|line| format!("{}/s", leco_core::text::bytes(line.traffic().rate(60 * SECOND).total()))),
    );
    (overseer, whole)
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 16, failure_persistence: None, ..Default::default() })]
    /// Every number on the screen is one that was there before: none is cut, at any width; an address is whole wherever
    /// it can be.
    #[test]
    fn no_number_is_ever_cut(made in made(), has_heading: bool, sorts in 0..4_usize) {
        let (overseer, whole) = of_made(&made, Config::default());
        let runs: std::collections::HashSet<&str> = whole.iter().flat_map(|text| numbers(text)).collect();
        let addresses: Vec<_> = made
            .iter()
            .filter(|(_, _, peer, _, _, _, _, _, is_merged)| !is_merged && peer.parse::<std::net::IpAddr>().is_ok())
            .map(|(_, _, peer, mark, _, _, _, state, _)| (format!("{mark}{peer}"), *state))
            .collect();
        let widest = addresses.iter().map(|(address, _)| address.len()).max().unwrap_or(0);
        let mut view = Used::new(overseer, (80, 16), 60 * SECOND);
        view.state.has_heading = has_heading;
        for _ in 0..sorts {
            view.after(Action::Sort);
        }
        for width in (8..140).step_by(3) {
            view.size.0 = width;
            let rows = view.rows();
            let list: Vec<_> = rows[1..15].iter().map(|row| row.trim_end_matches(['█', '║', '░', '│'])).collect();
            for row in &list {
                for word in row.split_whitespace() {
                    let word = word.trim_end_matches(['v', '^']);
                    if word.starts_with(|c: char| c.is_ascii_digit()) && !word.contains('…') {
                        proptest::prop_assert!(whole.contains(word), "{width}: {word:?} in {row:?}");
                    }
                }
                let is_tag = |word: &&str| word.starts_with('#');
                for number in row.split_whitespace().filter(|word| !is_tag(word)).flat_map(numbers) {
                    proptest::prop_assert!(runs.contains(number), "{width}: {number:?} in {row:?}");
                }
            }
            for (address, state) in &addresses {
                // Marks, the scrollbar and a process are beside it.
                let beside = 4 + 2 + (usize::from(width) / 7).clamp(6, 12) + 2;
                if usize::from(width) >= widest + beside && !state.starts_with(" !") {
                    let is_whole = list.iter().any(|row| row.contains(address));
                    proptest::prop_assert!(is_whole, "{width}: {address} in {list:#?}");
                }
            }
        }
    }

}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 4, failure_persistence: None, ..Default::default() })]
    /// Nothing that a pane says is left out of it, and no number in it is broken.
    #[test]
    fn nothing_in_a_pane_is_ever_cut(made in made(), rule in "[a-z.]{1,40}[0-9]{1,6}", line in 1..2000_usize) {
        let config = format!("{}[rx-proc]\n{rule} [a-z]{{1,9}}never = {rule} 4711\n", "\n".repeat(line));
        let config = Config::parse(config.as_bytes(), std::path::Path::new("test.ini"));
        let (overseer, _) = of_made(&made, config);
        let mut view = Used::new(overseer, (80, 24), 60 * SECOND);
        view.status.source.each = vec!["reading tcp:192.0.2.10:65535".into()];
        view.after(Action::Move(1));
        let fields = view.state.fields(&view.overseer, view.now);
        let fields: Vec<_> = fields.into_iter().map(|field| format!("{} {}", field.name, field.value)).collect();
        let rules: Vec<_> = view.overseer.rules().map(|rule| format!("{} = {}", rule.key, rule.value)).collect();
        let keys = leco_tui::input::action::KEYS.map(|(keys, does)| format!("{keys} {does}")).to_vec();
        for (mode, told) in [(Mode::Detail, fields), (Mode::Rules, rules), (Mode::Help, keys)] {
            let source = view.status.source.each[0].clone();
            for width in (20..140).step_by(7) {
                view.size = (width, 300);
                view.state.mode = mode;
                (view.state.pane_offset, view.state.field) = (0, 0);
                let rows = view.rows();
                // The list stands above, a chart beside.
                let pane = rows.iter().skip(if mode == Mode::Detail { 150 } else { 1 });
                let kept = usize::from(if mode == Mode::Detail && width >= 100 { width / 2 } else { width });
                let pane: Vec<String> = pane.map(|row| row.chars().take(kept).collect()).collect();
                let pane = pane.join("\n");
                for text in &told {
                    proptest::prop_assert!(says(&pane, text), "{width} {mode:?}: {text:?} in {pane}");
                    let room = usize::from(width) - 4;
                    let mut fitting = numbers(text).filter(|number| number.len() <= room);
                    let broken = fitting.find(|number| !numbers(&pane).any(|shown| shown == *number));
                    proptest::prop_assert!(broken.is_none(), "{width} {mode:?}: {broken:?} in {pane}");
                }
                proptest::prop_assert!(mode != Mode::Help || says(&pane, &source), "{width}: {pane}");
            }
        }
    }
}
