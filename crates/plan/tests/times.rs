//! Emulated times: numpy's stream if the times of the reference are reproducible, and a stream of our own otherwise.

mod support;

use std::time::Duration;

use dlio_plan::Split;
use support::{TENSORFLOW, plan};

fn seconds(times: impl Iterator<Item = Duration>, count: usize) -> Vec<Duration> {
    times.take(count).collect()
}

fn recorded<const N: usize>(values: [f64; N]) -> Vec<Duration> {
    values.map(Duration::from_secs_f64).to_vec()
}

const EVALUATION: [&str; 2] = ["workflow.evaluation=true", "dataset.num_files_eval=2"];

#[test]
fn constants_are_constant_and_nothing_is_no_sleep() {
    let plan = plan(1, &["train.computation_time=0.25"]);
    assert_eq!(seconds(plan.compute_times(0, Split::Train, 1), 2), [Duration::from_millis(250); 2]);
    assert_eq!(seconds(plan.compute_times(0, Split::Eval, 1), 1), [Duration::ZERO]);
    assert_eq!(seconds(plan.preprocess_times(0, Split::Train, 1, 0), 1), [Duration::ZERO]);
}

#[test]
fn draws_continue_numpys_stream_after_the_shuffle_of_the_evaluation_samples() {
    // 8 evaluation samples, recorded with numpy 2.4: seed(124), shuffle(arange(8)), normal(0.5, 0.1).
    let overrides = ["reader.sample_shuffle=seed", "train.computation_time={type: normal, mean: 0.5, stdev: 0.1}"];
    let eval = "evaluation.eval_time={type: normal, mean: 0.2, stdev: 0.05}";
    let plan = plan(1, &[&EVALUATION[..], &overrides, &[eval, "reader.batch_size_eval=2"]].concat());
    let times = seconds(plan.compute_times(0, Split::Train, 1), 4);
    let expected =
        [0.353_262_406_601_878_8, 0.425_145_230_786_411_6, 0.398_247_863_703_735_55, 0.663_506_680_102_499_1];
    assert_eq!(plan.steps(Split::Eval), 0, "trimming leaves none of the two evaluation files");
    // After trimming, there is nothing to shuffle, so the stream starts directly after the seeding.
    assert_ne!(times, recorded(expected));
    let kept = support::plan(
        1,
        &[
            &overrides[..],
            &[eval, "workflow.evaluation=true", "dataset.num_files_eval=8"],
            &["dataset.num_samples_per_file=1", "dataset.num_files_train=32"],
        ]
        .concat(),
    );
    assert_eq!(kept.steps(Split::Train), 16);
    assert_eq!(seconds(kept.compute_times(0, Split::Train, 1), 4), recorded(expected));
    let evaluation = [0.093_771_618_303_074_7, 0.262_070_671_335_873_3, 0.211_815_597_767_833_62];
    assert_eq!(seconds(kept.compute_times(0, Split::Eval, 1), 3), recorded(evaluation));
}

#[test]
fn inline_preprocessing_and_computation_share_one_stream() {
    let plan = plan(
        1,
        &[
            "dataset.num_samples_per_file=1",
            "dataset.num_files_eval=8",
            "reader.sample_shuffle=seed",
            "reader.read_threads=0",
            "reader.preprocess_time={type: exponential, scale: 0.3}",
            "train.computation_time={type: uniform, min: 0.1, max: 0.2}",
        ],
    );
    let compute = [0.166_796_240_940_807_33, 0.177_991_970_535_055_03, 0.138_957_403_284_157_9];
    assert_eq!(seconds(plan.compute_times(0, Split::Train, 1), 3), recorded(compute));
    let preprocess = [
        0.145_696_475_714_273_1,
        0.096_057_160_375_594_63,
        0.150_993_681_337_628_08,
        0.099_207_309_492_800_88,
        0.274_208_610_515_838_4,
        0.039_356_136_918_376_26,
    ];
    assert_eq!(seconds(plan.preprocess_times(0, Split::Train, 1, 0), 6), recorded(preprocess));
}

#[test]
fn a_shuffle_of_the_file_lists_alone_also_fixes_the_stream() {
    let overrides = ["reader.file_shuffle=seed", "train.computation_time={type: gamma, shape: 2.0, scale: 0.1}"];
    let counts = ["dataset.num_samples_per_file=1", "dataset.num_files_eval=4", "reader.batch_size=1"];
    let plan = plan(1, &[&TENSORFLOW[..], &overrides, &counts].concat());
    let expected = [0.075_843_861_893_782_19, 0.146_754_298_437_656_64, 0.206_277_785_914_901_87];
    assert_eq!(seconds(plan.compute_times(0, Split::Train, 1), 3), recorded(expected));
}

#[test]
fn without_shuffles_every_rank_epoch_and_lane_has_its_own_stream() {
    let random = "{type: exponential, scale: 0.1}";
    let overrides = [format!("train.computation_time={random}"), format!("reader.preprocess_time={random}")];
    let plan = plan(2, &[overrides[0].as_str(), overrides[1].as_str()]);
    let compute = |rank, epoch| seconds(plan.compute_times(rank, Split::Train, epoch), 3);
    let preprocess = |rank, lane| seconds(plan.preprocess_times(rank, Split::Train, 1, lane), 3);
    assert_eq!(compute(0, 1), compute(0, 1));
    assert_ne!(compute(0, 1), compute(1, 1));
    assert_ne!(compute(0, 1), compute(0, 2));
    assert_ne!(preprocess(0, 0), preprocess(0, 1));
    assert_ne!(preprocess(0, 0), preprocess(1, 0));
    assert_ne!(preprocess(0, 0), compute(0, 1));
}

#[test]
fn the_tfrecord_pipeline_of_the_reference_never_preprocesses() {
    let tfrecord = [&TENSORFLOW[..], &["dataset.format=tfrecord", "reader.preprocess_time=0.5"]].concat();
    assert_eq!(seconds(plan(1, &tfrecord).preprocess_times(0, Split::Train, 1, 0), 1), [Duration::ZERO]);
    let native = [&tfrecord[..], &["dlio_rs.dialect=native"]].concat();
    assert_eq!(seconds(plan(1, &native).preprocess_times(0, Split::Train, 1, 0), 1), [Duration::from_millis(500)]);
}
