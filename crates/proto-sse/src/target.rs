//! What a request subscribes to: the rest of the path and the query (`realtime.md` §1.3, §1.4).

use std::borrow::Cow;

use base::Timestamp;
use content::ContentTypes;
use http_chain::percent;
use resource::{Error, Key, Resource, Scope, SubscribeOptions};

/// Scope and options of one stream.
#[derive(Debug, PartialEq)]
pub(crate) struct Target {
    pub(crate) scope: Scope,
    pub(crate) options: SubscribeOptions,
    /// `event:` carries the type.
    pub(crate) event_names: bool,
}

impl Target {
    /// Reads a target. `rest` is what follows the resource's path, percent-encoded.
    pub(crate) fn parse(
        resource: &dyn Resource,
        types: &ContentTypes,
        rest: &str,
        query: Option<&str>,
    ) -> Result<Self, Error> {
        let mut target = Self {
            scope: scope(resource, types, rest)?,
            options: SubscribeOptions::default(),
            event_names: false,
        };
        for pair in query.unwrap_or_default().split('&') {
            if !pair.is_empty() {
                target.set(pair)?;
            }
        }
        Ok(target)
    }

    /// The same for a resource made of code, which has no subscribe options.
    ///
    /// # Errors
    ///
    /// 400 if there is a query.
    pub(crate) fn conversation(self, query: Option<&str>) -> Result<resource::Target, Error> {
        if query.is_some_and(|query| !query.is_empty()) {
            return Err(Error::bad_request(
                "queries are not available for streams of custom resources",
            ));
        }
        Ok(match self.scope {
            Scope::Key(key) => resource::Target::record(key),
            Scope::Prefix(prefix) => resource::Target {
                key: Some(Key::String(prefix)),
                ..resource::Target::collection()
            },
            _ => resource::Target::collection(),
        })
    }

    fn set(&mut self, pair: &str) -> Result<(), Error> {
        let (encoded_name, encoded_value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decode(encoded_name)?, decode(encoded_value)?);
        if self.options.set(&name, &value)? {
            return Ok(());
        }
        if name == "eventNames" {
            let message =
                format!("Invalid value for eventNames: \"{value}\", expecting true or false");
            self.event_names = value.parse().map_err(|_| Error::bad_request(message))?;
            return Ok(());
        }
        self.options
            .add_condition(pair, |text| decode(text).map(Cow::into_owned))
    }

    /// Continues after `last_event_id`, unless the query says where to start. Text that is no position is
    /// ignored (S2).
    pub(crate) fn resume(&mut self, last_event_id: &str) {
        let position = last_event_id.trim().parse().ok();
        if let Some(position) = position.and_then(Timestamp::from_millis)
            && self.options.start_time.is_none()
        {
            self.options.start_time = Some(position);
            // It was for the first connection; a resumed one continues where that ended.
            self.options.previous_count = None;
        }
    }
}

fn scope(resource: &dyn Resource, types: &ContentTypes, rest: &str) -> Result<Scope, Error> {
    let rest = without_suffix(resource, types, rest)?;
    let text = rest.strip_prefix('/').unwrap_or(rest);
    if text.is_empty() {
        return Ok(Scope::All);
    }
    let decoded = decode(text)?;
    match text.ends_with('/') {
        true => Ok(Scope::Prefix(decoded.into_owned())),
        false => resource.parse_key(&decoded).map(Scope::Key),
    }
}

/// Cuts off the suffix that asks for JSON. Suffixes mean here what they mean to REST, so that one URL never
/// has two meanings.
fn without_suffix<'r>(
    resource: &dyn Resource,
    types: &ContentTypes,
    rest: &'r str,
) -> Result<&'r str, Error> {
    let Some((before, suffix)) = rest.split_once('.') else {
        return Ok(rest);
    };
    if let Some(format) = types.by_suffix(suffix) {
        return match format.media_type() {
            "application/json" => Ok(before),
            other => Err(Error::not_acceptable(format!(
                "event streams carry JSON, not {other}"
            ))),
        };
    }
    let is_property = resource
        .table()
        .is_some_and(|table| table.attribute(suffix).is_some());
    if is_property && !before.ends_with('/') {
        return Err(Error::bad_request(format!(
            "a property cannot be subscribed to: '{suffix}'"
        )));
    }
    Ok(rest)
}

fn decode(text: &str) -> Result<Cow<'_, str>, Error> {
    percent::decode(text).map_err(|error| Error::bad_request(format!("{error} in '{text}'")))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use resource::{Attribute, AttributeType, Condition, Methods, TableDefinition};

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
            Some(Arc::new(TableDefinition {
                database: "data".into(),
                table: "Dog".into(),
                primary_key: "id".into(),
                attributes: vec![Attribute::new("name", AttributeType::String)],
                schema_defined: true,
                sealed: false,
                audit: true,
                expiration_secs: None,
                export: None,
            }))
        }
    }

    fn parse(rest: &str, query: &str) -> Result<Target, Error> {
        Target::parse(&Dog, &ContentTypes::standard(), rest, Some(query))
    }

    #[test]
    fn the_path_says_which_records() {
        let key = |key: &str| Scope::Key(Key::from(key));
        for (rest, scope) in [
            ("", Scope::All),
            ("/", Scope::All),
            (".json", Scope::All),
            ("/1", key("1")),
            ("/1.json", key("1")),
            ("/1%2Ejson", key("1.json")),
            ("/1.x.y", key("1.x.y")),
            ("/a/b", key("a/b")),
            ("/a%20b", key("a b")),
            ("/1/", Scope::Prefix("1/".to_owned())),
            ("/a/b/", Scope::Prefix("a/b/".to_owned())),
        ] {
            assert_eq!(parse(rest, "").unwrap().scope, scope, "{rest}");
        }
        for (rest, status) in [
            ("/%", 400),
            ("/%ff", 400),
            ("/1.cbor", 406),
            ("/1.name", 400),
        ] {
            assert_eq!(parse(rest, "").unwrap_err().status(), status, "{rest}");
        }
    }

    #[test]
    fn the_query_sets_options() {
        let target = parse(
            "/",
            "omitCurrent=true&rawEvents=true&eventNames=true&startTime=1700000000000.5",
        )
        .unwrap();
        assert!(target.options.omit_current && target.options.raw_events && target.event_names);
        assert_eq!(
            target.options.start_time,
            Timestamp::from_millis(1_700_000_000_000.5)
        );
        assert_eq!(
            parse("/", "previousCount=%31%30")
                .unwrap()
                .options
                .previous_count,
            Some(10)
        );
    }

    #[test]
    fn a_condition_filters_and_what_is_none_is_refused_by_name() {
        let filter = |query| parse("/", query).unwrap().options.filter;
        assert_eq!(filter("omitCurrent=true"), None);
        let Some(Condition::Compare(condition)) = filter("breed=Boxer%20x&omitCurrent=true") else {
            panic!("one condition");
        };
        assert_eq!(condition.value, "Boxer x".into());
        assert!(matches!(filter("a=1&b=gt=2"), Some(Condition::Group(..))));
        for query in ["breed", "select(name)", "limit(1)", "a=1|b=2"] {
            let error = parse("/", query).unwrap_err();
            assert_eq!(error.status(), 400, "{query}");
            assert!(error.message().contains(query), "{error}");
        }
        for query in [
            "omitCurrent=maybe",
            "eventNames=",
            "previousCount=1001",
            "startTime=%",
            "a=%",
        ] {
            assert_eq!(parse("/", query).unwrap_err().status(), 400, "{query}");
        }
    }

    #[test]
    fn s2_last_event_id_is_a_start_time_unless_the_query_has_one() {
        let resumed = |query: &str, id: &str| {
            let mut target = parse("/", query).unwrap();
            target.resume(id);
            (target.options.start_time, target.options.previous_count)
        };
        let at = |millis| Timestamp::from_millis(millis);
        assert_eq!(resumed("", "7.5"), (at(7.5), None));
        assert_eq!(resumed("previousCount=3", "7"), (at(7.0), None));
        assert_eq!(resumed("startTime=3", "7"), (at(3.0), None));
        for id in ["", "abc", "-1", "NaN", "inf", "1 2"] {
            assert_eq!(resumed("previousCount=3", id), (None, Some(3)), "{id}");
        }
    }
}
