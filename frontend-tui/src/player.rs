// SPDX-License-Identifier: GPL-3.0-or-later
//! Plays a recording: its events come when they came, on a clock of its own.

use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use leco_core::model::Timeline;
use leco_core::source::{MAX_PARTIAL_LINE, open_recording};
use leco_core::text::SPEEDS;
use leco_core::wire::event::{Clock, Event};
use leco_os::clock::BootNs;

use crate::ui::glyphs::Glyphs;
use crate::ui::keys;

/// A recording larger than this is not played: bytes.
const MAX_RECORDING: u64 = 1 << 30;
/// Where nothing happens for longer, the clock goes on to shortly before something does.
const LONG_SILENCE: u64 = 10_000_000_000;
const BEFORE_EVENT: u64 = 1_000_000_000;
/// Boots whose clocks are reported apart.
const MAX_BOOTS: usize = 1024;
/// A recording, and where in it we are.
#[derive(Debug)]
pub struct Player {
    bytes: Vec<u8>,
    /// When each event comes, and where it stands.
    events: Vec<(BootNs, std::ops::Range<usize>)>,
    clocks: Vec<Clock>,
    lost: Lost,
    next: usize,
    /// The clock of the recording, when it was read last.
    now: BootNs,
    speed: f64,
    is_paused: bool,
}

/// Lines of a recording that are left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lost {
    /// No events.
    pub malformed: u64,
    /// Too long for events.
    pub overlong: u64,
}

/// Why a recording cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    /// It cannot be read.
    #[error("cannot read the recording: {0}")]
    Read(#[from] io::Error),
    /// It is too large.
    #[error("the recording is larger than {} MiB: play a part of it", MAX_RECORDING >> 20)]
    Large,
    /// It is none.
    #[error("it contains no events: expected JSON lines as leco-event-pipe --record writes them")]
    Empty,
}

impl Player {
    /// Opens a recording.
    pub fn open(path: &Path, speed: f64) -> Result<Self, PlayError> {
        let mut bytes = Vec::new();
        open_recording(path)?.take(MAX_RECORDING + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_RECORDING {
            return Err(PlayError::Large);
        }
        Self::new(bytes, speed)
    }

    /// Takes the bytes of a recording. What is no event in it is left out, and counted.
    pub fn new(bytes: Vec<u8>, speed: f64) -> Result<Self, PlayError> {
        let mut parsed = Vec::new();
        let mut clocks: Vec<Clock> = Vec::new();
        let (mut at, mut lost) = (0, Lost::default());
        for line in bytes.split(|byte| *byte == b'\n') {
            match Event::parse(line) {
                _ if line.len() > MAX_PARTIAL_LINE => lost.overlong += 1,
                Ok(event) => {
                    if let Some(clock) = event.clock.0.as_deref() {
                        learn(&mut clocks, clock);
                    }
                    parsed.push((Event { line: String::new(), ..event }, at..at + line.len()));
                }
                Err(_) if line.trim_ascii().is_empty() => {}
                Err(_) => lost.malformed += 1,
            }
            at += line.len() + 1;
        }
        let events = timed(parsed, &clocks);
        let now = events.first().ok_or(PlayError::Empty)?.0;
        // What is no number cannot be put between two.
        let speed = if speed.is_nan() { 1.0 } else { speed.clamp(SPEEDS.0, SPEEDS.1) };
        Ok(Self { bytes, events, clocks, lost, next: 0, now, speed, is_paused: false })
    }

    /// What was left out.
    #[must_use]
    pub fn lost(&self) -> Lost {
        self.lost
    }

    /// How the clocks of its machines went: the recording's own is the wall clock of theirs.
    #[must_use]
    pub fn clocks(&self) -> Vec<Clock> {
        self.clocks.clone()
    }

    /// The recording's clock.
    #[must_use]
    pub fn now(&self) -> BootNs {
        self.now
    }

    /// Lets this much of our time pass, and hands out the events that came in it, each with its time.
    pub fn play(&mut self, elapsed: Duration, take: impl FnMut(BootNs, &[u8])) {
        if self.is_paused || self.has_ended() {
            return;
        }
        self.now = self.now.saturating_add(scaled(elapsed, self.speed)).min(self.end());
        self.catch_up(take);
        if let Some((next, _)) = self.events.get(self.next)
            && next - self.now > LONG_SILENCE
        {
            self.now = next - BEFORE_EVENT;
        }
    }

    /// Goes to another moment, by so many seconds of the recording. Where that is earlier, everything up to it is
    /// handed out anew: what was known is to be forgotten first, as the answer says.
    pub fn seek(&mut self, seconds: i64) -> bool {
        let step = seconds.saturating_mul(1_000_000_000);
        self.now = self.now.saturating_add_signed(step).clamp(self.start(), self.end());
        let is_back = step < 0;
        if is_back {
            self.next = 0;
        }
        is_back
    }

    /// Hands out what has come up to now, after [`Self::seek`].
    pub fn catch_up(&mut self, mut take: impl FnMut(BootNs, &[u8])) {
        while let Some((at, line)) = self.events.get(self.next)
            && *at <= self.now
        {
            take(*at, &self.bytes[line.clone()]);
            self.next += 1;
        }
    }

    /// Stands still, or goes on; from the end it begins anew, as the answer says.
    pub fn pause(&mut self) -> bool {
        if self.has_ended() {
            self.next = 0;
            self.now = self.start();
            self.is_paused = false;
            return true;
        }
        self.is_paused = !self.is_paused;
        false
    }

    /// Plays so many times as fast as now.
    pub fn change_speed(&mut self, factor: f64) {
        self.speed = (self.speed * factor).clamp(SPEEDS.0, SPEEDS.1);
    }

    /// Time until the next event; `None` where none comes by itself.
    #[must_use]
    pub fn next_in(&self) -> Option<Duration> {
        let (at, _) = self.events.get(self.next).filter(|_| !self.is_paused)?;
        Some(Duration::from_nanos(at.saturating_sub(self.now)).div_f64(self.speed))
    }

    /// Time on our clock for some time of the recording; `None` while it stands still.
    #[must_use]
    pub fn ours(&self, theirs: Duration) -> Option<Duration> {
        (!self.is_paused && !self.has_ended()).then(|| theirs.div_f64(self.speed))
    }

    /// Whether everything was handed out.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.next == self.events.len()
    }

    fn start(&self) -> BootNs {
        self.events.first().map_or(0, |(at, _)| *at)
    }

    fn end(&self) -> BootNs {
        self.events.last().map_or(0, |(at, _)| *at)
    }

    /// What is played, as ` ▶ 1:05 / 10:00 ×2 ━━━━────`, in so many cells.
    #[must_use]
    pub fn progress(&self, glyphs: &'static Glyphs, width: usize) -> String {
        let mark = if self.has_ended() {
            '■'
        } else if self.is_paused {
            '‖'
        } else {
            '▶'
        };
        let clock = |ns: u64| format!("{}:{:02}", ns / 60_000_000_000, ns / 1_000_000_000 % 60);
        let (elapsed, all) = (self.now - self.start(), self.end() - self.start());
        let part = 1.0 / self.speed;
        let is_part = self.speed < 1.0 && (part - part.round()).abs() < 1e-9;
        let speed = if is_part { format!("1/{part:.0}") } else { self.speed.to_string() };
        let text = format!(" {mark} {} / {} ×{speed} ", clock(elapsed), clock(all));
        let left = width.saturating_sub(text.chars().count());
        let keys = keys::of_recording(glyphs, left);
        let room = left.saturating_sub(keys.chars().count()).min(40);
        let done = usize::try_from(u128::from(elapsed) * room as u128 / u128::from(all.max(1)))
            .unwrap_or(0)
            .min(room);
        format!("{text}{}{}{keys}", "━".repeat(done), "─".repeat(room - done))
    }
}

/// What was said last of a boot's clock is true of all of it.
fn learn(clocks: &mut Vec<Clock>, clock: &Clock) {
    match clocks.iter().position(|known| known.boot == clock.boot) {
        Some(at) if clocks[at].ns <= clock.ns => clocks[at].clone_from(clock),
        None if clocks.len() < MAX_BOOTS => clocks.push(clock.clone()),
        Some(_) | None => {}
    }
}

/// When each event comes: by the wall clocks of their machines, or where none is known, by their boot clock. They come in
/// the order in which they stand.
fn timed(
    parsed: Vec<(Event, std::ops::Range<usize>)>,
    clocks: &[Clock],
) -> Vec<(BootNs, std::ops::Range<usize>)> {
    let mut timeline = Timeline::new(clocks.to_vec());
    let mut times: Vec<Option<u64>> = parsed
        .iter()
        .map(|(event, _)| timeline.at(event).map(|at| u64::try_from(at).unwrap_or_default()))
        .collect();
    let is_known = times.iter().any(Option::is_some);
    for ((event, _), time) in parsed.iter().zip(&mut times) {
        // What was stored of the time before came when the next event did.
        if event.is_history.0 {
            *time = None;
        } else if !is_known {
            *time = Some(event.ns_trx);
        }
    }
    let mut next_known: Vec<Option<u64>> = times.clone();
    for at in (0..next_known.len().saturating_sub(1)).rev() {
        next_known[at] = next_known[at].or(next_known[at + 1]);
    }
    let mut latest = 0;
    let times = times.iter().zip(next_known).zip(parsed);
    times
        .map(|((known, next), (_, place))| {
            // What does not say when it was came no later than what follows.
            let at = known.or(next).unwrap_or(latest);
            latest = at.max(latest);
            (latest, place)
        })
        .collect()
}

fn scaled(elapsed: Duration, speed: f64) -> u64 {
    let theirs = Duration::try_from_secs_f64(elapsed.as_secs_f64() * speed).unwrap_or(Duration::MAX);
    u64::try_from(theirs.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn recording() -> Vec<u8> {
        let events = [(10, "a"), (12, "b"), (11, "late"), (100, "c")];
        let lines = events.map(|(at, line)| {
            serde_json::json!({"ns": at, "ns_trx": at * SECOND, "line": line}).to_string() + "\n"
        });
        (lines.concat() + "garbage\n").into_bytes()
    }

    fn lines(play: impl FnOnce(&mut dyn FnMut(BootNs, &[u8]))) -> String {
        let mut all = String::new();
        play(&mut |_, line: &[u8]| all += &Event::parse(line).unwrap().line);
        all
    }

    #[test]
    fn events_come_when_they_came_and_long_silences_are_short() {
        let mut player = Player::new(recording(), 1.0).unwrap();
        assert_eq!(lines(|take| player.play(Duration::ZERO, take)), "a");
        assert_eq!(player.next_in(), Some(Duration::from_secs(2)));
        assert_eq!(lines(|take| player.play(Duration::from_millis(1999), take)), "");
        assert_eq!(lines(|take| player.play(Duration::from_millis(1), take)), "blate");
        assert_eq!((player.now(), player.next_in()), (99 * SECOND, Some(Duration::from_secs(1))));
        assert!(
            player.progress(Glyphs::unicode(), 100).starts_with(" ▶ 1:29 / 1:30 ×1 ━━"),
            "{}",
            player.progress(Glyphs::unicode(), 100)
        );
        assert_eq!(lines(|take| player.play(Duration::from_secs(9), take)), "c");
        assert!(player.has_ended() && player.next_in().is_none());
    }

    #[test]
    fn progress_ends_at_the_end_and_tells_the_speed_as_it_was_asked_for() {
        for (speed, told) in [
            (1000.0, "×1000"),
            (1.5, "×1.5"),
            (0.5, "×1/2"),
            (0.3, "×0.3"),
            (1.0 / 16.0, "×1/16"),
            (0.1, "×1/10"),
        ] {
            let mut player = Player::new(recording(), speed).unwrap();
            for _ in 0..4 {
                player.play(Duration::from_secs(2000), |_, _| ());
            }
            let progress = player.progress(Glyphs::unicode(), 100);
            assert!(progress.starts_with(&format!(" ■ 1:30 / 1:30 {told} ━")), "{progress}");
        }
    }

    #[test]
    fn it_can_be_paused_sought_and_played_faster() {
        let mut player = Player::new(recording(), 2.0).unwrap();
        assert_eq!(lines(|take| player.play(Duration::from_secs(1), take)), "ablate");
        assert!(!player.pause());
        assert_eq!(lines(|take| player.play(Duration::from_secs(90), take)), "");
        assert_eq!(player.ours(Duration::from_secs(1)), None);
        player.pause();
        player.change_speed(4.0);
        assert_eq!(player.ours(Duration::from_secs(8)), Some(Duration::from_secs(1)));
        assert!(player.seek(-1000) && player.now() == 10 * SECOND);
        assert_eq!(lines(|take| player.catch_up(take)), "a");
        assert!(!player.seek(1000));
        assert_eq!(lines(|take| player.catch_up(take)), "blatec");
        assert!(player.pause(), "from the end it begins anew");
        assert_eq!(lines(|take| player.play(Duration::ZERO, take)), "a");
    }

    #[test]
    fn machines_whose_clocks_began_apart_are_played_on_one() {
        const WALL: u64 = 1_772_323_200 * SECOND;
        let event = |boot: &str, at: u64, line: &str, reported: Option<u64>| {
            let mut event = serde_json::json!({"ns": at, "ns_trx": at, "line": line, "boot": boot});
            if let Some(wall) = reported {
                event["clock"] = serde_json::json!({"boot": format!("{boot}-1"), "ns": at, "wall": wall});
            }
            event.to_string() + "\n"
        };
        let days = 864_000 * SECOND;
        let bytes = [
            "{\"ns\":1,\"ns_trx\":1,\"line\":\"first\"}\n".to_owned(),
            event("aaaaaaaa", days, "a", Some(WALL)),
            event("bbbbbbbb", 5 * SECOND, "b", Some(WALL + SECOND)),
            event("aaaaaaaa", days + 3 * SECOND, "c", None),
            // Its clock was an hour slow all the time.
            event("bbbbbbbb", 9 * SECOND, "d", Some(WALL + 3605 * SECOND)),
        ];
        let mut player = Player::new(bytes.concat().into_bytes(), 1.0).unwrap();
        assert_eq!(player.clocks().len(), 2);
        let mut overseer = leco_core::model::overseer::Overseer::new(leco_core::config::Config::default());
        overseer.fix_clocks(player.clocks());
        let mut times = Vec::new();
        for _ in 0..10_000 {
            player.play(Duration::from_secs(1), |at, line| {
                let _ = overseer.receive(line, at);
                times.push((at - WALL) / SECOND);
            });
        }
        assert_eq!(times, [0, 0, 3601, 3601, 3605], "in the order in which they stand");
        let mut ages: Vec<_> =
            overseer.known().map(|line| (line.text().to_owned(), line.age(player.now()).as_secs())).collect();
        ages.sort();
        let ages: Vec<_> = ages.iter().map(|(text, age)| (text.as_str(), *age)).collect();
        assert_eq!(ages, [("a", 3605), ("b", 4), ("c", 3602), ("d", 0), ("first", 3605)]);
    }

    #[test]
    fn what_is_no_recording_is_told() {
        assert!(matches!(Player::new(b"x\ny".to_vec(), 1.0), Err(PlayError::Empty)));
        assert!(matches!(Player::open(Path::new("/nonexistent"), 1.0), Err(PlayError::Read(_))));
        for speed in [0.0, -1.0, f64::INFINITY, f64::NAN, 1e300] {
            let mut player = Player::new(recording(), speed).unwrap();
            assert!(player.progress(Glyphs::unicode(), 10).contains('▶'));
            player.play(Duration::from_secs(1), |_, _| ());
        }
        let far = format!(
            "{{\"ns\":1,\"ns_trx\":1,\"line\":\"\"}}\n{{\"ns\":1,\"ns_trx\":{},\"line\":\"\"}}",
            u64::MAX
        );
        let mut player = Player::new(far.into_bytes(), 1024.0).unwrap();
        for _ in 0..3 {
            player.play(Duration::MAX, |_, _| ());
            let _ = (player.next_in(), player.progress(Glyphs::unicode(), 80), player.seek(i64::MAX));
        }
    }
}
