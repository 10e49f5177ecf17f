//! Tables in front of a source: what they do not hold, or hold no longer, is fetched from it
//! (`schema-and-storage.md` §12).

mod change;
mod flight;

use std::sync::Arc;
use std::time::Duration;

use base::Timestamp;
use resource::{
    Action, Answer, Blob, Context, Error, ErrorKind, Key, Methods, Record, RecordStream, Resource,
    Scope, SubscribeOptions, Subscription, TableDefinition, Target, Value, Write, WriteKind,
    Written,
};

pub use self::change::{ChangeKind, SourceChange, SourceChanges};
use self::flight::{Flights, Role};
use crate::order::{canonical_key, encode_key};
use crate::prepare::{PreparedKey, prepare};
use crate::pump;
use crate::search;
use crate::table::Table;

/// What a source answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Loaded {
    /// It has no such record; one that is cached is removed.
    Absent,
    /// The record that is being replaced is still right (HTTP 304); its lifetime begins anew.
    Unchanged,
    /// The record.
    Record {
        /// Its attributes.
        value: Value,
        /// When it becomes stale; `None`: after the expiration of the table.
        expires_at: Option<Timestamp>,
    },
}

/// Where the records of a caching table come from.
pub trait Source: Send + Sync {
    /// Fetches a record. `replacing` is what the table holds, stale; `context` is that of the request.
    ///
    /// Errors of kind [`ErrorKind::Unavailable`] and [`ErrorKind::GatewayTimeout`] say that the source could not be
    /// reached: a stale record is then served instead.
    fn load<'a>(
        &'a self,
        key: &'a Key,
        replacing: Option<&'a Record>,
        context: &'a Context,
    ) -> Answer<'a, Loaded>;

    /// Makes the writes of one transaction in the source, before the table makes them. The default refuses with 405.
    fn write<'a>(&'a self, writes: &'a [Write], context: &'a Context) -> Answer<'a, ()> {
        let _ = (writes, context);
        Answer::ready(Err(Error::method_not_allowed("source", "put")))
    }
}

/// How long what was fetched is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheLifetime {
    /// Until it is stale and fetched again.
    pub expiration: Duration,
    /// From then on until it is removed; meanwhile it can stand in for a source that fails.
    pub eviction: Duration,
}

/// What one request asks of the cache (`Cache-Control`, §12.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheControl {
    /// Ask the source even if there is a fresh record.
    pub no_cache: bool,
    /// Answer 504 `Entry is not cached` instead of asking the source.
    pub only_if_cached: bool,
    /// Do not keep what the source answers.
    pub no_store: bool,
    /// Serve a stale record when the source fails with a server error, too.
    pub stale_if_error: bool,
    /// Never serve a stale record.
    pub must_revalidate: bool,
}

/// A table that caches the records of a [`Source`].
///
/// One request at a time fetches a record, however many ask for it. Searches and subscriptions see what the
/// table holds. Writes go to the source first and are made in the table when it has made them.
pub struct CachedTable {
    table: Arc<Table>,
    source: Arc<dyn Source>,
    lifetime: CacheLifetime,
    flights: Flights,
}

impl std::fmt::Debug for CachedTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CachedTable")
            .field("table", &self.table)
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}

/// A record that the table holds, perhaps stale.
struct Held {
    record: Record,
    is_fresh: bool,
}

impl CachedTable {
    pub(crate) fn new(
        table: Arc<Table>,
        source: Arc<dyn Source>,
        lifetime: CacheLifetime,
    ) -> Arc<Self> {
        Arc::new(Self {
            table,
            source,
            lifetime,
            flights: Flights::default(),
        })
    }

    /// One record, under the conditions of the request.
    ///
    /// # Errors
    ///
    /// As [`Resource::get`]; 504 `Entry is not cached` when only a fresh record would do and there is none; what
    /// the source fails with, unless a stale record may be served instead.
    pub async fn get_with(
        &self,
        target: &Target,
        control: CacheControl,
        context: &Context,
    ) -> Result<Option<Record>, Error> {
        let readable = self.table.access(context, &[Action::Read])?;
        let Some(key) = target.key.clone().map(canonical_key) else {
            return Err(Error::bad_request("A record is addressed by its key"));
        };
        let record = self.fetch(&key, control, context).await?;
        if record.is_some() && self.table.is_joined(target) {
            return self.table.get(target, context).await;
        }
        Ok(record.map(|record| Record {
            body: readable.restrict(record.body),
            ..record
        }))
    }

    async fn fetch(
        &self,
        key: &Key,
        control: CacheControl,
        context: &Context,
    ) -> Result<Option<Record>, Error> {
        loop {
            let held = self.held(key)?;
            match held {
                Some(held) if held.is_fresh && !control.no_cache => return Ok(Some(held.record)),
                _ if control.only_if_cached => {
                    let message = "Entry is not cached";
                    return Err(Error::new(ErrorKind::GatewayTimeout, message));
                }
                held => match self.flights.join(encode_key(key)?) {
                    Role::Leads(flight) => {
                        let (result, store) = match self.load(key, held, control, context).await {
                            Ok((record, store)) => (Ok(record), store),
                            Err(error) => (Err(error), None),
                        };
                        flight.land(&result);
                        // Who asks before the table has it gets it from the flight. What the source changed
                        // while it was loaded is not kept.
                        if let Some(write) = store {
                            let write = vec![write];
                            let internal = Context::internal();
                            let kept =
                                flight.unless_outdated(|| self.table.write(write, &internal));
                            if let Some(kept) = kept {
                                self.report(kept.await);
                            }
                        }
                        return result;
                    }
                    Role::Follows(landing) => {
                        if let Some(result) = landing.await {
                            return result;
                        }
                        // Who loaded it went away: look again, and load it if need be.
                    }
                },
            }
        }
    }

    /// What the commit would refuse must not reach the source.
    fn check(&self, write: &Write, context: &Context) -> Result<(), Error> {
        let prepared = prepare(&self.table, write.clone(), context)?;
        let forbidden = || Error::forbidden("Unauthorized access to resource");
        let exists = match &prepared.key {
            PreparedKey::Given(key, _) => self.table.find(key)?.is_some(),
            PreparedKey::NextInteger | PreparedKey::Root => false,
        };
        let action = match (&write.kind, exists) {
            (WriteKind::Delete, _) => Action::Delete,
            (WriteKind::Message(_), _) | (_, false) => Action::Insert,
            (_, true) => Action::Update,
        };
        match prepared.access.allows(action) && prepared.access.attributes.is_none() {
            true => Ok(()),
            // Which attributes are changed is only known once the source has changed them.
            false => Err(forbidden()),
        }
    }

    /// Asks the source; answers the record and how the table keeps it.
    async fn load(
        &self,
        key: &Key,
        held: Option<Held>,
        control: CacheControl,
        context: &Context,
    ) -> Result<(Option<Record>, Option<Write>), Error> {
        let replacing = held.as_ref().map(|held| &held.record);
        let loaded = match self.source.load(key, replacing, context).await {
            Ok(loaded) => loaded,
            Err(error) => {
                return match held {
                    Some(held) if may_be_stale(&error, control) => Ok((Some(held.record), None)),
                    _ => Err(error),
                };
            }
        };
        let now = Timestamp::now();
        let fresh_until = match &loaded {
            Loaded::Record {
                expires_at: Some(time),
                ..
            } => Some(*time),
            _ => later(now, self.lifetime.expiration),
        };
        let value = match loaded {
            Loaded::Absent => None,
            Loaded::Record { value, .. } => Some(self.with_key(value, key)?),
            Loaded::Unchanged => match held {
                Some(held) => Some(held.record.body.to_value()),
                None => return Err(Error::internal("the source says that nothing has changed")),
            },
        };
        let store = (!control.no_store).then(|| {
            let kind = match value {
                Some(_) => WriteKind::Put,
                None => WriteKind::Delete,
            };
            Write {
                expires_at: self.removed_at(fresh_until),
                ..Write::new(Some(key.clone()), kind, value.clone())
            }
        });
        let record = value.map(|value| Record {
            key: Some(key.clone()),
            version: now,
            expires_at: fresh_until,
            body: value.into(),
        });
        Ok((record, store))
    }

    /// That what was loaded can not be kept does not concern who asked for it.
    fn report(&self, stored: Result<Vec<Written>, Error>) {
        if let Err(error) = stored {
            let table = self.table.name();
            tracing::warn!(table, %error, "a record of a source could not be cached");
        }
    }

    fn with_key(&self, value: Value, key: &Key) -> Result<Value, Error> {
        let Value::Map(mut record) = value else {
            return Err(Error::internal("the source answered no object"));
        };
        let primary_key = &self.table.stored().definition.primary_key;
        crate::prepare::with_key(&mut record, primary_key, key.to_value());
        Ok(Value::Map(record))
    }

    /// A record becomes stale `eviction` before the table removes it.
    fn removed_at(&self, fresh_until: Option<Timestamp>) -> Option<Timestamp> {
        later(fresh_until?, self.lifetime.eviction)
    }

    fn held(&self, key: &Key) -> Result<Option<Held>, Error> {
        let Some(found) = self.table.find(key)? else {
            return Ok(None);
        };
        let mut record = search::whole(found)?;
        let eviction = self.lifetime.eviction.as_secs_f64() * 1000.0;
        let fresh_until = record
            .expires_at
            .and_then(|time| Timestamp::from_millis(time.as_millis() - eviction));
        record.expires_at = fresh_until;
        Ok(Some(Held {
            is_fresh: fresh_until.is_none_or(|time| time > Timestamp::now()),
            record,
        }))
    }
}

fn later(time: Timestamp, by: Duration) -> Option<Timestamp> {
    Timestamp::from_millis(time.as_millis() + by.as_secs_f64() * 1000.0)
}

/// Whether a stale record stands in for a source that failed.
fn may_be_stale(error: &Error, control: CacheControl) -> bool {
    let unreachable = matches!(
        error.kind(),
        ErrorKind::Unavailable | ErrorKind::GatewayTimeout
    );
    let failed = control.stale_if_error && error.status() >= 500;
    !control.must_revalidate && (unreachable || failed)
}

impl Resource for CachedTable {
    fn name(&self) -> &str {
        self.table.name()
    }

    fn methods(&self) -> Methods {
        self.table.methods()
    }

    fn table(&self) -> Option<Arc<TableDefinition>> {
        self.table.table()
    }

    fn parse_key(&self, text: &str) -> Result<Key, Error> {
        self.table.parse_key(text)
    }

    fn authorize(&self, context: &Context, actions: &[Action]) -> Result<(), Error> {
        self.table.authorize(context, actions)
    }

    fn get<'a>(&'a self, target: &'a Target, context: &'a Context) -> Answer<'a, Option<Record>> {
        Answer::pending(self.get_with(target, CacheControl::default(), context))
    }

    fn search<'a>(&'a self, target: &'a Target, context: &'a Context) -> Answer<'a, RecordStream> {
        self.table.search(target, context)
    }

    fn explain<'a>(&'a self, target: &'a Target, context: &'a Context) -> Answer<'a, Value> {
        self.table.explain(target, context)
    }

    fn write<'a>(&'a self, writes: Vec<Write>, context: &'a Context) -> Answer<'a, Vec<Written>> {
        if let Err(error) = writes
            .iter()
            .try_for_each(|write| self.check(write, context))
        {
            return Answer::ready(Err(error));
        }
        Answer::pending(async move {
            self.source.write(&writes, context).await?;
            let fresh_until = later(Timestamp::now(), self.lifetime.expiration);
            let writes = writes.into_iter().map(|write| Write {
                expires_at: self.removed_at(write.expires_at.or(fresh_until)),
                ..write
            });
            self.table.write(writes.collect(), context).await
        })
    }

    fn blob<'a>(
        &'a self,
        target: &'a Target,
        attribute: &'a str,
        context: &'a Context,
    ) -> Answer<'a, Option<Blob>> {
        Answer::pending(async move {
            // What the table lacks is fetched as for a read of the record.
            self.get_with(target, CacheControl::default(), context)
                .await?;
            self.table.blob(target, attribute, context).await
        })
    }

    fn delete_matching<'a>(&'a self, target: &'a Target, context: &'a Context) -> Answer<'a, u64> {
        Answer::pending(async move {
            let mut records = self.table.search(target, context).await?;
            let mut deleted = 0;
            while let Some(piece) = pump::next(&mut records).await {
                let keys = piece?.into_iter().filter_map(|record| record.key);
                let delete = |key| Write::new(Some(key), WriteKind::Delete, None);
                let writes: Vec<Write> = keys.map(delete).collect();
                deleted += self.write(writes, context).await?.len() as u64;
            }
            Ok(deleted)
        })
    }

    fn subscribe<'a>(
        &'a self,
        scope: Scope,
        options: &'a SubscribeOptions,
        context: &'a Context,
    ) -> Answer<'a, Subscription> {
        self.table.subscribe(scope, options, context)
    }
}
