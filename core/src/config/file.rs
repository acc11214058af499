// SPDX-License-Identifier: GPL-3.0-or-later
//! A config, read: typed settings, rules, styles and curves, and what could not be used of it.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use leco_os::environment;
use leco_os::files::read_file;
use siphasher::sip::SipHasher13;

use super::keys::{self, SETTINGS};
use super::settings::Settings;
use crate::fade::Points;
use crate::ini::{Diagnostic, Entry, Fault, Header, Ini};
use crate::lists::{Lists, ListsFrom, Loaded};
use crate::query::{Names, Query, QueryError, SavedFilter, WORDS};
use crate::rules::{NoticeRules, RuleSet};
use crate::style::StyleSet;

/// Sections that are no settings: curves by name, and those whose keys are regexes.
const OTHER_SECTIONS: [&str; 7] =
    ["curves", "filters", "lists", "rx-group", "rx-notify", "rx-proc", "rx-style"];
/// A config larger than this is no config: bytes.
pub const MAX_CONFIG_BYTES: u64 = 4 << 20;

/// A config, read.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Where it was read from; none where there is no file.
    pub file: Option<PathBuf>,
    /// Typed settings.
    pub settings: Settings,
    /// Curves of `[curves]`, to which styles refer by index.
    pub curves: Vec<(String, Points)>,
    /// Filters of `[filters]` as they stand there, of which each can be read, and lists of `[lists]`.
    pub names: Names,
    /// Compiled rules.
    pub rules: RuleSet,
    /// Compiled styles.
    pub styles: StyleSet,
    /// What is told of.
    pub notices: NoticeRules,
    /// What could not be used, in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
    /// What of its lists could not be used: a config is good without.
    pub list_diagnostics: Vec<Diagnostic>,
    /// What tells the bytes that it was read from from others; none where there is no file.
    pub fingerprint: Option<Fingerprint>,
}

/// What tells the bytes of one file and of its lists from those of another.
#[derive(Debug, Clone, PartialEq)]
pub struct Fingerprint {
    length: usize,
    hash: u64,
    pub(super) lists: Lists,
}

impl Fingerprint {
    fn of(bytes: &[u8], lists: Lists) -> Self {
        Self { length: bytes.len(), hash: SipHasher13::new().hash(bytes), lists }
    }

    /// Whether the file itself has these bytes.
    pub(super) fn is_of(&self, bytes: &[u8]) -> bool {
        *self == Self::of(bytes, self.lists.clone())
    }
}

/// A file that cannot be read, or is no config at all.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the config {path}: {source}")]
pub struct ConfigError {
    pub(super) path: PathBuf,
    pub(super) source: std::io::Error,
}

impl Config {
    /// Which file is read: the one that was named, else `$XDG_CONFIG_HOME/leco/widget.ini`, which need not
    /// exist.
    #[must_use]
    pub fn path(explicit: Option<&Path>) -> Option<PathBuf> {
        explicit.map(Path::to_owned).or_else(|| {
            let base = environment::folder("XDG_CONFIG_HOME")
                .or_else(|| Some(environment::folder("HOME")?.join(".config")))?;
            Some(base.join("leco/widget.ini"))
        })
    }

    /// Reads the file that was named; without a name the usual one if it exists, else the defaults.
    pub fn load(explicit: Option<&Path>) -> Result<Self, ConfigError> {
        match Self::path(explicit) {
            Some(path) if explicit.is_some() || path.exists() => Self::read(&path),
            _ => Ok(Self::default()),
        }
    }

    /// Reads a file, and the lists that it names.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let bytes = read_bounded(path).map_err(|source| ConfigError { path: path.to_owned(), source })?;
        Ok(Self::parse_with(&bytes, path, ListsFrom::Files(&Lists::default())))
    }

    /// Reads a config's bytes; `file` stands in its diagnostics. Any bytes have a result. Nothing is in its lists.
    #[must_use]
    pub fn parse(bytes: &[u8], file: &Path) -> Self {
        Self::parse_with(bytes, file, ListsFrom::Known(&Lists::default()))
    }

    /// All that could not be used.
    pub fn all_diagnostics(&self) -> impl Iterator<Item = &Diagnostic> {
        self.diagnostics.iter().chain(&self.list_diagnostics)
    }

    pub(super) fn parse_with(bytes: &[u8], file: &Path, lists: ListsFrom<'_>) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let mut faults = Vec::new();
        if let Err(error) = std::str::from_utf8(bytes) {
            let at = error.valid_up_to();
            faults.push(
                Fault::new(at..at + '\u{fffd}'.len_utf8(), "this is not UTF-8")
                    .with_help("save the file in UTF-8"),
            );
        }
        let ini = Ini::parse(&text);
        faults.extend(
            ini.malformed.iter().map(|bad| Fault::new(bad.span.clone(), bad.message).with_help(bad.help)),
        );
        faults.extend(ini.headers.iter().filter_map(unknown_section));
        let mut settings = Settings::default();
        let mut curves = Vec::new();
        let Loaded { lists, faults: bad_lists, unread, skipped } = Lists::load(&ini, file, lists);
        faults.extend(bad_lists);
        // They may name each other in any order.
        let saved = ini.entries.iter().filter(|entry| entry.section == "filters");
        let saved: Vec<SavedFilter> = saved.map(|entry| (entry.key.clone(), entry.value.clone())).collect();
        let all = Names { filters: saved, lists };
        let mut filters = Filters { all: &all, good: Vec::new(), names: Vec::new(), in_circles: Vec::new() };
        for entry in &ini.entries {
            let read = match entry.section.as_str() {
                "" => Err(Fault::new(entry.key_span(), "this key comes before the first section")
                    .with_help("write a [section] above it")),
                "curves" => {
                    keys::curve(entry).map(|points| curves.push((entry.key.to_ascii_lowercase(), points)))
                }
                "filters" => filters.take(entry),
                section if SETTINGS.iter().any(|(name, _)| *name == section) => {
                    keys::set(&mut settings, entry)
                }
                // Rules and styles come below; an unknown section is reported once, at its header.
                _ => Ok(()),
            };
            faults.extend(read.err());
        }
        let (rules, rule_faults) = RuleSet::compile(&ini, &text, &all.lists);
        let (styles, style_faults) = StyleSet::compile(&ini, &curves, &all.lists);
        let (notices, notice_faults) = NoticeRules::compile(&ini, &text, &all.lists);
        faults.extend(rule_faults.into_iter().chain(style_faults).chain(notice_faults));
        faults.sort_by_key(|fault| fault.span.start);
        let diagnostics = faults.into_iter().map(|fault| fault.in_file(file, &text)).collect();
        let unread = unread.into_iter().map(|fault| fault.in_file(file, &text));
        let list_diagnostics = unread.chain(skipped).collect();
        let fingerprint = Some(Fingerprint::of(bytes, all.lists.clone()));
        let names = Names { filters: filters.good, lists: all.lists };
        let file = Some(file.to_owned());
        Self {
            file,
            settings,
            curves,
            names,
            rules,
            styles,
            notices,
            diagnostics,
            list_diagnostics,
            fingerprint,
        }
    }
}

/// Filters of a config as they are read.
struct Filters<'s> {
    /// All that the file has, and its lists.
    all: &'s Names,
    /// Those that can be used.
    good: Vec<SavedFilter>,
    names: Vec<String>,
    /// Names in circles that were reported.
    in_circles: Vec<String>,
}

impl Filters<'_> {
    fn take(&mut self, entry: &Entry) -> Result<(), Fault> {
        let name = &entry.key;
        if self.names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            let message = format!("a filter before this one is called {name}, so this one is never used");
            return Err(
                Fault::new(entry.key_span(), message).with_help("give it another name, or take one out")
            );
        }
        self.names.push(name.clone());
        match Query::parse_with(&entry.value, self.all) {
            Ok(_) => self.good.push((name.clone(), entry.value.clone())),
            // A circle is one fault, wherever it is entered.
            Err(QueryError { circle, .. }) if circle.iter().any(|name| self.in_circles.contains(name)) => {}
            Err(QueryError { span, message, circle }) => {
                self.in_circles.extend(circle);
                return Err(Fault::new(entry.value_span(Some(span)), message));
            }
        }
        match WORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(name)) {
            None => Ok(()),
            Some((word, what)) => {
                let message = format!("{word} without @ is a word of its own: {what}");
                Err(Fault::new(entry.key_span(), message)
                    .with_help(format!("give it another name, so that nobody takes @{name} for it")))
            }
        }
    }
}

fn sections() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().map(|(name, _)| *name).chain(OTHER_SECTIONS)
}

pub(super) fn is_known_section(name: &str) -> bool {
    sections().any(|known| known == name)
}

fn unknown_section(header: &Header) -> Option<Fault> {
    if is_known_section(&header.name) {
        return None;
    }
    let known: Vec<&str> = sections().collect();
    let fault = Fault::new(header.span.clone(), format!("there is no section [{}]", header.name));
    Some(match keys::nearest(&header.name, &known) {
        Some(near) => fault.with_help(format!("did you mean [{near}]?")),
        None => fault.with_help(format!("the sections are {}", known.join(", "))),
    })
}

pub(super) fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    // The usual word for an empty config. All other devices may have no end, and a fifo may have no writer.
    let null = std::fs::metadata("/dev/null").map(|null| null.rdev()).ok();
    if std::fs::metadata(path)
        .is_ok_and(|there| there.file_type().is_char_device() && Some(there.rdev()) == null)
    {
        return Ok(Vec::new());
    }
    Ok(read_file(path, MAX_CONFIG_BYTES)?.0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::config::{LineHeight, WindowFlag, WindowHint};
    use crate::fade::SplineKind;
    use crate::ini::{Rendering, Rgba};

    fn parse(text: &str) -> Config {
        Config::parse(text.as_bytes(), Path::new("w.ini"))
    }

    #[test]
    fn each_fault_is_named_with_its_place_and_the_rest_counts() {
        let text = "stray = 1\n[text]\nline_fade_time = 2m\nline-fade-curve = 0,1\nfont-heigth = 1\nlost\n\
                    [wndow]\na = b\nc = d\n[window]\nrgba-bg = 12345\nflags = resizable shiny\n  borderless\n\
                    font = x\nhints = vsync\n[rx-proc]\n(open = x\n!/a/ = b\na{5000000} = b\nfine = f\n\
                    2`x = 3`y\n[curves]\nslow = 0,100 50,50 50,0\n[rx-style]\nx = fg=red curve=fast\n[run]\n\
                    debug = maybe\nconn-list-cache = 9\n";
        let config = parse(text);
        let shown: Vec<_> = config.diagnostics.iter().map(|fault| fault.render(Rendering::Plain)).collect();
        insta::assert_snapshot!(shown.join("\n"));
        assert_eq!(config.settings.text.line_fade_time, Duration::from_mins(2));
        assert_eq!(config.settings.run.conn_list_cache, 9);
        assert_eq!(config.settings.text.line_fade_curve, Points::default(), "using the default");
        assert_eq!(config.rules.explain("fine").steps.len(), 1);
    }

    #[test]
    fn filters_that_cannot_be_meant_are_told_once() {
        let text = "[filters]\na = @b\nb = @c port:1\nc = @a\nd = @b\nweb = port:443\nWEB = port:80\n\
                    trouble = port:1\nlost = prt:1\nuses = @\"lost\"\n";
        let config = parse(text);
        let told: Vec<_> = config.diagnostics.iter().map(ToString::to_string).collect();
        let expected = [
            "w.ini:2:5: @b -> @c -> @a -> @b is a circle: write out what one of them stands for",
            "w.ini:7:1: a filter before this one is called WEB, so this one is never used",
            "w.ini:8:1: trouble without @ is a word of its own: refused, reset, timed out",
            "w.ini:9:8: there is no field prt;",
            "w.ini:10:8: in the saved filter lost: there is no field prt;",
        ];
        assert_eq!(told.len(), expected.len(), "{told:#?}");
        for (told, expected) in told.iter().zip(expected) {
            assert!(told.starts_with(expected), "{told}");
        }
        let names: Vec<_> = config.names.filters.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["web", "trouble"]);
    }

    #[test]
    fn every_key_takes_its_forms() {
        let text = "[window]\ntitle = a b\ninit-offset-left = -5\nframes-per-second-max = 0.25\nrgba_fg = #abc\n\
                    flags = always-on-top\nhints = vsync=1 override_redirect=0\n[text]\nfont = ~/x.ttf\n\
                    font-shadow = 1,1 -2,2.5,ff000080\nline-height = +10\nline-fade-spline = Natural\n\
                    line-linger-time = 1h\nline-linger-curve = 0,1 1,0\n[run]\nfifo = /x/y\ndebug = ON\n";
        let config = parse(text);
        assert_eq!(config.diagnostics, []);
        let Settings { window, text, run, .. } = config.settings;
        assert_eq!((window.title.as_str(), window.init_offset_left), ("a b", -5));
        assert_eq!(window.rgba_fg, Rgba { red: 0xaa, green: 0xbb, blue: 0xcc, alpha: 255 });
        assert_eq!(window.flags, [WindowFlag::AlwaysOnTop]);
        assert_eq!(window.hints[1], (WindowHint::OverrideRedirect, "0".into()));
        assert_eq!(text.font_shadow.len(), 2);
        assert_eq!(text.font_shadow[1].rgba.alpha, 0x80);
        assert_eq!(text.line_height, LineHeight::Gap(10.0));
        assert_eq!(text.line_fade_spline, SplineKind::Natural);
        assert_eq!(text.line_linger_time, Duration::from_hours(1));
        assert!(run.debug && text.font.is_some_and(|font| !font.starts_with("~")));
        for (form, height) in
            [("20", LineHeight::Pixels(20.0)), ("1.5", LineHeight::Times(1.5)), ("+0", LineHeight::Gap(0.0))]
        {
            assert_eq!(parse(&format!("[text]\nline-height = {form}")).settings.text.line_height, height);
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error() {
        let error = |path: &Path| Config::load(Some(path)).unwrap_err().to_string();
        let missing = error(Path::new("/nonexistent/x.ini"));
        assert!(missing.starts_with("cannot read the config /nonexistent/x.ini: "), "{missing}");
        let folder = tempfile::tempdir().unwrap();
        assert!(error(folder.path()).contains("directory"), "{}", error(folder.path()));
        let large = folder.path().join("large.ini");
        // A file of 100 MB that takes no room.
        std::fs::File::create(&large).unwrap().set_len(100_000_000).unwrap();
        assert!(error(&large).ends_with("it is larger than 4 MiB"), "{}", error(&large));
    }

    #[test]
    fn bytes_that_are_no_text_are_named_and_the_rest_counts() {
        let config =
            Config::parse(b"[run]\ndebug = yes\n# caf\xe9\nconn-list-cache = 5\n", Path::new("w.ini"));
        assert_eq!(config.diagnostics.len(), 1);
        assert_eq!(config.diagnostics[0].to_string(), "w.ini:3:6: this is not UTF-8");
        assert!(config.settings.run.debug && config.settings.run.conn_list_cache == 5);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let config = Config::parse(&bytes, Path::new("w.ini"));
            for diagnostic in &config.diagnostics {
                prop_assert!(!diagnostic.render(Rendering::Coloured).is_empty());
            }
        }

        #[test]
        fn no_setting_panics(
            section in "window|text|run|curves|rx-style|rx-proc|rx-group|rx-notify",
            key in "[a-z-]{0,12}",
            known in 0_usize..26,
            value in "[0-9a-f,.+#=/ -]{0,20}|.{0,20}",
        ) {
            let keys: Vec<&str> = SETTINGS.iter().flat_map(|(_, keys)| keys.iter().copied()).collect();
            let known = keys[known % keys.len()];
            let config = parse(&format!("[{section}]\n{key} = {value}\n{known} = {value}\n"));
            for diagnostic in &config.diagnostics {
                prop_assert!(!diagnostic.render(Rendering::Plain).is_empty());
            }
        }
    }
}
