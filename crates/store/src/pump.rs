//! Turning work that is done in pieces on the query threads into a stream.
//!
//! While the consumer looks at one piece the next one is made; never more, so a slow consumer holds no thread
//! and little memory. Dropping the stream drops the work, or, while a piece is being made, its result.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use resource::Error;
use tokio::sync::oneshot;

use crate::pool::Pool;

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

type Answer<S> = (S, Result<(Vec<<S as Source>::Item>, bool), Error>);

enum State<S: Source> {
    Idle(Box<S>),
    Running(oneshot::Receiver<Answer<Box<S>>>),
    Done,
}

impl<S: Source> Source for Box<S> {
    type Item = S::Item;
    fn next_piece(&mut self, cancelled: &dyn Fn() -> bool) -> Result<(Vec<S::Item>, bool), Error> {
        S::next_piece(self, cancelled)
    }
}

/// The stream of a source.
pub(crate) struct Pump<S: Source> {
    pool: Arc<Pool>,
    state: State<S>,
}

impl<S: Source> Pump<S> {
    pub(crate) fn new(pool: Arc<Pool>, source: S) -> Self {
        Self {
            pool,
            state: State::Idle(Box::new(source)),
        }
    }

    fn start(&mut self, mut source: Box<S>) {
        let (sender, receiver) = oneshot::channel::<Answer<Box<S>>>();
        self.state = State::Running(receiver);
        self.pool.run(move || {
            let piece = source.next_piece(&|| sender.is_closed());
            drop(sender.send((source, piece)));
        });
    }
}

// The source moves as a whole and is never pinned.
impl<S: Source> Unpin for Pump<S> {}

impl<S: Source> Stream for Pump<S> {
    type Item = Result<Vec<S::Item>, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match std::mem::replace(&mut self.state, State::Done) {
                State::Done => return Poll::Ready(None),
                State::Idle(source) => self.start(source),
                State::Running(mut receiver) => {
                    let polled = Pin::new(&mut receiver).poll(cx);
                    if polled.is_pending() {
                        self.state = State::Running(receiver);
                    }
                    match ready!(polled) {
                        Err(_) => {
                            return Poll::Ready(Some(Err(Error::internal(
                                "a query thread failed",
                            ))));
                        }
                        Ok((_, Err(error))) => return Poll::Ready(Some(Err(error))),
                        Ok((source, Ok((items, done)))) => {
                            if !done {
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
    }
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
    receiver
        .await
        .unwrap_or_else(|_| Err(Error::internal("a query thread failed")))
}
