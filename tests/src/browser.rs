//! A page in headless Chromium, driven by the DevTools protocol over a pipe: what it says on its console, what it loads, what a
//! click does.
//!
//! `FLOW_TEST_SCREENSHOTS` names a folder that gets the pictures that tests take, for people to look at.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// After this a browser that does not answer counts as hung.
const LIMIT: Duration = Duration::from_secs(60);
/// The names that Chromium has.
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// A browser with one page.
pub struct Browser {
    child: Child,
    input: ChildStdin,
    answers: Receiver<Value>,
    events: VecDeque<Value>,
    session: Option<String>,
    next: u64,
    errors: Vec<String>,
    requests: Vec<String>,
    _profile: tempfile::TempDir,
}

/// Where Chromium is. Where there is none the test is passed over ([`skip!`](crate::skip!)).
pub fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .flat_map(|folder| NAMES.map(|name| folder.join(name)))
        .find(|program| program.is_file());
    if found.is_none() {
        crate::skip!(
            "no chromium, so the report was not looked at in a browser (apt-get install chromium)"
        );
    }
    found
}

impl Browser {
    /// Starts a browser with an empty page of this size; none where there is no browser.
    pub fn start(width: u32, height: u32) -> Option<Browser> {
        let program = find()?;
        let profile = tempfile::tempdir().unwrap();
        // The protocol's pipe is descriptors 3 and 4.
        let script = r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#;
        let mut command = Command::new("sh");
        command
            .args(["-c", script])
            .arg(&program)
            .args([
                "--headless",
                "--remote-debugging-pipe",
                "--no-first-run",
                "--disable-gpu",
            ])
            .args([
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--mute-audio",
            ])
            .args([
                "--force-device-scale-factor=1",
                "--disable-component-update",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if rustix::process::geteuid().is_root() {
            command.arg("--no-sandbox");
        }
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            for message in output.split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message).unwrap();
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Browser {
            child,
            input,
            answers,
            events: VecDeque::new(),
            session: None,
            next: 0,
            errors: Vec::new(),
            requests: Vec::new(),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let session = browser.call(
            "Target.attachToTarget",
            json!({"targetId": target["targetId"], "flatten": true}),
        );
        browser.session = Some(session["sessionId"].as_str().unwrap().into());
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser.resize(width, height);
        Some(browser)
    }

    /// Calls a method of the protocol.
    #[track_caller]
    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.next += 1;
        let mut message = json!({"id": self.next, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.input.write_all(&bytes).unwrap();
        let began = Instant::now();
        loop {
            let message = self
                .hear(LIMIT)
                .unwrap_or_else(|| panic!("no answer to {method}"));
            if message["id"] == self.next {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
            assert!(began.elapsed() < LIMIT, "no answer to {method}");
        }
    }

    /// The next message; events are kept.
    fn hear(&mut self, wait: Duration) -> Option<Value> {
        let message = match self.answers.recv_timeout(wait) {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout) => return None,
            Err(RecvTimeoutError::Disconnected) => panic!("the browser has ended"),
        };
        let details = &message["params"];
        match message["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" => {
                self.errors.push(details["exceptionDetails"].to_string());
            }
            "Runtime.consoleAPICalled"
                if matches!(
                    details["type"].as_str(),
                    Some("error" | "warning" | "assert")
                ) =>
            {
                self.errors.push(details["args"].to_string());
            }
            "Log.entryAdded"
                if matches!(
                    details["entry"]["level"].as_str(),
                    Some("error" | "warning")
                ) =>
            {
                self.errors.push(details["entry"].to_string());
            }
            "Network.requestWillBeSent" => {
                let url = details["request"]["url"].as_str().unwrap_or_default();
                self.requests.push(url.chars().take(200).collect());
            }
            _ => {}
        }
        if message["method"].is_string() {
            self.events.push_back(message.clone());
        }
        Some(message)
    }

    /// Opens a file.
    #[track_caller]
    pub fn open(&mut self, path: &Path) {
        self.visit(&format!("file://{}", path.display()));
    }

    /// Opens an address, and waits until it is loaded.
    #[track_caller]
    pub fn visit(&mut self, url: &str) {
        self.events.clear();
        let answer = self.call("Page.navigate", json!({"url": url}));
        assert!(
            answer["errorText"].is_null(),
            "{url}: {}",
            answer["errorText"]
        );
        let began = Instant::now();
        while !self
            .events
            .iter()
            .any(|event| event["method"] == "Page.loadEventFired")
        {
            self.hear(Duration::from_millis(100));
            assert!(began.elapsed() < LIMIT, "{url} is not loaded");
        }
        self.events.clear();
    }

    /// What a JavaScript expression, or what it promises, is.
    #[track_caller]
    pub fn value(&mut self, expression: &str) -> Value {
        let answer = self.call(
            "Runtime.evaluate",
            json!({"expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true}),
        );
        assert!(
            answer["exceptionDetails"].is_null(),
            "{expression}\n{}",
            answer["exceptionDetails"]
        );
        answer["result"]["value"].clone()
    }

    /// The text that an expression is.
    #[track_caller]
    pub fn text(&mut self, expression: &str) -> String {
        let value = self.value(expression);
        value
            .as_str()
            .map_or_else(|| value.to_string(), String::from)
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub fn wait(&mut self, expression: &str) {
        let began = Instant::now();
        while self.value(&format!("Boolean({expression})")) != true {
            assert!(
                began.elapsed() < LIMIT,
                "never true: {expression}; errors: {:?}",
                self.errors
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Clicks with the mouse on the middle of the first element of a selector.
    #[track_caller]
    pub fn click(&mut self, selector: &str) {
        let (x, y) = self.middle(selector);
        self.mouse("mouseMoved", x, y);
        self.mouse("mousePressed", x, y);
        self.mouse("mouseReleased", x, y);
    }

    /// Moves the mouse to a place of the window.
    pub fn point_at(&mut self, x: f64, y: f64) {
        self.mouse("mouseMoved", x, y);
    }

    fn mouse(&mut self, kind: &str, x: f64, y: f64) {
        let button = if kind == "mouseMoved" { "none" } else { "left" };
        self.call(
            "Input.dispatchMouseEvent",
            json!({"type": kind, "x": x, "y": y, "button": button, "clickCount": 1}),
        );
    }

    /// Presses a key: `Tab`, `Enter`, `+`.
    pub fn key(&mut self, key: &str) {
        let text = match key {
            "Enter" => "\r",
            key if key.chars().count() == 1 => key,
            _ => "",
        };
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            _ => 0,
        };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({"type": kind, "key": key, "windowsVirtualKeyCode": code});
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = json!(text);
            }
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// The middle of the first element of a selector, scrolled into the window.
    #[track_caller]
    pub fn middle(&mut self, selector: &str) -> (f64, f64) {
        let quoted = json!(selector);
        let place = self.value(&format!(
            "(() => {{ const e = document.querySelector({quoted}); if (!e) return null; \
             e.scrollIntoView({{block: 'center', inline: 'center', behavior: 'instant'}}); \
             const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; }})()"
        ));
        let place = place
            .as_array()
            .unwrap_or_else(|| panic!("there is no {selector}"));
        (place[0].as_f64().unwrap(), place[1].as_f64().unwrap())
    }

    /// Gives the window another size.
    pub fn resize(&mut self, width: u32, height: u32) {
        self.call(
            "Emulation.setDeviceMetricsOverride",
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}),
        );
    }

    /// Says whether the system likes dark pages.
    pub fn dark(&mut self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        self.call(
            "Emulation.setEmulatedMedia",
            json!({"features": [{"name": "prefers-color-scheme", "value": value}]}),
        );
    }

    /// A picture of the whole page, in the folder that `FLOW_TEST_SCREENSHOTS` names; nothing without that.
    pub fn screenshot(&mut self, name: &str) {
        let Some(folder) = std::env::var_os("FLOW_TEST_SCREENSHOTS") else {
            return;
        };
        let size = self.value("[innerWidth, document.documentElement.scrollHeight]");
        // All of it is seen once, since what is not seen is not drawn.
        let height = size[1].as_u64().unwrap_or(800).clamp(800, 12_000);
        let width = size[0].as_u64().unwrap_or(1280);
        self.resize(
            u32::try_from(width).unwrap(),
            u32::try_from(height).unwrap(),
        );
        self.value("new Promise((done) => setTimeout(done, 1200))");
        let picture = self.call("Page.captureScreenshot", json!({"format": "png"}));
        let bytes = STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(Path::new(&folder).join(format!("{name}.png")), bytes).unwrap();
        self.resize(u32::try_from(width).unwrap(), 900);
    }

    /// Errors and warnings of the page so far, those of its policy among them.
    pub fn errors(&mut self) -> Vec<String> {
        // Events come in the order of what happened: after an answer all before it are here.
        self.value("1");
        self.errors.clone()
    }

    /// The addresses that were asked for so far.
    pub fn requests(&self) -> &[String] {
        &self.requests
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
