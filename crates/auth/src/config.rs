//! Settings of the section `authentication`, checked.

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::{FailureLimits, HashFunction, SessionConfig, TokenConfig};

/// How credentials are checked.
#[derive(Debug, Clone)]
pub struct AuthConfig {
    /// How long a successful password check is remembered (`authentication.cacheTTL`). Default 30 s; zero
    /// hashes at every request.
    pub cache_ttl: Duration,
    /// How many successful checks are remembered at most. Default 10,000.
    pub cache_entries: usize,
    /// How new passwords are stored (`authentication.hashFunction`). Default argon2id.
    pub hash_function: HashFunction,
    /// Threads that hash passwords; each needs 19 MiB while it works. Default: half of the processors, at
    /// least one and at most four, so that logins cannot starve the workers.
    pub hashing_threads: NonZeroUsize,
    /// Checks that may wait for such a thread; one more is answered 503. Default 1024, which is a wait of
    /// some ten seconds on two threads.
    pub hashing_queue: usize,
    /// Tokens. Default: none, since there are no keys.
    pub tokens: TokenConfig,
    /// Cookie sessions. Default: none, since there is no table.
    pub sessions: Option<SessionConfig>,
    /// Failed logins before a client has to wait.
    pub failures: FailureLimits,
}

impl Default for AuthConfig {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let threads = (processors / 2).clamp(1, 4);
        Self {
            cache_ttl: Duration::from_secs(30),
            cache_entries: 10_000,
            hash_function: HashFunction::default(),
            hashing_threads: NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN),
            hashing_queue: 1024,
            tokens: TokenConfig::default(),
            sessions: None,
            failures: FailureLimits::default(),
        }
    }
}
