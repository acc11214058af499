// SPDX-License-Identifier: GPL-3.0-or-later
//! A command's man page.

use std::io::Write;

use clap::ArgAction;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

/// Where to read on, for each page.
const PAGES: [&str; 7] = [
    "leco-ebpf-load(8)",
    "leco-event-pipe(1)",
    "leco-notify(1)",
    "leco-relay(1)",
    "leco-sdl-widget(1)",
    "leco-tui(1)",
    "widget.ini(5)",
];
/// How all pages are called together.
const MANUAL: &str = "LECO";

/// The page of a command. What stands below its options becomes sections of their own.
pub(crate) fn page(command: clap::Command, section: &str) -> String {
    let below = command.get_after_long_help().or(command.get_after_help()).map(ToString::to_string);
    let name = format!("{}({section})", command.get_name());
    let mut command = command;
    command.build();
    let synopsis = synopsis(&command).render();
    let tasks: Vec<String> = command.get_subcommands().map(task).collect();
    let man = Man::new(command.after_help("").after_long_help("")).section(section).manual(MANUAL);
    let mut page = Vec::new();
    let written = man
        .render_title(&mut page)
        .and_then(|()| man.render_name_section(&mut page))
        .and_then(|()| page.write_all(synopsis.as_bytes()))
        .and_then(|()| man.render_description_section(&mut page))
        .and_then(|()| man.render_options_section(&mut page));
    debug_assert!(written.is_ok(), "memory takes everything");
    page.extend(tasks.concat().into_bytes());
    let mut rest = Roff::new();
    for part in below.iter().flat_map(|below| below.split("\n\n")) {
        part_of(part, &mut rest);
    }
    see_also(&name, &mut rest);
    String::from_utf8_lossy(&page).into_owned() + &rest.render()
}

/// What a program can be asked to do, with options of its own.
fn task(command: &clap::Command) -> String {
    let mut options = Vec::new();
    let written = Man::new(command.clone()).render_options_section(&mut options);
    debug_assert!(written.is_ok(), "memory takes everything");
    let mut page = Roff::new();
    let name = command.get_bin_name().unwrap_or_default();
    page.control("SH", [name.to_uppercase().as_str()]);
    page.text([roman(format!("{}.", command.get_about().map(ToString::to_string).unwrap_or_default()))]);
    let options = String::from_utf8_lossy(&options).into_owned();
    page.render() + options.split_once(".SH OPTIONS\n").map_or("", |(_, options)| options)
}

/// Every option with what it takes, on a line of its own for each task.
fn synopsis(command: &clap::Command) -> Roff {
    let mut page = Roff::new();
    page.control("SH", ["SYNOPSIS"]);
    page.text(usage(command));
    for task in command.get_subcommands() {
        page.control("br", []);
        page.text(usage(task));
    }
    page
}

fn usage(command: &clap::Command) -> Vec<Inline> {
    let mut words = vec![bold(command.get_bin_name().unwrap_or(command.get_name()))];
    for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
        let short = argument.get_short().map(|short| format!("-{short}"));
        let long = argument.get_long().map(|long| format!("--{long}"));
        let names: Vec<String> = short.into_iter().chain(long).collect();
        words.push(roman(" ["));
        for (index, name) in names.iter().enumerate() {
            if index > 0 {
                words.push(roman("|"));
            }
            words.push(bold(name));
        }
        if argument.get_action().takes_values() {
            let values = argument.get_value_names().unwrap_or_default();
            let values: Vec<&str> = values.iter().map(clap::builder::Str::as_str).collect();
            words.push(roman(if names.is_empty() { "" } else { " " }));
            words.push(italic(values.join(" ")));
        }
        let takes_all = argument.get_num_args().is_some_and(|values| values.max_values() > 1);
        let is_repeated = matches!(argument.get_action(), ArgAction::Append);
        words.push(roman(match (takes_all, is_repeated) {
            (true, _) => "...]",
            (false, true) => "]...",
            (false, false) => "]",
        }));
    }
    words
}

/// A heading that ends with a colon, below it lines of terms, which are indented, or of text.
fn part_of(part: &str, page: &mut Roff) {
    let mut lines = part.lines();
    let heading = lines.next().unwrap_or_default();
    let (title, introduction) = match heading.split_once([',', ':']) {
        Some((title, _)) => (title.trim(), heading[title.len()..].trim_matches([' ', ',', ':'])),
        None => (heading, ""),
    };
    let title = if title == "Exit codes" { "Exit status" } else { title };
    page.control("SH", [title.to_uppercase().as_str()]);
    if !introduction.is_empty() {
        page.text([roman(introduction)]);
    }
    let mut is_listing = false;
    for line in lines {
        if let Some(entry) = line.strip_prefix("  ") {
            let mut columns = entry.split("  ").map(str::trim).filter(|column| !column.is_empty());
            page.control("TP", []);
            page.text([bold(columns.next().unwrap_or_default())]);
            page.text([roman(columns.collect::<Vec<_>>().join(": "))]);
            is_listing = true;
        } else {
            if is_listing {
                page.control("PP", []);
                is_listing = false;
            }
            page.text([roman(line)]);
        }
    }
}

/// Refers to all pages but this one.
pub(crate) fn see_also(name: &str, page: &mut Roff) {
    page.control("SH", ["SEE ALSO"]);
    let mut references: Vec<Inline> = Vec::new();
    for other in PAGES.into_iter().filter(|other| *other != name) {
        if !references.is_empty() {
            references.push(roman(", "));
        }
        let (name, section) = other.split_once('(').unwrap_or((other, ""));
        references.extend([bold(name), roman(format!("({section}"))]);
    }
    page.text(references);
}

/// The first lines of a page that no command has.
pub(crate) fn start(name: &str, section: &str, what: &str) -> Roff {
    let mut page = Roff::new();
    let version = format!("LECO {}", env!("CARGO_PKG_VERSION"));
    page.control("TH", [name, section, "", &version, MANUAL]);
    page.control("SH", ["NAME"]);
    page.text([roman(format!("{name} - {what}"))]);
    page
}

/// A path or what stands for something else.
pub(crate) fn place(text: &str) -> Inline {
    italic(text)
}
