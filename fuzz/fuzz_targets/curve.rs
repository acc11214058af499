// SPDX-License-Identifier: GPL-3.0-or-later
//! Any text is a curve or a named fault, and a curve stays within its bounds.
#![no_main]

use std::time::Duration;

use leco_core::fade::{Curve, Fade, Points, SplineKind};

libfuzzer_sys::fuzz_target!(|text: &str| {
    match Points::parse(text) {
        Ok(points) => {
            for kind in [SplineKind::Cardinal, SplineKind::Natural, SplineKind::Linear] {
                let curve = Curve::new(&points, kind);
                assert!((0.0..=1.0).contains(&curve.opacity(0.3)));
                let fade = Fade::new(&curve, Duration::from_secs(1));
                let mut age = 0;
                while let Some(next) = fade.next_change(age) {
                    assert!(next > age && fade.alpha(next) != fade.alpha(age));
                    age = next;
                }
            }
        }
        Err(error) => assert!(text.get(error.span).is_some()),
    }
});
