// SPDX-License-Identifier: GPL-3.0-or-later
//! What an interpreter runs, by the interpreter's own rules.

use leco_os::clean::clean_bytes;

use crate::enrich::interpreters::{INTERPRETERS, Interpreter, Operand};
use crate::enrich::process::is_blank;

/// Whether a process of this name runs scripts. A thread's name may follow after a space.
pub(crate) fn is_interpreter(comm: &str) -> bool {
    rules(comm).is_some()
}

/// Whether a process of this name can have been started by a command of that one: a version may differ.
pub(crate) fn is_same_interpreter(comm: &str, cmdline: &[u8]) -> bool {
    let program = cmdline.split(|&byte| byte == 0).next().unwrap_or_default();
    let name = program.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    // A shell that was logged in to has a dash before its name.
    let name = String::from_utf8_lossy(name.strip_prefix(b"-").unwrap_or(name)).into_owned();
    family(comm) == family(&name)
}

fn family(comm: &str) -> String {
    let name = comm.split(' ').next().unwrap_or_default().to_ascii_lowercase();
    name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.').to_owned()
}

fn rules(comm: &str) -> Option<&'static Interpreter> {
    let family = family(comm);
    INTERPRETERS.iter().find(|rules| rules.names.contains(&family.as_str()))
}

/// What an interpreter was told to run: a script, module or program by the last part of its path; nothing where it
/// reads code from an argument or its input. After an argument with a `=` that was passed over `COMM/` stands before
/// it.
pub(crate) fn script_name(comm: &str, cmdline: &[u8]) -> Option<String> {
    let rules = rules(comm)?;
    let arguments: Vec<&[u8]> = cmdline.split(|&byte| byte == 0).skip(1).collect();
    let (at, script) = rules.script(&arguments)?;
    let name = script.rsplit(|&byte| byte == b'/').find(|part| !part.is_empty())?;
    if matches!(name, b"." | b"..") {
        return None;
    }
    let name = clean_bytes(name);
    let has_assignment = arguments.iter().take(at).any(|argument| argument.contains(&b'='));
    (!is_blank(&name)).then(|| if has_assignment { format!("{comm}/{name}") } else { name.into_owned() })
}

impl Interpreter {
    /// Which argument names what is run, and by which bytes.
    fn script<'a>(&self, arguments: &[&'a [u8]]) -> Option<(usize, &'a [u8])> {
        let mut at = 0;
        let mut has_command = false;
        let mut are_options_over = false;
        while let Some(&argument) = arguments.get(at) {
            let option = if are_options_over { Found::Operand } else { self.option(argument) };
            match option {
                Found::End => return None,
                Found::Options => are_options_over = true,
                Found::Flag => {}
                Found::Value => at += 1,
                Found::Runs(b"") => return Some((at + 1, arguments.get(at + 1)?)),
                Found::Runs(script) => return Some((at, script)),
                Found::Operand => {
                    let text = std::str::from_utf8(argument).unwrap_or_default();
                    if !has_command && self.commands.contains(&text) {
                        has_command = true;
                    } else if self.operand == Operand::None {
                        return None;
                    } else if !argument.contains(&b'=') {
                        let can_be = self.operand == Operand::Script
                            || has_command
                            || argument.iter().any(|byte| b"./".contains(byte));
                        return can_be.then_some((at, argument));
                    }
                }
            }
            at += 1;
        }
        None
    }

    fn option<'a>(&self, argument: &'a [u8]) -> Found<'a> {
        if argument == b"--" {
            return Found::Options;
        }
        if argument == b"-" {
            return if self.has_dash { Found::Options } else { Found::End };
        }
        if !self.skipped.is_empty() && argument.starts_with(self.skipped) {
            return Found::Flag;
        }
        let (dashes, word) = match argument {
            [b'-', b'-', word @ ..] => (2, word),
            [b'-', word @ ..] => (1, word),
            // What shells turn off.
            [b'+', word @ ..] if self.has_dash => (1, word),
            _ => return Found::Operand,
        };
        let equals = word.iter().position(|&byte| byte == b'=');
        let (name, value) = match equals {
            Some(at) => (&word[..at], Some(&word[at + 1..])),
            None => (word, None),
        };
        let name = std::str::from_utf8(name).unwrap_or_default();
        if name.len() > 1 || dashes == 2 {
            if self.long_ends.contains(&name) {
                return Found::End;
            }
            if self.long_runs.contains(&name) {
                return Found::Runs(value.unwrap_or_default());
            }
            if self.long_takes.contains(&name) {
                return if value.is_some() { Found::Flag } else { Found::Value };
            }
        }
        if dashes == 2 { Found::Flag } else { self.letters(word) }
    }

    /// Options of one letter, which may stand together.
    fn letters<'a>(&self, word: &'a [u8]) -> Found<'a> {
        for (at, &byte) in word.iter().enumerate() {
            let letter = char::from(byte);
            let rest = &word[at + 1..];
            if self.ends.contains(letter) {
                return Found::End;
            }
            if self.runs.contains(letter) {
                return Found::Runs(rest);
            }
            if self.takes.contains(letter) {
                return if rest.is_empty() { Found::Value } else { Found::Flag };
            }
            if self.rests.contains(letter) {
                return Found::Flag;
            }
        }
        Found::Flag
    }
}

/// What an argument is to an interpreter.
enum Found<'a> {
    /// No script follows.
    End,
    /// No options follow.
    Options,
    /// An option that is complete.
    Flag,
    /// An option whose value is the next argument.
    Value,
    /// An option that names what is run; empty where the next argument does.
    Runs(&'a [u8]),
    /// No option.
    Operand,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a command line is shown as, where `""` is an empty argument.
    fn shown(line: &str) -> String {
        let arguments: Vec<&str> =
            line.split(' ').map(|argument| if argument == "\"\"" { "" } else { argument }).collect();
        let comm = arguments[0].rsplit('/').next().unwrap_or_default();
        script_name(comm, arguments.join("\0").as_bytes()).unwrap_or_else(|| comm.to_owned())
    }

    fn expect(lines: &[(&str, &str)]) {
        for (line, expected) in lines {
            assert_eq!(shown(line), *expected, "{line}");
        }
    }

    #[test]
    fn scripting_languages_are_read_by_their_own_rules() {
        expect(&[
            ("python3 -m flask run --host 0.0.0.0", "flask"),
            ("python3 srv --config ../x.toml", "srv"),
            ("python3 -m traf 24008 \"\" 0.3", "traf"),
            ("python3 -m http.server", "http.server"),
            ("python3 -Im http.server 80", "http.server"),
            ("python3 -mvenv x", "venv"),
            ("python3 -W ignore -X dev -u /a/b/tool.py", "tool.py"),
            ("python3 -Wignore -B tool.py a.b", "tool.py"),
            ("python3 -W a=b tool.py", "python3/tool.py"),
            ("python3 --check-hash-based-pycs always tool.py", "tool.py"),
            ("python3 -c print(1) a.py", "python3"),
            ("python3 -Bc print(1) a.py", "python3"),
            ("python3 - a.py", "python3"),
            ("python3 -- -odd.py", "-odd.py"),
            ("python3 .", "python3"),
            ("python3 \"\" a.py", "python3"),
            ("python3 -m", "python3"),
            ("python3", "python3"),
            ("python3.11 /srv/app/", "app"),
            ("pypy3 x.py", "x.py"),
            ("sh -c ./a.sh", "sh"),
            ("sh -ec ./a.sh", "sh"),
            ("sh -eu ./a.sh b.c", "a.sh"),
            ("sh -s a.b", "sh"),
            ("sh - a.sh", "a.sh"),
            ("bash -eo pipefail run", "run"),
            ("bash --rcfile /x.rc -O extglob +O nullglob +e run", "run"),
            ("bash --rcfile=/x.rc run", "bash/run"),
            ("bash --norc -- run a.b", "run"),
            ("zsh -f -o extendedglob a.zsh", "a.zsh"),
            ("dash a.sh", "a.sh"),
            ("fish -C /a.fish b.fish", "b.fish"),
            ("fish --command /a.fish b.fish", "fish"),
            ("perl -w -I lib -Mstrict app", "app"),
            ("perl -Ilib app.pl", "app.pl"),
            ("perl -lne print a.txt", "perl"),
            ("perl -pi.bak -e s/a/b/ a.txt", "perl"),
            ("perl -i.bak app.pl a.txt", "app.pl"),
            ("perl -MCPAN -E install a.b", "perl"),
            ("ruby -r json -I lib -W0 app.rb", "app.rb"),
            ("ruby -rjson --enable yjit app.rb", "app.rb"),
            ("ruby -ne puts a.rb", "ruby"),
            ("lua -l mod.a -e x() a.lua", "a.lua"),
            ("lua5.4 -e x.y()", "lua5.4"),
            ("php artisan serve", "artisan"),
            ("php -S 0.0.0.0:80 -t /srv/www router.php", "router.php"),
            ("php -S 0.0.0.0:80 -t /srv/www", "php"),
            ("php -d a.b -f /x/y.php z.w", "y.php"),
            ("php -r echo(1); a.php", "php"),
            ("php --run echo(1); a.php", "php"),
        ]);
    }

    #[test]
    fn other_interpreters_are_read_by_their_own_rules() {
        expect(&[
            ("node -r ./hook.js server", "server"),
            ("node --import ./hook.mjs --inspect-port 9.9 server.js", "server.js"),
            ("node --require ./hook.js --enable-source-maps server.js", "server.js"),
            ("node --max-old-space-size=4096 server.js", "node/server.js"),
            ("node -e console.log(1) a.js", "node"),
            ("node --eval=1 a.js", "node"),
            ("node -pe 1.0", "node"),
            ("node inspect a.js", "a.js"),
            ("node --run build", "build"),
            ("node -", "node"),
            ("deno run -A --config deno.json https://a.test/x/mod.ts", "mod.ts"),
            ("deno serve --port 8.0 main", "main"),
            ("deno main.ts", "main.ts"),
            ("deno task a.b", "deno"),
            ("bun run dev", "dev"),
            ("bun --preload ./a.ts index.ts", "index.ts"),
            ("bun install a/b", "bun"),
            ("bun -e 1.0", "bun"),
            ("java -cp /a/b.jar:/c.jar com.example.Main x.y", "com.example.Main"),
            ("java -Xmx1g -XX:+UseG1GC -jar /opt/app.jar", "app.jar"),
            ("java -Dx=y -jar /opt/app.jar", "java/app.jar"),
            (
                "java -ea -javaagent:/a.jar --add-opens a.b/c.d --module-path /m -m mod.a/mod.a.Main",
                "mod.a.Main",
            ),
            ("java @args.txt --class-path=/a.jar Main", "java/Main"),
            ("java -verbose:gc -server -p /m.d -classpath /c Main", "Main"),
            ("awk -F . {print} a.txt", "awk"),
            ("awk -v a.b -f /x/y.awk a.txt", "y.awk"),
            ("gawk --file=/x/y.awk a.txt", "y.awk"),
            ("tclsh -encoding utf-8 a.tcl", "a.tcl"),
            ("tclsh8.6 a.tcl", "a.tcl"),
            ("guile -L /l -e main -s a.scm b.c", "a.scm"),
            ("guile \\ a.scm", "a.scm"),
            ("guile -c (a.b) a.scm", "guile"),
            ("racket -l racket/base a.rkt", "base"),
            ("racket -W debug a.rkt", "a.rkt"),
            ("racket -e (a.b) a.rkt", "racket"),
            ("clisp -i init.lisp -on-error exit a.lisp", "a.lisp"),
            ("clisp -x (a.b)", "clisp"),
            ("sbcl --core a.core --script x.lisp y.z", "x.lisp"),
            ("sbcl --eval (a.b) --load app.lisp", "app.lisp"),
            ("sbcl --eval (a.b)", "sbcl"),
            ("scm -f a.scm", "a.scm"),
            ("scm -e (a.b) a.scm", "scm"),
            ("cl -L a.lisp", "a.lisp"),
            ("stack --resolver lts-22.0 script --package text a.hs", "a.hs"),
            ("stack build", "stack"),
            ("nix-shell /x/shell.nix", "shell.nix"),
            ("nix-shell -p a.b c.d", "nix-shell"),
            ("ocamlscript a.ml", "a.ml"),
            ("nimrun a.nim", "a.nim"),
            ("curl a.b", "curl"),
        ]);
    }

    #[test]
    fn a_command_line_of_another_program_is_not_read() {
        for (comm, line) in [("python3", "/usr/bin/python3.11"), ("Python", "python"), ("bash", "-bash")] {
            assert!(is_same_interpreter(comm, line.as_bytes()), "{comm} {line}");
        }
        for (comm, line) in [("sh", "python3"), ("python3", ""), ("sh", "/")] {
            assert!(!is_same_interpreter(comm, line.as_bytes()), "{comm} {line}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_command_line_panics(bytes in "[-+@=.a-zX/\\\\ \0\u{17c}]{0,60}", at in 0..INTERPRETERS.len()) {
            for comm in INTERPRETERS[at].names {
                let _ = script_name(comm, bytes.as_bytes());
            }
        }
    }

    #[test]
    fn versions_and_extended_interpreters_are_known() {
        for comm in ["python3.11", "lua5.4", "ruby", "deno", "bun", "dash", "fish", "Python"] {
            assert!(is_interpreter(comm), "{comm}");
        }
        for comm in ["pythonista", "curl", "", "3.11", "showme"] {
            assert!(!is_interpreter(comm), "{comm}");
        }
    }
}
