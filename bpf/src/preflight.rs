//! What must be there before anything is loaded, each with the words a person needs when it is not.

use std::ffi::CStr;
use std::path::Path;

use rustix::mount::{MountFlags, mount};

/// Where the kernel publishes its types, which the programs are fitted to at load.
pub const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";
/// The only place where pins are made and removed.
pub const BPFFS: &str = "/sys/fs/bpf";

/// `BPF_FS_MAGIC` of linux/magic.h.
const BPF_FS_MAGIC: u32 = 0xcafe_4a11;
/// Bits of capabilities(7) in `CapEff` of /proc/self/status.
const CAP_NET_ADMIN: u64 = 1 << 12;
const CAP_SYS_ADMIN: u64 = 1 << 21;
const CAP_PERFMON: u64 = 1 << 38;
const CAP_BPF: u64 = 1 << 39;

/// Something the machine lacks.
#[derive(Debug, thiserror::Error)]
pub enum Missing {
    /// Neither root nor the capabilities that stand for it.
    #[error(
        "loading eBPF programs needs root, or the capabilities CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN. \
         Run it with sudo."
    )]
    Privilege,
    /// Older than what the programs are written for.
    #[error("this kernel is {0}: LECO needs Linux 6.3 or newer.")]
    Kernel(String),
    /// No BTF of the running kernel.
    #[error(
        "this kernel has no BTF ({KERNEL_BTF} is missing), to which the programs are fitted. Use a kernel \
         built with CONFIG_DEBUG_INFO_BTF=y, as the large distributions do."
    )]
    Btf,
    /// bpffs is not mounted, and mounting it failed.
    #[error("{BPFFS} is not a bpf filesystem and mounting one failed: {0}. Run: mount -t bpf bpf {BPFFS}")]
    Bpffs(rustix::io::Errno),
}

/// Checks for the privileges that loading takes.
pub fn privileges() -> Result<(), Missing> {
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
        Err(Missing::Privilege)
    }
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

/// Whether `path` lies on a bpf filesystem.
#[must_use]
pub fn is_bpffs(path: &Path) -> bool {
    // The type of f_type differs between architectures; the magic is 32 bits everywhere.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    rustix::fs::statfs(path).is_ok_and(|stat| stat.f_type as u32 == BPF_FS_MAGIC)
}

/// Makes sure that bpffs is mounted; tells whether this call mounted it.
pub fn bpffs() -> Result<bool, Missing> {
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
