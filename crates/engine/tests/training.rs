//! The training loop on virtual time: every expected number is computed by hand.

mod world;

use dlio_engine::{ErrorClass, Waiting};
use dlio_event::{Lane, OpKind, Phase};
use dlio_storage::ErrorKind;
use world::{MS, sim};

#[test]
fn a_slow_reader_lowers_au_by_exactly_the_stall() {
    let run = sim("npy").ranks(4).compute_ms(100).read_ms(250).steps(10).run();
    run.expect_load_ms(&[250; 10]).expect_compute_ms(&[100; 10]);
    run.expect_au(100.0 / 350.0).expect_every_sample_once().expect_spans_equal_timings();
}

#[test]
fn four_lanes_hide_a_delay_that_one_cannot() {
    let run = sim("npy").ranks(2).lanes(4).prefetch(4).compute_ms(100).read_ms(250).steps(8).run();
    run.expect_load_ms(&[250, 0, 0, 0, 0, 0, 0, 0]).expect_au(1.0).expect_every_sample_once();
}

#[test]
fn two_lanes_hide_all_but_what_their_windows_allow() {
    // A lane starts its next batch when its previous one is taken: lane 0 at 0, 250, 500 and 750 ms, lane 1 at 0, 350 and 600 ms.
    let run = sim("npy").lanes(2).prefetch(2).compute_ms(100).read_ms(250).steps(6).run();
    run.expect_load_ms(&[250, 0, 50, 0, 50, 0]).expect_spans_equal_timings();
}

#[test]
fn a_deeper_window_keeps_a_lane_reading_while_the_loop_computes() {
    // One lane reads a batch in 10 ms; after the first batch, both places of its window are filled whenever the loop fetches.
    let run = sim("npy").lanes(1).prefetch(2).compute_ms(15).read_ms(10).steps(5).run();
    run.expect_load_ms(&[10, 0, 0, 0, 0]);
}

#[test]
fn samples_in_flight_shorten_a_batch() {
    let one = sim("npy").lanes(1).prefetch(1).batch(4).read_ms(10).steps(1).run();
    let four = sim("npy").lanes(1).prefetch(1).batch(4).inflight(4).read_ms(10).steps(1).run();
    one.expect_load_ms(&[40]);
    four.expect_load_ms(&[10]).expect_every_sample_once();
}

#[test]
fn preprocessing_counts_as_loading() {
    let run = sim("npy").batch(2).read_ms(10).preprocess_ms(5).compute_ms(20).steps(3).run();
    run.expect_load_ms(&[30, 30, 30]).expect_compute_ms(&[20, 20, 20]);
    assert_eq!(run.count(0, OpKind::Preprocess), 6);
}

#[test]
fn the_slowest_rank_holds_up_all_others_in_the_barrier() {
    // Sample 2 is the first sample of rank 1.
    let run = sim("npy").ranks(2).steps(2).read_ms(10).slow_object("train/img_2_of_4.npy", 70).run();
    assert_eq!(run.trained(0).timings.epochs[0].blocks[0].load, [10 * MS, 10 * MS]);
    assert_eq!(run.trained(1).timings.epochs[0].blocks[0].load, [70 * MS, 10 * MS]);
    let barriers = run.events(0).into_iter().filter(|event| event.kind == OpKind::Barrier && event.at.step == 1);
    assert_eq!(barriers.map(|event| event.duration()).collect::<Vec<_>>(), [60 * MS]);
}

#[test]
fn every_epoch_reads_every_sample_once_whatever_the_lanes() {
    for lanes in [0, 1, 3] {
        let run = sim("npz").ranks(2).lanes(lanes).prefetch(2).batch(2).steps(6).epochs(3).run();
        run.expect_every_sample_once();
        assert_eq!(run.trained(0).timings.epochs.len(), 3);
    }
}

#[test]
fn a_tfrecord_batch_is_made_of_records_from_all_lanes() {
    // Each lane has two files; the loader repeats, so the surplus batch reads the first file again.
    let run = sim("tfrecord").loader("tensorflow").lanes(2).batch(2).samples_per_file(2).steps(4).epochs(2).run();
    run.expect_spans_equal_timings();
    let events = run.events(0);
    for lane in [Lane(0), Lane(1)] {
        let of_lane = |kind| events.iter().filter(|event| event.kind == kind && event.lane == lane).count();
        assert_eq!([of_lane(OpKind::Batch), of_lane(OpKind::Open)], [10, 6], "lane {lane:?}");
    }
    let size = run.memory.get("train/img_0_of_4.tfrecord").unwrap().len() as u64;
    assert_eq!(run.trained(0).cost.bytes, 2 * 6 * size, "every opened file is streamed once");
}

#[test]
fn files_stay_open_as_long_as_the_plan_says() {
    let opens = |run: world::TrainedWorld| run.count(0, OpKind::Open);
    let files = || sim("npy").samples_per_file(2).batch(2).steps(4).epochs(2);
    assert_eq!(opens(files().run()), 16, "once per sample");
    assert_eq!(opens(files().read_type("on_demand").run()), 4, "once per file and run");
    let tensorflow = files().loader("tensorflow").lanes(1).run();
    assert_eq!(opens(tensorflow), 8, "once per file and epoch");
}

#[test]
fn evaluation_has_no_barrier_and_its_own_times() {
    let run = sim("npy").ranks(2).steps(3).eval_steps(2).epochs(2).compute_ms(10).eval_ms(30).read_ms(5).run();
    for rank in 0..2 {
        for epoch in &run.trained(rank).timings.epochs {
            let eval = epoch.eval.as_ref().unwrap();
            assert_eq!((eval.block, &eval.load, &eval.compute), (0, &vec![5 * MS; 2], &vec![30 * MS; 2]));
            assert_eq!(eval.end - eval.start, 70 * MS);
        }
        let in_eval = |kind| run.events(rank).iter().filter(|e| e.kind == kind && e.at.phase == Phase::Eval).count();
        assert_eq!([in_eval(OpKind::Barrier), in_eval(OpKind::Eval), in_eval(OpKind::Read)], [0, 2, 4]);
    }
    run.expect_spans_equal_timings();
}

#[test]
fn the_surplus_batch_is_read_and_waited_for_but_not_computed_on() {
    for lanes in [0, 2] {
        let run = sim("npy").lanes(lanes).prefetch(2).steps(6).total_training_steps(3).epochs(2).read_ms(10).run();
        for epoch in &run.trained(0).timings.epochs {
            assert_eq!(epoch.blocks[0].compute.len(), 3);
        }
        let read = run.count(0, OpKind::Read);
        assert_eq!(read, 8, "three steps and one surplus batch in each of two epochs, {lanes} lanes");
        assert_eq!(run.count(0, OpKind::Fetch), 6);
    }
    let inline = sim("npy").steps(6).total_training_steps(3).read_ms(10).run();
    let block = &inline.trained(0).timings.epochs[0].blocks[0];
    assert_eq!(block.end - block.start, 40 * MS, "the wait for it is in the block");
}

#[test]
fn a_rank_that_fails_names_the_object_and_ends_all_others() {
    let run = sim("npy").ranks(3).lanes(2).prefetch(2).steps(10).read_ms(10).compute_ms(5);
    let run = run.broken_object("train/img_14_of_30.npy").run();
    assert_eq!(run.error(1).class(), ErrorClass::Storage(ErrorKind::Io));
    assert_eq!(
        run.message(1),
        "epoch 1, step 5, rank 1: opening memory://train/img_14_of_30.npy: an injected fault of kind Io"
    );
    for rank in [0, 2] {
        assert_eq!(run.error(rank).class(), ErrorClass::Aborted);
        assert!(run.message(rank).contains("rank 1 ended the run"), "{}", run.message(rank));
        assert!(run.ranks[rank].ended < 200 * MS, "at once, not at a time-out");
    }
}

#[test]
fn an_error_of_a_lane_does_not_wait_for_its_turn() {
    // Lane 0 takes one second for step 1; lane 1 fails immediately in step 2.
    let run = sim("npy").lanes(2).prefetch(2).steps(4).slow_object("train/img_0_of_4.npy", 1000);
    let run = run.broken_object("train/img_1_of_4.npy").run();
    assert!(run.message(0).starts_with("epoch 1, step 2, rank 0: opening"), "{}", run.message(0));
    assert!(run.ranks[0].ended < 100 * MS);
}

#[test]
fn a_truncated_object_is_corrupt_and_named() {
    let run = sim("npy").steps(4).truncated_object("train/img_2_of_4.npy", 300).run();
    assert_eq!(run.error(0).class(), ErrorClass::Corrupt);
    let message = run.message(0);
    assert!(message.starts_with("reading memory://train/img_2_of_4.npy (epoch 1, step 3, rank 0): "), "{message}");
}

#[test]
fn a_missing_object_says_to_generate_first() {
    let run = sim("npy").steps(4).lanes(1).missing_object("train/img_1_of_4.npy").run();
    assert_eq!(run.error(0).class(), ErrorClass::Storage(ErrorKind::NotFound));
    let message = run.message(0);
    assert!(message.contains("img_1_of_4.npy does not exist; generate the dataset first"), "{message}");
}

#[test]
fn ranks_that_plan_differently_do_not_start() {
    let run = sim("npy").ranks(3).rank_with_another_seed(2).run();
    // The first rank that fails aborts, and the others receive its error.
    assert!((0..3).any(|rank| run.error(rank).class() == ErrorClass::Plan));
    for rank in 0..3 {
        assert!(
            run.message(rank).contains("the plan of rank 2 differs from the plan of rank 0"),
            "{}",
            run.message(rank)
        );
        assert_eq!(run.count(rank, OpKind::Open), 0);
    }
}

#[test]
fn a_plan_for_another_world_is_refused() {
    let run = sim("npy").ranks(2).planned_for_ranks(4).run();
    assert_eq!(run.error(0).class(), ErrorClass::Plan);
    assert_eq!(run.message(1), "the plan is for 4 ranks, but 2 were started");
}

#[test]
fn a_cancelled_run_ends_within_a_tick() {
    for lanes in [0, 2] {
        let run = sim("npy").lanes(lanes).steps(100).read_ms(300).compute_ms(2_000).cancelled_at_ms(5_000).run();
        assert_eq!(run.error(0).class(), ErrorClass::Cancelled);
        assert!(run.ranks[0].ended <= 5_100 * MS, "ended after {} ms", run.ranks[0].ended / MS);
    }
}

#[test]
fn a_stall_names_rank_epoch_step_and_object() {
    for lanes in [0, 1] {
        let run = sim("npy").ranks(2).lanes(lanes).steps(2).slow_object("train/img_2_of_4.npy", 130_000).run();
        let stalls = run.ranks[1].seen.stalls.borrow();
        let told: Vec<_> =
            stalls.iter().map(|stall| (stall.rank, stall.epoch, stall.step, stall.waited.as_secs())).collect();
        assert_eq!(told, [(1, 1, 1, 60), (1, 1, 1, 120)]);
        let object = Some("memory://train/img_2_of_4.npy".to_owned());
        assert_eq!(stalls[0].waiting, Waiting::Batch { lane: 0, object });
        let stalls = run.ranks[0].seen.stalls.borrow();
        assert_eq!(
            stalls[0].to_string(),
            "rank 0 has waited 60 s for rank 1 on simulated-0 (it was last waiting for a batch in epoch 1, step 1)"
        );
    }
}

#[test]
fn the_bytes_of_the_cost_are_the_bytes_read() {
    let run = sim("npz").lanes(2).prefetch(2).batch(2).steps(5).run();
    let read: u64 = run.events(0).iter().filter(|event| event.kind.is_read()).map(|event| event.bytes).sum();
    assert_eq!(run.trained(0).cost.bytes, read);
    assert!(read > 10 * 1024);
}

#[test]
fn a_thousand_ranks_run_on_one_thread() {
    let run = sim("npy").ranks(1000).steps(2).read_ms(10).compute_ms(10).run();
    run.expect_au(0.5).expect_every_sample_once();
}
