//! Which resource answers at which path.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::{Error, Protocol, Resource};

/// By which protocols a resource can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exposure {
    /// HTTP methods.
    pub rest: bool,
    /// WebSocket.
    pub ws: bool,
    /// Server-Sent Events.
    pub sse: bool,
    /// MQTT.
    pub mqtt: bool,
}

impl Default for Exposure {
    /// All of them.
    fn default() -> Self {
        Self {
            rest: true,
            ws: true,
            sse: true,
            mqtt: true,
        }
    }
}

impl Exposure {
    /// Whether `protocol` may reach the resource.
    pub fn allows(self, protocol: Protocol) -> bool {
        match protocol {
            Protocol::Rest => self.rest,
            Protocol::WebSocket => self.ws,
            Protocol::Sse => self.sse,
            Protocol::Mqtt => self.mqtt,
            Protocol::Operations | Protocol::Internal => true,
        }
    }
}

/// One export.
#[derive(Clone)]
pub struct Entry {
    /// Path without leading slash; empty for the root.
    pub path: Arc<str>,
    /// The resource; an error when two different resources claim the path.
    pub resource: Result<Arc<dyn Resource>, Error>,
    /// By which protocols.
    pub exposure: Exposure,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("path", &self.path)
            .field("exposure", &self.exposure)
            .finish_non_exhaustive()
    }
}

/// A match: the entry, and what follows its path.
#[derive(Debug, Clone)]
pub struct Match<'p> {
    /// The export.
    pub entry: Entry,
    /// The rest of the path: empty, or starting with `/`.
    pub rest: &'p str,
}

/// Exported resources by path: an immutable snapshot, swapped whole when an export changes.
#[derive(Debug, Default)]
pub struct Registry {
    entries: ArcSwap<BTreeMap<Arc<str>, Entry>>,
}

impl Registry {
    /// No exports.
    pub fn new() -> Self {
        Self::default()
    }

    /// Exports `resource` at `path` (slashes at both ends are trimmed).
    ///
    /// A different resource at the same path makes every request to it answer 500 `Conflicting paths for …`
    /// (R8), and returns `false` so that the caller can log it. The same resource again changes its exposure.
    pub fn export(&self, path: &str, resource: Arc<dyn Resource>, exposure: Exposure) -> bool {
        let path: Arc<str> = Arc::from(path.trim_matches('/'));
        let mut clear = true;
        self.entries.rcu(|entries| {
            let mut next = BTreeMap::clone(entries);
            let conflict = next.get(&path).is_some_and(|entry| match &entry.resource {
                Ok(existing) => !Arc::ptr_eq(existing, &resource),
                Err(_) => true,
            });
            clear = !conflict;
            let resource = match conflict {
                true => Err(Error::internal(format!("Conflicting paths for {path}"))),
                false => Ok(Arc::clone(&resource)),
            };
            next.insert(
                Arc::clone(&path),
                Entry {
                    path: Arc::clone(&path),
                    resource,
                    exposure,
                },
            );
            next
        });
        clear
    }

    /// Withdraws whatever is exported at `path`.
    pub fn withdraw(&self, path: &str) {
        self.entries.rcu(|entries| {
            let mut next = BTreeMap::clone(entries);
            next.remove(path.trim_matches('/'));
            next
        });
    }

    /// Replaces all exports at once.
    pub fn replace(&self, entries: impl IntoIterator<Item = Entry>) {
        self.entries.store(Arc::new(
            entries
                .into_iter()
                .map(|entry| (Arc::clone(&entry.path), entry))
                .collect(),
        ));
    }

    /// All exports, sorted by path.
    pub fn entries(&self) -> Vec<Entry> {
        self.entries.load().values().cloned().collect()
    }

    /// The export with the longest path that equals `path` or is followed by `/` in it (R4), and that
    /// `protocol` may reach (R3); the root export gets what nothing else matches (R6).
    ///
    /// `path` has no leading slash and is not decoded.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// use resource::{Exposure, Methods, Protocol, Registry, Resource};
    /// struct Dog;
    /// impl Resource for Dog {
    ///     fn name(&self) -> &str { "Dog" }
    ///     fn methods(&self) -> Methods { Methods::NONE }
    /// }
    /// let registry = Registry::new();
    /// registry.export("Dog", Arc::new(Dog), Exposure::default());
    /// assert_eq!(registry.find("Dog/1", Protocol::Rest).unwrap().rest, "/1");
    /// assert!(registry.find("Dogs", Protocol::Rest).is_none());
    /// ```
    pub fn find<'p>(&self, path: &'p str, protocol: Protocol) -> Option<Match<'p>> {
        self.look(path, protocol, |entry, rest| Match {
            entry: entry.clone(),
            rest,
        })
    }

    /// As [`find`](Self::find), for those who only look: nothing is cloned, so no counter of references that
    /// other threads use is touched. `look` gets the entry and what follows its path.
    pub fn look<'p, T>(
        &self,
        path: &'p str,
        protocol: Protocol,
        look: impl FnOnce(&Entry, &'p str) -> T,
    ) -> Option<T> {
        let entries = self.entries.load();
        let reachable = |path: &str| {
            let entry = entries.get(path);
            entry.filter(|entry| entry.exposure.allows(protocol))
        };
        let mut end = path.len();
        loop {
            if let Some(entry) = reachable(&path[..end]) {
                return Some(look(entry, &path[end..]));
            }
            match path[..end].rfind('/') {
                Some(slash) => end = slash,
                None => break,
            }
        }
        reachable("").map(|root| look(root, path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Methods;

    struct Named(&'static str);
    impl Resource for Named {
        fn name(&self) -> &str {
            self.0
        }
        fn methods(&self) -> Methods {
            Methods::NONE
        }
    }

    fn name(found: Option<Match<'_>>) -> Option<(String, String)> {
        found.map(|found| {
            (
                found.entry.resource.unwrap().name().to_owned(),
                found.rest.to_owned(),
            )
        })
    }

    #[test]
    fn r4_the_longest_path_wins_and_r9_one_letter_works() {
        let registry = Registry::new();
        for path in ["A", "api", "api/dogs"] {
            registry.export(path, Arc::new(Named(path)), Exposure::default());
        }
        let find = |path| name(registry.find(path, Protocol::Rest));
        assert_eq!(find("A/1"), Some(("A".into(), "/1".into())));
        assert_eq!(find("api/dogs/7"), Some(("api/dogs".into(), "/7".into())));
        assert_eq!(find("api/cats"), Some(("api".into(), "/cats".into())));
        assert_eq!(find("apix"), None);
    }

    #[test]
    fn r3_an_export_is_invisible_to_other_protocols() {
        let registry = Registry::new();
        let exposure = Exposure {
            mqtt: false,
            ..Exposure::default()
        };
        registry.export("Dog", Arc::new(Named("Dog")), exposure);
        assert!(registry.find("Dog", Protocol::Mqtt).is_none());
        assert!(registry.find("Dog", Protocol::Rest).is_some());
    }

    #[test]
    fn r6_the_root_export_gets_the_rest_and_r8_conflicts_are_errors() {
        let registry = Registry::new();
        assert!(registry.export("", Arc::new(Named("root")), Exposure::default()));
        assert_eq!(
            name(registry.find("x/y", Protocol::Rest)),
            Some(("root".into(), "x/y".into()))
        );
        assert!(registry.export("Dog", Arc::new(Named("one")), Exposure::default()));
        assert!(!registry.export("Dog", Arc::new(Named("two")), Exposure::default()));
        let error = registry
            .find("Dog", Protocol::Rest)
            .unwrap()
            .entry
            .resource
            .err()
            .unwrap();
        assert_eq!(
            (error.status(), error.message()),
            (500, "Conflicting paths for Dog")
        );
    }
}
