//! Things that are expensive to get, each got once for all who want it.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The part of its life after which a thing is got again in the background.
const REFRESH: (u32, u32) = (4, 5);

/// A thing and how long it is good for.
pub(super) struct Fetched<V> {
    pub(super) value: V,
    pub(super) ttl: Duration,
    /// Not worth giving up an earlier value that is still good.
    pub(super) is_failure: bool,
}

/// Things by key. At the limit, the one that was asked for first gives way.
pub(super) struct Cache<V> {
    limit: usize,
    slots: Mutex<Slots<V>>,
}

struct Slots<V> {
    by_key: HashMap<Vec<u8>, Arc<Slot<V>>>,
    order: VecDeque<Vec<u8>>,
}

struct Slot<V> {
    /// Held while the thing is being got, so that others wait for it.
    stored: tokio::sync::Mutex<Option<Stored<V>>>,
    is_refreshing: AtomicBool,
}

#[derive(Clone)]
struct Stored<V> {
    value: V,
    refresh_at: Instant,
    good_until: Instant,
}

impl<V: Clone + Send + Sync + 'static> Cache<V> {
    pub(super) fn new(limit: usize) -> Self {
        let slots = Slots {
            by_key: HashMap::new(),
            order: VecDeque::new(),
        };
        Self {
            limit: limit.max(1),
            slots: Mutex::new(slots),
        }
    }

    /// The thing with this key. `fetch` gets it when it is not there; it is given the last value, which may be
    /// out of date.
    pub(super) async fn obtain<F, Fut>(&self, key: Vec<u8>, fetch: F) -> V
    where
        F: FnOnce(Option<V>) -> Fut,
        Fut: Future<Output = Fetched<V>> + Send + 'static,
    {
        let slot = self.slot(key);
        let mut stored = slot.stored.lock().await;
        let now = Instant::now();
        match &*stored {
            Some(held) if now < held.good_until => {
                let value = held.value.clone();
                let is_due = now >= held.refresh_at;
                drop(stored);
                if is_due && !slot.is_refreshing.swap(true, Ordering::Relaxed) {
                    refresh(slot.clone(), fetch(Some(value.clone())));
                }
                value
            }
            other => {
                let last = other.as_ref().map(|stored| stored.value.clone());
                let fetched = fetch(last).await;
                let value = fetched.value.clone();
                *stored = Some(Stored::new(fetched));
                value
            }
        }
    }

    fn slot(&self, key: Vec<u8>) -> Arc<Slot<V>> {
        // Nothing that can panic runs under the lock.
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.by_key.get(&key) {
            return slot.clone();
        }
        if slots.by_key.len() >= self.limit
            && let Some(oldest) = slots.order.pop_front()
        {
            slots.by_key.remove(&oldest);
        }
        let slot = Arc::new(Slot {
            stored: tokio::sync::Mutex::new(None),
            is_refreshing: AtomicBool::new(false),
        });
        slots.order.push_back(key.clone());
        slots.by_key.insert(key, slot.clone());
        slot
    }
}

impl<V> Stored<V> {
    fn new(fetched: Fetched<V>) -> Self {
        let now = Instant::now();
        let after = |time: Duration| now.checked_add(time).unwrap_or(now);
        Self {
            value: fetched.value,
            refresh_at: after(fetched.ttl / REFRESH.1 * REFRESH.0),
            good_until: after(fetched.ttl),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "limited in time by its own time-out; nobody waits for it, and a drain need not"
)]
fn refresh<V: Send + Sync + 'static>(
    slot: Arc<Slot<V>>,
    fetch: impl Future<Output = Fetched<V>> + Send + 'static,
) {
    tokio::spawn(async move {
        // Also when the worker ends in the middle.
        let _done = Refreshing(&slot.is_refreshing);
        let fetched = fetch.await;
        if !fetched.is_failure {
            *slot.stored.lock().await = Some(Stored::new(fetched));
        }
    });
}

struct Refreshing<'a>(&'a AtomicBool);

impl Drop for Refreshing<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    const TTL: Duration = Duration::from_secs(10);

    #[derive(Default, Clone)]
    struct Source(Arc<AtomicU32>);

    impl Source {
        /// Counts from 1; takes a second.
        async fn next(self) -> Fetched<u32> {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Fetched {
                value: self.0.fetch_add(1, Ordering::Relaxed) + 1,
                ttl: TTL,
                is_failure: false,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_want_one_thing_at_once_share_the_work() {
        let (cache, source) = (Cache::new(2), Source::default());
        let obtain = || cache.obtain(vec![1], |_| source.clone().next());
        assert_eq!(tokio::join!(obtain(), obtain(), obtain()), (1, 1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_about_to_expire_is_got_again_while_the_old_one_is_used() {
        let (cache, source) = (Cache::new(2), Source::default());
        let obtain = || cache.obtain(vec![1], |_| source.clone().next());
        assert_eq!(obtain().await, 1);
        tokio::time::advance(TTL * 4 / 5).await;
        assert_eq!(obtain().await, 1);
        assert_eq!(obtain().await, 1);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(obtain().await, 2);
        tokio::time::advance(TTL).await;
        assert_eq!(obtain().await, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_refresh_does_not_take_away_what_is_still_good() {
        let cache = Cache::new(2);
        let obtain = |value, is_failure| {
            cache.obtain(vec![1], move |_| async move {
                Fetched {
                    value,
                    ttl: TTL,
                    is_failure,
                }
            })
        };
        assert_eq!(obtain(1, false).await, 1);
        tokio::time::advance(TTL * 4 / 5).await;
        assert_eq!(obtain(2, true).await, 1);
        tokio::task::yield_now().await;
        assert_eq!(obtain(3, true).await, 1);
        tokio::time::advance(TTL).await;
        assert_eq!(obtain(4, true).await, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_limit_the_oldest_gives_way() {
        let (cache, source) = (Cache::new(2), Source::default());
        for (key, expected) in [(1, 1), (2, 2), (1, 1), (3, 3), (2, 2), (1, 4)] {
            let value = cache.obtain(vec![key], |_| source.clone().next()).await;
            assert_eq!(value, expected, "key {key}");
        }
    }
}
