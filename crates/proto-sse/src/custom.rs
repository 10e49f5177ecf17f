//! Streams of resources made of code: their replies as events (`realtime.md` §2.5, §3.3).

use futures_util::StreamExt as _;
use resource::{Error, Map, Replies, Reply, Value, json};

use crate::channel::{EventSender, SendError};
use crate::event::SseEvent;
use crate::failure;
use crate::stream::{Permission, Standing};

/// Sends replies until they end, the client is gone, or may not read any more.
pub(crate) async fn forward(
    mut replies: Replies,
    events: EventSender,
    mut permission: Option<Permission>,
) -> Result<(), SendError> {
    loop {
        let standing = async {
            match &mut permission {
                Some(permission) => {
                    permission.wait_for_recheck().await;
                    permission.check()
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = events.closed() => return Err(SendError::Closed),
            standing = standing => match standing {
                Standing::Same => {}
                Standing::Changed => return Ok(()),
                Standing::Lost => {
                    let data = br#"{"type":"unauthorized"}"#;
                    return events.send(SseEvent::control("unauthorized", &data[..])).await;
                }
            },
            reply = replies.next() => match reply.map(|reply| reply.and_then(event)) {
                None => return Ok(()),
                Some(Ok(event)) => match events.send(event).await {
                    Ok(()) | Err(SendError::TooLarge { .. }) => {}
                    Err(error) => return Err(error),
                },
                Some(Err(error)) => {
                    let problem = json::to_vec(&Value::Map(failure::problem(&error)));
                    return events.send(SseEvent::control("error", problem)).await;
                }
            },
        }
    }
}

/// One reply as an event. An object with `data` or `event` says what the event is; one with `value` and
/// `timestamp` is a message; everything else is data.
fn event(reply: Reply) -> Result<SseEvent, Error> {
    let value = match reply {
        Reply::Raw { data, content_type } => {
            return match std::str::from_utf8(&data) {
                Ok(_) => Ok(SseEvent::new(data)),
                Err(_) => Err(Error::not_acceptable(format!(
                    "event streams carry text, not {content_type}"
                ))),
            };
        }
        Reply::Value(value) => value,
    };
    match &value {
        Value::Map(fields) if fields.get("data").is_some() || fields.get("event").is_some() => {
            shaped(fields)
        }
        Value::Map(message)
            if message.get("value").is_some() && message.get("timestamp").is_some() =>
        {
            let mut event = SseEvent::new(text(message.get("value")));
            if let Some(kind) = message.get("type") {
                event = named(event, kind)?;
            }
            identified(event, message.get("timestamp"))
        }
        _ => Ok(SseEvent::new(text(Some(&value)))),
    }
}

fn shaped(fields: &Map) -> Result<SseEvent, Error> {
    let mut event = SseEvent::new(text(fields.get("data")));
    if let Some(name) = fields.get("event") {
        event = named(event, name)?;
    }
    if let Some(retry) = fields.get("retry") {
        let millis = retry.as_i64().and_then(|millis| u64::try_from(millis).ok());
        let millis = millis
            .ok_or_else(|| Error::internal("retry of an event must be whole milliseconds"))?;
        event = event.retry(std::time::Duration::from_millis(millis));
    }
    identified(event, fields.get("id"))
}

fn named(event: SseEvent, name: &Value) -> Result<SseEvent, Error> {
    let named = event.event(single_line(name));
    named.map_err(|error| Error::internal(error.to_string()))
}

fn identified(event: SseEvent, id: Option<&Value>) -> Result<SseEvent, Error> {
    let Some(id) = id else { return Ok(event) };
    let identified = event.id(single_line(id));
    identified.map_err(|error| Error::internal(error.to_string()))
}

/// CR, LF and NUL are removed from names and ids (§3.3).
fn single_line(value: &Value) -> String {
    let text = String::from_utf8_lossy(&text(Some(value))).into_owned();
    text.replace(['\r', '\n', '\0'], "")
}

/// Text as it is, everything else as JSON; nothing is the empty text.
fn text(value: Option<&Value>) -> Vec<u8> {
    match value {
        None => Vec::new(),
        Some(Value::String(text)) => text.as_bytes().to_vec(),
        Some(value) => json::to_vec(value),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn encoded(json: &str) -> String {
        let value = json::from_slice(json.as_bytes()).unwrap();
        let event = event(Reply::Value(value)).unwrap();
        String::from_utf8(event.encode().to_vec()).unwrap()
    }

    #[test]
    fn a_reply_is_written_as_in_3_3() {
        for (reply, block) in [
            (r#"{"a":1}"#, "data: {\"a\":1}\n\n"),
            (r#""a\nb""#, "data: a\ndata: b\n\n"),
            ("[1]", "data: [1]\n\n"),
            (
                r#"{"event":"tick\n","data":{"n":1},"id":7,"retry":50}"#,
                "event: tick\ndata: {\"n\":1}\nid: 7\nretry: 50\n\n",
            ),
            (r#"{"event":"tick"}"#, "event: tick\ndata: \n\n"),
            (
                r#"{"type":"put","value":"x","timestamp":12.5}"#,
                "event: put\ndata: x\nid: 12.5\n\n",
            ),
        ] {
            assert_eq!(encoded(reply), block, "{reply}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_cannot_be_sent() {
        let raw = |data: &'static [u8]| Reply::Raw {
            content_type: Arc::from("image/png"),
            data: data.into(),
        };
        assert_eq!(event(raw(b"\x89PNG")).unwrap_err().status(), 406);
        assert_eq!(event(raw(b"ok")).unwrap(), SseEvent::new("ok"));
    }
}
