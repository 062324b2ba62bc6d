//! Round trip from recorded events to rows, including files that were cut or damaged in between.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

use std::path::Path;
use std::sync::Arc;

use dlio_event::{ConnectionId, EndpointId, Event, EventSink, Lane, ObjectId, OpKind, Outcome, Phase, Position, TagId};
use dlio_trace::{ClockAnchor, Error, Header, RankTrace, Rows, TraceWriter, file_name, read_dir, read_file};
use proptest::prelude::*;

fn header(rank: u32) -> Header {
    Header {
        rank,
        world: 2,
        host: "node7".to_owned(),
        node: 1,
        pid: 4711,
        clock: ClockAnchor {
            monotonic_ns: 5,
            wall_unix_ns: 1_700_000_000_000_000_000,
            offset_to_rank0_ns: 0,
            rtt_ns: 9,
        },
        clock_end: None,
        argv: vec!["dlio-rs".to_owned(), "run".to_owned()],
        config_json: r#"{"workload":{}}"#.to_owned(),
        tool_version: "0.1.0".to_owned(),
        host_facts: [("kernel".to_owned(), "6.1".to_owned())].into(),
        planned: Some(dlio_event::Planned { epochs: 5, steps: 40, ..dlio_event::Planned::default() }),
    }
}

/// Returns an event whose fields all depend on `i`.
fn event(i: u64, object: ObjectId, endpoint: EndpointId) -> Event {
    let small = u32::try_from(i % 7).unwrap();
    Event {
        kind: OpKind::ALL[usize::try_from(i).unwrap() % OpKind::ALL.len()],
        object,
        offset: i * 4096,
        requested: i.is_multiple_of(3).then_some(i + 1),
        bytes: i * 3,
        lane: if i.is_multiple_of(5) { Lane::MAIN } else { Lane(u16::try_from(i % 5).unwrap()) },
        at: Position {
            phase: Phase::ALL[usize::try_from(i).unwrap() % Phase::ALL.len()],
            epoch: small,
            block: small / 2,
            step: small * 3,
            sample: i.is_multiple_of(2).then_some(i * 11),
        },
        due: i.is_multiple_of(4).then_some(i + 50),
        start: i * 1000 + 100,
        issued: (i % 3 == 1).then_some(i * 1000 + 150),
        last_byte: (i % 5 == 1).then_some(i * 1000 + 200),
        first_byte: (i % 2 == 1).then_some(i * 1000 + 300),
        end: i * 1000 + 900,
        endpoint,
        connection: if i.is_multiple_of(3) { ConnectionId::NONE } else { ConnectionId(small) },
        object_size: i.is_multiple_of(6).then_some(i * 7),
        tag: TagId::NONE,
        attempt: u8::try_from(i % 4).unwrap(),
        status: if i.is_multiple_of(2) { 206 } else { -5 },
        outcome: Outcome::ALL[usize::try_from(i).unwrap() % Outcome::ALL.len()],
    }
}

fn object_name(i: u64) -> Option<String> {
    (!i.is_multiple_of(9)).then(|| format!("train/img_{}.npz", i % 40))
}

fn endpoint_name(i: u64) -> Option<String> {
    (!i.is_multiple_of(4)).then(|| format!("http://10.0.0.{}:9000", i % 3))
}

fn tag_name(i: u64) -> Option<String> {
    i.is_multiple_of(10).then(|| format!("tier {}", i % 4))
}

fn record(writer: &TraceWriter, i: u64) {
    let object = object_name(i).map_or(ObjectId::NONE, |name| writer.object(&name));
    let endpoint = endpoint_name(i).map_or(EndpointId::NONE, |name| writer.endpoint(&name));
    let tag = tag_name(i).map_or(TagId::NONE, |name| writer.tag(&name));
    writer.record(Event { tag, ..event(i, object, endpoint) });
}

fn batches(trace: &RankTrace) -> Vec<Rows> {
    trace.batches().unwrap().collect::<Result<_, _>>().unwrap()
}

/// Returns the `i` of every row after comparing all fields of the row with event `i`.
fn check_rows(trace: &RankTrace) -> Vec<u64> {
    let mut seen = Vec::new();
    for batch in batches(trace) {
        for row in batch.views() {
            let found = row.event();
            let i = (found.start - 100) / 1000;
            let expected = Event { tag: found.tag, ..event(i, found.object, found.endpoint) };
            assert_eq!(found, expected);
            assert_eq!(row.object().map(str::to_owned), object_name(i));
            assert_eq!(row.endpoint().map(str::to_owned), endpoint_name(i));
            assert_eq!(row.tag().map(str::to_owned), tag_name(i));
            seen.push(i);
        }
    }
    seen
}

fn write(path: &Path, events: u64) {
    let writer = TraceWriter::create(path, &header(0)).unwrap();
    for i in 0..events {
        record(&writer, i);
    }
    assert_eq!(writer.finish().unwrap().rows, events);
}

#[test]
fn every_field_of_every_event_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(file_name(0));
    write(&path, 40_000);
    let trace = read_file(&path).unwrap();
    assert_eq!((trace.header.clone(), trace.rows, trace.complete), (header(0), 40_000, true));
    assert_eq!(check_rows(&trace), (0..40_000).collect::<Vec<_>>());
}

#[test]
fn a_trace_without_events_is_a_trace() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(file_name(0));
    write(&path, 0);
    let trace = read_file(&path).unwrap();
    assert_eq!((trace.rows, trace.complete), (0, true));
    assert_eq!(batches(&trace).iter().map(Rows::len).sum::<usize>(), 0);
}

#[test]
fn lanes_that_record_at_the_same_time_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(file_name(0));
    let writer = Arc::new(TraceWriter::create(&path, &header(0)).unwrap());
    let lanes: Vec<_> = (0..8_u64)
        .map(|lane| {
            let writer = Arc::clone(&writer);
            std::thread::spawn(move || (0..5_000).for_each(|i| record(&writer, i * 8 + lane)))
        })
        .collect();
    for lane in lanes {
        lane.join().unwrap();
    }
    assert_eq!(writer.finish().unwrap().rows, 40_000);
    let mut seen = check_rows(&read_file(&path).unwrap());
    seen.sort_unstable();
    assert_eq!(seen, (0..40_000).collect::<Vec<_>>());
}

#[test]
fn more_rows_than_a_row_group_make_several_row_groups() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(file_name(0));
    write(&path, 300_000);
    let trace = read_file(&path).unwrap();
    let mut seen = check_rows(&trace);
    seen.sort_unstable();
    assert_eq!(seen, (0..300_000).collect::<Vec<_>>());
}

#[test]
fn times_are_put_on_the_clock_of_rank_0() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(file_name(3));
    let mut ahead = header(3);
    ahead.clock.offset_to_rank0_ns = -40;
    let writer = TraceWriter::create(&path, &ahead).unwrap();
    writer.record(Event::span(OpKind::Compute, Lane::MAIN, Position::default(), 1_000, 3_000));
    writer.finish().unwrap();
    let trace = read_file(&path).unwrap();
    assert_eq!(trace.header.clock.offset_to_rank0_ns, -40);
    let batches = batches(&trace);
    let row = batches[0].row(0);
    assert_eq!((row.start(), row.end(), row.duration()), (960, 2_960, 2_000));
}

#[test]
fn a_writer_that_is_dropped_leaves_an_incomplete_but_readable_trace() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(file_name(0));
    let writer = TraceWriter::create(&path, &header(0)).unwrap();
    (0..100).for_each(|i| record(&writer, i));
    drop(writer);
    let trace = read_file(&path).unwrap();
    assert_eq!((trace.rows, trace.complete), (100, false));
}

/// The events span three seconds, by which footers are scheduled, so a footer is due before the end of the run.
#[test]
fn the_trace_of_a_running_process_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(file_name(0));
    let writer = TraceWriter::create(&path, &header(0)).unwrap();
    for second in 0..3 {
        for i in 0..2_000 {
            let start = second * 1_000_000_000 + i * 1_000;
            writer.record(Event::span(OpKind::Compute, Lane::MAIN, Position::default(), start, start + 500));
        }
    }
    while writer.health().rows_written == 0 {
        std::thread::yield_now();
    }
    let trace = read_file(&path).unwrap();
    assert!(trace.rows > 0 && trace.rows <= 6_000 && !trace.complete);
    assert_eq!(writer.finish().unwrap().rows, 6_000);
}

#[test]
fn an_event_after_the_end_is_counted_as_lost() {
    let folder = tempfile::tempdir().unwrap();
    let writer = TraceWriter::create(&folder.path().join(file_name(0)), &header(0)).unwrap();
    writer.finish().unwrap();
    record(&writer, 1);
    assert_eq!(writer.health().rows_lost, 1);
    assert!(matches!(writer.finish(), Err(Error::Finished { .. })));
}

/// Returns a file with several row groups and footers, to be cut at every critical offset and at many others.
#[test]
fn a_file_cut_anywhere_is_read_up_to_its_last_whole_footer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(file_name(0));
    write(&path, 140_000);
    let whole = std::fs::read(&path).unwrap();
    let ends: Vec<usize> = (4..=whole.len()).filter(|end| &whole[end - 4..*end] == b"PAR1").collect();
    assert!(ends.len() >= 4, "head, first footer, full group, end: {ends:?}");
    let cut = folder.path().join("rank-00001.parquet");
    let mut places: Vec<usize> =
        ends.iter().flat_map(|end| end.saturating_sub(9)..(end + 9).min(whole.len())).collect();
    places.extend((0..whole.len()).step_by(whole.len() / 60));
    let mut before = 0;
    places.sort_unstable();
    for place in places {
        std::fs::write(&cut, &whole[..place]).unwrap();
        match read_file(&cut) {
            Ok(trace) => {
                assert!(trace.rows >= before, "a longer file holds at least as much");
                assert!(place == whole.len() || !trace.complete);
                before = trace.rows;
            }
            Err(error) => assert!(before == 0 && place <= ends[1], "cut at {place}: {error}"),
        }
    }
    assert_eq!(before, 131_072, "the last cut loses the last row group only");
    std::fs::write(&cut, &whole[..whole.len() - 1]).unwrap();
    let mut seen = check_rows(&read_file(&cut).unwrap());
    seen.sort_unstable();
    assert_eq!(seen, (0..131_072).collect::<Vec<_>>());
}

#[test]
fn garbage_after_the_footer_is_reported_and_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(file_name(0));
    write(&path, 1_000);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.resize(bytes.len() + 3_000_000, 7);
    std::fs::write(&path, bytes).unwrap();
    let trace = read_file(&path).unwrap();
    assert_eq!((trace.rows, trace.complete, trace.torn_bytes), (1_000, false, 3_000_000));
    assert_eq!(check_rows(&trace).len(), 1_000);
}

#[test]
fn a_folder_gives_its_traces_in_the_order_of_ranks() {
    let folder = tempfile::tempdir().unwrap();
    for rank in [2, 0, 1] {
        TraceWriter::create(&folder.path().join(file_name(rank)), &header(rank)).unwrap().finish().unwrap();
    }
    std::fs::write(folder.path().join("summary.json"), "{}").unwrap();
    let ranks: Vec<u32> = read_dir(folder.path()).unwrap().iter().map(|trace| trace.header.rank).collect();
    assert_eq!(ranks, [0, 1, 2]);
}

fn failure(path: &Path, bytes: &[u8]) -> String {
    std::fs::write(path, bytes).unwrap();
    read_file(path).unwrap_err().to_string()
}

#[test]
fn errors_name_the_file_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let empty = read_dir(folder.path()).unwrap_err().to_string();
    assert!(empty.contains("no traces (rank-*.parquet)") && empty.contains(folder.path().to_str().unwrap()));
    let missing = read_dir(&folder.path().join("nowhere")).unwrap_err().to_string();
    assert!(missing.contains("nowhere"));
    let text = failure(&folder.path().join("notes.txt"), b"hello, this is no trace");
    assert!(text.contains("notes.txt is not a trace"), "{text}");
    let short = failure(&folder.path().join("short"), b"x");
    assert!(short.contains("is not a trace"), "{short}");
    let torn = failure(&folder.path().join("rank-00000.parquet"), b"PAR1 and then nothing that makes sense");
    assert!(torn.contains("no complete footer"), "{torn}");
}

/// Writes a new checksum into the footer of a file as specified in `docs/trace-format.md`.
fn seal(bytes: &mut [u8]) {
    let length = &bytes[bytes.len() - 8..bytes.len() - 4];
    let from = bytes.len() - 8 - usize::try_from(u32::from_le_bytes(length.try_into().unwrap())).unwrap();
    let key = b"dlio.trace.footer_crc32";
    let at = bytes.windows(key.len()).rposition(|window| window == key).unwrap() + key.len() + 2;
    bytes[at..at + 8].fill(b'0');
    let sum = format!("{:08x}", crc32fast::hash(&bytes[from..]));
    bytes[at..at + 8].copy_from_slice(sum.as_bytes());
}

#[test]
fn a_newer_major_version_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(file_name(0));
    write(&path, 10);
    let bytes = std::fs::read(&path).unwrap();
    let key = b"dlio.trace.version";
    let after_key = bytes.windows(key.len()).rposition(|window| window == key).unwrap() + key.len();
    let at = after_key + bytes[after_key..].windows(3).position(|window| window == b"1.2").unwrap();
    let mut newer = bytes.clone();
    newer[at] = b'2';
    seal(&mut newer);
    let text = failure(&path, &newer);
    assert!(text.contains("trace format 2.2") && text.contains("newer dlio-rs"), "{text}");
    let mut minor = bytes;
    minor[at + 2] = b'7';
    seal(&mut minor);
    std::fs::write(&path, minor).unwrap();
    assert_eq!(read_file(&path).unwrap().rows, 10);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn a_file_with_flipped_bytes_never_panics(
        places in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(file_name(0));
        write(&path, 500);
        let mut bytes = std::fs::read(&path).unwrap();
        for (place, value) in places {
            let at = place.index(bytes.len());
            bytes[at] = value;
        }
        std::fs::write(&path, bytes).unwrap();
        if let Ok(batches) = read_file(&path).and_then(|trace| trace.batches()) {
            batches.take_while(Result::is_ok).count();
        }
    }
}

#[test]
fn the_documentation_describes_every_column() {
    let page = include_str!("../../../docs/trace-format.md");
    for column in dlio_trace::COLUMNS {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{}` |", column.name)));
        let row = row.unwrap_or_else(|| panic!("docs/trace-format.md has no row for {}", column.name));
        assert!(row.contains(column.meaning) && row.contains(column.unit), "{row}");
    }
}
