//! Drives an HTTP/1 connection.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::activity::Phase;
use super::framing::{Answer, BAD_REQUEST, FIELDS_TOO_LARGE};
use super::response::InFlight;
use super::service::{HttpService, RequestService};
use super::watchdog::{Expiry, Watchdog};
use super::watched::Watched;
use super::{Activity, Shared};
use crate::stats::CloseReason;
use crate::stream::{Prefixed, Stream};

/// How long a head that has begun may take when a shutdown begins.
const DRAIN_HEAD: Duration = Duration::from_secs(5);
/// How long a connection on which nothing was seen may stay when a shutdown begins: its first request
/// may have arrived in the kernel and not here.
const DRAIN_NEW: Duration = Duration::from_millis(100);
/// How long and how much we read and throw away before closing on a peer that is still sending, since a
/// close with unread input resets the connection and may take our last answer with it.
const LINGER: (Duration, usize) = (Duration::from_millis(500), 256 * 1024);

const REQUEST_TIMEOUT: Answer = Answer::new("408 Request Timeout");

type Connection<S> = http1::Connection<TokioIo<Watched>, RequestService<S>>;

/// Why the engine stopped.
enum End {
    Finished(hyper::Result<()>),
    Expired(Expiry),
}

/// Serves requests until the connection ends, then runs the protocol that it was upgraded to, if any.
pub(crate) async fn serve<S: HttpService>(
    shared: Arc<Shared>,
    stream: Prefixed<Stream>,
    service: S,
) {
    let io = TokioIo::new(Watched::new(stream, shared.clone()));
    let service = RequestService::new(service, shared.clone());
    let mut connection = shared.engine.http1.serve_connection(io, service);
    let end = drive(&mut connection, &shared).await;
    let parts = connection.into_parts();
    let watched = parts.io.into_inner();
    let (refusal, was_silenced) = (watched.refusal(), watched.has_silenced());
    let io = watched.into_inner();
    let upgrade = shared.upgrade().take();
    match end {
        End::Finished(_) if refusal.is_some() => {
            shared.ending.note(CloseReason::ProtocolError);
            answer_and_close(io, refusal, &shared).await;
        }
        End::Finished(Ok(())) => match upgrade {
            Some(task) => {
                let mut io = io;
                io.unread(parts.read_buf);
                let io = io.boxed();
                let _busy = InFlight::hold(shared.clone());
                shared.run_upgrade(task, io).await;
            }
            None => close(io, &shared.activity, shared.activity.has_unread()).await,
        },
        End::Finished(Err(error)) => {
            tracing::debug!(connection = %shared.info.id, peer = %shared.info.peer, %error, "HTTP/1 connection failed");
            if error.is_parse() {
                shared.ending.note(CloseReason::ProtocolError);
            }
            let answer = match error.is_parse_too_large() {
                true => FIELDS_TOO_LARGE,
                false => BAD_REQUEST,
            };
            let is_owed = was_silenced || error.is_parse_version_h2();
            answer_and_close(io, is_owed.then_some(answer), &shared).await;
        }
        End::Expired(Expiry::Head) => {
            shared.counters.header_timeouts.increment();
            shared.ending.note(CloseReason::HeaderTimeout);
            answer_and_close(io, Some(REQUEST_TIMEOUT), &shared).await;
        }
        End::Expired(Expiry::Silence) => {
            if !shared.shutdown.is_started() {
                shared.counters.idle_timeouts.increment();
                shared.ending.note(CloseReason::IdleTimeout);
            }
            close(io, &shared.activity, false).await;
        }
        // Nothing more can be said to a peer that does not read.
        End::Expired(Expiry::Write) => {
            shared.counters.write_timeouts.increment();
            shared.ending.note(CloseReason::WriteTimeout);
        }
    }
}

async fn drive<S: HttpService>(connection: &mut Connection<S>, shared: &Shared) -> End {
    let activity = &shared.activity;
    let mut watchdog = Watchdog::new(&shared.engine.config);
    let mut shutdown = pin!(shared.shutdown.started());
    let mut drain = Drain::NotYet;
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(result) = Pin::new(&mut *connection).poll(cx) {
                return Poll::Ready(End::Finished(result));
            }
            if matches!(drain, Drain::NotYet) && shutdown.as_mut().poll(cx).is_ready() {
                drain = Drain::Waiting(None);
            }
            if drain.advance(activity, &mut watchdog) {
                Pin::new(&mut *connection).graceful_shutdown();
                continue;
            }
            return watchdog.poll(cx, activity).map(End::Expired);
        }
    })
    .await
}

/// How far the connection has got in closing.
enum Drain {
    /// Nobody asked.
    NotYet,
    /// A request may be on its way: the engine would cut it off if it were told now. Holds the phase whose
    /// time is running.
    Waiting(Option<Phase>),
    /// The engine was told to stop after the current response.
    Told,
}

impl Drain {
    /// Whether the engine must be told now.
    fn advance(&mut self, activity: &Activity, watchdog: &mut Watchdog) -> bool {
        let Self::Waiting(timed) = *self else {
            return false;
        };
        let phase = activity.phase();
        let limit = match phase {
            Phase::Head => DRAIN_HEAD,
            Phase::Silent if activity.started() == 0 => DRAIN_NEW,
            Phase::Silent | Phase::Busy => {
                watchdog.uncap();
                *self = Self::Told;
                return true;
            }
        };
        if timed != Some(phase) {
            watchdog.cap(limit);
            *self = Self::Waiting(Some(phase));
        }
        false
    }
}

/// Writes a last answer of our own, for when the engine has none, and closes.
async fn answer_and_close(mut io: Prefixed<Stream>, answer: Option<Answer>, shared: &Shared) {
    if let Some(answer) = answer {
        let content = shared.note_refusal(answer.status_code(), None, answer.body);
        let message = last_message(answer.status, content);
        // It fits into the empty buffer of any socket; a peer whose buffer is full has lost interest.
        let written = tokio::time::timeout(LINGER.0, io.write_all(&message)).await;
        if !matches!(written, Ok(Ok(()))) {
            return;
        }
    }
    close(io, &shared.activity, true).await;
}

fn last_message(status: &str, content: Option<(HeaderValue, Bytes)>) -> Vec<u8> {
    let length = content.as_ref().map_or(0, |(_, content)| content.len());
    let mut message =
        format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n")
            .into_bytes();
    if let Some((media_type, _)) = &content {
        message.extend_from_slice(b"Content-Type: ");
        message.extend_from_slice(media_type.as_bytes());
        message.extend_from_slice(b"\r\n");
    }
    message.extend_from_slice(b"\r\n");
    message.extend_from_slice(&content.map(|(_, content)| content).unwrap_or_default());
    message
}

/// Ends our direction and, when the peer may still be sending, waits a little for the end of its own.
async fn close(mut io: Prefixed<Stream>, activity: &Activity, linger: bool) {
    let linger = linger && !activity.peer_closed();
    let close = async {
        let mut discarded = 0;
        let mut buffer = [0; 4096];
        if io.shutdown().await.is_err() || !linger {
            return;
        }
        while let Ok(length @ 1..) = io.read(&mut buffer).await {
            discarded += length;
            if discarded > LINGER.1 {
                return;
            }
        }
    };
    // Running out of time is one of the ways in which this ends.
    let _ = tokio::time::timeout(LINGER.0, close).await;
}
