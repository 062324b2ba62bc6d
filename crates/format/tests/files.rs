//! Whole files: encoders write what the reference writes, and decoders accept that and nothing else.

#![expect(clippy::unwrap_used, reason = "also the helpers of tests are tests")]

mod dataset;

use dataset::{TYPES, dataset, encode, encode_in};
use dlio_config::vocabulary::{DType, Decode, Format};
use dlio_format::{Decoder, Error, FileShape, Layout, Need};
use proptest::prelude::*;
use serde_json::Value;

const FORMATS: [Format; 4] = [Format::Npz, Format::Npy, Format::Hdf5, Format::TfRecord];

fn layout(format: Format, dtype: DType) -> Layout {
    let mut dataset = dataset(format);
    dataset.record_element_type = dtype;
    Layout::new(&dataset, 42).unwrap()
}

/// Reads one sample as the engine does and returns the requested ranges.
fn read(decoder: &mut Decoder, file: &[u8], sample: u64, chunk: usize) -> Result<Vec<(u64, Option<u64>)>, Error> {
    let mut ranges = Vec::new();
    decoder.sample(sample)?;
    while let Need::Bytes { offset, len } = decoder.need() {
        ranges.push((offset, len));
        assert!(ranges.len() < 20_000, "the decoder does not come to an end");
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(file.len());
        let end = len.map_or(file.len(), |len| start.saturating_add(usize::try_from(len).unwrap()).min(file.len()));
        for bytes in file[start..end].chunks(chunk) {
            decoder.chunk(bytes)?;
        }
        decoder.end()?;
    }
    Ok(ranges)
}

/// Reads the first sample of a file that should have this shape.
fn check(layout: &Layout, shape: &FileShape, file: &[u8]) -> Result<(), Error> {
    read(&mut layout.decoder(shape), file, 0, 4096).map(|_| ())
}

fn golden(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn unhex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn files_have_the_sizes_that_the_reference_writes() {
    let rows = golden(include_str!("golden/sizes.json"));
    for row in rows.as_array().unwrap() {
        if row["max_shape"].as_array().is_some_and(|shape| !shape.is_empty()) {
            continue;
        }
        let mut dataset = dataset(Format::from_word(row["format"].as_str().unwrap()).unwrap());
        dataset.record_element_type = DType::from_word(row["type"].as_str().unwrap()).unwrap();
        let dims: Vec<u64> = row["dims"].as_array().unwrap().iter().map(|dim| dim.as_u64().unwrap()).collect();
        if row["explicit"] == true {
            dataset.record_dims.clone_from(&dims);
        }
        let layout = Layout::new(&dataset, 1).unwrap();
        let shape = FileShape { file: 0, dims: &dims, samples: row["samples"].as_u64().unwrap() };
        assert_eq!(encode(&layout, &shape).len() as u64, row["size"].as_u64().unwrap(), "{row}");
        if let Some(text) = row["index"].as_str() {
            let (_, mut index) = layout.index_encoders(&shape).remove(0);
            let mut buffer = vec![0; 1000];
            let count = index.fill(&mut buffer);
            assert_eq!(std::str::from_utf8(&buffer[..count]).unwrap(), text);
            assert_eq!(index.len(), count as u64);
        }
    }
}

#[test]
fn npz_structure_is_the_recorded_one() {
    let facts = &golden(include_str!("golden/format_structures.json"))["npz"];
    let shape = FileShape { file: 0, dims: &[256, 256], samples: 4 };
    let file = encode(&layout(Format::Npz, DType::Uint8), &shape);
    assert_eq!(file.len() as u64, facts["size"].as_u64().unwrap());
    let recorded = unhex(&facts["local_header_hex"]);
    // Bytes 14 to 17 are the checksum of random data.
    assert_eq!(file[..14], recorded[..14]);
    assert_eq!(file[18..recorded.len()], recorded[18..]);
    for (member, data_at) in facts["members"].as_array().unwrap().iter().zip([55, 262_327 + 55]) {
        let header: Vec<u8> = member["npy_header"].as_str().unwrap().chars().map(|c| c as u8).collect();
        assert_eq!(file[data_at..data_at + header.len()], header);
    }
    // The labels are zeros in both files, so their checksum is known.
    let labels_crc = u32::try_from(facts["members"][1]["crc"].as_u64().unwrap()).unwrap();
    assert_eq!(file[262_327 + 14..262_327 + 18], labels_crc.to_le_bytes());
    let stored = u32::from_le_bytes(file[14..18].try_into().unwrap());
    assert_eq!(crc32fast::hash(&file[55..262_327]), stored);
}

#[test]
fn npy_header_is_the_recorded_one() {
    let facts = &golden(include_str!("golden/format_structures.json"))["npy"];
    let shape = FileShape { file: 0, dims: &[256, 256], samples: 4 };
    let file = encode(&layout(Format::Npy, DType::Uint8), &shape);
    let header: Vec<u8> = facts["header"].as_str().unwrap().chars().map(|c| c as u8).collect();
    assert!(file.starts_with(&header));
    assert_eq!(file.len() as u64, facts["size"].as_u64().unwrap());
}

#[test]
fn tfrecord_frames_are_the_recorded_ones() {
    let facts = &golden(include_str!("golden/format_structures.json"))["tfrecord"];
    let shape = FileShape { file: 0, dims: &[256, 256], samples: 4 };
    let layout = layout(Format::TfRecord, DType::Uint8);
    let file = encode(&layout, &shape);
    assert_eq!(file.len() as u64, facts["size"].as_u64().unwrap());
    for record in facts["records"].as_array().unwrap() {
        let offset = usize::try_from(record["offset"].as_u64().unwrap()).unwrap();
        let length = usize::try_from(record["len"].as_u64().unwrap()).unwrap();
        let frame = &file[offset..offset + 12 + length + 4];
        assert_eq!(frame[..8], (length as u64).to_le_bytes());
        assert_eq!(frame[8..12], unhex(&record["lencrc"]));
        // 27 bytes before the image, 17 after it.
        assert_eq!(frame[12..12 + 27], unhex(&record["first32"])[..27]);
        assert_eq!(frame[12 + length - 17..12 + length], unhex(&record["last24"])[7..]);
        let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &frame[12..12 + length]);
        let masked = u32::try_from(crc).unwrap().rotate_right(15).wrapping_add(0xA282_EAD8);
        assert_eq!(frame[12 + length..], masked.to_le_bytes());
    }
    assert!(file[39..65_575] != file[65_635..131_171], "every record has a payload of its own");
}

#[test]
fn hdf5_structure_is_the_recorded_one() {
    let facts = &golden(include_str!("golden/format_structures.json"))["hdf5"];
    let shape = FileShape { file: 0, dims: &[256, 256], samples: 4 };
    let layout = layout(Format::Hdf5, DType::Uint8);
    let file = encode(&layout, &shape);
    assert_eq!(file.len() as u64, facts["size"].as_u64().unwrap());
    assert!(file.starts_with(&unhex(&facts["superblock"])));
    let parsed = hdf5_pure::File::from_bytes(file.clone()).unwrap();
    for (name, fact) in facts["datasets"].as_object().unwrap() {
        let dataset = parsed.dataset(name).unwrap();
        let expected: Vec<u64> = fact["shape"].as_array().unwrap().iter().map(|dim| dim.as_u64().unwrap()).collect();
        assert_eq!(dataset.shape().unwrap(), expected);
        let (address, size) = (fact["offset"].as_u64(), fact["storage"].as_u64().unwrap());
        assert_eq!(dataset.layout().unwrap(), hdf5_pure::Layout::Contiguous { address, size });
    }
    // The reference's library reads 512 bytes at offset 195 for the first dataset's header, and writes 731 bytes of
    // metadata.
    assert_eq!(&file[195..199], b"OHDR");
    assert!(file[731..2048].iter().all(|&byte| byte == 0));
}

#[test]
fn hdf5_cuts_records_into_datasets_of_equal_data() {
    let mut dataset = dataset(Format::Hdf5);
    dataset.record_dims = vec![30, 4];
    for datasets in [3, 30] {
        dataset.hdf5_num_dset_per_record = datasets;
        let layout = Layout::new(&dataset, 1).unwrap();
        let shape = FileShape { file: 0, dims: &[30, 4], samples: 5 };
        let file = encode(&layout, &shape);
        let parsed = hdf5_pure::File::from_bytes(file.clone()).unwrap();
        let first = parsed.dataset("records_0").unwrap();
        // A first axis of length 1 is dropped.
        assert_eq!(first.shape().unwrap(), if datasets == 3 { vec![5, 10, 4] } else { vec![5, 4] });
        for index in 1..datasets {
            let other = parsed.dataset(&format!("records_{index}")).unwrap();
            assert_eq!(other.read_u8().unwrap(), first.read_u8().unwrap());
        }
        assert_eq!(parsed.dataset("labels").unwrap().read_i64().unwrap(), [0; 5]);
        let mut decoder = layout.decoder(&shape);
        read(&mut decoder, &file, 0, 100).unwrap();
        let ranges = read(&mut decoder, &file, 4, 100).unwrap();
        let sample: u64 = ranges.iter().filter_map(|range| range.1).sum();
        assert_eq!(sample, 120);
        assert_eq!(layout.sample_bytes(&[30, 4]), 120);
    }
}

#[test]
fn hdf5_files_of_the_library_are_read() {
    let files: [(&str, &[u8], &[usize]); 5] = [
        // The library's sieve buffer covers the rest of so small a dataset.
        ("latest", include_bytes!("golden/h5py_latest.h5"), &[60]),
        ("earliest", include_bytes!("golden/h5py_earliest.h5"), &[60]),
        // Chunks of (2, 2, 5): a sample needs the two chunks that hold it.
        ("chunked", include_bytes!("golden/h5py_earliest_chunked.h5"), &[20, 20]),
        ("gzip", include_bytes!("golden/h5py_latest_gzip.h5"), &[]),
        ("resizable", include_bytes!("golden/h5py_latest_resizable.h5"), &[40]),
    ];
    let layout = layout(Format::Hdf5, DType::Uint8);
    let shape = FileShape { file: 0, dims: &[4, 5], samples: 6 };
    for (name, file, data) in files {
        for known in [false, true] {
            let mut decoder = layout.decoder(&shape);
            if known {
                decoder.size(file.len() as u64).unwrap();
            }
            read(&mut decoder, file, 0, 7).unwrap_or_else(|error| panic!("{name}: {error}"));
            // Metadata is kept: the next sample needs only its data.
            let ranges = read(&mut decoder, file, 3, 7).unwrap();
            let lengths: Vec<usize> = ranges.iter().map(|range| usize::try_from(range.1.unwrap()).unwrap()).collect();
            if data.is_empty() {
                assert_eq!(lengths.len(), 2, "{name}: two compressed chunks");
            } else {
                assert_eq!(lengths, data, "{name}");
            }
        }
    }
}

/// Recorded with `strace` from h5py 3.14 with HDF5 1.14.6, which the reference uses.
#[test]
fn hdf5_is_read_in_the_ranges_of_the_library() {
    let shape = FileShape { file: 0, dims: &[200, 200], samples: 4 };
    let plain = layout(Format::Hdf5, DType::Uint8);
    let file = encode(&plain, &shape);
    let mut decoder = plain.decoder(&shape);
    let opening = [(0, Some(8)), (0, Some(48)), (48, Some(512)), (195, Some(512))];
    assert_eq!(read(&mut decoder, &file, 1, 4096).unwrap(), [&opening[..], &[(42_048, Some(65_536))]].concat());
    assert_eq!(read(&mut decoder, &file, 2, 4096).unwrap(), [(82_048, Some(65_536))]);
    assert_eq!(read(&mut decoder, &file, 3, 4096).unwrap(), [(122_048, Some(40_000))]);

    // Each header precedes the data of its dataset; the labels' header is not read. The group's links are in
    // continuation blocks of its header, or in a heap with a tree of names.
    let groups: [(u64, &[(u64, u64)]); 3] = [
        (3, &[(1267, 30)]),
        (7, &[(1567, 54), (1267, 32), (1889, 99)]),
        (9, &[(1991, 38), (5252, 146), (5480, 512), (7728, 512)]),
    ];
    for (datasets, group) in groups {
        let mut dataset = dataset(Format::Hdf5);
        (dataset.record_element_type, dataset.hdf5_num_dset_per_record) = (DType::Uint8, datasets);
        dataset.record_dims = vec![10 * datasets, 10];
        let layout = Layout::new(&dataset, 42).unwrap();
        let shape = FileShape { file: 0, dims: &dataset.record_dims, samples: 4 };
        let file = encode(&layout, &shape);
        let mut decoder = layout.decoder(&shape);
        let ranges = read(&mut decoder, &file, 1, 4096).unwrap();
        let (opening, data) = ranges.split_at(3 + group.len());
        let group: Vec<_> = group.iter().map(|&(offset, bytes)| (offset, Some(bytes))).collect();
        assert_eq!(opening, [&[(0, Some(8)), (0, Some(48)), (48, Some(512))][..], &group].concat());
        assert_eq!(data[..4], [(195, Some(512)), (2148, Some(300)), (463, Some(512)), (2548, Some(300))]);
        assert_eq!(data.len() as u64, 2 * datasets);
        let lengths: Vec<_> = read(&mut decoder, &file, 2, 4096).unwrap().into_iter().map(|range| range.1).collect();
        assert_eq!(lengths.len() as u64, datasets);
        assert!(lengths.iter().all(|&bytes| bytes == Some(200)));
    }
}

#[test]
fn hdf5_is_chunked_compressed_and_resizable_as_configured() {
    let shape = FileShape { file: 3, dims: &[16, 16], samples: 4 };
    let contiguous = encode(&layout(Format::Hdf5, DType::Uint8), &shape);
    let plain = hdf5_pure::File::from_bytes(contiguous).unwrap().dataset("records_0").unwrap().read_u8().unwrap();
    let variants = [
        ("", vec![2, 16, 8], vec![], [2, 16, 8]),
        ("", vec![], vec![32, 32], [4, 16, 16]),
        ("gzip", vec![], vec![], [4, 16, 16]),
        ("lzf", vec![1, 16, 16], vec![], [1, 16, 16]),
        ("gzip", vec![3, 5, 16], vec![16, 40], [3, 5, 16]),
    ];
    for (compression, chunk_dims, max_shape, chunk) in variants {
        let mut dataset = dataset(Format::Hdf5);
        dataset.record_element_type = DType::Uint8;
        dataset.compression = (!compression.is_empty()).then(|| compression.to_owned());
        dataset.hdf5_chunk_dims = chunk_dims;
        dataset.hdf5_max_shape.clone_from(&max_shape);
        let layout = Layout::new(&dataset, 42).unwrap();
        let file = encode(&layout, &shape);
        let parsed = hdf5_pure::File::from_bytes(file.clone()).unwrap();
        let records = parsed.dataset("records_0").unwrap();
        assert_eq!(records.chunk_shape().unwrap().unwrap(), chunk);
        assert_eq!(
            records.maxshape().unwrap().map_or(0, |shape| shape.len()),
            if max_shape.is_empty() { 0 } else { 3 }
        );
        assert_eq!(
            records.filters(),
            match compression {
                "gzip" => vec![1],
                "lzf" => vec![32000],
                _ => vec![],
            }
        );
        assert_eq!(records.read_u8().unwrap(), plain, "the payload does not depend on the layout");
        let mut decoder = layout.decoder(&shape);
        for sample in [3, 0] {
            read(&mut decoder, &file, sample, 100).unwrap();
        }
    }
}

/// Samples, dimensions, datasets, compression, `chunk_dims`, `max_shape`, length of the file in bytes.
type Sized = (u64, &'static [u64], u64, &'static str, &'static [u64], &'static [u64], usize);

/// Files of h5py 3.14 (HDF5 1.14.6): the lengths were recorded, and the bytes compared with h5py's files of the same
/// data. These differ only in the times of the root group and, where data can be compressed, in the compressed bytes.
const SIZED: [Sized; 22] = [
    (4, &[10, 10], 1, "", &[], &[], 2480),
    (4, &[30, 10], 3, "", &[], &[], 3280),
    (4, &[50, 10], 5, "", &[], &[], 4080),
    (4, &[60, 10], 6, "", &[], &[], 6528),
    (4, &[70, 10], 7, "", &[], &[], 6928),
    (4, &[80, 10], 8, "", &[], &[], 7840),
    (4, &[90, 10], 9, "", &[], &[], 8240),
    (4, &[100, 10], 10, "", &[], &[], 9324),
    (4, &[160, 10], 16, "", &[], &[], 13_104),
    (4, &[200, 10], 20, "", &[], &[], 16_240),
    (4, &[230, 10], 23, "", &[], &[], 17_952),
    (4, &[64, 64], 1, "", &[1, 2, 4], &[], 34_875),
    (4, &[100, 100], 1, "gzip", &[], &[], 42_124),
    (4, &[10, 10], 1, "gzip", &[], &[], 2491),
    (4, &[400, 100], 4, "gzip", &[], &[], 162_256),
    (4, &[1000, 100], 10, "gzip", &[], &[], 406_616),
    (4, &[576, 64], 9, "", &[1, 2, 4], &[], 301_331),
    (4, &[64, 64], 1, "lzf", &[], &[], 18_464),
    (4, &[64, 64], 1, "", &[1, 8, 8], &[1000, 1000], 518_738),
    (7, &[33], 1, "", &[], &[], 2048 + 7 * 33 + 56),
    (7, &[33, 2, 5, 1, 3], 1, "", &[2, 3, 1, 2, 1, 3], &[], 13_770),
    (4, &[200, 200], 1, "", &[1, 100, 200], &[400, 400], 162_080),
];

#[test]
fn hdf5_files_have_the_sizes_and_the_content_of_those_of_the_library() {
    for (samples, dims, datasets, compression, chunk_dims, max_shape, size) in SIZED {
        let mut dataset = dataset(Format::Hdf5);
        (dataset.record_element_type, dataset.hdf5_num_dset_per_record) = (DType::Uint8, datasets);
        dataset.record_dims = dims.to_vec();
        dataset.compression = (!compression.is_empty()).then(|| compression.to_owned());
        (dataset.hdf5_chunk_dims, dataset.hdf5_max_shape) = (chunk_dims.to_vec(), max_shape.to_vec());
        let layout = Layout::new(&dataset, 42).unwrap();
        let shape = FileShape { file: 3, dims, samples };
        let file = encode_in(&layout, &shape, &[1000, 7, 33_333]);
        assert_eq!(file.len(), size, "{samples} x {dims:?} {datasets} {compression}");
        let parsed = hdf5_pure::File::from_bytes(file.clone()).unwrap();
        let plain = parsed.dataset("records_0").unwrap().read_u8().unwrap();
        for index in 1..datasets {
            assert_eq!(parsed.dataset(&format!("records_{index}")).unwrap().read_u8().unwrap(), plain);
        }
        let labels = parsed.dataset("labels").unwrap().read_i64().unwrap();
        assert!(labels.len() as u64 == samples && labels.iter().all(|&label| label == 0));
        for decode in [Decode::None, Decode::Verify, Decode::Full] {
            let mut decoder = layout.decoder_with(&shape, decode).unwrap();
            for sample in [samples - 1, 0] {
                read(&mut decoder, &file, sample, 4096).unwrap();
            }
        }
    }
}

/// Compression, `chunk_dims`, `max_shape`, the first ranges after opening.
type Paged = (&'static str, [u64; 3], &'static [u64], &'static [(u64, u64)]);

/// Recorded with `strace` from h5py 3.14 for the second sample of four: the library reads a page of the index before
/// the first chunk in that page.
#[test]
fn pages_of_the_index_of_hdf5_chunks_are_read_when_a_chunk_in_them_is() {
    let opening = [(0, 8), (0, 48), (48, 512), (195, 512), (463, 28)];
    let variants: [Paged; 3] = [
        ("", [1, 2, 4], &[], &[(4096, 19), (4115, 8196), (22_555, 8)]),
        ("gzip", [1, 2, 4], &[], &[(4096, 19), (4115, 14_340)]),
        ("", [1, 8, 8], &[1000, 1000], &[(4096, 26), (127_062, 8196), (506_418, 64)]),
    ];
    for (compression, chunk_dims, max_shape, first) in variants {
        let mut dataset = dataset(Format::Hdf5);
        dataset.record_element_type = DType::Uint8;
        dataset.compression = (!compression.is_empty()).then(|| compression.to_owned());
        (dataset.hdf5_chunk_dims, dataset.hdf5_max_shape) = (chunk_dims.to_vec(), max_shape.to_vec());
        let layout = Layout::new(&dataset, 42).unwrap();
        let shape = FileShape { file: 0, dims: &[64, 64], samples: 4 };
        let file = encode(&layout, &shape);
        let mut decoder = layout.decoder(&shape);
        let ranges = read(&mut decoder, &file, 1, 4096).unwrap();
        let ranges: Vec<_> = ranges.into_iter().map(|(offset, bytes)| (offset, bytes.unwrap())).collect();
        assert_eq!(ranges[..5], opening, "{dataset:?}");
        assert_eq!(ranges[5..5 + first.len()], *first);
        let pages = if max_shape.is_empty() { 1 } else { 2 };
        let chunks = (64 / chunk_dims[1]) * (64 / chunk_dims[2]);
        assert_eq!(ranges.len() as u64, 5 + 1 + pages + chunks);
        if !max_shape.is_empty() {
            let page = ranges.iter().position(|range| *range == (135_258, 8196)).unwrap();
            assert_eq!([ranges[page - 1], ranges[page + 1]], [(509_938, 64), (510_002, 64)]);
        }
        // The next sample needs its chunks and the pages that were not read before.
        let next = read(&mut decoder, &file, 2, 4096).unwrap().len() as u64;
        assert!((chunks..=chunks + 3).contains(&next), "{next}");
        let mut damaged = file.clone();
        damaged[4100 + 30] ^= 1;
        let error = read(&mut layout.decoder(&shape), &damaged, 0, 4096).map(drop);
        assert!(matches!(error, Err(Error::Malformed { .. })), "{error:?}");
    }
}

#[test]
fn hdf5_of_many_datasets_has_a_group_that_is_found_through() {
    let mut dataset = dataset(Format::Hdf5);
    (dataset.record_element_type, dataset.hdf5_num_dset_per_record) = (DType::Uint8, 5000);
    dataset.record_dims = vec![5000, 2];
    let layout = Layout::new(&dataset, 42).unwrap();
    let shape = FileShape { file: 3, dims: &dataset.record_dims, samples: 2 };
    let file = encode(&layout, &shape);
    let parsed = hdf5_pure::File::from_bytes(file).unwrap();
    assert_eq!(parsed.dataset("records_4999").unwrap().read_u8().unwrap().len(), 4);
}

/// Lengths recorded from h5py 3.14.
#[test]
fn uncompressed_chunks_have_the_layout_of_the_library() {
    for (dims, samples, chunk_dims, max_shape, size) in [
        (&[200, 200][..], 4, vec![1, 100, 200], vec![], 162_080),
        (&[200, 200], 4, vec![4, 200, 200], vec![], 162_080),
        (&[200, 200], 4, vec![], vec![400, 400], 162_080),
        (&[30, 40], 4, vec![1, 15, 40], vec![], 6880),
        (&[30, 40], 2, vec![1, 15, 40], vec![60, 80], 4464),
        // Edge chunks are stored whole.
        (&[30, 40], 2, vec![1, 16, 33], vec![], 2048 + 2 * 4 * 16 * 33 + 16),
    ] {
        let mut dataset = dataset(Format::Hdf5);
        dataset.record_element_type = DType::Uint8;
        (dataset.hdf5_chunk_dims, dataset.hdf5_max_shape) = (chunk_dims, max_shape);
        let layout = Layout::new(&dataset, 42).unwrap();
        let shape = FileShape { file: 3, dims, samples };
        let file = encode_in(&layout, &shape, &[1000, 7, 333]);
        assert_eq!(file.len(), size, "{dims:?} {dataset:?}");
        let plain = Layout::new(&self::dataset(Format::Hdf5), 42).unwrap();
        let payload =
            |file| hdf5_pure::File::from_bytes(file).unwrap().dataset("records_0").unwrap().read_u8().unwrap();
        assert_eq!(payload(file.clone()), payload(encode(&plain, &shape)));
        for sample in 0..samples {
            read(&mut layout.decoder(&shape), &file, sample, 4096).unwrap();
        }
        if size == 6880 {
            // Recorded with `strace`.
            let ranges = read(&mut layout.decoder(&shape), &file, 1, 4096).unwrap();
            let metadata =
                [(0, Some(8)), (0, Some(48)), (48, Some(512)), (195, Some(512)), (463, Some(28)), (491, Some(82))];
            assert_eq!(ranges, [&metadata[..], &[(2048 + 1200, Some(600)), (2048 + 1800, Some(600))]].concat());
        }
    }
}

#[test]
fn hdf5_chunks_that_do_not_fit_are_refused() {
    let shape = FileShape { file: 3, dims: &[16, 16], samples: 4 };
    for (chunk_dims, max_shape) in
        [(vec![5, 16, 16], vec![]), (vec![16, 16], vec![]), (vec![], vec![8, 16]), (vec![], vec![16])]
    {
        let mut dataset = dataset(Format::Hdf5);
        (dataset.hdf5_chunk_dims, dataset.hdf5_max_shape) = (chunk_dims, max_shape);
        let layout = Layout::new(&dataset, 42).unwrap();
        assert!(matches!(layout.encoder(&shape), Err(Error::Shape { .. })));
    }
}

#[test]
fn numpy_files_are_read_whole_and_once_per_open_file() {
    let shape = FileShape { file: 0, dims: &[10, 10], samples: 3 };
    for format in [Format::Npz, Format::Npy] {
        let layout = layout(format, DType::Float32);
        let file = encode(&layout, &shape);
        let mut decoder = layout.decoder(&shape);
        assert_eq!(read(&mut decoder, &file, 2, 100).unwrap(), [(0, None)]);
        assert_eq!(read(&mut decoder, &file, 0, 100).unwrap(), []);
    }
}

#[test]
fn tfrecords_are_streamed_in_ranges_of_the_transfer_size() {
    let shape = FileShape { file: 0, dims: &[100], samples: 5 };
    let layout = layout(Format::TfRecord, DType::Uint8).with_transfer_size(Some(256));
    let file = encode(&layout, &shape);
    let frame = file.len() / 5;
    assert_eq!(frame, 100 + 49);
    let mut decoder = layout.decoder(&shape);
    assert_eq!(read(&mut decoder, &file, 0, 33).unwrap(), [(0, Some(256))]);
    assert_eq!(read(&mut decoder, &file, 1, 33).unwrap(), [(256, Some(256))]);
    assert_eq!(read(&mut decoder, &file, 2, 33).unwrap(), [], "the third frame has passed with the second range");
    assert_eq!(read(&mut decoder, &file, 4, 33).unwrap(), [(512, Some(256))]);
    assert_eq!(read(&mut decoder, &file, 1, 33).unwrap(), [(0, Some(256)), (256, Some(256))], "a jump back restarts");
    let mut decoder = layout.decoder(&shape);
    decoder.size(file.len() as u64).unwrap();
    assert_eq!(read(&mut decoder, &file, 4, 33).unwrap().last(), Some(&(512, Some(745 - 512))));
}

#[test]
fn tfrecords_of_any_length_are_read() {
    // The frames of two files in sequence: their lengths differ from the workload's.
    let layout = layout(Format::TfRecord, DType::Uint8);
    let long = encode(&layout, &FileShape { file: 0, dims: &[1000], samples: 1 });
    let short = encode(&layout, &FileShape { file: 1, dims: &[1], samples: 2 });
    let file = [long, short].concat();
    let shape = FileShape { file: 0, dims: &[7], samples: 3 };
    read(&mut layout.decoder(&shape), &file, 2, 50).unwrap();
}

#[test]
fn the_payload_depends_on_the_file_number_and_the_seed_only() {
    for format in FORMATS {
        let layout = layout(format, DType::Uint8);
        let file = |number| encode(&layout, &FileShape { file: number, dims: &[20, 20], samples: 2 });
        assert_eq!(file(7), file(7));
        assert_ne!(file(7), file(8));
        let other = Layout::new(&dataset(format), 43).unwrap();
        assert_ne!(file(7), encode(&other, &FileShape { file: 7, dims: &[20, 20], samples: 2 }));
    }
}

#[test]
fn the_fingerprints_of_files_have_not_changed() {
    let fingerprints = FORMATS.map(|format| {
        let shape = FileShape { file: 5, dims: &[33, 7], samples: 3 };
        crc32fast::hash(&encode(&layout(format, DType::Float32), &shape))
    });
    assert_eq!(fingerprints, [2_741_521_180, 1_200_423_757, 2_124_823_464, 2_361_021_254]);
}

#[test]
fn every_truncation_is_detected() {
    let shape = FileShape { file: 0, dims: &[5, 5], samples: 2 };
    for format in FORMATS {
        let layout = layout(format, DType::Uint8);
        let file = encode(&layout, &shape);
        for length in 0..file.len() {
            let sample = 1;
            let result = read(&mut layout.decoder(&shape), &file[..length], sample, 4096);
            // The labels at the end of an HDF5 file are not read with a sample.
            if format == Format::Hdf5 && length >= 2048 + 50 {
                continue;
            }
            let error = result.expect_err(&format!("{format} cut at {length}"));
            // A file that ends with a frame has fewer samples, whatever followed it.
            if format == Format::TfRecord && length == file.len() / 2 {
                assert_eq!(error, Error::Sample { sample, samples: 1 });
                continue;
            }
            let Error::Truncated { expected, found, .. } = error else { panic!("{format} cut at {length}: {error}") };
            // A range that begins beyond the end of the file shows only that the file ends before it.
            let exact = format != Format::Hdf5 || length < 707;
            assert!(expected > found && (found == length as u64 || !exact), "{format} cut at {length}: {error}");
        }
    }
}

#[test]
fn a_size_that_cannot_be_right_is_refused_before_reading() {
    let shape = FileShape { file: 0, dims: &[5, 5], samples: 2 };
    for format in FORMATS {
        let layout = layout(format, DType::Uint8);
        let error = layout.decoder(&shape).size(0).unwrap_err();
        assert!(matches!(error, Error::Truncated { found: 0, .. }), "{format}: {error}");
        layout.decoder(&shape).size(encode(&layout, &shape).len() as u64).unwrap();
    }
}

#[test]
fn trailing_garbage_is_detected() {
    let shape = FileShape { file: 0, dims: &[5, 5], samples: 2 };
    for format in [Format::Npz, Format::Npy] {
        let layout = layout(format, DType::Uint8);
        let mut file = encode(&layout, &shape);
        let length = file.len() as u64;
        file.push(0);
        let error = check(&layout, &shape, &file).unwrap_err();
        assert!(matches!(error, Error::Trailing { expected, .. } if expected == length), "{format}: {error}");
    }
}

#[test]
fn a_file_of_another_format_is_detected() {
    let shape = FileShape { file: 0, dims: &[50, 50], samples: 2 };
    for format in FORMATS {
        for other in FORMATS.into_iter().filter(|&other| other != format) {
            let file = encode(&layout(other, DType::Uint8), &shape);
            let error = check(&layout(format, DType::Uint8), &shape, &file).unwrap_err();
            assert!(matches!(error, Error::Malformed { offset: 0 | 8, .. }), "{format} from {other}: {error}");
        }
    }
}

#[test]
fn another_shape_or_type_is_named_with_both() {
    let shape = FileShape { file: 0, dims: &[50, 40], samples: 2 };
    for format in [Format::Npz, Format::Npy, Format::Hdf5] {
        let layout = layout(format, DType::Uint16);
        let file = encode(&layout, &FileShape { samples: 3, ..shape });
        let error = check(&layout, &shape, &file).unwrap_err().to_string();
        assert!(error.contains('3') && error.contains('2') && error.contains("50"), "{format}: {error}");
        let file = encode(&self::layout(format, DType::Float64), &shape);
        let error = check(&layout, &shape, &file).unwrap_err();
        assert!(matches!(error, Error::Differs { .. }), "{format}: {error}");
    }
}

#[test]
fn a_sample_beyond_the_file_is_refused() {
    let shape = FileShape { file: 0, dims: &[5], samples: 2 };
    for format in FORMATS {
        let error = layout(format, DType::Uint8).decoder(&shape).sample(2).unwrap_err();
        assert_eq!(error, Error::Sample { sample: 2, samples: 2 });
    }
}

#[test]
fn formats_and_options_that_are_not_there_are_refused_by_name() {
    // The configuration refuses the format as well; a layout must not rely on that.
    let unwritten = dlio_config::workload::Dataset { format: Format::Hdf5Opt, ..dataset(Format::Hdf5) };
    let error = Layout::new(&unwritten, 0).unwrap_err();
    assert!(error.to_string().contains("hdf5_opt"), "{error}");
    let mut hdf5 = dataset(Format::Hdf5);
    hdf5.compression = Some("bz2".to_owned());
    assert!(Layout::new(&hdf5, 0).unwrap_err().to_string().contains("bz2"));
    // npz archives are not compressed, whatever the configuration says.
    let mut npz = dataset(Format::Npz);
    npz.compression = Some("gzip".to_owned());
    Layout::new(&npz, 0).unwrap();
}

#[test]
fn lengths_of_huge_files_are_known_without_writing_them() {
    let layout = layout(Format::Npz, DType::Uint8);
    // As Python's zipfile writes a member of 5 GiB.
    let shape = FileShape { file: 0, dims: &[5 << 30], samples: 1 };
    assert_eq!(layout.encoder(&shape).unwrap().len(), 5_368_709_726);
    let too_large = FileShape { file: 0, dims: &[u64::MAX, 2], samples: 1 };
    for format in FORMATS {
        let layout = self::layout(format, DType::Uint8);
        assert!(matches!(layout.encoder(&too_large), Err(Error::Shape { .. })), "{format}");
        let nothing = FileShape { samples: 0, ..too_large };
        let _ = (layout.encoder(&nothing), layout.index_encoders(&nothing), layout.index_encoders(&too_large));
        let mut decoder = layout.decoder(&too_large);
        assert!(read(&mut decoder, &[0; 100], 0, 10).is_err());
    }
}

#[test]
fn deflated_archives_are_read_with_their_content_unchecked() {
    // Written by Python's zipfile (method 8) with members x.npy and y.npy.
    let file = include_bytes!("golden/deflated.npz");
    let shape = FileShape { file: 0, dims: &[4, 5], samples: 6 };
    check(&layout(Format::Npz, DType::Uint8), &shape, file).unwrap();
    // Written to a stream that cannot seek: sizes follow the data.
    let file = include_bytes!("golden/streamed.npz");
    check(&layout(Format::Npz, DType::Uint8), &shape, file).unwrap();
    let file = include_bytes!("golden/streamed_stored.npz");
    check(&layout(Format::Npz, DType::Uint8), &shape, file).unwrap();
}

#[test]
fn archives_with_plain_sizes_are_read() {
    let file = include_bytes!("golden/plain.npz");
    let shape = FileShape { file: 0, dims: &[4, 5], samples: 6 };
    check(&layout(Format::Npz, DType::Uint8), &shape, file).unwrap();
}

fn formats() -> impl Strategy<Value = Format> {
    prop::sample::select(FORMATS.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_encoded_is_decoded(
        format in formats(),
        dtype in prop::sample::select(TYPES.to_vec()),
        dims in prop::collection::vec(1..12_u64, 1..4),
        samples in 1..6_u64,
        file in any::<u64>(),
        buffers in prop::collection::vec(1..3000_usize, 1..5),
        chunk in 1..5000_usize,
        transfer in 1..3000_u64,
        order in prop::collection::vec(any::<prop::sample::Index>(), 1..8),
        known in any::<bool>(),
    ) {
        let layout = layout(format, dtype).with_transfer_size(Some(transfer));
        let shape = FileShape { file, dims: &dims, samples };
        let bytes = encode_in(&layout, &shape, &buffers);
        prop_assert_eq!(&bytes, &encode(&layout, &shape));
        let mut decoder = layout.decoder(&shape);
        if known {
            decoder.size(bytes.len() as u64).unwrap();
        }
        for sample in order {
            read(&mut decoder, &bytes, sample.index(usize::try_from(samples).unwrap()) as u64, chunk).unwrap();
        }
    }

    #[test]
    fn any_bytes_are_survived(
        format in formats(),
        bytes in prop::collection::vec(any::<u8>(), 0..3000),
        known in any::<bool>(),
        sample in 0..3_u64,
    ) {
        let layout = layout(format, DType::Uint8).with_transfer_size(Some(700));
        let mut decoder = layout.decoder(&FileShape { file: 0, dims: &[9, 9], samples: 3 });
        if !known || decoder.size(bytes.len() as u64).is_ok() {
            prop_assert!(read(&mut decoder, &bytes, sample, 100).is_err());
        }
    }

    #[test]
    fn damaged_files_are_survived(
        format in formats(),
        origin in 0..6_usize,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
        early in any::<bool>(),
        known in any::<bool>(),
    ) {
        let layout = layout(format, DType::Uint8);
        let shape = FileShape { file: 0, dims: &[4, 5], samples: 6 };
        let mut bytes = match (format, origin) {
            (Format::Hdf5, 1) => include_bytes!("golden/h5py_earliest.h5").to_vec(),
            (Format::Hdf5, 2) => include_bytes!("golden/h5py_earliest_chunked.h5").to_vec(),
            (Format::Hdf5, 3) => include_bytes!("golden/h5py_latest_gzip.h5").to_vec(),
            (Format::Hdf5, 4) => include_bytes!("golden/h5py_latest_resizable.h5").to_vec(),
            (Format::Npz, 1) => include_bytes!("golden/deflated.npz").to_vec(),
            (Format::Npz, 2) => include_bytes!("golden/streamed.npz").to_vec(),
            (Format::Npz, 3) => include_bytes!("golden/plain.npz").to_vec(),
            _ => encode(&layout, &shape),
        };
        for (at, value) in damage {
            // The structure is at the front.
            let length = if early { bytes.len().min(600) } else { bytes.len() };
            bytes[at.index(length)] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let mut decoder = layout.decoder(&shape);
        if !known || decoder.size(bytes.len() as u64).is_ok() {
            // Damage to payload goes unnoticed; the decoder must only return.
            let _ = read(&mut decoder, &bytes, 2, 100);
        }
    }
}

#[test]
fn a_length_that_follows_from_the_shape_is_the_same_for_every_file() {
    let compressed = |format, word: &str| {
        let mut dataset = dataset(format);
        dataset.compression = Some(word.to_owned());
        dataset
    };
    let all = [
        Format::Npz,
        Format::Npy,
        Format::Hdf5,
        Format::TfRecord,
        Format::Csv,
        Format::Png,
        Format::Jpeg,
        Format::IndexedBinary,
        Format::MmapIndexedBinary,
        Format::Parquet,
        Format::Synthetic,
    ];
    let mut layouts: Vec<_> = all.into_iter().map(|format| (dataset(format), true)).collect();
    layouts.push((compressed(Format::Npz, "zip"), false));
    layouts.push((compressed(Format::Parquet, "snappy"), false));
    for (dataset, is_plain) in layouts {
        let layout = Layout::new(&dataset, 42).unwrap();
        let told = layout.length_follows_from_shape();
        let by_content = !is_plain || matches!(dataset.format, Format::Csv | Format::Synthetic);
        assert_eq!(told, !by_content, "{}", dataset.format);
        let len = |file| layout.encoder(&FileShape { file, dims: &[40, 50], samples: 3 }).unwrap().len();
        if told {
            assert!([1, 7, 999, 1 << 40].into_iter().all(|file| len(file) == len(0)), "{}", dataset.format);
        }
    }
}
