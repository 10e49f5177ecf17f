//! Blocks of the wire format.

/// One block: the fields of an event and the empty line that ends it.
///
/// ```
/// use proto_sse::framing::Block;
/// let mut out = Vec::new();
/// let block = Block { event: Some("put"), data: Some(b"one\ntwo"), id: Some("7"), ..Block::default() };
/// block.encode(&mut out);
/// assert_eq!(out, b"event: put\ndata: one\ndata: two\nid: 7\n\n");
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Block<'a> {
    /// Name of the event; browsers take none for `message`. CR, LF and NUL are left out.
    pub event: Option<&'a str>,
    /// The payload. Each of its lines becomes a field of its own, and the reader joins them with LF: a CR or
    /// CRLF in the payload arrives as LF.
    pub data: Option<&'a [u8]>,
    /// Where to continue after this event; sent back as `Last-Event-ID`. CR, LF and NUL are left out.
    pub id: Option<&'a str>,
    /// Milliseconds to wait before connecting again.
    pub retry_ms: Option<u64>,
}

impl Block<'_> {
    /// Appends the block.
    pub fn encode(&self, out: &mut Vec<u8>) {
        if let Some(event) = self.event {
            encode_single_line(b"event: ", event, out);
        }
        if let Some(data) = self.data {
            encode_data(data, out);
        }
        if let Some(id) = self.id {
            encode_single_line(b"id: ", id, out);
        }
        if let Some(retry_ms) = self.retry_ms {
            encode_single_line(b"retry: ", &retry_ms.to_string(), out);
        }
        out.push(b'\n');
    }
}

/// A comment, which readers skip; a line break would end it and is left out.
///
/// ```
/// let mut out = Vec::new();
/// proto_sse::framing::encode_comment("keep-alive", &mut out);
/// assert_eq!(out, b": keep-alive\n\n");
/// ```
pub fn encode_comment(text: &str, out: &mut Vec<u8>) {
    encode_single_line(b": ", text, out);
    out.push(b'\n');
}

fn encode_single_line(field: &[u8], value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(field);
    out.extend(
        value
            .bytes()
            .filter(|byte| !matches!(byte, b'\r' | b'\n' | 0)),
    );
    out.push(b'\n');
}

fn encode_data(data: &[u8], out: &mut Vec<u8>) {
    let mut rest = data;
    loop {
        let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&rest[..end.unwrap_or(rest.len())]);
        out.push(b'\n');
        let Some(end) = end else { return };
        let is_crlf = rest[end..].starts_with(b"\r\n");
        rest = &rest[end + if is_crlf { 2 } else { 1 }..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(block: Block<'_>) -> String {
        let mut out = Vec::new();
        block.encode(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn fields_come_in_the_order_event_data_id_retry() {
        let block = Block {
            event: Some("put"),
            data: Some(b"{}"),
            id: Some("1"),
            retry_ms: Some(3000),
        };
        assert_eq!(
            encoded(block),
            "event: put\ndata: {}\nid: 1\nretry: 3000\n\n"
        );
        assert_eq!(encoded(Block::default()), "\n");
    }

    #[test]
    fn every_line_of_data_is_a_field() {
        for (data, expected) in [
            ("", "data: \n\n"),
            ("a", "data: a\n\n"),
            ("a\nb\r\nc\rd", "data: a\ndata: b\ndata: c\ndata: d\n\n"),
            ("a\n", "data: a\ndata: \n\n"),
            ("\n\r", "data: \ndata: \ndata: \n\n"),
            (" a", "data:  a\n\n"),
        ] {
            let block = Block {
                data: Some(data.as_bytes()),
                ..Block::default()
            };
            assert_eq!(encoded(block), expected, "{data:?}");
        }
    }

    #[test]
    fn a_name_or_id_cannot_forge_a_field() {
        let block = Block {
            event: Some("a\ndata: forged\n\n"),
            id: Some("\r\n7\0"),
            ..Block::default()
        };
        assert_eq!(encoded(block), "event: adata: forged\nid: 7\n\n");
    }
}
