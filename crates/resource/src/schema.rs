//! Table definitions as the loader of schema files, the store and describe operations share them.

/// A declared type (`schema-and-storage.md` §3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttributeType {
    /// 32-bit signed integer.
    Int,
    /// Integer of magnitude up to 2^53.
    Long,
    /// 64-bit float.
    Float,
    /// Integer of any size.
    BigInt,
    /// Key text.
    Id,
    /// Text.
    String,
    /// True or false.
    Boolean,
    /// Point in time.
    Date,
    /// Byte string.
    Bytes,
    /// Large content, stored beside the record when large.
    Blob,
    /// No declared type.
    Any,
    /// List of elements of one type.
    Array(Box<Element>),
    /// An embedded object type of the schema.
    Object(std::sync::Arc<ObjectType>),
}

/// The element of a list type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// Type of each element.
    pub kind: AttributeType,
    /// Whether an element may be null.
    pub nullable: bool,
}

/// An embedded object type: a `type` without `@table`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObjectType {
    /// Name of the type.
    pub name: String,
    /// Its properties.
    pub properties: Vec<Attribute>,
    /// Whether other properties are refused.
    pub sealed: bool,
}

impl AttributeType {
    /// The name as in schema files; `array` for lists, the type's name for objects.
    pub fn name(&self) -> &str {
        match self {
            Self::Int => "Int",
            Self::Long => "Long",
            Self::Float => "Float",
            Self::BigInt => "BigInt",
            Self::Id => "ID",
            Self::String => "String",
            Self::Boolean => "Boolean",
            Self::Date => "Date",
            Self::Bytes => "Bytes",
            Self::Blob => "Blob",
            Self::Any => "Any",
            Self::Array(_) => "array",
            Self::Object(object) => &object.name,
        }
    }

    /// The scalar type of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "Int" => Self::Int,
            "Long" => Self::Long,
            "Float" => Self::Float,
            "BigInt" => Self::BigInt,
            "ID" => Self::Id,
            "String" => Self::String,
            "Boolean" => Self::Boolean,
            "Date" => Self::Date,
            "Bytes" => Self::Bytes,
            "Blob" => Self::Blob,
            "Any" => Self::Any,
            _ => return None,
        })
    }
}

/// An attribute of a table or property of an object type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// Its declared type.
    pub kind: AttributeType,
    /// Whether null and absence are allowed.
    pub nullable: bool,
    /// Whether a secondary index exists.
    pub indexed: bool,
    /// Set to the commit time when the record is created.
    pub assigned_created_time: bool,
    /// Set to the commit time at every write.
    pub assigned_updated_time: bool,
    /// Holds the time at which the record expires, in milliseconds since the epoch or as a date.
    pub expires_at: bool,
    /// Stands for records of another table; nothing is stored under its name.
    pub relation: Option<Relation>,
    /// Worked out from the record when it is read; nothing is stored under its name.
    pub computed: Option<Computed>,
    /// A relationship or computed attribute that is part of every result that selects nothing.
    pub enumerable: bool,
    /// A primary key whose path text is parted at `/`: text with a slash is a key of several parts.
    pub splits_segments: bool,
}

/// How records of two tables of one database find each other (`schema-and-storage.md` §9).
///
/// A record is related to those whose `to` holds one of the values of its own `from`. An attribute of list type
/// stands for all related records, any other for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// The related table.
    pub table: String,
    /// The attribute of this table; `None`: its primary key.
    pub from: Option<String>,
    /// The attribute of the related table, which must be indexed; `None`: its primary key.
    pub to: Option<String>,
}

/// Where the value of a computed attribute comes from (`schema-and-storage.md` §10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Computed {
    /// The expression; `None`: a function that the program registers.
    pub from: Option<String>,
    /// Changed by hand when the function gives other values than before, so that indexes are made anew.
    pub version: Option<String>,
}

impl Attribute {
    /// A nullable, unindexed attribute.
    pub fn new(name: impl Into<String>, kind: AttributeType) -> Self {
        Self {
            name: name.into(),
            kind,
            nullable: true,
            indexed: false,
            assigned_created_time: false,
            assigned_updated_time: false,
            expires_at: false,
            relation: None,
            computed: None,
            enumerable: false,
            splits_segments: false,
        }
    }

    /// Whether records hold a value under its name.
    pub fn is_stored(&self) -> bool {
        self.relation.is_none() && self.computed.is_none()
    }
}

/// Where and for whom a table is exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// Path without leading slash; empty for the root.
    pub path: String,
    /// By which protocols.
    pub exposure: crate::Exposure,
}

/// Everything declared about one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableDefinition {
    /// Database it belongs to; `data` by default.
    pub database: String,
    /// Name, unique in the database.
    pub table: String,
    /// Name of the primary key attribute, which is one of `attributes`.
    pub primary_key: String,
    /// Declared (or, for dynamic tables, discovered) attributes in order.
    pub attributes: Vec<Attribute>,
    /// `false`: every new top-level property becomes an indexed attribute.
    pub schema_defined: bool,
    /// Refuse undeclared attributes.
    pub sealed: bool,
    /// Keep the change log.
    pub audit: bool,
    /// Seconds until a record expires, if set.
    pub expiration_secs: Option<u64>,
    /// How it is exported, if it is.
    pub export: Option<Export>,
}

impl TableDefinition {
    /// The attribute of that name.
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes
            .iter()
            .find(|attribute| attribute.name == name)
    }

    /// The declared type of the primary key.
    pub fn key_type(&self) -> &AttributeType {
        self.attribute(&self.primary_key)
            .map_or(&AttributeType::Any, |attribute| &attribute.kind)
    }
}
