// SPDX-License-Identifier: GPL-3.0-or-later
//! From `connect()` to the screen.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::report::Report;
use crate::terminal::Terminal;

const CONNECTIONS: u32 = 100;

/// Time from before `connect()` until the connection's line is on the terminal, of connections some time
/// apart.
pub(crate) fn measure(terminal: &mut Terminal, report: &mut Report) -> Result<()> {
    let mut times = Vec::new();
    for number in 0..CONNECTIONS {
        // A port of its own tells each connection from the others. The pauses do not beat in time with the
        // 10 ms of the pipe or the 16 ms of the view.
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        terminal.drain(Duration::from_millis(40 + u64::from(number * 7 % 23)))?;
        let start = Instant::now();
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(b"x")?;
        let seen = terminal.wait_for(&format!(" 127.0.0.1 {}", address.port()))?;
        times.push((seen - start).as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    report.limit("connect() to the screen of leco-tui, median of 100", at(50), 50.0, "ms");
    report
        .tell("the same: fastest, 90 %, slowest", &format!("{:.1}, {:.1}, {:.1} ms", at(0), at(90), at(100)));
    Ok(())
}
