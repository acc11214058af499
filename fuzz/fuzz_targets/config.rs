// SPDX-License-Identifier: GPL-3.0-or-later
//! Any bytes are a config, and what is wrong with them can be shown.
#![no_main]

use std::path::Path;

use leco_core::config::Config;
use leco_core::ini::{Ini, Rendering};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let config = Config::parse(bytes, Path::new("fuzz.ini"));
    for diagnostic in &config.diagnostics {
        assert!(diagnostic.line > 0 && !diagnostic.render(Rendering::Coloured).is_empty());
    }
    let text = String::from_utf8_lossy(bytes);
    for entry in Ini::parse(&text).entries {
        assert_eq!(&text[entry.key_span()], entry.key);
    }
});
