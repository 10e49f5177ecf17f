//! Content of types that no format reads: kept as `{"contentType": …, "data": …}` (`rest.md` §9.4).

use bytes::Bytes;
use resource::{Map, Value};

use crate::{DecodeError, MediaType, text};

/// A record that holds content of another type.
pub(crate) fn record(content_type: &str, data: Value) -> Value {
    Value::Map(Map::from_iter([
        ("contentType", Value::from(content_type)),
        ("data", data),
    ]))
}

/// Keeps text as text, anything else as bytes.
pub(crate) fn decode(media_type: MediaType, bytes: &Bytes) -> Result<Value, DecodeError> {
    if !media_type.is_text() {
        return Ok(record(&media_type.to_string(), Value::Bytes(bytes.clone())));
    }
    let text = text::decode(bytes, &media_type)?;
    Ok(text_record(media_type, text))
}

/// Text is kept, and sent again, in UTF-8, whatever it came in.
pub(crate) fn text_record(media_type: MediaType, text: String) -> Value {
    let media_type = match media_type.parameter("charset") {
        Some(charset) if !charset.eq_ignore_ascii_case("utf-8") => {
            media_type.with_parameter("charset", "utf-8")
        }
        _ => media_type,
    };
    record(&media_type.to_string(), Value::String(text))
}

#[cfg(test)]
mod tests {
    use resource::json;

    use crate::ContentTypes;

    fn stored(content_type: Option<&str>, bytes: &'static [u8]) -> String {
        let types = ContentTypes::standard();
        let value = types.decode_any(content_type, &bytes.into(), None).unwrap();
        String::from_utf8(json::to_vec(&value)).unwrap()
    }

    #[test]
    fn x1_text_is_decoded_and_other_types_are_bytes() {
        for (content_type, bytes, expected) in [
            (
                "text/markdown; charset=utf-8",
                &b"# Shopping"[..],
                r##"{"contentType":"text/markdown; charset=utf-8","data":"# Shopping"}"##,
            ),
            (
                "text/markdown; charset=iso-8859-1",
                b"\xE9",
                r#"{"contentType":"text/markdown; charset=utf-8","data":"é"}"#,
            ),
            (
                "image/png",
                b"\x89P",
                r#"{"contentType":"image/png","data":{"type":"Buffer","data":[137,80]}}"#,
            ),
        ] {
            assert_eq!(stored(Some(content_type), bytes), expected);
        }
    }

    #[test]
    fn x2_octets_are_the_bytes_themselves() {
        assert_eq!(
            stored(Some("application/octet-stream"), b"\x01"),
            r#"{"type":"Buffer","data":[1]}"#
        );
    }

    #[test]
    fn x3_without_a_type_the_first_byte_decides() {
        assert_eq!(stored(None, b"{\"a\":1}"), r#"{"a":1}"#);
        assert_eq!(stored(None, b"[1]"), "[1]");
        assert_eq!(
            stored(None, b"x"),
            r#"{"contentType":"application/octet-stream","data":{"type":"Buffer","data":[120]}}"#
        );
    }
}
