//! A dataset configuration with the reference's defaults, and its files in memory.

#![allow(dead_code, reason = "every test file uses a part of it")]

use std::collections::BTreeMap;

use dlio_config::Source;
use dlio_config::vocabulary::{DType, Dialect, Format};
use dlio_config::workload::Dataset;
use dlio_format::{Encoder, FileShape, Layout};

/// Returns the default configuration for a format.
pub(crate) fn dataset(format: Format) -> Dataset {
    let yaml = format!("workflow: {{train: false}}\ndataset: {{data_folder: data, format: {format}}}\n");
    let source = Source { name: "test.yaml", yaml: &yaml };
    let loaded = dlio_config::load(&source, &[], &BTreeMap::new(), Some(Dialect::Native));
    loaded.expect("a valid data set").workload.dataset
}

/// Every element type.
pub(crate) const TYPES: [DType; 12] = [
    DType::Int8,
    DType::Int16,
    DType::Int32,
    DType::Int64,
    DType::Uint8,
    DType::Uint16,
    DType::Uint32,
    DType::Uint64,
    DType::Float16,
    DType::Float32,
    DType::Float64,
    DType::Bool,
];

/// Returns the output of an encoder, written into buffers of these sizes in turn.
pub(crate) fn bytes(mut encoder: Encoder, buffers: &[usize]) -> Vec<u8> {
    let mut file = Vec::new();
    for &size in buffers.iter().cycle() {
        let mut buffer = vec![0xA5; size];
        let count = encoder.fill(&mut buffer);
        file.extend_from_slice(&buffer[..count]);
        if count < size {
            break;
        }
    }
    assert_eq!(file.len() as u64, encoder.len());
    assert_eq!(encoder.fill(&mut [0; 16]), 0, "nothing follows the end");
    file
}

/// Encodes a file with buffers of these sizes in turn.
pub(crate) fn encode_in(layout: &Layout, shape: &FileShape, buffers: &[usize]) -> Vec<u8> {
    bytes(layout.encoder(shape).expect("a file of this shape"), buffers)
}

/// Encodes a file.
pub(crate) fn encode(layout: &Layout, shape: &FileShape) -> Vec<u8> {
    encode_in(layout, shape, &[1 << 20])
}
