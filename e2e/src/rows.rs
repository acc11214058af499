// SPDX-License-Identifier: GPL-3.0-or-later
//! Connections as rows of the terminal view, held against events.

use serde_json::Value;

/// A connection, as far as a screen tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    has_ended: bool,
    /// Peer and bytes.
    text: String,
}

impl Row {
    pub(crate) fn of(event: &Value) -> Option<Self> {
        let line = event["line"].as_str()?;
        let mut parts = line.rsplit(" :: ");
        let (traffic, peer) = (parts.next()?, parts.next()?);
        let (received, sent) = traffic.strip_prefix("v ")?.strip_suffix(" ^")?.split_once(" / ")?;
        let has_ended = !matches!(event["state"].as_str()?, "open" | "connecting");
        Some(Self { has_ended, text: format!("{peer} {received} {sent}") })
    }

    fn is(&self, shown: &(bool, String)) -> bool {
        self.has_ended == shown.0 && shown.1.starts_with(&format!("{} ", self.text))
    }
}

/// In what a screen differs from events of all connections of a process of this name, if it does.
#[must_use]
pub fn screen_differs(screen: &str, name: &str, events: &[Value]) -> Option<String> {
    let rows = events.iter().map(Row::of).collect::<Option<Vec<_>>>();
    rows.map_or_else(|| Some("a line without its parts".to_owned()), |rows| difference(screen, name, &rows))
}

/// Characters of a tag. Marks of what is new and of what has ended may follow at once.
const TAG: usize = 4;

/// In what the screen differs from what is known, if it does: the mark of what has ended stands behind the tag. What has
/// ended may be known to the screen alone: the maps forget it.
pub(crate) fn difference(screen: &str, name: &str, known: &[Row]) -> Option<String> {
    let mut shown: Vec<(bool, String)> = screen
        .lines()
        .filter_map(|line| {
            let words = line.split_whitespace().collect::<Vec<_>>().join(" ") + " ";
            let (_, after) = words.split_once(&format!(" {name} "))?;
            // A host may stand before the tag, and the time stands behind the marks.
            let tag = line.chars().skip_while(|c| *c != '#');
            let has_ended = tag.skip(TAG).take_while(|c| !c.is_ascii_digit()).any(|mark| mark == '-');
            Some((has_ended, after.to_owned()))
        })
        .collect();
    for row in known {
        let Some(at) = shown.iter().position(|shown| row.is(shown)) else {
            return Some(format!("{row:?} is not on the screen"));
        };
        shown.swap_remove(at);
    }
    let open = shown.iter().find(|(has_ended, _)| !has_ended);
    match open {
        Some(open) => Some(format!("{open:?} is only on the screen")),
        None => known.is_empty().then(|| "the maps are empty".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_follow_a_tag_at_once_or_not() {
        let row = |has_ended| Row { has_ended, text: "10.83.1.2 9 !refused 0B 0B".to_owned() };
        for (marks, has_ended) in [("   ", false), ("+  ", false), (" - ", true), ("+- ", true)] {
            for tag in [" #Av3", " #-7i", " a-1#7-_", " web1#rf-"] {
                let screen = format!("{tag}{marks}10:47  root  full1  10.83.1.2 9 !refused  0B   0B  \n");
                assert_eq!(difference(&screen, "full1", &[row(has_ended)]), None, "{screen}");
                assert!(difference(&screen, "full1", &[row(!has_ended)]).is_some(), "{screen}");
            }
        }
    }
}
