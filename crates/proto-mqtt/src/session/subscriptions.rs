//! SUBSCRIBE and UNSUBSCRIBE (sections 3.8 to 3.11).

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use base::Timestamp;

use super::progress::Progress;
use super::{Action, FilterRequest, SavedSubscription, Session, SubscriptionKey};
use crate::codec::topic::TopicFilter;
use crate::codec::{Subscribe, SubscriptionOptions, Unsubscribe, encode};
use crate::{CloseCause, PacketId, QoS, ReasonCode, Refusal, RetainHandling};

/// The subscriptions of the session.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    by_filter: HashMap<Arc<str>, SubscriptionKey>,
    by_key: HashMap<SubscriptionKey, Subscribed>,
    last_key: u64,
}

/// One of them.
#[derive(Debug, Clone)]
pub(super) struct Subscribed {
    pub(super) filter: Arc<str>,
    /// One of several sessions that get the messages in turn; the group knows how far it has come.
    pub(super) is_shared: bool,
    retain_handling: RetainHandling,
    pub(super) progress: Progress,
    pub(super) qos: QoS,
    pub(super) no_local: bool,
    pub(super) retain_as_published: bool,
    pub(super) identifier: Option<NonZeroU32>,
}

impl Subscribed {
    /// How far the session has come by itself.
    fn own_position(&self) -> Option<Timestamp> {
        self.progress.start().filter(|_| !self.is_shared)
    }
}

impl Subscriptions {
    pub(super) fn is_shared(&self, key: u64) -> bool {
        self.get(SubscriptionKey(key))
            .is_some_and(|subscribed| subscribed.is_shared)
    }

    pub(super) fn get(&self, key: SubscriptionKey) -> Option<&Subscribed> {
        self.by_key.get(&key)
    }

    pub(super) fn get_mut(&mut self, key: SubscriptionKey) -> Option<&mut Subscribed> {
        self.by_key.get_mut(&key)
    }

    fn insert(&mut self, request: &FilterRequest, identifier: Option<NonZeroU32>) {
        // A replacement goes on from where it is.
        let earlier = self.by_key.remove(&request.key);
        let progress = earlier.map(|earlier| earlier.progress).unwrap_or_default();
        self.insert_with(
            request.key,
            &request.filter,
            request.options,
            identifier,
            progress,
        );
    }

    fn insert_with(
        &mut self,
        key: SubscriptionKey,
        filter: &Arc<str>,
        options: SubscriptionOptions,
        identifier: Option<NonZeroU32>,
        progress: Progress,
    ) {
        self.by_filter.insert(Arc::clone(filter), key);
        let subscribed = Subscribed {
            filter: Arc::clone(filter),
            is_shared: is_shared(filter),
            retain_handling: options.retain_handling,
            progress,
            qos: options.qos,
            no_local: options.no_local,
            retain_as_published: options.retain_as_published,
            identifier,
        };
        self.by_key.insert(key, subscribed);
    }

    /// Takes up those of an earlier connection.
    pub(super) fn restore(&mut self, saved: &[SavedSubscription]) {
        for one in saved {
            self.last_key = self.last_key.max(one.key);
            let finished: Vec<Timestamp> = one
                .finished
                .iter()
                .filter_map(|bits| Timestamp::from_bits(*bits))
                .collect();
            let progress = Progress::resumed(one.start(), &finished);
            let key = SubscriptionKey(one.key);
            self.insert_with(key, &one.filter, one.options, one.identifier, progress);
        }
    }

    /// What is to be kept, in the order in which they were made.
    pub(super) fn save(&self) -> Vec<SavedSubscription> {
        let mut saved: Vec<_> = self
            .by_key
            .iter()
            .map(|(key, subscribed)| SavedSubscription {
                key: key.0,
                filter: Arc::clone(&subscribed.filter),
                options: SubscriptionOptions {
                    qos: subscribed.qos,
                    no_local: subscribed.no_local,
                    retain_as_published: subscribed.retain_as_published,
                    retain_handling: subscribed.retain_handling,
                },
                identifier: subscribed.identifier,
                position: subscribed.own_position().map(Timestamp::to_bits),
                finished: match subscribed.is_shared {
                    true => Vec::new(),
                    false => subscribed
                        .progress
                        .finished()
                        .map(Timestamp::to_bits)
                        .collect(),
                },
            })
            .collect();
        saved.sort_by_key(|one| one.key);
        saved
    }

    pub(super) fn remove_key(&mut self, key: SubscriptionKey) {
        if let Some(subscribed) = self.by_key.remove(&key) {
            self.by_filter.remove(&subscribed.filter);
        }
    }

    /// [MQTT-3.10.4-1]: filters are compared character by character.
    fn remove(&mut self, filter: &str) -> Option<SubscriptionKey> {
        let key = self.by_filter.remove(filter)?;
        self.by_key.remove(&key);
        Some(key)
    }
}

/// Whether a filter is that of a shared subscription (section 4.8.2). 3.1.1 does not know them, but its filters that
/// begin with `$` are the server's to give a meaning.
pub(super) fn is_shared(filter: &str) -> bool {
    filter.starts_with("$share/")
}

/// A SUBSCRIBE that waits for its results.
#[derive(Debug)]
pub(super) struct PendingSubscribe {
    packet_id: PacketId,
    identifier: Option<NonZeroU32>,
    /// In the order of the filters ([MQTT-3.9.3-1]).
    filters: Vec<Result<FilterRequest, Refusal>>,
}

impl Session {
    /// Answers the filters of the [`Action::Subscribe`], in their order: SUBACK, then deliveries.
    pub fn handle_subscribed(&mut self, results: Vec<Result<(), Refusal>>) {
        let Some(pending) = self.subscribing.take().filter(|_| self.is_connected()) else {
            return; // closed in the meantime
        };
        let mut results = results.into_iter();
        let mut text = None;
        let mut reasons = Vec::with_capacity(pending.filters.len());
        for filter in pending.filters {
            let granted = filter.and_then(|request| {
                let missing = || Err(Refusal::new(ReasonCode::UnspecifiedError, "not answered"));
                results.next().unwrap_or_else(missing)?;
                self.subscriptions.insert(&request, pending.identifier);
                Ok(ReasonCode::granted(request.options.qos))
            });
            reasons.push(granted.unwrap_or_else(|refusal| {
                text.get_or_insert(refusal.text);
                refusal.reason
            }));
        }
        let (version, packet_id) = (self.v(), pending.packet_id);
        // The subscriptions are durable before SUBACK (D4).
        self.touch();
        let sent = self.send_with_text_to(true, text.as_deref(), |text, out| {
            encode::suback(version, packet_id, &reasons, text, out);
        });
        if let Err(cause) = sent {
            self.close(cause);
        }
    }

    pub(super) fn handle_subscribe(&mut self, subscribe: &Subscribe<'_>) -> Result<(), CloseCause> {
        let mut filters: Vec<Result<FilterRequest, Refusal>> =
            Vec::with_capacity(subscribe.filters.len());
        let mut requests: Vec<FilterRequest> = Vec::new();
        let mut keys = HashMap::new();
        for (filter, options) in &subscribe.filters {
            let request =
                self.check_filter(filter, &keys, requests.len())
                    .map(|key| FilterRequest {
                        key,
                        filter: Arc::from(*filter),
                        options: *options,
                    });
            if let Ok(request) = &request {
                keys.insert(*filter, request.key);
                requests.push(request.clone());
            }
            filters.push(request);
        }
        self.subscribing = Some(PendingSubscribe {
            packet_id: subscribe.packet_id,
            identifier: subscribe.identifier,
            filters,
        });
        match requests.is_empty() {
            true => self.handle_subscribed(Vec::new()),
            false => self.actions.push_back(Action::Subscribe(requests)),
        }
        Ok(())
    }

    /// The key of a filter that may be subscribed to: the one it has, maybe since earlier in the same packet, or
    /// a new one. `requested` filters of this packet have passed already.
    fn check_filter(
        &mut self,
        text: &str,
        earlier: &HashMap<&str, SubscriptionKey>,
        requested: usize,
    ) -> Result<SubscriptionKey, Refusal> {
        // T5: what follows is a query and no part of the filter.
        let topic = text.split_once('?').map_or(text, |(topic, _)| topic);
        TopicFilter::parse(topic, true)
            .map_err(|error| Refusal::new(ReasonCode::TopicFilterInvalid, error.to_string()))?;
        let limit = self.config.max_subscriptions.get();
        let known = earlier
            .get(text)
            .or_else(|| self.subscriptions.by_filter.get(text))
            .copied();
        let too_many = match known {
            Some(_) => requested >= limit,
            None => self.subscriptions.by_key.len() + requested >= limit,
        };
        if too_many {
            return Err(Refusal::new(
                ReasonCode::QuotaExceeded,
                format!("a session may have {limit} subscriptions"),
            ));
        }
        if let Some(key) = known {
            return Ok(key);
        }
        self.subscriptions.last_key += 1;
        Ok(SubscriptionKey(self.subscriptions.last_key))
    }

    pub(super) fn handle_unsubscribe(
        &mut self,
        unsubscribe: &Unsubscribe<'_>,
    ) -> Result<(), CloseCause> {
        let mut reasons = Vec::with_capacity(unsubscribe.filters.len());
        for filter in &unsubscribe.filters {
            reasons.push(match self.subscriptions.remove(filter) {
                Some(key) => {
                    self.actions.push_back(Action::Unsubscribe(key));
                    ReasonCode::Success
                }
                None => ReasonCode::NoSubscriptionExisted,
            });
        }
        let packet_id = unsubscribe.packet_id;
        self.send_saved(true, |version, out| {
            encode::unsuback(version, packet_id, &reasons, out);
        })
    }
}
