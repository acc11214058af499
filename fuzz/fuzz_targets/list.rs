// SPDX-License-Identifier: GPL-3.0-or-later
//! Any bytes are a list, and any text may be looked up in it: first line of the input the peer, the rest the list.
#![no_main]

use std::path::Path;

use leco_core::ini::Rendering;
use leco_core::lists::List;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (peer, text) = bytes.split_at(end);
    let (list, diagnostics) = List::parse(text, Path::new("fuzz.list")).expect("it is in memory");
    for diagnostic in &diagnostics {
        assert!(diagnostic.line > 0 && !diagnostic.render(Rendering::Coloured).is_empty());
    }
    let has = list.has(&String::from_utf8_lossy(peer));
    assert!(!has || !list.is_empty());
});
