//! Turning work that is done in pieces on the query threads into a stream.
//!
//! While the consumer looks at one piece the next one is made; never more, so a slow consumer holds no thread
//! and little memory. Dropping the stream drops the work at once, or at the end of the piece being made. A
//! consumer that does not come back for too long loses the work, so that it does not hold a snapshot for ever.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures_core::Stream;
use resource::Error;
use tokio::sync::oneshot;

use crate::pool::{Pool, Watched};

/// Work done in pieces.
pub(crate) trait Source: Send + 'static {
    /// What it yields.
    type Item: Send + 'static;
    /// The next items, perhaps none; `true` after the last ones. `cancelled` says that nobody waits any more.
    fn next_piece(
        &mut self,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<(Vec<Self::Item>, bool), Error>;
}

/// The error of a snapshot that was held too long.
pub(crate) fn too_old() -> Error {
    Error::unavailable("The query took too long, its snapshot was given up")
}

/// The stream of a source.
pub(crate) struct Pump<S: Source> {
    pool: Arc<Pool>,
    slot: Arc<Slot<S>>,
}

struct Slot<S: Source> {
    give_up_at: Instant,
    // Held for a few instructions, by the consumer, the query thread and the watch.
    state: Mutex<State<S>>,
}

enum State<S: Source> {
    /// Nobody has asked yet.
    Idle(Box<S>),
    /// A query thread has the source.
    Working(Option<Waker>),
    /// A piece is ready; without source it is the last one.
    Made(Option<Box<S>>, Vec<S::Item>),
    /// To be told, then over.
    Failed(Error),
    /// Over.
    Ended,
}

impl<S: Source> Pump<S> {
    /// A stream that gives its source up after `max_age`.
    pub(crate) fn new(pool: &Arc<Pool>, source: S, max_age: Duration) -> Self {
        let slot = Arc::new(Slot {
            give_up_at: Instant::now() + max_age,
            state: Mutex::new(State::Idle(Box::new(source))),
        });
        let watched: Weak<Slot<S>> = Arc::downgrade(&slot);
        pool.watch(watched);
        Self {
            pool: Arc::clone(pool),
            slot,
        }
    }

    /// Sends the source to a query thread; the caller has set the state to `Working`.
    fn start(&self, mut source: Box<S>) {
        let mut piece = UnfinishedPiece(Some(Arc::downgrade(&self.slot)));
        self.pool.run(move || {
            let made = source.next_piece(&|| piece.is_unwanted());
            piece.finish(match made {
                Ok((items, done)) => State::Made((!done).then_some(source), items),
                Err(error) => State::Failed(error),
            });
        });
    }
}

impl<S: Source> Slot<S> {
    fn state(&self) -> MutexGuard<'_, State<S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Source> Watched for Slot<S> {
    fn release_if_stale(&self, now: Instant) {
        if now < self.give_up_at {
            return;
        }
        let mut state = self.state();
        // A source that is being worked on notices its age by itself.
        let released = match &*state {
            State::Idle(_) | State::Made(Some(_), _) => {
                Some(std::mem::replace(&mut *state, State::Failed(too_old())))
            }
            _ => None,
        };
        drop(state);
        drop(released);
    }
}

/// A piece that a query thread makes. If the thread panics, the consumer is told instead of waiting for ever.
struct UnfinishedPiece<S: Source>(Option<Weak<Slot<S>>>);

impl<S: Source> UnfinishedPiece<S> {
    fn is_unwanted(&self) -> bool {
        self.0.as_ref().is_none_or(|slot| slot.strong_count() == 0)
    }

    fn finish(&mut self, made: State<S>) {
        let Some(slot) = self.0.take().and_then(|slot| slot.upgrade()) else {
            return;
        };
        let working = std::mem::replace(&mut *slot.state(), made);
        if let State::Working(Some(waker)) = working {
            waker.wake();
        }
    }
}

impl<S: Source> Drop for UnfinishedPiece<S> {
    fn drop(&mut self) {
        self.finish(State::Failed(Error::internal("a query thread failed")));
    }
}

impl<S: Source> Stream for Pump<S> {
    type Item = Result<Vec<S::Item>, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let mut state = self.slot.state();
            match std::mem::replace(&mut *state, State::Ended) {
                State::Ended => return Poll::Ready(None),
                State::Failed(error) => return Poll::Ready(Some(Err(error))),
                State::Working(_) => {
                    *state = State::Working(Some(cx.waker().clone()));
                    return Poll::Pending;
                }
                State::Idle(source) => {
                    *state = State::Working(Some(cx.waker().clone()));
                    drop(state);
                    self.start(source);
                    return Poll::Pending;
                }
                State::Made(source, items) => {
                    if let Some(source) = source {
                        *state = State::Working(None);
                        drop(state);
                        self.start(source);
                    }
                    if !items.is_empty() {
                        return Poll::Ready(Some(Ok(items)));
                    }
                }
            }
        }
    }
}

/// The next item of a stream.
pub(crate) async fn next<T>(stream: &mut (impl Stream<Item = T> + Unpin)) -> Option<T> {
    std::future::poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx)).await
}

/// Runs one piece of work on a query thread.
pub(crate) async fn run<T: Send + 'static>(
    pool: &Pool,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let (sender, receiver) = oneshot::channel();
    pool.run(move || {
        if !sender.is_closed() {
            drop(sender.send(work()));
        }
    });
    let failed = |_| Err(Error::internal("a query thread failed"));
    receiver.await.unwrap_or_else(failed)
}
