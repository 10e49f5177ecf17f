//! A record as it is stored: a header with its version, then its document.
//!
//! ```text
//! offset  bytes
//!      0      8  version
//!      8      8  local time
//!     16      8  time of expiry, zero if it does not expire
//!     24      1  flags: 1 = the log has an entry of that local time, 2 = it has contents in `blobs`
//!     25      1  length of the name of the user who wrote it, then the name (cut at 255 bytes)
//!                document
//! ```

use base::Timestamp;
use bytes::Bytes;

use crate::FormatError;
use crate::environment::read_time;

const FLAG_AUDITED: u8 = 1;
const FLAG_BLOBS: u8 = 2;
const FIXED_BYTES: usize = 26;

/// The header of a stored record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Header {
    pub(crate) version: Timestamp,
    pub(crate) local_time: Timestamp,
    pub(crate) expires_at: Option<Timestamp>,
    /// Whether the log has an entry of [`local_time`](Self::local_time).
    pub(crate) audited: bool,
    /// Whether the sub-store `blobs` has contents of the record.
    pub(crate) has_blobs: bool,
}

impl Header {
    /// Whether the record is to be treated as absent.
    pub(crate) fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= now)
    }
}

/// Parts a stored record into its header, the name of its author and its document.
pub(crate) fn split(bytes: &[u8]) -> Result<(Header, &[u8], &[u8]), FormatError> {
    let damaged = || FormatError::new("record", "its header is incomplete");
    let (fixed, rest) = bytes
        .split_first_chunk::<FIXED_BYTES>()
        .ok_or_else(damaged)?;
    let (author, document) = rest
        .split_at_checked(usize::from(fixed[25]))
        .ok_or_else(damaged)?;
    let expires_at = read_time(&fixed[16..24]);
    let header = Header {
        version: read_time(&fixed[..8]),
        local_time: read_time(&fixed[8..16]),
        expires_at: (expires_at > Timestamp::ZERO).then_some(expires_at),
        audited: fixed[24] & FLAG_AUDITED != 0,
        has_blobs: fixed[24] & FLAG_BLOBS != 0,
    };
    Ok((header, author, document))
}

/// Puts a record together.
pub(crate) fn join(header: &Header, author: &str, document: &[u8]) -> Vec<u8> {
    let author = &author.as_bytes()[..author.len().min(usize::from(u8::MAX))];
    let mut out = Vec::with_capacity(FIXED_BYTES + author.len() + document.len());
    for time in [
        header.version,
        header.local_time,
        header.expires_at.unwrap_or(Timestamp::ZERO),
    ] {
        out.extend_from_slice(&time.to_bits().to_be_bytes());
    }
    out.push(u8::from(header.audited) * FLAG_AUDITED + u8::from(header.has_blobs) * FLAG_BLOBS);
    out.push(author.len() as u8);
    out.extend_from_slice(author);
    out.extend_from_slice(document);
    out
}

/// A stored record, copied out of the engine.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) header: Header,
    pub(crate) document: Bytes,
}

impl Stored {
    /// Copies a record from the engine's memory.
    pub(crate) fn copy(bytes: &[u8]) -> Result<Self, FormatError> {
        let (header, _, document) = split(bytes)?;
        Ok(Self {
            header,
            document: Bytes::copy_from_slice(document),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_parted_where_it_was_joined() {
        let header = Header {
            version: Timestamp::from_millis(1.5).unwrap(),
            local_time: Timestamp::from_millis(2.5).unwrap(),
            expires_at: Timestamp::from_millis(9.0),
            audited: true,
            has_blobs: true,
        };
        let bytes = join(&header, "ann", b"document");
        assert_eq!(split(&bytes), Ok((header, &b"ann"[..], &b"document"[..])));
        for end in 0..FIXED_BYTES + 3 {
            assert!(split(&bytes[..end]).is_err(), "{end}");
        }
    }
}
