// SPDX-License-Identifier: GPL-3.0-or-later
//! Sockets on which readers are taken, each with a queue of its own.

use std::fs::{self, File, FileType};
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use leco_os::clock::BootNs;
use leco_os::files::kind_of;
use leco_os::limits;
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen, socket_with,
    sockopt,
};

use crate::outputs::clock::ClockField;
use crate::outputs::exact::{Identity, identity, made, with_mode};
use crate::outputs::reader::{QueueLimits, Reader};
use crate::outputs::token::{Handshake, Token, TokenError};
use crate::outputs::warn_once::WarnOnce;
use crate::outputs::writer::SOCKET_BATCH;

/// Readers of one socket; more have to wait until one leaves.
pub const MAX_READERS: usize = 64;
/// Connections that the kernel keeps until they are taken.
const BACKLOG: i32 = 16;
/// After a failure to take a reader the next try comes so much later.
const RETRY_NS: u64 = 1_000_000_000;
/// No reader takes one of the last descriptors: without them no map could be read, and the pipe would end.
const SPARE_DESCRIPTORS: usize = 16;
/// A host that is gone is noticed within this time although nothing is sent to it.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Why a socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Something that is no socket is in its place.
    #[error("{0} is {1}, not a socket: choose another path")]
    NotASocket(PathBuf, &'static str),
    /// Another process serves it.
    #[error("{0} is served by another process: stop it, or choose another path")]
    InUse(PathBuf),
    /// Nobody serves it, but it is not this user's to remove.
    #[error("{0} was left behind by user {1}: choose another path, or let that user remove it")]
    Foreign(PathBuf, u32),
    /// It cannot be made, or not be asked.
    #[error("cannot listen on {0}: {1}. Choose another path, or let this user create it.")]
    Path(PathBuf, io::Error),
    /// Something failed on the way.
    #[error("cannot listen on {0}: {1}")]
    Listen(String, io::Error),
    /// Others could read without a token.
    #[error("tcp:{0} can be reached by other machines: add ?token-file=PATH, or listen on 127.0.0.1")]
    NoToken(SocketAddr),
    /// The token is not usable.
    #[error(transparent)]
    Token(#[from] TokenError),
}

/// What readers connect to.
#[derive(Debug)]
enum Place {
    Unix {
        path: PathBuf,
        mode: u32,
        made: Identity,
    },
    Tcp {
        token_file: Option<PathBuf>,
    },
    /// The service manager's, who made it and removes it.
    Passed,
}

/// A listening socket and its readers.
#[derive(Debug)]
pub(crate) struct Listener {
    place: Place,
    socket: OwnedFd,
    allow: Option<Vec<u32>>,
    token: Option<Token>,
    clients: Vec<Client>,
    limits: QueueLimits,
    /// Nothing is accepted before this moment.
    paused_until: Option<BootNs>,
    complaint: WarnOnce,
}

#[derive(Debug)]
struct Client {
    file: File,
    reader: Reader,
    /// What it still has to say before it is told anything.
    handshake: Option<Handshake>,
}

impl Listener {
    pub(crate) fn unix(
        path: &Path,
        mode: u32,
        allow: Option<Vec<u32>>,
        limits: QueueLimits,
    ) -> Result<Self, ListenError> {
        let (socket, identity) = listen_at(path, mode)?;
        Ok(Self::new(
            Place::Unix { path: path.to_owned(), mode, made: identity },
            socket,
            allow,
            None,
            limits,
        ))
    }

    pub(crate) fn tcp(
        address: SocketAddr,
        token_file: Option<PathBuf>,
        limits: QueueLimits,
    ) -> Result<Self, ListenError> {
        let token = match &token_file {
            Some(path) => Some(Token::read(path)?),
            None if address.ip().to_canonical().is_loopback() => None,
            None => return Err(ListenError::NoToken(address)),
        };
        let listening = TcpListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok(listener)
        });
        let socket = listening.map_err(|error| ListenError::Listen(address.to_string(), error))?.into();
        Ok(Self::new(Place::Tcp { token_file }, socket, None, token, limits))
    }

    /// On a socket that somebody else made and listens on. Who may reach it, he decides.
    pub(crate) fn passed(name: &str, socket: OwnedFd, limits: QueueLimits) -> Result<Self, ListenError> {
        let listens = sockopt::socket_acceptconn(&socket).map_err(io::Error::from);
        let usable = listens.and_then(|listens| {
            if !listens {
                return Err(io::Error::other("not a listening socket"));
            }
            Ok(rustix::io::ioctl_fionbio(&socket, true)?)
        });
        usable.map_err(|error| ListenError::Listen(format!("the passed socket {name}"), error))?;
        Ok(Self::new(Place::Passed, socket, None, None, limits))
    }

    fn new(
        place: Place,
        socket: OwnedFd,
        allow: Option<Vec<u32>>,
        token: Option<Token>,
        limits: QueueLimits,
    ) -> Self {
        let (clients, complaint) = (Vec::new(), WarnOnce::default());
        Self { place, socket, allow, token, clients, limits, paused_until: None, complaint }
    }

    /// Reads its token again, and makes the socket again where its path leads elsewhere now. Readers stay.
    pub(crate) fn reopen(&mut self) -> Result<(), ListenError> {
        match &mut self.place {
            Place::Unix { path, mode, made } if identity(path) != Some(*made) => {
                (self.socket, *made) = listen_at(path, *mode)?;
            }
            Place::Tcp { token_file: Some(path) } => self.token = Some(Token::read(path)?),
            _ => {}
        }
        Ok(())
    }

    pub(crate) fn poll(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let accepts = self.clients.len() < MAX_READERS && self.paused_until.is_none();
        let wish = if accepts { PollFlags::IN } else { PollFlags::empty() };
        let clients = self.clients.iter().map(|client| {
            let wish = if client.handshake.is_some() { PollFlags::IN } else { client.reader.writer.wish() };
            (client.file.as_fd(), wish)
        });
        std::iter::once((self.socket.as_fd(), wish)).chain(clients)
    }

    /// Follows what happened to the readers, and takes new ones.
    pub(crate) fn look(&mut self, ready: &mut impl Iterator<Item = PollFlags>, now: BootNs) {
        let accepts = ready.next().is_some_and(|ready| ready.contains(PollFlags::IN));
        let token = self.token.as_ref();
        self.clients.retain_mut(|client| client.look(ready.next().unwrap_or(PollFlags::empty()), token));
        if accepts {
            self.accept(now);
        }
    }

    /// Drops readers who did not say in time what they had to.
    pub(crate) fn expire(&mut self, now: BootNs) {
        if self.paused_until.is_some_and(|until| until <= now) {
            self.paused_until = None;
        }
        self.clients.retain(|client| client.handshake.as_ref().is_none_or(|handshake| handshake.due() > now));
    }

    /// When to look although nothing is ready.
    pub(crate) fn due(&self) -> Option<BootNs> {
        let handshakes =
            self.clients.iter().filter_map(|client| client.handshake.as_ref().map(Handshake::due));
        handshakes.chain(self.paused_until).min()
    }

    fn accept(&mut self, now: BootNs) {
        while self.clients.len() < MAX_READERS {
            if let Some(limit) = limits::out_of_descriptors(SPARE_DESCRIPTORS) {
                self.pause(&limit, now);
                return;
            }
            match accept_with(&self.socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(socket) => {
                    self.complaint.settle();
                    self.welcome(socket, now);
                }
                Err(Errno::AGAIN) => return,
                // One that left before it was taken.
                Err(Errno::CONNABORTED | Errno::INTR) => {}
                Err(error) => {
                    self.pause(&error, now);
                    return;
                }
            }
        }
    }

    fn pause(&mut self, error: &dyn std::error::Error, now: BootNs) {
        self.complaint.tell(&format!("cannot accept a connection: {error}"));
        self.paused_until = Some(now.saturating_add(RETRY_NS));
    }

    fn welcome(&mut self, socket: OwnedFd, now: BootNs) {
        if let Some(allow) = &self.allow {
            match sockopt::socket_peercred(&socket) {
                Ok(peer) if allow.contains(&peer.uid.as_raw()) => {}
                Ok(peer) => {
                    self.complaint.tell(&format!("refused a connection from uid {}", peer.uid.as_raw()));
                    return;
                }
                Err(_) => return,
            }
        }
        if let Place::Tcp { .. } = self.place {
            // Without them a dead host stays a reader; it is one all the same.
            let _ = sockopt::set_socket_keepalive(&socket, true);
            let _ = sockopt::set_tcp_keepidle(&socket, KEEPALIVE);
        }
        let reader = Reader::new(self.limits, SOCKET_BATCH);
        let handshake = self.token.as_ref().map(|_| Handshake::begin(now));
        self.clients.push(Client { file: File::from(socket), reader, handshake });
    }

    /// Those who may be told something.
    pub(crate) fn readers(&mut self) -> impl Iterator<Item = &mut Reader> {
        let admitted = self.clients.iter_mut().filter(|client| client.handshake.is_none());
        admitted.map(|client| &mut client.reader)
    }

    /// Writes what each takes; those who are gone, or were told all, are forgotten.
    pub(crate) fn flush(&mut self, clock: &ClockField) {
        self.clients.retain_mut(|Client { file, reader, handshake }| {
            handshake.is_some() || reader.flush(&*file, clock).is_ok() && !reader.is_over()
        });
    }
}

impl Client {
    /// Whether it is still there.
    fn look(&mut self, ready: PollFlags, token: Option<&Token>) -> bool {
        if ready.intersects(PollFlags::HUP | PollFlags::ERR) {
            return false;
        }
        self.reader.writer.look(ready);
        let Some(handshake) = &mut self.handshake else { return true };
        if !ready.contains(PollFlags::IN) {
            return true;
        }
        let mut bytes = [0; 256];
        match ((&self.file).read(&mut bytes), token) {
            (Ok(0), _) | (Ok(_), None) => false,
            (Ok(count), Some(token)) => match handshake.hear(&bytes[..count], token) {
                Some(is_right) => {
                    self.handshake = None;
                    is_right
                }
                None => true,
            },
            (Err(error), _) => {
                matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Place::Unix { path, made, .. } = &self.place
            && identity(path) == Some(*made)
        {
            // Nothing can be done about a folder that became unwritable.
            let _ = fs::remove_file(path);
        }
    }
}

/// Binds and listens, in the place of a socket that nobody serves any more.
fn listen_at(path: &Path, mode: u32) -> Result<(OwnedFd, Identity), ListenError> {
    let failed = |error: io::Error| ListenError::Path(path.to_owned(), error);
    let address = SocketAddrUnix::new(path).map_err(|error| failed(error.into()))?;
    remove_left_over(path, &address)?;
    let listening = || -> rustix::io::Result<OwnedFd> {
        let socket = unix_socket()?;
        with_mode(mode, |_| bind(&socket, &address))?;
        listen(&socket, BACKLOG)?;
        Ok(socket)
    };
    let socket = listening().map_err(|error| failed(error.into()))?;
    let identity = made(path, FileType::is_socket).map_err(failed)?;
    Ok((socket, identity))
}

/// Removes a socket of this user on which nobody listens; refuses whatever else is there.
fn remove_left_over(path: &Path, address: &SocketAddrUnix) -> Result<(), ListenError> {
    let failed = |error: io::Error| ListenError::Path(path.to_owned(), error);
    let there = match fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => {
            return Err(ListenError::NotASocket(path.to_owned(), kind_of(there.file_type())));
        }
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    // Never waits for a server that takes nobody.
    match unix_socket().and_then(|socket| connect(&socket, address)) {
        Err(Errno::CONNREFUSED) => {}
        Err(Errno::NOENT) => return Ok(()),
        // Datagrams are served there.
        Ok(()) | Err(Errno::AGAIN | Errno::PROTOTYPE) => return Err(ListenError::InUse(path.to_owned())),
        Err(error) => return Err(failed(error.into())),
    }
    if there.uid() != rustix::process::geteuid().as_raw() {
        return Err(ListenError::Foreign(path.to_owned(), there.uid()));
    }
    // Another process may have replaced it by its own meanwhile.
    if identity(path) != Some((there.dev(), there.ino())) {
        return Err(ListenError::InUse(path.to_owned()));
    }
    fs::remove_file(path).map_err(failed)
}

fn unix_socket() -> rustix::io::Result<OwnedFd> {
    socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)
}
