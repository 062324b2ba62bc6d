//! Every format, from the samples in `traces/` and from lines that are broken on purpose.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::{Path, PathBuf};

use dlio_event::{Event, OpKind, Outcome};
use dlio_trace::import::{Imported, Options, SourceFormat, import};
use dlio_trace::{Error, read_dir};
use proptest::prelude::*;

fn sample(format: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../traces")).join(format)
}

/// A row with its names.
struct Row {
    event: Event,
    object: String,
    endpoint: String,
    tag: String,
}

fn rows(folder: &Path) -> Vec<Vec<Row>> {
    let text = |name: Option<&str>| name.unwrap_or_default().to_owned();
    let read = |trace: &dlio_trace::RankTrace| {
        let batches: Vec<_> = trace.batches().unwrap().collect::<Result<_, _>>().unwrap();
        let of_batch = |batch: &dlio_trace::Batch| -> Vec<Row> {
            let row = |at| Row {
                event: batch.event(at),
                object: text(batch.object.get(at)),
                endpoint: text(batch.endpoint.get(at)),
                tag: text(batch.tag.get(at)),
            };
            (0..batch.len()).map(row).collect()
        };
        batches.iter().flat_map(of_batch).collect()
    };
    read_dir(folder).unwrap().iter().map(read).collect()
}

fn imported(sources: &[PathBuf]) -> (Imported, Vec<Vec<Row>>) {
    let out = tempfile::tempdir().unwrap();
    let done = import(sources, out.path(), &Options::default()).unwrap();
    let rows = rows(out.path());
    assert_eq!(done.rows, rows.iter().map(|rank| rank.len() as u64).sum::<u64>());
    (done, rows)
}

fn count(rows: &[Row], kind: OpKind) -> usize {
    rows.iter().filter(|row| row.event.kind == kind).count()
}

#[test]
fn dftracer_gives_system_calls_with_files_and_the_spans_of_the_loop() {
    let (done, ranks) = imported(&[sample("dftracer")]);
    assert_eq!((done.formats.clone(), done.ranks, done.malformed), (vec!["dftracer"], 1, 0));
    let rank = &ranks[0];
    assert_eq!((count(rank, OpKind::Compute), count(rank, OpKind::Fetch), count(rank, OpKind::Epoch)), (2, 2, 1));
    assert_eq!((count(rank, OpKind::Sample), count(rank, OpKind::Open), count(rank, OpKind::Read)), (4, 4, 28));
    let read = rank.iter().find(|row| row.event.kind == OpKind::Read).unwrap();
    assert_eq!(read.object, "data/train/img_0_of_8.npz");
    assert_eq!((read.event.bytes, read.event.requested), (4096, Some(4096)));
    assert_eq!(read.event.start, 1_795_245_321_497_028_000);
    assert_eq!(read.event.duration(), 253_000);
    let compute = rank.iter().find(|row| row.event.kind == OpKind::Compute).unwrap();
    assert_ne!(compute.event.lane, read.event.lane, "the loop and the worker are two lanes");
    assert_eq!(done.skipped["lseek64"], 52);
    let trace = &done.skipped;
    assert!(trace.values().sum::<u64>() + done.rows < done.lines, "the rest is bookkeeping");
}

#[test]
fn an_op_log_gives_each_request_once() {
    let (done, ranks) = imported(&[sample("op-log")]);
    assert_eq!((done.formats.clone(), done.malformed), (vec!["op-log"], 0));
    let all: Vec<&Row> = ranks.iter().flatten().collect();
    let puts: Vec<_> = all.iter().filter(|row| row.event.kind == OpKind::Put).collect();
    assert_eq!(puts.len(), 12, "{:?}", done.skipped);
    assert_eq!(puts[0].event.bytes, 40_000);
    let gets = all.iter().filter(|row| row.event.kind == OpKind::Get).count();
    assert_eq!(gets, 25, "24 and one that failed");
    let failed: Vec<_> = all.iter().filter(|row| row.event.outcome != Outcome::Ok).collect();
    assert_eq!((failed.len(), failed[0].event.outcome, failed[0].event.bytes), (1, Outcome::NotFound, 0));
    assert!(puts.iter().all(|row| row.event.first_byte.is_none()), "its start stands there");
    assert!(puts[0].endpoint.starts_with("http://127.0.0.1:"));
}

#[test]
fn warp_tells_first_and_last_bytes_clients_and_errors() {
    let (done, ranks) = imported(&[sample("warp")]);
    assert_eq!((done.formats.clone(), done.rows, done.ranks, done.malformed), (vec!["warp"], 60, 2, 0));
    let get = ranks[0].iter().find(|row| row.event.kind == OpKind::Get).unwrap();
    assert!(get.event.first_byte.is_some_and(|at| at > get.event.start && at < get.event.end));
    let put = ranks[0].iter().find(|row| row.event.kind == OpKind::Put).unwrap();
    assert!(put.event.last_byte.is_some_and(|at| at > put.event.start && at < put.event.end));
    let refused: Vec<_> = ranks.iter().flatten().filter(|row| row.event.outcome == Outcome::Throttled).collect();
    assert_eq!((refused.len(), refused[0].event.bytes), (1, 0));
}

#[test]
fn elbencho_pairs_begin_and_end_and_counts_what_never_ended() {
    let (done, ranks) = imported(&[sample("elbencho")]);
    assert_eq!((done.rows, done.ranks, done.unfinished, done.malformed), (24, 3, 1, 0));
    let read = &ranks[1][1];
    assert_eq!((read.event.kind, read.event.offset, read.event.bytes), (OpKind::Read, 1 << 20, 1 << 20));
    assert!(read.event.duration() >= 1_000_000);
    assert_eq!(ranks.iter().flatten().filter(|row| row.event.outcome == Outcome::Io).count(), 1);
}

#[test]
fn fio_gives_ranges_at_their_times_in_both_versions() {
    let (done, ranks) = imported(&[sample("fio")]);
    assert_eq!((done.ranks, done.malformed), (2, 0));
    assert_eq!(done.skipped["trim"], 1);
    let first = &ranks[0];
    assert!(first.iter().any(|row| row.event.kind == OpKind::Write && row.event.bytes == 65_536));
    assert!(first.iter().all(|row| row.object.starts_with("/data/job")));
    let waits = &ranks[1];
    let reads: Vec<_> = waits.iter().filter(|row| row.event.kind == OpKind::Read).map(|row| row.event).collect();
    assert_eq!((reads[0].start, reads[1].start, reads[1].offset), (0, 2_000_000, 65_536));
    assert_eq!(count(waits, OpKind::Fsync), 1);
}

#[test]
fn the_kv_cache_gives_sizes_and_labels() {
    let (done, ranks) = imported(&[sample("kv-cache")]);
    assert_eq!((done.rows, done.ranks), (40, 1));
    let write = ranks[0].iter().find(|row| row.event.kind == OpKind::Write).unwrap();
    assert_eq!((write.event.bytes, write.object.as_str(), write.tag.as_str()), (131_072, "kv_0000", "Tier-1 Prefill"));
}

#[test]
fn darshan_gives_segments_of_ranks_and_hosts() {
    let out = tempfile::tempdir().unwrap();
    let done = import(&[sample("darshan-dxt")], out.path(), &Options::default()).unwrap();
    assert_eq!((done.rows, done.ranks, done.malformed), (16, 2, 0));
    let traces = read_dir(out.path()).unwrap();
    assert_eq!((traces[1].header.host.as_str(), traces[1].header.world), ("node1", 2));
    assert!(traces[0].header.config_json.contains("since the start of the source"));
    let ranks = rows(out.path());
    assert_eq!((ranks[1][5].event.kind, ranks[1][5].event.offset), (OpKind::Read, 1 << 20));
    assert_eq!(ranks[0][0].event.start, 100_000_000);
}

fn write(folder: &Path, name: &str, text: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn broken_lines_are_counted_with_examples_and_stop_a_strict_import() {
    let folder = tempfile::tempdir().unwrap();
    let sound = std::fs::read_to_string(sample("kv-cache").join("io.csv")).unwrap();
    let broken = format!("{sound}1795248000.1,Read,x,Tier-1,k,Decode\n\u{1}\n1795248000.1,Read\n");
    let path = write(folder.path(), "io.csv", broken.as_bytes());
    let (done, _) = imported(std::slice::from_ref(&path));
    assert_eq!((done.rows, done.malformed, done.examples.len()), (40, 3, 3));
    assert_eq!(done.examples[0].line, 42);
    assert!(done.examples[0].reason.contains("Object_Size_Bytes is \"x\""), "{}", done.examples[0].reason);
    let out = folder.path().join("out");
    let error = import(&[path], &out, &Options { strict: true, ..Options::default() }).unwrap_err();
    assert!(error.to_string().contains("io.csv, line 42"), "{error}");
}

#[test]
fn a_file_of_no_known_format_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "poem.txt", b"Shall I compare thee\n");
    let error = import(&[path], &folder.path().join("out"), &Options::default()).unwrap_err();
    assert!(matches!(&error, Error::UnknownSource { path } if path.ends_with("poem.txt")), "{error}");
    let missing = import(&[folder.path().join("none")], folder.path(), &Options::default()).unwrap_err();
    assert!(missing.to_string().contains("none"), "{missing}");
}

#[test]
fn a_line_without_end_takes_no_more_memory_than_the_longest_that_is_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let mut text = b"fio version 3 iolog\n".to_vec();
    text.extend(std::iter::repeat_n(b'x', 5 << 20));
    text.extend(b"\n7 /data/a read 0 10\n");
    let path = write(folder.path(), "long.log", &text);
    let (done, ranks) = imported(&[path]);
    assert_eq!((done.malformed, ranks[0].len()), (1, 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn no_text_makes_an_importer_panic(lines in proptest::collection::vec("[ -~\\t]{0,60}", 0..12), which in 0..SourceFormat::ALL.len()) {
        let folder = tempfile::tempdir().unwrap();
        let (format, _) = SourceFormat::ALL[which];
        let head = match format {
            SourceFormat::OpLog | SourceFormat::Warp => "op\tbytes\tfile\tstart\tend\tfirst_byte\n",
            SourceFormat::Fio => "fio version 3 iolog\n",
            SourceFormat::KvCache => "Timestamp,Operation,Object_Size_Bytes,Key\n",
            _ => "",
        };
        let path = write(folder.path(), "any", format!("{head}{}", lines.join("\n")).as_bytes());
        let options = Options { format: Some(format), ..Options::default() };
        let done = import(&[path], &folder.path().join("out"), &options).unwrap();
        prop_assert!(done.rows + done.malformed <= done.lines);
    }
}
