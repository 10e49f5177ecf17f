//! Checking that a database fits together: what a crash must never break.

use std::collections::{HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use base::Timestamp;
use bytes::Bytes;
use heed::RoTxn;
use resource::{Document as _, EventKind};

use crate::audit::{LogEntry, log_key};
use crate::blob::files::BlobFiles;
use crate::blob::{self, Place};
use crate::database::Database;
use crate::document::StoredDocument;
use crate::environment::{Engine, META_LOG_START, id_key, id_range, read_time};
use crate::error::EngineError;
use crate::expiry::expiry_key;
use crate::maintenance::can_build;
use crate::record::{self, Header};
use crate::stored_table::{Counters, IndexState, StoredTable, TableId};
use crate::table::Table;
use crate::{index, order};

/// Problems that are described; more are only counted.
const MAX_PROBLEMS: usize = 100;

/// What a check of a database found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verification {
    /// Records read.
    pub records: u64,
    /// Index entries compared.
    pub index_entries: u64,
    /// Log entries compared.
    pub log_entries: u64,
    /// Files of contents of type `Blob` that were read and compared with their checksums.
    pub blob_files: u64,
    /// How many problems there are.
    pub problem_count: u64,
    /// The first hundred of them, in words.
    pub problems: Vec<String>,
}

impl Verification {
    fn problem(&mut self, problem: String) {
        self.problem_count += 1;
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem);
        }
    }
}

/// Checks a database in one snapshot. Reading the log needs memory for one digest a record.
pub(crate) fn verify(database: &Database) -> Result<Verification, resource::Error> {
    let _permit = database.snapshot_permit()?;
    let engine = database.engine()?;
    let txn = engine.snapshot()?;
    let by_name = database.tables.load_full();
    let mut tables = HashMap::new();
    for entry in engine.tables.iter(&txn).map_err(EngineError::from)? {
        let (_, bytes) = entry.map_err(EngineError::from)?;
        let stored = StoredTable::decode(bytes)?;
        // One that was dropped since the snapshot is left out.
        if let Some(table) = by_name
            .get(&stored.definition.table)
            .filter(|table| table.id() == stored.id)
        {
            tables.insert(stored.id, (Arc::clone(table), stored));
        }
    }
    let mut verifier = Verifier {
        engine: &engine,
        files: &database.blobs,
        txn: &txn,
        log_start: engine.meta_time(&txn, META_LOG_START)?,
        found: Verification::default(),
    };
    for (table, stored) in tables.values() {
        verifier.table(table, stored)?;
    }
    verifier.blob_notes(&tables)?;
    verifier.log(&tables)?;
    Ok(verifier.found)
}

/// The tables of the snapshot.
type Tables = HashMap<TableId, (Arc<Table>, StoredTable)>;

struct Verifier<'v> {
    engine: &'v Engine,
    files: &'v BlobFiles,
    txn: &'v RoTxn<'v>,
    log_start: Timestamp,
    found: Verification,
}

impl Verifier<'_> {
    fn table(&mut self, table: &Table, stored: &StoredTable) -> Result<(), EngineError> {
        let name = table.table_name().to_owned();
        let indexes: Vec<_> = stored
            .indexes
            .iter()
            // What a function that is not registered has put into an index can not be worked out again.
            .filter(|index| index.state == IndexState::Ready && can_build(table, stored, index))
            .collect();
        let mut expected: HashMap<u32, u64> = indexes.iter().map(|index| (index.id, 0)).collect();
        let mut counted = Counters::default();
        let (lower, upper) = id_range(stored.id);
        let bounds = (Bound::Included(&lower[..]), Bound::Excluded(&upper[..]));
        for entry in self.engine.records.range(self.txn, &bounds)? {
            let (key, bytes) = entry?;
            counted.records += 1;
            counted.record_bytes += (key.len() + bytes.len()) as u64;
            let encoded_key = &key[4..];
            if let Err(error) = order::decode_key(encoded_key) {
                self.found.problem(format!("{name}: {error}"));
            }
            let Some((header, document)) = self.record(table, encoded_key, bytes)? else {
                continue;
            };
            for index in &indexes {
                let value = document.attribute(&index.attribute);
                if index.sorts && !index::sorts(value.as_ref()) {
                    let attribute = &index.attribute;
                    self.found.problem(format!(
                        "{name}: the index of {attribute} does not sort a record"
                    ));
                }
                for entry in index::entries(index.id, value.as_ref(), encoded_key) {
                    *expected.entry(index.id).or_default() += 1;
                    counted.index_bytes += entry.len();
                    if self.engine.indexes.get(self.txn, &entry.key)? != Some(&entry.data[..]) {
                        let attribute = &index.attribute;
                        self.found.problem(format!(
                            "{name}: a record is missing in the index of {attribute}"
                        ));
                    }
                }
            }
            self.expiry(&name, stored.id, encoded_key, &header)?;
            if header.has_blobs {
                self.blobs(&name, key)?;
            }
        }
        self.found.records += counted.records;
        self.index_sizes(&name, &expected)?;
        let all_ready = indexes.len() == stored.indexes.len();
        self.counters(&name, stored.id, &counted, all_ready)
    }

    fn record(
        &mut self,
        table: &Table,
        encoded_key: &[u8],
        bytes: &[u8],
    ) -> Result<Option<(Header, StoredDocument)>, EngineError> {
        let name = table.table_name();
        let opened = record::split(bytes).and_then(|(header, _, document)| {
            let document =
                StoredDocument::open(Bytes::copy_from_slice(document), table.dictionary())?
                    .with_computed(table.computed(&table.stored().definition));
            document.verify()?;
            Ok((header, document))
        });
        let (header, document) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.found.problem(format!("{name}: {error}"));
                return Ok(None);
            }
        };
        if header.audited && header.local_time > self.log_start {
            let entry = self.engine.log.get(self.txn, &log_key(header.local_time))?;
            let entry = entry.map(LogEntry::decode).transpose()?;
            let same = entry.is_some_and(|entry| {
                entry.table == table.id()
                    && entry.key == Some(encoded_key)
                    && entry.version == header.version
                    && matches!(entry.kind, EventKind::Put | EventKind::Patch)
            });
            if !same {
                self.found.problem(format!(
                    "{name}: the log lacks the newest change of a record"
                ));
            }
        }
        Ok(Some((header, document)))
    }

    /// What the commit says a record has must be there.
    fn blobs(&mut self, name: &str, record_key: &[u8]) -> Result<(), EngineError> {
        let entries = self.engine.blobs.get(self.txn, record_key)?;
        let entries = match entries.map(blob::decode) {
            Some(Ok(entries)) => entries,
            Some(Err(error)) => {
                self.found.problem(format!("{name}: {error}"));
                return Ok(());
            }
            None => {
                self.found
                    .problem(format!("{name}: a record lacks its blobs"));
                return Ok(());
            }
        };
        for entry in entries {
            let Place::File { id, checksum } = entry.place else {
                continue;
            };
            let key = id.to_be_bytes();
            if self.engine.blob_files.get(self.txn, &key)? != Some(record_key) {
                self.found
                    .problem(format!("{name}: a file of a blob is not noted"));
            }
            self.found.blob_files += 1;
            let problem = match self.files.checked(id) {
                Ok(found) if found == (entry.size, checksum) => continue,
                Ok(_) => "a file of a blob is damaged".to_owned(),
                Err(error) => format!("a file of a blob cannot be read: {error}"),
            };
            // It may have been replaced since the snapshot.
            let now = self.engine.read()?;
            if self.engine.blob_files.get(&now, &key)?.is_some() {
                self.found.problem(format!("{name}: {problem}"));
            }
        }
        Ok(())
    }

    /// Every file that is noted belongs to a record; tables that were dropped are left out.
    fn blob_notes(&mut self, tables: &Tables) -> Result<(), EngineError> {
        let mut noted = 0;
        for entry in self.engine.blob_files.iter(self.txn)? {
            let (_, record_key) = entry?;
            let table = record_key.first_chunk().map(|id| u32::from_be_bytes(*id));
            noted += u64::from(table.is_some_and(|table| tables.contains_key(&table)));
        }
        if noted != self.found.blob_files {
            let used = self.found.blob_files;
            self.found.problem(format!(
                "{noted} files of blobs are noted, but {used} are used"
            ));
        }
        Ok(())
    }

    fn expiry(
        &mut self,
        name: &str,
        table: TableId,
        encoded_key: &[u8],
        header: &Header,
    ) -> Result<(), EngineError> {
        if let Some(expires_at) = header.expires_at {
            let entry = self
                .engine
                .expiry
                .get(self.txn, &expiry_key(expires_at, table, encoded_key))?;
            if entry != Some(encoded_key) {
                self.found
                    .problem(format!("{name}: the expiry of a record is not noted"));
            }
        }
        Ok(())
    }

    /// As every expected entry exists, an index of that size has no other entries.
    fn index_sizes(&mut self, name: &str, expected: &HashMap<u32, u64>) -> Result<(), EngineError> {
        for (id, expected) in expected {
            let (lower, upper) = id_range(*id);
            let bounds = (Bound::Included(&lower[..]), Bound::Excluded(&upper[..]));
            let entries = self.engine.indexes.range(self.txn, &bounds)?.count() as u64;
            self.found.index_entries += entries;
            if entries != *expected {
                self.found.problem(format!(
                    "{name}: an index has {entries} entries instead of {expected}"
                ));
            }
        }
        Ok(())
    }

    fn counters(
        &mut self,
        name: &str,
        id: TableId,
        counted: &Counters,
        all_ready: bool,
    ) -> Result<(), EngineError> {
        let stored = self.engine.counters.get(self.txn, &id.to_be_bytes())?;
        let stored = stored
            .map(Counters::decode)
            .transpose()?
            .unwrap_or_default();
        let same = stored.records == counted.records
            && stored.record_bytes == counted.record_bytes
            && (!all_ready || stored.index_bytes >= counted.index_bytes);
        if !same {
            self.found.problem(format!(
                "{name}: counted {} records of {} bytes, but stored are {} of {}",
                counted.records, counted.record_bytes, stored.records, stored.record_bytes
            ));
        }
        Ok(())
    }

    /// The newest change of every record in the log must be the state of the record.
    fn log(&mut self, tables: &Tables) -> Result<(), EngineError> {
        let mut seen = HashSet::new();
        let now = Timestamp::now();
        for entry in self.engine.log.rev_iter(self.txn)? {
            let (time, bytes) = entry?;
            self.found.log_entries += 1;
            let entry = match LogEntry::decode(bytes) {
                Ok(entry) => entry,
                Err(error) => {
                    self.found.problem(format!("log: {error}"));
                    continue;
                }
            };
            let (Some(key), Some((table, _))) = (entry.key, tables.get(&entry.table)) else {
                continue;
            };
            if entry.kind == EventKind::Message || !seen.insert((entry.table, key.to_vec())) {
                continue;
            }
            let stored = self
                .engine
                .records
                .get(self.txn, &id_key(entry.table, key))?;
            let header = stored
                .and_then(|bytes| record::split(bytes).ok())
                .map(|(header, _, _)| header);
            let agrees = match (entry.kind, header) {
                (EventKind::Delete | EventKind::Invalidate, header) => {
                    header.is_none_or(|header| header.local_time > read_time(time))
                }
                (_, Some(header)) => header.local_time >= read_time(time),
                (_, None) => entry.expires_at > Timestamp::ZERO && entry.expires_at <= now,
            };
            if !agrees {
                self.found.problem(format!(
                    "{}: a record is not as the newest change in the log says",
                    table.table_name()
                ));
            }
        }
        Ok(())
    }
}
