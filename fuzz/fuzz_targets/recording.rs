// SPDX-License-Identifier: GPL-3.0-or-later
//! Any bytes may be played: the first byte chooses what a person does meanwhile, the rest is the recording.
#![no_main]

use std::time::Duration;

use leco_tui::player::Player;
use leco_tui::ui::glyphs::Glyphs;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, recording)) = bytes.split_first() else { return };
    let Ok(mut player) = Player::new(recording.to_vec(), f64::from(choice) / 8.0) else { return };
    let mut last = 0;
    for turn in 0..8 {
        player.play(Duration::from_secs(u64::from(choice)), |at, line| {
            assert!(at >= last && !line.contains(&b'\n'));
            last = at;
        });
        if choice >> turn & 1 == 1 && player.seek(if turn % 2 == 0 { 10 } else { -10 }) {
            last = 0;
        }
        player.catch_up(|at, _| last = at);
        if choice >> turn & 2 == 2 && player.pause() {
            last = 0;
        }
        player.change_speed(2.0);
        assert!(!player.progress(Glyphs::unicode(), usize::from(choice)).is_empty());
        let _ = (player.next_in(), player.ours(Duration::from_secs(1)), player.clocks());
    }
});
