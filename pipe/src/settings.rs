// SPDX-License-Identifier: GPL-3.0-or-later
//! What can be tuned, from the command line, the environment and the defaults, in this order.

use std::path::PathBuf;
use std::time::Duration;

use leco_core::text::{FLAG_WORDS, parse_duration, parse_flag};

/// The pipe's tunables; each field is the key of its name with `-` for `_`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Tunables {
    /// Connections without traffic for longer are not replayed.
    pub replay_window: Duration,
    /// Leave connections of processes that are gone out of a replay.
    pub replay_skip_dead_pids: bool,
    /// Show the local address and port, too.
    pub local_addr_port: bool,
    /// Show which end opened a connection, and what became of it.
    pub line_direction: bool,
    /// Characters of a cgroup's label; 0 turns it off.
    pub cg_label_cut: usize,
    /// Characters of a script's name; 0 turns it off.
    pub script_name_cut: usize,
    /// Bytes from which on traffic is shown.
    pub conn_traffic_min: u64,
    /// Age from which on the time is shown relative to now.
    pub use_reltime_after: Duration,
    /// How long a cgroup's path is remembered.
    pub cache_cg_paths: Duration,
    /// How long a cgroup keeps its label after its last use; zero turns labels off.
    pub cache_cg_labels: Duration,
    /// How long a user's name is remembered.
    pub cache_users: Duration,
    /// How long it is remembered what was sent of a connection.
    pub cache_conn_ts: Duration,
    /// How long a script's name is remembered; zero turns script names off.
    pub cache_pid_cmd: Duration,
    /// How names of addresses are shown.
    pub names: NamesShown,
    /// How long a name is remembered after the answer that gave it.
    pub cache_names: Duration,
    /// Use the names that processes send when they connect.
    pub hello: bool,
    /// Ask the system's resolver for names of addresses that no answer named.
    pub reverse_dns: bool,
    /// Database of autonomous systems.
    pub asn_db: Option<PathBuf>,
    /// So many parents of a process are shown before it.
    pub parents: usize,
    /// Where it is remembered who talked to whom.
    pub memory: MemoryPlace,
    /// All fields in the JSON.
    pub extra_ev_data: bool,
    /// Give up what is not needed.
    pub sandbox: bool,
}

impl Default for Tunables {
    fn default() -> Self {
        const HOUR: u64 = 3600;
        let hours = |count| Duration::from_secs(count * HOUR);
        Self {
            replay_window: hours(4),
            replay_skip_dead_pids: false,
            local_addr_port: false,
            line_direction: true,
            cg_label_cut: 20,
            script_name_cut: 16,
            conn_traffic_min: 5120,
            use_reltime_after: Duration::from_secs(22 * HOUR + HOUR / 2),
            cache_cg_paths: hours(4),
            cache_cg_labels: Duration::from_secs(HOUR / 2),
            cache_users: hours(4),
            cache_conn_ts: hours(1),
            cache_pid_cmd: hours(3),
            names: NamesShown::Replace,
            cache_names: hours(24),
            hello: true,
            reverse_dns: false,
            asn_db: None,
            parents: 0,
            memory: MemoryPlace::StateFolder,
            extra_ev_data: false,
            sandbox: true,
        }
    }
}

/// Where it is remembered who talked to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemoryPlace {
    /// In the state folder of the service or the user.
    StateFolder,
    /// In this file.
    File(PathBuf),
    /// Nowhere.
    Off,
}

/// How the name of an address is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamesShown {
    /// In the address's place.
    Replace,
    /// Behind the address, in brackets.
    Append,
    /// Not at all.
    Off,
}

/// A key that is none, or a value it cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TunableError {
    /// Not a key.
    #[error("there is no tunable `{0}`, the keys are: {keys}", keys = TUNABLES.map(|tunable| tunable.key).join(" "))]
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

/// A tunable as a person meets it.
#[derive(Debug)]
pub struct Tunable {
    /// How it is called.
    pub key: &'static str,
    /// What it is when nobody says anything; empty where that is nothing.
    pub default: &'static str,
    /// What it does.
    pub help: &'static str,
}

const fn tunable(key: &'static str, default: &'static str, help: &'static str) -> Tunable {
    Tunable { key, default, help }
}

/// All of them.
pub const TUNABLES: [Tunable; 22] = [
    tunable("replay-window", "4h", "connections without traffic for longer are not replayed"),
    tunable("replay-skip-dead-pids", "0", "1 leaves connections of ended processes out of a replay"),
    tunable("local-addr-port", "0", "1 also shows the local address and port"),
    tunable("line-direction", "1", "1 shows which end opened a connection, and how it failed"),
    tunable(
        "cg-label-cut",
        "20",
        "cut a unit's or container's name to this many characters; 0 or less turns it off",
    ),
    tunable("script-name-cut", "16", "cut a script's name to this many characters; 0 or less turns it off"),
    tunable("conn-traffic-min", "5120", "hide traffic below this many bytes"),
    tunable("use-reltime-after", "22h30m", "show the time relative to now from this age on"),
    tunable("cache-cg-paths", "4h", "how long a cgroup's path is remembered"),
    tunable(
        "cache-cg-labels",
        "30m",
        "how long a cgroup's name is kept after its last use; 0 turns names off",
    ),
    tunable("cache-users", "4h", "how long a user's name is remembered"),
    tunable("cache-conn-ts", "1h", "how long sent events are remembered"),
    tunable("cache-pid-cmd", "3h", "how long a script's name is remembered; 0 turns script names off"),
    tunable(
        "names",
        "replace",
        "show names instead of addresses (replace), after them (append) or not at all (off)",
    ),
    tunable("cache-names", "24h", "how long a name is remembered after its DNS response"),
    tunable("hello", "1", "0 ignores the names that programs send when they connect (TLS, QUIC, proxies)"),
    tunable("reverse-dns", "0", "1 asks the system's resolver for names that no DNS response gave"),
    tunable(
        "asn-db",
        "",
        "database (.mmdb or TSV, up to 256 MiB) of autonomous systems, to show their numbers and owners",
    ),
    tunable("parents", "0", "number of parent processes shown"),
    tunable("memory", "on", "save who talked to whom: on (in the state directory), off, or a file"),
    tunable("extra-ev-data", "0", "1 is the same as --extra-ev-data"),
    tunable("sandbox", "1", "0 turns the sandbox off"),
];

fn is_key(text: &str) -> bool {
    TUNABLES.iter().any(|tunable| tunable.key == text)
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
                && is_key(&key)
            {
                tunables.set(&key, &value)?;
            }
        }
        for text in command_line {
            for pair in words(text)? {
                let (key, value) =
                    pair.split_once('=').ok_or_else(|| TunableError::NotAPair(pair.clone()))?;
                tunables.set(&key.replace('_', "-"), value)?;
            }
        }
        Ok(tunables)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), TunableError> {
        let bad =
            |expected| TunableError::BadValue { key: key.to_owned(), value: value.to_owned(), expected };
        let flag = || parse_flag(value).ok_or_else(|| bad(FLAG_WORDS));
        let duration = || parse_duration(value).map_err(|_| bad("a duration like 90, 1:30 or 4h30m"));
        // Negative turns a label off, as zero does.
        let cut = || {
            value
                .parse::<i64>()
                .map(|cut| usize::try_from(cut).unwrap_or(0))
                .map_err(|_| bad("a number of characters; 0 or less turns it off"))
        };
        let cache = || if value.starts_with('-') { Ok(Duration::ZERO) } else { duration() };
        match key {
            "replay-window" => self.replay_window = duration()?,
            "replay-skip-dead-pids" => self.replay_skip_dead_pids = flag()?,
            "local-addr-port" => self.local_addr_port = flag()?,
            "line-direction" => self.line_direction = flag()?,
            "cg-label-cut" => self.cg_label_cut = cut()?,
            "script-name-cut" => self.script_name_cut = cut()?,
            "conn-traffic-min" => {
                self.conn_traffic_min = value.parse().map_err(|_| bad("a number of bytes, 0 or more"))?;
            }
            "use-reltime-after" => self.use_reltime_after = duration()?,
            "cache-cg-paths" => self.cache_cg_paths = duration()?,
            "cache-cg-labels" => self.cache_cg_labels = cache()?,
            "cache-users" => self.cache_users = duration()?,
            "cache-conn-ts" => self.cache_conn_ts = duration()?,
            "cache-pid-cmd" => self.cache_pid_cmd = cache()?,
            "names" => {
                self.names = match (value, parse_flag(value)) {
                    ("replace", _) | (_, Some(true)) => NamesShown::Replace,
                    ("append", _) => NamesShown::Append,
                    (_, Some(false)) => NamesShown::Off,
                    _ => return Err(bad("replace, append or off")),
                }
            }
            "cache-names" => self.cache_names = duration()?,
            "hello" => self.hello = flag()?,
            "reverse-dns" => self.reverse_dns = flag()?,
            "asn-db" => self.asn_db = (!value.is_empty()).then(|| value.into()),
            "parents" => {
                self.parents = value.parse().map_err(|_| bad("a number of processes, 0 or more"))?;
            }
            "memory" => {
                self.memory = match parse_flag(value) {
                    Some(false) => MemoryPlace::Off,
                    Some(true) => MemoryPlace::StateFolder,
                    None if value.starts_with('/') => MemoryPlace::File(value.into()),
                    None => return Err(bad("on, off or an absolute path")),
                }
            }
            "extra-ev-data" => self.extra_ev_data = flag()?,
            "sandbox" => self.sandbox = flag()?,
            _ => return Err(TunableError::UnknownKey(key.to_owned())),
        }
        Ok(())
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
        for Tunable { key, default, .. } in TUNABLES {
            assert!(load(&[], &[&format!("{key}=1")]).is_ok(), "{key}");
            assert_eq!(load(&[], &[&format!("{key}={default}")]), Ok(Tunables::default()), "{key}");
        }
    }
}
