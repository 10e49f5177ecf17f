//! The loop of one connection.

use std::collections::HashMap;
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base::{ConnInfo, Io, Shutdown};
use futures_util::StreamExt;
use futures_util::stream::{FuturesOrdered, SelectAll};
use resource::{
    Action as Permission, Caller, Context, Error, ErrorKind, IdentityChanges, Protocol, Resource,
};
use tokio::time::sleep_until;

use super::Identity;
use super::broker::Broker;
use super::feed::{Batch, Feed, FeedHandle, Part, Running, feed};
use super::maintenance::now_ms;
use super::operations::{self, Admitted, BoxFuture, Filter, Opened, Published};
use super::record::SessionRecord;
use super::sessions::{Claim, Signal, assigned_client_id};
use super::shared::Membership;
use super::socket::{Progress, Socket};
use crate::codec::take_frame;
use crate::mapping::Publisher;
use crate::session::{
    Action, Counters, FilterRequest, PublishRequest, Session, SubscriptionKey, Will,
};
use crate::{CloseCause, QoS, Refusal};

/// How long the last bytes may take when the peer may be gone, and how long the peer's own are waited for.
const SHORT: Duration = Duration::from_secs(1);

/// Events of one connection that are handled before others on the worker get their turn: a client that sends
/// faster than its messages can be distributed would otherwise keep them all waiting.
const WAKES_IN_A_ROW: u32 = 64;

pub(super) struct Connection<I> {
    socket: Socket<I>,
    session: Session,
    conn: Arc<ConnInfo>,
    broker: Arc<Broker>,
    /// Taken by CONNECT.
    identity: Identity,
    context: Arc<Context>,
    claim: Option<Claim>,
    /// What is kept of the session, but for its state.
    record: SessionRecord,
    /// The Will that is published later, unless the client comes back.
    delayed_will: Option<Will>,
    /// The save that is under way.
    save: Option<BoxFuture<Result<(), Error>>>,
    /// The one operation that holds up further packets.
    operation: Option<BoxFuture<Done>>,
    /// A SUBSCRIBE that waits until everything published before it is committed, so that it sees it.
    subscribe_next: Option<Vec<FilterRequest>>,
    /// Under way together, so that they share commits; answered in order.
    publishes: FuturesOrdered<BoxFuture<Published>>,
    feeds: SelectAll<Feed>,
    subscriptions: HashMap<SubscriptionKey, Subscribed>,
    /// Since when the socket has taken no byte although some are waiting.
    stalled_since: Option<Instant>,
    permissions_checked: Instant,
    /// Of users and roles; none before CONNECT.
    changes: IdentityChanges,
    end_of_stream: bool,
    counted: Counters,
}

/// A subscription that is being delivered.
struct Subscribed {
    /// Keeps the feed running.
    feed: FeedHandle,
    publisher: Publisher,
    /// To ask again whether it may be read.
    resource: Arc<dyn Resource>,
}

/// How an operation ended.
enum Done {
    Admitted(Result<Box<Admitted>, Refusal>),
    Subscribed(Vec<Result<Opened, Refusal>>),
    Resumed(Vec<Result<Opened, SubscriptionKey>>),
}

/// What the loop woke up for.
enum Wake {
    Shutdown,
    Signal(Signal),
    IdentitiesChanged,
    Done(Done),
    Saved(Result<(), Error>),
    Published(Published),
    Batch(Batch),
    Socket(std::io::Result<Progress>),
    Timer,
}

impl<I: Io> Connection<I> {
    pub(super) fn new(io: I, conn: Arc<ConnInfo>, broker: Arc<Broker>, identity: Identity) -> Self {
        let now = now();
        broker.totals(conn.worker).count_connection();
        Self {
            socket: Socket::new(io),
            session: Session::new(Arc::clone(&broker.config), assigned_client_id(&conn), now),
            context: Arc::new(Context::new(Caller::Anonymous, conn.worker, Protocol::Mqtt)),
            conn,
            broker,
            identity,
            claim: None,
            record: SessionRecord::default(),
            delayed_will: None,
            save: None,
            operation: None,
            subscribe_next: None,
            publishes: FuturesOrdered::new(),
            feeds: SelectAll::new(),
            subscriptions: HashMap::new(),
            stalled_since: None,
            permissions_checked: now,
            changes: IdentityChanges::never(),
            end_of_stream: false,
            counted: Counters::default(),
        }
    }

    /// Serves until the session is closed.
    pub(super) async fn run(&mut self, shutdown: &Shutdown) {
        let mut shutdown = pin!(shutdown.started());
        let mut wakes: u32 = 0;
        while self.session.close_cause().is_none() {
            wakes = wakes.wrapping_add(1);
            if wakes.is_multiple_of(WAKES_IN_A_ROW) {
                tokio::task::yield_now().await;
            }
            let deadline = self.deadline();
            let wake = self.wake(&mut shutdown, deadline).await;
            self.handle(wake);
            self.handle_frames();
            self.finish_shared();
            self.start_save();
            self.count();
        }
    }

    /// Writes what is left, gives the session up, and sees publications through to their commit.
    pub(super) async fn finish(mut self) -> CloseCause {
        let cause = self
            .session
            .close_cause()
            .cloned()
            .unwrap_or(CloseCause::EndOfStream);
        // Deliveries stop, and whoever takes over need not wait for our last bytes to be read.
        self.finish_shared();
        let groups = self.leave_groups();
        self.subscriptions.clear();
        self.feeds.clear();
        self.operation = None;
        let was_kept = self.record.is_kept();
        self.perform_actions();
        self.record.will = self.delayed_will.take();
        if was_kept {
            self.keep().await;
        }
        for filter in groups {
            if let Err(error) = self.broker.save_group(&filter).await {
                tracing::error!(%error, %filter, "a shared subscription was not kept");
            }
        }
        // Polled once: the resources have every publication before a successor can send its first.
        let Self {
            mut socket,
            mut session,
            mut publishes,
            conn,
            broker,
            claim,
            counted,
            ..
        } = self;
        let mut outbox = std::mem::take(session.outbox());
        let at_once = std::future::ready(());
        tokio::select! { biased; () = answer(&mut publishes, &mut session) => {}, () = at_once => {} }
        drop(claim);

        let limit = broker.config.close_timeout;
        let patience = if is_peer_gone(&cause) { SHORT } else { limit };
        let farewell = async {
            socket.close(&mut outbox, patience).await;
            if cause.reason_code().is_some() {
                socket.linger(SHORT).await;
            }
        };
        let commits = tokio::time::timeout(limit, answer(&mut publishes, &mut session));
        let ((), committed) = tokio::join!(farewell, commits);
        let client_id = session.client_id();
        if committed.is_err() {
            tracing::warn!(%client_id, "publications were not committed in time");
        }
        tracing::debug!(connection = %conn.id, peer = %conn.peer, %client_id, %cause, "closed");
        let totals = broker.totals(conn.worker);
        totals.count_session(counted, session.counters());
        totals.count_close(&cause);
        cause
    }

    /// Keeps or removes the session while the client identifier is still claimed: whoever comes next finds all that
    /// the client may send or be sent again.
    async fn keep(&mut self) {
        let limit = self.broker.config.close_timeout;
        let commits = answer(&mut self.publishes, &mut self.session);
        if tokio::time::timeout(limit, commits).await.is_err() {
            tracing::warn!(client_id = %self.session.client_id(), "publications were not committed in time");
        }
        if let Some(save) = self.save.take()
            && let Err(error) = save.await
        {
            tracing::error!(%error, "a session was not kept");
        }
        let now_ms = now_ms();
        let client_id = Arc::clone(self.session.client_id());
        self.record.expiry_s = self.session.session_expiry_interval_s();
        self.record.state = self.session.saved_state(now_ms);
        self.record.end(now_ms, 0);
        let kept = match self.record.is_kept() {
            true => self.save_record().await,
            false => self.broker.store.remove(&client_id).await,
        };
        match kept {
            Ok(()) => self.broker.agenda.add(self.record.due_ms(), &client_id),
            Err(error) => tracing::error!(%error, %client_id, "a session was not kept"),
        }
    }

    /// Waits for the next thing to handle. What comes from inside goes first, the socket after it: so all that
    /// is ready is written together. The outbox is bounded, and what fills it is asked for only while it has room.
    async fn wake(
        &mut self,
        shutdown: &mut (impl Future<Output = ()> + Unpin),
        deadline: Option<Instant>,
    ) -> Wake {
        let may_read = self.may_read();
        let wants_publications = self.session.wants_publications() && !self.feeds.is_empty();
        let Self {
            socket,
            session,
            operation,
            save,
            publishes,
            feeds,
            claim,
            changes,
            ..
        } = self;
        tokio::select! {
            biased;
            () = shutdown => Wake::Shutdown,
            signal = signalled(claim.as_ref()) => Wake::Signal(signal),
            () = changes.next() => Wake::IdentitiesChanged,
            done = operate(operation) => Wake::Done(done),
            saved = operate(save) => Wake::Saved(saved),
            Some(published) = publishes.next() => Wake::Published(published),
            Some(batch) = feeds.next(), if wants_publications => Wake::Batch(batch),
            moved = poll_fn(|cx| socket.poll(cx, session.outbox(), may_read)) => Wake::Socket(moved),
            () = sleep(deadline) => Wake::Timer,
        }
    }

    fn handle(&mut self, wake: Wake) {
        match wake {
            Wake::Shutdown => self.session.close(CloseCause::ShuttingDown),
            Wake::Signal(signal) => self.handle_signal(signal),
            Wake::IdentitiesChanged => self.check_permissions(),
            Wake::Done(done) => {
                self.operation = None;
                self.handle_done(done);
            }
            Wake::Saved(saved) => {
                self.save = None;
                self.handle_saved(saved);
            }
            Wake::Published(published) => handle_published(&mut self.session, published),
            Wake::Batch((key, Ok(Part::Deliveries(batch)))) => self.handle_batch(key, &batch),
            Wake::Batch((key, Ok(Part::CaughtUp(covered)))) => {
                self.session.handle_caught_up(key, covered);
            }
            Wake::Batch((_, Err(error))) => self.session.close(match error.kind() {
                ErrorKind::Unavailable => CloseCause::SlowReader(error.to_string()),
                _ => {
                    tracing::error!(%error, client_id = %self.session.client_id(), "a subscription failed");
                    CloseCause::SubscriptionFailed
                }
            }),
            Wake::Socket(moved) => self.handle_moved(moved),
            Wake::Timer => self.handle_timer(),
        }
    }

    /// Decodes and handles packets as far as order and bounds allow.
    fn handle_frames(&mut self) {
        loop {
            self.perform_actions();
            if !self.may_handle_frames() || self.session.close_cause().is_some() {
                return;
            }
            match take_frame(&mut self.socket.inbound, self.session.frame_limits()) {
                Ok(Some(frame)) => self.session.handle_frame(&frame, now()),
                Ok(None) if self.end_of_stream => self.session.close(CloseCause::EndOfStream),
                Ok(None) => return self.socket.trim(),
                Err(error) => self.session.close(error.into()),
            }
        }
    }

    fn may_handle_frames(&self) -> bool {
        self.session.accepts_frames()
            && self.publishes.len() < self.broker.config.max_publishes_in_progress.get()
            && !self.session.is_congested()
    }

    fn may_read(&self) -> bool {
        self.may_handle_frames() && !self.end_of_stream
    }

    fn perform_actions(&mut self) {
        while let Some(action) = self.session.poll_action() {
            match action {
                Action::Authenticate(request) => {
                    let identity = std::mem::take(&mut self.identity);
                    let admit = operations::admit(
                        Arc::clone(&self.broker),
                        Arc::clone(&self.conn),
                        identity,
                        request,
                    );
                    self.operation = Some(Box::pin(async {
                        Done::Admitted(admit.await.map(Box::new))
                    }));
                }
                Action::Publish(request) => self.publish(request),
                Action::PublishWill(will) => self.publish_will(will),
                Action::Resume(requests) => {
                    let (broker, context) = (Arc::clone(&self.broker), Arc::clone(&self.context));
                    let resume = operations::resume(broker, context, requests, self.membership());
                    self.operation = Some(Box::pin(async { Done::Resumed(resume.await) }));
                }
                Action::Subscribe(filters) => self.subscribe_next = Some(filters),
                Action::Unsubscribe(key) => self.unsubscribe(key),
            }
        }
        if self.publishes.is_empty() {
            self.start_subscribe();
        }
    }

    fn unsubscribe(&mut self, key: SubscriptionKey) {
        let Some(subscribed) = self.subscriptions.remove(&key) else {
            return;
        };
        if let Some(member) = &subscribed.feed.member {
            member.forget(self.session.client_id());
            // [MQTT-3.10.4-3]: what was sent is completed here.
            member.leave(|at| self.session.in_flight(key, at).is_some());
        }
    }

    /// How this session takes part in shared subscriptions.
    fn membership(&self) -> Membership {
        Membership {
            is_kept: self.session.session_expiry_interval_s() > 0,
            window: self.session.send_window(),
        }
    }

    /// Tells the groups of shared subscriptions what the client has.
    fn finish_shared(&mut self) {
        for (key, at) in self.session.take_shared_finished() {
            let subscribed = self.subscriptions.get(&key);
            if let Some(member) = subscribed.and_then(|one| one.feed.member.as_ref()) {
                member.finish(at);
            }
        }
    }

    /// Gives back what others of a shared subscription can deliver: all but QoS 2 that was sent. Answers the
    /// groups that are kept for this session.
    fn leave_groups(&self) -> Vec<Arc<str>> {
        let is_kept = self.session.session_expiry_interval_s() > 0;
        let mut groups = Vec::new();
        for (key, subscribed) in &self.subscriptions {
            let Some(member) = &subscribed.feed.member else {
                continue;
            };
            if is_kept {
                groups.push(Arc::clone(member.filter()));
            } else {
                member.forget(self.session.client_id());
            }
            member.leave(|at| self.session.in_flight(*key, at) == Some(QoS::ExactlyOnce));
        }
        groups
    }

    /// Publishes the Will now, or leaves it with the session until its delay is over.
    fn publish_will(&mut self, will: Will) {
        if will.delay_s > 0 && self.session.session_expiry_interval_s() > 0 {
            self.delayed_will = Some(will);
            return;
        }
        self.refresh_caller();
        self.publish(will.publication);
    }

    fn start_save(&mut self) {
        if self.save.is_some() {
            return;
        }
        if let Some(state) = self.session.poll_save(now(), now_ms()) {
            self.record.state = state;
            self.save = Some(self.save_record());
        }
    }

    fn save_record(&self) -> BoxFuture<Result<(), Error>> {
        let (broker, record) = (Arc::clone(&self.broker), self.record.encode());
        let client_id = Arc::clone(self.session.client_id());
        Box::pin(async move { broker.store.save(&client_id, record).await })
    }

    fn handle_saved(&mut self, saved: Result<(), Error>) {
        match saved {
            Ok(()) => self.session.handle_saved(),
            Err(error) => {
                tracing::error!(%error, client_id = %self.session.client_id(), "a session was not kept");
                self.session.close(CloseCause::SessionNotSaved);
            }
        }
    }

    fn publish(&mut self, request: PublishRequest) {
        let publish = operations::publish(&self.broker, &self.context, request);
        self.publishes.push_back(publish);
    }

    fn start_subscribe(&mut self) {
        let Some(requests) = self.subscribe_next.take() else {
            return;
        };
        let filters = requests.into_iter().map(|request| Filter {
            exists: self.subscriptions.contains_key(&request.key),
            request,
        });
        let subscribe = operations::subscribe(
            Arc::clone(&self.broker),
            Arc::clone(&self.context),
            filters.collect(),
            self.membership(),
        );
        self.operation = Some(Box::pin(async { Done::Subscribed(subscribe.await) }));
    }

    fn handle_done(&mut self, done: Done) {
        match done {
            Done::Admitted(Ok(admitted)) => self.handle_admitted(*admitted),
            Done::Admitted(Err(refusal)) => self.session.handle_authenticated(Err(refusal), now()),
            Done::Resumed(results) => {
                let (opened, dropped): (Vec<_>, Vec<_>) =
                    results.into_iter().partition(Result::is_ok);
                let dropped: Vec<_> = dropped.into_iter().filter_map(Result::err).collect();
                self.session.handle_resumed(&dropped);
                for opened in opened.into_iter().flatten() {
                    self.start_feed(opened);
                }
            }
            Done::Subscribed(results) => {
                let (opened, results): (Vec<_>, Vec<_>) = results
                    .into_iter()
                    .map(|result| match result {
                        Ok(opened) => (Some(opened), Ok(())),
                        Err(refusal) => (None, Err(refusal)),
                    })
                    .unzip();
                // SUBACK first, then deliveries (U8).
                self.session.handle_subscribed(results);
                opened
                    .into_iter()
                    .flatten()
                    .for_each(|opened| self.start_feed(opened));
            }
        }
    }

    fn handle_admitted(&mut self, admitted: Admitted) {
        let mut context = Context::new(admitted.caller, self.conn.worker, Protocol::Mqtt);
        context.publisher = Some(Arc::clone(self.session.client_id()));
        self.context = Arc::new(context);
        self.claim = Some(admitted.claim);
        self.record = admitted.record;
        self.permissions_checked = now();
        self.changes = self.broker.authenticator.changes();
        self.session
            .handle_authenticated(Ok(admitted.admission), now());
    }

    fn start_feed(&mut self, opened: Opened) {
        let Opened {
            key,
            publisher,
            resource,
            subscription,
        } = opened;
        match (self.subscriptions.get(&key), subscription) {
            (Some(subscribed), Some(Running::Own(state))) => subscribed.feed.replay(state),
            (Some(_), Some(Running::Shared(..))) => {} // it is a member already
            (None, Some(subscription)) => {
                let (stream, feed) = feed(key, subscription);
                self.feeds.push(stream);
                self.subscriptions.insert(
                    key,
                    Subscribed {
                        feed,
                        publisher,
                        resource,
                    },
                );
            }
            (_, None) => {}
        }
    }

    fn handle_batch(&mut self, key: SubscriptionKey, batch: &[Arc<resource::Delivery>]) {
        let Some(subscribed) = self.subscriptions.get(&key) else {
            return;
        };
        let now = now();
        for delivery in batch {
            if let Some(publication) = subscribed.publisher.publication(delivery, now) {
                self.session.handle_publication(key, publication, now);
            }
        }
    }

    fn handle_moved(&mut self, moved: std::io::Result<Progress>) {
        match moved {
            Ok(Progress { read, written }) => {
                let received = read.unwrap_or(0) as u64;
                self.broker
                    .totals(self.conn.worker)
                    .count_bytes(received, written as u64);
                self.end_of_stream |= read == Some(0);
                if written > 0 {
                    self.stalled_since = None;
                    self.session.deliver_waiting(now());
                }
            }
            Err(error) => self.session.close(CloseCause::Io(error.to_string())),
        }
    }

    fn handle_signal(&mut self, signal: Signal) {
        if signal.has(Signal::TAKE_OVER) {
            self.session.close(CloseCause::TakenOver);
        } else if signal.has(Signal::DISCONNECT) {
            self.session.close(CloseCause::Administrative);
        }
    }

    /// The earliest of all that is due.
    fn deadline(&mut self) -> Option<Instant> {
        let config = &self.broker.config;
        if self.session.outbox().is_empty() {
            self.stalled_since = None;
        } else {
            self.stalled_since.get_or_insert_with(now);
        }
        let stalled = self.stalled_since.map(|since| since + config.write_timeout);
        let permissions = self
            .session
            .is_connected()
            .then(|| self.permissions_checked + config.permission_refresh);
        let save = self.save.is_none().then(|| self.session.save_timeout());
        [
            self.session.poll_timeout(),
            stalled,
            permissions,
            save.flatten(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn handle_timer(&mut self) {
        let now = now();
        let config = &self.broker.config;
        if self
            .stalled_since
            .is_some_and(|since| now >= since + config.write_timeout)
        {
            let text = format!("no byte was taken for {:?}", config.write_timeout);
            return self.session.close(CloseCause::SlowReader(text));
        }
        if self.session.is_connected()
            && now >= self.permissions_checked + config.permission_refresh
        {
            self.check_permissions();
        }
        if !self.may_read() {
            // We are not listening, so the client is not silent.
            self.session.defer_keep_alive(now);
        }
        self.session.handle_timeout(now);
    }

    /// `realtime.md` §1.6: the user must still be there, and must still be allowed to read what it gets. The
    /// attributes it may see were settled when it subscribed, so other permissions end the connection, too.
    fn check_permissions(&mut self) {
        self.permissions_checked = now();
        let before = Arc::clone(&self.context);
        if !self.refresh_caller() {
            let text = "the user is gone or inactive".to_owned();
            return self.session.close(CloseCause::NotAuthorized(text));
        }
        let refused = self.subscriptions.values().find_map(|subscribed| {
            let resource = &*subscribed.resource;
            if let Err(error) = resource.authorize(&self.context, &[Permission::Read]) {
                return Some(error.message().to_owned());
            }
            let access = self.context.caller.table_access(resource);
            let has_changed = access != before.caller.table_access(resource);
            has_changed.then(|| "the permissions of the user have changed".to_owned())
        });
        if let Some(text) = refused {
            self.session.close(CloseCause::NotAuthorized(text));
        }
    }

    /// Takes the user as it is now; `false` if it is gone, which leaves nobody.
    fn refresh_caller(&mut self) -> bool {
        if matches!(self.context.caller, Caller::Anonymous) {
            return true;
        }
        let caller = self.broker.authenticator.refresh(&self.context.caller);
        let found = caller.is_some();
        let caller = caller.unwrap_or_default();
        let context = Context::clone(&self.context);
        self.context = Arc::new(Context { caller, ..context });
        found
    }

    fn count(&mut self) {
        let counters = self.session.counters();
        self.broker
            .totals(self.conn.worker)
            .count_session(self.counted, counters);
        self.counted = counters;
    }
}

fn handle_published(session: &mut Session, published: Published) {
    if let Err(refusal) = &published.result {
        tracing::debug!(client_id = %session.client_id(), %refusal, "publication refused");
    }
    session.handle_published(published.acknowledgement, published.result);
}

/// Waits for everything that is being published. Cancel safe.
async fn answer(publishes: &mut FuturesOrdered<BoxFuture<Published>>, session: &mut Session) {
    while let Some(published) = publishes.next().await {
        handle_published(session, published);
    }
}

/// Whether nobody may be left to read the last bytes.
fn is_peer_gone(cause: &CloseCause) -> bool {
    matches!(
        cause,
        CloseCause::SlowReader(_) | CloseCause::EndOfStream | CloseCause::Io(_)
    )
}

async fn signalled(claim: Option<&Claim>) -> Signal {
    match claim {
        Some(claim) => claim.signalled().await,
        None => pending().await,
    }
}

/// Polls the operation in place; it stays until its result is handled.
async fn operate<T>(operation: &mut Option<BoxFuture<T>>) -> T {
    match operation {
        Some(operation) => operation.as_mut().await,
        None => pending().await,
    }
}

async fn sleep(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => pending().await,
    }
}

/// The runtime's clock, which tests can stop.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
