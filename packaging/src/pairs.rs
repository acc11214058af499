// SPDX-License-Identifier: GPL-3.0-or-later
//! Which options go together: for each pair either both do something, or the command refuses them.

use clap::Command;
use clap::error::ErrorKind;

use crate::commands;

/// How each option is given, with what it needs besides.
const GIVEN: [(&str, &str, &[&str]); 84] = [
    ("leco-ebpf-load", "pin", &["--pin", "/sys/fs/bpf/x"]),
    ("leco-ebpf-load", "pin_fdstore", &["--pin-fdstore", "--pin", "/sys/fs/bpf/x"]),
    ("leco-ebpf-load", "group", &["--group", "x", "--pin", "/sys/fs/bpf/x"]),
    ("leco-ebpf-load", "update_interval", &["--update-interval", "1s"]),
    ("leco-ebpf-load", "max_conns", &["--max-conns", "1"]),
    ("leco-ebpf-load", "ring_size", &["--ring-size", "4096"]),
    ("leco-ebpf-load", "no_dns", &["--no-dns"]),
    ("leco-ebpf-load", "no_hello", &["--no-hello"]),
    ("leco-ebpf-load", "hook", &["--hook", "old=off"]),
    ("leco-ebpf-load", "btf", &["--btf", "x"]),
    ("leco-ebpf-load", "check", &["--check"]),
    ("leco-ebpf-load", "json", &["--json", "--check"]),
    ("leco-ebpf-load", "unload", &["--unload", "--pin", "/sys/fs/bpf/x"]),
    ("leco-ebpf-load", "verbose", &["--verbose"]),
    ("leco-event-pipe", "output", &["--output", "-?filter=proc:x"]),
    ("leco-event-pipe", "fifo", &["--fifo", "x"]),
    ("leco-event-pipe", "fifo_mode", &["--fifo-mode", "0600", "--fifo", "x"]),
    ("leco-event-pipe", "record", &["--record", "x"]),
    ("leco-event-pipe", "pin", &["--pin", "x"]),
    ("leco-event-pipe", "dump_cache", &["--dump-cache"]),
    ("leco-event-pipe", "stats", &["--stats"]),
    ("leco-event-pipe", "seen", &["--seen"]),
    ("leco-event-pipe", "history", &["--history"]),
    ("leco-event-pipe", "by", &["--by", "unit", "--history"]),
    ("leco-event-pipe", "top", &["--top", "5", "--history"]),
    ("leco-event-pipe", "until", &["--until", "today", "--history"]),
    ("leco-event-pipe", "csv", &["--csv", "--history"]),
    ("leco-event-pipe", "filter", &["--filter", "->", "--seen"]),
    ("leco-event-pipe", "since", &["--since", "1h", "--seen"]),
    ("leco-event-pipe", "json", &["--json", "--seen"]),
    ("leco-event-pipe", "extra_ev_data", &["--extra-ev-data"]),
    ("leco-event-pipe", "conf", &["--conf", "memory=off"]),
    ("leco-tui", "source", &["--source", "-"]),
    ("leco-tui", "fifo", &["--fifo", "x"]),
    ("leco-tui", "filter", &["--filter", "->"]),
    ("leco-tui", "record", &["--record", "x"]),
    ("leco-tui", "replay", &["--replay", "x"]),
    ("leco-tui", "speed", &["--speed", "2", "--replay", "x"]),
    ("leco-tui", "theme", &["--theme", "dark"]),
    ("leco-tui", "colours", &["--colours", "16"]),
    ("leco-tui", "rx_test", &["--rx-test", "-x"]),
    ("leco-tui", "json", &["--json", "--once"]),
    ("leco-tui", "check_config", &["--check-config"]),
    ("leco-tui", "debug", &["--debug"]),
    ("leco-tui", "once", &["--once"]),
    ("leco-tui", "follow", &["--follow"]),
    ("leco-tui", "format", &["--format", "plain", "--follow"]),
    ("leco-tui", "escape", &["--escape", "pango", "--format", "{line}", "--follow"]),
    ("leco-tui", "wait", &["--wait", "1", "--once"]),
    ("leco-notify", "source", &["--source", "-"]),
    ("leco-notify", "fifo", &["--fifo", "x"]),
    ("leco-notify", "filter", &["--filter", "->"]),
    ("leco-notify", "rx_test", &["--rx-test", "-x"]),
    ("leco-notify", "check_config", &["--check-config"]),
    ("leco-notify", "debug", &["--debug"]),
    ("leco-notify", "exec", &["--exec", "x"]),
    ("leco-notify", "exec_timeout", &["--exec-timeout", "1", "--exec", "x"]),
    ("leco-relay", "nats", &["--nats", "x"]),
    ("leco-relay", "creds", &["--creds", "x", "--nats", "x"]),
    ("leco-relay", "nkey", &["--nkey", "x", "--nats", "x"]),
    ("leco-relay", "user", &["--user", "x", "--password-file", "x", "--nats", "x"]),
    ("leco-relay", "password_file", &["--password-file", "x", "--user", "x", "--nats", "x"]),
    ("leco-relay", "inbox", &["--inbox", "x", "--nats", "x"]),
    ("leco-relay", "tls_ca", &["--tls-ca", "x", "--nats", "x"]),
    ("leco-relay", "tls_cert", &["--tls-cert", "x", "--tls-key", "x", "--nats", "x"]),
    ("leco-relay", "tls_key", &["--tls-key", "x", "--tls-cert", "x", "--nats", "x"]),
    ("leco-relay", "source", &["--source", "-", "--nats", "x"]),
    ("leco-relay", "host", &["--host", "x", "--nats", "x"]),
    ("leco-relay", "spool", &["--spool", "x", "--nats", "x"]),
    ("leco-relay", "spool_max", &["--spool-max", "1M", "--nats", "x"]),
    ("leco-relay", "stream", &["--stream", "x", "--nats", "x"]),
    ("leco-relay", "since", &["--since", "1", "--nats", "x"]),
    ("leco-relay", "filter", &["--filter", "->", "--nats", "x"]),
    ("leco-relay", "output", &["--output", "-", "--nats", "x"]),
    ("leco-relay", "max_age", &["--max-age", "1", "--nats", "x"]),
    ("leco-relay", "max_bytes", &["--max-bytes", "1M", "--nats", "x"]),
    ("leco-relay", "replicas", &["--replicas", "1", "--nats", "x"]),
    ("leco-relay", "check", &["--check", "--nats", "x"]),
    ("leco-sdl-widget", "source", &["--source", "-"]),
    ("leco-sdl-widget", "fifo", &["--fifo", "x"]),
    ("leco-sdl-widget", "filter", &["--filter", "->"]),
    ("leco-sdl-widget", "rx_test", &["--rx-test", "-x"]),
    ("leco-sdl-widget", "check_config", &["--check-config"]),
    ("leco-sdl-widget", "debug", &["--debug"]),
];

/// How a pair is refused, if it is.
fn refused(command: &Command, one: &[&str], other: &[&str]) -> Option<ErrorKind> {
    let mut words: Vec<&str> = vec![command.get_name()];
    words.extend(one);
    let mut rest = other;
    // What both need is given once.
    while let [option, tail @ ..] = rest {
        let end = 1 + tail.iter().take_while(|word| !word.starts_with("--")).count();
        if !words.contains(option) {
            words.extend(&rest[..end]);
        }
        rest = &rest[end..];
    }
    command.clone().try_get_matches_from(words).err().map(|error| error.kind())
}

#[test]
fn every_pair_of_options_works_or_is_refused() {
    let mut table = String::new();
    let tasks = commands().into_iter().flat_map(|(command, _)| {
        let name = command.get_name().to_owned();
        let tasks: Vec<_> = command.get_subcommands().cloned().collect();
        let all = if tasks.is_empty() { vec![command] } else { tasks };
        all.into_iter().map(move |task| (name.clone(), task))
    });
    for (name, command) in tasks {
        let task = command.get_name();
        table += &if task == name { format!("{name}\n") } else { format!("{name} {task}\n") };
        let given = |id: &str| {
            let of = GIVEN.iter().find(|(of, known, _)| *of == name && *known == id);
            of.map(|(_, _, words)| *words)
        };
        let options: Vec<String> = command
            .get_arguments()
            .filter(|argument| !argument.is_positional())
            .map(|argument| argument.get_id().to_string())
            .collect();
        for one in &options {
            let words = given(one).unwrap_or_else(|| panic!("say how {name} is given {one}"));
            let not_with: Vec<&str> = options
                .iter()
                .filter(|other| *other != one)
                .filter(|other| {
                    let other = given(other).unwrap_or_else(|| panic!("say how {name} is given {other}"));
                    match refused(&command, words, other) {
                        None => false,
                        // What one needs besides, the other may not bring.
                        Some(ErrorKind::ArgumentConflict | ErrorKind::MissingRequiredArgument) => true,
                        Some(kind) => panic!("{name} {words:?} {other:?}: {kind:?}"),
                    }
                })
                .map(String::as_str)
                .collect();
            table += &format!("  {one}: not with {}\n", not_with.join(" "));
        }
    }
    insta::assert_snapshot!(table);
}
