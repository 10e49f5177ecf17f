//! What is logged when a thread panics.

use std::panic::PanicHookInfo;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::handle::Inner;

/// How long a panicking thread waits for the log. Short: a caught panic of a worker holds its connections.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Logs panics behind the present hook, as long as the log lives.
pub(crate) fn install_hook(logs: &Arc<Inner>) {
    let logs = Arc::downgrade(logs);
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        previous(panic);
        report(&logs, panic);
    }));
}

fn report(logs: &Weak<Inner>, panic: &PanicHookInfo<'_>) {
    let Some(logs) = logs.upgrade() else {
        return;
    };
    let text = panic.payload_as_str().unwrap_or("(not a text)");
    match panic.location() {
        Some(at) => tracing::error!(target: "panic", location = %at, "{text}"),
        None => tracing::error!(target: "panic", "{text}"),
    }
    // The process may end now; what cannot be written in this time is lost.
    logs.try_flush(FLUSH_TIMEOUT);
}
