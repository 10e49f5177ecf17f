//! The subscriptions of one worker, found by the levels of a key: cost grows with the depth of the topic.

use std::collections::HashMap;
use std::sync::Arc;

use super::queue::Queue;
use super::scope::{Level, Scope};
use crate::{Event, Key, SourceId};

/// A subscription in one tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct SubscriptionId(u64);

#[derive(Default)]
pub(super) struct Tree {
    next: u64,
    sources: HashMap<SourceId, Source>,
    /// Where each subscription stands, to remove it.
    places: HashMap<SubscriptionId, (SourceId, Scope)>,
}

type Queues = Vec<(SubscriptionId, Arc<Queue>)>;

#[derive(Default)]
struct Source {
    all: Queues,
    keys: HashMap<Key, Queues>,
    /// Prefix and level scopes.
    root: Node,
}

#[derive(Default)]
struct Node {
    exact: HashMap<String, Node>,
    any: Option<Box<Node>>,
    /// Scopes that end here.
    here: Queues,
    /// Scopes that cover this level and everything below (`#`).
    rest: Queues,
    /// Scopes that cover only what is below.
    below: Queues,
}

/// Where in its node a scope is kept.
#[derive(Clone, Copy)]
enum Slot {
    Here,
    Rest,
    Below,
}

impl Tree {
    pub(super) fn insert(
        &mut self,
        source: SourceId,
        scope: &Scope,
        queue: Arc<Queue>,
    ) -> SubscriptionId {
        let id = SubscriptionId(self.next);
        self.next += 1;
        self.sources
            .entry(source)
            .or_default()
            .queues(scope)
            .push((id, queue));
        self.places.insert(id, (source, scope.clone()));
        id
    }

    pub(super) fn remove(&mut self, id: SubscriptionId) {
        let Some((source, scope)) = self.places.remove(&id) else {
            return;
        };
        let Some(subscriptions) = self.sources.get_mut(&source) else {
            return;
        };
        subscriptions.remove(&scope, id);
        if subscriptions.is_empty() {
            self.sources.remove(&source);
        }
    }

    /// Calls `each` for every subscription that covers the event.
    pub(super) fn matching(&self, event: &Event, mut each: impl FnMut(&Queue)) {
        let Some(source) = self.sources.get(&event.source) else {
            return;
        };
        let mut call = |queues: &Queues| queues.iter().for_each(|(_, queue)| each(queue));
        call(&source.all);
        if let Some(queues) = event.key.as_ref().and_then(|key| source.keys.get(key)) {
            call(queues);
        }
        if !source.root.is_empty() {
            let text = event.key.as_ref().map(Key::to_string).unwrap_or_default();
            source.root.matching(Some(&text), &mut call);
        }
    }

    pub(super) fn for_each(&self, mut each: impl FnMut(&Queue)) {
        self.sources.values().for_each(|source| {
            source
                .all
                .iter()
                .chain(source.keys.values().flatten())
                .for_each(|(_, queue)| each(queue));
            source.root.for_each(&mut each);
        });
    }
}

impl Source {
    fn queues(&mut self, scope: &Scope) -> &mut Queues {
        match scope {
            Scope::All => &mut self.all,
            Scope::Key(key) => self.keys.entry(key.clone()).or_default(),
            _ => {
                let (levels, slot) = steps(scope);
                let mut node = &mut self.root;
                for level in levels {
                    node = node.child(level);
                }
                node.slot(slot)
            }
        }
    }

    fn remove(&mut self, scope: &Scope, id: SubscriptionId) {
        match scope {
            Scope::All => self.all.retain(|(other, _)| *other != id),
            Scope::Key(key) => {
                if let Some(queues) = self.keys.get_mut(key) {
                    queues.retain(|(other, _)| *other != id);
                    if queues.is_empty() {
                        self.keys.remove(key);
                    }
                }
            }
            _ => {
                let (levels, slot) = steps(scope);
                self.root.remove(&levels, slot, id);
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.all.is_empty() && self.keys.is_empty() && self.root.is_empty()
    }
}

/// The levels that lead to the node of a scope, and the slot there.
fn steps(scope: &Scope) -> (Vec<Level>, Slot) {
    match scope {
        Scope::Prefix(prefix) => {
            let levels = prefix
                .trim_end_matches('/')
                .split('/')
                .map(|level| Level::Exact(level.to_owned()));
            (levels.collect(), Slot::Below)
        }
        Scope::Levels { levels, rest } => {
            (levels.clone(), if *rest { Slot::Rest } else { Slot::Here })
        }
        Scope::All | Scope::Key(_) => (Vec::new(), Slot::Rest),
    }
}

impl Node {
    fn child(&mut self, level: Level) -> &mut Self {
        match level {
            Level::Exact(text) => self.exact.entry(text).or_default(),
            Level::Any => self.any.get_or_insert_default(),
        }
    }

    fn slot(&mut self, slot: Slot) -> &mut Queues {
        match slot {
            Slot::Here => &mut self.here,
            Slot::Rest => &mut self.rest,
            Slot::Below => &mut self.below,
        }
    }

    fn remove(&mut self, levels: &[Level], slot: Slot, id: SubscriptionId) {
        match levels {
            [] => self.slot(slot).retain(|(other, _)| *other != id),
            [Level::Exact(text), rest @ ..] => {
                if let Some(child) = self.exact.get_mut(text) {
                    child.remove(rest, slot, id);
                    if child.is_empty() {
                        self.exact.remove(text);
                    }
                }
            }
            [Level::Any, rest @ ..] => {
                if let Some(child) = &mut self.any {
                    child.remove(rest, slot, id);
                    if child.is_empty() {
                        self.any = None;
                    }
                }
            }
        }
    }

    /// `text` is what is left of the key: `None` when its last level led here.
    fn matching(&self, text: Option<&str>, call: &mut impl FnMut(&Queues)) {
        call(&self.rest);
        let Some(text) = text else {
            return call(&self.here);
        };
        call(&self.below);
        let (level, rest) = match text.split_once('/') {
            Some((level, rest)) => (level, Some(rest)),
            None => (text, None),
        };
        if let Some(child) = self.exact.get(level) {
            child.matching(rest, call);
        }
        if let Some(child) = &self.any {
            child.matching(rest, call);
        }
    }

    fn for_each(&self, each: &mut impl FnMut(&Queue)) {
        self.here
            .iter()
            .chain(&self.rest)
            .chain(&self.below)
            .for_each(|(_, queue)| each(queue));
        self.exact.values().for_each(|child| child.for_each(each));
        if let Some(child) = &self.any {
            child.for_each(each);
        }
    }

    fn is_empty(&self) -> bool {
        self.here.is_empty()
            && self.rest.is_empty()
            && self.below.is_empty()
            && self.exact.is_empty()
            && self.any.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::QueueLimits;
    use crate::{EventKind, SourceId};

    /// A tree of that many filters in turn of the forms `building/+/room/#`, `+/floor/room` and exact ones.
    fn tree(source: SourceId, filters: usize) -> Tree {
        let mut tree = Tree::default();
        let queue = Queue::new(QueueLimits::default());
        let exact = |text: String| Level::Exact(text);
        for n in 0..filters {
            let (levels, rest) = match n % 3 {
                0 => (
                    vec![exact(format!("b{n}")), Level::Any, exact(format!("r{n}"))],
                    true,
                ),
                1 => (
                    vec![Level::Any, exact(format!("f{n}")), exact(format!("r{n}"))],
                    false,
                ),
                _ => (
                    vec![exact(format!("b{}", n - 2)), exact(format!("f{}", n - 1))],
                    true,
                ),
            };
            tree.insert(source, &Scope::Levels { levels, rest }, Arc::clone(&queue));
        }
        tree
    }

    /// Subscriptions that match a key, and lists that were looked at to find them.
    fn work(filters: usize, key: &str) -> (usize, usize) {
        let source = SourceId::next();
        let tree = tree(source, filters);
        let at = base::Timestamp::ZERO;
        let event = Event::new(source, EventKind::Put, Some(Key::from(key)), None, at);
        let (mut found, mut looked) = (0, 0);
        tree.matching(&event, |_| found += 1);
        tree.sources[&source]
            .root
            .matching(Some(key), &mut |_| looked += 1);
        (found, looked)
    }

    #[test]
    fn matching_among_100_000_wildcard_filters_is_at_most_twice_the_work_of_100() {
        for key in ["b0/f1/r0", "b0/f1/r1", "b9/f10/r9/desk", "b/f/r"] {
            let (found, few) = work(100, key);
            let (found_among_many, many) = work(100_000, key);
            assert_eq!(found, found_among_many, "{key}");
            assert!(many <= 2 * few, "{key}: {many} against {few}");
        }
        assert_eq!(work(100, "b0/f1/r0").0, 2);
        assert_eq!(work(100, "b0/f1/r1").0, 2);
    }
}
