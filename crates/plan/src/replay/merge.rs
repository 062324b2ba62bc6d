//! Rows of several files in the order of their starts, with a window of rows in memory.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{Error, Recorded};

/// Rows that are held back in all, so that those of overlapping row groups come in order.
const WINDOW: usize = 1 << 17;
/// At least so many per file.
const WINDOW_MIN: usize = 1 << 10;

/// The rows of a file that are held back: their order apart from them, because a row is large and its place changes often.
struct Source<I> {
    rows: I,
    /// Moment, number of the row and its slot; equal moments stay as they were.
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
        // The slot is free: the row that follows takes it at once, so all slots are in use until the file ends.
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

/// Brings the rows of several files into the order of their starts. Exact as long as rows of a file that are out of
/// order are not further apart than the window.
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
