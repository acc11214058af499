// SPDX-License-Identifier: GPL-3.0-or-later
//! Outputs as they are asked for on the command line.

use std::fmt;
use std::fs;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use leco_cli::history::parse_moment;
use leco_cli::modes::{parse_fifo_mode, parse_socket_mode};
use leco_core::query::Query;
use leco_core::source::Spec;
use leco_core::text::{parse_duration, parse_flag};
use leco_core::wire::details::ConnectionDetails;
use leco_core::wire::event::ConnectionState;
use leco_core::wire::history::HISTORY_FIELDS;
use leco_os::clock::BootNs;
use nix::unistd::User;

use super::stored::StoredWish;

/// Where events go.
#[derive(Debug, Clone, PartialEq)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// A fifo, made with this mode where it is missing.
    Fifo {
        /// Where it is.
        path: PathBuf,
        /// Permissions of one that is made.
        mode: u32,
    },
    /// A unix stream socket on which readers are taken.
    Unix {
        /// Where it is.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
        /// Users that are taken; `None`: all that the permissions let in.
        allow: Option<Vec<u32>>,
    },
    /// A TCP port on which readers are taken.
    Tcp {
        /// Where it listens.
        address: SocketAddr,
        /// What a reader has to say first stands in this file.
        token_file: Option<PathBuf>,
    },
    /// Datagrams to this address, one an event.
    Udp(SocketAddr),
    /// A file to which events are appended.
    File(PathBuf),
    /// A file of metrics for Prometheus, which is replaced now and then.
    Metrics {
        /// Where it is.
        path: PathBuf,
        /// How often.
        every: Duration,
    },
    /// A listening socket that the service manager passed by this name.
    Passed(String),
}

/// An output: where events go, and which.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputSpec {
    /// Where.
    pub destination: Destination,
    /// Which.
    pub selection: Selection,
    /// A connection's events are at least so far apart; zero: no limit.
    pub rate_limit: Duration,
    /// What a receiver is told first.
    pub stored: Option<StoredWish>,
}

/// Which events a receiver is sent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Selection {
    /// Only lines that it chooses.
    pub filter: Option<Filter>,
    /// Only this share of the connections.
    pub share: Option<Share>,
}

/// What chooses events, as in the frontends.
#[derive(Debug, Clone)]
pub struct Filter {
    text: String,
    query: Arc<Query>,
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// One of several equal parts of the connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// From 0.
    index: u64,
    count: u64,
}

/// Why an output cannot be understood.
#[derive(Debug, thiserror::Error)]
#[error("output {text}: {reason}")]
pub struct OutputError {
    text: String,
    reason: String,
}

const KEYS: [&str; 9] =
    ["filter", "share", "rate-limit", "mode", "allow", "token-file", "history", "live", "every"];
const FORMS: &str =
    "fifo:PATH, unix:PATH, tcp:ADDRESS:PORT, udp:ADDRESS:PORT, file:PATH, metrics:PATH.prom, fd:NAME or -";

/// Prometheus asks as often by itself.
const METRICS_EVERY: Duration = Duration::from_secs(15);
/// More often nobody reads.
const METRICS_EVERY_LEAST: Duration = Duration::from_secs(1);

impl OutputSpec {
    /// One without options.
    #[must_use]
    pub fn plain(destination: Destination) -> Self {
        Self { destination, selection: Selection::default(), rate_limit: Duration::ZERO, stored: None }
    }

    /// Reads `KIND:TARGET?KEY=VALUE&…`.
    pub fn parse(text: &str) -> Result<Self, OutputError> {
        Self::read(text).map_err(|reason| OutputError { text: text.to_owned(), reason })
    }

    /// The same with this filter, unless it has one of its own.
    pub fn filtered(mut self, text: &str) -> Result<Self, OutputError> {
        if self.selection.filter.is_none() {
            let filter = Filter::parse(text);
            self.selection.filter =
                Some(filter.map_err(|reason| OutputError { text: text.to_owned(), reason })?);
        }
        Ok(self)
    }

    /// File that is read for it.
    #[must_use]
    pub fn reads(&self) -> Option<&Path> {
        match &self.destination {
            Destination::Tcp { token_file, .. } => token_file.as_deref(),
            _ => None,
        }
    }

    /// File that is written or made for it.
    #[must_use]
    pub fn writes(&self) -> Option<&Path> {
        match &self.destination {
            Destination::Fifo { path, .. }
            | Destination::Unix { path, .. }
            | Destination::Metrics { path, .. }
            | Destination::File(path) => Some(path),
            Destination::Stdout | Destination::Tcp { .. } | Destination::Udp(_) | Destination::Passed(_) => {
                None
            }
        }
    }

    /// Refuses two outputs in one place, whatever it is called in each of them: both would write to what the other made.
    pub fn refuse_same_places(specs: &[Self]) -> Result<(), OutputError> {
        let places: Vec<_> = specs.iter().filter_map(|spec| Some((spec, place(spec.writes()?)))).collect();
        for (at, (spec, here)) in places.iter().enumerate() {
            if let Some((other, _)) = places[..at].iter().find(|(_, there)| there == here) {
                let reason = format!("{} leads to the same place: name another path", other.destination);
                return Err(OutputError { text: spec.destination.to_string(), reason });
            }
        }
        Ok(())
    }

    /// Refuses outputs that need what only the pipe has, for programs that hand on events of others: nothing would come.
    pub fn refuse_what_events_lack(specs: &[Self]) -> Result<(), OutputError> {
        for spec in specs {
            let reason = match &spec.destination {
                Destination::Metrics { .. } => "only leco-event-pipe counts connections, on their machine",
                _ if spec.stored.is_some() => "only leco-event-pipe stores totals: leave out history=",
                _ => continue,
            };
            return Err(OutputError { text: spec.destination.to_string(), reason: reason.into() });
        }
        Ok(())
    }

    /// The output that writes at a path, whatever it is called there.
    #[must_use]
    pub fn at<'s>(specs: &'s [Self], path: &Path) -> Option<&'s Self> {
        let here = place(path);
        specs.iter().find(|spec| spec.writes().is_some_and(|path| place(path) == here))
    }

    fn read(text: &str) -> Result<Self, String> {
        let spec = Spec::parse(text, &KEYS).ok_or_else(|| format!("expected {FORMS}"))?;
        if let Some(key) = spec.unknown_option() {
            let what =
                if key.is_empty() { "no option follows the ?".into() } else { format!("no option {key}") };
            return Err(format!("{what}, expected one of {}", KEYS.map(|key| format!("{key}=")).join(", ")));
        }
        if let Some(key) = spec.repeated_option() {
            return Err(format!("{key}= is there twice: take one out"));
        }
        let path = || PathBuf::from(spec.target);
        let destination = match spec.kind {
            "-" => Destination::Stdout,
            "fifo" => Destination::Fifo { path: path(), mode: 0o600 },
            "unix" => Destination::Unix { path: path(), mode: 0o600, allow: None },
            "tcp" => Destination::Tcp { address: address(spec.target)?, token_file: None },
            "udp" => Destination::Udp(address(spec.target)?),
            "file" => Destination::File(path()),
            "metrics" => Destination::Metrics { path: metrics_path(spec.target)?, every: METRICS_EVERY },
            "fd" => Destination::Passed(spec.target.to_owned()),
            other => return Err(format!("unknown kind {other}, expected {FORMS}")),
        };
        let mut output = Self::plain(destination);
        let live = spec.options.iter().find(|(key, _)| *key == "live").copied();
        for (key, value) in spec.options {
            output.set(key, value).map_err(|reason| format!("{key}={value}: {reason}"))?;
        }
        if let Some((_, value)) = live {
            output.set_live(value).map_err(|reason| format!("live={value}: {reason}"))?;
        }
        output.check_stored()?;
        Ok(output)
    }

    /// Whether events follow what is stored.
    fn set_live(&mut self, value: &str) -> Result<(), String> {
        let is_live = parse_flag(value).ok_or("expected on or off")?;
        let stored = self.stored.as_mut().ok_or("without history= there is nothing else")?;
        stored.is_live = is_live;
        if !is_live && matches!(self.destination, Destination::Fifo { .. }) {
            return Err("a fifo stays: its reader would not see the end".into());
        }
        Ok(())
    }

    /// Totals are of no connection: what asks for one cannot be told of them.
    fn check_stored(&self) -> Result<(), String> {
        let Selection { filter, share } = &self.selection;
        match self.stored {
            Some(_) if share.is_some() => {
                Err("share= is of connections, which totals do not tell apart".into())
            }
            Some(_) if filter.as_ref().is_some_and(|filter| filter.query.asks_beyond(&HISTORY_FIELDS)) => Err(
                "filter= asks for what totals do not have: write words, user, proc, unit, peer, port and dir"
                    .into(),
            ),
            Some(_) | None => Ok(()),
        }
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match (key, &mut self.destination) {
            ("every", Destination::Metrics { every, .. }) => {
                *every = parse_duration(value)
                    .ok()
                    .filter(|every| *every >= METRICS_EVERY_LEAST)
                    .ok_or("expected a duration of 1 s or more, like 15 or 1m")?;
            }
            (_, Destination::Metrics { .. }) => {
                return Err("metrics count every connection: every= is their only option".into());
            }
            ("filter", _) => {
                self.selection.filter = Some(Filter::parse(value)?);
            }
            ("share", _) => self.selection.share = Some(Share::parse(value)?),
            ("rate-limit", _) => {
                self.rate_limit =
                    parse_duration(value).map_err(|_| "expected a duration like 10 or 1m30s".to_owned())?;
            }
            ("history", Destination::Udp(_) | Destination::File(_)) => {
                return Err("nobody connects to this kind of output, so it has no begin".into());
            }
            ("history", _) => {
                self.stored = Some(StoredWish { since: parse_moment(value)?, is_live: true });
            }
            // Once it is known whether there is a history.
            ("live", _) => {}
            ("mode", Destination::Fifo { mode, .. }) => *mode = parse_fifo_mode(value)?,
            ("mode", Destination::Unix { mode, .. }) => *mode = parse_socket_mode(value)?,
            ("allow", Destination::Unix { allow, .. }) => {
                *allow = Some(value.split(',').map(user).collect::<Result<_, _>>()?);
            }
            ("token-file", Destination::Tcp { token_file, .. }) => *token_file = Some(value.into()),
            _ => return Err("this kind of output has no such option".into()),
        }
        Ok(())
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("-"),
            Self::Fifo { path, .. } => write!(f, "fifo:{}", path.display()),
            Self::Unix { path, .. } => write!(f, "unix:{}", path.display()),
            Self::Tcp { address, .. } => write!(f, "tcp:{address}"),
            Self::Udp(address) => write!(f, "udp:{address}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Metrics { path, .. } => write!(f, "metrics:{}", path.display()),
            Self::Passed(name) => write!(f, "fd:{name}"),
        }
    }
}

/// By what two paths are known to be one: what is there, by whatever name, else the directory and the name in it.
#[derive(PartialEq, Eq)]
enum Place {
    There(u64, u64),
    Nothing(PathBuf),
}

fn place(path: &Path) -> Place {
    if let Ok(there) = fs::metadata(path) {
        return Place::There(there.dev(), there.ino());
    }
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    // One that is not there either is refused when it is opened.
    let directory = fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
    Place::Nothing(path.file_name().map_or(directory.clone(), |name| directory.join(name)))
}

impl Selection {
    /// Whether an event of the connection `ns` with this line is sent.
    pub(crate) fn holds(&self, ns: BootNs, line: &str, event: &[u8]) -> bool {
        self.share.is_none_or(|share| share.holds(ns))
            && self.filter.as_ref().is_none_or(|filter| filter.holds(line, event))
    }
}

impl Filter {
    fn parse(text: &str) -> Result<Self, String> {
        let query = Query::parse(text).map_err(|error| error.placed(text))?;
        Ok(Self { text: text.to_owned(), query: Arc::new(query) })
    }

    /// Of the same language, for totals.
    pub(crate) fn query(&self) -> Arc<Query> {
        Arc::clone(&self.query)
    }

    fn holds(&self, line: &str, event: &[u8]) -> bool {
        let details = ConnectionDetails::of(line, str::from_utf8(event).ok());
        // What the line says of its state, the event says, too.
        self.query.holds(line, &details, ConnectionState::Ordinary)
    }
}

impl Share {
    fn parse(text: &str) -> Result<Self, String> {
        let parts = text
            .split_once('/')
            .and_then(|(index, count)| Some((index.parse::<u64>().ok()?, count.parse::<u64>().ok()?)));
        match parts {
            Some((index, count)) if 1 <= index && index <= count => Ok(Self { index: index - 1, count }),
            _ => Err("expected I/N with I from 1 to N, like 1/3".into()),
        }
    }

    /// By the connection alone, so that every event of one goes to the same receiver.
    fn holds(self, ns: BootNs) -> bool {
        // The finalizer of SplitMix64 (Steele, Lea, Flood 2014): clocks tick in steps, shares must not.
        let mixed = (ns ^ (ns >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % self.count == self.index
    }
}

/// Relative paths would be those of who starts the pipe, and are none in a unit.
fn metrics_path(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    if path.extension().is_none_or(|extension| extension != "prom") {
        return Err("expected a path that ends in .prom: node_exporter reads no other files".into());
    }
    if path.is_relative() {
        return Err("expected an absolute path, like that of --collector.textfile.directory".into());
    }
    Ok(path.to_owned())
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let found = text.to_socket_addrs().map_err(|error| format!("expected ADDRESS:PORT ({error})"))?;
    found.into_iter().next().ok_or_else(|| "there is no such address".into())
}

fn user(text: &str) -> Result<u32, String> {
    let by_name = || User::from_name(text).ok().flatten().map(|user| user.uid.as_raw());
    text.parse().ok().or_else(by_name).ok_or_else(|| format!("there is no user {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_belong_to_kinds() {
        let spec = OutputSpec::parse(
            "unix:/run/leco.sock?mode=0660&allow=root,1000&filter=-/chrony/&share=2/3&rate-limit=10s",
        )
        .unwrap();
        let path = PathBuf::from("/run/leco.sock");
        assert_eq!(spec.destination, Destination::Unix { path, mode: 0o660, allow: Some(vec![0, 1000]) });
        assert_eq!(spec.rate_limit, Duration::from_secs(10));
        assert!(spec.selection.filter.is_some());
        assert_eq!(OutputSpec::parse("-").unwrap(), OutputSpec::plain(Destination::Stdout));
        let metrics = OutputSpec::parse("metrics:/run/leco.prom?every=1m").unwrap();
        let path = PathBuf::from("/run/leco.prom");
        assert_eq!(metrics.destination, Destination::Metrics { path, every: Duration::from_mins(1) });
        let udp = OutputSpec::parse("udp:127.0.0.1:9").unwrap();
        assert_eq!(udp.destination, Destination::Udp("127.0.0.1:9".parse().unwrap()));
    }

    #[test]
    fn faults_say_what_was_expected() {
        for (text, expected) in [
            ("/run/leco.fifo", "expected fifo:PATH"),
            ("http://x", "unknown kind http"),
            ("udp:127.0.0.1:9?mode=0600", "mode=0600: this kind of output has no such option"),
            ("-?share=0/3", "share=0/3: expected I/N"),
            ("-?share=4/3", "share=4/3: expected I/N"),
            ("-?filter=a /(/", "this group is never closed"),
            ("-?filter=prt:1", "there is no field prt"),
            ("-?filter=@web", "there is no saved filter web"),
            ("fifo:/x?mode=999", "expected octal digits"),
            ("fifo:/x?mode=0666", "mode=0666: every user could write to it"),
            ("fifo:/x?mode=0622", "0600 is usual"),
            ("fifo:/x?mode=0000", "mode=0000: its owner could not read"),
            ("unix:/x?mode=0000", "mode=0000: its owner could not connect"),
            ("-?bogus=1", "no option bogus, expected one of filter=, share="),
            ("unix:/x?bogus=1", "no option bogus, expected one of"),
            ("fifo:/x?", "no option follows the ?"),
            ("unix:/x?allow=no-such-user", "there is no user no-such-user"),
            ("tcp:127.0.0.1", "expected ADDRESS:PORT"),
            ("-?rate-limit=soon", "expected a duration"),
            ("-?history=soon", "expected a time ago like 8h"),
            ("udp:127.0.0.1:9?history=8h", "nobody connects"),
            ("file:/x?history=8h", "nobody connects"),
            ("unix:/x?history=1h&history=2h", "history= is there twice"),
            ("unix:/x?live=off", "live=off: without history="),
            ("unix:/x?history=8h&live=perhaps", "live=perhaps: expected on or off"),
            ("fifo:/x?live=off&history=8h", "live=off: a fifo stays"),
            ("unix:/x?history=8h&share=1/2", "share= is of connections"),
            ("unix:/x?history=8h&filter=rtt>1s", "filter= asks for what totals do not have"),
            ("metrics:/x", "expected a path that ends in .prom"),
            ("metrics:/x.prom.gz", "expected a path that ends in .prom"),
            ("metrics:/.prom", "expected a path that ends in .prom"),
            ("metrics:x.prom", "expected an absolute path"),
            ("metrics:/x.prom?every=0.5s", "every=0.5s: expected a duration of 1 s or more"),
            ("metrics:/x.prom?every=0", "every=0: expected a duration of 1 s or more"),
            ("metrics:/x.prom?filter=proc:x", "filter=proc:x: metrics count every connection"),
            ("metrics:/x.prom?live=off", "live=off: metrics count every connection"),
            ("file:/x?every=15", "every=15: this kind of output has no such option"),
        ] {
            let error = OutputSpec::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains(text), "{error}");
        }
    }

    #[test]
    fn what_needs_the_pipe_is_refused_elsewhere() {
        for (text, expected) in [
            ("metrics:/x.prom", "output metrics:/x.prom: only leco-event-pipe counts"),
            ("unix:/x?history=8h", "output unix:/x: only leco-event-pipe stores totals"),
        ] {
            let specs = ["-", text].map(|text| OutputSpec::parse(text).unwrap());
            let error = OutputSpec::refuse_what_events_lack(&specs).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
            OutputSpec::refuse_what_events_lack(&specs[..1]).unwrap();
        }
    }

    #[test]
    fn two_outputs_are_in_two_places() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        fs::write(at("there"), "").unwrap();
        std::os::unix::fs::symlink(at("there"), at("link")).unwrap();
        fs::hard_link(at("there"), at("hard")).unwrap();
        fs::create_dir(at("a")).unwrap();
        let refusal = |texts: [String; 2]| {
            let specs = texts.map(|text| OutputSpec::parse(&text).unwrap());
            OutputSpec::refuse_same_places(&specs).err().map(|error| error.to_string())
        };
        for (one, other) in [("x", "x"), ("x", "./x"), ("x", "a/../x"), ("there", "link"), ("there", "hard")]
        {
            for kinds in [["fifo", "fifo"], ["unix", "unix"], ["file", "file"], ["fifo", "file"]] {
                let texts =
                    [format!("{}:{}", kinds[0], at(one)), format!("{}:{}?share=1/2", kinds[1], at(other))];
                let said = refusal(texts.clone()).unwrap();
                assert!(said.contains(&texts[0]) && said.contains(&at(other)), "{texts:?}: {said}");
            }
        }
        assert_eq!(refusal([format!("file:{}", at("x")), format!("file:{}", at("y"))]), None);
        assert_eq!(refusal(["udp:127.0.0.1:9".into(), "-".into()]), None);
    }

    #[test]
    fn shares_part_the_connections_evenly() {
        let shares: Vec<_> = ["1/3", "2/3", "3/3"].map(|text| Share::parse(text).unwrap()).into();
        let mut counts = [0; 3];
        for ns in (0..30_000).map(|number| number * 1000) {
            let holding: Vec<_> = (0..3).filter(|&index| shares[index].holds(ns)).collect();
            assert_eq!(holding.len(), 1);
            counts[holding[0]] += 1;
        }
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
    }
}
