// SPDX-License-Identifier: GPL-3.0-or-later
//! Anybody may answer for a name server.
#![no_main]

use leco_pipe::enrich::hello::host_name::host_name;
use leco_pipe::enrich::names::answer::Answer;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for answers in [Answer::parse(bytes), Answer::from_tcp(bytes)] {
        assert!(answers.len() <= 16);
        for answer in answers {
            assert_eq!(host_name(&answer.name), Some(answer.name));
            assert!((1..=64).contains(&answer.addresses.len()));
        }
    }
});
