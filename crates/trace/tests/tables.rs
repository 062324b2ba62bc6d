//! Side tables, clock drift and the repair of torn files.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::Write;

use dlio_event::{Event, EventSink, Lane, OpKind, Position};
use dlio_trace::tables::{self, CounterRow, FileRow};
use dlio_trace::{ClockAnchor, Error, Header, TraceWriter, file_name, read_file, repair};

fn counters(rank: i64, rows: i64) -> Vec<CounterRow> {
    (0..rows)
        .map(|i| CounterRow {
            rank,
            t_ns: i * 1_000,
            cpu_user_ns: i * 3,
            cpu_system_ns: i * 2,
            rss_bytes: 1 << 20,
            net_received_bytes: i * 7,
            net_sent_bytes: i * 5,
            disk_read_bytes: i * 11,
            disk_written_bytes: i * 13,
        })
        .collect()
}

#[test]
fn counters_of_all_ranks_become_one_table_when_all_are_there() {
    let folder = tempfile::tempdir().unwrap();
    tables::write_counters(folder.path(), 1, &counters(1, 70_000)).unwrap();
    assert_eq!(tables::join_counters(folder.path(), 2).unwrap(), 1, "rank 0's are missing");
    assert_eq!(tables::read_counters(folder.path()).unwrap(), counters(1, 70_000), "and nothing is lost");
    tables::write_counters(folder.path(), 0, &counters(0, 3)).unwrap();
    assert_eq!(tables::join_counters(folder.path(), 2).unwrap(), 2);
    let all = [counters(0, 3), counters(1, 70_000)].concat();
    assert_eq!(tables::read_counters(folder.path()).unwrap(), all);
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, [tables::COUNTERS]);
}

#[test]
fn a_folder_without_counters_has_none() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(tables::read_counters(folder.path()).unwrap(), []);
    assert_eq!(tables::join_counters(folder.path(), 4).unwrap(), 0);
}

#[test]
fn a_file_that_is_not_a_table_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(tables::COUNTERS), b"PAR1 not PAR1").unwrap();
    let error = tables::read_counters(folder.path()).unwrap_err();
    assert!(matches!(&error, Error::Table { path, .. } if path.ends_with(tables::COUNTERS)), "{error}");
}

#[test]
fn files_are_listed_with_the_sizes_that_are_known() {
    let folder = tempfile::tempdir().unwrap();
    let row = |index: u64| FileRow {
        index,
        split: if index < 2 { "train" } else { "valid" },
        uri: format!("data/{index}.npz"),
        size: (index != 1).then_some(index * 10),
        samples: 4,
        payload_seed: u64::MAX,
    };
    tables::write_files(folder.path(), (0..3).map(row)).unwrap();
    let file = std::fs::File::open(folder.path().join(tables::FILES)).unwrap();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let batches: Vec<_> = reader.build().unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(batches.iter().map(arrow_array::RecordBatch::num_rows).sum::<usize>(), 3);
    assert_eq!(batches[0].column_by_name("size").unwrap().null_count(), 1);
}

fn span(at: u64) -> Event {
    Event::span(OpKind::Compute, Lane::MAIN, Position::default(), at, at + 100)
}

fn anchor(monotonic_ns: u64, offset_to_rank0_ns: i64) -> ClockAnchor {
    ClockAnchor { monotonic_ns, wall_unix_ns: 0, offset_to_rank0_ns, rtt_ns: 20 }
}

/// The clock is 1000 ns behind at first and 1500 ns after a million ns; half of the drift has accumulated at half of the time.
#[test]
fn the_drift_of_a_clock_is_taken_out_when_reading() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(file_name(1));
    let header = Header { rank: 1, world: 2, clock: anchor(1_000_000, 1_000), ..Header::default() };
    let writer = TraceWriter::create(&path, &header).unwrap();
    for at in [1_000_000, 1_500_000, 2_000_000] {
        writer.record(span(at));
    }
    writer.header_at_end(|header| header.clock_end = Some(anchor(2_000_000, 1_500)));
    writer.finish().unwrap();
    let trace = read_file(&path).unwrap();
    assert_eq!(trace.header.clock_end, Some(anchor(2_000_000, 1_500)));
    let batch = trace.batches().unwrap().next().unwrap().unwrap();
    assert_eq!(batch.start, [1_001_000, 1_501_250, 2_001_500]);
    assert!((trace.header.drift().unwrap().parts_per_million() - 500.0).abs() < 1e-9);
}

#[test]
fn a_difference_within_the_measurement_error_is_not_drift() {
    let header = Header { clock: anchor(0, 1_000), clock_end: Some(anchor(1_000_000, 1_020)), ..Header::default() };
    assert_eq!(header.drift(), None, "each measurement may be wrong by 10 ns");
    let header = Header { clock_end: Some(anchor(1_000_000, 1_021)), ..header };
    assert!(header.drift().is_some());
    assert_eq!(Header { clock_end: None, ..header }.drift(), None);
}

#[test]
fn a_repaired_file_ends_with_its_last_whole_footer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(file_name(0));
    let writer = TraceWriter::create(&path, &Header::default()).unwrap();
    (0..1_000).for_each(|at| writer.record(span(at)));
    writer.finish().unwrap();
    let whole = std::fs::read(&path).unwrap();
    let untouched = repair(&path).unwrap();
    assert_eq!((untouched.rows, untouched.cut_bytes, untouched.complete), (1_000, 0, true));
    std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(&[9; 12_345]).unwrap();
    let repaired = repair(&path).unwrap();
    assert_eq!((repaired.rows, repaired.cut_bytes, repaired.complete), (1_000, 12_345, false));
    assert_eq!(std::fs::read(&path).unwrap(), whole);
    std::fs::write(&path, b"nothing").unwrap();
    assert!(repair(&path).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"nothing", "what cannot be read is left alone");
}
