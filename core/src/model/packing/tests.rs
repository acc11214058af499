// SPDX-License-Identifier: GPL-3.0-or-later
use proptest::prelude::*;

use super::*;
use crate::model::line::{Arrival, Shown};
use crate::model::machines::Placed;

/// An event as the pipe writes one with its details, and its line.
fn event(number: u64) -> Line {
    let (rx, tx, octet) = (number * 4221, number * 831, number % 200);
    let text = format!(
        "18:{:02} :: me :: firefox [app-firefox] :: cdn{number}.example.org 443 :: v {rx}B / {tx}B ^",
        number % 60
    );
    let ns = 86_402_614_934_707 + number * 1_000_003;
    let event = format!(
        r#"{{"ns":{ns},"ns_trx":{},"line":"{text}","boot":"0f1e2d3c","dir":"out","state":"open","v":1,"key":"0f1e2d3c-{ns}","host":"workstation","proto":"tcp","pid":{},"uid":1000,"user":"me","comm":"firefox","parents":["systemd","gnome-shell"],"cg":"/user.slice/user-1000.slice/user@1000.service/app.slice/app-firefox-3921.scope","unit":"app-firefox.scope","laddr":"192.168.178.23","lport":{},"raddr":"203.0.113.{octet}","rport":443,"name":"cdn{number}.example.org","name_src":"hello","alpn":"h2","asn":64496,"as_org":"Example, Inc.","rx":{rx},"tx":{tx}}}"#,
        ns + 19_467_697,
        1000 + number * 7,
        32_768 + number
    );
    let times = [ns, ns + 19_467_697, ns, ns + 19_467_697];
    line(Some(&event), &text, &shown(&text, None), (rx, tx), times)
}

fn line(event: Option<&str>, received: &str, shown: &Shown, (rx, tx): (u64, u64), times: [u64; 4]) -> Line {
    let [ns, ns_trx, first, updated] = times;
    let placed = Placed {
        machine: 3,
        epoch: 7,
        first: first.cast_signed(),
        updated: updated.cast_signed(),
        boot: Some("0f1e".into()),
        host: Some("nas".into()),
    };
    let arrival = Arrival {
        placed,
        ns,
        ns_trx,
        received,
        event,
        bytes: Some(Bytes { rx, tx }),
        state: ConnectionState::Refused,
        phase: Phase::Open,
        is_first_ever: true,
        shown: shown.clone(),
    };
    Line::new(&LineKey::of(3, ns, shown), arrival).0
}

fn shown(text: &str, group: Option<&str>) -> Shown {
    let style = LineStyle { fg: Some(crate::ini::Rgba::BLACK), ..LineStyle::default() };
    Shown { text: text.into(), group: group.map(Into::into), style, curve: Some(2) }
}

/// A line without its event as text, and its event.
fn parts(line: &Line) -> (String, Option<serde_json::Value>) {
    let mut line = line.clone();
    let event = line.event.json.take().map(|event| serde_json::from_str(&event).unwrap());
    (format!("{line:?}"), event)
}

#[test]
fn usual_lines_take_little() {
    let mut packing = Packing::default();
    let (mut lines, mut given) = (Vec::new(), 0);
    for number in 0..1000 {
        let plain = event(number);
        given += plain.event.json.as_ref().unwrap().len();
        let packed = packing.pack(&plain);
        assert_eq!(parts(&packing.unpack(&packed, Extent::All)), parts(&plain));
        lines.push(packed);
    }
    assert!(packing.bytes() * 4 < given, "{} of {given}", packing.bytes());
    for packed in &lines {
        packing.release(packed);
    }
    assert_eq!((packing.bytes(), packing.machines.len(), packing.styles.len()), (0, 0, 0));
}

#[test]
fn a_line_that_comes_again_keeps_its_words_for_itself() {
    let mut packing = Packing::default();
    let plain = event(1);
    for _ in 0..10 {
        let packed = packing.pack(&plain);
        assert_eq!(packing.words.bytes(), 0);
        packing.release(&packed);
    }
}

/// Texts with words that come again, and others.
fn text() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        4 => proptest::sample::select(vec!["::", "firefox", "cdn7.example.org", "192.0.2.1", "2001:db8::1", "443", "v", "", "é", "\\n", "a\"b"]).prop_map(str::to_owned),
        1 => "[a-z.:0-9]{0,12}",
        1 => "\\PC{0,20}",
    ];
    proptest::collection::vec(word, 0..40).prop_map(|words| words.join(" "))
}

/// Any value that may be in an event.
fn value(text: &str, number: u64) -> impl Strategy<Value = serde_json::Value> + use<> {
    proptest::sample::select(vec![
        serde_json::json!(text),
        serde_json::json!(number),
        serde_json::json!(number.to_string()),
        serde_json::json!(format!("0f1e-{number}")),
        serde_json::json!([text, number]),
        serde_json::json!({"a": text}),
        serde_json::json!(-1),
        serde_json::json!(0.5),
        serde_json::json!(true),
        serde_json::json!(null),
    ])
}

prop_compose! {
    fn anything()(
        received in text(),
        other in proptest::option::of(text()),
        group in proptest::option::of(text()),
        times in proptest::array::uniform4(prop_oneof![0_u64..1000, any::<u64>()]),
        bytes in (any::<u32>(), any::<u64>()),
        texts in proptest::collection::vec(text(), 3),
        has_event in any::<bool>(),
    )(
        values in times.map(move |number| value(&texts[usize::try_from(number % 3).unwrap()], number)),
        names in proptest::collection::vec(proptest::sample::select(vec!["ns", "line", "host", "a,b", "é", "", "q\"", "state", "name"]), 4),
        line_value in any::<bool>(),
        received in Just(received), other in Just(other), group in Just(group), times in Just(times),
        bytes in Just(bytes), has_event in Just(has_event),
    ) -> Line {
        let mut event: serde_json::Map<_, _> = names.iter().map(|name| (*name).to_owned()).zip(values).collect();
        if line_value {
            event.insert("line".to_owned(), received.clone().into());
        }
        let event = serde_json::Value::from(event).to_string();
        let text = other.unwrap_or_else(|| received.clone());
        let total = (bytes.0.into(), bytes.1);
        line(has_event.then_some(event.as_str()), &received, &shown(&text, group.as_deref()), total, times)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_line_comes_back_as_it_was(lines in proptest::collection::vec(anything(), 1..12)) {
        let mut packing = Packing::default();
        let mut packed: Vec<_> = lines.iter().map(|line| packing.pack(line)).collect();
        for (packed, plain) in packed.iter().zip(&lines) {
            prop_assert_eq!(parts(&packing.unpack(packed, Extent::All)), parts(plain));
            let bare = Line { event: LastEvent { json: None, ..plain.event.clone() }, ..plain.clone() };
            prop_assert_eq!(parts(&packing.unpack(packed, Extent::WithoutEvent)), parts(&bare));
            prop_assert_eq!(packing.key(packed), plain.key());
            prop_assert!(packing.has_key(packed, &plain.key()));
            prop_assert_eq!(packing.id(packed), plain.id());
            prop_assert_eq!(packed.head().traffic(), plain.bytes.traffic.clone());
            let mut texts = Texts::default();
            let mut fields = serde_json::Map::new();
            packing.read(packed, &mut texts, |name| name != "ns", |name, value| {
                fields.insert(name.to_owned(), serde_json::from_str(value).unwrap());
            });
            prop_assert_eq!((texts.received(), texts.text()), (&*plain.event.received, &*plain.look.text));
            let mut all = parts(plain).1.unwrap_or_else(|| serde_json::json!({}));
            all.as_object_mut().unwrap().remove("ns");
            prop_assert_eq!(serde_json::Value::from(fields), all);
        }
        // Other times, and back in order.
        for (packed, plain) in packed.iter_mut().zip(&lines) {
            packing.place(packed, -5, 77);
            let mut plain = plain.clone();
            (plain.life.first, plain.life.updated) = (-5, 77);
            prop_assert_eq!(parts(&packing.unpack(packed, Extent::All)), parts(&plain));
        }
        for packed in &packed {
            packing.release(packed);
        }
        prop_assert_eq!((packing.bytes(), packing.machines.len(), packing.styles.len()), (0, 0, 0));
    }
}
