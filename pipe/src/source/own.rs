// SPDX-License-Identifier: GPL-3.0-or-later
//! Which connections are this program's own.

use std::fs;
use std::sync::LazyLock;

use leco_bpf::read::record::Conn;

use crate::enrich::process::is_start_of_this;
use crate::enrich::process::sees_all_processes;

/// Whether this process made a connection. In a PID namespace it does not know the number that the kernel side tells of
/// it: there it is known by its start, to the tick, with its name and, where numbers of users mean the same, its user.
pub(crate) fn is_own(conn: &Conn) -> bool {
    if sees_all_processes() {
        return conn.pid == std::process::id();
    }
    conn.has_process()
        && is_start_of_this(conn.started)
        && OWN_NAME.as_deref().is_some_and(|name| name == conn.comm())
        && OWN_USER.is_none_or(|user| user == conn.uid)
}

static OWN_NAME: LazyLock<Option<Vec<u8>>> = LazyLock::new(|| {
    let name = fs::read("/proc/self/comm").ok()?;
    Some(name.strip_suffix(b"\n").unwrap_or(&name).to_owned())
});

/// Nothing in a user namespace, which has numbers of its own.
static OWN_USER: LazyLock<Option<u32>> = LazyLock::new(|| {
    /// `PROC_USER_INIT_INO` of `linux/proc_ns.h`.
    const INITIAL: &str = "user:[4026531837]";
    let is_initial = fs::read_link("/proc/self/ns/user").is_ok_and(|path| path.as_os_str() == INITIAL);
    is_initial.then(|| rustix::process::geteuid().as_raw())
});
