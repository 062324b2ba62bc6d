//! Generation on storage in memory: bytes that do not depend on the ranks, complete files that are kept, errors that end it.
#![allow(clippy::unwrap_used, reason = "this is test code, also outside test functions")]

mod world;

use std::collections::BTreeMap;

use bytes::Bytes;
use dlio_engine::{ErrorClass, FileTotals};
use dlio_storage::memory::Memory;
use dlio_storage::{ErrorKind, ListEntry, Storage};
use futures::FutureExt as _;
use world::{MS, sim};

/// Returns every object with its content.
fn contents(memory: &Memory) -> BTreeMap<String, Bytes> {
    let mut names = Vec::new();
    let mut take = |page: &[ListEntry]| names.extend(page.iter().map(|found| found.key.clone()));
    memory.list("", &mut take).now_or_never().unwrap().unwrap();
    names.into_iter().map(|name| (name.clone(), memory.get(&name).unwrap())).collect()
}

#[test]
fn any_number_of_ranks_and_lanes_writes_the_same_bytes() {
    for format in ["npz", "npy", "tfrecord"] {
        let data_set = || sim(format).loader("tensorflow").samples_per_file(2).steps(12).eval_steps(6);
        let alone = contents(&data_set().generate().memory);
        assert_eq!(alone.len(), if format == "tfrecord" { 18 } else { 9 });
        // The same number of files with fewer steps per rank.
        for (ranks, steps, eval_steps, inflight) in [(1, 12, 6, 5), (2, 6, 3, 2), (3, 4, 2, 1)] {
            let together = data_set().ranks(ranks).steps(steps).eval_steps(eval_steps).inflight(inflight).generate();
            assert!(contents(&together.memory) == alone, "{format} by {ranks} ranks with {inflight} lanes");
        }
    }
}

#[test]
fn totals_are_known_per_rank_and_for_the_world() {
    let generated = sim("npy").ranks(2).steps(4).generate();
    let size = generated.memory.get("train/img_0_of_8.npy").unwrap().len() as u64;
    for rank in 0..2 {
        assert_eq!(generated.ok(rank).rank, FileTotals { files: 4, kept: 0, bytes: 4 * size, replaced: 0 });
        assert_eq!(generated.ok(rank).world, FileTotals { files: 8, kept: 0, bytes: 8 * size, replaced: 0 });
    }
}

#[test]
fn complete_files_are_kept_and_others_written_again() {
    let data_set = sim("tfrecord").loader("tensorflow").samples_per_file(4).steps(16);
    let memory = data_set.clone().generate().memory;
    let complete = contents(&memory);
    memory.put("train/img_1_of_4.tfrecord", "half a file");
    memory.delete("index/train/img_2_of_4.tfrecord.idx").now_or_never().unwrap().unwrap();

    let again = data_set.generate_into(&memory, false);
    assert_eq!((again.ok(0).rank.files, again.ok(0).rank.kept), (4, 2));
    assert_eq!(again.ok(0).world.replaced, 1, "a file of another size was there, an index was missing");
    assert!(contents(&memory) == complete);

    let overwritten = data_set.generate_into(&memory, true);
    assert_eq!((overwritten.ok(0).rank.files, overwritten.ok(0).rank.kept), (4, 0));
    assert_eq!(overwritten.ok(0).world.replaced, 0, "this was asked for");
}

#[test]
fn the_first_error_ends_all_lanes_and_ranks() {
    let generated = sim("npy").ranks(2).inflight(3).steps(500).broken_object("train/img_0005_of_1000.npy").generate();
    let error = generated.ranks[1].outcome.as_ref().unwrap_err();
    assert_eq!(error.class(), ErrorClass::Storage(ErrorKind::Io));
    assert_eq!(error.to_string(), "rank 1");
    let source = std::error::Error::source(error).unwrap().to_string();
    assert_eq!(source, "writing memory://train/img_0005_of_1000.npy: an injected fault of kind Io");
    assert_eq!(generated.ranks[0].outcome.as_ref().unwrap_err().class(), ErrorClass::Aborted);
    assert!(generated.memory.len() < 600, "rank 1 must not have written on");
}

#[test]
fn more_lanes_and_ranks_than_files_do_no_harm() {
    let generated = sim("npy").ranks(1).inflight(8).steps(2).generate();
    assert_eq!(generated.ok(0).world.files, 2);
    let empty_handed = sim("npz").samples_per_file(64).ranks(3).steps(4).generate();
    assert_eq!(empty_handed.ok(2).rank, FileTotals::default());
    assert_eq!(empty_handed.ok(2).world.files, 1);
}

#[test]
fn a_write_that_takes_too_long_is_named() {
    let generated = sim("npy").ranks(2).steps(2).inflight(2).slow_object("train/img_3_of_4.npy", 70_000).generate();
    let told = |rank: usize| generated.ranks[rank].seen.stalls.borrow()[0].to_string();
    assert_eq!(told(1), "rank 1 has waited 60 s for memory://train/img_3_of_4.npy to be written");
    assert_eq!(
        told(0),
        "rank 0 has waited 60 s for rank 1 on simulated-0 (it was last working on files of the dataset)"
    );
}

#[test]
fn a_cancelled_generation_ends_within_a_tick_and_leaves_no_half_file() {
    let data_set = sim("npy").steps(4).slow_object("train/img_2_of_4.npy", 500).cancelled_at_ms(200);
    let generated = data_set.generate();
    assert_eq!(generated.ranks[0].outcome.as_ref().unwrap_err().class(), ErrorClass::Cancelled);
    assert!(generated.ranks[0].ended <= 300 * MS);
    let files: Vec<_> = contents(&generated.memory).into_keys().collect();
    assert_eq!(files, ["train/img_0_of_4.npy", "train/img_1_of_4.npy"]);
}
