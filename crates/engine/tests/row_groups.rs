//! Parquet in dialect mlperf on virtual time: the order and concurrency in which a lane requests footers and row groups.

#![expect(clippy::unwrap_used, reason = "also the helpers of tests are tests")]

mod world;

use std::ops::Range;

use dlio_event::{Event, Nanos, OpKind, Phase};
use dlio_format::{Decode, FileShape, Layout};
use world::{MS, Sim, TrainedWorld, sim};

/// Configuration of the fork's s3dlio reader, with these keys of section `storage_options`.
macro_rules! s3dlio {
    ($keys:literal) => {
        concat!(
            "dlio_rs: {dialect: mlperf}\n",
            "storage: {storage_type: s3, storage_root: bucket, storage_library: s3dlio, storage_options: {",
            $keys,
            "}}\n"
        )
    };
}

/// Configuration of the fork's window over the ranges of a file.
macro_rules! ranges {
    ($keys:literal) => {
        concat!(
            "dlio_rs: {dialect: mlperf}\n",
            "storage: {storage_type: s3, storage_root: bucket, storage_library: s3torchconnector, storage_options: {",
            $keys,
            "}}\n"
        )
    };
}

const MINIO: &str = "dlio_rs: {dialect: mlperf}\n\
                     storage: {storage_type: s3, storage_root: bucket, storage_library: minio}\n";

fn parquet(more: &'static str) -> Sim {
    sim("parquet").lanes(1).more(more)
}

fn reads(run: &TrainedWorld, phase: Phase) -> Vec<Event> {
    let mut reads = run.events(0);
    reads.retain(|event| event.kind == OpKind::Read && event.at.phase == phase);
    reads.sort_by_key(|event| (event.start, run.ranks[0].events.object_name(event.object), event.offset));
    reads
}

/// Returns file number, first byte and length of every read, in order of their start.
fn asked(run: &TrainedWorld, phase: Phase) -> Vec<(usize, u64, u64)> {
    let name = |event: &Event| run.ranks[0].events.object_name(event.object).unwrap();
    let file = |name: String| name.split("img_").nth(1).unwrap().split('_').next().unwrap().parse().unwrap();
    reads(run, phase).iter().map(|event| (file(name(event)), event.offset, event.requested.unwrap())).collect()
}

/// Returns the byte ranges of the row groups of a file of a run.
fn row_groups(run: &TrainedWorld, file: usize, files: usize, samples: u64) -> (u64, Vec<Range<u64>>) {
    let bytes = run.memory.get(&format!("train/img_{file}_of_{files}.parquet")).unwrap();
    let layout = Layout::new(&run.sim().workload(42).dataset, 7).unwrap();
    let mut decoder = layout.decoder(&FileShape { file: file as u64, dims: &[32, 32], samples });
    decoder.aim_at_footer();
    decoder.size(bytes.len() as u64).unwrap();
    decoder.chunk(&bytes).unwrap();
    decoder.end().unwrap();
    let footer = decoder.footer().unwrap();
    (bytes.len() as u64, (0..footer.row_groups()).map(|group| footer.ranges(group)[0].clone()).collect())
}

/// Returns the reads that the fork issues for these row groups of a file, a given number of groups per read.
fn together(file: usize, groups: &[Range<u64>], count: usize) -> Vec<(usize, u64, u64)> {
    let range = |groups: &[Range<u64>]| (file, groups[0].start, groups[groups.len() - 1].end - groups[0].start);
    groups.chunks(count).map(range).collect()
}

/// Returns the maximum number of row group reads of an epoch in flight.
fn deepest(run: &TrainedWorld) -> usize {
    let mut events = run.events(0);
    events.retain(|event| event.kind == OpKind::Sample && event.at.phase == Phase::Train);
    let reading = |at: Nanos| events.iter().filter(|event| event.start <= at && at < event.end).count();
    events.iter().map(|event| reading(event.start)).max().unwrap_or(0)
}

#[test]
fn footers_come_first_and_then_exactly_the_coalesced_row_groups_of_file_after_file() {
    let more = s3dlio!("coalesce_rgs: 2, prefetch_workers: 1, footer_batch_size: 1");
    let run = parquet(more).dataset(", parquet: {row_group_size: 2}").samples_per_file(9).batch(9).steps(3).read_ms(10);
    let run = run.run();
    let (mut footers, mut data) = (Vec::new(), Vec::new());
    for file in 0..3 {
        let (size, groups) = row_groups(&run, file, 3, 9);
        assert_eq!(groups.len(), 5);
        footers.push((file, 0, size));
        data.extend(together(file, &groups, 2));
    }
    assert_eq!(data.len(), 9);
    // The two warm-ups read all footers and the first batch; the epoch reads only row groups.
    assert_eq!(asked(&run, Phase::Setup), [&footers[..], &data[..3], &data[..3]].concat());
    assert_eq!(asked(&run, Phase::Train), data);
    run.expect_load_ms(&[30, 30, 30]);
    let bytes: u64 = run.events(0).iter().filter(|event| event.kind == OpKind::Read).map(|event| event.bytes).sum();
    assert_eq!(run.trained(0).cost.bytes, bytes);
}

#[test]
fn a_window_of_three_requests_reads_eight_row_groups_in_three_rounds_and_goes_on_in_the_next_file() {
    for keys in [
        s3dlio!("coalesce_rgs: 1, prefetch_workers: 3"),
        s3dlio!("coalesce_rgs: 1, prefetch: 3"),
        s3dlio!("coalesce_rgs: 1, prefetch_workers: 9, max_outstanding: 3"),
        s3dlio!("coalesce_rgs: 1, prefetch_workers: 3, decode: arrow"),
    ] {
        let run = parquet(keys).dataset(", parquet: {row_group_size: 1}").samples_per_file(8).batch(8).steps(2);
        let run = run.read_ms(10).run();
        run.expect_load_ms(&[30, 30]).expect_spans_equal_timings();
        assert_eq!(deepest(&run), 3);
    }
}

#[test]
fn a_window_over_ranges_begins_the_next_row_group_before_it_waits() {
    let load = |keys| {
        let run = parquet(keys).dataset(", parquet: {row_group_size: 1}").samples_per_file(4).batch(4).steps(1);
        let run = run.read_ms(10).run();
        (run.trained(0).timings.epochs[0].blocks[0].load[0] / MS, deepest(&run))
    };
    assert_eq!(load(ranges!("prefetch_window: 1")), (20, 2));
    assert_eq!(load(ranges!("prefetch_window: 1, prefetch_workers: 1")), (40, 1));
    assert_eq!(load(ranges!("prefetch_window: 2")), (20, 3));
    assert_eq!(load(ranges!("prefetch_window: 3")), (10, 4));
    assert_eq!(load(ranges!("coalesce_rgs: 8")), (10, 4), "every row group is a request of its own");
}

#[test]
fn without_a_window_one_request_follows_the_other_and_footers_are_one_file_ahead() {
    let run = parquet(MINIO).dataset(", parquet: {row_group_size: 2}").samples_per_file(4).batch(4).steps(3);
    let run = run.read_ms(10).compute_ms(100).run();
    let of = |file| {
        let (size, groups) = row_groups(&run, file, 3, 4);
        ((file, 0, size), together(file, &groups, 1))
    };
    let [(footer0, data0), (footer1, data1), (footer2, data2)] = [of(0), of(1), of(2)];
    let warm = asked(&run, Phase::Setup);
    assert_eq!(warm[..4], [&[footer0, footer1], &data0[..]].concat());
    let expected = [&data0[..], &[footer2], &data1[..], &data2[..]].concat();
    assert_eq!(asked(&run, Phase::Train), expected);
    assert_eq!(deepest(&run), 1);
}

#[test]
fn footers_are_fetched_in_batches_and_the_next_batch_waits_for_all_of_one() {
    let run = parquet(s3dlio!("footer_batch_size: 4")).steps(7).read_ms(10);
    let run = run.slow_object("train/img_2_of_7.parquet", 100).run();
    let warm = reads(&run, Phase::Setup);
    let times: Vec<_> = warm[..7].iter().map(|event| (event.start / MS, event.end / MS)).collect();
    assert_eq!(times, [(0, 10), (0, 10), (0, 100), (0, 10), (100, 110), (100, 110), (100, 110)]);
}

#[test]
fn s3dlio_keeps_footers_for_the_run_and_the_others_for_an_epoch() {
    let footers = |keys| {
        let run = parquet(keys).lanes(2).steps(6).epochs(2).run();
        run.expect_every_sample_once();
        let all = [asked(&run, Phase::Setup), asked(&run, Phase::Train)].concat();
        all.iter().filter(|(_, offset, _)| *offset == 0).count()
    };
    assert_eq!(footers(s3dlio!("")), 6);
    // Warm-ups before each of two epochs and after the last.
    assert_eq!(footers(ranges!("")), 3 * 6);
}

#[test]
fn files_are_read_as_their_footers_say_whatever_the_configuration_expects() {
    let more = s3dlio!("coalesce_rgs: 2, prefetch_workers: 2");
    let run = parquet(more).dataset(", parquet: {row_group_size: 4}").generated_as(", parquet: {row_group_size: 3}");
    let run = run.samples_per_file(10).batch(5).steps(4).run();
    let data: Vec<_> = (0..2).flat_map(|file| together(file, &row_groups(&run, file, 2, 10).1, 2)).collect();
    assert_eq!(data.len(), 4);
    assert_eq!(asked(&run, Phase::Train), data);
    let samples: Vec<_> = run.events(0).into_iter().filter(|e| e.kind == OpKind::Sample && e.at.epoch == 1).collect();
    let firsts: Vec<_> = samples.iter().map(|event| (event.at.step, event.at.sample)).collect();
    assert_eq!(firsts, [(1, Some(0)), (2, Some(6)), (3, Some(10)), (4, Some(16))]);
}

#[test]
fn looking_at_content_takes_no_request_more() {
    let run = |decode| {
        let more = s3dlio!("coalesce_rgs: 3, prefetch_workers: 2");
        let run = parquet(more).dataset(", compression: zstd, parquet: {row_group_size: 2}").samples_per_file(10);
        run.batch(5).steps(4).epochs(2).decode(decode).run()
    };
    let plain = run(Decode::None);
    for decode in [Decode::Verify, Decode::Full] {
        let run = run(decode);
        for phase in [Phase::Setup, Phase::Train] {
            assert_eq!(asked(&run, phase), asked(&plain, phase), "{decode}");
        }
    }
    let more = s3dlio!("coalesce_rgs: 3");
    let damaged = parquet(more).dataset(", parquet: {row_group_size: 2}").samples_per_file(10).batch(5).steps(4);
    let damaged = damaged.damaged_object("train/img_1_of_2.parquet", 9000).decode(Decode::Verify).run();
    assert!(damaged.message(0).contains("img_1_of_2.parquet"), "{}", damaged.message(0));
}

#[test]
fn a_limit_stops_at_the_request_that_its_last_batch_needs_but_every_footer_is_read() {
    let more = s3dlio!("coalesce_rgs: 1, prefetch_workers: 4");
    let run = parquet(more).dataset(", parquet: {row_group_size: 2}").samples_per_file(6).batch(2).steps(9);
    let run = run.total_training_steps(1).run();
    let (_, groups) = row_groups(&run, 0, 3, 6);
    // One batch is computed on, and the surplus batch is only fetched.
    assert_eq!(asked(&run, Phase::Train), together(0, &groups[..2], 1));
    let footers = asked(&run, Phase::Setup).iter().filter(|(_, offset, _)| *offset == 0).count();
    assert_eq!(footers, 3);
}
