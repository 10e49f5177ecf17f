//! Counts of logins, around whoever checks them (`metrics-and-health.md` §3.7).

use std::net::IpAddr;
use std::sync::Arc;

use resource::identity::IdentityChanges;
use resource::{Answer, Authenticator, Caller, Credentials, Error, ErrorKind};
use telemetry::Metrics;
use telemetry::metrics::{Counter, Family, MetricError, Unit};

const METHODS: [&str; 6] = [
    "basic",
    "bearer",
    "certificate",
    "local",
    "session",
    "other",
];
const RESULTS: [&str; 4] = ["ok", "bad", "inactive", "error"];

/// The counters, by method and result.
pub(super) struct LoginCounters(Arc<[[Counter; RESULTS.len()]; METHODS.len()]>);

impl LoginCounters {
    pub(super) fn register(registry: &Metrics) -> Result<Self, MetricError> {
        let family = Family::new("auth_attempts_total", "Checks of credentials")
            .unit(Unit::Operations)
            .group("auth")
            .labels(&["method", "result"]);
        let family = registry.counter(family)?;
        let of = |method| RESULTS.map(|result| family.series(&[method, result]));
        Ok(Self(Arc::new(METHODS.map(of))))
    }

    pub(super) fn counting(&self, inner: Arc<dyn Authenticator>) -> CountedLogins {
        CountedLogins {
            inner,
            counters: Arc::clone(&self.0),
        }
    }
}

/// Passes on, and counts the answers.
pub(super) struct CountedLogins {
    inner: Arc<dyn Authenticator>,
    counters: Arc<[[Counter; RESULTS.len()]; METHODS.len()]>,
}

impl CountedLogins {
    fn count<'a>(
        &'a self,
        credentials: &Credentials,
        answer: Answer<'a, Caller>,
    ) -> Answer<'a, Caller> {
        let method = match credentials {
            Credentials::Password { .. } => 0,
            Credentials::Bearer(_) => 1,
            Credentials::Certificate { .. } => 2,
            Credentials::LocalTrust => 3,
            Credentials::Session(_) => 4,
            _ => 5,
        };
        let counters = &self.counters[method];
        match answer {
            Answer::Ready(answer) => {
                if let Some(answer) = &answer {
                    counters[result(answer)].increment();
                }
                Answer::Ready(answer)
            }
            pending @ Answer::Pending(_) => Answer::pending(async move {
                let answer = pending.await;
                counters[result(&answer)].increment();
                answer
            }),
        }
    }
}

impl Authenticator for CountedLogins {
    fn authenticate<'a>(&'a self, credentials: &'a Credentials) -> Answer<'a, Caller> {
        self.count(credentials, self.inner.authenticate(credentials))
    }

    fn authenticate_from<'a>(
        &'a self,
        credentials: &'a Credentials,
        peer: Option<IpAddr>,
    ) -> Answer<'a, Caller> {
        self.count(credentials, self.inner.authenticate_from(credentials, peer))
    }

    fn refresh(&self, caller: &Caller) -> Option<Caller> {
        self.inner.refresh(caller)
    }

    fn changes(&self) -> IdentityChanges {
        self.inner.changes()
    }
}

fn result(answer: &Result<Caller, Error>) -> usize {
    match answer {
        Ok(Caller::User(_)) => 0,
        // A session that is over.
        Ok(Caller::Anonymous) => 1,
        Err(error) if error.kind() != ErrorKind::Unauthorized => 3,
        Err(error) if error.message().contains("inactive") => 2,
        Err(_) => 1,
    }
}
