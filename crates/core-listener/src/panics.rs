//! Keeps a panic inside the task that caused it.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

/// Runs `task` to its end or to its panic, which is logged. Returns whether it ended well.
///
/// The task is dropped after a panic, so nobody sees state that it left half-changed, except what it
/// shares with others; that is what unwind safety would ask about, and locks there are poison-aware.
pub(crate) async fn contain(what: &'static str, task: impl Future<Output = ()>) -> bool {
    match AssertUnwindSafe(task).catch_unwind().await {
        Ok(()) => true,
        Err(payload) => {
            tracing::error!(panic = message(&*payload), "{what} panicked");
            false
        }
    }
}

/// The text of a panic, if it has one.
pub(crate) fn message(payload: &(dyn Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "(not a text)"
    }
}
