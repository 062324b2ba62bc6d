//! Damage by flipped bits: every bit of small files is flipped, and the reader refuses the file by name or returns the same rows.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use dlio_event::{Event, EventSink, Lane, OpKind, Position};
use dlio_trace::tables::{self, CounterRow};
use dlio_trace::{Error, Header, TraceWriter, file_name, read_file, repair};

/// Returns everything that a reader finds in a trace.
fn content(path: &Path) -> Result<String, Error> {
    let trace = read_file(path)?;
    let mut text = format!("{:?} {} {} {:?}", trace.header, trace.complete, trace.torn_bytes, trace.time_range());
    for batch in trace.batches()? {
        let batch = batch?;
        for row in batch.views() {
            let _ = write!(text, "{:?} {:?}", row.event(), row.object());
        }
    }
    Ok(text)
}

fn span(at: u64) -> Event {
    Event::span(OpKind::Compute, Lane::MAIN, Position::default(), at * 10, at * 10 + 5)
}

/// Writes a trace with a superseded footer and one row group.
fn write(path: &Path) {
    let writer = TraceWriter::create(path, &Header { world: 1, ..Header::default() }).unwrap();
    let object = writer.object("a/b");
    (0..5).for_each(|at| writer.record(Event { object, bytes: at, ..span(at) }));
    writer.finish().unwrap();
}

/// Flips each bit of some bytes of a file in turn. `look` examines each file and gets the byte and whether the bit is its first.
fn flip(path: &Path, bytes: std::ops::Range<usize>, mut look: impl FnMut(usize, bool)) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let whole = std::fs::read(path).unwrap();
    for at in bytes {
        for bit in 0..8 {
            file.write_all_at(&[whole[at] ^ 1 << bit], at as u64).unwrap();
            look(at, bit == 0);
        }
        file.write_all_at(&whole[at..=at], at as u64).unwrap();
    }
}

#[test]
fn every_flipped_bit_of_a_trace_is_refused_or_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(file_name(0));
    write(&path);
    let expected = content(&path).unwrap();
    let len = std::fs::read(&path).unwrap().len();
    let (mut refused, mut same) = (0, 0);
    flip(&path, 0..len, |at, _| match content(&path) {
        Ok(found) => {
            assert!(found == expected, "a bit of byte {at} of {len} changed what is read");
            same += 1;
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains(path.to_str().unwrap()), "{text}");
            assert!(matches!(error, Error::Damaged { .. } | Error::NotATrace { .. }), "{text}");
            refused += 1;
        }
    });
    assert_eq!(content(&path).unwrap(), expected);
    // Only the footer from before the first event may differ.
    assert!(refused > same, "{refused} refused, {same} without a change");
}

#[test]
fn a_damaged_column_is_named_with_its_row_group() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(file_name(0));
    write(&path);
    let expected = content(&path).unwrap();
    let mut named = std::collections::BTreeSet::new();
    let len = std::fs::read(&path).unwrap().len();
    flip(&path, 0..len, |_, first| {
        if let (true, Err(Error::Damaged { reason, .. })) = (first, content(&path)) {
            named.extend(reason.strip_prefix("column ").map(|text| {
                assert!(text.contains(" of row group 0, bytes "), "{text}");
                assert!(text.ends_with("its checksum does not match"), "{text}");
                text.split(' ').next().unwrap().to_owned()
            }));
        }
    });
    assert_eq!(named.len(), dlio_trace::COLUMNS.len(), "{named:?}");
    assert_eq!(content(&path).unwrap(), expected);
}

#[test]
fn a_torn_trace_is_as_safe_and_is_not_repaired_when_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(file_name(0));
    write(&path);
    let whole = std::fs::read(&path).unwrap();
    OpenOptions::new().append(true).open(&path).unwrap().write_all_at(&[1; 100], whole.len() as u64).unwrap();
    let expected = content(&path).unwrap();
    assert!(expected.contains("false 100"), "{expected}");
    // Returns the last footer, found by its length field.
    let length = u32::from_le_bytes(whole[whole.len() - 8..whole.len() - 4].try_into().unwrap());
    let footer = whole.len() - 8 - usize::try_from(length).unwrap();
    flip(&path, footer..whole.len() + 100, |at, first| {
        if let Ok(found) = content(&path) {
            assert!(found == expected && at >= whole.len(), "byte {at}");
        } else {
            assert!(at < whole.len(), "byte {at}");
            assert!(!first || repair(&path).is_err(), "byte {at}");
        }
    });
}

#[test]
fn every_flipped_bit_of_a_table_is_refused_or_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let rows: Vec<CounterRow> = (0..4)
        .map(|i| CounterRow { rank: 0, t_ns: i, cpu_user_ns: i * i, rss_bytes: 77, ..CounterRow::default() })
        .collect();
    tables::write_counters(folder.path(), 0, &rows).unwrap();
    let path = folder.path().join(tables::counters_name(0));
    let len = std::fs::read(&path).unwrap().len();
    let mut same = 0;
    flip(&path, 0..len, |at, _| match tables::read_counters(folder.path()) {
        Ok(found) => {
            assert_eq!(found, rows, "a bit of byte {at}");
            same += 1;
        }
        Err(error) => assert!(matches!(&error, Error::Table { path: named, .. } if *named == path), "{error}"),
    });
    assert_eq!(same, 0, "every byte of a table is its head, a column or the footer");
}

/// Returns the pages of a file as checksum and bytes, by decoding the page headers.
#[test]
fn pages_have_the_checksums_of_parquet() {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(file_name(0));
    write(&path);
    let bytes = std::fs::read(&path).unwrap();
    let reader = SerializedFileReader::new(File::open(&path).unwrap()).unwrap();
    let mut pages = 0;
    for column in reader.metadata().row_group(0).columns() {
        let (start, len) = column.byte_range();
        let (mut at, end) = (usize::try_from(start).unwrap(), usize::try_from(start + len).unwrap());
        while at < end {
            let (fields, header) = header_of(&bytes[at..end]);
            let length = usize::try_from(fields[2]).unwrap();
            let page = &bytes[at + header..at + header + length];
            assert_eq!(
                u32::try_from(fields[3] & 0xffff_ffff).unwrap(),
                crc32fast::hash(page),
                "{}",
                column.column_path()
            );
            pages += 1;
            at += header + length;
        }
        assert_eq!(at, end);
    }
    assert!(pages >= dlio_trace::COLUMNS.len());
}

/// Returns the first four fields of a page header, which are numbers, and the length of the header.
fn header_of(bytes: &[u8]) -> ([i64; 4], usize) {
    let (mut at, mut fields) = (0, [0; 4]);
    for (number, field) in fields.iter_mut().enumerate() {
        assert_eq!(bytes[at], 0x15, "field {} is a 32-bit number", number + 1);
        (*field, at) = varint(bytes, at + 1);
    }
    // Skips the structure of a dictionary or data page: numbers and booleans.
    at += 1;
    while bytes[at] != 0 {
        let kind = bytes[at] & 15;
        at = if kind == 5 { varint(bytes, at + 1).1 } else { at + 1 };
    }
    (fields, at + 2)
}

fn varint(bytes: &[u8], mut at: usize) -> (i64, usize) {
    let (mut value, mut shift) = (0_u64, 0);
    loop {
        value |= u64::from(bytes[at] & 0x7f) << shift;
        at += 1;
        if bytes[at - 1] & 0x80 == 0 {
            return ((value >> 1).cast_signed() ^ -(value & 1).cast_signed(), at);
        }
        shift += 7;
    }
}
