//! Media types by content, for what has neither a type nor a name that tells (`serve_content`).
//!
//! The patterns are those of the WHATWG MIME Sniffing standard, sections 6 and 7.1. Files of a directory
//! are never sniffed: there a wrong guess would turn an upload into a page.

/// Bytes that a guess looks at.
pub(super) const SNIFF_BYTES: usize = 512;

/// The beginnings of markup, in upper case; a blank or `>` follows.
const HTML_TAGS: [&str; 17] = [
    "<!DOCTYPE HTML",
    "<HTML",
    "<HEAD",
    "<SCRIPT",
    "<IFRAME",
    "<H1",
    "<DIV",
    "<FONT",
    "<TABLE",
    "<A",
    "<STYLE",
    "<TITLE",
    "<B",
    "<BODY",
    "<BR",
    "<P",
    "<!--",
];

/// First bytes, where they stand, and the type they mean.
const MAGIC: [(usize, &[u8], &str); 26] = [
    (0, b"%PDF-", "application/pdf"),
    (0, b"%!PS-Adobe-", "application/postscript"),
    (0, b"\xFE\xFF", "text/plain; charset=utf-16be"),
    (0, b"\xFF\xFE", "text/plain; charset=utf-16le"),
    (0, b"\xEF\xBB\xBF", "text/plain; charset=utf-8"),
    (0, b"\x00\x00\x01\x00", "image/x-icon"),
    (0, b"BM", "image/bmp"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (8, b"WEBPVP", "image/webp"),
    (0, b"\x89PNG\r\n\x1A\n", "image/png"),
    (0, b"\xFF\xD8\xFF", "image/jpeg"),
    (8, b"AIFF", "audio/aiff"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"OggS\x00", "application/ogg"),
    (0, b"MThd\x00\x00\x00\x06", "audio/midi"),
    (8, b"AVI ", "video/avi"),
    (8, b"WAVE", "audio/wave"),
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1A\x45\xDF\xA3", "video/webm"),
    (0, b"wOFF", "font/woff"),
    (0, b"wOF2", "font/woff2"),
    (0, b"\x1F\x8B\x08", "application/gzip"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"\x28\xB5\x2F\xFD", "application/zstd"),
    (0, b"\0asm", "application/wasm"),
];

/// The type of content that begins with `bytes`; no more than the first 512 of them count.
pub(super) fn sniff(bytes: &[u8]) -> &'static str {
    let bytes = &bytes[..bytes.len().min(SNIFF_BYTES)];
    let text = bytes.trim_ascii_start();
    if HTML_TAGS.iter().any(|tag| begins_with_tag(text, tag)) {
        return "text/html; charset=utf-8";
    }
    if text.starts_with(b"<?xml") {
        return "text/xml; charset=utf-8";
    }
    let is_here = |(at, magic, _): &&(usize, &[u8], &str)| {
        bytes.get(*at..).is_some_and(|rest| rest.starts_with(magic))
    };
    match MAGIC.iter().find(is_here) {
        Some((_, _, media_type)) => media_type,
        None if bytes.iter().any(|byte| is_binary(*byte)) => "application/octet-stream",
        None => "text/plain; charset=utf-8",
    }
}

fn begins_with_tag(text: &[u8], tag: &str) -> bool {
    let Some((head, rest)) = text.split_at_checked(tag.len()) else {
        return false;
    };
    let is_ended = tag == "<!--" || matches!(rest.first(), Some(b' ' | b'>'));
    is_ended && head.eq_ignore_ascii_case(tag.as_bytes())
}

/// A binary data byte (section 3): a control character that text does not use.
fn is_binary(byte: u8) -> bool {
    matches!(byte, 0x00..=0x08 | 0x0B | 0x0E..=0x1A | 0x1C..=0x1F)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_known_by_its_first_bytes() {
        let cases: &[(&[u8], &str)] = &[
            (b"", "text/plain; charset=utf-8"),
            (b"plain words", "text/plain; charset=utf-8"),
            (b"\n <!doctype html><p>", "text/html; charset=utf-8"),
            (b"<!--x", "text/html; charset=utf-8"),
            (b"<html lang=en>", "text/html; charset=utf-8"),
            (b"<htmlx>", "text/plain; charset=utf-8"),
            (b"<b", "text/plain; charset=utf-8"),
            (b" <?xml version='1.0'?>", "text/xml; charset=utf-8"),
            (b"%PDF-1.7", "application/pdf"),
            (b"\x89PNG\r\n\x1A\n....", "image/png"),
            (b"RIFF....WEBPVP8 ", "image/webp"),
            (b"....ftypisom", "video/mp4"),
            (b"abc\x00def", "application/octet-stream"),
            (b"\xEF\xBB\xBFabc", "text/plain; charset=utf-8"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(sniff(bytes), *expected, "{bytes:?}");
        }
        let late = [vec![b'a'; SNIFF_BYTES], vec![0]].concat();
        assert_eq!(sniff(&late), "text/plain; charset=utf-8");
    }
}
