//! What actions wait for: identities, commits, subscriptions. Each future owns all it needs.

use std::pin::Pin;
use std::sync::Arc;

use base::{ConnInfo, Timestamp};
use resource::{
    Caller, Context, Credentials, Error, ErrorKind, Resource, SubscribeOptions, Subscription,
};

use super::Identity;
use super::broker::Broker;
use super::sessions::{Claim, SessionInfo};
use crate::codec::SubscriptionOptions;
use crate::mapping::{self, Destination, Publisher};
use crate::session::{
    Acknowledgement, Admission, AuthenticateRequest, FilterRequest, PublishRequest, SubscriptionKey,
};
use crate::{ReasonCode, Refusal, RetainHandling};

pub(super) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Who was let in.
pub(super) struct Admitted {
    pub(super) admission: Admission,
    pub(super) caller: Caller,
    pub(super) claim: Claim,
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
    // No state outlives a connection yet, so there is never any to resume ([MQTT-3.2.2-3]).
    Ok(Admitted {
        admission: Admission {
            session_present: false,
        },
        caller,
        claim,
    })
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
    request: PublishRequest,
) -> BoxFuture<Published> {
    let acknowledgement = request.acknowledgement;
    let prepared = mapping::destination(&broker.registry, &request.topic).and_then(|destination| {
        let Destination { resource, key } = destination;
        Ok((resource, mapping::write(&request, key, Timestamp::now())?))
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

/// The client gets no details of a failure inside; the log does.
fn log_internal(error: &Error, topic: &str) {
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
    pub(super) subscription: Option<Subscription>,
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
) -> Vec<Result<Opened, Refusal>> {
    let mut results = Vec::with_capacity(filters.len());
    let mut opened = std::collections::HashSet::new();
    for filter in filters {
        // Twice in one packet: the second replaces the first.
        let exists = filter.exists || opened.contains(&filter.request.key);
        let result = open(&broker, &context, &filter.request, exists).await;
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
    let source = mapping::source(&broker.registry, &request.filter)?;
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
        subscription = Some(granted.map_err(|error| {
            log_internal(&error, &request.filter);
            mapping::subscribe_refusal(&error)
        })?);
    }
    let publisher = Publisher::new(source.path, source.bare);
    Ok(Opened {
        key: request.key,
        publisher,
        resource: source.resource,
        subscription,
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
