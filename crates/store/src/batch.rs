//! One commit in the making: the engine's write transaction and what the writer knows about its tables.

use std::collections::HashMap;
use std::ops::Bound;
use std::sync::Arc;

use base::Timestamp;
use bytes::Bytes;
use heed::RwTxn;
use resource::{Error, Event, Key, Map};

use crate::FormatError;
use crate::blob::files::{BlobId, TakenFile};
use crate::blob::{self, BlobEntry};
use crate::database::Database;
use crate::document::{self, Dictionary, StoredDocument};
use crate::environment::{Engine, META_LAST_TIME, id_key};
use crate::error::EngineError;
use crate::order;
use crate::record::Stored;
use crate::stored_table::{Counters, StoredTable, TableId};
use crate::table::Table;

/// Why a transaction cannot go on.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It is refused; the others of the commit are not concerned.
    Refused(Error),
    /// The engine failed; nothing of the commit happens.
    Engine(EngineError),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<FormatError> for Failure {
    /// A damaged record fails what touches it, and nothing else.
    fn from(error: FormatError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

impl From<heed::Error> for Failure {
    fn from(error: heed::Error) -> Self {
        Self::Engine(error.into())
    }
}

/// An encoded record.
#[derive(Debug, Clone)]
pub(crate) struct Encoded {
    pub(crate) bytes: Bytes,
    pub(crate) document: Arc<StoredDocument>,
}

/// What the writer keeps from commit to commit.
///
/// Only names that were added to dictionaries: they are valid even if the commit that added them fails, and
/// are stored by the next one.
#[derive(Debug, Default)]
pub(crate) struct WriterMemory {
    dictionaries: HashMap<TableId, WriterDictionary>,
}

impl WriterMemory {
    /// Forgets a dropped table.
    pub(crate) fn forget(&mut self, table: TableId) {
        self.dictionaries.remove(&table);
    }
}

#[derive(Debug)]
struct WriterDictionary {
    names: Dictionary,
    shared: Arc<Dictionary>,
    stored_names: usize,
}

impl WriterDictionary {
    fn of(table: &Table) -> Self {
        let shared = table.dictionary();
        Self {
            names: Dictionary::clone(&shared),
            stored_names: shared.len(),
            shared,
        }
    }

    /// The dictionary in the form that documents hold, with all names so far.
    fn shared(&mut self) -> Arc<Dictionary> {
        if self.shared.len() != self.names.len() {
            self.shared = Arc::new(self.names.clone());
        }
        Arc::clone(&self.shared)
    }
}

#[derive(Debug)]
struct TableState {
    table: Arc<Table>,
    stored: Arc<StoredTable>,
    stored_changed: bool,
    counters: Counters,
    counters_changed: bool,
    /// Changes of records, for the statistics.
    written: u64,
}

/// One commit in the making.
pub(crate) struct Batch<'w> {
    pub(crate) database: &'w Database,
    pub(crate) engine: &'w Engine,
    pub(crate) txn: RwTxn<'w>,
    memory: &'w mut WriterMemory,
    tables: HashMap<TableId, TableState>,
    /// What subscribers will be told, in commit order.
    pub(crate) events: Vec<Arc<Event>>,
    /// Files that became part of a record.
    claimed: Vec<Arc<TakenFile>>,
    /// Files that no record has any more, to be removed after the commit.
    released: Vec<BlobId>,
    last_time: Timestamp,
}

impl<'w> Batch<'w> {
    pub(crate) fn begin(
        database: &'w Database,
        engine: &'w Engine,
        memory: &'w mut WriterMemory,
    ) -> Result<Self, EngineError> {
        Ok(Self {
            database,
            engine,
            txn: engine.write()?,
            memory,
            tables: HashMap::new(),
            events: Vec::new(),
            claimed: Vec::new(),
            released: Vec::new(),
            last_time: Timestamp::ZERO,
        })
    }

    /// A time later than that of every earlier change.
    pub(crate) fn tick(&mut self) -> Timestamp {
        self.last_time = self.database.common.clock.tick();
        self.last_time
    }

    /// Makes everything durable and visible: first to readers, then to subscribers. Returns whether a table
    /// was altered.
    pub(crate) fn commit(mut self) -> Result<bool, EngineError> {
        self.store_tables()?;
        if self.last_time > Timestamp::ZERO {
            let time = self.last_time;
            self.engine
                .put_meta_time(&mut self.txn, META_LAST_TIME, time)?;
        }
        self.txn.commit()?;
        for file in self.claimed.drain(..) {
            file.committed();
        }
        for file in self.released.drain(..) {
            self.database.blobs.remove(file);
        }
        for state in self.tables.values().filter(|state| state.written > 0) {
            state.table.count_written(state.written);
        }
        let mut altered = false;
        for state in self.tables.values().filter(|state| state.stored_changed) {
            state.table.replace_stored(Arc::clone(&state.stored));
            altered = true;
        }
        for (id, dictionary) in &mut self.memory.dictionaries {
            if self.tables.contains_key(id) {
                dictionary.stored_names = dictionary.shared.len();
            }
        }
        self.database.common.hub.publish(&self.events);
        Ok(altered)
    }

    /// Writes what changed about the tables. Dictionaries are shared with readers before the commit that
    /// uses their new names becomes visible.
    fn store_tables(&mut self) -> Result<(), EngineError> {
        for (id, state) in &self.tables {
            let key = id.to_be_bytes();
            if state.counters_changed {
                self.engine
                    .counters
                    .put(&mut self.txn, &key, &state.counters.encode())?;
            }
            if state.stored_changed {
                self.engine
                    .tables
                    .put(&mut self.txn, &key, &state.stored.encode())?;
            }
            let Some(dictionary) = self.memory.dictionaries.get_mut(id) else {
                continue;
            };
            let shared = dictionary.shared();
            if shared.len() > dictionary.stored_names {
                self.engine
                    .dictionaries
                    .put(&mut self.txn, &key, &shared.encode())?;
                state.table.replace_dictionary(shared);
            }
        }
        Ok(())
    }

    /// Makes a table known to the commit; the other methods need that.
    pub(crate) fn load(&mut self, table: &Arc<Table>) -> Result<(), EngineError> {
        if self.tables.contains_key(&table.id()) {
            return Ok(());
        }
        let counters = match self
            .engine
            .counters
            .get(&self.txn, &table.id().to_be_bytes())?
        {
            Some(bytes) => Counters::decode(bytes)?,
            None => Counters::default(),
        };
        self.memory
            .dictionaries
            .entry(table.id())
            .or_insert_with(|| WriterDictionary::of(table));
        self.tables.insert(
            table.id(),
            TableState {
                table: Arc::clone(table),
                stored: table.stored(),
                stored_changed: false,
                counters,
                counters_changed: false,
                written: 0,
            },
        );
        Ok(())
    }

    fn state(&mut self, table: &Table) -> &mut TableState {
        self.tables
            .get_mut(&table.id())
            .expect("tables are loaded before they are used")
    }

    /// The definition as this commit leaves it.
    pub(crate) fn stored(&self, table: &Table) -> &Arc<StoredTable> {
        let state = self.tables.get(&table.id());
        &state
            .expect("tables are loaded before they are used")
            .stored
    }

    /// Changes the definition.
    pub(crate) fn replace_stored(&mut self, table: &Table, stored: StoredTable) {
        let state = self.state(table);
        state.stored = Arc::new(stored);
        state.stored_changed = true;
    }

    /// The counters, to be changed.
    pub(crate) fn counters(&mut self, table: &Table) -> &mut Counters {
        let state = self.state(table);
        state.counters_changed = true;
        &mut state.counters
    }

    /// Notes the change of a record.
    pub(crate) fn count_written(&mut self, table: &Table) {
        self.state(table).written += 1;
    }

    /// What is stored under a key.
    pub(crate) fn read(
        &self,
        table: TableId,
        encoded_key: &[u8],
    ) -> Result<Option<Stored>, Failure> {
        let bytes = self
            .engine
            .records
            .get(&self.txn, &id_key(table, encoded_key))?;
        Ok(bytes.map(Stored::copy).transpose()?)
    }

    /// The contents of type `Blob` of a record.
    pub(crate) fn blobs(
        &self,
        table: TableId,
        encoded_key: &[u8],
    ) -> Result<Vec<BlobEntry>, Failure> {
        let stored = self
            .engine
            .blobs
            .get(&self.txn, &id_key(table, encoded_key))?;
        Ok(stored.map(blob::decode).transpose()?.unwrap_or_default())
    }

    /// Whether a file is or was part of a record, as this commit sees it.
    pub(crate) fn is_claimed(&self, file: &TakenFile) -> Result<bool, Failure> {
        let known = self
            .engine
            .blob_files
            .get(&self.txn, &file.id().to_be_bytes())?;
        let here = self.claimed.iter().any(|claimed| claimed.id() == file.id());
        Ok(known.is_some() || here || file.is_committed())
    }

    /// Notes files that became part of a record.
    pub(crate) fn claim(&mut self, files: Vec<Arc<TakenFile>>) {
        self.claimed.extend(files);
    }

    /// Replaces the contents of type `Blob` of a record.
    pub(crate) fn replace_blobs(
        &mut self,
        record_key: &[u8],
        old: &[BlobEntry],
        new: &[BlobEntry],
    ) -> Result<(), Failure> {
        let (engine, txn) = (self.engine, &mut self.txn);
        match new {
            [] => {
                engine.blobs.delete(txn, record_key)?;
            }
            new => engine.blobs.put(txn, record_key, &blob::encode(new))?,
        }
        let has = |entries: &[BlobEntry], id| entries.iter().any(|entry| entry.file() == Some(id));
        for id in old
            .iter()
            .filter_map(BlobEntry::file)
            .filter(|id| !has(new, *id))
        {
            engine.blob_files.delete(txn, &id.to_be_bytes())?;
            self.released.push(id);
        }
        for id in new
            .iter()
            .filter_map(BlobEntry::file)
            .filter(|id| !has(old, *id))
        {
            engine.blob_files.put(txn, &id.to_be_bytes(), record_key)?;
        }
        Ok(())
    }

    /// The greatest key of a table before `end`, a key of the sub-store of records.
    pub(crate) fn key_before(&self, end: &[u8], table: TableId) -> Result<Option<Key>, Failure> {
        let start = table.to_be_bytes();
        let bounds = (Bound::Included(&start[..]), Bound::Excluded(end));
        let last = self.engine.records.rev_range(&self.txn, &bounds)?.next();
        match last.transpose()? {
            Some((key, _)) => Ok(Some(order::decode_key(&key[4..])?)),
            None => Ok(None),
        }
    }

    /// Encodes a record.
    pub(crate) fn encode(&mut self, table: &Table, record: &Map) -> Result<Encoded, Failure> {
        let bytes = Bytes::from(self.encode_bytes(table, record)?);
        let document = self.open_bytes(table, bytes.clone())?;
        Ok(Encoded { bytes, document })
    }

    /// Encodes the properties of a patch or a message, for the log.
    pub(crate) fn encode_bytes(&mut self, table: &Table, map: &Map) -> Result<Vec<u8>, Failure> {
        Ok(document::encode(map, &mut self.dictionary(table).names)?)
    }

    /// A stored record, to read its attributes.
    pub(crate) fn open(
        &mut self,
        table: &Table,
        stored: &Stored,
    ) -> Result<Arc<StoredDocument>, Failure> {
        self.open_bytes(table, stored.document.clone())
    }

    fn open_bytes(&mut self, table: &Table, bytes: Bytes) -> Result<Arc<StoredDocument>, Failure> {
        let dictionary = self.dictionary(table).shared();
        let computed = table.computed(&self.stored(table).definition);
        let document = StoredDocument::open(bytes, dictionary)?.with_computed(computed);
        Ok(Arc::new(document))
    }

    fn dictionary(&mut self, table: &Table) -> &mut WriterDictionary {
        let dictionary = self.memory.dictionaries.get_mut(&table.id());
        dictionary.expect("tables are loaded before they are used")
    }
}
