//! What of a session outlives its connection: when it is kept, and what waits until it is.
//!
//! Some packets may only be sent once the state behind them is durable: a QoS 2 PUBLISH, PUBREC, PUBREL and
//! PUBCOMP, because the other side forgets something when it gets them, and SUBACK. They are *staged*, with
//! everything behind them, so that order is kept. One save is under way at a time and covers all that was staged
//! before it began; so many packets share one commit.

use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::{Action, FilterRequest, ResumeRequest, SavedSubscription, Session, SessionState};
use crate::codec::{Outbox, encode};
use crate::{CloseCause, Version};

/// How long progress may wait to be kept (D4: at most a second): a crash repeats QoS 1 deliveries, never loses.
const LAZY: Duration = Duration::from_millis(500);

/// The state of keeping.
#[derive(Debug, Default)]
pub(super) struct Durable {
    /// Whether anything is kept at all.
    pub(super) enabled: bool,
    changed: bool,
    changed_since: Option<Instant>,
    /// A save is under way.
    saving: bool,
    /// What waits for the save that is under way, and what for the next.
    covered: Outbox,
    staged: Outbox,
}

impl Durable {
    pub(super) fn len(&self) -> usize {
        self.covered.len() + self.staged.len()
    }

    pub(super) fn is_staging(&self) -> bool {
        self.len() > 0
    }

    /// When a change must be kept.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.saving {
            true => None,
            false => self.changed_since.map(|since| since + LAZY),
        }
    }
}

impl Session {
    /// The state to be kept, if it is time; to be answered by [`handle_saved`](Self::handle_saved). At most one is
    /// under way.
    pub fn poll_save(&mut self, now: Instant, now_ms: u64) -> Option<SessionState> {
        let durable = &mut self.durable;
        if !durable.enabled || durable.saving || !self.state.is_connected() {
            return None;
        }
        if durable.changed {
            durable.changed_since.get_or_insert(now);
        }
        let is_due = durable.deadline().is_some_and(|deadline| now >= deadline);
        if durable.staged.is_empty() && !is_due {
            return None;
        }
        durable.saving = true;
        durable.changed = false;
        durable.changed_since = None;
        std::mem::swap(&mut durable.covered, &mut durable.staged);
        Some(self.saved_state(now_ms))
    }

    /// Sends what waited for the state of [`poll_save`](Self::poll_save) to be durable.
    pub fn handle_saved(&mut self) {
        self.durable.saving = false;
        self.outbox.append(&mut self.durable.covered);
    }

    /// The state as it is, also after the end.
    pub fn saved_state(&self, now_ms: u64) -> SessionState {
        let mut state = SessionState {
            subscriptions: self.subscriptions.save(),
            ..SessionState::default()
        };
        self.outgoing.save(&mut state);
        // The group gives QoS 1 to somebody else.
        state
            .deliveries
            .retain(|one| one.owed != 0 || !self.subscriptions.is_shared(one.key));
        self.incoming.save(&mut state, now_ms);
        state
    }

    /// How long the state is to be kept after the connection, in seconds; 0 if it ends with it.
    pub fn session_expiry_interval_s(&self) -> u32 {
        match self.durable.enabled {
            true => self.client.session_expiry_interval_s,
            false => 0,
        }
    }

    /// Answers the [`Action::Resume`]: the subscriptions that cannot go on are dropped (D9).
    pub fn handle_resumed(&mut self, dropped: &[super::SubscriptionKey]) {
        for key in dropped {
            self.subscriptions.remove_key(*key);
        }
        self.resuming = false;
        self.touch();
    }

    /// Takes up the state of an earlier connection: PUBRELs go out at once, the rest comes with the replay.
    pub(super) fn resume(&mut self, state: &SessionState) -> Result<(), CloseCause> {
        self.incoming.restore(state);
        let releases = self.outgoing.restore(state);
        let version = self.v();
        for id in releases {
            self.send(|out| encode::pubrel(version, id, true, out))?;
        }
        if state.subscriptions.is_empty() {
            return Ok(());
        }
        let request = |saved: &SavedSubscription| ResumeRequest {
            filter: FilterRequest {
                key: super::SubscriptionKey(saved.key),
                filter: saved.filter.clone(),
                options: saved.options,
            },
            start: saved.start(),
            resend: state.owed_receipts(saved),
        };
        self.subscriptions.restore(&state.subscriptions);
        self.resuming = true;
        let requests = state.subscriptions.iter().map(request).collect();
        self.actions.push_back(Action::Resume(requests));
        Ok(())
    }

    /// Notes that there is something to be kept.
    pub(super) fn touch(&mut self) {
        self.durable.changed = true;
    }

    /// Where the next packet goes; behind the next save if it must be kept first, or if something else waits.
    pub(super) fn output(&mut self, must_be_saved: bool) -> &mut Outbox {
        let durable = &mut self.durable;
        match durable.enabled && (must_be_saved || durable.is_staging()) {
            true => &mut durable.staged,
            false => &mut self.outbox,
        }
    }

    /// Queues a control packet behind the next save if the state it speaks of has changed.
    pub(super) fn send_saved(
        &mut self,
        changed: bool,
        write: impl FnOnce(Version, &mut BytesMut),
    ) -> Result<(), CloseCause> {
        let version = self.v();
        match self.try_send_to(changed, |out| write(version, out)) {
            true => Ok(()),
            false => Err(CloseCause::AnswerTooLarge),
        }
    }
}
