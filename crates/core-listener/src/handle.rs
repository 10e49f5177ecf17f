//! The running server: where it listens, what it counts, how it closes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base::WorkerId;
use tokio::sync::watch;

use crate::sockets::SocketStore;
use crate::stats::{Counters, ListenerStats};

/// Controls a running server. Clones are cheap and equal; dropping all of them does not stop the server.
#[derive(Debug, Clone)]
pub struct ServerHandle(pub(crate) Arc<Shared>);

/// What handle and workers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) lifecycle: watch::Sender<Lifecycle>,
    pub(crate) state: watch::Sender<ServerState>,
    pub(crate) running_workers: watch::Sender<usize>,
    pub(crate) accepting: watch::Sender<usize>,
    pub(crate) worker_restarts: AtomicU64,
    pub(crate) sockets: Arc<SocketStore>,
    pub(crate) bound: Vec<Bound>,
    pub(crate) counters: Vec<(Arc<str>, WorkerId, Arc<Counters>)>,
    pub(crate) drained: AtomicU64,
    pub(crate) forced: AtomicU64,
}

/// Where a listener ended up.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) setting: Arc<str>,
    pub(crate) place: Place,
}

#[derive(Debug)]
pub(crate) enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// What the workers are asked to do. It only ever moves down this list, and the deadline only earlier.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Lifecycle {
    Running,
    Draining { until: Option<Instant> },
    Forced,
}

impl Lifecycle {
    pub(crate) fn is_running(self) -> bool {
        matches!(self, Self::Running)
    }
}

/// Where a server is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerState {
    /// Accepting connections.
    Running,
    /// Asked to stop; some connections or workers have not ended yet.
    Closing,
    /// Every worker has ended.
    Closed,
}

/// How the connections ended that were open when the shutdown began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CloseReport {
    /// By themselves.
    pub drained: u64,
    /// Cut at the deadline.
    pub forced: u64,
}

/// Connections that are open now, by what they are doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConnectionCounts {
    /// No request yet.
    pub new: u64,
    /// A request is in flight, or the connection was upgraded, or speaks a raw protocol.
    pub active: u64,
    /// Waiting for another request.
    pub idle: u64,
}

/// A server that ends with this value. See [`ServerHandle::into_guard`].
#[derive(Debug)]
pub struct ServerGuard(ServerHandle);

impl std::ops::Deref for ServerGuard {
    type Target = ServerHandle;

    fn deref(&self) -> &ServerHandle {
        &self.0
    }
}

impl Drop for ServerGuard {
    fn drop(&mut self) {
        self.0.force_close();
    }
}

impl ServerHandle {
    /// The bound address of the TCP listener that this setting opened; `None` if there is none, or it is a
    /// Unix socket.
    pub fn address(&self, setting: &str) -> Option<SocketAddr> {
        self.0
            .bound
            .iter()
            .filter(|bound| &*bound.setting == setting)
            .find_map(Bound::tcp)
    }

    /// Setting and bound address of every TCP listener, in the order they were added.
    pub fn addresses(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        self.0
            .bound
            .iter()
            .filter_map(|bound| Some((&*bound.setting, bound.tcp()?)))
    }

    /// Setting and path of every Unix socket.
    pub fn unix_sockets(&self) -> impl Iterator<Item = (&str, &std::path::Path)> {
        self.0.bound.iter().filter_map(|bound| match &bound.place {
            Place::Unix(path) => Some((&*bound.setting, path.as_path())),
            Place::Tcp(_) => None,
        })
    }

    /// The port of the first TCP listener; 0 if there are only Unix sockets.
    pub fn port(&self) -> u16 {
        self.addresses()
            .next()
            .map_or(0, |(_, address)| address.port())
    }

    /// What every worker counted on every listener so far. Sum over workers for totals.
    pub fn stats(&self) -> Vec<ListenerStats> {
        let snapshot = |(listener, worker, counters): &(Arc<str>, WorkerId, Arc<Counters>)| {
            counters.snapshot(listener.clone(), *worker)
        };
        self.0.counters.iter().map(snapshot).collect()
    }

    /// Address and port of the first TCP listener; `None` if there are only Unix sockets.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addrs().next()
    }

    /// Address and port of every TCP listener, in the order they were added.
    pub fn local_addrs(&self) -> impl Iterator<Item = SocketAddr> {
        self.addresses().map(|(_, address)| address)
    }

    /// The connections that are open now, on all listeners.
    pub fn connections(&self) -> ConnectionCounts {
        let mut counts = ConnectionCounts::default();
        for stats in self.stats() {
            counts.new += stats.new_connections();
            counts.active += stats.busy;
            counts.idle += stats.idle;
        }
        counts
    }

    /// How often a worker has crashed and was replaced.
    pub fn worker_restarts(&self) -> u64 {
        self.0.worker_restarts.load(Ordering::Relaxed)
    }

    /// Where the server is in its life.
    pub fn state(&self) -> ServerState {
        *self.0.state.borrow()
    }

    /// Whether it accepts connections.
    pub fn is_running(&self) -> bool {
        self.state() == ServerState::Running
    }

    /// Follows the state: [`changed`](watch::Receiver::changed) awaits the next one.
    pub fn watch_state(&self) -> watch::Receiver<ServerState> {
        self.0.state.subscribe()
    }

    /// A value that force-closes the server when it is dropped, unless the server was closed before.
    pub fn into_guard(self) -> ServerGuard {
        ServerGuard(self)
    }

    /// Closes without a deadline: requests may take all the time they need. See
    /// [`shutdown`](Self::shutdown), which this is otherwise the same as.
    pub async fn close(&self) -> CloseReport {
        self.begin_close();
        self.wait().await
    }

    /// Another name of [`shutdown`](Self::shutdown).
    pub async fn close_within(&self, limit: Duration) -> CloseReport {
        self.shutdown(limit).await
    }

    /// Starts to close without a deadline and returns at once, so that a handler of this server may call it.
    pub fn begin_close(&self) {
        self.begin_shutdown(None);
    }

    /// Stops accepting and asks every connection to finish, then waits until all have ended or `limit` has
    /// passed, when the rest is cut.
    ///
    /// Idle HTTP/1.1 connections are closed silently; a request in flight is finished, with
    /// `Connection: close` on its response; HTTP/2 gets GOAWAY; raw handlers and upgraded connections see
    /// [`Shutdown`](base::Shutdown). Calling again while it runs waits for the same end, and can only move
    /// the deadline earlier. Dropping the future does not stop the shutdown.
    ///
    /// Do not await it in a handler of this server: it waits for the handler. Use
    /// [`begin_shutdown`](Self::begin_shutdown) there.
    pub async fn shutdown(&self, limit: Duration) -> CloseReport {
        self.begin_shutdown(Some(limit));
        self.wait().await
    }

    /// Starts the same and returns at once. `None` sets no deadline.
    pub fn begin_shutdown(&self, limit: Option<Duration>) {
        self.leave_running();
        let wanted = limit.and_then(|limit| Instant::now().checked_add(limit));
        self.0.lifecycle.send_if_modified(|lifecycle| {
            let until = match *lifecycle {
                Lifecycle::Running => wanted,
                Lifecycle::Draining { until: Some(until) } => {
                    Some(wanted.map_or(until, |wanted| wanted.min(until)))
                }
                Lifecycle::Draining { until: None } => wanted,
                Lifecycle::Forced => return false,
            };
            *lifecycle = Lifecycle::Draining { until };
            true
        });
    }

    /// Closes everything now: clients see a reset or a short body. Returns before the workers have ended;
    /// see [`wait`](Self::wait).
    pub fn force_close(&self) {
        self.leave_running();
        self.0.lifecycle.send_replace(Lifecycle::Forced);
    }

    fn leave_running(&self) {
        self.0.state.send_if_modified(|state| {
            let was_running = *state == ServerState::Running;
            if was_running {
                *state = ServerState::Closing;
            }
            was_running
        });
        self.0.sockets.close();
    }

    /// Waits until the server has been asked to close and no accept loop runs any more. Connections may
    /// still be open.
    pub async fn wait_accept_closed(&self) {
        let mut lifecycle = self.0.lifecycle.subscribe();
        // The senders live in `self`, so these cannot fail.
        let _ = lifecycle
            .wait_for(|lifecycle| !lifecycle.is_running())
            .await;
        let mut accepting = self.0.accepting.subscribe();
        let _ = accepting.wait_for(|accepting| *accepting == 0).await;
    }

    /// Waits until the server has been closed by one of the above and every worker has ended.
    pub async fn wait(&self) -> CloseReport {
        // The sender lives in `self`, so this cannot fail.
        let _ = self
            .0
            .running_workers
            .subscribe()
            .wait_for(|running| *running == 0)
            .await;
        CloseReport {
            drained: self.0.drained.load(Ordering::Relaxed),
            forced: self.0.forced.load(Ordering::Relaxed),
        }
    }
}

impl Bound {
    fn tcp(&self) -> Option<SocketAddr> {
        match self.place {
            Place::Tcp(address) => Some(address),
            Place::Unix(_) => None,
        }
    }
}
