//! Password checks: the cache first, then the hashing threads.

use std::sync::Arc;
use std::time::Instant;

use resource::Error;

use crate::cache::VerifiedCache;
use crate::password::{self, HashError, MAX_PASSWORD_BYTES, Verdict};
use crate::pool::HashPool;
use crate::{AuthConfig, HashFunction, StartError};

pub(crate) struct Verifier {
    pool: HashPool,
    cache: Arc<VerifiedCache>,
    function: HashFunction,
    /// What a user who does not exist is checked against.
    unmatchable: Arc<str>,
}

impl Verifier {
    pub(crate) fn start(config: &AuthConfig) -> Result<Self, StartError> {
        let random = |error: HashError| StartError::Random(error.to_string());
        let cache = VerifiedCache::new(config.cache_ttl, config.cache_entries)
            .map_err(|error| random(error.into()))?;
        Ok(Self {
            pool: HashPool::start(config.hashing_threads, config.hashing_queue)
                .map_err(StartError::HashingThread)?,
            cache: Arc::new(cache),
            function: config.hash_function,
            unmatchable: password::unmatchable().map_err(random)?.into(),
        })
    }

    /// How new passwords are stored.
    pub(crate) fn function(&self) -> HashFunction {
        self.function
    }

    /// Runs slow work off the workers.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        self.pool.run(job).await
    }

    /// Checks that are remembered.
    pub(crate) fn remembered(&self) -> usize {
        self.cache.len()
    }

    /// Whether these were right a moment ago. Cheap.
    pub(crate) fn is_remembered(&self, username: &str, stored: &str, password: &[u8]) -> bool {
        let fingerprint = self.cache.fingerprint(username, stored, password);
        self.cache.contains(&fingerprint, Instant::now())
    }

    /// Hashes `password` off the worker and compares. `stored` is `None` for a user who does not exist,
    /// which takes the same time.
    pub(crate) async fn verify(
        &self,
        username: &str,
        stored: Option<&Arc<str>>,
        password: &[u8],
    ) -> Result<Verdict, Error> {
        let is_too_long = password.len() > MAX_PASSWORD_BYTES;
        let stored = Arc::clone(stored.filter(|_| !is_too_long).unwrap_or(&self.unmatchable));
        let password = password[..password.len().min(MAX_PASSWORD_BYTES)].to_vec();
        let fingerprint = self.cache.fingerprint(username, &stored, &password);
        let (cache, function) = (Arc::clone(&self.cache), self.function);
        let check = move || {
            // Many connections of one user arrive at once after a restart: the first one to be checked
            // answers for those behind it in the queue.
            if cache.contains(&fingerprint, Instant::now()) {
                return Verdict {
                    matches: true,
                    upgrade: None,
                };
            }
            let verdict = password::check(&password, &stored, function);
            if verdict.matches {
                cache.insert(fingerprint, Instant::now());
            }
            verdict
        };
        self.pool.run(check).await
    }

    /// The stored form of a new password.
    pub(crate) async fn hash(&self, password: &str) -> Result<String, Error> {
        if password.len() > MAX_PASSWORD_BYTES {
            let text = format!("password must not be longer than {MAX_PASSWORD_BYTES} bytes");
            return Err(Error::bad_request(text));
        }
        let (password, function) = (password.as_bytes().to_vec(), self.function);
        self.pool
            .run(move || password::hash(&password, function))
            .await?
            .map_err(|error| Error::internal(error.to_string()))
    }
}
