//! Checksums of a file: one of every column chunk, which covers page headers as well, and one of the footer that holds them.
//!
//! Invariant: of the bytes that a reader of this crate makes something of, none is without a checksum. The footer's is its last pair
//! of key and value, so that it can be looked for among bytes that are no footer any more: a footer that was written to its end and
//! cannot be read is damaged, one that was cut short is torn. All are CRC-32 as in zip and in Parquet's page headers.

use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;

use crate::row_group::EncodedGroup;

/// Key of the checksums of column chunks.
pub(crate) const CHUNKS: &str = "dlio.trace.chunk_crc32";
/// Key of the checksum of the footer.
pub(crate) const FOOTER: &str = "dlio.trace.footer_crc32";

/// Digits of a checksum.
const DIGITS: usize = 8;
/// Digits of the number behind the checksum of a footer.
const BEHIND: usize = 6;
/// What stands before the value of the footer's checksum: its key as Parquet writes it, and the length of the value.
const MARK: usize = FOOTER.len() + 4;
/// The value: checksum, blank, number of bytes that follow.
const VALUE: usize = DIGITS + 1 + BEHIND;

/// CRC-32 of some bytes.
pub(crate) fn of(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// The pairs that end a footer; the value of the last is a place for what [`seal`] puts there.
pub(crate) fn pairs(groups: &[EncodedGroup]) -> [KeyValue; 2] {
    let mut text = String::with_capacity(groups.iter().map(|group| group.sums.len() * DIGITS + 1).sum());
    for (number, group) in groups.iter().enumerate() {
        if number > 0 {
            text.push(' ');
        }
        for sum in &group.sums {
            text.extend((0..DIGITS).rev().map(|digit| char::from(HEX[(sum >> (4 * digit) & 15) as usize])));
        }
    }
    let place = format!("{:0DIGITS$} {:0BEHIND$}", 0, 0);
    [KeyValue::new(CHUNKS.to_owned(), text), KeyValue::new(FOOTER.to_owned(), place)]
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Checksums of column chunks, by row group and column.
#[derive(Debug)]
pub(crate) struct ChunkSums(Vec<Vec<u32>>);

impl ChunkSums {
    /// Those of a footer with so many row groups and columns.
    pub(crate) fn parse(text: &str, groups: usize, columns: usize) -> Result<Self, String> {
        let sums = text.split_terminator(' ').map(|group| {
            let sums =
                group.as_bytes().chunks(DIGITS).map(|digits| hexadecimal(digits).filter(|_| digits.len() == DIGITS));
            sums.collect::<Option<Vec<u32>>>().filter(|sums| sums.len() == columns)
        });
        let sums = sums.collect::<Option<Vec<_>>>().filter(|sums| sums.len() == groups);
        sums.map(Self).ok_or_else(|| format!("{CHUNKS} in its footer is not {groups} times {columns} checksums"))
    }

    /// That of one chunk.
    pub(crate) fn get(&self, group: usize, column: usize) -> Option<u32> {
        self.0.get(group)?.get(column).copied()
    }
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number: u32, digit| Some(number << 4 | char::from(*digit).to_digit(16)?))
}

/// What the checksum of a footer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seal {
    /// There is none.
    Absent,
    Holds,
    Broken,
}

/// Puts the checksum into an encoded footer, length and magic bytes included.
pub(crate) fn seal(footer: &mut [u8]) -> Result<(), ParquetError> {
    let missing = || ParquetError::General("the footer has no place for its checksum".to_owned());
    let at = value_at(footer).ok_or_else(missing)?;
    let behind = footer.len() - at - VALUE;
    let number = format!("{behind:0BEHIND$}");
    footer[at + DIGITS + 1..][..number.len()].copy_from_slice(number.as_bytes());
    let sum = format!("{:0DIGITS$x}", of(footer));
    footer[at..at + DIGITS].copy_from_slice(sum.as_bytes());
    if number.len() == BEHIND { Ok(()) } else { Err(missing()) }
}

/// Compares the checksum of a footer, length and magic bytes included, with its bytes.
pub(crate) fn check(footer: &[u8]) -> Seal {
    let Some(at) = value_at(footer) else { return Seal::Absent };
    let mut sum = crc32fast::Hasher::new();
    sum.update(&footer[..at]);
    sum.update(&[b'0'; DIGITS]);
    sum.update(&footer[at + DIGITS..]);
    // Only as it was written: a capital letter is another bit.
    let said = footer[at..at + DIGITS] == *format!("{:0DIGITS$x}", sum.finalize()).as_bytes();
    if said { Seal::Holds } else { Seal::Broken }
}

/// Where footers end of which the checksum is among these bytes, as they themselves say; that may be behind the bytes.
pub(crate) fn ends(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let places: Vec<usize> = memchr::memmem::find_iter(bytes, &mark()).collect();
    places.into_iter().filter_map(|at| {
        let behind = bytes.get(at + MARK + DIGITS + 1..at + MARK + VALUE)?;
        Some(at + MARK + VALUE + std::str::from_utf8(behind).ok()?.parse::<usize>().ok()?)
    })
}

/// Bytes that must be seen together for [`ends`] to find a checksum.
pub(crate) const SPAN: usize = MARK + VALUE;

/// Where the value of the checksum begins; what users name may hold the same bytes, but stands before it.
fn value_at(footer: &[u8]) -> Option<usize> {
    let at = memchr::memmem::rfind(footer, &mark())? + MARK;
    (at + VALUE <= footer.len()).then_some(at)
}

/// A key and the beginning of its value in Thrift's compact protocol: fields 1 and 2, both texts.
fn mark() -> [u8; MARK] {
    const TEXT: u8 = 0x18;
    let mut mark = [TEXT; MARK];
    mark[1] = FOOTER.len().to_le_bytes()[0];
    mark[2..2 + FOOTER.len()].copy_from_slice(FOOTER.as_bytes());
    mark[MARK - 1] = VALUE.to_le_bytes()[0];
    mark
}
