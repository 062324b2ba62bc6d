//! A summary of a plan in a few lines of text.

use std::fmt::Write as _;

use dlio_event::quantity::counted;
use serde_json::{Value, json};

use crate::{Handles, Split, TrainingPlan};

/// Summarizes the plan for users. Each line states one fact and ends in a newline.
#[must_use]
pub fn summary(plan: &TrainingPlan) -> String {
    let files = plan.files();
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "plan {}", plan.fingerprint());
    let _ = writeln!(
        text,
        "dataset: {} training and {} evaluation files ({}), {} each",
        files.len(Split::Train),
        files.len(Split::Eval),
        files.format(),
        counted(files.samples_per_file(), "sample")
    );
    let lanes = match plan.lanes() {
        0 => "read inline by the training loop".to_owned(),
        1 => "1 reader lane each".to_owned(),
        lanes => format!("{lanes} reader lanes each"),
    };
    let _ = writeln!(
        text,
        "ranks: {}, {lanes}, up to {} ahead per lane",
        plan.world().size,
        counted(plan.window(), "step")
    );
    let handles = match plan.handles() {
        Handles::PerSample => "opened for every sample",
        Handles::PerFile => "opened once per pass over their samples",
        Handles::Cached => "opened once and kept",
    };
    let _ = writeln!(text, "files: {handles}");
    if let (Some(pipeline), Some((requests, footers))) = (plan.pipeline(), plan.row_group_requests(Split::Train)) {
        let in_flight = pipeline.in_flight;
        let _ = writeln!(
            text,
            "row groups: {requests} requests of every rank in an epoch, up to {in_flight} in flight per lane; {footers} footers"
        );
    }
    let evaluations = plan.evaluations();
    let _ = writeln!(text, "{}", phase_line(plan, Split::Train, u64::from(plan.epochs()), "training"));
    if evaluations > 0 {
        let _ = writeln!(text, "{}", phase_line(plan, Split::Eval, evaluations, "evaluation"));
    }
    for notice in plan.notices() {
        let _ = writeln!(text, "note: {}", notice.text);
    }
    text
}

/// Returns the summary as one JSON object.
#[must_use]
pub fn totals(plan: &TrainingPlan) -> Value {
    let phase = |split: Split| {
        let (steps, batch) = (plan.steps(split), plan.batch_size(split));
        json!({
            "files": plan.files().len(split),
            "steps": steps,
            "batch_size": batch,
            "samples": steps.saturating_mul(batch).saturating_mul(u64::from(plan.world().size)),
            "row_group_requests_per_rank": plan.row_group_requests(split).map(|(requests, _)| requests),
        })
    };
    json!({
        "fingerprint": plan.fingerprint().to_string(),
        "ranks": plan.world().size,
        "epochs": plan.epochs(),
        "evaluations": plan.evaluations(),
        "train": phase(Split::Train),
        "eval": phase(Split::Eval),
        "samples_per_file": plan.files().samples_per_file(),
        "workers": plan.lanes(),
    })
}

fn phase_line(plan: &TrainingPlan, split: Split, times: u64, what: &str) -> String {
    let (steps, batch) = (plan.steps(split), plan.batch_size(split));
    let samples = steps.saturating_mul(batch).saturating_mul(u64::from(plan.world().size));
    let epochs = if times == 1 { "once" } else { "each time" };
    format!("{what}: {times} x {steps} steps of {batch} samples per rank; {samples} samples over all ranks {epochs}")
}
