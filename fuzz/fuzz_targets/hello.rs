// SPDX-License-Identifier: GPL-3.0-or-later
//! Any program may write any bytes where a `ClientHello` is expected.
#![no_main]

use leco_pipe::enrich::hello::client_hello::parse;
use leco_pipe::enrich::hello::host_name::{host_name, shown};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // What is fuzzed is the inside: its length is right most of the time.
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes();
    let message = [&[1, 0, len[0], len[1]], bytes].concat();
    for hello in [parse(bytes), parse(&message)].into_iter().flatten() {
        if let Some(name) = hello.name {
            assert_eq!(host_name(&name).as_deref(), Some(&*name));
            check_shown(&name);
        }
        if let Some(alpn) = hello.alpn {
            assert!(alpn.len() <= 32 && alpn.bytes().all(|byte| byte.is_ascii_graphic()));
        }
    }
    if let Some(name) = str::from_utf8(bytes).ok().and_then(host_name) {
        check_shown(&name);
    }
});

/// What is shown has as many labels, and none that could be taken for another's.
fn check_shown(name: &str) {
    let shown = shown(name);
    assert!(
        !shown.contains(|character: char| character.is_control() || character.is_whitespace()),
        "{shown:?}"
    );
    assert_eq!(shown.split('.').count(), name.split('.').count(), "{shown:?}");
    for (label, before) in shown.split('.').zip(name.split('.')) {
        assert!(label == before || !label.is_ascii(), "{shown:?} {name:?}");
    }
}
