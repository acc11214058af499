//! The config file: typed settings and rules, and what could not be used of it.

pub mod ini;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::ini::{Entry, Ini};
use crate::fade::{Curve, DEFAULT_CURVE};
use crate::rules::RuleSet;
use crate::text::parse_duration;

/// What the frontends share; every default stands in [`Settings::default`].
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where events come from.
    pub fifo: PathBuf,
    /// Connections (or groups) that are remembered, shown or not.
    pub conn_list_cache: usize,
    /// Print raw events and what became of them.
    pub debug: bool,
    /// How long a line takes to its end value.
    pub line_fade_time: Duration,
    /// Opacity over that time.
    pub line_fade_curve: Curve,
    /// Characters of a line's tag.
    pub line_uid_chars: usize,
    /// Form of the tag, `$1` being its characters.
    pub line_uid_fmt: String,
}

impl Default for Settings {
    fn default() -> Self {
        #[allow(clippy::expect_used)]
        let line_fade_curve = Curve::parse(DEFAULT_CURVE).expect("the default curve is a curve");
        Self {
            fifo: default_fifo(),
            conn_list_cache: 200,
            debug: false,
            line_fade_time: Duration::from_mins(1),
            line_fade_curve,
            line_uid_chars: 3,
            line_uid_fmt: "#$1".into(),
        }
    }
}

/// `leco.fifo` in the user's runtime folder, in `/tmp` where there is none.
fn default_fifo() -> PathBuf {
    std::env::var_os("XDG_RUNTIME_DIR").map_or_else(|| "/tmp".into(), PathBuf::from).join("leco.fifo")
}

/// A key or line that could not be used: the default stays and the rest of the file counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// File, as it was named.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1, where it is known.
    pub column: Option<usize>,
    /// What is wrong, and what was expected.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", self.file.display(), self.line)?;
        if let Some(column) = self.column {
            write!(f, "{column}:")?;
        }
        write!(f, " {}", self.message)
    }
}

/// A config, read.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Where it was read from; none where there is no file.
    pub file: Option<PathBuf>,
    /// Typed settings.
    pub settings: Settings,
    /// Compiled rules.
    pub rules: RuleSet,
    /// What could not be used.
    pub warnings: Vec<Warning>,
}

/// A file that cannot be read, or is no config at all.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the config {path}: {source}")]
pub struct ConfigError {
    path: PathBuf,
    source: std::io::Error,
}

/// A config larger than this is no config: bytes.
const MAX_CONFIG_BYTES: u64 = 4 << 20;

/// Keys of the overlay's window, which this frontend leaves to it.
const WINDOW_KEYS: [&str; 12] = [
    "title",
    "init-offset-left",
    "init-offset-top",
    "init-width",
    "init-height",
    "pad-x",
    "pad-y",
    "frames-per-second-max",
    "rgba-bg",
    "rgba-fg",
    "flags",
    "hints",
];
/// Keys of the overlay's text.
const OVERLAY_TEXT_KEYS: [&str; 4] = ["font", "font-height", "font-shadow", "line-height"];

impl Config {
    /// Reads a file; without one, `$XDG_CONFIG_HOME/leco/widget.ini` if it exists, else the defaults.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = path.map(Path::to_owned).or_else(|| default_path().filter(|path| path.exists()))
        else {
            return Ok(Self::default());
        };
        let text = read_bounded(&path).map_err(|source| ConfigError { path: path.clone(), source })?;
        Ok(Self::parse(&text, &path))
    }

    /// Reads a config's text; `file` stands in its warnings.
    #[must_use]
    pub fn parse(text: &str, file: &Path) -> Self {
        let ini = Ini::parse(text);
        let warning = |line, column, message| Warning { file: file.to_owned(), line, column, message };
        let mut settings = Settings::default();
        let mut warnings: Vec<_> =
            ini.malformed.iter().map(|fault| warning(fault.line, None, fault.message.clone())).collect();
        for entry in &ini.entries {
            if let Err(message) = settings.set(entry) {
                warnings.push(warning(entry.line, None, message));
            }
        }
        let (rules, faults) = RuleSet::compile(&ini);
        warnings.extend(faults.into_iter().map(|fault| warning(fault.line, fault.column, fault.message)));
        warnings.sort_by_key(|warning| warning.line);
        Self { file: Some(file.to_owned()), settings, rules, warnings }
    }
}

fn read_bounded(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_CONFIG_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_CONFIG_BYTES {
        return Err(std::io::Error::other(format!("it is larger than {} MiB", MAX_CONFIG_BYTES >> 20)));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn default_path() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".config")))?;
    Some(base.join("leco/widget.ini"))
}

impl Settings {
    fn set(&mut self, entry: &Entry) -> Result<(), String> {
        let key = entry.key.replace('_', "-");
        let value = entry.value.as_str();
        let bad = |expected: &str| format!("{key} = {value}: expected {expected}");
        match (entry.section.as_str(), key.as_str()) {
            ("run", "fifo") => self.fifo = expand(value),
            ("run", "conn-list-cache") => {
                self.conn_list_cache = value.parse().map_err(|_| bad("a number of connections"))?;
            }
            ("run", "debug") => self.debug = parse_bool(value).ok_or_else(|| bad("yes or no"))?,
            ("text", "line-fade-time") => {
                self.line_fade_time = parse_duration(value).map_err(|error| format!("{key}: {error}"))?;
            }
            ("text", "line-fade-curve") => {
                self.line_fade_curve = Curve::parse(value).map_err(|error| format!("{key}: {error}"))?;
            }
            ("text", "line-uid-chars") => {
                self.line_uid_chars = value
                    .parse()
                    .ok()
                    .filter(|count| *count <= 11)
                    .ok_or_else(|| bad("a number from 0 to 11"))?;
            }
            ("text", "line-uid-fmt") => value.clone_into(&mut self.line_uid_fmt),
            ("window", key) if WINDOW_KEYS.contains(&key) => {}
            ("text", key) if OVERLAY_TEXT_KEYS.contains(&key) => {}
            (section, _) if ini::RULE_SECTIONS.contains(&section) => {}
            ("window" | "text" | "run", _) => {
                return Err(format!("there is no key {key} in [{}]", entry.section));
            }
            (section, _) => {
                return Err(format!(
                    "there is no section [{section}], expected window, text, run, rx-proc or rx-group"
                ));
            }
        }
        Ok(())
    }
}

fn parse_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "y" | "yes" | "true" | "1" | "on" => Some(true),
        "n" | "no" | "false" | "0" | "off" => Some(false),
        _ => None,
    }
}

/// Replaces a leading `~/` and `$XDG_RUNTIME_DIR/`.
fn expand(path: &str) -> PathBuf {
    let below = |prefix: &str, variable: &str| {
        let rest = path.strip_prefix(prefix)?;
        Some(PathBuf::from(std::env::var_os(variable)?).join(rest))
    };
    below("~/", "HOME")
        .or_else(|| below("$XDG_RUNTIME_DIR/", "XDG_RUNTIME_DIR"))
        .unwrap_or_else(|| path.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_named_with_its_place_and_the_rest_counts() {
        let text = "[text]\nline_fade_time = 2m\nline-fade-curve = 0,1\nnonsense = 1\nstray\n[wndow]\na = b\n\
                    [rx-proc]\n(open = x\n!/a/ = b\nfine = f\n[run]\ndebug = maybe\nconn-list-cache = 9\n";
        let config = Config::parse(text, Path::new("w.ini"));
        let shown: Vec<_> = config.warnings.iter().map(ToString::to_string).collect();
        let starts = ["w.ini:3:", "w.ini:4:", "w.ini:5:", "w.ini:7:", "w.ini:9:", "w.ini:10:", "w.ini:13:"];
        assert_eq!(shown.len(), starts.len(), "{shown:#?}");
        for (warning, start) in shown.iter().zip(starts) {
            assert!(warning.starts_with(start), "{warning}");
        }
        assert_eq!(config.settings.line_fade_time, Duration::from_mins(2));
        assert_eq!(config.settings.conn_list_cache, 9);
        assert!(config.settings.line_fade_curve.opacity(1.0) < 1e-9, "the default stays");
        assert_eq!(config.rules.explain("fine").steps.len(), 1);
    }

    #[test]
    fn a_missing_explicit_file_is_an_error_and_a_missing_default_is_none() {
        let error = Config::load(Some(Path::new("/nonexistent/x.ini"))).unwrap_err().to_string();
        assert!(error.starts_with("cannot read the config /nonexistent/x.ini: "), "{error}");
    }
}
