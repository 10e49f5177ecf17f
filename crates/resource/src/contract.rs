//! The contract itself: what can be asked of a resource.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use base::Timestamp;
use futures_core::Stream;

use crate::{
    Action, Blob, BlobStream, Context, Error, Incoming, Key, MessageProperties, Query, Record,
    Replies, Scope, Subscription, TableDefinition, TakenBlob, Value,
};

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The answer of a resource: there already, or still on its way.
///
/// A read by key is answered at once and costs no allocation; a write waits for its commit. Dropping the
/// future of a write does not undo it: it may still be committed.
#[must_use = "an answer does nothing unless awaited"]
pub enum Answer<'a, T> {
    /// Answered. `None` only after it was taken by `poll`.
    Ready(Option<Result<T, Error>>),
    /// To be awaited.
    Pending(BoxFuture<'a, Result<T, Error>>),
}

impl<'a, T> Answer<'a, T> {
    /// An answer that is there.
    pub fn ready(result: Result<T, Error>) -> Self {
        Self::Ready(Some(result))
    }
    /// An answer that is still on its way.
    pub fn pending(future: impl Future<Output = Result<T, Error>> + Send + 'a) -> Self {
        Self::Pending(Box::pin(future))
    }
}

// Nothing inside is pinned in place: `Ready` is moved out, `Pending` is a box.
impl<T> Unpin for Answer<'_, T> {}

impl<T> Future for Answer<'_, T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Ready(result) => Poll::Ready(result.take().expect("polled after completion")),
            Self::Pending(future) => future.as_mut().poll(cx),
        }
    }
}

impl<T> fmt::Debug for Answer<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready(_) => "Answer::Ready",
            Self::Pending(_) => "Answer::Pending",
        })
    }
}

/// Records in batches, in result order, from one snapshot. Dropping it releases the snapshot.
pub type RecordStream = Pin<Box<dyn Stream<Item = Result<Vec<Record>, Error>> + Send>>;

/// What a path addresses within a resource, and how the result is to be shaped.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Target {
    /// The record; when `collection` is set, the text that every key of a sub-collection starts with, which
    /// ends in `/` (as in [`Scope::Prefix`]). `None` is the whole resource.
    pub key: Option<Key>,
    /// Whether the path names a collection (it ended in `/`, or carries a query and no key).
    pub collection: bool,
    /// Conditions, selection, order and limits.
    pub query: Query,
}

impl Target {
    /// One record.
    pub fn record(key: impl Into<Key>) -> Self {
        Self {
            key: Some(key.into()),
            ..Self::default()
        }
    }
    /// The whole collection.
    pub fn collection() -> Self {
        Self {
            collection: true,
            ..Self::default()
        }
    }
    /// All records that match.
    pub fn query(query: Query) -> Self {
        Self {
            collection: true,
            query,
            ..Self::default()
        }
    }
}

/// What must hold for a write to happen, checked inside the commit (RFC 9110 §13).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Precondition {
    /// `If-Match`: the record must exist, with one of these versions unless empty. `None`: no such condition.
    pub if_match: Option<Vec<Timestamp>>,
    /// `If-None-Match`: the record must not exist (empty list, `*`), or have none of these versions.
    pub if_none_match: Option<Vec<Timestamp>>,
    /// `If-Unmodified-Since`: the version must not be later, compared in whole seconds.
    pub if_unmodified_since: Option<Timestamp>,
}

impl Precondition {
    /// Whether there is nothing to check.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// What a write does to its record.
#[derive(Debug, Clone, PartialEq)]
pub enum WriteKind {
    /// Replace the whole record, or create it (PUT).
    Put,
    /// Merge top-level properties; creates the record if absent (PATCH).
    Patch,
    /// Create; 409 `Record already exists` if it does. The key is generated when absent (POST).
    Create,
    /// Create; skipped if it exists. The key is generated when absent (operation `insert`).
    InsertIfAbsent,
    /// Merge; skipped if the record does not exist (operation `update`).
    UpdateIfPresent,
    /// Merge into the record or create it. The key is generated when absent (operation `upsert`).
    Upsert,
    /// Remove; an absent record is skipped.
    Delete,
    /// Send a message on the key's topic; the record is unchanged (publish without retain).
    Message(Option<Arc<MessageProperties>>),
}

/// One write of a transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// The record. `None` takes the key from `body`, or generates one where the kind allows it;
    /// for a message it is the root topic.
    pub key: Option<Key>,
    /// What to do.
    pub kind: WriteKind,
    /// The record, the properties to merge, or the message. `None` for a delete.
    pub body: Option<Value>,
    /// What must hold first.
    pub precondition: Precondition,
    /// When the record expires.
    pub expires_at: Option<Timestamp>,
}

impl Write {
    /// A write without preconditions.
    pub fn new(key: Option<Key>, kind: WriteKind, body: Option<Value>) -> Self {
        Self {
            key,
            kind,
            body,
            precondition: Precondition::default(),
            expires_at: None,
        }
    }
}

/// What a write did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOutcome {
    /// A record was made.
    Created,
    /// An existing record was changed or replaced.
    Updated,
    /// An existing record was removed.
    Deleted,
    /// Nothing: the record existed already, or did not exist.
    Skipped,
    /// A message was sent.
    Sent,
}

/// The result of one write.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// The key, generated or given; `None` for a message on the root topic.
    pub key: Option<Key>,
    /// What happened.
    pub outcome: WriteOutcome,
    /// The new version of the record, or the time of the transaction.
    pub version: Timestamp,
}

/// Which methods a resource implements; decides `Allow`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Methods {
    /// GET of a record or the collection.
    pub get: bool,
    /// PUT.
    pub put: bool,
    /// PATCH.
    pub patch: bool,
    /// POST on the collection.
    pub create: bool,
    /// POST on a record.
    pub post: bool,
    /// DELETE.
    pub delete: bool,
    /// Publish.
    pub publish: bool,
    /// Subscribe.
    pub subscribe: bool,
}

impl Methods {
    /// None at all.
    pub const NONE: Self = Self {
        get: false,
        put: false,
        patch: false,
        create: false,
        post: false,
        delete: false,
        publish: false,
        subscribe: false,
    };
    /// What a table implements.
    pub const TABLE: Self = Self {
        get: true,
        put: true,
        patch: true,
        create: true,
        post: false,
        delete: true,
        publish: true,
        subscribe: true,
    };
}

/// How a subscription starts (`realtime.md` §1.4).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SubscribeOptions {
    /// Do not send the current state first.
    pub omit_current: bool,
    /// Replay logged events after this local time instead of the current state, then go live.
    pub start_time: Option<Timestamp>,
    /// Replay that many last events first; at most 1000. Excludes `start_time` on collections.
    pub previous_count: Option<u32>,
    /// Deliver `patch` deltas as they are instead of full records.
    pub raw_events: bool,
    /// Only events whose new value matches (deletes always pass).
    pub filter: Option<crate::Condition>,
}

impl SubscribeOptions {
    /// Most events that [`previous_count`](Self::previous_count) may ask for.
    pub const MAX_PREVIOUS_COUNT: u32 = 1000;

    /// Sets one option from its name and text, as clients of all live protocols write it in a query:
    /// `omitCurrent`, `startTime`, `previousCount`, `rawEvents`. `false` if there is no option of that name.
    ///
    /// ```
    /// use resource::SubscribeOptions;
    /// let mut options = SubscribeOptions::default();
    /// assert!(options.set("previousCount", "10")?);
    /// assert!(!options.set("breed", "Boxer")?);
    /// assert_eq!(options.previous_count, Some(10));
    /// # Ok::<(), resource::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// 400 if the text is no value of the option.
    pub fn set(&mut self, name: &str, text: &str) -> Result<bool, Error> {
        match name {
            "omitCurrent" => self.omit_current = flag(name, text)?,
            "rawEvents" => self.raw_events = flag(name, text)?,
            "startTime" => {
                let millis = text.parse().ok().and_then(Timestamp::from_millis);
                let expected = "milliseconds since the epoch";
                self.start_time = Some(millis.ok_or_else(|| wrong(name, text, expected))?);
            }
            "previousCount" => {
                let count = text.parse().ok();
                let count = count.filter(|count| *count <= Self::MAX_PREVIOUS_COUNT);
                let expected = "a whole number up to 1000";
                self.previous_count = Some(count.ok_or_else(|| wrong(name, text, expected))?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn flag(name: &str, text: &str) -> Result<bool, Error> {
    text.parse().map_err(|_| wrong(name, text, "true or false"))
}

fn wrong(name: &str, text: &str, expected: &str) -> Error {
    Error::bad_request(format!(
        "Invalid value for {name}: \"{text}\", expecting {expected}"
    ))
}

/// Anything that answers at a path: a table, or code.
///
/// Every method has a default that answers 405, so an implementation writes only what it offers. Methods
/// check the caller's permissions themselves; [`authorize`](Self::authorize) lets a protocol ask early, before
/// it reads a body or upgrades a connection.
pub trait Resource: Send + Sync {
    /// The name in messages and descriptions, for example the table name.
    fn name(&self) -> &str;

    /// What [`get`](Self::get) and the others implement.
    fn methods(&self) -> Methods;

    /// The definition, if this is a table. A snapshot: it changes when the schema does.
    fn table(&self) -> Option<Arc<TableDefinition>> {
        None
    }

    /// The key that decoded path or topic text stands for.
    ///
    /// # Errors
    ///
    /// 400 `Invalid value for attribute id: "abc", expecting Long` if the text does not fit the key type.
    fn parse_key(&self, text: &str) -> Result<Key, Error> {
        Ok(Key::String(text.to_owned()))
    }

    /// Whether all of a URL behind the resource's own path, query included, is the key: no suffixes, no
    /// collections, no query language. Default: no.
    fn direct_url_mapping(&self) -> bool {
        false
    }

    /// Whether the caller may do any of `actions` at all: 401 or 403 if not. The default is super users only (P17).
    fn authorize(&self, context: &Context, actions: &[Action]) -> Result<(), Error> {
        let _ = actions;
        match (context.caller.user(), context.caller.is_super_user()) {
            (None, _) => Err(Error::unauthorized("Must login")),
            (_, true) => Ok(()),
            _ => Err(Error::forbidden("Unauthorized access to resource")),
        }
    }

    /// One record, or `None` if absent. Forbidden attributes are left out.
    fn get<'a>(&'a self, target: &'a Target, context: &'a Context) -> Answer<'a, Option<Record>> {
        let _ = (target, context);
        unsupported(self.name(), "get")
    }

    /// All matches of a collection target. The query's `select` is left to the caller, except for related
    /// records, which are joined into the bodies.
    fn search<'a>(&'a self, target: &'a Target, context: &'a Context) -> Answer<'a, RecordStream> {
        let _ = (target, context);
        unsupported(self.name(), "get")
    }

    /// How [`search`](Self::search) would go about the same target: `{conditions, operator, postOrdering,
    /// selectApplied, …}` (`schema-and-storage.md` §15.2), with conditions in the order of execution.
    fn explain<'a>(&'a self, target: &'a Target, context: &'a Context) -> Answer<'a, Value> {
        let _ = (target, context);
        unsupported(self.name(), "explain")
    }

    /// Several writes as one transaction: all happen or none.
    ///
    /// The answer comes after the commit is durable and has one entry a write, in order.
    fn write<'a>(&'a self, writes: Vec<Write>, context: &'a Context) -> Answer<'a, Vec<Written>> {
        let _ = (writes, context);
        unsupported(self.name(), "put")
    }

    /// Takes content for an attribute of type `Blob`, ahead of the [`write`](Self::write) that puts it into a
    /// record. `content` is never held in memory as a whole. Dropping the future removes what was taken.
    fn upload<'a>(
        &'a self,
        attribute: &'a str,
        media_type: Option<&'a str>,
        content: BlobStream,
        context: &'a Context,
    ) -> Answer<'a, TakenBlob> {
        let _ = (attribute, media_type, content, context);
        unsupported(self.name(), "put")
    }

    /// Opens the content of an attribute of type `Blob`; `None` if the record or its content is absent.
    fn blob<'a>(
        &'a self,
        target: &'a Target,
        attribute: &'a str,
        context: &'a Context,
    ) -> Answer<'a, Option<Blob>> {
        let _ = (target, attribute, context);
        unsupported(self.name(), "get")
    }

    /// Removes every match of a collection target; returns how many.
    fn delete_matching<'a>(&'a self, target: &'a Target, context: &'a Context) -> Answer<'a, u64> {
        let _ = (target, context);
        unsupported(self.name(), "delete")
    }

    /// A custom action on a record or collection (POST); `None` is answered as 204.
    fn post<'a>(
        &'a self,
        target: &'a Target,
        body: Value,
        context: &'a Context,
    ) -> Answer<'a, Option<Value>> {
        let _ = (target, body, context);
        unsupported(self.name(), "post")
    }

    /// Current state and then every change of `scope`, delivered on the worker of `context`.
    fn subscribe<'a>(
        &'a self,
        scope: Scope,
        options: &'a SubscribeOptions,
        context: &'a Context,
    ) -> Answer<'a, Subscription> {
        let _ = (scope, options, context);
        unsupported(self.name(), "subscribe")
    }

    /// Whether clients talk to this resource by [`connect`](Self::connect) instead of
    /// [`subscribe`](Self::subscribe).
    fn connects(&self) -> bool {
        false
    }

    /// Opens a conversation with one client: its messages come in, the replies go out (`realtime.md` §2.5).
    fn connect<'a>(
        &'a self,
        target: &'a Target,
        incoming: Incoming,
        context: &'a Context,
    ) -> Answer<'a, Replies> {
        let _ = (target, incoming, context);
        unsupported(self.name(), "connect")
    }
}

/// The 405 of a method that is not implemented.
fn unsupported<'a, T>(resource: &str, method: &str) -> Answer<'a, T> {
    Answer::ready(Err(Error::method_not_allowed(resource, method)))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bare;
    impl Resource for Bare {
        fn name(&self) -> &str {
            "Bare"
        }
        fn methods(&self) -> Methods {
            Methods::NONE
        }
    }

    fn now<T>(answer: Answer<'_, T>) -> Result<T, Error> {
        match answer {
            Answer::Ready(Some(result)) => result,
            _ => panic!("not ready"),
        }
    }

    #[test]
    fn a_method_that_is_not_implemented_answers_405() {
        let context = Context::internal();
        let error = now(Bare.get(&Target::record("1"), &context)).unwrap_err();
        assert_eq!(error.status(), 405);
        assert_eq!(
            error.message(),
            "The Bare does not have a get method implemented to handle HTTP method GET"
        );
        assert_eq!(
            now(Bare.write(Vec::new(), &context)).unwrap_err().status(),
            405
        );
    }

    #[test]
    fn a_subscribe_option_needs_a_value_of_its_type() {
        let mut options = SubscribeOptions::default();
        for (name, text) in [
            ("omitCurrent", ""),
            ("rawEvents", "yes"),
            ("startTime", "-1"),
            ("startTime", "NaN"),
            ("startTime", "soon"),
            ("previousCount", "1001"),
            ("previousCount", "1.5"),
        ] {
            assert_eq!(
                options.set(name, text).unwrap_err().status(),
                400,
                "{name}={text}"
            );
        }
        assert_eq!(options, SubscribeOptions::default());
        assert_eq!(options.set("startTime", "1736432705270.2").ok(), Some(true));
        assert_eq!(
            options.start_time,
            Timestamp::from_millis(1_736_432_705_270.2)
        );
    }

    #[test]
    fn p17_custom_resources_are_for_super_users_by_default() {
        let anonymous = Context::new(
            crate::Caller::Anonymous,
            base::WorkerId(0),
            crate::Protocol::Rest,
        );
        assert_eq!(
            Bare.authorize(&anonymous, &[Action::Read])
                .unwrap_err()
                .status(),
            401
        );
        assert!(
            Bare.authorize(&Context::internal(), &[Action::Read])
                .is_ok()
        );
    }
}
