//! The directory: the current snapshot, what keeps it current, and the check of credentials.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use futures_util::{StreamExt as _, stream};
use resource::{
    Answer, Authenticator, Caller, Context, Credentials, Error, ErrorKind, IdentityChanges,
    Precondition, Record, Resource, Scope, SubscribeOptions, Subscription, Target, Value, Write,
    WriteKind,
};
use tokio::sync::{Mutex, MutexGuard, watch};

use crate::AuthConfig;
use crate::cache::VerifiedCache;
use crate::failures::Failures;
use crate::sessions::SessionConfig;
use crate::snapshot::{Account, Snapshot};
use crate::tokens::Tokens;
use crate::verifier::Verifier;

/// Pause before the tables are followed again after that failed.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Why a directory could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Storage: users or roles could not be read.
    #[error("cannot read users and roles")]
    Read(#[source] Error),
    /// System: a thread for password hashing could not be started.
    #[error("cannot start a password hashing thread")]
    HashingThread(#[source] io::Error),
    /// System: there are no random numbers.
    #[error("cannot draw random numbers: {0}")]
    Random(String),
}

/// All users and roles, and the check of credentials against them. Shared by all workers.
///
/// ```no_run
/// # async fn start(users: std::sync::Arc<dyn resource::Resource>, roles: std::sync::Arc<dyn resource::Resource>)
/// # -> Result<(), Box<dyn std::error::Error>> {
/// let directory = auth::Directory::load(users, roles, auth::AuthConfig::default()).await?;
/// if let Some(password) = directory.ensure_administrator("admin", None).await? {
///     println!("password of admin: {}", password.as_str()); // once, and into a file of mode 0600
/// }
/// let follower = directory.clone();
/// tokio::spawn(async move { follower.run().await }); // on worker 0
/// # Ok(())
/// # }
/// ```
pub struct Directory {
    users: Arc<dyn Resource>,
    roles: Arc<dyn Resource>,
    snapshot: ArcSwap<Snapshot>,
    /// Told of every new snapshot, after it is in place.
    swapped: watch::Sender<()>,
    /// Held while the tables are read and the snapshot is swapped, so that an older reading cannot
    /// replace a newer one, and by a change from its check to its effect, so that two changes cannot
    /// together remove the last super user. Cold: users change rarely. Never held by a check of credentials.
    changes: Mutex<()>,
    passwords: Verifier,
    tokens: Tokens,
    failures: Failures,
    sessions: Option<SessionConfig>,
}

impl Directory {
    /// Reads all users and roles. They stay in memory, a few hundred bytes each.
    ///
    /// # Errors
    ///
    /// [`StartError`] if a table cannot be read or the system refuses threads or random numbers.
    pub async fn load(
        users: Arc<dyn Resource>,
        roles: Arc<dyn Resource>,
        config: AuthConfig,
    ) -> Result<Arc<Self>, StartError> {
        let passwords = Verifier::start(&config)?;
        let checked = VerifiedCache::new(config.cache_ttl, config.cache_entries)
            .map_err(|error| StartError::Random(error.to_string()))?;
        let directory = Self {
            users,
            roles,
            snapshot: ArcSwap::default(),
            swapped: watch::Sender::default(),
            changes: Mutex::new(()),
            passwords,
            tokens: Tokens::new(config.tokens, checked),
            failures: Failures::new(config.failures),
            sessions: config.sessions,
        };
        directory.reload().await.map_err(StartError::Read)?;
        Ok(Arc::new(directory))
    }

    /// Follows both tables and swaps the snapshot after every change, whoever made it, for as long as it is
    /// polled. The subscriptions are on worker 0, where this must run.
    ///
    /// When reading fails, the last snapshot stays in use and reading is tried again.
    ///
    /// # Errors
    ///
    /// 405 when the tables cannot be subscribed to.
    pub async fn run(&self) -> Result<Infallible, Error> {
        loop {
            let Err(error) = self.follow().await;
            if error.kind() == ErrorKind::MethodNotAllowed {
                return Err(error);
            }
            tracing::warn!(target: "auth", %error, "users and roles are read again after a failure");
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    async fn follow(&self) -> Result<Infallible, Error> {
        let context = Context::internal();
        let options = SubscribeOptions {
            omit_current: true,
            ..SubscribeOptions::default()
        };
        let users = self.users.subscribe(Scope::All, &options, &context).await?;
        let roles = self.roles.subscribe(Scope::All, &options, &context).await?;
        let mut feeds = [users, roles];
        // After subscribing, so that no change falls between.
        self.reload().await?;
        loop {
            poll_fn(|cx| poll_change(&mut feeds, cx)).await?;
            self.reload().await?;
        }
    }

    /// Reads both tables now. Changes made through this directory are in effect already.
    ///
    /// # Errors
    ///
    /// What the tables answer.
    pub async fn reload(&self) -> Result<(), Error> {
        let changing = self.changing().await;
        self.reload_while(&changing).await
    }

    pub(crate) async fn changing(&self) -> MutexGuard<'_, ()> {
        self.changes.lock().await
    }

    pub(crate) async fn reload_while(&self, _changing: &MutexGuard<'_, ()>) -> Result<(), Error> {
        // Roles first: a user who was given a new role between the two readings is without role for a
        // moment, and not with more rights than any of the two roles.
        let roles = read_all(&*self.roles).await?;
        let users = read_all(&*self.users).await?;
        self.snapshot.store(Arc::new(Snapshot::of(&users, &roles)));
        self.swapped.send_replace(());
        Ok(())
    }

    pub(crate) fn snapshot(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    pub(crate) fn users(&self) -> &dyn Resource {
        &*self.users
    }

    pub(crate) fn roles(&self) -> &dyn Resource {
        &*self.roles
    }

    /// Entries of the cache of checked passwords, for metrics.
    pub fn remembered_passwords(&self) -> usize {
        self.passwords.remembered()
    }

    pub(crate) fn passwords(&self) -> &Verifier {
        &self.passwords
    }

    pub(crate) fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    pub(crate) fn session_config(&self) -> Result<&SessionConfig, Error> {
        let sessions = self.sessions.as_ref();
        sessions.ok_or_else(|| Error::bad_request("No session for login"))
    }

    /// A user name and password that are part of a request's body.
    ///
    /// # Errors
    ///
    /// 401 `Login failed`, or 429 after too many failures.
    pub async fn check_password_of(
        &self,
        username: &str,
        password: &[u8],
        peer: Option<IpAddr>,
    ) -> Result<Caller, Error> {
        let account = Arc::clone(&self.snapshot());
        let account = account.users.get(username).filter(|account| {
            self.passwords
                .is_remembered(username, &account.password, password)
        });
        match account {
            Some(account) => admit(username, account),
            None => self.check_password_from(username, password, peer).await,
        }
    }

    /// Refuses who failed too often lately, before the hash is spent.
    async fn check_password_from(
        &self,
        username: &str,
        password: &[u8],
        peer: Option<IpAddr>,
    ) -> Result<Caller, Error> {
        let Some(peer) = peer else {
            return self.check_password(username, password).await;
        };
        let now = Instant::now();
        if self.failures.is_limited(username, peer, now) {
            tracing::debug!(target: "auth", username, %peer, "too many failures");
            return Err(Error::new(
                ErrorKind::TooManyRequests,
                "Too many failed logins, please try again later",
            ));
        }
        let answer = self.check_password(username, password).await;
        if answer
            .as_ref()
            .is_err_and(|error| error.kind() == ErrorKind::Unauthorized)
        {
            self.failures.add(username, peer, now);
        }
        answer
    }

    /// The slow road: hashes, then looks at the user as it is after that.
    async fn check_password(&self, username: &str, password: &[u8]) -> Result<Caller, Error> {
        let stored = self
            .snapshot()
            .users
            .get(username)
            .map(|account| Arc::clone(&account.password));
        let verdict = self
            .passwords
            .verify(username, stored.as_ref(), password)
            .await?;
        let snapshot = Arc::clone(&self.snapshot());
        let unchanged = |account: &&Account| stored.as_ref() == Some(&account.password);
        let account = snapshot.users.get(username).filter(unchanged);
        let Some(account) = account.filter(|_| verdict.matches) else {
            tracing::debug!(target: "auth", username, "login failed");
            return Err(login_failed());
        };
        if let Some(stored) = verdict.upgrade {
            self.store_upgrade(username, account, stored).await;
        }
        admit(username, account)
    }

    /// Replaces a weaker stored form of a password that has just been right.
    async fn store_upgrade(&self, username: &str, account: &Account, stored: String) {
        let body = Value::Map(resource::Map::from_iter([
            ("password", Value::from(stored)),
            (
                "hash_function",
                Value::from(self.passwords.function().name()),
            ),
        ]));
        let write = Write {
            // Not over a password that was changed meanwhile.
            precondition: Precondition {
                if_match: Some(vec![account.version]),
                ..Precondition::default()
            },
            ..Write::new(
                Some(username.into()),
                WriteKind::UpdateIfPresent,
                Some(body),
            )
        };
        let context = Context::internal();
        let written = self.users.write(vec![write], &context).await;
        match written {
            Ok(_) => tracing::info!(target: "auth", username, "password stored in a stronger form"),
            // The login is right all the same; the next one tries again.
            Err(error) => {
                tracing::debug!(target: "auth", username, %error, "stronger form not stored");
            }
        }
    }
}

impl Authenticator for Directory {
    fn authenticate<'a>(&'a self, credentials: &'a Credentials) -> Answer<'a, Caller> {
        self.authenticate_from(credentials, None)
    }

    fn authenticate_from<'a>(
        &'a self,
        credentials: &'a Credentials,
        peer: Option<IpAddr>,
    ) -> Answer<'a, Caller> {
        let snapshot = self.snapshot();
        match credentials {
            Credentials::Password { username, password } => {
                let account = snapshot.users.get(username).filter(|account| {
                    self.passwords
                        .is_remembered(username, &account.password, password)
                });
                match account {
                    Some(account) => Answer::ready(admit(username, account)),
                    None => Answer::pending(self.check_password_from(username, password, peer)),
                }
            }
            Credentials::Certificate { common_name } => {
                let account = snapshot.users.get(common_name);
                Answer::ready(account.map_or_else(
                    || Err(login_failed()),
                    |account| admit(common_name, account),
                ))
            }
            Credentials::LocalTrust => {
                let user = snapshot.first_super_user().cloned();
                Answer::ready(user.map(Caller::User).ok_or_else(login_failed))
            }
            Credentials::Bearer(token) => Answer::pending(self.check_token(token)),
            Credentials::Session(id) => match self.sessions {
                Some(_) => Answer::pending(self.check_session(id)),
                None => Answer::ready(Ok(Caller::Anonymous)),
            },
            _ => {
                tracing::error!(target: "auth", "credentials of a kind that is not built: refused");
                Answer::ready(Err(login_failed()))
            }
        }
    }

    fn refresh(&self, caller: &Caller) -> Option<Caller> {
        match caller {
            Caller::Anonymous => Some(Caller::Anonymous),
            Caller::User(user) => {
                let snapshot = self.snapshot();
                let account = snapshot.users.get(&*user.username)?;
                admit(&user.username, account).ok()
            }
        }
    }

    fn changes(&self) -> IdentityChanges {
        let mut swapped = self.swapped.subscribe();
        swapped.mark_changed();
        IdentityChanges::new(stream::unfold(swapped, |mut swapped| async {
            swapped.changed().await.ok()?;
            Some(((), swapped))
        }))
    }
}

/// The caller behind an account whose owner has shown who it is.
pub(crate) fn admit(username: &str, account: &Account) -> Result<Caller, Error> {
    if !account.active {
        let text = "Cannot complete request: User is inactive";
        return Err(Error::unauthorized(text));
    }
    let user = account.user.clone().ok_or_else(|| {
        Error::forbidden(format!(
            "User {username} has no role or permissions.  Please assign the user a valid role."
        ))
    })?;
    Ok(Caller::User(user))
}

fn login_failed() -> Error {
    Error::unauthorized("Login failed")
}

async fn read_all(table: &dyn Resource) -> Result<Vec<Record>, Error> {
    let (target, context) = (Target::collection(), Context::internal());
    let mut batches = table.search(&target, &context).await?;
    let mut records = Vec::new();
    while let Some(batch) = batches.next().await {
        records.extend(batch?);
    }
    Ok(records)
}

/// Takes everything that waits in the feeds; ready if that was anything.
fn poll_change(feeds: &mut [Subscription], cx: &mut TaskContext<'_>) -> Poll<Result<(), Error>> {
    let mut has_changed = false;
    for feed in feeds {
        while let Poll::Ready(batch) = feed.poll_next(cx) {
            has_changed |= !batch?.is_empty();
        }
    }
    if has_changed {
        Poll::Ready(Ok(()))
    } else {
        Poll::Pending
    }
}
