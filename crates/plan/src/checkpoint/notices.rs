//! Notices about checkpoints: deviations and errors of the reference, and what this run does instead.

use dlio_config::time::TimeSpec;
use dlio_config::vocabulary::{Dialect, Framework};
use dlio_config::{Notice, NoticeCode, Workload};

use super::{CheckpointPlan, DuringTraining};

const NATIVE: &str = "`dlio_rs.dialect: native`";

pub(super) fn of(workload: &Workload, plan: &CheckpointPlan) -> Vec<Notice> {
    if !workload.workflow.checkpoint {
        return Vec::new();
    }
    let mut notices = Vec::new();
    notices.extend(nothing(workload, plan));
    notices.extend(never(workload, plan));
    notices.extend(counted(plan));
    notices.extend(ignored_layers(workload, plan));
    notices.extend(generic(plan));
    notices.extend(fsync(workload));
    notices.extend(rank_shift(workload));
    notices.extend(pause(workload, plan));
    notices.extend(loading(workload, plan));
    notices
}

fn quirk(text: String) -> Notice {
    Notice::warning(NoticeCode::Quirk, text)
}

fn nothing(workload: &Workload, plan: &CheckpointPlan) -> Option<Notice> {
    if plan.written().files == 0 {
        let text = "NOTHING WILL BE WRITTEN for checkpoints: the model has no state; set model.model_size_bytes, or \
                    model.num_layers with model.transformer or model.layer_parameters";
        return Some(Notice::warning(NoticeCode::Suspicious, text));
    }
    let alone = plan.alone()?;
    (alone.writes == 0 && alone.reads == 0).then(|| {
        let train = if workload.workflow.generate_data { "after generating data " } else { "" };
        Notice::warning(
            NoticeCode::Suspicious,
            format!(
                "NOTHING WILL BE WRITTEN OR READ {train}for checkpoints: the run does not train, and \
                 checkpoint.num_checkpoints_write and checkpoint.num_checkpoints_read are not given"
            ),
        )
    })
}

fn never(workload: &Workload, plan: &CheckpointPlan) -> Option<Notice> {
    let epochs = workload.train.epochs;
    let text = match plan.during_training()? {
        DuringTraining::Never if workload.checkpoint.steps_between_checkpoints == Some(0) => {
            "no checkpoint is taken: checkpoint.steps_between_checkpoints is 0".to_owned()
        }
        DuringTraining::Never => "no checkpoint is taken: checkpoint.checkpoint_after_epoch is 0, an epoch that never \
                                  comes, as in the reference; epochs count from 1"
            .to_owned(),
        DuringTraining::Epochs { after, .. } if after > epochs => format!(
            "no checkpoint is taken: checkpoint.checkpoint_after_epoch is {after}, but train.epochs is {epochs}"
        ),
        _ => return None,
    };
    Some(Notice::warning(NoticeCode::Suspicious, text))
}

/// Quirk 25.
fn counted(plan: &CheckpointPlan) -> Option<Notice> {
    let (reported, written) = (plan.size_bytes(), plan.written().total());
    (reported != written).then(|| {
        let model = &plan.model;
        let reason = if model.generic > 0 {
            "it counts the generic state of model.model_size_bytes once, and no other model state"
        } else if model.layer_parameters.is_empty() && model.groups.is_empty() {
            "with ZeRO stage 2 it counts the model on every copy"
        } else {
            "it leaves out model.layer_parameters and model.optimization_groups"
        };
        quirk(format!(
            "checkpoint size and throughput are computed with {reported} bytes, but {written} bytes of tensors are \
             written: as in the reference, {reason}; {NATIVE} counts what is written"
        ))
    })
}

fn ignored_layers(workload: &Workload, plan: &CheckpointPlan) -> Option<Notice> {
    let given = !workload.model.layer_parameters.is_empty() && plan.model.layers == 0;
    given.then(|| {
        let text = "model.layer_parameters has no effect without model.num_layers, as in the reference";
        Notice::warning(NoticeCode::Quirk, text)
    })
}

/// Quirk 27.
fn generic(plan: &CheckpointPlan) -> Option<Notice> {
    let model = &plan.model;
    (model.generic > 0 && model.layers > 0).then(|| {
        Notice::info(
            NoticeCode::Quirk,
            format!(
                "every rank that holds state also writes model_states-<rank> of model.model_size_bytes, {}, as in the \
                 reference; `model.type: transformer` leaves it out",
                model.generic
            ),
        )
    })
}

/// Quirk 23: a benchmark that should sync and does not would measure memory.
fn fsync(workload: &Workload) -> Option<Notice> {
    let text = match (workload.dlio_rs.dialect, workload.checkpoint.fsync) {
        (Dialect::Dlio, true) => {
            "checkpoint.fsync is honoured: every file is forced to stable storage; the reference reads the key and \
             ignores it"
        }
        (Dialect::Mlperf, false) => {
            "every checkpoint file is forced to stable storage although checkpoint.fsync is false, as in the fork"
        }
        _ => return None,
    };
    Some(Notice::info(NoticeCode::Quirk, text))
}

fn rank_shift(workload: &Workload) -> Option<Notice> {
    let ignored = workload.checkpoint.recovery_rank_shift && workload.dlio_rs.dialect != Dialect::Native;
    ignored.then(|| {
        quirk(format!(
            "checkpoint.recovery_rank_shift has no effect: every rank loads its own files, as in the reference, which \
             reads the key and ignores it; {NATIVE} loads those of the next node"
        ))
    })
}

/// Quirk 24.
fn pause(workload: &Workload, plan: &CheckpointPlan) -> Option<Notice> {
    let alone = plan.alone()?;
    let odd = matches!(workload.checkpoint.time_between_checkpoints, TimeSpec::Constant { mean } if mean < 0.0);
    (odd && alone.writes + alone.reads > 0).then(|| {
        Notice::info(
            NoticeCode::Quirk,
            format!(
                "every checkpoint is preceded by a pause of {} s: checkpoint.time_between_checkpoints is negative, and \
                 the reference sleeps for its absolute value",
                alone.mean_pause()
            ),
        )
    })
}

/// Quirk 26.
fn loading(workload: &Workload, plan: &CheckpointPlan) -> Option<Notice> {
    if plan.alone()?.reads == 0 || workload.dlio_rs.dialect != Dialect::Dlio {
        return None;
    }
    let model = &plan.model;
    let nested = workload.framework == Framework::Tensorflow && (model.layers > 0 || !model.groups.is_empty());
    let staged = model.zero_stage == 0 && plan.grid.pipeline > 1 && model.layers > 0;
    let what = if nested {
        "checkpoints with nested states under tensorflow"
    } else if staged {
        "checkpoints of ZeRO stage 0 with pipeline parallelism"
    } else {
        return None;
    };
    Some(Notice::info(NoticeCode::Accepted, format!("{what} are loaded here; the reference writes them and fails to")))
}
