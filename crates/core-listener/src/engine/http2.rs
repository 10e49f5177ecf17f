//! Drives an HTTP/2 connection.

use std::error::Error as _;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper_util::rt::TokioIo;

use super::Shared;
use super::activity::{Activity, Phase};
use super::service::{HttpService, RequestService};
use super::stall::Stalling;
use super::watchdog::{Expiry, Watchdog};
use super::watched::Watched;
use crate::panics;
use crate::stats::CloseReason;
use crate::stream::{Prefixed, Stream};

/// How long an idle peer has to answer the PING that goes with GOAWAY.
const GOAWAY: Duration = Duration::from_secs(1);

type Connection<S> = http2::Connection<TokioIo<Watched>, RequestService<S>, StreamSpawner>;

/// Runs each stream as a task of the same worker.
///
/// The tasks are not tracked: each ends with its connection, which is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamSpawner {
    /// How long the peer of a stream may take nothing of its response.
    pub(crate) write_timeout: Option<Duration>,
}

impl<F> hyper::rt::Executor<F> for StreamSpawner
where
    F: Future<Output = ()> + Send + 'static,
{
    #[expect(
        clippy::disallowed_methods,
        reason = "it ends with its connection, which is tracked"
    )]
    fn execute(&self, stream: F) {
        let stream = Stalling::new(stream, self.write_timeout);
        tokio::spawn(async move {
            panics::contain("an HTTP/2 stream", stream).await;
        });
    }
}

/// Why the engine stopped.
enum End {
    Finished(hyper::Result<()>),
    Expired(Expiry),
}

/// Serves requests until the connection ends.
pub(crate) async fn serve<S: HttpService>(
    shared: Arc<Shared>,
    stream: Prefixed<Stream>,
    service: S,
) {
    let io = TokioIo::new(Watched::new(stream, shared.clone()));
    let service = RequestService::new(service, shared.clone());
    let connection = shared.engine.http2.serve_connection(io, service);
    let (id, peer) = (shared.info.id, &shared.info.peer);
    match drive(pin!(connection), &shared).await {
        End::Finished(Ok(())) => {}
        End::Finished(Err(error)) => {
            if is_peers_fault(&error) {
                shared.ending.note(CloseReason::ProtocolError);
            }
            tracing::debug!(connection = %id, %peer, %error, "HTTP/2 connection failed");
        }
        End::Expired(Expiry::Write) => {
            shared.counters.write_timeouts.increment();
            shared.ending.note(CloseReason::WriteTimeout);
        }
        // Counted when GOAWAY was sent.
        End::Expired(_) => {}
    }
}

async fn drive<S: HttpService>(mut connection: Pin<&mut Connection<S>>, shared: &Shared) -> End {
    let activity = &shared.activity;
    let mut watchdog = Watchdog::new(&shared.engine.config);
    let mut shutdown = pin!(shared.shutdown.started());
    let mut closing = Closing::NotYet;
    poll_fn(|cx| {
        activity.register_driver(cx.waker());
        loop {
            if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                return Poll::Ready(End::Finished(result));
            }
            if matches!(closing, Closing::NotYet) && shutdown.as_mut().poll(cx).is_ready() {
                closing = Closing::Told { capped: false };
                connection.as_mut().graceful_shutdown();
                continue;
            }
            closing.limit(activity, &mut watchdog);
            match watchdog.poll(cx, activity) {
                Poll::Ready(Expiry::Silence) if matches!(closing, Closing::NotYet) => {
                    shared.counters.idle_timeouts.increment();
                    shared.ending.note(CloseReason::IdleTimeout);
                    closing = Closing::Told { capped: false };
                    connection.as_mut().graceful_shutdown();
                }
                Poll::Ready(expiry) => return Poll::Ready(End::Expired(expiry)),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

/// Whether GOAWAY was sent.
enum Closing {
    NotYet,
    /// Requests that were under way are finished; the peer must acknowledge before the connection ends.
    Told {
        capped: bool,
    },
}

impl Closing {
    /// Gives a peer without requests little time to acknowledge, and one with requests all it needs.
    fn limit(&mut self, activity: &Activity, watchdog: &mut Watchdog) {
        let Self::Told { capped } = self else { return };
        let silent = activity.phase() == Phase::Silent;
        match (silent, *capped) {
            (true, false) => watchdog.cap(GOAWAY),
            (false, true) => watchdog.uncap(),
            _ => return,
        }
        *capped = silent;
    }
}

/// Whether the connection failed for what the peer sent, and not because it left.
fn is_peers_fault(error: &hyper::Error) -> bool {
    let io = error
        .source()
        .and_then(|source| source.downcast_ref::<std::io::Error>());
    io.is_none() && !error.is_closed() && !error.is_canceled()
}
