// SPDX-License-Identifier: GPL-3.0-or-later
//! Several sources at once.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use leco_os::bell::Bell;
use leco_os::sandbox::{Network, Sandbox};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, OFlags};

use super::fifo::{Fifo, FifoState, READ_BYTES};
use super::spec::Spec;
use super::state::SourcesState;
use super::stream::{Peer, Stream};
use super::{LineBuffer, Owner};

/// What to say of a source for which a sandbox has no room.
pub const SOURCE_GIVEN_UP: &str = "a source needs access that this program has given up: keeping the previous sources; restart it to use \
     the new ones";

/// A sandbox that these sources can be followed in.
#[must_use]
pub fn with_sources(sandbox: Sandbox, sources: &[SourceSpec]) -> Sandbox {
    sources.iter().fold(sandbox, |sandbox, source| {
        let sandbox = sandbox.with_network(source.network());
        let sandbox = if source.is_unix_socket() { sandbox.with_unix_sockets() } else { sandbox };
        match source.path() {
            Some(path) => sandbox.waits_for(path),
            None => sandbox,
        }
    })
}

/// Whether these sources can still be followed in a sandbox.
#[must_use]
pub fn are_allowed(sandbox: &Sandbox, sources: &[SourceSpec]) -> bool {
    sources.iter().all(|source| {
        let has_socket =
            sandbox.permits(source.network()) && (!source.is_unix_socket() || sandbox.permits_unix_sockets());
        has_socket && source.path().is_none_or(|path| sandbox.covers(path))
    })
}

/// Where events come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSpec(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Fifo(PathBuf, Owner),
    Stream(Peer),
    Udp(SocketAddr),
    File(PathBuf, Owner),
    Stdin,
}

/// Why a source cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("source {text}: expected {expected}")]
pub struct SourceError {
    text: String,
    /// What it could have been.
    pub expected: &'static str,
}

const FORMS: &str = "fifo:PATH, unix:PATH, tcp:HOST:PORT, udp:ADDRESS:PORT, file:PATH or -";

const OPTIONS: &str = "one of these options after ?: owner=any (fifo:, unix:, file:), token-file=PATH (tcp:)";

/// The option that a source may have.
const TOKEN_FILE: &str = "token-file";
const OWNER: &str = "owner";
/// The same, and those that only outputs have: in a source they would count as part of a path that nobody ever makes.
const KEYS: [&str; 7] = [TOKEN_FILE, OWNER, "filter", "share", "rate-limit", "mode", "allow"];

impl SourceSpec {
    /// A fifo, with `?owner=any` behind its path if it may be anybody's.
    #[must_use]
    pub fn fifo(path: &Path) -> Self {
        let (path, owner) = with_owner(path);
        Self(Kind::Fifo(path.to_owned(), owner))
    }

    /// Whether it is standard input.
    #[must_use]
    pub fn is_stdin(&self) -> bool {
        self.0 == Kind::Stdin
    }

    /// Whether it brings what was recorded, from the first event on, and no news.
    #[must_use]
    pub fn is_recording(&self) -> bool {
        match &self.0 {
            Kind::File(..) => true,
            Kind::Stdin => rustix::fs::fstat(io::stdin())
                .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile),
            Kind::Fifo(..) | Kind::Stream(_) | Kind::Udp(_) => false,
        }
    }

    /// File, fifo or socket that it is, or that is needed for it.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.0 {
            Kind::Fifo(path, _) | Kind::File(path, _) | Kind::Stream(Peer::Unix(path, _)) => Some(path),
            Kind::Stream(Peer::Tcp { token_file, .. }) => token_file.as_deref(),
            Kind::Udp(_) | Kind::Stdin => None,
        }
    }

    /// What sockets of a network it takes.
    #[must_use]
    pub fn network(&self) -> Network {
        match &self.0 {
            Kind::Stream(Peer::Tcp { .. }) => Network::All,
            Kind::Udp(_) => Network::Udp,
            Kind::Fifo(..) | Kind::File(..) | Kind::Stream(Peer::Unix(..)) | Kind::Stdin => Network::None,
        }
    }

    fn is_unix_socket(&self) -> bool {
        matches!(&self.0, Kind::Stream(Peer::Unix(..)))
    }

    /// Reads `KIND:TARGET`, with `?token-file=PATH` after that of `tcp`, and `?owner=any` after a path.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        let fault = |expected| SourceError { text: text.to_owned(), expected };
        let spec = Spec::parse(text, &KEYS).ok_or_else(|| fault(FORMS))?;
        if let Some((key, _)) = spec.options.iter().find(|(key, _)| ![TOKEN_FILE, OWNER].contains(key)) {
            return Err(fault(if *key == "filter" {
                "no filter=, which is only valid for outputs of leco-event-pipe: use --filter FILTER"
            } else {
                "no such option, which is only valid for outputs of leco-event-pipe"
            }));
        }
        if spec.unknown_option().is_some() {
            return Err(fault(OPTIONS));
        }
        if spec.repeated_option().is_some() {
            return Err(fault("each option once"));
        }
        let path = || PathBuf::from(spec.target);
        let option = |key| spec.options.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
        let token_file = option("token-file").map(PathBuf::from);
        let named_owner = option("owner").map(|owner| Owner::parse(owner).ok_or_else(|| fault("owner=any")));
        let named_owner = named_owner.transpose()?;
        let owner = named_owner.unwrap_or_default();
        let kind = match spec.kind {
            "tcp" if !is_host_and_port(spec.target) => return Err(fault("tcp:HOST:PORT")),
            "tcp" | "udp" | "-" if named_owner.is_some() => {
                return Err(fault("owner= only for fifo:, unix: and file:"));
            }
            "tcp" => Kind::Stream(Peer::Tcp { address: spec.target.to_owned(), token_file }),
            _ if token_file.is_some() => return Err(fault("token-file= only for tcp:")),
            "fifo" => Kind::Fifo(path(), owner),
            "unix" => Kind::Stream(Peer::Unix(path(), owner)),
            "udp" => Kind::Udp(spec.target.parse().map_err(|_| fault("udp:ADDRESS:PORT"))?),
            "file" => Kind::File(path(), owner),
            "-" => Kind::Stdin,
            _ => return Err(fault(FORMS)),
        };
        Ok(Self(kind))
    }

    /// What stands for its host where an event names none.
    fn label(&self) -> String {
        let name = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let label = match &self.0 {
            Kind::Fifo(path, _) | Kind::File(path, _) | Kind::Stream(Peer::Unix(path, _)) => name(path),
            Kind::Stream(Peer::Tcp { address, .. }) => {
                address.rsplit_once(':').map_or(address.clone(), |(host, _)| host.to_owned())
            }
            Kind::Udp(address) => format!("udp {}", address.port()),
            Kind::Stdin => "-".to_owned(),
        };
        leco_os::clean::clean(&label).into_owned()
    }
}

/// A path without `?owner=any` behind it, and whose it may be.
fn with_owner(path: &Path) -> (&Path, Owner) {
    match path.as_os_str().as_bytes().strip_suffix(b"?owner=any") {
        Some(path) => (Path::new(std::ffi::OsStr::from_bytes(path)), Owner::Any),
        None => (path, Owner::Known),
    }
}

/// Opens a recording, with `?owner=any` behind its path if it may be anybody's. Another user's is refused.
pub fn open_recording(path: &Path) -> io::Result<File> {
    let (path, owner) = with_owner(path);
    let file = open_to_read(path, owner)?;
    // What is piped into it is waited for.
    rustix::io::ioctl_fionbio(&file, false)?;
    Ok(file)
}

/// Never waits for a writer of a fifo.
fn open_to_read(path: &Path, owner: Owner) -> io::Result<File> {
    // To open some devices is to use them.
    refuse_device(&std::fs::metadata(path)?)?;
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let opened = file.metadata()?;
    refuse_device(&opened)?;
    if opened.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    owner.check(path, &opened).map_err(io::Error::other)?;
    Ok(file)
}

fn refuse_device(there: &Metadata) -> io::Result<()> {
    let kind = there.file_type();
    let is_device = kind.is_char_device() || kind.is_block_device();
    if is_device { Err(io::Error::other("a device, not a recording")) } else { Ok(()) }
}

fn is_host_and_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

/// Which source an event came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Origin<'s> {
    /// Its place among the sources.
    pub index: usize,
    /// What stands for its host where the event names none; nothing where there is only one source.
    pub host: Option<&'s str>,
    /// Counts the connections of the source: each begins anew.
    pub stream: u64,
    /// Who sent it, where that is told of each.
    pub sender: Option<SocketAddr>,
}

#[derive(Debug)]
enum Source {
    Fifo(Box<Fifo>),
    Stream(Box<Stream>),
    Datagrams { socket: UdpSocket, address: SocketAddr, overlong: u64 },
    Bytes { file: Option<File>, name: String, lines: LineBuffer },
}

/// All sources, waited for together.
#[derive(Debug)]
pub struct Sources {
    all: Vec<Source>,
    labels: Vec<String>,
    specs: Vec<SourceSpec>,
    /// Which have brought a line.
    heard: Vec<bool>,
    buffer: Vec<u8>,
    /// Rings when a stream is connected, or cannot be; none where there are no streams.
    connected: Option<Bell>,
}

impl Sources {
    /// Opens them; what is not there yet is waited for. Fails where a recording or a port cannot be opened.
    pub fn open(specs: &[SourceSpec]) -> io::Result<Self> {
        let named = |spec: &SourceSpec, error: io::Error| {
            let name = spec.path().map_or_else(|| spec.label(), |path| path.display().to_string());
            io::Error::new(error.kind(), format!("{name}: {error}"))
        };
        let mut connected = None;
        let open = |spec| Source::open(spec, &mut connected).map_err(|error| named(spec, error));
        Ok(Self {
            all: specs.iter().map(open).collect::<Result<_, _>>()?,
            labels: specs.iter().map(SourceSpec::label).collect(),
            specs: specs.to_vec(),
            heard: vec![false; specs.len()],
            buffer: vec![0; READ_BYTES],
            connected,
        })
    }

    /// What was opened.
    #[must_use]
    pub fn specs(&self) -> &[SourceSpec] {
        &self.specs
    }

    /// What becomes readable when [`Self::wait`] has something to do: for a loop that waits for other things,
    /// too. They change whenever it has done something.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.all.iter().flat_map(Source::fds)
    }

    /// Sleeps until something arrives, a source comes or goes, or the time is over; hands out every line that
    /// arrived. Tells whether the time was over.
    pub fn wait(
        &mut self,
        timeout: Option<Duration>,
        mut deliver: impl FnMut(Origin<'_>, &[u8]),
    ) -> io::Result<bool> {
        let timeout = timeout
            .map(|timeout| Timespec::try_from(timeout).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 }));
        let ready: Vec<bool> = {
            let mut fds: Vec<_> = self.fds().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
            match poll(&mut fds, timeout.as_ref()) {
                Ok(0) => return Ok(true),
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
            fds.iter().map(|fd| !fd.revents().is_empty()).collect()
        };
        // Before any stream is asked: what rings from now on is seen the next time.
        if let Some(bell) = &self.connected {
            bell.silence();
        }
        let mut ready = ready.into_iter();
        let has_several = self.all.len() > 1;
        let all = self.all.iter_mut().zip(&mut self.heard).zip(&self.labels);
        for (index, ((source, heard), label)) in all.enumerate() {
            let descriptors = source.fds().count();
            let is_ready = ready.by_ref().take(descriptors).fold(false, |any, ready| any | ready);
            if is_ready {
                let host = has_several.then_some(label.as_str());
                let stream = source.stream();
                source
                    .take(&mut self.buffer, |sender, line| {
                        *heard = true;
                        deliver(Origin { index, host, stream, sender }, line);
                    })
                    .map_err(|error| io::Error::new(error.kind(), format!("{label}: {error}")))?;
            }
        }
        Ok(false)
    }

    /// Those that have brought no line and still may, in words.
    #[must_use]
    pub fn awaited(&self) -> Vec<String> {
        let all = self.all.iter().zip(&self.heard);
        let awaited = all.filter(|(source, heard)| !**heard && !source.has_ended());
        awaited.map(|(source, _)| source.describe()).collect()
    }

    /// How they are doing.
    #[must_use]
    pub fn state(&self) -> SourcesState {
        let each: Vec<_> = self.all.iter().map(Source::describe).collect();
        let waiting: Vec<_> =
            self.all.iter().filter(|source| !source.is_reading()).map(Source::describe).collect();
        let text = match self.all.as_slice() {
            [only] => only.describe(),
            all if waiting.is_empty() => format!("reading {} sources", all.len()),
            all => {
                let reading = all.len() - waiting.len();
                format!("reading {reading} of {} sources; {}", all.len(), waiting.join("; "))
            }
        };
        SourcesState {
            text,
            each,
            is_reading: waiting.is_empty(),
            remedy: self.remedy(),
            has_ended: self.all.iter().all(Source::has_ended),
            overlong: self.all.iter().map(Source::overlong).sum(),
        }
    }
}

impl Sources {
    /// One that is not read for what it is, though something is there, is not helped by a pipe that starts.
    fn remedy(&self) -> String {
        let waiting = || self.all.iter().filter(|source| !source.is_reading());
        if waiting().any(Source::is_refused) {
            return String::new();
        }
        let installed = |unit: &str| {
            format!(" (start leco-event-pipe, or where LECO is installed: sudo systemctl start {unit})")
        };
        let remedies = waiting().filter_map(|source| match source {
            Source::Fifo(_) => Some(installed(&format!("leco@{}", rustix::process::getuid().as_raw()))),
            Source::Stream(stream) if stream.is_local() => Some(installed("leco.socket")),
            Source::Stream(_) => Some(" (start leco-event-pipe there)".to_owned()),
            Source::Datagrams { .. } | Source::Bytes { .. } => None,
        });
        let remedies: Vec<_> = remedies.collect();
        match remedies.as_slice() {
            [only] => only.clone(),
            [] => String::new(),
            _ => " (start leco-event-pipe)".to_owned(),
        }
    }
}

impl Source {
    /// Makes the bell of the streams with the first of them.
    fn open(spec: &SourceSpec, connected: &mut Option<Bell>) -> io::Result<Self> {
        Ok(match &spec.0 {
            Kind::Fifo(path, owner) => Self::Fifo(Box::new(Fifo::follow_of(path, *owner)?)),
            Kind::Stream(peer) => {
                let bell = match connected {
                    Some(bell) => bell,
                    None => connected.insert(Bell::new()?),
                };
                Self::Stream(Box::new(Stream::connect(peer.clone(), bell.clone())?))
            }
            Kind::Udp(address) => {
                let socket = UdpSocket::bind(address)?;
                socket.set_nonblocking(true)?;
                Self::Datagrams { socket, address: *address, overlong: 0 }
            }
            Kind::File(path, owner) => Self::bytes(open_to_read(path, *owner)?, path.display().to_string()),
            Kind::Stdin => Self::bytes(
                File::from(io::stdin().as_fd().try_clone_to_owned()?),
                "standard input".to_owned(),
            ),
        })
    }

    fn bytes(file: File, name: String) -> Self {
        Self::Bytes { file: Some(file), name, lines: LineBuffer::default() }
    }

    fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let (fifo, other) = match self {
            Self::Fifo(fifo) => (Some(fifo.fds()), None),
            Self::Stream(stream) => (None, Some(stream.fd())),
            Self::Datagrams { socket, .. } => (None, Some(socket.as_fd())),
            Self::Bytes { file, .. } => (None, file.as_ref().map(AsFd::as_fd)),
        };
        fifo.into_iter().flatten().chain(other)
    }

    fn take(
        &mut self,
        buffer: &mut [u8],
        mut deliver: impl FnMut(Option<SocketAddr>, &[u8]),
    ) -> io::Result<()> {
        let mut in_order = |line: &[u8]| deliver(None, line);
        match self {
            Self::Fifo(fifo) => fifo.wait(Some(Duration::ZERO), in_order).map(|_| ()),
            Self::Stream(stream) => stream.take(buffer, in_order),
            Self::Datagrams { socket, overlong, .. } => {
                // Nothing comes after all where this fails.
                if let Ok((count, sender)) = socket.recv_from(buffer) {
                    // Each is whole: what is cut off does not belong to the next.
                    let mut lines = LineBuffer::default();
                    let mut of_sender = |line: &[u8]| deliver(Some(sender), line);
                    lines.push(&buffer[..count], &mut of_sender);
                    lines.end(&mut of_sender);
                    *overlong += lines.overlong();
                }
                Ok(())
            }
            Self::Bytes { file, lines, .. } => {
                let Some(open) = file else { return Ok(()) };
                match open.read(buffer) {
                    Ok(0) => {
                        *file = None;
                        lines.end(&mut in_order);
                    }
                    Ok(count) => lines.push(&buffer[..count], &mut in_order),
                    Err(error)
                        if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                    }
                    Err(error) => return Err(error),
                }
                Ok(())
            }
        }
    }

    fn is_reading(&self) -> bool {
        match self {
            Self::Fifo(fifo) => *fifo.state() == FifoState::Reading,
            Self::Stream(stream) => stream.is_reading(),
            Self::Datagrams { .. } => true,
            Self::Bytes { file, .. } => file.is_some(),
        }
    }

    fn is_refused(&self) -> bool {
        match self {
            Self::Fifo(fifo) => !matches!(fifo.state(), FifoState::Reading | FifoState::Missing),
            Self::Stream(stream) => stream.is_refused(),
            Self::Datagrams { .. } | Self::Bytes { .. } => false,
        }
    }

    /// Which connection it is on, counted from the first.
    fn stream(&self) -> u64 {
        match self {
            Self::Fifo(fifo) => fifo.opened(),
            Self::Stream(stream) => stream.connected(),
            Self::Datagrams { .. } | Self::Bytes { .. } => 0,
        }
    }

    fn has_ended(&self) -> bool {
        matches!(self, Self::Bytes { file: None, .. })
    }

    fn overlong(&self) -> u64 {
        match self {
            Self::Fifo(fifo) => fifo.overlong(),
            Self::Stream(stream) => stream.overlong(),
            Self::Datagrams { overlong, .. } => *overlong,
            Self::Bytes { lines, .. } => lines.overlong(),
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Fifo(fifo) => fifo.describe(),
            Self::Stream(stream) => stream.describe(),
            Self::Datagrams { address, .. } => format!("listening on {address}"),
            Self::Bytes { file: Some(_), name, .. } => format!("reading {name}"),
            Self::Bytes { file: None, name, .. } => format!("at the end of {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_takes_its_own_network_along() {
        let of = |text: &str| [SourceSpec::parse(text).unwrap()];
        let (fifo, udp, tcp) = (of("fifo:/tmp/x"), of("udp:127.0.0.1:5000"), of("tcp:host:5000"));
        let none = with_sources(Sandbox::default(), &fifo);
        assert!(are_allowed(&none, &fifo) && !are_allowed(&none, &udp) && !are_allowed(&none, &tcp));
        let some = with_sources(Sandbox::default(), &udp);
        assert!(are_allowed(&some, &udp) && !are_allowed(&some, &tcp));
        let all = with_sources(with_sources(Sandbox::default(), &tcp), &udp);
        assert!(are_allowed(&all, &udp) && are_allowed(&all, &tcp));
    }
}
