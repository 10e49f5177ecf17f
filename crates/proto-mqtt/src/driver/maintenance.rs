//! What happens to sessions while nobody is connected: delayed Wills, and the end of their time.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base::{Shutdown, Timestamp, WorkerId};
use resource::{Context, Error, Protocol};
use tokio::sync::Notify;

use super::broker::Broker;
use super::operations;
use super::record::SessionRecord;
use super::sessions::{Claim, SessionInfo};
use super::shared;
use crate::Version;
use crate::session::Will;

/// How long after a restart the Wills of connections that a crash ended are published (L6): clients get the time
/// to come back.
const GRACE_AFTER_CRASH_MS: u64 = 2000;

/// When to look at which session; an entry may be out of date.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    due: Mutex<BTreeSet<(u64, Arc<str>)>>,
    changed: Notify,
}

impl Agenda {
    pub(super) fn add(&self, due_ms: Option<u64>, client_id: &Arc<str>) {
        if let Some(due_ms) = due_ms {
            self.due().insert((due_ms, Arc::clone(client_id)));
            self.changed.notify_one();
        }
    }

    fn next_due(&self) -> Option<u64> {
        self.due().first().map(|(due_ms, _)| *due_ms)
    }

    fn take_due(&self, now_ms: u64) -> Option<Arc<str>> {
        let mut due = self.due();
        let is_due = due.first().is_some_and(|(due_ms, _)| *due_ms <= now_ms);
        is_due.then(|| due.pop_first()).flatten().map(|(_, id)| id)
    }

    fn due(&self) -> MutexGuard<'_, BTreeSet<(u64, Arc<str>)>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Broker {
    /// Publishes delayed Wills, ends sessions whose time is over, settles what a crash left behind, and keeps the
    /// `$SYS` topics; until `shutdown`. Run it once, on any worker, from before the first connection is accepted.
    pub async fn maintain(self: &Arc<Self>, worker: WorkerId, shutdown: &Shutdown) {
        tokio::select! {
            () = shutdown.started() => {}
            () = self.settle_sessions(worker) => {}
            () = self.system.dispatch() => {}
            () = self.refresh_system() => {}
            () = self.save_groups() => {}
        }
    }

    /// Says on `$SYS` topics how the broker is.
    async fn refresh_system(&self) {
        let mut ticks = tokio::time::interval(self.config.system_interval);
        loop {
            ticks.tick().await;
            self.system.refresh(&self.statistics());
        }
    }

    async fn settle_sessions(self: &Arc<Self>, worker: WorkerId) {
        if let Err(error) = self.settle_crash(worker).await {
            tracing::error!(%error, "the kept sessions cannot be read");
        }
        loop {
            while let Some(client_id) = self.agenda.take_due(now_ms()) {
                if let Err(error) = self.settle(&client_id, worker, false).await {
                    tracing::error!(%error, %client_id, "a kept session cannot be settled");
                }
            }
            let wait = self
                .agenda
                .next_due()
                .map_or(Duration::from_secs(3600), |due| {
                    Duration::from_millis(due.saturating_sub(now_ms()).max(1))
                });
            tokio::select! {
                () = self.agenda.changed.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Looks at every session once. One without an end was connected when the server was killed.
    async fn settle_crash(self: &Arc<Self>, worker: WorkerId) -> Result<(), Error> {
        let (groups, sessions): (Vec<_>, Vec<_>) = self
            .store
            .list()
            .await?
            .into_iter()
            .partition(|(key, _)| key.starts_with(shared::PREFIX));
        for (filter, record) in groups {
            if !self.groups.restore(&filter, &record) {
                tracing::error!(%filter, "a kept shared subscription is damaged");
            }
        }
        for (client_id, record) in sessions {
            if let Some(record) = SessionRecord::decode(&record) {
                self.groups.leave_to_session(&record.state);
            }
            let client_id: Arc<str> = Arc::from(client_id);
            match SessionRecord::decode(&record) {
                Some(record) if record.ended_at_ms.is_some() => {
                    self.agenda.add(record.due_ms(), &client_id);
                }
                Some(_) => self.settle(&client_id, worker, true).await?,
                None => tracing::error!(%client_id, "a kept session is damaged"),
            }
        }
        Ok(())
    }

    /// Does what is due for one session, unless its client is connected.
    async fn settle(
        self: &Arc<Self>,
        client_id: &Arc<str>,
        worker: WorkerId,
        after_crash: bool,
    ) -> Result<(), Error> {
        let info = SessionInfo {
            client_id: Arc::clone(client_id),
            username: None,
            version: Version::V5,
            peer: String::new(),
            worker,
        };
        let Some(claim) = Claim::take_if_free(self, info) else {
            return Ok(());
        };
        let settled = self.settle_claimed(client_id, worker, after_crash).await;
        drop(claim);
        settled
    }

    async fn settle_claimed(
        self: &Arc<Self>,
        client_id: &Arc<str>,
        worker: WorkerId,
        after_crash: bool,
    ) -> Result<(), Error> {
        let now_ms = now_ms();
        let stored = self.store.load(client_id).await?;
        let Some(mut record) = stored.and_then(|record| SessionRecord::decode(&record)) else {
            return Ok(());
        };
        match record.ended_at_ms {
            None if after_crash => record.end(now_ms, GRACE_AFTER_CRASH_MS),
            None => return Ok(()),
            Some(_) => {}
        }
        if record.will_due_ms.is_some_and(|due| due <= now_ms) {
            record.will_due_ms = None;
            if let Some(will) = record.will.take() {
                self.publish_will(&record, will, client_id, worker).await;
            }
        }
        if !record.is_alive(now_ms) && record.will.is_none() {
            self.groups.forget(client_id, &record.state.subscriptions);
            return self.store.remove(client_id).await;
        }
        self.store.save(client_id, record.encode()).await?;
        self.agenda.add(record.due_ms(), client_id);
        Ok(())
    }

    /// Publishes a Will with the rights that its user has now (L3); a failure is logged.
    pub(super) async fn publish_will(
        &self,
        record: &SessionRecord,
        will: Will,
        client_id: &Arc<str>,
        worker: WorkerId,
    ) {
        let caller = record.caller();
        let caller = match caller.username() {
            Some(_) => self.authenticator.refresh(&caller).unwrap_or_default(),
            None => caller,
        };
        let mut context = Context::new(caller, worker, Protocol::Mqtt);
        context.publisher = Some(Arc::clone(client_id));
        let published = operations::publish(self, &Arc::new(context), will.publication).await;
        if let Err(refusal) = published.result {
            tracing::warn!(%client_id, %refusal, "a Will was refused");
        }
    }
}

/// Milliseconds since the epoch.
pub(super) fn now_ms() -> u64 {
    Timestamp::now().as_millis() as u64
}
