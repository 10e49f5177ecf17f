//! What the rest of a path addresses within its resource (`rest.md` §2).

use std::borrow::Cow;

use content::ContentTypes;
use http_chain::percent;
use resource::{Error, Key, Resource};

/// The part of a resource that is meant.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Place {
    /// The resource itself: its description.
    Resource,
    /// All its records.
    Collection,
    /// The records whose keys start with this text, which ends in `/`.
    SubCollection(String),
    /// One record.
    Record(Key),
}

/// A parsed target.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Address {
    pub(crate) place: Place,
    /// The format that the path asks for, by its suffix.
    pub(crate) suffix: Option<&'static str>,
    /// The declared attribute whose value alone is meant.
    pub(crate) property: Option<String>,
}

impl Address {
    fn of(place: Place) -> Self {
        Self {
            place,
            suffix: None,
            property: None,
        }
    }

    /// I5: whatever follows the path of the resource is a key.
    pub(crate) fn direct(
        resource: &dyn Resource,
        target: &str,
        query: Option<&str>,
    ) -> Result<Self, Error> {
        let place = match (target.strip_prefix('/'), query) {
            (None, None) => Place::Resource,
            (path, query) => {
                let mut text = decode(path.unwrap_or_default())?.into_owned();
                if let Some(query) = query {
                    text.push('?');
                    text.push_str(&decode(query)?);
                }
                Place::Record(resource.parse_key(&text)?)
            }
        };
        Ok(Self::of(place))
    }

    /// Reads a target, which is still percent-encoded. A resource with a query is a collection.
    ///
    /// The text is split at its first dot, and decoded once, after that: encoded dots and slashes are
    /// part of a key. What follows the dot is the suffix of a format (I7), or the name of a declared
    /// attribute, or part of the key like any other text.
    pub(crate) fn parse(
        resource: &dyn Resource,
        types: &ContentTypes,
        target: &str,
        has_query: bool,
    ) -> Result<Self, Error> {
        let whole = match (has_query, Place::Resource) {
            (true, _) => Place::Collection,
            (false, place) => place,
        };
        let Some(text) = target.strip_prefix('/') else {
            // Empty, or the suffix that the route was found by.
            let suffix = target
                .strip_prefix('.')
                .and_then(|name| suffix_of(types, name));
            return Ok(Self {
                suffix,
                ..Self::of(whole)
            });
        };
        let Some((before, after)) = text.split_once('.') else {
            return Ok(Self::of(place(resource, text)?));
        };
        if let Some(suffix) = suffix_of(types, after) {
            return Ok(Self {
                suffix: Some(suffix),
                ..Self::of(place(resource, before)?)
            });
        }
        let names_a_record = !before.is_empty() && !before.ends_with('/');
        if names_a_record && let Some(property) = declared(resource, after)? {
            return Ok(Self {
                property: Some(property),
                ..Self::of(place(resource, before)?)
            });
        }
        Ok(Self::of(place(resource, text)?))
    }
}

fn suffix_of(types: &ContentTypes, name: &str) -> Option<&'static str> {
    types.by_suffix(name)?.codec().suffix()
}

fn declared(resource: &dyn Resource, name: &str) -> Result<Option<String>, Error> {
    let Some(table) = resource.table() else {
        return Ok(None);
    };
    let name = decode(name)?;
    Ok(table.attribute(&name).map(|_| name.into_owned()))
}

fn place(resource: &dyn Resource, text: &str) -> Result<Place, Error> {
    let decoded = decode(text)?;
    if text.is_empty() {
        return Ok(Place::Collection);
    }
    match text.ends_with('/') {
        true => Ok(Place::SubCollection(decoded.into_owned())),
        false => Ok(Place::Record(resource.parse_key(&decoded)?)),
    }
}

fn decode(text: &str) -> Result<Cow<'_, str>, Error> {
    percent::decode(text).map_err(|error| Error::bad_request(format!("{error} in '{text}'")))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use resource::{Attribute, AttributeType, Methods, TableDefinition};

    use super::*;

    struct Dog;

    impl Resource for Dog {
        fn name(&self) -> &str {
            "Dog"
        }
        fn methods(&self) -> Methods {
            Methods::TABLE
        }
        fn table(&self) -> Option<Arc<TableDefinition>> {
            let attribute = |name: &str| Attribute::new(name, AttributeType::String);
            Some(Arc::new(TableDefinition {
                database: "data".into(),
                table: "Dog".into(),
                primary_key: "id".into(),
                attributes: ["id", "name", "a b"].map(attribute).into(),
                schema_defined: true,
                sealed: false,
                audit: true,
                expiration_secs: None,
                export: None,
            }))
        }
    }

    fn check(target: &str, place: Place, suffix: Option<&'static str>, property: Option<&str>) {
        let types = ContentTypes::standard();
        let expected = Address {
            place,
            suffix,
            property: property.map(str::to_owned),
        };
        let parsed = Address::parse(&Dog, &types, target, false).unwrap();
        assert_eq!(parsed, expected, "{target}");
    }

    #[test]
    fn the_url_grammar() {
        let record = |key: &str| Place::Record(Key::from(key));
        let below = |prefix: &str| Place::SubCollection(prefix.to_owned());
        check("", Place::Resource, None, None);
        check(".json", Place::Resource, Some("json"), None);
        check("/", Place::Collection, None, None);
        check("/1", record("1"), None, None);
        check("/a/b", record("a/b"), None, None);
        check("/a/b/", below("a/b/"), None, None);
        check("/1.name", record("1"), None, Some("name"));
        check("/1.a%20b", record("1"), None, Some("a b"));
        check("/1.csv", record("1"), Some("csv"), None);
        check("/.msgpack", Place::Collection, Some("msgpack"), None);
        check("/a/.json", below("a/"), Some("json"), None);
        check("/1.x.y", record("1.x.y"), None, None);
        check("/photo.png", record("photo.png"), None, None);
        check("/a.b.json", record("a.b.json"), None, None);
        check("/a.b/", below("a.b/"), None, None);
        check("/.name", record(".name"), None, None);
        check("//1", record("/1"), None, None);
    }

    #[test]
    fn i7_and_c11_encoded_separators_are_data() {
        let record = |key: &str| Place::Record(Key::from(key));
        check("/%2e%2e", record(".."), None, None);
        check("/readme%2Ejson", record("readme.json"), None, None);
        check("/readme.json", record("readme"), Some("json"), None);
        check("/a%2Fb", record("a/b"), None, None);
        check("/a%2F", record("a/"), None, None);
        check("/%252e", record("%2e"), None, None);
    }

    #[test]
    fn i6_malformed_percent_encoding_is_400() {
        let types = ContentTypes::standard();
        for target in ["/%", "/%zz", "/a/%f", "/%ff", "/1.%g0", "/%ff/"] {
            let error = Address::parse(&Dog, &types, target, false).expect_err(target);
            assert_eq!(error.status(), 400);
        }
    }

    #[test]
    fn a_resource_with_a_query_is_a_collection() {
        let types = ContentTypes::standard();
        let address = Address::parse(&Dog, &types, "", true).unwrap();
        assert_eq!(address.place, Place::Collection);
    }
}
