//! CPU cost of encoders: `cargo run --release -p dlio-format --example encode_cost -- FORMAT HEIGHT WIDTH FILES [zip|gzip|…]`.

use dlio_config::vocabulary::{DType, Dialect, Format};
use dlio_format::{FileShape, Layout};

#[path = "../tests/dataset/mod.rs"]
mod dataset;

#[expect(clippy::print_stdout, clippy::disallowed_methods, reason = "this program measures and prints")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [format, height, width, files, more @ ..] = arguments.as_slice() else {
        return Err("usage: encode_cost FORMAT HEIGHT WIDTH FILES [COMPRESSION] [TYPE] [DIALECT]".into());
    };
    let mut dataset = dataset::dataset(Format::from_word(format).ok_or("unknown format")?);
    dataset.compression = more.first().cloned();
    if let Some(dtype) = more.get(1) {
        dataset.record_element_type = DType::from_word(dtype).ok_or("unknown type")?;
    }
    let dialect = more.get(2).map_or(Some(Dialect::Dlio), |word| Dialect::from_word(word)).ok_or("unknown dialect")?;
    let layout = Layout::new(&dataset, 1)?.with_dialect(dialect);
    let dims = [height.parse()?, width.parse()?];
    let files: u64 = files.parse()?;
    let mut buffer = vec![0; 1 << 20];
    let start = std::time::Instant::now();
    let mut bytes = 0;
    for file in 0..files {
        let mut encoder = layout.encoder(&FileShape { file, dims: &dims, samples: 1 })?;
        loop {
            match encoder.fill(&mut buffer) {
                0 => break,
                count => bytes += count,
            }
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{:.3} ms per file of {} bytes, {:.0} MB/s",
        seconds / files as f64 * 1e3,
        bytes as u64 / files,
        bytes as f64 / seconds / 1e6
    );
    Ok(())
}
