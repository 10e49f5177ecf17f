//! The signal that asks connections to finish.

use tokio_util::sync::CancellationToken;

/// Asks every holder of a clone to finish what it is doing and close in the protocol's own way.
///
/// The holder decides how: HTTP/2 sends GOAWAY, WebSocket closes with 1001, MQTT 5 disconnects with 0x8B.
/// After the drain deadline the listener drops what is left.
#[derive(Debug, Clone, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// A signal that has not been given.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the signal; it cannot be taken back.
    pub fn start(&self) {
        self.0.cancel();
    }

    /// Whether the signal was given.
    pub fn is_started(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits for the signal. Dropping the future has no effect.
    pub async fn started(&self) {
        self.0.cancelled().await;
    }

    /// A signal that also fires when this one does, but can be given alone.
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }
}
