//! Iterable lanes on virtual time: windows that are fully used, order, and leftover pieces.

mod world;

use dlio_event::{Event, Lane, Nanos, OpKind, Phase};
use world::{MS, Sim, TrainedWorld, sim};

/// Configuration of s3dlio's window of this many objects, whose batches take objects in order of arrival.
macro_rules! s3dlio {
    ($window:literal) => {
        concat!(
            "dlio_rs: {dialect: mlperf}\n",
            "storage: {storage_type: s3, storage_root: bucket, storage_library: s3dlio, storage_options: ",
            "{prefetch_window: ",
            $window,
            "}}\n"
        )
    };
}

/// Configuration with 16 objects in flight and batches in the order of the list.
const MINIO: &str = "dlio_rs: {dialect: mlperf}\n\
                     storage: {storage_type: s3, storage_root: bucket, storage_library: minio}\n";

const DEFAULTS: &str = "dlio_rs: {dialect: mlperf}\nstorage: {storage_type: s3, storage_root: bucket}\n";

/// Number of objects in flight for `read_threads: 1`; the fork derives it from the machine, but the plan uses the given number.
fn stream(more: &'static str) -> Sim {
    sim("npy").lanes(1).more(more)
}

fn samples(run: &TrainedWorld, rank: usize) -> Vec<Event> {
    let train = |event: &Event| event.kind == OpKind::Sample && event.at.phase == Phase::Train;
    run.events(rank).into_iter().filter(train).collect()
}

/// Returns the maximum number of sample reads in flight.
fn deepest(events: &[Event]) -> usize {
    let reading = |at: Nanos| events.iter().filter(|event| event.start <= at && at < event.end).count();
    events.iter().map(|event| reading(event.start)).max().unwrap_or(0)
}

#[test]
fn a_window_of_four_objects_reads_a_batch_of_eight_in_two_rounds() {
    let run = stream(s3dlio!("4")).batch(8).steps(2).read_ms(10).run();
    run.expect_load_ms(&[20, 20]).expect_every_sample_once().expect_spans_equal_timings();
    assert_eq!(deepest(&samples(&run, 0)), 4);
}

#[test]
fn sixty_four_objects_are_in_flight_unless_something_else_is_asked_for() {
    let run = stream(DEFAULTS).batch(64).steps(3).read_ms(10).run();
    run.expect_load_ms(&[10, 10, 10]).expect_every_sample_once();
    assert_eq!(deepest(&samples(&run, 0)), 64);
}

#[test]
fn every_lane_has_a_window_of_its_own() {
    let run = stream(s3dlio!("3")).lanes(4).batch(3).steps(8).read_ms(10).run();
    run.expect_load_ms(&[10, 0, 0, 0, 10, 0, 0, 0]).expect_every_sample_once();
    assert_eq!(deepest(&samples(&run, 0)), 12);
}

#[test]
fn a_lane_reads_on_while_the_loop_computes_until_its_window_and_its_queue_are_full() {
    let run = stream(s3dlio!("2")).steps(12).read_ms(10).compute_ms(1000).run();
    run.expect_load_ms(&[10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let epoch = &run.trained(0).timings.epochs[0];
    // One batch is computed on, two are in the queue, and four objects have arrived for the next ones.
    let first_second = epoch.start + 1000 * MS;
    assert_eq!(samples(&run, 0).iter().filter(|event| event.end < first_second).count(), 7);
}

#[test]
fn batches_are_made_of_what_arrives_first() {
    let run = stream(s3dlio!("4")).steps(4).read_ms(10).slow_object("train/img_0_of_4.npy", 100).run();
    run.expect_load_ms(&[10, 0, 0, 90]).expect_every_sample_once();
}

#[test]
fn in_the_order_of_the_list_a_slow_object_holds_up_those_behind_it() {
    let run = stream(MINIO).steps(4).read_ms(10).slow_object("train/img_0_of_4.npy", 100).run();
    run.expect_load_ms(&[100, 0, 0, 0]).expect_every_sample_once();
    // These objects were read during the computation.
    assert_eq!(samples(&run, 0).iter().filter(|event| event.duration() == 10 * MS).count(), 3);
}

#[test]
fn sixteen_are_in_flight_where_the_library_has_so_many_however_long_its_chunk_is() {
    let run = stream(MINIO).batch(64).steps(1).read_ms(10).run();
    run.expect_load_ms(&[40]);
    assert_eq!(deepest(&samples(&run, 0)), 16);
}

#[test]
fn an_object_of_many_samples_is_read_once_and_its_samples_fill_several_batches() {
    let run = stream(s3dlio!("1")).samples_per_file(4).batch(2).steps(4).read_ms(10).compute_ms(5).run();
    // Two objects with two batches each; the second object is read during the computation on the first.
    run.expect_load_ms(&[10, 0, 0, 0]);
    assert_eq!(samples(&run, 0).len(), 2);
}

#[test]
fn what_fills_no_batch_is_read_and_waited_for_at_the_end() {
    // Two lanes with three objects each and batches of two objects: one object is left on each lane.
    let run = stream(s3dlio!("1")).lanes(2).batch(2).steps(3).total_training_steps(2).read_ms(10).run();
    run.expect_load_ms(&[20, 0]);
    assert_eq!(samples(&run, 0).len(), 6);
    let block = &run.trained(0).timings.epochs[0].blocks[0];
    assert_eq!(block.end - block.start, 30 * MS);
}

#[test]
fn epochs_are_warmed_up_with_their_first_batch_outside_all_times() {
    for run in [
        stream(s3dlio!("8")).batch(2).steps(3).epochs(2).read_ms(10).run(),
        sim("npy").more("dlio_rs: {dialect: mlperf}\n").batch(2).steps(3).epochs(2).read_ms(10).run(),
        sim("npy").more("dlio_rs: {dialect: mlperf}\n").lanes(3).batch(2).steps(3).epochs(2).read_ms(10).run(),
    ] {
        run.expect_every_sample_once();
        let warm: Vec<_> = run.events(0).into_iter().filter(|event| event.at.phase == Phase::Setup).collect();
        let read: Vec<_> = warm.iter().filter(|event| event.kind == OpKind::Sample).map(|e| e.at.sample).collect();
        // Warm-ups before epoch 1, after epoch 1 and after epoch 2.
        assert_eq!(read, [Some(0), Some(1)].repeat(3));
        let epochs = &run.trained(0).timings.epochs;
        assert!(warm[0].end <= epochs[0].start && epochs[0].end - epochs[0].train_end >= 10 * MS);
        let bytes: u64 = run.events(0).iter().filter(|e| e.kind == OpKind::Read).map(|e| e.bytes).sum();
        assert_eq!(run.trained(0).cost.bytes, bytes);
    }
}

#[test]
fn shuffled_epochs_deal_every_object_once_over_the_ranks() {
    let run = stream(DEFAULTS).file_shuffle("seed");
    let run = run.ranks(3).lanes(2).batch(2).steps(4).epochs(3).read_ms(10).run();
    run.expect_every_sample_once();
    let read = |epoch| samples(&run, 1).into_iter().filter(move |e| e.at.epoch == epoch).map(|e| e.at.sample);
    assert_ne!(read(1).collect::<Vec<_>>(), read(2).collect::<Vec<_>>());
}

#[test]
fn lanes_of_minio_begin_one_computation_after_the_other() {
    let run = stream(MINIO).lanes(3).steps(6).read_ms(10).compute_ms(50).run();
    let epoch = run.trained(0).timings.epochs[0].start;
    for lane in 0..3 {
        let first = samples(&run, 0).into_iter().find(|event| event.lane == Lane(lane)).expect("a sample");
        assert_eq!(first.start - epoch, u64::from(lane) * 50 * MS);
    }
}

#[test]
fn a_missing_object_ends_the_run_with_its_name() {
    let run = stream(s3dlio!("4")).ranks(2).steps(8).read_ms(10).missing_object("train/img_09_of_16.npy").run();
    let message = run.message(1);
    assert!(message.contains("img_09_of_16.npy") && message.contains("does not exist"), "{message}");
    assert!(run.ranks[0].outcome.is_err());
}

#[test]
fn an_empty_object_is_told_although_nothing_is_decoded() {
    let run = stream(s3dlio!("4")).steps(8).truncated_object("train/img_3_of_8.npy", 0).run();
    assert!(run.message(0).contains("truncated"), "{}", run.message(0));
}

#[test]
fn a_cancelled_stream_ends_at_once() {
    let run = stream(s3dlio!("4")).steps(400).read_ms(10).compute_ms(10).cancelled_at_ms(95).run();
    assert!(run.message(0).contains("cancelled"), "{}", run.message(0));
    assert!(run.ranks[0].ended < 200 * MS);
}
