//! Writes one dataset file for inspection with other readers: `cargo run --release -p dlio-format --example encode --
//! npz out.npz uint8 4 256 256` (format, path, type, samples, dims).

use std::fs::File;
use std::io::Write;

use dlio_config::vocabulary::{DType, Dialect, Format};
use dlio_format::{FileShape, Layout};

#[path = "../tests/dataset/mod.rs"]
mod dataset;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [format, path, dtype, samples, dims @ ..] = arguments.as_slice() else {
        return Err("usage: encode FORMAT PATH TYPE SAMPLES DIM…".into());
    };
    let mut dataset = dataset::dataset(Format::from_word(format).ok_or("unknown format")?);
    dataset.record_element_type = DType::from_word(dtype).ok_or("unknown type")?;
    let (options, dims): (Vec<&String>, Vec<&String>) = dims.iter().partition(|word| word.contains('='));
    let mut dialect = Dialect::Dlio;
    for option in options {
        let (key, value) = option.split_once('=').unwrap_or_default();
        let list = || value.split(',').map(str::parse).collect::<Result<Vec<u64>, _>>();
        match key {
            "chunk_dims" => dataset.hdf5_chunk_dims = list()?,
            "max_shape" => dataset.hdf5_max_shape = list()?,
            "num_dset_per_record" => dataset.hdf5_num_dset_per_record = value.parse()?,
            "dialect" => dialect = Dialect::from_word(value).ok_or("unknown dialect")?,
            "compression_level" => dataset.compression_level = value.parse()?,
            "compression" => dataset.compression = Some(value.to_owned()),
            _ => return Err("unknown option".into()),
        }
    }
    let dims: Vec<u64> = dims.into_iter().map(|dim| dim.parse()).collect::<Result<_, _>>()?;
    dataset.record_dims.clone_from(&dims);
    let layout = Layout::new(&dataset, 1)?.with_dialect(dialect);
    let mut encoder = layout.encoder(&FileShape { file: 0, dims: &dims, samples: samples.parse()? })?;
    let mut file = File::create(path)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = encoder.fill(&mut buffer);
        if count == 0 {
            return Ok(());
        }
        file.write_all(&buffer[..count])?;
    }
}
