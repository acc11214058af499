// SPDX-License-Identifier: GPL-3.0-or-later
//! What the overlay costs, on X11 and on Wayland, beside conky.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use leco_e2e::desktop::{Compositor, Overlay, XServer, can_use};
use serde_json::json;

use crate::process::{self, Watched};
use crate::report::Report;

const MEASURED: Duration = Duration::from_secs(30);
const LINES: u64 = 20;
/// Between two events.
const EVENT_INTERVAL: Duration = Duration::from_millis(500);
const BURST: Duration = Duration::from_secs(10);
const BURST_EVENTS_PER_SECOND: u32 = 5000;
/// Fewer of a colour are the edges of letters.
const BAND_PIXELS: usize = 2000;

/// 20 lines in 600×400, all else as it comes.
const CONFIG: &str = "[text]\nline-height = 19\n";
const CONKY: &str = "conky.config = { own_window = true, own_window_type = 'desktop', own_window_argb_visual = true, \
    double_buffer = true, use_xft = true, font = 'DejaVu Sans:size=10', update_interval = 1, out_to_x = true, \
    minimum_width = 400, minimum_height = 200 }\nconky.text = [[\n$time\n$cpu% $loadavg\n$mem / $memmax\n\
    $processes $running_processes\n${fs_used /} / ${fs_size /}\n]]\n";

/// Figures of the overlay, against their limits.
pub(crate) fn measure(report: &mut Report) -> Result<()> {
    ensure!(can_use(&["Xvfb", "picom", "sway", "conky"]), "the overlay is measured on these");
    let server = XServer::start_composed();
    let desktop = Compositor::sway("");
    let mut overlays = [
        ("leco-sdl-widget on X11", 10.0, Overlay::on_x(&server, CONFIG)),
        ("leco-sdl-widget on Wayland", 8.0, Overlay::on_wayland(&desktop, CONFIG)),
    ];
    measure_fading(&server, &mut overlays, report)?;
    measure_idle(&mut overlays, report)?;
    burst(&server, &mut overlays[0].2, report)
}

fn start_conky(server: &XServer, config: &Path) -> Result<Watched> {
    std::fs::write(config, CONKY)?;
    let mut conky = Command::new("conky");
    conky.arg("-c").arg(config).env("DISPLAY", &server.display);
    Watched::start(conky.stdout(Stdio::null()).stderr(Stdio::null()))
}

/// Lines that fade and are updated, while conky shows a few figures of its own.
fn measure_fading(
    server: &XServer,
    overlays: &mut [(&str, f64, Overlay)],
    report: &mut Report,
) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let conky = start_conky(server, &folder.path().join("conky.conf"))?;
    let mut number = 0;
    let mut send = |overlays: &mut [(&str, f64, Overlay)]| {
        for (_, _, overlay) in overlays {
            send_line(overlay, number);
        }
        number += 1;
    };
    for _ in 0..LINES {
        send(overlays);
    }
    sleep(Duration::from_secs(2));
    let cpu = |overlays: &[(&str, f64, Overlay)]| -> Result<Vec<u64>> {
        overlays
            .iter()
            .map(|(_, _, overlay)| process::on_cpu(overlay.id()))
            .chain([process::on_cpu(conky.id())])
            .collect()
    };
    let (before, start) = (cpu(overlays)?, Instant::now());
    while start.elapsed() < report.time(MEASURED) {
        send(overlays);
        sleep(EVENT_INTERVAL);
    }
    let elapsed = start.elapsed();
    let share = |before: &u64, after: &u64| (after - before) as f64 / elapsed.as_nanos() as f64 * 100.0;
    let shares: Vec<f64> =
        before.iter().zip(cpu(overlays)?).map(|(before, after)| share(before, &after)).collect();
    let conky_pss = process::proportional(conky.id())?;
    for ((name, most, overlay), share) in overlays.iter().zip(&shares) {
        let pss = process::proportional(overlay.id())?;
        report.limit(&format!("{name}: memory (PSS), 20 lines fading"), pss, *most, "MB");
        report.limit(&format!("{name}: CPU, 20 lines fading, 2 events/s"), *share, 0.3, "%");
        report.limit(&format!("{name}: memory beside conky's"), pss / conky_pss, 0.5, "×");
        report.limit(&format!("{name}: CPU beside conky's"), share / shares[2], 0.5, "×");
    }
    report.tell("conky, 5 lines at 1 s: memory (PSS)", conky_pss, "MB");
    report.tell("conky, 5 lines at 1 s: CPU", shares[2], "%");
    Ok(())
}

/// Updates the lines in turn. Two of them are each time another connection, which takes the place of the one
/// before: any other line would be pushed out by it, and push out the next one when it comes back.
fn send_line(overlay: &mut Overlay, number: u64) {
    let (turn, place) = (number / LINES, number % LINES);
    let ns = if place % 10 == 9 { (turn + 1) * LINES + place } else { place };
    let traffic = number * 1000 % 1_000_000;
    let line =
        format!("18:32 :: myuser :: firefox [app-firefox] :: example{place}.org 443 :: v {traffic}K / 26B ^");
    overlay.send(&line, Duration::ZERO, &json!({"ns": ns}));
}

fn measure_idle(overlays: &mut [(&str, f64, Overlay)], report: &mut Report) -> Result<()> {
    for (_, _, overlay) in overlays.iter_mut() {
        overlay.reconfigure("[text]\nline-height = 19\nline-fade-time = 1\n");
        send_line(overlay, 0);
    }
    sleep(Duration::from_secs(5));
    let sleeps = |overlays: &[(&str, f64, Overlay)]| -> Result<Vec<u64>> {
        overlays.iter().map(|(_, _, overlay)| process::sleeps(overlay.id())).collect()
    };
    let before = sleeps(overlays)?;
    let time = report.time(MEASURED);
    sleep(time);
    for (((name, _, _), before), after) in overlays.iter().zip(before).zip(sleeps(overlays)?) {
        let woken = after - before;
        report.limit(
            &format!("{name}: wakeups, and so frames, in {} s of silence", time.as_secs()),
            woken as f64,
            0.0,
            "",
        );
    }
    Ok(())
}

/// Thousands of events a second.
fn flood(overlay: &mut Overlay, time: Duration) {
    let start = Instant::now();
    let mut number: u32 = 0;
    while start.elapsed() < time {
        let due = start.elapsed().as_secs_f64() * f64::from(BURST_EVENTS_PER_SECOND);
        while f64::from(number) < due {
            send_line(overlay, u64::from(number) % 1000);
            number += 1;
        }
        sleep(Duration::from_millis(2));
    }
}

/// Sends a line of a colour that nothing else has: until when it was seen, and how long the picture took that shows it.
fn last_line(server: &XServer, overlay: &mut Overlay) -> Result<[Duration; 2]> {
    let start = Instant::now();
    overlay.send("x :: LAST", Duration::ZERO, &json!({}));
    // It may come with an effect, and can be read before that is over.
    let is_green = |[red, green, blue]: &[u8; 3]| *red < 60 && *blue < 60 && *green > 80;
    loop {
        ensure!(start.elapsed() < Duration::from_secs(10), "the last line never came");
        let asked = start.elapsed();
        let picture = server.screenshot();
        let late = start.elapsed();
        if picture.pixels().filter(is_green).count() > BAND_PIXELS {
            return Ok([late, late.saturating_sub(asked)]);
        }
    }
}

/// Thousands of events a second, and what comes last, with effects and without.
fn burst(server: &XServer, overlay: &mut Overlay, report: &mut Report) -> Result<()> {
    const CONFIG: &str = "[text]\nline-height = 19\nfont-outline = none\n";
    const STYLE: &str = "[rx-style]\nLAST = bg=00ff00ff\n";
    overlay.reconfigure(&format!("{CONFIG}{STYLE}"));
    sleep(Duration::from_secs(1));
    let window = server.windows().into_iter().find(|(_, title)| title == "LECO").context("no window")?.0;
    let (is_over, time) = (AtomicBool::new(false), report.scaled(BURST, BURST / 5));
    let own = process::own(overlay.id())?;
    let (frames, own_later) = std::thread::scope(|scope| -> Result<(usize, f64)> {
        let counter = scope.spawn(|| server.count_frames(window, &is_over));
        flood(overlay, time);
        is_over.store(true, Ordering::Relaxed);
        let frames = counter.join().map_err(|_| anyhow::anyhow!("frames could not be counted"))?;
        Ok((frames, process::own(overlay.id())?))
    })?;
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    let [with_effects, _] = last_line(server, overlay)?;
    overlay.reconfigure(&format!("{CONFIG}effects = none\n{STYLE}"));
    sleep(Duration::from_secs(1));
    flood(overlay, time / 5);
    let [late, took] = last_line(server, overlay)?;
    let figure = "leco-sdl-widget, 5,000 events/s: the last line is on the screen after";
    report.limit(&format!("{figure}, without effects"), ms(late), 100.0, "ms");
    report.tell("of that, taking the picture that shows it", ms(took), "ms");
    report.tell(&format!("{figure}, once another has left its place"), ms(with_effects), "ms");
    report.limit(
        "leco-sdl-widget, 5,000 events/s: frames per second",
        frames as f64 / time.as_secs_f64(),
        60.5,
        "",
    );
    report.limit(
        "leco-sdl-widget, 5,000 events/s: memory of its own more than before",
        own_later - own,
        1.0,
        "MB",
    );
    Ok(())
}
