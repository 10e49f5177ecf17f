//! Follows where the messages of an HTTP/1 connection begin and end, and refuses what hyper is lax about.
//!
//! hyper takes a single LF for the end of a line, prefers `Transfer-Encoding` where a `Content-Length`
//! contradicts it, cuts fragments off targets, and knows one status for each kind of excess. Two readers of
//! one connection that differ in such a point are what request smuggling is made of, so we do not leave them
//! to chance. hyper sees nothing of a head that breaks a rule, or at most the part that came in earlier reads.
//!
//! Everything else is hyper's to judge, and where it will refuse by itself the scanner steps aside for good. After
//! a request that may turn the connection into another protocol, the scanner stops: what follows is held back
//! until the answer tells whether it is HTTP.

use http::StatusCode;
use memchr::{memchr, memchr3};

/// The most field lines of a head, as hyper has it.
const MAX_FIELD_LINES: usize = 100;

/// Longest part of a line that is kept: enough for the names and values that decide the framing.
const LINE_START: usize = 128;

/// A rule that the head broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Bytes of the scanned input that belong to earlier messages and may be passed on.
    pub(crate) valid: usize,
    /// What the peer is told.
    pub(crate) answer: Answer,
}

/// A response of our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Status code and reason phrase.
    pub(crate) status: &'static str,
    /// Plain text for people, where the status alone would leave them guessing.
    pub(crate) body: &'static str,
}

impl Answer {
    pub(crate) const fn new(status: &'static str) -> Self {
        Self { status, body: "" }
    }

    pub(crate) fn status_code(&self) -> StatusCode {
        let code = self.status.get(..3).and_then(|code| code.parse().ok());
        code.unwrap_or(StatusCode::BAD_REQUEST)
    }
}

pub(crate) const BAD_REQUEST: Answer = Answer::new("400 Bad Request");
const URI_TOO_LONG: Answer = Answer::new("414 URI Too Long");
const NOT_IMPLEMENTED: Answer = Answer::new("501 Not Implemented");
pub(crate) const FIELDS_TOO_LARGE: Answer = Answer::new("431 Request Header Fields Too Large");
const VERSION_NOT_SUPPORTED: Answer = Answer::new("505 HTTP Version Not Supported");
const RAW_LESS: Answer = Answer {
    body: "A URL cannot contain a raw '<': write it as %3C. To compare in a query, name the operator: =lt= or =le=.\n",
    ..BAD_REQUEST
};
const RAW_GREATER: Answer = Answer {
    body: "A URL cannot contain a raw '>': write it as %3E. To compare in a query, name the operator: =gt= or =ge=.\n",
    ..BAD_REQUEST
};

/// See the module. Bytes are scanned once, in the order in which they arrive.
#[derive(Debug)]
pub(crate) struct Scanner {
    state: State,
    line: Line,
    head: Head,
    max_head_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between messages, where empty lines are skipped (RFC 9112, section 2.2).
    Between,
    RequestLine,
    FieldLine,
    /// So many bytes of content, or of a chunk with the line end after it, are still to come.
    Content(u64),
    ChunkSize,
    ChunkData(u64),
    TrailerLine,
    /// After a request whose answer decides what follows.
    Undecided,
    /// Not ours to judge any more.
    Aside,
}

/// The line that is being read.
#[derive(Debug, Default)]
struct Line {
    start: Vec<u8>,
    /// Its last eight bytes, the latest in the lowest place.
    end: u64,
    bytes: usize,
}

/// What the head has said so far about the content and the connection.
#[derive(Debug, Default)]
struct Head {
    /// Of its complete lines.
    bytes: usize,
    field_lines: usize,
    content_length: Field<u64>,
    chunked: Field<()>,
    may_change_protocol: bool,
}

/// A field that decides the framing.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Field<T> {
    #[default]
    Absent,
    Value(T),
    /// Present with a value that hyper or [`strict`](super::strict) refuses.
    Refused,
}

impl Scanner {
    /// A head that exceeds the limit, or that of its field lines, is refused before hyper finds it too large.
    pub(crate) fn new(max_head_bytes: usize) -> Self {
        Self {
            state: State::Between,
            line: Line::default(),
            head: Head::default(),
            max_head_bytes,
        }
    }

    /// Follows the framing over these bytes, and returns how many may be passed on now. It is fewer than all
    /// only if the scanner [is undecided](Self::is_undecided) about the rest. After an error, nothing more may
    /// be scanned.
    ///
    /// # Errors
    ///
    /// A [`Violation`]; the bytes before the head in question may be passed on.
    pub(crate) fn scan(&mut self, bytes: &[u8]) -> Result<usize, Violation> {
        let length = bytes.len();
        let mut rest = bytes;
        let mut head_begins = 0;
        while let Some(first) = rest.first().copied() {
            let used = match &mut self.state {
                State::Aside => return Ok(length),
                State::Undecided => return Ok(length - rest.len()),
                State::Between if matches!(first, b'\r' | b'\n') => 1,
                State::Between => {
                    self.state = State::RequestLine;
                    self.head = Head::default();
                    head_begins = length - rest.len();
                    0
                }
                State::Content(left) | State::ChunkData(left) => {
                    let used =
                        usize::try_from(*left).map_or(rest.len(), |left| left.min(rest.len()));
                    *left -= used as u64;
                    self.end_of_data();
                    used
                }
                _ => {
                    let end = memchr(b'\n', rest);
                    let line_length = end.unwrap_or(rest.len());
                    let line = &rest[..line_length];
                    self.scan_line(line, end.is_some())
                        .map_err(|answer| Violation {
                            valid: head_begins,
                            answer,
                        })?
                }
            };
            rest = &rest[used..];
        }
        Ok(length)
    }

    /// Whether every message that has begun has arrived.
    pub(crate) fn is_between_messages(&self) -> bool {
        matches!(self.state, State::Between | State::Undecided)
    }

    /// Whether part of a head has arrived.
    pub(crate) fn is_inside_head(&self) -> bool {
        matches!(self.state, State::RequestLine | State::FieldLine)
    }

    /// Whether what follows may be of another protocol.
    pub(crate) fn is_undecided(&self) -> bool {
        self.state == State::Undecided
    }

    /// The connection has stayed with HTTP.
    pub(crate) fn decide_for_http(&mut self) {
        self.state = State::Between;
    }

    fn end_of_data(&mut self) {
        match self.state {
            State::Content(0) => self.state = self.head.after_message(),
            State::ChunkData(0) => self.state = State::ChunkSize,
            _ => {}
        }
    }

    /// Part of a line; `ends` if a LF follows. Returns how many bytes were used.
    fn scan_line(&mut self, part: &[u8], ends: bool) -> Result<usize, Answer> {
        match self.state {
            State::RequestLine => self.check_request_line(part)?,
            State::FieldLine => self.check_head_size(part)?,
            _ => {}
        }
        self.line.push(part);
        if !ends {
            return Ok(part.len());
        }
        let in_head = matches!(self.state, State::RequestLine | State::FieldLine);
        if in_head && !self.line.ends_with_cr() {
            return Err(BAD_REQUEST);
        }
        if in_head {
            self.head.bytes += self.line.bytes + 1;
        }
        let next = match self.state {
            State::RequestLine => self.line.next_after_request_line(&mut self.head),
            State::FieldLine if self.line.is_empty() => self.head.content(),
            State::FieldLine => {
                self.head.note(&self.line.start);
                self.head.field_lines += 1;
                match self.head.field_lines > MAX_FIELD_LINES {
                    true => Err(FIELDS_TOO_LARGE),
                    false => Ok(State::FieldLine),
                }
            }
            State::ChunkSize => Ok(self.line.next_after_chunk_size()),
            State::TrailerLine if self.line.is_empty() => Ok(self.head.after_message()),
            other => Ok(other),
        };
        self.state = next?;
        self.line.clear();
        Ok(part.len() + 1)
    }

    fn check_request_line(&self, part: &[u8]) -> Result<(), Answer> {
        if memchr3(b'#', b'<', b'>', part).is_some() {
            return Err(forbidden_in_target(part));
        }
        // After its CR come at least one LF and an empty line.
        let longest = self.max_head_bytes.saturating_sub(3);
        let room = longest.saturating_sub(self.line.bytes);
        if part.len() <= room {
            return Ok(());
        }
        // RFC 9112, section 3: one status for a long target, another one for a long method.
        let has_method =
            self.line.start.contains(&b' ') || part[..room.min(LINE_START)].contains(&b' ');
        Err(if has_method {
            URI_TOO_LONG
        } else {
            NOT_IMPLEMENTED
        })
    }

    /// Part of a field line, or of the empty one, whose LF counts too.
    fn check_head_size(&self, part: &[u8]) -> Result<(), Answer> {
        let bytes = self.head.bytes + self.line.bytes + part.len() + 1;
        match bytes > self.max_head_bytes {
            true => Err(FIELDS_TOO_LARGE),
            false => Ok(()),
        }
    }
}

/// The answer to a target with a byte that no URL has.
#[cold]
fn forbidden_in_target(part: &[u8]) -> Answer {
    // RFC 9112, section 3.2: a target has no fragment.
    if part.contains(&b'#') {
        return BAD_REQUEST;
    }
    // RFC 3986, appendix A: nor these, but some clients send them in queries.
    match part.contains(&b'<') {
        true => RAW_LESS,
        false => RAW_GREATER,
    }
}

impl Line {
    fn push(&mut self, part: &[u8]) {
        let room = LINE_START - self.start.len();
        self.start.extend_from_slice(&part[..part.len().min(room)]);
        for byte in &part[part.len().saturating_sub(8)..] {
            self.end = self.end << 8 | u64::from(*byte);
        }
        self.bytes += part.len();
    }

    fn clear(&mut self) {
        self.start.clear();
        (self.end, self.bytes) = (0, 0);
    }

    fn ends_with_cr(&self) -> bool {
        self.end & 0xFF == u64::from(b'\r')
    }

    /// Nothing but the CR that every complete line ends with.
    fn is_empty(&self) -> bool {
        self.bytes <= 1 && self.start.iter().all(|byte| *byte == b'\r')
    }

    /// RFC 9110, section 15.6.6: another major version is 505. The preface of HTTP/2 is hyper's to find.
    fn next_after_request_line(&self, head: &mut Head) -> Result<State, Answer> {
        if self.start.starts_with(b"PRI ") {
            return Ok(State::Aside);
        }
        head.may_change_protocol = self.start.starts_with(b"CONNECT ");
        match self.end.to_be_bytes() {
            [_, b'T', b'P', b'/', major, b'.', minor, b'\r']
                if major.is_ascii_digit() && minor.is_ascii_digit() && major != b'1' =>
            {
                Err(VERSION_NOT_SUPPORTED)
            }
            _ => Ok(State::FieldLine),
        }
    }

    /// RFC 9112, section 7.1. hyper judges the extensions and whether the size is one.
    fn next_after_chunk_size(&self) -> State {
        let digits = self
            .start
            .iter()
            .take_while(|byte| byte.is_ascii_hexdigit());
        let digits: String = digits.map(|byte| char::from(*byte)).collect();
        match u64::from_str_radix(&digits, 16).map(|size| size.checked_add(2)) {
            Ok(Some(2)) if digits.len() < LINE_START => State::TrailerLine,
            Ok(Some(with_line_end)) if digits.len() < LINE_START => State::ChunkData(with_line_end),
            _ => State::Aside,
        }
    }
}

impl Head {
    fn note(&mut self, line: &[u8]) {
        let Some(colon) = memchr(b':', line) else {
            return;
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let is_whole = line.len() < LINE_START;
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = std::str::from_utf8(value)
                .ok()
                .and_then(|text| text.parse().ok());
            self.content_length = match (self.content_length, length) {
                (Field::Absent, Some(length)) if is_whole => Field::Value(length),
                (Field::Value(before), Some(length)) if is_whole && before == length => {
                    Field::Value(length)
                }
                _ => Field::Refused,
            };
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.chunked = match self.chunked {
                Field::Absent if value.eq_ignore_ascii_case(b"chunked") => Field::Value(()),
                _ => Field::Refused,
            };
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            self.may_change_protocol = true;
        }
    }

    fn after_message(&self) -> State {
        match self.may_change_protocol {
            true => State::Undecided,
            false => State::Between,
        }
    }

    /// RFC 9112, section 6.1 leaves it to us whether to refuse two kinds of length; we do.
    fn content(&self) -> Result<State, Answer> {
        match (self.chunked, self.content_length) {
            (Field::Absent, Field::Absent | Field::Value(0)) => Ok(self.after_message()),
            (Field::Absent, Field::Value(length)) => Ok(State::Content(length)),
            (Field::Value(()), Field::Absent) => Ok(State::ChunkSize),
            (Field::Refused, Field::Absent) | (Field::Absent, Field::Refused) => Ok(State::Aside),
            _ => Err(BAD_REQUEST),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 100;

    /// Scans at once, and byte by byte; both must come to the same conclusion.
    fn scan(input: &str) -> Option<Violation> {
        let at_once = Scanner::new(LIMIT).scan(input.as_bytes()).err();
        let mut scanner = Scanner::new(LIMIT);
        let mut bytes = input.bytes();
        let mut one = |byte| match scanner.scan(&[byte]) {
            Err(violation) => Some(Some(violation)),
            Ok(1) => None,
            Ok(_) => Some(None),
        };
        let stepwise = bytes.find_map(&mut one).flatten();
        let status = |violation: &Violation| violation.answer.status;
        assert_eq!(
            at_once.as_ref().map(status),
            stepwise.as_ref().map(status),
            "{input:?}"
        );
        at_once
    }

    fn status(input: &str) -> Option<&'static str> {
        scan(input).map(|violation| violation.answer.status)
    }

    #[test]
    fn rfc9112_2_2_a_line_of_a_head_ends_with_cr_and_lf() {
        let good = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(scan(good), None);
        for (at, _) in good.match_indices("\r\n") {
            let mut bad = good.to_owned();
            bad.remove(at);
            assert_eq!(status(&bad), Some(BAD_REQUEST.status), "{bad:?}");
        }
        assert_eq!(scan(&format!("\r\n{good}")), None);
    }

    #[test]
    fn rfc9112_6_1_two_kinds_of_length_are_refused_in_either_order() {
        let head = |fields: &str| format!("POST / HTTP/1.1\r\n{fields}\r\n");
        for fields in [
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "transfer-encoding: chunked\r\nCONTENT-LENGTH: 1\r\n",
            "Transfer-Encoding: x\r\nContent-Length: 1\r\n",
            "Upgrade: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n",
        ] {
            assert_eq!(status(&head(fields)), Some(BAD_REQUEST.status), "{fields}");
        }
        let padded = format!(
            "Content-Length:{}1\r\nTransfer-Encoding: chunked\r\n",
            " ".repeat(20)
        );
        assert_eq!(status(&head(&padded)), Some(BAD_REQUEST.status));
    }

    #[test]
    fn content_is_no_head_and_the_next_head_is_found_behind_it() {
        let bad = "GET / HTTP/1.1\n";
        for before in [
            "GET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\na\n\nb",
            "POST / HTTP/1.1\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\na\n\nb",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=\"y\"\r\na\nb\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n00A \r\n0123456789\r\n0\r\nT: u\r\n\r\n",
        ] {
            assert_eq!(scan(before), None, "{before:?}");
            let violation = Violation {
                valid: before.len(),
                answer: BAD_REQUEST,
            };
            assert_eq!(
                scan(&format!("{before}{bad}")),
                Some(violation),
                "{before:?}"
            );
        }
    }

    #[test]
    fn what_hyper_refuses_and_other_protocols_are_left_alone() {
        for before in [
            "POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ] {
            assert_eq!(
                scan(&format!("{before}\nGET / HTTP/1.1\n\n")),
                None,
                "{before:?}"
            );
        }
    }

    #[test]
    fn rfc9112_3_a_long_target_is_414_and_a_long_method_501() {
        let target = |length: usize| format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(length));
        let others = "GET / HTTP/1.1\r\n\r\n".len();
        assert_eq!(scan(&target(LIMIT - others)), None);
        assert_eq!(
            status(&target(LIMIT - others + 1)),
            Some(URI_TOO_LONG.status)
        );
        assert_eq!(status(&"A".repeat(LIMIT + 1)), Some(NOT_IMPLEMENTED.status));
    }

    #[test]
    fn what_follows_a_request_to_change_the_protocol_is_held_back_until_it_is_decided() {
        for request in [
            "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
            "POST / HTTP/1.1\r\nUpgrade: x\r\nContent-Length: 1\r\n\r\na",
            "POST / HTTP/1.1\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
            "CONNECT a:1 HTTP/1.1\r\n\r\n",
        ] {
            let mut scanner = Scanner::new(LIMIT);
            let bytes = format!("{request}\nno HTTP").into_bytes();
            assert_eq!(scanner.scan(&bytes), Ok(request.len()), "{request:?}");
            assert!(scanner.is_undecided());
            scanner.decide_for_http();
            assert!(scanner.scan(b"GET / HTTP/1.1\n").is_err());
        }
    }

    #[test]
    fn rfc9112_3_2_a_target_has_no_fragment() {
        assert_eq!(
            status("GET /a#b HTTP/1.1\r\n\r\n"),
            Some(BAD_REQUEST.status)
        );
    }

    #[test]
    fn rfc9110_15_6_6_another_major_version_is_505() {
        for version in ["HTTP/2.0", "HTTP/3.0", "HTTP/0.9"] {
            let request = format!("GET / {version}\r\n\r\n");
            assert_eq!(
                status(&request),
                Some(VERSION_NOT_SUPPORTED.status),
                "{version}"
            );
        }
        assert_eq!(scan("GET / HTTP/1.0\r\n\r\n"), None);
    }
}
