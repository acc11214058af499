// SPDX-License-Identifier: GPL-3.0-or-later
//! Fields of the kernel's types that its configuration or version may leave out. The programs do without them; this is
//! what that loses.

use std::ffi::OsStr;
use std::path::Path;

use libbpf_rs::btf::types::{Composite, Struct};
use libbpf_rs::btf::{Btf, BtfType};

use crate::load::preflight::KERNEL_BTF;

/// A field that this kernel has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Missing {
    /// The structure and its member, members of members after a dot each.
    pub field: &'static str,
    /// What is not shown without it.
    pub lost: &'static str,
}

const fn field(field: &'static str, lost: &'static str) -> Missing {
    Missing { field, lost }
}

/// What the programs read only where it is there.
const OPTIONAL: [Missing; 6] = [
    field("sock_common.skc_v6_daddr", "IPv6 peers; a kernel without CONFIG_IPV6 has none"),
    field("sock_common.skc_v6_rcv_saddr", "local IPv6 addresses; a kernel without CONFIG_IPV6 has none"),
    field(
        "rt6_info.rt6i_flags",
        "whether a dropped packet over IPv6 was for this machine; a kernel without CONFIG_IPV6 has none",
    ),
    field(
        "tcp_sock.is_mptcp",
        "which TCP connections are parts of an MPTCP one; a kernel without CONFIG_MPTCP has none",
    ),
    field(
        "sock_common.skc_net.net",
        "which network namespace a listener is in; a kernel without CONFIG_NET_NS has one",
    ),
    field(
        "task_struct.cgroups",
        "units and containers of processes; a kernel without CONFIG_CGROUPS has none",
    ),
];

/// Those of the running kernel, or of the kernel whose types a file has; the error is for a person.
pub fn missing(btf: Option<&Path>) -> Result<Vec<Missing>, String> {
    let path = btf.unwrap_or(KERNEL_BTF.as_ref());
    let types = Btf::from_path(path).map_err(|error| format!("cannot read {}: {error:#}", path.display()))?;
    Ok(OPTIONAL.into_iter().filter(|optional| !has(&types, optional.field)).collect())
}

fn has(types: &Btf<'_>, field: &str) -> bool {
    let mut names = field.split('.').map(OsStr::new);
    let Some(name) = names.next() else { return false };
    let Some(found) = types.type_by_kind::<Struct<'_>>().find(|found| found.name() == Some(name)) else {
        return false;
    };
    let mut at: Option<Composite<'_>> = Some(found.into());
    for name in names {
        let Some(member) = at.and_then(|composite| member(types, composite, name)) else { return false };
        at = Composite::try_from(member.skip_mods_and_typedefs()).ok();
    }
    true
}

/// A member's type; those of a member without a name count as the composite's own.
fn member<'btf>(types: &'btf Btf<'_>, composite: Composite<'btf>, name: &OsStr) -> Option<BtfType<'btf>> {
    (0..composite.len()).filter_map(|index| composite.get(index)).find_map(|found| {
        let of: BtfType<'btf> = types.type_by_id(found.ty)?;
        match found.name.filter(|name| !name.is_empty()) {
            Some(found) => (found == name).then_some(of),
            None => member(types, Composite::try_from(of).ok()?, name),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Members below ones without a name, and behind other names of a type.
    #[test]
    fn fields_are_found_wherever_they_stand() {
        let Ok(types) = Btf::from_path(KERNEL_BTF) else {
            assert!(std::env::var("LECO_TEST_REQUIRE").as_deref() != Ok("all"), "there is no {KERNEL_BTF}");
            return;
        };
        for name in
            ["sk_buff.protocol", "sk_buff.sk", "sock.__sk_common.skc_family", "sock.__sk_common.skc_daddr"]
        {
            assert!(has(&types, name), "{name}");
        }
        for name in
            ["sk_buff.no_such_field", "sock.sk_prot.no_such_field", "no_such_struct.at_all", "", "sock."]
        {
            assert!(!has(&types, name), "{name}");
        }
    }
}
