//! What operators see and do: sessions that are kept, connected or not, and their end.

use std::sync::Arc;

use base::WorkerId;
use resource::Error;

use super::broker::Broker;
use super::maintenance::now_ms;
use super::record::SessionRecord;
use super::sessions::{Claim, SessionInfo};
use super::shared;
use crate::{QoS, Version};

/// A session that outlives its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptSession {
    /// Client identifier.
    pub client_id: Arc<str>,
    /// Its user; `None` if anonymous.
    pub username: Option<Arc<str>>,
    /// Whether its client is connected now.
    pub is_connected: bool,
    /// When it ends, in milliseconds since the epoch; `None` if never, or not while it is connected.
    pub expires_at_ms: Option<u64>,
    /// Whether a Will waits to be published.
    pub has_will: bool,
    /// Filters and the QoS that was granted.
    pub subscriptions: Vec<(Arc<str>, QoS)>,
    /// Deliveries that were sent and are not finished, as of the last time the session was kept.
    pub in_flight: usize,
    /// QoS 2 publications of the client that wait for PUBREL, likewise.
    pub received: usize,
}

impl Broker {
    /// The sessions in the store, in no order; those of connected clients as of the last time they were kept.
    ///
    /// # Errors
    ///
    /// What the store failed with.
    pub async fn kept_sessions(&self) -> Result<Vec<KeptSession>, Error> {
        let stored = self.store.list().await?;
        let sessions = stored
            .into_iter()
            .filter(|(key, _)| !key.starts_with(shared::PREFIX));
        let decoded = sessions.filter_map(|(key, record)| {
            let record = SessionRecord::decode(&record)?;
            let is_connected = self.sessions.is_connected(&key);
            (is_connected || record.is_alive(now_ms())).then(|| kept(key, is_connected, record))
        });
        Ok(decoded.collect())
    }

    /// Ends a session for good: disconnects its client, if it is there, and removes what is kept. Its Will is
    /// published if the client was connected. `false` if there is no such session.
    ///
    /// # Errors
    ///
    /// 503 if the connection does not end in time, or what the store failed with.
    pub async fn remove_session(self: &Arc<Self>, client_id: &str) -> Result<bool, Error> {
        let Some(released) = self.sessions.released(client_id) else {
            return self.remove_kept(client_id).await;
        };
        self.disconnect(client_id);
        let patience = self.config.take_over_timeout;
        if tokio::time::timeout(patience, released.cancelled())
            .await
            .is_err()
        {
            return Err(Error::unavailable(
                "the connection of the session does not end",
            ));
        }
        self.remove_kept(client_id).await.map(|_| true)
    }

    async fn remove_kept(self: &Arc<Self>, client_id: &str) -> Result<bool, Error> {
        let client_id: Arc<str> = Arc::from(client_id);
        let info = SessionInfo {
            client_id: Arc::clone(&client_id),
            username: None,
            version: Version::V5,
            peer: String::new(),
            worker: WorkerId(0),
        };
        let Some(_claim) = Claim::take_if_free(self, info) else {
            return Err(Error::unavailable("the client has connected again"));
        };
        let Some(record) = self.store.load(&client_id).await? else {
            return Ok(false);
        };
        if let Some(record) = SessionRecord::decode(&record) {
            self.groups.forget(&client_id, &record.state.subscriptions);
        }
        self.store.remove(&client_id).await?;
        Ok(true)
    }
}

fn kept(client_id: String, is_connected: bool, record: SessionRecord) -> KeptSession {
    let subscriptions = record.state.subscriptions.iter();
    KeptSession {
        client_id: Arc::from(client_id),
        username: record.username.clone(),
        is_connected,
        expires_at_ms: record.expires_at_ms(),
        has_will: record.will.is_some(),
        subscriptions: subscriptions
            .map(|one| (Arc::clone(&one.filter), one.options.qos))
            .collect(),
        in_flight: record.state.deliveries.len(),
        received: record.state.received.len(),
    }
}
