//! The mlperf dialect: recorded shards and steps of the MLPerf fork, and results computed by hand.

mod support;

use std::collections::{BTreeMap, HashSet};

use dlio_config::{Override, Source, Workload, bundled};
use dlio_plan::{Footers, LaneStep, Pipeline, SampleRead, Split, TrainingPlan, World, training};
use support::{computed, golden, number, plan, rank_steps, small};

const MLPERF: &str = "dlio_rs.dialect=mlperf";
const ONE: &str = "dataset.num_samples_per_file=1";

/// Overrides of a small workload on objects, which the fork streams with one of its libraries.
fn objects(overrides: &[&str]) -> Vec<String> {
    let fixed = [MLPERF, "storage.storage_type=s3", "storage.storage_root=bucket"];
    fixed.iter().chain(overrides).map(|text| (*text).to_owned()).collect()
}

fn object_plan(size: u32, overrides: &[&str]) -> TrainingPlan {
    let overrides = objects(overrides);
    plan(size, &overrides.iter().map(String::as_str).collect::<Vec<_>>())
}

fn told(plan: &TrainingPlan) -> String {
    plan.notices().iter().map(|notice| notice.text.as_str()).collect::<Vec<_>>().join("\n")
}

fn files(reads: &[SampleRead]) -> Vec<u64> {
    reads.iter().map(|read| read.file).collect()
}

/// Returns the lists of a golden entry, rank by rank.
fn lists(entry: &serde_json::Value, split: &str) -> Vec<Vec<u64>> {
    let lists = entry[split].as_array().expect("lists").iter();
    lists
        .map(|list| list.as_array().expect("a list").iter().map(|file| file.as_u64().expect("a file")).collect())
        .collect()
}

#[test]
fn every_rank_reads_the_files_that_the_fork_dealt_to_it_in_the_forks_order() {
    let mut compared = 0;
    for (name, entry) in golden(include_str!("golden/mlperf_shards.json")) {
        let mut workload: Workload = small(&[MLPERF]);
        workload.reader.file_shuffle = dlio_config::vocabulary::Shuffle::Seed;
        workload.reader.read_threads = 0;
        workload.workflow.evaluation = true;
        workload.train.epochs = 3;
        workload.train.seed = number(&entry["seed"]);
        workload.train.seed_change_epoch = entry["change"].as_bool().expect("a flag");
        workload.dataset.num_files_train = number(&entry["files"]).into();
        workload.dataset.num_files_eval = number(&entry["eval_files"]).into();
        // With one sample per file, the whole list is read, and steps count files.
        workload.dataset.num_samples_per_file = 1;
        (workload.reader.batch_size, workload.reader.batch_size_eval) = (1, 1);
        let (size, epoch) = (number(&entry["size"]), number(&entry["epoch"]));
        let plan = training(&workload, World { size }).expect("a plan");
        for (split, key) in [(Split::Train, "train"), (Split::Eval, "eval")] {
            for (rank, expected) in (0..).zip(lists(&entry, key)) {
                let base = plan.files().combined(split, 0);
                let expected: Vec<_> = expected.into_iter().map(|file| file + base).collect();
                assert_eq!(files(&computed(&plan, rank, split, epoch)), expected, "{name}, rank {rank}, {key}");
                compared += 1;
            }
        }
        // The steps of the fork, with its own samples and batches.
        workload.dataset.num_samples_per_file = number(&entry["samples"]).into();
        workload.reader.batch_size = number(&entry["batch"]).into();
        let plan = training(&workload, World { size }).expect("a plan");
        assert_eq!(plan.steps(Split::Train), u64::from(number(&entry["steps"])), "{name}");
    }
    assert!(compared > 100, "{compared}");
}

/// A recorded run of the fork (f6796ed, 4 ranks with 2 workers each, npz on disk): the file of every sample that each
/// worker read within the epochs, in order.
#[test]
fn a_run_of_the_fork_read_what_the_plan_says_epoch_by_epoch_and_worker_by_worker() {
    let run: serde_json::Value = serde_json::from_str(include_str!("golden/mlperf_run.json")).expect("JSON");
    let count = |key: &str| number(&run[key]);
    let mut workload = small(&[MLPERF, "reader.file_shuffle=seed", "reader.read_threads=2"]);
    workload.workflow.evaluation = true;
    (workload.train.epochs, workload.train.seed) = (count("epochs"), count("seed"));
    workload.dataset.num_files_train = count("files").into();
    workload.dataset.num_files_eval = count("eval_files").into();
    workload.dataset.num_samples_per_file = count("samples").into();
    (workload.reader.batch_size, workload.reader.batch_size_eval) = (count("batch").into(), count("batch_eval").into());
    let plan = training(&workload, World { size: count("size") }).expect("a plan");
    let reads = run["reads"].as_array().expect("reads");
    // Three epochs and two evaluations, which follow the first and the third epoch, on 4 ranks with 2 workers.
    assert_eq!(reads.len(), (3 + 2) * 4 * 2);
    for read in reads {
        let split = if read["phase"] == "eval" { Split::Eval } else { Split::Train };
        let steps = plan.lane_steps(number(&read["rank"]), split, number(&read["epoch"]), number(&read["lane"]));
        let base = plan.files().combined(split, 0);
        let planned: Vec<u64> = steps.flat_map(|step| step.samples).map(|sample| sample.file - base).collect();
        let recorded: Vec<u64> =
            read["files"].as_array().expect("files").iter().map(|file| number(file).into()).collect();
        assert_eq!(planned, recorded, "{read}");
    }
}

#[test]
fn map_style_reads_take_a_ranks_files_in_order_and_batches_go_round_the_lanes() {
    // 8 files of 4 samples on 3 ranks: two files each, and the last two are left out; batches of 2 on 2 lanes.
    let plan = plan(3, &[MLPERF]);
    assert_eq!((plan.steps(Split::Train), plan.configured_steps(Split::Train), plan.lanes()), (4, 5, 2));
    assert!(plan.pipeline().is_none() && plan.whole_files());
    for (at, (lane, step)) in rank_steps(&plan, 1, Split::Train, 2).into_iter().enumerate() {
        assert_eq!((lane, step.step, step.surplus), (u32::from(at % 2 == 1), at as u64 + 1, false));
        let file = [1, 1, 4, 4][at];
        let first = at as u64 % 2 * 2;
        let read = |sample| SampleRead { index: file * 4 + sample, file, sample };
        assert_eq!(step.samples, [read(first), read(first + 1)]);
    }
    assert!(told(&plan).contains("the last 2 of 8 files of `train` are left out, so that all 3 ranks have 2 each"));
}

#[test]
fn an_iterable_lane_makes_batches_of_its_own_files_and_loses_what_is_left() {
    // 7 files of 1 sample on one rank with 2 lanes: lane 0 has files 0, 2, 4, 6, and lane 1 has files 1, 3, 5; batches
    // of 3.
    let plan = object_plan(1, &[ONE, "dataset.num_files_train=7", "reader.batch_size=3"]);
    let lane = |lane| plan.lane_steps(0, Split::Train, 1, lane).collect::<Vec<_>>();
    let step = |step, files: &[u64], surplus| {
        let samples = files.iter().map(|&file| SampleRead { index: file, file, sample: 0 }).collect();
        LaneStep { step, samples, surplus }
    };
    assert_eq!(lane(0), [step(1, &[0, 2, 4], false), step(3, &[6], true)]);
    assert_eq!(lane(1), [step(2, &[1, 3, 5], false)]);
    assert_eq!((plan.steps(Split::Train), plan.configured_steps(Split::Train)), (2, 2));
    assert_eq!(plan.contributors(0, Split::Train, 1, 3).collect::<Vec<_>>(), [0]);
    assert!(told(&plan).contains("every epoch reads 1 of the 7 samples that each rank has of `train` and drops them"));
}

#[test]
fn a_lane_with_more_files_goes_on_alone_when_the_others_have_run_dry() {
    // Lane 0 has files 0 and 2 of 4 samples, which are four batches of 2; lane 1 has file 1, which is two batches.
    let plan = object_plan(1, &["dataset.num_files_train=3"]);
    let steps: Vec<_> = rank_steps(&plan, 0, Split::Train, 1).iter().map(|(lane, step)| (step.step, *lane)).collect();
    assert_eq!(steps, [(1, 0), (2, 1), (3, 0), (4, 1), (5, 0), (6, 0)]);
}

#[test]
fn too_many_lanes_for_the_batches_are_told_when_nothing_can_be_read() {
    let plan = object_plan(1, &[ONE, "reader.read_threads=8"]);
    assert_eq!(plan.steps(Split::Train), 0);
    assert!(told(&plan).contains("NOTHING WILL BE READ for `train`") && told(&plan).contains("8 reader lanes"));
}

#[test]
fn windows_are_those_of_the_library_that_is_named() {
    let window = |overrides: &[&str]| object_plan(1, overrides).pipeline().expect("an iterable data set");
    let pipeline = |in_flight, begun, ordered| Pipeline { in_flight, begun, eager: false, ordered, footers: None };
    assert_eq!(window(&[]), pipeline(64, 128, false));
    assert_eq!(window(&["storage.storage_library=s3dlio"]), pipeline(64, 128, false));
    assert_eq!(window(&["storage.storage_options.prefetch_window=7"]), pipeline(7, 14, false));
    assert_eq!(window(&["storage.storage_library=minio"]), pipeline(16, 256, true));
    assert_eq!(window(&["storage.storage_library=s3torchconnector"]), pipeline(1, 256, true));
    let small_chunk = ["storage.storage_library=minio", "storage.storage_options.prefetch_window=4"];
    assert_eq!(window(&small_chunk), pipeline(4, 4, true));
    assert_eq!(window(&["storage.storage_type=direct_fs"]), pipeline(64, 256, true));
    assert!(plan(1, &[MLPERF, "dataset.data_folder=s3://bucket/set"]).pipeline().is_some(), "the folder decides");
}

/// Numbers of requests that the fork's Parquet readers submit to their thread pools, according to its code:
/// `ParquetReaderS3dlio` begins with `min(prefetch_workers, max_outstanding)` requests of `coalesce_rgs` row groups;
/// `TorchIterableDataset` submits `prefetch_window` row groups and one more before it waits. Without a pool, row groups
/// are requested one by one.
#[test]
fn row_groups_have_the_windows_of_the_readers_that_the_fork_chooses() {
    let window = |overrides: &[&str]| {
        let parquet = ["dataset.format=parquet", "dataset.parquet.row_group_size=2", "dataset.num_samples_per_file=50"];
        let overrides = [&parquet[..], overrides].concat();
        let plan = object_plan(1, &overrides);
        let first = plan.pieces(0, Split::Train, 1, 0).next().expect("a piece");
        (plan.pipeline().expect("an iterable data set"), first.samples)
    };
    let index = |in_flight, at_a_time| {
        let footers = Some(Footers::First { at_a_time, kept: true });
        Pipeline { in_flight, begun: in_flight, eager: false, ordered: true, footers }
    };
    assert_eq!(window(&[]), (index(32, 16), 16));
    assert_eq!(window(&["storage.storage_options.prefetch_workers=2000"]), (index(1024, 16), 16));
    assert_eq!(window(&["storage.storage_options.prefetch=5"]), (index(5, 16), 16));
    let more = ["storage.storage_options.max_outstanding=3", "storage.storage_options.footer_batch_size=4"];
    assert_eq!(window(&more), (index(3, 4), 16));
    assert_eq!(window(&["storage.storage_options.coalesce_rgs=3"]), (index(32, 16), 6));
    assert_eq!(window(&["storage.storage_options.coalesce_rgs=300"]), (index(32, 16), 50));
    let arrow = ["storage.storage_options.decode=arrow", "storage.storage_options.prefetch_workers=2000"];
    assert_eq!(window(&arrow), (index(512, 16), 2));

    let ranges = |in_flight, begun| {
        let footers = Some(Footers::First { at_a_time: 1, kept: false });
        Pipeline { in_flight, begun, eager: true, ordered: true, footers }
    };
    let torch = "storage.storage_library=s3torchconnector";
    assert_eq!(window(&[torch]), (ranges(64, 64), 2));
    assert_eq!(window(&[torch, "storage.storage_options.prefetch_window=10"]), (ranges(11, 10), 2));
    assert_eq!(window(&[torch, "storage.storage_options.prefetch_workers=7"]), (ranges(7, 64), 2));
    let local = ["storage.storage_type=local_fs", "storage.storage_options.prefetch_window=1"];
    assert_eq!(window(&local), (ranges(2, 1), 2));
    let serial = Pipeline { in_flight: 1, begun: 1, eager: false, ordered: true, footers: Some(Footers::Ahead) };
    assert_eq!(window(&["storage.storage_library=minio"]), (serial, 2));
    // The name of that library has no effect on files.
    assert_eq!(window(&["storage.storage_type=local_fs", "storage.storage_library=minio"]), (ranges(64, 64), 2));
    assert_eq!(window(&["storage.storage_type=direct_fs"]), (index(32, 16), 16));
}

#[test]
fn a_lane_asks_for_the_row_groups_of_its_files_in_order_and_looks_at_every_footer() {
    // Two lanes with files 0, 2, 4, 6 and 1, 3, 5, 7. Each file has 3 row groups of 4, 4 and 2 rows, and 2 row groups
    // are requested at a time.
    let plan = object_plan(
        1,
        &[
            "dataset.format=parquet",
            "dataset.parquet.row_group_size=4",
            "dataset.num_samples_per_file=10",
            "storage.storage_options.coalesce_rgs=2",
            "reader.batch_size=5",
            "train.total_training_steps=3",
            "train.epochs=1",
        ],
    );
    let asked = |lane| -> Vec<_> {
        let pieces = plan.pieces(0, Split::Train, 1, lane);
        pieces.map(|piece| (piece.step, piece.file, piece.sample, piece.samples)).collect()
    };
    // Steps 1 and 3 belong to lane 0, step 2 and the surplus step to lane 1; each is a file.
    assert_eq!(asked(0), [(1, 0, 0, 8), (3, 0, 8, 2)]);
    assert_eq!(asked(1), [(2, 1, 0, 8), (4, 1, 8, 2)]);
    assert_eq!(plan.pieces(0, Split::Train, 1, 1).files().collect::<Vec<_>>(), [1, 3, 5, 7]);
    assert_eq!(plan.prewarm_pieces(0, 1, 1).files().count(), 4, "before the first batch, though none of it is there");
    assert!(plan.prewarm_pieces(0, 1, 1).next().is_none());
    // Files with other row groups than configured are cut at their own row groups.
    let mut pieces = plan.pieces(0, Split::Train, 1, 0);
    assert_eq!(pieces.next_place(), Some((0, 0)));
    assert_eq!(pieces.cut(3).map(|piece| piece.samples), Some(3));
    assert_eq!(pieces.next_place(), Some((0, 3)));
    assert_eq!(pieces.cut(99).map(|piece| (piece.step, piece.samples)), Some((1, 7)));
    assert_eq!((pieces.next_place(), pieces.cut(1)), (None, None));
}

#[test]
fn lanes_of_the_other_libraries_begin_one_computation_after_the_other() {
    let stagger =
        |overrides: &[&str]| object_plan(1, &[&["train.computation_time=0.25"], overrides].concat()).stagger(3);
    assert_eq!(stagger(&["storage.storage_library=minio"]).as_millis(), 750);
    assert!(stagger(&["storage.storage_library=s3dlio"]).is_zero());
    assert!(stagger(&["storage.storage_library=minio", "storage.storage_options.stagger_workers=false"]).is_zero());
}

#[test]
fn formats_are_read_as_the_forks_readers_read_them_on_disk_and_on_objects() {
    for (format, disk, object) in [("npz", true, true), ("npy", true, true), ("jpeg", true, true), ("png", true, true)]
        .into_iter()
        .chain([("hdf5", false, true), ("csv", false, true), ("indexed_binary", false, false)])
    {
        let format = format!("dataset.format={format}");
        let on_disk = plan(1, &[MLPERF, &format]);
        assert_eq!((on_disk.whole_files(), on_disk.pipeline()), (disk, None), "{format}");
        let on_objects = object_plan(1, &[&format]);
        let streamed = disk && object;
        assert_eq!((on_objects.whole_files(), on_objects.pipeline().is_some()), (object, streamed), "{format}");
    }
    // The readers for direct I/O are those of the reference.
    assert!(!plan(1, &[MLPERF, "reader.odirect=true"]).whole_files());
}

#[test]
fn a_limit_reads_one_batch_in_vain_and_nothing_behind_it() {
    let plan = object_plan(1, &["train.total_training_steps=3", "train.epochs=1"]);
    let numbers: Vec<_> = rank_steps(&plan, 0, Split::Train, 1).iter().map(|(_, s)| (s.step, s.surplus)).collect();
    assert_eq!(numbers, [(1, false), (2, false), (3, false), (4, true)]);
    // Batches 1 and 3 belong to lane 0 and its first file; batches 2 and 4 belong to lane 1.
    let pieces: Vec<_> =
        (0..2).flat_map(|lane| plan.pieces(0, Split::Train, 1, lane)).map(|piece| piece.file).collect();
    assert_eq!(pieces, [0, 1]);
}

#[test]
fn warming_up_reads_the_first_batch_of_the_epoch_to_come() {
    let plan = plan(2, &[MLPERF, ONE, "reader.file_shuffle=seed"]);
    assert!(plan.prewarms() && told(&plan).contains("before every epoch and once more after the last (3 times)"));
    for epoch in 1..=3 {
        let warm = plan.prewarm(1, epoch, 0).expect("a batch");
        assert_eq!((warm.step, warm.surplus), (1, true));
        if epoch < 3 {
            let first = plan.lane_steps(1, Split::Train, epoch, 0).next().expect("a step");
            assert_eq!(warm.samples, first.samples);
        }
    }
    let streamed = object_plan(2, &[ONE]);
    assert_eq!(streamed.prewarm_pieces(0, 1, 0).map(|piece| piece.file).collect::<Vec<_>>(), [0, 4]);
    assert_eq!(streamed.prewarm_batch(0).map(|batch| (batch.step, batch.samples, batch.surplus)), Some((1, 2, true)));
    assert!(streamed.prewarm_pieces(0, 1, 1).next().is_none() && streamed.prewarm_batch(1).is_none());
    assert!(!plan_of_native().prewarms());
}

fn plan_of_native() -> TrainingPlan {
    plan(2, &["dlio_rs.dialect=native"])
}

#[test]
fn tfrecord_streams_of_tensorflow_read_a_ranks_files_once() {
    let tensorflow = [&support::TENSORFLOW[..], &["dataset.format=tfrecord", MLPERF, "reader.read_threads=1"]].concat();
    let plan = plan(2, &tensorflow);
    assert_eq!(plan.steps(Split::Train), 8);
    let files: HashSet<u64> = computed(&plan, 1, Split::Train, 2).iter().map(|read| read.file).collect();
    assert_eq!(files, HashSet::from([1, 3, 5, 7]));
    assert!(told(&plan).contains("the fork shards the share once more"));
}

#[test]
fn a_prefix_of_a_larger_data_set_keeps_the_names_of_the_larger_one() {
    let plan = plan(1, &[MLPERF, "dataset.num_files_generated=1000"]);
    assert_eq!(plan.files().name(7), "train/img_0007_of_1000.npz");
}

#[test]
fn a_shuffle_of_all_files_is_made_once_for_all_lanes_and_ranks_of_a_process() {
    let plan = plan(64, &[MLPERF, ONE, "dataset.num_files_train=65536", "reader.file_shuffle=seed", "train.epochs=4"]);
    let all: HashSet<u64> = (0..64).flat_map(|rank| files(&computed(&plan, rank, Split::Train, 4))).collect();
    assert_eq!(all.len(), 65536);
}

#[test]
fn every_mlperf_workload_reads_its_trimmed_files_at_any_number_of_ranks() {
    let mut planned = 0;
    for name in bundled::names().filter(|name| name.starts_with("mlperf-")) {
        let source = Source { name, yaml: bundled::yaml(name).expect("a bundled workload") };
        let dialect = Override::parse("++workload.dlio_rs.dialect=mlperf").expect("an override");
        let workload = dlio_config::load(&source, &[dialect], &BTreeMap::new(), None);
        let workload = workload.unwrap_or_else(|error| panic!("{name}: {error}")).workload;
        if !workload.workflow.train {
            continue;
        }
        for size in [1, 8, 1024] {
            let plan = training(&workload, World { size }).unwrap_or_else(|error| panic!("{name}: {error}"));
            let (files, spf) =
                (workload.dataset.num_files_train / u64::from(size), workload.dataset.num_samples_per_file);
            let batches = |files: u64| files * spf / workload.reader.batch_size;
            let lanes = u64::from(plan.lanes());
            let expected = match plan.pipeline() {
                None => batches(files),
                Some(_) => (0..lanes).map(|lane| batches(files / lanes + u64::from(lane < files % lanes))).sum(),
            };
            assert_eq!(plan.steps(Split::Train), expected, "{name} on {size} ranks");
            let told = told(&plan).contains("NOTHING WILL BE READ");
            assert_eq!(told, expected == 0, "{name} on {size} ranks");
            planned += 1;
        }
    }
    assert!(planned > 20, "{planned}");
}
