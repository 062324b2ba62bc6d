//! Samples that each epoch read, and their order: coverage, and the quality of the shuffle.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::objects::SamplingRate;

/// Marks objects in the common number space of samples and objects (objects are used if traces name no samples).
pub(crate) const IS_OBJECT: u64 = 1 << 63;
/// Number of neighbouring samples that are included together, as a power of two.
const BLOCK: u32 = 12;

/// Samples of one epoch over all ranks.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct EpochSamples {
    /// By level ([`SamplingRate::level`]): number of readings (several reads by one step of one rank are one reading),
    /// and the sum of distinct samples over ranks.
    levels: Vec<(u64, u64)>,
    /// Sorted words of 64 samples: the number of each word, and one bit per sample.
    words: Vec<(u64, u64)>,
    sampling: SamplingRate,
    /// Block and level of the last sample.
    #[serde(skip)]
    last: Option<(u64, usize)>,
}

fn includes_block(rate: SamplingRate, sample: u64) -> bool {
    rate.includes(sample >> BLOCK)
}

impl EpochSamples {
    /// Adds the next sample in ascending order, with the number of its readings by a rank.
    fn take(&mut self, sample: u64, readings: u64) {
        let block = sample >> BLOCK;
        let level = match self.last {
            Some((known, level)) if known == block => level,
            _ => SamplingRate::level(block),
        };
        self.last = Some((block, level));
        if level >= self.levels.len() {
            self.levels.resize(level + 1, (0, 0));
        }
        self.levels[level].0 += readings;
        self.levels[level].1 += 1;
        let (word, bit) = (sample / 64, 1 << (sample % 64));
        match self.words.last_mut() {
            Some((known, bits)) if *known == word => *bits |= bit,
            _ => self.words.push((word, bit)),
        }
    }

    /// Returns the sampling rate.
    pub(crate) fn sampling(&self) -> SamplingRate {
        self.sampling
    }

    fn sum(&self, of: fn(&(u64, u64)) -> u64) -> u64 {
        self.sampling.of_levels(&self.levels).iter().map(of).sum::<u64>() * self.sampling.factor()
    }

    pub(crate) fn readings(&self) -> u64 {
        self.sum(|level| level.0)
    }

    pub(crate) fn of_ranks(&self) -> u64 {
        self.sum(|level| level.1)
    }

    pub(crate) fn distinct(&self) -> u64 {
        self.words.iter().map(|(_, bits)| u64::from(bits.count_ones())).sum::<u64>() * self.sampling.factor()
    }

    /// Lowers the sampling rate to the given one.
    fn follow(&mut self, rate: SamplingRate) {
        if rate > self.sampling {
            self.words.retain(|(word, _)| includes_block(rate, word * 64));
            self.sampling = rate;
        }
    }

    pub(crate) fn merge(&mut self, mut other: Self) {
        self.follow(other.sampling);
        other.follow(self.sampling);
        if self.levels.len() < other.levels.len() {
            self.levels.resize(other.levels.len(), (0, 0));
        }
        for (mine, theirs) in self.levels.iter_mut().zip(other.levels) {
            *mine = (mine.0 + theirs.0, mine.1 + theirs.1);
        }
        if self.words.is_empty() {
            self.words = other.words;
            return;
        }
        self.words.extend(other.words);
        sort_runs(&mut self.words);
        self.words.dedup_by(|next, last| {
            let same = last.0 == next.0;
            if same {
                last.1 |= next.1;
            }
            same
        });
    }
}

/// Joins two consecutive sorted runs.
#[expect(clippy::stable_sort_primitive, reason = "only the stable sort makes use of sorted runs")]
fn sort_runs(words: &mut [(u64, u64)]) {
    words.sort();
}

/// Collects the samples of all epochs.
#[derive(Debug, Default)]
pub(crate) struct CoverageCollector(Mutex<BTreeMap<u32, EpochSamples>>);

impl CoverageCollector {
    pub(crate) fn take(self) -> BTreeMap<u32, EpochSamples> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, epoch: u32, samples: EpochSamples) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(epoch).or_default().merge(samples);
    }
}

/// Order of one epoch on one rank.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) epoch: u32,
    /// Number of distinct samples or objects.
    pub(crate) count: u64,
    /// Spearman correlation of position and sample number, as bits; only for samples.
    pub(crate) with_numbers: Option<u64>,
    /// Correlation of each sample number with the next one, as bits; only for samples.
    pub(crate) with_next: Option<u64>,
    /// Correlation of positions with those of the previous epoch, over the samples of both, as bits.
    pub(crate) with_before: Option<u64>,
    /// Number of samples that the rank had also read in the previous epoch.
    pub(crate) kept: Option<u64>,
}

/// Samples that one rank reads, by epoch. Three epochs are in memory at a time.
#[derive(Debug)]
pub(crate) struct Samples {
    read: Read,
    common: Common,
}

/// Samples in the shortest sufficient type: sorting them takes the most time, and it is faster with fewer bytes.
#[derive(Debug)]
enum Read {
    Short(Epochs<u32>),
    Long(Epochs<u64>),
}

/// State that does not depend on the type of samples.
#[derive(Debug, Default)]
struct Common {
    sampling: SamplingRate,
    /// Expected largest number of readings in an epoch.
    expected: usize,
    orders: Vec<Order>,
}

/// The readings of some epochs.
#[derive(Debug, Default)]
struct Epochs<S> {
    /// The current epoch, its readings, and those of other open epochs.
    current: u32,
    list: Vec<Reading<S>>,
    open: BTreeMap<u32, Vec<Reading<S>>>,
    /// The previous epoch, and its sorted samples with positions.
    before: Option<(u32, Vec<(S, u32)>)>,
    spare: Vec<Vec<Reading<S>>>,
}

/// Step and sample.
type Reading<S> = (u32, S);

/// The number of a sample.
trait Sample: Copy + Ord + Into<u64> {
    /// Returns sample and position as one number.
    type Placed: Ord;

    fn placed(self, position: u32) -> Self::Placed;
}

impl Sample for u32 {
    type Placed = u64;

    fn placed(self, position: u32) -> u64 {
        u64::from(self) << 32 | u64::from(position)
    }
}

impl Sample for u64 {
    type Placed = u128;

    fn placed(self, position: u32) -> u128 {
        u128::from(self) << 32 | u128::from(position)
    }
}

impl Default for Samples {
    fn default() -> Self {
        Self { read: Read::Short(Epochs::default()), common: Common::default() }
    }
}

impl Samples {
    /// Creates the state for a trace with `rows` rows.
    pub(crate) fn new(rows: u64) -> Self {
        let mut samples = Self::default();
        // The limit guards against a damaged file with an arbitrary number.
        samples.common.expected = usize::try_from(rows).unwrap_or(0).min(4 << 20);
        samples
    }

    /// Adds a reading; keeps at most `most` readings of an epoch, and halves the sampling rate beyond that.
    pub(crate) fn read(&mut self, epoch: u32, step: u32, sample: u64, most: usize) {
        if let (Read::Short(short), Err(_)) = (&mut self.read, u32::try_from(sample)) {
            self.read = Read::Long(std::mem::take(short).lengthened());
        }
        match &mut self.read {
            // The samples have just been converted to the long type.
            Read::Short(short) => {
                let sample = u32::try_from(sample).unwrap_or(u32::MAX);
                short.read(epoch, (step, sample), most, &mut self.common);
            }
            Read::Long(long) => long.read(epoch, (step, sample), most, &mut self.common),
        }
    }

    /// Closes epochs that can have no more reads: all but the last two, or all.
    pub(crate) fn close(&mut self, all: bool, into: &CoverageCollector) {
        match &mut self.read {
            Read::Short(short) => short.close(all, &mut self.common, into),
            Read::Long(long) => long.close(all, &mut self.common, into),
        }
    }

    /// Returns the order of each closed epoch.
    pub(crate) fn orders(self) -> Vec<Order> {
        self.common.orders
    }
}

impl Epochs<u32> {
    fn lengthened(self) -> Epochs<u64> {
        let long = |list: Vec<Reading<u32>>| list.into_iter().map(|(step, sample)| (step, u64::from(sample))).collect();
        let sorted = |list: Vec<(u32, u32)>| list.into_iter().map(|(sample, at)| (u64::from(sample), at)).collect();
        Epochs {
            current: self.current,
            list: long(self.list),
            open: self.open.into_iter().map(|(epoch, list)| (epoch, long(list))).collect(),
            before: self.before.map(|(epoch, list)| (epoch, sorted(list))),
            spare: Vec::new(),
        }
    }
}

impl<S: Sample> Epochs<S> {
    fn read(&mut self, epoch: u32, reading: Reading<S>, most: usize, common: &mut Common) {
        if epoch != self.current {
            let list = std::mem::take(&mut self.list);
            if !list.is_empty() {
                self.open.insert(self.current, list);
            }
            self.current = epoch;
            // Allocating a large list at once is faster than growing it by copying.
            let fresh = || self.spare.pop().unwrap_or_else(|| Vec::with_capacity(most.min(common.expected)));
            self.list = self.open.remove(&epoch).unwrap_or_else(fresh);
        }
        // The reads of one sample follow each other.
        if self.list.last() == Some(&reading) || !includes_block(common.sampling, reading.1.into()) {
            return;
        }
        self.list.push(reading);
        if self.list.len() > most {
            common.sampling.halve();
            let rate = common.sampling;
            self.list.retain(|(_, sample)| includes_block(rate, (*sample).into()));
        }
    }

    fn close(&mut self, all: bool, common: &mut Common, into: &CoverageCollector) {
        if all && !self.list.is_empty() {
            self.open.insert(self.current, std::mem::take(&mut self.list));
        }
        let others = usize::from(!self.list.is_empty());
        let keep = if all { 0 } else { 2 - others };
        while self.open.len() > keep {
            let first = self.open.first_key_value().map(|(epoch, _)| *epoch);
            if others == 1 && first.is_some_and(|first| first > self.current) {
                // Late reads of an earlier epoch: that epoch is closed first.
                let list = std::mem::take(&mut self.list);
                return self.close_one(self.current, list, (common, into));
            }
            let Some((epoch, list)) = self.open.pop_first() else { return };
            self.close_one(epoch, list, (common, into));
        }
    }

    fn close_one(&mut self, epoch: u32, mut list: Vec<Reading<S>>, (common, into): (&mut Common, &CoverageCollector)) {
        let rate = common.sampling;
        if !rate.all() {
            list.retain(|(_, sample)| includes_block(rate, (*sample).into()));
        }
        // Lanes interleave, so the order of steps is the order of training.
        list.sort_by_key(|(step, _)| *step);
        let mut all = EpochSamples { sampling: rate, ..EpochSamples::default() };
        let (order, sorted) = readings(&list, &mut all);
        list.clear();
        self.spare.push(list);
        let samples = order.iter().all(|sample| (*sample).into() & IS_OBJECT == 0);
        let mut found = Order { epoch, count: order.len() as u64, ..Order::default() };
        if samples {
            into.add(epoch, all);
        }
        if samples && order.len() > 2 {
            let pairs = sorted.iter().zip(0_u32..).map(|((_, position), rank)| (f64::from(*position), f64::from(rank)));
            found.with_numbers = correlation(pairs);
            let number = |sample: &S| -> f64 { (*sample).into() as f64 };
            found.with_next = correlation(order.iter().map(number).zip(order.iter().skip(1).map(number)));
        }
        if let Some((_, before)) = self.before.as_mut().filter(|(number, _)| number + 1 == epoch) {
            before.retain(|(sample, _)| includes_block(rate, (*sample).into()));
            let both = || common_positions(before, &sorted);
            found.kept = Some(both().count() as u64);
            found.with_before = correlation(both().map(|(one, other)| (f64::from(one), f64::from(other))));
        }
        common.orders.push(found);
        self.before = Some((epoch, sorted));
    }
}

/// Returns the samples in the order of their first reading, and sorted with their positions in that order. Reads of one
/// sample in one step are one reading.
fn readings<S: Sample>(list: &[Reading<S>], all: &mut EpochSamples) -> (Vec<S>, Vec<(S, u32)>) {
    let mut sorted: Vec<(S, u32)> = list.iter().map(|(_, sample)| *sample).zip(0..).collect();
    sorted.sort_unstable_by_key(|(sample, position)| sample.placed(*position));
    let step = |at: u32| list.get(at as usize).map(|(step, _)| *step);
    let mut repeated = false;
    for same in sorted.chunk_by(|one, next| one.0 == next.0) {
        let again = same.windows(2).filter(|pair| step(pair[0].1) != step(pair[1].1)).count();
        repeated |= same.len() > 1;
        all.take(same[0].0.into(), 1 + again as u64);
    }
    if repeated {
        sorted.dedup_by_key(|(sample, _)| *sample);
        // Positions among the first readings.
        let mut first = vec![0_u32; list.len()];
        for (_, at) in &sorted {
            first[*at as usize] = 1;
        }
        let mut position = 0;
        for slot in &mut first {
            let counts = *slot;
            *slot = position;
            position += counts;
        }
        for (_, at) in &mut sorted {
            *at = first[*at as usize];
        }
    }
    let Some((any, _)) = sorted.first() else { return (Vec::new(), sorted) };
    let mut order = vec![*any; sorted.len()];
    for (sample, position) in &sorted {
        order[*position as usize] = *sample;
    }
    (order, sorted)
}

/// Returns the positions of samples that are in both lists.
fn common_positions<S: Sample>(one: &[(S, u32)], other: &[(S, u32)]) -> impl Iterator<Item = (u32, u32)> + Clone {
    let mut others = other.iter().peekable();
    one.iter().filter_map(move |(sample, position)| {
        while others.next_if(|next| next.0 < *sample).is_some() {}
        others.next_if(|next| next.0 == *sample).map(|(_, second)| (*position, *second))
    })
}

/// Returns Pearson's correlation of pairs, as bits; for positions and ranks it is Spearman's. Returns `None` if one of
/// the two is constant.
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
        let all = CoverageCollector::default();
        for reads in [vec![(1, 7), (1, 7), (2, 8), (3, 8)], vec![(1, 7)]] {
            let mut samples = Samples::default();
            for (step, sample) in reads {
                samples.read(1, step, sample, usize::MAX);
            }
            samples.close(true, &all);
        }
        let epoch = &all.take()[&1];
        assert_eq!((epoch.readings(), epoch.distinct(), epoch.of_ranks()), (4, 2, 3));
        let text = serde_json::to_string(epoch).unwrap();
        let mut back: EpochSamples = serde_json::from_str(&text).unwrap();
        back.merge(epoch.clone());
        assert_eq!((back.readings(), back.distinct()), (8, 2));
    }

    #[test]
    fn long_numbers_change_nothing_about_what_was_read_before_them() {
        let found = |base: u64| {
            let all = CoverageCollector::default();
            let mut samples = Samples::default();
            for (epoch, step) in (1..4).flat_map(|epoch| (1..50).map(move |step| (epoch, step))) {
                let sample = u64::from(step * 7 % 50);
                samples.read(epoch, step, if epoch < 3 { sample } else { base + sample }, usize::MAX);
                samples.close(false, &all);
            }
            samples.close(true, &all);
            let distinct: Vec<u64> = all.take().values().map(EpochSamples::distinct).collect();
            (distinct, samples.orders())
        };
        let ((short, short_orders), (long, long_orders)) = (found(100), found(u64::from(u32::MAX)));
        assert_eq!((short, &short_orders[..2]), (long, &long_orders[..2]));
        assert_eq!(short_orders[2].kept, long_orders[2].kept);
    }

    #[test]
    fn reading_in_order_correlates_and_reading_backwards_against_it() {
        let mut samples = Samples::default();
        for at in 0..100 {
            samples.read(1, at + 1, u64::from(at), usize::MAX);
            samples.read(2, at + 1, 99 - u64::from(at), usize::MAX);
        }
        samples.close(true, &CoverageCollector::default());
        let value = |bits: Option<u64>| f64::from_bits(bits.unwrap());
        let orders = samples.orders();
        let [first, second] = &orders[..] else { panic!("two epochs") };
        assert!((value(first.with_numbers) - 1.0).abs() < 1e-9 && (value(second.with_numbers) + 1.0).abs() < 1e-9);
        assert!((value(second.with_before) + 1.0).abs() < 1e-9 && second.kept == Some(100));
        assert!(first.kept.is_none());
    }
    #[test]
    fn many_samples_are_estimated_from_some() {
        let all = CoverageCollector::default();
        for rank in 0..2 {
            let mut samples = Samples::default();
            for at in 0..500_000_u64 {
                // The second rank reads the same samples, backwards.
                let sample = if rank == 0 { at } else { 499_999 - at };
                samples.read(1, u32::try_from(at / 10).unwrap(), sample, 100_000);
            }
            samples.close(true, &all);
            let orders = samples.orders();
            let [order] = &orders[..] else { panic!("one epoch") };
            let straight = f64::from_bits(order.with_numbers.unwrap());
            assert!((straight.abs() - 1.0).abs() < 1e-9, "{straight}");
        }
        let epoch = &all.take()[&1];
        assert!(
            !epoch.sampling().all() && (epoch.distinct() as f64 / 500_000.0 - 1.0).abs() < 0.3,
            "{}",
            epoch.distinct()
        );
        assert!((epoch.readings() as f64 / 1_000_000.0 - 1.0).abs() < 0.3, "{}", epoch.readings());
    }
}
