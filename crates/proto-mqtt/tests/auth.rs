//! Enhanced authentication (section 4.12) with a method of one question.

#[path = "support/memory.rs"]
mod memory;
#[path = "support/packets.rs"]
mod packets;

use std::sync::Arc;

use bytes::Bytes;
use proto_mqtt::{
    AuthenticationExchange, AuthenticationMethod, AuthenticationStep, Identity, Version,
};
use resource::{Answer, Error};

use memory::*;
use packets::*;

const V5: Version = Version::V5;
const METHOD: &str = "RIDDLE";

/// Asks each user for the user's name backwards.
struct Riddle;

struct Asked(Option<String>);

impl AuthenticationMethod for Riddle {
    fn name(&self) -> &str {
        METHOD
    }
    fn begin(&self) -> Box<dyn AuthenticationExchange> {
        Box::new(Asked(None))
    }
}

impl AuthenticationExchange for Asked {
    fn step(&mut self, data: Option<Bytes>) -> Answer<'_, AuthenticationStep> {
        let text = String::from_utf8(data.unwrap_or_default().to_vec()).unwrap();
        Answer::ready(match self.0.take() {
            None => {
                self.0 = Some(text);
                Ok(AuthenticationStep::Continue(Some(Bytes::from("backwards"))))
            }
            Some(name) if name.chars().rev().eq(text.chars()) => Ok(AuthenticationStep::Done {
                caller: user(&name),
                data: Some(Bytes::from("welcome")),
            }),
            Some(_) => Err(Error::unauthorized("wrong answer")),
        })
    }
}

fn server() -> Server {
    let server = Server::new();
    server
        .broker
        .enable_authentication_methods(vec![Arc::new(Riddle)]);
    server.users.add("abc");
    server.users.add("xyz");
    server
}

fn enhanced(method: &str, data: &str) -> Connect {
    Connect {
        properties: [&[0x15][..], &string(method), &[0x16], &string(data)].concat(),
        ..Connect::new(V5)
    }
}

async fn asked(server: &Server) -> Client {
    let mut client = server.open(V5, Identity::None, 64 * 1024);
    client.send(&enhanced(METHOD, "abc").encode()).await;
    client.expect(&["AUTH 18 RIDDLE backwards"]).await;
    client
}

async fn connected(server: &Server) -> Client {
    let mut client = asked(server).await;
    client.send(&auth(0x18, METHOD, "cba")).await;
    client
        .expect(&["CONNACK 0 00 method=RIDDLE data=welcome"])
        .await;
    client
}

#[tokio::test]
async fn mqtt_4_12_0_1_an_unknown_method_is_refused_by_its_own_code() {
    let mut client = server().open(V5, Identity::None, 64 * 1024);
    client.send(&enhanced("SCRAM-SHA-1", "").encode()).await;
    client.expect(&["CONNACK 0 8c", "closed"]).await;
}

#[tokio::test]
async fn mqtt_4_12_0_2_and_3_the_server_asks_and_the_client_answers_before_connack() {
    let server = server();
    let mut client = connected(&server).await;
    client.subscribe("Dog/1", 0).await;
    let sessions = server.broker.sessions();
    assert_eq!(sessions[0].username.as_deref(), Some("abc"));
}

#[tokio::test]
async fn mqtt_4_12_0_4_a_wrong_answer_is_refused() {
    let mut client = asked(&server()).await;
    client.send(&auth(0x18, METHOD, "abc")).await;
    client.expect(&["CONNACK 0 87", "closed"]).await;
}

#[tokio::test]
async fn mqtt_4_12_0_5_the_method_stays_the_same() {
    let mut client = asked(&server()).await;
    client.send(&auth(0x18, "OTHER", "cba")).await;
    client.expect(&["CONNACK 0 82", "closed"]).await;
}

#[tokio::test]
async fn mqtt_3_1_2_30_nothing_but_auth_and_disconnect_comes_before_connack() {
    for other in [pingreq(), publish(V5, "Dog/1", "{}", 0, 0)] {
        let mut client = asked(&server()).await;
        client.send(&other).await;
        client.expect(&["CONNACK 0 82", "closed"]).await;
    }
    let mut client = asked(&server()).await;
    client.send(&disconnect()).await;
    client.expect(&["closed"]).await;
}

#[tokio::test]
async fn mqtt_4_12_1_1_a_client_may_prove_again_who_it_is() {
    let server = server();
    let mut client = connected(&server).await;
    for _ in 0..2 {
        client.send(&auth(0x19, METHOD, "abc")).await;
        client.expect(&["AUTH 18 RIDDLE backwards"]).await;
        client.expect_nothing().await;
        client.send(&auth(0x18, METHOD, "cba")).await;
        client.expect(&["AUTH 00 RIDDLE welcome"]).await;
    }
}

#[tokio::test]
async fn mqtt_4_12_1_2_who_cannot_is_disconnected() {
    let server = server();
    for (first, second, end) in [
        (auth(0x19, METHOD, "abc"), auth(0x18, METHOD, "abc"), "87"),
        // Somebody else.
        (auth(0x19, METHOD, "xyz"), auth(0x18, METHOD, "zyx"), "87"),
        (auth(0x19, METHOD, "abc"), auth(0x18, "OTHER", "cba"), "82"),
        (auth(0x19, METHOD, "abc"), auth(0x19, METHOD, "abc"), "82"),
    ] {
        let mut client = connected(&server).await;
        client.send(&first).await;
        client.expect(&["AUTH 18 RIDDLE backwards"]).await;
        client.send(&second).await;
        client
            .expect(&[&format!("DISCONNECT {end}"), "closed"])
            .await;
        client.cause().await;
    }
    let mut client = connected(&server).await;
    client.send(&auth(0x18, METHOD, "cba")).await;
    client.expect(&["DISCONNECT 82"]).await;
}
