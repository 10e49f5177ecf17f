//! Shared subscriptions (section 4.8): one subscription to a resource, whose deliveries go round the members on
//! all workers.
//!
//! ```text
//! resource ──▶ ready ──▶ inbox of a member ──▶ held until the client has it ──▶ progress of the group
//!                ▲               │                        │
//!                └───────────────┴── the member left ─────┘
//! ```
//!
//! Each member in turn gets the next message, as long as it has no more than its client may have unacknowledged: a
//! slow one keeps none from the others. What a member did not finish goes to the others, except QoS 2 that was sent: that stays with its session ([MQTT-4.8.2-4]) or
//! ends with it ([MQTT-4.8.2-5]). A group with a durable member keeps its place in the log in the session store,
//! under its filter, and goes on from there when nobody was connected. After a crash, what was finished in the last
//! half second may come to another member.
//!
//! Lock order: the map of groups, a group, the queue of its subscription, its wakers.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::time::Duration;

use base::Timestamp;
use bytes::Bytes;
use resource::{
    Action, Context, Delivery, Error, Phase, SubscribeOptions, Subscription, TableAccess,
};
use tokio::sync::Notify;

use super::broker::Broker;
use super::operations::log_internal;
use super::store::MAX_KEPT_CLIENT_ID;
use crate::codec::topic::TopicFilter;
use crate::mapping::{self, Source};
use crate::session::blob::{Reader, Writer};
use crate::session::{Progress, SavedSubscription};
use crate::{QoS, ReasonCode, Refusal};

/// What filters of shared subscriptions begin with, and their records in the session store.
pub(super) const PREFIX: &str = "$share/";

/// Messages that wait for members beyond which no more are taken from the subscription; a batch may exceed it.
const ENOUGH_READY: usize = 64;

/// How long the place of a group may wait to be kept.
const LAZY: Duration = Duration::from_millis(500);

/// First byte of a group's record.
const FORMAT: u8 = 1;

/// The groups of a broker, by their whole filter.
#[derive(Default)]
pub(super) struct Groups {
    groups: Mutex<HashMap<Arc<str>, Arc<Group>>>,
    dirty: Mutex<BTreeSet<Arc<str>>>,
    changed: Notify,
    /// Held while a record is written, so that an older one never replaces a newer.
    saving: tokio::sync::Mutex<()>,
}

/// One group.
struct Group {
    filter: Arc<str>,
    state: Mutex<State>,
    wakers: Arc<Wakers>,
    /// Held by the member that opens the subscription.
    opening: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    subscription: Option<Subscription>,
    /// Why the subscription ended, for each member.
    failed: Option<Error>,
    /// What the one who opened the subscription may see, and so all others get to see.
    access: Access,
    progress: Progress,
    ready: VecDeque<Arc<Delivery>>,
    members: Vec<MemberState>,
    /// Whose turn it is.
    turn: usize,
    last_member: u64,
    /// Client identifiers of durable members.
    kept: BTreeSet<Arc<str>>,
    /// Members that are about to be.
    joining: usize,
}

#[derive(Default)]
struct MemberState {
    id: u64,
    /// Deliveries that it may have at a time.
    window: usize,
    inbox: VecDeque<Arc<Delivery>>,
    /// Handed out and not finished, by the bits of their place.
    held: BTreeMap<u64, Arc<Delivery>>,
}

impl MemberState {
    fn has_room(&self) -> bool {
        self.inbox.len() + self.held.len() < self.window
    }
}

/// How a session takes part.
#[derive(Debug, Clone, Copy)]
pub(super) struct Membership {
    /// Whether the group keeps its place for this client when it is away.
    pub(super) is_kept: bool,
    /// Deliveries that it may have at a time.
    pub(super) window: usize,
}

impl Membership {
    /// Nothing is kept of a subscription with QoS 0.
    pub(super) fn of(self, qos: QoS) -> Self {
        Self {
            is_kept: self.is_kept && qos > QoS::AtMostOnce,
            ..self
        }
    }
}

/// Whose eyes events are filtered for.
#[derive(Debug, Clone, PartialEq, Default)]
enum Access {
    #[default]
    Nobody,
    Table(TableAccess),
    User(Option<Arc<str>>),
}

/// Wakes the members that have something, and all when the subscription has. It is woken under the lock of the
/// subscription's queue, so it must not take that of the group.
#[derive(Default)]
struct Wakers(Mutex<HashMap<u64, Waker>>);

impl Wakers {
    fn set(&self, member: u64, waker: &Waker) {
        let mut wakers = lock(&self.0);
        match wakers.get_mut(&member) {
            Some(known) => known.clone_from(waker),
            None => _ = wakers.insert(member, waker.clone()),
        }
    }

    fn wake_members(&self, members: &BTreeSet<u64>) {
        let wakers = lock(&self.0);
        let woken: Vec<Waker> = members
            .iter()
            .filter_map(|id| wakers.get(id).cloned())
            .collect();
        drop(wakers);
        woken.into_iter().for_each(Waker::wake);
    }
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        let woken: Vec<Waker> = lock(&self.0).values().cloned().collect();
        woken.into_iter().for_each(Waker::wake);
    }
}

impl State {
    /// Takes what the subscription has.
    fn fill(&mut self, cx: &mut TaskContext<'_>) {
        while self.ready.len() < ENOUGH_READY {
            let Some(subscription) = &mut self.subscription else {
                return;
            };
            match subscription.poll_next(cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(batch)) if batch.is_empty() => {
                    self.progress.catch_up(subscription.covered());
                }
                Poll::Ready(Ok(batch)) => {
                    for delivery in batch {
                        let place = place(&delivery);
                        // What somebody finished is left out of a replay.
                        if place.is_none_or(|at| self.progress.begin(Some(at))) {
                            self.ready.push_back(delivery);
                        }
                    }
                }
                Poll::Ready(Err(error)) => {
                    self.subscription = None;
                    self.failed = Some(error);
                }
            }
        }
    }

    /// Gives what is ready to the members in turn; answers who got something.
    fn distribute(&mut self) -> BTreeSet<u64> {
        let mut woken = BTreeSet::new();
        let count = self.members.len();
        while let Some(delivery) = self.ready.pop_front() {
            let in_turn = (0..count).map(|offset| (self.turn + offset) % count);
            let has_room = |index: &usize| self.members[*index].has_room();
            let Some(index) = in_turn.into_iter().find(has_room) else {
                self.ready.push_front(delivery);
                break;
            };
            self.turn = index + 1;
            let member = &mut self.members[index];
            member.inbox.push_back(delivery);
            woken.insert(member.id);
        }
        woken
    }

    fn take(&mut self, member: u64) -> Vec<Arc<Delivery>> {
        let Some(member) = self.members.iter_mut().find(|one| one.id == member) else {
            return Vec::new();
        };
        let batch: Vec<_> = member.inbox.drain(..).collect();
        for delivery in &batch {
            if let Some(at) = place(delivery) {
                member.held.insert(at.to_bits(), Arc::clone(delivery));
            }
        }
        batch
    }

    /// Adds a member; answers its number, and whether what is kept of the group has changed.
    fn add(&mut self, client_id: Arc<str>, membership: Membership) -> (u64, bool) {
        self.last_member += 1;
        let id = self.last_member;
        self.members.push(MemberState {
            id,
            window: membership.window,
            ..MemberState::default()
        });
        let changes = match membership.is_kept {
            true => self.kept.insert(client_id),
            false => self.kept.remove(&client_id),
        };
        (id, changes)
    }

    /// Removes a member and gives back what it did not finish, unless that stays with its session.
    fn remove(&mut self, member: u64, stays: impl Fn(Timestamp) -> bool) {
        let Some(index) = self.members.iter().position(|one| one.id == member) else {
            return;
        };
        let member = self.members.remove(index);
        let mut back: Vec<_> = member.inbox.into();
        for (bits, delivery) in member.held {
            match Timestamp::from_bits(bits).filter(|at| stays(*at)) {
                Some(at) => self.progress.finish(Some(at)),
                None => back.push(delivery),
            }
        }
        back.sort_by_key(|delivery| std::cmp::Reverse(delivery.event.local_time));
        back.into_iter()
            .for_each(|delivery| self.ready.push_front(delivery));
        if self.members.is_empty() {
            // All of it is still in the log; a group that is not kept has nobody to give it to.
            let finished: Vec<_> = self.progress.finished().collect();
            self.progress = Progress::resumed(self.progress.start(), &finished);
            (self.subscription, self.failed) = (None, None);
            self.ready.clear();
        }
    }

    fn is_over(&self) -> bool {
        self.members.is_empty() && self.kept.is_empty() && self.joining == 0
    }

    fn encode(&self) -> Bytes {
        let mut out = Writer::default();
        out.u8(FORMAT);
        out.count(self.kept.len());
        for client_id in &self.kept {
            out.bytes(client_id.as_bytes());
        }
        out.option(self.progress.start().map(Timestamp::to_bits), Writer::u64);
        let finished: Vec<_> = self.progress.finished().collect();
        out.count(finished.len());
        finished.iter().for_each(|at| out.u64(at.to_bits()));
        out.0.into()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Reader(bytes);
        if input.u8()? != FORMAT {
            return None;
        }
        let kept = input.list(|input| input.text().map(Arc::from))?;
        let start = input.option(Reader::u64)?;
        let finished = input.list(|input| Timestamp::from_bits(input.u64()?))?;
        Some(Self {
            kept: kept.into_iter().collect(),
            progress: Progress::resumed(start.and_then(Timestamp::from_bits), &finished),
            ..Self::default()
        })
    }
}

/// The place of a delivery in the log; a part of the current state, sent when the log no longer reaches back, has
/// none and is not sent again.
fn place(delivery: &Delivery) -> Option<Timestamp> {
    (delivery.phase != Phase::Initial).then_some(delivery.event.local_time)
}

impl Group {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Groups {
    /// The group of a filter, kept until the answer is dropped.
    fn enter(self: &Arc<Self>, filter: &Arc<str>) -> Joining {
        let mut groups = lock(&self.groups);
        let group = groups.entry(Arc::clone(filter)).or_insert_with(|| {
            Arc::new(Group {
                filter: Arc::clone(filter),
                state: Mutex::default(),
                wakers: Arc::default(),
                opening: tokio::sync::Mutex::default(),
            })
        });
        group.state().joining += 1;
        Joining {
            groups: Arc::downgrade(self),
            group: Arc::clone(group),
        }
    }

    /// Forgets a group that nobody is in, and notes that its record is to be written or removed.
    fn settle(&self, group: &Arc<Group>) {
        let mut groups = lock(&self.groups);
        if group.state().is_over() {
            groups.remove(&group.filter);
        }
        drop(groups);
        self.note_change(group);
    }

    fn note_change(&self, group: &Group) {
        if lock(&self.dirty).insert(Arc::clone(&group.filter)) {
            self.changed.notify_one();
        }
    }

    /// Takes up a group from its record.
    pub(super) fn restore(&self, filter: &str, record: &[u8]) -> bool {
        let Some(state) = State::decode(record) else {
            return false;
        };
        let filter: Arc<str> = Arc::from(filter);
        let group = Group {
            filter: Arc::clone(&filter),
            state: Mutex::new(state),
            wakers: Arc::default(),
            opening: tokio::sync::Mutex::default(),
        };
        // A member that was faster than the restart has its place already.
        lock(&self.groups)
            .entry(filter)
            .or_insert_with(|| Arc::new(group));
        true
    }

    /// Leaves out of all groups what sessions have in flight and are to be sent again themselves.
    pub(super) fn leave_to_session(&self, state: &crate::session::SessionState) {
        for subscription in shared(&state.subscriptions) {
            let Some(group) = lock(&self.groups).get(&subscription.filter).cloned() else {
                continue;
            };
            let own = state
                .deliveries
                .iter()
                .filter(|one| one.key == subscription.key);
            for at in own.filter_map(|one| Timestamp::from_bits(one.position)) {
                group.state().progress.finish(Some(at));
            }
        }
    }

    /// A kept session is over: its groups need not be kept for it.
    pub(super) fn forget(&self, client_id: &str, subscriptions: &[SavedSubscription]) {
        for subscription in shared(subscriptions) {
            let group = lock(&self.groups).get(&subscription.filter).cloned();
            if let Some(group) = group {
                group.state().kept.remove(client_id);
                self.settle(&group);
            }
        }
    }
}

fn shared(subscriptions: &[SavedSubscription]) -> impl Iterator<Item = &SavedSubscription> {
    subscriptions
        .iter()
        .filter(|one| one.filter.starts_with(PREFIX))
}

/// Keeps a group while somebody is about to join it.
struct Joining {
    groups: Weak<Groups>,
    group: Arc<Group>,
}

impl Drop for Joining {
    fn drop(&mut self) {
        self.group.state().joining -= 1;
        if let Some(groups) = self.groups.upgrade() {
            groups.settle(&self.group);
        }
    }
}

/// A place in a group. Dropping it gives back everything that is not finished.
pub(super) struct Member {
    groups: Weak<Groups>,
    group: Arc<Group>,
    id: u64,
}

impl Member {
    /// The next deliveries of this member.
    pub(super) fn poll(&self, cx: &TaskContext<'_>) -> Poll<Result<Vec<Arc<Delivery>>, Error>> {
        self.group.wakers.set(self.id, cx.waker());
        let all = Waker::from(Arc::clone(&self.group.wakers));
        let mut state = self.group.state();
        state.fill(&mut TaskContext::from_waker(&all));
        let mut woken = state.distribute();
        let (batch, failed) = (state.take(self.id), state.failed.clone());
        drop(state);
        woken.remove(&self.id);
        self.group.wakers.wake_members(&woken);
        match (batch.is_empty(), failed) {
            (false, _) => Poll::Ready(Ok(batch)),
            (true, Some(error)) => Poll::Ready(Err(error)),
            (true, None) => Poll::Pending,
        }
    }

    /// The client has what was handed out there, or will never have it.
    pub(super) fn finish(&self, at: Timestamp) {
        let mut state = self.group.state();
        if let Some(member) = state.members.iter_mut().find(|one| one.id == self.id) {
            member.held.remove(&at.to_bits());
        }
        state.progress.finish(Some(at));
        let is_kept = !state.kept.is_empty();
        let woken = state.distribute();
        drop(state);
        self.group.wakers.wake_members(&woken);
        if let Some(groups) = self.groups.upgrade().filter(|_| is_kept) {
            groups.note_change(&self.group);
        }
    }

    /// Gives everything back that does not stay with the session.
    pub(super) fn leave(&self, stays: impl Fn(Timestamp) -> bool) {
        let mut state = self.group.state();
        state.remove(self.id, stays);
        let woken = state.distribute();
        drop(state);
        lock(&self.group.wakers.0).remove(&self.id);
        self.group.wakers.wake_members(&woken);
        if let Some(groups) = self.groups.upgrade() {
            groups.settle(&self.group);
        }
    }

    /// The group need not be kept for this client any more.
    pub(super) fn forget(&self, client_id: &str) {
        self.group.state().kept.remove(client_id);
    }

    pub(super) fn filter(&self) -> &Arc<str> {
        &self.group.filter
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.leave(|_| false);
    }
}

/// Joins the group of a shared filter. That the group keeps its place for this client is durable when this ends.
pub(super) async fn join(
    broker: &Broker,
    context: &Context,
    filter: &Arc<str>,
    membership: Membership,
) -> Result<(Member, Source), Refusal> {
    let parsed = TopicFilter::parse(filter, true)
        .map_err(|error| Refusal::new(ReasonCode::TopicFilterInvalid, error.to_string()))?;
    let source = mapping::source(broker.topics(), parsed.filter)?;
    if membership.is_kept && filter.len() > MAX_KEPT_CLIENT_ID {
        return Err(Refusal::new(
            ReasonCode::QuotaExceeded,
            format!("a shared filter of a kept session has at most {MAX_KEPT_CLIENT_ID} bytes"),
        ));
    }
    let joining = broker.groups.enter(filter);
    let group = &joining.group;
    {
        let _opening = group.opening.lock().await;
        open(group, &source, context, filter).await?;
    }
    let client_id = context.publisher.clone().unwrap_or_default();
    let (id, changes) = group.state().add(client_id, membership);
    let member = Member {
        groups: Arc::downgrade(&broker.groups),
        group: Arc::clone(group),
        id,
    };
    if changes {
        broker.save_group(filter).await.map_err(|error| {
            log_internal(&error, filter);
            Refusal::new(ReasonCode::UnspecifiedError, "the group cannot be kept")
        })?;
    }
    Ok((member, source))
}

/// Opens the subscription of the group, or makes sure that the caller may see what its members get.
async fn open(
    group: &Group,
    source: &Source,
    context: &Context,
    filter: &str,
) -> Result<(), Refusal> {
    let refused = |error: Error| {
        log_internal(&error, filter);
        mapping::subscribe_refusal(&error)
    };
    let resource = &source.resource;
    let access = match (resource.table(), context.caller.table_access(&**resource)) {
        (Some(_), Some(access)) => Access::Table(access),
        _ => Access::User(context.caller.username().cloned()),
    };
    let start = {
        let state = group.state();
        if state.subscription.is_some() {
            let allowed = resource.authorize(context, &[Action::Read]);
            allowed.map_err(refused)?;
            if state.access == access {
                return Ok(());
            }
            return Err(Refusal::new(
                ReasonCode::NotAuthorized,
                "the members of a shared subscription need the same permissions",
            ));
        }
        state.progress.start()
    };
    // New members get no retained messages (section 4.8.2).
    let options = SubscribeOptions {
        start_time: start,
        omit_current: start.is_none(),
        previous_count: None,
        ..source.options.clone()
    };
    let opened = resource.subscribe(source.scope.clone(), &options, context);
    let subscription = opened.await.map_err(refused)?;
    let mut state = group.state();
    if start.is_none() {
        state.progress.catch_up(subscription.covered());
    }
    state.access = access;
    state.failed = None;
    state.subscription = Some(subscription);
    Ok(())
}

impl Broker {
    /// Writes or removes the record of a group.
    pub(super) async fn save_group(&self, filter: &Arc<str>) -> Result<(), Error> {
        let _saving = self.groups.saving.lock().await;
        lock(&self.groups.dirty).remove(filter);
        let group = lock(&self.groups.groups).get(filter).cloned();
        let record = group.and_then(|group| {
            let state = group.state();
            (!state.kept.is_empty()).then(|| state.encode())
        });
        match record {
            Some(record) => self.store.save(filter, record).await,
            None => self.store.remove(filter).await,
        }
    }

    /// How many groups of shared subscriptions there are, with those that are only kept.
    pub fn shared_subscriptions(&self) -> usize {
        lock(&self.groups.groups).len()
    }

    /// Keeps the places of groups, soon after they change.
    pub(super) async fn save_groups(&self) {
        loop {
            self.groups.changed.notified().await;
            tokio::time::sleep(LAZY).await;
            let dirty = lock(&self.groups.dirty).clone();
            for filter in dirty {
                if let Err(error) = self.save_group(&filter).await {
                    tracing::error!(%error, %filter, "a shared subscription was not kept");
                }
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
