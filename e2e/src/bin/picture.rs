// SPDX-License-Identifier: GPL-3.0-or-later
//! `leco-e2e-picture RECORDING PNG LIGHT-PNG ANIMATION`: plays events to real overlays over a picture of a dark desktop
//! and of a light one, and keeps what is seen. The README's pictures are made by it.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use leco_e2e::desktop::{Overlay, Picture, Rgb, XServer, can_use};
use leco_os::clock::boot_ns;
use serde_json::Value;

/// How long it plays.
const PLAYED: Duration = Duration::from_secs(30);
/// The still picture is taken when so much is over.
const STILL: Duration = Duration::from_secs(24);
/// Between two pictures of the animation.
const FRAME: Duration = Duration::from_millis(400);
/// What is shown of the screen: x, y, width, height.
const SHOWN: (usize, usize, usize, usize) = (0, 0, 760, 300);
/// A channel that differs by less is as it was: the animation stays small.
const NOTICED: u8 = 7;

const CONFIG: &str = "\n[window]\ninit-offset-left = 24\ninit-offset-top = 16\ninit-width = 710\ninit-height = 268\n\
    [text]\neffects = always\nline-fade-time = 40\n\
    line-fade-curve = range=0:100 0,100 40,85 80,40 100,25\n";
/// The same below it, for a light desktop.
const LIGHT: &str = "[window]\ninit-offset-top = 316\nrgba-bg = ffffffe6\nrgba-fg = 1c2128\nrgba-in = 0b6b4f\n\
    rgba-refused = 9a4a00\nrgba-blocked = b3261e\nrgba-new = 7a5200\n[text]\nfont-outline = none\n";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [recording, still, light, animation] = arguments.as_slice() else {
        anyhow::bail!("usage: leco-e2e-picture RECORDING PNG LIGHT-PNG ANIMATION");
    };
    ensure!(can_use(&["Xvfb", "picom"]), "an X server and a compositor are needed");
    let events = read(Path::new(recording))?;
    let server = XServer::start_composed();
    server.set_wallpaper(wallpaper);
    let example = std::fs::read_to_string("widget.ini").context("widget.ini")?;
    let dark = example + CONFIG;
    let mut overlays = [dark.clone(), dark.replace("init-offset-top = 16\n", "") + LIGHT]
        .map(|config| Overlay::on_x(&server, &config));
    sleep(Duration::from_secs(2));

    let start = Instant::now();
    let mut events = events.into_iter().peekable();
    let mut frames = Vec::new();
    let mut full = 0;
    while start.elapsed() < PLAYED {
        while let Some((_, event)) = events.next_if(|(due, _)| *due <= start.elapsed()) {
            for overlay in &mut overlays {
                overlay.send_raw(&format!("{event}\n"));
            }
        }
        let taken = u32::try_from(frames.len())?;
        if start.elapsed() >= FRAME * taken {
            let (x, y, width, height) = SHOWN;
            let screen = server.screenshot();
            let picture = screen.part(x, y, width, height);
            if start.elapsed() < STILL {
                picture.save(Path::new(still));
                screen.part(x, y + height, width, height).save(Path::new(light));
                full = frames.len();
            }
            frames.push(picture);
        }
        sleep(Duration::from_millis(5));
    }
    // Previews of links show the first frame alone.
    frames.rotate_left(full);
    write_animation(Path::new(animation), &frames)
}

/// The events with the time at which each is due; their times on the boot clock are those of now.
fn read(path: &Path) -> Result<Vec<(Duration, Value)>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let mut events = text.lines().map(serde_json::from_str::<Value>).collect::<Result<Vec<_>, _>>()?;
    let time =
        |event: &Value, key: &str| event[key].as_u64().with_context(|| format!("an event without {key}"));
    let first = time(events.first().context("no events")?, "ns_trx")?;
    // The overlay starts before the first one.
    let shift = boot_ns() + 2_000_000_000;
    let mut due = Vec::new();
    for mut event in events.drain(..) {
        let (ns, ns_trx) = (time(&event, "ns")?, time(&event, "ns_trx")?);
        event["ns"] = (ns + shift).saturating_sub(first).into();
        event["ns_trx"] = (ns_trx + shift).saturating_sub(first).into();
        due.push((Duration::from_nanos(ns_trx.saturating_sub(first)), event));
    }
    Ok(due)
}

/// Dusk over hills, and a bright window, so that it is seen to read on both.
fn wallpaper(x: usize, y: usize) -> Rgb {
    if y >= SHOWN.3 {
        // A page of text.
        let is_text = y % 22 > 8 && y % 22 < 14 && x > 40 && x < 720 - (y * 37) % 190;
        return if is_text { [150, 152, 158] } else { [252, 252, 250] };
    }
    #[allow(clippy::cast_precision_loss)]
    let (x, y) = (x as f32, y as f32);
    if x > 470.0 && y > 60.0 && x < 980.0 {
        return if y < 84.0 { [214, 218, 224] } else { [250, 250, 248] };
    }
    let hill =
        |height: f32, length: f32, shift: f32| 300.0 - height + (x / length + shift).sin() * height * 0.35;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let mix = |a: Rgb, b: Rgb, part: f32| {
        [0, 1, 2]
            .map(|c| (f32::from(a[c]) + (f32::from(b[c]) - f32::from(a[c])) * part.clamp(0.0, 1.0)) as u8)
    };
    if y > hill(70.0, 130.0, 0.4) {
        [22, 34, 44]
    } else if y > hill(130.0, 190.0, 2.0) {
        [40, 62, 82]
    } else {
        // In steps, which compress better than a smooth sky.
        mix([52, 84, 128], [222, 150, 110], ((y / 12.0).floor() * 12.0) / 300.0)
    }
}

/// Writes an animated PNG, each frame of which holds only what has changed.
fn write_animation(path: &Path, frames: &[Picture]) -> Result<()> {
    let first = frames.first().context("no frames")?;
    let side = |length: usize| u32::try_from(length);
    let mut encoder =
        png::Encoder::new(BufWriter::new(File::create(path)?), side(first.width)?, side(first.height)?);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::High);
    encoder.set_animated(side(frames.len())?, 0)?;
    encoder.set_frame_delay(u16::try_from(FRAME.as_millis())?, 1000)?;
    encoder.set_blend_op(png::BlendOp::Over)?;
    let mut writer = encoder.write_header()?;
    let mut shown: Vec<Rgb> = vec![[0; 3]; first.width * first.height];
    for (index, frame) in frames.iter().enumerate() {
        let mut data = Vec::with_capacity(shown.len() * 4);
        for (shown, new) in shown.iter_mut().zip(frame.pixels()) {
            let is_noticed = index == 0 || shown.iter().zip(new).any(|(a, b)| a.abs_diff(b) >= NOTICED);
            if is_noticed {
                *shown = new;
                data.extend([new[0], new[1], new[2], 255]);
            } else {
                data.extend([0; 4]);
            }
        }
        writer.write_image_data(&data)?;
    }
    Ok(writer.finish()?)
}
