//! One load of a record at a time: who asks first leads, the others follow and get the same answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use resource::{Error, Record};
use tokio::sync::watch;

type Landing = Option<Result<Option<Record>, Error>>;
type InFlight = HashMap<Vec<u8>, Begun>;

/// A load that takes longer gets no more followers; who comes then loads the record, too.
const MAX_AGE: Duration = Duration::from_secs(10);

/// A flight as its followers see it.
struct Begun {
    at: Instant,
    landing: watch::Receiver<Landing>,
}

/// The records that are being loaded. Bounded by the requests that wait for them.
#[derive(Default)]
pub(super) struct Flights {
    // Held for a few instructions, never across an await.
    keys: Arc<Mutex<InFlight>>,
}

/// What a request does about a record.
pub(super) enum Role<F> {
    /// It loads it.
    Leads(Flight),
    /// Another one does; `None` when that one went away without an answer.
    Follows(F),
}

/// A load under way. Dropped without landing, it lets the followers go.
pub(super) struct Flight {
    keys: Arc<Mutex<InFlight>>,
    key: Vec<u8>,
    sender: watch::Sender<Landing>,
}

impl Flights {
    pub(super) fn join(&self, key: Vec<u8>) -> Role<impl Future<Output = Landing> + Send + use<>> {
        let mut keys = lock(&self.keys);
        if let Some(flight) = keys.get(&key)
            && flight.at.elapsed() < MAX_AGE
        {
            let mut flight = flight.landing.clone();
            return Role::Follows(async move {
                let landed = flight.wait_for(Option::is_some).await;
                landed.ok().and_then(|landing| landing.clone())
            });
        }
        let (sender, receiver) = watch::channel(None);
        let begun = Begun {
            at: Instant::now(),
            landing: receiver,
        };
        keys.insert(key.clone(), begun);
        Role::Leads(Flight {
            keys: Arc::clone(&self.keys),
            key,
            sender,
        })
    }

    /// The record changed in the source: who asks from now on loads it, and what is being loaded is not kept.
    pub(super) fn outdate(&self, key: &[u8]) {
        lock(&self.keys).remove(key);
    }
}

impl Flight {
    /// Does something unless the flight was outdated; nothing can outdate it meanwhile.
    pub(super) fn unless_outdated<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let keys = lock(&self.keys);
        let own = self.sender.subscribe();
        let known = keys.get(&self.key);
        known
            .is_some_and(|known| known.landing.same_channel(&own))
            .then(work)
    }

    /// Gives the followers their answer. Until the flight is dropped, who comes later gets it, too.
    pub(super) fn land(&self, result: &Result<Option<Record>, Error>) {
        self.sender.send_replace(Some(result.clone()));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut keys = lock(&self.keys);
        let own = self.sender.subscribe();
        let known = keys.get(&self.key);
        // After a long time another flight may have taken the place.
        if known.is_some_and(|known| known.landing.same_channel(&own)) {
            keys.remove(&self.key);
        }
    }
}

fn lock(keys: &Mutex<InFlight>) -> MutexGuard<'_, InFlight> {
    keys.lock().unwrap_or_else(PoisonError::into_inner)
}
