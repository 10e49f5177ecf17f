//! Streams of resources made of code.

use std::sync::Arc;

use base::Shutdown;
use futures_util::{StreamExt as _, stream};
use http::Method;
use http_chain::{Chain, Request, Stage};
use proto_sse::{Sse, SseConfig};
use resource::{
    Answer, Caller, Context, Error, Exposure, Incoming, Map, Methods, Registry, Replies, Reply,
    Resource, Target, Value,
};

use crate::support::Reader;

/// Counts to two, then fails, or goes on for ever under the key `silent`.
struct Counter;

impl Resource for Counter {
    fn name(&self) -> &str {
        "Counter"
    }
    fn methods(&self) -> Methods {
        Methods::NONE
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
        let is_silent = target
            .key
            .as_ref()
            .is_some_and(|key| *key == "silent".into());
        let tick = |n: i64| {
            let fields = [("event", Value::from("tick")), ("data", Value::Int(n))];
            Ok(Reply::Value(Value::Map(Map::from_iter(fields))))
        };
        let failure = Err(Error::bad_request("cannot count further"));
        let counted = stream::iter([tick(1), tick(2), failure]);
        Answer::ready(Ok(match is_silent {
            true => Box::pin(stream::pending()),
            // A client of an event stream says nothing: the end comes at once.
            false => Box::pin(incoming.map(move |_| tick(0)).chain(counted)),
        }))
    }
}

async fn open(url: &str, shutdown: &Shutdown) -> (u16, Reader, Sse) {
    let registry = Arc::new(Registry::new());
    registry.export("Counter", Arc::new(Counter), Exposure::default());
    let sse = Sse::new(registry, SseConfig::default());
    let chain = Chain::new([("sse", Stage::handler(sse.clone()))]);
    let mut request = Request::new(Method::GET, url).unwrap();
    let accept = "text/event-stream".parse().unwrap();
    request.headers_mut().insert("accept", accept);
    request.extensions_mut().insert(Caller::internal("tester"));
    request.extensions_mut().insert(shutdown.clone());
    let response = chain.answer(request).await;
    let status = response.status().as_u16();
    (status, Reader::new(response.into_body()), sse)
}

#[tokio::test]
async fn replies_are_events_and_an_error_is_the_last_of_them() {
    let (status, mut reader, sse) = open("/Counter/1", &Shutdown::new()).await;
    assert_eq!(status, 200);
    assert_eq!(reader.block().await.as_deref(), Some("retry: 3000"));
    assert_eq!(
        reader.block().await.as_deref(),
        Some("event: tick\ndata: 1")
    );
    assert_eq!(
        reader.block().await.as_deref(),
        Some("event: tick\ndata: 2")
    );
    let error = reader.block().await.unwrap();
    assert!(error.starts_with("event: error\ndata: {"), "{error}");
    assert!(error.contains("cannot count further"), "{error}");
    assert_eq!(reader.block().await, None);
    assert_eq!(&*sse.statistics().routes[0].route, "/Counter");
}

#[tokio::test]
async fn a_silent_resource_does_not_outlive_the_server() {
    let shutdown = Shutdown::new();
    let (_, mut reader, _) = open("/Counter/silent", &shutdown).await;
    assert_eq!(reader.block().await.as_deref(), Some("retry: 3000"));
    shutdown.start();
    assert_eq!(reader.block().await, None);
}

#[tokio::test]
async fn a_query_is_refused() {
    assert_eq!(open("/Counter/1?a=1", &Shutdown::new()).await.0, 400);
}
