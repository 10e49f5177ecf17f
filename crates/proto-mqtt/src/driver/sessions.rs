//! Which connection has which client identifier, across workers: take-over, signals, the list for operators.

use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base::{ConnInfo, WorkerId};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::broker::Broker;
use crate::{ReasonCode, Refusal, Version};

/// Enough that workers rarely meet at one.
const SHARDS: usize = 16;

/// A connected session, for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionInfo {
    /// Client identifier.
    pub client_id: Arc<str>,
    /// Its user; `None` if anonymous.
    pub username: Option<Arc<str>>,
    /// Protocol version.
    pub version: Version,
    /// The other end.
    pub peer: String,
    /// The worker that serves it.
    pub worker: WorkerId,
}

/// What one connection is told by others, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Signal(u8);

impl Signal {
    pub(super) const TAKE_OVER: Self = Self(1);
    pub(super) const DISCONNECT: Self = Self(2);

    pub(super) fn has(self, signal: Self) -> bool {
        self.0 & signal.0 != 0
    }
}

/// How others reach a connection.
#[derive(Debug, Default)]
struct Control {
    signals: AtomicU8,
    notify: Notify,
    /// Cancelled when the connection no longer owns its client identifier.
    released: CancellationToken,
}

impl Control {
    fn signal(&self, signal: Signal) {
        self.signals.fetch_or(signal.0, Ordering::Relaxed);
        self.notify.notify_one();
    }
}

struct Entry {
    info: SessionInfo,
    control: Arc<Control>,
    /// The server itself holds the identifier for a moment; nobody is connected.
    is_internal: bool,
}

type Shard = HashMap<Arc<str>, Entry>;

/// Connected sessions by client identifier. A shard is locked for a look-up and a change, never across an await
/// and never together with another lock.
#[derive(Default)]
pub(super) struct Sessions {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
}

impl Sessions {
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    pub(super) fn list(&self) -> Vec<SessionInfo> {
        let infos = |shard| {
            lock(shard)
                .values()
                .filter(|entry| !entry.is_internal)
                .map(|entry| entry.info.clone())
                .collect::<Vec<_>>()
        };
        self.shards.iter().flat_map(infos).collect()
    }

    pub(super) fn signal(&self, client_id: &str, signal: Signal) -> bool {
        match self.shard(client_id).get(client_id) {
            Some(entry) => {
                entry.control.signal(signal);
                true
            }
            None => false,
        }
    }

    pub(super) fn is_connected(&self, client_id: &str) -> bool {
        let shard = self.shard(client_id);
        shard.get(client_id).is_some_and(|entry| !entry.is_internal)
    }

    /// Cancelled when the connection that has the identifier gives it up; `None` if nobody has it.
    pub(super) fn released(&self, client_id: &str) -> Option<CancellationToken> {
        let shard = self.shard(client_id);
        shard
            .get(client_id)
            .map(|entry| entry.control.released.clone())
    }

    fn shard(&self, client_id: &str) -> MutexGuard<'_, Shard> {
        let hash = self.hasher.hash_one(client_id);
        lock(&self.shards[hash as usize % SHARDS])
    }

    /// Takes the identifier if it is free; else the connection that has it, if it is of the same user.
    fn try_claim(
        &self,
        info: &SessionInfo,
        control: &Arc<Control>,
        is_internal: bool,
    ) -> Result<(), Earlier> {
        match self
            .shard(&info.client_id)
            .entry(Arc::clone(&info.client_id))
        {
            MapEntry::Vacant(vacant) => {
                vacant.insert(Entry {
                    info: info.clone(),
                    control: Arc::clone(control),
                    is_internal,
                });
                Ok(())
            }
            MapEntry::Occupied(taken)
                if taken.get().is_internal || taken.get().info.username == info.username =>
            {
                Err(Earlier::SameUser(Arc::clone(&taken.get().control)))
            }
            MapEntry::Occupied(_) => Err(Earlier::OtherUser),
        }
    }

    fn release(&self, client_id: &str, control: &Arc<Control>) {
        let mut shard = self.shard(client_id);
        if shard
            .get(client_id)
            .is_some_and(|entry| Arc::ptr_eq(&entry.control, control))
        {
            shard.remove(client_id);
        }
    }
}

enum Earlier {
    SameUser(Arc<Control>),
    OtherUser,
}

/// Ownership of a client identifier; given back when dropped.
pub(super) struct Claim {
    broker: Arc<Broker>,
    client_id: Arc<str>,
    control: Arc<Control>,
}

impl Claim {
    /// Takes the identifier, ending the connection that has it ([MQTT-3.1.4-3], M5). One of another user is left
    /// alone (M6).
    ///
    /// Cancel safe: dropping the future claims nothing.
    ///
    /// # Errors
    ///
    /// 0x87 if another user has the identifier, 0x89 if the earlier connection does not end in time.
    pub(super) async fn take(broker: &Arc<Broker>, info: SessionInfo) -> Result<Self, Refusal> {
        let control = Arc::new(Control::default());
        let deadline = Instant::now() + broker.config.take_over_timeout;
        loop {
            let earlier = match broker.sessions.try_claim(&info, &control, false) {
                Ok(()) => {
                    let client_id = info.client_id;
                    return Ok(Self {
                        broker: Arc::clone(broker),
                        client_id,
                        control,
                    });
                }
                Err(Earlier::OtherUser) => {
                    let text = "the client identifier is in use by another user";
                    return Err(Refusal::new(ReasonCode::NotAuthorized, text));
                }
                Err(Earlier::SameUser(earlier)) => earlier,
            };
            earlier.signal(Signal::TAKE_OVER);
            if tokio::time::timeout_at(deadline, earlier.released.cancelled())
                .await
                .is_err()
            {
                let text = "the earlier connection with this client identifier does not end";
                return Err(Refusal::new(ReasonCode::ServerBusy, text));
            }
        }
    }

    /// Takes the identifier for the server itself, unless somebody has it.
    pub(super) fn take_if_free(broker: &Arc<Broker>, info: SessionInfo) -> Option<Self> {
        let control = Arc::new(Control::default());
        broker.sessions.try_claim(&info, &control, true).ok()?;
        Some(Self {
            broker: Arc::clone(broker),
            client_id: info.client_id,
            control,
        })
    }

    /// Waits for signals and takes them. Cancel safe.
    pub(super) async fn signalled(&self) -> Signal {
        loop {
            let signals = self.control.signals.swap(0, Ordering::Relaxed);
            if signals != 0 {
                return Signal(signals);
            }
            self.control.notify.notified().await;
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.broker.sessions.release(&self.client_id, &self.control);
        self.control.released.cancel();
    }
}

/// An identifier that no client can guess or has chosen.
pub(super) fn assigned_client_id(conn: &ConnInfo) -> Arc<str> {
    // Randomly keyed: unpredictable, and unique by the connection it ends with.
    let random = RandomState::new().hash_one(conn.id.as_u64());
    Arc::from(format!("auto-{random:016x}-{}", conn.id))
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
