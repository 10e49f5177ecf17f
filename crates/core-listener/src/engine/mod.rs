//! One HTTP connection: which version it speaks, and the parts that both engines share.
//!
//! hyper parses and writes. Around it, [`watched`] sees the bytes pass and has [`framing`] check them, [`activity`] turns that and the
//! requests in flight into a phase, [`watchdog`] turns the phase into deadlines, and [`http1`] and
//! [`http2`] act on them: what hyper alone does not do is to tell an idle connection from a slow one, to
//! answer 408, or to give up on a peer that does not read.

mod activity;
mod body;
mod calm;
mod frames;
mod framing;
mod http1;
mod http2;
mod refusal;
mod response;
mod service;
mod sniff;
mod stall;
mod strict;
mod watchdog;
mod watched;

use std::sync::{Arc, Mutex};

use base::{BoxedIo, ConnInfo, Shutdown, UpgradeTask};
use http::HeaderValue;
use hyper_util::rt::TokioTimer;
use tokio_util::task::TaskTracker;

use crate::config::HttpConfig;
use crate::listener::Connection;
use crate::stats::{Counters, Ending};
use crate::stream::{Prefixed, Stream};

use activity::Activity;
pub use body::{RequestBody, RequestBodyError};
pub use refusal::{Refusal, RefusalHook};
pub use service::{HttpService, ServiceFn, service_fn};
pub(crate) use sniff::first_byte;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What the HTTP connections of one listener have in common.
pub(crate) struct Engine {
    config: HttpConfig,
    http1: hyper::server::conn::http1::Builder,
    http2: hyper::server::conn::http2::Builder<http2::StreamSpawner>,
    /// Value of the `Keep-Alive` field.
    keep_alive: Option<HeaderValue>,
}

impl Engine {
    pub(crate) fn new(config: HttpConfig) -> Self {
        let seconds = config
            .keep_alive_timeout
            .map(|timeout| timeout.as_secs())
            .filter(|seconds| *seconds > 0);
        let keep_alive =
            seconds.and_then(|seconds| HeaderValue::try_from(format!("timeout={seconds}")).ok());
        Self {
            http1: http1_builder(&config),
            http2: http2_builder(&config),
            keep_alive,
            config,
        }
    }

    /// Serves one connection until it is closed, or until the protocol that it was upgraded to ends.
    pub(crate) async fn serve<S: HttpService>(
        self: Arc<Self>,
        mut stream: Prefixed<Stream>,
        connection: Connection,
        service: S,
    ) {
        let alpn = connection
            .info
            .tls
            .as_ref()
            .and_then(|tls| tls.alpn.as_deref());
        let is_http2 = match alpn {
            Some(name) => name == b"h2",
            None if self.config.http2_prior_knowledge && connection.info.tls.is_none() => {
                let limit = self.config.headers_timeout;
                match sniff::is_http2(&mut stream, limit, &connection).await {
                    Some(is_http2) => is_http2,
                    None => return,
                }
            }
            None => false,
        };
        if is_http2 {
            let shared = Shared::new(self, connection, Activity::http2());
            http2::serve(shared, stream, service).await;
        } else {
            let shared = Shared::new(self, connection, Activity::http1());
            http1::serve(shared, stream, service).await;
        }
    }
}

/// The state of one connection, shared by its driver, its bytes and its requests. All of them run on
/// one worker, so nothing here is ever contended; atomics and the lock make the types `Send`.
struct Shared {
    engine: Arc<Engine>,
    info: Arc<ConnInfo>,
    shutdown: Shutdown,
    counters: Arc<Counters>,
    ending: Arc<Ending>,
    tasks: TaskTracker,
    activity: Activity,
    /// What HTTP/1 is to become once its last response is written.
    upgrade: Mutex<Option<UpgradeTask>>,
}

impl Shared {
    fn new(engine: Arc<Engine>, connection: Connection, activity: Activity) -> Arc<Self> {
        let Connection {
            info,
            shutdown,
            counters,
            ending,
            tasks,
        } = connection;
        Arc::new(Self {
            engine,
            info,
            shutdown,
            counters,
            ending,
            tasks,
            activity,
            upgrade: Mutex::new(None),
        })
    }

    fn request_started(&self) {
        let was_served = self.activity.has_served();
        if self.activity.request_started() {
            self.counters.busy.increment();
            if was_served {
                self.counters.idle.decrement();
            }
        }
        if !self.activity.is_http1() {
            self.counters.http2_streams.increment();
        }
    }

    fn request_ended(&self) {
        if self.activity.request_ended() {
            self.counters.busy.decrement();
            self.counters.idle.increment();
        }
        if !self.activity.is_http1() {
            self.counters.http2_streams.decrement();
        }
    }

    /// Runs the protocol that a request was upgraded to.
    async fn run_upgrade(&self, task: UpgradeTask, io: BoxedIo) {
        self.counters.upgrades.increment();
        match task.start(io, self.info.clone(), self.shutdown.clone()) {
            Some(protocol) => protocol.await,
            None => {
                tracing::error!(connection = %self.info.id, "an upgrade task was used for two responses")
            }
        }
    }

    fn upgrade(&self) -> std::sync::MutexGuard<'_, Option<UpgradeTask>> {
        // Nothing that can panic runs under the lock.
        self.upgrade
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Every request holds a reference, so none is in flight any more.
        if self.activity.has_served() {
            self.counters.idle.decrement();
        }
    }
}

fn http1_builder(config: &HttpConfig) -> hyper::server::conn::http1::Builder {
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .header_read_timeout(None) // the watchdog does it, see above
        .max_header_size(config.max_header_bytes)
        // The read buffer holds a whole head. 64 KiB keeps reads of bodies large without letting every
        // connection grow to hyper's 400 KiB.
        .max_buf_size(config.max_header_bytes.max(64 * 1024));
    builder
}

fn http2_builder(config: &HttpConfig) -> hyper::server::conn::http2::Builder<http2::StreamSpawner> {
    let limits = &config.http2_limits;
    let mut builder = hyper::server::conn::http2::Builder::new(http2::StreamSpawner {
        write_timeout: config.write_timeout,
    });
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_concurrent_streams)
        // Our own count, which knows time, comes first; see `frames`.
        .max_pending_accept_reset_streams(limits.max_cancelled_streams as usize)
        .initial_stream_window_size(limits.stream_window_bytes)
        .initial_connection_window_size(limits.connection_window_bytes)
        .max_send_buf_size(limits.stream_send_buffer_bytes.min(u32::MAX as usize))
        .max_header_list_size(u32::try_from(config.max_header_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(limits.ping_interval);
    if config.http2_extended_connect {
        builder.enable_connect_protocol();
    }
    builder
}
