// SPDX-License-Identifier: GPL-3.0-or-later
//! Lines one below the other, for a terminal that cannot be drawn on.

use std::io::{self, Write};
use std::os::fd::AsFd;

use leco_core::batch::PlainError;
use leco_core::model::overseer::{Overseer, Received};
use leco_core::source::{Origin, SourceSpec, Sources};
use leco_core::wire::event::ConnectionState;
use leco_os::clock::Now;
use leco_os::{say, watch};

use crate::player::Player;
use crate::ui::glyphs::Glyphs;

/// Prints each line when it appears, and again when something went wrong with its connection, until nobody reads any more
/// or no more events can come.
pub fn follow(
    overseer: &mut Overseer,
    specs: &[SourceSpec],
    glyphs: &Glyphs,
    mut out: impl Write + AsFd,
) -> Result<(), PlainError> {
    let report = |notice: String| say::err(format_args!("leco-tui: {notice}"));
    let mut sources = Sources::open(specs).map_err(PlainError::Follow)?;
    let mut reported = None;
    loop {
        let state = sources.state();
        if reported.as_ref() != Some(&state.text) {
            report(state.text.clone());
            reported = Some(state.text);
        }
        if state.has_ended {
            return Ok(());
        }
        if say::wait_for_input(sources.fds(), &out).map_err(PlainError::Follow)? {
            return Ok(());
        }
        let mut text = String::new();
        let take = |origin: Origin<'_>, line: &[u8]| {
            let received = overseer.receive_from(origin, line, Now::read());
            push(&received, overseer, glyphs, &mut text);
        };
        sources.wait(Some(std::time::Duration::ZERO), take).map_err(PlainError::Follow)?;
        if let Some(notice) = overseer.take_notice().or_else(watch::take_notice) {
            report(notice);
        }
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(PlainError::Write(error)),
        }
    }
}

/// The same for a recording, at once.
#[must_use]
pub fn replay(overseer: &mut Overseer, player: &mut Player, glyphs: &Glyphs) -> String {
    let mut text = String::new();
    player.seek(i64::MAX);
    player.catch_up(|at, line| {
        let received = overseer.receive(line, at);
        push(&received, overseer, glyphs, &mut text);
    });
    text
}

/// Appends the line that an event changed, where that is to be told.
fn push(received: &Received, overseer: &Overseer, glyphs: &Glyphs, text: &mut String) {
    let Received::Line { text: line, is_new, .. } = received else { return };
    // What was updated last is known last.
    let state = overseer.known().next_back().map(|line| line.state());
    let is_wrong = matches!(
        state,
        Some(ConnectionState::Refused | ConnectionState::TimedOut | ConnectionState::Blocked)
    );
    if *is_new || is_wrong {
        text.push_str(&glyphs.shown(line));
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use leco_core::config::Config;

    use super::*;

    #[test]
    fn lines_are_told_when_they_appear_and_when_something_is_wrong() {
        let mut overseer = Overseer::new(Config::default());
        let mut text = String::new();
        for (at, ns, line, state) in [
            (1, 1, "18:32 :: me :: curl :: b.test 443 :: ", "open"),
            (2, 1, "18:32 :: me :: curl :: b.test 443 :: v 1K / 2K ^", "open"),
            (3, 2, "18:32 :: me :: curl :: größe.test 443 :: ", "open"),
            (4, 1, "18:32 :: me :: curl :: b.test 443 !refused :: ", "refused"),
        ] {
            let event = format!(r#"{{"ns":{ns},"ns_trx":{at},"line":"{line}","state":"{state}"}}"#);
            let received = overseer.receive(event.as_bytes(), 1000);
            push(&received, &overseer, Glyphs::ascii(), &mut text);
        }
        let told: Vec<_> = text.lines().collect();
        assert_eq!(
            told,
            [
                "18:32 :: me :: curl :: b.test 443 :: ",
                "18:32 :: me :: curl :: gr??e.test 443 :: ",
                "18:32 :: me :: curl :: b.test 443 !refused :: "
            ]
        );
    }
}
