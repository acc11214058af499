// SPDX-License-Identifier: GPL-3.0-or-later
//! A filter for people: words, patterns and fields, as in `proc:firefox -port:443 /cdn[0-9]/`.

mod completion;
mod number;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

pub use self::completion::{completes_values, completions};
use self::number::Comparison;
pub use self::number::NUMBERS;
use crate::lists::{List, Lists, unquoted};
use crate::matching::{Case, Pattern};
use crate::text::{FLAG_WORDS, parse_flag};
use crate::wire::details::ConnectionDetails;
use crate::wire::event::{ConnectionState, Direction, State};
use crate::wire::history::HistoryFlow;

/// Fields that can be asked for, with what they are.
pub const FIELDS: [(&str, &str); 13] = [
    ("user", "name of the user, or number where events tell it"),
    ("proc", "process or script"),
    ("unit", "unit, container or cgroup"),
    ("peer", "name or address of the other end"),
    ("list", "the other end is in what the config has by this name in [lists]"),
    ("port", "port of the service: 443, 8000-8999"),
    ("dir", "in, out, listen"),
    (
        "state",
        "open, listening, connecting, closed, refused, reset, timeout, unreachable, unanswered, blocked",
    ),
    ("host", "machine"),
    ("country", "country of the other end: DE"),
    ("cmd", "command line or path of the program"),
    ("iface", "interface by which it leaves"),
    ("new", "never seen before"),
];

/// Words that ask for more than themselves, with what they choose. In quotes they are text.
pub const WORDS: [(&str, &str); 3] = [
    ("trouble", "refused, reset, timed out, unreachable, unanswered or blocked"),
    ("new", "never seen before"),
    ("open", "not ended, as far as events tell"),
];

/// Filters by name, as they stand in `[filters]` of a config.
pub type SavedFilter = (String, String);

/// What a config gives names to.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// `@NAME`
    pub filters: Vec<SavedFilter>,
    /// `list:NAME`
    pub lists: Lists,
}

/// Chooses lines: all of its terms have to hold.
#[derive(Debug, Clone, Default)]
pub struct Query {
    terms: Vec<Term>,
}

#[derive(Debug, Clone)]
struct Term {
    is_negated: bool,
    test: Test,
}

#[derive(Debug, Clone)]
enum Test {
    /// Of the line as it is shown.
    Line(Text),
    User(Text),
    /// Of the user's number.
    Uid(u32),
    Process(Text),
    Unit(Text),
    Peer(Text),
    Host(Text),
    Country(Text),
    Command(Text),
    Interface(Text),
    Number(Comparison),
    State(Text),
    Port(u16, u16),
    /// Its peer is in it.
    List(Arc<List>),
    Direction(Direction),
    FirstEver(bool),
    /// Something went wrong.
    Trouble,
    /// It did not end.
    Open,
    /// A saved filter.
    Saved(Query),
}

/// Holds for texts that contain it, whatever their case.
#[derive(Debug, Clone)]
enum Text {
    Word(String),
    Pattern(Box<Pattern>),
}

/// Why a query cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct QueryError {
    /// Bytes of the query that are meant.
    pub span: Range<usize>,
    /// What is wrong, and what to do.
    pub message: String,
    /// Saved filters that lead back to the first of them, where that is what is wrong.
    pub(crate) circle: Vec<String>,
}

impl QueryError {
    /// All of a query is meant.
    #[must_use]
    pub fn whole(query: &str, message: impl Into<String>) -> Self {
        Self { span: 0..query.len(), message: message.into(), circle: Vec::new() }
    }

    /// The same with the part of the query that is meant, and its place.
    #[must_use]
    pub fn placed(&self, query: &str) -> String {
        let before = query.get(..self.span.start).unwrap_or_default();
        let meant = query.get(self.span.clone()).unwrap_or_default();
        format!("{} (character {}, {meant})", self.message, before.chars().count() + 1)
    }
}

/// What names stand for.
#[derive(Clone, Copy)]
enum Scope<'s> {
    /// Not known yet: each may stand for something.
    Unknown,
    Known {
        names: &'s Names,
        /// Names of saved filters that led here.
        path: &'s [&'s str],
    },
}

/// What is wrong with a term.
#[derive(Default)]
struct TermFault {
    message: String,
    /// See [`QueryError`].
    circle: Vec<String>,
}

impl<T: Into<String>> From<T> for TermFault {
    fn from(message: T) -> Self {
        Self { message: message.into(), ..Self::default() }
    }
}

impl Query {
    /// Reads a query where nothing has a name. Nothing chooses everything.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        Self::parse_with(text, &Names::default())
    }

    /// Reads a query, in which `@NAME` stands for a saved one, and `list:NAME` for a list.
    pub fn parse_with(text: &str, names: &Names) -> Result<Self, QueryError> {
        Self::read(text, Scope::Known { names, path: &[] })
    }

    /// Whether a query can be read, as far as that is known without what has names.
    pub fn check(text: &str) -> Result<(), QueryError> {
        Self::read(text, Scope::Unknown).map(|_| ())
    }

    fn read(text: &str, scope: Scope<'_>) -> Result<Self, QueryError> {
        let mut terms = Vec::new();
        let mut at = 0;
        while let Some(start) = text[at..].find(|c: char| !c.is_whitespace()).map(|skip| at + skip) {
            let end = end_of_term(text, start)?;
            let term = Term::parse(&text[start..end], scope);
            terms.push(term.map_err(|TermFault { message, circle }| QueryError {
                span: start..end,
                message,
                circle,
            })?);
            at = end;
        }
        Ok(Self { terms })
    }

    /// Whether it asks for nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether it asks for more than the line as it is shown.
    pub(crate) fn asks_for_details(&self) -> bool {
        self.terms.iter().any(|term| !matches!(term.test, Test::Line(_)))
    }

    /// Whether a field of events has a say in it.
    pub(crate) fn asks_for(&self, field: &str) -> bool {
        self.terms.iter().any(|term| match &term.test {
            Test::Saved(query) => query.asks_for(field),
            test => test.fields().contains(&field),
        })
    }

    /// Whether it asks for something that none of these fields of events tells, as where nothing else is known.
    #[must_use]
    pub fn asks_beyond(&self, known: &[&str]) -> bool {
        self.terms.iter().any(|term| match &term.test {
            Test::Saved(query) => query.asks_beyond(known),
            Test::Line(_) => false,
            // Neither is told by a field.
            Test::FirstEver(_) | Test::Number(_) => true,
            // A direction says which of the ports it is, and is none.
            Test::Port(..) => !known.contains(&"lport") && !known.contains(&"rport"),
            test => !test.fields().iter().any(|field| known.contains(field)),
        })
    }

    /// Whether a line is chosen, as it is shown and by its details.
    #[must_use]
    pub fn holds(&self, shown: &str, details: &ConnectionDetails, state: ConnectionState) -> bool {
        self.terms.iter().all(|term| term.test.holds(shown, details, state) != term.is_negated)
    }

    /// Whether it chooses what totals are of.
    #[must_use]
    pub fn chooses(&self, flow: HistoryFlow) -> bool {
        self.is_empty() || self.holds(&flow.line(), &flow.into_details(), ConnectionState::Ordinary)
    }

    /// The same of those terms in which time has no say: so it stays while a line does not change.
    pub(crate) fn holds_always(
        &self,
        shown: &str,
        details: &ConnectionDetails,
        state: ConnectionState,
    ) -> bool {
        let lasting = self.terms.iter().filter(|term| !term.test.is_timed());
        lasting.into_iter().all(|term| term.test.holds(shown, details, state) != term.is_negated)
    }

    /// Whether the terms about age hold; `None` if the age alone does not decide.
    pub(crate) fn holds_at(&self, age: Duration) -> Option<bool> {
        let mut is_told = true;
        for term in self.terms.iter().filter(|term| term.test.is_timed()) {
            match &term.test {
                Test::Number(number) if number.holds_at(age) == term.is_negated => return Some(false),
                Test::Number(_) => {}
                _ => is_told = false,
            }
        }
        is_told.then_some(true)
    }
}

/// Ends of quotes and patterns may hold spaces.
fn end_of_term(text: &str, start: usize) -> Result<usize, QueryError> {
    let mut closing: Option<char> = None;
    let mut is_escaped = false;
    let mut before = None;
    for (at, c) in text[start..].char_indices() {
        match closing {
            Some(_) if is_escaped => is_escaped = false,
            Some('/') if c == '\\' => is_escaped = true,
            Some(close) if c == close => closing = None,
            None if c.is_whitespace() => return Ok(start + at),
            None if matches!(c, '"' | '/') && matches!(before, None | Some(':' | '-' | '@')) => {
                closing = Some(c);
            }
            Some(_) | None => {}
        }
        before = Some(c);
    }
    match closing {
        Some(close) => Err(QueryError {
            span: start..text.len(),
            message: format!("the closing {close} is missing"),
            circle: Vec::new(),
        }),
        None => Ok(text.len()),
    }
}

impl Term {
    fn parse(text: &str, scope: Scope<'_>) -> Result<Self, TermFault> {
        let (is_negated, text) = match text.strip_prefix('-').filter(|rest| !rest.is_empty()) {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        foreign(text).map_or(Ok(()), Err)?;
        Ok(Self { is_negated, test: Test::parse(text, scope)? })
    }
}

/// What to write instead of what rules and other tools have, and what would choose nothing here.
fn foreign(term: &str) -> Option<String> {
    match term {
        "-" => return Some("a minus excludes what follows it: write -word, or \"-\" for the sign".into()),
        "&&" | "&" => return Some("all terms have to hold: leave && out".into()),
        "||" | "|" => return Some("for one or the other write a regex: /one|other/".into()),
        _ => {}
    }
    if let Some(rest) = term.strip_prefix('!')
        && (rest.starts_with('/') || field(rest).is_some())
    {
        return Some(format!("a minus excludes: write -{rest}"));
    }
    let flags = &term[..term.find('/')?];
    let wrapped = term[flags.len()..].strip_prefix('/')?;
    let is_flag = |c: char| matches!(c, 'i' | 'I' | '!');
    if flags.is_empty() && !wrapped.ends_with('/') {
        return Some("nothing may follow a regex, and case never counts: end it with /".into());
    }
    if !flags.is_empty() && flags.chars().all(is_flag) && wrapped.ends_with('/') {
        let minus = if flags.contains('!') { "-" } else { "" };
        return Some(format!("case never counts, and a minus excludes: write {minus}/{wrapped}"));
    }
    None
}

/// `FIELD:VALUE`, whatever the field is called; in capitals only one that there is.
fn field(text: &str) -> Option<(String, &str)> {
    let (written, value) = text.split_once(':')?;
    let name = written.to_ascii_lowercase();
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase());
    let is_meant = name == written || FIELDS.iter().any(|(known, _)| *known == name);
    (is_name && is_meant && !value.starts_with(':')).then_some((name, value))
}

impl Test {
    fn parse(text: &str, scope: Scope<'_>) -> Result<Self, TermFault> {
        match text.to_ascii_lowercase().as_str() {
            "new" => return Ok(Self::FirstEver(true)),
            "trouble" => return Ok(Self::Trouble),
            "open" => return Ok(Self::Open),
            _ => {}
        }
        if let Some(name) = text.strip_prefix('@') {
            return saved(unquoted(name), scope).map(Self::Saved);
        }
        if let Some(number) = Comparison::parse(text) {
            return number.map(Self::Number).map_err(Into::into);
        }
        let Some((name, value)) = field(text) else { return Ok(Self::Line(Text::parse(text)?)) };
        let of = |make: fn(Text) -> Self| Text::parse(value).map(make);
        let read = match name.as_str() {
            "user" => match value.parse() {
                Ok(uid) => Ok(Self::Uid(uid)),
                Err(_) => of(Self::User),
            },
            "proc" => of(Self::Process),
            "unit" => of(Self::Unit),
            "peer" => of(Self::Peer),
            "list" => match scope {
                Scope::Unknown => Ok(Self::List(Arc::default())),
                Scope::Known { names, .. } => names.lists.find(unquoted(value)).map(Self::List),
            },
            "host" => of(Self::Host),
            "country" => of(Self::Country),
            "cmd" => of(Self::Command),
            "iface" => of(Self::Interface),
            "state" => match Text::parse(value)? {
                Text::Word(word) if !State::names().any(|name| name.contains(&word)) => {
                    let states: Vec<_> = State::names().collect();
                    Err(format!("there is no state {value}; states are {}", states.join(", ")))
                }
                text => Ok(Self::State(text)),
            },
            "port" => ports(value).map(|(first, last)| Self::Port(first, last)),
            "dir" => Direction::parse(&value.to_ascii_lowercase())
                .map(Self::Direction)
                .ok_or_else(|| "dir is in, out or listen".to_owned()),
            "new" if value.is_empty() => Ok(Self::FirstEver(true)),
            "new" => parse_flag(value).map(Self::FirstEver).ok_or_else(|| format!("new is {FLAG_WORDS}")),
            _ if NUMBERS.iter().any(|(number, _)| *number == name) => {
                Err(format!("{name} is a number: write {name}>{value} or {name}<{value}"))
            }
            _ => {
                let names: Vec<_> = FIELDS.iter().map(|(name, _)| *name).collect();
                Err(format!(
                    "there is no field {name}; fields are {}; or quote it: \"{text}\"",
                    names.join(", ")
                ))
            }
        };
        read.map_err(TermFault::from)
    }

    /// Fields of events that have a say in it.
    fn fields(&self) -> &'static [&'static str] {
        match self {
            // What a saved one asks for, that one says.
            Self::Line(_) | Self::FirstEver(_) | Self::Saved(_) => &[],
            Self::User(_) | Self::Uid(_) => &["user", "uid"],
            Self::Process(_) => &["comm", "script"],
            Self::Unit(_) => &["unit", "container"],
            Self::Peer(_) | Self::List(_) => &["raddr", "name"],
            Self::Host(_) => &["host"],
            Self::Country(_) => &["country"],
            Self::Command(_) => &["cmdline", "exe"],
            Self::Interface(_) => &["iface"],
            Self::Number(number) => number.fields(),
            Self::State(_) | Self::Trouble | Self::Open => &["state"],
            Self::Port(..) => &["dir", "lport", "rport"],
            Self::Direction(_) => &["dir"],
        }
    }

    /// Whether time has a say in it.
    fn is_timed(&self) -> bool {
        match self {
            Self::Number(number) => number.is_of_age(),
            Self::Saved(query) => query.terms.iter().any(|term| term.test.is_timed()),
            _ => false,
        }
    }

    fn holds(&self, shown: &str, details: &ConnectionDetails, state: ConnectionState) -> bool {
        match self {
            Self::Line(text) => text.is_in(shown),
            Self::User(text) => text.is_in(&details.user),
            Self::Uid(uid) => details.known_uid() == Some(*uid),
            Self::Process(text) => text.is_in(&details.process),
            Self::Unit(text) => details.units.iter().any(|unit| text.is_in(unit)),
            Self::Peer(text) => details.peers.iter().any(|peer| text.is_in(peer)),
            Self::List(list) => details.peers.iter().any(|peer| list.has(peer)),
            Self::Host(text) => text.is_in(&details.host),
            Self::Country(text) => text.is_in(&details.country),
            Self::Command(text) => details.commands.iter().any(|command| text.is_in(command)),
            Self::Interface(text) => text.is_in(&details.iface),
            Self::Number(number) => number.holds(details),
            Self::State(text) => text.is_in(details.state(state)),
            Self::Port(first, last) => details.port.is_some_and(|port| (*first..=*last).contains(&port)),
            Self::Direction(direction) => details.direction == *direction,
            Self::FirstEver(first_ever) => details.is_first_ever == *first_ever,
            Self::Trouble => State::parse(details.state(state)).is_some_and(State::is_trouble),
            Self::Open => State::parse(details.state(state)).is_none_or(|state| !state.is_end()),
            Self::Saved(query) => query.holds(shown, details, state),
        }
    }
}

/// What a name stands for.
fn saved(name: &str, scope: Scope<'_>) -> Result<Query, TermFault> {
    let Scope::Known { names, path } = scope else { return Ok(Query::default()) };
    let all = &names.filters;
    let Some((name, text)) = all.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) else {
        let known: Vec<String> = all.iter().map(|(name, _)| at(name)).collect();
        return Err(match known.as_slice() {
            [] => format!("there is no saved filter {name}: none is named in [filters] of a config here"),
            known => format!("there is no saved filter {name}; there are {}", known.join(", ")),
        }
        .into());
    };
    if let Some(first) = path.iter().position(|known| *known == name) {
        let circle: Vec<String> = path[first..].iter().chain([&name.as_str()]).map(|name| at(name)).collect();
        let message = format!("{} is a circle: write out what one of them stands for", circle.join(" -> "));
        return Err(TermFault { message, circle });
    }
    let path = [path, &[name.as_str()]].concat();
    Query::read(text, Scope::Known { names, path: &path }).map_err(|error| {
        // Of a circle every name is said, and of filters in filters the innermost one has the fault.
        let is_placed = !error.circle.is_empty() || error.message.starts_with(IN_SAVED);
        let message = if is_placed { error.message } else { format!("{IN_SAVED}{name}: {}", error.message) };
        TermFault { message, circle: error.circle }
    })
}

const IN_SAVED: &str = "in the saved filter ";

/// A name as a filter has it.
fn at(name: &str) -> String {
    if name.contains(char::is_whitespace) { format!("@\"{name}\"") } else { format!("@{name}") }
}

fn ports(text: &str) -> Result<(u16, u16), String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if first <= last => Ok((first, last)),
        _ => Err("a port is a number like 443, or two like 8000-8999".into()),
    }
}

impl Text {
    fn parse(text: &str) -> Result<Self, String> {
        let between = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
        if let Some(pattern) = between('/').filter(|_| text.len() > 1) {
            // In a pattern `\/` is a slash.
            let pattern = pattern.replace("\\/", "/");
            let read = Pattern::parse(&pattern, Case::Ignored);
            return read.map(|pattern| Self::Pattern(Box::new(pattern))).map_err(|error| match error.help {
                Some(help) => format!("{}: {help}", error.message),
                None => error.message,
            });
        }
        if let Some(word) = between('"').filter(|_| text.len() > 1) {
            return Ok(Self::Word(word.to_lowercase()));
        }
        if looks_like_a_regex(text) {
            return Err(format!(
                "a regex stands between slashes: write /{text}/, or \"{text}\" for the text"
            ));
        }
        Ok(Self::Word(text.to_lowercase()))
    }

    fn is_in(&self, text: &str) -> bool {
        match self {
            Self::Word(word) => contains_ignoring_case(text, word),
            Self::Pattern(pattern) => pattern.is_found(text).unwrap_or(false),
        }
    }
}

/// Whether a text contains a word, which is in lower case.
pub(crate) fn contains_ignoring_case(text: &str, word: &str) -> bool {
    if !text.is_ascii() {
        return text.to_lowercase().contains(word);
    }
    let same = |part: &[u8]| part.eq_ignore_ascii_case(word.as_bytes());
    word.is_empty() || text.as_bytes().windows(word.len()).any(same)
}

/// Whether any filter asks for a field of events.
pub(crate) fn is_asked_for(field: &str) -> bool {
    const ASKED_FOR: [&str; 19] = [
        "user",
        "uid",
        "comm",
        "script",
        "unit",
        "container",
        "raddr",
        "name",
        "host",
        "state",
        "dir",
        "lport",
        "rport",
        "country",
        "cmdline",
        "exe",
        "iface",
        "rtt_us",
        "retrans",
    ];
    ASKED_FOR.contains(&field)
}

/// A value as a filter has it after `FIELD:`, in quotes where it would be something else without; `None` where there is none.
/// What a quote ends cannot be quoted: what stands before it is asked for.
#[must_use]
pub fn quoted(value: &str) -> Option<Cow<'_, str>> {
    let before = value.split('"').next().filter(|before| !before.is_empty())?;
    Some(if is_plain(value) { before.into() } else { format!("\"{before}\"").into() })
}

/// Whether a value of a field means itself as it stands.
fn is_plain(value: &str) -> bool {
    let is_special = |c: char| c.is_whitespace() || matches!(c, '"' | '/');
    !value.contains(is_special) && !value.starts_with(':') && !looks_like_a_regex(value)
}

/// Whether it has what no line has as text, and regexes often have.
fn looks_like_a_regex(word: &str) -> bool {
    word.contains(['|', '\\'])
        || word.contains(".*")
        || word.contains(".+")
        || word.len() > 1 && (word.starts_with('^') || word.ends_with('$'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "18:32 :: me :: Firefox [app-x] :: cdn7.example.org 443 :: v 1M / 2K ^";

    fn holds(query: &str) -> bool {
        let details = ConnectionDetails {
            host: "nas".into(),
            is_first_ever: true,
            state: "open".into(),
            ..ConnectionDetails::of(LINE, None)
        };
        Query::parse(query).unwrap().holds(LINE, &details, ConnectionState::Ordinary)
    }

    /// Whether it chooses a connection of which events told this state.
    fn holds_for(query: &str, state: &str) -> bool {
        let details = ConnectionDetails { state: state.into(), ..ConnectionDetails::of(LINE, None) };
        Query::parse(query).unwrap().holds(LINE, &details, ConnectionState::Ordinary)
    }

    #[test]
    fn a_value_of_a_connection_is_asked_for_whatever_it_has_in_it() {
        for value in [
            "curl", "a b", "a/b", "/a/", "a|b", "u\\x2d0", "a.*b", "a.+", "^a", "a$", "$", "^", ":: a", ":a",
            "-a", "!a", "@web", "a>1", "rtt>1", "new", "open", "&&", "a\"b", "a|b\"c", "ä|B", "\u{2028}",
            "443", "~", "*",
        ] {
            let details = |process: &str| ConnectionDetails { process: process.into(), ..Default::default() };
            for (sign, chosen) in [("", true), ("-", false)] {
                let text = format!("{sign}proc:{}", quoted(value).unwrap());
                let query = Query::parse(&text).unwrap();
                assert_eq!(query.holds("", &details(value), ConnectionState::Ordinary), chosen, "{text}");
                assert_eq!(query.holds("", &details("else"), ConnectionState::Ordinary), !chosen, "{text}");
            }
            let more = completions("proc:", &[details(value)], &Names::default());
            assert!(more.iter().all(|(more, _)| Query::parse(&format!("proc:{more}")).is_ok()), "{more:?}");
        }
        assert_eq!((quoted(""), quoted("\"x")), (None, None));
    }

    #[test]
    fn words_ask_for_what_matters() {
        for state in State::names() {
            let is_trouble = !["open", "listening", "connecting", "closed"].contains(&state);
            assert_eq!(holds_for("trouble", state), is_trouble, "{state}");
            assert_eq!(holds_for("-open", state), is_trouble || state == "closed", "{state}");
        }
        assert!(holds_for("open", "") && !holds_for("trouble", "") && holds_for("-trouble", "else"));
        assert!(!holds_for("\"open\"", "open"), "in quotes it is text");
    }

    #[test]
    fn saved_filters_stand_for_what_they_say() {
        let saved = [
            ("web", "port:443 -proc:curl"),
            ("mine", "@web user:me"),
            ("my own", "user:you"),
            ("a", "@b"),
            ("b", "@a"),
        ];
        let saved = saved.map(|(name, text)| (name.to_owned(), text.to_owned()));
        let names = Names { filters: saved.to_vec(), ..Names::default() };
        let details = ConnectionDetails::of(LINE, None);
        let holds = |text: &str| {
            Query::parse_with(text, &names)
                .map(|query| query.holds(LINE, &details, ConnectionState::Ordinary))
        };
        for (text, chosen) in [
            ("@web", true),
            ("-@web", false),
            ("@MINE", true),
            ("@\"my own\"", false),
            ("@mine port:80", false),
        ] {
            assert_eq!(holds(text), Ok(chosen), "{text}");
        }
        let error = holds("x @none").unwrap_err();
        assert_eq!(
            error.placed("x @none"),
            "there is no saved filter none; there are @web, @mine, @\"my own\", @a, @b (character 3, @none)"
        );
        let circle = "@a -> @b -> @a is a circle: write out what one of them stands for";
        assert_eq!(holds("x @a").unwrap_err().message, circle);
        assert!(
            Query::check("@later -@\"also later\" port:1").is_ok() && Query::check("@later prt:1").is_err()
        );
    }

    #[test]
    fn a_list_has_peers_by_any_of_their_names() {
        let lists = Lists::of(&[("ads", "example.org\n192.0.2.0/24"), ("My Own", "cdn8.example.org")]);
        let filters = vec![("bad".to_owned(), "list:ads".to_owned())];
        let names = Names { filters, lists };
        let holds = |text: &str, line: &str| {
            let details = ConnectionDetails::of(line, None);
            Query::parse_with(text, &names)
                .map(|query| query.holds(line, &details, ConnectionState::Ordinary))
        };
        let [by_name, by_both, other, listener] = [
            LINE,
            "18:32 :: me :: x :: <- other.test (192.0.2.7) 443 :: ",
            "18:32 :: me :: x :: 192.0.3.1 443 :: ",
            "18:32 :: me :: x :: listening 192.0.2.1 443 :: ",
        ];
        for (text, line, chosen) in [
            ("list:ads", by_name, true),
            ("LIST:Ads port:443", by_both, true),
            ("-@bad", by_name, false),
            ("list:ads", other, false),
            ("list:ads", listener, false),
            ("-list:\"my own\"", by_name, true),
        ] {
            assert_eq!(holds(text, line), Ok(chosen), "{text} {line}");
        }
        assert_eq!(holds("list:x", LINE).unwrap_err().message, "there is no list x; there are ads, My Own");
        let none = Query::parse("list:ads").unwrap_err().message;
        assert_eq!(none, "there is no list ads: none is named in [lists] of a config here");
        assert!(Query::check("list:later -list:\"also later\"").is_ok());
        assert_eq!(completions("-list:a", &[], &names), [("ds".to_owned(), "")]);
        let query = Query::parse_with("@bad", &names).unwrap();
        assert!(query.asks_for("raddr") && query.asks_for("name") && !query.asks_for("comm"));
    }

    #[test]
    fn all_terms_have_to_hold() {
        for query in [
            "",
            "firefox",
            "proc:fire",
            "user:me port:443 dir:out",
            "port:400-500",
            "-port:80",
            "/cdn[0-9]/",
            "peer:/^cdn\\d\\./",
            "unit:app",
            "host:NAS",
            "new",
            "new:yes",
            "state:open",
            "State:OPEN dir:OUT NEW",
            "PROC:fire -User:you",
            "-Nobody:x",
            "state:/^op/",
            "\"x] :: cdn7\"",
            "-dir:in",
            "peer:\"example.org\"",
            "  proc:firefox  ",
            "::",
        ] {
            assert!(holds(query), "{query}");
        }
        for query in [
            "chrome",
            "port:80",
            "dir:in",
            "-proc:firefox",
            "proc:firefox port:80",
            "/cdn[8-9]/",
            "new:no",
            "fe80::1",
        ] {
            assert!(!holds(query), "{query}");
        }
    }

    #[test]
    fn faults_are_named_where_they_are() {
        for (query, span, words) in [
            ("proc:x prot:80", 7..14, "there is no field prot; fields are user, proc"),
            ("/a/ && /b/", 4..6, "leave && out"),
            ("a -", 2..3, "write -word, or \"-\" for"),
            ("a || b", 2..4, "/one|other/"),
            ("!/b/", 0..4, "write -/b/"),
            ("a !proc:x", 2..9, "write -proc:x"),
            ("I/A/", 0..4, "write /A/"),
            ("/a/i", 0..4, "end it with /"),
            ("curl|wget", 0..9, "write /curl|wget/, or \"curl|wget\" for"),
            ("proc:^curl", 0..10, "write /^curl/"),
            ("a.*b", 0..4, "/a.*b/"),
            ("a \\d", 2..4, "/\\d/"),
            ("@x", 0..2, "there is no saved filter x: none is named"),
            ("port:http", 0..9, "a port is a number"),
            ("a state:foo", 2..11, "there is no state foo; states are open, listening, connecting"),
            ("x rtt>fast", 2..10, "rtt is compared with a duration"),
            ("bytes:1M", 0..8, "write bytes>1M or bytes<1M"),
            ("a dir:up", 2..8, "in, out or listen"),
            ("a /x(/", 2..6, "never closed: add a \")\" at the end of the regex"),
            ("user:\"x", 0..7, "closing \" is missing"),
            ("x /ab", 2..5, "closing / is missing"),
        ] {
            let error = Query::parse(query).unwrap_err();
            assert!(error.span == span && error.message.contains(words), "{query}: {error:?}");
        }
    }

    #[test]
    fn every_field_of_events_that_a_filter_asks_for_is_known_as_such() {
        for (field, _) in FIELDS {
            for value in ["1", "in", "yes"] {
                let Ok(query) = Query::parse(&format!("{field}:{value}")) else { continue };
                let fields = query.terms[0].test.fields();
                assert!(fields.iter().all(|name| is_asked_for(name) && query.asks_for(name)), "{field}");
            }
        }
        let filters = vec![("gone".to_owned(), "-open user:me".to_owned())];
        let query = Query::parse_with("@gone", &Names { filters, ..Names::default() }).unwrap();
        assert!(query.asks_for("state") && query.asks_for("uid") && !query.asks_for("comm"));
        assert!(!is_asked_for("pid"));
        let seen = ["user", "comm", "raddr", "dir"];
        for (text, is_beyond) in [
            ("dir:in proc:x word", false),
            ("port:443", true),
            ("-port:443", true),
            ("unit:x", true),
            ("rx>1", true),
        ] {
            assert_eq!(Query::parse(text).unwrap().asks_beyond(&seen), is_beyond, "{text}");
        }
        assert!(!Query::parse("port:443").unwrap().asks_beyond(&["dir", "rport"]));
    }

    #[test]
    fn numbers_and_interfaces_choose() {
        let event = r#"{"ns":1000000000,"ns_trx":6000000000,"iface":"tun0","country":"DE","cmdline":"curl -s http://a","exe":"/usr/bin/curl","rtt_us":80000,"retrans":2,"rx":9,"tx":1}"#;
        let details = ConnectionDetails::of(LINE, Some(event));
        let holds = |text: &str| Query::parse(text).unwrap().holds(LINE, &details, ConnectionState::Ordinary);
        for text in [
            "iface:tun",
            "cmd:-s",
            "country:de",
            "cmd:/^.usr.bin/",
            "rtt>50ms",
            "-rtt>1s",
            "retrans>1",
            "bytes>9",
            "bytes<1K",
            "age<=5s",
            "age>4s",
        ] {
            assert!(holds(text), "{text}");
        }
        for text in ["iface:eth", "cmd:wget", "country:fr", "-rtt>50ms", "tx>1", "age>5s", "\"rtt>50ms\""] {
            assert!(!holds(text), "{text}");
        }
        // Without fields a line has its traffic.
        let details = ConnectionDetails::of(LINE, None);
        let holds = |text: &str| Query::parse(text).unwrap().holds(LINE, &details, ConnectionState::Ordinary);
        assert!(holds("rx>=1M -rx>1M tx>1K bytes>1M -rtt>0 -age>0"));
    }

    #[test]
    fn time_has_a_say_in_some_terms() {
        let age = Duration::from_secs(10);
        let filters =
            vec![("young".to_owned(), "age<11s".to_owned()), ("web".to_owned(), "port:443".to_owned())];
        let saved = Names { filters, ..Names::default() };
        for (text, at) in [
            ("curl", Some(true)),
            ("age<11s curl", Some(true)),
            ("age<9s", Some(false)),
            ("-age<9s", Some(true)),
            ("-@young", None),
            ("-@young age<9s", Some(false)),
            ("@web", Some(true)),
        ] {
            assert_eq!(Query::parse_with(text, &saved).unwrap().holds_at(age), at, "{text}");
        }
        let nothing = ConnectionDetails::default();
        let always =
            |text| Query::parse(text).unwrap().holds_always(LINE, &nothing, ConnectionState::Ordinary);
        assert!(always("age<9s firefox") && !always("age<9s curl"));
    }

    #[test]
    fn a_words_case_does_not_matter() {
        for (text, word, holds) in [
            ("a.Firefox", "fire", true),
            ("FÜR", "ü", true),
            ("\u{212a}", "k", true),
            ("abc", "ü", false),
            ("ab", "abc", false),
        ] {
            assert_eq!(contains_ignoring_case(text, word), holds, "{text} {word}");
        }
    }

    #[test]
    fn a_user_has_a_name_and_a_number() {
        let holds = |query: &str, line: &str, event: &str| {
            let details = ConnectionDetails::of(line, Some(event));
            Query::parse(query).unwrap().holds(line, &details, ConnectionState::Ordinary)
        };
        for (query, user, event, chosen) in [
            ("user:1000", "me", r#"{"uid":1000,"user":"me"}"#, true),
            ("user:1000", "me", r#"{"uid":1000}"#, true),
            ("user:me", "me", r#"{"uid":1000,"user":"me"}"#, true),
            ("user:1000", "1000", "{}", true),
            ("user:0", "1000", "{}", false),
            ("user:0", "root", "{}", true),
            ("user:100", "me", r#"{"uid":1000}"#, false),
            ("user:1000", "me", "{}", false),
        ] {
            let line = format!("18:32 :: {user} :: curl :: x 1 :: ");
            assert_eq!(holds(query, &line, event), chosen, "{query} {user} {event}");
        }
    }

    #[test]
    fn who_listens_is_open_and_no_trouble() {
        assert!(holds_for("open -trouble", "listening") && holds_for("-open -trouble", "closed"));
        assert!(holds_for("trouble -open", "refused") && holds_for("open", "connecting"));
    }

    #[test]
    fn what_was_begun_is_completed() {
        let ends = |text: &str| {
            completions(text, &[], &Names::default()).into_iter().map(|(end, _)| end).collect::<Vec<_>>()
        };
        assert_eq!(ends("proc:x po"), ["rt:"]);
        assert_eq!(ends("-p"), ["roc:", "eer:", "ort:"]);
        assert_eq!(ends("dir:"), ["in", "out", "listen"]);
        assert_eq!(ends("state:un"), ["reachable", "answered"]);
        assert_eq!(ends("tr"), ["ouble"]);
        assert_eq!(ends("if"), ["ace:"]);
        assert_eq!(ends("x r"), ["tt>", "etrans>", "x>"]);
        assert_eq!(ends("-n"), ["ew"]);
        let filters = vec![("web".to_owned(), String::new()), ("two words".to_owned(), String::new())];
        let names = Names { filters, ..Names::default() };
        assert_eq!(completions("-@w", &[], &names), [("eb".to_owned(), "")]);
        assert!(ends("").is_empty() && ends("port:4").is_empty() && ends("x ").is_empty());
        let seen = [
            LINE,
            "18:32 :: me :: fire walk :: cdn8.example.org 8443 :: ",
            "18:32 :: ada :: ssh :: nas 22 :: ",
        ];
        let seen = seen.map(|line| ConnectionDetails::of(line, None));
        let ends = |text: &str| {
            completions(text, &seen, &Names::default()).into_iter().map(|(end, _)| end).collect::<Vec<_>>()
        };
        assert_eq!(ends("proc:"), ["Firefox", "ssh"]);
        assert_eq!(ends("-proc:fi"), ["refox"]);
        assert_eq!(ends("x peer:CDN"), ["7.example.org", "8.example.org"]);
        assert_eq!(
            (ends("port:4"), ends("user:")),
            (vec!["43".to_owned()], vec!["ada".to_owned(), "me".to_owned()])
        );
        assert_eq!(ends("proc:firefox"), [""; 0]);
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(text in ".{0,40}", line in ".{0,60}") {
            let names = Names { filters: vec![(line.clone(), text.clone())], ..Names::default() };
            let _ = completions(&text, &[ConnectionDetails::of(&line, None)], &names);
            if let Ok(query) = Query::parse(&text) {
                let _ = query.holds(&line, &ConnectionDetails::of(&line, Some(&text)), ConnectionState::Ordinary);
            }
        }
    }
}
