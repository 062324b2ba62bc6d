//! Indexed binary files: the two index files and the ranges read with them.

#![expect(clippy::unwrap_used, reason = "also the helpers of tests are tests")]

mod dataset;

use std::sync::Arc;

use dataset::{bytes, dataset};
use dlio_config::vocabulary::{DType, Decode, Format, IndexFile};
use dlio_format::{Decoder, Error, FileShape, Layout, Need, SampleIndex};
use proptest::prelude::*;

const SHAPE: FileShape = FileShape { file: 3, dims: &[6, 4, 8], samples: 3 };
/// Size of a sample of that shape in bytes.
const SAMPLE: u64 = 768;

fn layout(format: Format) -> Layout {
    let mut dataset = dataset(format);
    dataset.record_element_type = DType::Float32;
    Layout::new(&dataset, 42).unwrap()
}

fn numbers(bytes: &[u8]) -> Vec<u64> {
    bytes.as_chunks::<8>().0.iter().map(|number| u64::from_ne_bytes(*number)).collect()
}

fn index(samples: u64, offsets: &[u8], sizes: &[u8], step: usize) -> Result<SampleIndex, Error> {
    let shape = FileShape { samples, ..SHAPE };
    let mut decoder = layout(Format::IndexedBinary).index_decoder(&shape).unwrap();
    for (file, bytes) in [(IndexFile::Sizes, sizes), (IndexFile::Offsets, offsets)] {
        for chunk in bytes.chunks(step) {
            decoder.chunk(file, chunk)?;
        }
        decoder.end(file)?;
    }
    decoder.finish()
}

/// Returns the range that is read for a sample of a data file of `size` bytes.
fn aim(decoder: &mut Decoder, sample: u64) -> Result<Option<(u64, u64)>, Error> {
    decoder.sample(sample)?;
    match decoder.need() {
        Need::Bytes { offset, len } => Ok(Some((offset, len.unwrap()))),
        Need::Done | Need::Size => Ok(None),
    }
}

fn located(offsets: &[u64], sizes: &[u64]) -> Arc<SampleIndex> {
    let file = |numbers: &[u64]| numbers.iter().flat_map(|number| number.to_ne_bytes()).collect::<Vec<_>>();
    Arc::new(index(offsets.len() as u64, &file(offsets), &file(sizes), 5).unwrap())
}

#[test]
fn the_files_are_samples_end_to_end_and_two_arrays_of_64_bit_numbers() {
    for format in [Format::IndexedBinary, Format::MmapIndexedBinary] {
        let layout = layout(format);
        assert_eq!(layout.encoder(&SHAPE).unwrap().len(), 3 * SAMPLE);
        let indexes = layout.index_encoders(&SHAPE);
        assert_eq!(indexes.iter().map(|(index, _)| *index).collect::<Vec<_>>(), format.index_files());
        let files: Vec<_> = indexes.into_iter().map(|(_, encoder)| bytes(encoder, &[7])).collect();
        assert_eq!(numbers(&files[0]), [0, SAMPLE, 2 * SAMPLE]);
        assert_eq!(numbers(&files[1]), [SAMPLE; 3]);
        let read = index(3, &files[0], &files[1], 5).unwrap();
        assert_eq!(
            (0..4).map(|sample| read.get(sample)).collect::<Vec<_>>(),
            [Some((0, SAMPLE)), Some((SAMPLE, SAMPLE)), Some((2 * SAMPLE, SAMPLE)), None]
        );
    }
}

#[test]
fn a_sample_is_read_where_the_index_says_also_when_offsets_restart() {
    let mut decoder = layout(Format::IndexedBinary).decoder(&FileShape { samples: 4, ..SHAPE });
    decoder.size(4 * SAMPLE).unwrap();
    assert_eq!(aim(&mut decoder, 3).unwrap(), Some((3 * SAMPLE, SAMPLE)), "without an index they follow each other");
    // As the reference writes them with a buffer of two samples.
    decoder.locate(located(&[0, SAMPLE, 0, SAMPLE], &[SAMPLE; 4])).unwrap();
    assert_eq!(aim(&mut decoder, 3).unwrap(), Some((SAMPLE, SAMPLE)));
    assert_eq!(aim(&mut decoder, 2).unwrap(), Some((0, SAMPLE)));
}

#[test]
fn a_memory_map_brings_in_pages_or_nothing_at_all() {
    let shape = FileShape { samples: 20, ..SHAPE };
    let mut decoder = layout(Format::MmapIndexedBinary).decoder(&shape);
    decoder.size(20 * SAMPLE).unwrap();
    assert_eq!(aim(&mut decoder, 0).unwrap(), Some((0, 4096)));
    assert_eq!(aim(&mut decoder, 5).unwrap(), Some((0, 8192)), "3840 to 4608 lies in two pages");
    assert_eq!(aim(&mut decoder, 19).unwrap(), Some((12_288, 20 * SAMPLE - 12_288)), "the last page is cut");
    let mut decoder = layout(Format::MmapIndexedBinary).with_untouched_maps().decoder(&shape);
    assert_eq!(aim(&mut decoder, 5).unwrap(), None);
}

#[test]
fn verifying_finds_the_first_bad_byte_of_a_sample_also_through_a_map() {
    for format in [Format::IndexedBinary, Format::MmapIndexedBinary] {
        let layout = layout(format).with_untouched_maps();
        let mut file = bytes(layout.encoder(&SHAPE).unwrap(), &[1000]);
        for damage in [None, Some(2 * SAMPLE + 5)] {
            if let Some(at) = damage {
                file[usize::try_from(at).unwrap()] ^= 1;
            }
            let mut decoder = layout.decoder_with(&SHAPE, Decode::Verify).unwrap();
            decoder.size(3 * SAMPLE).unwrap();
            let (offset, len) = aim(&mut decoder, 2).unwrap().unwrap();
            let (offset, end) = (usize::try_from(offset).unwrap(), usize::try_from(offset + len).unwrap());
            let outcome = file[offset..end].chunks(100).try_for_each(|chunk| decoder.chunk(chunk));
            match (damage, outcome) {
                (None, Ok(())) => decoder.end().unwrap(),
                (Some(at), Err(Error::Content { offset, .. })) => assert_eq!(offset, at),
                (damage, outcome) => panic!("{format} {damage:?}: {outcome:?}"),
            }
        }
    }
}

#[test]
fn index_files_of_another_length_are_refused() {
    let good = [0_u8; 24];
    for (offsets, sizes) in [(&good[..23], &good[..]), (&[], &good), (&good, &good[..9])] {
        assert!(matches!(index(3, offsets, sizes, 5), Err(Error::Truncated { expected: 24, .. })));
    }
    // Index files with whole numbers belong to another number of samples.
    for (offsets, sizes) in [(&good[..16], &good[..]), (&good, &good[..8])] {
        assert!(matches!(index(3, offsets, sizes, 5), Err(Error::Differs { .. })));
    }
    assert!(matches!(index(3, &[0; 25], &good, 100), Err(Error::Trailing { expected: 24, found: 25, .. })));
    let mut decoder = layout(Format::IndexedBinary).index_decoder(&SHAPE).unwrap();
    assert!(matches!(decoder.size(IndexFile::Sizes, 32), Err(Error::Trailing { .. })));
    assert!(matches!(decoder.size(IndexFile::Offsets, 0), Err(Error::Truncated { .. })));
    assert_eq!(layout(Format::IndexedBinary).decoder(&SHAPE).sample(3), Err(Error::Sample { sample: 3, samples: 3 }));
}

#[test]
fn an_index_that_points_outside_the_file_or_to_another_size_is_refused() {
    let mut decoder = layout(Format::IndexedBinary).decoder(&SHAPE);
    decoder.size(3 * SAMPLE).unwrap();
    decoder.locate(located(&[0, 2 * SAMPLE + 1, u64::MAX], &[SAMPLE; 3])).unwrap();
    assert_eq!(aim(&mut decoder, 0).unwrap(), Some((0, SAMPLE)));
    for sample in [1, 2] {
        let error = aim(&mut decoder, sample).unwrap_err();
        assert!(matches!(error, Error::Malformed { offset, .. } if offset == sample * 8), "{error}");
    }
    decoder.locate(located(&[0; 3], &[SAMPLE, 4, SAMPLE])).unwrap();
    assert!(matches!(aim(&mut decoder, 1), Err(Error::Differs { .. })));
}

#[test]
fn data_files_of_another_length_are_refused_but_for_whole_buffers_of_the_reference() {
    let layout = layout(Format::IndexedBinary);
    let size = |bytes| {
        let mut decoder = layout.decoder(&SHAPE);
        decoder.size(bytes)?;
        decoder.locate(located(&[0, SAMPLE, 2 * SAMPLE], &[SAMPLE; 3]))
    };
    assert!(matches!(size(3 * SAMPLE - 1), Err(Error::Truncated { .. })));
    assert!(matches!(size(0), Err(Error::Truncated { .. })));
    assert!(matches!(size(4 * SAMPLE), Err(Error::Trailing { .. })));
    let buffer = (1_u64 << 30) / SAMPLE * SAMPLE;
    assert_eq!(size(buffer), Ok(()));
    assert!(matches!(size(buffer + 1), Err(Error::Trailing { .. })));
    // The length matches the index but not the workload: another shape.
    let mut decoder = layout.decoder(&SHAPE);
    decoder.size(30).unwrap();
    assert!(matches!(decoder.locate(located(&[0, 10, 20], &[10; 3])), Err(Error::Differs { .. })));
    let mut decoder = layout.decoder(&SHAPE);
    assert_eq!(aim(&mut decoder, 2).unwrap(), Some((2 * SAMPLE, SAMPLE)));
    decoder.chunk(&[0; 100]).unwrap();
    assert!(matches!(decoder.end(), Err(Error::Truncated { found: 1636, .. })), "a size that was not known before");
}

#[test]
fn looking_up_a_sample_in_a_huge_index_costs_no_memory_of_that_size() {
    let layout = layout(Format::MmapIndexedBinary);
    let shape = FileShape { samples: 277_203_535, ..SHAPE };
    let lengths: Vec<u64> = layout.index_encoders(&shape).iter().map(|(_, encoder)| encoder.len()).collect();
    assert_eq!(lengths, [277_203_535 * 8; 2]);
    assert_eq!(layout.encoder(&shape).unwrap().len(), 277_203_535 * SAMPLE);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_numbers_are_found_again(
        numbers in prop::collection::vec((0..5_u64).prop_flat_map(|kind| match kind {
            0 => any::<u64>().boxed(),
            _ => (0..4_u64).prop_map(|number| number * 16).boxed(),
        }), 0..40),
        step in 1..50_usize,
    ) {
        let file: Vec<u8> = numbers.iter().flat_map(|number| number.to_ne_bytes()).collect();
        let read = index(numbers.len() as u64, &file, &file, step).unwrap();
        for (sample, number) in numbers.iter().enumerate() {
            prop_assert_eq!(read.get(sample as u64), Some((*number, *number)));
        }
        prop_assert_eq!(read.get(numbers.len() as u64), None);
        prop_assert_eq!(read.len(), numbers.len() as u64);
    }

    #[test]
    fn any_index_and_any_size_are_survived(
        offsets in prop::collection::vec(any::<u64>(), 3),
        sizes in prop::collection::vec(prop_oneof![Just(SAMPLE), any::<u64>()], 3),
        size in prop::option::of(any::<u64>()),
        mapped in any::<bool>(),
        chunk in 0..2000_usize,
    ) {
        let format = if mapped { Format::MmapIndexedBinary } else { Format::IndexedBinary };
        let mut decoder = layout(format).decoder(&SHAPE);
        decoder.locate(located(&offsets, &sizes)).unwrap();
        if size.is_none_or(|size| decoder.size(size).is_ok()) {
            for sample in 0..3 {
                if let Ok(Some((offset, len))) = aim(&mut decoder, sample) {
                    prop_assert!(size.is_none_or(|size| offset + len <= size));
                    let _ = decoder.chunk(&vec![0; chunk]).and_then(|()| decoder.end());
                }
            }
        }
    }
}
