//! Bytes that a training reads, per rank and epoch.

use dlio_config::Workload;
use dlio_format::Layout;
use dlio_plan::{Split, TrainingPlan};

use super::DataSizes;
use super::dataset::rounded;
use crate::backend::location::Target;
use crate::predict;

/// Maximum number of samples and files per epoch, over all ranks, that are computed one by one. For more, one file
/// stands for all.
const WALKED: u64 = 4096;
/// Maximum number of bytes that are encoded for this purpose.
const MADE: u64 = 128 << 20;
/// Size of a file, in bytes, above which it is assumed to be read once as a whole.
const ONE: f64 = 268_435_456.0;

/// Bytes that a training reads.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadSizes {
    /// Number of epochs.
    pub epochs: u32,
    /// Bytes in the first epoch on the rank that reads least.
    pub rank_min: u64,
    /// Bytes in the first epoch on the rank that reads most.
    pub rank_max: u64,
    /// Bytes that all ranks read in the first epoch.
    all: u64,
    /// Bytes that all ranks read in each later epoch, if there are any.
    pub later_all: Option<u64>,
    /// Bytes that one evaluation reads.
    pub evaluation: u64,
    /// Bytes that the whole run reads.
    pub run: u64,
    /// Whether every read was counted. Reads of evaluations are always estimated.
    pub is_exact: bool,
}

impl ReadSizes {
    /// Computes the reads of a plan; `None` if it reads nothing, or the number of bytes cannot be known.
    pub(super) fn new(workload: &Workload, plan: &TrainingPlan, layout: &Layout, sizes: &DataSizes) -> Option<Self> {
        let is_local = matches!(Target::of(workload), Ok(Target::Local { .. }));
        let layout = &if plan.whole_files() { layout.clone().read_whole() } else { layout.clone() };
        let per_sample = per_sample(plan, layout, sizes, is_local);
        let batch = |split| plan.steps(split).saturating_mul(plan.batch_size(split));
        let ranks = u64::from(plan.world().size);
        let evaluations = plan.evaluations();
        let evaluation = match evaluations {
            0 => 0,
            _ => rounded(per_sample? * batch(Split::Eval).saturating_mul(ranks) as f64),
        };
        let walked = walked(plan, layout, sizes, is_local);
        let is_exact = walked.is_some();
        let [first, later] = if let Some(epochs) = walked {
            epochs
        } else {
            let rank = rounded(per_sample? * batch(Split::Train) as f64);
            [Sums { min: rank, max: rank, all: rank.saturating_mul(ranks) }; 2]
        };
        let later_epochs = u64::from(plan.epochs().saturating_sub(1));
        let run = first
            .all
            .saturating_add(later.all.saturating_mul(later_epochs))
            .saturating_add(evaluation.saturating_mul(evaluations));
        Some(Self {
            epochs: plan.epochs(),
            rank_min: first.min,
            rank_max: first.max,
            all: first.all,
            later_all: (later_epochs > 0).then_some(later.all),
            evaluation,
            run,
            is_exact,
        })
    }

    /// Bytes that all ranks read in the first epoch.
    #[must_use]
    pub fn epoch_all(&self) -> u64 {
        self.all
    }
}

/// Bytes of one epoch by rank.
#[derive(Debug, Clone, Copy)]
struct Sums {
    min: u64,
    max: u64,
    all: u64,
}

/// Computes the first epoch and a later one read by read; `None` if that is too much work.
fn walked(plan: &TrainingPlan, layout: &Layout, sizes: &DataSizes, is_local: bool) -> Option<[Sums; 2]> {
    let ranks = plan.world().size;
    let samples =
        (plan.steps(Split::Train).saturating_mul(plan.batch_size(Split::Train))).checked_mul(u64::from(ranks))?;
    let is_little = samples.max(sizes.train.files) <= WALKED && sizes.train.payload <= MADE;
    // Reads of a pipeline or a warm-up do not follow the samples of the steps.
    if !is_little || plan.pipeline().is_some() || plan.prewarms() {
        return None;
    }
    let mut epochs = [Sums { min: u64::MAX, max: 0, all: 0 }; 2];
    for rank in 0..ranks {
        let bytes = predict::rank_bytes(plan, layout, (rank, is_local))?;
        for (sums, bytes) in epochs.iter_mut().zip(bytes) {
            *sums = Sums { min: sums.min.min(bytes), max: sums.max.max(bytes), all: sums.all + bytes };
        }
    }
    Some(epochs)
}

/// Returns the bytes read per sample, averaged over a file.
fn per_sample(plan: &TrainingPlan, layout: &Layout, sizes: &DataSizes, is_local: bool) -> Option<f64> {
    let files = sizes.train.files.max(1) as f64;
    let of_file = plan.files().samples_per_file() as f64;
    if plan.whole_files() && plan.pipeline().is_some_and(|pipeline| pipeline.footers.is_none()) {
        return Some(sizes.train.per_file.first()? / of_file);
    }
    let mean = sizes.train.payload as f64 / files / of_file;
    // With random shapes, the first file differs from the mean, but the same share of it is read.
    let first = layout.sample_bytes(&plan.files().dims(0)) as f64;
    if first * of_file > ONE || first < 1.0 {
        return Some(mean);
    }
    let read = predict::bytes_per_sample(plan, layout, is_local);
    Some(read.map_or(mean, |read| read / first * mean))
}
