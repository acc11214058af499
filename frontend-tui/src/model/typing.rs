// SPDX-License-Identifier: GPL-3.0-or-later
//! What becomes of what is typed: a search, a filter, a rule.

use leco_core::model::overseer::Overseer;
use leco_core::query::{self, Query, QueryError};
use leco_os::clean::clean;
use leco_os::clock::BootNs;
use tui_input::{Input, InputRequest};

use crate::input::action::{Alone, Mode, Offer};
use crate::model::history;
use crate::model::rule_editor::{RuleEditor, accept};
use crate::model::state::{Effect, NO_CONFIG, SELECT_FIRST, State};

/// Values of so many of the last lines are offered to complete a filter.
const COMPLETED_FROM: usize = 500;

impl State {
    pub(super) fn accept(&mut self, overseer: &Overseer) -> Effect {
        match self.mode {
            _ if self.is_filtering() && self.prompt.error.is_some() => return Effect::None,
            Mode::HistoryFilter => {
                let Self { history, prompt, .. } = self;
                match history.set_filter(prompt.input.value(), overseer.names()) {
                    Ok(()) => self.mode = Mode::History,
                    Err(error) => prompt.error = Some(error),
                }
                return Effect::None;
            }
            Mode::History => {
                self.notice = self.history.go_into(overseer.names()).err().map(|error| error.message);
                return Effect::None;
            }
            Mode::Filter => {
                self.prompt.input.value().trim().clone_into(&mut self.lines.filter);
                self.lines.keep_typed();
            }
            Mode::EditRule => {
                let Some(editor) = self.editor.as_ref().filter(|editor| !editor.text.trim().is_empty())
                else {
                    return Effect::None;
                };
                self.notice = Some("copied: paste it into the config".into());
                return Effect::Copy(editor.config_text());
            }
            Mode::Confirm => {
                self.mode = Mode::EditRule;
                return Effect::None;
            }
            _ => {}
        }
        self.mode = Mode::List;
        Effect::None
    }

    /// Lets what was typed take effect at once.
    pub(super) fn typed(&mut self, overseer: &Overseer, now: BootNs) {
        let text = self.prompt.input.value().to_owned();
        match self.mode {
            Mode::Search => {
                self.search = text.to_lowercase();
                self.go_to_match(0, overseer, now);
            }
            Mode::Filter => match Query::parse_with(&text, overseer.names()) {
                Ok(query) => {
                    self.prompt.error = None;
                    self.lines.set_typed(Some(query));
                }
                Err(error) => self.prompt.error = Some(error),
            },
            Mode::HistoryFilter => self.prompt.error = history::read(&text, overseer.names()).err(),
            Mode::EditRule => {
                if let Some(editor) = &mut self.editor {
                    editor.set(&text, self.config.as_deref(), overseer);
                }
            }
            _ => {}
        }
    }

    /// Accepts a pair that is marked as new; of any other line, shows its peer alone.
    pub(super) fn accept_or_show_peer(&mut self, overseer: &Overseer, now: BootNs) {
        let line = self.selected(overseer).filter(|line| line.details().is_first_ever);
        let Some(line) = line else { return self.toggle_alone(Alone::Peer, overseer, now) };
        let Some(config) = &self.config else {
            self.notice = Some(NO_CONFIG.into());
            return;
        };
        self.notice = Some(match accept(&line, config, overseer) {
            Ok(style) => format!("accepted, in [rx-style] of {}: {style}", config.display()),
            Err(reason) => reason,
        });
    }

    /// Shows alone what is like the selected line, or everything again.
    pub(super) fn toggle_alone(&mut self, alone: Alone, overseer: &Overseer, now: BootNs) {
        let term = if alone == Alone::Listeners {
            Some("dir:listen".to_owned())
        } else {
            let Some(line) = self.selected(overseer) else {
                self.notice = Some(SELECT_FIRST.into());
                return;
            };
            let details = line.details();
            match alone {
                Alone::Process => term("proc", Some(&details.process)),
                Alone::Unit => term("unit", details.units.first()),
                _ => term("peer", details.peers.first()),
            }
        };
        let Some(term) = term else {
            self.notice = Some("not known of this line".into());
            return;
        };
        let filter = &self.lines.filter;
        let padded = format!(" {filter} ");
        let filter = match padded.find(&format!(" {term} ")) {
            Some(at) => format!("{}{}", &padded[..at], &padded[at + term.len() + 1..]),
            None => format!("{filter} {term}"),
        };
        match self.set_filter(&filter, overseer) {
            Ok(()) => self.lines.show_selection(self.selection, overseer, now),
            Err(error) => self.notice = Some(error.message),
        }
    }

    /// Puts what was pasted where the cursor is, on one line; where nothing is typed it means nothing.
    pub fn paste(&mut self, text: &str, overseer: &Overseer, now: BootNs) {
        if !self.is_typing() {
            return;
        }
        let pasted = text.trim_matches(['\r', '\n']).replace("\r\n", " ");
        let pasted = clean(&pasted.replace(|c: char| c.is_control(), " ")).into_owned();
        let input = &self.prompt.input;
        let at = input.cursor();
        let (before, after) = (input.value().chars().take(at), input.value().chars().skip(at));
        let value = before.chain(pasted.chars()).chain(after).collect();
        self.prompt.input = Input::new(value).with_cursor(at + pasted.chars().count());
        self.typed(overseer, now);
    }

    /// Takes a filter, as if it had been typed; where it cannot be read, the one before stays.
    pub fn set_filter(&mut self, filter: &str, overseer: &Overseer) -> Result<(), QueryError> {
        self.lines.set_query(Query::parse_with(filter, overseer.names())?);
        filter.trim().clone_into(&mut self.lines.filter);
        Ok(())
    }

    /// How the filter that is typed may go on.
    #[must_use]
    pub fn completions(&self, overseer: &Overseer) -> Vec<(String, &'static str)> {
        let text = self.prompt.input.value();
        let seen: Vec<_> = if query::completes_values(text) {
            overseer.known().rev().take(COMPLETED_FROM).map(|line| line.brief_details()).collect()
        } else {
            Vec::new()
        };
        query::completions(text, &seen, overseer.names())
    }

    pub(super) fn complete(&mut self, overseer: &Overseer, now: BootNs) {
        if self.mode == Mode::EditRule
            && let Some(editor) = &mut self.editor
        {
            editor.change_section(self.config.as_deref(), overseer);
        }
        if !self.is_filtering() {
            return;
        }
        let completions = self.completions(overseer);
        let Some((first, _)) = completions.first() else { return };
        // As far as all agree, or all of the first where they part at once.
        let common = completions.iter().skip(1).fold(first.as_str(), |common, (other, _)| {
            let same = common.char_indices().zip(other.chars()).find(|((_, a), b)| a != b);
            &common[..same.map_or(common.len().min(other.len()), |((at, _), _)| at)]
        });
        let more = if common.is_empty() { first.clone() } else { common.to_owned() };
        self.prompt.input.handle(InputRequest::GoToEnd);
        for c in more.chars() {
            self.prompt.input.handle(InputRequest::InsertChar(c));
        }
        self.typed(overseer, now);
    }

    pub(super) fn take_saved(&mut self, by: isize, overseer: &Overseer, now: BootNs) {
        let saved = &overseer.names().filters;
        if !self.is_filtering() || saved.is_empty() {
            return;
        }
        let next = match self.prompt.saved {
            None if by > 0 => 0,
            None => saved.len() - 1,
            Some(at) => at.saturating_add_signed(by).min(saved.len() - 1),
        };
        self.prompt.saved = Some(next);
        self.prompt.input = Input::new(saved[next].1.clone());
        self.typed(overseer, now);
    }

    pub(super) fn offer(&mut self, offer: Offer, overseer: &Overseer) {
        let editor = match (offer, self.selected(overseer)) {
            (Offer::Blank, _) => RuleEditor::blank(overseer),
            (_, Some(line)) => RuleEditor::begin(offer, line.received(), self.config.as_deref(), overseer),
            (_, None) => {
                self.notice = Some(SELECT_FIRST.into());
                return;
            }
        };
        self.prompt.input = Input::new(editor.text.clone());
        self.editor = Some(editor);
        self.pane_offset = 0;
        self.mode = Mode::EditRule;
    }

    /// Appends the rule to the config; one that cannot be kept can be changed, or copied.
    pub(super) fn append(&mut self) {
        let (Some(editor), Some(config)) = (&self.editor, &self.config) else { return };
        let (mode, notice) = match editor.append_to(config) {
            Ok(()) if editor.effect.is_none() => {
                (Mode::List, format!("appended to {}: it would {}", config.display(), editor.effect))
            }
            Ok(()) => (Mode::List, format!("appended to {}", config.display())),
            Err(error) => (Mode::EditRule, error.to_string()),
        };
        (self.mode, self.notice) = (mode, Some(notice));
        if self.mode == Mode::List {
            self.editor = None;
        }
    }
}

/// A term of a filter that asks for this value.
fn term(field: &str, value: Option<&String>) -> Option<String> {
    Some(format!("{field}:{}", query::quoted(value?)?))
}
