//! Orders that are easier to read than to derive.

mod support;

use dlio_plan::{Error, HandleState, Handles, LaneStep, Split, TrainingPlan, World, training};
use support::{TENSORFLOW, computed, plan, rank_steps, small};

/// Formats the steps of a lane as `step:index,index …`.
fn lane(plan: &TrainingPlan, rank: u32, epoch: u32, lane: u32) -> String {
    let steps = plan.lane_steps(rank, Split::Train, epoch, lane).map(|LaneStep { step, samples, surplus }| {
        let numbers: Vec<_> = samples.iter().map(|read| read.index.to_string()).collect();
        format!("{step}{}:{}", if surplus { "*" } else { "" }, numbers.join(","))
    });
    steps.collect::<Vec<_>>().join(" ")
}

const TFRECORD: [&str; 3] = ["framework=tensorflow", "reader.data_loader=tensorflow", "dataset.format=tfrecord"];

fn tfrecord(size: u32, overrides: &[&str]) -> TrainingPlan {
    plan(size, &[&TFRECORD[..], overrides].concat())
}

#[test]
fn torch_workers_take_batches_in_turn() {
    let plan = plan(1, &["dataset.num_files_train=8"]);
    assert_eq!(lane(&plan, 0, 1, 0), "1:0,1 3:4,5 5:8,9 7:12,13 9:16,17 11:20,21 13:24,25 15:28,29");
    assert_eq!(lane(&plan, 0, 2, 1), "2:2,3 4:6,7 6:10,11 8:14,15 10:18,19 12:22,23 14:26,27 16:30,31");
    assert_eq!((plan.lanes(), plan.window(), plan.handles()), (2, 1, Handles::PerSample));
}

#[test]
fn a_limit_leaves_one_surplus_batch_in_the_lane_whose_turn_it_is() {
    let plan = plan(1, &["train.total_training_steps=3"]);
    assert_eq!(lane(&plan, 0, 1, 0), "1:0,1 3:4,5");
    assert_eq!(lane(&plan, 0, 1, 1), "2:2,3 4*:6,7");
    assert_eq!((plan.steps(Split::Train), plan.configured_steps(Split::Train)), (3, 16));
}

#[test]
fn generators_that_divide_unevenly_read_their_padded_last_batches_ahead() {
    // As observed in the reference: 16 samples of a rank over three threads, in batches of 4.
    let uneven = [
        "dataset.num_files_train=24",
        "dataset.num_samples_per_file=2",
        "reader.batch_size=4",
        "reader.read_threads=3",
    ];
    let plan = plan(3, &[&TENSORFLOW[..], &uneven].concat());
    assert_eq!(plan.steps(Split::Train), 4);
    assert_eq!(lane(&plan, 1, 1, 0), "1:16,17,18,19 4:20,31");
    assert_eq!(lane(&plan, 1, 1, 1), "2:21,22,23,24 5*:25");
    assert_eq!(lane(&plan, 1, 1, 2), "3:26,27,28,29 6*:30");
}

/// As `strace` recorded for the reference with the torch loader on two ranks.
#[test]
fn indexes_are_looked_up_in_the_order_of_the_shuffled_samples() {
    let overrides = [
        "dataset.format=indexed_binary",
        "dataset.num_files_train=16",
        "dataset.num_files_eval=8",
        "dataset.num_samples_per_file=2",
        "reader.sample_shuffle=seed",
        "reader.batch_size_eval=1",
        "train.seed=77",
    ];
    let plan = plan(2, &overrides);
    let order = |rank, split| {
        let mut seen = Vec::new();
        for file in plan.lookups(rank, split, 2, 1).files {
            let file = plan.files().file(file).index;
            if !seen.contains(&file) {
                seen.push(file);
            }
        }
        seen
    };
    assert_eq!(order(0, Split::Train), [0, 1, 7, 6, 5, 2, 4, 3]);
    assert_eq!(order(1, Split::Train), [8, 9, 15, 14, 13, 10, 12, 11]);
    assert_eq!(order(0, Split::Eval), [1, 2, 3, 0]);
    assert_eq!(order(1, Split::Eval), [5, 6, 7, 4]);
}

/// As observed in the reference: before its first batch, it reads as many records as its shuffle buffer holds, or all
/// records, and the batch that its loop fetches in vain fills the buffer once more.
#[test]
fn a_shuffle_buffer_is_filled_before_the_first_batch() {
    let shuffled = ["dataset.num_files_train=16", "reader.batch_size=1", "reader.sample_shuffle=seed"];
    let plan = |size: &str, epochs: &str| tfrecord(2, &[&shuffled[..], &[size, epochs]].concat());
    let eight = plan("reader.shuffle_size=8", "train.epochs=1");
    let steps = "1:4,5,6,7 2:20 4:21 6:22 8:23 10:36 12:37 14:38 16:39 18:52 20:53 22:54 24:55";
    assert_eq!(lane(&eight, 1, 1, 0), steps);
    assert_eq!((eight.steps(Split::Train), eight.contributors(1, Split::Train, 1, 26).count()), (32, 0));
    let all = plan("reader.shuffle_size=1000", "train.epochs=2");
    let file = |first: u64| (first..first + 4).map(|at| at.to_string()).collect::<Vec<_>>().join(",");
    let whole = [4, 20, 36, 52].map(file).join(",");
    assert_eq!(lane(&all, 1, 1, 0), format!("1:{whole} 33*:{whole}"));
}

#[test]
fn tfrecord_lanes_stream_their_files_and_every_step_takes_records_in_turn() {
    // Two ranks and 16 files of 4 records: rank 1 has the odd files, two of which are interleaved at a time.
    let plan = tfrecord(2, &["dataset.num_files_train=16", "train.epochs=1", "reader.batch_size=1"]);
    assert_eq!(
        lane(&plan, 1, 1, 0),
        "1:4 3:5 5:6 7:7 9:20 11:21 13:22 15:23 17:36 19:37 21:38 23:39 25:52 27:53 29:54 31:55"
    );
    assert!(lane(&plan, 1, 1, 1).starts_with("2:12 4:13 6:14 8:15 10:28"));
    assert_eq!(plan.contributors(1, Split::Train, 1, 1).collect::<Vec<_>>(), [0]);
    assert_eq!(plan.handles(), Handles::PerFile);
}

#[test]
fn a_tfrecord_stream_that_is_repeated_for_later_epochs_fetches_its_first_batch_again() {
    let plan = tfrecord(1, &["train.epochs=2"]);
    let steps = rank_steps(&plan, 0, Split::Train, 1);
    let surplus: Vec<_> = steps.iter().filter(|(_, step)| step.surplus).flat_map(|(_, step)| &step.samples).collect();
    assert_eq!(surplus.iter().map(|read| read.index).collect::<Vec<_>>(), [0, 4]);
    let once = tfrecord(1, &["train.epochs=1"]);
    assert!(rank_steps(&once, 0, Split::Train, 1).iter().all(|(_, step)| !step.surplus));
}

#[test]
fn native_tfrecord_shares_that_cut_a_file_leave_and_enter_it_in_its_middle() {
    // 3 files of 4 records on 2 ranks: rank 0 leaves file 1 after two records, and rank 1 enters it there.
    let plan = tfrecord(2, &["dlio_rs.dialect=native", "dataset.num_files_train=3", "train.epochs=1"]);
    assert_eq!(lane(&plan, 0, 1, 0), "1:0 2:1 3:2,3");
    assert_eq!(lane(&plan, 0, 1, 1), "1:4 2:5");
    assert_eq!(lane(&plan, 1, 1, 0), "1:6 2:7");
    assert_eq!(lane(&plan, 1, 1, 1), "1:8 2:9 3:10,11");
}

#[test]
fn native_shuffles_change_with_the_epoch_unless_the_seed_is_kept() {
    for shuffle in ["reader.file_shuffle=seed", "reader.sample_shuffle=seed", "reader.sample_shuffle=random"] {
        let native = ["dlio_rs.dialect=native", shuffle];
        let changing = plan(2, &native);
        assert_ne!(computed(&changing, 0, Split::Train, 1), computed(&changing, 0, Split::Train, 2), "{shuffle}");
        let kept = plan(2, &[&native[..], &["train.seed_change_epoch=false"]].concat());
        assert_eq!(computed(&kept, 0, Split::Train, 1), computed(&kept, 0, Split::Train, 2), "{shuffle}");
    }
    let of = |shuffle| computed(&plan(1, &["dlio_rs.dialect=native", shuffle]), 0, Split::Train, 1);
    assert_ne!(of("reader.sample_shuffle=seed"), of("reader.sample_shuffle=random"));
    assert_ne!(of("reader.file_shuffle=seed"), of("reader.file_shuffle=random"));
}

#[test]
fn a_native_file_shuffle_keeps_the_samples_of_a_file_together() {
    let plan = plan(1, &["dlio_rs.dialect=native", "reader.file_shuffle=seed"]);
    let reads = computed(&plan, 0, Split::Train, 1);
    for file in reads.chunks(4) {
        assert!(file.iter().all(|read| read.file == file[0].file));
        assert_eq!(file.iter().map(|read| read.sample).collect::<Vec<_>>(), [0, 1, 2, 3]);
    }
}

#[test]
fn native_lanes_of_the_tensorflow_loader_read_contiguous_runs() {
    let plan = plan(1, &[&TENSORFLOW[..], &["dlio_rs.dialect=native", "reader.read_threads=3"]].concat());
    assert_eq!(lane(&plan, 0, 1, 0), "1:0,1 4:2,3 7:4,5 10:6,7 13:8,9 16:10,11");
    assert_eq!(lane(&plan, 0, 1, 1), "2:12,13 5:14,15 8:16,17 11:18,19 14:20,21");
}

#[test]
fn the_iterative_sampler_reads_the_recorded_files_in_epoch_two() {
    // Appendix B.1 of the description of the reference: 2 ranks, 8 files of 4 samples, both shuffles, seed 123.
    let overrides = ["reader.file_shuffle=seed", "reader.sample_shuffle=seed", "reader.read_threads=1"];
    let plan = plan(2, &[&TENSORFLOW[..], &overrides, &["reader.batch_size=1"]].concat());
    let reads = |rank, epoch| {
        let reads = computed(&plan, rank, Split::Train, epoch);
        reads.iter().map(|read| (read.index, read.file, read.sample)).take(5).collect::<Vec<_>>()
    };
    assert_eq!(reads(0, 1), [(11, 3, 0), (10, 3, 1), (13, 3, 2), (3, 3, 3), (6, 7, 0)]);
    assert_eq!(reads(1, 1), [(27, 2, 0), (26, 3, 1), (29, 3, 2), (19, 3, 3), (22, 7, 0)]);
    assert_eq!(reads(1, 2), [(24, 5, 0), (20, 2, 1), (25, 2, 2), (17, 2, 3), (28, 3, 0)]);
    assert_eq!(
        reads(0, 1),
        [(11, 3, 0), (10, 3, 1), (13, 3, 2), (3, 3, 3), (6, 7, 0)],
        "an earlier epoch, asked later"
    );
}

#[test]
fn the_synthetic_format_has_steps_without_reads() {
    let plan = plan(1, &["dataset.format=synthetic"]);
    assert_eq!(plan.steps(Split::Train), 16);
    let steps = rank_steps(&plan, 0, Split::Train, 1);
    assert_eq!(steps.len(), 16);
    assert!(steps.iter().all(|(_, step)| step.samples.is_empty() && !step.surplus));
}

#[test]
fn evaluations_follow_the_first_epoch_given_and_then_every_nth() {
    let evaluated = |after: &str, between: &str| {
        let overrides =
            [format!("evaluation.eval_after_epoch={after}"), format!("evaluation.epochs_between_evals={between}")];
        let fixed = ["train.epochs=7", "workflow.evaluation=true", "dataset.num_files_eval=8"];
        let overrides: Vec<&str> = fixed.into_iter().chain(overrides.iter().map(String::as_str)).collect();
        let plan = plan(1, &overrides);
        (0..9).filter(|&epoch| plan.evaluates(epoch)).collect::<Vec<_>>()
    };
    assert_eq!(evaluated("1", "1"), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(evaluated("2", "2"), [2, 4, 6]);
    assert_eq!(evaluated("3", "3"), [3, 6]);
    assert!(!plan(1, &["dataset.num_files_eval=8"]).evaluates(1));
}

#[test]
fn workloads_without_a_plan_say_what_to_change() {
    let refusal = |size, overrides: &[&str]| training(&small(overrides), World { size }).expect_err("no plan");
    assert_eq!(
        refusal(1, &["train.total_training_steps=17"]).to_string(),
        "Only have enough data for 16 steps but 17 wanted: lower train.total_training_steps to at most 16, or raise \
         dataset.num_files_train or dataset.num_samples_per_file"
    );
    let mut tensorflow = small(&TENSORFLOW);
    tensorflow.reader.read_threads = 33;
    let error = training(&tensorflow, World { size: 1 }).expect_err("no plan");
    assert_eq!(error, Error::MoreThreadsThanSamples { threads: 33, samples: 32, folder: "train" });
    assert_eq!(refusal(0, &[]), Error::EmptyWorld);
}

#[test]
fn handles_close_after_as_many_samples_as_a_file_has() {
    let mut state = HandleState::new(Handles::PerFile, 2);
    let accesses: Vec<_> = [7, 0, 0, 1, 7].map(|file| state.access(file)).iter().map(|a| (a.open, a.close)).collect();
    // File 7 is never the last file of a pair, so it stays open.
    assert_eq!(accesses, [(true, false), (true, true), (true, false), (true, true), (false, false)]);
}
