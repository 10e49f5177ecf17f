//! The cells that counters count in: a block of them for each thread.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Cells of the first chunk; each further chunk is twice as large.
const FIRST_CHUNK: usize = 256;
/// Enough chunks for more cells than memory holds.
const CHUNKS: usize = 24;

/// Blocks of cells. Cell `n` of all blocks together is one number.
///
/// A thread always uses the same block, and as long as there are no more threads than blocks nobody else
/// uses it. Beyond that, threads share blocks, which costs time and never a count.
pub(crate) struct Cells {
    blocks: Box<[Block]>,
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
    /// That many blocks, rounded up to a power of two.
    pub(crate) fn new(blocks: usize) -> Self {
        let blocks = blocks.max(1).next_power_of_two();
        Self {
            blocks: (0..blocks).map(|_| Block::default()).collect(),
            used: AtomicUsize::new(0),
        }
    }

    /// Adds `count` cells in a row, all zero, and returns the first.
    pub(crate) fn allocate(&self, count: usize) -> usize {
        let first = self.used.fetch_add(count, Ordering::Relaxed);
        // Here and not at the first use, so that counting never allocates.
        for cell in first..first + count {
            let (chunk, offset) = place(cell);
            if offset == 0 || cell == first {
                for block in &self.blocks {
                    block.chunks[chunk].get_or_init(|| new_chunk(chunk));
                }
            }
        }
        first
    }

    /// Adds to a cell of this thread's block.
    pub(crate) fn add(&self, cell: usize, amount: u64) {
        let block = &self.blocks[this_thread() & (self.blocks.len() - 1)];
        // Uncontended, this costs a few nanoseconds more than a plain addition and stays right when threads
        // share a block.
        block.cell(cell).fetch_add(amount, Ordering::Relaxed);
    }

    /// The sum over all blocks; wraps around, as additions do.
    pub(crate) fn sum(&self, cell: usize) -> u64 {
        let cells = self.blocks.iter().map(|block| block.cell(cell));
        cells.fold(0, |sum, cell| {
            sum.wrapping_add(cell.load(Ordering::Relaxed))
        })
    }
}

impl Block {
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

/// A number for this thread, in the order in which threads first count.
fn this_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    // While a thread ends, its number may be gone; any block will do.
    NUMBER.try_with(|number| *number).unwrap_or(0)
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
        assert_eq!(cells.blocks.len(), 4);
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
