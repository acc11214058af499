// SPDX-License-Identifier: GPL-3.0-or-later
//! From `connect()` to the screen.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Result;
use leco_e2e::Terminal;

use crate::report::Report;
use crate::statistics::{Estimate, percentile};

const CONNECTIONS: u32 = 200;

/// Time from before `connect()` until the connection's line is on the terminal, of connections after a moment in which
/// lines only fade.
pub(crate) fn measure(terminal: &mut Terminal, report: &mut Report) -> Result<()> {
    let mut times = Vec::new();
    for number in 0..report.scaled(CONNECTIONS, CONNECTIONS / 10) {
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
    tell("connect() to the screen of leco-tui, after a quiet moment", times, 2.0, report);
    Ok(())
}

/// Tells 99 % of times in ms, which have a limit, and how they lie.
pub(crate) fn tell(what: &str, mut times: Vec<f64>, limit: f64, report: &mut Report) {
    report.limit(&format!("{what}, 99 %"), percentile(&mut times, 99), limit, "ms");
    report.tell(&format!("{what}, slowest"), percentile(&mut times, 100), "ms");
    report.tell(what, Estimate::median(times), "ms");
}
