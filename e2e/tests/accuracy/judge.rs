// SPDX-License-Identifier: GPL-3.0-or-later
//! Whether what is reported is what was counted.

use std::collections::BTreeMap;

use serde_json::Value;

/// What tells the lines of a scenario apart.
const IDENTITY: [&str; 4] = ["pid", "raddr", "rport", "lport"];

/// Ports from here on are given out by the kernel (`ip_local_port_range`).
const EPHEMERAL: u64 = 32768;

/// An event, and the boot clock's time in ns when it was there to read.
pub(crate) struct Told {
    pub(crate) at: u64,
    pub(crate) event: Value,
}

/// What has to be reported.
pub(crate) struct Wanted {
    /// Fields of each line at its end. `rx` and `tx` are what no event of the line may exceed.
    pub(crate) lines: Vec<Value>,
    /// The processes and ports have no line beside these, and no event has another peer or direction.
    pub(crate) is_whole: bool,
    /// Boot clock in ns, and what the far end has put in once it is later than that: all lines together have
    /// received no more.
    pub(crate) fed: Vec<(u64, u64)>,
}

type Events<'a> = Vec<&'a Told>;

fn number(event: &Value, key: &str) -> u64 {
    event[key].as_u64().unwrap_or(0)
}

fn are_equal(keys: &[&str], wanted: &Value, event: &Value) -> bool {
    keys.iter().all(|key| wanted.get(*key).is_none_or(|value| *value == event[*key]))
}

/// Events of connections by line, in the order in which they came. A listener is none.
fn by_line(told: &[Told]) -> BTreeMap<u64, Events<'_>> {
    let mut lines = BTreeMap::<u64, Events<'_>>::new();
    for told in told.iter().filter(|told| told.event.get("dir").is_some_and(|dir| dir != "listen")) {
        lines.entry(number(&told.event, "ns")).or_default().push(told);
    }
    lines
}

/// The last event of each wanted line, or what is wrong. `looked` is what other readers were told besides.
pub(crate) fn judge(wanted: &Wanted, told: &[Told], looked: &[Told]) -> Result<Vec<Value>, String> {
    let lines = by_line(told);
    let looks = by_line(looked);
    let mut found: Vec<(u64, &Value)> = Vec::new();
    for line in &wanted.lines {
        let with_identity = |(_, events): &(&u64, &Events<'_>)| {
            events.last().is_some_and(|last| are_equal(&IDENTITY, line, &last.event))
        };
        let mut candidates: Vec<_> = lines.iter().filter(with_identity).collect();
        if candidates.len() > 1 {
            return Err(format!("{line} is {} lines", candidates.len()));
        }
        let Some((ns, events)) = candidates.pop() else {
            let same_pid = |told: &&Told| told.event["pid"] == line["pid"];
            let known: Vec<_> = told.iter().filter(same_pid).map(|told| told.event.to_string()).collect();
            return Err(format!("no line for {line}; of its process there are {known:#?}"));
        };
        let reported = check(line, events, wanted.is_whole)?;
        if let Some(event) = looks.get(ns).into_iter().flatten().find(|told| exceeds(line, &told.event)) {
            return Err(format!("{line} was counted, and at a look {} was told", event.event));
        }
        found.push((*ns, reported));
    }
    if wanted.is_whole {
        no_others(wanted, &lines, &found)?;
    }
    never_more_than_fed(wanted, told, looked, &found)?;
    Ok(found.into_iter().map(|(_, event)| event.clone()).collect())
}

fn exceeds(line: &Value, event: &Value) -> bool {
    ["rx", "tx"].iter().any(|key| line[*key].as_u64().is_some_and(|most| number(event, key) > most))
}

/// Every event of a line.
fn check<'a>(line: &Value, events: &Events<'a>, is_whole: bool) -> Result<&'a Value, String> {
    let mut before = &Value::Null;
    for told in events {
        let event = &told.event;
        if exceeds(line, event) {
            return Err(format!("{line} was counted, and meanwhile {event} was told"));
        }
        // A reader that was told a later event knows that an earlier one is old.
        if number(event, "ns_trx") >= number(before, "ns_trx")
            && ["rx", "tx"].iter().any(|key| number(event, key) < number(before, key))
        {
            return Err(format!("{event} has fewer bytes than {before} before"));
        }
        if is_whole && !are_equal(&["raddr", "rport", "dir"], line, event) {
            return Err(format!("{line} was done, and meanwhile {event} was told"));
        }
        before = event;
    }
    let is_right = line.as_object().is_some_and(|line| line.iter().all(|(key, value)| before[key] == *value));
    if !is_right {
        return Err(format!("{line} was counted, {before} is reported"));
    }
    let is_unknown = matches!(before["raddr"].as_str(), Some("0.0.0.0" | "::"));
    if is_unknown && line.get("raddr").is_some() && !has_no_peer(before) {
        return Err(format!("no `*` stands for the peer that cannot be known: {before}"));
    }
    Ok(before)
}

/// Whether the line's text says that the peer cannot be known.
fn has_no_peer(event: &Value) -> bool {
    let peer = event["line"].as_str().unwrap_or("").split(" :: ").nth(3).unwrap_or("");
    peer.trim_start_matches("<- ").starts_with('*')
}

fn no_others(
    wanted: &Wanted,
    lines: &BTreeMap<u64, Events<'_>>,
    found: &[(u64, &Value)],
) -> Result<(), String> {
    let is_of = |line: &Value, event: &Value| {
        // Well-known ports are those of others, too, who use this machine at the same time.
        let port = |key: &str| line[key].as_u64().is_some_and(|port| port >= EPHEMERAL && event[key] == port);
        event["pid"] == line["pid"] || port("rport") || port("lport")
    };
    for (ns, events) in lines.iter().filter(|(ns, _)| found.iter().all(|(found, _)| found != *ns)) {
        let others = || wanted.lines.iter().any(|line| events.iter().any(|told| is_of(line, &told.event)));
        if others() {
            let events: Vec<_> = events.iter().map(|told| told.event.to_string()).collect();
            return Err(format!("line {ns} is one too many beside {:?}: {events:#?}", wanted.lines));
        }
    }
    Ok(())
}

fn never_more_than_fed(
    wanted: &Wanted,
    told: &[Told],
    looked: &[Told],
    found: &[(u64, &Value)],
) -> Result<(), String> {
    if wanted.fed.is_empty() {
        return Ok(());
    }
    let is_found = |told: &&Told| found.iter().any(|(ns, _)| *ns == number(&told.event, "ns"));
    let check = |received: u64, told: &Told| {
        let until = wanted.fed.iter().filter(|(at, _)| *at <= told.at).map(|(_, fed)| *fed);
        let fed = until.max().unwrap_or(0);
        if received > fed {
            return Err(format!("{received} bytes were told when {fed} were there: {}", told.event));
        }
        Ok(())
    };
    let mut latest = BTreeMap::new();
    for told in told.iter().filter(is_found) {
        latest.insert(number(&told.event, "ns"), number(&told.event, "rx"));
        check(latest.values().sum(), told)?;
    }
    // A look tells of each line once.
    let mut looks = BTreeMap::<u64, u64>::new();
    for told in looked.iter().filter(is_found) {
        let received = looks.entry(told.at).or_default();
        *received += number(&told.event, "rx");
        check(*received, told)?;
    }
    Ok(())
}

#[test]
fn the_judge_is_not_blind() {
    use serde_json::json;
    let event = |ns: u64, trx: u64, rx: u64, more: Value| {
        let mut event = json!({"pid": 7, "ns": ns, "ns_trx": trx, "raddr": "10.83.1.2", "rport": 40000, "rx": rx, "tx": 0,
            "dir": "out", "state": "open", "line": "12:00 :: u :: c :: 10.83.1.2 40000 :: "});
        event.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        Told { at: trx, event }
    };
    let closed = || json!({"state": "closed"});
    let wanted = |fed: &[(u64, u64)]| Wanted {
        lines: vec![json!({"pid": 7, "raddr": "10.83.1.2", "rport": 40000, "rx": 9, "tx": 0, "dir": "out",
            "state": "closed"})],
        is_whole: true,
        fed: fed.to_vec(),
    };
    let end = || event(1, 30, 9, closed());
    let is_right = |told: &[Told]| judge(&wanted(&[]), told, &[]).is_ok();
    assert!(is_right(&[event(1, 1, 4, json!({})), end()]));
    assert!(!is_right(&[]), "no line");
    assert!(!is_right(&[event(1, 1, 9, json!({}))]), "it has not ended");
    assert!(!is_right(&[event(1, 1, 10, json!({})), end()]), "too many bytes meanwhile");
    assert!(!is_right(&[event(1, 1, 5, json!({})), event(1, 2, 4, json!({})), end()]), "fewer than before");
    assert!(!is_right(&[event(1, 1, 0, json!({"raddr": "0.0.0.0"})), end()]), "another peer meanwhile");
    assert!(!is_right(&[event(1, 1, 0, json!({"dir": "in"})), end()]), "another direction meanwhile");
    assert!(!is_right(&[event(2, 1, 0, json!({"rport": 9})), end()]), "a further line of the process");
    assert!(!is_right(&[event(2, 1, 0, json!({"pid": 8})), end()]), "a further line to the port");
    assert!(!is_right(&[event(2, 1, 9, closed()), end()]), "twice");
    assert!(judge(&wanted(&[]), &[end()], &[event(1, 1, 10, json!({}))]).is_err(), "too many at a look");
    let told = [event(1, 1, 4, json!({})), end()];
    assert!(judge(&wanted(&[(1, 4), (20, 9)]), &told, &[]).is_ok());
    assert!(judge(&wanted(&[(1, 3), (20, 9)]), &told, &[]).is_err(), "told before it was there");
    let unknown = |peer: &str| {
        let line = format!("12:00 :: u :: c :: <- {peer} 5/udp :: ");
        let more = json!({"raddr": "0.0.0.0", "rport": 0, "state": "closed", "line": line});
        let wanted =
            Wanted { lines: vec![json!({"raddr": "0.0.0.0", "rport": 0})], is_whole: true, fed: Vec::new() };
        judge(&wanted, &[event(1, 1, 0, more)], &[]).is_ok()
    };
    assert!(unknown("*") && !unknown("0.0.0.0"));
}
