// SPDX-License-Identifier: GPL-3.0-or-later
//! Any text is a filter or a named fault, and a filter takes any line: first line of the input the line, the second the
//! event, the rest the filter.
#![no_main]

use leco_core::query::{Names, Query, completions};
use leco_core::wire::details::ConnectionDetails;
use leco_core::wire::event::ConnectionState;

libfuzzer_sys::fuzz_target!(|input: &str| {
    let mut parts = input.splitn(3, '\n');
    let (Some(line), Some(event), Some(text)) = (parts.next(), parts.next(), parts.next()) else { return };
    let details = ConnectionDetails::of(line, Some(event));
    match Query::parse(text) {
        Ok(query) => {
            assert!(Query::check(text).is_ok());
            let holds = query.holds(line, &details, ConnectionState::Refused);
            assert!(holds || !query.is_empty());
        }
        Err(error) => {
            assert!(text.get(error.span.clone()).is_some() && !error.placed(text).is_empty());
        }
    }
    for (completed, _) in completions(text, &[details], &Names::default()) {
        assert!(!completed.is_empty());
    }
});
