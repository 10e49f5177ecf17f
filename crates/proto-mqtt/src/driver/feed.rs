//! One running subscription as a stream that its owner can stop and restart from outside.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use base::Timestamp;
use futures_util::Stream;
use resource::{Delivery, Error, Subscription};

use crate::session::SubscriptionKey;

/// Deliveries that became ready together.
pub(super) type Batch = (SubscriptionKey, Result<Part, Error>);

/// What a feed brings.
pub(super) enum Part {
    /// Deliveries in order.
    Deliveries(Vec<Arc<Delivery>>),
    /// State or history were delivered up to this place in the log; live events follow.
    CaughtUp(Timestamp),
}

/// The stream half; ends when stopped, or after an error.
pub(super) struct Feed {
    key: SubscriptionKey,
    shared: Arc<Mutex<Shared>>,
}

/// The other half. Dropping it stops the feed at once, also when the stream is not polled any more.
pub(super) struct FeedHandle {
    shared: Arc<Mutex<Shared>>,
}

/// The lock is only ever taken by the task of the connection; it makes the halves `Send`.
#[derive(Default)]
struct Shared {
    subscription: Option<Subscription>,
    /// Current state that is to be delivered once more before `subscription` goes on.
    replay: Option<Subscription>,
    waker: Option<Waker>,
}

/// Both halves of a feed.
pub(super) fn feed(key: SubscriptionKey, subscription: Subscription) -> (Feed, FeedHandle) {
    let shared = Shared {
        subscription: Some(subscription),
        ..Shared::default()
    };
    let shared = Arc::new(Mutex::new(shared));
    (
        Feed {
            key,
            shared: Arc::clone(&shared),
        },
        FeedHandle { shared },
    )
}

impl FeedHandle {
    /// Delivers the state of `replay` next; live events go on after it, so none is lost and the newest value
    /// comes last ([MQTT-3.8.4-4]).
    pub(super) fn replay(&self, replay: Subscription) {
        if replay.is_live() {
            return; // there is no state
        }
        let mut shared = lock(&self.shared);
        shared.replay = Some(replay);
        shared.wake();
    }
}

impl Drop for FeedHandle {
    fn drop(&mut self) {
        let mut shared = lock(&self.shared);
        shared.subscription = None;
        shared.replay = None;
        shared.wake();
    }
}

impl Stream for Feed {
    type Item = Batch;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Batch>> {
        let mut shared = lock(&self.shared);
        let polled = shared.poll(cx);
        if polled.is_pending() {
            shared.waker = Some(cx.waker().clone());
        }
        polled.map(|batch| batch.map(|batch| (self.key, batch)))
    }
}

impl Shared {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Part, Error>>> {
        if let Some(replay) = &mut self.replay {
            match std::task::ready!(replay.poll_next(cx)) {
                // The empty batch marks the end of the state.
                Ok(batch) if batch.is_empty() || replay.is_live() => self.replay = None,
                Ok(batch) => return Poll::Ready(Some(Ok(Part::Deliveries(batch)))),
                Err(error) => return Poll::Ready(Some(Err(self.end(error)))),
            }
        }
        let Some(subscription) = &mut self.subscription else {
            return Poll::Ready(None);
        };
        Poll::Ready(Some(match std::task::ready!(subscription.poll_next(cx)) {
            Ok(batch) if batch.is_empty() => Ok(Part::CaughtUp(subscription.covered())),
            Ok(batch) => Ok(Part::Deliveries(batch)),
            Err(error) => Err(self.end(error)),
        }))
    }

    fn end(&mut self, error: Error) -> Error {
        self.subscription = None;
        self.replay = None;
        error
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
