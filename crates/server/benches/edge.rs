//! What counting costs a request, and what a scrape costs.
//!
//! ```text
//! cargo bench -p server --bench edge
//! ```
//!
//! `bare` is a chain of one handler without sockets, the cheapest request there can be; `measured` is the same
//! behind the measuring point. Only ratios and differences of one run say something on a shared machine.
#![allow(missing_docs, reason = "a program, not a library")]

use std::future::Future as _;
use std::hint::black_box;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use criterion::Criterion;
use http_body::Body as _;
use http_chain::{Body, Chain, Request, Response, Stage};
use resource::{Exposure, Methods, Registry, Resource};
use server::config::{self, Mode, Sources};
use server::metrics::{Answered, Answerer, ServerMetrics};
use tower_service::Service;

struct Dog;

impl Resource for Dog {
    fn name(&self) -> &str {
        "Dog"
    }
    fn methods(&self) -> Methods {
        Methods::NONE
    }
}

fn chain() -> Chain {
    let answer = |_: Request| async { ControlFlow::Break(Response::from("hello")) };
    Chain::new([(
        "rest",
        Stage::handler(Answered::by(Answerer::Resource, answer)),
    )])
}

/// One request from its head to the last byte of its response. Nothing in it waits.
fn serve<S, B>(service: &mut S)
where
    S: Service<http::Request<Body>, Response = http::Response<B>>,
    B: http_body::Body + Unpin,
{
    let request = http::Request::get("/Dog/1").body(Body::Empty);
    let request = request.expect("a method and a path");
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(response)) = pin!(service.call(request)).poll(&mut cx) else {
        unreachable!("the handler answers at once")
    };
    let mut body = response.into_body();
    while let Poll::Ready(Some(frame)) = pin!(&mut body).poll_frame(&mut cx) {
        black_box(frame.is_ok());
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let home = std::env::temp_dir();
    let sources = Sources {
        environment: vec![("ROOTPATH".to_owned(), home.display().to_string())],
        ..Sources::default()
    };
    let config = config::load(Mode::Dev, &sources).expect("the defaults are right");
    let exports = Arc::new(Registry::new());
    exports.export("Dog", Arc::new(Dog), Exposure::default());
    for number in 0..100 {
        exports.export(
            &format!("Table{number}"),
            Arc::new(Dog),
            Exposure::default(),
        );
    }
    let metrics = ServerMetrics::new(&config, exports).expect("the families have their own names");
    let mut bare = chain();
    let mut measured = metrics.measured("http.port", chain());
    criterion.bench_function("bare", |bencher| bencher.iter(|| serve(&mut bare)));
    criterion.bench_function("measured", |bencher| bencher.iter(|| serve(&mut measured)));
    criterion.final_summary();
}
