//! A counter that many threads raise without meeting each other.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// More threads than this share a part, which is slower and counts as well.
const PARTS: usize = 16;

/// A sum that is kept in parts, one for each thread that adds.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    parts: [Part; PARTS],
}

/// On cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Part(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, amount: u64) {
        self.parts[part_of_thread()]
            .0
            .fetch_add(amount, Ordering::Relaxed);
    }

    pub(crate) fn sum(&self) -> u64 {
        let parts = self.parts.iter();
        parts.map(|part| part.0.load(Ordering::Relaxed)).sum()
    }
}

fn part_of_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static PART: Cell<Option<usize>> = const { Cell::new(None) };
    }
    PART.with(|part| {
        let known = part.get();
        known.unwrap_or_else(|| {
            let new = NEXT.fetch_add(1, Ordering::Relaxed) % PARTS;
            part.set(Some(new));
            new
        })
    })
}
