//! Speed of a fitted workload with the recorded durations, in comparison with the trace.

use super::candidates::Candidate;
use super::distribution::{self, Compute, Simulated};
use super::predictor::Load;
use super::profile::TraceProfile;
use super::workload::Training;

/// Model of a workload's speed with the recorded durations.
struct SpeedModel {
    /// Number of steps per epoch, and of epochs.
    steps: (u64, u64),
    /// Number of readers, and the number of their consecutive readings per step.
    lanes: (u64, u64),
    /// Duration of each reading, seconds.
    durations: Vec<f64>,
    /// Share of these durations that is spent reading samples.
    reading: f64,
    /// Seconds of a step that are neither reading nor computation: taking a batch that is ready, and the barrier.
    seconds_between: f64,
}

impl SpeedModel {
    fn new(profile: &TraceProfile, training: &Training, candidate: &Candidate, load: Load) -> Self {
        let in_epoch = load.steps / (training.epochs * profile.ranks) as f64;
        let steps = (distribution::count(in_epoch), training.epochs);
        let samples: f64 = candidate.durations.iter().sum();
        // A batch takes longer than its samples.
        let batches: f64 = profile.batches_read.iter().sum();
        if batches > 0.0 {
            // `TensorFlow`'s readers each read a part of a step.
            let each =
                distribution::count(profile.batches_read.len() as f64 / profile.steps_of(candidate.visits).max(1.0));
            let (lanes, durations) = ((training.readers, each), profile.batches_read.clone());
            let seconds_between = profile.seconds_between(training.readers);
            return Self { steps, lanes, durations, reading: samples / batches, seconds_between };
        }
        let preprocess = training.preprocess.map_or(0.0, Compute::mean);
        let durations: Vec<f64> = candidate.durations.iter().map(|seconds| seconds + preprocess).collect();
        let all: f64 = durations.iter().sum();
        let reading = if all > 0.0 { samples / all } else { 0.0 };
        Self { steps, lanes: (training.readers, training.batch), durations, reading, seconds_between: 0.0 }
    }

    fn simulated(&self, compute: f64) -> Simulated {
        let simulated = Simulated::run(self.steps, self.lanes, &self.durations, compute + self.seconds_between);
        Simulated { concurrency: simulated.concurrency * self.reading, ..simulated }
    }
}

/// Returns the seconds of computation that give the recorded steps per second; 0 if reading alone takes as long.
pub(super) fn rest(profile: &TraceProfile, training: &Training, candidate: &Candidate, load: Load) -> f64 {
    let pace = SpeedModel::new(profile, training, candidate, load);
    let recorded = profile.steps_per_second(profile.steps_of(candidate.visits));
    let (mut least, mut most) = (0.0, training.compute.mean());
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(least, most);
        let is_fast = pace.simulated(middle).steps_per_second >= recorded;
        (least, most) = if is_fast { (middle, most) } else { (least, middle) };
    }
    least
}

const HALVINGS: u32 = 16;

/// Returns pairs of recorded and predicted numbers, by name.
pub(super) fn similarity(
    profile: &TraceProfile,
    training: &Training,
    candidate: &Candidate,
    load: Load,
) -> Vec<(&'static str, f64, f64)> {
    let steps = profile.steps_of(candidate.visits);
    let each = |recorded: u64, fitted: f64| (recorded as f64 / steps.max(1.0), fitted / load.steps.max(1.0));
    let (bytes, reads, opens) =
        (each(profile.bytes, load.bytes), each(profile.reads, load.reads), each(profile.opens, load.opens));
    let simulated = SpeedModel::new(profile, training, candidate, load).simulated(training.compute.mean());
    let recorded = profile.concurrency();
    let mut similarity = vec![
        ("steps of all ranks", steps, load.steps),
        ("bytes per step and rank", bytes.0, bytes.1),
        ("reads per step and rank", reads.0, reads.1),
    ];
    if profile.opens > 0 {
        similarity.push(("files opened per step and rank", opens.0, opens.1));
    }
    similarity.push(("steps per second and rank", profile.steps_per_second(steps), simulated.steps_per_second));
    similarity.push(("samples under way per rank", recorded, simulated.concurrency));
    if !profile.compute.is_empty() {
        let (mean, _) = distribution::moments(&profile.compute);
        similarity.push(("seconds of computation per step", mean, training.compute.mean()));
    }
    similarity
}
