// SPDX-License-Identifier: GPL-3.0-or-later
//! Whatever happens to a part, soon afterwards the screen says what the maps say.

#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use leco_e2e::desktop::can_use;
use leco_e2e::vm::{VmKernel, which};
use leco_e2e::{DEADLINE, Part, Random, Wanted, Whole, can_test_the_kernel, program, skip};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};
use rustix::time::{ClockId, clock_gettime, clock_settime};

/// Of `script/test`; `LECO_KILLS` says another number, as `script/nightly` does.
const KILLS: u32 = 12;
const SEED: u64 = 20_261_129;
/// A load takes less; so do the connections of a round.
const LONGEST: u64 = 500;

fn number<T: std::str::FromStr>(variable: &str, usual: T) -> T {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

#[test]
fn kills_at_random_moments() {
    if !can_test_the_kernel() || !can_use(&["Xvfb"]) {
        return;
    }
    let (kills, seed) = (number("LECO_KILLS", KILLS), number("LECO_SEED", SEED));
    println!("{kills} kills, LECO_SEED={seed}");
    let mut random = Random(seed);
    let mut whole = Whole::start(Wanted { name: "killed", with_overlay: true, ..Wanted::default() }).unwrap();
    let (start, mut worst) = (Instant::now(), Duration::ZERO);
    for kill in 1..=kills {
        let part = match random.below(4) {
            0 => Part::Loader,
            1 => Part::Pipe,
            2 => Part::View,
            _ => Part::Overlay,
        };
        whole.make_connections().unwrap();
        let lives = Duration::from_millis(random.below(LONGEST));
        if part != Part::Loader {
            whole.watch(lives / 8).unwrap();
        }
        let late = whole.kill(part, lives).and_then(|()| whole.agrees());
        worst = worst
            .max(late.unwrap_or_else(|error| panic!("kill {kill}, {part:?} after {lives:?}: {error:#}")));
    }
    println!("{:.1} s, agreed within {:.2} s", start.elapsed().as_secs_f64(), worst.as_secs_f64());
}

/// A round of connections, and what comes of it.
fn one_round(whole: &mut Whole, what: &str) {
    whole.make_connections().unwrap();
    whole.agrees().unwrap_or_else(|error| panic!("{what}: {error:#}"));
}

/// More than the ring takes.
fn flood(whole: &mut Whole) {
    for _ in 0..30 {
        whole.make_connections().unwrap();
    }
    whole.settle().unwrap();
}

#[test]
fn stops_and_a_flood_of_the_ring() {
    if !can_test_the_kernel() {
        return;
    }
    let loader = ["--ring-size", "4096"].map(ToOwned::to_owned).to_vec();
    let mut whole = Whole::start(Wanted { name: "stopped", loader, ..Wanted::default() }).unwrap();
    one_round(&mut whole, "before");
    for parts in [&[Part::Pipe][..], &[Part::View], &[Part::Pipe, Part::View]] {
        for part in parts {
            whole.signal(*part, Signal::STOP).unwrap();
        }
        flood(&mut whole);
        for part in parts {
            whole.signal(*part, Signal::CONT).unwrap();
        }
        whole.agrees().unwrap_or_else(|error| panic!("{parts:?}: {error:#}"));
        one_round(&mut whole, "afterwards");
    }
}

/// A file system in memory, which is gone with the test.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Self {
        let folder = tempfile::tempdir().unwrap();
        mount("tmpfs", folder.path(), "tmpfs", MountFlags::empty(), Some(c"size=512k")).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Leaves no room for anything.
    fn fill(&self) {
        let mut filler = File::create(self.path("filler")).unwrap();
        while filler.write_all(&[0; 512]).is_ok() {}
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = unmount(self.0.path(), UnmountFlags::DETACH);
    }
}

#[test]
fn a_full_disk() {
    if !can_test_the_kernel() {
        return;
    }
    let disk = SmallDisk::mount();
    let recording = disk.path("recording").display().to_string();
    let wanted = Wanted {
        name: "full",
        memory: Some(disk.path("seen.sqlite")),
        pipe: vec!["--record".into(), recording],
        ..Wanted::default()
    };
    let mut whole = Whole::start(wanted).unwrap();
    one_round(&mut whole, "before");
    disk.fill();
    for signal in [None, Some(Signal::KILL), Some(Signal::TERM)] {
        if let Some(signal) = signal {
            whole.restart(Part::Pipe, signal).unwrap();
        }
        flood(&mut whole);
        whole.agrees().unwrap_or_else(|error| panic!("{signal:?}: {error:#}"));
    }
    fs::remove_file(disk.path("filler")).unwrap();
    one_round(&mut whole, "with room again");
    whole.restart(Part::Pipe, Signal::KILL).unwrap();
    one_round(&mut whole, "with all its files");
}

/// A connection, unless it would have to wait.
fn connect_at_once(path: &Path) -> Option<OwnedFd> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::NONBLOCK, None).ok()?;
    connect(&socket, &SocketAddrUnix::new(path).ok()?).ok().map(|()| socket)
}

#[test]
fn no_descriptors_left() {
    if !can_test_the_kernel() {
        return;
    }
    let before_pipe = "ulimit -n 56;".to_owned();
    let mut whole = Whole::start(Wanted { name: "few", before_pipe, ..Wanted::default() }).unwrap();
    one_round(&mut whole, "before");
    for round in 0..3 {
        // More than it can take; the view is one of them.
        let readers: Vec<_> = (0..60).map_while(|_| connect_at_once(&whole.socket())).collect();
        flood(&mut whole);
        whole.agrees().unwrap_or_else(|error| panic!("{round}, {} readers: {error:#}", readers.len()));
        drop(readers);
        whole.restart(Part::View, Signal::KILL).unwrap();
        one_round(&mut whole, "with another view");
    }
}

/// A view that loses its source needs no more descriptors than it has.
#[test]
fn no_more_descriptors_for_the_view() {
    if !can_test_the_kernel() {
        return;
    }
    let mut whole = Whole::start(Wanted { name: "none", ..Wanted::default() }).unwrap();
    one_round(&mut whole, "before");
    let view = whole.id(Part::View).unwrap();
    let numbers = fs::read_dir(format!("/proc/{view}/fd")).unwrap();
    let numbers = numbers.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<u64>().ok());
    let current = numbers.max().map(|highest| highest + 1);
    let limit = Rlimit { current, maximum: getrlimit(Resource::Nofile).maximum };
    prlimit(Pid::from_raw(view.cast_signed()), Resource::Nofile, limit).unwrap();
    for _ in 0..3 {
        whole.restart(Part::Pipe, Signal::KILL).unwrap();
        one_round(&mut whole, "with another pipe");
    }
}

/// A control group of the first version or the second, in which a shell and what it becomes may use so much memory.
struct Memory {
    group: PathBuf,
    limit: PathBuf,
}

impl Memory {
    fn limited(mebibytes: u64) -> Option<Self> {
        let name = format!("leco-test-{}", std::process::id());
        let roots = [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
        for (root, file) in roots {
            let group = Path::new(root).join(&name);
            let made = fs::create_dir(&group).is_ok();
            let this = Self { limit: group.join(file), group };
            // The parent has to let its groups have limits, which is the machine's choice.
            if made && this.limit(mebibytes).is_ok() {
                return Some(this);
            }
        }
        let _ = skip("memory of control groups cannot be limited");
        None
    }

    fn limit(&self, mebibytes: u64) -> std::io::Result<()> {
        fs::write(&self.limit, (mebibytes << 20).to_string())
    }

    fn enter(&self) -> String {
        format!("echo $$ >{};", self.group.join("cgroup.procs").display())
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let start = Instant::now();
        while self.group.exists() && fs::remove_dir(&self.group).is_err() && start.elapsed() < DEADLINE {
            std::thread::yield_now();
        }
    }
}

#[test]
fn too_little_memory() {
    const LITTLE: u64 = 1;
    const ENOUGH: u64 = 64;
    if !can_test_the_kernel() {
        return;
    }
    let Some(memory) = Memory::limited(LITTLE) else { return };
    let wanted = Wanted { name: "little", before_pipe: memory.enter(), ..Wanted::default() };
    let mut whole = Whole::start(wanted).unwrap();
    for _ in 0..5 {
        flood(&mut whole);
        whole.look_after().unwrap();
    }
    memory.limit(ENOUGH).unwrap();
    one_round(&mut whole, "with enough");
    let ended = whole.ended_for_memory;
    println!("ended by the kernel {ended} times");
    assert!(ended > 0);
    flood(&mut whole);
    one_round(&mut whole, "and afterwards");
    assert_eq!(whole.ended_for_memory, ended);
}

/// Says that the clock of this machine may be set: it is emulated.
const MAY_SET_CLOCK: &str = "LECO_MAY_SET_CLOCK";
const WAS_SET: &str = "the clock was set";
const HOUR: i64 = 3600;

/// Only on a machine that is emulated, as the next test does.
#[test]
fn steps_of_the_clock_inside() {
    // What is made for such a machine has its modules there.
    if std::env::var_os(MAY_SET_CLOCK).is_none() || !Path::new("/modules").exists() {
        return;
    }
    let late = Some(Duration::from_secs(20));
    let mut whole = Whole::start(Wanted { name: "stepped", late, ..Wanted::default() }).unwrap();
    one_round(&mut whole, "before");
    for step in [HOUR, -2 * HOUR, 400 * 24 * HOUR, -400 * 24 * HOUR, 1, -1] {
        let mut now = clock_gettime(ClockId::Realtime);
        now.tv_sec += step;
        clock_settime(ClockId::Realtime, now).unwrap();
        one_round(&mut whole, &format!("a step of {step} s"));
    }
    let mut now = clock_gettime(ClockId::Realtime);
    now.tv_sec += 10 * HOUR;
    whole.make_connections().unwrap();
    clock_settime(ClockId::Realtime, now).unwrap();
    whole.restart(Part::View, Signal::KILL).unwrap();
    whole.agrees().unwrap();
    whole.restart(Part::Pipe, Signal::KILL).unwrap();
    one_round(&mut whole, "a pipe that starts later");
    println!("{WAS_SET}");
}

#[test]
fn steps_of_the_clock() {
    let Some(kernel) = VmKernel::find("6.12") else { return };
    let mut programs = vec![std::env::current_exe().unwrap()];
    programs.extend(["leco-ebpf-load", "leco-event-pipe", "leco-tui", "leco-e2e-peer"].map(program));
    programs.extend(["ip", "nsenter", "setsid"].map(which));
    let this = programs[0].file_name().unwrap().to_str().unwrap();
    let command = format!(
        "ip link set lo up; mkdir -p /dev/pts; mount -t devpts devpts /dev/pts; \
         {MAY_SET_CLOCK}=1 LECO_TEST_REQUIRE=all RUST_BACKTRACE=0 {this} --exact --nocapture steps_of_the_clock_inside"
    );
    let booted = kernel.run(&programs, &["veth"], &command, Duration::from_secs(240));
    println!("Linux 6.12: {:.1} s", booted.took.as_secs_f64());
    assert!(booted.status == Some(0) && booted.console.contains(WAS_SET), "{}", booted.console);
}
