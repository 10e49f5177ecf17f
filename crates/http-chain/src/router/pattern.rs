//! Patterns of routes, and what a match captured.

use std::sync::Arc;

use regex_lite::Regex;
use smallvec::SmallVec;

use super::tree::Slashes;
use crate::percent;

/// What is wrong with a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// Patterns are absolute paths.
    #[error("a pattern begins with '/'")]
    NoSlash,
    /// `**` matches to the end.
    #[error("'**' is only allowed at the end")]
    RestNotLast,
    /// A segment is either exact or all parameter.
    #[error("'{segment}' is neither text nor one '{{name}}'")]
    Segment {
        /// The segment.
        segment: String,
    },
    /// A second value would hide the first.
    #[error("parameter '{name}' occurs twice")]
    RepeatedName {
        /// The name.
        name: String,
    },
    /// The expression does not compile.
    #[error("expression '{expression}': {reason}")]
    Expression {
        /// The expression.
        expression: String,
        /// What the compiler of expressions says.
        reason: String,
    },
}

/// A pattern, parsed.
#[derive(Debug)]
pub(super) struct Pattern {
    pub(super) text: Arc<str>,
    pub(super) segments: Vec<Segment>,
    /// One for each capturing segment, in order; `None` for `*` and a nameless `**`.
    pub(super) names: Vec<Option<Arc<str>>>,
}

/// One segment of a pattern.
#[derive(Debug)]
pub(super) enum Segment {
    Exact(String),
    Expression { text: String, regex: Regex },
    One,
    Rest,
}

impl Pattern {
    pub(super) fn parse(text: &str, slashes: Slashes) -> Result<Self, PatternError> {
        let Some(path) = text.strip_prefix('/') else {
            return Err(PatternError::NoSlash);
        };
        let counts = |segment: &&str| slashes == Slashes::Strict || !segment.is_empty();
        let mut pattern = Self {
            text: text.into(),
            segments: Vec::new(),
            names: Vec::new(),
        };
        for segment in path.split('/').filter(counts) {
            if matches!(pattern.segments.last(), Some(Segment::Rest)) {
                return Err(PatternError::RestNotLast);
            }
            pattern.push(segment)?;
        }
        Ok(pattern)
    }

    fn push(&mut self, text: &str) -> Result<(), PatternError> {
        let malformed = || PatternError::Segment {
            segment: text.to_owned(),
        };
        let inside = text
            .strip_prefix('{')
            .and_then(|text| text.strip_suffix('}'));
        let (name, segment) = match (text, inside) {
            ("*", _) => (None, Segment::One),
            ("**", _) => (None, Segment::Rest),
            (_, Some(inside)) => {
                let (name, kind) = parameter(inside)?;
                if name.is_empty() || name.contains(['{', '}']) {
                    return Err(malformed());
                }
                (Some(name), kind)
            }
            (text, None) if text.contains(['{', '}']) => return Err(malformed()),
            (text, None) => {
                let decoded = percent::decode(text).map_err(|_| malformed())?;
                self.segments.push(Segment::Exact(decoded.into_owned()));
                return Ok(());
            }
        };
        if let Some(name) = name
            && self
                .names
                .iter()
                .flatten()
                .any(|earlier| **earlier == *name)
        {
            return Err(PatternError::RepeatedName {
                name: name.to_owned(),
            });
        }
        self.names.push(name.map(Arc::from));
        self.segments.push(segment);
        Ok(())
    }
}

/// Reads `name`, `name:**` or `name:expression`.
fn parameter(inside: &str) -> Result<(&str, Segment), PatternError> {
    match inside.split_once(':') {
        None => Ok((inside, Segment::One)),
        Some((name, "**")) => Ok((name, Segment::Rest)),
        Some((name, expression)) => {
            let regex = Regex::new(&format!("^(?:{expression})$")).map_err(|error| {
                PatternError::Expression {
                    expression: expression.to_owned(),
                    reason: error.to_string(),
                }
            })?;
            Ok((
                name,
                Segment::Expression {
                    text: expression.to_owned(),
                    regex,
                },
            ))
        }
    }
}

/// One captured parameter.
#[derive(Debug, Clone)]
pub(super) struct RouteParam {
    pub(super) name: Arc<str>,
    pub(super) raw: Arc<str>,
    pub(super) decoded: Arc<str>,
}

/// The captured parameters of a route; most routes have one or two.
pub(super) type RouteParams = SmallVec<[RouteParam; 2]>;
