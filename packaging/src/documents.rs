// SPDX-License-Identifier: GPL-3.0-or-later
//! What documents promise is held against the tree and the programs: links lead somewhere, paths exist, examples of
//! commands and configs are understood.

use std::fs;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use leco_cli::tunables::Tunables;
use leco_core::config::Config;
use leco_core::ini::Rendering;
use leco_pipe::outputs::OutputSpec;

use crate::{commands, files};

/// A text for people.
struct Document {
    /// Where it is below the root of the tree.
    path: PathBuf,
    text: String,
}

/// A part between two lines of three backticks.
struct Block<'t> {
    /// The word behind the backticks.
    language: &'t str,
    text: String,
}

/// Examples that are configs of the overlay.
const OVERLAYS: [&str; 2] = ["calm.ini", "trouble.ini"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Files of a directory whose names end like this.
fn files_in(directory: &str, ending: &str) -> Vec<Document> {
    let Ok(entries) = fs::read_dir(root().join(directory)) else { return Vec::new() };
    let mut found: Vec<_> = entries
        .map(|entry| Path::new(directory).join(entry.expect(directory).file_name()))
        .filter(|path| path.to_string_lossy().ends_with(ending) && root().join(path).is_file())
        .map(|path| Document { text: fs::read_to_string(root().join(&path)).expect("text"), path })
        .collect();
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

fn pages() -> Vec<Document> {
    let all: Vec<_> = ["", "docs", ".github", ".github/ISSUE_TEMPLATE"]
        .into_iter()
        .flat_map(|directory| files_in(directory, ".md"))
        .collect();
    assert!(all.iter().any(|page| page.path.ends_with("README.md")), "the README is among them");
    all
}

/// The blocks of a page, and all that is outside of them.
fn split(text: &str) -> (Vec<Block<'_>>, String) {
    let (mut blocks, mut outside) = (Vec::new(), String::new());
    let mut open: Option<Block<'_>> = None;
    for line in text.lines() {
        match (line.trim_start().strip_prefix("```"), open.as_mut()) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(language), None) => {
                open = Some(Block { language: language.trim(), text: String::new() });
            }
            (None, Some(block)) => block.text += &format!("{line}\n"),
            (None, None) => outside += &format!("{line}\n"),
        }
    }
    (blocks, outside)
}

/// What stands between single backticks, and what is left without it.
fn code_spans(outside: &str) -> (Vec<String>, String) {
    let (mut spans, mut rest) = (Vec::new(), String::new());
    for (index, part) in outside.split('`').enumerate() {
        if index % 2 == 1 {
            spans.push(part.split_whitespace().collect::<Vec<_>>().join(" "));
        } else {
            rest += part;
        }
    }
    (spans, rest)
}

/// Targets of `[text](target)` and `![text](target)`.
fn targets(prose: &str) -> impl Iterator<Item = &str> {
    prose.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}

/// What a heading is called in a link: as common hosts of repositories have it.
fn anchors(text: &str) -> Vec<String> {
    let (_, outside) = split(text);
    let mut anchors: Vec<String> = Vec::new();
    for heading in outside.lines().filter_map(|line| line.strip_prefix('#')) {
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let anchor: String = heading
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        let before = anchors.iter().filter(|other| **other == anchor).count();
        anchors.push(if before == 0 { anchor } else { format!("{anchor}-{before}") });
    }
    anchors
}

#[test]
fn links_lead_somewhere() {
    let (mut faults, mut count) = (Vec::new(), 0);
    for page in pages() {
        let prose = code_spans(&split(&page.text).1).1;
        for target in targets(&prose).filter(|target| !target.contains("://")) {
            count += 1;
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = match path {
                "" => root().join(&page.path),
                path => root().join(&page.path).with_file_name("").join(path),
            };
            let has_anchor = || {
                let text = fs::read_to_string(&file).unwrap_or_default();
                anchor.is_empty() || anchors(&text).iter().any(|known| known == anchor)
            };
            if !file.exists() || !has_anchor() {
                faults.push(format!("{}: {target}", page.path.display()));
            }
        }
    }
    assert!(count > 20, "{count} links were found");
    assert!(faults.is_empty(), "these lead nowhere:\n{}", faults.join("\n"));
}

/// Whether a span is a path of this tree, or a pattern of such: its first part is a directory here.
fn is_path_of_the_tree(span: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "./_-@".contains(c);
    span.split_once('/').is_some_and(|(first, _)| {
        !first.is_empty() && first != "target" && root().join(first).is_dir() && span.chars().all(is_plain)
    })
}

#[test]
fn paths_of_the_tree_exist() {
    let (mut faults, mut count) = (Vec::new(), 0);
    // The changelog tells of what was there, too.
    for page in pages().iter().filter(|page| !page.path.ends_with("CHANGELOG.md")) {
        let (blocks, outside) = split(&page.text);
        let commands =
            blocks.iter().filter(|block| block.language == "sh").flat_map(|block| block.text.lines());
        let first_words = commands.map(str::to_owned).chain(code_spans(&outside).0);
        for span in first_words.filter_map(|text| text.split_whitespace().next().map(str::to_owned)) {
            if is_path_of_the_tree(&span) {
                count += 1;
                if !root().join(&span).exists() {
                    faults.push(format!("{}: {span}", page.path.display()));
                }
            }
        }
    }
    assert!(count > 40, "{count} paths were found");
    assert!(faults.is_empty(), "there is no such file:\n{}", faults.join("\n"));
}

/// The words of each command in a line of shell, as far as examples use it: quotes, `|`, `;`, `&&` and comments.
fn commands_of(line: &str) -> Vec<Vec<String>> {
    let mut all = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(chars.next()),
            (None, c) if c.is_whitespace() || matches!(c, '|' | ';' | '&') => {
                all.last_mut().expect("one is there").extend(word.take());
                if !c.is_whitespace() {
                    all.push(Vec::new());
                }
            }
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    all.last_mut().expect("one is there").extend(word);
    all.retain(|words| !words.is_empty());
    all
}

/// What an example says where a reader writes something of their own.
fn filled_in(word: &str) -> Option<String> {
    Some(match word {
        "…" => return None,
        "OUTPUT" | "SOURCE" => "-".into(),
        "NAME=LEVEL" => "dns=off".into(),
        _ => word.trim_matches(['[', ']']).to_owned(),
    })
}

/// Why a command of ours does not understand what it is told; `None` where it does, or where it is another command.
fn fault(words: &[String]) -> Option<String> {
    // Behind those that run it.
    let mut words = words;
    while let [first, rest @ ..] = words {
        match first.as_str() {
            "sudo" => words = rest,
            "ssh" => words = rest.get(1..)?,
            _ => break,
        }
    }
    let name = Path::new(words.first()?).file_name()?.to_str()?.to_owned();
    let (command, _) = commands().into_iter().find(|(command, _)| command.get_name() == name)?;
    let told = std::iter::once(name.clone()).chain(words[1..].iter().filter_map(|word| filled_in(word)));
    // A name alone stands for the program.
    if words.len() == 1 && command.has_subcommands() {
        return None;
    }
    let matches = match command.try_get_matches_from(told) {
        Ok(matches) => matches,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            return None;
        }
        Err(error) => return Some(error.to_string()),
    };
    if name != "leco-event-pipe" {
        return None;
    }
    let values = |id| matches.get_many::<String>(id).into_iter().flatten().cloned().collect::<Vec<_>>();
    let outputs = values("output");
    let bad_output = outputs.iter().find_map(|output| OutputSpec::parse(output).err()).map(|e| e.to_string());
    bad_output
        .or_else(|| Tunables::load(std::iter::empty(), &values("conf")).err().map(|error| error.to_string()))
}

/// Every line of shell in texts for people, with the file it is from.
fn lines_of_shell() -> Vec<(String, String)> {
    let mut lines = Vec::new();
    // The changelog names options that are gone, too, and without those that they need.
    for page in pages().iter().filter(|page| !page.path.ends_with("CHANGELOG.md")) {
        let name = page.path.display().to_string();
        let (blocks, outside) = split(&page.text);
        for block in blocks.iter().filter(|block| block.language == "sh") {
            lines.extend(block.text.replace("\\\n", " ").lines().map(|line| (name.clone(), line.to_owned())));
        }
        lines.extend(code_spans(&outside).0.into_iter().map(|span| (name.clone(), span)));
    }
    for (name, text) in files().into_iter().filter(|(name, _)| name.starts_with("man/")) {
        let text = String::from_utf8(text).expect("pages are text").replace("\\-", "-");
        lines.extend(code_spans(&text).0.into_iter().map(|span| (name.clone(), span)));
    }
    for (command, _) in leco_cli::tui::EXAMPLES {
        lines.push(("an example of leco-tui".to_owned(), command.to_owned()));
    }
    // Behind what a bar's config has before the command, up to its closing quote.
    let is_overlay = |path: &Path| OVERLAYS.iter().any(|name| path.ends_with(name));
    for example in files_in("packaging/examples", "").into_iter().filter(|page| !is_overlay(&page.path)) {
        let commands: Vec<_> = example.text.match_indices("leco-tui ").map(|(at, _)| at).collect();
        let has_none = ["waybar.css", "leco-to-sqlite.py"].iter().any(|name| example.path.ends_with(name));
        assert!(!commands.is_empty() || has_none, "{}", example.path.display());
        for at in commands {
            let quoted = example.text[..at].ends_with('"');
            let command = example.text[at..].lines().next().unwrap_or_default();
            let command = if quoted { command.split('"').next().unwrap_or_default() } else { command };
            lines.push((example.path.display().to_string(), command.to_owned()));
        }
    }
    let units = ["systemd/system", "systemd/user", "systemd/drop-ins"];
    for unit in units.into_iter().flat_map(|directory| files_in(directory, "")) {
        let commands = unit.text.lines().filter(|line| line.starts_with("Exec"));
        let commands = commands.filter_map(|line| Some(line.split_once('=')?.1.trim_start_matches('+')));
        lines.extend(commands.map(|command| (unit.path.display().to_string(), command.to_owned())));
    }
    lines
}

#[test]
fn examples_of_commands_are_understood() {
    let (mut faults, mut count) = (Vec::new(), 0);
    let names = commands().map(|(command, _)| command.get_name().to_owned());
    for (file, line) in lines_of_shell() {
        for words in commands_of(&line) {
            count += usize::from(words.len() > 1 && names.iter().any(|name| words[0].ends_with(name)));
            faults.extend(fault(&words).map(|why| format!("{file}: {line}\n{why}")));
        }
    }
    assert!(count > 15, "{count} commands were found");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn examples_of_configs_have_no_fault() {
    let mut count = 0;
    for page in pages() {
        for block in split(&page.text).0.iter().filter(|block| block.language == "ini") {
            count += 1;
            let config = Config::parse(block.text.as_bytes(), &page.path);
            let faults: Vec<_> =
                config.diagnostics.iter().map(|fault| fault.render(Rendering::Plain)).collect();
            assert!(faults.is_empty(), "{}", faults.join("\n"));
        }
    }
    for example in OVERLAYS {
        let path = root().join("packaging/examples").join(example);
        let config = Config::parse(&fs::read(&path).unwrap(), &path);
        assert_eq!(config.diagnostics, [], "{example}");
    }
    assert!(count > 0, "there is none");
}

#[test]
fn mistakes_in_documents_are_found() {
    let words = |line: &str| commands_of(line).concat();
    assert_eq!(words("sudo a -c 'b c' \"d\"e\\ f # no"), ["sudo", "a", "-c", "b c", "de f"]);
    assert_eq!(commands_of("ssh HOST a | b -; c && d").len(), 4);
    for wrong in [
        "leco-tui --no-such-option",
        "ssh HOST leco-event-pipe -o ftp:x",
        "sudo leco-ebpf-load --hook dns=best",
        "/usr/bin/leco-event-pipe -c 'no-such-key=1'",
        "leco-sdl-widget -s nonsense:x",
    ] {
        assert!(fault(&words(wrong)).is_some(), "{wrong}");
    }
    for right in
        ["leco-tui --help", "leco-tui [CONFIG] -s SOURCE …", "cargo build", "leco-event-pipe -C -p /x"]
    {
        assert_eq!(fault(&words(right)), None, "{right}");
    }
    assert_eq!(anchors("# A `b-c` D!\n```\n# no\n```\n## a b-c d\n"), ["a-b-c-d", "a-b-c-d-1"]);
    assert_eq!(targets("[a](b) ![c](d#e)").collect::<Vec<_>>(), ["b", "d#e"]);
    assert!(is_path_of_the_tree("script/no-such-script") && !is_path_of_the_tree("and/or"));
}
