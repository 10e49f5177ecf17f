//! The memory of a rate limiter: a bounded number of clients.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;

/// Tables of clients, each behind a lock of its own.
const SHARDS: usize = 16;

/// One client.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Client {
    Ip(IpAddr),
    User(Arc<str>),
}

/// What is known of each client. One that finds its table full is counted together with all others that
/// did, and those that are known keep what is theirs.
pub(super) struct ClientTable {
    hasher: RandomState,
    shards: Vec<Mutex<HashMap<Client, Nanos>>>,
    clients_per_shard: usize,
    overflow: Mutex<Option<Nanos>>,
    has_overflowed: Arc<AtomicBool>,
}

impl ClientTable {
    /// Remembers about `max_clients`, rounded up to whole shards, and raises `has_overflowed` when a client
    /// finds no place.
    pub(super) fn new(max_clients: usize, has_overflowed: Arc<AtomicBool>) -> Self {
        Self {
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            clients_per_shard: max_clients.div_ceil(SHARDS),
            overflow: Mutex::new(None),
            has_overflowed,
        }
    }

    fn shard(&self, client: &Client) -> MutexGuard<'_, HashMap<Client, Nanos>> {
        let hash = self.hasher.hash_one(client);
        // The remainder is below 16.
        let at = (hash % SHARDS as u64) as usize;
        lock(&self.shards[at])
    }
}

impl fmt::Debug for ClientTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientTable")
    }
}

impl StateStore for ClientTable {
    type Key = Client;

    fn measure_and_replace<T, F, E>(&self, client: &Client, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut shard = self.shard(client);
        if let Some(state) = shard.get_mut(client) {
            let (outcome, next) = measure(Some(*state))?;
            *state = next;
            return Ok(outcome);
        }
        if shard.len() < self.clients_per_shard {
            let (outcome, next) = measure(None)?;
            shard.insert(client.clone(), next);
            return Ok(outcome);
        }
        drop(shard);
        self.has_overflowed.store(true, Ordering::Relaxed);
        let mut state = lock(&self.overflow);
        let (outcome, next) = measure(*state)?;
        *state = Some(next);
        Ok(outcome)
    }
}

impl ShrinkableKeyedStateStore<Client> for ClientTable {
    fn retain_recent(&self, drop_below: Nanos) {
        for shard in &self.shards {
            lock(shard).retain(|_, state| *state > drop_below);
        }
    }

    fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
