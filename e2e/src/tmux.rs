// SPDX-License-Identifier: GPL-3.0-or-later
//! A terminal that a test can read and type into: a tmux server of its own.

use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::wait_for;

/// One window of a tmux server that ends with the test.
pub struct Tmux {
    server: String,
}

impl Tmux {
    /// Runs a shell command on a screen of this size; the screen stays when the command ends.
    ///
    /// # Panics
    /// When tmux cannot be started.
    pub fn start(columns: u16, rows: u16, command: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let this = Self { server: format!("leco-test-{}-{number}", std::process::id()) };
        let command = format!("{command}; echo \"exit status $?\"; exec cat");
        let (columns, rows) = (columns.to_string(), rows.to_string());
        // No configuration of the user's changes what is drawn.
        this.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", &columns, "-y", &rows, &command]);
        this
    }

    /// The screen's text, a line per row, without trailing spaces.
    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.tmux(&["capture-pane", "-p"]).stdout).into_owned()
    }

    /// The same with the escape sequences of its colours.
    pub fn coloured_screen(&self) -> String {
        String::from_utf8_lossy(&self.tmux(&["capture-pane", "-p", "-e", "-N"]).stdout).into_owned()
    }

    /// Types keys, as tmux names them.
    pub fn type_keys(&self, keys: &str) {
        self.tmux(&["send-keys", keys]);
    }

    /// Types a text as it is.
    pub fn type_text(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
    }

    /// Copies every byte that the program writes to a file from now on.
    pub fn tap(&self, file: &std::path::Path) {
        self.tmux(&["pipe-pane", "-O", &format!("exec cat >'{}'", file.display())]);
        wait_for("the file", || file.exists().then_some(()));
    }

    /// What a program put into the clipboard.
    pub fn clipboard(&self) -> String {
        String::from_utf8_lossy(&self.tmux(&["show-buffer"]).stdout).into_owned()
    }

    /// Lets programs put texts into the clipboard.
    pub fn allow_clipboard(&self) {
        self.tmux(&["set-option", "-s", "set-clipboard", "on"]);
    }

    /// Pastes a text as a person does: marked as such where the program asked for that (bracketed paste).
    pub fn paste(&self, text: &str) {
        self.tmux(&["set-buffer", "--", text]);
        self.tmux(&["paste-buffer", "-p"]);
    }

    /// Whether one of tmux's flags is set for what runs, such as `mouse_all_flag`.
    pub fn has(&self, flag: &str) -> bool {
        self.tmux(&["display-message", "-p", &format!("#{{{flag}}}")]).stdout.starts_with(b"1")
    }

    /// Whether a program wants to know of the mouse.
    pub fn wants_mouse(&self) -> bool {
        self.has("mouse_any_flag")
    }

    /// Changes the size of the screen.
    pub fn resize(&self, columns: u16, rows: u16) {
        self.tmux(&["resize-window", "-x", &columns.to_string(), "-y", &rows.to_string()]);
    }

    /// Whether a program took the screen and has not given it back, and whether the cursor is visible.
    pub fn alternate_and_cursor(&self) -> (bool, bool) {
        let flags = self.tmux(&["display-message", "-p", "#{alternate_on}#{cursor_flag}"]).stdout;
        (flags.first() == Some(&b'1'), flags.get(1) == Some(&b'1'))
    }

    /// The path of the terminal.
    pub fn tty(&self) -> String {
        let tty = self.tmux(&["display-message", "-p", "#{pane_tty}"]).stdout;
        String::from_utf8_lossy(&tty).trim().to_owned()
    }

    /// The terminal's settings as `stty` prints them.
    ///
    /// # Panics
    /// When `stty` fails.
    pub fn stty(&self) -> String {
        let output = Command::new("stty").args(["-a", "-F", &self.tty()]).output();
        let output = output.unwrap_or_else(|error| panic!("stty: {error}"));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Waits until the screen shows what is wanted and is whole: tmux before 3.4 shows frames that it has read in part.
    ///
    /// # Panics
    /// When it does not by the deadline.
    pub fn wait_for(&self, what: &str, mut wanted: impl FnMut(&str) -> bool) -> String {
        // What moves without pause is taken as it is after so many looks.
        const LOOKS: u32 = 20;
        let (mut last, mut wanted_looks) = (String::new(), 0);
        let start = std::time::Instant::now();
        while start.elapsed() < crate::DEADLINE {
            let screen = self.screen();
            let is_still = std::mem::replace(&mut last, screen) == last;
            wanted_looks = if wanted(&last) { wanted_looks + 1 } else { 0 };
            if wanted_looks > LOOKS || wanted_looks > 1 && is_still {
                return last;
            }
            std::thread::sleep(std::time::Duration::from_millis(if wanted_looks > 0 { 10 } else { 5 }));
        }
        panic!("waited in vain for {what}, the screen is:\n{last}");
    }

    /// The process of this name that runs on the screen.
    pub fn process(&self, name: &str) -> rustix::process::Pid {
        let tty = self.tty().trim_start_matches("/dev/").to_owned();
        wait_for(name, || {
            let output = Command::new("ps").args(["-o", "pid=,comm=", "-t", &tty]).output().ok()?;
            let listed = String::from_utf8_lossy(&output.stdout).into_owned();
            let pid = listed.lines().find_map(|line| {
                let (pid, comm) = line.trim().split_once(' ')?;
                (comm.trim() == name).then(|| pid.parse().ok())?
            })?;
            rustix::process::Pid::from_raw(pid)
        })
    }

    fn tmux(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("tmux");
        command.args(["-L", &self.server]).args(arguments);
        command.env("LC_ALL", "C.UTF-8").env("RUST_BACKTRACE", "0").env_remove("TMUX").env_remove("NO_COLOR");
        let output = command.output().unwrap_or_else(|error| panic!("tmux: {error}"));
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = Command::new("tmux").args(["-L", &self.server, "kill-server"]).output();
    }
}
