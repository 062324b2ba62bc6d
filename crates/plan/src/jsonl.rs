//! Output of a plan as JSON lines, one object per sample read.

use serde::Serialize;

use crate::{LaneStep, SampleRead, Split, TrainingPlan};

/// The part of a plan to output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Selection {
    /// The rank to output; `None` for all ranks.
    pub rank: Option<u32>,
    /// The epoch to output; `None` for all epochs.
    pub epoch: Option<u32>,
    /// The split to output; `None` for training and, after epochs that have one, evaluation.
    pub split: Option<Split>,
}

#[derive(Serialize)]
struct Record<'a> {
    epoch: u32,
    rank: u32,
    worker: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    phase: Option<&'a str>,
    step: u64,
    index: u64,
    file: &'a str,
    sample: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    surplus: bool,
}

/// Rank, epoch, split and lane of some steps.
#[derive(Clone, Copy)]
struct Place {
    epoch: u32,
    rank: u32,
    worker: u32,
    split: Split,
}

/// Returns one JSON object per sample read, without newlines and computed lazily: epoch by epoch, rank by rank,
/// training before evaluation, and worker by worker in the reading order of the worker. Reads of an evaluation have
/// `"phase":"eval"`, and a batch that is read but not computed on has `"surplus":true`. Worker numbers start at 0.
pub fn jsonl(plan: &TrainingPlan, selection: Selection) -> impl Iterator<Item = String> {
    places(plan, selection)
        .flat_map(|place| {
            let steps = plan.lane_steps(place.rank, place.split, place.epoch, place.worker);
            steps.map(move |step| (place, step))
        })
        .flat_map(move |(place, step)| {
            let LaneStep { step, samples, surplus } = step;
            samples.into_iter().map(move |sample| record(plan, place, (step, surplus), sample))
        })
}

fn places(plan: &TrainingPlan, selection: Selection) -> impl Iterator<Item = Place> {
    let epochs = chosen(selection.epoch, 1, plan.epochs());
    epochs.flat_map(move |epoch| {
        chosen(selection.rank, 0, plan.world().size.saturating_sub(1)).flat_map(move |rank| {
            let splits = [Split::Train, Split::Eval].into_iter();
            let splits = splits.filter(move |split| selection.split.is_none_or(|wanted| wanted == *split));
            splits
                .filter(move |split| *split == Split::Train || plan.evaluates(epoch))
                .flat_map(move |split| (0..plan.lanes().max(1)).map(move |worker| Place { epoch, rank, worker, split }))
        })
    })
}

fn chosen(one: Option<u32>, first: u32, last: u32) -> std::ops::RangeInclusive<u32> {
    one.map_or(first..=last, |one| one.max(first)..=one.min(last))
}

fn record(plan: &TrainingPlan, place: Place, (step, surplus): (u64, bool), sample: SampleRead) -> String {
    let Place { epoch, rank, worker, split } = place;
    let phase = (split == Split::Eval).then_some("eval");
    let file = &plan.files().name(sample.file);
    let SampleRead { index, sample, .. } = sample;
    let record = Record { epoch, rank, worker, phase, step, index, file, sample, surplus };
    // Serializing numbers, booleans and strings cannot fail.
    serde_json::to_string(&record).unwrap_or_default()
}
