//! The trace folder of a run in independent readers.

use std::io::Write;

use crate::support::{json, mpirun, python, solo};

#[test]
fn every_query_of_the_document_runs_on_a_fresh_trace_and_its_side_tables() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let data = format!("dataset.data_folder={}", folder.path().join("data").display());
    let words = [
        "-q",
        "run",
        "unet3d_h100",
        &data,
        "workflow.generate_data=true",
        "workflow.checkpoint=false",
        "dataset.num_files_train=8",
        "dataset.record_length_bytes=65536",
        "dataset.record_length_bytes_stdev=0",
        "reader.batch_size=2",
        "train.epochs=2",
        "train.computation_time=0.01",
        "--output",
        out.to_str().unwrap(),
    ];
    mpirun(2, &words).ok();
    let trace = out.join("trace");
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/trace-format.md");
    let ran = python("queries.py", &[document, trace.to_str().unwrap()]);
    assert_eq!(ran["blocks"], 5);

    let tables = python("tables.py", &[trace.to_str().unwrap()]);
    assert_eq!(tables["files"].as_array().unwrap().len(), 8);
    let size = std::fs::metadata(tables["files"][0]["uri"].as_str().unwrap()).unwrap().len();
    assert_eq!(tables["files"][0]["size"], size);
    assert_eq!(tables["counter_ranks"], serde_json::json!([0, 1]));
    assert!(tables["rss_bytes_min"].as_u64().unwrap() > 1 << 20, "{tables}");
}

#[test]
fn a_torn_trace_is_repaired_for_readers_that_want_its_footer_last() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rank-00000.parquet");
    let recorded = concat!(env!("CARGO_MANIFEST_DIR"), "/../../traces/unet3d-2-ranks/rank-00000.parquet");
    std::fs::copy(recorded, &path).unwrap();
    let whole = std::fs::read(&path).unwrap();
    std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"torn").unwrap();
    let said = solo(&["trace", "repair", folder.path().to_str().unwrap()]).ok();
    assert!(said.out.contains("4 bytes cut off"), "{}", said.out);
    assert_eq!(std::fs::read(&path).unwrap(), whole);
    std::fs::write(&path, b"rubbish").unwrap();
    solo(&["trace", "repair", path.to_str().unwrap()]).failed(6, &["rank-00000.parquet"]);
}

/// Imports a sample and returns the output.
fn import(sample: &str, out: &std::path::Path) -> String {
    let source = format!("{}/../../traces/{sample}", env!("CARGO_MANIFEST_DIR"));
    solo(&["trace", "import", &source, "--out", out.to_str().unwrap()]).ok().out
}

#[test]
fn traces_of_other_programs_are_imported_analyzed_and_replayed() {
    let samples = ["dftracer", "dftracer-older", "op-log", "warp", "elbencho", "fio", "kv-cache", "darshan-dxt"];
    for sample in samples {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("imported");
        let said = import(sample, &out);
        assert!(said.contains(sample.trim_end_matches("-older")), "{sample}: {said}");
        assert!(!said.contains("malformed"), "{sample}: {said}");
        let imported = out.to_str().unwrap();
        solo(&["analyze", imported]).ok();
        let again = format!("{}/../../traces/{sample}", env!("CARGO_MANIFEST_DIR"));
        solo(&["trace", "import", &again, "--out", imported]).failed(6, &["holds traces already"]);
        // Only op-logs contain names of buckets.
        let from = if sample == "op-log" { "s3://" } else { "" };
        let map = format!("{from}={}/", folder.path().join("data").display());
        let output = folder.path().join("replayed");
        let words = ["replay", imported, "--map", &map, "--prepare", "--timing", "asap", "--op", "read"];
        solo(&[&words[..], &["--output", output.to_str().unwrap()]].concat()).ok();
        let found = json(&output.join("replay.json"));
        assert!(found["operations_done"].as_u64().unwrap() > 0, "{sample}: {found}");
        assert_eq!(found["operations_done"], found["operations_planned"], "{sample}");
        assert_eq!(found["bytes_done"], found["bytes_planned"], "{sample}");
    }
}

#[test]
fn an_import_that_cannot_go_on_says_where_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("io.csv");
    let text = "Timestamp,Operation,Object_Size_Bytes,Tier,Key,Phase\n1.5,Read,7,,k,\n1.5,Read,seven,,k,\n";
    std::fs::write(&source, text).unwrap();
    let (source, out) = (source.to_str().unwrap(), folder.path().join("out"));
    let words = ["trace", "import", source, "--out", out.to_str().unwrap()];
    solo(&[&words[..], &["--strict"]].concat()).failed(6, &["io.csv, line 3", "seven"]);
    assert!(!out.exists());
    solo(&[&words[..], &["--format", "fio"]].concat()).failed(6, &["nothing to import", "fio"]);
    assert!(!out.exists());
    let said = solo(&words).ok();
    assert!(said.out.contains("malformed: 1 lines") && said.out.contains("line 3"), "{}", said.out);
    let into_a_file = format!("{source}/out");
    solo(&["trace", "import", source, "--out", &into_a_file]).failed(6, &["cannot write the imported traces"]);
}

#[test]
fn an_exported_trace_is_what_its_readers_expect_and_warps_comes_back() {
    let recorded = concat!(env!("CARGO_MANIFEST_DIR"), "/../../traces/unet3d-2-ranks");
    let folder = tempfile::tempdir().unwrap();
    let out = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for (format, name) in [("chrome", "run.json"), ("csv", "run.csv"), ("warp", "run.csv.zst"), ("pfw", "pfw")] {
        solo(&["trace", "export", recorded, "--to", format, "--out", &out(name)]).ok();
    }
    let facts = python("exports.py", &[recorded, folder.path().to_str().unwrap()]);
    let rows = facts["rows"].as_u64().unwrap();
    assert!(rows > 0);
    for format in ["chrome", "csv", "pfw"] {
        assert_eq!(facts[format].as_u64().unwrap(), rows, "{format}");
    }
    let storage = facts["requests"].as_u64().unwrap();
    assert_eq!(facts["warp"].as_u64().unwrap(), storage);
    let said = solo(&["trace", "import", &out("run.csv.zst"), "--out", &out("back")]).ok();
    assert!(said.out.contains(&format!("{storage} rows of 2 rank(s)")), "{}", said.out);
    for name in ["pfw", "run.csv", "run.json"] {
        let back = out(&format!("{name}-back"));
        let said = solo(&["trace", "import", &out(name), "--strict", "--out", &back]).ok();
        assert!(said.out.contains(&format!("{rows} rows of 2 rank(s)")), "{}", said.out);
        solo(&["analyze", &back, "--no-files"]).ok();
    }
}
