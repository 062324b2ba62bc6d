//! Import of every format, from the samples in `traces/` and from malformed lines.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::{Path, PathBuf};

use dlio_event::{Event, OpKind, Outcome};
use dlio_trace::import::{Imported, Options, SourceFormat, import};
use dlio_trace::{Error, read_dir};
use proptest::prelude::*;

fn sample(format: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../traces")).join(format)
}

/// An event with its names.
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
        let of_batch = |batch: &dlio_trace::Rows| -> Vec<Row> {
            let row = |row: dlio_trace::Row<'_>| Row {
                event: row.event(),
                object: text(row.object()),
                endpoint: text(row.endpoint()),
                tag: text(row.tag()),
            };
            batch.views().map(row).collect()
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
    let mut reads = rank.iter().filter(|row| row.event.kind == OpKind::Read);
    let read = reads.next().unwrap();
    assert_eq!(read.object, "data/train/img_0_of_8.npz");
    assert_eq!((read.event.bytes, read.event.requested), (4096, Some(4096)));
    assert_eq!(read.event.start, 1_795_245_321_497_028_000);
    assert_eq!(read.event.duration(), 253_000);
    let sought = reads.next().unwrap();
    assert_eq!(
        (sought.event.offset, sought.event.bytes, sought.event.requested),
        (4572, 22, Some(23)),
        "as lseek said"
    );
    let compute = rank.iter().find(|row| row.event.kind == OpKind::Compute).unwrap();
    assert_ne!(compute.event.lane, read.event.lane, "the loop and the worker are two lanes");
    assert_eq!(done.skipped["lseek64"], 52);
    assert!(done.skipped.values().sum::<u64>() + done.rows < done.lines, "the rest is bookkeeping");
}

#[test]
fn dftracers_older_layouts_give_the_same_rows() {
    let (done, ranks) = imported(&[sample("dftracer-older")]);
    assert_eq!((done.rows, done.ranks, done.malformed, done.skipped["lseek"]), (74, 2, 0, 6));
    for rank in &ranks {
        assert_eq!((count(rank, OpKind::Open), count(rank, OpKind::Read), count(rank, OpKind::Write)), (10, 9, 6));
        assert_eq!((count(rank, OpKind::Close), count(rank, OpKind::Fsync)), (9, 3));
        let of_first = |row: &&Row| row.object == "/data/train/part_0.bin";
        let writes = rank.iter().filter(of_first).filter(|row| row.event.kind == OpKind::Write);
        let ranges: Vec<_> = writes.map(|row| (row.event.offset, row.event.bytes)).collect();
        assert_eq!(ranges, [(0, 65_536), (65_536, 65_536)], "writes go on where the one before ended");
        let reads = rank.iter().filter(of_first).filter(|row| row.event.kind == OpKind::Read);
        let ranges: Vec<_> = reads.map(|row| (row.event.offset, row.event.bytes)).collect();
        assert_eq!(ranges, [(65_536, 65_536), (0, 65_536), (0, 4096)], "pread moves nothing; fread counts items");
    }
    let failed = ranks[0].iter().filter(|row| row.event.outcome == Outcome::Io).count();
    assert_eq!(failed, 1, "the oldest layout tells what open returned");
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
    assert!(
        all.iter().all(|row| row.object.starts_with("s3://trace-sample/")),
        "an object has one name, with its bucket"
    );
    assert!(puts[0].endpoint.starts_with("http://127.0.0.1:"));
}

#[test]
fn a_log_of_an_older_warp_has_the_columns_of_an_op_log() {
    let (done, ranks) = imported(&[sample("warp").join("get-0.6.9.csv.zst")]);
    assert_eq!((done.formats.clone(), done.rows, done.ranks, done.malformed), (vec!["op-log"], 36, 1, 0));
    assert_eq!((count(&ranks[0], OpKind::Put), count(&ranks[0], OpKind::Get)), (12, 24));
    let get = ranks[0].iter().find(|row| row.event.kind == OpKind::Get).unwrap();
    assert!(get.event.first_byte.is_some_and(|at| at > get.event.start && at < get.event.end));
    let lanes: std::collections::BTreeSet<_> = ranks[0].iter().map(|row| row.event.lane).collect();
    assert_eq!(lanes.len(), 4);
}

#[test]
fn warp_gives_first_and_last_bytes_clients_and_errors() {
    let (done, ranks) = imported(&[sample("warp").join("get-full.tsv")]);
    assert_eq!((done.formats.clone(), done.rows, done.ranks, done.malformed), (vec!["warp"], 60, 2, 0));
    let get = ranks[0].iter().find(|row| row.event.kind == OpKind::Get).unwrap();
    assert!(get.event.first_byte.is_some_and(|at| at > get.event.start && at < get.event.end));
    let put = ranks[0].iter().find(|row| row.event.kind == OpKind::Put).unwrap();
    assert!(put.event.last_byte.is_some_and(|at| at > put.event.start && at < put.event.end));
    let refused: Vec<_> = ranks.iter().flatten().filter(|row| row.event.outcome == Outcome::Throttled).collect();
    assert_eq!((refused.len(), refused[0].event.bytes), (1, 0));
}

#[test]
fn elbencho_pairs_begin_and_end() {
    let (done, ranks) = imported(&[sample("elbencho")]);
    assert_eq!((done.rows, done.ranks, done.unfinished, done.malformed), (77, 2, 0, 0));
    let both: Vec<&Row> = ranks.iter().flatten().collect();
    let of = |kind| both.iter().filter(|row| row.event.kind == kind).count();
    assert_eq!((of(OpKind::Read), of(OpKind::Write), of(OpKind::Open)), (32, 16, 13));
    let bytes: u64 = both.iter().filter(|row| row.event.kind == OpKind::Read).map(|row| row.event.bytes).sum();
    assert_eq!(bytes, 2 << 20);
    assert!(both.iter().all(|row| row.object.starts_with("/data/elb/r")), "files, not their numbers");
    let files: std::collections::BTreeSet<_> =
        both.iter().filter(|row| row.event.kind == OpKind::Write).map(|row| row.object.as_str()).collect();
    assert_eq!(files.len(), 4);
    let failed: Vec<_> = both.iter().filter(|row| row.event.outcome == Outcome::Io).collect();
    assert_eq!(
        (failed.len(), failed[0].event.kind, failed[0].object.as_str()),
        (1, OpKind::Open, "/data/elb/r0/d0/r0-f0")
    );
}

#[test]
fn a_file_number_of_elbencho_stands_for_the_file_that_its_worker_opened_before() {
    let folder = tempfile::tempdir().unwrap();
    let done = |worker: i32, op: &str, entry: &str, failed: bool| {
        [false, true].map(|ends| {
            format!(
                "{{ \"date\": \"2026-02-03T04:05:06.000+0100\", \"worker_rank\": {worker}, \"op_name\": \"{op}\", \"entry_name\": \
                 \"{entry}\", \"offset\": 0, \"length\": 1, \"is_finished\": {ends}, \"is_error\": {} }}\n",
                failed && ends
            )
        })
    };
    let lines = [
        (0, "openat", "/a", false),
        (1, "openat", "/b", false),
        (1, "pread", "7", false),
        (0, "aioread", "6", false),
        (0, "close", "6", false),
        (0, "openat", "/none", true),
        (0, "openat", "/c", false),
        (0, "cuFileRead", "0", false),
        (0, "close", "6", false),
        (0, "pread", "6", false),
        (1, "open", "/d", false),
        (1, "pread", "7", false),
        (1, "pread", "8", false),
        (1, "open", "/e", false),
        (1, "open", "/f", false),
        (1, "pread", "9", false),
    ];
    let text: String = lines.iter().flat_map(|(worker, op, entry, failed)| done(*worker, op, entry, *failed)).collect();
    let (_, ranks) = imported(&[write(folder.path(), "ops.jsonl", text.as_bytes())]);
    let names = |rank: &[Row]| rank.iter().map(|row| row.object.clone()).collect::<Vec<_>>();
    assert_eq!(names(&ranks[0]), ["/a", "/a", "/a", "/none", "/c", "/c", "/c", "6"]);
    assert_eq!(names(&ranks[1]), ["/b", "/b", "/d", "/b", "/d", "/e", "/f", "9"], "one of two files keeps its number");
}

#[test]
fn elbenchos_operations_without_an_end_are_counted_and_equal_ones_are_kept_apart() {
    let folder = tempfile::tempdir().unwrap();
    let line = |at: u32, file: &str, ends: bool| {
        format!(
            "{{ \"date\": \"2026-02-03T04:05:06.{at:03}+0100\", \"worker_rank\": 0, \"op_name\": \"pread\", \
             \"entry_name\": \"{file}\", \"offset\": 0, \"length\": 10, \"is_finished\": {ends}, \"is_error\": false }}\n"
        )
    };
    let lines = [("a", false), ("b", false), ("a", false), ("b", true), ("a", true), ("c", true)];
    let text: String = (0..).zip(lines).map(|(at, (file, ends))| line(at, file, ends)).collect();
    let path = write(folder.path(), "ops.jsonl", text.as_bytes());
    let (done, ranks) = imported(&[path]);
    assert_eq!((done.rows, done.unfinished, done.malformed), (2, 1, 1));
    let spans: Vec<_> = ranks[0].iter().map(|row| (row.object.as_str(), row.event.duration())).collect();
    assert_eq!(spans, [("a", 4_000_000), ("b", 2_000_000)]);
}

#[test]
fn fio_gives_ranges_at_their_times_in_both_versions() {
    let (done, ranks) = imported(&[sample("fio")]);
    assert_eq!((done.ranks, done.malformed), (2, 0));
    for rank in &ranks {
        assert!(rank.iter().any(|row| row.event.kind == OpKind::Write && row.event.bytes == 65_536));
        assert!(rank.iter().all(|row| row.object.starts_with("/data/job")));
    }
    assert_eq!((ranks[0].len(), count(&ranks[0], OpKind::Read)), (12, 4));
    assert!(ranks[1].iter().any(|row| row.event.start > 0));
}

#[test]
fn the_waits_of_fios_version_2_last_until_milliseconds_after_its_start() {
    let folder = tempfile::tempdir().unwrap();
    let text = "fio version 2 iolog\n/a b add\n/a b open\n/a b read 0 10\n/a b wait 2000 0\n/a b read 10 10\n\
                /a b wait 99\n/a b wait 500\n/a b sync 0 0\n/a b trim 0 10\n/a b close\n";
    let (done, ranks) = imported(&[write(folder.path(), "v2.log", text.as_bytes())]);
    assert_eq!((done.malformed, done.skipped["trim"]), (0, 1));
    let told: Vec<_> = ranks[0].iter().map(|row| (row.event.kind, row.event.start)).collect();
    let expected = [
        (OpKind::Open, 0),
        (OpKind::Read, 0),
        (OpKind::Read, 2_000_000_000),
        (OpKind::Fsync, 2_000_000_000),
        (OpKind::Close, 2_000_000_000),
    ];
    assert_eq!(told, expected);
    assert!(ranks[0].iter().all(|row| row.object == "/a b"));
}

#[test]
fn a_log_that_fio_appended_to_another_begins_when_that_one_ends() {
    let folder = tempfile::tempdir().unwrap();
    let text = "fio version 3 iolog\n5 /a  add\n7 /a\topen\n10 /a b   read 0\t4096\nfio version 3 iolog\n0 /a add\n0 /c open\n\
                3\t/c sync_file_range 0 0\n4 /c syncfs 0 0\n";
    let (done, ranks) = imported(&[write(folder.path(), "v3.log", text.as_bytes())]);
    assert_eq!((done.malformed, done.skipped.len()), (0, 0));
    let told: Vec<_> = ranks[0].iter().map(|row| (row.object.as_str(), row.event.kind, row.event.start)).collect();
    let expected = [
        ("/a", OpKind::Open, 7_000),
        ("/a b", OpKind::Read, 10_000),
        ("/c", OpKind::Open, 10_000),
        ("/c", OpKind::Fsync, 13_000),
        ("/c", OpKind::Fsync, 14_000),
    ];
    assert_eq!(told, expected);
}

#[test]
fn jobs_that_fio_put_into_one_log_are_processes_at_the_same_time() {
    let folder = tempfile::tempdir().unwrap();
    let job = |number: u32| {
        format!(
            "fio version 3 iolog\n27 /d/j.{number}.0 add\n120 /d/j.{number}.0 open\n202026 /d/j.{number}.0 read 4096 4096\n"
        )
    };
    let (done, ranks) = imported(&[write(folder.path(), "l.log", (job(0) + &job(1)).as_bytes())]);
    assert_eq!((done.rows, done.ranks, done.malformed, done.warnings.len()), (4, 2, 0, 1));
    for (number, rank) in ranks.iter().enumerate() {
        let told: Vec<_> = rank.iter().map(|row| (row.object.clone(), row.event.start)).collect();
        assert_eq!(told, [120_000, 202_026_000].map(|at| (format!("/d/j.{number}.0"), at)));
    }
}

#[test]
fn the_kv_cache_gives_sizes_and_labels() {
    let (done, ranks) = imported(&[sample("kv-cache")]);
    assert_eq!((done.rows, done.ranks, done.malformed), (213, 1, 0));
    let write = ranks[0].iter().find(|row| row.event.kind == OpKind::Write).unwrap();
    assert_eq!((write.event.bytes, write.tag.as_str()), (319_488, "Tier-0 Prefill"));
    assert_eq!(write.object, "conv_user_0002_1795271915920_turn_1");
    assert_eq!(write.event.start, 1_795_271_915_921_563_000);
    assert_eq!(count(&ranks[0], OpKind::Write), 63);
}

#[test]
fn keys_in_quotes_may_hold_commas() {
    let folder = tempfile::tempdir().unwrap();
    let text = "Phase,\"Key\",Timestamp,Operation,Extra,Object_Size_Bytes\r\n\
                Decode,\"a,\"\"b\"\"\",1.5,read,,7\r\nDecode,\"open,2.5,read,,7\r\n";
    let (done, ranks) = imported(&[write(folder.path(), "io.csv", text.as_bytes())]);
    assert_eq!((done.rows, done.malformed), (1, 1));
    assert_eq!((ranks[0][0].object.as_str(), ranks[0][0].event.start), ("a,\"b\"", 1_500_000_000));
}

#[test]
fn darshan_gives_segments_of_ranks_threads_and_hosts() {
    let out = tempfile::tempdir().unwrap();
    let newer = sample("darshan-dxt").join("dxt-3.5.0.txt");
    let done = import(&[newer], out.path(), &Options::default()).unwrap();
    assert_eq!((done.rows, done.ranks, done.malformed), (33, 2, 0));
    assert_eq!(done.skipped["X_MPIIO (its POSIX calls are imported)"], 4);
    let traces = read_dir(out.path()).unwrap();
    assert_eq!((traces[1].header.host.as_str(), traces[1].header.world), ("vm", 2));
    assert!(traces[0].header.config_json.contains("since 1970"), "the head has the start of the job");
    let ranks = rows(out.path());
    let lanes = |rank: &[Row]| rank.iter().map(|row| row.event.lane).collect::<std::collections::BTreeSet<_>>().len();
    assert_eq!((lanes(&ranks[0]), lanes(&ranks[1])), (3, 3), "the loop and two readers");
    let (older, ranks) = imported(&[sample("darshan-dxt").join("dxt-3.4.7.txt")]);
    assert_eq!((older.rows, older.malformed, lanes(&ranks[0])), (33, 0, 1));
    let bytes =
        |kind| ranks.iter().flatten().filter(|row| row.event.kind == kind).map(|row| row.event.bytes).sum::<u64>();
    assert_eq!(bytes(OpKind::Read), 4 * (4 * 65_536 + 4096) + 32_768);
}

#[test]
fn targets_of_lustre_are_not_threads() {
    let folder = tempfile::tempdir().unwrap();
    let text = "# DXT, file_id: 1, file_name: /a b/c\n# DXT, rank: 3, hostname: n1\n\
                 X_POSIX 3 write 0 0 10 0.5 0.6 [4] [7]\n X_POSIX 3 read 0 0 10 0.7 0.8 [4] 77\n\
                 X_POSIX 3 read 1 0 10 0.7 0.8 N/A\n X_MPIIO 3 read 1 10 0.7 0.8\n X_POSIX x read 1 0 10 0.7 0.8\n\
                 X_POSIX 3 read 1 0 10 0.7\n";
    let (done, ranks) = imported(&[write(folder.path(), "dxt.txt", text.as_bytes())]);
    assert_eq!((done.rows, done.malformed, done.ranks), (3, 2, 4));
    let lanes: Vec<_> = ranks[0].iter().map(|row| row.event.lane.0).collect();
    assert_eq!(lanes, [0, 1, 0]);
    assert!(ranks[0].iter().all(|row| row.object == "/a b/c"));
}

#[test]
fn segments_whose_file_name_is_unreadable_belong_to_no_other_file() {
    let folder = tempfile::tempdir().unwrap();
    let text =
        b"# DXT, file_id: 1, file_name: /a\nX_POSIX 0 read 0 0 10 0.5 0.6\n# DXT, file_id: 2, file_name: /\xe9\n\
                 X_POSIX 0 read 0 0 20 0.5 0.6\n# DXT, file_id: 3, file_name: /c\nX_POSIX 0 read 0 0 30 0.5 0.6\n";
    let (done, ranks) = imported(&[write(folder.path(), "dxt.txt", text)]);
    assert_eq!((done.rows, done.malformed), (2, 2));
    let told: Vec<_> = ranks[0].iter().map(|row| (row.object.as_str(), row.event.bytes)).collect();
    assert_eq!(told, [("/a", 10), ("/c", 30)]);
    let (_, bare) = imported(&[write(folder.path(), "bare.txt", b"X_POSIX 0 read 0 0 10 0.5 0.6\n")]);
    assert_eq!(bare[0][0].object, "");
}

#[test]
fn dftracers_time_unit_is_guessed_if_only_the_last_line_has_it() {
    let folder = tempfile::tempdir().unwrap();
    for (name, ts, dur) in
        [("s", 1_785_104_602_i64, 2), ("ms", 1_785_104_602_000, 2_000), ("us", 1_785_104_602_000_000, 2_000_000)]
    {
        let text = format!(
            "{{\"id\":1,\"name\":\"read\",\"cat\":\"POSIX\",\"type\":3,\"pid\":1,\"tid\":1,\"ts\":{ts},\"dur\":{dur},\
             \"ph\":1,\"args\":{{\"ret\":5}}}}\n"
        );
        let (_, ranks) = imported(&[write(folder.path(), name, text.as_bytes())]);
        let event = ranks[0][0].event;
        assert_eq!((event.start, event.duration()), (1_785_104_602_000_000_000, 2_000_000_000), "{name}");
    }
}

fn write(folder: &Path, name: &str, text: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn malformed_lines_are_counted_with_examples_and_stop_a_strict_import() {
    let folder = tempfile::tempdir().unwrap();
    let sound = "Timestamp,Operation,Object_Size_Bytes,Tier,Key,Phase\n1795248000.1,Read,7,Tier-1,k,Decode\n";
    let broken = format!("{sound}1795248000.1,Read,x,Tier-1,k,Decode\n\u{1}\n1795248000.1,Read\n");
    let path = write(folder.path(), "io.csv", broken.as_bytes());
    let (done, _) = imported(std::slice::from_ref(&path));
    assert_eq!((done.rows, done.malformed, done.examples.len()), (1, 3, 3));
    assert_eq!(done.examples[0].line, 3);
    assert!(done.examples[0].reason.contains("Object_Size_Bytes is \"x\""), "{}", done.examples[0].reason);
    let out = folder.path().join("out");
    let error = import(&[path], &out, &Options { strict: true, ..Options::default() }).unwrap_err();
    assert!(error.to_string().contains("io.csv, line 3"), "{error}");
    assert!(!out.exists(), "nothing is left of it");
}

#[test]
fn a_file_of_no_known_format_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "poem.txt", b"Shall I compare thee\n");
    let error = import(&[path], &folder.path().join("out"), &Options::default()).unwrap_err();
    assert!(matches!(&error, Error::UnknownSource { path, .. } if path.ends_with("poem.txt")), "{error}");
    let missing = import(&[folder.path().join("none")], folder.path(), &Options::default()).unwrap_err();
    assert!(missing.to_string().contains("none"), "{missing}");
}

#[test]
fn a_line_without_end_takes_no_more_memory_than_the_longest_accepted_line() {
    let folder = tempfile::tempdir().unwrap();
    let mut text = b"fio version 3 iolog\n".to_vec();
    text.extend(std::iter::repeat_n(b'x', 5 << 20));
    text.extend(b"\n7 /data/a read 0 10\n");
    let path = write(folder.path(), "long.log", &text);
    let (done, ranks) = imported(&[path]);
    assert_eq!((done.malformed, ranks[0].len()), (1, 1));
}

#[test]
fn an_import_without_a_row_fails_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let fails = |text: &[u8], format: Option<SourceFormat>, expected: &str| {
        let path = write(folder.path(), "source", text);
        let error = import(&[path], &out, &Options { format, ..Options::default() }).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("source"), "{error}");
        assert!(!out.exists(), "{error}");
    };
    fails(b"", None, "no operation in 0 lines");
    fails(b" \n\n", None, "no operation in 2 lines");
    fails(b"[\n]\n", None, "no operation in 2 lines");
    let wrong = std::fs::read(sample("elbencho").join("ops.jsonl")).unwrap();
    fails(&wrong, Some(SourceFormat::Fio), "154 are not lines of fio, and the first of them is");
    fails(b"idx\top\tbytes\tfile\tstart\tend\n0\tHUG\t1\tf\tx\ty\n", None, "HUG for instance");
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    assert!(import(&[empty], &out, &Options::default()).unwrap_err().to_string().contains("nothing to import"));
}

#[test]
fn a_folder_with_nothing_to_import_is_described_by_its_contents() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let run = folder.path().join("run");
    std::fs::create_dir(&run).unwrap();
    let fails = |source: &Path, parts: &[&str]| {
        let error = import(&[source.to_owned()], &out, &Options::default()).unwrap_err().to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        assert!(!out.exists());
    };
    fails(&run, &["run is an empty folder"]);
    let trace = run.join("trace");
    std::fs::create_dir(&trace).unwrap();
    fails(&run, &["run holds folders only", "name trace"]);
    import(&[sample("elbencho")], &trace, &Options::default()).unwrap();
    std::fs::write(run.join("dlio.log"), "[OUTPUT] 2026-01-01 a line\n").unwrap();
    fails(&run, &["run/trace holds traces of dlio-rs, which need no import"]);
    // Alone, and together with other sources.
    fails(&trace, &["need no import"]);
    std::fs::copy(trace.join("rank-00000.parquet"), trace.join("rank-09999.parquet")).unwrap();
    fails(&trace, &["none of its files can be imported", "rank-00000.parquet", "need no import"]);
    fails(&write(folder.path(), "garbage", b"garbage\n"), &["name its format with --from"]);
}

#[test]
fn a_source_that_is_named_twice_is_imported_once() {
    let out = tempfile::tempdir().unwrap();
    let file = sample("elbencho").join("ops.jsonl");
    let once = import(std::slice::from_ref(&file), &out.path().join("once"), &Options::default()).unwrap();
    let twice = import(&[file, sample("elbencho")], &out.path().join("twice"), &Options::default()).unwrap();
    assert_eq!(twice.rows, once.rows);
    assert!(twice.warnings.iter().any(|warning| warning.contains("given more than once")), "{:?}", twice.warnings);
}

#[test]
fn an_unwritable_target_is_reported_before_anything_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "file", b"");
    // Reading a FIFO without a writer would block forever.
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let error = import(&[pipe], &file.join("out"), &Options::default()).unwrap_err();
    assert!(matches!(&error, Error::ImportTarget { folder, .. } if folder.ends_with("file/out")), "{error}");
}

fn in_gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, text).unwrap();
    encoder.finish().unwrap()
}

/// Reads a sample as plain text.
fn text_of(path: &Path) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap();
    let mut text = Vec::new();
    match bytes.first() {
        Some(0x1f) => {
            std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(&bytes[..]), &mut text).unwrap();
        }
        Some(0x28) => text = zstd::decode_all(&bytes[..]).unwrap(),
        _ => text = bytes,
    }
    text
}

/// Returns one file of each format and layout.
fn samples() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for format in
        ["dftracer", "dftracer-older", "op-log", "warp", "elbencho", "fio", "kv-cache", "darshan-dxt", "chrome"]
    {
        let inside = std::fs::read_dir(sample(format)).unwrap().map(|entry| entry.unwrap().path());
        files.extend(inside.filter(|path| !path.ends_with("origin.txt")));
    }
    files.sort();
    assert_eq!(files.len(), 14);
    files
}

/// Returns the result of an import without file names that depend on the format.
fn facts(path: &Path, text: &[u8]) -> (u64, u64, u64, u32, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    let (done, ranks) = imported(&[write(folder.path(), name, text)]);
    let told =
        ranks.iter().flatten().map(|row| format!("{} {} {} {:?}", row.object, row.endpoint, row.tag, row.event.at));
    (done.rows, done.malformed, done.unfinished, done.ranks, told.collect())
}

#[test]
fn line_ends_blank_lines_and_containers_change_nothing() {
    for path in samples() {
        let plain = text_of(&path);
        let expected = facts(&path, &plain);
        assert_eq!(expected.1, 0, "{}", path.display());
        let text = String::from_utf8(plain.clone()).unwrap().replace("\r\n", "\n");
        let same = |what: &str, variant: &[u8]| {
            assert_eq!(facts(&path, variant), expected, "{} with {what}", path.display());
        };
        same("CRLF", text.replace('\n', "\r\n").as_bytes());
        same("blank lines", format!("\n{}", text.replace('\n', "\n\n")).as_bytes());
        same("no newline at the end", text.trim_end().as_bytes());
        same("a byte order mark", format!("\u{feff}{text}").as_bytes());
        let (first, second) = plain.split_at(plain.len() / 2);
        same("two gzip members", &[in_gzip(first), in_gzip(second)].concat());
        let zstd = |bytes| zstd::encode_all(bytes, 1).unwrap();
        same("two zstd frames", &[zstd(first), zstd(second)].concat());
    }
}

#[test]
fn pytorchs_profile_gives_the_waits_for_batches() {
    let (done, ranks) = imported(&[sample("chrome")]);
    assert_eq!((done.formats.clone(), done.rows, done.ranks, done.malformed), (vec!["chrome"], 5, 1, 0));
    assert!(ranks[0].iter().all(|row| row.event.kind == OpKind::Fetch && row.event.duration() > 1_000));
    assert!(done.skipped.contains_key("aten::empty"));
}

#[test]
fn unusual_lines_of_an_op_log_are_rows_or_malformed() {
    let folder = tempfile::tempdir().unwrap();
    let head = "idx\tthread\top\tclient_id\tn_objects\tbytes\tendpoint\tfile\terror\tstart\tfirst_byte\tlast_byte\tend\tduration_ns\tcat";
    let row = |op: &str, bytes: &str, file: &str, error: &str, start: &str, end: &str| {
        format!(
            "0\t7\t{op}\tc\t1\t{bytes}\thttp://h:9000\t{file}\t{error}\t2026-11-21T{start}\t\t\t2026-11-21T{end}\t0\t0"
        )
    };
    let lines = [
        head.to_owned(),
        row("GET", "5", "später/ü 😀", "", "09:00:02.5+01:00", "09:00:02.5+01:00"),
        row("GET", "18446744073709551615", "a b", "", "08:00:01Z", "08:00:03.123456789Z"),
        row("PUT", "9", "c", "\"Put \"\"http://h/c\"\":\tdial\nconnection refused\"", "08:00:00Z", "08:00:01Z"),
        row("get", "9", "\"d", "\"no end", "08:00:09-00:30", "08:00:10-00:30"),
        row("APPEND", "9", "e", "", "08:00:00Z", "08:00:01Z"),
        row("GET", "9", "f", "", "08:00:01Z", "08:00:00Z"),
        row("GET", "-9", "g", "", "08:00:01Z", "08:00:02Z"),
        row("GET", "18446744073709551616", "h", "", "08:00:01Z", "08:00:02Z"),
        row("GET", "9", "i", "", "08:61:01Z", "08:00:02Z"),
        row("GET", "9", "j", "", "08:00:01Z", "08:00:02Z").replace("\t0\t0", "\t0"),
    ];
    let path = write(folder.path(), "odd.tsv", lines.join("\n").as_bytes());
    let (done, ranks) = imported(std::slice::from_ref(&path));
    assert_eq!((done.rows, done.malformed, done.lines), (4, 5, 12), "{done:?}");
    assert_eq!(done.skipped["APPEND"], 1);
    let reasons: Vec<&str> = done.examples.iter().map(|example| example.reason.as_str()).collect();
    for (reason, part) in reasons.iter().zip(["before it starts", "bytes", "bytes", "start", "14 fields"]) {
        assert!(reason.contains(part), "{reason}");
    }
    let names: Vec<&str> = ranks[0].iter().map(|row| row.object.as_str()).collect();
    assert_eq!(names, ["c", "a b", "später/ü 😀", "\"d"], "in the order of their starts");
    assert_eq!((ranks[0][0].event.outcome, ranks[0][3].event.outcome), (Outcome::Connect, Outcome::Io));
    assert_eq!((ranks[0][1].event.bytes, ranks[0][2].event.duration()), (i64::MAX as u64, 0));
    let strict = Options { strict: true, ..Options::default() };
    let error = import(&[path], &folder.path().join("out"), &strict).unwrap_err();
    assert!(matches!(&error, Error::Malformed(malformed) if malformed.line == 8), "{error:?}");
}

#[test]
fn tables_may_have_comments_other_orders_and_unknown_columns() {
    let expected = facts(Path::new("a.tsv"), &text_of(&sample("op-log").join("oplog.tsv.zst")));
    let text = String::from_utf8(text_of(&sample("op-log").join("oplog.tsv.zst"))).unwrap();
    let reversed: Vec<String> = text
        .lines()
        .map(|line| {
            let mut fields: Vec<&str> = line.split('\t').rev().collect();
            fields.insert(2, if line.starts_with("idx") { "host" } else { "somewhere" });
            fields.join("\t")
        })
        .collect();
    let variant = format!("# written by another version\n{}\n# end\n", reversed.join("\n"));
    assert_eq!(facts(Path::new("a.tsv"), variant.as_bytes()), expected);
    let again = format!("{text}{text}");
    let twice = facts(Path::new("a.tsv"), again.as_bytes());
    assert_eq!((twice.0, twice.1), (2 * expected.0, 0), "a second header is a header");
}

#[test]
fn truncated_compressed_data_give_their_lines_and_one_malformed_line() {
    let folder = tempfile::tempdir().unwrap();
    let text = text_of(&sample("elbencho").join("ops.jsonl"));
    let whole = facts(Path::new("ops"), &text).0;
    for (name, mut bytes) in [("a.gz", in_gzip(&text)), ("a.zst", zstd::encode_all(&text[..], 1).unwrap())] {
        bytes.truncate(bytes.len() - 40);
        // Enough lines before the damage that some compressed blocks are complete.
        let first = if name == "a.gz" { in_gzip(&text) } else { zstd::encode_all(&text[..], 1).unwrap() };
        let path = write(folder.path(), name, &[first, bytes].concat());
        let (done, _) = imported(std::slice::from_ref(&path));
        assert!(done.rows >= whole && done.rows < 2 * whole, "{name}: {}", done.rows);
        assert_eq!(done.malformed, 1, "{name}: {:?}", done.examples);
        assert!(done.examples[0].reason.contains("compressed data end here"), "{}", done.examples[0].reason);
        let strict = Options { strict: true, ..Options::default() };
        import(&[path], &folder.path().join("out"), &strict).unwrap_err();
    }
}

#[test]
fn names_are_dropped_with_their_events_and_large_sources_make_many_row_groups() {
    let folder = tempfile::tempdir().unwrap();
    let mut text = String::from("fio version 3 iolog\n");
    let rows = 150_000_u64;
    for row in 0..rows {
        use std::fmt::Write as _;
        writeln!(text, "{row} /data/file{row} read {row} 10").unwrap();
    }
    let out = folder.path().join("out");
    let path = write(folder.path(), "big.log", text.as_bytes());
    let done = import(&[path], &out, &Options::default()).unwrap();
    assert_eq!((done.rows, done.ranks), (rows, 1));
    let names: Vec<_> = std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["rank-00000.parquet"]);
    let ranks = self::rows(&out);
    for (row, number) in ranks[0].iter().zip(0_u64..) {
        assert_eq!((row.event.offset, row.event.start), (number, number * 1_000));
        assert_eq!(row.object, format!("/data/file{number}"));
    }
}

/// Returns the number of operations and the bytes of each kind, and the object names.
fn totals(folder: &Path, kinds: &[OpKind]) -> std::collections::BTreeMap<(String, String), (u64, u64)> {
    let mut totals = std::collections::BTreeMap::new();
    for row in rows(folder).iter().flatten().filter(|row| kinds.contains(&row.event.kind)) {
        // Foreign formats have one name for requests of objects and of ranges.
        let name = match row.event.kind {
            OpKind::GetRange | OpKind::Read => "get",
            OpKind::Stat => "head",
            kind => kind.name(),
        };
        let total: &mut (u64, u64) = totals.entry((name.to_owned(), row.object.clone())).or_default();
        *total = (total.0 + 1, total.1 + row.event.bytes);
    }
    totals
}

#[test]
fn what_is_exported_and_imported_again_has_the_same_operations_and_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let recorded = sample("unet3d-2-ranks");
    let traces = read_dir(&recorded).unwrap();
    let (warp, back) = (folder.path().join("run.tsv"), folder.path().join("warp"));
    let mut file = std::fs::File::create(&warp).unwrap();
    dlio_trace::export::warp::write(&traces, &mut file).unwrap();
    import(&[warp], &back, &Options::default()).unwrap();
    let requests = [OpKind::Get, OpKind::GetRange, OpKind::Read, OpKind::Put, OpKind::List, OpKind::Head, OpKind::Stat];
    let expected = totals(&recorded, &requests);
    assert!(!expected.is_empty());
    assert_eq!(totals(&back, &requests), expected);

    let (pfw, back) = (folder.path().join("pfw"), folder.path().join("back"));
    std::fs::create_dir(&pfw).unwrap();
    for trace in &traces {
        let name = format!("trace-{}-of-{}.pfw", trace.header.rank, trace.header.world);
        dlio_trace::export::pfw::write_file(trace, &pfw.join(name)).unwrap();
    }
    import(&[pfw], &back, &Options::default()).unwrap();
    assert_eq!(totals(&back, OpKind::ALL), totals(&recorded, OpKind::ALL));
    let ranges = |folder: &Path| -> Vec<(u64, Option<u64>)> {
        let read = |row: &&Row| matches!(row.event.kind, OpKind::Get | OpKind::GetRange | OpKind::Read);
        rows(folder).iter().flatten().filter(read).map(|row| (row.event.offset, row.event.requested)).collect()
    };
    assert_eq!(ranges(&back).len(), ranges(&recorded).len());
}

/// A seeded random number generator, so that every run makes the same mutations.
struct Numbers(dlio_event::mix::Lcg64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.0.below(limit as u64)).unwrap()
    }
}

/// Changes a few bytes, ranges and numbers.
fn mutate(text: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    const WITH: &[&[u8]] = &[
        b"",
        b"\n",
        b"\t",
        b",",
        b" ",
        b"\"",
        b"{",
        b"}",
        b"\0",
        b"\xff",
        b"-1",
        b"18446744073709551615",
        b"4294967296",
        b"9223372036854775807",
        b"1e308",
        b"\r\n",
        b"#",
        b"[",
        b"null",
        b".",
        b":",
        b"\xf0\x9f\x92\xa9",
        b"X_POSIX ",
    ];
    let mut bytes = text.to_vec();
    for _ in 0..=numbers.below(6) {
        let at = numbers.below(bytes.len() + 1);
        let length = if numbers.below(8) == 0 { numbers.below(bytes.len()) } else { numbers.below(12) };
        let to = (at + length).min(bytes.len());
        let with = match numbers.below(4) {
            // A copy of another part of the text.
            0 => {
                let from = numbers.below(text.len());
                text[from..(from + numbers.below(200)).min(text.len())].to_vec()
            }
            _ => WITH[numbers.below(WITH.len())].to_vec(),
        };
        bytes.splice(at..to, with);
    }
    bytes
}

#[test]
fn mutated_samples_are_imported_or_refused_and_nothing_panics() {
    #[expect(clippy::disallowed_methods, reason = "longer campaigns are run by hand")]
    let rounds = std::env::var("DLIO_IMPORT_MUTATIONS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(25);
    let folder = tempfile::tempdir().unwrap();
    let mut numbers = Numbers(dlio_event::mix::Lcg64::new(42));
    let traces = read_dir(&sample("unet3d-2-ranks")).unwrap();
    let (csv, chrome) = (folder.path().join("run.csv"), folder.path().join("run.json"));
    dlio_trace::export::csv::write(&traces, &mut std::fs::File::create(&csv).unwrap()).unwrap();
    dlio_trace::export::chrome::write(&traces, &mut std::fs::File::create(&chrome).unwrap()).unwrap();
    for path in samples().into_iter().chain([csv, chrome]) {
        let (text, packed) = (text_of(&path), std::fs::read(&path).unwrap());
        for round in 0..rounds {
            let source = if round % 4 == 3 { &packed } else { &text };
            let source = write(folder.path(), "mutated", &mutate(source, &mut numbers));
            let format = (round % 5 == 4).then(|| SourceFormat::ALL[numbers.below(SourceFormat::ALL.len())].0);
            let out = folder.path().join("out");
            let done = match import(&[source], &out, &Options { format, ..Options::default() }) {
                Ok(done) => done,
                Err(error) => {
                    assert!(!out.exists(), "{}, round {round}: {error}", path.display());
                    continue;
                }
            };
            assert!(done.rows + done.malformed <= done.lines, "{}, round {round}", path.display());
            let rows: u64 = read_dir(&out).unwrap().iter().map(|trace| trace.rows).sum();
            assert_eq!(rows, done.rows, "{}, round {round}", path.display());
            std::fs::remove_dir_all(&out).unwrap();
        }
    }
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
            SourceFormat::Csv => "rank,op,t_start_ns,t_end_ns,uri\n",
            SourceFormat::Chrome => "[",
            _ => "",
        };
        let path = write(folder.path(), "any", format!("{head}{}", lines.join("\n")).as_bytes());
        let options = Options { format: Some(format), ..Options::default() };
        if let Ok(done) = import(&[path], &folder.path().join("out"), &options) {
            prop_assert!(done.rows > 0 && done.rows + done.malformed <= done.lines);
        }
    }
}
