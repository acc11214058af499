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
use leco_core::fade::{Curve, Points, SplineKind};
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
            "--window-size=1000,900",
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
            // The frame cuts what is above and below.
            let y = (y0 + (y1 - y0) * (fraction - x0) / (x1 - x0)).clamp(0.0, 1.0);
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
    let fault = editor.find("#fault").await.text().await.unwrap();
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
