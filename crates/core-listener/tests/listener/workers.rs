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

/// Clones well until it is told to panic.
struct Fragile(Arc<std::sync::atomic::AtomicBool>);

impl Clone for Fragile {
    fn clone(&self) -> Self {
        let panics = self.0.swap(false, std::sync::atomic::Ordering::Relaxed);
        assert!(!panics, "a test asked for it");
        Self(self.0.clone())
    }
}

#[tokio::test]
async fn a_service_that_panics_when_it_is_cloned_loses_one_connection_alone() {
    let panics = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let fragile = Fragile(panics.clone());
    let fragile = std::sync::Mutex::new(fragile);
    let listener = core_listener::Listener::http(
        "http.port",
        "127.0.0.1:0".parse().unwrap(),
        HttpConfig::default(),
        move |_| {
            let fragile = fragile.lock().unwrap().clone();
            core_listener::service_fn(move |_| {
                let _held = &fragile;
                async { Ok::<_, std::convert::Infallible>(text("ok".to_owned())) }
            })
        },
    );
    let server = workers(1).listen(listener).start().unwrap();
    panics.store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(read_to_close(&mut connect(&server).await).await, "");
    assert!(get(&mut connect(&server).await, "/").await.ends_with("ok"));
    assert_eq!(total(&server, |stats| stats.panics), 1);
    assert_eq!(server.worker_restarts(), 0);
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn a_worker_that_crashes_is_replaced_and_serves_http_upgrades_and_raw_protocols_again() {
    let gate = Gate::default();
    let crash = Arc::new(tokio::sync::Notify::new());
    let told = crash.clone();
    let raw = core_listener::Listener::raw("raw.port", "127.0.0.1:0".parse().unwrap(), |_| {
        |mut io: base::BoxedIo, _, _| async move {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut io, b"raw").await;
        }
    });
    let server = workers(1)
        .listen(listener(HttpConfig::default(), &gate))
        .listen(raw)
        .on_worker_start(move |_| {
            let crash = crash.clone();
            async move {
                crash.notified().await;
                panic!("a test asked for it");
            }
        })
        .start()
        .unwrap();
    for crashes in 1..=3 {
        let mut open = connect(&server).await;
        get(&mut open, "/x").await;
        told.notify_one();
        assert_eq!(read_to_close(&mut open).await, "", "it is cut");
        // Also those who come in between wait in the kernel's queue and are served.
        let mut client = connect(&server).await;
        assert!(get(&mut client, "/worker").await.ends_with('0'));
        send(
            &mut client,
            "GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n",
        )
        .await;
        let head = read_head(&mut client).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let mut raw = connect_to(server.address("raw.port").unwrap()).await;
        assert_eq!(read_to_close(&mut raw).await, "raw");
        assert_eq!(server.worker_restarts(), crashes);
    }
    let report = within(server.shutdown(PATIENCE)).await;
    assert_eq!(report.forced, 0);
    assert_eq!(total(&server, |stats| stats.active), 0);
    assert_eq!(total(&server, |stats| stats.closed_force), 3);
}
