// SPDX-License-Identifier: GPL-3.0-or-later
//! Any text may stand behind an option: each is a value, or refused.
#![no_main]

use jiff::tz::TimeZone;
use leco_cli::history::parse_moment;
use leco_cli::modes::{parse_fifo_mode, parse_socket_mode};
use leco_cli::tunables::Tunables;
use leco_core::batch::follow::FollowFormat;
use leco_core::text::{SPEEDS, parse_bytes, parse_duration, parse_speed, relative_time};
use leco_pipe::history::question::second_of;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(duration) = parse_duration(text) {
        assert!(!relative_time(duration).to_string().is_empty());
    }
    if let Ok(moment) = parse_moment(text) {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap_or(TimeZone::UTC);
        for now in [0, 1_772_323_200, i64::MAX] {
            let _ = second_of(&moment, now, &zone);
        }
    }
    if let Ok(speed) = parse_speed(text) {
        assert!((SPEEDS.0..=SPEEDS.1).contains(&speed));
    }
    assert!([parse_fifo_mode(text), parse_socket_mode(text)].into_iter().flatten().all(|mode| mode <= 0o777));
    let _ = (parse_bytes(text), FollowFormat::parse(text));
    if let Err(error) = Tunables::load(std::iter::empty(), &[text.to_owned()]) {
        assert!(!error.to_string().is_empty());
    }
});
