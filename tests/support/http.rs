//! HTTP by curl, and by hand on a socket where a test needs a broken request or many quick ones.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::command;
use crate::wait::LIMIT;

/// Status and body of a request made by curl.
pub fn curl(method: &str, url: &str, body: Option<&Value>, more: &[&str]) -> (u16, String) {
    let body = body.map(Value::to_string);
    let mut arguments = vec!["-sS", "-X", method, "-w", "\n%{http_code}", url];
    if let Some(body) = &body {
        arguments.extend([
            "-H",
            "Content-Type: application/json",
            "--data-binary",
            body,
        ]);
    }
    arguments.extend(more);
    let output = command::output("curl", &arguments);
    let (text, status) = output
        .rsplit_once('\n')
        .expect("curl prints the status last");
    (status.parse().expect("a status"), text.to_owned())
}

/// The JSON answer of an operation.
///
/// # Panics
///
/// If the answer is no JSON.
pub fn operation(url: &str, body: &Value) -> (u16, Value) {
    let (status, text) = curl("POST", url, Some(body), &[]);
    let value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    (status, value)
}

/// A keep-alive connection for requests with small bodies.
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn open(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// Sends one request and reads its answer: status and body.
    ///
    /// # Errors
    ///
    /// What the system says, and an end of the connection before the answer is complete.
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        body: &str,
    ) -> std::io::Result<(u16, String)> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        self.response()
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Everything until the peer closes.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn read_to_end(&mut self) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads one response with a `Content-Length`, or without a body.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    pub fn response(&mut self) -> std::io::Result<(u16, String)> {
        let broken = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .ok_or_else(broken)?;
        let mut length = 0;
        loop {
            line.clear();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(broken());
            }
            let field = line.trim_end();
            if field.is_empty() {
                break;
            }
            if let Some(value) = field.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().map_err(|_| broken())?;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}
