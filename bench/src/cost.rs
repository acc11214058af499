//! What the kernel side costs those who send and receive.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Instant;

use anyhow::{Context, Result};
use leco_e2e::Kernel;
use libbpf_rs::query::{ProgInfoIter, ProgInfoQueryOptions};

use crate::report::Report;

const ROUND_TRIPS: u32 = 30_000;
const CONNECTS: u32 = 1_500;
const ROUNDS: usize = 5;
/// The programs that run at a send or recv.
const HOT: [&str; 7] =
    ["send_length", "recv_length", "sendmsg4", "sendmsg6", "recvmsg4", "recvmsg6", "sock_release"];
const STATS_SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

type Traffic = fn() -> Result<()>;
const KINDS: [(&str, Traffic); 3] =
    [("TCP ping-pong", tcp_ping_pong), ("UDP sendto/recvfrom", udp_ping_pong), ("connect/close", connects)];

/// Nanoseconds per run of each program, then throughput with and without the programs, in turn.
pub(crate) fn measure(report: &mut Report) -> Result<()> {
    {
        let _kernel = Kernel::load(&[]);
        fs::write(STATS_SWITCH, "1").context(STATS_SWITCH)?;
        let before = runs();
        tcp_ping_pong()?;
        udp_ping_pong()?;
        let after = runs();
        fs::write(STATS_SWITCH, "0").context(STATS_SWITCH)?;
        for name in HOT {
            let (Some((time, count)), (time_before, count_before)) =
                (after.get(name), before.get(name).copied().unwrap_or_default())
            else {
                continue;
            };
            let count = count - count_before;
            if count > 0 {
                let per_run = (time - time_before) as f64 / count as f64;
                report.tell(
                    &format!("{name}: ns per run, the measuring included"),
                    &format!("{per_run:.0} ({count} runs)"),
                );
            }
        }
    }
    for (name, traffic) in KINDS {
        let mut ratios = Vec::new();
        traffic()?;
        for _ in 0..ROUNDS {
            let without = time(traffic)?;
            let kernel = Kernel::load(&[]);
            let with = time(traffic)?;
            drop(kernel);
            ratios.push(without / with);
        }
        ratios.sort_by(f64::total_cmp);
        report.tell(
            &format!("{name}: throughput against nothing loaded, median of {ROUNDS}"),
            &format!("{:.3} ({:.3}–{:.3})", ratios[ROUNDS / 2], ratios[0], ratios[ROUNDS - 1]),
        );
    }
    Ok(())
}

/// Run time in ns and runs of every program in the kernel, by name.
fn runs() -> BTreeMap<String, (u64, u64)> {
    ProgInfoIter::with_query_opts(ProgInfoQueryOptions::default())
        .map(|info| (info.name.to_string_lossy().into_owned(), (info.run_time_ns, info.run_cnt)))
        .collect()
}

fn time(traffic: Traffic) -> Result<f64> {
    let start = Instant::now();
    traffic()?;
    Ok(start.elapsed().as_secs_f64())
}

fn tcp_ping_pong() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut near = TcpStream::connect(listener.local_addr()?)?;
    let (mut far, _) = listener.accept()?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let mut byte = [0];
    for _ in 0..ROUND_TRIPS {
        near.write_all(b"x")?;
        far.read_exact(&mut byte)?;
        far.write_all(b"y")?;
        near.read_exact(&mut byte)?;
    }
    Ok(())
}

fn udp_ping_pong() -> Result<()> {
    let [near, far] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0"));
    let (near, far) = (near?, far?);
    let (near_address, far_address) = (near.local_addr()?, far.local_addr()?);
    let mut byte = [0];
    for _ in 0..ROUND_TRIPS {
        near.send_to(b"x", far_address)?;
        far.recv_from(&mut byte)?;
        far.send_to(b"y", near_address)?;
        near.recv_from(&mut byte)?;
    }
    Ok(())
}

fn connects() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let mut byte = [0];
    for _ in 0..CONNECTS {
        let mut near = TcpStream::connect(address)?;
        let (mut far, _) = listener.accept()?;
        near.write_all(b"x")?;
        far.read_exact(&mut byte)?;
    }
    Ok(())
}
