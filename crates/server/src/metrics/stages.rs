//! Gates that note what the measuring point at the edge cannot see by itself.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{StatusCode, header};
use http_chain::{Body, Exchange, Gate, Request, Response};
use telemetry::metrics::{Counter, CounterFamily};

use super::routes::{Failure, Seen};

/// Notes how large a response is before it is compressed.
///
/// Place: directly inside the compression.
#[derive(Debug, Clone, Copy)]
pub struct BeforeCompression {
    threshold_bytes: u64,
}

impl BeforeCompression {
    /// Bodies up to this size are not compressed, and need no note.
    pub fn new(threshold_bytes: u64) -> Self {
        Self { threshold_bytes }
    }
}

/// What a response was compressed from: an extension of it.
#[derive(Debug, Clone)]
pub(super) enum Uncompressed {
    Whole(u64),
    Streamed(Arc<AtomicU64>),
}

impl Uncompressed {
    /// So far.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Whole(bytes) => *bytes,
            Self::Streamed(bytes) => bytes.load(Ordering::Relaxed),
        }
    }
}

impl Gate for BeforeCompression {
    fn leave(&self, exchange: &Exchange, response: &mut Response) {
        let length = response.body().known_length();
        if exchange.accept_encoding().is_none()
            || length.is_some_and(|length| length <= self.threshold_bytes)
            || response.headers().contains_key(header::CONTENT_ENCODING)
        {
            return;
        }
        let uncompressed = match response.take_body() {
            Body::Stream(stream) => {
                let bytes = Arc::<AtomicU64>::default();
                let counted = Arc::clone(&bytes);
                response.set_body(Body::Stream(stream).inspect(move |frame| {
                    let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                    counted.fetch_add(length, Ordering::Relaxed);
                    Ok(())
                }));
                Uncompressed::Streamed(bytes)
            }
            body => {
                response.set_body(body);
                Uncompressed::Whole(length.unwrap_or(0))
            }
        };
        response.extensions_mut().insert(uncompressed);
    }
}

/// Notes that the handlers took too long.
///
/// Place: directly outside [`HandlerTimeout`](http_chain::stages::HandlerTimeout), whose answer it knows by its text.
#[derive(Debug, Clone, Copy)]
pub struct AroundTimeout {
    limit: Duration,
}

impl AroundTimeout {
    /// Around handlers that may take this long.
    pub fn new(limit: Duration) -> Self {
        Self { limit }
    }
}

impl Gate for AroundTimeout {
    fn leave(&self, exchange: &Exchange, response: &mut Response) {
        let is_timeout = response.status() == StatusCode::SERVICE_UNAVAILABLE
            && exchange.elapsed() >= self.limit
            && matches!(response.body(), Body::Full(text) if &**text == b"handler timed out");
        if is_timeout {
            Seen::note_failure(Failure::Timeout);
        }
    }
}

/// Counts the requests of each user, for `?with_user_connections`.
///
/// Place: inside authentication.
#[derive(Debug, Clone)]
pub struct UserRequests {
    family: CounterFamily,
    max_users: usize,
    /// What each worker has looked up; nobody else takes its lock.
    workers: Arc<[Mutex<Known>]>,
}

/// Counters by user name.
type Known = HashMap<Arc<str>, Counter>;

impl UserRequests {
    pub(super) fn new(family: CounterFamily, max_users: usize, workers: usize) -> Self {
        Self {
            family,
            max_users,
            workers: (0..workers.max(1)).map(|_| Mutex::default()).collect(),
        }
    }
}

impl Gate for UserRequests {
    fn enter(&self, exchange: &Exchange, _: &mut Request) -> ControlFlow<Response> {
        let Some(name) = exchange.caller().and_then(resource::Caller::username) else {
            return ControlFlow::Continue(());
        };
        let worker = exchange.conn().worker.index() % self.workers.len();
        let mut known = self.workers[worker]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(counter) = known.get(name) {
            counter.increment();
            return ControlFlow::Continue(());
        }
        let counter = self.family.series(&[name]);
        counter.increment();
        // Beyond the limit the series is that of all others, which is not worth remembering for each.
        if known.len() < self.max_users {
            known.insert(Arc::clone(name), counter);
        }
        ControlFlow::Continue(())
    }
}
