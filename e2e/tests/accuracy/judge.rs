//! Whether what is reported is what was counted.

use std::collections::BTreeMap;

use serde_json::Value;

/// What tells the lines of a scenario apart.
const IDENTITY: [&str; 4] = ["pid", "raddr", "rport", "lport"];

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

/// Events by line, in the order in which they came.
fn by_line(told: &[Told]) -> BTreeMap<u64, Events<'_>> {
    let mut lines = BTreeMap::<u64, Events<'_>>::new();
    for told in told.iter().filter(|told| told.event.get("dir").is_some()) {
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
        let port = |key: &str| line[key].as_u64().is_some_and(|port| port != 0 && event[key] == port);
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
