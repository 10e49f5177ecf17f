//! One value a worker, so that counting on the request path shares no cache line.

use std::num::NonZeroUsize;

use base::WorkerId;

/// One `T` for each worker of a server, each on cache lines of its own.
///
/// A worker index beyond the number given at the start shares the cell of another worker: still right, only
/// slower.
#[derive(Debug)]
pub(crate) struct WorkerCells<T>(Box<[Padded<T>]>);

/// Two cache lines, since processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded<T>(T);

impl<T: Default> WorkerCells<T> {
    pub(crate) fn new(workers: NonZeroUsize) -> Self {
        Self((0..workers.get()).map(|_| Padded::default()).collect())
    }
}

impl<T> WorkerCells<T> {
    pub(crate) fn of(&self, worker: WorkerId) -> &T {
        &self.0[worker.index() % self.0.len()].0
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|Padded(cell)| cell)
    }
}
