// SPDX-License-Identifier: GPL-3.0-or-later
//! The opacity of a line, from all that has a say in it.

use crate::fade::Fade;
use crate::model::machines::OurNs;

/// The curve a line fades by, its time since the last update, and the cap on long-lived connections.
#[derive(Debug, Clone)]
pub(crate) struct Fader {
    /// The usual curve, then those of `[curves]`.
    fades: Vec<Fade>,
    linger: Option<Fade>,
}

/// What of a line its opacity depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// First event.
    pub(crate) first: OurNs,
    /// Latest update.
    pub(crate) updated: OurNs,
    /// Index of its curve in `[curves]`.
    pub(crate) curve: Option<usize>,
}

impl Fader {
    pub(crate) fn new(usual: Fade, named: impl Iterator<Item = Fade>, linger: Option<Fade>) -> Self {
        Self { fades: std::iter::once(usual).chain(named).collect(), linger }
    }

    fn fade(&self, times: Times) -> &Fade {
        let index = times.curve.map_or(0, |curve| curve + 1);
        self.fades.get(index).unwrap_or(&self.fades[0])
    }

    /// Whether a line's alpha will stay as it is.
    fn is_last(&self, times: Times, now: OurNs) -> bool {
        let fade = self.fade(times).next_change(age(times.updated, now));
        let linger = self.linger.as_ref().and_then(|linger| linger.next_change(age(times.first, now)));
        fade.or(linger).is_none()
    }

    /// Alpha (0–255) of a line now.
    pub(crate) fn alpha(&self, times: Times, now: OurNs) -> u8 {
        let alpha = self.fade(times).alpha(age(times.updated, now));
        let cap = self.linger.as_ref().map(|linger| linger.alpha(age(times.first, now)));
        cap.map_or(alpha, |cap| cap.min(alpha))
    }

    /// Alpha to draw now, where it may be off by a tolerance: that of the next step if it comes soon, so that
    /// what is drawn is right for longer.
    pub(crate) fn alpha_ahead(&self, times: Times, now: OurNs, tolerance: u8) -> u8 {
        /// A step further away than this is not drawn before its time.
        const AHEAD_NS: u64 = 500_000_000;
        let alpha = self.alpha(times, now);
        let Some(next) = self.next_change(times, now).filter(|next| *next <= AHEAD_NS && tolerance > 0)
        else {
            return alpha;
        };
        let ahead = self.alpha(times, now.saturating_add_unsigned(next));
        if ahead.abs_diff(alpha) <= tolerance && ahead > 0 { ahead } else { alpha }
    }

    /// Time in ns until the line becomes invisible; `None` if it never does.
    pub(crate) fn gone_in(&self, times: Times, now: OurNs) -> Option<u64> {
        let left = |fade: &Fade, since| Some(fade.gone_from()?.saturating_sub(age(since, now)));
        let linger = self.linger.as_ref().and_then(|linger| left(linger, times.first));
        left(self.fade(times), times.updated).into_iter().chain(linger).min()
    }

    /// Time in ns until the line's alpha changes; `None` when it stays.
    pub(crate) fn next_change(&self, times: Times, now: OurNs) -> Option<u64> {
        self.next_beyond(times, now, self.alpha(times, now), 0)
    }

    /// Time in ns until the line's alpha differs from the one that is drawn by more than the tolerance;
    /// `None` when it never will.
    pub(crate) fn next_beyond(&self, times: Times, now: OurNs, drawn: u8, tolerance: u8) -> Option<u64> {
        let is_beyond = |alpha: u8| alpha.abs_diff(drawn) > tolerance;
        if is_beyond(self.alpha(times, now)) {
            return Some(0);
        }
        let mut at = now;
        // A step of one curve shows only where the other does not hide it.
        loop {
            let faded = age(times.updated, at);
            let lived = age(times.first, at);
            let fade = self.fade(times).next_change(faded).map(|next| next - faded);
            let linger =
                self.linger.as_ref().and_then(|linger| linger.next_change(lived)).map(|next| next - lived);
            at = at.checked_add_unsigned([fade, linger].into_iter().flatten().min()?)?;
            // The end of a fade is never left out: a line that is gone must not stay as a shade.
            if is_beyond(self.alpha(times, at)) || (self.alpha(times, at) != drawn && self.is_last(times, at))
            {
                return Some(age(now, at));
            }
        }
    }
}

/// Time between two moments, in ns; none where the first is still to come.
pub(crate) fn age(then: OurNs, now: OurNs) -> u64 {
    u64::try_from(i128::from(now) - i128::from(then)).unwrap_or(0)
}
