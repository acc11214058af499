// SPDX-License-Identifier: GPL-3.0-or-later
//! Whether names of users come from files alone, or from services that are asked over unix sockets
//! (nsswitch.conf(5)).

use std::fs;

/// Services that read files. Where a file says nothing of users, libc reads `/etc/passwd` alone.
const OF_FILES: [&str; 5] = ["files", "db", "compat", "altfiles", "extrausers"];

/// Whether names of users come from a service such as systemd, SSSD or winbind.
#[must_use]
pub fn are_asked_for_users() -> bool {
    are_in(&fs::read_to_string("/etc/nsswitch.conf").unwrap_or_default())
}

fn are_in(nsswitch: &str) -> bool {
    let line = nsswitch.lines().find_map(|line| line.trim_start().strip_prefix("passwd:"));
    let line = line.and_then(|line| line.split('#').next()).unwrap_or_default();
    // What follows a service in brackets says when to ask the next one.
    let mut is_action = false;
    line.replace('[', " [").replace(']', "] ").split_whitespace().any(|word| {
        let is_service = !is_action && !word.starts_with('[');
        is_action = (is_action || word.starts_with('[')) && !word.ends_with(']');
        is_service && !OF_FILES.contains(&word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_told_from_files() {
        for files in [
            "",
            "group: systemd\n",
            "passwd: files # sss\n",
            "# passwd: sss\npasswd:\tcompat\n",
            "passwd: files [NOTFOUND=return success=continue] db\n",
            "passwd: files[SUCCESS=merge]altfiles",
        ] {
            assert!(!are_in(files), "{files}");
        }
        for services in
            ["passwd: files systemd", "passwd:sss files", "passwd: files [!UNAVAIL=return] ldap\n"]
        {
            assert!(are_in(services), "{services}");
        }
    }
}
