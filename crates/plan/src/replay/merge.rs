//! Merges the rows of several files in the order of their start times, with a window of rows in memory.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{Error, Recorded};

/// Total number of rows in the windows, so that rows of overlapping row groups can be sorted.
const WINDOW: usize = 1 << 17;
/// Minimum number of rows in the window of a file.
const WINDOW_MIN: usize = 1 << 10;

/// The window of a file. The order is kept apart from the rows because rows are large and their positions change often.
struct Source<I> {
    rows: I,
    /// Time, row number and slot of each row; rows with equal times keep their order.
    order: BinaryHeap<Reverse<(i64, u64, usize)>>,
    held: Vec<Option<Recorded>>,
    window: usize,
    read: u64,
}

impl<I: Iterator<Item = Result<Recorded, Error>>> Source<I> {
    fn next(&mut self) -> Result<Option<Recorded>, Error> {
        while self.order.len() < self.window {
            let Some(row) = self.rows.next() else { break };
            let row = row?;
            let slot = self.held.len();
            self.hold(row, slot);
        }
        let Some(Reverse((_, _, slot))) = self.order.pop() else { return Ok(None) };
        let found = self.held.get_mut(slot).and_then(Option::take);
        // The next row takes the free slot immediately, so all slots are in use until the file ends.
        if let Some(row) = self.rows.next() {
            self.hold(row?, slot);
        }
        Ok(found)
    }

    fn hold(&mut self, row: Recorded, slot: usize) {
        self.read += 1;
        self.order.push(Reverse((row.moment(), self.read, slot)));
        match self.held.get_mut(slot) {
            Some(free) => *free = Some(row),
            None => self.held.push(Some(row)),
        }
    }
}

/// The next row of a file.
struct Head {
    start: i64,
    source: usize,
    row: Recorded,
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        (self.start, self.source) == (other.start, other.source)
    }
}
impl Eq for Head {}
impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Head {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.start, self.source).cmp(&(other.start, other.source))
    }
}

/// Merges the rows of several files in the order of their start times. The result is exact if rows of a file that are
/// out of order are no further apart than the window.
pub fn merged<I>(files: Vec<I>) -> impl Iterator<Item = Result<Recorded, Error>>
where
    I: Iterator<Item = Result<Recorded, Error>>,
{
    let window = (WINDOW / files.len().max(1)).max(WINDOW_MIN);
    let source = |rows| Source { rows, order: BinaryHeap::new(), held: Vec::new(), window, read: 0 };
    let mut sources: Vec<Source<I>> = files.into_iter().map(source).collect();
    let mut heads: BinaryHeap<Reverse<Head>> = BinaryHeap::new();
    let mut waiting: Vec<usize> = (0..sources.len()).collect();
    std::iter::from_fn(move || {
        while let Some(source) = waiting.pop() {
            match sources[source].next() {
                Ok(Some(row)) => heads.push(Reverse(Head { start: row.moment(), source, row })),
                Ok(None) => {}
                Err(error) => return Some(Err(error)),
            }
        }
        let Reverse(head) = heads.pop()?;
        waiting.push(head.source);
        Some(Ok(head.row))
    })
}
