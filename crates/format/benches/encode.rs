//! Rates of the encoders against `memcpy` in the same run: `cargo bench -p dlio-format`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dlio_config::vocabulary::{DType, Format};
use dlio_format::payload::{Element, Payload};
use dlio_format::{FileShape, Layout, Need};

#[path = "../tests/dataset/mod.rs"]
mod dataset;

const BUFFER: usize = 1 << 20;
const FILE: u64 = 64 << 20;

fn encoders(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    group.sample_size(10).throughput(Throughput::Bytes(FILE));
    let mut buffer = vec![0_u8; BUFFER];
    let source = vec![1_u8; BUFFER];
    group.bench_function("memcpy", |bencher| {
        bencher.iter(|| {
            for _ in 0..FILE / BUFFER as u64 {
                black_box(&mut buffer).copy_from_slice(black_box(&source));
            }
        });
    });
    for (name, element) in [("integers", Element::Raw), ("float32", Element::Float32), ("float16", Element::Float16)] {
        group.bench_function(format!("payload {name}"), |bencher| {
            bencher.iter(|| {
                let mut stream = Payload::new(1).stream(2, element, FILE);
                while stream.fill(black_box(&mut buffer)) > 0 {}
            });
        });
    }
    for format in [Format::Npy, Format::Npz, Format::Hdf5, Format::TfRecord] {
        for dtype in [DType::Uint8, DType::Float32] {
            let mut dataset = dataset::dataset(format);
            dataset.record_element_type = dtype;
            let Ok(layout) = Layout::new(&dataset, 1) else { continue };
            let dims = [FILE / 4 / dtype.itemsize()];
            let shape = FileShape { file: 0, dims: &dims, samples: 4 };
            group.bench_function(format!("{format} {dtype}"), |bencher| {
                bencher.iter(|| {
                    let Ok(mut encoder) = layout.encoder(&shape) else { return };
                    while encoder.fill(black_box(&mut buffer)) > 0 {}
                });
            });
        }
    }
    group.finish();
}

/// Cost of one small file apart from its bytes: an encoder and a decoder of 4 KiB.
fn small_files(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("file of 4 KiB");
    group.sample_size(10);
    let mut buffer = vec![0_u8; 16 * 1024];
    let shape = FileShape { file: 0, dims: &[64, 64], samples: 1 };
    for format in [Format::Npy, Format::Npz, Format::Hdf5, Format::TfRecord] {
        let Ok(layout) = Layout::new(&dataset::dataset(format), 1) else { continue };
        group.bench_function(format!("{format} encode"), |bencher| {
            bencher.iter(|| layout.encoder(&shape).map(|mut encoder| encoder.fill(black_box(&mut buffer))));
        });
        let Ok(mut encoder) = layout.encoder(&shape) else { continue };
        let length = encoder.fill(&mut buffer);
        let file = &buffer[..length];
        group.bench_function(format!("{format} decode"), |bencher| {
            bencher.iter(|| {
                let mut decoder = layout.decoder(&shape);
                let mut result = decoder.sample(0);
                while let (Ok(()), Need::Bytes { offset, len }) = (&result, decoder.need()) {
                    let start = usize::try_from(offset).unwrap_or(length);
                    let end = len.map_or(length, |len| usize::try_from(offset + len).unwrap_or(length).min(length));
                    result = decoder.chunk(black_box(&file[start..end])).and_then(|()| decoder.end());
                }
                result
            });
        });
    }
    group.finish();
}

criterion_group!(benches, encoders, small_files);
criterion_main!(benches);
