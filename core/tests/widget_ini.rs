// SPDX-License-Identifier: GPL-3.0-or-later
//! The example config: nothing in it is wrong, and what it says of defaults is true.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use leco_core::config::{Config, SETTINGS, Settings, StateColours, WindowSettings};
use leco_core::ini::{Rendering, contrast, mix};
use leco_core::rules::Verdict;

const EXAMPLE: &str = include_str!("../../widget.ini");

fn example() -> Config {
    Config::parse(EXAMPLE.as_bytes(), Path::new("widget.ini"))
}

#[test]
fn it_has_no_fault() {
    let shown: Vec<_> = example().diagnostics.iter().map(|fault| fault.render(Rendering::Plain)).collect();
    assert!(shown.is_empty(), "{}", shown.join("\n"));
    assert_eq!(example().settings, Settings::default());
}

/// `#key = value`, which prose is not: that has a space after its `#`.
fn is_default(line: &str) -> bool {
    line.strip_prefix('#').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
}

#[test]
fn its_defaults_are_those_of_the_code() {
    let uncommented: Vec<&str> = EXAMPLE
        .lines()
        .map(|line| if is_default(line) { &line[1..] } else { line })
        // An empty value says that there is none by default.
        .filter(|line| !line.ends_with(" =") || line.contains(['/', '\\']))
        .collect();
    let config = Config::parse(uncommented.join("\n").as_bytes(), Path::new("widget.ini"));
    assert_eq!(config.diagnostics, []);
    let mut settings = config.settings;
    // The runtime folder is found, and looked at, only when it is needed.
    assert!(settings.run.fifo.take().is_some_and(|fifo| fifo.ends_with("leco.fifo")));
    assert_eq!(settings, Settings::default());
}

/// Over black and over white, and over what is hardest besides.
const PICTURES: [[u8; 3]; 4] = [[0; 3], [255; 3], [0xff, 0x80, 0], [0x80; 3]];

/// Text at its opacity of lines that are new, on the ground over each picture.
fn least_contrast(window: &WindowSettings, alpha: u8) -> f32 {
    let StateColours { incoming, first_ever, refused, blocked } = window.state_colours();
    let mut least = f32::MAX;
    for picture in PICTURES {
        let ground = mix(picture, window.rgba_bg.rgb(), window.rgba_bg.alpha);
        for text in [window.rgba_fg, incoming, first_ever, refused, blocked] {
            least = least.min(contrast(mix(ground, text.rgb(), alpha), ground));
        }
    }
    least
}

#[test]
fn its_colours_can_be_read_over_any_picture() {
    let dark = Settings::default().window;
    // The values of the light ones stand in a comment, as KEY = VALUE.
    let words: Vec<&str> = EXAMPLE.split_whitespace().collect();
    let mut light = "[window]\n".to_owned();
    for word in words.windows(3).filter(|word| word[1] == "=" && word[0].starts_with("rgba-")) {
        light += &format!("{} = {}\n", word[0], word[2]);
    }
    let light = Config::parse(light.as_bytes(), Path::new("light.ini"));
    assert_eq!(light.diagnostics, []);
    let light = light.settings.window;
    assert!(light.rgba_bg.red > dark.rgba_bg.red);
    for (name, window) in [("dark", dark), ("light", light)] {
        assert!(least_contrast(&window, 255) >= 4.5, "{name}: {}", least_contrast(&window, 255));
        // Times and units, which only complete a line.
        assert!(least_contrast(&window, 166) >= 2.5, "{name}: {}", least_contrast(&window, 166));
    }
}

#[test]
fn every_key_is_in_it_once() {
    for (section, keys) in SETTINGS {
        let start = EXAMPLE.find(&format!("\n[{section}]\n")).unwrap();
        let text = &EXAMPLE[start + 2..];
        let text = &text[..text.find("\n[").unwrap_or(text.len())];
        for key in keys {
            let times = text.lines().filter(|line| line.starts_with(&format!("#{key} ="))).count();
            assert_eq!(times, 1, "{key}");
        }
    }
}

#[test]
fn it_makes_a_common_desktop_quiet() {
    let mut rules = example().rules;
    let mut shown = |line: &str| match rules.apply(line) {
        Verdict::Show { line, group } => (line, group),
        Verdict::Drop => ("dropped".into(), None),
    };
    let mut expect = |line: &str, text: &str, group: Option<&str>| {
        assert_eq!(shown(line), (text.to_owned(), group.map(Into::into)), "{line}");
    };
    expect("18:32 :: me :: python3 :: 127.0.0.1 5432 :: ", "dropped", None);
    expect("18:32 :: me :: curl :: 127.0.0.1 8080 :: ", "18:32 :: me :: curl :: 127.0.0.1 8080 :: ", None);
    expect("18:32 :: avahi :: avahi-daemon :: 224.0.0.251 5353/udp :: ", "dropped", None);
    expect(
        "18:32 :: me :: firefox [app-gnome-firefox-4711] :: 192.0.2.1 443 :: v 1M / 2K ^",
        "18:32 :: me :: firefox :: 192.0.2.1 443 :: v 1M / 2K ^",
        Some("firefox 192.0.2.1"),
    );
    expect(
        "18:32 :: me :: code [app-gnome-code-4711] :: 192.0.2.1 22 :: ",
        "18:32 :: me :: code :: 192.0.2.1 22 :: ",
        None,
    );
    expect(
        "18:32 :: me :: code [app-gnome-code.x-1] :: 192.0.2.1 22 :: ",
        "18:32 :: me :: code [code.x] :: 192.0.2.1 22 :: ",
        None,
    );
    expect(
        "18:32 :: _apt :: http :: 192.0.2.7 80 :: ",
        "18:32 :: _apt :: http :: 192.0.2.7 80 :: ",
        Some("updates http"),
    );
    // With show=service.
    expect(
        "18:32 :: me :: mutt :: https :: 192.0.2.7 443 :: ",
        "18:32 :: me :: mutt :: https :: 192.0.2.7 443 :: ",
        None,
    );
    expect(
        "18:32 :: me :: drill [tmux-spawn-822f3728+] :: 192.0.2.53 53/udp :: ",
        "18:32 :: me :: drill [tmux] :: 192.0.2.53 DNS :: ",
        None,
    );
    expect(
        "18:32 :: me :: ssh [sshfs-nas] :: 192.0.2.9 22 :: ",
        "18:32 :: me :: sshfs [sshfs-nas] :: 192.0.2.9 22 :: ",
        None,
    );
    expect(
        "18:32 :: root :: nginx [docker-0123456789a+] :: 192.0.2.8 443 :: ",
        "18:32 :: root :: nginx [docker 01234567] :: 192.0.2.8 443 :: ",
        Some("docker-0123456789a+"),
    );
    for (kind, shown) in [
        ("podman-0123456789ab", "podman 01234567"),
        ("k8s-0123456789ab", "k8s 01234567"),
        ("containerd-01234567+", "containerd 01234567"),
        ("crio-0123456789ab", "crio 01234567"),
        ("container-012345678+", "container 01234567"),
        ("docker-0123456789a.b", "docker 01234567"),
        ("lxc-web", "lxc-web"),
        ("nspawn-web", "nspawn-web"),
    ] {
        expect(
            &format!("18:32 :: root :: nginx [{kind}] :: 192.0.2.8 443 :: "),
            &format!("18:32 :: root :: nginx [{shown}] :: 192.0.2.8 443 :: "),
            Some(kind),
        );
    }
    expect(
        "18:32 :: systemd+ :: ntpd :: 192.0.2.4 123/udp :: ",
        "18:32 :: systemd+ :: ntpd :: 192.0.2.4 NTP :: ",
        None,
    );
}
