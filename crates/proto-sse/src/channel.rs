//! Event streams for code of an embedder: a bounded queue between its events and one response.
//!
//! ```text
//! your code ─▶ EventSender ─▶ queue (bounded) ─▶ chunks of the body ─▶ client
//! ```

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base::{Shutdown, WorkerId};
use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt as _};
use http::Method;
use http_chain::{Body, Request, Response};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::event::SseEvent;
use crate::framing::encode_comment;
use crate::response;
use crate::statistics::{SseStatistics, Statistics, StreamCount};

/// How event streams of an embedder behave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventStreamConfig {
    /// Events that may wait for a slow client. Default: 64.
    pub max_waiting_events: usize,
    /// Bytes that may wait; one event may exceed it. Default: 1 MiB.
    pub max_waiting_bytes: usize,
    /// Largest event, encoded. A larger one is refused, and the stream goes on. Default: 16 MiB.
    pub max_event_bytes: usize,
    /// What happens to an event for which there is no room. Default: [`WhenFull::Wait`].
    pub when_full: WhenFull,
    /// Silence after which a comment is sent, so that proxies keep the connection. Default: 15 s.
    pub keep_alive: Duration,
}

impl Default for EventStreamConfig {
    fn default() -> Self {
        Self {
            max_waiting_events: 64,
            max_waiting_bytes: 1 << 20,
            max_event_bytes: 16 << 20,
            when_full: WhenFull::Wait,
            keep_alive: Duration::from_secs(15),
        }
    }
}

/// What happens to an event for which there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// Its sender waits.
    Wait,
    /// The oldest waiting events are dropped.
    DropOldest,
    /// The stream ends with an event called `overflow`; the client comes back.
    Disconnect,
}

/// An event that was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The client is gone, or the stream has ended.
    #[error("the event stream is closed")]
    Closed,
    /// There is no room at the moment ([`EventSender::try_send`]).
    #[error("the event stream is full")]
    Full,
    /// The event is larger than [`EventStreamConfig::max_event_bytes`]; the stream goes on.
    #[error("an event of {bytes} bytes is larger than {limit}")]
    TooLarge {
        /// Bytes of the event.
        bytes: usize,
        /// Bytes that it may have.
        limit: usize,
    },
}

/// Makes event streams of one kind, which count together.
///
/// ```
/// use http_chain::{Request, Response};
/// use proto_sse::{EventStreamConfig, EventStreams, SseEvent};
///
/// let ticks = EventStreams::new("/ticks", EventStreamConfig::default());
/// let request = Request::new(http::Method::GET, "/ticks").unwrap();
/// let response: Response = ticks.produce(&request, |events| async move {
///     for n in 0..3 {
///         events.send(SseEvent::new(n.to_string())).await?;
///     }
///     Ok::<_, proto_sse::SendError>(())
/// });
/// assert_eq!(response.status(), 200);
/// ```
#[derive(Clone)]
pub struct EventStreams {
    route: Arc<str>,
    config: EventStreamConfig,
    statistics: Arc<Statistics>,
}

impl EventStreams {
    /// Streams that are counted under `route`.
    pub fn new(route: impl Into<Arc<str>>, config: EventStreamConfig) -> Self {
        Self {
            route: route.into(),
            config,
            statistics: Arc::default(),
        }
    }

    /// Streams that count together with others.
    pub(crate) fn counted_by(
        statistics: Arc<Statistics>,
        route: &str,
        keep_alive: Duration,
    ) -> Self {
        Self {
            route: Arc::from(route),
            config: EventStreamConfig {
                keep_alive,
                ..EventStreamConfig::default()
            },
            statistics,
        }
    }

    /// Totals of all workers since the start. Clones count together.
    pub fn statistics(&self) -> SseStatistics {
        self.statistics.read()
    }

    /// A stream that answers `request`, and what sends events to it. The stream ends when the last clone of the
    /// sender is dropped, or the server shuts down. To `HEAD` there is only a head: nothing can be sent.
    pub fn channel(&self, request: &Request) -> (EventSender, Response) {
        let (sender, chunks) = self.open(request);
        let body = match *request.method() == Method::HEAD {
            true => Body::Empty,
            false => Body::from_stream(chunks.into_stream(None)),
        };
        (sender, response::of_body(body))
    }

    /// A stream whose events `produce` sends. It runs as part of the stream: it starts when the body is first
    /// read, and is dropped when the client is gone. An error of it goes to the log, and the stream ends.
    pub fn produce<F, Fut, E>(&self, request: &Request, produce: F) -> Response
    where
        F: FnOnce(EventSender) -> Fut,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display,
    {
        if *request.method() == Method::HEAD {
            return response::of_body(Body::Empty);
        }
        let (sender, chunks) = self.open(request);
        let produced = produce(sender);
        let producer: Producer = Box::pin(async move {
            if let Err(error) = produced.await {
                tracing::debug!(target: "sse", %error, "an event stream ended");
            }
        });
        response::of_stream(chunks.into_stream(Some(producer)))
    }

    /// A stream of the events that `events` yields, up to its first error, which goes to the log.
    pub fn from_stream<S, E>(&self, request: &Request, events: S) -> Response
    where
        S: Stream<Item = Result<SseEvent, E>> + Send + 'static,
        E: fmt::Display + Send,
    {
        self.produce(request, |sender| async move {
            let mut events = std::pin::pin!(events);
            while let Some(event) = events.next().await {
                let event = event.map_err(|error| error.to_string())?;
                match sender.send(event).await {
                    Ok(()) | Err(SendError::TooLarge { .. }) => {}
                    Err(closed) => return Err(closed.to_string()),
                }
            }
            Ok(())
        })
    }

    fn open(&self, request: &Request) -> (EventSender, Chunks) {
        let worker = request.conn().map_or(WorkerId(0), |conn| conn.worker);
        let queue = Arc::new(Queue {
            config: self.config.clone(),
            count: StreamCount::open(&self.statistics, &self.route, worker),
            waiting: Mutex::new(Waiting {
                // Nothing reads the body of a response to HEAD.
                is_closed: *request.method() == Method::HEAD,
                senders: 1,
                ..Waiting::default()
            }),
            arrived: Notify::new(),
            room: Notify::new(),
            closed: Notify::new(),
        });
        let sender = EventSender {
            queue: Arc::clone(&queue),
        };
        let shutdown = request.extensions().get::<Shutdown>().cloned();
        (sender, Chunks { queue, shutdown })
    }
}

impl fmt::Debug for EventStreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStreams")
            .field("route", &self.route)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

type Producer = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Debug)]
struct Queue {
    config: EventStreamConfig,
    count: StreamCount,
    waiting: Mutex<Waiting>,
    /// For the reader: something changed.
    arrived: Notify,
    /// For senders that wait.
    room: Notify,
    /// For those who wait for the end.
    closed: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    blocks: VecDeque<Bytes>,
    bytes: usize,
    senders: usize,
    /// The reader is gone, or gave up.
    is_closed: bool,
    has_overflowed: bool,
}

impl Waiting {
    fn pop(&mut self) -> Option<Bytes> {
        let block = self.blocks.pop_front()?;
        self.bytes -= block.len();
        Some(block)
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a block as the policy says; `Full` only if it is to wait.
    fn push(&self, block: &Bytes) -> Result<(), SendError> {
        let config = &self.config;
        if block.len() > config.max_event_bytes {
            self.count.dropped_oversize();
            return Err(SendError::TooLarge {
                bytes: block.len(),
                limit: config.max_event_bytes,
            });
        }
        let mut waiting = self.lock();
        if waiting.is_closed || waiting.has_overflowed {
            return Err(SendError::Closed);
        }
        while !waiting.blocks.is_empty()
            && (waiting.blocks.len() >= config.max_waiting_events
                || waiting.bytes + block.len() > config.max_waiting_bytes)
        {
            match config.when_full {
                WhenFull::Wait => return Err(SendError::Full),
                WhenFull::DropOldest => {
                    waiting.pop();
                    self.count.dropped_oldest(1);
                }
                WhenFull::Disconnect => {
                    waiting.has_overflowed = true;
                    self.count.overflowed();
                    self.arrived.notify_one();
                    self.closed.notify_waiters();
                    return Err(SendError::Closed);
                }
            }
        }
        waiting.bytes += block.len();
        waiting.blocks.push_back(block.clone());
        self.arrived.notify_one();
        Ok(())
    }

    fn close(&self) {
        let mut waiting = self.lock();
        if !waiting.is_closed {
            waiting.is_closed = true;
            self.count.dropped_at_close(waiting.blocks.len());
            waiting.blocks.clear();
            waiting.bytes = 0;
        }
        drop(waiting);
        self.count.end();
        self.room.notify_waiters();
        self.closed.notify_waiters();
    }
}

/// Sends events to one stream. The stream ends when the last clone is dropped.
pub struct EventSender {
    queue: Arc<Queue>,
}

impl EventSender {
    /// Sends an event. With [`WhenFull::Wait`], waits until there is room.
    ///
    /// Dropping the future before it is done means that the event is not sent.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] if nobody reads any more, [`SendError::TooLarge`] for an event that is.
    pub async fn send(&self, event: SseEvent) -> Result<(), SendError> {
        let block = event.encode();
        loop {
            let mut room = std::pin::pin!(self.queue.room.notified());
            // Registered before looking, so that room made in between is not missed.
            room.as_mut().enable();
            match self.queue.push(&block) {
                Err(SendError::Full) => room.await,
                done => return done,
            }
        }
    }

    /// Sends an event if there is room for it now, whatever the policy.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send), and [`SendError::Full`].
    pub fn try_send(&self, event: SseEvent) -> Result<(), SendError> {
        self.queue.push(&event.encode())
    }

    /// Whether nobody reads any more.
    pub fn is_closed(&self) -> bool {
        let waiting = self.queue.lock();
        waiting.is_closed || waiting.has_overflowed
    }

    /// Waits until nobody reads any more. Cancel safe.
    pub async fn closed(&self) {
        loop {
            let mut closed = std::pin::pin!(self.queue.closed.notified());
            closed.as_mut().enable();
            if self.is_closed() {
                return;
            }
            closed.await;
        }
    }
}

impl Clone for EventSender {
    fn clone(&self) -> Self {
        self.queue.lock().senders += 1;
        Self {
            queue: Arc::clone(&self.queue),
        }
    }
}

impl Drop for EventSender {
    fn drop(&mut self) {
        let mut waiting = self.queue.lock();
        waiting.senders -= 1;
        if waiting.senders == 0 {
            drop(waiting);
            self.queue.arrived.notify_one();
        }
    }
}

impl fmt::Debug for EventSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSender")
            .field("is_closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

/// The reading end.
struct Chunks {
    queue: Arc<Queue>,
    shutdown: Option<Shutdown>,
}

/// What the reader found.
enum Next {
    Chunk(Bytes),
    /// The last chunk.
    Overflow,
    End,
    /// Nothing yet.
    Wait,
}

impl Chunks {
    fn into_stream(
        self,
        producer: Option<Producer>,
    ) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
        stream::unfold(
            (self, producer, false),
            |(chunks, mut producer, is_over)| async move {
                if is_over {
                    return None;
                }
                let (chunk, is_over) = chunks.next(&mut producer).await?;
                Some((Ok(chunk), (chunks, producer, is_over)))
            },
        )
    }

    /// The next chunk, and whether it is the last.
    async fn next(&self, producer: &mut Option<Producer>) -> Option<(Bytes, bool)> {
        let keep_alive = self.queue.config.keep_alive;
        let silence = sleep_until(Instant::now() + keep_alive);
        tokio::pin!(silence);
        loop {
            match self.take() {
                Next::Chunk(chunk) => return Some((chunk, false)),
                Next::Overflow => {
                    let overflow = b"event: overflow\ndata: {\"type\":\"overflow\"}\n\n";
                    return Some((Bytes::from_static(overflow), true));
                }
                Next::End => return None,
                Next::Wait => {}
            }
            let shutdown = async {
                match &self.shutdown {
                    Some(shutdown) => shutdown.started().await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = shutdown => return None,
                () = run(producer) => *producer = None,
                () = self.queue.arrived.notified() => {}
                () = &mut silence => {
                    let mut comment = Vec::new();
                    encode_comment("keep-alive", &mut comment);
                    return Some((comment.into(), false));
                }
            }
        }
    }

    /// All that waits, as one chunk.
    fn take(&self) -> Next {
        let mut waiting = self.queue.lock();
        let Some(first) = waiting.pop() else {
            return match (waiting.has_overflowed, waiting.senders) {
                (true, _) => Next::Overflow,
                (false, 0) => Next::End,
                _ => Next::Wait,
            };
        };
        let mut events = 1;
        let chunk = if waiting.blocks.is_empty() {
            first
        } else {
            let mut chunk = Vec::with_capacity(first.len() + waiting.bytes);
            chunk.extend_from_slice(&first);
            while let Some(block) = waiting.pop() {
                chunk.extend_from_slice(&block);
                events += 1;
            }
            chunk.into()
        };
        drop(waiting);
        self.queue.count.sent(events, chunk.len());
        self.queue.room.notify_waiters();
        Next::Chunk(chunk)
    }
}

async fn run(producer: &mut Option<Producer>) {
    match producer {
        Some(producer) => producer.await,
        None => pending().await,
    }
}

impl Drop for Chunks {
    fn drop(&mut self) {
        self.queue.close();
    }
}
