//! Subscriptions: order, hand-over from state or log to live events, filters.
#![allow(
    clippy::disallowed_methods,
    reason = "tasks end with the runtime of their test"
)]

mod support;

use std::collections::HashMap;
use std::sync::Arc;

use base::{Timestamp, WorkerId};
use resource::{
    AttributeAccess, Caller, Comparator, Context, EventKind, Key, MessageProperties, Permissions,
    Phase, Protocol, Resource, Scope, SubscribeOptions, TableAccess, Value, Write, WriteKind,
};
use support::{
    Fixture, backlog, compare, deliveries, get, internal, json, put, short, user, write, write_as,
};

const DOG: &str = "type Dog @table { id: ID @primaryKey, name: String, n: Int }";

fn on(worker: u16) -> Context {
    Context::new(
        Caller::internal("test"),
        WorkerId(worker),
        Protocol::Internal,
    )
}

fn options() -> SubscribeOptions {
    SubscribeOptions::default()
}

fn shorts(deliveries: &[Arc<resource::Delivery>]) -> Vec<String> {
    deliveries.iter().map(|delivery| short(delivery)).collect()
}

#[tokio::test]
async fn o1_o6_the_current_state_comes_in_key_order_then_live_events() {
    let fixture = Fixture::new();
    fixture.dispatch();
    let dog = fixture.table(DOG).await;
    for key in ["b", "a", "c"] {
        put(&dog, key, r#"{"n":1}"#).await;
    }
    let mut subscription = dog
        .subscribe(Scope::All, &options(), &internal())
        .await
        .unwrap();
    let state = backlog(&mut subscription).await;
    assert_eq!(
        shorts(&state),
        [
            r#"put a {"id":"a","n":1}"#,
            r#"put b {"id":"b","n":1}"#,
            r#"put c {"id":"c","n":1}"#
        ]
    );
    assert!(
        state
            .iter()
            .all(|delivery| delivery.phase == Phase::Initial)
    );
    assert_eq!(
        state[0].event.version,
        get(&dog, "a").await.unwrap().version
    );
    write(&dog, "a", WriteKind::Patch, r#"{"name":"x"}"#)
        .await
        .unwrap();
    write(&dog, "b", WriteKind::Delete, "").await.unwrap();
    write(&dog, "b", WriteKind::Message(None), r#""hello""#)
        .await
        .unwrap();
    let live = deliveries(&mut subscription, 3).await;
    assert_eq!(
        shorts(&live),
        [
            r#"patch a {"id":"a","n":1,"name":"x"}"#,
            "delete b ",
            r#"message b "hello""#
        ]
    );
    assert_eq!(
        live[0].event.delta.as_ref().unwrap().json(),
        r#"{"name":"x"}"#
    );
    assert_eq!(live[0].phase, Phase::Live);
}

#[tokio::test]
async fn a_scope_limits_state_and_events() {
    let fixture = Fixture::new();
    fixture.dispatch();
    let dog = fixture.table(DOG).await;
    for key in ["1", "1/a", "1/b/c", "10", "2"] {
        put(&dog, key, "{}").await;
    }
    let levels = Scope::Levels {
        levels: vec![
            resource::hub::Level::Exact("1".into()),
            resource::hub::Level::Any,
        ],
        rest: false,
    };
    for (scope, expected) in [
        (Scope::Key(Key::from("1")), vec!["1"]),
        (Scope::Prefix("1/".into()), vec!["1/a", "1/b/c"]),
        (levels, vec!["1/a"]),
        (Scope::All, vec!["1", "1/a", "1/b/c", "10", "2"]),
    ] {
        let mut subscription = dog
            .subscribe(scope.clone(), &options(), &internal())
            .await
            .unwrap();
        let key =
            |delivery: &Arc<resource::Delivery>| delivery.event.key.as_ref().unwrap().to_string();
        let state: Vec<_> = backlog(&mut subscription).await.iter().map(key).collect();
        assert_eq!(state, expected, "{scope:?}");
        for key in ["1", "1/a", "1/b/c", "10", "2"] {
            put(&dog, key, "{}").await;
        }
        let live: Vec<_> = deliveries(&mut subscription, expected.len())
            .await
            .iter()
            .map(key)
            .collect();
        assert_eq!(live, expected, "{scope:?}");
    }
}

#[tokio::test]
async fn o2_o3_events_reach_every_worker_in_commit_order() {
    let fixture = Fixture::new();
    fixture.dispatch();
    let dog = fixture.table(DOG).await;
    let mut subscriptions = Vec::new();
    for worker in 0..2 {
        let omit = SubscribeOptions {
            omit_current: true,
            ..options()
        };
        subscriptions.push(dog.subscribe(Scope::All, &omit, &on(worker)).await.unwrap());
    }
    let context = internal();
    let writes = (0..300).map(|n| {
        let body = json(&format!(r#"{{"n":{n}}}"#));
        let key = Key::from((n % 7).to_string().as_str());
        dog.write(
            vec![Write::new(Some(key), WriteKind::Put, Some(body))],
            &context,
        )
    });
    let written = futures_util::future::join_all(writes.collect::<Vec<_>>()).await;
    let mut versions: Vec<_> = written
        .into_iter()
        .map(|written| written.unwrap()[0].version)
        .collect();
    versions.sort();
    for subscription in &mut subscriptions {
        let events = deliveries(subscription, 300).await;
        let seen: Vec<_> = events
            .iter()
            .map(|delivery| delivery.event.version)
            .collect();
        assert_eq!(seen, versions);
    }
}

/// While one task writes without a pause, subscriptions start at any moment: state and live events together are
/// every value of the counter exactly once from the first one seen.
#[tokio::test]
async fn o1_the_hand_over_has_no_gap_and_no_repetition() {
    const LAST: i64 = 600;
    let fixture = Fixture::new();
    fixture.dispatch();
    let dog = fixture.table(DOG).await;
    let first = put(&dog, "1", r#"{"n":0}"#).await;
    let writer = tokio::spawn({
        let dog = Arc::clone(&dog);
        async move {
            for n in 1..=LAST {
                put(&dog, "1", &format!(r#"{{"n":{n}}}"#)).await;
            }
        }
    });
    let mut readers = Vec::new();
    for reader in 0..20 {
        let dog = Arc::clone(&dog);
        let context = on(reader % 2);
        readers.push(tokio::spawn(async move {
            for _ in 0..reader * 5 {
                tokio::task::yield_now().await;
            }
            let replay = SubscribeOptions {
                start_time: (reader % 3 == 0).then_some(first),
                ..SubscribeOptions::default()
            };
            let mut subscription = dog
                .subscribe(Scope::Key(Key::from("1")), &replay, &context)
                .await
                .unwrap();
            let mut seen: Vec<i64> = Vec::new();
            while seen.last() != Some(&LAST) {
                for delivery in subscription.next().await.unwrap() {
                    let n = delivery
                        .event
                        .body
                        .as_ref()
                        .unwrap()
                        .attribute("n")
                        .unwrap();
                    seen.push(n.as_i64().unwrap());
                }
            }
            let expected: Vec<i64> = (seen[0]..=LAST).collect();
            assert_eq!(seen, expected, "reader {reader}");
        }));
    }
    writer.await.unwrap();
    for reader in readers {
        reader.await.unwrap();
    }
}

#[tokio::test]
async fn s1_4_a_start_time_replays_the_log_with_full_records() {
    let fixture = Fixture::new();
    fixture.dispatch();
    let dog = fixture.table(DOG).await;
    let start = put(&dog, "1", r#"{"n":1}"#).await;
    write(
        &dog,
        "1",
        WriteKind::Patch,
        r#"{"n":{"__op__":"add","value":1}}"#,
    )
    .await
    .unwrap();
    write(&dog, "1", WriteKind::Patch, r#"{"name":"x"}"#)
        .await
        .unwrap();
    put(&dog, "2", "{}").await;
    let properties = MessageProperties {
        content_type: Some("text/plain".into()),
        ..MessageProperties::default()
    };
    let message = WriteKind::Message(Some(Arc::new(properties.clone())));
    write(&dog, "1", message, r#"{"hi":true}"#).await.unwrap();
    write_as(&dog, None, WriteKind::Message(None), "7", &internal())
        .await
        .unwrap();
    write(&dog, "2", WriteKind::Delete, "").await.unwrap();
    let fixture = {
        drop(dog);
        fixture.reopen()
    };
    let dog = fixture.table(DOG).await;
    let since = |start_time| SubscribeOptions {
        start_time: Some(start_time),
        ..options()
    };
    let mut subscription = dog
        .subscribe(Scope::All, &since(start), &internal())
        .await
        .unwrap();
    let replayed = backlog(&mut subscription).await;
    assert_eq!(
        shorts(&replayed),
        [
            r#"patch 1 {"id":"1","n":2}"#,
            r#"patch 1 {"id":"1","n":2,"name":"x"}"#,
            r#"put 2 {"id":"2"}"#,
            r#"message 1 {"hi":true}"#,
            "message  7",
            "delete 2 ",
        ]
    );
    assert!(
        replayed
            .iter()
            .all(|delivery| delivery.phase == Phase::Replay)
    );
    assert_eq!(replayed[3].event.properties.as_deref(), Some(&properties));
    assert_eq!(
        replayed[3].event.version,
        get(&dog, "1").await.unwrap().version,
        "a message has the record's version"
    );
    // Up to date: nothing is sent.
    let newest = replayed.last().unwrap().event.local_time;
    let mut subscription = dog
        .subscribe(Scope::All, &since(newest), &internal())
        .await
        .unwrap();
    assert_eq!(backlog(&mut subscription).await.len(), 0);
}

#[tokio::test]
async fn s1_4_a_previous_count_replays_the_last_events() {
    let fixture = Fixture::new();
    fixture.dispatch();
    let dog = fixture.table(DOG).await;
    for n in 0..5 {
        put(&dog, "1", &format!(r#"{{"n":{n}}}"#)).await;
        put(&dog, "2", "{}").await;
    }
    let last = |count| SubscribeOptions {
        previous_count: Some(count),
        ..options()
    };
    let mut subscription = dog
        .subscribe(Scope::Key(Key::from("1")), &last(2), &internal())
        .await
        .unwrap();
    let replayed = shorts(&backlog(&mut subscription).await);
    assert_eq!(
        replayed,
        [r#"put 1 {"id":"1","n":3}"#, r#"put 1 {"id":"1","n":4}"#]
    );
    let mut subscription = dog
        .subscribe(Scope::All, &last(1000), &internal())
        .await
        .unwrap();
    assert_eq!(backlog(&mut subscription).await.len(), 10);
    let error = dog
        .subscribe(Scope::All, &last(1001), &internal())
        .await
        .unwrap_err();
    assert_eq!(error.status(), 400);
    let both = SubscribeOptions {
        start_time: Some(Timestamp::ZERO),
        ..last(1)
    };
    let error = dog
        .subscribe(Scope::All, &both, &internal())
        .await
        .unwrap_err();
    assert_eq!(
        error.message(),
        "startTime and previousCount can not be combined for a table level subscription"
    );
}

#[tokio::test]
async fn s1_4_a_start_before_the_retained_log_gives_the_full_state() {
    let fixture = Fixture::with(|config| {
        config.audit_retention = std::time::Duration::ZERO;
        config.sweep_interval = std::time::Duration::from_millis(10);
    });
    fixture.dispatch();
    let dog = fixture.table(DOG).await;
    let start = put(&dog, "1", "{}").await;
    put(&dog, "2", "{}").await;
    let since = SubscribeOptions {
        start_time: Some(start),
        ..options()
    };
    loop {
        // Until the sweep has removed both entries, the replay gives one event.
        let mut subscription = dog
            .subscribe(Scope::All, &since, &internal())
            .await
            .unwrap();
        let is_reset = subscription.is_reset();
        let state = backlog(&mut subscription).await;
        // Only who begins anew is told so: what it knew may have been deleted meanwhile.
        assert_eq!(is_reset, state.len() == 2);
        if state.len() == 2 {
            assert!(
                state
                    .iter()
                    .all(|delivery| delivery.phase == Phase::Initial)
            );
            break;
        }
    }
    let found = fixture.verify("data").await;
    assert_eq!((found.records, found.log_entries), (2, 0));
}

#[tokio::test]
async fn a_filter_withholds_what_does_not_match_except_deletes() {
    let fixture = Fixture::new();
    fixture.dispatch();
    let dog = fixture.table(DOG).await;
    put(&dog, "1", r#"{"n":1}"#).await;
    put(&dog, "2", r#"{"n":2}"#).await;
    let over_one = SubscribeOptions {
        filter: Some(compare("n", Comparator::GreaterThan, 1_i64)),
        ..options()
    };
    let mut subscription = dog
        .subscribe(Scope::All, &over_one, &internal())
        .await
        .unwrap();
    assert_eq!(
        shorts(&backlog(&mut subscription).await),
        [r#"put 2 {"id":"2","n":2}"#]
    );
    put(&dog, "3", r#"{"n":0}"#).await;
    put(&dog, "3", r#"{"n":3}"#).await;
    write(&dog, "1", WriteKind::Delete, "").await.unwrap();
    let live = deliveries(&mut subscription, 2).await;
    assert_eq!(shorts(&live), [r#"put 3 {"id":"3","n":3}"#, "delete 1 "]);
}

#[tokio::test]
async fn s1_6_attributes_that_may_not_be_read_are_removed_from_every_event() {
    let fixture = Fixture::new();
    fixture.dispatch();
    let dog = fixture.table(DOG).await;
    put(&dog, "1", r#"{"name":"secret","n":1}"#).await;
    let flags = resource::access::AttributeFlags {
        read: true,
        ..Default::default()
    };
    let attributes = AttributeAccess {
        attributes: HashMap::from([("n".to_owned(), flags)]),
    };
    let access = TableAccess {
        read: true,
        attributes: Some(Arc::new(attributes)),
        ..TableAccess::default()
    };
    let context = user(Permissions {
        tables: HashMap::from([(
            "data".to_owned(),
            HashMap::from([("Dog".to_owned(), access)]),
        )]),
        ..Permissions::default()
    });
    let mut subscription = dog
        .subscribe(Scope::All, &options(), &context)
        .await
        .unwrap();
    write(&dog, "1", WriteKind::Patch, r#"{"name":"other","n":2}"#)
        .await
        .unwrap();
    let seen = deliveries(&mut subscription, 2).await;
    assert_eq!(
        shorts(&seen),
        [r#"put 1 {"id":"1","n":1}"#, r#"patch 1 {"id":"1","n":2}"#]
    );
    assert_eq!(seen[1].event.delta.as_ref().unwrap().json(), r#"{"n":2}"#);
    let nobody = user(Permissions::default());
    let error = dog
        .subscribe(Scope::All, &options(), &nobody)
        .await
        .unwrap_err();
    assert_eq!(error.status(), 403);
    let value = seen[1].event.body.as_ref().unwrap().attribute("n");
    assert_eq!(value, Some(Value::Int(2)));
    assert_eq!(seen[1].event.kind, EventKind::Patch);
}

#[tokio::test]
async fn a_publisher_is_named_in_its_events() {
    let fixture = Fixture::new();
    fixture.dispatch();
    let dog: Arc<dyn Resource> = fixture.table(DOG).await;
    let mut subscription = dog
        .subscribe(Scope::All, &options(), &internal())
        .await
        .unwrap();
    let context = Context {
        publisher: Some(Arc::from("session-1")),
        ..internal()
    };
    write_as(&dog, Some(Key::from("1")), WriteKind::Put, "{}", &context)
        .await
        .unwrap();
    let events = deliveries(&mut subscription, 1).await;
    assert_eq!(events[0].event.publisher.as_deref(), Some("session-1"));
}
