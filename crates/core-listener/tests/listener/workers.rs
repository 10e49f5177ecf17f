//! Threads, and how connections spread over them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use crate::support::*;
use base::WorkerId;
use core_listener::{HttpConfig, ServerState};

#[tokio::test]
async fn connections_spread_over_the_workers_and_each_stays_on_one() {
    let gate = Gate::default();
    let server = workers(2)
        .listen(listener(HttpConfig::default(), &gate))
        .start()
        .unwrap();
    let mut seen = HashSet::new();
    for _ in 0..64 {
        let mut client = connect(&server).await;
        let first = get(&mut client, "/worker").await;
        let again = get(&mut client, "/worker").await;
        let worker = |response: &str| response.chars().last().unwrap();
        assert_eq!(worker(&first), worker(&again));
        seen.insert(worker(&first));
    }
    assert_eq!(seen, HashSet::from(['0', '1']));
    for stats in server.stats() {
        assert!(stats.accepted > 0, "{stats:?}");
        assert_eq!(stats.requests, 2 * stats.accepted);
    }
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn a_service_is_built_on_the_thread_of_its_worker() {
    let names = Arc::new(Mutex::new(Vec::new()));
    let seen = names.clone();
    let hooks = Arc::new(Mutex::new(Vec::new()));
    let ran = hooks.clone();
    let listener = core_listener::Listener::http(
        "http.port",
        "127.0.0.1:0".parse().unwrap(),
        HttpConfig::default(),
        move |worker| {
            seen.lock()
                .unwrap()
                .push((worker, std::thread::current().name().map(str::to_owned)));
            service(Gate::default())
        },
    );
    let server = workers(2)
        .listen(listener)
        .on_worker_start(move |worker| {
            ran.lock().unwrap().push(worker);
            async {}
        })
        .start()
        .unwrap();
    let mut names = names.lock().unwrap().clone();
    names.sort();
    let expected = |id: u16| (WorkerId(id), Some(format!("motet-worker-{id}")));
    assert_eq!(names, [expected(0), expected(1)]);
    assert_eq!(hooks.lock().unwrap().len(), 2);
    server.force_close();
    within(server.wait()).await;
}

#[tokio::test]
async fn a_worker_range_limits_who_opens_a_listener() {
    let gate = Gate::default();
    let server = workers(3)
        .listen(listener(HttpConfig::default(), &gate).workers(1..=1))
        .start()
        .unwrap();
    for _ in 0..8 {
        assert!(
            get(&mut connect(&server).await, "/worker")
                .await
                .ends_with('1')
        );
    }
    server.shutdown(PATIENCE).await;
    let outside = workers(2)
        .listen(listener(HttpConfig::default(), &gate).workers(5..=7))
        .start()
        .unwrap_err();
    assert_eq!(
        outside.to_string(),
        "no worker opens http.port: its range 5-7 is outside the 2 workers"
    );
}

#[tokio::test]
async fn a_factory_that_panics_is_an_error_of_start_and_leaves_nothing_running() {
    let listener = core_listener::Listener::http(
        "http.port",
        "127.0.0.1:0".parse().unwrap(),
        HttpConfig::default(),
        |worker| {
            assert_ne!(worker, WorkerId(1), "no luck");
            service(Gate::default())
        },
    );
    let error = workers(2).listen(listener).start().unwrap_err().to_string();
    assert!(
        error.starts_with("worker 1 panicked while it built its services: "),
        "{error}"
    );
    assert!(error.contains("no luck"), "{error}");
}

#[tokio::test]
async fn a_panic_in_a_service_is_a_500_and_the_worker_lives() {
    let (server, _) = serve(HttpConfig::default());
    let mut client = connect(&server).await;
    assert!(
        get(&mut client, "/panic")
            .await
            .starts_with("HTTP/1.1 500 ")
    );
    assert_eq!(total(&server, |stats| stats.panics), 1);
    assert!(
        get(&mut connect(&server).await, "/fine")
            .await
            .ends_with("/fine")
    );
    server.shutdown(PATIENCE).await;
    assert_eq!(server.state(), ServerState::Closed);
}
