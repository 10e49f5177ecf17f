//! Attribute names of one table and their numbers.

use std::collections::HashMap;
use std::sync::Arc;

use crate::FormatError;

/// The number of an attribute name in its table.
pub type AttributeId = u16;

/// Names a dictionary takes. A table whose records are used like maps could have names without end, so
/// further names stay unnumbered: their attributes are stored and found, only without an index of spans.
pub const MAX_ATTRIBUTES: usize = 16_384;

const fn damaged(reason: &'static str) -> FormatError {
    FormatError::new("dictionary", reason)
}

/// Attribute names of one table, numbered in the order of their first use.
///
/// Names are only ever added, so a newer dictionary reads every older record. A clone shares the names; keep
/// it in an `Arc` and replace that when [`len`](Self::len) has grown, before the commit that uses the new
/// names becomes visible.
///
/// ```
/// use store::document::Dictionary;
/// let mut dictionary = Dictionary::default();
/// assert_eq!(dictionary.number("name"), Some(0));
/// assert_eq!(dictionary.number("age"), Some(1));
/// assert_eq!(dictionary.number("name"), Some(0));
/// assert_eq!(Dictionary::decode(&dictionary.encode()), Ok(dictionary));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dictionary {
    names: Vec<Arc<str>>,
    ids: HashMap<Arc<str>, AttributeId>,
}

impl Dictionary {
    /// How many names it holds.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The number of a name that was used before.
    pub fn id(&self, name: &str) -> Option<AttributeId> {
        self.ids.get(name).copied()
    }

    /// The name of a number.
    pub fn name(&self, id: AttributeId) -> Option<&Arc<str>> {
        self.names.get(usize::from(id))
    }

    /// The number of a name, given now if it is new; `None` if it is new and there are
    /// [`MAX_ATTRIBUTES`] names already, or it is longer than 65,535 bytes.
    pub fn number(&mut self, name: &str) -> Option<AttributeId> {
        if let Some(id) = self.id(name) {
            return Some(id);
        }
        if self.names.len() == MAX_ATTRIBUTES || name.len() > usize::from(u16::MAX) {
            return None;
        }
        let id = AttributeId::try_from(self.names.len()).ok()?;
        let name: Arc<str> = Arc::from(name);
        self.names.push(Arc::clone(&name));
        self.ids.insert(name, id);
        Some(id)
    }

    /// The dictionary as bytes: for each name its length (two bytes, little endian) and its UTF-8 text.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.names.iter().map(|name| name.len() + 2).sum());
        for name in &self.names {
            let length = u16::try_from(name.len()).expect("`number` takes no longer name");
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(name.as_bytes());
        }
        out
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    ///
    /// [`FormatError`] for incomplete bytes, text that is not UTF-8, a name that occurs twice, and more
    /// names than [`MAX_ATTRIBUTES`].
    pub fn decode(mut bytes: &[u8]) -> Result<Self, FormatError> {
        let mut dictionary = Self::default();
        while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
            let length = usize::from(u16::from_le_bytes(*length));
            let (name, rest) = rest
                .split_at_checked(length)
                .ok_or(damaged("a name is incomplete"))?;
            let name = std::str::from_utf8(name).map_err(|_| damaged("a name is not UTF-8"))?;
            let expected = dictionary.len();
            if dictionary.number(name).map(usize::from) != Some(expected) {
                return Err(damaged("a name occurs twice, or there are too many"));
            }
            bytes = rest;
        }
        match bytes {
            [] => Ok(dictionary),
            _ => Err(damaged("a name is incomplete")),
        }
    }
}
