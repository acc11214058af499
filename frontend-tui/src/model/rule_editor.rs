// SPDX-License-Identifier: GPL-3.0-or-later
//! A rule that is tried on what is known before it is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::OpenOptions;
use std::io::Read;
use std::path::Path;

use leco_core::config::{AppendError, MAX_CONFIG_BYTES, NewRule, append};
use leco_core::model::known_line::KnownLine;
use leco_core::model::overseer::Overseer;
use leco_core::model::traffic::Bytes;
use leco_core::rules::{RuleSection, RuleSet, Verdict, as_text, escape, process, process_and_peer};
use leco_core::text::{SEPARATOR, Units};
use leco_core::wire::details::Peers;
use leco_os::clean::clean;
use leco_os::files::open_file;

use crate::input::action::Offer;

/// Changes that are shown, and lines of each that become one.
const SHOWN: usize = 3;

/// What a rule would do to the lines that are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleEffect {
    /// How many there are.
    pub known: usize,
    /// It changes the text of so many.
    pub changed: usize,
    /// It hides so many.
    pub hidden: usize,
    /// It puts so many into a group that they are not in.
    pub merged: usize,
    /// Into so many groups.
    pub groups: BTreeSet<String>,
    /// So many match it, but are taken first by the rule in this line of the config.
    pub taken: Option<(usize, usize)>,
}

impl RuleEffect {
    /// Whether it does nothing to what is known.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.changed + self.hidden + self.merged == 0
    }
}

impl fmt::Display for RuleEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = |count: usize| if count == 1 { "1 line".to_owned() } else { format!("{count} lines") };
        let does: Vec<_> = [
            (self.merged > 0).then(|| format!("merge {} into {}", lines(self.merged), self.groups.len())),
            (self.changed > 0).then(|| format!("change {}", lines(self.changed))),
            (self.hidden > 0).then(|| format!("hide {}", lines(self.hidden))),
        ]
        .into_iter()
        .flatten()
        .collect();
        match does.as_slice() {
            [] => {
                write!(f, "affect none of the {} known lines", self.known)?;
                if let Some((count, rule)) = self.taken {
                    write!(
                        f,
                        ": the rule in line {rule} takes {} first, move this one above it",
                        lines(count)
                    )?;
                }
                Ok(())
            }
            does => f.write_str(&does.join(", ")),
        }
    }
}

/// What a rule would make of lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// Lines as they are shown; of those that become one the latest.
    pub before: Vec<String>,
    /// What they become; nothing where they are hidden.
    pub after: Option<String>,
    /// The group that they are put into.
    group: Option<String>,
}

/// A rule as it is typed, and what it would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleEditor {
    /// The section it belongs to.
    pub section: RuleSection,
    /// `KEY = VALUE`.
    pub text: String,
    /// What is wrong with it.
    pub error: Option<String>,
    /// What it would do to the known lines.
    pub effect: RuleEffect,
    /// What it does to the latest lines that it changes.
    pub examples: Vec<Example>,
}

impl RuleEditor {
    /// Begins with a rule that does this to a line, as it was received.
    pub(crate) fn begin(offer: Offer, received: &str, config: Option<&Path>, overseer: &Overseer) -> Self {
        // Groups look at what was received, names at what the rules before made of it.
        let (section, key, value) = match offer {
            Offer::Hide => (RuleSection::Group, process_and_peer(received).0, String::new()),
            Offer::Rename => {
                let (key, value) = process_and_peer(&as_ruled(received, overseer));
                (RuleSection::Proc, key, value)
            }
            Offer::Group => {
                let process = process(received);
                let name = process.replace(":: ", "").replace(" ::", "");
                (RuleSection::Group, escape(&process), as_text(&name))
            }
            Offer::Blank => return Self::blank(overseer),
        };
        let mut editor = Self { section, ..Self::blank(overseer) };
        let text = format!("{key} = {value}");
        editor.set(text.trim_end(), config, overseer);
        editor
    }

    /// Begins with nothing.
    pub(crate) fn blank(overseer: &Overseer) -> Self {
        Self {
            section: RuleSection::Proc,
            text: String::new(),
            error: None,
            effect: RuleEffect { known: overseer.known().len(), ..RuleEffect::default() },
            examples: Vec::new(),
        }
    }

    /// Puts it into the other section.
    pub(crate) fn change_section(&mut self, config: Option<&Path>, overseer: &Overseer) {
        self.section = self.section.other();
        let text = std::mem::take(&mut self.text);
        self.set(&text, config, overseer);
    }

    /// Whether it is a rule that can be kept.
    pub(crate) fn is_complete(&self) -> bool {
        self.error.is_none() && !self.text.trim().is_empty()
    }

    /// Takes what was typed, and tries it.
    pub(crate) fn set(&mut self, text: &str, config: Option<&Path>, overseer: &Overseer) {
        text.clone_into(&mut self.text);
        self.effect = RuleEffect { known: overseer.known().len(), ..RuleEffect::default() };
        self.examples.clear();
        self.error = None;
        if text.trim().is_empty() {
            return;
        }
        let before = config.and_then(read).unwrap_or_default();
        let file = config.unwrap_or(Path::new("widget.ini"));
        match self.rule().read_after(&before, file, &overseer.names().lists) {
            Ok(mut tried) => self.compare(&mut tried.rules, overseer),
            Err(error) => self.error = Some(error.to_string()),
        }
    }

    fn compare(&mut self, rules: &mut RuleSet, overseer: &Overseer) {
        let effect = &mut self.effect;
        let units = overseer.settings().text.units;
        let own = rules.infos().count().saturating_sub(1);
        // Connections and bytes of each group.
        let mut merged = BTreeMap::<String, (usize, Bytes)>::new();
        for line in overseer.known().rev() {
            let received = line.received();
            let (becomes, group) = match rules.apply(received) {
                Verdict::Show { line, group } => (Some(units.of_line(&clean(&line)).into_owned()), group),
                Verdict::Drop => (None, None),
            };
            if let Some(group) = &group {
                let (connections, bytes) = merged.entry(group.clone()).or_default();
                *connections += line.connections();
                *bytes = bytes.and(line.total());
            }
            // Lines that look as before may still become one.
            let is_merged = group.as_ref().is_some_and(|group| {
                !matches!(overseer.explain(received).verdict,
                    Verdict::Show { group: Some(before), .. } if before == *group)
            });
            let group = group.filter(|_| is_merged);
            if let Some(group) = &group {
                effect.merged += 1;
                effect.groups.insert(group.clone());
            } else if becomes.as_deref() == Some(line.text()) {
                // Of a line's groups only the first counts.
                if self.section == RuleSection::Group && rules.holds(own, received) {
                    let steps = rules.explain(received).steps;
                    let first = steps.iter().find(|step| step.group.is_some());
                    let count = effect.taken.map_or(0, |(count, _)| count);
                    effect.taken = first.map(|step| (count + 1, step.rule_line)).or(effect.taken);
                }
                continue;
            } else if becomes.is_some() {
                effect.changed += 1;
            } else {
                effect.hidden += 1;
            }
            let before = line.text().to_owned();
            let has_room = self.examples.len() < SHOWN;
            match self.examples.iter_mut().find(|example| group.is_some() && example.group == group) {
                Some(example) if example.before.len() < SHOWN => example.before.push(before),
                None if has_room => {
                    self.examples.push(Example { before: vec![before], after: becomes, group });
                }
                _ => {}
            }
        }
        for example in &mut self.examples {
            let group = example.group.as_ref().and_then(|group| merged.get(group));
            if let (Some((connections, bytes)), Some(after)) = (group, &mut example.after) {
                *after = as_one(after, *connections, *bytes, units);
            }
        }
    }

    fn rule(&self) -> NewRule<'_> {
        NewRule { section: self.section.name(), text: &self.text }
    }

    /// As it stands in a config.
    #[must_use]
    pub fn config_text(&self) -> String {
        self.rule().config_text()
    }

    /// Writes it to the end of a config, which is made where there is none.
    pub(crate) fn append_to(&self, config: &Path) -> Result<(), AppendError> {
        append(config, self.rule())
    }
}

/// A style by which the program of a line, as it is shown, is not marked as new with its peer any more, whatever its unit
/// and the peer's port are.
fn accepting(shown: &str) -> String {
    let parts: Vec<&str> = shown.split(SEPARATOR).collect();
    let key = match parts.as_slice() {
        [_time, user, process, .., peer, _traffic] => {
            let process = process.split_once(" [").map_or(*process, |(process, _)| process);
            // Who listens has no peer but a port.
            let peer = if peer.starts_with("listening ") { peer } else { without_port(peer) };
            let begin = escape(&format!(":: {user} :: {process}"));
            format!("{begin}( \\[[^\\]]+\\])? ::( .* ::)? {}( |$)", escape(peer))
        }
        _ => process_and_peer(shown).0,
    };
    format!("{key} = new=no")
}

/// A peer with its mark, without what follows it.
fn without_port(peer: &str) -> &str {
    let begin = if peer.starts_with("<- ") { "<- ".len() } else { 0 };
    peer[begin..].find(' ').map_or(peer, |end| &peer[..begin + end])
}

/// Accepts that the program of a line talks to its peer: appends a style to a config, and returns it. Nothing is written
/// where it would not take the mark away.
pub(crate) fn accept(line: &KnownLine<'_>, config: &Path, overseer: &Overseer) -> Result<String, String> {
    let ruled = as_ruled(line.received(), overseer);
    let text = accepting(&ruled);
    let rule = NewRule { section: "rx-style", text: &text };
    let tried = rule.read_after(&read(config).unwrap_or_default(), config, &overseer.names().lists);
    let tried = tried.map_err(|error| error.to_string())?;
    if !tried.styles.style(&ruled, &Peers::default()).0.is_accepted {
        return Err(
            "this line has no process and peer to accept: write a style of [rx-style] with new=no".into()
        );
    }
    append(config, rule).map_err(|error| error.to_string())?;
    Ok(text)
}

/// A line as rules and styles read it: its amounts are bytes, whatever they are shown in.
fn as_ruled(received: &str, overseer: &Overseer) -> String {
    match overseer.explain(received).verdict {
        Verdict::Show { line, .. } => clean(&line).into_owned(),
        Verdict::Drop => received.to_owned(),
    }
}

/// The line of several connections, as a list shows it.
fn as_one(line: &str, connections: usize, total: Bytes, units: Units) -> String {
    if connections < 2 {
        return line.to_owned();
    }
    let [received, sent] = [total.rx, total.tx].map(|count| units.amount(count));
    let line = match line.rsplit_once(SEPARATOR) {
        Some((line, traffic)) if !traffic.is_empty() && total.total() > 0 => {
            format!("{line}{SEPARATOR}v {received} / {sent} ^")
        }
        _ => line.to_owned(),
    };
    format!("{} ×{connections}", line.trim_end())
}

/// What stands in a config now. Only a file is read: a fifo would be waited for.
fn read(config: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = open_file(config, OpenOptions::new().read(true)).ok()??;
    file.take(MAX_CONFIG_BYTES).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use leco_core::config::Config;

    use super::*;

    const LINE: &str = "18:34 :: me :: fire(fox [app.x] :: example.org 443 !reset :: v 1B / 2B ^";

    fn overseer() -> Overseer {
        let mut overseer = Overseer::new(Config::default());
        for (ns, line) in [(1, LINE), (2, "18:34 :: me :: ssh :: nas 22 :: ")] {
            let event = serde_json::json!({"ns": ns, "ns_trx": ns, "line": line}).to_string();
            overseer.receive(event.as_bytes(), 5);
        }
        overseer
    }

    #[test]
    fn offered_rules_do_what_they_say() {
        let overseer = overseer();
        let begin = |offer| RuleEditor::begin(offer, LINE, None, &overseer);
        let group = begin(Offer::Group);
        assert_eq!(
            (group.error.as_deref(), group.effect.merged, group.effect.to_string().as_str()),
            (None, 1, "merge 1 line into 1")
        );
        let rename = begin(Offer::Rename);
        assert_eq!(
            (rename.text.as_str(), rename.error.as_deref()),
            (
                ":: fire\\(fox \\[app\\.x\\] :: example\\.org 443( !\\w+)? :: = \
                 :: fire(fox [app.x] :: example.org 443$1 ::",
                None
            )
        );
    }

    #[test]
    fn a_rule_does_the_same_whatever_amounts_are_shown_in() {
        for settings in ["", "[text]\nunits = bits\n"] {
            let config = format!("{settings}[rx-group]\n:: taken :: = one\n");
            let mut overseer = Overseer::new(Config::parse(config.as_bytes(), Path::new("w.ini")));
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("widget.ini");
            fs::write(&file, &config).unwrap();
            for (ns, process) in (1..).zip(["ssh", "curl", "taken", "nc"]) {
                let line = format!("18:34 :: me :: {process} :: nas {ns} :: v 1K / 2K ^");
                let event = serde_json::json!({"ns": ns, "ns_trx": ns, "line": line, "rx": 1024, "tx": 2048});
                overseer.receive(event.to_string().as_bytes(), 5);
            }
            overseer.receive(br#"{"ns":5,"ns_trx":5,"line":"18:34 :: me :: v 1K / 2K ^"}"#, 5);
            let effect = |section, text: &str| {
                let mut editor = RuleEditor { section, ..RuleEditor::blank(&overseer) };
                editor.set(text, Some(&file), &overseer);
                editor.effect.to_string()
            };
            assert_eq!(RuleEditor::blank(&overseer).effect.to_string(), "affect none of the 5 known lines");
            assert_eq!(effect(RuleSection::Proc, ""), "affect none of the 5 known lines");
            assert_eq!(effect(RuleSection::Group, "nothing ="), "affect none of the 5 known lines");
            assert_eq!(effect(RuleSection::Group, ":: ssh :: ="), "hide 1 line");
            assert_eq!(effect(RuleSection::Proc, "v 1K = v 2K"), "change 5 lines");
            assert!(effect(RuleSection::Group, "me :: taken :: =").contains("takes 1 line first"));
            let short = overseer.known().next_back().unwrap();
            let rename = RuleEditor::begin(Offer::Rename, short.received(), Some(&file), &overseer);
            assert!(rename.text.ends_with(" = 18:34 :: me :: v 1K / 2K ^"), "{}", rename.text);
            let mut group = RuleEditor { section: RuleSection::Group, ..RuleEditor::blank(&overseer) };
            group.set("nas = nas", Some(&file), &overseer);
            let after = group.examples[0].after.as_deref().unwrap();
            let amounts = if settings.is_empty() { "v 3K / 6K ^ ×3" } else { "v 25kb / 49kb ^ ×3" };
            assert!(after.ends_with(amounts), "{after}");
        }
    }

    #[test]
    fn the_rule_that_hides_a_line_matches_it_however_its_connection_stands() {
        let config = "[rx-group]\n:: merged :: = one\n";
        let mut overseer = Overseer::new(Config::parse(config.as_bytes(), Path::new("w.ini")));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("widget.ini");
        fs::write(&file, config).unwrap();
        let lines = [
            ("curl :: a.test 443 :: ", ":: curl :: a\\.test 443 ::", "hide 1 line"),
            (
                "ssh :: b.test 22 !refused :: v 1B / 2B ^",
                ":: ssh :: b\\.test 22( !\\w+)? ::",
                "hide 2 lines",
            ),
            ("ssh :: b.test 22 :: v 1K / 2B ^", ":: ssh :: b\\.test 22 ::", "hide 1 line"),
            ("nginx :: listening [::] 8080 :: ", ":: nginx :: listening \\[::\\] 8080 ::", "hide 1 line"),
            (
                "sshd :: listening 0.0.0.0 22/udp !closed :: ",
                ":: sshd :: listening 0\\.0\\.0\\.0 22/udp( !\\w+)? ::",
                "hide 1 line",
            ),
            ("sshd :: <- 192.0.2.1 22 :: ", ":: sshd :: <\\- 192\\.0\\.2\\.1 22 ::", "hide 1 line"),
            (
                "a !b :: 10.0.0.1 4000 :: c 1 !timeout :: ",
                ":: a !b :: 10\\.0\\.0\\.1 4000 :: c 1( !\\w+)? ::",
                "hide 1 line",
            ),
            (
                "merged :: d.test 1 :: ",
                ":: merged :: d\\.test 1 ::",
                "affect none of the 8 known lines: the rule in line 2 takes 1 line first, move this one above it",
            ),
        ]
        .map(|(line, key, effect)| (format!("18:34 :: me :: {line}"), key, effect));
        for (ns, (line, ..)) in (1..).zip(&lines) {
            let event = serde_json::json!({"ns": ns, "ns_trx": ns, "line": line}).to_string();
            overseer.receive(event.as_bytes(), 5);
        }
        for (line, key, effect) in &lines {
            let editor = RuleEditor::begin(Offer::Hide, line, Some(&file), &overseer);
            assert_eq!((editor.text.as_str(), &editor.error), (format!("{key} =").as_str(), &None));
            assert_eq!(editor.effect.to_string(), *effect, "{line}");
        }
    }

    #[test]
    fn lines_that_become_one_are_shown_as_one() {
        let mut overseer = overseer();
        for ns in 3..=6 {
            let line = format!("18:34 :: me :: fire(fox [app.x] :: host{ns} 443 :: v 1K / 2K ^");
            let event = serde_json::json!({"ns": ns, "ns_trx": ns, "line": line, "rx": 1024, "tx": 2048});
            overseer.receive(event.to_string().as_bytes(), 7);
        }
        let editor = RuleEditor::begin(Offer::Group, LINE, None, &overseer);
        let [example] = editor.examples.as_slice() else { panic!("{editor:?}") };
        assert_eq!((editor.effect.merged, example.before.len()), (5, SHOWN));
        let after = example.after.as_deref().unwrap();
        assert_eq!(after, "18:34 :: me :: fire(fox [app.x] :: host6 443 :: v 4K / 8K ^ ×5");
        assert_eq!(
            as_one("18:34 :: me :: nc :: nas 22 :: ", 2, Bytes::default(), Units::Bytes),
            "18:34 :: me :: nc :: nas 22 :: ×2"
        );
    }

    #[test]
    fn a_name_that_looks_like_a_reference_stays_as_it_is() {
        let line = "18:34 :: me :: $x \\1 \\n ${y} :: nas 22 :: ";
        let mut overseer = Overseer::new(Config::default());
        overseer.receive(serde_json::json!({"ns": 1, "ns_trx": 1, "line": line}).to_string().as_bytes(), 5);
        let editor = RuleEditor::begin(Offer::Rename, line, None, &overseer);
        assert!(editor.text.ends_with("= :: $$x \\\\1 \\\\n $${y} :: nas 22 ::"), "{}", editor.text);
        assert!(editor.error.unwrap().contains("by the same text"));
    }

    #[test]
    fn what_the_config_would_not_have_as_a_rule_cannot_be_kept() {
        let overseer = overseer();
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("widget.ini");
        fs::write(&config, "[text]\n").unwrap();
        let mut editor = RuleEditor::blank(&overseer);
        for text in
            ["#foo = bar", "; foo", "[text]", " = x", "  foo = bar", "a = b # c", "a = \\U$0", "", "  "]
        {
            editor.set(text, Some(&config), &overseer);
            assert!(!editor.is_complete(), "{text:?}");
            // The file may be another one by the time that this is asked for.
            editor.append_to(&config).unwrap_err();
        }
        assert_eq!(fs::read_to_string(&config).unwrap(), "[text]\n");
        let comment = RuleEditor::begin(Offer::Hide, "; x", Some(&config), &overseer);
        assert_eq!((comment.text.as_str(), comment.error), ("[;] x =", None));
    }

    #[test]
    fn an_accepted_pair_is_not_marked_again_whatever_its_port_and_unit() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("widget.ini");
        for (line, same, others) in [
            (
                "me :: fire(fox [app.x] :: a.test 443 !reset :: v 1B / 2B ^",
                "me :: fire(fox [app.y] :: a.test 80/udp :: ",
                ["root :: fire(fox [app.x] :: a.test 443 :: ", "me :: fire(fox :: a.test.b 443 :: "],
            ),
            (
                "me :: sshd :: <- 192.0.2.1 22 :: ",
                "me :: sshd [ssh] :: wg0 DE :: <- 192.0.2.1 2222 :: ",
                ["me :: sshd :: 192.0.2.1 22 :: ", "me :: sshd :: <- 192.0.2.10 22 :: "],
            ),
            (
                "me :: nc :: listening 0.0.0.0 8080 :: ",
                "me :: nc :: listening 0.0.0.0 8080 !closed :: ",
                ["me :: nc :: listening 0.0.0.0 80 :: ", "me :: ncat :: listening 0.0.0.0 8080 :: "],
            ),
        ] {
            let mut overseer = Overseer::with_list(Config::default(), "");
            for (ns, line) in (1..).zip([line, same, others[0], others[1]]) {
                let line = format!("18:34 :: {line}");
                let event = serde_json::json!({"ns": ns, "ns_trx": ns, "line": line, "new": true});
                overseer.receive(event.to_string().as_bytes(), 5);
            }
            let first = overseer.known().next().unwrap();
            let style = accept(&first, &config, &overseer).unwrap();
            assert!(fs::read_to_string(&config).unwrap().ends_with(&format!("{style}\n")), "{style}");
            overseer.reload(Config::read(&config).unwrap());
            let marks: Vec<_> = overseer.known().map(|line| line.details().is_first_ever).collect();
            assert_eq!(marks, [false, false, true, true], "{style}");
        }
    }

    #[test]
    fn a_rule_is_tried_as_it_is_typed_and_kept_at_the_end() {
        let overseer = overseer();
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("leco/widget.ini");
        let mut editor = RuleEditor::begin(Offer::Hide, LINE, Some(&config), &overseer);
        editor.set("/ssh/ =", Some(&config), &overseer);
        assert_eq!((editor.error.as_deref(), editor.effect.hidden, editor.effect.changed), (None, 1, 0));
        assert_eq!(
            editor.examples,
            [Example { before: vec!["18:34 :: me :: ssh :: nas 22 :: ".into()], after: None, group: None }]
        );
        editor.set("(ssh =", Some(&config), &overseer);
        assert!(editor.error.as_ref().unwrap().contains("never closed"), "{editor:?}");
        editor.set("/ssh/ =", Some(&config), &overseer);
        editor.append_to(&config).unwrap();
        let again = editor.append_to(&config).unwrap_err().to_string();
        assert!(again.contains("the rule in line 3 has the same key"), "{again}");
        assert_eq!(fs::read_to_string(&config).unwrap(), "\n[rx-group]\n/ssh/ =\n");
        assert!(Config::read(&config).unwrap().diagnostics.is_empty());
    }
}
