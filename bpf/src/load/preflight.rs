// SPDX-License-Identifier: GPL-3.0-or-later
//! What must be there before anything is loaded, each with the words a person needs when it is not.

use std::ffi::CStr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::mount::{MountFlags, mount};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::place::bpffs::{BPFFS, is_bpffs};

/// Where the kernel publishes its types, which the programs are fitted to at load.
pub const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// Bits of capabilities(7) in `CapEff` of /proc/self/status.
const CAP_NET_ADMIN: u64 = 1 << 12;
const CAP_SYS_ADMIN: u64 = 1 << 21;
const CAP_PERFMON: u64 = 1 << 38;
const CAP_BPF: u64 = 1 << 39;

/// Something the machine lacks.
#[derive(Debug, thiserror::Error)]
pub enum Missing {
    /// Not root.
    #[error("loading eBPF programs needs root. Run it with sudo.")]
    Privilege,
    /// Root, but without what makes it so.
    #[error(
        "loading eBPF programs needs root with the capabilities CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN: \
         this process lacks them (a container, or CapabilityBoundingSet=)."
    )]
    Capabilities,
    /// Root of a user namespace, which is nobody to the kernel.
    #[error(
        "this is a user namespace (a rootless container, or unshare -U), whose root may not load eBPF programs. \
         Run it on the host, with sudo."
    )]
    UserNamespace,
    /// Too few files may be open.
    #[error(
        "at most {0} file descriptors may be open here (RLIMIT_NOFILE), and loading needs {NEEDED_DESCRIPTORS}. \
         Raise the limit: ulimit -n {NEEDED_DESCRIPTORS}, or LimitNOFILE= of the unit."
    )]
    Descriptors(u64),
    /// Older than what the programs are written for.
    #[error("this kernel is {0}: LECO needs Linux 6.3 or newer.")]
    Kernel(String),
    /// No BTF of the running kernel.
    #[error(
        "this kernel has no BTF ({KERNEL_BTF} is missing), which the programs need. Use a kernel \
         built with CONFIG_DEBUG_INFO_BTF=y, as the large distributions do."
    )]
    Btf,
    /// bpffs is not mounted, and mounting it failed.
    #[error("{BPFFS} is not a bpf filesystem and mounting one failed: {0}. Run: mount -t bpf bpf {BPFFS}")]
    Bpffs(rustix::io::Errno),
}

/// The number that a user namespace has if it is the first one (`PROC_USER_INIT_INO` of `linux/proc_ns.h`).
const FIRST_USER_NAMESPACE: u64 = 0xEFFF_FFFD;

/// Checks for the privileges that loading takes. Capabilities alone are not enough: what another user than root made,
/// neither the next loader takes for LECO's nor would a group read it.
pub fn privileges() -> Result<(), Missing> {
    let is_first =
        std::fs::metadata("/proc/self/ns/user").map_or(true, |own| own.ino() == FIRST_USER_NAMESPACE);
    if !is_first {
        return Err(Missing::UserNamespace);
    }
    if !rustix::process::geteuid().is_root() {
        return Err(Missing::Privilege);
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        .unwrap_or_default();
    let has = |capabilities: u64| effective & capabilities == capabilities;
    if has(CAP_SYS_ADMIN | CAP_NET_ADMIN) || has(CAP_BPF | CAP_PERFMON | CAP_NET_ADMIN) {
        Ok(())
    } else {
        Err(Missing::Capabilities)
    }
}

/// Programs, maps and links of a load, with room for those of the programs that it replaces.
const NEEDED_DESCRIPTORS: u64 = 256;

/// Checks that enough files may be open, and has as many as this process may.
pub fn descriptors() -> Result<(), Missing> {
    let limit = getrlimit(Resource::Nofile);
    let is_enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= NEEDED_DESCRIPTORS);
    if is_enough(limit.current) {
        return Ok(());
    }
    let most = Rlimit { current: limit.maximum.map(|most| most.min(NEEDED_DESCRIPTORS * 4)), ..limit };
    if is_enough(limit.maximum) && setrlimit(Resource::Nofile, most).is_ok() {
        return Ok(());
    }
    Err(Missing::Descriptors(limit.maximum.unwrap_or_default()))
}

/// The oldest kernel that the project supports; `bpf_rdonly_cast`, by which the programs read fields, came
/// with 6.2.
const OLDEST: (u32, u32) = (6, 3);

/// Checks that the kernel is not too old; returns its release.
pub fn kernel() -> Result<String, Missing> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    if is_supported(&release) { Ok(release) } else { Err(Missing::Kernel(release)) }
}

/// A release that is no number is taken at its word: the verifier has the last one.
fn is_supported(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= OLDEST,
        _ => true,
    }
}

/// Checks for the kernel's type information.
pub fn btf() -> Result<(), Missing> {
    if Path::new(KERNEL_BTF).exists() { Ok(()) } else { Err(Missing::Btf) }
}

/// Makes sure that bpffs is mounted; tells whether this call mounted it. To be called under the lock of loaders: two
/// would mount one over the other's.
pub(crate) fn bpffs() -> Result<bool, Missing> {
    if is_bpffs(Path::new(BPFFS)) {
        return Ok(false);
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("bpf", BPFFS, "bpf", flags, None::<&CStr>).map_err(Missing::Bpffs)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_before_6_3_are_too_old() {
        for (release, supported) in [
            ("6.1.0-56-cloud-amd64", false),
            ("6.3.0", true),
            ("6.18.2+", true),
            ("5.19", false),
            ("7.0-rc1", true),
        ] {
            assert_eq!(is_supported(release), supported, "{release}");
        }
    }
}
