//! Warnings of imports, and the assignment of operations to processes, for sources of several days and incomplete logs.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::{Path, PathBuf};

use dlio_event::{OpKind, Phase};
use dlio_trace::import::{Imported, Options, import};
use dlio_trace::{Row, Rows, read_dir};

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// Imports sources and returns the result and the rows of each rank.
fn imported(sources: &[PathBuf]) -> (Imported, Vec<(u32, Vec<Rows>)>) {
    let out = tempfile::tempdir().unwrap();
    let done = import(sources, out.path(), &Options::default()).unwrap();
    let traces = read_dir(out.path()).unwrap();
    let kept = serde_json::from_str::<serde_json::Value>(&traces[0].header.config_json).unwrap();
    assert_eq!(kept["imported"]["warnings"], serde_json::json!(done.warnings));
    let rows = traces.iter().map(|trace| (trace.header.rank, trace.batches().unwrap().map(Result::unwrap).collect()));
    (done, rows.collect())
}

fn starts(rank: &(u32, Vec<Rows>)) -> Vec<i64> {
    rank.1.iter().flat_map(|batch| batch.start.iter().copied()).collect()
}

/// Returns the log of one process without MPI in the format of `darshan-dxt-parser`.
fn darshan(start_time: u64, file: &str, warning: &str) -> String {
    format!(
        "# darshan log version: 3.41\n# exe: python3 train.py\n# jobid: 2110361\n# start_time: {start_time}\n# nprocs: 1\n\n{warning}\
         # DXT, file_id: 1, file_name: {file}\n# DXT, rank: 0, hostname: node-a\n \
         X_POSIX       0   read        0               0       262144      1.0000      1.5000\n"
    )
}

#[test]
fn logs_of_darshan_with_one_process_each_become_ranks() {
    let folder = tempfile::tempdir().unwrap();
    let first = write(folder.path(), "w0.txt", &darshan(1_734_633_357, "/data/f0.npz", ""));
    let second = write(folder.path(), "w1.txt", &darshan(1_734_633_380, "/data/f1.npz", ""));
    let (done, ranks) = imported(&[first, second]);
    assert_eq!((done.ranks, done.malformed, done.warnings.len()), (2, 0, 0));
    assert_eq!(starts(&ranks[0]), [1_734_633_358_000_000_000]);
    assert_eq!(starts(&ranks[1]), [1_734_633_381_000_000_000]);
    // Both logs concatenated in one file.
    let text = darshan(1_734_633_357, "/data/f0.npz", "") + &darshan(1_734_633_380, "/data/f1.npz", "");
    let (done, ranks) = imported(&[write(folder.path(), "both.txt", &text)]);
    assert_eq!((done.ranks, starts(&ranks[1])), (2, vec![1_734_633_381_000_000_000]));
}

#[test]
fn a_log_that_declares_itself_incomplete_is_imported_with_its_warning() {
    let folder = tempfile::tempdir().unwrap();
    let warning = "# *WARNING*: The DXT_POSIX module contains incomplete data!\n#            This happens when a module runs out of\n";
    let (done, _) = imported(&[write(folder.path(), "dxt.txt", &darshan(0, "/tmp/with, comma and: colon/f", warning))]);
    assert_eq!((done.rows, done.warnings.len()), (1, 1));
    assert!(
        done.warnings[0].contains("dxt.txt") && done.warnings[0].contains("DXT_POSIX module contains incomplete data!")
    );
}

#[test]
fn recordings_of_two_days_are_imported_with_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let day = |name: &str, start| write(folder.path(), name, &darshan(start, "/data/f", ""));
    let sources = [day("tuesday.txt", 1_734_680_000), day("monday.txt", 1_734_600_000)];
    let (done, _) = imported(&sources);
    assert_eq!(done.warnings.len(), 1);
    let told = &done.warnings[0];
    assert!(told.starts_with("22.2 hours lie between the end of") && told.contains("--out"), "{told}");
    assert!(told.find("monday.txt") < told.find("tuesday.txt"), "{told}");
}

fn span(name: &str, cat: &str, (start, dur): (u64, u64), args: &str) -> String {
    let start = 1_795_000_000_000_000 + start;
    format!(
        "{{\"id\":1,\"name\":\"{name}\",\"cat\":\"{cat}\",\"type\":6,\"pid\":7,\"tid\":7,\"ts\":{start},\"dur\":{dur},\"ph\":1,\"args\":{{{args}}}}}\n"
    )
}

/// Returns two steps that start at `begin` in the order of the reference's tracer: each computation before its fetch.
fn steps(begin: u64, epoch: &str) -> String {
    let step = |number: u64| {
        let at = begin + 100 * (number - 1);
        let args = format!("\"step\":{number},\"count\":{number}{epoch}");
        span("compute", "compute", (at + 20, 70), &args)
            + &span("fetch.iter", "dataloader", (at, 20), &args)
            + &span("fetch.block", "dataloader", (at + 20, 80), &args)
    };
    step(1) + &step(2)
}

#[test]
fn an_epoch_of_the_reference_has_the_number_in_its_span_and_evaluation_is_not_training() {
    // The argument `epoch` has the number of the next epoch and is missing in the first.
    let mut text = String::from("[\n");
    for (number, begin, said) in [(1, 0, ""), (2, 1_000, ",\"epoch\":2")] {
        let next = format!("\"step\":2,\"epoch\":{}", number + 1);
        text += &span("TorchDataLoader.next", "data_loader", (begin + 5, 1), "\"epoch\":1");
        text += &steps(begin + 10, said);
        text += &span("train", "pipeline", (begin + 2, 230), &next);
        text += &steps(begin + 300, &format!(",\"epoch\":{}", number + 1));
        text += &span("evaluate", "pipeline", (begin + 290, 220), &next);
        text += &span("epoch.block", "pipeline", (begin, 600), &format!("{next},\"count\":{number}"));
    }
    let folder = tempfile::tempdir().unwrap();
    let worker: String = [(40, 1), (350, 2), (1_040, 3), (1_350, 4)]
        .iter()
        .map(|(at, step)| span("NPZReader.read_index", "reader", (*at, 5), &format!("\"epoch\":1,\"step\":{step}")))
        .collect();
    let name = |kind: &str| format!("trace-0-of-1-{kind}.pfw");
    let sources =
        [write(folder.path(), &name("0a-fork"), &format!("[\n{worker}")), write(folder.path(), &name("9f-app"), &text)];
    let (done, ranks) = imported(&sources);
    assert_eq!((done.ranks, done.malformed), (1, 0));
    let mut told = Vec::new();
    for batch in &ranks[0].1 {
        let row = |row: Row<'_>| (row.kind(), row.phase(), row.epoch(), row.block(), row.step());
        told.extend(batch.views().map(row));
    }
    for epoch in [1, 2] {
        for (step, phase, block) in
            [(1, Phase::Train, 1), (2, Phase::Train, 1), (1, Phase::Eval, 0), (2, Phase::Eval, 0)]
        {
            for kind in [OpKind::Fetch, OpKind::Compute] {
                assert!(
                    told.contains(&(kind, phase, epoch, block, step)),
                    "{kind:?} {phase:?} {epoch} {step}: {told:?}"
                );
            }
        }
        assert!(told.contains(&(OpKind::Epoch, Phase::Train, epoch, 0, 0)), "{told:?}");
        assert!(told.contains(&(OpKind::Block, Phase::Train, epoch, 1, 0)), "{told:?}");
        assert!(told.contains(&(OpKind::Eval, Phase::Eval, epoch, 0, 0)), "{told:?}");
        assert!(
            told.contains(&(OpKind::Sample, Phase::Train, epoch, 0, 1)),
            "the worker's file tells no epoch: {told:?}"
        );
        assert!(told.contains(&(OpKind::Sample, Phase::Eval, epoch, 0, 1)), "{told:?}");
    }
}

#[test]
fn objects_that_end_with_a_comma_as_in_2023_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[\n{\"id\":\"0\",\"name\":\"open64\",\"cat\":\"POSIX\",\"pid\":\"7\",\"tid\":\"7\",\"ts\":\"1689000000000000\",\"dur\":\"12\",\"ph\":\"X\",\
                \"args\":{\"hostname\":\"corona171\",\"core_affinity\":[1,2,],\"fname\":\"/data/a,}b\",}}\n\
                {\"id\":\"1\",\"name\":\"read\",\"cat\":\"POSIX\",\"pid\":\"7\",\"tid\":\"7\",\"ts\":\"1689000000000020\",\"dur\":\"12\",\"ph\":\"X\",\
                \"args\":{\"fname\":\"/data/a,}b\",\"ret\":\"100\",\"count\":\"100\",},}\n]\n";
    let (done, ranks) = imported(&[write(folder.path(), "trace.pfw", text)]);
    assert_eq!((done.rows, done.malformed), (2, 0), "{:?}", done.examples);
    assert_eq!(ranks[0].1[0].object.get(1), Some("/data/a,}b"));
}

#[test]
fn other_files_in_a_trace_folder_are_named_and_left_out() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "dxt.txt", &darshan(1_734_633_357, "/data/f0.npz", ""));
    write(folder.path(), "job.darshan", "3.41");
    write(folder.path(), "notes.log", "nothing\n");
    let (done, _) = imported(&[folder.path().to_owned()]);
    assert_eq!((done.rows, done.warnings.len()), (1, 2));
    assert!(done.warnings[0].contains("job.darshan is left out") && done.warnings[0].contains("darshan-dxt-parser"));
    let out = tempfile::tempdir().unwrap();
    let named = [folder.path().join("job.darshan")];
    let refused = import(&named, out.path(), &Options::default()).unwrap_err().to_string();
    assert!(refused.contains("job.darshan") && refused.contains("darshan-dxt-parser LOG > LOG.txt"), "{refused}");
}

#[test]
fn an_op_log_of_json_lines_equals_the_tab_separated_one() {
    let folder = tempfile::tempdir().unwrap();
    let line = |op: &str, second: u32| {
        format!(
            "{{\"idx\":0,\"thread\":7,\"op\":\"{op}\",\"client_id\":\"\",\"n_objects\":1,\"bytes\":5000,\"endpoint\":\"s3://bkt\",\
             \"file\":\"bkt/o0\",\"error\":null,\"start\":\"2026-11-29T18:29:{second}.5Z\",\"end\":\"2026-11-29T18:29:{second}.75Z\"}}\n"
        )
    };
    let (done, ranks) = imported(&[write(folder.path(), "ops.jsonl", &(line("PUT", 10) + &line("GET", 11)))]);
    assert_eq!((done.formats.clone(), done.rows, done.malformed), (vec!["op-log"], 2, 0), "{:?}", done.examples);
    let row = ranks[0].1[0].row(1);
    assert_eq!((row.kind(), row.bytes(), row.duration()), (OpKind::Get, 5000, 250_000_000));
    assert_eq!(row.object(), Some("s3://bkt/o0"), "an object has its bucket in its name");
}
