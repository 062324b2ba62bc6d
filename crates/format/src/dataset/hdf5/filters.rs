//! Decoding of chunk filters: deflate, shuffle, Fletcher-32 and LZF, one chunk at a time.

use flate2::{Decompress, FlushDecompress, Status};

use super::lzf;

const DEFLATE: u16 = 1;
const SHUFFLE: u16 = 2;
const FLETCHER32: u16 = 3;
const LZF: u16 = 32_000;
/// Length in bytes of the checksum after a chunk.
const CHECKSUM_BYTES: usize = 4;
/// Number of words whose sums fit into 32 bits before they are folded.
const WORDS: usize = 360;

/// The filter pipeline of a dataset.
pub(super) enum Filters {
    /// Filters that are decoded here, in the order in which they were applied.
    Known(Vec<Filter>),
    /// A pipeline with other filters, which hdf5-pure decodes.
    Foreign(hdf5_pure::Dataset),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filter {
    Deflate,
    /// The bytes of elements of this size are grouped by their position in the element.
    Shuffle(usize),
    Fletcher32,
    Lzf,
}

impl std::fmt::Debug for Filters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Filters::Known(filters) => filters.fmt(f),
            Filters::Foreign(_) => f.write_str("Foreign"),
        }
    }
}

impl Filters {
    pub(super) fn of(dataset: &hdf5_pure::Dataset, itemsize: u64) -> Self {
        let known = |filter: &hdf5_pure::Filter| match filter.id {
            DEFLATE => Some(Filter::Deflate),
            SHUFFLE => {
                let bytes = filter.client_data.first().map_or(itemsize, |&bytes| u64::from(bytes));
                Some(Filter::Shuffle(usize::try_from(bytes).unwrap_or(1)))
            }
            FLETCHER32 => Some(Filter::Fletcher32),
            LZF => Some(Filter::Lzf),
            _ => None,
        };
        let known: Option<Vec<Filter>> = dataset.filter_pipeline().iter().map(known).collect();
        known.map_or_else(|| Filters::Foreign(dataset.clone()), Filters::Known)
    }
}

/// A decoder of filter pipelines, which reuses its buffers.
#[derive(Default)]
pub(super) struct FilterDecoder {
    plain: Vec<u8>,
    next: Vec<u8>,
    inflater: Option<Box<Decompress>>,
}

impl std::fmt::Debug for FilterDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FilterDecoder").field("plain", &self.plain.len()).finish_non_exhaustive()
    }
}

impl FilterDecoder {
    /// Decodes a stored chunk to `bytes` bytes; `left_out` has a bit for each filter that was skipped.
    ///
    /// # Errors
    /// Returns a description of the damage.
    pub(super) fn decode(
        &mut self,
        filters: &[Filter],
        left_out: u32,
        stored: &[u8],
        bytes: u64,
    ) -> Result<&[u8], String> {
        let whole = usize::try_from(bytes).map_err(|_| format!("a chunk of {bytes} bytes"))?;
        self.plain.clear();
        let mut filled = false;
        for (number, filter) in filters.iter().enumerate().rev() {
            if number < 32 && left_out >> number & 1 == 1 {
                continue;
            }
            let input = if filled { &self.plain } else { stored };
            self.next.clear();
            match filter {
                Filter::Deflate => {
                    // The input contains the checksums of earlier filters.
                    let sums = filters[..number].iter().filter(|filter| **filter == Filter::Fletcher32).count();
                    let inflater = self.inflater.get_or_insert_with(|| Box::new(Decompress::new(true)));
                    inflate(inflater, input, whole.saturating_add(sums * CHECKSUM_BYTES), &mut self.next)?;
                }
                Filter::Shuffle(itemsize) => unshuffle(input, *itemsize, &mut self.next),
                Filter::Fletcher32 => self.next.extend_from_slice(strip_fletcher32(input)?),
                Filter::Lzf => lzf::expand(input, whole, &mut self.next)?,
            }
            std::mem::swap(&mut self.plain, &mut self.next);
            filled = true;
        }
        if !filled {
            self.plain.extend_from_slice(stored);
        }
        let found = self.plain.len();
        if found == whole { Ok(&self.plain) } else { Err(format!("{found} bytes where a chunk has {whole}")) }
    }
}

fn inflate(inflater: &mut Decompress, input: &[u8], most: usize, output: &mut Vec<u8>) -> Result<(), String> {
    inflater.reset(true);
    // The decoder notices the end of the stream only if there is room in the output.
    let room = most.saturating_add(1);
    output.try_reserve(room).map_err(|error| format!("a chunk of {most} bytes: {error}"))?;
    let status = inflater.decompress_vec(input, output, FlushDecompress::Finish).map_err(|error| error.to_string())?;
    match status {
        Status::StreamEnd if output.len() <= most => Ok(()),
        Status::StreamEnd => Err(format!("more than the {most} bytes of a chunk")),
        Status::Ok | Status::BufError => {
            Err(format!("a deflate stream without an end, after {} of {most} bytes", output.len()))
        }
    }
}

fn unshuffle(input: &[u8], itemsize: usize, output: &mut Vec<u8>) {
    if itemsize <= 1 {
        output.extend_from_slice(input);
        return;
    }
    let items = input.len() / itemsize;
    output.resize(input.len(), 0);
    // Bytes after the last whole element stay in place.
    let (sorted, rest) = input.split_at(items * itemsize);
    for (place, bytes) in sorted.chunks_exact(items.max(1)).enumerate() {
        for (item, byte) in bytes.iter().enumerate() {
            output[item * itemsize + place] = *byte;
        }
    }
    output[items * itemsize..].copy_from_slice(rest);
}

/// Verifies the checksum at the end of `input` and returns the bytes before it.
fn strip_fletcher32(input: &[u8]) -> Result<&[u8], String> {
    let Some((bytes, stored)) = input.split_last_chunk::<CHECKSUM_BYTES>() else {
        return Err(format!("{} bytes, too few for a checksum", input.len()));
    };
    let (found, stored) = (fletcher32(bytes), u32::from_le_bytes(*stored));
    if found == stored { Ok(bytes) } else { Err(format!("checksum {found:#010x} of the bytes, {stored:#010x} stored")) }
}

/// Returns the Fletcher-32 checksum over big-endian words of 16 bits, as the HDF5 library computes it.
fn fletcher32(bytes: &[u8]) -> u32 {
    let (mut first, mut second) = (0_u32, 0_u32);
    let fold = |sum: u32| (sum & 0xFFFF) + (sum >> 16);
    for words in bytes.chunks(2 * WORDS) {
        for word in words.chunks(2) {
            first += u32::from(word[0]) << 8 | word.get(1).map_or(0, |byte| u32::from(*byte));
            second += first;
        }
        (first, second) = (fold(first), fold(second));
    }
    fold(second) << 16 | fold(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deflated(plain: &[u8]) -> Vec<u8> {
        let mut packed = Vec::with_capacity(plain.len() + 100);
        let mut compressor = flate2::Compress::new(flate2::Compression::new(4), true);
        compressor.compress_vec(plain, &mut packed, flate2::FlushCompress::Finish).unwrap();
        packed
    }

    #[test]
    fn filters_are_undone_from_the_last_to_the_first_but_for_those_left_out() {
        // Four numbers of two bytes: low bytes first, then high bytes.
        let (plain, sorted) = ([1, 10, 2, 20, 3, 30, 4, 40], [1, 2, 3, 4, 10, 20, 30, 40]);
        let with_sum = [&sorted[..], &fletcher32(&sorted).to_le_bytes()].concat();
        let filters = [Filter::Shuffle(2), Filter::Fletcher32, Filter::Deflate];
        let mut decoder = FilterDecoder::default();
        assert_eq!(decoder.decode(&filters, 0, &deflated(&with_sum), 8).unwrap(), plain);
        assert_eq!(decoder.decode(&filters, 0b100, &with_sum, 8).unwrap(), plain);
        assert_eq!(decoder.decode(&filters, 0b110, &sorted, 8).unwrap(), plain);
        assert_eq!(decoder.decode(&filters, 0b111, &plain, 8).unwrap(), plain);
        assert_eq!(decoder.decode(&[], 0, &plain, 8).unwrap(), plain);
    }

    #[test]
    fn each_kind_of_damage_to_a_chunk_has_its_own_message() {
        let mut decoder = FilterDecoder::default();
        let packed = deflated(&[7; 1000]);
        let mut said = |filter, stored: &[u8], bytes| decoder.decode(&[filter], 0, stored, bytes).unwrap_err();
        assert!(said(Filter::Deflate, &packed[..packed.len() - 6], 1000).contains("without an end"));
        assert!(said(Filter::Deflate, &packed, 999).contains("999"));
        assert_eq!(said(Filter::Deflate, &packed, 1001), "1000 bytes where a chunk has 1001");
        assert!(said(Filter::Fletcher32, &[1, 2, 3, 4, 0, 0, 0, 0], 4).contains("checksum"));
        assert!(said(Filter::Fletcher32, &[1, 2], 4).contains("too few"));
        assert!(said(Filter::Lzf, &[0x20, 5], 100).contains("before the beginning"));
    }
}
