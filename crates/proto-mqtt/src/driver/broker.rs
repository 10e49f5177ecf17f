//! What the connections of a server share.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use base::WorkerId;
use resource::{Authenticator, Registry, Resource};

use super::maintenance::Agenda;
use super::sessions::{SessionInfo, Sessions, Signal};
use super::shared::Groups;
use super::store::{MemorySessions, SessionStore};
use super::system::SystemTopics;
use crate::mapping::Topics;
use crate::session::Counters;
use crate::{CloseCause, ConfigError, MqttConfig};

/// The resources, identities, settings and sessions behind every connection.
pub struct Broker {
    pub(super) registry: Arc<Registry>,
    pub(super) authenticator: Arc<dyn Authenticator>,
    pub(super) config: Arc<MqttConfig>,
    pub(super) sessions: Sessions,
    /// Sessions that outlive their connection, and Wills.
    pub(super) store: Arc<dyn SessionStore>,
    pub(super) agenda: Agenda,
    /// Of shared subscriptions.
    pub(super) groups: Arc<Groups>,
    /// Topics that are no resource, once they are on.
    free_topics: OnceLock<Arc<dyn Resource>>,
    pub(super) system: Arc<SystemTopics>,
    system_topics: Arc<dyn Resource>,
    /// One a worker, so that no two threads write the same cache line.
    totals: Vec<Totals>,
}

impl Broker {
    /// A broker for connections on that many workers. Sessions outlive their connections, but not the process;
    /// see [`with_store`](Self::with_store).
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if a setting cannot work.
    pub fn new(
        registry: Arc<Registry>,
        authenticator: Arc<dyn Authenticator>,
        config: MqttConfig,
        workers: usize,
    ) -> Result<Arc<Self>, ConfigError> {
        let store = Arc::new(MemorySessions::default());
        Self::with_store(registry, authenticator, config, workers, store)
    }

    /// A broker that keeps sessions and Wills in `store`. Its [`maintain`](Self::maintain) must run.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if a setting cannot work.
    pub fn with_store(
        registry: Arc<Registry>,
        authenticator: Arc<dyn Authenticator>,
        config: MqttConfig,
        workers: usize,
        store: Arc<dyn SessionStore>,
    ) -> Result<Arc<Self>, ConfigError> {
        config.check()?;
        let system = Arc::new(SystemTopics::default());
        let system_topics = Arc::clone(&system) as Arc<dyn Resource>;
        Ok(Arc::new(Self {
            registry,
            authenticator,
            config: Arc::new(config),
            sessions: Sessions::default(),
            store,
            agenda: Agenda::default(),
            groups: Arc::default(),
            free_topics: OnceLock::new(),
            system,
            system_topics,
            totals: (0..workers.max(1)).map(|_| Totals::default()).collect(),
        }))
    }

    /// Makes every topic that matches no exported resource a plain one (`mqtt.freeTopics`), from now on and once.
    ///
    /// Topics are the keys of `table`, whose primary key is text, which takes attributes that are not declared,
    /// and which must not be exported. It needs a log if durable sessions are to get what they missed. Who may
    /// publish and subscribe is for the table to say: super users, and roles with permissions on it.
    pub fn enable_free_topics(&self, table: Arc<dyn Resource>) {
        if self.free_topics.set(table).is_err() {
            tracing::error!("free topics were enabled twice; the first table stays");
        }
    }

    pub(super) fn topics(&self) -> Topics<'_> {
        Topics {
            registry: &self.registry,
            free: self.free_topics.get(),
            system: Some(&self.system_topics),
        }
    }

    /// The settings.
    pub fn config(&self) -> &MqttConfig {
        &self.config
    }

    /// Totals since the start, over all workers.
    pub fn statistics(&self) -> Statistics {
        let mut statistics = Statistics {
            sessions: self.sessions.len() as u64,
            ..Statistics::default()
        };
        for totals in &self.totals {
            totals.add_to(&mut statistics);
        }
        statistics
    }

    /// The connected sessions, in no order.
    pub fn sessions(&self) -> Vec<SessionInfo> {
        self.sessions.list()
    }

    /// Ends the session of a client (5.0: 0x98); `false` if it is not connected.
    pub fn disconnect(&self, client_id: &str) -> bool {
        self.sessions.signal(client_id, Signal::DISCONNECT)
    }

    pub(super) fn totals(&self, worker: WorkerId) -> &Totals {
        &self.totals[worker.index().min(self.totals.len() - 1)]
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

macro_rules! totals {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// A snapshot of the broker's counters.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        #[non_exhaustive]
        pub struct Statistics {
            /// Sessions that are connected now.
            pub sessions: u64,
            $($(#[$doc])* pub $name: u64,)*
        }

        /// The same as counters of one worker.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub(super) struct Totals {
            $($name: AtomicU64,)*
        }

        impl Totals {
            fn add_to(&self, statistics: &mut Statistics) {
                $(statistics.$name += self.$name.load(Ordering::Relaxed);)*
            }
        }
    };
}

totals! {
    /// Byte streams that were served.
    connections,
    /// CONNECT packets that were refused.
    refused_connections,
    /// Connections that were closed because the client broke the protocol.
    protocol_violations,
    /// Connections that were closed because the client read too slowly.
    slow_readers,
    /// Connections that were closed because another one took their session over.
    take_overs,
    /// Bytes read.
    bytes_received,
    /// Bytes written.
    bytes_sent,
    /// Packets read.
    packets_received,
    /// Packets written.
    packets_sent,
    /// PUBLISH packets read.
    publishes_received,
    /// PUBLISH packets written.
    publishes_sent,
    /// Publications of clients and Wills that were refused.
    publishes_refused,
    /// Deliveries dropped because they had expired.
    dropped_expired,
    /// Deliveries dropped because they were larger than the client takes.
    dropped_too_large,
}

impl Totals {
    pub(super) fn count_connection(&self) {
        add(&self.connections, 1);
    }

    pub(super) fn count_bytes(&self, received: u64, sent: u64) {
        add(&self.bytes_received, received);
        add(&self.bytes_sent, sent);
    }

    /// Adds what a session did since `before`.
    pub(super) fn count_session(&self, before: Counters, after: Counters) {
        for (total, before, after) in [
            (
                &self.packets_received,
                before.packets_received,
                after.packets_received,
            ),
            (&self.packets_sent, before.packets_sent, after.packets_sent),
            (
                &self.publishes_received,
                before.publishes_received,
                after.publishes_received,
            ),
            (
                &self.publishes_sent,
                before.publishes_sent,
                after.publishes_sent,
            ),
            (
                &self.publishes_refused,
                before.publishes_refused,
                after.publishes_refused,
            ),
            (
                &self.dropped_expired,
                before.dropped_expired,
                after.dropped_expired,
            ),
            (
                &self.dropped_too_large,
                before.dropped_too_large,
                after.dropped_too_large,
            ),
        ] {
            add(total, after - before);
        }
    }

    pub(super) fn count_close(&self, cause: &CloseCause) {
        match cause {
            CloseCause::Refused(_) => add(&self.refused_connections, 1),
            CloseCause::SlowReader(_) => add(&self.slow_readers, 1),
            CloseCause::TakenOver => add(&self.take_overs, 1),
            cause if cause.is_protocol_violation() => add(&self.protocol_violations, 1),
            _ => {}
        }
    }
}

fn add(total: &AtomicU64, count: u64) {
    if count > 0 {
        total.fetch_add(count, Ordering::Relaxed);
    }
}
