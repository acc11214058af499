// SPDX-License-Identifier: GPL-3.0-or-later
//! `leco-ebpf-load`: puts LECO's programs into the kernel, once, and leaves.

#![deny(clippy::print_stdout, clippy::print_stderr, reason = "they panic: see leco_os::say")]

use std::process::ExitCode;

use anyhow::Context;
use leco_bpf::load::fields::Missing;
use leco_bpf::load::plan::Choice;
use leco_bpf::load::{self, LoadError, Loaded, Options, fields, preflight};
use leco_bpf::place::bpffs::BPFFS;
use leco_bpf::place::pin_dir::PinDir;
use leco_cli::hooks::Forced;
use leco_cli::loader::Cli;
use leco_os::causes::causes;
use leco_os::say;
use nix::unistd::Group;

fn main() -> ExitCode {
    let cli: Cli = match leco_cli::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let log = |_, message: String| say::err(message.trim_end());
    libbpf_rs::set_print(cli.verbose.then_some((libbpf_rs::PrintLevel::Info, log)));
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say::err(format_args!("leco-ebpf-load: {}", causes(&*error)));
            // Who asks whether it can be loaded gets a yes or a no.
            let code = if cli.check { 1 } else { error.downcast_ref().map_or(1, exit_code) };
            ExitCode::from(code)
        }
    }
}

fn exit_code(error: &LoadError) -> u8 {
    match error {
        LoadError::Manager(_)
        | LoadError::Exhausted(_)
        | LoadError::Missing(preflight::Missing::Descriptors(_)) => 1,
        LoadError::Option(_) => 2,
        LoadError::Missing(
            preflight::Missing::Privilege
            | preflight::Missing::Capabilities
            | preflight::Missing::UserNamespace,
        ) => 3,
        LoadError::Missing(preflight::Missing::Bpffs(_)) | LoadError::Pin(_) => 4,
        LoadError::Missing(preflight::Missing::Btf | preflight::Missing::Kernel(_)) => 5,
        LoadError::Refused { .. } => 6,
    }
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    let group = cli.group.as_deref().map(group_id).transpose()?;
    let off = [cli.no_dns.then(Forced::no_dns), cli.no_hello.then(Forced::no_hello)];
    let named: Vec<&Forced> = cli.hook.iter().chain(off.iter().flatten()).collect();
    for (at, one) in named.iter().enumerate() {
        if let Some(other) =
            named[..at].iter().find(|other| other.feature() == one.feature() && *other != one)
        {
            return Err(LoadError::Option(format!("--hook {other} and {one}: choose one")).into());
        }
    }
    let options = Options {
        update_interval: cli.update_interval,
        max_conns: cli.max_conns,
        ring_size: cli.ring_size,
        group,
        forced: named.into_iter().cloned().collect(),
        btf: cli.btf.clone(),
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
        if cli.verbose {
            say::out(format_args!("nothing is loaded at {}", dir.path().display()));
        }
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
        Loaded::Already { version } => return say::out(format_args!("{version} is already loaded {place}")),
        Loaded::New { version, replaced, choices, mounted_bpffs, opened, forgotten } => {
            (version, replaced, choices, *mounted_bpffs, opened, forgotten)
        }
    };
    if mounted_bpffs {
        say::out(format_args!("mounted a bpf filesystem at {BPFFS}"));
    }
    for folder in opened {
        say::out(format_args!("added o+x to {}, so that the group can reach its pins", folder.display()));
    }
    for old in replaced {
        say::out(format_args!("replaced {old}"));
    }
    if !forgotten.is_empty() {
        say::out(format_args!(
            "the map layout changed, so the contents of these maps were discarded: {}",
            forgotten.join(", ")
        ));
    }
    // They were read when the programs were fitted to them.
    let missing = fields::missing(cli.btf.as_deref()).unwrap_or_default();
    if cli.verbose {
        say::out(table(choices, &missing).trim_end());
    } else {
        for Missing { field, lost } in missing {
            say::err(format_args!("leco-ebpf-load: this kernel has no {field}. Lost: {lost}"));
        }
        for choice in choices {
            if let Some((why, lost)) = choice.why.as_ref().zip(choice.lost) {
                let (name, used) = (choice.name, choice.used);
                say::err(format_args!("leco-ebpf-load: {name} is {used}: {why}. Lost: {lost}"));
            }
        }
    }
    say::out(format_args!("{version} is loaded {place}"));
}

/// What this kernel can do, for a person or a program.
fn check(options: &Options, as_json: bool) -> anyhow::Result<()> {
    let choices = load::try_out(options);
    let missing = fields::missing(options.btf.as_deref());
    let mut report = String::new();
    if as_json {
        let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
        let json = match &choices {
            Ok(hooks) => serde_json::json!({
                "kernel": kernel,
                "hooks": hooks,
                "missing_fields": missing.as_deref().unwrap_or_default(),
            }),
            Err(error) => serde_json::json!({ "kernel": kernel, "error": error.to_string() }),
        };
        report = format!("{json}\n");
    } else if let (Ok(choices), Ok(missing)) = (&choices, &missing) {
        report = table(choices, missing);
    }
    say::asked(|out| out.write_all(report.as_bytes())).context("cannot write to standard output")?;
    choices?;
    missing.map_err(anyhow::Error::msg)?;
    Ok(())
}

/// What is attached where, and what is lost, in lines.
fn table(choices: &[Choice], missing: &[Missing]) -> String {
    let mut lines = Vec::new();
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    match load::cgroup2::root() {
        Some(root) => lines.push(format!("kernel {kernel}, BTF yes, cgroup2 at {}", root.display())),
        None => lines.push(format!("kernel {kernel}, BTF yes, no cgroup2 mounted")),
    }
    for Choice { name, used, hooks, why, lost, .. } in choices {
        let hooks = hooks.unwrap_or_default();
        match why.as_ref().zip(*lost) {
            Some((why, lost)) => {
                lines.push(format!("  {name:<9} {used:<11} {hooks:<35} {why}"));
                lines.push(format!("  {:<9} lost: {lost}", ""));
            }
            None => lines.push(format!("  {name:<9} {used:<11} {hooks:<35} ok")),
        }
    }
    for Missing { field, lost } in missing {
        lines.push(format!("  {:<9} {:<11} {field:<35} not in this kernel", "field", "-"));
        lines.push(format!("  {:<9} lost: {lost}", ""));
    }
    if choices.iter().all(|choice| choice.lost.is_none()) && missing.is_empty() {
        lines.push("everything LECO shows can be seen on this machine".to_owned());
    }
    lines.join("\n") + "\n"
}

/// A group by name, or by number.
fn group_id(name: &str) -> Result<u32, LoadError> {
    let by_name = Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw());
    by_name
        .or_else(|| name.parse().ok())
        .ok_or_else(|| LoadError::Option(format!("--group {name}: there is no such group")))
}
