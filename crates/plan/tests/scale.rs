//! Creating a plan costs nothing, regardless of the size of the run.

mod support;

use dlio_plan::{LaneStep, SampleRead, Split, World, training};
use support::{TENSORFLOW, small};

const FILES: u64 = 50_000_000;
const RANKS: u32 = 1024;

fn first_step(overrides: &[&str], rank: u32, lane: u32) -> LaneStep {
    let files = format!("dataset.num_files_train={FILES}");
    let fixed = [files.as_str(), "dataset.num_samples_per_file=1", "reader.batch_size=4", "reader.read_threads=8"];
    let workload = small(&[overrides, &fixed].concat());
    let plan = training(&workload, World { size: RANKS }).expect("a plan");
    // Lanes that form their own batches lose up to one batch each.
    let steps = FILES / (4 * u64::from(RANKS));
    let lost = if plan.pipeline().is_some() { 3 } else { 0 };
    assert_eq!(plan.steps(Split::Train), steps - lost);
    plan.lane_steps(rank, Split::Train, 1, lane).next().expect("a step")
}

#[test]
fn the_first_steps_of_fifty_million_files_on_a_thousand_ranks_come_at_once() {
    let trimmed = FILES / 4096 * 4096;
    for rank in (0..RANKS).step_by(100) {
        let step = first_step(&[], rank, 3);
        assert_eq!((step.step, step.samples.len()), (4, 4));
        let first = u64::from(rank) * trimmed / u64::from(RANKS) + 12;
        assert_eq!(step.samples[0], SampleRead { index: first, file: first, sample: 0 });
    }
}

#[test]
fn a_native_shuffle_of_fifty_million_samples_stores_none_of_them() {
    let shuffles = ["dlio_rs.dialect=native", "reader.file_shuffle=seed", "reader.sample_shuffle=random"];
    for rank in (0..RANKS).step_by(100) {
        assert!(first_step(&shuffles, rank, 7).samples.iter().all(|read| read.index < FILES));
    }
}

#[test]
fn the_mlperf_dialect_begins_at_once_when_nothing_is_shuffled() {
    let mlperf = ["dlio_rs.dialect=mlperf", "storage.storage_type=s3", "storage.storage_root=bucket"];
    for rank in (0..RANKS).step_by(100) {
        for overrides in [&mlperf[..1], &mlperf] {
            // Map-style lane 3 begins with batch 3; an iterable lane begins with the fourth file and continues with
            // every eighth file.
            let places = if overrides.len() == 1 { [12, 13, 14, 15] } else { [3, 11, 19, 27] };
            let files = places.map(|place| u64::from(rank) + place * u64::from(RANKS));
            assert_eq!(first_step(overrides, rank, 3).samples.iter().map(|read| read.file).collect::<Vec<_>>(), files);
        }
    }
}

#[test]
fn tfrecord_streams_and_unshuffled_threads_come_at_once_too() {
    let tfrecord = [&TENSORFLOW[..], &["dataset.format=tfrecord"]].concat();
    // Batches of 4 over 8 streams: lane 0 begins with the first file of the rank.
    assert_eq!(first_step(&tfrecord, 1023, 0).samples[0].file, 1023);
    assert_eq!(first_step(&TENSORFLOW, 0, 7).step, 8);
}
