//! Output for users: notices, JSON lines, and the summary.

mod support;

use dlio_config::NoticeCode;
use dlio_plan::{Selection, Split, TrainingPlan, jsonl, summary};
use support::{TENSORFLOW, plan};

fn told(plan: &TrainingPlan) -> Vec<&str> {
    plan.notices().iter().map(|notice| notice.text.as_str()).collect()
}

/// Returns the only notice that contains all of these words.
fn only<'a>(plan: &'a TrainingPlan, words: &[&str]) -> &'a str {
    let matching: Vec<_> = told(plan).into_iter().filter(|text| words.iter().all(|word| text.contains(word))).collect();
    assert_eq!(matching.len(), 1, "{words:?} in {:#?}", told(plan));
    matching[0]
}

const ONE_SAMPLE: &str = "dataset.num_samples_per_file=1";

#[test]
fn a_plan_without_surprises_has_no_notices() {
    assert_eq!(told(&plan(1, &[ONE_SAMPLE])), [""; 0]);
    assert_eq!(told(&plan(2, &["dlio_rs.dialect=native"])), [""; 0]);
}

#[test]
fn trimming_is_told_with_the_numbers() {
    let trimmed = plan(1, &["dataset.num_files_train=13"]);
    only(&trimmed, &["first 8 of 13 files", "num_samples_per_file 4 x batch_size 2 x 1 rank = 8"]);
    let nothing = plan(4, &[]);
    let text = only(&nothing, &["NOTHING WILL BE READ for training", "raise dataset.num_files_train to at least 32"]);
    assert!(text.contains("native"), "{text}");
    assert_eq!(nothing.steps(Split::Train), 0);
    assert_eq!(nothing.configured_steps(Split::Train), 4);
    assert_eq!(nothing.notices()[0].code, NoticeCode::Quirk);
}

#[test]
fn epochs_of_which_nothing_is_measured_are_told() {
    let told = |batch: &str, more: &str| {
        let plan = plan(1, &[ONE_SAMPLE, "dlio_rs.dialect=native", batch, more]);
        plan.notices().iter().map(|notice| notice.text.clone()).collect::<Vec<_>>().join("\n")
    };
    let none = told("reader.batch_size=8", "train.epochs=1");
    assert!(none.contains("an epoch has 1 step, and the metrics leave out the first 1 and the last 0"), "{none}");
    assert_eq!(told("reader.batch_size=2", "output.metric.exclude_start_steps=2"), "");
    assert!(told("reader.batch_size=2", "output.metric.exclude_start_steps=4").contains("4 steps"));
    assert_eq!(told("reader.batch_size=4", "train.epochs=1"), "");
}

#[test]
fn shuffles_without_effect_are_told_only_if_asked_for() {
    let both = plan(1, &[ONE_SAMPLE, "reader.file_shuffle=seed", "reader.sample_shuffle=random"]);
    only(&both, &["reader.file_shuffle seed and reader.sample_shuffle random have no effect with the pytorch loader"]);
    let one = plan(1, &[ONE_SAMPLE, "reader.sample_shuffle=seed"]);
    only(&one, &["reader.sample_shuffle seed has no effect"]);
    let native = plan(1, &[ONE_SAMPLE, "reader.sample_shuffle=seed", "dlio_rs.dialect=native"]);
    assert_eq!(told(&native), [""; 0]);
}

#[test]
fn the_same_files_on_all_ranks_are_told_with_more_than_one_rank() {
    let tensorflow = |size| plan(size, &[&TENSORFLOW[..], &[ONE_SAMPLE]].concat());
    only(&tensorflow(2), &["all 2 ranks read the same first files", "4 of 8 files"]);
    assert_eq!(told(&tensorflow(1)), [""; 0]);
}

#[test]
fn limits_surplus_batches_and_reopening_are_told() {
    let plan = plan(1, &["train.total_training_steps=3"]);
    only(&plan, &["limits every epoch", "2 epochs of 3 steps"]);
    only(&plan, &["one batch more than the steps"]);
    only(&plan, &["npz file is opened and read whole for each of its 4 samples"]);
    assert_eq!(plan.notices().len(), 3);
}

#[test]
fn threads_that_share_samples_unevenly_are_told() {
    let uneven = plan(1, &[&TENSORFLOW[..], &["reader.read_threads=6"]].concat());
    only(&uneven, &["whole batches of 6 reader threads"]);
    only(&uneven, &["one batch more than the steps"]);
}

#[test]
fn what_equal_steps_leave_out_is_told_in_the_native_dialect() {
    let remainder = plan(3, &["dlio_rs.dialect=native"]);
    only(&remainder, &["leaves out 2 of the 32 samples of `train`", "the same 5 steps"]);
    let nothing = plan(17, &["dlio_rs.dialect=native"]);
    only(&nothing, &["NOTHING WILL BE READ for `train`", "batch_size 2 x 17 ranks = 34"]);
}

#[test]
fn json_lines_are_written_worker_by_worker() {
    let plan = plan(2, &[ONE_SAMPLE, "workflow.evaluation=true", "dataset.num_files_eval=2"]);
    let lines: Vec<_> = jsonl(&plan, Selection { rank: Some(1), epoch: Some(2), split: None }).collect();
    assert_eq!(
        lines,
        [
            r#"{"epoch":2,"rank":1,"worker":0,"step":1,"index":4,"file":"train/img_4_of_8.npz","sample":0}"#,
            r#"{"epoch":2,"rank":1,"worker":0,"step":1,"index":5,"file":"train/img_5_of_8.npz","sample":0}"#,
            r#"{"epoch":2,"rank":1,"worker":1,"step":2,"index":6,"file":"train/img_6_of_8.npz","sample":0}"#,
            r#"{"epoch":2,"rank":1,"worker":1,"step":2,"index":7,"file":"train/img_7_of_8.npz","sample":0}"#,
            r#"{"epoch":2,"rank":1,"worker":0,"phase":"eval","step":1,"index":1,"file":"valid/img_1_of_2.npz","sample":0}"#,
        ]
    );
    assert_eq!(jsonl(&plan, Selection::default()).count(), 2 * (8 + 2));
    let eval = Selection { split: Some(Split::Eval), ..Selection::default() };
    assert!(jsonl(&plan, eval).all(|line| line.contains(r#""phase":"eval""#)));
}

#[test]
fn surplus_reads_are_marked_in_json_lines() {
    let plan = plan(1, &["train.total_training_steps=1", "train.epochs=1"]);
    let lines: Vec<_> = jsonl(&plan, Selection::default()).collect();
    assert_eq!(
        lines.iter().filter(|line| line.contains(r#""step":2"#) && line.contains(r#""surplus":true"#)).count(),
        2
    );
    assert_eq!(lines.len(), 4);
}

#[test]
fn the_summary_names_the_counts() {
    let text = summary(&plan(1, &[ONE_SAMPLE]));
    for fact in ["8 training and 0 evaluation files (npz)", "2 reader lanes each", "training: 2 x 4 steps of 2 samples"]
    {
        assert!(text.contains(fact), "{fact} in\n{text}");
    }
}

#[test]
fn the_fingerprint_of_a_plan_stays_what_it_was() {
    let fingerprint = |overrides: &[&str]| plan(2, overrides).fingerprint().to_string();
    assert_eq!(fingerprint(&[]).len(), 32);
    assert_eq!(fingerprint(&[]), fingerprint(&[]));
    for change in ["train.seed=7", "reader.batch_size=1", "dataset.file_prefix=part", "dlio_rs.dialect=native"] {
        assert_ne!(fingerprint(&[]), fingerprint(&[change]), "{change}");
    }
    assert_eq!(fingerprint(&[]), fingerprint(&["output.folder=elsewhere"]));
}

#[test]
fn the_totals_are_the_numbers_of_the_summary() {
    let plan = plan(2, &["dataset.num_files_eval=4", "workflow.evaluation=true"]);
    let totals = dlio_plan::totals(&plan);
    assert_eq!(totals["train"]["steps"], plan.steps(Split::Train));
    assert_eq!(totals["train"]["samples"], plan.steps(Split::Train) * 2 * 2);
    assert_eq!((&totals["ranks"], &totals["epochs"], &totals["evaluations"]), (&2.into(), &2.into(), &2.into()));
}
