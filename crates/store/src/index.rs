//! Keys of secondary indexes: `index id ++ value ++ primary key`.
//!
//! Entries with the same value are ordered by primary key. A primary key that is too long to stand behind a
//! value is cut and replaced by its digest; the entry's value then holds the whole key.

use resource::Value;
use sha2::{Digest as _, Sha256};

use crate::FormatError;
use crate::environment::id_key;
use crate::order;

/// Longest primary key that stands in an index entry as it is. The engine takes keys of 1982 bytes; an
/// index id takes 4, a value up to about 540.
const MAX_INLINE_KEY_BYTES: usize = 1400;

const DIGEST_BYTES: usize = 16;

/// An index entry, ready to be stored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) key: Vec<u8>,
    pub(crate) data: Vec<u8>,
}

impl Entry {
    /// The entry of an encoded value and primary key.
    pub(crate) fn new(index: u32, value: &[u8], primary_key: &[u8]) -> Self {
        let mut key = id_key(index, value);
        if primary_key.len() <= MAX_INLINE_KEY_BYTES {
            key.extend_from_slice(primary_key);
            return Self {
                key,
                data: Vec::new(),
            };
        }
        key.extend_from_slice(&primary_key[..MAX_INLINE_KEY_BYTES - DIGEST_BYTES]);
        key.extend_from_slice(&Sha256::digest(primary_key)[..DIGEST_BYTES]);
        Self {
            key,
            data: primary_key.to_vec(),
        }
    }

    pub(crate) fn len(&self) -> u64 {
        (self.key.len() + self.data.len()) as u64
    }
}

/// The entries that a record has in an index, sorted.
pub(crate) fn entries(index: u32, value: Option<&Value>, primary_key: &[u8]) -> Vec<Entry> {
    let mut entries: Vec<Entry> = order::index_entries(value)
        .iter()
        .map(|value| Entry::new(index, value, primary_key))
        .collect();
    entries.sort_unstable();
    entries
}

/// Whether a record with this value has one entry, which stands for exactly the value.
pub(crate) fn sorts(value: Option<&Value>) -> bool {
    match value {
        None
        | Some(Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Date(_)) => {
            true
        }
        // A NUL takes two bytes.
        Some(Value::String(text)) => text.len() < order::MAX_INDEX_BYTES / 2,
        Some(Value::BigInt(number)) => number.bits() <= 1024,
        Some(Value::Array(_) | Value::Map(_) | Value::Bytes(_)) => false,
    }
}

/// Parts a stored entry into its encoded value and its primary key.
pub(crate) fn split<'e>(
    key: &'e [u8],
    data: &'e [u8],
) -> Result<(&'e [u8], &'e [u8]), FormatError> {
    let rest = key
        .get(4..)
        .ok_or(FormatError::new("index entry", "it is too short"))?;
    let (value, inline) = rest.split_at(order::index_len(rest)?);
    Ok((value, if data.is_empty() { inline } else { data }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use resource::Key;

    #[test]
    fn a_long_primary_key_is_found_in_the_data_of_its_entry() {
        let long = order::encode_key(&Key::String("k".repeat(1900))).unwrap();
        let short = order::encode_key(&Key::Int(7)).unwrap();
        let value = Value::String("v".repeat(5000));
        for key in [long, short] {
            let entry = entries(9, Some(&value), &key).remove(0);
            assert!(entry.key.len() <= 1982, "{}", entry.key.len());
            let (_, found) = split(&entry.key, &entry.data).unwrap();
            assert_eq!(found, key);
        }
    }
}
