//! Deadlines of one connection.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::activity::{Activity, Phase};
use crate::config::HttpConfig;

/// Watches the phases of a connection and says when one has lasted too long.
///
/// It looks at the clock only when the phase has changed, and moves its timer only when a deadline comes
/// nearer: with keep-alive that is about once in a time-out, not once in a request.
pub(crate) struct Watchdog {
    headers_timeout: Option<Duration>,
    keep_alive_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
    seen: (Phase, u32),
    phase_ends: Option<Instant>,
    /// Count of writes when the current wait began, and the end of our patience.
    write_ends: Option<(u32, Option<Instant>)>,
    cap: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    armed: Option<Instant>,
}

/// What lasted too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// No byte of a request came.
    Silence,
    /// A head was begun and not finished.
    Head,
    /// The peer accepted no byte of what we wrote.
    Write,
}

impl Watchdog {
    /// Starts watching a connection that was accepted now.
    pub(crate) fn new(config: &HttpConfig) -> Self {
        let now = Instant::now();
        Self {
            headers_timeout: config.headers_timeout,
            keep_alive_timeout: config.keep_alive_timeout,
            write_timeout: config.write_timeout,
            seen: (Phase::Silent, 0),
            phase_ends: after(now, config.headers_timeout),
            write_ends: None,
            cap: None,
            timer: Box::pin(sleep_until(now)),
            armed: None,
        }
    }

    /// Gives the connection this long from now, in place of the limit of its current phase.
    pub(crate) fn cap(&mut self, limit: Duration) {
        self.cap = after(Instant::now(), Some(limit));
        self.phase_ends = None;
    }

    /// Removes that limit.
    pub(crate) fn uncap(&mut self) {
        self.cap = None;
    }

    /// Ready when a limit has passed. Otherwise the task is woken at the nearest one.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, activity: &Activity) -> Poll<Expiry> {
        self.observe(activity);
        loop {
            let write_ends = self.write_ends.and_then(|(_, end)| end);
            let Some(nearest) = [self.phase_ends, write_ends, self.cap]
                .into_iter()
                .flatten()
                .min()
            else {
                return Poll::Pending;
            };
            if self.armed.is_none_or(|armed| nearest < armed) {
                self.timer.as_mut().reset(nearest);
                self.armed = Some(nearest);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.armed = None;
            // Otherwise it was armed for a deadline that has been moved since.
            if nearest <= Instant::now() {
                return Poll::Ready(self.expiry(nearest));
            }
        }
    }

    fn observe(&mut self, activity: &Activity) {
        let now = (activity.phase(), activity.started());
        if now != self.seen {
            self.enter(now);
        }
        match (activity.blocked_write(), self.write_ends) {
            (None, None) => {}
            (None, Some(_)) => self.write_ends = None,
            (Some(writes), Some((before, _))) if writes == before => {}
            (Some(writes), _) => {
                self.write_ends = Some((writes, after(Instant::now(), self.write_timeout)))
            }
        }
    }

    fn enter(&mut self, (phase, started): (Phase, u32)) {
        self.phase_ends = match phase {
            Phase::Silent => after(Instant::now(), self.keep_alive_timeout),
            // The limit of the first head began when the connection was accepted.
            Phase::Head if started == 0 => self.phase_ends,
            Phase::Head => after(Instant::now(), self.headers_timeout),
            Phase::Busy => None,
        };
        self.seen = (phase, started);
    }

    fn expiry(&self, deadline: Instant) -> Expiry {
        match (self.write_ends, self.seen.0) {
            (Some((_, Some(end))), _) if end <= deadline => Expiry::Write,
            (_, Phase::Head) => Expiry::Head,
            _ => Expiry::Silence,
        }
    }
}

fn after(now: Instant, limit: Option<Duration>) -> Option<Instant> {
    now.checked_add(limit?)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn watchdog() -> Watchdog {
        let config = HttpConfig {
            headers_timeout: Some(100 * MS),
            keep_alive_timeout: Some(30 * MS),
            write_timeout: Some(50 * MS),
            ..HttpConfig::default()
        };
        Watchdog::new(&config)
    }

    async fn expect(watchdog: &mut Watchdog, activity: &Activity, expiry: Expiry, after: Duration) {
        let start = Instant::now();
        assert_eq!(poll_fn(|cx| watchdog.poll(cx, activity)).await, expiry);
        assert_eq!(start.elapsed(), after);
    }

    async fn quiet(watchdog: &mut Watchdog, activity: &Activity, time: Duration) {
        let expiry = tokio::time::timeout(time, poll_fn(|cx| watchdog.poll(cx, activity))).await;
        assert!(expiry.is_err(), "{expiry:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_head_has_its_time_from_the_accept() {
        let (mut watchdog, activity) = (watchdog(), Activity::http1());
        quiet(&mut watchdog, &activity, 60 * MS).await;
        activity.note_read(1);
        expect(&mut watchdog, &activity, Expiry::Head, 40 * MS).await;
    }

    #[tokio::test(start_paused = true)]
    async fn silence_after_a_request_has_the_idle_limit_and_a_later_head_its_own() {
        let (mut watchdog, activity) = (watchdog(), Activity::http1());
        activity.note_read(1);
        activity.request_started();
        quiet(&mut watchdog, &activity, 500 * MS).await;
        activity.request_ended();
        activity.note_flushed();
        quiet(&mut watchdog, &activity, 20 * MS).await;
        activity.note_read(1);
        expect(&mut watchdog, &activity, Expiry::Head, 100 * MS).await;
        activity.request_started();
        activity.request_ended();
        activity.note_flushed();
        expect(&mut watchdog, &activity, Expiry::Silence, 30 * MS).await;
    }

    #[tokio::test(start_paused = true)]
    async fn every_request_starts_the_idle_limit_anew() {
        let (mut watchdog, activity) = (watchdog(), Activity::http1());
        for _ in 0..5 {
            activity.request_started();
            activity.request_ended();
            activity.note_flushed();
            quiet(&mut watchdog, &activity, 20 * MS).await;
        }
        expect(&mut watchdog, &activity, Expiry::Silence, 10 * MS).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_is_not_flushed_is_not_idle_but_must_progress() {
        let (mut watchdog, activity) = (watchdog(), Activity::http1());
        activity.request_started();
        activity.note_write(false);
        activity.request_ended();
        quiet(&mut watchdog, &activity, 40 * MS).await;
        activity.note_write(true);
        activity.note_write(false);
        expect(&mut watchdog, &activity, Expiry::Write, 50 * MS).await;
    }

    #[tokio::test(start_paused = true)]
    async fn http2_is_idle_without_streams_whatever_frames_come() {
        let (mut watchdog, activity) = (watchdog(), Activity::http2());
        activity.request_started();
        activity.request_ended();
        quiet(&mut watchdog, &activity, 20 * MS).await;
        activity.note_read(17);
        expect(&mut watchdog, &activity, Expiry::Silence, 10 * MS).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_cap_replaces_the_limit_of_the_phase() {
        let (mut watchdog, activity) = (watchdog(), Activity::http1());
        quiet(&mut watchdog, &activity, 10 * MS).await;
        watchdog.cap(5 * MS);
        expect(&mut watchdog, &activity, Expiry::Silence, 5 * MS).await;
    }
}
