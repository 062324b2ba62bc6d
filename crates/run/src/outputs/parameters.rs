//! Parameters of the formulas for metrics besides the measured times.

use dlio_analyze::metric::{Formula, Parameters};
use dlio_config::Workload;
use dlio_config::dialect::Reference;
use dlio_config::vocabulary::Format;
use dlio_plan::{CheckpointPlan, Split, TrainingPlan};

/// Returns the parameters of the formulas for metrics.
pub(crate) fn parameters(
    workload: &Workload,
    plan: Option<&TrainingPlan>,
    checkpoints: Option<&CheckpointPlan>,
) -> Parameters {
    let steps = |split| plan.map_or(0, |plan| plan.configured_steps(split));
    let samples =
        plan.map(|plan| plan.steps(Split::Train) * plan.batch_size(Split::Train) * u64::from(plan.world().size));
    // Files of other programs have sizes of their own.
    let listed = plan.and_then(|plan| plan.files().listed_sample_bytes());
    Parameters {
        exclude_start_steps: workload.output.exclude_start_steps,
        exclude_end_steps: workload.output.exclude_end_steps,
        train_steps: workload.train.total_training_steps.unwrap_or(steps(Split::Train)),
        eval_steps: steps(Split::Eval),
        batch_size: workload.reader.batch_size,
        eval_batch_size: workload.reader.batch_size_eval,
        record_bytes: listed.unwrap_or_else(|| record_bytes(workload)),
        au_threshold: workload.metric.au,
        train_samples: samples,
        checkpoint_bytes: checkpoints.map(CheckpointPlan::size_bytes),
        formula: formula(workload),
    }
}

/// Returns whose formulas the metrics of a workload follow: DLIO's or the MLPerf fork's.
pub(crate) fn formula(workload: &Workload) -> Formula {
    match workload.dlio_rs.dialect.rules().metrics {
        Reference::Mlperf => Formula::Mlperf,
        Reference::Dlio => Formula::Dlio,
    }
}

/// Returns the bytes of one sample as MB/s counts them: those of the configuration. DLIO ignores `record_dims` here,
/// and takes a single element after generating in the same run; neither is copied.
fn record_bytes(workload: &Workload) -> f64 {
    let dataset = &workload.dataset;
    if let (Format::Parquet, Some(bytes)) = (dataset.format, dataset.parquet.record_bytes()) {
        return bytes as f64;
    }
    if dataset.record_dims.is_empty() {
        return dataset.record_length_bytes;
    }
    let elements: f64 = dataset.record_dims.iter().map(|dim| *dim as f64).product();
    elements * dataset.record_element_type.itemsize() as f64
}
