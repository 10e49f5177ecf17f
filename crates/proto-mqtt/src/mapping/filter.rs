//! Topic filters to scopes (`realtime.md` §4.5 T5, §4.6).

use std::sync::Arc;

use resource::hub::Level;
use resource::{Registry, Resource, Scope, SubscribeOptions};

use super::{find, key_text, usable};
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
}

/// Finds the resource and scope of a checked filter. A filter covers one resource: wildcards stand for keys.
///
/// A `?` starts a query of subscribe options (`startTime`, `previousCount`, `omitCurrent`, `rawEvents`), which is
/// no part of the topic.
///
/// # Errors
///
/// 0x8F if no resource matches, if a wildcard stands in its path, if the key does not fit its type, or if the
/// query is not understood.
pub fn source(registry: &Registry, filter: &str) -> Result<Source, Refusal> {
    let (topic, query) = match filter.split_once('?') {
        Some((topic, query)) => (topic, Some(query)),
        None => (filter, None),
    };
    if matches!(topic.split('/').next(), Some("#" | "+")) {
        return Err(refused("a wildcard cannot stand for a resource"));
    }
    let found = find(registry, topic, ReasonCode::TopicFilterInvalid)?;
    let resource = usable(&found)?;
    Ok(Source {
        scope: scope(&*resource, key_text(&found))?,
        options: query.map(options).transpose()?.unwrap_or_default(),
        bare: found.rest.is_empty(),
        path: found.entry.path,
        resource,
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
