//! What can be checked about a write before it is queued, on the thread that asks.

use std::sync::Arc;

use base::Timestamp;
use resource::access::require_any;
use resource::{
    Action, AttributeType, Context, Error, Key, Map, Precondition, TableAccess, Value, Write,
    WriteKind,
};

use crate::blob::{self, NewBlob};
use crate::filter::Filter;
use crate::order::{canonical_key, encode_key};
use crate::stored_table::StoredTable;
use crate::table::Table;
use crate::validate;

/// The key of a write.
#[derive(Debug)]
pub(crate) enum PreparedKey {
    /// Known: the key and its encoding.
    Given(Key, Vec<u8>),
    /// The writer takes the next integer.
    NextInteger,
    /// A message to the root topic.
    Root,
}

/// The body of a write.
#[derive(Debug)]
pub(crate) enum PreparedBody {
    /// A delete has none.
    None,
    /// A checked record with its key, or the properties of a patch.
    Record(Map),
    /// A message, as it is.
    Message(Arc<Value>),
}

/// A write that is well-formed and that its caller may make, as far as that does not depend on the record.
#[derive(Debug)]
pub(crate) struct PreparedWrite {
    pub(crate) table: Arc<Table>,
    pub(crate) access: TableAccess,
    pub(crate) key: PreparedKey,
    pub(crate) kind: WriteKind,
    pub(crate) body: PreparedBody,
    /// Contents of type `Blob` that the body brings.
    pub(crate) blobs: Vec<NewBlob>,
    /// What the caller sent, when its role is restricted to some attributes.
    pub(crate) supplied: Option<Map>,
    pub(crate) precondition: Precondition,
    pub(crate) expires_at: Option<Timestamp>,
    /// A delete of what a table only holds in place of its source.
    pub(crate) invalidates: bool,
    /// Skip the write unless the record still matches.
    pub(crate) only_if: Option<Arc<Filter>>,
}

/// Who makes a transaction, for the log and the events.
#[derive(Debug, Clone)]
pub(crate) struct Author {
    pub(crate) user: Option<Arc<str>>,
    pub(crate) operation: &'static str,
    pub(crate) publisher: Option<Arc<str>>,
}

impl Author {
    pub(crate) fn of(context: &Context) -> Self {
        Self {
            user: context.caller.username().map(Arc::clone),
            operation: context.operation.unwrap_or(""),
            publisher: context.publisher.clone(),
        }
    }
}

/// The table flags one of which a write needs.
fn actions(kind: &WriteKind) -> &'static [Action] {
    match kind {
        WriteKind::Put | WriteKind::Patch | WriteKind::Upsert => &[Action::Insert, Action::Update],
        WriteKind::Create | WriteKind::InsertIfAbsent | WriteKind::Message(_) => &[Action::Insert],
        WriteKind::UpdateIfPresent => &[Action::Update],
        WriteKind::Delete => &[Action::Delete],
    }
}

/// Checks a write.
///
/// # Errors
///
/// 401 and 403 for the table flags, 400 for a body or key that breaks a rule.
pub(crate) fn prepare(
    table: &Arc<Table>,
    write: Write,
    context: &Context,
) -> Result<PreparedWrite, Error> {
    let stored = table.stored();
    let definition = &stored.definition;
    let access = require_any(
        context,
        &definition.database,
        &definition.table,
        actions(&write.kind),
    )?;
    let supplied = match (&access.attributes, &write.body) {
        (Some(_), Some(Value::Map(body))) => Some(body.clone()),
        _ => None,
    };
    let (key, mut body) = match &write.kind {
        WriteKind::Delete => (given(write.key)?, PreparedBody::None),
        WriteKind::Message(_) => {
            let body = PreparedBody::Message(Arc::new(write.body.unwrap_or_default()));
            match write.key {
                None => (PreparedKey::Root, body),
                key => (given(key)?, body),
            }
        }
        kind => record(&stored, kind, write.key, write.body)?,
    };
    let blobs = match &mut body {
        PreparedBody::Record(body) => blob::part(definition, body, &table.database().blobs)?,
        PreparedBody::None | PreparedBody::Message(_) => Vec::new(),
    };
    Ok(PreparedWrite {
        table: Arc::clone(table),
        access,
        key,
        kind: write.kind,
        body,
        blobs,
        supplied,
        precondition: write.precondition,
        expires_at: write.expires_at,
        invalidates: false,
        only_if: None,
    })
}

fn given(key: Option<Key>) -> Result<PreparedKey, Error> {
    let key = canonical_key(key.ok_or_else(|| Error::bad_request("Invalid primary key of null"))?);
    let encoded = encode_key(&key)?;
    Ok(PreparedKey::Given(key, encoded))
}

fn record(
    stored: &StoredTable,
    kind: &WriteKind,
    target: Option<Key>,
    body: Option<Value>,
) -> Result<(PreparedKey, PreparedBody), Error> {
    let definition = &stored.definition;
    let Some(Value::Map(mut body)) = body else {
        let found = body.as_ref().map_or("nothing", Value::kind);
        return Err(Error::bad_request(format!(
            "A record must be an object, not {found}"
        )));
    };
    let generates = matches!(
        kind,
        WriteKind::Create | WriteKind::InsertIfAbsent | WriteKind::Upsert
    );
    let inside = match body.get(&definition.primary_key) {
        Some(Value::Null) if generates => None,
        Some(Value::String(text)) if generates && text.is_empty() => None,
        Some(value) => Some(canonical_key(validate::key_from_value(definition, value)?)),
        None => None,
    };
    let target = target.map(canonical_key);
    let key = match (target, inside) {
        (Some(target), Some(inside)) if target != inside => {
            return Err(Error::bad_request(format!(
                "The primary key {inside} in the body does not match {target} of the target"
            )));
        }
        (Some(key), _) | (None, Some(key)) => given(Some(key))?,
        (None, None) if generates => generate(definition.key_type())?,
        (None, None) => given(None)?,
    };
    let partial = matches!(
        kind,
        WriteKind::Patch | WriteKind::Upsert | WriteKind::UpdateIfPresent
    );
    match &key {
        // What a patch sends is logged as it is; it gets the key when it makes a record.
        _ if partial && !body.contains_key(&definition.primary_key) => {}
        PreparedKey::Given(key, _) => with_key(&mut body, &definition.primary_key, key.to_value()),
        // Keeps the place until the writer knows the number.
        PreparedKey::NextInteger | PreparedKey::Root => {
            with_key(&mut body, &definition.primary_key, Value::Int(0));
        }
    }
    let body = validate::record(definition, body, partial)?;
    Ok((key, PreparedBody::Record(body)))
}

/// Sets the key attribute; a record that lacks it gets it as its first one.
pub(crate) fn with_key(body: &mut Map, primary_key: &str, key: Value) {
    if let Some(place) = body.get_mut(primary_key) {
        *place = key;
        return;
    }
    let mut map = Map::with_capacity(body.len() + 1);
    map.insert(primary_key, key);
    for (name, value) in std::mem::take(body) {
        map.insert(name, value);
    }
    *body = map;
}

fn generate(kind: &AttributeType) -> Result<PreparedKey, Error> {
    let unique = || Key::String(uuid::Uuid::new_v4().to_string());
    match kind {
        AttributeType::Id | AttributeType::String => given(Some(unique())),
        AttributeType::Array(_) => given(Some(Key::Parts(vec![unique()]))),
        _ => Ok(PreparedKey::NextInteger),
    }
}
