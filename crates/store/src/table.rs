//! A table as a resource.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use base::Timestamp;
use bytes::Bytes;
use resource::access::require_any;
use resource::{
    Action, Answer, AttributeType, Blob, BlobStream, Context, Document as _, Error, Key, Methods,
    Query, Record, RecordStream, Resource, Scope, Select, SourceId, SubscribeOptions, Subscription,
    TableDefinition, TakenBlob, Target, Value, Write, WriteKind, WriteOutcome, Written,
};
use tokio::sync::oneshot;

use crate::blob::{self, BlobEntry, Place};
use crate::computed::{ComputeFunction, ComputedSet, Functions};
use crate::counter::Counter;
use crate::database::Database;
use crate::document::{Dictionary, StoredDocument};
use crate::environment::id_key;
use crate::error::EngineError;
use crate::filter::Filter;
use crate::order;
use crate::prepare::{Author, PreparedWrite, prepare};
use crate::pump::{self, Pump};
use crate::record;
use crate::search::{Readable, Search};
use crate::snapshot::{Found, ReadCounters};
use crate::stored_table::{StoredTable, TableId};
use crate::structure::missing_table;
use crate::writer::{Command, Transaction};
use crate::{subscribe, validate};

/// Records that `delete_matching` removes in one transaction.
const DELETE_BATCH: usize = 10_000;
/// How often a record is read again whose content was replaced while it was being opened.
const BLOB_ATTEMPTS: usize = 8;

/// A table of a [`Store`](crate::Store).
///
/// It stays the same object when its schema changes. After a drop it answers 404.
pub struct Table {
    this: std::sync::Weak<Self>,
    id: TableId,
    name: String,
    source: SourceId,
    database: Arc<Database>,
    stored: ArcSwap<StoredTable>,
    dictionary: ArcSwap<Dictionary>,
    functions: ArcSwap<Functions>,
    /// The computed attributes of the definition that was asked for last.
    computed: ArcSwapOption<ComputedOf>,
    dropped: AtomicBool,
    /// Whether the table caches a source.
    sourced: AtomicBool,
    records_read: Counter,
    records_written: AtomicU64,
}

struct ComputedOf {
    definition: Arc<TableDefinition>,
    functions: Arc<Functions>,
    set: Option<Arc<ComputedSet>>,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("database", &self.database.name)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Table {
    pub(crate) fn new(
        database: &Arc<Database>,
        stored: StoredTable,
        dictionary: Dictionary,
    ) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            id: stored.id,
            name: stored.definition.table.clone(),
            source: SourceId::next(),
            database: Arc::clone(database),
            stored: ArcSwap::from_pointee(stored),
            dictionary: ArcSwap::from_pointee(dictionary),
            functions: ArcSwap::default(),
            computed: ArcSwapOption::default(),
            dropped: AtomicBool::new(false),
            sourced: AtomicBool::new(false),
            records_read: Counter::default(),
            records_written: AtomicU64::new(0),
        })
    }

    pub(crate) fn id(&self) -> TableId {
        self.id
    }

    pub(crate) fn table_name(&self) -> &str {
        &self.name
    }

    pub(crate) fn source(&self) -> SourceId {
        self.source
    }

    pub(crate) fn database(&self) -> &Arc<Database> {
        &self.database
    }

    pub(crate) fn stored(&self) -> Arc<StoredTable> {
        self.stored.load_full()
    }

    pub(crate) fn replace_stored(&self, stored: Arc<StoredTable>) {
        self.stored.store(stored);
    }

    pub(crate) fn dictionary(&self) -> Arc<Dictionary> {
        self.dictionary.load_full()
    }

    pub(crate) fn replace_dictionary(&self, dictionary: Arc<Dictionary>) {
        self.dictionary.store(dictionary);
    }

    /// The computed attributes of a definition of this table.
    pub(crate) fn computed(&self, definition: &Arc<TableDefinition>) -> Option<Arc<ComputedSet>> {
        let functions = self.functions.load_full();
        if let Some(known) = &*self.computed.load()
            && Arc::ptr_eq(&known.definition, definition)
            && Arc::ptr_eq(&known.functions, &functions)
        {
            return known.set.clone();
        }
        // A definition was checked before it was stored.
        let set = ComputedSet::of(definition, &functions).ok().flatten();
        let set = set.map(Arc::new);
        self.computed.store(Some(Arc::new(ComputedOf {
            definition: Arc::clone(definition),
            functions,
            set: set.clone(),
        })));
        set
    }

    /// Sets the function of a computed attribute.
    ///
    /// # Errors
    ///
    /// 404 if the attribute is not declared, 400 if it is not one that a function computes.
    pub(crate) fn set_function(&self, name: &str, function: ComputeFunction) -> Result<(), Error> {
        let stored = self.stored.load();
        let attribute = stored.definition.attribute(name);
        let attribute = attribute
            .ok_or_else(|| Error::not_found(format!("{name} is not a defined attribute")))?;
        if !matches!(&attribute.computed, Some(computed) if computed.from.is_none()) {
            return Err(Error::bad_request(format!(
                "{name} is not an attribute that a function computes"
            )));
        }
        self.functions.rcu(|functions| {
            let mut functions = Functions::clone(functions);
            functions.insert(name.to_owned(), Arc::clone(&function));
            functions
        });
        Ok(())
    }

    /// Counts what a query has read.
    pub(crate) fn count_query(&self, read: &ReadCounters) {
        self.count_read(read.records.get());
        self.database.counts.add(read);
    }

    fn count_read(&self, records: u64) {
        self.records_read.add(records);
        self.database.records_read.add(records);
    }

    /// Counts committed changes; called by the writer thread.
    pub(crate) fn count_written(&self, records: u64) {
        self.records_written.fetch_add(records, Ordering::Relaxed);
    }

    /// Records read, by key and by queries, and changes committed since the database was opened.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let written = self.records_written.load(Ordering::Relaxed);
        (self.records_read.sum(), written)
    }

    /// Makes the table the cache of one source; `false` if it is that already.
    pub(crate) fn claim_source(&self) -> bool {
        !self.sourced.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn is_dropped(&self) -> bool {
        self.dropped.load(Ordering::Acquire)
    }

    pub(crate) fn mark_dropped(&self) {
        self.dropped.store(true, Ordering::Release);
    }

    pub(crate) fn missing(&self) -> Error {
        missing_table(&self.database.name, &self.name)
    }

    fn arc(&self) -> Arc<Self> {
        self.this
            .upgrade()
            .expect("a borrowed table is held by an Arc")
    }

    pub(crate) fn access(&self, context: &Context, actions: &[Action]) -> Result<Readable, Error> {
        let access = require_any(context, &self.database.name, &self.name, actions)?;
        Ok(Readable {
            attributes: access.attributes,
            primary_key: self.stored.load().definition.primary_key.clone(),
        })
    }

    fn read(&self, target: &Target, context: &Context) -> Result<Option<Record>, Error> {
        let readable = self.access(context, &[Action::Read])?;
        if self.is_dropped() {
            return Err(self.missing());
        }
        let Some(key) = &target.key else {
            return Err(Error::bad_request("A record is addressed by its key"));
        };
        let encoded_key = order::encode_key(key)?;
        match self.read_record(encoded_key)? {
            Some(found) => crate::search::record(found, &readable).map(Some),
            None => Ok(None),
        }
    }

    /// The live record of a key, on the calling thread.
    pub(crate) fn find(&self, key: &Key) -> Result<Option<Found>, Error> {
        if self.is_dropped() {
            return Err(self.missing());
        }
        self.read_record(order::encode_key(key)?)
    }

    fn read_record(&self, encoded_key: Vec<u8>) -> Result<Option<Found>, Error> {
        let engine = self.database.engine()?;
        let txn = engine.read()?;
        let stored = engine.records.get(&txn, &id_key(self.id, &encoded_key));
        let Some(bytes) = stored.map_err(EngineError::from)? else {
            return Ok(None);
        };
        self.count_read(1);
        let (header, _, document) = record::split(bytes)?;
        if header.is_expired(Timestamp::now()) {
            return Ok(None);
        }
        let bytes = bytes::Bytes::copy_from_slice(document);
        // Names are shared before the commit that uses them, so those loaded now are all that were read.
        let document = StoredDocument::open(bytes, self.dictionary())?
            .with_computed(self.computed(&self.stored.load().definition));
        Ok(Some(Found {
            encoded_key,
            header,
            document: Arc::new(document),
        }))
    }

    /// Takes content for an attribute that the caller may write.
    async fn take_blob(
        &self,
        attribute: &str,
        media_type: Option<&str>,
        content: BlobStream,
        context: &Context,
    ) -> Result<TakenBlob, Error> {
        const WRITES: [Action; 2] = [Action::Insert, Action::Update];
        let access = require_any(context, &self.database.name, &self.name, &WRITES)?;
        let definition = Arc::clone(&self.stored.load().definition);
        check_blob(&definition, attribute)?;
        let may_write = access.attributes.as_ref().is_none_or(|attributes| {
            let allows = |action| attributes.allows(action, attribute, &definition.primary_key);
            WRITES
                .into_iter()
                .any(|action| access.allows(action) && allows(action))
        });
        if !may_write {
            return Err(forbidden_attribute(attribute));
        }
        blob::take(&self.database, media_type, content).await
    }

    async fn open_blob(
        &self,
        target: &Target,
        attribute: &str,
        context: &Context,
    ) -> Result<Option<Blob>, Error> {
        let readable = self.access(context, &[Action::Read])?;
        check_blob(&self.stored.load().definition, attribute)?;
        if !readable.allows(attribute) {
            return Err(forbidden_attribute(attribute));
        }
        let Some(key) = &target.key else {
            return Err(Error::bad_request("A record is addressed by its key"));
        };
        let encoded_key = order::encode_key(key)?;
        for _ in 0..BLOB_ATTEMPTS {
            if self.is_dropped() {
                return Err(self.missing());
            }
            let Some((entry, text, version)) = self.blob_entry(&encoded_key, attribute)? else {
                return Ok(None);
            };
            // Without its file the record was replaced meanwhile.
            if let Some(blob) = blob::open(&self.database, entry, text, version).await? {
                return Ok(Some(blob));
            }
        }
        Err(Error::internal(format!(
            "the file of a blob in {attribute} of table {} is missing",
            self.name
        )))
    }

    /// Where the content of an attribute is, the content itself if the record holds it, and the version.
    fn blob_entry(
        &self,
        encoded_key: &[u8],
        attribute: &str,
    ) -> Result<Option<(BlobEntry, Bytes, Timestamp)>, Error> {
        let engine = self.database.engine()?;
        let txn = engine.read()?;
        let record_key = id_key(self.id, encoded_key);
        let stored = engine.records.get(&txn, &record_key);
        let Some(bytes) = stored.map_err(EngineError::from)? else {
            return Ok(None);
        };
        let (header, _, document) = record::split(bytes)?;
        if header.is_expired(Timestamp::now()) || !header.has_blobs {
            return Ok(None);
        }
        let entries = engine.blobs.get(&txn, &record_key);
        let entries = entries.map_err(EngineError::from)?.map(blob::decode);
        let mut entries = entries.transpose()?.unwrap_or_default().into_iter();
        let Some(entry) = entries.find(|entry| entry.attribute == attribute) else {
            return Ok(None);
        };
        let text = match entry.place {
            Place::Record => {
                let document = Bytes::copy_from_slice(document);
                let document = StoredDocument::open(document, self.dictionary())?;
                match document.attribute(attribute) {
                    Some(Value::String(text)) => Bytes::from(text),
                    _ => Bytes::new(),
                }
            }
            Place::Here(_) | Place::File { .. } => Bytes::new(),
        };
        Ok(Some((entry, text, header.version)))
    }

    fn new_search(&self, target: &Target, readable: Readable, context: &Context) -> Search {
        let prefix = target.key.as_ref().map(Key::to_string);
        let query = target.query.clone();
        Search::new(&self.arc(), query, prefix, readable, context)
    }

    /// Whether a selection asks for more than the attributes of the record.
    pub(crate) fn is_joined(&self, target: &Target) -> bool {
        let definition = Arc::clone(&self.stored.load().definition);
        let is_not_stored = |name: &str| {
            let attribute = definition.attribute(name);
            attribute.is_some_and(|attribute| !attribute.is_stored())
        };
        if target.query.select.is_none() {
            let mut attributes = definition.attributes.iter();
            return attributes.any(|attribute| attribute.enumerable && !attribute.is_stored());
        }
        let mut items = target.query.select.iter().flat_map(Select::items);
        items.any(|item| item.nested.is_some() || is_not_stored(&item.name))
    }

    async fn read_joined(
        &self,
        target: &Target,
        context: &Context,
    ) -> Result<Option<Record>, Error> {
        let readable = self.access(context, &[Action::Read])?;
        let Some(key) = target.key.clone() else {
            return Err(Error::bad_request("A record is addressed by its key"));
        };
        let query = Query {
            select: target.query.select.clone(),
            ..Query::default()
        };
        let mut search = Search::new(&self.arc(), query, None, readable, context);
        pump::run(&self.database.common.pool, move || search.one(&key)).await
    }

    async fn delete_all(&self, target: &Target, context: &Context) -> Result<u64, Error> {
        let readable = self.access(context, &[Action::Delete])?;
        self.access(context, &[Action::Read])?;
        let mut search = self.new_search(target, readable, context);
        search = pump::run(&self.database.common.pool, move || {
            search.begin().map(|()| search)
        })
        .await?;
        let filter = search.filter().cloned().map(Arc::new);
        let mut search = Some(search);
        let mut deleted = 0;
        while let Some(mut unfinished) = search.take() {
            let (keys, rest) = pump::run(&self.database.common.pool, move || {
                let (keys, done) = collect_keys(&mut unfinished)?;
                Ok((keys, (!done).then_some(unfinished)))
            })
            .await?;
            search = rest;
            deleted += self.delete_keys(keys, filter.as_ref(), context).await?;
        }
        Ok(deleted)
    }

    async fn delete_keys(
        &self,
        keys: Vec<Key>,
        filter: Option<&Arc<Filter>>,
        context: &Context,
    ) -> Result<u64, Error> {
        let table = self.arc();
        let prepare_one = |key| {
            let mut write = prepare(
                &table,
                Write::new(Some(key), WriteKind::Delete, None),
                context,
            )?;
            // It may have changed since the search.
            write.only_if = filter.cloned();
            Ok(write)
        };
        let writes = keys
            .into_iter()
            .map(prepare_one)
            .collect::<Result<Vec<_>, Error>>()?;
        let written = commit(&self.database, writes, context)?.await?;
        let deleted = written
            .iter()
            .filter(|written| written.outcome == WriteOutcome::Deleted);
        Ok(deleted.count() as u64)
    }
}

/// 404 or 400 unless an attribute is of type `Blob`.
fn check_blob(definition: &TableDefinition, name: &str) -> Result<(), Error> {
    match definition.attribute(name) {
        Some(attribute) if attribute.kind == AttributeType::Blob => Ok(()),
        Some(_) => Err(Error::bad_request(format!("{name} is not of type Blob"))),
        None => Err(Error::not_found(format!(
            "{name} is not a defined attribute"
        ))),
    }
}

fn forbidden_attribute(name: &str) -> Error {
    Error::forbidden(format!("Unauthorized access to attribute '{name}'"))
}

/// Up to [`DELETE_BATCH`] keys of matches, roughly; `true` after the last ones.
fn collect_keys(search: &mut Search) -> Result<(Vec<Key>, bool), Error> {
    let mut keys = Vec::new();
    loop {
        let (found, done) = search.next_found(&|| false)?;
        for found in found {
            keys.push(found.key()?);
        }
        if done || keys.len() >= DELETE_BATCH {
            return Ok((keys, done));
        }
    }
}

/// Queues a transaction; the future gives its result. Dropping the future does not undo the transaction.
///
/// # Errors
///
/// 503 when the queue is full.
pub(crate) fn commit(
    database: &Database,
    writes: Vec<PreparedWrite>,
    context: &Context,
) -> Result<impl Future<Output = Result<Vec<Written>, Error>> + Send + use<>, Error> {
    let (reply, answer) = oneshot::channel();
    let count = writes.len();
    let transaction = Transaction {
        writes,
        author: Author::of(context),
        reply,
    };
    if count > 0 {
        database
            .queue
            .push(Command::Transaction(transaction), count)?;
    } else {
        drop(transaction.reply.send(Ok(Vec::new())));
    }
    Ok(async move {
        let lost = || Err(Error::internal("the writer of the database failed"));
        answer.await.unwrap_or_else(|_| lost())
    })
}

impl Resource for Table {
    fn name(&self) -> &str {
        &self.name
    }

    fn methods(&self) -> Methods {
        Methods::TABLE
    }

    fn table(&self) -> Option<Arc<TableDefinition>> {
        Some(Arc::clone(&self.stored.load().definition))
    }

    fn parse_key(&self, text: &str) -> Result<Key, Error> {
        validate::key_from_text(&self.stored.load().definition, text)
    }

    fn authorize(&self, context: &Context, actions: &[Action]) -> Result<(), Error> {
        require_any(context, &self.database.name, &self.name, actions).map(drop)
    }

    fn get<'a>(&'a self, target: &'a Target, context: &'a Context) -> Answer<'a, Option<Record>> {
        match self.is_joined(target) {
            false => Answer::ready(self.read(target, context)),
            true => Answer::pending(self.read_joined(target, context)),
        }
    }

    fn search<'a>(&'a self, target: &'a Target, context: &'a Context) -> Answer<'a, RecordStream> {
        let readable = match self.access(context, &[Action::Read]) {
            Ok(readable) => readable,
            Err(error) => return Answer::ready(Err(error)),
        };
        let mut search = self.new_search(target, readable, context);
        Answer::pending(async move {
            let common = &self.database.common;
            let pool = &common.pool;
            let search = pump::run(pool, move || search.begin().map(|()| search)).await?;
            let stream: RecordStream =
                Box::pin(Pump::new(pool, search, common.config.max_snapshot_age));
            Ok(stream)
        })
    }

    fn explain<'a>(&'a self, target: &'a Target, context: &'a Context) -> Answer<'a, Value> {
        let readable = match self.access(context, &[Action::Read]) {
            Ok(readable) => readable,
            Err(error) => return Answer::ready(Err(error)),
        };
        let mut search = self.new_search(target, readable, context);
        Answer::pending(pump::run(&self.database.common.pool, move || {
            search.explain()
        }))
    }

    fn write<'a>(&'a self, writes: Vec<Write>, context: &'a Context) -> Answer<'a, Vec<Written>> {
        let table = self.arc();
        let prepared = writes
            .into_iter()
            .map(|write| prepare(&table, write, context))
            .collect::<Result<Vec<_>, _>>();
        match prepared.and_then(|writes| commit(&self.database, writes, context)) {
            Ok(answer) => Answer::pending(answer),
            Err(error) => Answer::ready(Err(error)),
        }
    }

    fn upload<'a>(
        &'a self,
        attribute: &'a str,
        media_type: Option<&'a str>,
        content: BlobStream,
        context: &'a Context,
    ) -> Answer<'a, TakenBlob> {
        Answer::pending(self.take_blob(attribute, media_type, content, context))
    }

    fn blob<'a>(
        &'a self,
        target: &'a Target,
        attribute: &'a str,
        context: &'a Context,
    ) -> Answer<'a, Option<Blob>> {
        Answer::pending(self.open_blob(target, attribute, context))
    }

    fn delete_matching<'a>(&'a self, target: &'a Target, context: &'a Context) -> Answer<'a, u64> {
        Answer::pending(self.delete_all(target, context))
    }

    fn subscribe<'a>(
        &'a self,
        scope: Scope,
        options: &'a SubscribeOptions,
        context: &'a Context,
    ) -> Answer<'a, Subscription> {
        let table = self.arc();
        Answer::pending(async move { subscribe::subscribe(&table, scope, options, context).await })
    }
}
