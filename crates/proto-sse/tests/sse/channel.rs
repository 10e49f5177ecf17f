//! Event streams of an embedder.

use std::time::Duration;

use base::Shutdown;
use futures_util::stream;
use http::Method;
use http_chain::Request;
use proto_sse::{EventStreamConfig, EventStreams, SendError, SseEvent, WhenFull};
use tokio::time::Instant;

use crate::support::Reader;

fn streams(config: EventStreamConfig) -> EventStreams {
    EventStreams::new("/feed", config)
}

fn small(when_full: WhenFull) -> EventStreams {
    streams(EventStreamConfig {
        max_waiting_events: 2,
        max_waiting_bytes: 100,
        max_event_bytes: 200,
        when_full,
        ..EventStreamConfig::default()
    })
}

fn get() -> Request {
    Request::new(Method::GET, "/feed").unwrap()
}

fn event(text: &str) -> SseEvent {
    SseEvent::new(text.to_owned())
}

#[tokio::test]
async fn events_arrive_in_order_and_the_stream_ends_with_its_last_sender() {
    let streams = streams(EventStreamConfig::default());
    let (sender, response) = streams.channel(&get());
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let other = sender.clone();
    sender.send(event("1")).await.unwrap();
    other.send(event("2")).await.unwrap();
    drop(sender);
    let mut reader = Reader::new(response.into_body());
    assert_eq!(reader.block().await.as_deref(), Some("data: 1"));
    assert_eq!(reader.block().await.as_deref(), Some("data: 2"));
    other.send(event("3")).await.unwrap();
    drop(other);
    assert_eq!(reader.block().await.as_deref(), Some("data: 3"));
    assert_eq!(reader.block().await, None);
    drop(reader);
    let statistics = streams.statistics();
    assert_eq!((statistics.streams, statistics.events), (0, 3));
    assert_eq!(&*statistics.routes[0].route, "/feed");
}

#[tokio::test]
async fn a_full_stream_makes_its_sender_wait_until_the_client_reads() {
    let (sender, response) = small(WhenFull::Wait).channel(&get());
    sender.send(event("1")).await.unwrap();
    sender.try_send(event("2")).unwrap();
    assert_eq!(sender.try_send(event("3")), Err(SendError::Full));
    let mut reader = Reader::new(response.into_body());
    let (sent, first) = tokio::join!(sender.send(event("3")), reader.block());
    assert_eq!((sent, first.as_deref()), (Ok(()), Some("data: 1")));
    assert_eq!(reader.block().await.as_deref(), Some("data: 2"));
    assert_eq!(reader.block().await.as_deref(), Some("data: 3"));
}

#[tokio::test]
async fn waiting_bytes_are_bounded_too_and_one_event_may_exceed_them() {
    let (sender, _response) = small(WhenFull::Wait).channel(&get());
    sender.try_send(event(&"x".repeat(150))).unwrap();
    assert_eq!(sender.try_send(event("y")), Err(SendError::Full));
}

#[tokio::test]
async fn the_oldest_events_give_way_if_the_policy_says_so() {
    let streams = small(WhenFull::DropOldest);
    let (sender, response) = streams.channel(&get());
    for text in ["1", "2", "3", "4"] {
        sender.send(event(text)).await.unwrap();
    }
    let mut reader = Reader::new(response.into_body());
    assert_eq!(reader.block().await.as_deref(), Some("data: 3"));
    assert_eq!(reader.block().await.as_deref(), Some("data: 4"));
    assert_eq!(streams.statistics().dropped.slow, 2);
}

#[tokio::test]
async fn a_slow_client_is_disconnected_if_the_policy_says_so() {
    let streams = small(WhenFull::Disconnect);
    let (sender, response) = streams.channel(&get());
    for text in ["1", "2"] {
        sender.send(event(text)).await.unwrap();
    }
    assert_eq!(sender.send(event("3")).await, Err(SendError::Closed));
    sender.closed().await;
    let mut reader = Reader::new(response.into_body());
    for block in [
        "data: 1",
        "data: 2",
        "event: overflow\ndata: {\"type\":\"overflow\"}",
    ] {
        assert_eq!(reader.block().await.as_deref(), Some(block));
    }
    assert_eq!(reader.block().await, None);
    assert_eq!(streams.statistics().overflows, 1);
}

#[tokio::test]
async fn an_event_that_is_too_large_is_refused_and_the_stream_goes_on() {
    let streams = small(WhenFull::Wait);
    let (sender, response) = streams.channel(&get());
    let too_large = sender.send(event(&"x".repeat(200))).await;
    assert!(matches!(
        too_large,
        Err(SendError::TooLarge { limit: 200, .. })
    ));
    sender.send(event("1")).await.unwrap();
    let mut reader = Reader::new(response.into_body());
    assert_eq!(reader.block().await.as_deref(), Some("data: 1"));
    assert_eq!(streams.statistics().dropped.oversize, 1);
}

#[tokio::test]
async fn a_sender_learns_that_its_client_is_gone() {
    let streams = small(WhenFull::Wait);
    let (sender, response) = streams.channel(&get());
    sender.send(event("1")).await.unwrap();
    sender.send(event("2")).await.unwrap();
    let (sent, ()) = tokio::join!(sender.send(event("3")), async { drop(response) });
    assert_eq!(sent, Err(SendError::Closed));
    sender.closed().await;
    assert!(sender.is_closed());
    let statistics = streams.statistics();
    assert_eq!((statistics.streams, statistics.dropped.closed), (0, 2));
}

#[tokio::test]
async fn a_producer_runs_with_its_stream_and_ends_it() {
    let streams = streams(EventStreamConfig::default());
    let response = streams.produce(&get(), |sender| async move {
        sender.send(event("1")).await?;
        tokio::task::yield_now().await;
        sender.send(event("2")).await
    });
    let mut reader = Reader::new(response.into_body());
    assert_eq!(reader.block().await.as_deref(), Some("data: 1"));
    assert_eq!(reader.block().await.as_deref(), Some("data: 2"));
    assert_eq!(reader.block().await, None);

    let failing = [Ok(event("1")), Err("broken"), Ok(event("2"))];
    let response = streams.from_stream(&get(), stream::iter(failing));
    let mut reader = Reader::new(response.into_body());
    assert_eq!(reader.block().await.as_deref(), Some("data: 1"));
    assert_eq!(reader.block().await, None);
}

#[tokio::test]
async fn the_producer_of_a_head_request_is_not_started() {
    let streams = streams(EventStreamConfig::default());
    let head = Request::new(Method::HEAD, "/feed").unwrap();
    let (sender, response) = streams.channel(&head);
    assert!(sender.is_closed());
    assert_eq!(response.body().known_length(), Some(0));
    let produce = |_| async { panic!("started") };
    let response = streams.produce::<_, _, SendError>(&head, produce);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
}

#[tokio::test(start_paused = true)]
async fn silence_is_broken_by_a_comment() {
    let (_sender, response) = streams(EventStreamConfig::default()).channel(&get());
    let start = Instant::now();
    let mut reader = Reader::new(response.into_body());
    assert_eq!(reader.block().await.as_deref(), Some(": keep-alive"));
    assert_eq!(start.elapsed(), Duration::from_secs(15));
}

#[tokio::test]
async fn a_shutdown_ends_the_stream() {
    let shutdown = Shutdown::new();
    let mut request = get();
    request.extensions_mut().insert(shutdown.clone());
    let (sender, response) = streams(EventStreamConfig::default()).channel(&request);
    let mut reader = Reader::new(response.into_body());
    shutdown.start();
    assert_eq!(reader.block().await, None);
    drop(reader);
    assert_eq!(sender.send(event("1")).await, Err(SendError::Closed));
}
