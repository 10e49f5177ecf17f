//! What a subscription covers within its source.

use crate::Key;

/// One level of a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Level {
    /// This text.
    Exact(String),
    /// Any one level (`+`).
    Any,
}

/// Which keys of a source a subscription covers (`realtime.md` §1.3, §4.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every key and the root topic.
    All,
    /// One record.
    Key(Key),
    /// Every key whose text starts with this text, which ends in `/`, and messages to the topic that is this text.
    Prefix(String),
    /// Keys whose levels match (an MQTT filter after the resource path).
    Levels {
        /// One entry a level.
        levels: Vec<Level>,
        /// A final `#`: also the level before it and everything below.
        rest: bool,
    },
}

impl Scope {
    /// Whether `key` is covered; `None` is the root topic, which as a topic is one empty level.
    ///
    /// ```
    /// use resource::{hub::Level, Key, Scope};
    /// let scope = Scope::Levels { levels: vec![Level::Any, Level::Exact("x".into())], rest: false };
    /// assert!(scope.covers(Some(&Key::from("a/x"))));
    /// assert!(!scope.covers(Some(&Key::from("a/b/x"))));
    /// ```
    pub fn covers(&self, key: Option<&Key>) -> bool {
        match self {
            Self::All => true,
            Self::Key(only) => key == Some(only),
            Self::Prefix(prefix) => {
                key.is_some_and(|key| key.to_string().starts_with(prefix.as_str()))
            }
            Self::Levels { levels, rest } => {
                covers_levels(levels, *rest, &key.map(Key::to_string).unwrap_or_default())
            }
        }
    }

    /// The longest text that every covered key starts with, to narrow a scan; empty if there is none.
    pub fn prefix(&self) -> String {
        match self {
            Self::All | Self::Key(_) => String::new(),
            Self::Prefix(prefix) => prefix.clone(),
            Self::Levels { levels, .. } => {
                let exact: Vec<&str> = levels
                    .iter()
                    .map_while(|level| match level {
                        Level::Exact(text) => Some(text.as_str()),
                        Level::Any => None,
                    })
                    .collect();
                exact.join("/")
            }
        }
    }
}

fn covers_levels(levels: &[Level], rest: bool, text: &str) -> bool {
    let mut given = text.split('/');
    for level in levels {
        match (level, given.next()) {
            (Level::Any, Some(_)) => {}
            (Level::Exact(expected), Some(level)) if expected == level => {}
            _ => return false,
        }
    }
    rest || given.next().is_none()
}
