//! What a client may send when writes are accepted (`realtime.md` §2.3).

use content::{cbor, json, msgpack};
use resource::{Error, Key, Value, Write, WriteKind};

use crate::close::Close;
use crate::envelope::Encoding;

/// A write that a client asked for: `{"type": "put"|"patch"|"delete"|"message", "id": …, "value": …}`.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// The `id` as it was sent; it comes back with an error.
    pub id: Value,
    kind: WriteKind,
    value: Option<Value>,
}

impl Command {
    /// Reads a message.
    ///
    /// ```
    /// use proto_ws::{command::Command, envelope::Encoding};
    /// let command = Command::decode(br#"{"type":"delete","id":"1"}"#, Encoding::Json).unwrap();
    /// assert_eq!(command.into_write().unwrap().key, Some("1".into()));
    /// ```
    ///
    /// # Errors
    ///
    /// 1007 if the bytes are no such object.
    pub fn decode(message: &[u8], encoding: Encoding) -> Result<Self, Close> {
        let decoded = match encoding {
            Encoding::Json => json::decode(message),
            Encoding::Cbor => cbor::decode(message),
            Encoding::MessagePack => msgpack::decode(message),
        };
        let Value::Map(mut members) =
            decoded.map_err(|error| Close::invalid_payload(error.to_string()))?
        else {
            return Err(Close::invalid_payload("a message must be an object"));
        };
        let kind = match members.get("type").and_then(Value::as_str) {
            Some("put") => WriteKind::Put,
            Some("patch") => WriteKind::Patch,
            Some("delete") => WriteKind::Delete,
            Some("message") => WriteKind::Message(None),
            _ => {
                return Err(Close::invalid_payload(
                    "type must be put, patch, delete or message",
                ));
            }
        };
        Ok(Self {
            id: members.remove("id").unwrap_or_default(),
            kind,
            value: members.remove("value"),
        })
    }

    /// The write. Without an id, a put or patch finds its key in the value, and a message goes to the root
    /// topic.
    ///
    /// # Errors
    ///
    /// 400 if the id is no key, or is needed and absent.
    pub fn into_write(self) -> Result<Write, Error> {
        let key = match self.id {
            Value::Null if self.kind == WriteKind::Delete => {
                return Err(Error::bad_request("a delete needs an id"));
            }
            Value::Null => None,
            id => Some(Key::from_value(&id)?),
        };
        let body = match self.kind {
            WriteKind::Delete => None,
            _ => Some(self.value.unwrap_or_default()),
        };
        Ok(Write::new(key, self.kind, body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_command_is_1007() {
        for bad in [
            "",
            "{",
            "[]",
            "1",
            "{}",
            r#"{"type":"post"}"#,
            r#"{"type":1}"#,
        ] {
            let close = Command::decode(bad.as_bytes(), Encoding::Json).unwrap_err();
            assert_eq!(close.code(), 1007, "{bad}");
        }
    }

    #[test]
    fn a_command_becomes_one_write() {
        let write = |text: &str| {
            Command::decode(text.as_bytes(), Encoding::Json)
                .unwrap()
                .into_write()
        };
        assert_eq!(
            write(r#"{"type":"put","id":7,"value":null}"#).unwrap(),
            Write::new(Some(Key::Int(7)), WriteKind::Put, Some(Value::Null))
        );
        assert_eq!(
            write(r#"{"type":"message","value":"hi"}"#).unwrap(),
            Write::new(None, WriteKind::Message(None), Some(Value::from("hi")))
        );
        assert_eq!(write(r#"{"type":"delete"}"#).unwrap_err().status(), 400);
        let not_a_key = r#"{"type":"put","id":{},"value":1}"#;
        assert_eq!(write(not_a_key).unwrap_err().status(), 400);
    }
}
