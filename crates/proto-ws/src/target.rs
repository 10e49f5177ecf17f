//! What the rest of a path and the query ask for (`realtime.md` §1.3 and §1.4, `rest.md` §2).

use std::borrow::Cow;

use content::ContentTypes;
use http_chain::percent::{self, PercentError};
use resource::registry::Match;
use resource::{Error, Key, Protocol, Registry, Resource, Scope, SubscribeOptions};

/// The part of a resource whose changes are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Which records and topics.
    pub scope: Scope,
    /// The format that the path asks for, by its suffix without dot.
    pub suffix: Option<&'static str>,
}

impl Target {
    /// Reads what follows the path of the resource, still percent-encoded: nothing, `/`, `/id` or `/id/`.
    ///
    /// The text is split at its first dot and decoded once, after that. What follows the dot is the suffix
    /// of a format, or else part of the key.
    ///
    /// # Errors
    ///
    /// 400 for malformed percent-encoding or a key that does not fit, 501 for a single property.
    pub fn parse(resource: &dyn Resource, types: &ContentTypes, rest: &str) -> Result<Self, Error> {
        let text = rest.strip_prefix('/').unwrap_or(rest);
        let Some((before, after)) = text.split_once('.') else {
            return Ok(Self {
                scope: scope(resource, text)?,
                suffix: None,
            });
        };
        let suffix = types
            .by_suffix(after)
            .and_then(|format| format.codec().suffix());
        if suffix.is_none() && names_property(resource, before, after)? {
            return Err(Error::not_implemented(
                "live events of a single property are not available in this build",
            ));
        }
        let key_text = if suffix.is_some() { before } else { text };
        Ok(Self {
            scope: scope(resource, key_text)?,
            suffix,
        })
    }
}

/// The export that answers for `path`, which has no leading slash. `Dog.cbor` is `Dog` in a format, unless
/// something is exported under the whole name.
pub(crate) fn find<'p>(
    registry: &Registry,
    types: &ContentTypes,
    path: &'p str,
) -> Option<Match<'p>> {
    let found = registry.find(path, Protocol::WebSocket);
    if found
        .as_ref()
        .is_some_and(|found| !found.entry.path.is_empty())
    {
        return found;
    }
    let before_suffix = path.find('.').and_then(|dot| {
        types.by_suffix(&path[dot + 1..])?;
        let bare = registry.find(&path[..dot], Protocol::WebSocket)?;
        (bare.rest.is_empty() && !bare.entry.path.is_empty()).then_some(Match {
            entry: bare.entry,
            rest: &path[dot..],
        })
    });
    before_suffix.or(found)
}

/// The target of a conversation.
pub(crate) fn of_scope(scope: Scope) -> resource::Target {
    match scope {
        Scope::Key(key) => resource::Target::record(key),
        Scope::Prefix(prefix) => resource::Target {
            key: Some(Key::String(prefix)),
            ..resource::Target::collection()
        },
        _ => resource::Target::collection(),
    }
}

fn names_property(resource: &dyn Resource, before: &str, after: &str) -> Result<bool, Error> {
    if before.is_empty() || before.ends_with('/') {
        return Ok(false);
    }
    let name = decode(after)?;
    Ok(resource
        .table()
        .is_some_and(|table| table.attribute(&name).is_some()))
}

fn scope(resource: &dyn Resource, text: &str) -> Result<Scope, Error> {
    let decoded = decode(text)?;
    match text {
        "" => Ok(Scope::All),
        _ if text.ends_with('/') => Ok(Scope::Prefix(decoded.into_owned())),
        _ => Ok(Scope::Key(resource.parse_key(&decoded)?)),
    }
}

/// How the subscription starts and what it delivers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Options {
    /// For the resource.
    pub subscribe: SubscribeOptions,
    /// Whether the end of the current state is marked by a message.
    pub mark_initial: bool,
}

impl Options {
    /// Reads the query: `omitCurrent`, `startTime`, `previousCount`, `rawEvents`, `markInitial`, and conditions.
    ///
    /// # Errors
    ///
    /// 400 for a value that does not fit, for options that exclude each other, and for what is neither an option
    /// nor a condition.
    pub fn parse(query: Option<&str>, scope: &Scope) -> Result<Self, Error> {
        let mut options = Self::default();
        let parts = query.unwrap_or_default().split('&');
        for part in parts.filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            if !options.set(&decode_form(name)?, &decode_form(value)?)? {
                options.subscribe.add_condition(part, decode_form)?;
            }
        }
        let SubscribeOptions {
            start_time,
            previous_count,
            ..
        } = options.subscribe;
        if start_time.is_some() && previous_count.is_some() && !matches!(scope, Scope::Key(_)) {
            return Err(Error::bad_request(
                "startTime and previousCount can not be combined for a table level subscription",
            ));
        }
        Ok(options)
    }

    /// `false` if there is no option of that name.
    fn set(&mut self, name: &str, value: &str) -> Result<bool, Error> {
        if self.subscribe.set(name, value)? {
            return Ok(true);
        }
        match name {
            "markInitial" => self.mark_initial = flag(name, value)?,
            "includeDescendants" | "onlyChildren" => {
                return Err(Error::bad_request(format!(
                    "{name} is not available in this build"
                )));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn flag(name: &str, value: &str) -> Result<bool, Error> {
    value
        .parse()
        .map_err(|_| Error::bad_request(format!("{name} must be true or false")))
}

fn decode(text: &str) -> Result<Cow<'_, str>, Error> {
    percent::decode(text).map_err(|error| malformed(error, text))
}

/// Like [`decode`], and `+` is a space.
fn decode_form(text: &str) -> Result<String, Error> {
    let spaced = text.replace('+', " ");
    percent::decode(&spaced)
        .map(Cow::into_owned)
        .map_err(|error| malformed(error, text))
}

fn malformed(error: PercentError, text: &str) -> Error {
    Error::bad_request(format!("{error} in '{text}'"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use base::Timestamp;
    use resource::{Condition, Exposure, Methods};

    use super::*;

    struct Dog;
    impl Resource for Dog {
        fn name(&self) -> &str {
            "Dog"
        }
        fn methods(&self) -> Methods {
            Methods::NONE
        }
        fn parse_key(&self, text: &str) -> Result<Key, Error> {
            match text {
                "bad" => Err(Error::bad_request("bad key")),
                text => Ok(Key::from(text)),
            }
        }
    }

    fn parse(rest: &str) -> Result<(Scope, Option<&'static str>), Error> {
        let target = Target::parse(&Dog, &ContentTypes::standard(), rest)?;
        Ok((target.scope, target.suffix))
    }

    #[test]
    fn the_rest_of_the_path_is_the_scope() {
        let key = |text: &str| Scope::Key(Key::from(text));
        for (rest, scope, suffix) in [
            ("", Scope::All, None),
            ("/", Scope::All, None),
            (".cbor", Scope::All, Some("cbor")),
            ("/.msgpack", Scope::All, Some("msgpack")),
            ("/1", key("1"), None),
            ("/a/b", key("a/b"), None),
            ("/a/b/", Scope::Prefix("a/b/".into()), None),
            ("/1.json", key("1"), Some("json")),
            ("/a.b.json", key("a.b.json"), None),
            ("/photo.png", key("photo.png"), None),
            ("/readme%2Ejson", key("readme.json"), None),
            ("/a%2F", key("a/"), None),
            ("1", key("1"), None),
        ] {
            assert_eq!(parse(rest).unwrap(), (scope, suffix), "{rest}");
        }
        assert_eq!(parse("/%zz").unwrap_err().status(), 400);
        assert_eq!(parse("/bad").unwrap_err().message(), "bad key");
    }

    #[test]
    fn a_format_suffix_behind_the_resource_finds_the_resource() {
        let registry = Registry::new();
        registry.export("Dog", Arc::new(Dog), Exposure::default());
        let types = ContentTypes::standard();
        let rest = |path| find(&registry, &types, path).map(|found| found.rest.to_owned());
        assert_eq!(rest("Dog.cbor").as_deref(), Some(".cbor"));
        assert_eq!(rest("Dog/1.cbor").as_deref(), Some("/1.cbor"));
        assert_eq!(rest("Dog.png"), None);
        assert_eq!(rest("Cat"), None);
    }

    #[test]
    fn options_are_read_from_the_query() {
        let query = "omitCurrent=true&rawEvents=true&markInitial=true&startTime=1700000000000.5";
        let options = Options::parse(Some(query), &Scope::All).unwrap();
        assert!(options.mark_initial);
        assert_eq!(
            options.subscribe,
            SubscribeOptions {
                omit_current: true,
                raw_events: true,
                start_time: Timestamp::from_millis(1_700_000_000_000.5),
                ..SubscribeOptions::default()
            }
        );
        let none = Options::parse(None, &Scope::All).unwrap();
        assert_eq!(none, Options::default());
    }

    #[test]
    fn other_items_of_the_query_are_conditions() {
        let options = Options::parse(Some("breed=Boxer+x&rawEvents=true"), &Scope::All).unwrap();
        let Some(Condition::Compare(condition)) = options.subscribe.filter else {
            panic!("one condition");
        };
        assert_eq!(condition.attribute, ["breed"]);
        assert_eq!(condition.value, "Boxer x".into());
    }

    #[test]
    fn options_that_do_not_fit_are_400() {
        let message = |query: &str| {
            let error = Options::parse(Some(query), &Scope::All).unwrap_err();
            assert_eq!(error.status(), 400);
            error.message().to_owned()
        };
        for bad in [
            "omitCurrent=maybe",
            "startTime=-1",
            "startTime=NaN",
            "previousCount=1001",
            "previousCount=-1",
            "onlyChildren=true",
            "%zz=1",
        ] {
            message(bad);
        }
        assert!(message("breed").contains("'breed'"));
        assert!(message("limit(1)").contains("functions"));
        assert!(message("startTime=1&previousCount=1").contains("can not be combined"));
        let record = Scope::Key(Key::from("1"));
        assert!(Options::parse(Some("startTime=1&previousCount=1"), &record).is_ok());
    }
}
