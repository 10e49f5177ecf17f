//! The routes as a tree over path segments.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use http::Method;
use regex_lite::Regex;
use smallvec::SmallVec;

use super::pattern::{Pattern, RouteParam, RouteParams, Segment};
use super::{Endpoint, Matched};
use crate::percent;

/// The routes that share the segments up to here. Every node is visited at most once in a lookup, since
/// it has one depth and one way from the root: going back costs no more than the number of patterns.
#[derive(Default)]
pub(super) struct Node {
    exact: HashMap<Box<str>, Node>,
    expressions: Vec<(Box<str>, Regex, Node)>,
    one: Option<Box<Node>>,
    /// Routes that end in `**` here.
    rest: Vec<Route>,
    /// Routes that end here.
    end: Vec<Route>,
}

struct Route {
    method: Option<Method>,
    pattern: Arc<str>,
    names: Vec<Option<Arc<str>>>,
    endpoint: Arc<dyn Endpoint>,
}

/// Whether slashes that enclose nothing count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Slashes {
    /// `/a/`, `//a` and `/a` are the same.
    #[default]
    Lenient,
    /// They are three.
    Strict,
}

impl Slashes {
    /// What is left of a path behind a slash; `None` at its end.
    fn remainder(self, path: &str) -> Option<&str> {
        match self {
            Self::Strict => Some(path),
            Self::Lenient => Some(path.trim_start_matches('/')).filter(|path| !path.is_empty()),
        }
    }
}

/// The result of a lookup.
pub(super) enum Found<'t> {
    Endpoint {
        endpoint: &'t dyn Endpoint,
        matched: Matched,
    },
    OtherMethods(Vec<Method>),
    Nothing,
}

impl Node {
    /// Adds a route, unless there is one for this method and an equal pattern: then that is replaced if
    /// `replaces` says so, and its pattern is returned in either case.
    pub(super) fn insert(
        &mut self,
        pattern: Pattern,
        method: Option<Method>,
        endpoint: Arc<dyn Endpoint>,
        replaces: bool,
    ) -> Option<Arc<str>> {
        let Pattern {
            text,
            segments,
            names,
        } = pattern;
        let mut node = self;
        let mut is_rest = false;
        for segment in segments {
            node = match segment {
                Segment::Exact(text) => node.exact.entry(text.into()).or_default(),
                Segment::Expression { text, regex } => node.expression(text, regex),
                Segment::One => node.one.get_or_insert_default(),
                Segment::Rest => {
                    is_rest = true;
                    break;
                }
            };
        }
        let routes = if is_rest {
            &mut node.rest
        } else {
            &mut node.end
        };
        let route = Route {
            method,
            pattern: text,
            names,
            endpoint,
        };
        let known = routes.iter_mut().find(|known| known.method == route.method);
        let Some(known) = known else {
            routes.push(route);
            return None;
        };
        let before = Arc::clone(&known.pattern);
        if replaces {
            *known = route;
        }
        Some(before)
    }

    fn expression(&mut self, text: String, regex: Regex) -> &mut Self {
        let known = self
            .expressions
            .iter()
            .position(|(known, ..)| **known == *text);
        let at = known.unwrap_or_else(|| {
            self.expressions.push((text.into(), regex, Self::default()));
            self.expressions.len() - 1
        });
        &mut self.expressions[at].2
    }

    /// Looks up `path`, whose escapes are known to be well-formed.
    pub(super) fn find(&self, path: &str, method: &Method, slashes: Slashes) -> Found<'_> {
        let mut search = Search {
            method,
            slashes,
            captures: SmallVec::new(),
            other_methods: Vec::new(),
            path_matched: false,
        };
        if let Some(route) = search.descend(self, path.strip_prefix('/')) {
            return Found::Endpoint {
                endpoint: &*route.endpoint,
                matched: search.matched(route),
            };
        }
        match search.path_matched {
            true => Found::OtherMethods(search.other_methods),
            false => Found::Nothing,
        }
    }
}

#[derive(Clone, Copy)]
enum Capture<'s> {
    /// One segment, as received.
    One(&'s str),
    /// The remainder of the path, as received. It is never decoded: its slashes could not be told apart.
    Rest(&'s str),
}

struct Search<'s> {
    method: &'s Method,
    slashes: Slashes,
    /// The parameters on the way to the current node.
    captures: SmallVec<[Capture<'s>; 4]>,
    other_methods: Vec<Method>,
    path_matched: bool,
}

impl<'s> Search<'s> {
    /// Tries the candidates for the next segment of `path` in order of precedence.
    fn descend<'t>(&mut self, node: &'t Node, path: Option<&'s str>) -> Option<&'t Route> {
        let Some(path) = path.and_then(|path| self.slashes.remainder(path)) else {
            return self.choose(&node.end);
        };
        let (raw, behind) = match path.split_once('/') {
            Some((raw, behind)) => (raw, Some(behind)),
            None => (path, None),
        };
        let segment = percent::decode(raw).unwrap_or(Cow::Borrowed(raw));
        if let Some(route) = node
            .exact
            .get(&*segment)
            .and_then(|child| self.descend(child, behind))
        {
            return Some(route);
        }
        if path.is_empty() {
            // Only a pattern that ends with a slash has a place for nothing.
            return None;
        }
        for (_, regex, child) in &node.expressions {
            if regex.is_match(&segment)
                && let Some(route) =
                    self.capture(Capture::One(raw), |search| search.descend(child, behind))
            {
                return Some(route);
            }
        }
        if let Some(child) = &node.one
            && let Some(route) =
                self.capture(Capture::One(raw), |search| search.descend(child, behind))
        {
            return Some(route);
        }
        self.capture(Capture::Rest(path), |search| search.choose(&node.rest))
    }

    /// Holds `capture` while `search` runs, and beyond it only if it found a route.
    fn capture<'t>(
        &mut self,
        capture: Capture<'s>,
        search: impl FnOnce(&mut Self) -> Option<&'t Route>,
    ) -> Option<&'t Route> {
        self.captures.push(capture);
        let route = search(self);
        if route.is_none() {
            self.captures.pop();
        }
        route
    }

    /// The route of this method: its own, else that of GET for HEAD, else the one of any method.
    fn choose<'t>(&mut self, routes: &'t [Route]) -> Option<&'t Route> {
        let of =
            |method: Option<&Method>| routes.iter().find(|route| route.method.as_ref() == method);
        let get_for_head = || {
            (*self.method == Method::HEAD)
                .then(|| of(Some(&Method::GET)))
                .flatten()
        };
        let chosen = of(Some(self.method))
            .or_else(get_for_head)
            .or_else(|| of(None));
        if chosen.is_none() && !routes.is_empty() {
            self.path_matched = true;
            self.other_methods
                .extend(routes.iter().filter_map(|route| route.method.clone()));
        }
        chosen
    }

    fn matched(&self, route: &Route) -> Matched {
        let mut params = RouteParams::new();
        for (name, capture) in route.names.iter().zip(&self.captures) {
            let Some(name) = name else { continue };
            params.push(capture.into_param(Arc::clone(name)));
        }
        Matched {
            pattern: Arc::clone(&route.pattern),
            params,
        }
    }
}

impl Capture<'_> {
    fn into_param(self, name: Arc<str>) -> RouteParam {
        let (Self::One(text) | Self::Rest(text)) = self;
        let raw: Arc<str> = text.into();
        let decoded = match (self, percent::decode(text)) {
            (Self::One(_), Ok(Cow::Owned(decoded))) => decoded.into(),
            _ => Arc::clone(&raw),
        };
        RouteParam { name, raw, decoded }
    }
}
