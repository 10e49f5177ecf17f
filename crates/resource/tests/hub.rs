//! The hub: matching agrees with `Scope::covers`, order is kept, full queues do what the documentation says.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use base::{Timestamp, WorkerId};
use resource::hub::{Level, QueueLimits};
use resource::{
    Body, Delivery, Event, EventKind, Hub, Key, Phase, Scope, SourceId, Subscription, Value,
};

const WORKER: WorkerId = WorkerId(0);

fn at(millis: u32) -> Timestamp {
    Timestamp::from_millis(f64::from(millis)).unwrap()
}

fn event(source: SourceId, kind: EventKind, key: Option<&str>, time: u32) -> Arc<Event> {
    Arc::new(Event {
        source,
        kind,
        key: key.map(Key::from),
        body: Some(Body::from(Value::from(time))),
        delta: None,
        version: at(time),
        local_time: at(time),
        begin_transaction: true,
        publisher: None,
        properties: None,
    })
}

/// Polls a future once, without a runtime.
fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Lets the dispatcher of worker 0 do all it can.
fn dispatch(hub: &Hub) {
    let dispatcher = pin!(hub.dispatch(WORKER));
    assert!(poll(dispatcher).is_pending());
}

fn live(hub: &Hub, source: SourceId, scope: &Scope) -> Subscription {
    Subscription::new(hub.subscribe(WORKER, source, scope), Timestamp::ZERO, None)
}

fn ready(subscription: &mut Subscription) -> Vec<u32> {
    match poll(pin!(subscription.next())) {
        Poll::Ready(batch) => batch
            .unwrap()
            .iter()
            .map(|delivery| delivery.event.local_time.as_millis() as u32)
            .collect(),
        Poll::Pending => Vec::new(),
    }
}

fn scopes() -> Vec<Scope> {
    let exact = |text: &str| Level::Exact(text.to_owned());
    let levels = |levels: &[Level], rest| Scope::Levels {
        levels: levels.to_vec(),
        rest,
    };
    vec![
        Scope::All,
        Scope::Key(Key::from("a")),
        Scope::Key(Key::from("a/b")),
        Scope::Prefix("a/".to_owned()),
        Scope::Prefix("a/b/".to_owned()),
        levels(&[exact("a")], true),
        levels(&[exact("a"), exact("b")], false),
        levels(&[Level::Any], false),
        levels(&[Level::Any], true),
        levels(&[exact("a"), Level::Any], false),
        levels(&[Level::Any, exact("b")], false),
        levels(&[Level::Any, exact("b")], true),
        levels(&[Level::Any, Level::Any], false),
        levels(&[exact("a"), Level::Any, exact("c")], true),
        levels(&[], true),
    ]
}

const KEYS: [Option<&str>; 12] = [
    None,
    Some("a"),
    Some("ab"),
    Some("b"),
    Some("a/"),
    Some("a/b"),
    Some("a/bc"),
    Some("a/b/"),
    Some("a/b/c"),
    Some("x/b"),
    Some("x/b/c"),
    Some("a/x/c/d"),
];

#[test]
fn the_tree_delivers_exactly_what_the_scopes_cover() {
    let hub = Hub::new(1);
    let source = SourceId::next();
    let scopes = scopes();
    let mut subscriptions: Vec<_> = scopes
        .iter()
        .map(|scope| live(&hub, source, scope))
        .collect();
    for (time, key) in (1..).zip(KEYS) {
        hub.publish(&[event(source, EventKind::Put, key, time)]);
        dispatch(&hub);
        for (scope, subscription) in scopes.iter().zip(&mut subscriptions) {
            let expected = if scope.covers(key.map(Key::from).as_ref()) {
                vec![time]
            } else {
                vec![]
            };
            assert_eq!(ready(subscription), expected, "{key:?} by {scope:?}");
        }
    }
    let other = SourceId::next();
    hub.publish(&[event(other, EventKind::Put, Some("a"), 99)]);
    dispatch(&hub);
    assert!(
        subscriptions
            .iter_mut()
            .all(|subscription| ready(subscription).is_empty()),
        "another source"
    );
}

#[test]
fn a_prefix_covers_what_is_below_and_its_own_topic() {
    let scope = Scope::Prefix("a/".to_owned());
    let covers = |key: &str| scope.covers(Some(&Key::from(key)));
    assert!(covers("a/b") && covers("a/b/c") && covers("a/"));
    assert!(!covers("a") && !covers("ab/c"));
}

#[test]
fn mqtt_4_7_1_2_the_multi_level_wildcard_includes_the_parent_level() {
    let scope = Scope::Levels {
        levels: vec![Level::Exact("a".to_owned())],
        rest: true,
    };
    let covers = |key: &str| scope.covers(Some(&Key::from(key)));
    assert!(covers("a") && covers("a/b/c") && !covers("ab"));
}

#[test]
fn dropping_a_subscription_ends_it_and_leaves_the_others() {
    let hub = Hub::new(1);
    let source = SourceId::next();
    for scope in scopes() {
        let kept = &mut live(&hub, source, &scope);
        let dropped = live(&hub, source, &scope);
        assert_eq!(hub.statistics().subscriptions, 2);
        drop(dropped);
        assert_eq!(hub.statistics().subscriptions, 1);
        hub.publish(&[event(source, EventKind::Put, Some("a/b"), 1)]);
        dispatch(&hub);
        assert_eq!(
            !ready(kept).is_empty(),
            scope.covers(Some(&Key::from("a/b"))),
            "{scope:?}"
        );
    }
    assert_eq!(hub.statistics().subscriptions, 0);
}

#[test]
fn events_the_snapshot_covers_are_not_repeated() {
    let hub = Hub::new(1);
    let source = SourceId::next();
    let queue = hub.subscribe(WORKER, source, &Scope::All);
    let initial = vec![Delivery::new(
        event(source, EventKind::Put, Some("a"), 2),
        Phase::Initial,
    )];
    let backlog = Box::pin(Once(Some(initial)));
    let mut subscription = Subscription::new(queue, at(2), Some(backlog));
    hub.publish(&[1, 2, 3].map(|time| event(source, EventKind::Put, Some("a"), time)));
    dispatch(&hub);
    assert_eq!(ready(&mut subscription), [2], "the state");
    assert!(!subscription.is_live());
    assert_eq!(
        ready(&mut subscription),
        [0_u32; 0],
        "the mark between state and live events"
    );
    assert!(subscription.is_live());
    assert_eq!(
        ready(&mut subscription),
        [3],
        "only what came after the snapshot"
    );
}

struct Once(Option<Vec<Delivery>>);

impl futures_core::Stream for Once {
    type Item = Result<Vec<Delivery>, resource::Error>;
    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.take().map(Ok))
    }
}

#[test]
fn o8_a_full_queue_keeps_the_newest_state_of_each_record_and_every_message() {
    let limits = QueueLimits {
        subscriber_events: 32,
        ..QueueLimits::default()
    };
    let hub = Hub::with_limits(1, limits);
    let source = SourceId::next();
    let mut subscription = live(&hub, source, &Scope::All);
    hub.publish(&[event(source, EventKind::Message, Some("a"), 1)]);
    for time in 2..=100 {
        let key = if time % 2 == 0 { "a" } else { "b" };
        hub.publish(&[event(source, EventKind::Put, Some(key), time)]);
    }
    dispatch(&hub);
    let seen = ready(&mut subscription);
    assert_eq!(seen[0], 1, "the message");
    assert_eq!(seen[seen.len() - 2..], [99, 100], "the newest states");
    assert!(
        seen.len() <= 32 && seen.windows(2).all(|pair| pair[0] < pair[1]),
        "{seen:?}"
    );
    assert!(hub.statistics().coalesced > 0);
}

#[test]
fn o8_a_queue_full_of_messages_ends_the_subscription_and_no_other() {
    let limits = QueueLimits {
        subscriber_events: 32,
        ..QueueLimits::default()
    };
    let hub = Hub::with_limits(1, limits);
    let source = SourceId::next();
    let mut slow = live(&hub, source, &Scope::All);
    let mut quick = live(&hub, source, &Scope::All);
    for time in 1..=33 {
        hub.publish(&[event(source, EventKind::Message, Some("a"), time)]);
        dispatch(&hub);
        assert_eq!(ready(&mut quick), [time]);
    }
    let Poll::Ready(Err(error)) = poll(pin!(slow.next())) else {
        panic!("not ended")
    };
    assert_eq!(error.status(), 503);
    assert_eq!(hub.statistics().overflows, 1);
}

#[test]
fn o8_a_queue_is_bounded_by_bytes_too() {
    let limits = QueueLimits {
        subscriber_bytes: 1 << 20,
        ..QueueLimits::default()
    };
    let hub = Hub::with_limits(1, limits);
    let source = SourceId::next();
    let mut slow = live(&hub, source, &Scope::All);
    let big = |kind, key: &str, time| {
        let body = Body::from(Value::from("x".repeat(300_000)));
        let event = Event::clone(&event(source, kind, Some(key), time));
        Arc::new(Event {
            body: Some(body),
            ..event
        })
    };
    for time in 1..=8 {
        hub.publish(&[big(EventKind::Put, "a", time)]);
        dispatch(&hub);
    }
    assert!(hub.statistics().coalesced > 0, "states of one record");
    assert_eq!(ready(&mut slow).last(), Some(&8));
    hub.publish(&[11, 12, 13, 14, 15].map(|time| big(EventKind::Message, "a", time)));
    dispatch(&hub);
    assert_eq!(hub.statistics().overflows, 0, "one batch may be larger");
    hub.publish(&[big(EventKind::Message, "a", 16)]);
    dispatch(&hub);
    assert!(matches!(poll(pin!(slow.next())), Poll::Ready(Err(_))));
}

#[test]
fn a_mailbox_that_overflows_ends_its_subscriptions_instead_of_hiding_a_gap() {
    let limits = QueueLimits {
        mailbox_events: 10,
        ..QueueLimits::default()
    };
    let hub = Hub::with_limits(2, limits);
    let source = SourceId::next();
    let mut stuck = live(&hub, source, &Scope::Prefix("a/".to_owned()));
    for time in 1..=11 {
        hub.publish(&[event(source, EventKind::Put, Some("b"), time)]);
    }
    dispatch(&hub);
    assert!(matches!(poll(pin!(stuck.next())), Poll::Ready(Err(_))));
}

#[test]
fn an_encoding_is_made_once_for_all_receivers_of_a_worker() {
    let hub = Hub::new(1);
    let source = SourceId::next();
    let mut subscriptions: Vec<_> = (0..3).map(|_| live(&hub, source, &Scope::All)).collect();
    hub.publish(&[event(source, EventKind::Put, Some("a"), 1)]);
    dispatch(&hub);
    let mut encoded = 0;
    for subscription in &mut subscriptions {
        let Poll::Ready(Ok(batch)) = poll(pin!(subscription.next())) else {
            panic!("ready")
        };
        let bytes = batch[0].encode_once(resource::event::encoding_id("test"), |_| {
            encoded += 1;
            b"x".to_vec().into()
        });
        assert_eq!(&bytes[..], b"x");
    }
    assert_eq!(encoded, 1);
}

/// Panics instead of waking, as a broken runtime might.
struct Bomb;

impl std::task::Wake for Bomb {
    fn wake(self: Arc<Self>) {
        panic!("a test asked for it");
    }
}

fn poll_with_bomb(subscription: &mut Subscription) {
    let waker = Waker::from(Arc::new(Bomb));
    let future = pin!(subscription.next());
    assert!(future.poll(&mut Context::from_waker(&waker)).is_pending());
}

fn has_ended(subscription: &mut Subscription) -> bool {
    matches!(poll(pin!(subscription.next())), Poll::Ready(Err(_)))
}

#[test]
fn a_dispatcher_that_was_dropped_is_followed_by_another_that_loses_nothing() {
    let hub = Hub::new(1);
    let source = SourceId::next();
    let mut subscription = live(&hub, source, &Scope::All);
    dispatch(&hub);
    hub.publish(&[event(source, EventKind::Put, Some("a"), 1)]);
    // Nobody dispatches now: the worker has crashed.
    assert!(ready(&mut subscription).is_empty());
    hub.publish(&[event(source, EventKind::Put, Some("b"), 2)]);
    dispatch(&hub);
    assert_eq!(ready(&mut subscription), [1, 2]);
}

#[test]
fn a_dispatcher_that_panicked_ends_its_workers_subscriptions_and_no_others() {
    let hub = Hub::new(2);
    let (source, other_worker) = (SourceId::next(), WorkerId(1));
    let scope = Scope::All;
    let mut armed = live(&hub, source, &scope);
    let mut neighbour = live(&hub, source, &scope);
    let elsewhere = hub.subscribe(other_worker, source, &scope);
    let mut elsewhere = Subscription::new(elsewhere, Timestamp::ZERO, None);
    poll_with_bomb(&mut armed);
    let events = [
        event(source, EventKind::Put, Some("a"), 1),
        event(source, EventKind::Put, Some("b"), 2),
    ];
    hub.publish(&events);
    let crash = std::panic::catch_unwind(|| dispatch(&hub));
    assert!(crash.is_err());

    // The other worker has what it should.
    assert!(poll(pin!(hub.dispatch(other_worker))).is_pending());
    assert_eq!(ready(&mut elsewhere), [1, 2]);
    // The second dispatcher of the crashed one ends those that may have a gap, even if nothing more is published,
    dispatch(&hub);
    assert!(has_ended(&mut armed) && has_ended(&mut neighbour));
    // and serves those that come afterwards.
    drop((armed, neighbour));
    let mut fresh = live(&hub, source, &scope);
    hub.publish(&[event(source, EventKind::Put, Some("c"), 3)]);
    dispatch(&hub);
    assert!(poll(pin!(hub.dispatch(other_worker))).is_pending());
    assert_eq!(ready(&mut fresh), [3]);
    assert_eq!(ready(&mut elsewhere), [3]);
    assert_eq!(hub.statistics().subscriptions, 2);
}
