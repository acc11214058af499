// SPDX-License-Identifier: GPL-3.0-or-later
//! `leco-tui --follow` in a real bar: waybar on sway, with the example that is installed.

#![allow(clippy::unwrap_used)]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::chown;
use std::process::{Child, Stdio};

use leco_e2e::desktop::{Compositor, Picture, can_use, wait_for_picture};
use leco_e2e::program_for_everybody;
use leco_os::clock::boot_ns;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

const EXAMPLE: &str = include_str!("../../packaging/examples/waybar.jsonc");
/// One ground for each class, and white text on it.
const STYLE: &str = "* { font-family: 'DejaVu Sans'; font-size: 16px; min-height: 0; border: none; }
window#waybar { background: #000000; color: #ffffff; }
#custom-leco { padding: 4px; color: #ffffff; }
#custom-leco.waiting { background: #404000; }
#custom-leco.outgoing { background: #000080; }
#custom-leco.listening { background: #008000; }
#custom-leco.quiet { background: #404040; }
#custom-leco.trouble { background: #800000; }
";
const WAITING: [u8; 3] = [0x40, 0x40, 0];
const OUTGOING: [u8; 3] = [0, 0, 0x80];
const LISTENING: [u8; 3] = [0, 0x80, 0];
const QUIET: [u8; 3] = [0x40, 0x40, 0x40];
const TROUBLE: [u8; 3] = [0x80, 0, 0];

struct Bar(Child);

impl Drop for Bar {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let _ = self.0.wait();
    }
}

/// Columns with this ground in the bar at the top, and pixels of text upon it.
fn seen(picture: &Picture, ground: [u8; 3]) -> (usize, usize) {
    let columns = (0..1024).filter(|x| picture.at(*x, 2) == ground).count();
    let bar = picture.part(0, 0, 1024, 40);
    (columns, bar.pixels().filter(|pixel| pixel.iter().all(|part| *part > 0xd0)).count())
}

#[test]
fn waybar_shows_who_talks_to_whom_and_what_goes_wrong() {
    if !can_use(&["sway", "swaymsg", "grim", "waybar", "fc-match"]) {
        return;
    }
    let desktop = Compositor::sway("");
    let (programs, _) = program_for_everybody("leco-tui");
    let settings = "[text]\nline-fade-time = 20s\n";
    fs::create_dir_all(desktop.folder().join("settings/leco")).unwrap();
    for (name, text) in [("bar.jsonc", EXAMPLE), ("bar.css", STYLE), ("settings/leco/widget.ini", settings)] {
        fs::write(desktop.folder().join(name), text).unwrap();
    }
    let fifo = desktop.folder().join("leco.fifo");
    let open_pipe = || {
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        if rustix::process::geteuid().is_root() {
            chown(&fifo, Some(54321), Some(54321)).unwrap();
        }
        OpenOptions::new().write(true).open(&fifo).unwrap()
    };
    let mut command = desktop.command("waybar");
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", programs.path().display()));
    command.env("XDG_CONFIG_HOME", desktop.folder().join("settings"));
    command.args(["-c", "bar.jsonc", "-s", "bar.css"]).current_dir(desktop.folder());
    command.stdout(Stdio::null()).stderr(fs::File::create(desktop.folder().join("bar.log")).unwrap());
    let _bar = Bar(command.spawn().unwrap());

    let is_shown = |ground, least: usize| {
        move |picture: &Picture| {
            let (columns, text) = seen(picture, ground);
            columns > least && text > 100
        }
    };
    let waiting = wait_for_picture(&desktop, "waybar-waiting", is_shown(WAITING, 40));
    let mut pipe = open_pipe();
    let mut send = |mut event: serde_json::Value| {
        (event["ns"], event["ns_trx"]) = (boot_ns().into(), boot_ns().into());
        pipe.write_all((event.to_string() + "\n").as_bytes()).unwrap();
    };
    send(json!({"line": "18:32 :: me :: firefox :: www.example.org 443 :: "}));
    let shown = wait_for_picture(&desktop, "waybar-outgoing", is_shown(OUTGOING, 150));
    assert!(seen(&shown, OUTGOING).1 > seen(&waiting, WAITING).1, "more words than before");
    // What would be markup is text.
    send(json!({"line": "18:32 :: me :: <b>&x :: nas.example.org 80 !refused :: ", "state": "refused"}));
    wait_for_picture(&desktop, "waybar-trouble", is_shown(TROUBLE, 150));
    let listener = "18:32 :: root :: nginx :: listening 0.0.0.0 8080 :: ";
    send(json!({"line": listener, "dir": "listen", "state": "listening"}));
    wait_for_picture(&desktop, "waybar-listening", is_shown(LISTENING, 150));
    wait_for_picture(&desktop, "waybar-quiet", is_shown(QUIET, 100));
    drop(pipe);
    fs::remove_file(&fifo).unwrap();
    wait_for_picture(&desktop, "waybar-waiting-again", is_shown(WAITING, 40));
    let mut pipe = open_pipe();
    let event = json!({"ns": boot_ns(), "ns_trx": boot_ns(), "line": "18:32 :: me :: curl :: www.example.org 443 :: "});
    pipe.write_all((event.to_string() + "\n").as_bytes()).unwrap();
    wait_for_picture(&desktop, "waybar-outgoing-again", is_shown(OUTGOING, 100));
}
