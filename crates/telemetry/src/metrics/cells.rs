//! The cells that counters count in: a block of them for each thread.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Cells of the first chunk; each further chunk is twice as large.
const FIRST_CHUNK: usize = 256;
/// Enough chunks for more cells than memory holds.
const CHUNKS: usize = 24;

/// Blocks of cells. Cell `n` of all blocks together is one number.
///
/// The first threads that count have a block each, for ever: what one thread alone writes needs no locked
/// instruction (0.5 ns an addition against 8). Further threads share the last block, which costs time and never a
/// count.
pub(crate) struct Cells {
    own: Box<[Block]>,
    shared: Block,
    used: AtomicUsize,
}

/// Chunks stay where they are once made, so a cell can be reached without a lock while others are added.
/// The alignment keeps two blocks off one cache line, and off the pair that adjacent-line prefetch moves
/// together.
#[derive(Default)]
#[repr(align(128))]
struct Block {
    chunks: [OnceLock<Box<[AtomicU64]>>; CHUNKS],
}

impl Cells {
    /// A block for each of that many threads, and one for all others.
    pub(crate) fn new(threads: usize) -> Self {
        Self {
            own: (0..threads).map(|_| Block::default()).collect(),
            shared: Block::default(),
            used: AtomicUsize::new(0),
        }
    }

    fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.own.iter().chain([&self.shared])
    }

    /// Adds `count` cells in a row, all zero, and returns the first.
    pub(crate) fn allocate(&self, count: usize) -> usize {
        let first = self.used.fetch_add(count, Ordering::Relaxed);
        // Here and not at the first use, so that counting never allocates.
        for cell in first..first + count {
            let (chunk, offset) = place(cell);
            if offset == 0 || cell == first {
                for block in self.blocks() {
                    block.chunks[chunk].get_or_init(|| new_chunk(chunk));
                }
            }
        }
        first
    }

    /// Adds to a cell of this thread's block.
    #[inline]
    pub(crate) fn add(&self, cell: usize, amount: u64) {
        match self.own.get(this_thread()) {
            // Nobody else writes here, so nothing comes between the two.
            Some(block) => {
                let cell = block.cell(cell);
                let before = cell.load(Ordering::Relaxed);
                cell.store(before.wrapping_add(amount), Ordering::Relaxed);
            }
            None => {
                self.shared.cell(cell).fetch_add(amount, Ordering::Relaxed);
            }
        }
    }

    /// The sum over all blocks; wraps around, as additions do.
    pub(crate) fn sum(&self, cell: usize) -> u64 {
        let cells = self.blocks().map(|block| block.cell(cell));
        cells.fold(0, |sum, cell| {
            sum.wrapping_add(cell.load(Ordering::Relaxed))
        })
    }
}

impl Block {
    #[inline]
    fn cell(&self, cell: usize) -> &AtomicU64 {
        let (chunk, offset) = place(cell);
        let chunk = self.chunks[chunk]
            .get()
            .expect("the chunk was made when the cell was allocated");
        &chunk[offset]
    }
}

/// Chunk and offset of a cell.
fn place(cell: usize) -> (usize, usize) {
    let chunk = (cell / FIRST_CHUNK + 1).ilog2() as usize;
    (chunk, cell - FIRST_CHUNK * ((1 << chunk) - 1))
}

fn new_chunk(chunk: usize) -> Box<[AtomicU64]> {
    (0..FIRST_CHUNK << chunk)
        .map(|_| AtomicU64::new(0))
        .collect()
}

/// A number for this thread that no other thread ever has, in the order in which threads first ask.
#[inline]
pub(crate) fn this_thread() -> usize {
    thread_local! {
        static NUMBER: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    NUMBER.with(|number| match number.get() {
        usize::MAX => {
            let new = next_number();
            number.set(new);
            new
        }
        known => known,
    })
}

#[cold]
fn next_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_dense_and_do_not_overlap() {
        let mut expected = (0, 0);
        for cell in 0..FIRST_CHUNK * 31 {
            assert_eq!(place(cell), expected, "{cell}");
            expected.1 += 1;
            if expected.1 == FIRST_CHUNK << expected.0 {
                expected = (expected.0 + 1, 0);
            }
        }
    }

    #[test]
    fn sums_are_exact_with_more_threads_than_blocks() {
        let cells = Cells::new(3);
        // Two cells in different chunks.
        let first = cells.allocate(FIRST_CHUNK + 1);
        std::thread::scope(|scope| {
            for _ in 0..9 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        cells.add(first, 1);
                        cells.add(first + FIRST_CHUNK, 2);
                    }
                });
            }
        });
        assert_eq!(cells.sum(first), 9000);
        assert_eq!(cells.sum(first + FIRST_CHUNK), 18_000);
    }

    #[test]
    fn a_number_may_go_down_on_another_thread() {
        let cells = Cells::new(8);
        let cell = cells.allocate(1);
        cells.add(cell, 5);
        std::thread::scope(|scope| {
            scope.spawn(|| cells.add(cell, (-7_i64).cast_unsigned()));
        });
        assert_eq!(cells.sum(cell).cast_signed(), -2);
    }
}
