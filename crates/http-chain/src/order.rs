//! The order of stages that name each other.

use std::sync::Arc;

/// Between which others a stage belongs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Place {
    pub(crate) before: Option<Arc<str>>,
    pub(crate) after: Option<Arc<str>>,
}

/// The indexes of `entries` in order: those that name no other keep the order of registration among
/// themselves, whatever moves between them, so that nobody slips past authentication by accident; the others
/// go where they ask, ties by registration. Wishes that contradict each other leave the order of registration.
pub(crate) fn ordered(entries: &[(&str, &Place)]) -> Vec<usize> {
    let mut successors: Vec<Vec<usize>> = vec![Vec::new(); entries.len()];
    let mut previous_free = None;
    for (at, (name, place)) in entries.iter().enumerate() {
        let before = others_called(entries, name, at, place.before.as_deref());
        let after = others_called(entries, name, at, place.after.as_deref());
        if before.is_empty()
            && after.is_empty()
            && let Some(previous) = previous_free.replace(at)
        {
            link(&mut successors, previous, at);
        }
        for later in before {
            link(&mut successors, at, later);
        }
        for earlier in after {
            link(&mut successors, earlier, at);
        }
    }
    sorted(&successors).unwrap_or_else(|| {
        let names: Vec<&str> = entries.iter().map(|(name, _)| *name).collect();
        tracing::warn!(target: "http", ?names, "the handlers' before and after contradict each other; they run in the order of registration");
        (0..entries.len()).collect()
    })
}

fn others_called(
    entries: &[(&str, &Place)],
    own: &str,
    own_index: usize,
    wanted: Option<&str>,
) -> Vec<usize> {
    let Some(wanted) = wanted else {
        return Vec::new();
    };
    let found: Vec<usize> = (0..entries.len())
        .filter(|at| *at != own_index && entries[*at].0 == wanted)
        .collect();
    if found.is_empty() {
        tracing::warn!(target: "http", handler = own, named = wanted, "before or after names no handler of this port and is ignored");
    }
    found
}

fn link(successors: &mut [Vec<usize>], earlier: usize, later: usize) {
    successors[earlier].push(later);
}

/// Kahn's algorithm, smallest index first; `None` for a cycle. Chains are short: no heap is needed.
fn sorted(successors: &[Vec<usize>]) -> Option<Vec<usize>> {
    let mut waits_for = vec![0usize; successors.len()];
    for later in successors.iter().flatten() {
        waits_for[*later] += 1;
    }
    let mut order = Vec::with_capacity(successors.len());
    let mut is_placed = vec![false; successors.len()];
    while order.len() < successors.len() {
        let next = (0..successors.len()).find(|at| !is_placed[*at] && waits_for[*at] == 0)?;
        is_placed[next] = true;
        order.push(next);
        for later in &successors[next] {
            waits_for[*later] -= 1;
        }
    }
    Some(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `static<authentication` is before, `static>rest` after.
    fn order(entries: &[&str]) -> String {
        let places: Vec<(&str, Place)> = entries
            .iter()
            .map(|entry| {
                let name = entry.split(['<', '>']).next().unwrap();
                let wish = |mark| entry.split_once(mark).map(|(_, rest)| rest);
                let word = |text: &str| text.split(['<', '>']).next().unwrap().into();
                let place = Place {
                    before: wish('<').map(word),
                    after: wish('>').map(word),
                };
                (name, place)
            })
            .collect();
        let entries: Vec<(&str, &Place)> =
            places.iter().map(|(name, place)| (*name, place)).collect();
        let names: Vec<&str> = ordered(&entries)
            .into_iter()
            .map(|at| entries[at].0)
            .collect();
        names.join(" ")
    }

    #[test]
    fn o2_before_is_before_the_first_and_after_is_after_the_last() {
        assert_eq!(order(&["x", "x", "y", "a<x"]), "a x x y");
        assert_eq!(order(&["a>x", "x", "y", "x"]), "x y x a");
        assert_eq!(order(&["auth", "rest", "static<auth"]), "static auth rest");
        assert_eq!(
            order(&["static>rest", "auth", "rest", "ops"]),
            "auth rest static ops"
        );
        assert_eq!(order(&["auth", "rest", "b<rest>auth"]), "auth b rest");
    }

    #[test]
    fn o3_ties_go_by_registration() {
        assert_eq!(order(&["x", "b<x", "a<x", "c<a"]), "b c a x");
        assert_eq!(order(&["b>x", "a>x", "x"]), "x b a");
    }

    #[test]
    fn o4_a_name_that_nothing_has_is_ignored_and_case_counts() {
        assert_eq!(order(&["x", "y", "a<X"]), "x y a");
        assert_eq!(order(&["a>nobody", "x"]), "a x");
    }

    #[test]
    fn o5_a_cycle_leaves_the_order_of_registration() {
        assert_eq!(order(&["x", "a<b", "b<a"]), "x a b");
        assert_eq!(order(&["x", "y", "a<x>y"]), "x y a");
    }
}
