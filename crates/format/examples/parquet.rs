//! Writes one Parquet file with the columns of MLPerf's DLRM (200 of mixed types, row groups of 8192) and prints the
//! rate: `cargo run --release -p dlio-format --example parquet -- ROWS PATH`. `scripts/bench/parquet` runs pyarrow
//! for comparison.

#![expect(clippy::print_stdout, reason = "the measurement is the output")]

use std::fs::File;
use std::io::Write;

use dlio_config::vocabulary::{ColumnType, Format};
use dlio_config::workload::ParquetColumn;
use dlio_format::{FileShape, Layout};

#[path = "../tests/dataset/mod.rs"]
mod dataset;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [rows, path] = arguments.as_slice() else { return Err("usage: parquet ROWS PATH".into()) };
    let mut dataset = dataset::dataset(Format::Parquet);
    let mix = [(ColumnType::Float16, 50), (ColumnType::Float64, 49), (ColumnType::Int8, 45), (ColumnType::Float32, 56)];
    let types = mix.into_iter().flat_map(|(dtype, count)| std::iter::repeat_n(dtype, count));
    let column = |(at, dtype)| ParquetColumn { name: format!("feature_{at:03}"), dtype, size: 1, read: true };
    dataset.parquet.columns = types.enumerate().map(column).collect();
    dataset.parquet.row_group_size = 8192;
    let layout = Layout::new(&dataset, 1)?;
    let clock = stopwatch();
    let mut encoder = layout.encoder(&FileShape { file: 0, dims: &[], samples: rows.parse()? })?;
    let mut file = File::create(path)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = encoder.fill(&mut buffer);
        if count == 0 {
            break;
        }
        file.write_all(&buffer[..count])?;
    }
    let seconds = clock();
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("VmHWM: unknown");
    println!("{} bytes in {seconds:.2} s: {:.0} MB/s; {peak}", encoder.len(), encoder.len() as f64 / seconds / 1e6);
    Ok(())
}

/// Returns a clock of the seconds since this call.
fn stopwatch() -> impl Fn() -> f64 {
    #[expect(clippy::disallowed_methods, reason = "a measurement, not a run")]
    let start = std::time::Instant::now();
    move || start.elapsed().as_secs_f64()
}
