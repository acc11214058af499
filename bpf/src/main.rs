//! `leco-ebpf-load`: puts LECO's programs into the kernel, once, and leaves.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use leco_bpf::load::{self, LoadError, Loaded, Options};
use leco_bpf::pins::PinDir;
use leco_bpf::plan::{Choice, Forced};
use leco_bpf::preflight::{BPFFS, Missing};
use nix::unistd::Group;

const EXIT_CODES: &str = "\
Exit codes:
  0  loaded, or already loaded; with --check: can be loaded
  1  any other failure; with --check: cannot be loaded
  2  wrong usage
  3  not root
  4  no bpf filesystem, or the pin folder cannot be used
  5  the kernel is older than 6.3, or has no BTF
  6  the kernel refused what LECO cannot do without

Hooks (--hook NAME=LEVEL); the first level is the best, and taken where the kernel has it:
  bytes     tp_btf, tracepoint               who sent and received how much
  state     tp_btf, tracepoint, off          connect, direction, refusals and time-outs of TCP
  accept    cgroup, off                      who accepted, before the first bytes
  peer      cgroup, kprobe, off              peers of unconnected UDP
  raw       kprobe, tp_btf, cgroup_skb, off  peers of raw and ping sockets over IPv4
  close     cgroup, off                      the end of every socket, with its final counts
  refused   tp_btf, off                      datagrams that the peer's host refuses
  firewall  tp_btf, off                      packets that a firewall of this machine drops
  dns       recv, off                        answers of name servers
  live      iter, off                        the last bytes before a silence; open connections for a later pipe
  old       iter, off                        connections older than the programs";

/// Loads LECO's eBPF programs, and pins them for leco-event-pipe or leaves them with the service manager.
///
/// Pinned programs stay when this command ends. Without --pin it is a command before a service's own
/// (ExecStartPre=): the service manager then passes them to leco-event-pipe, and unloads them when the service
/// is stopped. Running it again is harmless: the same version with the same options is left as it is, any
/// other is replaced and what it knew is taken over.
#[derive(Parser)]
#[command(version, after_help = EXIT_CODES)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
struct Cli {
    /// Folder below /sys/fs/bpf/ for maps and links
    #[arg(short, long, value_name = "DIR")]
    pin: Option<PathBuf>,
    /// With --pin: leave the maps with the service manager, too, for a pipe that cannot reach the folder
    #[arg(long, requires = "pin")]
    pin_fdstore: bool,
    /// Group that may read connections, so that the pipe needs no root
    #[arg(short, long, value_name = "NAME")]
    group: Option<String>,
    /// Announce a connection at most once in this time
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = leco_core::text::parse_duration)]
    update_interval: Duration,
    /// Closed connections, and flows without a socket of their own, that are remembered
    #[arg(long, value_name = "N", default_value_t = 8192)]
    max_conns: u32,
    /// Bytes of the ring between kernel and pipe, a power of two
    #[arg(long, value_name = "BYTES", default_value_t = 256 * 1024)]
    ring_size: u32,
    /// Do not copy the answers of name servers that processes receive
    #[arg(long)]
    no_dns: bool,
    /// Use this level of a hook and no other, see below
    #[arg(long, value_name = "NAME=LEVEL")]
    hook: Vec<Forced>,
    /// Print what this kernel can do, and what is lost; nothing stays loaded
    #[arg(long)]
    check: bool,
    /// The same as JSON
    #[arg(long, requires = "check")]
    json: bool,
    /// Remove the pins instead, which unloads the programs
    #[arg(short, long, requires = "pin")]
    unload: bool,
    /// Tell what is attached, and show what libbpf and the kernel say
    #[arg(short, long)]
    verbose: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let log = |_, message: String| eprint!("{message}");
    libbpf_rs::set_print(cli.verbose.then_some((libbpf_rs::PrintLevel::Info, log)));
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("leco-ebpf-load: {error:#}");
            // Who asks whether it can be loaded gets a yes or a no.
            let code = if cli.check { 1 } else { error.downcast_ref().map_or(1, exit_code) };
            ExitCode::from(code)
        }
    }
}

fn exit_code(error: &LoadError) -> u8 {
    match error {
        LoadError::Option(_) | LoadError::Manager(_) => 2,
        LoadError::Missing(Missing::Privilege) => 3,
        LoadError::Missing(Missing::Bpffs(_)) | LoadError::Pin(_) => 4,
        LoadError::Missing(Missing::Btf | Missing::Kernel(_)) => 5,
        LoadError::Refused { .. } => 6,
    }
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    let group = cli.group.as_deref().map(group_id).transpose()?;
    let no_dns = cli.no_dns.then(Forced::no_dns);
    let options = Options {
        update_interval: cli.update_interval,
        max_conns: cli.max_conns,
        ring_size: cli.ring_size,
        group,
        forced: cli.hook.iter().cloned().chain(no_dns).collect(),
    };
    if cli.check {
        return check(&options, cli.json);
    }
    let Some(folder) = cli.pin.as_deref() else {
        tell(cli, &load::load_into_store(&options)?, "with the service manager");
        return Ok(());
    };
    let dir = PinDir::new(folder).map_err(LoadError::from)?;
    if cli.unload {
        load::unload(&dir)?;
        return Ok(());
    }
    let loaded = load::load(&dir, &options)?;
    tell(cli, &loaded, &format!("at {}", dir.path().display()));
    if cli.pin_fdstore {
        let (version, replaced) = match &loaded {
            Loaded::Already { version } => (version, &Vec::new()),
            Loaded::New { version, replaced, .. } => (version, replaced),
        };
        load::store_pinned(&dir, version, replaced)?;
    }
    Ok(())
}

/// What was done, for a person or a log.
fn tell(cli: &Cli, loaded: &Loaded, place: &str) {
    let (version, replaced, choices, mounted_bpffs, opened, forgotten) = match loaded {
        Loaded::Already { version } => return println!("{version} is already loaded {place}"),
        Loaded::New { version, replaced, choices, mounted_bpffs, opened, forgotten } => {
            (version, replaced, choices, *mounted_bpffs, opened, forgotten)
        }
    };
    if mounted_bpffs {
        println!("mounted a bpf filesystem at {BPFFS}");
    }
    for folder in opened {
        println!("made {} passable for others, so that the group reaches its pins", folder.display());
    }
    for old in replaced {
        println!("replaced {old}");
    }
    if !forgotten.is_empty() {
        println!(
            "its maps mean or hold something else now, what was in them is forgotten: {}",
            forgotten.join(", ")
        );
    }
    if cli.verbose {
        print_table(choices);
    } else {
        for choice in choices {
            if let Some((why, lost)) = choice.why.as_ref().zip(choice.lost) {
                let (name, used) = (choice.name, choice.used);
                eprintln!("leco-ebpf-load: {name} is {used}: {why}. Lost: {lost}");
            }
        }
    }
    println!("{version} is loaded {place}");
}

/// What this kernel can do, for a person or a program.
fn check(options: &Options, as_json: bool) -> anyhow::Result<()> {
    let choices = load::try_out(options);
    if as_json {
        let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
        let report = match &choices {
            Ok(hooks) => serde_json::json!({ "kernel": kernel, "hooks": hooks }),
            Err(error) => serde_json::json!({ "kernel": kernel, "error": error.to_string() }),
        };
        println!("{report}");
    }
    let choices = choices?;
    if !as_json {
        print_table(&choices);
    }
    Ok(())
}

fn print_table(choices: &[Choice]) {
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    match leco_bpf::cgroup2::root() {
        Some(root) => println!("kernel {kernel}, BTF yes, cgroup2 at {}", root.display()),
        None => println!("kernel {kernel}, BTF yes, no cgroup2 mounted"),
    }
    for Choice { name, used, hooks, why, lost, .. } in choices {
        let hooks = hooks.unwrap_or_default();
        match why.as_ref().zip(*lost) {
            Some((why, lost)) => {
                println!("  {name:<9} {used:<11} {hooks:<35} {why}");
                println!("  {:<9} lost: {lost}", "");
            }
            None => println!("  {name:<9} {used:<11} {hooks:<35} ok"),
        }
    }
    if choices.iter().all(|choice| choice.lost.is_none()) {
        println!("everything LECO shows can be seen on this machine");
    }
}

/// A group by name, or by number.
fn group_id(name: &str) -> Result<u32, LoadError> {
    let by_name = Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw());
    by_name
        .or_else(|| name.parse().ok())
        .ok_or_else(|| LoadError::Option(format!("--group {name}: there is no such group")))
}
