// SPDX-License-Identifier: GPL-3.0-or-later
//! What each part can still do, tried from within: its threads are made to make every call that it gave up.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use leco_e2e::desktop::{Overlay, XServer, can_use, still_config};
use leco_e2e::hijack::{self, Hijacked, Outcome, threads_of};
use leco_e2e::vm::{VmKernel, which};
use leco_e2e::{
    EventPipe, Kernel, LineReader, Running, Tmux, can_test_the_kernel, can_use_tmux, program, skip,
    wait_or_explain,
};
use leco_os::sandbox::{
    Confinement, MORE_REFUSED_CALLS, NAMESPACE_FLAGS, Network, REFUSED_CALLS, REFUSED_IOCTLS,
    SHARED_MEMORY_CALLS, Sandbox, X32_BIT,
};

const BAD: u64 = u64::MAX;
const REFUSED: Outcome = Outcome::Failed(libc::EPERM);
/// By Landlock, where files are concerned.
const DENIED: Outcome = Outcome::Failed(libc::EACCES);
/// Commands of bpf(2), and some to come.
const BPF_COMMANDS: u32 = 48;
/// Of them the pipe keeps these.
const READING_MAPS: [u32; 5] = [1, 4, 15, 24, 33];
/// Families of addresses, and some to come.
const FAMILIES: i32 = 50;
/// A boot takes half a minute; on a machine that is busy with other things, several times that.
const WITHIN: Duration = Duration::from_secs(400);
/// Types of sockets.
const TYPES: [i32; 7] = [1, 2, 3, 4, 5, 6, 10];

/// What a part keeps of what others give up.
#[derive(Clone, Copy, Default)]
struct Keeps {
    network: Network,
    unix_sockets: bool,
    /// Runs programs, and shares memory with a server of X11.
    desktop: bool,
    /// Maps of the kernel's, and what is known of all processes.
    kernel: bool,
}

impl Keeps {
    fn makes_unix_sockets(self) -> bool {
        self.unix_sockets || self.network == Network::All
    }

    /// What a part says that keeps this on this kernel.
    fn told(self) -> String {
        let confinement = of_this_kernel();
        Confinement { keeps_unix_sockets: self.makes_unix_sockets(), ..confinement }.to_string()
    }
}

/// Something that whoever takes a program over would like to get at.
struct Prey {
    folder: tempfile::TempDir,
    abstract_name: Vec<u8>,
    _listener: UnixListener,
}

impl Prey {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("secret"), "secret").unwrap();
        let abstract_name = folder.path().as_os_str().as_bytes().to_vec();
        let address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
        Self { folder, abstract_name, _listener: UnixListener::bind_addr(&address).unwrap() }
    }

    fn secret(&self) -> PathBuf {
        self.folder.path().join("secret")
    }
}

/// What a program gives up on this kernel.
fn of_this_kernel() -> Confinement {
    thread::spawn(|| Sandbox::default().enter()).join().unwrap()
}

fn can_test() -> bool {
    can_test_the_kernel() && (hijack::IS_POSSIBLE || skip("threads of this processor cannot be taken over"))
}

fn number(value: impl Into<i64>) -> u64 {
    value.into().cast_unsigned()
}

/// What came of calls, and was not to.
#[derive(Default)]
struct Faults(BTreeMap<String, Outcome>);

impl Faults {
    fn unless(&mut self, is_right: bool, what: impl Into<String>, outcome: Outcome) {
        if !is_right {
            self.0.insert(what.into(), outcome);
        }
    }

    /// Whether it is refused is as it should be.
    fn refused(&mut self, should_be: bool, what: impl Into<String>, outcome: Outcome) {
        self.unless((outcome == REFUSED) == should_be, what, outcome);
    }
}

/// Tries everything in each thread of a process, once it says that it is confined, and ends it.
fn assert_confined(part: &str, pid: u32, keeps: Keeps) {
    let status = || fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let what = || format!("{part} to give up what it does not need: {}", status());
    wait_or_explain(what, || status().contains("\nSeccomp:\t2\n").then_some(()));
    let prey = Prey::new();
    let version = of_this_kernel().landlock.version();
    let mut threads: Vec<_> = threads_of(pid).into_iter().filter_map(|tid| Hijacked::new(pid, tid)).collect();
    assert!(!threads.is_empty(), "{part} has ended");
    let mut faults = Faults::default();
    for thread in &threads {
        try_calls(thread, keeps, &mut faults);
        try_sockets(thread, keeps, &mut faults);
        try_reach(thread, &prey, version, keeps, &mut faults);
    }
    assert!(faults.0.is_empty(), "{part} can still do, or not do any more: {:#?}", faults.0);
    assert_eq!(fs::read_to_string(prey.secret()).unwrap(), "secret");
    // By the numbers of 32 bits it is getpid. It ends the process.
    if let Some(outcome) = threads.pop().unwrap().foreign_call(20) {
        assert!(
            matches!(outcome, Outcome::Signalled(_)),
            "{part} makes another processor's calls: {outcome:?}"
        );
    }
}

fn try_calls(thread: &Hijacked, keeps: Keeps, faults: &mut Faults) {
    // Nothing would come of these arguments, whoever could make the call.
    for (name, call) in REFUSED_CALLS.iter().chain(MORE_REFUSED_CALLS) {
        faults.refused(true, *name, thread.call(*call, [BAD; 6]));
    }
    if cfg!(target_arch = "x86_64") {
        for (name, call) in REFUSED_CALLS.iter().chain(&[("SYS_getpid", libc::SYS_getpid)]) {
            let made = thread.call(call | i64::from(X32_BIT), [BAD; 6]);
            faults.refused(true, format!("{name} of x32"), made);
        }
    }
    // A thread that does not share signal handlers is impossible: none is made.
    let clone =
        |flags: i32| thread.call(libc::SYS_clone, [number(flags | libc::CLONE_THREAD), 0, 0, 0, 0, 0]);
    for flag in NAMESPACE_FLAGS {
        faults.refused(true, format!("clone with {flag:#x}"), clone(flag));
        faults.refused(true, format!("clone with {flag:#x} and more"), clone(flag | libc::CLONE_VM));
    }
    let made = clone(0);
    faults.unless(made == Outcome::Failed(libc::EINVAL), "clone without namespaces", made);
    let made = thread.call(libc::SYS_clone3, [BAD, 88, 0, 0, 0, 0]);
    faults.unless(made == Outcome::Failed(libc::ENOSYS), "clone3", made);
    for request in REFUSED_IOCTLS.map(u64::from) {
        // The kernel does not look at the upper half.
        for request in [request, request | 1 << 40] {
            let made = thread.call(libc::SYS_ioctl, [BAD, request, 0, 0, 0, 0]);
            faults.refused(true, format!("ioctl {request:#x}"), made);
        }
    }
    for (name, call) in [("execve", libc::SYS_execve), ("execveat", libc::SYS_execveat)] {
        faults.refused(!keeps.desktop, name, thread.call(call, [BAD; 6]));
    }
    for command in 0..BPF_COMMANDS {
        let made = thread.call(libc::SYS_bpf, [command.into(), BAD, BAD, 0, 0, 0]);
        let is_kept = keeps.kernel && READING_MAPS.contains(&command);
        faults.refused(!is_kept, format!("bpf {command}"), made);
    }
    for (name, call) in SHARED_MEMORY_CALLS {
        faults.refused(!keeps.desktop, *name, thread.call(*call, [BAD; 6]));
    }
    // The bad pointer is what is wrong with those of its own.
    for (pid, is_refused) in [(0, false), (std::process::id(), true), (1, true)] {
        let made = thread.call(libc::SYS_prlimit64, [pid.into(), libc::RLIMIT_NOFILE.into(), BAD, 0, 0, 0]);
        faults.refused(is_refused, format!("prlimit64 of {pid}"), made);
    }
    let made = thread.call(libc::SYS_open_by_handle_at, [BAD; 6]);
    faults.refused(!keeps.kernel, "open_by_handle_at", made);
}

fn try_sockets(thread: &Hijacked, keeps: Keeps, faults: &mut Faults) {
    for family in 0..FAMILIES {
        for kind in TYPES {
            let is_kept = match (family, keeps.network) {
                (libc::AF_UNIX, _) => keeps.makes_unix_sockets(),
                (libc::AF_INET | libc::AF_INET6, Network::Udp) => kind == libc::SOCK_DGRAM,
                (libc::AF_INET | libc::AF_INET6, Network::All) => {
                    [libc::SOCK_DGRAM, libc::SOCK_STREAM].contains(&kind)
                }
                _ => false,
            };
            for flags in [0, libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK] {
                let made = thread.call(libc::SYS_socket, [number(family), number(kind | flags), 0, 0, 0, 0]);
                faults.refused(!is_kept, format!("socket of family {family}, type {kind}"), made);
                close(thread, made);
            }
        }
        for kind in TYPES {
            let pair = thread.call(libc::SYS_socketpair, [number(family), number(kind), 0, BAD, 0, 0]);
            // Of such a pair an end can connect to another socket.
            let is_loose = [libc::SOCK_DGRAM, libc::SOCK_RAW].contains(&kind);
            let is_kept = family == libc::AF_UNIX && (keeps.makes_unix_sockets() || !is_loose);
            faults.refused(!is_kept, format!("socketpair of family {family}, type {kind}"), pair);
        }
    }
}

/// What this version of Landlock keeps away.
fn try_reach(thread: &Hijacked, prey: &Prey, version: u32, keeps: Keeps, faults: &mut Faults) {
    let put = |path: &Path| thread.put(&[path.as_os_str().as_bytes(), b"\0"].concat());
    let here = number(libc::AT_FDCWD);
    let open = |file: &Path, flags: i32| {
        let opened = thread.call(libc::SYS_openat, [here, put(file), number(flags), 0o600, 0, 0]);
        close(thread, opened);
        opened
    };
    let (secret, new, users) = (prey.secret(), prey.folder.path().join("new"), Path::new("/etc/passwd"));
    if version >= 1 {
        for (what, outcome) in [
            ("reads files of others", open(&secret, libc::O_RDONLY)),
            ("writes files of others", open(&secret, libc::O_WRONLY)),
            ("writes files of the system", open(users, libc::O_WRONLY)),
            ("makes files", open(&new, libc::O_WRONLY | libc::O_CREAT)),
            ("removes files", thread.call(libc::SYS_unlinkat, [here, put(&secret), 0, 0, 0, 0])),
        ] {
            faults.unless(outcome == DENIED, what, outcome);
        }
        let read = open(users, libc::O_RDONLY);
        faults.unless(matches!(read, Outcome::Returned(_)), "reads files of the system", read);
        // This process has privileges: who has none does not read what it was started with, root or not.
        let of_others =
            |name: &str| open(&Path::new("/proc").join(std::process::id().to_string()).join(name), 0);
        let environment = of_others("environ");
        faults.unless(environment == DENIED, "reads the environment of others", environment);
        let stat = of_others("stat");
        faults.unless((stat == DENIED) != keeps.kernel, "reads about other processes", stat);
    }
    if version >= 3 {
        let cut = thread.call(libc::SYS_truncate, [put(&secret), 0, 0, 0, 0, 0]);
        faults.unless(cut == DENIED, "truncates files of others", cut);
    }
    if version >= 6 {
        let sent = thread.call(libc::SYS_kill, [std::process::id().into(), 0, 0, 0, 0, 0]);
        faults.refused(true, "sends signals", sent);
    }
    if version >= 6 && keeps.makes_unix_sockets() {
        let made = thread.call(libc::SYS_socket, [number(libc::AF_UNIX), 1, 0, 0, 0, 0]);
        let Outcome::Returned(socket) = made else { panic!("a unix socket: {made:?}") };
        let family = u16::try_from(libc::AF_UNIX).unwrap().to_ne_bytes();
        let address = [&family[..], b"\0", &prey.abstract_name].concat();
        let length = address.len() as u64;
        let connected =
            thread.call(libc::SYS_connect, [number(socket), thread.put(&address), length, 0, 0, 0]);
        faults.refused(true, "connects to abstract sockets", connected);
        close(thread, made);
    }
}

fn close(thread: &Hijacked, opened: Outcome) {
    if let Outcome::Returned(descriptor) = opened {
        let _ = thread.call(libc::SYS_close, [number(descriptor), 0, 0, 0, 0, 0]);
    }
}

/// A process says once what it gave up, and that is what this kernel gives.
fn assert_told(stderr: &LineReader, keeps: Keeps) {
    let told = || stderr.lines().into_iter().filter(|line| line.contains("sandbox: ")).collect::<Vec<_>>();
    let what = || format!("a word about the sandbox in {:?}", stderr.lines());
    let line = wait_or_explain(what, || told().pop());
    println!("{line}");
    assert!(line.ends_with(&keeps.told()), "{line}");
    assert_eq!(told().len(), 1);
}

#[test]
fn the_pipe() {
    if !can_test() {
        return;
    }
    let kernel = Kernel::load(&[]);
    for (services, unix_sockets) in [("files", false), ("files systemd", true)] {
        let pipe = pipe_with_names_from(services, &kernel);
        let keeps = Keeps { kernel: true, unix_sockets, ..Keeps::default() };
        assert_told(&pipe.stderr, keeps);
        assert_confined(&format!("the pipe with names of users from {services}"), pipe.id(), keeps);
    }
}

/// Sees its own `/etc/nsswitch.conf`.
fn pipe_with_names_from(services: &str, kernel: &Kernel) -> EventPipe {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "passwd: {services}").unwrap();
    let script = "[ -e /etc/nsswitch.conf ] || echo >/etc/nsswitch.conf
        mount -o bind \"$0\" /etc/nsswitch.conf && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script]).arg(file.path()).arg(program("leco-event-pipe"));
    let pipe = EventPipe::spawn({
        command.arg("--pin").arg(kernel.pins()).args(["-o", "-"]);
        command
    });
    // It is read by then.
    wait_or_explain(
        || format!("a word about the sandbox in {:?}", pipe.stderr.lines()),
        || pipe.stderr.lines().iter().any(|line| line.contains("sandbox: ")).then_some(()),
    );
    pipe
}

#[test]
fn the_pipe_that_serves_a_socket() {
    if !can_test() {
        return;
    }
    let (kernel, folder) = (Kernel::load(&[]), tempfile::tempdir().unwrap());
    let output = format!("unix:{}", folder.path().join("leco.sock").display());
    let pipe = EventPipe::start(kernel.pins(), &["-o", &output]);
    let keeps = Keeps { kernel: true, unix_sockets: true, ..Keeps::default() };
    assert_told(&pipe.stderr, keeps);
    assert_confined("the pipe with a socket", pipe.id(), keeps);
}

#[test]
fn the_pipe_that_asks_for_names_and_remembers() {
    if !can_test() {
        return;
    }
    let (kernel, folder) = (Kernel::load(&[]), tempfile::tempdir().unwrap());
    let conf = format!("memory={} reverse-dns=1", folder.path().join("memory").display());
    let pipe = EventPipe::start(kernel.pins(), &["-o", "-", "-c", &conf]);
    let keeps = Keeps { kernel: true, network: Network::All, ..Keeps::default() };
    assert_told(&pipe.stderr, keeps);
    assert_confined("the pipe with reverse-dns", pipe.id(), keeps);
}

/// A frontend that prints plain lines.
struct Plain {
    child: Child,
    stderr: LineReader,
}

impl Plain {
    fn start(name: &str, source: &str) -> Self {
        let mut command = Command::new(program(name));
        command.env("HOME", "/nonexistent").env_remove("XDG_CONFIG_HOME");
        command.args(["--debug", "--source", source]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = LineReader::new(child.stderr.take().unwrap());
        Self { child, stderr }
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn frontends_that_print_plain_lines() {
    if !can_test() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let fifo = format!("fifo:{}", folder.path().join("fifo").display());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // A name, which is looked up without netlink.
    let tcp = format!("tcp:localhost:{}", listener.local_addr().unwrap().port());
    let unix = format!("unix:{}", folder.path().join("socket").display());
    let sources = [
        (&*fifo, Keeps::default()),
        (&*unix, Keeps { unix_sockets: true, ..Keeps::default() }),
        ("udp:127.0.0.1:0", Keeps { network: Network::Udp, ..Keeps::default() }),
        (&*tcp, Keeps { network: Network::All, ..Keeps::default() }),
    ];
    for name in ["leco-tui", "leco-sdl-widget", "leco-notify"] {
        for (source, keeps) in sources {
            let plain = Plain::start(name, source);
            assert_told(&plain.stderr, keeps);
            if keeps.network == Network::All {
                drop(listener.accept().unwrap());
            }
            assert_confined(&format!("{name} that reads {source}"), plain.child.id(), keeps);
        }
    }
}

#[test]
fn the_terminal_view() {
    if !can_test() || !can_use_tmux() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    let command = format!("HOME=/nonexistent {} --fifo {}", program("leco-tui").display(), fifo.display());
    let terminal = Tmux::start(80, 24, &command);
    terminal.wait_for("the view", |_| terminal.alternate_and_cursor().0);
    let pid = terminal.process("leco-tui").as_raw_nonzero().get().cast_unsigned();
    assert_confined("leco-tui", pid, Keeps::default());
}

#[test]
fn the_overlay() {
    if !can_test() || !can_use(&["Xvfb", "fc-match"]) {
        return;
    }
    let server = XServer::start();
    let overlay = Overlay::on_x(&server, &still_config("", ""));
    assert_confined("the overlay", overlay.id(), Keeps { desktop: true, ..Keeps::default() });
}

#[test]
fn what_tells_of_connections() {
    if !can_test() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    // What speaks on the session bus keeps unix sockets to come back to it; what has another process run a program does not.
    let ways = [
        ("leco-notify", &[][..], Keeps { unix_sockets: true, ..Keeps::default() }),
        ("leco-notify --exec", &["--exec", "true"][..], Keeps::default()),
    ];
    for (name, arguments, keeps) in ways {
        let mut command = Command::new(program("leco-notify"));
        command.env("HOME", "/nonexistent").env_remove("XDG_CONFIG_HOME").env_remove("XDG_RUNTIME_DIR");
        command.env("DBUS_SESSION_BUS_ADDRESS", "disabled:").arg("--fifo").arg(&fifo).args(arguments);
        let child = Running(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        assert_confined(name, child.0.id(), keeps);
    }
}

#[test]
fn what_carries_events_between_machines() {
    if !can_test() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (fifo, socket) = (format!("fifo:{}", path("fifo")), format!("unix:{}", path("socket")));
    let keeps = Keeps { network: Network::All, ..Keeps::default() };
    for arguments in [
        ["publish", "--source", &fifo, "--spool", &path("spool")],
        ["subscribe", "--output", &socket, "--since", "1"],
    ] {
        let mut command = Command::new(program("leco-relay"));
        // Nobody listens at this port.
        command.args(arguments).args(["--nats", "nats://127.0.0.1:1"]);
        let child = Running(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        assert_confined(arguments[0], child.0.id(), keeps);
    }
}

/// Each path that is kept takes a descriptor for a moment. Those that get none are lost, and that is told.
#[test]
fn paths_that_are_lost_for_want_of_descriptors_are_told() {
    if of_this_kernel().landlock.version() == 0 {
        let _ = skip("there is no Landlock");
        return;
    }
    // The fourth is the ruleset's.
    let command =
        format!("ulimit -n 4; exec {} --once --wait 0 --fifo /tmp/none", program("leco-tui").display());
    let output = Command::new("sh").args(["-c", &command]).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = said.lines().find(|line| line.contains("sandbox: ")).unwrap_or_else(|| panic!("{said}"));
    for words in ["this program lost access to /usr and ", "(RLIMIT_NOFILE is 4)"] {
        assert!(line.contains(words), "{line}");
    }
}

/// A line of `--stats` tells scripts and persons what a machine gives.
#[test]
fn the_sandbox_can_be_asked_for() {
    if !can_test() {
        return;
    }
    let kernel = Kernel::load(&[]);
    let mut command = Command::new(program("leco-event-pipe"));
    let output = command.arg("--pin").arg(kernel.pins()).arg("--stats").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = said.lines().find(|line| line.starts_with("sandbox-gaps "));
    let line = line.unwrap_or_else(|| panic!("{said}"));
    let gaps = of_this_kernel().gaps().len().to_string();
    assert_eq!(line.split_whitespace().nth(1).unwrap(), gaps, "{line}");
    assert!(line.contains(&Keeps::default().told()), "{line}");
}

/// The same on another kernel, where it says this of its Landlock.
fn on_linux(series: &str, words: &str, tests: &str) {
    let Some(kernel) = VmKernel::find(series) else { return };
    let mut programs = vec![std::env::current_exe().unwrap()];
    programs.extend(
        ["leco-ebpf-load", "leco-event-pipe", "leco-tui", "leco-sdl-widget", "leco-notify", "leco-relay"]
            .map(program),
    );
    programs.extend(["ip", "unshare"].map(which));
    let this = programs[0].file_name().unwrap().to_str().unwrap();
    let command = format!(
        "ip link set lo up; echo '127.0.0.1 localhost' >/etc/hosts; \
         LECO_TEST_REQUIRE=all RUST_BACKTRACE=0 {this} --test-threads=1 --nocapture {tests}"
    );
    let booted = kernel.run(&programs, &[], &command, WITHIN);
    println!("Linux {series}: {:.1} s", booted.took.as_secs_f64());
    assert_eq!(booted.status, Some(0), "{}", booted.console);
    assert!(booted.console.contains(words), "{}", booted.console);
}

#[test]
fn linux_6_1_leaves_more_and_that_is_told() {
    let gaps = "truncate files, control devices, send signals and connect to abstract sockets \
                (this kernel has version 2 of Landlock, Linux 6.12 has version 6)";
    on_linux("6.1", gaps, "frontends_that paths_that");
}

#[test]
fn linux_6_12_takes_everything() {
    let whole = "sandbox: complete (Landlock 6, system calls filtered)";
    on_linux("6.12", whole, "frontends_that paths_that the_pipe the_sandbox");
}
