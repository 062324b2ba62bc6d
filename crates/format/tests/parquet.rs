//! Parquet: the `parquet` crate reads what is written, and reading requests only the footer and row groups.

#![expect(clippy::unwrap_used, reason = "also the helpers of tests are tests")]

mod dataset;

use std::collections::BTreeMap;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int8Type, Int16Type, UInt8Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use bytes::Bytes;
use dataset::{bytes, dataset};
use dlio_config::vocabulary::{ColumnType, Decode, Format};
use dlio_config::workload::{Dataset, ParquetColumn};
use dlio_config::{Override, Source, Workload};
use dlio_format::{Decoder, Error, FileShape, Layout, Need};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::{ParquetMetaDataReader, RowGroupMetaData};
use proptest::prelude::*;

const TYPES: [ColumnType; 15] = [
    ColumnType::Int8,
    ColumnType::Int16,
    ColumnType::Int32,
    ColumnType::Int64,
    ColumnType::Uint8,
    ColumnType::Uint16,
    ColumnType::Uint32,
    ColumnType::Uint64,
    ColumnType::Float16,
    ColumnType::Float32,
    ColumnType::Float64,
    ColumnType::String,
    ColumnType::Binary,
    ColumnType::Bool,
    ColumnType::List,
];

fn column(name: &str, dtype: ColumnType, size: u64, read: bool) -> ParquetColumn {
    ParquetColumn { name: name.to_owned(), dtype, size, read }
}

fn of(columns: Vec<ParquetColumn>, row_group_size: u64, compression: Option<&str>) -> Dataset {
    let mut dataset = dataset(Format::Parquet);
    dataset.parquet.columns = columns;
    dataset.parquet.row_group_size = row_group_size;
    dataset.compression = compression.map(str::to_owned);
    dataset
}

/// Returns a scalar column and a list column of every type.
fn all_types() -> Vec<ParquetColumn> {
    let named = |dtype: &ColumnType, size| column(&format!("{dtype}_{size}"), *dtype, size, size == 1);
    TYPES.iter().flat_map(|dtype| [1, 3, 70].map(|size| named(dtype, size))).collect()
}

fn shape(samples: u64) -> FileShape<'static> {
    FileShape { file: 5, dims: &[9, 11], samples }
}

fn encode(layout: &Layout, samples: u64, step: usize) -> Vec<u8> {
    bytes(layout.encoder(&shape(samples)).unwrap(), &[step])
}

fn batches(file: &[u8]) -> Vec<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::copy_from_slice(file)).unwrap();
    reader.with_batch_size(1 << 20).build().unwrap().map(Result::unwrap).collect()
}

/// Reads one row as the engine does and returns the requested ranges.
fn read(decoder: &mut Decoder, file: &[u8], row: u64, chunk: usize) -> Result<Vec<(u64, u64)>, Error> {
    let mut ranges = Vec::new();
    decoder.sample(row)?;
    loop {
        match decoder.need() {
            Need::Done => return Ok(ranges),
            Need::Size => decoder.size(file.len() as u64)?,
            Need::Bytes { offset, len } => {
                ranges.push((offset, len.unwrap()));
                assert!(ranges.len() < 10_000, "the decoder does not come to an end");
                let start = usize::try_from(offset).unwrap().min(file.len());
                let end = start.saturating_add(usize::try_from(len.unwrap()).unwrap()).min(file.len());
                for bytes in file[start..end].chunks(chunk) {
                    decoder.chunk(bytes)?;
                }
                decoder.end()?;
            }
        }
    }
}

fn check(layout: &Layout, samples: u64, file: &[u8]) -> Result<Vec<(u64, u64)>, Error> {
    read(&mut layout.decoder(&shape(samples)), file, 0, 100)
}

#[test]
fn every_type_is_read_back_with_its_arrow_type_and_all_values() {
    for compression in [None, Some("snappy"), Some("gzip"), Some("zstd")] {
        let layout = Layout::new(&of(all_types(), 7, compression), 42).unwrap();
        let file = encode(&layout, 17, 1000);
        let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(file.clone())).unwrap();
        assert_eq!(reader.metadata().num_row_groups(), 3);
        let rows: Vec<i64> = reader.metadata().row_groups().iter().map(RowGroupMetaData::num_rows).collect();
        assert_eq!(rows, [7, 7, 3]);
        let schema = reader.schema().clone();
        assert_eq!(schema.field_with_name("int8_1").unwrap().data_type(), &DataType::Int8);
        assert_eq!(schema.field_with_name("float16_1").unwrap().data_type(), &DataType::Float16);
        assert_eq!(schema.field_with_name("binary_70").unwrap().data_type(), &DataType::Binary);
        assert!(matches!(schema.field_with_name("uint64_70").unwrap().data_type(), DataType::FixedSizeList(_, 70)));
        assert!(matches!(schema.field_with_name("list_1").unwrap().data_type(), DataType::FixedSizeList(_, 1)));
        let batch = arrow_select::concat::concat_batches(&schema, &batches(&file)).unwrap();
        assert_eq!(batch.num_rows(), 17);
        assert!(batch.columns().iter().all(|column| column.null_count() == 0));
        let texts = batch.column_by_name("string_3").unwrap().as_string::<i32>().clone();
        let number = |text: &str| text.strip_prefix("s_").unwrap().parse::<u64>().unwrap();
        let numbers: std::collections::BTreeSet<u64> = texts.iter().map(|text| number(text.unwrap())).collect();
        assert_eq!(numbers.len(), 17, "every row has its own");
        assert!(numbers.iter().all(|number| (1_000_000_000..1 << 31).contains(number)));
        let bytes = batch.column_by_name("binary_70").unwrap().as_binary::<i32>().clone();
        assert!(bytes.iter().all(|value| value.unwrap().len() == 70));
    }
}

#[test]
fn compression_changes_pages_and_no_value() {
    let plain = Layout::new(&of(all_types(), 7, None), 42).unwrap();
    let expected = batches(&encode(&plain, 17, 1 << 16));
    for compression in ["snappy", "gzip", "zstd"] {
        let layout = Layout::new(&of(all_types(), 7, Some(compression)), 42).unwrap();
        let found = batches(&encode(&layout, 17, 999));
        // NaNs are not equal to themselves; their bits are.
        assert_eq!(format!("{expected:?}"), format!("{found:?}"));
    }
}

#[test]
fn zeros_are_compressed() {
    let few = of(vec![column("a", ColumnType::Int8, 4000, true)], 50, None);
    let mut packed = few.clone();
    packed.compression = Some("zstd".to_owned());
    // Few values are written plain: three of the four bytes of each are sign extension.
    let one_row = |dataset: &Dataset| Layout::new(dataset, 1).unwrap().encoder(&shape(1)).unwrap().len();
    let (mut few, mut packed) = (few, packed);
    few.parquet.columns[0].size = 300;
    packed.parquet.columns[0].size = 300;
    assert!(one_row(&packed) < one_row(&few) - 300, "{} of {}", one_row(&packed), one_row(&few));
}

#[test]
fn bytes_are_indices_into_a_dictionary_of_all_bytes() {
    let layout = Layout::new(&of(Vec::new(), 1000, None), 42).unwrap();
    let file = encode(&layout, 64, 4096);
    // Recorded from the fork: 64 rows of 4096 bytes took 264,579 bytes, one per value and some for levels.
    assert!(file.len() < 64 * 99 * 5 / 4 + 4000, "{}", file.len());
    let batch = batches(&file).remove(0);
    assert!(matches!(batch.schema().field(0).data_type(), DataType::FixedSizeList(_, 99)));
    assert_eq!(batch.schema().field(0).name(), "data");
    let values = batch.column(0).as_fixed_size_list().values().as_primitive::<UInt8Type>().clone();
    let mut payload = vec![0; 64 * 99];
    dlio_format::payload::Payload::new(42).stream(5, dlio_format::payload::Element::Raw, 64 * 99).fill(&mut payload);
    assert_eq!(values.values().as_ref(), payload);
}

#[test]
fn narrow_integers_keep_their_sign() {
    let columns = vec![column("a", ColumnType::Int8, 1, true), column("b", ColumnType::Int16, 1, true)];
    let layout = Layout::new(&of(columns, 1 << 20, None), 42).unwrap();
    for samples in [10, 5000] {
        let batch = batches(&encode(&layout, samples, 1000)).remove(0);
        let bytes = batch.column(0).as_primitive::<Int8Type>().clone();
        let mut payload = vec![0; usize::try_from(samples).unwrap()];
        dlio_format::payload::Payload::new(42)
            .stream(5, dlio_format::payload::Element::Raw, samples)
            .fill(&mut payload);
        assert!(bytes.values().iter().zip(&payload).all(|(found, expected)| *found == expected.cast_signed()));
        let shorts = batch.column(1).as_primitive::<Int16Type>().clone();
        assert!(shorts.values().iter().any(|&value| value < -128) && shorts.values().iter().any(|&value| value > 128));
    }
}

#[test]
fn a_column_of_many_pages_is_one_column() {
    let columns = vec![column("a", ColumnType::Float32, 3, true), column("b", ColumnType::Bool, 1, true)];
    let layout = Layout::new(&of(columns, 300_000, None), 42).unwrap();
    let file = encode(&layout, 400_001, 1 << 20);
    let batches = batches(&file);
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 400_001);
    let floats = batches[0].column(0).as_fixed_size_list().values().as_primitive::<Float32Type>().clone();
    let distinct: std::collections::HashSet<u32> = floats.values().iter().map(|value| value.to_bits()).collect();
    assert!(distinct.len() * 1000 > floats.len() * 999, "values do not repeat from page to page");
}

#[test]
fn a_file_of_any_size_costs_no_memory_and_its_length_is_known() {
    let dlrm: Vec<_> = (0..200).map(|index| column(&format!("c{index}"), ColumnType::Float32, 1, true)).collect();
    let layout = Layout::new(&of(dlrm, 8192, None), 42).unwrap();
    let encoder = layout.encoder(&FileShape { file: 0, dims: &[], samples: 4_718_592 }).unwrap();
    let data = 4_718_592 * 200 * 4;
    assert!((data..data + data / 100).contains(&encoder.len()), "{}", encoder.len());
}

#[test]
fn the_footer_is_read_from_the_tail_and_each_row_group_once() {
    let layout = Layout::new(&of(all_types(), 7, None), 42).unwrap();
    let file = encode(&layout, 17, 1000);
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&Bytes::from(file.clone())).unwrap();
    let starts: Vec<u64> = (0..3).map(|g| metadata.row_group(g).column(0).byte_range().0).collect();
    let mut decoder = layout.decoder(&shape(17));
    let size = file.len() as u64;
    assert_eq!(read(&mut decoder, &file, 0, 100).unwrap(), [(0, size), (4, starts[1] - 4)]);
    assert_eq!(read(&mut decoder, &file, 6, 100).unwrap(), []);
    assert_eq!(read(&mut decoder, &file, 7, 100).unwrap(), [(starts[1], starts[2] - starts[1])]);
    assert_eq!(read(&mut decoder, &file, 3, 100).unwrap(), [(4, starts[1] - 4)]);
    assert_eq!(read(&mut decoder, &file, 3, 100).unwrap(), [(4, starts[1] - 4)], "the next epoch reads again");
    let mut again = layout.decoder(&shape(17));
    again.set_footer(decoder.footer().unwrap());
    assert_eq!(read(&mut again, &file, 16, 100).unwrap().len(), 1, "the footer is known");
}

fn workload(dialect: &str, more: &[&str]) -> Workload {
    let yaml = format!(
        "framework: pytorch\ndataset: {{format: parquet, num_samples_per_file: 40, num_files_train: 8}}\n\
         reader: {{data_loader: pytorch}}\ndlio_rs: {{dialect: {dialect}}}\n"
    );
    let overrides: Vec<_> = more.iter().map(|text| Override::parse(text).unwrap()).collect();
    let loaded = dlio_config::load(&Source { name: "t", yaml: &yaml }, &overrides, &BTreeMap::new(), None);
    loaded.unwrap().workload
}

#[test]
fn a_small_footer_cap_takes_a_second_read_and_coalescing_reads_row_groups_together() {
    let more = [
        "storage.storage_type=s3",
        "storage.storage_root=bucket",
        "storage.storage_options.storage_library=s3dlio",
        "storage.storage_options.footer_cap=100",
        "storage.storage_options.coalesce_rgs=2",
    ];
    let plain = Layout::new(&of(all_types(), 7, None), 42).unwrap();
    let layout = plain.clone().with_reading(&workload("mlperf", &more));
    let file = encode(&layout, 40, 1000);
    let one_by_one = {
        let mut decoder = plain.decoder(&shape(40));
        read(&mut decoder, &file, 0, 100).unwrap();
        [14, 21].map(|row| read(&mut decoder, &file, row, 100).unwrap()[0])
    };
    let mut decoder = layout.decoder(&shape(40));
    let first = read(&mut decoder, &file, 14, 100).unwrap();
    let size = file.len() as u64;
    assert_eq!(first[0], (size - 100, 100));
    assert_eq!(first[1].0 + first[1].1, size - 100);
    assert_eq!(first[2], (one_by_one[0].0, one_by_one[0].1 + one_by_one[1].1));
    assert_eq!(read(&mut decoder, &file, 27, 100).unwrap(), []);
    assert_eq!(read(&mut decoder, &file, 39, 100).unwrap().len(), 1, "one row group is left");
}

#[test]
fn a_window_over_ranges_reads_the_footer_as_pyarrow_does() {
    // Recorded from pyarrow 26: it reads 65,536 bytes at the end of such a file, and then the whole footer without
    // the last 8 bytes.
    let columns: Vec<_> = (0..60).map(|index| column(&format!("c{index}"), ColumnType::Float32, 1, true)).collect();
    let posix = Layout::new(&of(columns, 7, None), 42).unwrap().with_reading(&workload("mlperf", &[]));
    let file = encode(&posix, 300, 1 << 16);
    let size = file.len() as u64;
    let footer = u64::from(u32::from_le_bytes(file[file.len() - 8..file.len() - 4].try_into().unwrap()));
    assert!(footer > 65536, "{footer}");
    let ranges = check(&posix, 300, &file).unwrap();
    assert_eq!(ranges[..2], [(size - 65536, 65536), (size - 8 - footer, footer)]);
    assert_eq!(ranges.len(), 3, "and one row group");
    let short = encode(&posix, 7, 1 << 16);
    assert_eq!(check(&posix, 7, &short).unwrap()[0], (0, short.len() as u64));
}

#[test]
fn a_footer_alone_determines_which_rows_one_request_covers() {
    let more = ["storage.storage_type=s3", "storage.storage_root=bucket", "storage.storage_options.coalesce_rgs=3"];
    let s3dlio = Layout::new(&of(all_types(), 7, None), 42).unwrap().with_reading(&workload("mlperf", &more));
    let file = encode(&s3dlio, 40, 1000);
    for decode in [Decode::None, Decode::Verify, Decode::Full] {
        let mut decoder = s3dlio.decoder_with(&shape(40), decode).unwrap();
        decoder.aim_at_footer();
        assert_eq!(decoder.need(), Need::Size);
        decoder.size(file.len() as u64).unwrap();
        assert_eq!(decoder.need(), Need::Bytes { offset: 0, len: Some(file.len() as u64) });
        decoder.chunk(&file).unwrap();
        decoder.end().unwrap();
        assert_eq!(decoder.need(), Need::Done);
        let footer = decoder.footer().unwrap();
        let rows = [0, 20, 21, 39].map(|row| s3dlio.request_samples(&footer, row));
        assert_eq!(rows, [21, 15, 19, 1], "three row groups of at most 7 rows from its own on");
        assert_eq!(s3dlio.request_samples(&footer, 40), 0);
        // A reader that has the footer reads the row groups and nothing else, at every check level.
        let mut other = s3dlio.decoder_with(&shape(40), decode).unwrap();
        other.set_footer(footer);
        assert_eq!(read(&mut other, &file, 21, 500).unwrap().len(), 1, "{decode}");
    }
}

#[test]
fn selected_columns_are_a_span_in_the_fork_and_exactly_those_in_the_native_dialect() {
    let columns = vec![
        column("a", ColumnType::Float64, 1, false),
        column("b", ColumnType::Float64, 1, true),
        column("c", ColumnType::Float64, 1, true),
        column("d", ColumnType::Float64, 1, false),
        column("e", ColumnType::Float64, 1, true),
    ];
    let plain = Layout::new(&of(columns, 20, None), 42).unwrap();
    let file = encode(&plain, 40, 1000);
    let whole = check(&plain, 40, &file).unwrap()[1];
    let chunk = whole.1 / 5;
    let ranges = |layout: &Layout| check(layout, 40, &file).unwrap()[1..].to_vec();
    assert_eq!(ranges(&plain.clone().with_reading(&workload("mlperf", &[]))), [whole]);
    let native = plain.clone().with_reading(&workload("native", &[]));
    assert_eq!(ranges(&native), [(4 + chunk, 2 * chunk), (4 + 4 * chunk, chunk)]);
    let span = plain.with_reading(&workload("mlperf", &["storage.storage_options.columns=[b,d]"]));
    assert_eq!(ranges(&span), [(4 + chunk, 3 * chunk)]);
    let mut decoder = native.decoder_with(&shape(40), Decode::Verify).unwrap();
    read(&mut decoder, &file, 25, 33).unwrap();
    let mut decoder = native.decoder_with(&shape(40), Decode::Full).unwrap();
    read(&mut decoder, &file, 25, 33).unwrap();
}

#[test]
fn verifying_and_decoding_find_a_damaged_value() {
    for compression in [None, Some("gzip"), Some("zstd")] {
        let layout = Layout::new(&of(all_types(), 7, compression), 42).unwrap();
        let mut file = encode(&layout, 17, 1000);
        for decode in [Decode::Verify, Decode::Full] {
            let mut decoder = layout.decoder_with(&shape(17), decode).unwrap();
            for row in [0, 8, 16] {
                read(&mut decoder, &file, row, 777).unwrap();
            }
        }
        let at = file.len() / 3;
        file[at] ^= 0x10;
        let mut decoder = layout.decoder_with(&shape(17), Decode::Verify).unwrap();
        let error = (0..17).find_map(|row| read(&mut decoder, &file, row, 777).err()).unwrap();
        assert!(matches!(error, Error::Content { offset, .. } if offset == at as u64), "{error}");
    }
}

#[test]
fn files_that_differ_from_the_workload_are_refused() {
    let layout = Layout::new(&of(all_types(), 7, None), 42).unwrap();
    let file = encode(&layout, 17, 1000);
    let size = file.len();
    let error = |file: &[u8]| check(&layout, 17, file).unwrap_err();
    for len in [0, 1, 11] {
        assert!(matches!(error(&file[..len]), Error::Truncated { expected: 12, .. }), "{len} bytes");
    }
    for bad in [&file[..size - 1], &file[..size / 2], &[&file[..], b"x"].concat(), &[b'x'; 100]] {
        let error = error(bad).to_string();
        assert!(error.contains("PAR1") && error.contains("bytes after its end"), "{error}");
    }
    let mut huge = file.clone();
    huge[size - 8..size - 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(error(&huge), Error::Malformed { offset, .. } if offset == size as u64 - 8));
    let other = |dataset: &Dataset, samples| {
        let other = Layout::new(dataset, 42).unwrap();
        check(&layout, 17, &encode(&other, samples, 1000)).unwrap_err()
    };
    let rows = other(&of(all_types(), 7, None), 18);
    assert!(matches!(rows, Error::Differs { noun: "number of rows", .. }), "{rows}");
    let mut fewer = all_types();
    fewer.pop();
    assert!(matches!(other(&of(fewer, 7, None), 17), Error::Differs { noun: "number of columns", .. }));
    let mut renamed = all_types();
    renamed[3].name = "other".to_owned();
    let renamed = other(&of(renamed, 7, None), 17).to_string();
    assert!(renamed.contains("\"other\" of type INT32") && renamed.contains("\"int16_1\" of type INT32"), "{renamed}");
    let too_long = FileShape { file: 0, dims: &[1 << 20, 1 << 20], samples: 1 };
    let bytes = Layout::new(&of(Vec::new(), 7, None), 42).unwrap();
    assert!(matches!(bytes.encoder(&too_long), Err(Error::Shape { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(
        columns in prop::collection::vec((prop::sample::select(TYPES.to_vec()), 1..80_u64), 1..6),
        row_group_size in 1..200_u64,
        samples in 1..300_u64,
        compression in prop::option::of(prop::sample::select(vec!["snappy", "zstd"])),
        step in 1..5000_usize,
        row in any::<prop::sample::Index>(),
    ) {
        let named = |(at, (dtype, size)): (usize, &(ColumnType, u64))| column(&format!("c{at}"), *dtype, *size, at % 2 == 0);
        let columns: Vec<_> = columns.iter().enumerate().map(named).collect();
        let layout = Layout::new(&of(columns, row_group_size, compression), 42).unwrap();
        let file = encode(&layout, samples, step);
        prop_assert_eq!(batches(&file).iter().map(RecordBatch::num_rows).sum::<usize>() as u64, samples);
        let row = row.index(usize::try_from(samples).unwrap()) as u64;
        for decode in [Decode::None, Decode::Verify, Decode::Full] {
            let native = layout.clone().with_reading(&workload("native", &[]));
            let mut decoder = native.decoder_with(&shape(samples), decode).unwrap();
            read(&mut decoder, &file, row, step).unwrap();
        }
    }

    #[test]
    fn damaged_files_are_survived(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
        late in any::<bool>(),
    ) {
        let layout = Layout::new(&of(all_types(), 7, None), 42).unwrap();
        let mut file = encode(&layout, 17, 1 << 20);
        let length = file.len();
        for (at, value) in damage {
            let at = if late { length - 1 - at.index(5000) } else { at.index(length) };
            file[at] = value;
        }
        if let Some(cut) = cut {
            file.truncate(cut.index(length));
        }
        for row in [0, 16] {
            let _ = read(&mut layout.decoder(&shape(17)), &file, row, 1000);
        }
    }

    #[test]
    fn any_footer_is_survived(footer in prop::collection::vec(any::<u8>(), 0..300)) {
        let layout = Layout::new(&of(all_types(), 7, None), 42).unwrap();
        let length = u32::try_from(footer.len()).unwrap().to_le_bytes();
        let file = [b"PAR1", footer.as_slice(), length.as_slice(), b"PAR1"].concat();
        prop_assert!(check(&layout, 17, &file).is_err());
    }
}
