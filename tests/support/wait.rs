//! Waiting for something to become true, with a limit.

use std::time::{Duration, Instant};

/// Longest wait for anything; generous, because the machines are slow and shared.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Polls `check` until it gives a value.
///
/// # Panics
///
/// If it has not after [`LIMIT`]; `what` says what was waited for.
pub fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = check() {
            return value;
        }
        assert!(start.elapsed() < LIMIT, "waited {LIMIT:?} for {what}");
        pause();
    }
}

/// One step of a poll.
#[expect(
    clippy::disallowed_methods,
    reason = "another process is polled, which gives no event to await"
)]
pub fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}
