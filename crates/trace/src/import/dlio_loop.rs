//! Reconstruction of the reference's training loop from its spans: epochs, training and evaluation, and the blocks of an epoch.
//!
//! The reference sets the argument `epoch` of its spans when an epoch is over, so the argument has the number of the next epoch;
//! and evaluation uses the names of training. Reliable is only that `epoch.block` encloses the `train` and `evaluate` spans of
//! its epoch. A span is logged when it ends, so inner spans come first; in a file sorted by start, outer spans come first. A
//! block of training ends with the computation before a checkpoint, or with the last step.

use std::collections::HashMap;

use dlio_event::{Nanos, Phase};
use foldhash::fast::RandomState;

/// Maximum time that a tracer takes for the beginning of a span, nanoseconds.
const TRACING: Nanos = 1_000_000;

/// Start and end of a span, nanoseconds.
pub(super) type Span = (Nanos, Nanos);

/// An epoch with the spans known so far.
#[derive(Debug, Clone, Copy, Default)]
struct Epoch {
    number: u32,
    whole: Option<Span>,
    train: Option<Span>,
    eval: Option<Span>,
}

impl Epoch {
    fn spans(&self) -> impl Iterator<Item = Span> {
        [self.whole, self.train, self.eval].into_iter().flatten()
    }

    fn begin(&self) -> Nanos {
        self.spans().map(|span| span.0).min().unwrap_or(0)
    }
}

/// The epochs of one rank in order.
#[derive(Debug, Default)]
pub(super) struct Epochs(Vec<Epoch>);

/// The epochs of all ranks whose loop has been read. Loader workers have files of their own, which lack the epochs.
pub(super) type Loops = HashMap<u32, Epochs, RandomState>;

fn holds(span: Span, moment: Nanos) -> bool {
    span.0 <= moment && moment <= span.1
}

impl Epochs {
    /// Returns the epoch and the phase that contain a time.
    pub(super) fn at(&self, moment: Nanos) -> Option<(u32, Phase)> {
        let after = self.0.partition_point(|epoch| epoch.begin() <= moment);
        let epoch = self.0.get(after.checked_sub(1)?)?;
        if !epoch.spans().any(|span| holds(span, moment)) {
            return None;
        }
        let phase = if epoch.eval.is_some_and(|span| holds(span, moment)) { Phase::Eval } else { Phase::Train };
        Some((epoch.number, phase))
    }

    fn get(&self, number: u32) -> Option<&Epoch> {
        self.0.iter().rev().find(|epoch| epoch.number == number)
    }

    fn change(&mut self, number: u32, change: impl FnOnce(&mut Epoch)) {
        if let Some(epoch) = self.0.iter_mut().rev().find(|epoch| epoch.number == number) {
            change(epoch);
        } else {
            let mut epoch = Epoch { number, ..Epoch::default() };
            change(&mut epoch);
            self.0.push(epoch);
        }
        self.0.sort_by_key(Epoch::begin);
    }
}

/// A finished block of training steps. It begins with its first fetch, whose line may come later.
#[derive(Debug, Clone, Copy)]
struct Ended {
    start: Option<Nanos>,
    end: Nanos,
}

/// The unfinished block.
#[derive(Debug, Default, Clone, Copy)]
struct Open {
    start: Option<Nanos>,
    /// End of the last computation, and end of the last step; 0 if there is none.
    computed: Nanos,
    stepped: Nanos,
    /// Number of steps without a following checkpoint, and the time between their computations and their ends.
    steps: u64,
    behind: u64,
}

/// State of one process's loop.
#[derive(Debug, Default)]
pub(super) struct Loop {
    epochs: Epochs,
    /// The unfinished epoch; 0 before the first.
    current: u32,
    ended: Vec<Ended>,
    open: Open,
    /// Start of the last line.
    last: Nanos,
    /// Time at which the reference last began to measure a computation.
    measured: Nanos,
    /// Number of checkpoints saved and loaded outside training.
    outside: [u32; 2],
}

impl Loop {
    /// Handles the start of a line.
    pub(super) fn met(&mut self, moment: Nanos) {
        self.last = moment;
    }

    /// Returns the epoch, the phase and the block of a line that starts at `moment`; `None` before the first epoch.
    pub(super) fn place(&self, moment: Nanos) -> Option<(u32, Phase, u32)> {
        let (epoch, phase) = self.epochs.at(moment).or_else(|| {
            let train = self.epochs.get(self.current).and_then(|epoch| epoch.train);
            let phase = if train.is_some_and(|train| moment > train.1) { Phase::Eval } else { Phase::Train };
            (self.current > 0).then_some((self.current, phase))
        })?;
        let block = if phase == Phase::Train { self.block(moment) } else { 0 };
        Some((epoch, phase, block))
    }

    /// Returns the block of the current epoch that contains a start.
    fn block(&self, moment: Nanos) -> u32 {
        let before = self.ended.iter().rev().skip_while(|block| block.end > moment).count();
        u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// Handles the request for the first batch, by which an epoch has begun.
    pub(super) fn begin(&mut self) {
        self.current = self.current.max(1);
    }

    /// Handles a fetch.
    pub(super) fn fetched(&mut self, start: Nanos) {
        self.begin();
        match self.ended.last_mut().filter(|block| start < block.end) {
            Some(block) => block.start = Some(block.start.map_or(start, |first| first.min(start))),
            None => self.open.start = Some(self.open.start.map_or(start, |first| first.min(start))),
        }
    }

    /// Handles the creation of the object around a step; after it the reference begins to measure the computation.
    pub(super) fn traced(&mut self, end: Nanos) {
        self.measured = end;
    }

    /// Returns the start of a computation as the reference measures it: its clock includes the tracer's own work.
    pub(super) fn computes(&self, start: Nanos) -> Nanos {
        if self.measured <= start && start - self.measured < TRACING { self.measured } else { start }
    }

    /// Handles the end of a computation.
    pub(super) fn computed(&mut self, end: Nanos) {
        self.begin();
        self.open.computed = self.open.computed.max(end);
    }

    /// Handles the end of a step.
    pub(super) fn stepped(&mut self, end: Nanos) {
        // The step before a checkpoint ends after its block.
        if self.open.computed > 0 && end >= self.open.computed {
            self.open.steps += 1;
            self.open.behind += end - self.open.computed;
            self.open.stepped = end;
        }
    }

    /// Handles the save of a checkpoint, which ends a block of training. Returns its epoch and its number in the epoch.
    pub(super) fn saved(&mut self, start: Nanos) -> (u32, u32) {
        let Some((epoch, Phase::Train, _)) = self.place(start).filter(|(epoch, ..)| *epoch == self.current) else {
            return self.outside(false);
        };
        if self.open.computed > 0 {
            // Between the computation and the checkpoint the ranks meet at a barrier that is not recorded. Its time is estimated
            // from the other steps.
            let met = self.open.behind.checked_div(self.open.steps).unwrap_or(0);
            let end = start.min(self.open.computed.saturating_add(met));
            self.ended.push(Ended { start: self.open.start, end });
            self.open = Open::default();
        }
        (epoch, u32::try_from(self.ended.len()).unwrap_or(u32::MAX).max(1))
    }

    /// Handles a checkpoint outside training. Returns its epoch and its number among the saved or loaded ones.
    pub(super) fn outside(&mut self, load: bool) -> (u32, u32) {
        let count = &mut self.outside[usize::from(load)];
        *count += 1;
        (self.current.max(1), *count)
    }

    /// Handles the training span of an epoch. Returns the epoch and its blocks.
    pub(super) fn trained(&mut self, span: Span) -> (u32, Vec<Span>) {
        let (mut ended, open) = (std::mem::take(&mut self.ended), std::mem::take(&mut self.open));
        let number = self.number(span);
        self.epochs.change(number, |epoch| epoch.train = Some(span));
        if self.last < span.0 {
            // The inner spans come later.
            return (number, vec![span]);
        }
        if open.computed > 0 {
            ended.push(Ended { start: open.start, end: open.computed.max(open.stepped) });
        }
        // The first block starts with the creation of the loader, before the first fetch.
        let start = |(index, block): (usize, &Ended)| if index == 0 { Some(span.0) } else { block.start };
        let of = |(index, block): (usize, &Ended)| Some((start((index, block))?, block.end));
        let blocks: Vec<Span> = ended.iter().enumerate().filter_map(of).collect();
        (number, if blocks.is_empty() { vec![span] } else { blocks })
    }

    /// Handles the evaluation span of an epoch. Returns the epoch.
    pub(super) fn evaluated(&mut self, span: Span) -> u32 {
        let number = self.number(span);
        self.epochs.change(number, |epoch| epoch.eval = Some(span));
        number
    }

    /// Handles the span of an epoch, whose number is in `count`. Returns the epoch.
    pub(super) fn epoch(&mut self, span: Span, count: Option<u32>) -> u32 {
        let is_over = self.last >= span.0;
        let number = if is_over && self.current > 0 { self.current } else { count.unwrap_or(self.current).max(1) };
        self.epochs.change(number, |epoch| epoch.whole = Some(span));
        self.current = if is_over { number.saturating_add(1) } else { number };
        (self.ended, self.open) = (Vec::new(), Open::default());
        number
    }

    fn number(&mut self, span: Span) -> u32 {
        self.begin();
        self.epochs.at(span.0).map_or(self.current, |(number, _)| number)
    }

    /// Returns the epochs for the files of the rank's workers.
    pub(super) fn into_epochs(self) -> Epochs {
        self.epochs
    }
}

/// Step numbers of a loader's worker, which counts on from epoch to epoch.
#[derive(Debug, Default)]
pub(super) struct WorkerSteps {
    part: Option<(u32, Phase)>,
    before: u32,
    last: u32,
}

impl WorkerSteps {
    /// Returns the number of a step within its phase of an epoch.
    pub(super) fn within(&mut self, part: (u32, Phase), step: u32) -> u32 {
        if self.part != Some(part) {
            (self.part, self.before) = (Some(part), self.last);
        }
        self.last = self.last.max(step);
        step.saturating_sub(self.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds a step of 10 ns: 2 for the fetch, 5 for the computation, 3 for the rest.
    fn step(of: &mut Loop, start: Nanos) {
        of.computed(start + 7);
        of.fetched(start);
        of.stepped(start + 10);
    }

    #[test]
    fn spans_that_come_when_they_end_are_of_the_epoch_that_ends_after_them() {
        let mut of = Loop::default();
        assert_eq!(of.place(5), None);
        for (number, begin) in [(1, 100), (2, 200)] {
            step(&mut of, begin + 10);
            assert_eq!(of.place(begin + 10), Some((number, Phase::Train, 1)));
            step(&mut of, begin + 20);
            of.met(begin + 20);
            assert_eq!(of.trained((begin + 1, begin + 40)), (number, vec![(begin + 1, begin + 30)]));
            assert_eq!(of.place(begin + 50), Some((number, Phase::Eval, 0)));
            assert_eq!(of.evaluated((begin + 45, begin + 70)), number);
            assert_eq!(of.epoch((begin, begin + 80), Some(number)), number);
        }
        let epochs = of.into_epochs();
        assert_eq!(epochs.at(99), None);
        assert_eq!((epochs.at(115), epochs.at(150)), (Some((1, Phase::Train)), Some((1, Phase::Eval))));
        assert_eq!((epochs.at(190), epochs.at(241)), (None, Some((2, Phase::Train))));
    }

    #[test]
    fn a_checkpoint_ends_the_block_of_the_step_before_it() {
        let mut of = Loop::default();
        step(&mut of, 10);
        // The lines of the step before the checkpoint surround it.
        of.computed(27);
        assert_eq!(of.saved(33), (1, 1));
        of.fetched(20);
        of.stepped(50);
        assert_eq!(of.place(20), Some((1, Phase::Train, 1)));
        step(&mut of, 50);
        assert_eq!(of.place(50), Some((1, Phase::Train, 2)));
        of.met(50);
        assert_eq!(
            of.trained((5, 65)),
            (1, vec![(5, 30), (50, 60)]),
            "the ranks met for as long as after the first step"
        );
    }

    #[test]
    fn spans_that_are_sorted_by_their_starts_are_of_the_epoch_around_them() {
        let mut of = Loop::default();
        for (number, begin) in [(1, 100), (2, 200)] {
            assert_eq!(of.epoch((begin, begin + 80), Some(number)), number);
            assert_eq!(of.trained((begin + 1, begin + 40)), (number, vec![(begin + 1, begin + 40)]));
            assert_eq!(of.place(begin + 10), Some((number, Phase::Train, 1)));
            step(&mut of, begin + 10);
            assert_eq!(of.evaluated((begin + 45, begin + 70)), number);
            assert_eq!(of.place(begin + 50), Some((number, Phase::Eval, 0)));
        }
    }

    #[test]
    fn a_computation_begins_where_the_reference_begins_to_measure_it() {
        let mut of = Loop::default();
        assert_eq!(of.computes(TRACING + 5), TRACING + 5);
        of.traced(TRACING);
        assert_eq!((of.computes(TRACING + 5), of.computes(3 * TRACING), of.computes(9)), (TRACING, 3 * TRACING, 9));
    }

    #[test]
    fn checkpoints_without_training_are_counted() {
        let mut of = Loop::default();
        assert_eq!((of.saved(10), of.saved(20)), ((1, 1), (1, 2)));
    }

    #[test]
    fn a_worker_counts_its_steps_from_epoch_to_epoch() {
        let mut steps = WorkerSteps::default();
        let within: Vec<u32> =
            [(1, 1), (1, 2), (2, 3), (2, 4)].map(|(epoch, step)| steps.within((epoch, Phase::Train), step)).into();
        assert_eq!(within, [1, 2, 1, 2]);
    }
}
