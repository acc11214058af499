// SPDX-License-Identifier: GPL-3.0-or-later
//! Any rule takes any line: first line of the input the line, the rest the rules.
#![no_main]

use std::path::Path;

use leco_core::config::Config;
use leco_core::rules::Verdict;
use leco_core::wire::details::Peers;

libfuzzer_sys::fuzz_target!(|input: &str| {
    let Some((line, rules)) = input.split_once('\n') else { return };
    let text = format!("[rx-group]\nnever this =\n[rx-proc]\n{rules}");
    let mut config = Config::parse(text.as_bytes(), Path::new("fuzz.ini"));
    let explanation = config.rules.explain(line);
    assert_eq!(config.rules.apply(line), explanation.verdict);
    if let Verdict::Show { line: shown, .. } = &explanation.verdict {
        assert!(shown.len() <= (64 << 10).max(line.len()));
        let _ = config.styles.style(shown, &Peers::of(line, None));
    }
});
