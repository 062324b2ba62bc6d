//! Arrays of numbers that one rank of a node makes and all its ranks read.
//!
//! An array has successive versions. A rank that needs a missing version makes it while the others wait, in the place
//! of the previous version if nobody reads that any more. A rank that is behind keeps reading its version in a second
//! place, which is otherwise empty. After [`share`], no collective is needed.
//!
//! Invariant: numbers are written only by the process that holds the array's lock, and only to a place without
//! readers.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::memory::{Memory, is_alive};
use super::memory_offer::{ALIGN, memory_of_node};
use crate::communicator::Communicator;
use crate::error::Error;
use crate::futex::{sleep_while, wake};

/// Longest wait of the maker of a version for the readers of the previous one, before it copies that version.
const PATIENCE: Duration = Duration::from_millis(20);
/// Interval at which a waiting rank checks whether the process that it waits for still lives.
const LOOK: Duration = Duration::from_secs(1);
/// Bytes of an array's control words.
const WORDS: usize = 64;
/// Places for versions of an array.
const PLACES: usize = 2;

/// A rank's view of the shared arrays.
#[derive(Debug)]
pub struct SharedArrays {
    memory: Arc<Memory>,
    arrays: Vec<Array>,
}

/// Result of sharing on all ranks.
#[derive(Debug)]
pub struct Sharing {
    /// The arrays; `None` if this rank is alone on its node or could not share.
    pub arrays: Option<SharedArrays>,
    /// Ranks that could not share, with the reasons.
    pub refused: Vec<(u32, String)>,
}

/// A version of an array, which does not change while a reference to it exists.
#[derive(Debug, Clone)]
pub struct SharedArray(Arc<Reading>);

/// Computes the numbers of a version in place; the first argument is the version that the slice contains, if any.
pub type Make<'a> = &'a mut dyn FnMut(Option<u32>, &mut [u32]);

#[derive(Debug)]
struct Array {
    number: usize,
    len: usize,
    /// Offset of its places in bytes.
    from: usize,
    /// The version that this rank uses. It can be returned again without reading the shared words, and is protected
    /// from replacement.
    held: Mutex<Option<SharedArray>>,
}

/// A counted reader of a version.
#[derive(Debug)]
struct Reading {
    memory: Arc<Memory>,
    at: Place,
    version: u32,
}

/// Location of a version.
#[derive(Debug, Clone, Copy)]
struct Place {
    array: usize,
    number: usize,
    from: usize,
    len: usize,
}

/// Shares arrays of the given lengths between the ranks of each node. Memory is allocated when a version is first
/// made.
///
/// # Errors
/// When communication between the ranks fails.
pub async fn share(comm: &dyn Communicator, lens: &[usize]) -> Result<Sharing, Error> {
    let (memory, refused) = memory_of_node(comm, bytes_of(lens), words_of(lens)).await?;
    Ok(Sharing { arrays: memory.map(|memory| SharedArrays::new(memory, lens)), refused })
}

fn words_of(lens: &[usize]) -> usize {
    (lens.len() * WORDS).next_multiple_of(ALIGN)
}

/// Returns the bytes of one place of an array.
fn place_of(len: usize) -> usize {
    (len * size_of::<u32>()).next_multiple_of(ALIGN)
}

fn bytes_of(lens: &[usize]) -> usize {
    words_of(lens) + lens.iter().map(|len| PLACES * place_of(*len)).sum::<usize>()
}

impl SharedArrays {
    fn new(memory: Memory, lens: &[usize]) -> Self {
        let mut from = words_of(lens);
        let arrays = lens.iter().enumerate().map(|(number, &len)| {
            let array = Array { number, len, from, held: Mutex::default() };
            from += PLACES * place_of(len);
            array
        });
        Self { arrays: arrays.collect(), memory: Arc::new(memory) }
    }

    /// Returns a version, from 1 on, of array `number`: made by another rank, or by `make` from an earlier version.
    ///
    /// # Errors
    /// When this rank must make its own copy, with the reason: there is no memory, or no rank has a version this old
    /// any more.
    pub fn version(&self, number: usize, version: u32, make: Make<'_>) -> Result<SharedArray, String> {
        let array = self.arrays.get(number).ok_or("there is no such array")?;
        let mut held = array.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = held.as_ref().filter(|held| held.0.version == version) {
            return Ok(held.clone());
        }
        // Released first, because the maker of the next version may be waiting for it.
        *held = None;
        let words = Words { memory: &self.memory, array };
        let at = words.locked(|| words.find(version).map_or_else(|| words.make(version, make), Ok))?;
        let reading = SharedArray(Arc::new(Reading { memory: Arc::clone(&self.memory), at, version }));
        *held = Some(reading.clone());
        Ok(reading)
    }
}

/// The control words of an array.
#[derive(Clone, Copy)]
struct Words<'a> {
    memory: &'a Memory,
    array: &'a Array,
}

impl Words<'_> {
    fn word(&self, at: usize) -> &AtomicU32 {
        self.memory.word(self.array.number * WORDS + at * size_of::<u32>())
    }

    /// Process that holds the lock; 0: none.
    fn owner(&self) -> &AtomicU32 {
        self.word(0)
    }

    /// Version at a place; 0: none.
    fn version(&self, place: usize) -> &AtomicU32 {
        self.word(1 + place)
    }

    /// Number of processes that read a place.
    fn readers(&self, place: usize) -> &AtomicU32 {
        readers(self.memory, self.array.number, place)
    }

    fn place(&self, place: usize) -> Place {
        let Array { number, len, from, .. } = *self.array;
        Place { array: number, number: place, from: from + place * place_of(len), len }
    }

    /// Runs `work` while no other process works on this array.
    fn locked<T>(&self, work: impl FnOnce() -> T) -> T {
        struct Unlock<'a>(&'a AtomicU32);
        impl Drop for Unlock<'_> {
            fn drop(&mut self) {
                self.0.store(0, Ordering::Release);
                wake(self.0);
            }
        }
        let (owner, me) = (self.owner(), std::process::id());
        let mut expected = 0;
        while let Err(seen) = owner.compare_exchange(expected, me, Ordering::AcqRel, Ordering::Acquire) {
            expected = 0;
            if seen != 0 {
                sleep_while(owner, seen, LOOK);
                // A process that died while it held the lock left no version at the place it was writing.
                if owner.load(Ordering::Acquire) == seen && !is_alive(seen) {
                    expected = seen;
                }
            }
        }
        let _unlock = Unlock(owner);
        work()
    }

    /// Returns the place of an existing version, with this reader counted.
    fn find(&self, version: u32) -> Option<Place> {
        let place = (0..PLACES).find(|place| self.version(*place).load(Ordering::Acquire) == version)?;
        self.readers(place).fetch_add(1, Ordering::AcqRel);
        self.clear_older(place, version);
        Some(self.place(place))
    }

    /// Makes a version from the previous one, in the same place or, if that has readers, in the other place.
    fn make(&self, version: u32, make: Make<'_>) -> Result<Place, String> {
        let (place, have) = self.choose(version)?;
        let at = self.place(place);
        self.version(place).store(0, Ordering::Release);
        #[expect(unsafe_code, reason = "writes to shared memory")]
        // SAFETY: the place has no readers and no version under which there could be new ones; the lock is held.
        let numbers = unsafe { self.memory.numbers_mut(at.from, at.len) };
        make(have, numbers);
        self.version(place).store(version, Ordering::Release);
        self.readers(place).fetch_add(1, Ordering::AcqRel);
        self.clear_older(place, version);
        Ok(at)
    }

    /// Returns a place without readers, and the version that it contains.
    fn choose(&self, version: u32) -> Result<(usize, Option<u32>), String> {
        let versions: [u32; PLACES] = std::array::from_fn(|place| self.version(place).load(Ordering::Acquire));
        let before =
            (0..PLACES).filter(|place| (1..version).contains(&versions[*place])).max_by_key(|at| versions[*at]);
        if let Some(place) = before.filter(|place| self.is_left(*place)) {
            return Ok((place, Some(versions[place])));
        }
        let free =
            (0..PLACES).find(|place| Some(*place) != before && self.readers(*place).load(Ordering::Acquire) == 0);
        // A later version without current readers is still needed by the other ranks.
        let free = free.filter(|place| versions[*place] < version);
        let free = free.ok_or_else(|| format!("the other ranks of the node are not near epoch {version}"))?;
        let at = self.place(free);
        self.memory
            .reserve(at.from, at.len * size_of::<u32>())
            .map_err(|error| format!("taking {} MiB of shared memory: {error}", (at.len * size_of::<u32>()) >> 20))?;
        let Some(before) = before else { return Ok((free, None)) };
        self.version(free).store(0, Ordering::Release);
        let from = self.place(before);
        #[expect(unsafe_code, reason = "copies within shared memory")]
        // SAFETY: nobody writes to a place that has a version but the holder of the lock, who only reads it here; the
        // other place has no readers and no version under which there could be new ones.
        unsafe {
            let numbers = self.memory.numbers(from.from, from.len);
            self.memory.numbers_mut(at.from, at.len).copy_from_slice(numbers);
        }
        Ok((free, Some(versions[before])))
    }

    /// Waits briefly for the readers of a place; returns whether they have left.
    fn is_left(&self, place: usize) -> bool {
        let readers = self.readers(place);
        let step = Duration::from_millis(1);
        let mut waited = Duration::ZERO;
        loop {
            let seen = readers.load(Ordering::Acquire);
            if seen == 0 || waited >= PATIENCE {
                return seen == 0;
            }
            sleep_while(readers, seen, step);
            waited += step;
        }
    }

    /// Releases the memory of an older version if it has no readers.
    fn clear_older(&self, than: usize, version: u32) {
        for place in (0..PLACES).filter(|place| *place != than) {
            let older = (1..version).contains(&self.version(place).load(Ordering::Acquire));
            if older && self.readers(place).load(Ordering::Acquire) == 0 {
                self.version(place).store(0, Ordering::Release);
                let at = self.place(place);
                // Memory that cannot be released is reused later.
                let _ = self.memory.release(at.from, place_of(at.len));
            }
        }
    }
}

fn readers(memory: &Memory, array: usize, place: usize) -> &AtomicU32 {
    memory.word(array * WORDS + (1 + PLACES + place) * size_of::<u32>())
}

impl AsRef<[u32]> for SharedArray {
    fn as_ref(&self) -> &[u32] {
        #[expect(unsafe_code, reason = "reads shared memory")]
        // SAFETY: this reader is counted, so nobody writes to its place.
        unsafe {
            self.0.memory.numbers(self.0.at.from, self.0.at.len)
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let readers = readers(&self.memory, self.at.array, self.at.number);
        readers.fetch_sub(1, Ordering::AcqRel);
        wake(readers);
    }
}
