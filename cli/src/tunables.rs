// SPDX-License-Identifier: GPL-3.0-or-later
//! What can be tuned of the pipe, from the command line, the environment and the defaults, in this order.

use std::path::PathBuf;
use std::time::Duration;

use leco_core::text::{FLAG_WORDS, parse_duration, parse_flag, parse_size};

/// Where it is remembered who talked to whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum MemoryPlace {
    /// In the state directory of the service or the user.
    #[default]
    StateDirectory,
    /// In this file.
    File(PathBuf),
    /// Nowhere.
    Off,
}

/// How the name of an address is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NamesShown {
    /// In the address's place.
    #[default]
    Replace,
    /// Behind the address, in brackets.
    Append,
    /// Not at all.
    Off,
}

/// Which listeners are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ListenersShown {
    /// Those that other machines may reach.
    #[default]
    External,
    /// Also those on loopback addresses.
    All,
    /// None.
    Off,
}

/// A part of a line that is shown on request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// Interface by which the connection leaves.
    Interface,
    /// Country of the peer.
    Country,
    /// What the port is called.
    Service,
    /// Round trip of TCP.
    Rtt,
    /// Segments that TCP sent again, if any.
    Retransmits,
}

impl Shown {
    /// Each with its word.
    const WORDS: [(&str, Self); 5] = [
        ("iface", Self::Interface),
        ("country", Self::Country),
        ("service", Self::Service),
        ("rtt", Self::Rtt),
        ("retrans", Self::Retransmits),
    ];
}

/// A key that is none, or a value it cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TunableError {
    /// Not a key.
    #[error("there is no tunable `{0}`, the keys are: {keys}", keys = keys())]
    UnknownKey(String),
    /// No `=`.
    #[error("`{0}` is not `key=value`; quote a value with spaces: key='a b'")]
    NotAPair(String),
    /// A quote without another.
    #[error("unclosed quote in: {0}")]
    OpenQuote(String),
    /// Not a value of that key.
    #[error("{key}={value}: expected {expected}")]
    BadValue {
        /// Key, with `-`.
        key: String,
        /// Value as given.
        value: String,
        /// What it could have been.
        expected: &'static str,
    },
}

/// What a value could have been, for a message.
type Expected = &'static str;

/// A tunable as a person meets it.
#[derive(Debug)]
pub struct Tunable {
    /// How it is called.
    pub key: &'static str,
    /// What it is when nobody says anything; empty where that is nothing.
    pub default: &'static str,
    /// What it does.
    pub help: &'static str,
    set: fn(&mut Tunables, &str) -> Result<(), Expected>,
}

/// Makes fields, defaults, help and reading from one list: key, field, type, who reads the text, default, help.
macro_rules! tunables {
    ($($key:literal $field:ident: $type:ty = $read:ident($default:literal), $help:literal;)*) => {
        /// The pipe's tunables, each by the field of its key with `_` for `-`.
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
        pub struct Tunables {
            $(#[doc = $help] pub $field: $type,)*
        }

        /// All of them.
        pub const TUNABLES: &[Tunable] = &[$(Tunable {
            key: $key,
            default: $default,
            help: $help,
            set: |tunables, text| {
                tunables.$field = $read(text)?;
                Ok(())
            },
        },)*];

        impl Default for Tunables {
            /// What the list says, in which a test finds a default that cannot be read.
            fn default() -> Self {
                Self { $($field: $read($default).unwrap_or_default(),)* }
            }
        }
    };
}

tunables! {
    "replay-window" replay_window: Duration = duration("4h"),
        "connections without traffic for longer are not replayed";
    "replay-skip-dead-pids" replay_skip_dead_pids: bool = flag("0"),
        "1 leaves connections of ended processes out of a replay";
    "local-addr-port" local_addr_port: bool = flag("0"),
        "1 also shows the local address and port";
    "line-direction" line_direction: bool = flag("1"),
        "1 shows which end opened a connection, and how it failed";
    "cg-label-cut" cg_label_cut: usize = cut("20"),
        "cut a unit's or container's name to this many characters; 0 or less turns it off";
    "script-name-cut" script_name_cut: usize = cut("16"),
        "cut a script's name to this many characters; 0 or less turns it off";
    "conn-traffic-min" conn_traffic_min: u64 = bytes("5120"),
        "hide traffic below this many bytes";
    "use-reltime-after" use_reltime_after: Duration = duration("22h30m"),
        "show the time relative to now from this age on";
    "cache-cg-paths" cache_cg_paths: Duration = duration("4h"),
        "how long a cgroup's path is remembered";
    "cache-cg-labels" cache_cg_labels: Duration = cache("30m"),
        "how long a cgroup's name is kept after its last use; 0 turns names off";
    "cache-users" cache_users: Duration = duration("4h"),
        "how long a user's name is remembered";
    "cache-conn-ts" cache_conn_ts: Duration = duration("1h"),
        "how long sent events are remembered";
    "cache-pid-cmd" cache_pid_cmd: Duration = cache("3h"),
        "how long a script's name is remembered; 0 turns script names off";
    "names" names: NamesShown = names("replace"),
        "show names instead of addresses (replace), after them (append) or not at all (off)";
    "cache-names" cache_names: Duration = duration("24h"),
        "how long a name is remembered after its DNS response";
    "hello" hello: bool = flag("1"),
        "0 ignores the names that programs send when they connect (TLS, QUIC, proxies)";
    "reverse-dns" reverse_dns: bool = flag("0"),
        "1 asks the system's resolver for names that no DNS response gave";
    "asn-db" asn_db: Option<PathBuf> = file(""),
        "database (.mmdb or TSV, up to 256 MiB) of autonomous systems, to show their numbers and owners";
    "geo-db" geo_db: Option<PathBuf> = file(""),
        "database (.mmdb, up to 256 MiB) of countries, to show where peers are; a TSV asn-db has them, too";
    "listeners" listeners: ListenersShown = listeners("external"),
        "show who listens: where other machines may reach it (external), also on loopback (all) or not at all (off)";
    "show" show: Vec<Shown> = shown(""),
        "more of a line, in the order given, with commas between: iface, country, service, rtt, retrans; yes shows all";
    "parents" parents: usize = processes("0"),
        "number of parent processes shown";
    "memory" memory: MemoryPlace = memory("on"),
        "save who talked to whom: on (in the state directory), off, or a file";
    "history" history: Duration = kept("30d"),
        "how long totals by hour and day are saved beside that, for --history; off or 0 saves none";
    "history-max" history_max: u64 = size("64M"),
        "bytes that totals take of that file; beyond it the oldest go";
    "learn" learn: Duration = kept("1d"),
        "for so long after its first start nothing is marked as never seen before: everything would be";
    "extra-ev-data" extra_ev_data: bool = flag("0"),
        "1 is the same as --extra-ev-data";
    "sandbox" sandbox: bool = flag("1"),
        "0 turns the sandbox off";
}

fn flag(text: &str) -> Result<bool, Expected> {
    parse_flag(text).ok_or(FLAG_WORDS)
}

fn duration(text: &str) -> Result<Duration, Expected> {
    parse_duration(text).map_err(|_| "a duration like 90, 1:30 or 4h30m")
}

/// A duration for which something is shown at all: negative turns it off, as zero does.
fn cache(text: &str) -> Result<Duration, Expected> {
    if text.starts_with('-') { Ok(Duration::ZERO) } else { duration(text) }
}

/// A duration for which something is kept: `off` is none.
fn kept(text: &str) -> Result<Duration, Expected> {
    match parse_flag(text) {
        Some(false) => Ok(Duration::ZERO),
        _ => parse_duration(text).map_err(|_| "a duration like 30d or 12h, or off"),
    }
}

/// Bytes, with a unit or without.
fn size(text: &str) -> Result<u64, Expected> {
    let bytes = parse_size(text);
    bytes.filter(|bytes| (1 << 20..=1 << 40).contains(bytes)).ok_or("a size like 64M, from 1M to 1T")
}

/// Negative turns a label off, as zero does.
fn cut(text: &str) -> Result<usize, Expected> {
    let cut = text.parse::<i64>().map_err(|_| "a number of characters; 0 or less turns it off")?;
    Ok(usize::try_from(cut).unwrap_or(0))
}

fn bytes(text: &str) -> Result<u64, Expected> {
    text.parse().map_err(|_| "a number of bytes, 0 or more")
}

fn processes(text: &str) -> Result<usize, Expected> {
    text.parse().map_err(|_| "a number of processes, 0 or more")
}

fn names(text: &str) -> Result<NamesShown, Expected> {
    match (text, parse_flag(text)) {
        ("replace", _) | (_, Some(true)) => Ok(NamesShown::Replace),
        ("append", _) => Ok(NamesShown::Append),
        (_, Some(false)) => Ok(NamesShown::Off),
        _ => Err("replace, append or off"),
    }
}

fn listeners(text: &str) -> Result<ListenersShown, Expected> {
    match (text, parse_flag(text)) {
        ("external", _) | (_, Some(true)) => Ok(ListenersShown::External),
        ("all", _) => Ok(ListenersShown::All),
        (_, Some(false)) => Ok(ListenersShown::Off),
        _ => Err("external, all or off"),
    }
}

fn shown(text: &str) -> Result<Vec<Shown>, Expected> {
    match parse_flag(text) {
        Some(true) => return Ok(Shown::WORDS.map(|(_, shown)| shown).to_vec()),
        Some(false) => return Ok(Vec::new()),
        None if text.is_empty() => return Ok(Vec::new()),
        None => {}
    }
    let one =
        |word: &str| Shown::WORDS.iter().find(|(known, _)| *known == word.trim()).map(|(_, shown)| *shown);
    text.split(',')
        .map(one)
        .collect::<Option<_>>()
        .ok_or("some of iface,country,service,rtt,retrans; yes or no")
}

#[allow(clippy::unnecessary_wraps, reason = "every tunable is read so")]
fn file(text: &str) -> Result<Option<PathBuf>, Expected> {
    Ok((!text.is_empty()).then(|| text.into()))
}

fn memory(text: &str) -> Result<MemoryPlace, Expected> {
    match parse_flag(text) {
        Some(false) => Ok(MemoryPlace::Off),
        Some(true) => Ok(MemoryPlace::StateDirectory),
        None if text.starts_with('/') => Ok(MemoryPlace::File(text.into())),
        None => Err("on, off or an absolute path"),
    }
}

fn keys() -> String {
    TUNABLES.iter().map(|tunable| tunable.key).collect::<Vec<_>>().join(" ")
}

fn find(key: &str) -> Option<&'static Tunable> {
    TUNABLES.iter().find(|tunable| tunable.key == key)
}

impl Tunables {
    /// From `LECO_<KEY>` variables and the texts of `-c`, which come before them.
    pub fn load(
        variables: impl Iterator<Item = (String, String)>,
        command_line: &[String],
    ) -> Result<Self, TunableError> {
        let mut tunables = Self::default();
        for (name, value) in variables {
            // Other programs of LECO may have variables of their own.
            if let Some(key) =
                name.strip_prefix("LECO_").map(|key| key.to_ascii_lowercase().replace('_', "-"))
                && let Some(tunable) = find(&key)
            {
                tunable.read(&value, &mut tunables)?;
            }
        }
        for text in command_line {
            for pair in words(text)? {
                let (key, value) =
                    pair.split_once('=').ok_or_else(|| TunableError::NotAPair(pair.clone()))?;
                let key = key.replace('_', "-");
                find(&key).ok_or(TunableError::UnknownKey(key))?.read(value, &mut tunables)?;
            }
        }
        Ok(tunables)
    }
}

impl Tunable {
    fn read(&self, value: &str, into: &mut Tunables) -> Result<(), TunableError> {
        (self.set)(into, value).map_err(|expected| TunableError::BadValue {
            key: self.key.to_owned(),
            value: value.to_owned(),
            expected,
        })
    }
}

/// Words that spaces part, but for those in quotes, which a shell has taken away from around the whole.
fn words(text: &str) -> Result<Vec<String>, TunableError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for char in text.chars() {
        match (char, quote) {
            ('\'' | '"', None) => {
                quote = Some(char);
                word.get_or_insert_default();
            }
            (_, Some(open)) if open == char => quote = None,
            (_, None) if char.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(char),
        }
    }
    if quote.is_some() {
        return Err(TunableError::OpenQuote(text.to_owned()));
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(variables: &[(&str, &str)], command_line: &[&str]) -> Result<Tunables, TunableError> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Tunables::load(variables, &command_line.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn the_command_line_comes_before_the_environment() {
        let variables =
            [("LECO_CG_LABEL_CUT", "7"), ("LECO_REPLAY_WINDOW", "1d8h"), ("LECO_TEST_REQUIRE", "all")];
        let tunables = load(&variables, &["cg_label_cut=9 local-addr-port=1", "cache-pid-cmd=-1"]).unwrap();
        assert_eq!(tunables.cg_label_cut, 9);
        assert_eq!(tunables.replay_window, Duration::from_hours(32));
        assert!(tunables.local_addr_port);
        assert_eq!(tunables.cache_pid_cmd, Duration::ZERO);
    }

    #[test]
    fn values_have_spaces_in_quotes_and_switches_the_words_of_the_config() {
        let text = "asn-db='/a b/it\"s c.mmdb' local-addr-port=Yes line-direction=OFF names=No memory=false";
        let tunables = load(&[], &[text]).unwrap();
        assert_eq!(tunables.asn_db, Some("/a b/it\"s c.mmdb".into()));
        assert!(tunables.local_addr_port && !tunables.line_direction);
        assert_eq!((tunables.names, tunables.memory), (NamesShown::Off, MemoryPlace::Off));
        let tunables = load(&[], &["memory=\"/a b\" asn-db=", "cg-label-cut=-3"]).unwrap();
        assert_eq!((tunables.memory, tunables.asn_db), (MemoryPlace::File("/a b".into()), None));
        assert_eq!(tunables.cg_label_cut, 0);
    }

    #[test]
    fn more_of_a_line_is_asked_for_in_an_order() {
        let shown = |text: &str| load(&[], &[text]).unwrap().show;
        assert_eq!(shown("show=rtt,iface"), [Shown::Rtt, Shown::Interface]);
        assert_eq!(shown("show='country, rtt'"), [Shown::Country, Shown::Rtt]);
        assert_eq!((shown("show=yes").len(), shown("show=no").len(), shown("show=").len()), (5, 0, 0));
    }

    #[test]
    fn faults_name_the_key() {
        for (text, named) in [
            ("cg-labl-cut=1", "cg-labl-cut"),
            ("cg-label-cut=x", "cg-label-cut=x"),
            ("lonely", "lonely"),
            ("replay-window=5q", "replay-window"),
            ("asn-db=/a b/c", "quote a value with spaces"),
            ("asn-db='/a b", "unclosed quote"),
            ("sandbox=maybe", "expected yes or no"),
            ("cg-label-cut=1.5", "0 or less turns it off"),
            ("parents=-1", "0 or more"),
            ("show=rtt,speed", "some of iface,country"),
        ] {
            let error = load(&[], &[text]).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
        assert!(
            load(&[("LECO_CONN_TRAFFIC_MIN", "-")], &[])
                .unwrap_err()
                .to_string()
                .contains("conn-traffic-min")
        );
    }

    #[test]
    fn every_key_can_be_set_and_has_the_default_that_is_told() {
        for Tunable { key, default, set, .. } in TUNABLES {
            // A file of totals of a byte is refused.
            let one = if *key == "history-max" { "1M" } else { "1" };
            assert!(load(&[], &[&format!("{key}={one}")]).is_ok(), "{key}");
            assert_eq!(load(&[], &[&format!("{key}={default}")]), Ok(Tunables::default()), "{key}");
            assert_eq!(set(&mut Tunables::default(), default), Ok(()), "{key}");
        }
        let default = Tunables::default();
        assert_eq!(default.use_reltime_after, Duration::from_secs(22 * 3600 + 1800));
        assert_eq!((default.cg_label_cut, default.conn_traffic_min, default.asn_db), (20, 5120, None));
        assert!(default.sandbox && default.hello && !default.reverse_dns);
    }

    #[test]
    fn each_key_sets_the_field_of_its_name() {
        let fields = format!("{:#?}", Tunables::default());
        let fields = fields.lines().filter_map(|line| line.strip_prefix("    ")?.split_once(": "));
        let fields: Vec<_> = fields.map(|(field, _)| field.replace('_', "-")).collect();
        assert_eq!(fields.join(" "), keys());
    }
}
