//! Encoding of column chunks: the values of one column in one row group, as a dictionary page and data pages, or as data pages
//! alone.

use std::ops::Range;

use bytes::Bytes;
use parquet::basic::{Compression, Encoding, EncodingMask, PageType, ZstdLevel};
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, PageEncodingStats};
use parquet::file::statistics::{Statistics, ValueStatistics};
use parquet::schema::types::ColumnDescPtr;

use super::coding;
use super::dictionary::Dictionary;
use crate::checksum;

/// The fastest zstd level: higher levels cost more time than they save on these columns.
const LEVEL: i32 = 1;
/// Rows in a data page of a column with many different values: the keys of the first pages then need fewer bits.
const PAGE_ROWS: usize = 8 * 1024;
/// A dictionary is used if more than one value in this many is a repetition.
const REPEATED: usize = 8;
/// Largest key width in bits at which a column has a single data page.
const FEW: u32 = 8;
/// Types of fields in Thrift's compact protocol.
const INT: u8 = 5;
const STRUCT: u8 = 12;
const FALSE: u8 = 2;

/// Encodes column chunks into a buffer and reuses its memory from chunk to chunk.
pub(super) struct ChunkWriter {
    compressor: zstd::bulk::Compressor<'static>,
    dictionary: Dictionary,
    /// A page before compression, a page after compression, and the values of the dictionary.
    page: Vec<u8>,
    packed: Vec<u8>,
    entries: Vec<u8>,
    /// End of each dictionary value in `entries`.
    ends: Vec<usize>,
    /// The encoded chunk.
    bytes: Vec<u8>,
    uncompressed: usize,
    /// Number of data pages in the chunk.
    pages: i32,
}

/// Properties of an encoded chunk that the footer needs.
#[derive(Debug, Clone)]
pub(super) struct ChunkInfo {
    encoding: Encoding,
    /// Size of the dictionary page, bytes.
    dictionary: Option<usize>,
    compressed: usize,
    uncompressed: usize,
    rows: usize,
    pages: i32,
    /// Checksum of the whole chunk.
    pub(super) sum: u32,
    pub(super) statistics: Option<Statistics>,
}

/// The rows of a column and which of them have a value.
pub(super) struct Rows<'a> {
    pub(super) count: usize,
    /// Definition levels: 1 for a row with a value, 0 for a row without; `None` if all rows have a value.
    pub(super) levels: Option<&'a [u8]>,
}

impl ChunkWriter {
    pub(super) fn new() -> Result<Self, ParquetError> {
        Ok(Self {
            compressor: zstd::bulk::Compressor::new(LEVEL)?,
            dictionary: Dictionary::default(),
            page: Vec::new(),
            packed: Vec::new(),
            entries: Vec::new(),
            ends: Vec::new(),
            bytes: Vec::new(),
            uncompressed: 0,
            pages: 0,
        })
    }

    /// Returns the chunk that was encoded last.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Encodes numbers of `width` bytes, with a dictionary unless most of them differ.
    pub(super) fn numbers(&mut self, rows: &Rows<'_>, values: &[i64], width: usize) -> Result<ChunkInfo, ParquetError> {
        self.dictionary.fill(values.iter().copied());
        self.entries.clear();
        self.ends.clear();
        for value in self.dictionary.values() {
            self.entries.extend_from_slice(&value.to_le_bytes()[..width]);
            self.ends.push(self.entries.len());
        }
        self.by_dictionary(rows)
    }

    /// Encodes texts given by keys. `entry` appends the text of a key and is called once for each different key.
    pub(super) fn texts(
        &mut self,
        rows: &Rows<'_>,
        keys: impl Iterator<Item = u32>,
        mut entry: impl FnMut(u32, &mut Vec<u8>),
    ) -> Result<ChunkInfo, ParquetError> {
        self.dictionary.fill(keys.map(i64::from));
        self.entries.clear();
        self.ends.clear();
        for key in self.dictionary.values() {
            let from = self.entries.len();
            self.entries.extend_from_slice(&[0; 4]);
            entry(u32::try_from(*key).unwrap_or(u32::MAX), &mut self.entries);
            let length = u32::try_from(self.entries.len() - from - 4).unwrap_or(u32::MAX);
            self.entries[from..from + 4].copy_from_slice(&length.to_le_bytes());
            self.ends.push(self.entries.len());
        }
        self.by_dictionary(rows)
    }

    /// Encodes growing numbers as packed differences.
    pub(super) fn differences(&mut self, rows: &Rows<'_>, values: &[i64]) -> Result<ChunkInfo, ParquetError> {
        self.begin();
        self.levels(rows.levels);
        coding::differences(values, &mut self.page);
        self.data_page(Encoding::DELTA_BINARY_PACKED, rows.count)?;
        Ok(self.info(rows, Encoding::DELTA_BINARY_PACKED, None))
    }

    fn by_dictionary(&mut self, rows: &Rows<'_>) -> Result<ChunkInfo, ParquetError> {
        self.begin();
        let (different, values) = (self.dictionary.values().len(), self.dictionary.places().len());
        if (values - different) * REPEATED <= values {
            self.pages(rows, PAGE_ROWS, Encoding::PLAIN, Self::values)?;
            return Ok(self.info(rows, Encoding::PLAIN, None));
        }
        let entries = std::mem::take(&mut self.entries);
        let written = self.page(PageType::DICTIONARY_PAGE, Encoding::PLAIN, different, &entries);
        self.entries = entries;
        written?;
        let dictionary = self.bytes.len();
        let few = bits(different.saturating_sub(1)) <= FEW;
        let page_rows = if few { rows.count } else { PAGE_ROWS };
        self.pages(rows, page_rows, Encoding::RLE_DICTIONARY, Self::keys)?;
        Ok(self.info(rows, Encoding::RLE_DICTIONARY, Some(dictionary)))
    }

    /// Appends data pages of `page_rows` rows; `fill` appends a range of the column's values to a page.
    fn pages(
        &mut self,
        rows: &Rows<'_>,
        page_rows: usize,
        encoding: Encoding,
        fill: fn(&mut Self, Range<usize>),
    ) -> Result<(), ParquetError> {
        let (mut row, mut from) = (0, 0);
        while row < rows.count {
            let next = (row + page_rows).min(rows.count);
            let levels = rows.levels.map(|levels| &levels[row..next]);
            let values = levels.map_or(next - row, |levels| levels.iter().map(|level| usize::from(*level)).sum());
            self.levels(levels);
            fill(self, from..from + values);
            self.data_page(encoding, next - row)?;
            (row, from) = (next, from + values);
        }
        Ok(())
    }

    /// Appends a range of values.
    fn values(&mut self, range: Range<usize>) {
        for place in &self.dictionary.places()[range] {
            let place = *place as usize;
            let from = place.checked_sub(1).map_or(0, |before| self.ends[before]);
            self.page.extend_from_slice(&self.entries[from..self.ends[place]]);
        }
    }

    /// Appends a range of dictionary keys.
    fn keys(&mut self, range: Range<usize>) {
        let places = &self.dictionary.places()[range];
        let width = bits(places.iter().copied().max().unwrap_or(0) as usize);
        self.page.push(width.to_le_bytes()[0]);
        coding::runs(places, width, &mut self.page);
    }

    /// Begins a chunk.
    fn begin(&mut self) {
        self.bytes.clear();
        (self.uncompressed, self.pages) = (0, 0);
    }

    /// Begins a data page with its definition levels.
    fn levels(&mut self, levels: Option<&[u8]>) {
        self.page.clear();
        if let Some(levels) = levels {
            self.page.extend_from_slice(&[0; 4]);
            coding::runs(levels, 1, &mut self.page);
            let length = u32::try_from(self.page.len() - 4).unwrap_or(u32::MAX);
            self.page[..4].copy_from_slice(&length.to_le_bytes());
        }
    }

    fn data_page(&mut self, encoding: Encoding, rows: usize) -> Result<(), ParquetError> {
        let page = std::mem::take(&mut self.page);
        let written = self.page(PageType::DATA_PAGE, encoding, rows, &page);
        self.page = page;
        self.pages += 1;
        written
    }

    fn info(&self, rows: &Rows<'_>, encoding: Encoding, dictionary: Option<usize>) -> ChunkInfo {
        let (compressed, uncompressed, pages) = (self.bytes.len(), self.uncompressed, self.pages);
        let sum = checksum::of(&self.bytes);
        ChunkInfo { encoding, dictionary, compressed, uncompressed, rows: rows.count, pages, sum, statistics: None }
    }

    /// Appends the header and the compressed bytes of a page to the chunk.
    fn page(&mut self, kind: PageType, encoding: Encoding, values: usize, page: &[u8]) -> Result<(), ParquetError> {
        self.packed.clear();
        self.packed.reserve(zstd::zstd_safe::compress_bound(page.len()));
        self.compressor.compress_to_buffer(page, &mut self.packed)?;
        let fits =
            |bytes: usize| i32::try_from(bytes).map_err(|_| ParquetError::General(format!("a page of {bytes} bytes")));
        let header_at = self.bytes.len();
        let mut header = Header { out: &mut self.bytes, last: 0 };
        let data = kind == PageType::DATA_PAGE;
        header.int(1, if data { 0 } else { 2 });
        header.int(2, fits(page.len())?);
        header.int(3, fits(self.packed.len())?);
        header.int(4, checksum::of(&self.packed).cast_signed());
        let inside = if data { 5 } else { 7 };
        header.field(inside, STRUCT);
        header.last = 0;
        header.int(1, fits(values)?);
        header.int(2, encoding as i32);
        if data {
            // Encodings of definition and repetition levels; there are no repetition levels.
            header.int(3, Encoding::RLE as i32);
            header.int(4, Encoding::RLE as i32);
        } else {
            header.field(3, FALSE);
        }
        // Ends of the inner structure and of the header.
        self.bytes.extend_from_slice(&[0, 0]);
        self.uncompressed += self.bytes.len() - header_at + page.len();
        self.bytes.extend_from_slice(&self.packed);
        Ok(())
    }
}

/// A page header in Thrift's compact protocol, which encodes a field's number as the difference from the previous one.
struct Header<'a> {
    out: &'a mut Vec<u8>,
    last: u8,
}

impl Header<'_> {
    fn field(&mut self, number: u8, kind: u8) {
        self.out.push((number - self.last) << 4 | kind);
        self.last = number;
    }

    fn int(&mut self, number: u8, value: i32) {
        self.field(number, INT);
        coding::zigzag(i64::from(value), self.out);
    }
}

impl ChunkInfo {
    /// Returns the metadata of the chunk for the footer; `offset` is its position in the file.
    pub(super) fn metadata(&self, column: ColumnDescPtr, offset: usize) -> Result<ColumnChunkMetaData, ParquetError> {
        let number = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        let page = |page_type, encoding, count| PageEncodingStats { page_type, encoding, count };
        let mut encodings = vec![self.encoding, Encoding::RLE];
        let mut pages = Vec::new();
        if self.dictionary.is_some() {
            encodings.push(Encoding::PLAIN);
            pages.push(page(PageType::DICTIONARY_PAGE, Encoding::PLAIN, 1));
        }
        pages.push(page(PageType::DATA_PAGE, self.encoding, self.pages));
        let mut builder = ColumnChunkMetaData::builder(column)
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(LEVEL)?))
            .set_encodings_mask(EncodingMask::new_from_encodings(encodings.iter()))
            .set_page_encoding_stats(pages)
            .set_num_values(number(self.rows))
            .set_total_compressed_size(number(self.compressed))
            .set_total_uncompressed_size(number(self.uncompressed))
            .set_data_page_offset(number(offset + self.dictionary.unwrap_or(0)))
            .set_dictionary_page_offset(self.dictionary.map(|_| number(offset)));
        if let Some(statistics) = &self.statistics {
            builder = builder.set_statistics(statistics.clone());
        }
        builder.build()
    }

    pub(super) fn compressed(&self) -> usize {
        self.compressed
    }

    pub(super) fn uncompressed(&self) -> usize {
        self.uncompressed
    }
}

/// Returns the number of bits of a dictionary key.
fn bits(last: usize) -> u32 {
    coding::width(last as u64).max(1)
}

/// Returns the smallest and the largest number of a column and the number of rows without a value.
pub(super) fn extremes(values: &[i64], rows: usize, small: bool) -> Statistics {
    let (least, greatest) = (values.iter().min().copied(), values.iter().max().copied());
    let none = Some((rows - values.len()) as u64);
    let narrow = |value: i64| i32::try_from(value).unwrap_or(i32::MAX);
    if small {
        let values = ValueStatistics::new(least.map(narrow), greatest.map(narrow), None, none, false);
        values.with_backwards_compatible_min_max(true).into()
    } else {
        ValueStatistics::new(least, greatest, None, none, false).with_backwards_compatible_min_max(true).into()
    }
}

/// Returns the first and the last word of a column in alphabetical order.
pub(super) fn extreme_words(words: &[&'static str], keys: &[u32]) -> Statistics {
    let used = || keys.iter().filter_map(|key| words.get(*key as usize));
    let text = |word: &&'static str| ByteArray::from(Bytes::from_static(word.as_bytes()));
    ValueStatistics::new(used().min().map(text), used().max().map(text), None, Some(0), false).into()
}
