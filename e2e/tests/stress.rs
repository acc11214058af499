// SPDX-License-Identifier: GPL-3.0-or-later
//! Nothing is missed and nothing grows: short processes, a million connections, answers of name servers.

#![allow(clippy::unwrap_used)]

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::Barrier;
use std::time::Duration;

use leco_bpf::place::pin_dir::PinDir;
use leco_bpf::read::reader::Reader;
use leco_bpf::read::stream::Stream;
use leco_e2e::{EventPipe, FAR_V4, Flood, Kernel, Netns, can_test_the_kernel, program, wait_for};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Each forks, names itself, connects and is gone: how long each lived is printed in µs.
const SHORT_LIVES: &str = r#"
import os, socket, sys, time
for number in range(int(sys.argv[3]), int(sys.argv[4])):
    start = time.monotonic_ns()
    pid = os.fork()
    if not pid:
        with open("/proc/self/comm", "w") as comm:
            comm.write("short-%d" % number)
        socket.socket().connect((sys.argv[1], int(sys.argv[2])))
        os._exit(0)
    os.waitpid(pid, 0)
    print((time.monotonic_ns() - start) // 1000)
"#;

#[test]
fn processes_that_live_for_milliseconds_are_all_listed_by_name() {
    const PROCESSES: usize = 2000;
    const SHORT: u64 = 5000;
    if !can_test_the_kernel() {
        return;
    }
    let kernel = Kernel::load(&[]);
    let pipe = EventPipe::start(kernel.pins(), &[]);
    let netns = Netns::new();
    let listener = netns.at_far_end(|| TcpListener::bind((FAR_V4, 0)).unwrap());
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            drop(stream);
        }
    });
    // As many again as the machine was too busy to let live shortly.
    let mut first = 0;
    let mut short_lives = HashSet::new();
    while short_lives.len() < PROCESSES {
        assert!(first < 5 * PROCESSES, "this machine lets no process live shortly: {}", short_lives.len());
        let more = PROCESSES - short_lives.len();
        let mut command = netns.near_command("python3");
        command.args(["-c", SHORT_LIVES, &address.ip().to_string(), &address.port().to_string()]);
        let output = command.args([first.to_string(), (first + more).to_string()]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let lives = String::from_utf8(output.stdout).unwrap();
        let lives = lives.lines().map(|line| line.parse::<u64>().unwrap());
        short_lives.extend(lives.enumerate().filter(|(_, us)| *us < SHORT).map(|(at, _)| first + at));
        first += more;
    }
    println!("{first} processes, of which {} lived less than {SHORT} µs", short_lives.len());
    wait_for("a line of each process", || {
        let events = pipe.events();
        let named: HashSet<&str> = events
            .iter()
            .filter(|event| event["raddr"] == FAR_V4.to_string() && event["rport"] == address.port())
            .filter_map(|event| event["comm"].as_str())
            .collect();
        (0..first).all(|number| named.contains(format!("short-{number}").as_str())).then_some(())
    });
}

/// Bytes of kernel memory of the maps behind the pins.
fn map_memory(pins: &std::path::Path) -> u64 {
    ["closed", "flows", "programs", "events", "stats"]
        .iter()
        .map(|name| {
            let map = libbpf_rs::MapHandle::from_pinned_path(pins.join("maps").join(name)).unwrap();
            let fd = std::os::fd::AsRawFd::as_raw_fd(&std::os::fd::AsFd::as_fd(&map));
            let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap();
            let memory = info.lines().find_map(|line| line.strip_prefix("memlock:")).unwrap();
            memory.trim().parse::<u64>().unwrap()
        })
        .sum()
}

fn counter(pins: &std::path::Path, name: &str) -> u64 {
    let mut command = Command::new(program("leco-event-pipe"));
    let output = command.arg("--pin").arg(pins).arg("--stats").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_million_connections_push_no_live_one_out_and_take_no_memory() {
    const LIVE: usize = 8000;
    /// Each has two ends here, which are two lines.
    const SHORT: u64 = 1_000_000;
    const THREADS: u64 = 2;
    if !can_test_the_kernel() {
        return;
    }
    let _flood = Flood::begin();
    let limit = getrlimit(Resource::Nofile);
    let wanted = (2 * LIVE + 1000) as u64;
    setrlimit(
        Resource::Nofile,
        Rlimit { current: Some(wanted), maximum: limit.maximum.map(|max| max.max(wanted)) },
    )
    .unwrap();
    let kernel = Kernel::load(&[]);
    let pins = kernel.pins().to_owned();
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let listener = TcpListener::bind((loopback, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let mut live = Vec::new();
    for _ in 0..LIVE / 2 {
        let mut near = TcpStream::connect(address).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        near.write_all(b"live").unwrap();
        far.read_exact(&mut [0; 4]).unwrap();
        live.push((near, far));
    }
    let of_live = |conn: &leco_bpf::read::record::Conn| {
        conn.pid == std::process::id()
            && conn.remote_port != 0
            && (conn.remote_port == address.port() || conn.local_port == address.port())
    };
    let live_ones = || {
        let reader = Reader::open(&PinDir::new(&pins).unwrap()).unwrap();
        reader.snapshot().unwrap().conns.into_iter().filter(of_live).collect::<Vec<_>>()
    };
    assert_eq!(live_ones().len(), LIVE);
    let memory = map_memory(&pins);

    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(move || {
                let listener = TcpListener::bind((loopback, 0)).unwrap();
                let address = listener.local_addr().unwrap();
                for _ in 0..SHORT / THREADS {
                    let near = TcpStream::connect(address).unwrap();
                    let (far, _) = listener.accept().unwrap();
                    // The peer's reset leaves no socket behind that waits for a minute.
                    rustix::net::sockopt::set_socket_linger(&near, Some(Duration::ZERO)).unwrap();
                    drop((near, far));
                }
            });
        }
    });

    let after = live_ones();
    assert_eq!(after.len(), LIVE, "a live connection was forgotten");
    assert!(after.iter().all(|conn| conn.rx + conn.tx == 4), "a live connection lost its counts");
    assert_eq!(map_memory(&pins), memory, "the maps grew");
    let (closed, evicted) = (counter(&pins, "closed"), counter(&pins, "closed-evicted"));
    assert_eq!(closed, 8192);
    assert!(
        closed + evicted >= 2 * SHORT,
        "{closed} closed connections are remembered, {evicted} were forgotten"
    );
    println!("{closed} remembered, {evicted} forgotten, {memory} bytes of maps");

    // Still counted: one more byte over each.
    for (near, far) in &mut live {
        near.write_all(b"!").unwrap();
        far.read_exact(&mut [0; 1]).unwrap();
    }
    assert!(live_ones().iter().all(|conn| conn.rx + conn.tx == 5));
}

#[test]
fn flows_that_are_forgotten_are_counted() {
    const PEERS: u16 = 20_000;
    if !can_test_the_kernel() {
        return;
    }
    let _flood = Flood::begin();
    let kernel = Kernel::load(&[]);
    let netns = Netns::new();
    netns.at_far_end(|| {
        let socket = UdpSocket::bind((FAR_V4, 0)).unwrap();
        for port in 10_000..10_000 + PEERS {
            // Nobody listens there, which is told for some.
            let _ = socket.send_to(b"x", SocketAddr::new(FAR_V4, port));
        }
    });
    let (flows, evicted) = (counter(kernel.pins(), "flows"), counter(kernel.pins(), "flows-evicted"));
    assert!(flows <= 8192 && evicted > 0, "{flows} flows, {evicted} forgotten");
    assert!(flows + evicted >= u64::from(PEERS) * 9 / 10, "{flows} flows, {evicted} forgotten");
}

/// Readers tell connections apart by the time of their first event: two that begin in the same nanosecond, on two
/// processors, are two all the same.
#[test]
fn connections_that_begin_at_the_same_moment_are_told_apart() {
    const ROUNDS: u32 = 8;
    const PEERS: u32 = 50_000;
    if !can_test_the_kernel() {
        return;
    }
    let _flood = Flood::begin();
    let kernel = Kernel::load(&["--ring-size", "67108864", "--no-dns"]);
    let reader = Stream::new(Reader::open(&PinDir::new(kernel.pins()).unwrap()).unwrap()).unwrap();
    let netns = Netns::new();
    let mut begins: HashMap<u64, (IpAddr, u16)> = HashMap::new();
    for round in 0..ROUNDS {
        netns.at_far_end(|| {
            // What it is sent is dropped once its buffer is full, and nothing is refused.
            let silent = UdpSocket::bind("0.0.0.0:0").unwrap();
            let port = silent.local_addr().unwrap().port();
            let start = Barrier::new(2);
            std::thread::scope(|scope| {
                for network in [0x7f01_0000, 0x7f81_0000_u32] {
                    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                    let (start, first) = (&start, network + round * 0x1_0000);
                    scope.spawn(move || {
                        start.wait();
                        for address in first..first + PEERS {
                            socket.send_to(b"x", (Ipv4Addr::from(address), port)).unwrap();
                        }
                    });
                }
            });
        });
        for conn in reader.drain().unwrap().conns {
            let other = *begins.entry(conn.ns).or_insert((conn.remote, conn.local_port));
            assert_eq!(other, (conn.remote, conn.local_port), "{} is the begin of both", conn.ns);
        }
    }
    let all = (ROUNDS * 2 * PEERS) as usize;
    assert!(begins.len() > all / 2, "{} of {all} were told", begins.len());
}

/// Sends an answer of this size from port 53 to a socket that waits for it; what the kernel side copied.
fn answers_of(options: &[&str], sizes: &[usize]) -> Vec<leco_bpf::read::messages::DnsAnswer> {
    let kernel = Kernel::load(options);
    let reader = Stream::new(Reader::open(&PinDir::new(kernel.pins()).unwrap()).unwrap()).unwrap();
    let netns = Netns::new();
    netns.at_far_end(|| {
        let server = UdpSocket::bind((FAR_V4, 53)).unwrap();
        let other = UdpSocket::bind((FAR_V4, 54)).unwrap();
        let client = UdpSocket::bind((FAR_V4, 0)).unwrap();
        for &size in sizes {
            for from in [&server, &other] {
                from.send_to(&vec![0xab; size], client.local_addr().unwrap()).unwrap();
                assert_eq!(client.recv_from(&mut [0; 4096]).unwrap().0, size);
            }
        }
    });
    reader.drain().unwrap().answers
}

#[test]
fn answers_of_name_servers_are_copied_up_to_512_bytes_unless_that_is_not_wanted() {
    if !can_test_the_kernel() {
        return;
    }
    let answers = answers_of(&[], &[40, 512, 1300]);
    let seen: Vec<_> = answers.iter().map(|answer| (answer.full_len, answer.payload.len())).collect();
    assert_eq!(seen, [(40, 40), (512, 512), (1300, 512)]);
    assert!(answers.iter().all(|answer| answer.pid == std::process::id()));
    assert!(answers.iter().all(|answer| answer.payload.iter().all(|&byte| byte == 0xab)));
    assert_eq!(answers_of(&["--no-dns"], &[40]), []);
}

/// A pipe that cannot keep up, with a ring and maps so small that something is lost for good.
#[test]
fn what_was_lost_is_told_on_screen_and_by_stats() {
    if !can_test_the_kernel() {
        return;
    }
    let _flood = Flood::begin();
    let kernel = Kernel::load(&["--ring-size", "4096", "--max-conns", "16"]);
    let pipe = EventPipe::start(kernel.pins(), &[]);
    wait_for("the pipe's first look", || {
        (!pipe.stdout.lines().is_empty()).then_some(()).or_else(|| {
            drop(UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"x", "127.0.0.1:9"));
            None
        })
    });
    pipe.signal(rustix::process::Signal::STOP);
    for _ in 0..500 {
        drop(UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"x", "127.0.0.1:9"));
    }
    pipe.signal(rustix::process::Signal::CONT);
    let line = wait_for("a line about it", || {
        let events = pipe.events();
        let line = events.iter().rev().find_map(|event| event["line"].as_str().map(str::to_owned));
        line.filter(|line| line.contains(" :: - :: leco :: lost: "))
    });
    assert!(line.contains(" connections :: "), "{line}");
    assert!(counter(kernel.pins(), "ring-dropped") > 0);
    assert!(counter(kernel.pins(), "closed-evicted") > 0);
}
