// SPDX-License-Identifier: GPL-3.0-or-later
//! `spline-editor.html` in a real browser: what it draws is the core's curve.

#![allow(clippy::unwrap_used)]

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use fantoccini::actions::{InputSource, MouseActions, PointerAction};
use fantoccini::elements::Element;
use fantoccini::key::Key;
use fantoccini::{Client, ClientBuilder, Locator};
use leco_core::config::{Config, TextSettings};
use leco_core::fade::{Curve, DEFAULT_CURVE, Points, SplineKind};
use leco_e2e::{LineReader, skip, wait_for};
use rustix::process::{Pid, Signal, kill_process_group};

const SAMPLES: u32 = 200;

/// The browser's driver, ended with the test.
struct Driver {
    child: Child,
    port: u16,
}

impl Driver {
    fn start() -> Option<Self> {
        let mut command = Command::new("chromedriver");
        // A group of their own, in which a driver that is killed leaves no browser behind.
        let spawned = command.arg("--port=0").stdout(Stdio::piped()).process_group(0).spawn();
        let Ok(mut child) = spawned else {
            let _ = skip("there is no chromedriver");
            return None;
        };
        let said = LineReader::new(child.stdout.take().unwrap());
        let port = wait_for("the driver's port", || {
            let lines = said.lines();
            let port = lines.iter().find_map(|line| line.split("started successfully on port ").nth(1))?;
            port.trim_end_matches('.').parse().ok()
        });
        Some(Self { child, port })
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

struct Editor {
    client: Client,
    /// The browser's profile.
    _profile: tempfile::TempDir,
}

impl Editor {
    async fn open(driver: &Driver) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1000,760",
            &format!("--user-data-dir={}", profile.path().display()),
        ];
        let capabilities = serde_json::json!({"goog:chromeOptions": {"args": arguments}});
        let client = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities(capabilities.as_object().unwrap().clone())
            .connect(&format!("http://127.0.0.1:{}", driver.port))
            .await
            .unwrap();
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../spline-editor.html");
        client.goto(&format!("file://{}", page.canonicalize().unwrap().display())).await.unwrap();
        Self { client, _profile: profile }
    }

    async fn find(&self, css: &str) -> Element {
        self.client.find(Locator::Css(css)).await.unwrap()
    }

    async fn points(&self) -> Vec<Element> {
        self.client.find_all(Locator::Css("#points .point")).await.unwrap()
    }

    async fn click(&self, css: &str) {
        self.find(css).await.click().await.unwrap();
    }

    /// Pastes a curve and presses Enter.
    async fn paste(&self, curve: &str) {
        let field = self.find("#text").await;
        field.clear().await.unwrap();
        field.send_keys(&format!("{curve}{}", char::from(Key::Enter))).await.unwrap();
    }

    /// Pastes whatever is in the clipboard, at the end of what is there.
    async fn paste_clipboard(&self) {
        let keys = format!("{}v{}", char::from(Key::Control), char::from(Key::Null));
        self.find("#text").await.send_keys(&keys).await.unwrap();
    }

    /// Puts a text of several lines into the clipboard, as from an editor of files.
    async fn copy(&self, text: &str) {
        let script = "const field = document.createElement('textarea'); field.value = arguments[0]; \
                      document.body.append(field); field.select(); const done = document.execCommand('copy'); \
                      field.remove(); return done;";
        // A page may copy only after somebody did something to it.
        self.click("#text").await;
        let done = self.client.execute(script, vec![text.into()]).await.unwrap();
        assert_eq!(done, true, "nothing was copied");
    }

    async fn fault(&self) -> String {
        self.find("#fault").await.text().await.unwrap()
    }

    /// Whether all of an element is inside the window, where nobody scrolled.
    async fn is_in_the_window(&self, css: &str) -> bool {
        let script = "const box = document.querySelector(arguments[0]).getBoundingClientRect(); \
                      return scrollY === 0 && box.height > 0 && box.top >= 0 && box.bottom <= innerHeight;";
        self.client.execute(script, vec![css.into()]).await.unwrap() == true
    }

    async fn config(&self) -> String {
        self.find("#config").await.text().await.unwrap()
    }

    /// The curve that the config text says.
    async fn written(&self) -> Points {
        let config = self.config().await;
        let curve = config.lines().find_map(|line| line.strip_prefix("line-fade-curve = ")).unwrap();
        Points::parse(curve).unwrap()
    }

    /// Holds the drawn path against the core's curve of the config text.
    async fn is_the_cores(&self, kind: SplineKind) {
        let path = self.find("#curve").await.attr("d").await.unwrap().unwrap();
        let drawn: Vec<(f64, f64)> = path
            .trim_start_matches('M')
            .split('L')
            .map(|pair| {
                let (x, y) = pair.split_once(',').unwrap();
                (x.parse::<f64>().unwrap() / 1000.0, 1.0 - y.parse::<f64>().unwrap() / 400.0)
            })
            .collect();
        let curve = Curve::new(&self.written().await, kind);
        for sample in 0..SAMPLES {
            let fraction = f64::from(sample) / f64::from(SAMPLES - 1);
            let after = drawn.partition_point(|&(x, _)| x < fraction).clamp(1, drawn.len() - 1);
            let ((x0, y0), (x1, y1)) = (drawn[after - 1], drawn[after]);
            let y = y0 + (y1 - y0) * (fraction - x0) / (x1 - x0);
            let core = curve.opacity(fraction);
            assert!((y - core).abs() <= 1.0 / 255.0, "{kind:?} at {fraction}: {y} drawn, {core} meant");
        }
    }

    async fn mouse(&self, actions: Vec<PointerAction>) {
        let chain = actions.into_iter().fold(MouseActions::new("mouse".into()), InputSource::then);
        self.client.perform_actions(chain).await.unwrap();
    }
}

const LEFT: u64 = 0;

fn move_to(element: &Element, x: f64, y: f64) -> PointerAction {
    PointerAction::MoveToElement { element: element.clone(), duration: None, x, y }
}

#[tokio::test(flavor = "current_thread")]
async fn what_it_draws_is_the_cores_curve() {
    let Some(driver) = Driver::start() else { return };
    let editor = Editor::open(&driver).await;
    for (key, name, kind) in [
        (Key::Down, "natural", SplineKind::Natural),
        (Key::Down, "linear", SplineKind::Linear),
        (Key::Home, "cardinal", SplineKind::Cardinal),
    ] {
        editor.find("#kind").await.send_keys(&char::from(key).to_string()).await.unwrap();
        editor.is_the_cores(kind).await;
        assert!(editor.config().await.contains(&format!("line-fade-spline = {name}")));
    }
    let kind = SplineKind::Cardinal;

    // Paste, with a range of its own and overshooting points.
    editor.paste("range=20:80 (0,100) (10,20) (50,80) (52,20) 100,50").await;
    assert_eq!(editor.points().await.len(), 5);
    editor.is_the_cores(kind).await;
    editor.paste("0,1 0,2").await;
    let fault = editor.fault().await;
    assert!(fault.contains("x must rise"), "{fault}");
    assert_eq!(editor.points().await.len(), 5, "a faulty curve changes nothing");
    editor.paste("0,100 25,60 50,50 75,20 100,0").await;

    // Drag.
    let before = editor.written().await;
    let point = editor.points().await[2].clone();
    editor
        .mouse(vec![
            move_to(&point, 0.0, 0.0),
            PointerAction::Down { button: LEFT },
            move_to(&point, 60.0, -40.0),
            PointerAction::Up { button: LEFT },
        ])
        .await;
    let dragged = editor.written().await;
    assert_ne!(dragged, before);
    editor.is_the_cores(kind).await;

    // Add, by keyboard and by button; delete; undo.
    editor.points().await[1].send_keys(&char::from(Key::Insert).to_string()).await.unwrap();
    editor.click("#add").await;
    assert_eq!(editor.points().await.len(), 7);
    editor.is_the_cores(kind).await;
    editor.points().await[2].send_keys(&char::from(Key::Delete).to_string()).await.unwrap();
    editor.points().await[3].send_keys(&char::from(Key::Up).to_string()).await.unwrap();
    assert_eq!(editor.points().await.len(), 6);
    editor.is_the_cores(kind).await;
    for _ in 0..4 {
        editor.click("#undo").await;
    }
    assert_eq!(editor.written().await, dragged);
    editor.click("#redo").await;
    assert_eq!(editor.points().await.len(), 6);

    editor.find("#count").await.clear().await.unwrap();
    editor.find("#count").await.send_keys("9").await.unwrap();
    editor.click("#reset").await;
    assert_eq!(editor.points().await.len(), 9);
    editor.is_the_cores(kind).await;
    editor.client.clone().close().await.unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn it_opens_with_the_default_and_names_its_axes() {
    let Some(driver) = Driver::start() else { return };
    let editor = Editor::open(&driver).await;
    assert_eq!(editor.written().await, Points::parse(DEFAULT_CURVE).unwrap());
    let defaults = TextSettings::default();
    let config = Config::parse(editor.config().await.as_bytes(), Path::new("w.ini"));
    assert_eq!(config.diagnostics, []);
    let text = config.settings.text;
    assert_eq!(
        (text.line_fade_time, text.line_fade_spline),
        (defaults.line_fade_time, defaults.line_fade_spline)
    );

    let axes = editor.find("#chart").await.text().await.unwrap();
    for label in ["opacity", "0 %", "100 %", "time since the last update", "0 s", "12 s", "60 s"] {
        assert!(axes.lines().any(|line| line == label), "{label}: {axes}");
    }
    editor.find("#time").await.clear().await.unwrap();
    editor.find("#time").await.send_keys("300").await.unwrap();
    let axes = editor.find("#times").await.text().await.unwrap();
    assert!(axes.contains("5 min"), "{axes}");
    editor.client.clone().close().await.unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn flat_parts_at_both_ends_of_the_scale_are_seen() {
    let Some(driver) = Driver::start() else { return };
    let editor = Editor::open(&driver).await;
    // Twice beyond the scale, where the overlay's opacity stays at 100 and at 0 %.
    editor.paste("range=0:100 0,100 20,150 40,100 60,0 80,-50 100,0").await;
    editor.is_the_cores(SplineKind::Cardinal).await;
    // The whole width of the stroke has the plot's ground around it, on which it is drawn.
    let script = "const stroke = document.querySelector('#curve').getBoundingClientRect(); \
                  const chart = document.querySelector('#chart').getBoundingClientRect(); \
                  return stroke.top - chart.top > 9 && chart.bottom - stroke.bottom > 9 && \
                      !document.querySelector('#curve').hasAttribute('clip-path');";
    assert_eq!(editor.client.execute(script, vec![]).await.unwrap(), true);
    for point in editor.points().await {
        let (_, y, _, height) = point.rectangle().await.unwrap();
        let (_, top, _, whole) = editor.find("#chart").await.rectangle().await.unwrap();
        assert!(y >= top && y + height <= top + whole, "a point is outside the chart");
    }
    editor.client.clone().close().await.unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn what_it_prints_can_be_pasted() {
    let Some(driver) = Driver::start() else { return };
    let editor = Editor::open(&driver).await;
    let curve = "range=0:100 0,41 58,100 270,63.5 994,11";
    let points = Points::parse(curve).unwrap();
    let other = Points::parse("0,100 100,0").unwrap();
    for text in [
        format!("line-fade-curve = {curve}"),
        format!("  line-fade-curve={curve}  "),
        format!("#line-fade-curve = {curve}"),
        "line-fade-curve = range=0:100 0,41 # dim\n\n  # brighter\n\t58,100\n  270,63.5\n  994,11\n"
            .to_owned(),
        format!("[curves]\nslow = {curve}"),
        "range=0:100 0,41\n58,100 270,63.5\n994,11".to_owned(),
    ] {
        editor.paste("0,100 100,0").await;
        assert_eq!(editor.written().await, other);
        editor.copy(&text).await;
        let is_config = text.contains(" = ") || text.contains("curve=");
        if !is_config {
            editor.find("#text").await.clear().await.unwrap();
        }
        editor.paste_clipboard().await;
        if !is_config {
            editor.click("#read").await;
        }
        assert_eq!(editor.fault().await, "", "{text}");
        assert_eq!(editor.written().await, points, "{text}");
    }

    // All that it prints, with the other settings.
    editor.find("#kind").await.send_keys("linear").await.unwrap();
    editor.find("#time").await.clear().await.unwrap();
    editor.find("#time").await.send_keys("90").await.unwrap();
    let printed = editor.config().await;
    editor.client.refresh().await.unwrap();
    assert_eq!(editor.written().await, other);
    editor.copy(&printed).await;
    editor.paste_clipboard().await;
    assert_eq!(editor.config().await, printed);

    // Typed, too; and what is no number to the core is none here.
    editor.paste(&format!("line-fade-curve = {curve}")).await;
    assert_eq!(editor.written().await, points);
    for text in ["line-fade-curve = ", "line-fade-curve = 0x1,2 3,4", "0,1 Infinity,2", "range=:5 0,1 1,2"] {
        editor.paste(text).await;
        assert!(!editor.fault().await.is_empty(), "{text}");
        assert_eq!(editor.written().await, points, "a faulty curve changes nothing");
    }
    editor.client.clone().close().await.unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn a_fault_is_seen_without_scrolling_until_something_changes() {
    let Some(driver) = Driver::start() else { return };
    let editor = Editor::open(&driver).await;
    editor.paste("0,100 50,60 40,0").await;
    assert!(editor.fault().await.contains("40 follows 50"));
    assert!(editor.is_in_the_window("#fault").await && editor.is_in_the_window("#text").await);
    editor.click("#add").await;
    assert_eq!(editor.fault().await, "");
    editor.client.clone().close().await.unwrap();
}
