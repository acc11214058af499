// SPDX-License-Identifier: GPL-3.0-or-later
//! Events from a connected socket, which is connected again when it is gone.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::Duration;

use leco_os::bell::Bell;
use leco_os::files::read_file;
use leco_os::limits;

use super::{LineBuffer, Owner, OwnerError};

/// The first try after a loss, and the longest pause after many.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// A host that does not answer is given up for this time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A pipe takes a token of 1024 bytes and an end of line.
const MAX_TOKEN_FILE: u64 = 1026;

/// Whom to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Peer {
    Unix(PathBuf, Owner),
    Tcp { address: String, token_file: Option<PathBuf> },
}

#[derive(Debug)]
enum State {
    /// A thread connects; the bell rings when it is done.
    Connecting(Receiver<io::Result<OwnedFd>>),
    Reading(File),
}

/// A socket that is connected whenever it can be.
#[derive(Debug)]
pub(crate) struct Stream {
    peer: Peer,
    state: State,
    /// There from the start, so that to connect again takes no descriptor but the lost one's; one for all streams, which who
    /// waits for them silences.
    done: Bell,
    /// Why it is not connected, where it was tried.
    trouble: Option<String>,
    /// What listens there is another user's.
    is_refused: bool,
    back_off: Duration,
    connected: u64,
    lines: LineBuffer,
}

impl Stream {
    pub(crate) fn connect(peer: Peer, done: Bell) -> io::Result<Self> {
        let state = State::Connecting(connecting(peer.clone(), Duration::ZERO, &done)?);
        let (back_off, lines) = (BACK_OFF.0, LineBuffer::default());
        Ok(Self { peer, state, done, trouble: None, is_refused: false, back_off, connected: 0, lines })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        match &self.state {
            State::Connecting(_) => self.done.as_fd(),
            State::Reading(file) => file.as_fd(),
        }
    }

    pub(crate) fn is_reading(&self) -> bool {
        matches!(self.state, State::Reading(_))
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// How often it was connected.
    pub(crate) fn connected(&self) -> u64 {
        self.connected
    }

    pub(crate) fn overlong(&self) -> u64 {
        self.lines.overlong()
    }

    /// Takes what is ready.
    pub(crate) fn take(&mut self, buffer: &mut [u8], deliver: impl FnMut(&[u8])) -> io::Result<()> {
        match &mut self.state {
            State::Connecting(result) => match result.try_recv() {
                Ok(Ok(socket)) => {
                    self.state = State::Reading(File::from(socket));
                    self.trouble = None;
                    self.is_refused = false;
                    self.connected += 1;
                    Ok(())
                }
                Ok(Err(error)) => {
                    let refusal = error.get_ref().and_then(|inner| inner.downcast_ref::<OwnerError>());
                    self.is_refused = refusal.is_some();
                    self.again(limits::explain(error).to_string())
                }
                Err(TryRecvError::Empty) => Ok(()),
                Err(TryRecvError::Disconnected) => self.again("the thread that connects has ended".into()),
            },
            State::Reading(file) => match file.read(buffer) {
                Ok(0) => self.again("the peer closed it".into()),
                Ok(count) => {
                    // It works: the next loss is a new one.
                    self.back_off = BACK_OFF.0;
                    self.lines.push(&buffer[..count], deliver);
                    Ok(())
                }
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) =>
                {
                    Ok(())
                }
                Err(error) => self.again(error.to_string()),
            },
        }
    }

    fn again(&mut self, trouble: String) -> io::Result<()> {
        self.trouble = Some(trouble);
        // What was cut off has no end.
        self.lines.start_anew();
        // The thread waits before it connects, and by then the lost socket is closed.
        self.state = State::Connecting(connecting(self.peer.clone(), self.back_off, &self.done)?);
        self.back_off = (self.back_off * 2).min(BACK_OFF.1);
        Ok(())
    }

    /// Its other end is on this machine.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self.peer, Peer::Unix(..))
    }

    pub(crate) fn describe(&self) -> String {
        let peer = match &self.peer {
            Peer::Unix(path, _) => path.display().to_string(),
            Peer::Tcp { address, .. } => address.clone(),
        };
        match (&self.state, &self.trouble) {
            (State::Reading(_), _) => format!("reading {peer}"),
            (State::Connecting(_), None) => format!("connecting to {peer}"),
            (State::Connecting(_), Some(trouble)) if self.is_refused => format!("{peer}: {trouble}"),
            (State::Connecting(_), Some(trouble)) => format!("waiting ({trouble}): {peer}"),
        }
    }
}

/// Rings even where what has it panics.
struct RingsAtEnd(Bell);

impl Drop for RingsAtEnd {
    fn drop(&mut self) {
        self.0.ring();
    }
}

/// Connects on a thread of its own, since finding an address and connecting to it may take long.
fn connecting(peer: Peer, after: Duration, done: &Bell) -> io::Result<Receiver<io::Result<OwnedFd>>> {
    let (sender, result) = channel();
    let done = RingsAtEnd(done.clone());
    let started = thread::Builder::new().name("connect".into()).spawn(move || {
        // Dropped in reverse: it rings when there is an answer or nobody left to give one.
        let (_done, sender) = (done, sender);
        thread::sleep(after);
        // Nobody waits any more when this fails.
        let _ = sender.send(connect(&peer));
    });
    started.map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("cannot start a thread: {error} (ulimit -v, ulimit -u, TasksMax=)"),
        )
    })?;
    Ok(result)
}

fn connect(peer: &Peer) -> io::Result<OwnedFd> {
    match peer {
        Peer::Unix(path, owner) => {
            let stream = UnixStream::connect(path)?;
            // Who listens, not who made the file: this connection cannot be swapped any more.
            let listener = rustix::net::sockopt::socket_peercred(&stream)?;
            owner.check_user(listener.uid.as_raw()).map_err(io::Error::other)?;
            stream.set_nonblocking(true)?;
            Ok(stream.into())
        }
        Peer::Tcp { address, token_file } => {
            // Before the socket takes what may be the last descriptor.
            let token = token_file.as_deref().map(|path| {
                read_file(path, MAX_TOKEN_FILE).map_err(|error| {
                    let (kind, error) = (error.kind(), limits::explain(error));
                    io::Error::new(kind, format!("{}: {error}", path.display()))
                })
            });
            let token = token.transpose()?;
            let mut stream = connect_tcp(address)?;
            if let Some((token, _)) = token {
                stream.write_all(&[token.trim_ascii(), b"\n"].concat())?;
            }
            // A machine that is gone without a word is noticed all the same.
            rustix::net::sockopt::set_socket_keepalive(&stream, true)?;
            rustix::net::sockopt::set_tcp_keepidle(&stream, Duration::from_secs(60))?;
            stream.set_nonblocking(true)?;
            Ok(stream.into())
        }
    }
}

fn connect_tcp(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}
