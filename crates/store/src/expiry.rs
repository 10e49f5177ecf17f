//! Keys of the sub-store that finds expired records in the order of their expiry.

use base::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::stored_table::TableId;

/// `time ++ table id ++ digest of the key`; the entry's value is the encoded key.
pub(crate) fn expiry_key(expires_at: Timestamp, table: TableId, encoded_key: &[u8]) -> [u8; 28] {
    let mut key = [0; 28];
    key[..8].copy_from_slice(&expires_at.to_bits().to_be_bytes());
    key[8..12].copy_from_slice(&table.to_be_bytes());
    key[12..].copy_from_slice(&Sha256::digest(encoded_key)[..16]);
    key
}

/// The time and table of an entry.
pub(crate) fn split(key: &[u8]) -> Option<(Timestamp, TableId)> {
    let (time, rest) = key.split_first_chunk::<8>()?;
    let table = u32::from_be_bytes(*rest.first_chunk()?);
    Some((Timestamp::from_bits(u64::from_be_bytes(*time))?, table))
}
