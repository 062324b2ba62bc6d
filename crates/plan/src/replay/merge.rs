//! Rows of several files in the order of their starts, with a window of rows in memory.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{Error, Recorded};

/// Rows that are held back in all, so that those of overlapping row groups come in order.
const WINDOW: usize = 1 << 17;
/// At least so many per file.
const WINDOW_MIN: usize = 1 << 10;

/// A row in the order of starts; equal starts stay as they were.
struct Entry {
    start: i64,
    number: u64,
    row: Recorded,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.start, self.number) == (other.start, other.number)
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.start, self.number).cmp(&(other.start, other.number))
    }
}

struct Source<I> {
    rows: I,
    held: BinaryHeap<Reverse<Entry>>,
    window: usize,
    read: u64,
}

impl<I: Iterator<Item = Result<Recorded, Error>>> Source<I> {
    fn next(&mut self) -> Result<Option<Recorded>, Error> {
        while self.held.len() < self.window {
            let Some(row) = self.rows.next() else { break };
            let row = row?;
            self.read += 1;
            self.held.push(Reverse(Entry { start: row.moment(), number: self.read, row }));
        }
        Ok(self.held.pop().map(|Reverse(entry)| entry.row))
    }
}

/// Brings the rows of several files into the order of their starts. Exact as long as rows of a file that are out of
/// order are not further apart than the window.
pub fn merged<I>(files: Vec<I>) -> impl Iterator<Item = Result<Recorded, Error>>
where
    I: Iterator<Item = Result<Recorded, Error>>,
{
    let window = (WINDOW / files.len().max(1)).max(WINDOW_MIN);
    let mut sources: Vec<Source<I>> =
        files.into_iter().map(|rows| Source { rows, held: BinaryHeap::new(), window, read: 0 }).collect();
    let mut heads: BinaryHeap<Reverse<Entry>> = BinaryHeap::new();
    let mut waiting: Vec<usize> = (0..sources.len()).collect();
    std::iter::from_fn(move || {
        while let Some(index) = waiting.pop() {
            match sources[index].next() {
                Ok(Some(row)) => heads.push(Reverse(Entry { start: row.moment(), number: index as u64, row })),
                Ok(None) => {}
                Err(error) => return Some(Err(error)),
            }
        }
        let Reverse(entry) = heads.pop()?;
        waiting.push(usize::try_from(entry.number).unwrap_or(0));
        Some(Ok(entry.row))
    })
}
