//! Properties of every plan: coverage, equal steps, and lanes whose parts form whole steps.

mod support;

use std::collections::{BTreeMap, HashSet};

use dlio_config::Workload;
use dlio_config::vocabulary::{Dialect, Format, Shuffle, StorageType};
use dlio_plan::{Split, TrainingPlan, World, training};
use proptest::prelude::*;
use support::{TENSORFLOW, computed, rank_steps, small};

#[derive(Debug, Clone)]
struct Case {
    size: u32,
    files: u64,
    samples: u64,
    batch: u64,
    lanes: u32,
    shuffles: (Shuffle, Shuffle),
    limit: Option<u64>,
}

fn case() -> impl Strategy<Value = Case> {
    let shuffle = || prop::sample::select(vec![Shuffle::Off, Shuffle::Seed, Shuffle::Random]);
    let counts = (1_u32..6, 0_u64..40, 1_u64..7, 1_u64..5, 0_u32..5);
    (counts, (shuffle(), shuffle()), prop::option::of(1_u64..4)).prop_map(|(counts, shuffles, limit)| {
        let (size, files, samples, batch, lanes) = counts;
        Case { size, files, samples, batch, lanes, shuffles, limit }
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loader {
    Index,
    Iterative,
    Streams,
    /// Objects with pytorch in the mlperf dialect.
    Iterable,
}

fn workload(case: &Case, loader: Loader, dialect: Dialect) -> Workload {
    let mut workload = if matches!(loader, Loader::Index | Loader::Iterable) { small(&[]) } else { small(&TENSORFLOW) };
    if loader == Loader::Iterable {
        workload.storage.storage_type = StorageType::S3;
    }
    if loader == Loader::Streams {
        workload.dataset.format = Format::TfRecord;
        // A shuffle buffer moves records to earlier steps.
        workload.reader.shuffle_size = 1;
    }
    workload.dlio_rs.dialect = dialect;
    workload.workflow.evaluation = true;
    workload.dataset.num_files_train = case.files;
    workload.dataset.num_files_eval = case.files / 2;
    workload.dataset.num_samples_per_file = case.samples;
    workload.reader.batch_size = case.batch;
    workload.reader.batch_size_eval = case.batch;
    workload.reader.read_threads = case.lanes;
    (workload.reader.file_shuffle, workload.reader.sample_shuffle) = case.shuffles;
    let configured = case.files * case.samples / (case.batch * u64::from(case.size));
    workload.train.total_training_steps = case.limit.filter(|limit| *limit <= configured);
    workload
}

fn plans(case: &Case, loader: Loader, dialect: Dialect) -> Option<TrainingPlan> {
    // Within these ranges, a plan is refused only because there are more reader threads than samples.
    training(&workload(case, loader, dialect), World { size: case.size }).ok()
}

fn phases(plan: &TrainingPlan) -> Vec<(Split, u32)> {
    vec![(Split::Train, 1), (Split::Train, plan.epochs()), (Split::Eval, 1), (Split::Eval, plan.epochs())]
}

/// Asserts that every rank delivers every step once, from the lanes that `contributors` names, and in increasing order
/// per lane.
fn assert_steps_are_whole(plan: &TrainingPlan, size: u32, exact: bool) {
    for (split, epoch) in phases(plan) {
        for rank in 0..size {
            for lane in 0..plan.lanes().max(1) {
                let numbers: Vec<_> = plan.lane_steps(rank, split, epoch, lane).map(|step| step.step).collect();
                assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "lane {lane}: {numbers:?}");
            }
            let mut parts: BTreeMap<u64, (Vec<u32>, u64, bool)> = BTreeMap::new();
            for (lane, step) in rank_steps(plan, rank, split, epoch) {
                let part = parts.entry(step.step).or_default();
                part.0.push(lane);
                part.1 += step.samples.len() as u64;
                part.2 = step.surplus;
            }
            let surplus = parts.values().filter(|part| part.2).count() as u64;
            // The surplus is one batch that the loop fetches in vain, or the padded last batch of each generator of
            // tf.data.
            assert!(surplus <= u64::from(plan.lanes().max(1)));
            let expected: Vec<u64> = (1..=plan.steps(split) + surplus).collect();
            assert_eq!(parts.keys().copied().collect::<Vec<_>>(), expected, "rank {rank} {split:?} {epoch}");
            for (step, (lanes, samples, surplus)) in parts {
                assert_eq!(plan.contributors(rank, split, epoch, step).collect::<Vec<_>>(), lanes);
                assert_eq!(surplus, step > plan.steps(split));
                if surplus && plan.pipeline().is_some() {
                    assert!((1..=samples).contains(&samples), "lanes hand over what they have left");
                } else if exact {
                    assert_eq!(samples, plan.batch_size(split), "rank {rank} {split:?} {epoch} step {step}");
                } else {
                    assert!((1..=plan.batch_size(split)).contains(&samples));
                }
            }
        }
    }
}

/// Asserts that no sample occurs twice in an epoch, and that there are as many as the steps need.
fn assert_covered_once(plan: &TrainingPlan, size: u32) {
    for (split, epoch) in phases(plan) {
        let reads: Vec<_> = (0..size).flat_map(|rank| computed(plan, rank, split, epoch)).collect();
        assert_eq!(reads.len() as u64, plan.steps(split) * plan.batch_size(split) * u64::from(size));
        let files = plan.files();
        for read in &reads {
            let file = files.file(read.file);
            assert_eq!((file.split, file.index * files.samples_per_file() + read.sample), (split, read.index));
            assert!(file.index < files.len(split) && read.sample < files.samples_per_file());
        }
        assert_eq!(reads.iter().collect::<HashSet<_>>().len(), reads.len(), "{split:?} {epoch}: a sample twice");
    }
}

/// Asserts that the pieces of an iterable lane equal the samples of its batches. Without a limit, all samples of the
/// rank are fetched.
fn assert_streams_are_whole(plan: &TrainingPlan, case: &Case) {
    for (split, epoch) in phases(plan) {
        let mut fetched = 0;
        for (rank, lane) in (0..case.size).flat_map(|rank| (0..plan.lanes()).map(move |lane| (rank, lane))) {
            let steps: Vec<_> = plan.lane_steps(rank, split, epoch, lane).collect();
            let totals: Vec<_> = plan.lane_batches(split, lane).collect();
            let expected: Vec<_> = steps.iter().map(|s| (s.step, s.samples.len() as u64, s.surplus)).collect();
            assert_eq!(totals.iter().map(|b| (b.step, b.samples, b.surplus)).collect::<Vec<_>>(), expected);
            let pieces = plan.pieces(rank, split, epoch, lane);
            let samples: Vec<_> = pieces.flat_map(|p| (0..p.samples).map(move |at| (p.file, p.sample + at))).collect();
            let wanted: Vec<_> = steps.iter().flat_map(|s| &s.samples).map(|read| (read.file, read.sample)).collect();
            assert_eq!(samples.get(..wanted.len()), Some(&wanted[..]));
            // The last file is fetched as a whole, regardless of how much of it the batches use.
            assert!(samples.len() < wanted.len() + usize::try_from(case.samples).expect("few"));
            fetched += samples.len() as u64;
        }
        let limited = split == Split::Train && case.limit.is_some();
        let files = plan.files().len(split) / u64::from(case.size);
        assert!(limited || plan.steps(split) == 0 || fetched == files * case.samples * u64::from(case.size));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 160, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_native_dialect_reads_every_sample_once_but_for_the_remainder(case in case()) {
        for loader in [Loader::Index, Loader::Iterative, Loader::Streams] {
            let plan = plans(&case, loader, Dialect::Native).expect("a plan");
            assert_steps_are_whole(&plan, case.size, true);
            assert_covered_once(&plan, case.size);
            let steps = case.files * case.samples / (case.batch * u64::from(case.size));
            let limited = plan.steps(Split::Train) < steps;
            prop_assert_eq!(plan.configured_steps(Split::Train), steps);
            prop_assert!(!limited || case.limit.is_some());
        }
    }

    #[test]
    fn the_index_sampler_and_the_streams_of_the_reference_read_every_sample_of_the_trimmed_files_once(case in case()) {
        for loader in [Loader::Index, Loader::Streams] {
            let plan = plans(&case, loader, Dialect::Dlio).expect("a plan");
            assert_steps_are_whole(&plan, case.size, true);
            assert_covered_once(&plan, case.size);
            let unit = case.samples * case.batch * u64::from(case.size);
            let kept = case.files / unit * unit;
            let limit = plan.steps(Split::Train) * case.batch * u64::from(case.size);
            prop_assert!(limit == kept * case.samples || case.limit.is_some());
        }
    }

    #[test]
    fn the_iterative_sampler_of_the_reference_has_equal_steps_on_all_ranks(case in case()) {
        if let Some(plan) = plans(&case, Loader::Iterative, Dialect::Dlio) {
            assert_steps_are_whole(&plan, case.size, false);
        }
    }

    #[test]
    fn the_mlperf_dialect_reads_every_sample_of_the_trimmed_files_at_most_once(case in case()) {
        for loader in [Loader::Index, Loader::Iterable, Loader::Streams, Loader::Iterative] {
            let Some(plan) = plans(&case, loader, Dialect::Mlperf) else { continue };
            assert_steps_are_whole(&plan, case.size, true);
            assert_covered_once(&plan, case.size);
            let files = case.files / u64::from(case.size);
            let steps = files * case.samples / case.batch;
            prop_assert!(plan.steps(Split::Train) <= steps);
            if loader == Loader::Iterable {
                assert_streams_are_whole(&plan, &case);
            } else {
                prop_assert!(plan.steps(Split::Train) == steps || case.limit.is_some() || loader == Loader::Iterative);
            }
        }
    }

    #[test]
    fn equal_workloads_have_equal_plans_and_fingerprints(case in case()) {
        let plan = || plans(&case, Loader::Index, Dialect::Native).expect("a plan");
        let (one, other) = (plan(), plan());
        prop_assert_eq!(one.fingerprint(), other.fingerprint());
        prop_assert_eq!(computed(&one, 0, Split::Train, 1), computed(&other, 0, Split::Train, 1));
        let larger = Case { size: case.size + 1, ..case };
        let larger = plans(&larger, Loader::Index, Dialect::Native).expect("a plan");
        prop_assert_ne!(larger.fingerprint(), one.fingerprint());
    }
}
