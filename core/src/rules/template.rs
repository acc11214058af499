//! Replacement templates: `$1`…`$9` (one digit), `$0`, `${12}`, `${name}`, `$$`.

use super::pattern::Captures;

/// A compiled replacement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Group(usize),
    Name(String),
}

impl Template {
    /// Any text is a template: a `$` that starts no reference stands for itself.
    pub(crate) fn parse(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            literal.push_str(&rest[..at]);
            let (part, tail) = reference(&rest[at + 1..]);
            match part {
                Part::Text(text) => literal.push_str(&text),
                part => {
                    if !literal.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut literal)));
                    }
                    parts.push(part);
                }
            }
            rest = tail;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Self { parts }
    }

    /// Appends the expansion for a match; a group that is not set is empty.
    pub(crate) fn expand(&self, captures: &Captures<'_>, into: &mut String) {
        for part in &self.parts {
            into.push_str(match part {
                Part::Text(text) => text,
                Part::Group(index) => captures.get(*index),
                Part::Name(name) => captures.name(name),
            });
        }
    }
}

/// Reads what follows a `$`.
fn reference(rest: &str) -> (Part, &str) {
    if let Some(tail) = rest.strip_prefix('$') {
        return (Part::Text("$".into()), tail);
    }
    if let Some(digit) = rest.chars().next().and_then(|c| c.to_digit(10)) {
        return (Part::Group(digit as usize), &rest[1..]);
    }
    if let Some((name, tail)) = rest.strip_prefix('{').and_then(|inner| inner.split_once('}'))
        && !name.is_empty()
        && name.chars().all(|c| c.is_alphanumeric() || c == '_')
    {
        return (name.parse().map_or_else(|_| Part::Name(name.into()), Part::Group), tail);
    }
    (Part::Text("$".into()), rest)
}
