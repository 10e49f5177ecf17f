//! Resources made of code, with tungstenite as the client (`realtime.md` §2.5).

mod support;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use proto_ws::{WebSockets, WsConfig};
use resource::{
    Action, Answer, Context, Error, Exposure, Incoming, Methods, Registry, Replies, Reply,
    Resource, Target, Value,
};
use serde_json::json;
use tungstenite::Message;

use crate::support::Server;

/// Answers each message with itself; some words have a meaning.
struct Parrot {
    /// Told when a conversation is over.
    ended: Mutex<std::sync::mpsc::Sender<()>>,
}

struct Goodbye(std::sync::mpsc::Sender<()>);

impl Drop for Goodbye {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

impl Resource for Parrot {
    fn name(&self) -> &str {
        "Parrot"
    }
    fn methods(&self) -> Methods {
        Methods::NONE
    }
    fn authorize(&self, context: &Context, _: &[Action]) -> Result<(), Error> {
        match context.caller.username() {
            None => Err(Error::unauthorized("Must login")),
            Some(_) => Ok(()),
        }
    }
    fn connects(&self) -> bool {
        true
    }
    fn connect<'a>(
        &'a self,
        target: &'a Target,
        incoming: Incoming,
        _: &'a Context,
    ) -> Answer<'a, Replies> {
        let greeting = match &target.key {
            Some(key) => key.to_string(),
            None => return Answer::ready(Err(Error::not_found("which parrot?"))),
        };
        let goodbye = Goodbye(self.ended.lock().unwrap().clone());
        let greeting = stream::iter([Ok(Reply::Value(Value::from(greeting)))]);
        let replies = stream::unfold((incoming, goodbye), |(mut incoming, goodbye)| async {
            let value = incoming.next().await?;
            let reply = match value.as_str() {
                Some("end") => return None,
                Some("fail") => Err(Error::bad_request("no more")),
                Some("raw") => Ok(Reply::Raw {
                    content_type: Arc::from("image/png"),
                    data: Bytes::from_static(b"\x89PNG"),
                }),
                _ => Ok(Reply::Value(value)),
            };
            Some((reply, (incoming, goodbye)))
        });
        Answer::ready(Ok(Box::pin(greeting.chain(replies))))
    }
}

fn parrot() -> (Server, std::sync::mpsc::Receiver<()>) {
    let (ended, heard) = std::sync::mpsc::channel();
    let parrot = Arc::new(Parrot {
        ended: Mutex::new(ended),
    });
    let server = Server::start(|registry: Arc<Registry>| {
        registry.export("Parrot", parrot, Exposure::default());
        WebSockets::new(registry, WsConfig::default())
    });
    (server, heard)
}

#[test]
fn messages_go_in_decoded_and_replies_come_out_in_the_negotiated_format() {
    let (server, _heard) = parrot();
    let mut client = server.connect("/Parrot/Coco");
    assert_eq!(client.message(), Message::text(r#""Coco""#));
    for (sent, received) in [
        (Message::text(r#"{"a": 1}"#), Message::text(r#"{"a":1}"#)),
        (Message::text("[1, 2]"), Message::text("[1,2]")),
        (Message::text("word"), Message::text(r#""word""#)),
        (Message::text("raw"), Message::binary(&b"\x89PNG"[..])),
    ] {
        client.send(sent);
        assert_eq!(client.message(), received);
    }
    let cbor = [("x-user", "mira"), ("accept", "application/cbor")];
    let mut client = server.connect_with("/Parrot/Coco", &cbor).unwrap();
    assert_eq!(client.message(), Message::binary(&b"\x64Coco"[..]));
    client.send(Message::binary(&b"\x01\x02"[..]));
    assert_eq!(client.message(), Message::binary(&b"\x42\x01\x02"[..]));
}

#[test]
fn the_end_of_the_replies_closes_and_an_error_says_why() {
    let (server, heard) = parrot();
    for (word, code, reason) in [
        ("end", 1000, ""),
        ("fail", 1011, "BadRequest: no more"),
        ("{", 1007, ""),
    ] {
        let mut client = server.connect("/Parrot/Coco");
        client.message();
        client.send(Message::text(word));
        let (closed, why) = client.close_frame();
        assert_eq!(closed, code);
        assert!(why.starts_with(reason), "{why}");
        heard.recv().unwrap();
    }
}

#[test]
fn f3_a_conversation_ends_when_its_client_is_gone() {
    let (server, heard) = parrot();
    let mut client = server.connect("/Parrot/Coco");
    client.message();
    drop(client);
    heard.recv().unwrap();
}

#[test]
fn a_conversation_that_cannot_begin_is_refused_over_http() {
    let (server, _heard) = parrot();
    let mira = [("x-user", "mira")];
    for (path, fields, status) in [
        ("/Parrot/Coco", &[][..], 401),
        ("/Parrot/", &mira[..], 404),
        ("/Parrot/Coco?a=1", &mira[..], 400),
    ] {
        let refused = server.connect_with(path, fields).err().expect(path);
        assert_eq!(refused.status(), status, "{path}");
    }
    let expected = json!("which parrot?");
    let refused = server.connect_with("/Parrot/", &mira).err().unwrap();
    assert_eq!(json!(refused.detail()), expected);
}

#[test]
fn a_resource_that_does_not_listen_slows_its_client_down() {
    let (server, _heard) = parrot();
    let mut client = server.connect("/Parrot/Coco");
    client.message();
    // Many more than are read ahead: all of them are answered, in order.
    for n in 0..1000 {
        client.send(Message::text(format!("[{n}]")));
        if n % 100 == 99 {
            for m in n - 99..=n {
                assert_eq!(client.message(), Message::text(format!("[{m}]")));
            }
        }
    }
}
