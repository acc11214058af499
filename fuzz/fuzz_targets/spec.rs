// SPDX-License-Identifier: GPL-3.0-or-later
//! Any text is a source or an output, or a named fault. Nothing of it is opened.
#![no_main]

use leco_core::source::SourceSpec;
use leco_pipe::outputs::OutputSpec;

libfuzzer_sys::fuzz_target!(|text: &str| {
    match SourceSpec::parse(text) {
        Ok(source) => assert!(!source.is_stdin() || source.path().is_none()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let outputs: Vec<OutputSpec> = text.lines().filter_map(|line| OutputSpec::parse(line).ok()).collect();
    let _ = OutputSpec::refuse_same_places(&outputs);
    for output in &outputs {
        assert!(output.writes().is_none_or(|path| OutputSpec::at(&outputs, path).is_some()));
    }
});
