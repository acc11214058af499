// SPDX-License-Identifier: GPL-3.0-or-later
//! What the config that was read last says, and what it makes of lines.

use std::borrow::Cow;
use std::sync::Arc;

use leco_os::clean::clean;

use crate::config::{Config, Fingerprint, Settings};
use crate::fade::{Curve, Fade};
use crate::model::fader::Fader;
use crate::model::line::{Line, Shown};
use crate::query::Names;
use crate::rules::{NoticeRules, RuleSet, Verdict};
use crate::style::StyleSet;
use crate::wire::details::Peers;
use crate::wire::tag::Tag;

/// What the config that was read last says.
#[derive(Debug)]
pub(super) struct InForce {
    pub(super) settings: Settings,
    pub(super) fingerprint: Option<Fingerprint>,
    pub(super) names: Names,
    pub(super) rules: RuleSet,
    pub(super) styles: StyleSet,
    pub(super) notices: NoticeRules,
    pub(super) fader: Fader,
}

impl From<Config> for InForce {
    fn from(config: Config) -> Self {
        Self {
            fader: fader(&config),
            settings: config.settings,
            fingerprint: config.fingerprint,
            names: config.names,
            rules: config.rules,
            styles: config.styles,
            notices: config.notices,
        }
    }
}

impl InForce {
    /// What rules and styles make of a line and its peers; `None` where it is dropped.
    pub(super) fn show(&mut self, received: &str, peers: &Peers<'_>) -> Option<Shown> {
        let Verdict::Show { line, group } = self.rules.apply_to(received, peers) else { return None };
        // A config may put anything into a line.
        let text: Arc<str> = clean(&line).into();
        let (style, curve) = self.styles.style(&text, peers);
        let text = match self.settings.text.units.of_line(&text) {
            Cow::Borrowed(_) => text,
            Cow::Owned(changed) => changed.into(),
        };
        Some(Shown { text, group: group.map(Arc::from), style, curve })
    }

    /// The tag of a line, with the name of its machine where that is to be shown.
    pub(super) fn tag(&self, line: &Line, host: Option<&str>) -> Arc<Tag> {
        let text = &self.settings.text;
        let (chars, format) = (text.line_uid_chars, &text.line_uid_fmt);
        if let Some(icon) = line.look.style.icon {
            return Arc::new(Tag::icon(icon.as_str(), host));
        }
        Arc::new(match &line.machine.boot {
            Some(boot) => Tag::of_boot(boot, line.life.ns, chars, format, host),
            None => Tag::new(line.life.ns, chars, format, host),
        })
    }
}

fn fader(config: &Config) -> Fader {
    let text = &config.settings.text;
    let fade = |points, time| Fade::new(&Curve::new(points, text.line_fade_spline), time);
    let named = config.curves.iter().map(|(_, points)| fade(points, text.line_fade_time));
    let linger =
        (!text.line_linger_time.is_zero()).then(|| fade(&text.line_linger_curve, text.line_linger_time));
    Fader::new(fade(&text.line_fade_curve, text.line_fade_time), named, linger)
}
