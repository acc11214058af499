// SPDX-License-Identifier: GPL-3.0-or-later
//! Keys of rules for a line that somebody points at.

use super::as_text;
use crate::text::SEPARATOR;

/// What of a line stays the same the next time, process and peer between their separators: as a key, and as what a match
/// becomes. What failed may succeed then, or fail in another way.
#[must_use]
pub fn process_and_peer(line: &str) -> (String, String) {
    match middle(line) {
        None => whole(line),
        Some((kept, true)) => {
            let kept = format!(":: {kept}");
            (format!("{}( !\\w+)? ::", escape(&kept)), format!("{}$1 ::", as_text(&kept)))
        }
        Some((kept, false)) => whole(&format!(":: {kept} ::")),
    }
}

/// A key that matches the lines of this process and peer, however their connections stand; `None` where a line has no
/// such parts.
#[must_use]
pub fn pair(line: &str) -> Option<String> {
    middle(line).map(|(kept, _)| format!("{}( !\\w+)? ::", escape(&format!(":: {kept}"))))
}

/// What stands between user and traffic, without its state; whether it has one.
fn middle(line: &str) -> Option<(String, bool)> {
    let parts: Vec<&str> = line.split(SEPARATOR).collect();
    let [_time, _user, middle @ .., _traffic] = parts.as_slice() else { return None };
    let middle = Some(middle.join(SEPARATOR)).filter(|_| !middle.is_empty())?;
    let is_state = |state: &str| !state.is_empty() && state.chars().all(|c| c.is_ascii_lowercase());
    Some(match middle.rsplit_once(" !") {
        Some((kept, state)) if is_state(state) => (kept.to_owned(), true),
        _ => (middle, false),
    })
}

fn whole(text: &str) -> (String, String) {
    (escape(text.trim()), as_text(text.trim()))
}

/// The process alone.
#[must_use]
pub fn process(line: &str) -> String {
    match line.split(SEPARATOR).nth(2) {
        Some(process) => format!(":: {process} ::"),
        None => line.trim().to_owned(),
    }
}

/// What a regex has to be to match this, as it can stand in a key.
#[must_use]
pub fn escape(text: &str) -> String {
    // A key ends at ` =`, and a line that begins with `;` is a comment. A `#` is escaped.
    let regex = regex_syntax::escape(text).replace(" =", " [=]");
    if let Some(rest) = regex.strip_prefix(';') { format!("[;]{rest}") } else { regex }
}
