// SPDX-License-Identifier: GPL-3.0-or-later
//! What `leco-notify` costs while there is nothing to tell.

use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use leco_e2e::desktop::{SessionBus, can_use};
use leco_e2e::program;

use crate::process::{self, Watched};
use crate::report::Report;

/// Wakeups and memory, with a session bus.
pub(crate) fn measure(report: &mut Report) -> Result<()> {
    ensure!(can_use(&["dbus-daemon"]), "notifications need a session bus");
    let (bus, folder) = (SessionBus::start(), tempfile::tempdir()?);
    let mut command = Command::new(program("leco-notify"));
    command.arg("--fifo").arg(folder.path().join("fifo")).env("DBUS_SESSION_BUS_ADDRESS", &bus.address);
    let notifier = Watched::start(command.stdin(Stdio::null()).stderr(Stdio::null()))?;
    process::measure_idle(&[("leco-notify", &notifier)], report)?;
    report.limit("leco-notify: PSS", process::proportional(notifier.id())?, 5.0, "MB");
    Ok(())
}
