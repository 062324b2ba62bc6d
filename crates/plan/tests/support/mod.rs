//! Helpers for the tests of this crate: golden files, and workloads in one line.

#![allow(dead_code, reason = "every test binary uses its own part of this")]

use std::collections::BTreeMap;

use dlio_config::{Override, Source, Workload};
use dlio_plan::{LaneStep, SampleRead, Split, TrainingPlan, World};
use serde_json::Value;

/// Parses a golden file of this crate into its entries.
pub(crate) fn golden(text: &str) -> Vec<(String, Value)> {
    let entries: serde_json::Map<String, Value> = serde_json::from_str(text).expect("the golden file is a JSON object");
    assert!(!entries.is_empty());
    entries.into_iter().collect()
}

/// Returns the workload of a golden entry, whose JSON is valid YAML.
pub(crate) fn workload(yaml: &str, overrides: &[&str]) -> Workload {
    let overrides: Vec<_> = overrides.iter().map(|text| Override::parse(text).expect("an override")).collect();
    let source = Source { name: "test.yaml", yaml };
    dlio_config::load(&source, &overrides, &BTreeMap::new(), None).expect("a valid workload").workload
}

/// Returns a small workload: pytorch, npz, 8 files of 4 samples, batches of 2, two lanes. Overrides change it.
pub(crate) fn small(overrides: &[&str]) -> Workload {
    let yaml = "framework: pytorch\n\
                workflow: {train: true}\n\
                dataset: {format: npz, num_files_train: 8, num_samples_per_file: 4, record_length_bytes: 4096}\n\
                reader: {data_loader: pytorch, batch_size: 2, read_threads: 2}\n\
                train: {epochs: 2}\n";
    workload(yaml, overrides)
}

/// Returns the plan of the small workload.
pub(crate) fn plan(size: u32, overrides: &[&str]) -> TrainingPlan {
    dlio_plan::training(&small(overrides), World { size }).expect("a plan")
}

/// Overrides for the tensorflow loader.
pub(crate) const TENSORFLOW: [&str; 2] = ["framework=tensorflow", "reader.data_loader=tensorflow"];

/// Returns all steps of all lanes of a rank, in the order of (step, lane).
pub(crate) fn rank_steps(plan: &TrainingPlan, rank: u32, split: Split, epoch: u32) -> Vec<(u32, LaneStep)> {
    let lanes = 0..plan.lanes().max(1);
    let mut steps: Vec<_> =
        lanes.flat_map(|lane| plan.lane_steps(rank, split, epoch, lane).map(move |step| (lane, step))).collect();
    steps.sort_by_key(|(lane, step)| (step.step, *lane));
    steps
}

/// Returns the samples that a rank computes on.
pub(crate) fn computed(plan: &TrainingPlan, rank: u32, split: Split, epoch: u32) -> Vec<SampleRead> {
    let steps = rank_steps(plan, rank, split, epoch).into_iter().filter(|(_, step)| !step.surplus);
    steps.flat_map(|(_, step)| step.samples).collect()
}

/// Returns the number in a golden field.
pub(crate) fn number(value: &Value) -> u32 {
    value.as_u64().and_then(|number| u32::try_from(number).ok()).expect("a small number")
}
