//! Topic filters to scopes (`realtime.md` §4.5 T5, §4.6).

use std::sync::Arc;

use resource::hub::Level;
use resource::{Resource, Scope, SubscribeOptions};

use super::{SYSTEM, Topics, find, free, key_text, usable};
use crate::{ReasonCode, Refusal};

/// What a filter subscribes to.
#[derive(Clone)]
pub struct Source {
    /// The resource.
    pub resource: Arc<dyn Resource>,
    /// Its path, the first part of delivered topics.
    pub path: Arc<str>,
    /// Which of its keys.
    pub scope: Scope,
    /// Options from the query behind the filter.
    pub options: SubscribeOptions,
    /// Whether the filter is the bare path: deliveries then have that topic, without a slash.
    pub bare: bool,
    /// Whether the filter is about free topics.
    pub is_free: bool,
}

/// Finds the resource and scope of a checked filter. A filter covers one resource: wildcards stand for keys; or
/// it covers free topics, and no resource.
///
/// A `?` starts a query of subscribe options (`startTime`, `previousCount`, `omitCurrent`, `rawEvents`), which is
/// no part of the topic.
///
/// # Errors
///
/// 0x8F if no resource matches, if a wildcard stands in its path and free topics are off, if the key does not fit
/// its type, or if the query is not understood.
pub fn source<'a>(topics: impl Into<Topics<'a>>, filter: &str) -> Result<Source, Refusal> {
    let topics = topics.into();
    let (topic, query) = match filter.split_once('?') {
        Some((topic, query)) => (topic, Some(query)),
        None => (filter, None),
    };
    let mut source = find_source(&topics, topic)?;
    if let Some(query) = query {
        source.options = options(query)?;
    }
    Ok(source)
}

fn find_source(topics: &Topics<'_>, topic: &str) -> Result<Source, Refusal> {
    let (first, below) = topic.split_once('/').unwrap_or((topic, ""));
    if let (SYSTEM, Some(system)) = (first, topics.system) {
        return Ok(Source {
            scope: scope(&**system, below)?,
            resource: Arc::clone(system),
            path: Arc::from(SYSTEM),
            options: SubscribeOptions::default(),
            bare: false,
            is_free: false,
        });
    }
    let is_wildcard = matches!(first, "#" | "+");
    if is_wildcard && topics.free.is_none() {
        return Err(refused("a wildcard cannot stand for a resource"));
    }
    let found = match is_wildcard {
        true => None,
        false => find(topics.registry, topic),
    };
    let Some(found) = found else {
        let free = free::table(topics, topic, ReasonCode::TopicFilterInvalid)?;
        return Ok(Source {
            scope: scope(&**free, topic)?,
            resource: Arc::clone(free),
            path: Arc::from(""),
            options: SubscribeOptions::default(),
            bare: false,
            is_free: true,
        });
    };
    let resource = usable(&found)?;
    Ok(Source {
        scope: scope(&*resource, key_text(&found))?,
        options: SubscribeOptions::default(),
        bare: found.rest.is_empty(),
        path: found.entry.path,
        resource,
        is_free: false,
    })
}

fn scope(resource: &dyn Resource, text: &str) -> Result<Scope, Refusal> {
    if text == "#" {
        return Ok(Scope::All);
    }
    let (levels, rest) = match text.strip_suffix("/#") {
        Some(levels) => (levels, true),
        None => (text, false),
    };
    let wildcard = rest || levels.split('/').any(|level| level == "+");
    if !wildcard && !text.is_empty() {
        let key = resource
            .parse_key(text)
            .map_err(|error| refused(error.message()))?;
        return Ok(Scope::Key(key));
    }
    // The topic of the resource itself is one empty level.
    let level = |level: &str| match level {
        "+" => Level::Any,
        text => Level::Exact(text.to_owned()),
    };
    Ok(Scope::Levels {
        levels: levels.split('/').map(level).collect(),
        rest,
    })
}

fn options(query: &str) -> Result<SubscribeOptions, Refusal> {
    let mut options = SubscribeOptions::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let known = options
            .set(name, value)
            .map_err(|error| refused(error.message()))?;
        if !known {
            return Err(refused(&format!(
                "{name:?} is no subscribe option; conditions on a topic filter are not supported"
            )));
        }
    }
    Ok(options)
}

fn refused(text: &str) -> Refusal {
    Refusal::new(ReasonCode::TopicFilterInvalid, text)
}
