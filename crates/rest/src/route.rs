//! From a path to the resource that answers there (`rest.md` §1).

use content::ContentTypes;
use resource::registry::Entry;
use resource::{Protocol, Registry};

/// The export a path leads to.
#[derive(Debug)]
pub(crate) struct Route {
    /// The export.
    pub(crate) entry: Entry,
    /// Where in the path the target begins.
    target_at: usize,
}

impl Route {
    /// The export for `pathname`, which begins with `/` and is still percent-encoded.
    pub(crate) fn find(registry: &Registry, types: &ContentTypes, pathname: &str) -> Option<Self> {
        let path = pathname.strip_prefix('/')?;
        let found = registry.find(path, Protocol::Rest).map(|found| Self {
            target_at: pathname.len() - found.rest.len(),
            entry: found.entry,
        });
        match found {
            Some(route) if !route.is_root() => Some(route),
            // R5 comes before R6: `/Dog.json` belongs to `Dog`, not to the root export.
            fallback => Self::before_suffix(registry, types, pathname).or(fallback),
        }
    }

    /// `/Dog.json`: an export followed by the suffix of a format.
    fn before_suffix(registry: &Registry, types: &ContentTypes, pathname: &str) -> Option<Self> {
        let dot = pathname.find('.')?;
        types.by_suffix(&pathname[dot + 1..])?;
        let found = registry.find(&pathname[1..dot], Protocol::Rest)?;
        let route = Self {
            entry: found.entry,
            target_at: dot,
        };
        (found.rest.is_empty() && !route.is_root()).then_some(route)
    }

    /// What follows the path of the export: empty, or it begins with `/` or, for a suffix, with `.`; on the
    /// root export it is the path without its first slash.
    pub(crate) fn target<'p>(&self, pathname: &'p str) -> &'p str {
        &pathname[self.target_at..]
    }

    /// Whether the export is the root.
    pub(crate) fn is_root(&self) -> bool {
        self.entry.path.is_empty()
    }
}
