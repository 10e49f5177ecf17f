//! Which passwords were right a moment ago, so that Basic credentials do not cost a hash at every request.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use crate::password;

/// A lock is held for one look-up; sixteen of them keep workers out of each other's way.
const SHARDS: usize = 16;

/// User name, stored form and password under a hash whose key never leaves the process.
///
/// The stored form is part of it, so an entry is worthless once the password changed: nothing has to be
/// cleared. The password cannot be recovered from it, and a memory dump without the key not even be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Fingerprint([u8; 32]);

/// Remembers successful checks for a while; bounded.
pub(crate) struct VerifiedCache {
    key: [u8; 32],
    ttl: Duration,
    shard_capacity: usize,
    shards: [Mutex<HashMap<Fingerprint, Instant>>; SHARDS],
}

impl VerifiedCache {
    /// An empty cache of about `entries` entries, each forgotten after `ttl`.
    pub(crate) fn new(ttl: Duration, entries: usize) -> Result<Self, getrandom::Error> {
        Ok(Self {
            key: password::random()?,
            ttl,
            shard_capacity: entries.div_ceil(SHARDS),
            shards: Default::default(),
        })
    }

    pub(crate) fn fingerprint(&self, username: &str, stored: &str, password: &[u8]) -> Fingerprint {
        // Lengths first, so that no other split of the same bytes has the same hash.
        let digest = Sha256::new()
            .chain_update(self.key)
            .chain_update((username.len() as u64).to_le_bytes())
            .chain_update((stored.len() as u64).to_le_bytes())
            .chain_update(username)
            .chain_update(stored)
            .chain_update(password)
            .finalize();
        Fingerprint(digest.into())
    }

    pub(crate) fn contains(&self, fingerprint: &Fingerprint, now: Instant) -> bool {
        self.shard(fingerprint)
            .get(fingerprint)
            .is_some_and(|expiry| now < *expiry)
    }

    pub(crate) fn insert(&self, fingerprint: Fingerprint, now: Instant) {
        if self.shard_capacity == 0 {
            return;
        }
        let mut shard = self.shard(&fingerprint);
        if shard.len() >= self.shard_capacity {
            shard.retain(|_, expiry| now < *expiry);
        }
        if shard.len() >= self.shard_capacity {
            let oldest = shard.iter().min_by_key(|(_, expiry)| **expiry);
            if let Some(oldest) = oldest.map(|(fingerprint, _)| *fingerprint) {
                shard.remove(&oldest);
            }
        }
        shard.insert(fingerprint, now + self.ttl);
    }

    /// How many are remembered; some of them may have expired.
    pub(crate) fn len(&self) -> usize {
        let lock = |shard: &Mutex<HashMap<_, _>>| {
            shard.lock().unwrap_or_else(PoisonError::into_inner).len()
        };
        self.shards.iter().map(lock).sum()
    }

    fn shard(&self, fingerprint: &Fingerprint) -> MutexGuard<'_, HashMap<Fingerprint, Instant>> {
        let index = usize::from(fingerprint.0[0]) % SHARDS;
        self.shards[index]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(30);

    #[test]
    fn an_entry_is_forgotten_after_its_time() {
        let cache = VerifiedCache::new(TTL, 100).unwrap();
        let now = Instant::now();
        let entry = cache.fingerprint("ana", "hash", b"pw");
        assert!(!cache.contains(&entry, now));
        cache.insert(entry, now);
        assert!(cache.contains(&entry, now + TTL - Duration::from_millis(1)));
        assert!(!cache.contains(&entry, now + TTL));
    }

    #[test]
    fn every_part_counts_and_so_do_their_borders() {
        let cache = VerifiedCache::new(TTL, 100).unwrap();
        let entry = cache.fingerprint("ana", "hash", b"pw");
        for (username, stored, password) in [
            ("anah", "ash", "pw"),
            ("ana", "hashp", "w"),
            ("ana", "hash", "pw2"),
            ("ana", "hash2", "pw"),
        ] {
            assert_ne!(
                entry,
                cache.fingerprint(username, stored, password.as_bytes())
            );
        }
        let other = VerifiedCache::new(TTL, 100).unwrap();
        assert_ne!(entry, other.fingerprint("ana", "hash", b"pw"), "keyed");
    }

    #[test]
    fn the_oldest_makes_room() {
        let cache = VerifiedCache::new(TTL, SHARDS).unwrap();
        let start = Instant::now();
        let entries: Vec<_> = (0..200)
            .map(|n: u32| cache.fingerprint("ana", "hash", &n.to_le_bytes()))
            .collect();
        for (age, entry) in entries.iter().enumerate() {
            cache.insert(*entry, start + Duration::from_millis(age as u64));
        }
        let now = start + Duration::from_millis(200);
        let kept = entries.iter().filter(|entry| cache.contains(entry, now));
        assert!(kept.count() <= SHARDS);
        assert!(cache.contains(&entries[199], now));
    }
}
