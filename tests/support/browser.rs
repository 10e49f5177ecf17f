//! Headless Chromium, driven by its DevTools protocol.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tungstenite::{Message, WebSocket};

use crate::http::curl;
use crate::wait::{LIMIT, eventually};

/// One page in a browser of its own. Dropping it ends the browser.
pub struct Page {
    child: Child,
    socket: WebSocket<TcpStream>,
    next_id: u64,
    _profile: TempDir,
}

impl Page {
    /// Opens `url`.
    ///
    /// # Panics
    ///
    /// If Chromium cannot be started or does not answer.
    pub fn open(url: &str) -> Self {
        let profile = TempDir::new().expect("a temporary directory");
        let child = Command::new("chromium")
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
            ])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ])
            .args([
                "--disable-dev-shm-usage",
                "--remote-debugging-port=0",
                "--window-size=1200,900",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromium starts; `cargo xtask test` installs it");
        let port = eventually("the DevTools port", || {
            let text = std::fs::read_to_string(profile.path().join("DevToolsActivePort")).ok()?;
            text.lines().next()?.parse::<u16>().ok()
        });
        let target = eventually("a page", || {
            let (_, text) = curl(
                "GET",
                &format!("http://127.0.0.1:{port}/json/list"),
                None,
                &[],
            );
            let targets: Value = serde_json::from_str(&text).ok()?;
            let page = targets
                .as_array()?
                .iter()
                .find(|target| target["type"] == "page")?
                .clone();
            page["webSocketDebuggerUrl"].as_str().map(str::to_owned)
        });
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("DevTools accepts");
        stream.set_read_timeout(Some(LIMIT)).expect("a time limit");
        let (socket, _) = tungstenite::client(target, stream).expect("DevTools upgrades");
        let mut page = Self {
            child,
            socket,
            next_id: 1,
            _profile: profile,
        };
        page.call("Page.enable", json!({}));
        page.call("Page.navigate", json!({ "url": url }));
        page
    }

    /// The value of a JavaScript expression; promises are awaited.
    ///
    /// # Panics
    ///
    /// If it throws.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let parameters =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", parameters);
        assert!(
            answer.get("exceptionDetails").is_none(),
            "{expression}: {answer}"
        );
        answer["result"]["value"].clone()
    }

    /// Waits until a JavaScript expression is true.
    ///
    /// # Panics
    ///
    /// If it is not within the time limit.
    pub fn wait_for(&mut self, expression: &str) {
        eventually(expression, || {
            (self.evaluate(expression) == true).then_some(())
        });
    }

    /// A picture of the page as PNG.
    ///
    /// # Panics
    ///
    /// If the browser gives none.
    pub fn screenshot(&mut self) -> Vec<u8> {
        let answer = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        let data = answer["data"].as_str().expect("a picture");
        base64::engine::general_purpose::STANDARD
            .decode(data)
            .expect("base64")
    }

    fn call(&mut self, method: &str, parameters: Value) -> Value {
        let id = self.next_id;
        self.next_id += 1;
        let request = json!({ "id": id, "method": method, "params": parameters });
        self.socket
            .send(Message::text(request.to_string()))
            .expect("DevTools reads");
        loop {
            let Message::Text(text) = self.socket.read().expect("DevTools answers") else {
                continue;
            };
            let answer: Value = serde_json::from_str(&text).expect("JSON");
            if answer["id"] == id {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].clone();
            }
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
