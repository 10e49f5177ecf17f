//! `multipart/byteranges` (RFC 9110, section 14.6): several parts of one representation in one body.

use std::hash::{BuildHasher as _, RandomState};

use bytes::Bytes;
use http::HeaderValue;

use super::range::ByteRange;
use super::stream::Segment;

/// The body of a 206 with several parts.
pub(super) struct Multipart {
    pub(super) content_type: HeaderValue,
    pub(super) segments: Vec<Segment>,
}

impl Multipart {
    /// Frames `parts` of a representation of `size` bytes and the given media type.
    pub(super) fn new(parts: &[ByteRange], media_type: &HeaderValue, size: u64) -> Self {
        let boundary = boundary();
        let mut segments = Vec::with_capacity(2 * parts.len() + 1);
        for (place, part) in parts.iter().enumerate() {
            let mut head = Vec::with_capacity(160);
            if place > 0 {
                head.extend_from_slice(b"\r\n");
            }
            head.extend_from_slice(format!("--{boundary}\r\nContent-Type: ").as_bytes());
            head.extend_from_slice(media_type.as_bytes());
            let content_range = part.content_range(size);
            head.extend_from_slice(
                format!("\r\nContent-Range: {content_range}\r\n\r\n").as_bytes(),
            );
            segments.push(Segment::Text(head.into()));
            segments.push(Segment::Part(*part));
        }
        segments.push(Segment::Text(Bytes::from(format!(
            "\r\n--{boundary}--\r\n"
        ))));
        let content_type = format!("multipart/byteranges; boundary={boundary}");
        Self {
            content_type: HeaderValue::try_from(content_type).expect("hexadecimal digits"),
            segments,
        }
    }
}

/// 128 bits that whoever wrote the content could not know, so that it does not contain them. The keys of
/// the standard library's hash come from the system's random numbers.
fn boundary() -> String {
    let half = || RandomState::new().hash_one(std::thread::current().id());
    format!("{:016x}{:016x}", half(), half())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9110_14_6_each_part_has_its_type_and_range() {
        let parts = [(4, 6), (0, 1)].map(|(start, end)| ByteRange { start, end });
        let multipart = Multipart::new(&parts, &HeaderValue::from_static("text/plain"), 10);
        let boundary = multipart.content_type.to_str().unwrap();
        let boundary = boundary
            .strip_prefix("multipart/byteranges; boundary=")
            .unwrap();
        let mut text = String::new();
        for segment in &multipart.segments {
            match segment {
                Segment::Text(bytes) => text += std::str::from_utf8(bytes).unwrap(),
                Segment::Part(part) => {
                    text += &"0123456789"[part.start as usize..part.end as usize]
                }
            }
        }
        let expected = format!(
            "--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes 4-5/10\r\n\r\n45\r\n\
             --{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-0/10\r\n\r\n0\r\n\
             --{boundary}--\r\n"
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn no_two_boundaries_are_alike() {
        assert_ne!(boundary(), boundary());
        assert_eq!(boundary().len(), 32);
    }
}
