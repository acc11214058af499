// SPDX-License-Identifier: GPL-3.0-or-later
//! `leco-packaging`: writes what is installed beside the programs, man pages and completions for shells, from what the
//! programs themselves can be told.

#![deny(clippy::print_stdout, clippy::print_stderr, reason = "they panic: see leco_os::say")]

mod config_page;
#[cfg(test)]
mod documents;
mod page;
#[cfg(test)]
mod pairs;
#[cfg(test)]
mod units;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{CommandFactory, Parser};
use clap_complete::Shell;

/// Writes man pages and completions into a folder.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// Folder to write into; made if it is missing
    folder: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let Cli { folder } = Cli::parse();
    for (name, text) in files() {
        write(&folder.join(name), &text)?;
    }
    Ok(())
}

fn write(path: &Path, text: &[u8]) -> anyhow::Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// The commands, each with the section of its page.
fn commands() -> [(clap::Command, &'static str); 6] {
    [
        (leco_cli::loader::Cli::command(), "8"),
        (leco_cli::pipe::Cli::command(), "1"),
        (leco_cli::notify::Cli::command(), "1"),
        (leco_cli::relay::Cli::command(), "1"),
        (leco_cli::tui::Cli::command(), "1"),
        (leco_cli::widget::Cli::command(), "1"),
    ]
}

/// All files, by their paths below the folder.
fn files() -> Vec<(String, Vec<u8>)> {
    let mut files = vec![("man/widget.ini.5".to_owned(), config_page::page().into_bytes())];
    for (mut command, section) in commands() {
        let name = command.get_name().to_owned();
        for (shell, file) in [
            (Shell::Bash, format!("completions/bash/{name}")),
            (Shell::Zsh, format!("completions/zsh/_{name}")),
            (Shell::Fish, format!("completions/fish/{name}.fish")),
        ] {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut command, &name, &mut text);
            files.push((file, text));
        }
        files.push((format!("man/{name}.{section}"), page::page(command, section).into_bytes()));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn man_pages() {
        for (name, text) in files() {
            if let Some(name) = name.strip_prefix("man/") {
                let text = String::from_utf8(text).expect("pages are text");
                // It prints help and pages as they are.
                assert!(!text.contains('`') || name == "widget.ini.5", "{name} has a backtick: {text}");
                // A page is the same whatever the version.
                insta::assert_snapshot!(name, text.replace(env!("CARGO_PKG_VERSION"), "VERSION"));
            }
        }
    }

    #[test]
    fn every_shell_completes_every_command() {
        let files = files();
        for (command, _) in commands() {
            let name = command.get_name();
            for (file, option) in [
                (format!("completions/bash/{name}"), "--help"),
                (format!("completions/zsh/_{name}"), "--help"),
                (format!("completions/fish/{name}.fish"), "-l help"),
            ] {
                let text = files.iter().find(|(path, _)| *path == file).map(|(_, text)| text);
                let text = String::from_utf8_lossy(text.expect(&file));
                assert!(text.contains(name) && text.contains(option), "{file}: {text}");
            }
        }
    }
}
