//! The shape of a result: what `select` asks of each record (`rest.md` §7.7).

use bytes::Bytes;
use resource::{Body, Error, Map, Record, Select, SelectItem, Value, json};

/// A selection that has been checked and can be applied to record after record.
///
/// ```
/// use base::Timestamp;
/// use content::Projection;
/// use resource::{Body, Record, Select, SelectItem, Value, json};
///
/// let rex = Record {
///     key: Some(1.into()),
///     version: Timestamp::ZERO,
///     expires_at: None,
///     body: Body::from(json::from_slice(br#"{"name":"Rex","breed":"Boxer"}"#).unwrap()),
/// };
/// let select = Select::Array(vec![SelectItem::named("$id"), SelectItem::named("name")]);
/// let projection = Projection::new(Some(&select)).unwrap();
/// assert_eq!(projection.json(&rex).unwrap(), r#"[1,"Rex"]"#);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Projection {
    /// The record as it is.
    #[default]
    Whole,
    /// The bare value of one field.
    One(Field),
    /// An object of the fields that the record has.
    Object(Vec<Field>),
    /// An array of all fields; null for those that the record lacks.
    Array(Vec<Field>),
}

/// One selected field. What a `select` asks for within it, of related records or of an object, is the work of
/// the resource, which has put it into the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// An attribute.
    Attribute(String),
    /// Every attribute of the record: `*`.
    All,
    /// The primary key: `$id`.
    Id,
    /// The version in milliseconds since the epoch: `$updatedtime`, under the spelling that was used.
    UpdatedTime(String),
    /// When the record expires, in milliseconds since the epoch: `$expiresAt`.
    ExpiresAt,
    /// The whole record: `$record`.
    Record,
}

impl Field {
    fn of(item: &SelectItem) -> Result<Self, Error> {
        Ok(match item.name.as_str() {
            "*" => Self::All,
            "$id" => Self::Id,
            "$updatedtime" | "$updatedTime" => Self::UpdatedTime(item.name.clone()),
            "$expiresAt" => Self::ExpiresAt,
            "$record" => Self::Record,
            "$distance" => {
                return Err(Error::bad_request(
                    "select of '$distance' is not supported yet",
                ));
            }
            name => Self::Attribute(name.to_owned()),
        })
    }

    /// The name under which it appears in an object.
    pub fn name(&self) -> &str {
        match self {
            Self::Attribute(name) | Self::UpdatedTime(name) => name,
            Self::All => "*",
            Self::Id => "$id",
            Self::ExpiresAt => "$expiresAt",
            Self::Record => "$record",
        }
    }

    /// Its value; `None` if the record lacks it.
    pub fn value(&self, record: &Record) -> Option<Value> {
        match self {
            Self::Attribute(name) => record.body.attribute(name),
            Self::All | Self::Record => Some(record.body.to_value()),
            Self::Id | Self::UpdatedTime(_) | Self::ExpiresAt => self.fact(record),
        }
    }

    fn json(&self, record: &Record) -> Option<Bytes> {
        match self {
            Self::Attribute(name) => record.body.attribute_json(name),
            Self::All | Self::Record => Some(record.body.json()),
            Self::Id | Self::UpdatedTime(_) | Self::ExpiresAt => {
                self.fact(record).map(|value| json::to_vec(&value).into())
            }
        }
    }

    /// What is known about the record besides its content.
    fn fact(&self, record: &Record) -> Option<Value> {
        let stamp = match self {
            Self::Id => return record.key.as_ref().map(resource::Key::to_value),
            Self::UpdatedTime(_) if record.version != base::Timestamp::ZERO => record.version,
            Self::ExpiresAt => record.expires_at?,
            _ => return None,
        };
        Some(Value::Float(stamp.as_millis()))
    }
}

impl Projection {
    /// Checks a selection; none means the whole record.
    ///
    /// # Errors
    ///
    /// 400 that names a form which is not built yet (`$distance`), and for `*` in the array form, where it would have no position.
    pub fn new(select: Option<&Select>) -> Result<Self, Error> {
        let Some(select) = select else {
            return Ok(Self::Whole);
        };
        let mut fields = Vec::with_capacity(select.items().len());
        for item in select.items() {
            let field = Field::of(item)?;
            // An object has each name once; in an array every position counts.
            if matches!(select, Select::Array(_)) || !fields.contains(&field) {
                fields.push(field);
            }
        }
        match select {
            Select::One(_) => Ok(match fields.pop() {
                Some(Field::All | Field::Record) | None => Self::Whole,
                Some(field) => Self::One(field),
            }),
            Select::Object(_) => Ok(Self::of_object(fields)),
            Select::Array(_) if fields.contains(&Field::All) => Err(Error::bad_request(
                "'*' can not be selected in the array form",
            )),
            Select::Array(_) => Ok(Self::Array(fields)),
        }
    }

    /// `*` includes every attribute that is named beside it.
    fn of_object(mut fields: Vec<Field>) -> Self {
        if fields.contains(&Field::All) {
            fields.retain(|field| !matches!(field, Field::Attribute(_)));
        }
        match fields.as_slice() {
            [Field::All] => Self::Whole,
            _ => Self::Object(fields),
        }
    }

    /// Whether records stay as they are.
    pub fn is_whole(&self) -> bool {
        *self == Self::Whole
    }

    /// The selected fields in order; none for the whole record.
    pub fn fields(&self) -> &[Field] {
        match self {
            Self::Whole => &[],
            Self::One(field) => std::slice::from_ref(field),
            Self::Object(fields) | Self::Array(fields) => fields,
        }
    }

    /// The record in this shape; `None` if its one selected field is absent.
    pub fn project(&self, record: &Record) -> Option<Value> {
        match self {
            Self::Whole => Some(record.body.to_value()),
            Self::One(field) => field.value(record),
            Self::Object(fields) => Some(Value::Map(object(fields, record))),
            Self::Array(fields) => Some(Value::Array(
                fields
                    .iter()
                    .map(|field| field.value(record).unwrap_or_default())
                    .collect(),
            )),
        }
    }

    /// The JSON text of the record in this shape, made of slices of the stored text where that is
    /// possible; `None` if its one selected field is absent.
    pub fn json(&self, record: &Record) -> Option<Bytes> {
        match self {
            Self::Whole => Some(record.body.json()),
            Self::One(field) => field.json(record),
            Self::Object(_) | Self::Array(_) => {
                let mut out = Vec::with_capacity(128);
                self.write_json(record, &mut out);
                Some(out.into())
            }
        }
    }

    /// Appends [`json`](Self::json), `null` in place of nothing.
    pub fn write_json(&self, record: &Record, out: &mut Vec<u8>) {
        match self {
            Self::Whole => out.extend_from_slice(&record.body.json()),
            Self::One(field) => out.extend_from_slice(&or_null(field.json(record))),
            Self::Array(fields) => {
                out.push(b'[');
                for (index, field) in fields.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    out.extend_from_slice(&or_null(field.json(record)));
                }
                out.push(b']');
            }
            Self::Object(fields) => write_json_object(fields, record, out),
        }
    }
}

fn or_null(json: Option<Bytes>) -> Bytes {
    json.unwrap_or(Bytes::from_static(b"null"))
}

fn object(fields: &[Field], record: &Record) -> Map {
    let mut map = Map::with_capacity(fields.len());
    for field in fields {
        match (field, field.value(record)) {
            (Field::All, Some(Value::Map(all))) => {
                for (name, value) in all {
                    map.insert(name, value);
                }
            }
            (Field::All, _) | (_, None) => {}
            (_, Some(value)) => {
                map.insert(field.name(), value);
            }
        }
    }
    map
}

fn write_json_object(fields: &[Field], record: &Record, out: &mut Vec<u8>) {
    out.push(b'{');
    let mut separator: &[u8] = b"";
    for field in fields {
        let members = match (field, &record.body) {
            (Field::All, body) => json_members(body),
            _ => field.json(record),
        };
        let Some(members) = members else {
            continue;
        };
        out.extend_from_slice(separator);
        separator = b",";
        if *field != Field::All {
            json::write_string(field.name(), out);
            out.push(b':');
        }
        out.extend_from_slice(&members);
    }
    out.push(b'}');
}

/// The members of a JSON object without its braces; `None` if there are none, or it is no object.
fn json_members(body: &Body) -> Option<Bytes> {
    let text = body.json();
    let inner = text.strip_prefix(b"{")?.strip_suffix(b"}")?;
    (!inner.is_empty()).then(|| text.slice_ref(inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(text: &str) -> Record {
        Record {
            key: Some(7.into()),
            version: base::Timestamp::from_millis(1000.5).unwrap(),
            expires_at: None,
            body: Body::from(json::from_slice(text.as_bytes()).unwrap()),
        }
    }

    fn items(names: &[&str]) -> Vec<SelectItem> {
        names.iter().map(|name| SelectItem::named(*name)).collect()
    }

    /// Both ways must agree: by value and by slices of text.
    fn check(select: Select, text: &str, expected: Option<&str>) {
        let projection = Projection::new(Some(&select)).unwrap();
        let record = record(text);
        let by_value = projection
            .project(&record)
            .map(|value| Bytes::from(json::to_vec(&value)));
        assert_eq!(by_value.as_deref(), expected.map(str::as_bytes));
        assert_eq!(
            projection.json(&record).as_deref(),
            expected.map(str::as_bytes)
        );
    }

    #[test]
    fn one_is_the_bare_value() {
        let one = |name| Select::One(SelectItem::named(name));
        check(one("a"), r#"{"a":"x"}"#, Some(r#""x""#));
        check(one("b"), r#"{"a":"x"}"#, None);
        check(one("$id"), r#"{"a":"x"}"#, Some("7"));
        check(one("$expiresAt"), r#"{"a":"x"}"#, None);
        check(one("*"), r#"{"a":"x"}"#, Some(r#"{"a":"x"}"#));
        let mut out = Vec::new();
        Projection::new(Some(&one("b")))
            .unwrap()
            .write_json(&record("{}"), &mut out);
        assert_eq!(out, b"null");
    }

    #[test]
    fn an_object_leaves_out_what_is_absent() {
        let object = |names: &[&str]| Select::Object(items(names));
        let text = r#"{"a":1,"b":null,"c":[1]}"#;
        check(
            object(&["c", "x", "b", "c"]),
            text,
            Some(r#"{"c":[1],"b":null}"#),
        );
        check(object(&["*", "a"]), text, Some(text));
        check(
            object(&["$updatedtime", "*", "$id"]),
            text,
            Some(r#"{"$updatedtime":1000.5,"a":1,"b":null,"c":[1],"$id":7}"#),
        );
        check(object(&["*", "$id"]), "{}", Some(r#"{"$id":7}"#));
        check(object(&["a"]), "5", Some("{}"));
        check(
            object(&["a", "$record"]),
            r#"{"a":1}"#,
            Some(r#"{"a":1,"$record":{"a":1}}"#),
        );
    }

    #[test]
    fn an_array_keeps_its_positions() {
        let array = |names: &[&str]| Select::Array(items(names));
        check(array(&["b", "a", "a"]), r#"{"a":1}"#, Some("[null,1,1]"));
        assert!(Projection::new(Some(&array(&["*"]))).is_err());
    }

    #[test]
    fn what_is_not_built_is_named() {
        let error =
            Projection::new(Some(&Select::One(SelectItem::named("$distance")))).unwrap_err();
        assert!(error.message().contains("$distance"));
    }
}
