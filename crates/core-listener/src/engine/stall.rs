//! Gives up HTTP/2 streams whose peer does not take the response.
//!
//! On HTTP/1 a peer that stops reading blocks the socket, and the watchdog sees it. On HTTP/2 one stream may
//! wait for its window (RFC 9113, section 6.9) while others move, and neither the socket nor the connection's
//! phase shows it. hyper runs each stream as a task of its own, so each can watch itself: a body that has
//! given data and is not asked for more waits for the peer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::stats::Counters;

tokio::task_local! {
    /// Of the stream that is being polled.
    static PROGRESS: Arc<Progress>;
}

/// What a response body has done. Written and read by one task.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Odd while the body has given data and was not asked again.
    turns: AtomicU32,
    /// Where to count a stream that is given up.
    counters: std::sync::OnceLock<Arc<Counters>>,
}

impl Progress {
    /// That of the stream that is being polled, if it is one.
    pub(crate) fn current(counters: &Arc<Counters>) -> Option<Arc<Self>> {
        let progress = PROGRESS.try_with(Arc::clone).ok()?;
        progress.counters.get_or_init(|| counters.clone());
        Some(progress)
    }

    pub(crate) fn note_asked(&self) {
        if self.turns.load(Relaxed) % 2 == 1 {
            self.turns.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn note_given(&self) {
        if self.turns.load(Relaxed).is_multiple_of(2) {
            self.turns.fetch_add(1, Relaxed);
        }
    }

    /// While the peer is waited for: the number of this wait.
    fn waiting(&self) -> Option<u32> {
        Some(self.turns.load(Relaxed)).filter(|turns| turns % 2 == 1)
    }
}

pin_project! {
    /// An HTTP/2 stream that ends when its peer takes nothing for too long. Dropping it resets the stream with
    /// CANCEL.
    pub(crate) struct Stalling<F> {
        #[pin]
        stream: F,
        progress: Arc<Progress>,
        limit: Option<Duration>,
        wait: Option<(u32, Pin<Box<Sleep>>)>,
    }
}

impl<F> Stalling<F> {
    pub(crate) fn new(stream: F, limit: Option<Duration>) -> Self {
        Self {
            stream,
            progress: Arc::default(),
            limit,
            wait: None,
        }
    }
}

impl<F: Future<Output = ()>> Future for Stalling<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let (progress, stream) = (this.progress, this.stream);
        let polled = PROGRESS.sync_scope(progress.clone(), || stream.poll(cx));
        if polled.is_ready() {
            return polled;
        }
        let (Some(limit), Some(turn)) = (*this.limit, progress.waiting()) else {
            *this.wait = None;
            return Poll::Pending;
        };
        let Some(ends) = Instant::now().checked_add(limit) else {
            return Poll::Pending;
        };
        let (waited_for, timer) = this
            .wait
            .get_or_insert_with(|| (turn, Box::pin(sleep_until(ends))));
        if *waited_for != turn {
            *waited_for = turn;
            timer.as_mut().reset(ends);
        }
        if timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        if let Some(counters) = progress.counters.get() {
            counters.http2_stalled_streams.increment();
        }
        tracing::debug!("an HTTP/2 stream was given up: its peer takes nothing");
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    /// Whether the stream is given up within so many seconds, doing this at each of them.
    async fn is_given_up(seconds: u32, each: impl Fn(&Progress)) -> bool {
        let counters = Arc::new(Counters::default());
        let stream = async {
            let progress = Progress::current(&counters).unwrap();
            progress.note_given();
            for _ in 0..seconds {
                tokio::time::sleep(Duration::from_secs(1)).await;
                each(&progress);
            }
        };
        let mut stalling = std::pin::pin!(Stalling::new(stream, Some(LIMIT)));
        poll_fn(|cx| stalling.as_mut().poll(cx)).await;
        counters.http2_stalled_streams.read() == 1
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_is_not_asked_again_ends_its_stream() {
        assert!(!is_given_up(9, |_| {}).await);
        assert!(is_given_up(11, |_| {}).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_is_asked_now_and_then_does_not() {
        let slowly = |progress: &Progress| {
            progress.note_asked();
            progress.note_given();
        };
        assert!(!is_given_up(30, slowly).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_has_nothing_to_give_does_not() {
        assert!(!is_given_up(30, Progress::note_asked).await);
    }
}
