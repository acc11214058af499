// SPDX-License-Identifier: GPL-3.0-or-later
//! How a query that is being typed may go on.

use std::collections::BTreeSet;

use super::{FIELDS, NUMBERS, Names, WORDS, is_plain};
use crate::wire::details::ConnectionDetails;
use crate::wire::event::{Direction, State};

/// Values of fields that are offered.
const MAX_VALUES: usize = 8;

/// Whether completions of this query are among the values that connections have.
#[must_use]
pub fn completes_values(text: &str) -> bool {
    let last = text.rsplit(char::is_whitespace).next().unwrap_or_default();
    let name =
        last.strip_prefix('-').unwrap_or(last).split_once(':').map(|(name, _)| name.to_ascii_lowercase());
    matches!(name.as_deref(), Some("user" | "proc" | "unit" | "peer" | "port" | "host" | "country" | "iface"))
}

/// What may stand at the end of a query: what to put there, and what it is. Values are those of these connections.
#[must_use]
pub fn completions(text: &str, seen: &[ConnectionDetails], names: &Names) -> Vec<(String, &'static str)> {
    let last = text.rsplit(char::is_whitespace).next().unwrap_or_default();
    let word = last.strip_prefix('-').unwrap_or(last);
    if let Some((written, begun)) = word.split_once(':') {
        let name = written.to_ascii_lowercase();
        let values: Vec<&str> = match name.as_str() {
            "dir" => Direction::NAMES.to_vec(),
            "new" => vec!["yes", "no"],
            "state" => State::names().collect(),
            "list" => names.lists.names().filter(|name| !name.contains(char::is_whitespace)).collect(),
            name => return values_seen(name, begun, seen).into_iter().map(|more| (more, "")).collect(),
        };
        let begun = values.iter().filter(|value| value.starts_with(begun) && **value != begun);
        return begun.map(|value| (value[word.len() - name.len() - 1..].to_owned(), "")).collect();
    }
    if let Some(begun) = word.strip_prefix('@') {
        let saved = names.filters.iter().filter(|(name, _)| !name.contains(char::is_whitespace));
        let goes_on = saved.filter_map(|(name, _)| name.strip_prefix(begun).filter(|rest| !rest.is_empty()));
        return goes_on.map(|rest| (rest.to_owned(), "")).collect();
    }
    if word.is_empty() {
        return Vec::new();
    }
    let words = WORDS.iter().filter(|(name, _)| name.starts_with(word) && *name != word);
    let words = words.map(|(name, what)| (name[word.len()..].to_owned(), *what));
    // What stands for itself needs no value.
    let fields = FIELDS.iter().filter(|(name, _)| name.starts_with(word) && *name != "new");
    let fields = fields.map(|(name, what)| (format!("{}:", &name[word.len()..]), *what));
    let numbers = NUMBERS.iter().filter(|(name, _)| name.starts_with(word));
    let numbers = numbers.map(|(name, what)| (format!("{}>", &name[word.len()..]), *what));
    words.chain(fields).chain(numbers).collect()
}

/// How values of a field go on that begin so.
fn values_seen(field: &str, begun: &str, seen: &[ConnectionDetails]) -> Vec<String> {
    let mut values = BTreeSet::new();
    for details in seen {
        match field {
            "user" => drop(values.insert(details.user.clone())),
            "proc" => drop(values.insert(details.process.clone())),
            "unit" => values.extend(details.units.iter().cloned()),
            "peer" => values.extend(details.peers.iter().cloned()),
            "port" => values.extend(details.port.map(|port| port.to_string())),
            "host" => drop(values.insert(details.host.clone())),
            "country" => drop(values.insert(details.country.clone())),
            "iface" => drop(values.insert(details.iface.clone())),
            _ => {}
        }
    }
    let goes_on = |value: &String| {
        let (start, rest) = value.split_at_checked(begun.len())?;
        // What would have to be quoted is not offered.
        (start.eq_ignore_ascii_case(begun) && !rest.is_empty() && is_plain(value)).then(|| rest.to_owned())
    };
    values.iter().filter_map(goes_on).take(MAX_VALUES).collect()
}
