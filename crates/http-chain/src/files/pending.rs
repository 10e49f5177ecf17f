//! The limit on requests that wait for a disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the requests that are on blocking threads or queue for one. A client that goes away does not end
/// the work for it, so the place is given back by the work and not by the request.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    limit: usize,
    count: Arc<AtomicUsize>,
}

impl Pending {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            count: Arc::default(),
        }
    }

    /// A place, unless all are taken; returned when dropped.
    pub(super) fn try_take(&self) -> Option<Place> {
        let place = Place(Arc::clone(&self.count));
        let taken_before = self.count.fetch_add(1, Ordering::Relaxed);
        (taken_before < self.limit).then_some(place)
    }
}

pub(super) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
