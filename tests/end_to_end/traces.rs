//! What a run leaves in its trace folder, as others read it.

use std::io::Write;

use crate::support::{mpirun, python, solo};

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

#[test]
fn traces_of_other_programs_are_imported_and_analyzed() {
    let traces = concat!(env!("CARGO_MANIFEST_DIR"), "/../../traces");
    for format in ["dftracer", "op-log", "warp", "elbencho", "fio", "kv-cache", "darshan-dxt"] {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("imported");
        let (source, out) = (format!("{traces}/{format}"), out.to_str().unwrap());
        let said = solo(&["trace", "import", &source, "--out", out]).ok();
        assert!(said.out.contains(&format!("({format})")), "{format}: {}", said.out);
        solo(&["analyze", out]).ok();
        solo(&["trace", "import", &source, "--out", out]).failed(6, &["holds traces already"]);
    }
}

#[test]
fn an_exported_trace_is_what_its_readers_expect_and_warps_comes_back() {
    let recorded = concat!(env!("CARGO_MANIFEST_DIR"), "/../../traces/unet3d-2-ranks");
    let folder = tempfile::tempdir().unwrap();
    let out = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for (format, name) in [("chrome", "run.json"), ("csv", "run.csv"), ("warp", "run.tsv"), ("pfw", "pfw")] {
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
    let said = solo(&["trace", "import", &out("run.tsv"), "--out", &out("back")]).ok();
    assert!(said.out.contains(&format!("{storage} rows of 2 rank(s)")), "{}", said.out);
    let said = solo(&["trace", "import", &out("pfw"), "--out", &out("pfw-back")]).ok();
    assert!(said.out.contains(&format!("{rows} rows of 2 rank(s)")), "{}", said.out);
}
