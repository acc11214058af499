// SPDX-License-Identifier: GPL-3.0-or-later
//! Any bytes may come over the wire.
#![no_main]

use leco_core::config::Config;
use leco_core::model::overseer::Overseer;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut overseer = Overseer::new(Config::default());
    for line in bytes.split(|&byte| byte == b'\n') {
        overseer.receive(line, 1_000);
    }
    let frame = overseer.frame(2_000, 5);
    for row in frame.rows.iter().flatten() {
        assert!(!row.text.chars().any(char::is_control));
    }
});
