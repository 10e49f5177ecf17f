//! The limit on failed authentications (`auth.md` §12): who guesses has to wait.
//!
//! Failures are counted for each address, and for each user name from each address, so that guessing from
//! one place does not lock a user out of another.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many failures within how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailureLimits {
    /// Failures of one user name from one address; 0 is no limit. Default 10.
    pub per_user: u32,
    /// Failures from one address; 0 is no limit. Default 50.
    pub per_address: u32,
    /// The time they are counted in. Default one minute.
    pub window: Duration,
    /// Addresses, and pairs of user and address, remembered at most. Default 10,000; the one that has been there
    /// longest makes room.
    pub entries: usize,
}

impl Default for FailureLimits {
    fn default() -> Self {
        Self {
            per_user: 10,
            per_address: 50,
            window: Duration::from_secs(60),
            entries: 10_000,
        }
    }
}

/// Failures of the last minute.
pub(crate) struct Failures {
    limits: FailureLimits,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    users: HashMap<(Box<str>, IpAddr), Count>,
    addresses: HashMap<IpAddr, Count>,
}

#[derive(Clone, Copy)]
struct Count {
    since: Instant,
    failures: u32,
}

impl Failures {
    pub(crate) fn new(limits: FailureLimits) -> Self {
        Self {
            limits,
            counts: Mutex::default(),
        }
    }

    /// Whether the peer has to wait; asked before anything is hashed.
    pub(crate) fn is_limited(&self, username: &str, peer: IpAddr, now: Instant) -> bool {
        // Nothing that can panic runs under the lock.
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let window = self.limits.window;
        let reached = |count: Option<&Count>, limit: u32| {
            limit > 0
                && count.is_some_and(|count| {
                    count.failures >= limit && now.duration_since(count.since) < window
                })
        };
        reached(counts.addresses.get(&peer), self.limits.per_address)
            || reached(
                counts.users.get(&(Box::from(username), peer)),
                self.limits.per_user,
            )
    }

    /// Counts one more failure.
    pub(crate) fn add(&self, username: &str, peer: IpAddr, now: Instant) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let Counts { users, addresses } = &mut *counts;
        count(users, (Box::from(username), peer), &self.limits, now);
        count(addresses, peer, &self.limits, now);
    }
}

fn count<K: Hash + Eq + Clone>(
    counts: &mut HashMap<K, Count>,
    key: K,
    limits: &FailureLimits,
    now: Instant,
) {
    let is_over = |count: &Count| now.duration_since(count.since) >= limits.window;
    if counts.len() >= limits.entries && !counts.contains_key(&key) {
        counts.retain(|_, count| !is_over(count));
        let oldest = counts.iter().min_by_key(|(_, count)| count.since);
        if let Some(oldest) = oldest.map(|(key, _)| key.clone())
            && counts.len() >= limits.entries
        {
            counts.remove(&oldest);
        }
    }
    let fresh = Count {
        since: now,
        failures: 0,
    };
    let entry = counts.entry(key).or_insert(fresh);
    if is_over(entry) {
        *entry = fresh;
    }
    entry.failures = entry.failures.saturating_add(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 7));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 8));

    #[test]
    fn a18_the_tenth_failure_of_a_user_limits_that_address_alone_for_a_minute() {
        let failures = Failures::new(FailureLimits::default());
        let now = Instant::now();
        for _ in 0..9 {
            failures.add("mira", HERE, now);
        }
        assert!(!failures.is_limited("mira", HERE, now));
        failures.add("mira", HERE, now);
        assert!(failures.is_limited("mira", HERE, now));
        assert!(!failures.is_limited("mira", THERE, now));
        assert!(!failures.is_limited("otto", HERE, now));
        assert!(!failures.is_limited("mira", HERE, now + Duration::from_secs(60)));
    }

    #[test]
    fn fifty_failures_limit_an_address_whatever_the_names() {
        let failures = Failures::new(FailureLimits::default());
        let now = Instant::now();
        for user in 0..50 {
            failures.add(&user.to_string(), HERE, now);
        }
        assert!(failures.is_limited("unheard of", HERE, now));
        assert!(!failures.is_limited("unheard of", THERE, now));
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_makes_room() {
        let limits = FailureLimits {
            entries: 4,
            per_user: 1,
            per_address: 0,
            ..FailureLimits::default()
        };
        let failures = Failures::new(limits);
        let start = Instant::now();
        for user in 0..100_u32 {
            let now = start + Duration::from_millis(u64::from(user));
            failures.add(&user.to_string(), HERE, now);
        }
        let now = start + Duration::from_millis(100);
        let limited = |user: u32| failures.is_limited(&user.to_string(), HERE, now);
        assert!(limited(99) && !limited(0));
        assert!((0..100).filter(|user| limited(*user)).count() <= 4);
    }
}
