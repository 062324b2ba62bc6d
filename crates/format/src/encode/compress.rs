//! Compressed parts of files.
//!
//! The length of compressed data is known only after compression. A part is therefore compressed when its encoder is
//! created, to measure it. Up to 4 MiB the result is kept; a longer part is compressed again while it is written.
//! This bounds memory at the price of twice the CPU time for long files.

use bzip2::{Action as BzAction, Compress as Bzip2, Status as BzStatus};
use flate2::{Compress, Compression, FlushCompress, Status};
use liblzma::stream::{Action as XzAction, Check, Filters, LzmaOptions, Status as XzStatus, Stream as Xz};
use zstd::stream::raw::{Encoder as Zstd, InBuffer, Operation as _, OutBuffer};

use super::{Encoder, Piece};
use crate::buffer::clamp;
use crate::crc::Crc32;

/// Number of compressed bytes that are kept from the measurement.
const KEPT_MAX: usize = 4 << 20;
/// Number of bytes per call of a compressor.
const BLOCK: usize = 64 * 1024;
/// Default levels of the libraries, as numpy and pandas use them.
const DEFLATE_LEVEL: u32 = 6;
const ZSTD_LEVEL: i32 = 3;
const BZIP2_WORK: u32 = 30;
const XZ_PRESET: u32 = 6;
/// Dictionary size of the preset. Shorter texts get a smaller dictionary, because an encoder needs 11 times its
/// dictionary in memory.
const XZ_DICTIONARY: u64 = 8 << 20;
const XZ_DICTIONARY_MIN: u64 = 1 << 16;

/// Compression method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// Raw deflate data without a frame.
    Deflate,
    /// A zstd frame.
    Zstd,
    /// A bzip2 stream.
    Bzip2,
    /// An xz stream of one block.
    Xz,
}

/// A compressed part and its measurements.
pub(crate) struct CompressedPart {
    pub(crate) piece: Piece,
    /// Length of the compressed part in bytes.
    pub(crate) bytes: u64,
    /// CRC-32 of the uncompressed bytes.
    pub(crate) crc: u32,
}

/// Compresses everything that `plain` produces.
pub(crate) fn compress(plain: &Encoder, method: Method) -> CompressedPart {
    let mut run = CompressorRun::new(plain.clone(), method);
    let mut kept = Vec::new();
    let mut bytes = 0;
    while run.step() {
        bytes += run.ready().len() as u64;
        if bytes <= KEPT_MAX as u64 {
            kept.extend_from_slice(run.ready());
        }
    }
    let crc = run.crc.value();
    let piece = if bytes <= KEPT_MAX as u64 {
        Piece::bytes(kept)
    } else {
        Piece::Compressed(Box::new(Compressed {
            plain: plain.clone(),
            method,
            run: None,
            written: 0,
            bytes,
            left: bytes,
        }))
    };
    CompressedPart { piece, bytes, crc }
}

/// A compressed part that is produced while it is written.
#[derive(Debug)]
pub(crate) struct Compressed {
    plain: Encoder,
    method: Method,
    /// Compressor in progress, or `None` before the first byte.
    run: Option<CompressorRun>,
    /// Number of ready bytes that the caller already has.
    written: usize,
    bytes: u64,
    left: u64,
}

/// A compressor cannot be cloned, so the clone compresses again up to the same position.
impl Clone for Compressed {
    fn clone(&self) -> Self {
        let mut fresh = Self {
            plain: self.plain.clone(),
            method: self.method,
            run: None,
            written: 0,
            bytes: self.bytes,
            left: self.bytes,
        };
        let mut passed = vec![0; BLOCK];
        while fresh.left > self.left {
            let count = clamp(fresh.left - self.left, BLOCK);
            fresh.fill(&mut passed[..count]);
        }
        fresh
    }
}

impl Compressed {
    pub(crate) fn remaining(&self) -> u64 {
        self.left
    }

    /// Writes the next bytes. `buffer` must not be longer than what remains.
    pub(crate) fn fill(&mut self, mut buffer: &mut [u8]) {
        self.left -= buffer.len() as u64;
        let run = self.run.get_or_insert_with(|| CompressorRun::new(self.plain.clone(), self.method));
        while !buffer.is_empty() {
            if self.written == run.ready().len() {
                self.written = 0;
                if !run.step() {
                    // Unreachable: the measurement had the same length.
                    buffer.fill(0);
                    return;
                }
            }
            let ready = &run.ready()[self.written..];
            let count = ready.len().min(buffer.len());
            let (front, back) = buffer.split_at_mut(count);
            front.copy_from_slice(&ready[..count]);
            self.written += count;
            buffer = back;
        }
    }
}

/// One pass of a compressor over its input.
struct CompressorRun {
    plain: Encoder,
    codec: Codec,
    crc: Crc32,
    input: Vec<u8>,
    from: usize,
    to: usize,
    output: Vec<u8>,
    ready: usize,
    ended: bool,
}

enum Codec {
    Deflate(Box<Compress>),
    Zstd(Zstd<'static>),
    Bzip2(Box<Bzip2>),
    Xz(Box<Xz>),
    /// Stands for a compressor that could not be created; it produces nothing.
    None,
}

impl std::fmt::Debug for CompressorRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CompressorRun").field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl CompressorRun {
    fn new(plain: Encoder, method: Method) -> Self {
        let codec = match method {
            Method::Deflate => Codec::Deflate(Box::new(Compress::new(Compression::new(DEFLATE_LEVEL), false))),
            Method::Zstd => Zstd::new(ZSTD_LEVEL).map_or(Codec::None, Codec::Zstd),
            Method::Bzip2 => Codec::Bzip2(Box::new(Bzip2::new(bzip2::Compression::best(), BZIP2_WORK))),
            Method::Xz => xz(plain.len()).map_or(Codec::None, |stream| Codec::Xz(Box::new(stream))),
        };
        Self {
            plain,
            codec,
            crc: Crc32::new(),
            input: vec![0; BLOCK],
            from: 0,
            to: 0,
            output: vec![0; BLOCK],
            ready: 0,
            ended: false,
        }
    }

    fn ready(&self) -> &[u8] {
        &self.output[..self.ready]
    }

    /// Produces the next output; returns false at the end.
    fn step(&mut self) -> bool {
        self.ready = 0;
        while self.ready == 0 && !self.ended {
            if self.from == self.to {
                (self.from, self.to) = (0, self.plain.fill(&mut self.input));
                self.crc.update(&self.input[..self.to]);
            }
            let input = &self.input[self.from..self.to];
            let last = input.is_empty();
            let (used, made, ended) = self.codec.run(input, &mut self.output, last);
            self.from += used;
            self.ready = made;
            self.ended = ended;
        }
        self.ready > 0
    }
}

/// Creates an xz encoder for an input of `bytes` bytes.
fn xz(bytes: u64) -> Result<Xz, liblzma::stream::Error> {
    let mut options = LzmaOptions::new_preset(XZ_PRESET)?;
    let dictionary = bytes.next_power_of_two().clamp(XZ_DICTIONARY_MIN, XZ_DICTIONARY);
    options.dict_size(dictionary as u32);
    Xz::new_stream_encoder(Filters::new().lzma2(&options), Check::Crc64)
}

impl Codec {
    /// Returns the number of bytes consumed, the number of bytes produced, and whether the stream has ended. Empty
    /// input finishes the stream if `last` is true.
    fn run(&mut self, input: &[u8], output: &mut [u8], last: bool) -> (usize, usize, bool) {
        match self {
            Codec::Deflate(compress) => {
                let (before_in, before_out) = (compress.total_in(), compress.total_out());
                let flush = if last { FlushCompress::Finish } else { FlushCompress::None };
                let status = compress.compress(input, output, flush);
                let used = (compress.total_in() - before_in) as usize;
                let made = (compress.total_out() - before_out) as usize;
                (used, made, !matches!(status, Ok(Status::Ok | Status::BufError)))
            }
            Codec::Zstd(zstd) => {
                let mut source = InBuffer::around(input);
                let mut target = OutBuffer::around(output);
                let left = if last { zstd.finish(&mut target, true) } else { zstd.run(&mut source, &mut target) };
                let ended = left.is_err() || last && matches!(left, Ok(0));
                (source.pos(), target.pos(), ended)
            }
            Codec::Bzip2(compress) => {
                let (before_in, before_out) = (compress.total_in(), compress.total_out());
                let action = if last { BzAction::Finish } else { BzAction::Run };
                let status = compress.compress(input, output, action);
                let used = (compress.total_in() - before_in) as usize;
                let made = (compress.total_out() - before_out) as usize;
                (used, made, !matches!(status, Ok(BzStatus::Ok | BzStatus::RunOk | BzStatus::FinishOk)))
            }
            Codec::Xz(stream) => {
                let (before_in, before_out) = (stream.total_in(), stream.total_out());
                let action = if last { XzAction::Finish } else { XzAction::Run };
                let status = stream.process(input, output, action);
                let used = (stream.total_in() - before_in) as usize;
                let made = (stream.total_out() - before_out) as usize;
                (used, made, !matches!(status, Ok(XzStatus::Ok)))
            }
            Codec::None => (input.len(), 0, true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::{Element, Payload};

    fn plain(bytes: u64) -> Encoder {
        Encoder::pieces([Piece::payload(Payload::new(1).stream(1, Element::Float32, bytes)), Piece::zeros(1000)])
    }

    fn all(encoder: &mut Encoder, piece: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut buffer = vec![0; piece];
        loop {
            match encoder.fill(&mut buffer) {
                0 => return bytes,
                count => bytes.extend_from_slice(&buffer[..count]),
            }
        }
    }

    fn read_all(mut decoder: impl std::io::Read) -> Vec<u8> {
        let mut found = Vec::new();
        decoder.read_to_end(&mut found).unwrap();
        found
    }

    #[test]
    fn what_is_compressed_comes_out_again_whether_it_was_kept_or_not() {
        for bytes in [0, 100, 300_000, 6 << 20] {
            let expected = all(&mut plain(bytes), 1 << 16);
            for method in [Method::Deflate, Method::Zstd, Method::Bzip2, Method::Xz] {
                let measured = compress(&plain(bytes), method);
                assert_eq!(measured.crc, crate::crc::crc32(&expected));
                let mut encoder = Encoder::pieces([measured.piece]);
                assert_eq!(encoder.len(), measured.bytes);
                let mut started = encoder.clone();
                let packed = all(&mut encoder, 99_999);
                assert_eq!(packed.len() as u64, measured.bytes);
                let found = match method {
                    Method::Zstd => zstd::decode_all(packed.as_slice()).unwrap(),
                    Method::Bzip2 => read_all(bzip2::read::BzDecoder::new(packed.as_slice())),
                    Method::Xz => read_all(liblzma::read::XzDecoder::new(packed.as_slice())),
                    Method::Deflate => {
                        let mut found = Vec::with_capacity(expected.len() + 1);
                        let mut inflate = flate2::Decompress::new(false);
                        inflate.decompress_vec(&packed, &mut found, flate2::FlushDecompress::Finish).unwrap();
                        found
                    }
                };
                assert!(found == expected, "{method:?} of {bytes}");
                let mut front = vec![0; packed.len() / 2];
                started.fill(&mut front);
                assert!(all(&mut started.clone(), 1000) == packed[front.len()..]);
            }
        }
    }
}
