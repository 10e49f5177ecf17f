//! Entries of the log: what happened to which record, when and by whom (`schema-and-storage.md` §7).
//!
//! ```text
//! key     8  local time
//! value   1  type: 1 put, 2 patch, 3 delete, 4 message
//!         1  flags: 1 = first of its transaction, 2 = has a body, 4 = has a key
//!         4  table id
//!         8  version
//!         8  local time of the previous change of the same record, zero if there is none
//!         8  time of expiry, zero if it does not expire
//!      2, n  key
//!      1, n  user
//!      1, n  operation
//!            body: a document
//! ```

use base::Timestamp;
use resource::EventKind;

use crate::FormatError;
use crate::environment::read_time;
use crate::stored_table::TableId;

const FLAG_BEGIN: u8 = 1;
const FLAG_BODY: u8 = 2;
const FLAG_KEY: u8 = 4;

/// One entry, borrowed from the engine or about to be written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LogEntry<'e> {
    pub(crate) kind: EventKind,
    pub(crate) begin_transaction: bool,
    pub(crate) table: TableId,
    pub(crate) version: Timestamp,
    pub(crate) previous: Timestamp,
    pub(crate) expires_at: Timestamp,
    /// Encoded key; `None` for a message on the root topic.
    pub(crate) key: Option<&'e [u8]>,
    pub(crate) user: &'e [u8],
    pub(crate) operation: &'e [u8],
    /// Put: the record. Patch: what was sent. Message: see [`message`](crate::stored_table::message).
    pub(crate) body: Option<&'e [u8]>,
}

impl<'e> LogEntry<'e> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let key = self.key.unwrap_or_default();
        let body = self.body.unwrap_or_default();
        let mut out = Vec::with_capacity(40 + key.len() + self.user.len() + body.len());
        out.push(kind_code(self.kind));
        out.push(
            u8::from(self.begin_transaction) * FLAG_BEGIN
                + u8::from(self.body.is_some()) * FLAG_BODY
                + u8::from(self.key.is_some()) * FLAG_KEY,
        );
        out.extend_from_slice(&self.table.to_be_bytes());
        for time in [self.version, self.previous, self.expires_at] {
            out.extend_from_slice(&time.to_bits().to_be_bytes());
        }
        // Encoded keys have at most `order::MAX_KEY_BYTES` bytes.
        out.extend_from_slice(&(key.len() as u16).to_be_bytes());
        out.extend_from_slice(key);
        for name in [self.user, self.operation] {
            let name = &name[..name.len().min(usize::from(u8::MAX))];
            out.push(name.len() as u8);
            out.extend_from_slice(name);
        }
        out.extend_from_slice(body);
        out
    }

    pub(crate) fn decode(bytes: &'e [u8]) -> Result<Self, FormatError> {
        Self::read(bytes).ok_or(FormatError::new("log entry", "it is incomplete"))
    }

    fn read(bytes: &'e [u8]) -> Option<Self> {
        let (fixed, rest) = bytes.split_first_chunk::<30>()?;
        let (key, rest) = {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?
        };
        let (user, rest) = short(rest)?;
        let (operation, body) = short(rest)?;
        let flags = fixed[1];
        Some(Self {
            kind: kind_from_code(fixed[0])?,
            begin_transaction: flags & FLAG_BEGIN != 0,
            table: table_of(bytes)?,
            version: read_time(&fixed[6..14]),
            previous: read_time(&fixed[14..22]),
            expires_at: read_time(&fixed[22..30]),
            key: (flags & FLAG_KEY != 0).then_some(key),
            user,
            operation,
            body: (flags & FLAG_BODY != 0).then_some(body),
        })
    }
}

/// The table of an entry, without reading the rest.
pub(crate) fn table_of(bytes: &[u8]) -> Option<TableId> {
    bytes
        .get(2..)?
        .first_chunk()
        .map(|id| u32::from_be_bytes(*id))
}

/// The key of the entry of a local time.
pub(crate) fn log_key(local_time: Timestamp) -> [u8; 8] {
    local_time.to_bits().to_be_bytes()
}

fn short(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

fn kind_code(kind: EventKind) -> u8 {
    match kind {
        EventKind::Put => 1,
        EventKind::Patch => 2,
        EventKind::Delete => 3,
        EventKind::Message => 4,
        EventKind::Invalidate => 5,
    }
}

fn kind_from_code(code: u8) -> Option<EventKind> {
    Some(match code {
        1 => EventKind::Put,
        2 => EventKind::Patch,
        3 => EventKind::Delete,
        4 => EventKind::Message,
        5 => EventKind::Invalidate,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        let time = |millis| Timestamp::from_millis(millis).unwrap();
        let entry = LogEntry {
            kind: EventKind::Patch,
            begin_transaction: true,
            table: 3,
            version: time(1.0),
            previous: time(2.0),
            expires_at: time(3.0),
            key: Some(b"key"),
            user: b"ann",
            operation: b"update",
            body: Some(b"body"),
        };
        let bytes = entry.encode();
        assert_eq!(LogEntry::decode(&bytes), Ok(entry));
        assert_eq!(table_of(&bytes), Some(3));
        for end in 0..bytes.len() - 4 {
            assert!(LogEntry::decode(&bytes[..end]).is_err(), "{end}");
        }
    }
}
