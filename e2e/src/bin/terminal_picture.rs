// SPDX-License-Identifier: GPL-3.0-or-later
//! `leco-e2e-terminal-picture RECORDING SVG [history]`: plays recorded events in a real terminal view, presses some keys,
//! and keeps what is seen as an animated picture. Those of the README are made by it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::num::NonZero;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use leco_e2e::{Tmux, program};
use vt100::{Cell, Color, Parser};

const COLUMNS: u16 = 100;
const ROWS: u16 = 24;
/// How long it plays in seconds, when the list is full, and what is typed when. The picture begins where it is full, and
/// viewers that know no animation show that.
struct Play {
    seconds: u64,
    full: u64,
    keys: &'static [(u64, &'static str)],
}

/// The list, a line's details, a filter and the rules.
const LIST: Play = Play {
    seconds: 30,
    full: 12,
    keys: &[
        (13, "j"),
        (14, "Enter"),
        (18, "Escape"),
        (19, "f"),
        (20, "port:443"),
        (22, " proc:c"),
        (25, "Escape"),
        (26, "Escape"),
        (27, "r"),
    ],
};
/// What moved over time: programs, the peers of one, units.
const HISTORY: Play =
    Play { seconds: 16, full: 3, keys: &[(2, "h"), (6, "Enter"), (10, "Escape"), (12, "Tab"), (14, "q")] };
/// Between two looks.
const FRAME: Duration = Duration::from_millis(500);
/// A cell of a common monospaced font of 14 pixels.
const CELL: (f32, f32) = (8.4, 19.0);
const GROUND: &str = "#11151a";
const TEXT: &str = "#e6e6e6";

/// What a row shows, and from when until when, in frames.
type Shown = BTreeMap<(u16, String), Vec<(usize, usize)>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (recording, svg, play) = match arguments.as_slice() {
        [recording, svg] => (recording, svg, LIST),
        [recording, svg, what] if what == "history" => (recording, svg, HISTORY),
        _ => anyhow::bail!("usage: leco-e2e-terminal-picture RECORDING SVG [history]"),
    };
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("widget.ini");
    let rules = "\\ (80|8080) :: = \\ web ::\n\\ (993|995) :: = \\ mail ::\n04:5(\\d) = 18:3$1\n";
    std::fs::write(&config, format!("[text]\nline-fade-time = 40\n[rx-proc]\n{rules}"))?;
    let command = format!(
        "export TZ=UTC; exec {} {} --replay {recording} --theme dark --colours true",
        program("leco-tui").display(),
        config.display()
    );
    let terminal = Tmux::start(COLUMNS, ROWS, &command);
    let start = Instant::now();
    let mut keys = play.keys.iter().peekable();
    let mut shown = Shown::new();
    let mut frames = 0;
    while start.elapsed() < Duration::from_secs(play.seconds) {
        while let Some((_, keys)) = keys.next_if(|(due, _)| Duration::from_secs(*due) <= start.elapsed()) {
            // A name of a key, or a text.
            if matches!(*keys, "Enter" | "Escape" | "Tab") {
                terminal.type_keys(keys);
            } else {
                terminal.type_text(keys);
            }
        }
        sleep((FRAME * (u32::try_from(frames)? + 1)).saturating_sub(start.elapsed()));
        look(&terminal.coloured_screen(), frames, &mut shown)?;
        frames += 1;
    }
    terminal.type_keys("q");
    std::fs::write(svg, picture(&shown, frames, &play)?).with_context(|| svg.clone())
}

/// Takes note of what each row shows now.
fn look(screen: &str, frame: usize, shown: &mut Shown) -> Result<()> {
    let (columns, rows) = (NonZero::try_from(COLUMNS)?, NonZero::try_from(ROWS)?);
    let mut parser = Parser::new(rows, columns, 0);
    parser.process(screen.trim_end_matches('\n').replace('\n', "\r\n").as_bytes());
    for row in 0..ROWS {
        let text = row_of(parser.screen(), row);
        if text.is_empty() {
            continue;
        }
        let times = shown.entry((row, text)).or_default();
        match times.last_mut() {
            Some((_, until)) if *until == frame => *until = frame + 1,
            _ => times.push((frame, frame + 1)),
        }
    }
    Ok(())
}

/// A row as SVG: what stands behind it, and runs of one style.
fn row_of(screen: &vt100::Screen, row: u16) -> String {
    let mut runs: Vec<(u16, String, Style)> = Vec::new();
    for column in 0..COLUMNS {
        let Some(cell) = screen.cell(row, column).filter(|cell| !cell.is_wide_continuation()) else {
            continue;
        };
        let contents = if cell.has_contents() { cell.contents() } else { " " };
        let style = style_of(cell);
        match runs.last_mut() {
            Some((_, text, same)) if *same == style => text.push_str(contents),
            _ => runs.push((column, contents.to_owned(), style)),
        }
    }
    let mut svg = String::new();
    for (column, text, (fg, bg, is_bold)) in runs {
        let (x, width) = (f32::from(column) * CELL.0, text.chars().count() as f32 * CELL.0);
        if let Some(bg) = bg {
            let _ = write!(svg, r#"<rect x="{x:.1}" width="{width:.1}" height="{}" fill="{bg}"/>"#, CELL.1);
        }
        let inner = text.trim();
        if inner.is_empty() {
            continue;
        }
        let lead = text.chars().take_while(|c| *c == ' ').count() as f32 * CELL.0;
        let length = inner.chars().count() as f32 * CELL.0;
        let weight = if is_bold { r#" font-weight="bold""# } else { "" };
        let inner = inner.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let _ = write!(
            svg,
            r#"<text x="{:.1}" y="14" fill="{fg}"{weight} textLength="{length:.1}" xml:space="preserve">{inner}</text>"#,
            x + lead
        );
    }
    svg
}

/// Colour of the text, of what is behind it, and whether it is bold.
type Style = (String, Option<String>, bool);

fn style_of(cell: &Cell) -> Style {
    let colour = |colour: Color| match colour {
        Color::Default => None,
        Color::Idx(index) => {
            Some(format!("#{0:02x}{0:02x}{0:02x}", 8 + index.saturating_sub(232).min(23) * 10))
        }
        Color::Rgb(red, green, blue) => Some(format!("#{red:02x}{green:02x}{blue:02x}")),
    };
    let (fg, bg) = (colour(cell.fgcolor()).unwrap_or_else(|| TEXT.into()), colour(cell.bgcolor()));
    if cell.inverse() {
        (bg.unwrap_or_else(|| GROUND.into()), Some(fg), cell.bold())
    } else {
        (fg, bg, cell.bold())
    }
}

/// Everything that any row ever showed, each visible in its time.
fn picture(shown: &Shown, frames: usize, play: &Play) -> Result<String> {
    let (width, height) = (f32::from(COLUMNS) * CELL.0 + 16.0, f32::from(ROWS) * CELL.1 + 16.0);
    let mut svg = String::new();
    writeln!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="DejaVu Sans Mono,Menlo,Consolas,monospace" font-size="14">"#
    )?;
    let (played, full) = (play.seconds, play.full);
    writeln!(svg, "<style>g g{{visibility:hidden;animation:{played}s step-end -{full}s infinite}}")?;
    let percent = |frame: usize| frame as f64 * 100.0 / frames as f64;
    for (number, times) in shown.values().enumerate() {
        write!(svg, "@keyframes k{number}{{0%{{visibility:hidden}}")?;
        for (from, until) in times {
            write!(svg, "{:.2}%{{visibility:visible}}", percent(*from))?;
            if *until < frames {
                write!(svg, "{:.2}%{{visibility:hidden}}", percent(*until))?;
            }
        }
        let still = usize::try_from(full)? * frames / usize::try_from(played)?;
        let is_still = times.iter().any(|(from, until)| (*from..*until).contains(&still));
        let visibility = if is_still { ";visibility:visible" } else { "" };
        writeln!(svg, "}}#r{number}{{animation-name:k{number}{visibility}}}")?;
    }
    writeln!(
        svg,
        r#"</style><rect width="{width}" height="{height}" rx="6" fill="{GROUND}"/><g transform="translate(8 8)">"#
    )?;
    for (number, ((row, text), _)) in shown.iter().enumerate() {
        writeln!(
            svg,
            r#"<g id="r{number}" transform="translate(0 {})">{text}</g>"#,
            f32::from(*row) * CELL.1
        )?;
    }
    svg.push_str("</g></svg>\n");
    Ok(svg)
}
