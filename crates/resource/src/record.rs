//! Records as they travel: a key, a version and a body that may never need decoding.

use std::fmt;
use std::sync::Arc;

use base::Timestamp;
use bytes::Bytes;

use crate::{Key, Map, Value, json};

/// A stored record in the store's own form, which answers without being decoded as a whole.
pub trait Document: Send + Sync + fmt::Debug {
    /// The canonical JSON text of the record, shared, not copied where possible.
    fn json(&self) -> Bytes;
    /// The JSON text of one top-level attribute; `None` if the record lacks it.
    fn attribute_json(&self, name: &str) -> Option<Bytes>;
    /// One top-level attribute with its type; `None` if the record lacks it.
    fn attribute(&self, name: &str) -> Option<Value>;
    /// The whole record with all types.
    fn to_value(&self) -> Value;
}

/// The content of a record or message.
#[derive(Debug, Clone)]
pub enum Body {
    /// A value in memory.
    Value(Arc<Value>),
    /// A stored document.
    Document(Arc<dyn Document>),
}

impl Body {
    /// Canonical JSON text.
    pub fn json(&self) -> Bytes {
        match self {
            Self::Value(value) => Bytes::from(json::to_vec(value)),
            Self::Document(document) => document.json(),
        }
    }
    /// About as many bytes as it takes in memory, for bounds on what may wait.
    pub fn approximate_bytes(&self) -> usize {
        match self {
            Self::Value(value) => value.approximate_bytes(),
            Self::Document(document) => document.json().len(),
        }
    }
    /// The whole content as a value.
    pub fn to_value(&self) -> Value {
        match self {
            Self::Value(value) => Value::clone(value),
            Self::Document(document) => document.to_value(),
        }
    }
    /// One top-level attribute.
    pub fn attribute(&self, name: &str) -> Option<Value> {
        match self {
            Self::Value(value) => value.as_map()?.get(name).cloned(),
            Self::Document(document) => document.attribute(name),
        }
    }
    /// The JSON text of one top-level attribute.
    pub fn attribute_json(&self, name: &str) -> Option<Bytes> {
        match self {
            Self::Value(value) => value
                .as_map()?
                .get(name)
                .map(|value| Bytes::from(json::to_vec(value))),
            Self::Document(document) => document.attribute_json(name),
        }
    }
    /// The content with only the attributes for which `keep` is true (anything but a map is kept whole).
    #[must_use]
    pub fn restrict(&self, keep: impl Fn(&str) -> bool) -> Self {
        match self.to_value() {
            Value::Map(map) => Self::from(Value::Map(
                map.into_iter()
                    .filter(|(name, _)| keep(name))
                    .collect::<Map>(),
            )),
            other => Self::from(other),
        }
    }
}

impl From<Value> for Body {
    fn from(value: Value) -> Self {
        Self::Value(Arc::new(value))
    }
}

/// One record of a resource.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its primary key; `None` for the answer of a resource that has no keys.
    pub key: Option<Key>,
    /// Commit time at its origin; the number behind the `ETag`. [`Timestamp::ZERO`] means unversioned.
    pub version: Timestamp,
    /// When it expires, if it does.
    pub expires_at: Option<Timestamp>,
    /// What it holds.
    pub body: Body,
}
