// SPDX-License-Identifier: GPL-3.0-or-later
//! What a connection is shown with.

use std::rc::Rc;

use super::asn::AutonomousSystem;
use super::country::Country;

/// Who it is: a process's names, safe to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// User's name, where there is one.
    pub user: Option<Rc<str>>,
    /// The kernel's name of the process.
    pub comm: Rc<str>,
    /// What it runs, where it is an interpreter.
    pub script: Option<Rc<str>>,
    /// Path of its cgroup, where it is known.
    pub cgroup_path: Option<Rc<str>>,
    /// Label of its cgroup.
    pub cgroup: Option<Rc<str>>,
    /// Unit of the service manager in which it runs.
    pub unit: Option<Rc<str>>,
    /// Container in which it runs, as `KIND:NAME`.
    pub container: Option<Rc<str>>,
    /// Names of the processes that started it, the nearest first, where they are asked for.
    pub parents: Vec<Rc<str>>,
    /// The same as they were when it first had to do with a connection, where all fields are wanted.
    pub ancestors: Vec<Rc<str>>,
    /// Path of what it executed, where that is known and all fields are wanted.
    pub exe: Option<Rc<str>>,
    /// Its command line, under the same conditions.
    pub cmdline: Option<Rc<str>>,
}

/// The name of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerName {
    /// In lower case, without the final dot.
    pub text: Rc<str>,
    /// Where it is from.
    pub source: NameSource,
}

/// What stands behind a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxied {
    /// The target's port.
    pub port: u16,
    /// The proxy's own name, where one is known.
    pub proxy: Option<Rc<str>>,
}

/// Who said that an address, or a connection, has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameSource {
    /// The connection's process, in the hello of TLS.
    Hello,
    /// The same in the hello of QUIC.
    Quic,
    /// The same in a request to a proxy.
    Proxy,
    /// The same, where it may be a cover for another name, and nothing says that it is not.
    Cover,
    /// An answer that the connection's process received.
    Dns,
    /// An answer that another process of its user received.
    User,
    /// An answer that the system's resolver received.
    System,
    /// The system's resolver, asked for the address.
    Reverse,
}

/// Each with the word of `name_src`.
const SOURCES: [(NameSource, &str); 8] = [
    (NameSource::Hello, "hello"),
    (NameSource::Quic, "quic"),
    (NameSource::Proxy, "proxy"),
    (NameSource::Cover, "ech"),
    (NameSource::Dns, "dns"),
    (NameSource::User, "dns-user"),
    (NameSource::System, "dns-system"),
    (NameSource::Reverse, "reverse"),
];

impl NameSource {
    /// As `name_src` has it.
    #[must_use]
    pub fn word(self) -> &'static str {
        SOURCES.iter().find(|(source, _)| *source == self).map_or("", |(_, word)| word)
    }

    /// What [`Self::word`] says.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        SOURCES.iter().find(|(_, known)| *known == word).map(|(source, _)| *source)
    }

    /// Whether a process sent it over the connection itself.
    #[must_use]
    pub fn is_sent(self) -> bool {
        matches!(self, Self::Hello | Self::Quic | Self::Proxy | Self::Cover)
    }
}

/// What a connection is shown with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    /// Its process.
    pub who: Rc<Who>,
    /// Name of its peer, where one is known.
    pub name: Option<PeerName>,
    /// What is behind its peer, where that is a proxy.
    pub proxied: Option<Proxied>,
    /// The first protocol that its process offered in a hello.
    pub alpn: Option<Rc<str>>,
    /// Who operates its peer's network, where that is known.
    pub system: Option<Rc<AutonomousSystem>>,
    /// Where its peer is, where that is known.
    pub country: Option<Country>,
    /// Its program was never seen with its peer before.
    pub is_new: bool,
    /// What its process is called now, where that is another name and all fields are wanted.
    pub comm_now: Option<Rc<str>>,
}

impl Who {
    /// Where no process is known.
    #[must_use]
    pub fn nobody() -> Self {
        Self {
            user: None,
            comm: "-".into(),
            script: None,
            cgroup_path: None,
            cgroup: None,
            unit: None,
            container: None,
            parents: Vec::new(),
            ancestors: Vec::new(),
            exe: None,
            cmdline: None,
        }
    }
}
