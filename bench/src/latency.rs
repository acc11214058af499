// SPDX-License-Identifier: GPL-3.0-or-later
//! From `connect()` to the screen.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Result;
use leco_e2e::Terminal;

use crate::report::Report;

const CONNECTIONS: u32 = 200;

/// Time from before `connect()` until the connection's line is on the terminal, of connections after a moment in which
/// lines only fade.
pub(crate) fn measure(terminal: &mut Terminal, report: &mut Report) -> Result<()> {
    let mut times = Vec::new();
    for number in 0..CONNECTIONS {
        // A port of its own tells each connection from the others. The pauses do not beat in time with frames.
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        terminal.drain(Duration::from_millis(100 + u64::from(number * 7 % 23)))?;
        let start = Instant::now();
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(b"x")?;
        let seen = terminal.wait_for(&format!(" 127.0.0.1 {}", address.port()))?;
        times.push((seen - start).as_secs_f64() * 1000.0);
    }
    tell(
        &format!("connect() to the screen of leco-tui, 99 % of {CONNECTIONS}, after a quiet moment"),
        times,
        2.0,
        report,
    );
    Ok(())
}

/// Tells 99 % of times in ms, which have a limit, and how they lie.
pub(crate) fn tell(what: &str, mut times: Vec<f64>, limit: f64, report: &mut Report) {
    times.sort_by(f64::total_cmp);
    let at = |percent: usize| {
        times.get((times.len().saturating_sub(1)) * percent / 100).copied().unwrap_or(f64::NAN)
    };
    report.limit(what, at(99), limit, "ms");
    let [fastest, median, slowest] = [at(0), at(50), at(100)];
    report.tell("the same: fastest, median, slowest", &format!("{fastest:.1}, {median:.1}, {slowest:.1} ms"));
}
