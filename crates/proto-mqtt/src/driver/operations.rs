//! What actions wait for: identities, commits, subscriptions. Each future owns all it needs.

use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::Arc;

use base::{ConnInfo, Timestamp, WorkerId};
use resource::{
    Caller, Context, Credentials, Error, ErrorKind, Key, Protocol, Resource, Scope,
    SubscribeOptions,
};

use super::Identity;
use super::broker::Broker;
use super::feed::{Resend, Running};
use super::maintenance::now_ms;
use super::record::SessionRecord;
use super::sessions::{Claim, SessionInfo};
use super::shared::{self, Membership};
use super::store::MAX_KEPT_CLIENT_ID;
use crate::codec::SubscriptionOptions;
use crate::mapping::{self, Destination, Publisher};
use crate::session::{
    Acknowledgement, Admission, AuthenticateRequest, FilterRequest, PublishRequest, ReceiptRequest,
    ReceiptSearch, ResumeRequest, SessionState, SubscriptionKey,
};
use crate::{QoS, ReasonCode, Refusal, RetainHandling};

pub(super) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Who was let in.
pub(super) struct Admitted {
    pub(super) admission: Admission,
    pub(super) caller: Caller,
    pub(super) claim: Claim,
    pub(super) record: SessionRecord,
}

/// Finds out who connects and takes the client identifier.
pub(super) async fn admit(
    broker: Arc<Broker>,
    conn: Arc<ConnInfo>,
    identity: Identity,
    request: AuthenticateRequest,
) -> Result<Admitted, Refusal> {
    let caller = identify(&broker, identity, &request).await?;
    let info = SessionInfo {
        client_id: Arc::clone(&request.client_id),
        username: caller.username().cloned(),
        version: request.version,
        peer: conn.peer.to_string(),
        worker: conn.worker,
    };
    let claim = Claim::take(&broker, info).await?;
    let (admission, record) = take_up(&broker, &conn, &caller, request).await?;
    Ok(Admitted {
        admission,
        caller,
        claim,
        record,
    })
}

/// Takes up the kept session or begins a new one, and keeps what must be durable before CONNACK (L1).
async fn take_up(
    broker: &Broker,
    conn: &ConnInfo,
    caller: &Caller,
    request: AuthenticateRequest,
) -> Result<(Admission, SessionRecord), Refusal> {
    let client_id = &request.client_id;
    let expiry_s = granted_expiry(broker, &request);
    if client_id.starts_with(shared::PREFIX) {
        return Err(Refusal::new(
            ReasonCode::ClientIdentifierNotValid,
            "client identifiers do not begin with $share/",
        ));
    }
    if client_id.len() > MAX_KEPT_CLIENT_ID {
        if expiry_s == 0 && request.will.is_none() {
            return Ok((admission(None, 0), SessionRecord::default()));
        }
        return Err(Refusal::new(
            ReasonCode::ClientIdentifierNotValid,
            format!(
                "a client identifier of more than {MAX_KEPT_CLIENT_ID} bytes cannot have a Will or a kept session"
            ),
        ));
    }
    let stored = broker.store.load(client_id).await.map_err(not_kept)?;
    let was_stored = stored.is_some();
    let earlier = stored.and_then(|record| SessionRecord::decode(&record));
    if let Some(earlier) = &earlier
        && earlier.is_alive(now_ms())
        && earlier.username.as_ref() != caller.username()
    {
        let text = "the client identifier belongs to another user"; // M6
        return Err(Refusal::new(ReasonCode::NotAuthorized, text));
    }
    let resumed = match earlier {
        Some(earlier) => take_up_earlier(broker, conn, earlier, &request).await,
        None => None,
    };
    let admission = admission(resumed, expiry_s);
    let begun = || SessionState {
        next_receipt: admission.first_receipt,
        unknown_from: admission.first_receipt,
        unknown_since_ms: now_ms(),
        ..SessionState::default()
    };
    let resumed = admission.resumed.as_deref().cloned();
    let record = SessionRecord {
        username: caller.username().cloned(),
        expiry_s,
        will: request.will.clone(),
        state: resumed.unwrap_or_else(begun),
        ..SessionRecord::default()
    };
    if record.is_kept() {
        let saved = broker.store.save(client_id, record.encode()).await;
        saved.map_err(not_kept)?;
    } else if was_stored {
        // [MQTT-3.1.2-4]
        broker.store.remove(client_id).await.map_err(not_kept)?;
    }
    Ok((admission, record))
}

/// The state of an earlier connection, unless it is over or not wanted; its Will if that is not called off.
async fn take_up_earlier(
    broker: &Broker,
    conn: &ConnInfo,
    mut earlier: SessionRecord,
    request: &AuthenticateRequest,
) -> Option<SessionState> {
    let is_resumed = !request.clean_start && earlier.is_alive(now_ms());
    if let Some(will) = earlier.will.take() {
        // The delay of the Will is not over when the client is back ([MQTT-3.1.3-9]).
        let is_called_off = is_resumed && will.delay_s > 0;
        if !is_called_off {
            let client_id = &request.client_id;
            broker
                .publish_will(&earlier, will, client_id, conn.worker)
                .await;
        }
    }
    if !is_resumed {
        let subscriptions = &earlier.state.subscriptions;
        broker.groups.forget(&request.client_id, subscriptions);
    }
    is_resumed.then_some(earlier.state)
}

fn granted_expiry(broker: &Broker, request: &AuthenticateRequest) -> u32 {
    let config = &broker.config;
    let asked = match (request.version.is_v5(), request.session_expiry_interval_s) {
        (false, 1..) => config.session_expiry_s,
        (_, asked) => asked,
    };
    asked.min(config.max_session_expiry_s)
}

fn admission(resumed: Option<SessionState>, session_expiry_interval_s: u32) -> Admission {
    // Far from the numbers of any other session, and with room to count and for a packet identifier below.
    let random = RandomState::new().hash_one(session_expiry_interval_s);
    Admission {
        resumed: resumed.map(Box::new),
        session_expiry_interval_s,
        first_receipt: random >> 20,
    }
}

/// The store failed; the client may come back.
fn not_kept(error: Error) -> Refusal {
    tracing::error!(%error, "the session store failed");
    Refusal::new(ReasonCode::ServerUnavailable, "sessions are not available")
}

/// The order of `realtime.md` §4.3: the packet, then the transport, then nobody if that is allowed.
async fn identify(
    broker: &Broker,
    identity: Identity,
    request: &AuthenticateRequest,
) -> Result<Caller, Refusal> {
    let (credentials, on_failure) = match (&request.login, identity) {
        (Some(login), _) => {
            let username = login.username.clone();
            let credentials = Credentials::Password {
                username,
                password: login.password.clone(),
            };
            (credentials, ReasonCode::BadUserNameOrPassword)
        }
        (None, Identity::Caller(caller @ Caller::User(_))) => return Ok(caller),
        (None, Identity::Credentials(credentials)) => (credentials, ReasonCode::NotAuthorized),
        (None, Identity::None | Identity::Caller(Caller::Anonymous)) => {
            return match broker.config.require_authentication {
                true => Err(Refusal::new(
                    ReasonCode::NotAuthorized,
                    "credentials are needed",
                )),
                false => Ok(Caller::Anonymous),
            };
        }
    };
    broker
        .authenticator
        .authenticate(&credentials)
        .await
        .map_err(|error| login_refusal(&error, on_failure))
}

fn login_refusal(error: &Error, on_failure: ReasonCode) -> Refusal {
    let reason = match error.kind() {
        ErrorKind::TooManyRequests => ReasonCode::ConnectionRateExceeded,
        ErrorKind::Unavailable => ReasonCode::ServerUnavailable,
        ErrorKind::Internal => {
            tracing::error!(%error, "authentication failed");
            return Refusal::new(ReasonCode::UnspecifiedError, "internal error");
        }
        _ => on_failure,
    };
    Refusal::new(reason, error.message())
}

/// A publication that was carried out, or not.
pub(super) struct Published {
    pub(super) acknowledgement: Option<Acknowledgement>,
    pub(super) result: Result<(), Refusal>,
}

/// Carries out a publication. It is handed to the resource at the first poll, and committed when this ends.
pub(super) fn publish(
    broker: &Broker,
    context: &Arc<Context>,
    mut request: PublishRequest,
) -> BoxFuture<Published> {
    let acknowledgement = request.acknowledgement;
    let receipt = request.receipt.take();
    if let Some(receipt) = &receipt {
        Arc::make_mut(&mut request.properties).receipt = Some(receipt_number(receipt));
    }
    let prepared = mapping::destination(broker.topics(), &request.topic).and_then(|destination| {
        let Destination {
            resource,
            key,
            is_free,
        } = destination;
        let write = match is_free {
            true => mapping::write_free(&request, key, Timestamp::now()),
            false => mapping::write(&request, key, Timestamp::now()),
        };
        Ok((resource, write?))
    });
    let (resource, write) = match prepared {
        Ok(prepared) => prepared,
        Err(refusal) => {
            return Box::pin(std::future::ready(Published {
                acknowledgement,
                result: Err(refusal),
            }));
        }
    };
    let context = Arc::clone(context);
    Box::pin(async move {
        if let Some((receipt, search)) = receipt
            .as_ref()
            .and_then(|one| Some((one, one.search.as_ref()?)))
        {
            match is_published(
                &*resource,
                write.key.as_ref(),
                receipt,
                search,
                context.worker,
            )
            .await
            {
                Ok(false) => {}
                found => {
                    let result = found.map(drop);
                    return Published {
                        acknowledgement,
                        result: result.map_err(|error| {
                            log_internal(&error, &request.topic);
                            mapping::publish_refusal(&error)
                        }),
                    };
                }
            }
        }
        let written = resource.write(vec![write], &context).await;
        let result = written.map(drop).map_err(|error| {
            log_internal(&error, &request.topic);
            mapping::publish_refusal(&error)
        });
        Published {
            acknowledgement,
            result,
        }
    })
}

/// The number in the log: counted above, the packet identifier below.
fn receipt_number(receipt: &ReceiptRequest) -> u64 {
    receipt.number << 16 | u64::from(receipt.packet_id.get())
}

/// Whether the log has a publication that the client sends again because it never got PUBREC: the server was
/// killed between the commit and keeping the session.
async fn is_published(
    resource: &dyn Resource,
    key: Option<&Key>,
    receipt: &ReceiptRequest,
    search: &ReceiptSearch,
    worker: WorkerId,
) -> Result<bool, Error> {
    /// More than a commit takes, and than the clocks of log and session differ.
    const SLACK_MS: f64 = 10_000.0;
    let scope = match key {
        Some(key) => Scope::Key(key.clone()),
        None => Scope::All,
    };
    let options = SubscribeOptions {
        start_time: Timestamp::from_millis((search.since_ms as f64 - SLACK_MS).max(0.0)),
        ..SubscribeOptions::default()
    };
    let context = Context::new(Caller::internal("mqtt"), worker, Protocol::Internal);
    let mut log = resource.subscribe(scope, &options, &context).await?;
    loop {
        let batch = log.next().await?;
        if batch.is_empty() || log.is_live() {
            return Ok(false);
        }
        let is_it = |number: u64| {
            number & 0xFFFF == u64::from(receipt.packet_id.get())
                && search.numbers.contains(&(number >> 16))
        };
        let mut receipts = batch
            .iter()
            .filter_map(|delivery| delivery.event.properties.as_ref()?.receipt);
        if receipts.any(is_it) {
            return Ok(true);
        }
    }
}

/// The client gets no details of a failure inside; the log does.
pub(super) fn log_internal(error: &Error, topic: &str) {
    if error.kind() == ErrorKind::Internal {
        tracing::error!(%error, topic, "a resource failed");
    }
}

/// A subscription that was granted.
pub(super) struct Opened {
    pub(super) key: SubscriptionKey,
    pub(super) publisher: Publisher,
    pub(super) resource: Arc<dyn Resource>,
    /// `None` if an existing one simply goes on.
    pub(super) subscription: Option<Running>,
}

/// A filter, and whether it is subscribed to already.
pub(super) struct Filter {
    pub(super) request: FilterRequest,
    pub(super) exists: bool,
}

/// Opens the subscriptions of one SUBSCRIBE, one after the other ([MQTT-3.8.4-5]).
pub(super) async fn subscribe(
    broker: Arc<Broker>,
    context: Arc<Context>,
    filters: Vec<Filter>,
    membership: Membership,
) -> Vec<Result<Opened, Refusal>> {
    let mut results = Vec::with_capacity(filters.len());
    let mut opened = std::collections::HashSet::new();
    for filter in filters {
        // Twice in one packet: the second replaces the first.
        let exists = filter.exists || opened.contains(&filter.request.key);
        let result = match filter.request.filter.starts_with(shared::PREFIX) {
            true => open_shared(&broker, &context, &filter.request, exists, membership).await,
            false => open(&broker, &context, &filter.request, exists).await,
        };
        if let Ok(one) = &result {
            opened.insert(one.key);
        }
        results.push(result);
    }
    results
}

async fn open(
    broker: &Broker,
    context: &Context,
    request: &FilterRequest,
    exists: bool,
) -> Result<Opened, Refusal> {
    let source = mapping::source(broker.topics(), &request.filter)?;
    let publisher = Publisher::of(&source);
    let wants_state = wants_state(request.options, exists);
    let options = SubscribeOptions {
        omit_current: source.options.omit_current || !wants_state,
        ..source.options
    };
    let mut subscription = None;
    if !exists || wants_state {
        let granted = source
            .resource
            .subscribe(source.scope, &options, context)
            .await;
        let granted = granted.map_err(|error| {
            log_internal(&error, &request.filter);
            mapping::subscribe_refusal(&error)
        })?;
        subscription = Some(Running::Own(granted));
    }
    Ok(Opened {
        key: request.key,
        publisher,
        resource: source.resource,
        subscription,
    })
}

/// Joins the group of a shared filter. An existing member stays where it is.
async fn open_shared(
    broker: &Broker,
    context: &Context,
    request: &FilterRequest,
    exists: bool,
    membership: Membership,
) -> Result<Opened, Refusal> {
    let membership = membership.of(request.options.qos);
    let (member, source) = shared::join(broker, context, &request.filter, membership).await?;
    Ok(Opened {
        key: request.key,
        publisher: Publisher::of(&source),
        resource: source.resource,
        subscription: (!exists).then(|| Running::Shared(Arc::new(member), None)),
    })
}

/// [MQTT-3.3.1-9], [MQTT-3.3.1-10], [MQTT-3.3.1-11]
fn wants_state(options: SubscriptionOptions, exists: bool) -> bool {
    match options.retain_handling {
        RetainHandling::Send => true,
        RetainHandling::SendIfNew => !exists,
        RetainHandling::DoNotSend => false,
    }
}

/// Opens the subscriptions of a session that was resumed, each where it stopped; those that cannot go on are
/// left out (D9).
pub(super) async fn resume(
    broker: Arc<Broker>,
    context: Arc<Context>,
    requests: Vec<ResumeRequest>,
    membership: Membership,
) -> Vec<Result<Opened, SubscriptionKey>> {
    let mut results = Vec::with_capacity(requests.len());
    for request in requests {
        let FilterRequest {
            key,
            filter,
            options,
        } = request.filter.clone();
        let resumed = match filter.starts_with(shared::PREFIX) {
            true => rejoin(&broker, &context, &request, membership).await,
            false => reopen(&broker, &context, key, &filter, options, request.start).await,
        };
        results.push(resumed.map_err(|refusal| {
            tracing::warn!(%filter, %refusal, "a kept subscription is dropped");
            key
        }));
    }
    results
}

/// Joins the group again, and reads again from the log what only this session may be sent.
async fn rejoin(
    broker: &Broker,
    context: &Context,
    request: &ResumeRequest,
    membership: Membership,
) -> Result<Opened, Refusal> {
    let FilterRequest {
        key,
        filter,
        options,
    } = &request.filter;
    let membership = membership.of(options.qos);
    let (member, source) = shared::join(broker, context, filter, membership).await?;
    let mut resend = None;
    if let Some(first) = request.resend.iter().min() {
        let options = SubscribeOptions {
            start_time: Timestamp::from_bits(first.to_bits() - 1),
            ..SubscribeOptions::default()
        };
        let scope = source.scope.clone();
        let replay = source.resource.subscribe(scope, &options, context).await;
        let replay = replay.map_err(|error| {
            log_internal(&error, filter);
            mapping::subscribe_refusal(&error)
        })?;
        resend = Some(Resend {
            replay,
            wanted: request.resend.clone(),
        });
    }
    Ok(Opened {
        key: *key,
        publisher: Publisher::of(&source),
        resource: source.resource,
        subscription: Some(Running::Shared(Arc::new(member), resend)),
    })
}

async fn reopen(
    broker: &Broker,
    context: &Context,
    key: SubscriptionKey,
    filter: &str,
    options: SubscriptionOptions,
    start: Option<Timestamp>,
) -> Result<Opened, Refusal> {
    let source = mapping::source(broker.topics(), filter)?;
    let publisher = Publisher::of(&source);
    // QoS 0 loses what came meanwhile; without a position, the client has not even had the state.
    let is_state_owed = options.qos > QoS::AtMostOnce && wants_state(options, false);
    let start = start.filter(|_| options.qos > QoS::AtMostOnce);
    let options = SubscribeOptions {
        start_time: start,
        omit_current: start.is_none() && !is_state_owed,
        previous_count: None,
        ..source.options
    };
    let granted = source.resource.subscribe(source.scope, &options, context);
    let subscription = granted.await.map_err(|error| {
        log_internal(&error, filter);
        mapping::subscribe_refusal(&error)
    })?;
    Ok(Opened {
        key,
        publisher,
        resource: source.resource,
        subscription: Some(Running::Own(subscription)),
    })
}
