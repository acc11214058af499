// SPDX-License-Identifier: GPL-3.0-or-later
//! Drawing only what has changed must give the same picture as drawing everything.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use leco_core::config::Config;
use leco_core::model::overseer::Overseer;
use leco_sdl_widget::painter::Painter;
use leco_sdl_widget::painter::pixels::{Pixmap, Rect, join};
use proptest::prelude::*;

const WIDTH: i32 = 400;
const HEIGHT: i32 = 130;
const MS: u64 = 1_000_000;
const START: u64 = 1_000_000 * MS;

fn config(text: &str) -> Config {
    let config = Config::parse(text.as_bytes(), Path::new("w.ini"));
    assert_eq!(config.diagnostics, []);
    config
}

fn painter(config: &Config) -> Painter {
    let (mut painter, notice) = Painter::new(&config.settings, WIDTH, HEIGHT, 1.0).unwrap();
    assert_eq!(notice, None);
    painter.set_effects(true);
    painter
}

fn canvas() -> Pixmap {
    Pixmap::new(usize::try_from(WIDTH).unwrap(), usize::try_from(HEIGHT).unwrap())
}

fn receive(overseer: &mut Overseer, ns: u64, now: u64, line: &str, fields: &str) {
    let event = format!("{{\"ns\":{ns},\"ns_trx\":{now},\"line\":\"{line}\"{fields}}}");
    overseer.receive(event.as_bytes(), now);
}

fn same(a: &Pixmap, b: &Pixmap) -> bool {
    a.rows().eq(b.rows())
}

#[test]
fn nothing_new_draws_nothing_and_one_line_draws_its_row() {
    let config = config("");
    let mut painter = painter(&config);
    painter.set_effects(false);
    let mut overseer = Overseer::new(config);
    let rows = painter.rows();
    let mut canvas = canvas();
    for ns in 1..4 {
        receive(&mut overseer, ns, START, "10:00 :: me :: curl :: 192.0.2.1 443 :: v 1K / 1K ^", "");
    }
    painter.update(overseer.frame(START, rows), START);
    assert_eq!(painter.paint(&mut canvas.canvas(), &[], START), [canvas.bounds()]);
    assert_eq!(painter.paint(&mut canvas.canvas(), &[], START), []);
    receive(&mut overseer, 2, START + 1, "10:00 :: me :: curl :: 192.0.2.1 443 :: v 1K / 2K ^", "");
    painter.update(overseer.frame(START + 1, rows), START + 1);
    let damage = painter.paint(&mut canvas.canvas(), &[], START + 1);
    // The second of rows of 21 pixels, 8 from the top.
    let row = Rect { x: 0, y: 8 + 21, width: WIDTH, height: 21 };
    assert!(damage.len() == 1 && damage[0].intersection(row) == damage[0], "{damage:?}");
}

#[test]
fn how_a_connection_stands_is_seen_by_its_colour() {
    let lines = [
        ("", 0xffe6_edf3),
        (",\"dir\":\"in\"", 0xff00_ff00),
        (",\"state\":\"refused\"", 0xff00_ffff),
        (",\"state\":\"timeout\"", 0xff00_ffff),
        (",\"state\":\"blocked\"", 0xffff_0000),
        (",\"new\":true", 0xff00_00ff),
    ];
    for (fields, colour) in lines {
        let config = config(
            "[window]\nrgba-bg = 000000ff\nrgba-in = 00ff00\nrgba-refused = 00ffff\nrgba-blocked = ff0000\n\
             rgba-new = 0000ff\n[text]\nfont-outline = none\nline-fade-time = 1h\n",
        );
        let mut painter = painter(&config);
        let mut overseer = Overseer::new(config);
        let (rows, mut canvas) = (painter.rows(), canvas());
        receive(&mut overseer, 1, START, "x :: \u{2588}\u{2588}", fields);
        // After what comes with an effect has come.
        for now in [START, START + 1000 * MS] {
            painter.update(overseer.frame(now, rows), now);
            painter.paint(&mut canvas.canvas(), &[], now);
        }
        assert!(canvas.rows().flatten().any(|pixel| *pixel == colour), "{fields}");
    }
}

#[test]
fn more_contrast_makes_ground_and_faint_parts_opaque() {
    let config = config(
        "[window]\nrgba-bg = 00408080\nrgba-fg = ffffffc0\n[text]\nfont-outline = none\nline-uid-chars = 0\n\
         columns = off\nline-fade-time = 1h\n",
    );
    let mut painter = painter(&config);
    let mut overseer = Overseer::new(config);
    let (rows, mut canvas) = (painter.rows(), canvas());
    // A time stands before all else, and only completes the line.
    receive(&mut overseer, 1, START, "\u{2588}\u{2588} :: me :: curl :: 192.0.2.1 443 :: v 1K / 1K ^", "");
    let mut picture = |is_high: bool| {
        assert!(painter.set_high_contrast(is_high));
        assert!(!painter.set_high_contrast(is_high));
        for now in [START, START + 1000 * MS] {
            painter.update(overseer.frame(now, rows), now);
            painter.paint(&mut canvas.canvas(), &[], now);
        }
        let left = canvas.rows().next().unwrap()[0];
        let pixels: Vec<u32> = canvas.rows().flat_map(|row| row[..30].to_vec()).collect();
        (left, pixels.contains(&u32::MAX))
    };
    assert_eq!(picture(true), (0xff00_4080, true));
    let (ground, has_full_text) = picture(false);
    assert!(ground >> 24 < 0xff && !has_full_text);
    // Where no line is, nothing is.
    let hours = START + 7200 * 1000 * MS;
    painter.set_high_contrast(true);
    for now in [hours, hours + 1000 * MS] {
        painter.update(overseer.frame(now, rows), now);
        painter.paint(&mut canvas.canvas(), &[], now);
    }
    assert!(canvas.rows().flatten().all(|pixel| *pixel == 0));
}

#[test]
fn effects_move_end_and_leave_what_is_drawn_without_them() {
    for effect in ["slide", "glow", "blur"] {
        let text = format!("[text]\neffect-new = {effect}\neffect-gone = {effect}\nline-fade-time = 1h\n");
        let mut pictures = Vec::new();
        for has_effects in [true, false] {
            let config = config(&text);
            let mut painter = painter(&config);
            painter.set_effects(has_effects);
            let mut overseer = Overseer::new(config);
            let rows = painter.rows();
            let mut canvas = canvas();
            let mut show = |overseer: &mut Overseer, now: u64| {
                painter.update(overseer.frame(now, rows), now);
                painter.paint(&mut canvas.canvas(), &[], now);
                (canvas.clone(), painter.next_step(now))
            };
            // The first of them, whose slot the last one takes.
            for ns in 0..=u64::try_from(rows).unwrap() {
                let now = START + ns * 2000 * MS;
                receive(&mut overseer, ns, now, &format!("10:00 :: me :: curl{ns} :: 192.0.2.1 443 :: "), "");
                let mut last = None;
                let mut steps = 0;
                for age in (0..800).step_by(16) {
                    let (picture, next) = show(&mut overseer, now + age * MS);
                    steps += u32::from(last.as_ref().is_some_and(|last| !same(last, &picture)));
                    // The last one takes the slot of one that goes.
                    let most = if ns < u64::try_from(rows).unwrap() { 16 } else { 33 };
                    assert!(next.is_none_or(|next| next <= Duration::from_millis(most)));
                    assert!(age < 770 || next.is_none(), "{effect} never ends");
                    last = Some(picture);
                }
                assert_eq!(steps > 5, has_effects, "{effect}: {steps} steps");
            }
            pictures.push(show(&mut overseer, START + 600_000 * MS).0);
        }
        assert!(same(&pictures[0], &pictures[1]), "{effect}");
    }
}

#[test]
fn old_and_new_text_are_never_over_each_other() {
    let block = "\u{2588}".repeat(8);
    for (gone, new) in [("slide", "slide"), ("blur", "none"), ("glow", "glow"), ("none", "slide")] {
        let config = config(&format!(
            "[window]\nrgba-bg = 0000\n[text]\nfont-outline = none\nline-height = 60\nline-uid-chars = 0\n\
             effect-gone = {gone}\neffect-new = {new}\n[rx-style]\neven = fg=f00\nodd = fg=0f0\n"
        ));
        let mut painter = painter(&config);
        assert_eq!(painter.rows(), 1);
        let mut overseer = Overseer::new(config);
        let mut canvas = canvas();
        let mut now = START;
        // One by one, then in a burst.
        for (ns, wait) in [(2, 1000), (3, 1000), (4, 100), (5, 30), (6, 30), (7, 30), (8, 1000)] {
            let kind = if ns % 2 == 0 { "even" } else { "odd" };
            receive(&mut overseer, ns, now, &format!("{kind} :: {block}"), "");
            let mut last = Vec::new();
            for _ in 0..wait / 10 {
                painter.update(overseer.frame(now, 1), now);
                painter.paint(&mut canvas.canvas(), &[], now);
                let has = |shift: u32| canvas.rows().flatten().any(|pixel| (pixel >> shift) & 0xff > 0);
                last = vec![has(16), has(8)];
                assert_ne!(last, [true, true], "{gone} {new} {ns}");
                now += 10 * MS;
            }
            if wait == 1000 {
                assert_eq!(last, [ns % 2 == 0, ns % 2 == 1], "{gone} {new} {ns}: the line is there");
            }
        }
    }
}

/// Of each row of a window: where a block begins (behind the tag, which may have a ground), and where everything ends.
fn columns_of(canvas: &Pixmap, rows: usize) -> Vec<(Option<usize>, Option<usize>)> {
    let lines: Vec<&[u32]> = canvas.rows().collect();
    let ground = lines[0][0];
    let row = |index: usize| {
        let band = &lines[8 + 21 * index..8 + 21 * (index + 1)];
        let height = |x: usize| band.iter().filter(|line| line[x] != ground).count();
        let width = band[0].len();
        ((60..width).find(|x| height(*x) > 14), (0..width).rfind(|x| height(*x) > 0))
    };
    (0..rows).map(row).collect()
}

#[test]
fn parts_begin_and_numbers_end_at_the_same_place_in_every_line() {
    let traffics = ["v 1K / 2K ^", "v 100.5K / 1023.9M ^", "v 0B / 11.1K ^"];
    let heads = ["me :: sh", "somebody :: daemon [unit]", "root :: a"];
    for text in ["", "line-uid-chars = 0\n", "[rx-style]\ndaemon = weight=bold icon=*\n"] {
        let config = config(&format!("[text]\nfont-outline = none\n{text}"));
        let (mut painter, _) = Painter::new(&config.settings, 700, HEIGHT, 1.0).unwrap();
        let mut overseer = Overseer::new(config);
        for (ns, (head, traffic)) in (1..).zip(heads.into_iter().zip(traffics)) {
            let line = format!("10:00 :: {head} :: \u{2588} {ns} :: {traffic}");
            receive(&mut overseer, ns, START, &line, if ns == 2 { ",\"new\":true" } else { "" });
        }
        receive(&mut overseer, 4, START, "\u{2588}", "");
        painter.update(overseer.frame(START, 4), START);
        let mut canvas = Pixmap::new(700, usize::try_from(HEIGHT).unwrap());
        painter.paint(&mut canvas.canvas(), &[], START);
        let columns = columns_of(&canvas, 4);
        assert!(
            columns[0].0.is_some_and(|x| x > 150) && columns[0].1.is_some_and(|x| x < 695),
            "{columns:?}"
        );
        for (begin, end) in &columns[..3] {
            assert_eq!(*begin, columns[0].0, "{text}: {columns:?}");
            // The last mark is wider where it is bold.
            assert!(end.zip(columns[0].1).is_some_and(|(a, b)| a.abs_diff(b) <= 2), "{text}: {columns:?}");
        }
        assert!(columns[3].0 < columns[0].0, "what rules have merged flows: {columns:?}");
    }
}

/// An overlay over which nobody talks is not there.
#[test]
fn nothing_is_drawn_where_no_line_is() {
    let config = config("[window]\nrgba-bg = ff0000ff\n[text]\nline-fade-time = 10\n");
    let mut painter = painter(&config);
    painter.set_effects(false);
    let mut overseer = Overseer::new(config);
    let rows = painter.rows();
    let mut canvas = canvas();
    let mut ground_at = |overseer: &mut Overseer, now: u64| {
        painter.update(overseer.frame(now, rows), now);
        painter.paint(&mut canvas.canvas(), &[], now);
        canvas.rows().last().unwrap().last().copied().unwrap()
    };
    assert_eq!(ground_at(&mut overseer, START), 0);
    receive(&mut overseer, 1, START, "10:00 :: me :: curl :: 192.0.2.1 443 :: ", "");
    let grounds: Vec<u32> =
        (0..=100).map(|tenth| ground_at(&mut overseer, START + tenth * 100 * MS)).collect();
    assert_eq!((grounds[0], grounds[70], grounds[100]), (0xffff_0000, 0xffff_0000, 0));
    assert!(grounds.is_sorted_by(|a, b| a >= b), "{grounds:x?}");
}

#[derive(Debug, Clone)]
enum Step {
    Event { ns: u64, text: u8, fields: u8 },
    Wait(u64),
    Opaque(bool),
    Contrast(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let event =
        (0..9_u64, any::<u8>(), any::<u8>()).prop_map(|(ns, text, fields)| Step::Event { ns, text, fields });
    let wait = prop_oneof![1..40_u64, 300..20_000_u64].prop_map(Step::Wait);
    proptest::collection::vec(
        prop_oneof![4 => event, 4 => wait, 1 => any::<bool>().prop_map(Step::Opaque),
            1 => any::<bool>().prop_map(Step::Contrast)],
        1..25,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_drawn_step_by_step_is_what_is_drawn_at_once(steps in steps(), effect in 0..4_usize) {
        const TEXTS: [&str; 5] = ["a", "10:00 :: me :: curl :: 192.0.2.1 443 :: v 1K / 2K ^", "\u{2588}\u{2588} :: x",
            "a very long line :: that does not fit into the window :: and so ends in an ellipsis :: somewhere", "\u{5d0}\u{5d1} 12"];
        const FIELDS: [&str; 4] = ["", ",\"new\":true", ",\"dir\":\"in\"", ",\"state\":\"blocked\""];
        let effect = ["none", "slide", "glow", "blur"][effect];
        let config = config(&format!(
            "[text]\nline-height = 15\nfont-outline = 2,0000ffff\nfont-shadow = 5,6,ff000080\neffect-new = {effect}\n\
             effect-gone = {effect}\nline-fade-time = 30\n[rx-style]\ncurl = bg=20304080\n"
        ));
        let mut painter = painter(&config);
        let mut overseer = Overseer::new(config);
        let rows = painter.rows();
        // Two canvases in turn, each of which misses what was drawn on the other.
        let mut canvases = [(canvas(), Vec::new()), (canvas(), Vec::new())];
        let whole = canvases[0].0.bounds();
        canvases[1].1.push(whole);
        let mut now = START;
        for (turn, step) in steps.into_iter().enumerate() {
            match step {
                Step::Event { ns, text, fields } => {
                    let (text, fields) = (TEXTS[usize::from(text) % 5], FIELDS[usize::from(fields) % 4]);
                    receive(&mut overseer, ns, now, text, fields);
                }
                Step::Wait(ms) => now += ms * MS,
                Step::Opaque(is_opaque) => {
                    painter.set_opaque(is_opaque);
                }
                Step::Contrast(is_high) => {
                    painter.set_high_contrast(is_high);
                }
            }
            painter.update(overseer.frame(now, rows), now);
            let (canvas, stale) = &mut canvases[turn % 2];
            let damage = painter.paint(&mut canvas.canvas(), &std::mem::take(stale), now);
            if damage.is_empty() {
                // Then it is not shown, and stays as stale as it was.
                canvases[turn % 2].1.push(whole);
                continue;
            }
            let shown = canvas.clone();
            for area in damage {
                join(&mut canvases[1 - turn % 2].1, area);
            }
            painter.fit(WIDTH, HEIGHT);
            let mut at_once = self::canvas();
            painter.paint(&mut at_once.canvas(), &[], now);
            prop_assert!(same(&shown, &at_once));
        }
    }
}
