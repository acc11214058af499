// SPDX-License-Identifier: GPL-3.0-or-later
//! The cases of `conformance/`, all of them.

#![allow(clippy::unwrap_used)]

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use leco_core::config::Config;
use leco_core::fade::{Curve, Points, SplineKind};
use leco_core::rules::Verdict;
use leco_core::text::{self, Protocol};
use serde_json::Value;

fn cases(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

fn each<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> {
    let list = value[key].as_array().unwrap();
    assert!(!list.is_empty(), "{key}");
    list.iter()
}

#[test]
fn rules() {
    for case in each(&cases(include_str!("conformance/rules.json")), "cases") {
        let mut config = String::new();
        for section in ["rx-group", "rx-proc"] {
            config.push_str(&format!("[{section}]\n"));
            for rule in case[section].as_array().into_iter().flatten() {
                config.push_str(&format!("{}\n", rule.as_str().unwrap()));
            }
        }
        let mut config = Config::parse(config.as_bytes(), Path::new("rules.json"));
        assert_eq!(config.diagnostics, [], "{case}");
        let expected = if case["expect"]["drop"] == true {
            Verdict::Drop
        } else {
            Verdict::Show {
                line: case["expect"]["line"].as_str().unwrap().into(),
                group: case["expect"]["group"].as_str().map(Into::into),
            }
        };
        let line = case["line"].as_str().unwrap();
        assert_eq!(config.rules.apply(line), expected, "{}", case["name"]);
        assert_eq!(config.rules.explain(line).verdict, expected, "{}", case["name"]);
    }
}

#[test]
fn fade() {
    let mut checked = 0;
    for case in each(&cases(include_str!("conformance/fade.json")), "cases") {
        let kind = SplineKind::parse(case["spline"].as_str().unwrap()).unwrap();
        let curve = Curve::new(&Points::parse(case["curve"].as_str().unwrap()).unwrap(), kind);
        for point in each(case, "opacity") {
            let (fraction, expected) = (point[0].as_f64().unwrap(), point[1].as_f64().unwrap());
            let opacity = curve.opacity(fraction);
            assert!(
                (opacity - expected).abs() <= 0.002,
                "{} {kind:?} at {fraction}: {opacity}, not {expected}",
                case["curve"]
            );
            checked += 1;
        }
    }
    assert!(checked >= 300, "{checked}");
}

#[test]
fn bytes() {
    for case in each(&cases(include_str!("conformance/format.json")), "bytes") {
        assert_eq!(text::bytes(case[0].as_u64().unwrap()).to_string(), case[1].as_str().unwrap());
    }
    assert_eq!(text::bytes(1024).to_string(), "1K");
    assert_eq!(text::bytes(u64::MAX).to_string(), "16E");
}

#[test]
fn relative_time() {
    for case in each(&cases(include_str!("conformance/format.json")), "relative_time") {
        let age = Duration::from_secs_f64(case[0].as_f64().unwrap());
        assert_eq!(text::relative_time(age).to_string(), case[1].as_str().unwrap());
    }
}

#[test]
fn duration() {
    for case in each(&cases(include_str!("conformance/format.json")), "duration") {
        let expected = Duration::from_secs_f64(case[1].as_f64().unwrap());
        assert_eq!(text::parse_duration(case[0].as_str().unwrap()), Ok(expected), "{case}");
    }
}

#[test]
fn endpoint() {
    for case in each(&cases(include_str!("conformance/format.json")), "endpoint") {
        let address: IpAddr = case[0][0].as_str().unwrap().parse().unwrap();
        let port = u16::try_from(case[0][1].as_u64().unwrap()).unwrap();
        let protocol = match case[0][2].as_str().unwrap() {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => Protocol::Other(port),
        };
        assert_eq!(text::endpoint(address, port, protocol).to_string(), case[1].as_str().unwrap());
    }
}
