// SPDX-License-Identifier: GPL-3.0-or-later
//! What runs in a cgroup, from its path alone: a unit, a container, an app.

/// Digits of a container's id that people use.
const SHORT_ID: usize = 12;
/// Digits of a whole id: a SHA-256.
const FULL_ID: usize = 64;

/// What a cgroup's path tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Workload {
    /// The innermost unit of the service manager.
    pub(crate) unit: Option<String>,
    /// `KIND:NAME`, where the name is the first digits of an id for those that have none in the path.
    pub(crate) container: Option<String>,
    /// What to show where the last part of the path says less.
    pub(crate) shown: Option<String>,
    /// Bytes of the path up to the container's own cgroup: what is below it, such as the units of a service manager
    /// of its own, is shown as the container.
    pub(crate) own: Option<usize>,
}

impl Workload {
    /// Reads a path below the hierarchy's root.
    pub(crate) fn of(path: &str) -> Self {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let unit = parts.iter().rfind(|part| is_unit(part)).map(|part| unescape(part));
        // The innermost one: a container may hold others.
        let found =
            (0..parts.len()).rev().find_map(|at| container(&parts, at).map(|container| (at, container)));
        let Some((at, (kind, name))) = found else {
            return Self { unit, shown: parts.last().and_then(|part| app(part)), ..Self::default() };
        };
        let shown = says_less(parts[at]).then(|| format!("{kind}-{name}"));
        let own = parts[at].as_ptr().addr() - path.as_ptr().addr() + parts[at].len();
        Self { unit, container: Some(format!("{kind}:{name}")), shown, own: Some(own) }
    }
}

/// What names of scopes begin with, and the runtime that makes them.
const SCOPES: [(&str, &str); 7] = [
    ("docker-", "docker"),
    ("libpod-", "podman"),
    ("libpod-payload-", "podman"),
    ("cri-containerd-", "containerd"),
    ("crio-", "crio"),
    ("nerdctl-", "containerd"),
    ("buildkit-", "buildkit"),
];

/// Kind and name of the container whose cgroup this part is.
fn container(parts: &[&str], at: usize) -> Option<(&'static str, String)> {
    let part = parts[at];
    let above = at.checked_sub(1).map_or("", |above| parts[above]);
    let bare = part.strip_suffix(".scope").unwrap_or(part);
    with_id(part, bare, above, &parts[..at]).or_else(|| with_name(part, bare, above))
}

/// A container that is known by its id: what runtimes of images make.
fn with_id(part: &str, bare: &str, above: &str, all_above: &[&str]) -> Option<(&'static str, String)> {
    let in_pod = all_above.iter().any(|part| part.starts_with("kubepods"));
    for (prefix, kind) in SCOPES {
        if let Some(id) = bare.strip_prefix(prefix).filter(|id| is_id(id)) {
            return Some((if in_pod { "k8s" } else { kind }, short(id)));
        }
    }
    // `SLICE:RUNTIME:ID`, as runtimes are told that leave the folders to systemd, and make them themselves.
    if let Some((slice, runtime, id)) = three(part).filter(|(.., id)| is_id(id)) {
        let known = SCOPES.iter().find(|(prefix, _)| prefix.trim_end_matches('-') == runtime);
        let kind = known.map_or("container", |(_, kind)| kind);
        return Some((if in_pod || slice.starts_with("kubepods") { "k8s" } else { kind }, short(id)));
    }
    let kind = match above {
        _ if in_pod => "k8s",
        "docker" => "docker",
        "libpod_parent" | "libpod" => "podman",
        _ => "container",
    };
    is_id(part).then(|| (kind, short(part)))
}

/// A container or virtual machine that a person named.
fn with_name(part: &str, bare: &str, above: &str) -> Option<(&'static str, String)> {
    let is_below_lxc = above == "lxc" || above == "lxc.payload";
    if let Some(name) = part.strip_prefix("lxc.payload.").or(is_below_lxc.then_some(part))
        && !name.is_empty()
    {
        return Some(("lxc", name.to_owned()));
    }
    let nspawn = part.strip_prefix("systemd-nspawn@").and_then(|name| name.strip_suffix(".service"));
    let machine = bare.strip_prefix("machine-").filter(|_| above == "machine.slice" && bare != part);
    match (nspawn, machine.map(unescape)) {
        (Some(name), _) => Some(("nspawn", unescape(name))),
        // libvirt's are virtual machines: `machine-qemu\x2d1\x2dname.scope`.
        (None, Some(name)) => match name.strip_prefix("qemu-").and_then(|rest| rest.split_once('-')) {
            Some((_, name)) => Some(("qemu", name.to_owned())),
            None => Some(("nspawn", name)),
        },
        (None, None) => None,
    }
}

fn three(part: &str) -> Option<(&str, &str, &str)> {
    let (rest, last) = part.rsplit_once(':')?;
    let (first, middle) = rest.rsplit_once(':')?;
    Some((first, middle, last))
}

/// The name that users know a desktop app by.
fn app(part: &str) -> Option<String> {
    let bare = without_type(part);
    if let Some(rest) = bare.strip_prefix("snap.") {
        // `snap.NAME.APP`, followed by an id after a dot or a dash.
        let mut names = rest.splitn(3, '.');
        let (name, app) = (names.next()?, names.next()?);
        let app = app.split_once('-').filter(|(_, id)| id.len() >= 32).map_or(app, |(app, _)| app);
        return Some(if name == app { name.to_owned() } else { format!("{name}.{app}") });
    }
    // `app-flatpak-APPLICATION-PID.scope` (systemd.io/DESKTOP_ENVIRONMENTS).
    let rest = bare.strip_prefix("app-flatpak-")?;
    let name = rest.rsplit_once('-').filter(|(_, id)| id.bytes().all(|byte| byte.is_ascii_digit()));
    Some(unescape(name.map_or(rest, |(name, _)| name)))
}

/// Whether a container's own cgroup says less than its kind and name.
fn says_less(part: &str) -> bool {
    is_id(part) || !part.starts_with("docker-")
}

fn is_unit(part: &str) -> bool {
    [".service", ".scope"].iter().any(|suffix| part.ends_with(suffix))
}

fn is_id(text: &str) -> bool {
    text.len() == FULL_ID && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn short(id: &str) -> String {
    id.chars().take(SHORT_ID).collect()
}

fn without_type(part: &str) -> &str {
    crate::enrich::cgroup::without_unit_type(part)
}

/// Undoes `\xNN` of unit names (systemd.unit(5)), where it stands for printable ASCII.
fn unescape(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find("\\x") {
        let code = rest.get(at + 2..at + 4).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        text.push_str(&rest[..at]);
        if let Some(code) = code.filter(|code| (b' '..=b'~').contains(code)) {
            text.push(code.into());
            rest = &rest[at + 4..];
        } else {
            text.push_str("\\x");
            rest = &rest[at + 2..];
        }
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn told(path: &str) -> (Option<String>, Option<String>, Option<String>) {
        let Workload { unit, container, shown, .. } = Workload::of(&path.replace("ID", ID));
        (unit, container, shown)
    }

    #[test]
    fn containers_are_known_by_their_paths() {
        let pod = "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice";
        let user = "user.slice/user-1000.slice/user@1000.service/user.slice";
        for (path, container, shown) in [
            ("system.slice/docker-ID.scope", "docker:0123456789ab", None),
            ("docker/ID", "docker:0123456789ab", Some("docker-0123456789ab")),
            ("machine.slice/libpod-ID.scope", "podman:0123456789ab", Some("podman-0123456789ab")),
            (&format!("{user}/libpod-ID.scope"), "podman:0123456789ab", Some("podman-0123456789ab")),
            ("a.service/libpod-payload-ID", "podman:0123456789ab", Some("podman-0123456789ab")),
            (&format!("{pod}/cri-containerd-ID.scope"), "k8s:0123456789ab", Some("k8s-0123456789ab")),
            ("kubepods/besteffort/pod1-2/ID", "k8s:0123456789ab", Some("k8s-0123456789ab")),
            (
                "kubepods.slice/kubepods-pod1.slice/crio-ID.scope",
                "k8s:0123456789ab",
                Some("k8s-0123456789ab"),
            ),
            (
                "system.slice/containerd.service/kubepods-burstable-pod1_2.slice:cri-containerd:ID",
                "k8s:0123456789ab",
                Some("k8s-0123456789ab"),
            ),
            ("system.slice:docker:ID", "docker:0123456789ab", Some("docker-0123456789ab")),
            ("a.slice:nerdctl:ID", "containerd:0123456789ab", Some("containerd-0123456789ab")),
            ("a.slice:other:ID", "container:0123456789ab", Some("container-0123456789ab")),
            ("system.slice/nerdctl-ID.scope", "containerd:0123456789ab", Some("containerd-0123456789ab")),
            ("default/ID", "container:0123456789ab", Some("container-0123456789ab")),
            ("lxc.payload.web", "lxc:web", Some("lxc-web")),
            ("lxc.payload/web", "lxc:web", Some("lxc-web")),
            ("lxc/web", "lxc:web", Some("lxc-web")),
            ("machine.slice/systemd-nspawn@web.service", "nspawn:web", Some("nspawn-web")),
            ("machine.slice/machine-build\\x2dbox.scope", "nspawn:build-box", Some("nspawn-build-box")),
            ("machine.slice/machine-qemu\\x2d3\\x2dvm\\x2da.scope", "qemu:vm-a", Some("qemu-vm-a")),
        ] {
            let own = path.replace("ID", ID);
            // Podman's own split, a service manager within, one of a container within.
            for below in ["", "/container", "/init.scope", "/system.slice/nginx.service", "//payload/"] {
                let path = format!("{own}{below}");
                let found = Workload::of(&path);
                assert_eq!(found.container.as_deref(), Some(container), "{path}");
                assert_eq!(found.shown.as_deref(), shown, "{path}");
                assert_eq!(found.own.and_then(|own| path.get(..own)), Some(&*own), "{path}");
            }
        }
    }

    #[test]
    fn what_only_looks_like_a_container_is_none() {
        for path in [
            "machine.slice/libpod-conmon-ID.scope",
            "lxc.monitor.web",
            "system.slice/docker.service",
            "system.slice/docker-registry.scope",
            "user.slice/0123456789abcdef",
            "a.slice/machine-web.scope",
            "lxc.payload.",
            "lxc.payload",
            "a.slice:docker:0123",
            "::ID:",
            "",
        ] {
            assert_eq!(told(path).1, None, "{path}");
        }
    }

    #[test]
    fn apps_are_shown_as_themselves() {
        let app = "user.slice/user-1000.slice/user@1000.service/app.slice/";
        for (part, shown) in [
            ("app-flatpak-org.mozilla.firefox-12345.scope", "org.mozilla.firefox"),
            ("app-flatpak-org.gnome.Some\\x2dApp-7.scope", "org.gnome.Some-App"),
            ("snap.firefox.firefox-01234567-89ab-cdef-0123-456789abcdef.scope", "firefox"),
            ("snap.firefox.firefox.01234567-89ab-cdef-0123-456789abcdef.scope", "firefox"),
            ("snap.lxd.daemon.service", "lxd.daemon"),
        ] {
            let (unit, container, name) = told(&format!("{app}{part}"));
            assert_eq!((container, name.as_deref()), (None, Some(shown)), "{part}");
            assert_eq!(unit, Some(unescape(part)));
        }
    }

    #[test]
    fn the_innermost_unit_counts() {
        assert_eq!(told("user.slice/user-1000.slice/session-2.scope").0.as_deref(), Some("session-2.scope"));
        let nested = "user.slice/user-1000.slice/user@1000.service/app.slice/syncthing.service";
        assert_eq!(told(nested).0.as_deref(), Some("syncthing.service"));
        assert_eq!(told("system.slice/ssh.service/child").0.as_deref(), Some("ssh.service"));
        assert_eq!(told("user.slice").0, None);
    }

    #[test]
    fn hostile_names_stay_what_they_are() {
        for name in ["\\x", "\\xzz", "a\\x1b[2J", "\\xc5\\xbc", "snap.", "snap.a", "app-flatpak-"] {
            let _ = Workload::of(name);
            assert!(unescape(name).bytes().all(|byte| byte >= b' '), "{name}");
        }
        assert_eq!(unescape("a\\x1b"), "a\\x1b");
    }
}
