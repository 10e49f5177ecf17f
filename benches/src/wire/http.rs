//! HTTP/1.1 as a client: requests as bytes, and where responses end.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, bail};

/// A request with a body when there is one.
pub fn request(method: &str, path: &str, fields: &[(&str, &str)], body: Option<&str>) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
    for (name, value) in fields {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    if let Some(body) = body {
        let _ = write!(
            text,
            "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
    } else {
        text.push_str("\r\n");
    }
    text.into_bytes()
}

/// Finds the ends of responses in the bytes of one connection.
#[derive(Debug, Default)]
pub struct Responses {
    /// The beginning of a response whose end has not come.
    pending: Vec<u8>,
    /// Bytes of a body of known length that are still to come.
    body_left: usize,
}

impl Responses {
    /// Counts the responses that end in these bytes.
    ///
    /// # Errors
    ///
    /// If a status is not 2xx or the bytes are no HTTP; the message holds the beginning of the response.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<u64> {
        let mut ended = 0;
        if !self.pending.is_empty() {
            self.pending.extend_from_slice(bytes);
            let whole = std::mem::take(&mut self.pending);
            return self.feed(&whole);
        }
        while !bytes.is_empty() {
            if self.body_left > 0 {
                let taken = self.body_left.min(bytes.len());
                self.body_left -= taken;
                bytes = &bytes[taken..];
                ended += u64::from(self.body_left == 0);
                continue;
            }
            let Some(length) = memchr::memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4) else {
                self.pending.extend_from_slice(bytes);
                break;
            };
            match body(&bytes[..length])? {
                Framing::Length(0) => {
                    ended += 1;
                    bytes = &bytes[length..];
                }
                Framing::Length(body) => {
                    self.body_left = body;
                    bytes = &bytes[length..];
                }
                Framing::Chunked => {
                    let Some(end) = chunks_end(&bytes[length..])? else {
                        self.pending.extend_from_slice(bytes);
                        break;
                    };
                    ended += 1;
                    bytes = &bytes[length + end..];
                }
            }
        }
        Ok(ended)
    }
}

enum Framing {
    Length(usize),
    Chunked,
}

fn body(head: &[u8]) -> Result<Framing> {
    let refuse = || String::from_utf8_lossy(&head[..head.len().min(300)]).into_owned();
    let Some(b'2') = head
        .strip_prefix(b"HTTP/1.1 ")
        .and_then(|rest| rest.first())
    else {
        bail!("not a successful response: {}", refuse());
    };
    if head.starts_with(b"HTTP/1.1 204") {
        return Ok(Framing::Length(0));
    }
    for line in head.split(|&byte| byte == b'\n') {
        let Some(colon) = memchr::memchr(b':', line) else {
            continue;
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = std::str::from_utf8(value)
                .ok()
                .and_then(|text| text.parse().ok());
            return Ok(Framing::Length(length.with_context(refuse)?));
        }
        if name.eq_ignore_ascii_case(b"transfer-encoding") && value.eq_ignore_ascii_case(b"chunked")
        {
            return Ok(Framing::Chunked);
        }
    }
    bail!("a response of unknown length: {}", refuse())
}

/// Where a chunked body without trailers ends, if it does in these bytes.
fn chunks_end(bytes: &[u8]) -> Result<Option<usize>> {
    let mut at = 0;
    loop {
        let Some(line) = memchr::memmem::find(&bytes[at..], b"\r\n") else {
            return Ok(None);
        };
        let size = std::str::from_utf8(&bytes[at..at + line])
            .ok()
            .and_then(|text| usize::from_str_radix(text.split(';').next()?.trim(), 16).ok())
            .context("a chunk size that is no number")?;
        at += line + 2 + size + 2;
        if at > bytes.len() {
            return Ok(None);
        }
        if size == 0 {
            return Ok(Some(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc\
        HTTP/1.1 204 No Content\r\n\r\n\
        HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";

    #[test]
    fn responses_end_at_their_length_wherever_the_bytes_are_cut() {
        for cut in 0..TEXT.len() {
            let mut responses = Responses::default();
            let ended =
                responses.feed(&TEXT[..cut]).unwrap() + responses.feed(&TEXT[cut..]).unwrap();
            assert_eq!(ended, 3, "cut at {cut}");
        }
    }

    #[test]
    fn a_refusal_is_an_error_that_shows_it() {
        let error = Responses::default()
            .feed(b"HTTP/1.1 403 Forbidden\r\n\r\n")
            .unwrap_err();
        assert!(error.to_string().contains("403 Forbidden"), "{error}");
    }
}
