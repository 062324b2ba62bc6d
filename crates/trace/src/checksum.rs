//! Checksums of a file: one for each column chunk, including its page headers, and one for the footer that holds them.
//!
//! Invariant: every byte that this crate's reader interprets is covered by a checksum. The footer's checksum is its last
//! key-value pair, so that it can be found among bytes that no longer form a footer. This distinguishes a damaged footer, which was
//! written completely and cannot be read, from a torn one, which was cut short. All checksums are CRC-32 as in zip and in
//! Parquet's page headers.

use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;

use crate::row_group::EncodedGroup;

/// Key of the checksums of column chunks.
pub(crate) const CHUNKS: &str = "dlio.trace.chunk_crc32";
/// Key of the checksum of the footer.
pub(crate) const FOOTER: &str = "dlio.trace.footer_crc32";

/// Hexadecimal digits of a checksum.
const DIGITS: usize = 8;
/// Decimal digits of the number of bytes that follow the footer's checksum.
const BEHIND: usize = 6;
/// Length of the bytes before the value of the footer's checksum: its key as Parquet encodes it, and the length of the value.
const MARK: usize = FOOTER.len() + 4;
/// Length of the value: checksum, blank, number of bytes that follow.
const VALUE: usize = DIGITS + 1 + BEHIND;

/// Returns the CRC-32 of `bytes`.
pub(crate) fn of(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// Returns the last key-value pairs of a footer. The value of the last one is a placeholder that [`seal`] fills in.
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

/// Checksums of column chunks, indexed by row group and column.
#[derive(Debug)]
pub(crate) struct ChunkSums(Vec<Vec<u32>>);

impl ChunkSums {
    /// Parses the value of [`CHUNKS`] for the given numbers of row groups and columns.
    pub(crate) fn parse(text: &str, groups: usize, columns: usize) -> Result<Self, String> {
        let sums = text.split_terminator(' ').map(|group| {
            let sums =
                group.as_bytes().chunks(DIGITS).map(|digits| hexadecimal(digits).filter(|_| digits.len() == DIGITS));
            sums.collect::<Option<Vec<u32>>>().filter(|sums| sums.len() == columns)
        });
        let sums = sums.collect::<Option<Vec<_>>>().filter(|sums| sums.len() == groups);
        sums.map(Self).ok_or_else(|| format!("{CHUNKS} in its footer is not {groups} times {columns} checksums"))
    }

    /// Returns the checksum of one chunk.
    pub(crate) fn get(&self, group: usize, column: usize) -> Option<u32> {
        self.0.get(group)?.get(column).copied()
    }
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number: u32, digit| Some(number << 4 | char::from(*digit).to_digit(16)?))
}

/// Result of comparing a footer with its checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FooterCheck {
    /// The footer has no checksum.
    Absent,
    Matches,
    Broken,
}

/// Writes the checksum into an encoded footer, which includes its length and magic bytes.
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

/// Compares an encoded footer, which includes its length and magic bytes, with its checksum.
pub(crate) fn check(footer: &[u8]) -> FooterCheck {
    let Some(at) = value_at(footer) else { return FooterCheck::Absent };
    let mut sum = crc32fast::Hasher::new();
    sum.update(&footer[..at]);
    sum.update(&[b'0'; DIGITS]);
    sum.update(&footer[at + DIGITS..]);
    // The text must match exactly: an upper-case digit is a flipped bit.
    let said = footer[at..at + DIGITS] == *format!("{:0DIGITS$x}", sum.finalize()).as_bytes();
    if said { FooterCheck::Matches } else { FooterCheck::Broken }
}

/// Returns the offsets at which footers end whose checksums lie in `bytes`, computed from the number next to each checksum. An
/// offset may lie beyond `bytes`.
pub(crate) fn ends(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let places: Vec<usize> = memchr::memmem::find_iter(bytes, &mark()).collect();
    places.into_iter().filter_map(|at| {
        let behind = bytes.get(at + MARK + DIGITS + 1..at + MARK + VALUE)?;
        Some(at + MARK + VALUE + std::str::from_utf8(behind).ok()?.parse::<usize>().ok()?)
    })
}

/// Number of consecutive bytes that [`ends`] needs to find a checksum.
pub(crate) const SPAN: usize = MARK + VALUE;

/// Returns the offset of the checksum's value. User-defined values may contain the same bytes, but they come before it.
fn value_at(footer: &[u8]) -> Option<usize> {
    let at = memchr::memmem::rfind(footer, &mark())? + MARK;
    (at + VALUE <= footer.len()).then_some(at)
}

/// Returns the key and the length of its value in Thrift's compact protocol: fields 1 and 2, both strings.
fn mark() -> [u8; MARK] {
    const TEXT: u8 = 0x18;
    let mut mark = [TEXT; MARK];
    mark[1] = FOOTER.len().to_le_bytes()[0];
    mark[2..2 + FOOTER.len()].copy_from_slice(FOOTER.as_bytes());
    mark[MARK - 1] = VALUE.to_le_bytes()[0];
    mark
}
