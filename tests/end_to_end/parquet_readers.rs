//! Parquet datasets in independent readers: the readers of the MLPerf fork, pyarrow, `DuckDB` and Polars.

use std::path::Path;

use crate::support::{python, solo};

/// Flux and DLRM with fewer and smaller columns, the byte column of other workloads, and every type.
const SCHEMAS: [(&str, &str); 4] = [
    (
        "flux",
        "row_group_size: 1024, columns: [{name: t5_encodings, dtype: float32, size: 2000}, \
         {name: clip_encodings, dtype: float32, size: 409}, {name: mean, dtype: float32, size: 82}, \
         {name: timestamp, dtype: float32, size: 7}]",
    ),
    (
        "dlrm",
        "row_group_size: 16, columns: [{name: label, dtype: int8}, {name: num_0, dtype: int32}, \
         {name: num_1, dtype: int32}, {name: cat_0, dtype: int64, size: 3}, {name: cat_1, dtype: int64, size: 100}]",
    ),
    ("bytes", "row_group_size: 7"),
    (
        "types",
        "row_group_size: 16, columns: [{name: s, dtype: string}, {name: b, dtype: binary, size: 8}, {name: f, dtype: bool}, \
         {name: i8, dtype: int8, size: 70}, {name: u16, dtype: uint16}, {name: f16, dtype: float16, size: 5}, \
         {name: u64, dtype: uint64}, {name: f64, dtype: float64}, {name: l, dtype: list, size: 3}]",
    ),
];

fn yaml(folder: &Path, parquet: &str, compression: &str) -> String {
    let path = folder.join("my.yaml");
    let text = format!(
        "model: {{name: t}}\nframework: pytorch\nworkflow: {{generate_data: true, train: false}}\n\
         dataset: {{data_folder: {}, format: parquet, num_files_train: 2, num_samples_per_file: 50,\n  \
         record_length_bytes: 4096, compression: {compression}, parquet: {{{parquet}}}}}\n",
        folder.join("data").display(),
    );
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_fork_pyarrow_duckdb_and_polars_read_every_schema() {
    for (name, parquet) in SCHEMAS {
        for compression in ["none", "zstd"] {
            let folder = tempfile::tempdir().unwrap();
            let path = yaml(folder.path(), parquet, compression);
            let out = folder.path().join("out");
            solo(&["-q", "generate", &path, "--output", out.to_str().unwrap()]).ok();
            let facts = python("parquet_readers.py", &[folder.path().join("data").to_str().unwrap()]);
            let facts = facts.as_object().unwrap();
            assert_eq!(facts.len(), 2, "{name}, {compression}");
            for (file, facts) in facts {
                assert_eq!(facts["rows"], 50, "{name}, {compression}: {file}");
                assert!(facts["bytes"].as_u64() < facts["size"].as_u64(), "{name}, {compression}: {file}: {facts}");
            }
        }
    }
}
