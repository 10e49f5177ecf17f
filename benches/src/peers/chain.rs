//! The listener and the whole request pipeline of Motet in front of a handler that answers a constant.
//!
//! The binary has no such handler. The stages are those of its application port, in its order.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::Arc;

use anyhow::Result;
use core_listener::{HttpConfig, ListenAddress, Listener, Server};
use http_chain::auth::{Authentication, LocalTrust};
use http_chain::compression::{Compression, RequestDecoding};
use http_chain::stages::{BodyLimit, Cors, HostCheck};
use http_chain::{Chains, Ports, Request, Response, Stage};
use resource::{Answer, Authenticator, Caller, Credentials, Error};

const BODY: &str = r#"{"message":"hello"}"#;

/// Knows no user: requests of this measurement are anonymous.
struct Nobody;

impl Authenticator for Nobody {
    fn authenticate<'a>(&'a self, _credentials: &'a Credentials) -> Answer<'a, Caller> {
        Answer::ready(Err(Error::unauthorized("Login failed")))
    }
    fn refresh(&self, caller: &Caller) -> Option<Caller> {
        Some(caller.clone())
    }
}

async fn hello(_request: Request) -> std::ops::ControlFlow<Response, Request> {
    let mut response = Response::from(BODY);
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    std::ops::ControlFlow::Break(response)
}

pub(super) fn serve() -> Result<()> {
    let mut chains = Chains::default();
    chains.edge(Ports::All, "host", Stage::gate(HostCheck));
    chains.edge(
        Ports::All,
        "compression",
        Stage::gate(Compression::default()),
    );
    chains.edge(Ports::All, "decoding", Stage::gate(RequestDecoding));
    chains.edge(
        Ports::All,
        "body limit",
        Stage::gate(BodyLimit::new(10_000_000)),
    );
    chains.last(Ports::All, "cors", Stage::gate(Cors::default()));
    let authentication =
        Authentication::new(Arc::new(Nobody)).with_local_trust(LocalTrust::default());
    chains.last(Ports::All, "authentication", Stage::wrap(authentication));
    chains.last(Ports::All, "hello", Stage::handler(hello));
    let chain = chains.chain_for("http.port");
    let any = ListenAddress::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let listener = Listener::http("http.port", any, HttpConfig::default(), move |_| {
        chain.clone()
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let server = Server::new(NonZeroU16::MIN).listen(listener).start()?;
        println!("listening: 127.0.0.1:{}", server.port());
        std::future::pending::<Result<()>>().await
    })
}
