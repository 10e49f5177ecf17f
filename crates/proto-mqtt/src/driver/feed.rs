//! One running subscription as a stream that its owner can stop and restart from outside.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use base::Timestamp;
use futures_util::Stream;
use resource::{Delivery, Error, Subscription};

use super::shared::Member;
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

/// Where a feed takes its deliveries from.
pub(super) enum Running {
    /// A subscription of its own.
    Own(Subscription),
    /// A place in a group.
    Shared(Arc<Member>, Option<Resend>),
}

/// What a session is to be sent again of a shared subscription, out of a replay of the log.
pub(super) struct Resend {
    pub(super) replay: Subscription,
    pub(super) wanted: Vec<Timestamp>,
}

/// The stream half; ends when stopped, or after an error.
pub(super) struct Feed {
    key: SubscriptionKey,
    shared: Arc<Mutex<Shared>>,
}

/// The other half. Dropping it stops the feed at once, also when the stream is not polled any more.
pub(super) struct FeedHandle {
    shared: Arc<Mutex<Shared>>,
    /// Of a shared subscription.
    pub(super) member: Option<Arc<Member>>,
}

/// The lock is only ever taken by the task of the connection; it makes the halves `Send`.
#[derive(Default)]
struct Shared {
    subscription: Option<Running>,
    /// Current state that is to be delivered once more before `subscription` goes on.
    replay: Option<Subscription>,
    waker: Option<Waker>,
}

/// Both halves of a feed.
pub(super) fn feed(key: SubscriptionKey, subscription: Running) -> (Feed, FeedHandle) {
    let member = match &subscription {
        Running::Own(_) => None,
        Running::Shared(member, _) => Some(Arc::clone(member)),
    };
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
        FeedHandle { shared, member },
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
        let polled = match &mut self.subscription {
            None => return Poll::Ready(None),
            Some(Running::Own(subscription)) => poll_own(subscription, cx),
            Some(Running::Shared(_, Some(resend))) => {
                let polled = resend.poll(cx);
                if let Poll::Ready(Ok(Part::CaughtUp(_))) = &polled {
                    self.end_resend();
                }
                polled
            }
            Some(Running::Shared(member, None)) => {
                member.poll(cx).map(|batch| batch.map(Part::Deliveries))
            }
        };
        polled.map(|part| Some(part.map_err(|error| self.end(error))))
    }

    fn end_resend(&mut self) {
        if let Some(Running::Shared(_, resend)) = &mut self.subscription {
            *resend = None;
        }
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

fn poll_own(subscription: &mut Subscription, cx: &mut Context<'_>) -> Poll<Result<Part, Error>> {
    subscription.poll_next(cx).map_ok(|batch| match batch {
        batch if batch.is_empty() => Part::CaughtUp(subscription.covered()),
        batch => Part::Deliveries(batch),
    })
}

impl Resend {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Part, Error>> {
        let part = std::task::ready!(poll_own(&mut self.replay, cx));
        Poll::Ready(part.map(|part| match part {
            Part::Deliveries(mut batch) => {
                batch.retain(|one| self.wanted.contains(&one.event.local_time));
                Part::Deliveries(batch)
            }
            caught_up => caught_up,
        }))
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
