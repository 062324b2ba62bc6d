//! Content of samples: generated content passes, and any changed byte is found and reported.

#![expect(clippy::unwrap_used, reason = "also the helpers of tests are tests")]

mod dataset;

use dataset::dataset;
use dlio_config::vocabulary::{DType, Decode, Format, VerifyBy};
use dlio_config::workload::Dataset;
use dlio_format::{Decoder, Error, FileShape, Layout, Need};
use proptest::prelude::*;

const SHAPE: FileShape = FileShape { file: 3, dims: &[30, 40], samples: 5 };
/// Payload seed.
const SEED: u64 = 42;

fn layout(format: Format) -> Layout {
    Layout::new(&dataset(format), SEED).unwrap()
}

/// Returns differently laid out layouts, by name.
fn layouts() -> Vec<(&'static str, Layout)> {
    let hdf5 = |change: fn(&mut Dataset)| {
        let mut dataset = dataset(Format::Hdf5);
        dataset.record_dims = SHAPE.dims.to_vec();
        change(&mut dataset);
        Layout::new(&dataset, SEED).unwrap()
    };
    vec![
        ("npz", layout(Format::Npz)),
        ("npy", layout(Format::Npy)),
        ("tfrecord", layout(Format::TfRecord)),
        ("tfrecord in short ranges", layout(Format::TfRecord).with_transfer_size(Some(700))),
        ("hdf5", layout(Format::Hdf5)),
        ("hdf5 in two datasets", hdf5(|dataset| dataset.hdf5_num_dset_per_record = 2)),
        ("hdf5 in chunks", hdf5(|dataset| dataset.hdf5_chunk_dims = vec![2, 16, 40])),
        ("hdf5 with gzip", hdf5(|dataset| dataset.compression = Some("gzip".to_owned()))),
        ("hdf5 with lzf", hdf5(|dataset| dataset.compression = Some("lzf".to_owned()))),
    ]
}

fn encode(layout: &Layout) -> Vec<u8> {
    let mut encoder = layout.encoder(&SHAPE).unwrap();
    let mut file = vec![0; usize::try_from(encoder.len()).unwrap()];
    assert_eq!(encoder.fill(&mut file), file.len());
    file
}

/// Reads one sample as the engine does.
fn read(decoder: &mut Decoder, file: &[u8], sample: u64, chunk: usize) -> Result<(), Error> {
    decoder.sample(sample)?;
    while let Need::Bytes { offset, len } = decoder.need() {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(file.len());
        let end = len.map_or(file.len(), |len| start.saturating_add(usize::try_from(len).unwrap()).min(file.len()));
        for bytes in file[start..end].chunks(chunk) {
            decoder.chunk(bytes)?;
        }
        decoder.end()?;
    }
    Ok(())
}

/// Reads every sample of an open file.
fn read_all(layout: &Layout, decode: Decode, file: &[u8]) -> Result<(), Error> {
    let mut decoder = layout.decoder_with(&SHAPE, decode)?;
    decoder.size(file.len() as u64)?;
    (0..SHAPE.samples).try_for_each(|sample| read(&mut decoder, file, sample, 1000))
}

#[test]
fn what_was_generated_passes_in_every_mode() {
    for (name, layout) in layouts() {
        let file = encode(&layout);
        for decode in [Decode::None, Decode::Verify, Decode::Full] {
            read_all(&layout, decode, &file).unwrap_or_else(|error| panic!("{name}, {decode}: {error}"));
        }
    }
}

#[test]
fn every_element_type_passes() {
    for format in [Format::Npz, Format::Npy, Format::TfRecord, Format::Hdf5] {
        for dtype in [DType::Bool, DType::Float16, DType::Float32, DType::Float64, DType::Int64, DType::Uint16] {
            let mut dataset = dataset(format);
            dataset.record_element_type = dtype;
            let layout = Layout::new(&dataset, SEED).unwrap();
            read_all(&layout, Decode::Verify, &encode(&layout))
                .unwrap_or_else(|error| panic!("{format} {dtype}: {error}"));
        }
    }
}

#[test]
fn samples_can_be_verified_in_any_order_and_again() {
    for (name, layout) in layouts() {
        let file = encode(&layout);
        let mut decoder = layout.decoder_with(&SHAPE, Decode::Verify).unwrap();
        for sample in [3, 0, 4, 4, 1] {
            read(&mut decoder, &file, sample, 777).unwrap_or_else(|error| panic!("{name}, sample {sample}: {error}"));
        }
    }
}

#[test]
fn one_changed_bit_of_the_payload_is_reported_with_its_offset_and_both_values() {
    for (name, layout) in layouts().into_iter().filter(|(name, _)| !name.contains("chunks") && !name.contains("with")) {
        let good = encode(&layout);
        // After every header of 2048 bytes, and before the labels and the directory of archives.
        for at in [2600, 4000, good.len() - 700] {
            let mut file = good.clone();
            file[at] ^= 0x10;
            let error = read_all(&layout, Decode::Verify, &file).expect_err(name);
            let Error::Content { offset, ref expected, ref found, seed: SEED } = error else {
                panic!("{name}: {error}")
            };
            assert_eq!(offset, at as u64, "{name}");
            assert!(expected.starts_with(&format!("{:02x}", good[at])), "{name}: {error}");
            assert!(found.starts_with(&format!("{:02x}", file[at])), "{name}: {error}");
            assert!(read_all(&layout, Decode::None, &file).is_ok(), "{name}: decode none does not look at the payload");
        }
    }
}

#[test]
fn any_changed_byte_of_a_file_that_is_read_whole_is_detected() {
    for format in [Format::Npz, Format::Npy, Format::TfRecord] {
        let layout = layout(format);
        let good = encode(&layout);
        for at in 0..good.len() {
            let mut file = good.clone();
            file[at] ^= 1;
            assert!(read_all(&layout, Decode::Verify, &file).is_err(), "{format}, byte {at} of {}", good.len());
        }
    }
}

#[test]
fn a_changed_chunk_of_hdf5_is_told_with_its_address() {
    for (name, layout) in layouts().into_iter().filter(|(name, _)| name.contains("chunks") || name.contains("with")) {
        let mut file = encode(&layout);
        // Random data does not compress, so most of the file is chunks.
        let middle = file.len() / 2;
        file[middle] ^= 0x10;
        let error = read_all(&layout, Decode::Verify, &file).expect_err(name);
        let Error::Malformed { noun, offset, .. } = error else { panic!("{name}: {error}") };
        assert_eq!(noun, "content of the HDF5 chunk");
        assert!(offset > 0 && offset <= middle as u64, "{name}: {offset} for byte {middle}");
    }
}

/// h5py 3.16 wrote the payload of `SHAPE` in chunks of (2, 16, 40); hdf5-pure decodes the scale-offset filter.
#[test]
fn chunks_with_filters_of_the_library_are_decoded() {
    let (_, layout) = layouts().remove(6);
    let files: [(&str, &[u8]); 3] = [
        ("shuffle, gzip, fletcher32", include_bytes!("golden/h5py_earliest_fletcher32.h5")),
        ("lzf, fletcher32", include_bytes!("golden/h5py_fletcher32_lzf.h5")),
        ("scale and offset", include_bytes!("golden/h5py_earliest_scaleoffset.h5")),
    ];
    for (name, good) in files {
        for decode in [Decode::None, Decode::Verify, Decode::Full] {
            read_all(&layout, decode, good).unwrap_or_else(|error| panic!("{name}, {decode}: {error}"));
        }
        let mut file = good.to_vec();
        let middle = file.len() - 2000;
        file[middle] ^= 0x10;
        let error = read_all(&layout, Decode::Verify, &file).expect_err(name);
        assert!(error.to_string().contains("content of the HDF5 chunk"), "{name}: {error}");
        let decoded = read_all(&layout, Decode::Full, &file);
        assert_eq!(decoded.is_err(), name.contains("fletcher32"), "{name}: a checksum tells, other bytes do not");
    }
}

#[test]
fn data_of_another_seed_file_or_program_differ_but_pass_by_their_checksums() {
    for format in [Format::Npz, Format::TfRecord] {
        let theirs = encode(&Layout::new(&dataset(format), 7).unwrap());
        let ours = layout(format);
        let error = read_all(&ours, Decode::Verify, &theirs).unwrap_err().to_string();
        assert!(error.contains("which seed 42 makes") && error.contains("dlio_rs.verify_by: checksum"), "{error}");
        let by_sums = layout(format).with_verify_by(VerifyBy::Checksum);
        read_all(&by_sums, Decode::Verify, &theirs).unwrap();
        for at in [2600, theirs.len() - 700] {
            let mut file = theirs.clone();
            file[at] ^= 4;
            let error = read_all(&by_sums, Decode::Verify, &file).unwrap_err();
            assert!(matches!(error, Error::Checksum { stored, computed, .. } if stored != computed), "{error}");
            assert!(read_all(&by_sums, Decode::Full, &file).is_err(), "{format}: a training reader notices too");
        }
    }
}

#[test]
fn the_checksum_message_names_the_content() {
    let layout = layout(Format::Npz).with_verify_by(VerifyBy::Checksum);
    let mut file = encode(&layout);
    file[3000] ^= 1;
    let error = read_all(&layout, Decode::Verify, &file).unwrap_err();
    // A local header of 30 bytes, a name of 5 and an extra field of 20.
    assert!(matches!(error, Error::Checksum { offset: 55, .. }), "{error:?}");
    assert!(error.to_string().starts_with("member x.npy at offset 55: the file says "), "{error}");
}

#[test]
fn formats_without_checksums_say_so() {
    for format in [Format::Npy, Format::Hdf5] {
        let layout = layout(format).with_verify_by(VerifyBy::Checksum);
        let error = layout.allows(Decode::Verify).unwrap_err().to_string();
        assert!(error.starts_with("dlio_rs.verify_by: checksum: ") && error.contains("use payload"), "{error}");
        assert!(layout.decoder_with(&SHAPE, Decode::Verify).is_err());
        assert!(layout.allows(Decode::None).is_ok() && layout.allows(Decode::Full).is_ok());
    }
}

#[test]
fn members_are_not_passed_unchecked() {
    let shape = FileShape { file: 0, dims: &[4, 5], samples: 6 };
    let layout = layout(Format::Npz).with_verify_by(VerifyBy::Checksum);
    let read = |file| read(&mut layout.decoder_with(&shape, Decode::Verify).unwrap(), file, 0, 100);
    // A deflated member contains its own end.
    read(include_bytes!("golden/streamed.npz")).unwrap();
    let file = include_bytes!("golden/streamed_stored.npz");
    assert!(read(file).is_err(), "a stored member whose length follows it cannot be checked in passing");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damage_never_passes_and_never_panics(
        number in 0..9_usize,
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
        cut in prop::option::of(any::<prop::sample::Index>()),
        full in any::<bool>(),
    ) {
        let (name, layout) = layouts().swap_remove(number);
        let good = encode(&layout);
        let mut file = good.clone();
        // The labels at the end of an HDF5 file are not read.
        let at = at.index(good.len());
        file[at] = value;
        if let Some(cut) = cut {
            file.truncate(cut.index(file.len()));
        }
        let outcome = read_all(&layout, if full { Decode::Full } else { Decode::Verify }, &file);
        if !full && !name.starts_with("hdf5") && file != good {
            prop_assert!(outcome.is_err(), "{}", name);
        }
    }
}

/// Reads one sample in ranges and returns the ranges.
fn ranges(layout: &Layout, decode: Decode, file: &[u8]) -> Result<Vec<(u64, u64)>, Error> {
    let mut decoder = layout.decoder_with(&SHAPE, decode)?;
    decoder.size(file.len() as u64)?;
    decoder.sample(1)?;
    let mut ranges = Vec::new();
    while let Need::Bytes { offset, len } = decoder.need() {
        let start = usize::try_from(offset).unwrap();
        let end = len.map_or(file.len(), |len| start + usize::try_from(len).unwrap());
        ranges.push((offset, (end - start) as u64));
        file[start..end].chunks(1000).try_for_each(|bytes| decoder.chunk(bytes))?;
        decoder.end()?;
    }
    Ok(ranges)
}

#[test]
fn archives_are_read_in_the_order_in_which_numpy_reads_a_file() {
    let layout = layout(Format::Npz).with_numpy_reads();
    let file = encode(&layout);
    let size = file.len() as u64;
    // The member has 183 bytes of headers and 6000 bytes of samples; the last buffer contains what follows it.
    let directory = size - 22 - 2 * 51;
    let expected =
        [(0, 4096), (size - 22, 22), (size - 42, 42), (directory, size - directory), (0, 4096), (4096, size - 4096)];
    assert!(size < 8192);
    for decode in [Decode::None, Decode::Verify, Decode::Full] {
        assert_eq!(ranges(&layout, decode, &file).unwrap(), expected);
    }
    let mut damaged = file.clone();
    damaged[5000] ^= 1;
    let error = ranges(&layout, Decode::Verify, &damaged).unwrap_err();
    assert!(matches!(error, Error::Content { offset: 5000, .. }), "{error}");
    assert!(ranges(&layout, Decode::Full, &damaged).is_err(), "the checksum of the member");
}

/// Recorded with `strace` from numpy 2.4.
#[test]
fn arrays_are_read_after_two_looks_at_the_header() {
    let layout = layout(Format::Npy).with_numpy_reads();
    let file = encode(&layout);
    let size = file.len() as u64;
    for decode in [Decode::None, Decode::Verify, Decode::Full] {
        assert_eq!(ranges(&layout, decode, &file).unwrap(), [(0, 4096), (0, 128), (0, size)]);
    }
    let mut damaged = file.clone();
    damaged[5000] ^= 1;
    assert!(matches!(ranges(&layout, Decode::Verify, &damaged), Err(Error::Content { offset: 5000, .. })));
    damaged = file.clone();
    damaged[1] = b'X';
    assert!(matches!(ranges(&layout, Decode::None, &damaged), Err(Error::Malformed { .. })));
    let mut decoder = layout.decoder(&SHAPE);
    decoder.sample(0).unwrap();
    assert_eq!(decoder.need(), Need::Bytes { offset: 0, len: None }, "without a size, as on object storage");
}

#[test]
fn archives_that_numpy_would_read_otherwise_are_read_whole() {
    let layout = layout(Format::Npz).with_numpy_reads();
    let good = encode(&layout);
    let truncated = ranges(&layout, Decode::None, &good[..good.len() - 30]).unwrap_err();
    assert!(truncated.to_string().contains("truncated") || truncated.to_string().contains("zip"), "{truncated}");
    let mut trailing = good.clone();
    trailing.extend([0; 10]);
    assert!(matches!(ranges(&layout, Decode::None, &trailing), Err(Error::Trailing { .. })));
    let mut magic = good.clone();
    magic[0] = b'X';
    assert!(matches!(ranges(&layout, Decode::None, &magic), Err(Error::Malformed { .. })));
    let mut decoder = layout.decoder(&SHAPE);
    decoder.sample(0).unwrap();
    assert_eq!(decoder.need(), Need::Bytes { offset: 0, len: None }, "without a size, as on object storage");
}
