//! The reference's shuffles: numpy's legacy stream, reseeded at every epoch, files shuffled cumulatively.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Split;
use crate::numpy::Mt19937;

/// File and sample orders by epoch; the last ones computed are kept, because all lanes of an epoch ask for the same.
#[derive(Debug)]
pub(crate) struct Shuffles {
    pub(crate) seed: u32,
    /// Add the epoch to the seed.
    pub(crate) change: bool,
    /// Whether the file lists are shuffled.
    pub(crate) shuffle_files: bool,
    /// Whether a rank's samples are shuffled.
    pub(crate) shuffle_samples: bool,
    /// Lengths of the train and eval lists.
    pub(crate) files: (u32, u32),
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    files: Option<FileLists>,
    /// (epoch, length, order)
    samples: Vec<(u32, u32, Arc<[u32]>)>,
}

#[derive(Debug, Clone)]
struct FileLists {
    epoch: u32,
    train: Arc<[u32]>,
    eval: Arc<[u32]>,
}

/// Sample orders kept: train and eval, each with the length of a full and of a last rank.
const KEPT: usize = 4;

impl Shuffles {
    pub(crate) fn new(seed: (u32, bool), files: bool, samples: bool, lens: (u32, u32)) -> Self {
        Self {
            seed: seed.0,
            change: seed.1,
            shuffle_files: files,
            shuffle_samples: samples,
            files: lens,
            memory: Mutex::default(),
        }
    }

    /// The generator as reseeded for an epoch.
    pub(crate) fn generator(&self, epoch: u32) -> Mt19937 {
        Mt19937::new(if self.change { self.seed.wrapping_add(epoch) } else { self.seed })
    }

    /// Order of a split's file list in an epoch; `None`: sorted.
    ///
    /// Both lists are shuffled one after the other from one seeding, and every epoch starts from the order of the last.
    pub(crate) fn file_order(&self, split: Split, epoch: u32) -> Option<Arc<[u32]>> {
        if !self.shuffle_files {
            return None;
        }
        let mut memory = self.memory();
        let start = memory.files.take().filter(|lists| lists.epoch <= epoch);
        let lists = start.unwrap_or_else(|| FileLists {
            epoch: 0,
            train: (0..self.files.0).collect(),
            eval: (0..self.files.1).collect(),
        });
        let lists = self.advance(lists, epoch);
        let order = match split {
            Split::Train => Arc::clone(&lists.train),
            Split::Eval => Arc::clone(&lists.eval),
        };
        memory.files = Some(lists);
        Some(order)
    }

    fn advance(&self, lists: FileLists, epoch: u32) -> FileLists {
        if lists.epoch == epoch {
            return lists;
        }
        let FileLists { epoch: first, mut train, mut eval } = lists;
        // In place, unless a lane of an earlier epoch still reads by these lists: they may be as large as memory allows.
        let (train_list, eval_list) = (Arc::make_mut(&mut train), Arc::make_mut(&mut eval));
        for epoch in first + 1..=epoch {
            let mut generator = self.generator(epoch);
            generator.shuffle(train_list);
            generator.shuffle(eval_list);
        }
        FileLists { epoch, train, eval }
    }

    /// Order of `len` samples of one rank in an epoch; `None`: ascending. It is the same for all ranks with that many.
    pub(crate) fn sample_order(&self, len: u32, epoch: u32) -> Option<Arc<[u32]>> {
        if !self.shuffle_samples {
            return None;
        }
        let mut memory = self.memory();
        if let Some((_, _, order)) = memory.samples.iter().find(|(e, l, _)| (*e, *l) == (epoch, len)) {
            return Some(Arc::clone(order));
        }
        let mut order: Arc<[u32]> = (0..len).collect();
        self.generator(epoch).shuffle(Arc::make_mut(&mut order));
        if memory.samples.len() == KEPT {
            memory.samples.remove(0);
        }
        memory.samples.push((epoch, len, Arc::clone(&order)));
        Some(order)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // What is kept is complete at all times, so a panic elsewhere cannot have spoilt it.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
