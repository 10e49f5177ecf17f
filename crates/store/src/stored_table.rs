//! A table as the database file describes it: its definition, its number and the state of its indexes.
//!
//! Stored as JSON text, so that a file can be inspected and a newer program can add members.

use std::sync::Arc;

use base::Timestamp;
use bytes::Bytes;
use resource::schema::{Element, Export, ObjectType};
use resource::{
    Attribute, AttributeType, Computed, Exposure, Map, Relation, TableDefinition, Value, json,
};

use crate::FormatError;

/// Number of a table; not used again while the database lives.
pub(crate) type TableId = u32;

/// How far an index is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IndexState {
    /// It has an entry for every record.
    Ready,
    /// Records up to and including this encoded key have their entries, as have all that were written since.
    Building {
        /// `None`: not begun.
        after: Option<Vec<u8>>,
        /// How many records that were.
        built: u64,
    },
}

/// One secondary index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Index {
    pub(crate) id: u32,
    pub(crate) attribute: String,
    pub(crate) state: IndexState,
    /// Every record has one entry, which stands for exactly its value: the index is the order of the attribute.
    /// Once a list, an object or a long text was written it is not, until the index is made anew.
    pub(crate) sorts: bool,
}

/// Everything that is known about a table. Immutable; replaced whole.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StoredTable {
    pub(crate) id: TableId,
    pub(crate) definition: Arc<TableDefinition>,
    pub(crate) indexes: Vec<Index>,
    /// The log is complete for this table from here on.
    pub(crate) audited_since: Timestamp,
}

impl StoredTable {
    /// The index of an attribute.
    pub(crate) fn index(&self, attribute: &str) -> Option<&Index> {
        self.indexes
            .iter()
            .find(|index| index.attribute == attribute)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let indexes = self.indexes.iter().map(|index| {
            let mut map = Map::new();
            map.insert("id", i64::from(index.id));
            map.insert("attribute", index.attribute.as_str());
            if let IndexState::Building { after, built } = &index.state {
                map.insert("building", after.as_deref().map_or(Value::Null, hex));
                map.insert("built", *built);
            }
            if !index.sorts {
                map.insert("sorts", false);
            }
            Value::Map(map)
        });
        let map = Map::from_iter([
            ("id", Value::Int(i64::from(self.id))),
            ("auditedSince", Value::Float(self.audited_since.as_millis())),
            ("indexes", Value::Array(indexes.collect())),
            ("definition", encode_definition(&self.definition)),
        ]);
        json::to_vec(&Value::Map(map))
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let value = json::from_slice(bytes).map_err(|_| damaged())?;
        decode_table(&value).ok_or_else(damaged)
    }
}

fn damaged() -> FormatError {
    FormatError::new(
        "table definition",
        "it is not in a form that this program writes",
    )
}

fn hex(bytes: &[u8]) -> Value {
    Value::String(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

fn decode_table(value: &Value) -> Option<StoredTable> {
    let map = value.as_map()?;
    let indexes = map.get("indexes")?.as_array()?;
    Some(StoredTable {
        id: u32::try_from(map.get("id")?.as_i64()?).ok()?,
        audited_since: Timestamp::from_millis(map.get("auditedSince")?.as_f64()?)?,
        indexes: indexes.iter().map(decode_index).collect::<Option<_>>()?,
        definition: Arc::new(decode_definition(map.get("definition")?.as_map()?)?),
    })
}

fn decode_index(value: &Value) -> Option<Index> {
    let map = value.as_map()?;
    let built = map.get("built").and_then(Value::as_i64);
    let built = built.map_or(0, i64::unsigned_abs);
    Some(Index {
        id: u32::try_from(map.get("id")?.as_i64()?).ok()?,
        attribute: map.get("attribute")?.as_str()?.to_owned(),
        sorts: map.get("sorts").is_none(),
        state: match map.get("building") {
            None => IndexState::Ready,
            Some(Value::Null) => IndexState::Building { after: None, built },
            Some(after) => IndexState::Building {
                after: Some(unhex(after.as_str()?)?),
                built,
            },
        },
    })
}

fn encode_definition(definition: &TableDefinition) -> Value {
    let mut map = Map::new();
    map.insert("database", definition.database.as_str());
    map.insert("table", definition.table.as_str());
    map.insert("primaryKey", definition.primary_key.as_str());
    map.insert("attributes", encode_attributes(&definition.attributes));
    map.insert("schemaDefined", definition.schema_defined);
    map.insert("sealed", definition.sealed);
    map.insert("audit", definition.audit);
    if let Some(seconds) = definition.expiration_secs {
        map.insert("expirationSeconds", seconds);
    }
    if let Some(export) = &definition.export {
        let exposure = export.exposure;
        let export = Map::from_iter([
            ("path", Value::from(export.path.as_str())),
            ("rest", Value::Bool(exposure.rest)),
            ("ws", Value::Bool(exposure.ws)),
            ("sse", Value::Bool(exposure.sse)),
            ("mqtt", Value::Bool(exposure.mqtt)),
        ]);
        map.insert("export", export);
    }
    Value::Map(map)
}

fn decode_definition(map: &Map) -> Option<TableDefinition> {
    let text = |name| Some(map.get(name)?.as_str()?.to_owned());
    let flag = |name| map.get(name)?.as_bool();
    let expiration_secs = match map.get("expirationSeconds") {
        None => None,
        Some(seconds) => Some(u64::try_from(seconds.as_i64()?).ok()?),
    };
    let export = match map.get("export") {
        None => None,
        Some(export) => Some(decode_export(export.as_map()?)?),
    };
    Some(TableDefinition {
        database: text("database")?,
        table: text("table")?,
        primary_key: text("primaryKey")?,
        attributes: decode_attributes(map.get("attributes")?)?,
        schema_defined: flag("schemaDefined")?,
        sealed: flag("sealed")?,
        audit: flag("audit")?,
        expiration_secs,
        export,
    })
}

fn decode_export(map: &Map) -> Option<Export> {
    let flag = |name| map.get(name)?.as_bool();
    Some(Export {
        path: map.get("path")?.as_str()?.to_owned(),
        exposure: Exposure {
            rest: flag("rest")?,
            ws: flag("ws")?,
            sse: flag("sse")?,
            mqtt: flag("mqtt")?,
        },
    })
}

fn encode_attributes(attributes: &[Attribute]) -> Value {
    let encode = |attribute: &Attribute| {
        let mut map = Map::from_iter([
            ("name", Value::from(attribute.name.as_str())),
            ("type", encode_type(&attribute.kind)),
            ("nullable", Value::Bool(attribute.nullable)),
            ("indexed", Value::Bool(attribute.indexed)),
            ("createdTime", Value::Bool(attribute.assigned_created_time)),
            ("updatedTime", Value::Bool(attribute.assigned_updated_time)),
        ]);
        if attribute.expires_at {
            map.insert("expiresAt", true);
        }
        if attribute.enumerable {
            map.insert("enumerable", true);
        }
        if attribute.splits_segments {
            map.insert("splitSegments", true);
        }
        if let Some(Relation { table, from, to }) = &attribute.relation {
            let members = [
                ("table", Some(table)),
                ("from", from.as_ref()),
                ("to", to.as_ref()),
            ];
            map.insert("relation", texts(members));
        }
        if let Some(Computed { from, version }) = &attribute.computed {
            let members = [("from", from.as_ref()), ("version", version.as_ref())];
            map.insert("computed", texts(members));
        }
        Value::Map(map)
    };
    Value::Array(attributes.iter().map(encode).collect())
}

/// The texts that are there, under their names.
fn texts<const N: usize>(members: [(&str, Option<&String>); N]) -> Value {
    let present = members
        .into_iter()
        .filter_map(|(name, text)| Some((name, text?)));
    let values = present.map(|(name, text)| (name, Value::from(text.as_str())));
    Value::Map(values.collect())
}

fn decode_attributes(value: &Value) -> Option<Vec<Attribute>> {
    let decode = |value: &Value| {
        let map = value.as_map()?;
        let flag = |name| map.get(name)?.as_bool();
        let text = |map: &Map, name| Some(map.get(name)?.as_str()?.to_owned());
        let relation = match map.get("relation").and_then(Value::as_map) {
            Some(relation) => Some(Relation {
                table: text(relation, "table")?,
                from: text(relation, "from"),
                to: text(relation, "to"),
            }),
            None => None,
        };
        let computed = map.get("computed").and_then(Value::as_map);
        Some(Attribute {
            name: map.get("name")?.as_str()?.to_owned(),
            kind: decode_type(map.get("type")?)?,
            nullable: flag("nullable")?,
            indexed: flag("indexed")?,
            assigned_created_time: flag("createdTime")?,
            assigned_updated_time: flag("updatedTime")?,
            expires_at: map.contains_key("expiresAt"),
            enumerable: map.contains_key("enumerable"),
            splits_segments: map.contains_key("splitSegments"),
            relation,
            computed: computed.map(|computed| Computed {
                from: text(computed, "from"),
                version: text(computed, "version"),
            }),
        })
    };
    value.as_array()?.iter().map(decode).collect()
}

/// A scalar is its name, a list has `elements`, an object type has `properties`.
fn encode_type(kind: &AttributeType) -> Value {
    match kind {
        AttributeType::Array(element) => Value::Map(Map::from_iter([
            ("elements", encode_type(&element.kind)),
            ("nullable", Value::Bool(element.nullable)),
        ])),
        AttributeType::Object(object) => Value::Map(Map::from_iter([
            ("name", Value::from(object.name.as_str())),
            ("properties", encode_attributes(&object.properties)),
            ("sealed", Value::Bool(object.sealed)),
        ])),
        scalar => Value::from(scalar.name()),
    }
}

fn decode_type(value: &Value) -> Option<AttributeType> {
    if let Some(name) = value.as_str() {
        return AttributeType::from_name(name);
    }
    let map = value.as_map()?;
    if let Some(elements) = map.get("elements") {
        return Some(AttributeType::Array(Box::new(Element {
            kind: decode_type(elements)?,
            nullable: map.get("nullable")?.as_bool()?,
        })));
    }
    Some(AttributeType::Object(Arc::new(ObjectType {
        name: map.get("name")?.as_str()?.to_owned(),
        properties: decode_attributes(map.get("properties")?)?,
        sealed: map.get("sealed")?.as_bool()?,
    })))
}

/// What is counted for a table, kept exact in the same transactions as the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Records, expired ones that were not swept yet included.
    pub(crate) records: u64,
    /// Bytes of keys and records.
    pub(crate) record_bytes: u64,
    /// Bytes of index entries.
    pub(crate) index_bytes: u64,
    /// The last key that was generated.
    pub(crate) last_key: i64,
    /// Local time of the newest change.
    pub(crate) last_updated: Timestamp,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            records: 0,
            record_bytes: 0,
            index_bytes: 0,
            last_key: 0,
            last_updated: Timestamp::ZERO,
        }
    }
}

impl Counters {
    pub(crate) fn encode(&self) -> [u8; 40] {
        let mut out = [0; 40];
        let numbers = [
            self.records,
            self.record_bytes,
            self.index_bytes,
            self.last_key.cast_unsigned(),
            self.last_updated.to_bits(),
        ];
        for (place, number) in out.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_be_bytes());
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let damaged = || FormatError::new("counters", "they do not have 40 bytes");
        let (numbers, []) = bytes.as_chunks::<8>() else {
            return Err(damaged());
        };
        let &[records, record_bytes, index_bytes, last_key, last_updated] = numbers else {
            return Err(damaged());
        };
        Ok(Self {
            records: u64::from_be_bytes(records),
            record_bytes: u64::from_be_bytes(record_bytes),
            index_bytes: u64::from_be_bytes(index_bytes),
            last_key: i64::from_be_bytes(last_key),
            last_updated: Timestamp::from_bits(u64::from_be_bytes(last_updated))
                .unwrap_or(Timestamp::ZERO),
        })
    }
}

/// Content that is stored beside the log entry of a message: the message under the empty name, its
/// properties under `properties`.
pub(crate) mod message {
    use super::{Bytes, Map, Value};
    use resource::MessageProperties;

    const CONTENT: &str = "";
    const PROPERTIES: &str = "properties";

    /// Wraps a message so that it can be stored as a document.
    pub(crate) fn wrap(content: &Value, properties: Option<&MessageProperties>) -> Map {
        let mut map = Map::new();
        map.insert(CONTENT, content.clone());
        if let Some(properties) = properties {
            map.insert(PROPERTIES, encode(properties));
        }
        map
    }

    /// Takes a message apart.
    pub(crate) fn unwrap(value: Value) -> (Value, Option<MessageProperties>) {
        let Value::Map(mut map) = value else {
            return (value, None);
        };
        let content = map.remove(CONTENT).unwrap_or_default();
        let properties = map.get(PROPERTIES).and_then(Value::as_map).map(decode);
        (content, properties)
    }

    fn encode(properties: &MessageProperties) -> Map {
        let mut map = Map::new();
        if let Some(format) = properties.payload_format_indicator {
            map.insert("format", i64::from(format));
        }
        if let Some(seconds) = properties.message_expiry_interval {
            map.insert("expiry", seconds);
        }
        if let Some(kind) = &properties.content_type {
            map.insert("contentType", kind.as_str());
        }
        if let Some(topic) = &properties.response_topic {
            map.insert("responseTopic", topic.as_str());
        }
        if let Some(data) = &properties.correlation_data {
            map.insert("correlationData", data.clone());
        }
        let user = properties.user_properties.iter();
        let user = user
            .map(|(name, value)| Value::Array(vec![name.as_str().into(), value.as_str().into()]));
        map.insert("user", user.collect::<Vec<_>>());
        if let Some(qos) = properties.qos {
            map.insert("qos", i64::from(qos));
        }
        if let Some(receipt) = properties.receipt {
            map.insert("receipt", receipt.cast_signed());
        }
        map
    }

    fn decode(map: &Map) -> MessageProperties {
        let text = |name| map.get(name).and_then(Value::as_str).map(str::to_owned);
        let number = |name| map.get(name).and_then(Value::as_i64);
        let pair = |pair: &Value| match pair.as_array() {
            Some([Value::String(name), Value::String(value)]) => {
                Some((name.clone(), value.clone()))
            }
            _ => None,
        };
        MessageProperties {
            payload_format_indicator: number("format").and_then(|n| n.try_into().ok()),
            message_expiry_interval: number("expiry").and_then(|n| n.try_into().ok()),
            content_type: text("contentType"),
            response_topic: text("responseTopic"),
            correlation_data: match map.get("correlationData") {
                Some(Value::Bytes(bytes)) => Some(Bytes::clone(bytes)),
                _ => None,
            },
            user_properties: map
                .get("user")
                .and_then(Value::as_array)
                .map(|user| user.iter().filter_map(pair).collect())
                .unwrap_or_default(),
            qos: number("qos").and_then(|n| n.try_into().ok()),
            receipt: number("receipt").map(i64::cast_unsigned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_as_it_was_written() {
        let size = ObjectType {
            name: "Size".into(),
            properties: vec![Attribute::new("w", AttributeType::Float)],
            sealed: true,
        };
        let list = AttributeType::Array(Box::new(Element {
            kind: AttributeType::String,
            nullable: false,
        }));
        let mut tags = Attribute::new("tags", list);
        tags.indexed = true;
        let table = StoredTable {
            id: 7,
            definition: Arc::new(TableDefinition {
                database: "data".into(),
                table: "Dog".into(),
                primary_key: "id".into(),
                attributes: vec![
                    Attribute::new("id", AttributeType::Id),
                    tags,
                    Attribute::new("size", AttributeType::Object(Arc::new(size))),
                    Attribute {
                        relation: Some(Relation {
                            table: "Owner".into(),
                            from: Some("ownerId".into()),
                            to: None,
                        }),
                        ..Attribute::new("owner", AttributeType::Any)
                    },
                    Attribute {
                        computed: Some(Computed {
                            from: Some("a + b".into()),
                            version: Some("2".into()),
                        }),
                        expires_at: true,
                        enumerable: true,
                        splits_segments: true,
                        ..Attribute::new("sum", AttributeType::Long)
                    },
                ],
                schema_defined: true,
                sealed: false,
                audit: true,
                expiration_secs: Some(60),
                export: Some(Export {
                    path: "dogs".into(),
                    exposure: Exposure::default(),
                }),
            }),
            indexes: vec![
                Index {
                    id: 8,
                    attribute: "tags".into(),
                    state: IndexState::Building {
                        after: Some(vec![0, 255]),
                        built: 7,
                    },
                    sorts: true,
                },
                Index {
                    id: 9,
                    attribute: "x".into(),
                    state: IndexState::Ready,
                    sorts: false,
                },
            ],
            audited_since: Timestamp::from_millis(1_700_000_000_000.25).unwrap(),
        };
        assert_eq!(StoredTable::decode(&table.encode()), Ok(table));
        assert!(StoredTable::decode(b"{}").is_err());
    }

    #[test]
    fn counters_are_read_as_they_were_written() {
        let counters = Counters {
            records: 1,
            record_bytes: 2,
            index_bytes: 3,
            last_key: -4,
            last_updated: Timestamp::from_millis(5.5).unwrap(),
        };
        assert_eq!(Counters::decode(&counters.encode()), Ok(counters));
        assert!(Counters::decode(&[0; 39]).is_err());
    }

    #[test]
    fn a_message_keeps_its_properties() {
        let properties = resource::MessageProperties {
            payload_format_indicator: Some(1),
            message_expiry_interval: Some(60),
            content_type: Some("text/plain".into()),
            response_topic: Some("a/b".into()),
            correlation_data: Some(Bytes::from_static(b"\x00\x01")),
            user_properties: vec![("k".into(), "v".into()), ("k".into(), "w".into())],
            qos: Some(1),
            receipt: Some(u64::MAX),
        };
        let wrapped = message::wrap(&Value::from("hi"), Some(&properties));
        assert_eq!(
            message::unwrap(Value::Map(wrapped)),
            (Value::from("hi"), Some(properties))
        );
    }
}
