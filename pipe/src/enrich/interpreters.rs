// SPDX-License-Identifier: GPL-3.0-or-later
//! Interpreters, and how each reads its arguments: from their manuals.

/// How an interpreter reads its arguments. Options of one letter may stand together (`-Im`) and have their value
/// right behind them (`-W` `ignore` or `-Wignore`). Long ones have two dashes, or one (`-cp`).
pub(super) struct Interpreter {
    /// Names, to which a version may be added: `python3.11`.
    pub(super) names: &'static [&'static str],
    /// Letters of options after which no script comes: they have what is to be run, or need none.
    pub(super) ends: &'static str,
    /// Letters of options whose value is what is run.
    pub(super) runs: &'static str,
    /// Letters of options with a value.
    pub(super) takes: &'static str,
    /// Letters of options to which the rest of the argument belongs, and no further argument.
    pub(super) rests: &'static str,
    /// The same for options of more than one letter.
    pub(super) long_ends: &'static [&'static str],
    pub(super) long_runs: &'static [&'static str],
    pub(super) long_takes: &'static [&'static str],
    /// Words before the script, which may have more options between them.
    pub(super) commands: &'static [&'static str],
    /// What an argument that is no option can be.
    pub(super) operand: Operand,
    /// Arguments that begin so are none to the interpreter.
    pub(super) skipped: &'static [u8],
    /// `-` alone ends the options, instead of naming the standard input.
    pub(super) has_dash: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Operand {
    /// The script.
    Script,
    /// The script where it can be a file: has a `.` or `/`, or a command stood before it.
    File,
    /// Never the script.
    None,
}

const PLAIN: Interpreter = Interpreter {
    names: &[],
    ends: "",
    runs: "",
    takes: "",
    rests: "",
    long_ends: &[],
    long_runs: &[],
    long_takes: &[],
    commands: &[],
    operand: Operand::Script,
    skipped: b"",
    has_dash: false,
};

pub(super) const INTERPRETERS: &[Interpreter] = &[
    Interpreter {
        names: &["python", "pypy"],
        ends: "c",
        runs: "m",
        takes: "WX",
        long_takes: &["check-hash-based-pycs"],
        ..PLAIN
    },
    Interpreter {
        names: &["sh", "bash", "dash", "zsh"],
        ends: "cs",
        takes: "oO",
        long_takes: &["rcfile", "init-file", "emulate"],
        has_dash: true,
        ..PLAIN
    },
    Interpreter {
        names: &["fish"],
        ends: "c",
        takes: "Cdofp",
        long_ends: &["command"],
        long_takes: &["init-command", "debug", "debug-output", "features", "profile", "profile-startup"],
        ..PLAIN
    },
    Interpreter { names: &["perl"], ends: "eE", takes: "I", rests: "CDFMVdimx", ..PLAIN },
    Interpreter {
        names: &["ruby"],
        ends: "e",
        takes: "CEIr",
        rests: "FKTWix",
        long_takes: &[
            "backtrace-limit",
            "disable",
            "enable",
            "encoding",
            "external-encoding",
            "internal-encoding",
            "parser",
        ],
        ..PLAIN
    },
    // Chunks of `-e` run before the script.
    Interpreter { names: &["lua"], takes: "el", ..PLAIN },
    Interpreter {
        names: &["php"],
        ends: "BERr",
        runs: "fF",
        takes: "cdStz",
        long_ends: &["run", "process-begin", "process-code", "process-end"],
        long_runs: &["file", "process-file"],
        long_takes: &["define", "docroot", "php-ini", "server", "zend-extension"],
        ..PLAIN
    },
    Interpreter {
        names: &["node"],
        ends: "ep",
        takes: "Cr",
        long_ends: &["eval", "print"],
        long_runs: &["run"],
        long_takes: &[
            "conditions",
            "cpu-prof-dir",
            "cpu-prof-interval",
            "cpu-prof-name",
            "debug-port",
            "diagnostic-dir",
            "disable-warning",
            "dns-result-order",
            "env-file",
            "env-file-if-exists",
            "experimental-default-type",
            "experimental-loader",
            "heap-prof-dir",
            "heap-prof-interval",
            "heap-prof-name",
            "icu-data-dir",
            "import",
            "input-type",
            "inspect-port",
            "loader",
            "localstorage-file",
            "max-http-header-size",
            "openssl-config",
            "redirect-warnings",
            "report-directory",
            "report-dir",
            "report-filename",
            "report-signal",
            "require",
            "secure-heap",
            "secure-heap-min",
            "test-concurrency",
            "test-name-pattern",
            "test-reporter",
            "test-reporter-destination",
            "test-shard",
            "test-timeout",
            "title",
            "tls-cipher-list",
            "tls-keylog",
            "trace-event-categories",
            "trace-event-file-pattern",
            "unhandled-rejections",
            "watch-path",
        ],
        commands: &["inspect", "debug"],
        ..PLAIN
    },
    Interpreter {
        names: &["deno"],
        takes: "cL",
        long_takes: &["cert", "config", "ext", "host", "import-map", "location", "log-level", "port", "seed"],
        commands: &["run", "serve", "test", "bench"],
        operand: Operand::File,
        ..PLAIN
    },
    Interpreter {
        names: &["bun"],
        ends: "ep",
        takes: "cdlr",
        long_ends: &["eval", "print"],
        long_takes: &[
            "conditions",
            "config",
            "cwd",
            "define",
            "env-file",
            "filter",
            "import",
            "loader",
            "port",
            "preload",
            "require",
            "shell",
            "tsconfig-override",
        ],
        commands: &["run"],
        operand: Operand::File,
        ..PLAIN
    },
    Interpreter {
        names: &["java"],
        runs: "m",
        takes: "p",
        // `-Dname=value`, `-XX:…`, `-agentlib:…`.
        rests: "DXadesv",
        long_runs: &["jar", "module"],
        long_takes: &[
            "add-exports",
            "add-modules",
            "add-opens",
            "add-reads",
            "class-path",
            "classpath",
            "cp",
            "enable-native-access",
            "limit-modules",
            "module-path",
            "patch-module",
            "source",
            "upgrade-module-path",
        ],
        // Files with more arguments.
        skipped: b"@",
        ..PLAIN
    },
    // The program is the first argument, unless it is in a file.
    Interpreter {
        names: &["awk", "gawk", "mawk"],
        ends: "e",
        runs: "fE",
        takes: "Filv",
        long_ends: &["source"],
        long_runs: &["exec", "file"],
        long_takes: &["assign", "field-separator", "include", "load"],
        operand: Operand::None,
        ..PLAIN
    },
    Interpreter { names: &["tcl", "tclsh"], long_takes: &["encoding"], ..PLAIN },
    Interpreter {
        names: &["guile"],
        ends: "c",
        runs: "s",
        takes: "CLelx",
        // What the first line of a script ends with has more arguments.
        skipped: b"\\",
        ..PLAIN
    },
    Interpreter {
        names: &["racket"],
        ends: "e",
        runs: "fklprtu",
        takes: "AGILNORSWX",
        long_ends: &["eval"],
        long_runs: &["lib", "load", "require", "require-script", "script"],
        long_takes: &["addon", "collects", "config", "name", "search", "stderr", "stdout", "syslog"],
        ..PLAIN
    },
    Interpreter {
        names: &["clisp"],
        ends: "x",
        runs: "c",
        takes: "BEKLMNimp",
        long_takes: &["on-error"],
        ..PLAIN
    },
    Interpreter {
        names: &["sbcl"],
        long_runs: &["load", "script"],
        long_takes: &[
            "control-stack-size",
            "core",
            "dynamic-space-size",
            "eval",
            "sysinit",
            "tls-limit",
            "userinit",
        ],
        operand: Operand::None,
        ..PLAIN
    },
    Interpreter { names: &["scm"], ends: "ces", runs: "fl", takes: "adhopr", ..PLAIN },
    Interpreter {
        names: &["cl"],
        runs: "L",
        takes: "Hdfilpsw",
        long_runs: &["load"],
        long_takes: &["init", "lisp", "package", "system"],
        operand: Operand::File,
        ..PLAIN
    },
    Interpreter {
        names: &["stack"],
        long_takes: &["compiler", "package", "resolver", "snapshot", "stack-root", "stack-yaml", "work-dir"],
        commands: &["exec", "ghc", "runghc", "runhaskell", "script"],
        operand: Operand::File,
        ..PLAIN
    },
    // What follows `-p` are packages.
    Interpreter {
        names: &["nix-shell"],
        ends: "pE",
        takes: "AIij",
        long_ends: &["command", "expr", "packages", "run"],
        long_takes: &["arg", "argstr", "attr", "cores", "include", "keep", "max-jobs", "option"],
        operand: Operand::File,
        ..PLAIN
    },
    Interpreter { names: &["nimrun", "ocamlscript"], ..PLAIN },
];
