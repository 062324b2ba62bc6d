//! Which samples each epoch read, and in which order: coverage, and the quality of the shuffle.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::objects::Map;

/// Samples (or objects, where traces name no samples) are numbered in one space: objects have this bit.
pub(crate) const IS_OBJECT: u64 = 1 << 63;
/// Words of 64 samples that are kept together.
const WORDS: usize = 64;

/// Samples of one epoch over all ranks.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct EpochSamples {
    /// Readings; several reads by one step of one rank are parts of one reading.
    pub(crate) readings: u64,
    /// Different samples of each rank, added up.
    pub(crate) of_ranks: u64,
    #[serde(with = "pairs")]
    bits: Map<u64, Vec<u64>>,
}

/// Maps whose keys are not text.
mod pairs {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Map;

    pub(super) fn serialize<S: Serializer>(map: &Map<u64, Vec<u64>>, to: S) -> Result<S::Ok, S::Error> {
        map.iter().collect::<Vec<_>>().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Map<u64, Vec<u64>>, D::Error> {
        Vec::<(u64, Vec<u64>)>::deserialize(from).map(|pairs| pairs.into_iter().collect())
    }
}

impl EpochSamples {
    fn insert(&mut self, sample: u64) {
        let (word, bit) = (sample / 64, sample % 64);
        let block = self.bits.entry(word / WORDS as u64).or_insert_with(|| vec![0; WORDS]);
        block[usize::try_from(word % WORDS as u64).unwrap_or(0)] |= 1 << bit;
    }

    pub(crate) fn distinct(&self) -> u64 {
        self.bits.values().flatten().map(|word| u64::from(word.count_ones())).sum()
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.readings += other.readings;
        self.of_ranks += other.of_ranks;
        for (key, words) in other.bits {
            let mine = self.bits.entry(key).or_insert_with(|| vec![0; WORDS]);
            for (mine, theirs) in mine.iter_mut().zip(words) {
                *mine |= theirs;
            }
        }
    }
}

/// Samples of all epochs.
#[derive(Debug, Default)]
pub(crate) struct Coverages(Mutex<BTreeMap<u32, EpochSamples>>);

impl Coverages {
    pub(crate) fn take(self) -> BTreeMap<u32, EpochSamples> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, epoch: u32, readings: u64, distinct: &[u64]) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let samples = all.entry(epoch).or_default();
        samples.readings += readings;
        samples.of_ranks += distinct.len() as u64;
        for sample in distinct {
            samples.insert(*sample);
        }
    }
}

/// The order of one epoch on one rank.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) epoch: u32,
    /// Different samples or objects.
    pub(crate) count: u64,
    /// Correlation of position and sample number (Spearman), as bits; only for samples.
    pub(crate) with_numbers: Option<u64>,
    /// Correlation of each sample number with the next, as bits; only for samples.
    pub(crate) with_next: Option<u64>,
    /// Correlation of positions with those of the epoch before, of what both read, as bits.
    pub(crate) with_before: Option<u64>,
    /// How many of them the rank had read in the epoch before.
    pub(crate) kept: Option<u64>,
}

/// What one rank reads, epoch by epoch. Two epochs are in memory at a time.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    open: BTreeMap<u32, Vec<(u32, u64)>>,
    /// Epoch, and what it read, sorted, with positions.
    before: Option<(u32, Vec<(u64, u32)>)>,
    pub(crate) orders: Vec<Order>,
}

impl Samples {
    pub(crate) fn read(&mut self, epoch: u32, step: u32, sample: u64) {
        let list = self.open.entry(epoch).or_default();
        // A sample that takes several reads takes them one after the other.
        if list.last() != Some(&(step, sample)) {
            list.push((step, sample));
        }
    }

    /// Closes the epochs that can have no more reads: all but the last two, or all.
    pub(crate) fn close(&mut self, all: bool, into: &Coverages) {
        let keep = if all { 0 } else { 2 };
        while self.open.len() > keep {
            let Some((epoch, list)) = self.open.pop_first() else { return };
            self.close_one(epoch, list, into);
        }
    }

    fn close_one(&mut self, epoch: u32, mut list: Vec<(u32, u64)>, into: &Coverages) {
        // Lanes interleave; the order of steps is the order of training.
        list.sort_by_key(|(step, _)| *step);
        let mut seen: Map<u64, u32> = Map::default();
        let mut order = Vec::with_capacity(list.len());
        let mut readings = 0;
        for (step, sample) in list {
            match seen.insert(sample, step) {
                Some(before) if before == step => {}
                Some(_) => readings += 1,
                None => {
                    readings += 1;
                    order.push(sample);
                }
            }
        }
        let samples = order.iter().all(|sample| sample & IS_OBJECT == 0);
        let mut sorted: Vec<(u64, u32)> = order.iter().copied().zip(0..).collect();
        sorted.sort_unstable();
        if samples {
            into.add(epoch, readings, &order);
        }
        let mut found = Order { epoch, count: order.len() as u64, ..Order::default() };
        if samples && order.len() > 2 {
            let pairs = sorted.iter().zip(0_u32..).map(|((_, position), rank)| (f64::from(*position), f64::from(rank)));
            found.with_numbers = correlation(pairs);
            let next = order.iter().zip(order.iter().skip(1)).map(|(one, next)| (*one as f64, *next as f64));
            found.with_next = correlation(next);
        }
        if let Some((_, before)) = self.before.as_ref().filter(|(number, _)| number + 1 == epoch) {
            let both = common(before, &sorted);
            found.kept = Some(both.len() as u64);
            found.with_before = correlation(both.iter().map(|(one, other)| (f64::from(*one), f64::from(*other))));
        }
        self.orders.push(found);
        self.before = Some((epoch, sorted));
    }
}

/// Positions of what both lists hold.
fn common(one: &[(u64, u32)], other: &[(u64, u32)]) -> Vec<(u32, u32)> {
    let mut others = other.iter().peekable();
    let mut both = Vec::new();
    for (sample, position) in one {
        while others.next_if(|next| next.0 < *sample).is_some() {}
        if let Some((_, second)) = others.next_if(|next| next.0 == *sample) {
            both.push((*position, *second));
        }
    }
    both
}

/// Pearson's correlation of pairs, as bits; of positions and ranks it is Spearman's. `None` where one of both does not vary.
fn correlation(pairs: impl Iterator<Item = (f64, f64)> + Clone) -> Option<u64> {
    let (mut count, mut x_sum, mut y_sum) = (0.0, 0.0, 0.0);
    for (x, y) in pairs.clone() {
        count += 1.0;
        x_sum += x;
        y_sum += y;
    }
    let (x_mean, y_mean) = (x_sum / f64::max(count, 1.0), y_sum / f64::max(count, 1.0));
    let (mut both, mut x_square, mut y_square) = (0.0, 0.0, 0.0);
    for (x, y) in pairs {
        both += (x - x_mean) * (y - y_mean);
        x_square += (x - x_mean).powi(2);
        y_square += (y - y_mean).powi(2);
    }
    (x_square > 0.0 && y_square > 0.0).then(|| (both / (x_square * y_square).sqrt()).to_bits())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_one_reading_are_not_duplicates_and_other_steps_are() {
        let all = Coverages::default();
        for reads in [vec![(1, 7), (1, 7), (2, 8), (3, 8)], vec![(1, 7)]] {
            let mut samples = Samples::default();
            for (step, sample) in reads {
                samples.read(1, step, sample);
            }
            samples.close(true, &all);
        }
        let epoch = &all.take()[&1];
        assert_eq!((epoch.readings, epoch.distinct(), epoch.of_ranks), (4, 2, 3));
        let text = serde_json::to_string(epoch).unwrap();
        let mut back: EpochSamples = serde_json::from_str(&text).unwrap();
        back.merge(epoch.clone());
        assert_eq!((back.readings, back.distinct()), (8, 2));
    }

    #[test]
    fn reading_in_order_correlates_and_reading_backwards_against_it() {
        let mut samples = Samples::default();
        for at in 0..100 {
            samples.read(1, at + 1, u64::from(at));
            samples.read(2, at + 1, 99 - u64::from(at));
        }
        samples.close(true, &Coverages::default());
        let value = |bits: Option<u64>| f64::from_bits(bits.unwrap());
        let [first, second] = &samples.orders[..] else { panic!("two epochs") };
        assert!((value(first.with_numbers) - 1.0).abs() < 1e-9 && (value(second.with_numbers) + 1.0).abs() < 1e-9);
        assert!((value(second.with_before) + 1.0).abs() < 1e-9 && second.kept == Some(100));
        assert!(first.kept.is_none());
    }
}
