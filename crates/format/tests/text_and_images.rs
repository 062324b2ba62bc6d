//! CSV, PNG, JPEG, synthetic and compressed files: decoders accept what encoders write, in every mode, and nothing
//! else.

#![expect(clippy::unwrap_used, reason = "also the helpers of tests are tests")]

mod dataset;

use dataset::{TYPES, dataset, encode, encode_in};
use dlio_config::vocabulary::{DType, Decode, Dialect, Format};
use dlio_format::{Error, FileShape, Layout, Need};
use proptest::prelude::*;

const SHAPE: FileShape = FileShape { file: 3, dims: &[30, 40], samples: 5 };
const MODES: [Decode; 3] = [Decode::None, Decode::Verify, Decode::Full];

fn layout(format: Format, dtype: DType, compression: Option<&str>) -> Layout {
    let mut dataset = dataset(format);
    dataset.record_element_type = dtype;
    dataset.compression = compression.map(str::to_owned);
    Layout::new(&dataset, 42).unwrap()
}

/// Returns differently laid out layouts, by name.
fn layouts() -> Vec<(&'static str, Layout)> {
    let csv = |compression| layout(Format::Csv, DType::Uint8, compression);
    let npz = layout(Format::Npz, DType::Float32, Some("zip"));
    vec![
        ("csv", csv(None)),
        ("csv of different rows", csv(None).with_dialect(Dialect::Native)),
        ("csv of floats", layout(Format::Csv, DType::Float32, None)),
        ("csv with gzip", csv(Some("gzip"))),
        ("csv with zip", csv(Some("zip"))),
        ("csv with zstd", csv(Some("zstd"))),
        ("csv with bz2", csv(Some("bz2"))),
        ("csv with xz", csv(Some("xz"))),
        ("png", layout(Format::Png, DType::Uint8, None)),
        ("jpeg", layout(Format::Jpeg, DType::Uint8, None)),
        ("png of a given length", layout(Format::Png, DType::Uint8, None).with_dialect(Dialect::Mlperf)),
        ("jpeg of a given length", layout(Format::Jpeg, DType::Uint8, None).with_dialect(Dialect::Mlperf)),
        ("npz with zip", npz),
    ]
}

/// Reads a sample of a newly opened file as the engine does.
fn read(layout: &Layout, shape: &FileShape, decode: Decode, file: &[u8], chunk: usize) -> Result<(), Error> {
    let mut decoder = layout.decoder_with(shape, decode)?;
    decoder.size(file.len() as u64)?;
    decoder.sample(shape.samples - 1)?;
    while let Need::Bytes { offset, len } = decoder.need() {
        assert_eq!((offset, len), (0, None), "these files are read whole");
        file.chunks(chunk).try_for_each(|bytes| decoder.chunk(bytes))?;
        decoder.end()?;
    }
    Ok(())
}

#[test]
fn what_is_written_is_read_in_every_mode() {
    for (name, layout) in layouts() {
        let file = encode(&layout, &SHAPE);
        for decode in MODES {
            for chunk in [1, 100, 1 << 20] {
                read(&layout, &SHAPE, decode, &file, chunk).unwrap_or_else(|error| panic!("{name}, {decode}: {error}"));
            }
        }
    }
}

#[test]
fn images_have_the_length_that_pillow_gives_noise() {
    // Recorded from the reference with the shapes of its own draws.
    let recorded = [(256, 256, 65_917, 36_709), (126, 114, 14_558, 8774), (69, 99, 6968, 4462), (12, 20, 320, 529)];
    for (height, width, png, jpeg) in recorded {
        for (format, expected) in [(Format::Png, png), (Format::Jpeg, jpeg)] {
            let shape = FileShape { file: 0, dims: &[height, width], samples: 4 };
            let found = layout(format, DType::Uint8, None).encoder(&shape).unwrap().len();
            assert!(
                found.abs_diff(expected) * 100 <= expected * 2,
                "{format} {height} x {width}: {found}, not {expected}"
            );
        }
    }
    // Large images differ by the deflate blocks of Pillow's zlib, and by chance.
    for (format, expected) in [(Format::Png, 65_917), (Format::Jpeg, 36_709)] {
        let shape = FileShape { file: 0, dims: &[256, 256], samples: 4 };
        let found = layout(format, DType::Uint8, None).encoder(&shape).unwrap().len();
        assert!(found.abs_diff(expected) < 100, "{format}: {found}");
    }
}

#[test]
fn an_image_of_dialect_mlperf_has_one_byte_per_pixel() {
    for (height, width, smallest) in
        [(568, 568, true), (64, 64, true), (100, 3000, true), (3000, 100, true), (10, 10, false)]
    {
        for format in [Format::Png, Format::Jpeg] {
            let shape = FileShape { file: 1, dims: &[height, width], samples: 1 };
            let layout = layout(format, DType::Uint8, None).with_dialect(Dialect::Mlperf);
            match layout.encoder(&shape) {
                Ok(encoder) => {
                    assert!(smallest, "{format} {height} x {width}");
                    assert_eq!(encoder.len(), height * width);
                    let file = encode(&layout, &shape);
                    for decode in MODES {
                        read(&layout, &shape, decode, &file, 4096).unwrap();
                    }
                }
                Err(error) => {
                    assert!(!smallest && error.to_string().contains("one per pixel"), "{error}");
                }
            }
        }
    }
}

#[test]
fn the_files_of_the_mlperf_fork_are_read_in_its_dialect_only() {
    for format in [Format::Png, Format::Jpeg] {
        let layout = layout(format, DType::Uint8, None);
        let shape = FileShape { file: 0, dims: &[40, 50], samples: 1 };
        let raw = vec![7; 2000];
        assert!(matches!(read(&layout, &shape, Decode::None, &raw, 99), Err(Error::Malformed { offset: 0, .. })));
        let mlperf = layout.with_dialect(Dialect::Mlperf);
        read(&mlperf, &shape, Decode::None, &raw, 99).unwrap();
        let error = read(&mlperf, &shape, Decode::None, &raw[1..], 99).unwrap_err();
        assert!(error.to_string().contains("2000"), "{error}");
        assert!(read(&mlperf, &shape, Decode::Verify, &raw, 99).is_err());
        assert!(read(&mlperf, &shape, Decode::Full, &raw, 99).is_err());
    }
}

#[test]
fn rows_of_a_csv_file_are_equal_in_dialect_dlio_only() {
    let lines = |layout: &Layout| String::from_utf8(encode(layout, &SHAPE)).unwrap();
    let csv = layout(Format::Csv, DType::Uint8, None);
    let text = lines(&csv);
    assert!(text.ends_with('\n') && text.lines().all(|line| line == text.lines().next().unwrap()));
    assert_eq!(text.lines().map(|line| line.split(',').count()).collect::<Vec<_>>(), [1200; 5]);
    for dialect in [Dialect::Mlperf, Dialect::Native] {
        let text = lines(&csv.clone().with_dialect(dialect));
        let different: std::collections::BTreeSet<&str> = text.lines().collect();
        assert_eq!(different.len(), 5, "{dialect}");
    }
}

#[test]
fn a_synthetic_file_is_its_number_and_nothing_is_read_of_it() {
    let layout = layout(Format::Synthetic, DType::Uint8, None);
    let file = encode(&layout, &FileShape { file: 107, ..SHAPE });
    assert_eq!(file, b"107");
    let mut decoder = layout.decoder(&SHAPE);
    decoder.sample(0).unwrap();
    assert_eq!(decoder.need(), Need::Done);
}

#[test]
fn an_npz_is_deflated_for_zip_and_read_whatever_the_configuration_says() {
    for (compression, deflated) in [(None, false), (Some("gzip"), false), (Some("zip"), true)] {
        let file = encode(&layout(Format::Npz, DType::Float32, compression), &SHAPE);
        assert_eq!(u16::from_le_bytes([file[8], file[9]]) == 8, deflated, "{compression:?}");
        assert_eq!(file.len() < 24_000, deflated, "{compression:?}: {} bytes", file.len());
        for reader in [None, Some("zip")] {
            let layout = layout(Format::Npz, DType::Float32, reader);
            read(&layout, &SHAPE, Decode::None, &file, 1000).unwrap();
            read(&layout, &SHAPE, Decode::Full, &file, 1000).unwrap();
        }
    }
}

#[test]
fn archives_that_users_deflated_are_checked() {
    for file in [&include_bytes!("golden/deflated.npz")[..], include_bytes!("golden/streamed.npz")] {
        let shape = FileShape { file: 0, dims: &[4, 5], samples: 6 };
        let layout = layout(Format::Npz, DType::Uint8, None);
        for chunk in [1, 7, 4096] {
            read(&layout, &shape, Decode::None, file, chunk).unwrap();
            read(&layout, &shape, Decode::Full, file, chunk).unwrap();
        }
        let error = read(&layout, &FileShape { samples: 7, ..shape }, Decode::None, file, 50).unwrap_err();
        assert!(matches!(error, Error::Differs { .. }), "{error}");
        let mut damaged = file.to_vec();
        let at = damaged.len() / 3;
        damaged[at] ^= 1;
        assert!(read(&layout, &shape, Decode::Full, &damaged, 50).is_err());
    }
}

#[test]
fn compressions_that_csv_does_not_have_are_refused_by_name() {
    for word in ["lzf", "tar", "szip", "snappy"] {
        let mut dataset = dataset(Format::Csv);
        dataset.compression = Some(word.to_owned());
        let text = Layout::new(&dataset, 1).unwrap_err().to_string();
        assert!(text.contains(word) && text.contains("gzip"), "{text}");
    }
}

#[test]
fn every_element_type_has_a_csv_text_that_parses() {
    for dtype in TYPES {
        let layout = layout(Format::Csv, dtype, None).with_dialect(Dialect::Native);
        let file = encode(&layout, &SHAPE);
        for decode in MODES {
            read(&layout, &SHAPE, decode, &file, 777).unwrap();
        }
    }
}

#[test]
fn any_truncation_is_detected() {
    for (name, layout) in layouts() {
        let file = encode(&layout, &SHAPE);
        let all = file.len();
        for cut in [0, 1, 2, 10, 40, 200, all / 2, all - 300, all - 20, all - 2, all - 1] {
            for decode in [Decode::None, Decode::Full] {
                let outcome = read(&layout, &SHAPE, decode, &file[..cut], 97);
                assert!(outcome.is_err(), "{name}, {decode}: {cut} of {all} bytes pass");
                if matches!(cut, 0 | 1) {
                    let error = outcome.unwrap_err();
                    assert!(matches!(error, Error::Truncated { .. }), "{name}: {error}");
                }
            }
        }
    }
}

#[test]
fn trailing_bytes_are_detected() {
    for (name, layout) in layouts() {
        let mut file = encode(&layout, &SHAPE);
        let length = file.len() as u64;
        file.extend(b"1,2,3\n");
        let error = read(&layout, &SHAPE, Decode::None, &file, 4096).unwrap_err();
        let expected = |error: &Error| match error {
            // Text lengths are counted before compression.
            Error::Trailing { expected, .. } => *expected == length || name.contains("with"),
            _ => false,
        };
        assert!(expected(&error), "{name}: {error}");
    }
}

#[test]
fn another_magic_is_reported_at_offset_zero() {
    for (name, layout) in layouts().into_iter().filter(|(name, _)| !name.contains("length")) {
        let mut file = encode(&layout, &SHAPE);
        file[..4].fill(b'x');
        let error = read(&layout, &SHAPE, Decode::None, &file, 4096).unwrap_err();
        assert!(matches!(error, Error::Malformed { offset: 0, .. }), "{name}: {error}");
    }
}

#[test]
fn another_shape_is_reported_with_both_shapes() {
    for (name, layout) in layouts().into_iter().filter(|(name, _)| !name.contains("npz")) {
        let file = encode(&layout, &SHAPE);
        let error = read(&layout, &FileShape { dims: &[30, 39], ..SHAPE }, Decode::None, &file, 4096).unwrap_err();
        let text = error.to_string();
        let (expected, found) = if name.contains("csv") { ("1170", "1200") } else { ("39", "40") };
        assert!(
            matches!(error, Error::Differs { .. }) && text.contains(expected) && text.contains(found),
            "{name}: {text}"
        );
        if name.contains("csv") {
            let fewer = read(&layout, &FileShape { samples: 6, ..SHAPE }, Decode::None, &file, 4096).unwrap_err();
            assert!(matches!(fewer, Error::Differs { .. }), "{name}: {fewer}");
            let more = read(&layout, &FileShape { samples: 4, ..SHAPE }, Decode::None, &file, 4096).unwrap_err();
            assert!(matches!(more, Error::Trailing { .. }), "{name}: {more}");
        }
    }
}

#[test]
fn text_that_is_not_a_number_is_reported_with_its_offset() {
    let csv = layout(Format::Csv, DType::Uint8, None);
    let shape = FileShape { file: 0, dims: &[1, 3], samples: 2 };
    for (text, decode, at) in [
        ("1,2,3\n4,x,6\n", Decode::None, 8),
        ("1,2,3\n4,300,6\n", Decode::Full, 8),
        ("1,2,3\n4,5,\n6", Decode::Full, 10),
        ("1,2,3\n4,-,65\n", Decode::Full, 8),
        ("1,2,3\n4,5-5,6\n", Decode::Full, 8),
        ("1,,33\n4,5,6\n", Decode::Full, 2),
    ] {
        for chunk in [1, 100] {
            let error = read(&csv, &shape, decode, text.as_bytes(), chunk).unwrap_err();
            assert!(matches!(error, Error::Malformed { offset, .. } if offset == at), "{text:?}: {error}");
        }
    }
    read(&csv, &shape, Decode::Full, b"1,2,3\r\n4,5,6\r\n", 3).unwrap();
}

#[test]
fn a_damaged_png_is_detected_by_its_checksums() {
    let layout = layout(Format::Png, DType::Uint8, None);
    let good = encode(&layout, &SHAPE);
    for at in [20, 29, 45, 300, good.len() - 20, good.len() - 1] {
        let mut file = good.clone();
        file[at] ^= 1;
        assert!(read(&layout, &SHAPE, Decode::Full, &file, 1000).is_err(), "byte {at}");
    }
}

#[test]
fn files_of_other_programs_are_decoded() {
    // Written by Pillow 13 from noise: filters, interlacing, color, progressive scans.
    let gray = FileShape { file: 0, dims: &[33, 21], samples: 1 };
    let files: [(Format, &[u8]); 4] = [
        (Format::Png, include_bytes!("golden/gray.png")),
        (Format::Png, include_bytes!("golden/color_filtered.png")),
        (Format::Jpeg, include_bytes!("golden/gray.jpeg")),
        (Format::Jpeg, include_bytes!("golden/color_progressive.jpeg")),
    ];
    for (format, file) in files {
        let layout = layout(format, DType::Uint8, None);
        for decode in [Decode::None, Decode::Full] {
            read(&layout, &gray, decode, file, 50).unwrap_or_else(|error| panic!("{format} {decode}: {error}"));
        }
        let error = read(&layout, &gray, Decode::Verify, file, 50).unwrap_err();
        assert!(matches!(error, Error::Content { .. } | Error::Trailing { .. }), "{error}");
    }
    for (compression, file) in [
        ("gzip", &include_bytes!("golden/pandas.csv.gz")[..]),
        ("zip", include_bytes!("golden/pandas.csv.zip")),
        ("zstd", include_bytes!("golden/pandas.csv.zst")),
        ("bz2", include_bytes!("golden/pandas.csv.bz2")),
        ("xz", include_bytes!("golden/pandas.csv.xz")),
    ] {
        let layout = layout(Format::Csv, DType::Float32, Some(compression));
        let shape = FileShape { file: 0, dims: &[7, 3], samples: 4 };
        read(&layout, &shape, Decode::Full, file, 50).unwrap_or_else(|error| panic!("{compression}: {error}"));
        // The readers of these compressions accept concatenated files.
        if compression != "zip" {
            let shape = FileShape { samples: 8, ..shape };
            read(&layout, &shape, Decode::Full, &[file, file].concat(), 50).unwrap();
        }
    }
}

#[test]
fn shapes_that_are_no_image_are_refused() {
    for format in [Format::Png, Format::Jpeg] {
        let layout = layout(format, DType::Uint8, None);
        let refused: [&[u64]; 5] = [&[5], &[5, 5, 5], &[0, 5], &[1 << 31, 1], &[1, 1 << 40]];
        for dims in refused {
            let error = layout.encoder(&FileShape { file: 0, dims, samples: 1 }).unwrap_err();
            assert!(matches!(error, Error::Shape { .. }), "{format} {dims:?}: {error}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn images_of_any_shape_are_decoded(
        format in prop::sample::select(vec![Format::Png, Format::Jpeg]),
        height in 1..200_u64,
        width in 1..200_u64,
        file in any::<u64>(),
        exact in any::<bool>(),
        buffers in prop::collection::vec(1..3000_usize, 1..5),
        chunk in 1..5000_usize,
    ) {
        let dialect = if exact { Dialect::Mlperf } else { Dialect::Dlio };
        let layout = layout(format, DType::Uint8, None).with_dialect(dialect);
        let shape = FileShape { file, dims: &[height, width], samples: 2 };
        if let Err(error) = layout.encoder(&shape) {
            prop_assert!(exact && height * width < 1400, "{}", error);
            return Ok(());
        }
        let bytes = encode_in(&layout, &shape, &buffers);
        prop_assert_eq!(&bytes, &encode(&layout, &shape));
        for decode in MODES {
            read(&layout, &shape, decode, &bytes, chunk).unwrap();
        }
    }

    #[test]
    fn csv_of_any_shape_is_parsed(
        dtype in prop::sample::select(TYPES.to_vec()),
        dims in prop::collection::vec(1..12_u64, 1..4),
        samples in 1..6_u64,
        compression in prop::sample::select(vec![None, Some("gzip"), Some("zip"), Some("zstd"), Some("bz2"), Some("xz")]),
        buffers in prop::collection::vec(1..3000_usize, 1..5),
        chunk in 1..5000_usize,
    ) {
        let layout = layout(Format::Csv, dtype, compression);
        let shape = FileShape { file: 1, dims: &dims, samples };
        let bytes = encode_in(&layout, &shape, &buffers);
        for decode in MODES {
            read(&layout, &shape, decode, &bytes, chunk).unwrap();
        }
    }

    #[test]
    fn any_bytes_are_survived(
        which in 0..11_usize,
        decode in prop::sample::select(MODES.to_vec()),
        bytes in prop::collection::vec(any::<u8>(), 0..3000),
    ) {
        let (name, layout) = layouts().swap_remove(which);
        prop_assert!(read(&layout, &SHAPE, decode, &bytes, 100).is_err(), "{}", name);
    }

    #[test]
    fn damaged_files_are_survived(
        which in 0..11_usize,
        decode in prop::sample::select(MODES.to_vec()),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
        early in any::<bool>(),
    ) {
        let (_, layout) = layouts().swap_remove(which);
        let mut bytes = encode(&layout, &SHAPE);
        for (at, value) in damage {
            let length = if early { bytes.len().min(350) } else { bytes.len() };
            bytes[at.index(length)] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        // Damage to payload goes unnoticed in some modes; the decoder must only return.
        let _ = read(&layout, &SHAPE, decode, &bytes, 100);
    }
}
