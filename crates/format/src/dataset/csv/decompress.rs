//! Streaming decompression of CSV files.

use crate::buffer::clamp;
use bzip2::{Decompress as Bzip2, Status as BzStatus};
use flate2::{Decompress, FlushDecompress, Status};
use liblzma::stream::{Action as XzAction, Status as XzStatus, Stream as Xz};
use zstd::stream::raw::{Decoder as Zstd, InBuffer, Operation as _, OutBuffer};

use super::compression::Compression;
use crate::crc::Crc32;
use crate::error::Error;
use crate::error::excerpt;

/// Number of bytes that are decompressed at a time.
const BLOCK: usize = 64 * 1024;
/// Maximum length in bytes of a zip directory with one member.
const DIRECTORY_MAX: usize = 128 * 1024;
/// Memory limit of an xz decoder in bytes: the largest dictionary of xz's presets, and its tables.
const XZ_MEMORY_MAX: u64 = 80 << 20;
/// Maximum length in bytes of a gzip member's head, including its name.
const GZIP_HEAD_MAX: usize = 4096;

/// Receiver of the decompressed text.
type Sink<'s> = dyn FnMut(&[u8]) -> Result<(), Error> + 's;

/// What the decompressor expects at its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Magic and head of a gzip member or zip archive, collected in `seen`.
    Head,
    /// Compressed data.
    Data,
    /// Stored data of a zip member; this many bytes remain.
    Stored(u64),
    /// Checksum and length after a gzip member, collected in `seen`.
    Tail,
    /// Descriptor, directory and end record of a zip archive, collected in `seen`.
    Directory,
    /// The end, or another member or frame.
    Between,
}

/// A decompressor of one compression method.
pub(super) struct Decompressor {
    compression: Compression,
    stage: Stage,
    seen: Vec<u8>,
    position: u64,
    codec: Codec,
    output: Vec<u8>,
    crc: Crc32,
    bytes: u64,
    /// Checksum in the head of a zip member.
    stored_crc: Option<u32>,
}

enum Codec {
    Inflate(Box<Decompress>),
    Zstd(Zstd<'static>),
    Bzip2(Box<Bzip2>),
    Xz(Box<Xz>),
}

impl std::fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decompressor")
            .field("compression", &self.compression)
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}

impl Decompressor {
    pub(super) fn new(compression: Compression) -> Self {
        let codec = Codec::new(compression);
        let stage = if compression.has_head() { Stage::Head } else { Stage::Data };
        Self {
            compression,
            stage,
            seen: Vec::new(),
            position: 0,
            codec,
            output: vec![0; BLOCK],
            crc: Crc32::new(),
            bytes: 0,
            stored_crc: None,
        }
    }

    pub(super) fn take(&mut self, mut bytes: &[u8], sink: &mut Sink<'_>) -> Result<(), Error> {
        while !bytes.is_empty() {
            let used = match self.stage {
                Stage::Head => self.head(bytes)?,
                Stage::Data => self.data(bytes, sink)?,
                Stage::Stored(left) => {
                    let used = clamp(left, bytes.len());
                    self.stage = if left == used as u64 { Stage::Directory } else { Stage::Stored(left - used as u64) };
                    self.crc.update(&bytes[..used]);
                    sink(&bytes[..used])?;
                    used
                }
                Stage::Tail => self.tail(bytes)?,
                Stage::Directory => {
                    self.seen.extend_from_slice(bytes);
                    if self.seen.len() > DIRECTORY_MAX {
                        let found = self.position + bytes.len() as u64;
                        return Err(Error::Trailing { noun: "zip archive", expected: self.position, found });
                    }
                    bytes.len()
                }
                Stage::Between => self.between(bytes)?,
            };
            self.position += used as u64;
            bytes = &bytes[used..];
        }
        Ok(())
    }

    fn malformed(&self, noun: &'static str, expected: &str, found: String) -> Error {
        Error::Malformed { noun, offset: self.position, expected: expected.to_owned(), found }
    }

    /// Collects a head one byte at a time until it is complete.
    fn head(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        let magic: &[u8] = if self.compression == Compression::Gzip { b"\x1f\x8b\x08" } else { b"PK\x03\x04" };
        for (index, &byte) in bytes.iter().enumerate() {
            self.seen.push(byte);
            let checked = self.seen.len().min(magic.len());
            if self.seen[..checked] != magic[..checked] {
                let expected = format!("{} (dataset.compression: {})", excerpt(magic), self.word());
                return Err(self.malformed("compressed CSV file", &expected, excerpt(&self.seen)));
            }
            if self.compression == Compression::Gzip && self.seen.len() > GZIP_HEAD_MAX {
                let expected = format!("at most {GZIP_HEAD_MAX} bytes");
                return Err(self.malformed("head of gzip data", &expected, "more".to_owned()));
            }
            let whole =
                if self.compression == Compression::Gzip { gzip_head(&self.seen) } else { zip_head(&self.seen) };
            if whole {
                self.begin()?;
                return Ok(index + 1);
            }
        }
        Ok(bytes.len())
    }

    fn word(&self) -> &'static str {
        match self.compression {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Zip => "zip",
            Compression::Zstd => "zstd",
            Compression::Bzip2 => "bz2",
            Compression::Xz => "xz",
        }
    }

    fn begin(&mut self) -> Result<(), Error> {
        let head = std::mem::take(&mut self.seen);
        (self.crc, self.bytes) = (Crc32::new(), 0);
        self.codec = Codec::Inflate(Box::new(Decompress::new(false)));
        self.stage = Stage::Data;
        if self.compression == Compression::Zip {
            let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
            let (streamed, method) = (head[6] & 8 != 0, u16::from_le_bytes([head[8], head[9]]));
            self.stored_crc = (!streamed).then(|| word(14));
            match method {
                8 => {}
                0 if !streamed && word(18) != u32::MAX => self.stage = Stage::Stored(u64::from(word(18))),
                _ => return Err(self.malformed("zip compression method", "8 (deflated)", method.to_string())),
            }
        }
        Ok(())
    }

    fn data(&mut self, bytes: &[u8], sink: &mut Sink<'_>) -> Result<usize, Error> {
        let mut used = 0;
        loop {
            let (taken, made, ended) = self
                .codec
                .run(&bytes[used..], &mut self.output)
                .map_err(|found| self.malformed("compressed CSV file", &format!("{} data", self.word()), found))?;
            used += taken;
            if made > 0 {
                self.crc.update(&self.output[..made]);
                self.bytes += made as u64;
                sink(&self.output[..made])?;
            }
            if ended {
                self.stage = match self.compression {
                    Compression::Gzip => Stage::Tail,
                    Compression::Zip => Stage::Directory,
                    _ => Stage::Between,
                };
                return Ok(used);
            }
            if used == bytes.len() && made < self.output.len() || taken == 0 && made == 0 {
                return Ok(bytes.len());
            }
        }
    }

    fn tail(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        let used = bytes.len().min(8 - self.seen.len());
        self.seen.extend_from_slice(&bytes[..used]);
        if self.seen.len() == 8 {
            let stored = std::mem::take(&mut self.seen);
            let computed = [self.crc.value().to_le_bytes(), (self.bytes as u32).to_le_bytes()].concat();
            if stored != computed {
                let expected = format!("{computed:02x?}, as computed");
                return Err(self.malformed("checksum and length of gzip data", &expected, format!("{stored:02x?}")));
            }
            self.stage = Stage::Between;
        }
        Ok(used)
    }

    /// Continues after a member or frame; several may follow one another.
    fn between(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        let first = match self.compression {
            Compression::Gzip => 0x1f,
            Compression::Bzip2 => b'B',
            Compression::Xz => 0xFD,
            _ => 0x28,
        };
        if bytes[0] != first {
            let found = self.position + bytes.len() as u64;
            return Err(Error::Trailing { noun: "compressed CSV file", expected: self.position, found });
        }
        self.stage = if self.compression.has_head() { Stage::Head } else { Stage::Data };
        if matches!(self.compression, Compression::Bzip2 | Compression::Xz) {
            self.codec = Codec::new(self.compression);
        }
        Ok(0)
    }

    pub(super) fn end(&self) -> Result<(), Error> {
        let truncated = |noun| Err(Error::Truncated { noun, expected: self.position + 1, found: self.position });
        match self.stage {
            Stage::Between => Ok(()),
            Stage::Directory => {
                if let Some(stored) = self.stored_crc.filter(|&stored| stored != self.crc.value()) {
                    let expected = format!("{:#010x}, as computed", self.crc.value());
                    return Err(self.malformed("checksum of the zip member", &expected, format!("{stored:#010x}")));
                }
                let Some(end) = memchr::memmem::rfind(&self.seen, b"PK\x05\x06") else {
                    return truncated("zip directory");
                };
                match (self.seen.len() - end).cmp(&22) {
                    std::cmp::Ordering::Less => truncated("zip end record"),
                    std::cmp::Ordering::Equal => Ok(()),
                    std::cmp::Ordering::Greater => {
                        let expected = self.position - (self.seen.len() - end) as u64 + 22;
                        Err(Error::Trailing { noun: "zip archive", expected, found: self.position })
                    }
                }
            }
            _ => truncated("compressed CSV file"),
        }
    }
}

impl Compression {
    /// Returns whether a head that is parsed here precedes the compressed data.
    fn has_head(self) -> bool {
        matches!(self, Self::Gzip | Self::Zip)
    }
}

impl Codec {
    /// Creates a decoder of a member or frame. If memory for it is lacking, a decoder that refuses every frame takes
    /// its place.
    fn new(compression: Compression) -> Self {
        let inflate = || Codec::Inflate(Box::new(Decompress::new(false)));
        match compression {
            Compression::Zstd => Zstd::new().map_or_else(|_| inflate(), Codec::Zstd),
            Compression::Bzip2 => Codec::Bzip2(Box::new(Bzip2::new(false))),
            Compression::Xz => {
                Xz::new_stream_decoder(XZ_MEMORY_MAX, 0).map_or_else(|_| inflate(), |xz| Codec::Xz(Box::new(xz)))
            }
            _ => inflate(),
        }
    }

    /// Returns the number of bytes consumed, the number of bytes produced, and whether the member has ended.
    fn run(&mut self, input: &[u8], output: &mut [u8]) -> Result<(usize, usize, bool), String> {
        match self {
            Codec::Inflate(inflate) => {
                let (before_in, before_out) = (inflate.total_in(), inflate.total_out());
                let status =
                    inflate.decompress(input, output, FlushDecompress::None).map_err(|error| error.to_string())?;
                let (used, made) = (inflate.total_in() - before_in, inflate.total_out() - before_out);
                Ok((used as usize, made as usize, status == Status::StreamEnd))
            }
            Codec::Zstd(zstd) => {
                let mut source = InBuffer::around(input);
                let mut target = OutBuffer::around(output);
                let left = zstd.run(&mut source, &mut target).map_err(|error| error.to_string())?;
                Ok((source.pos(), target.pos(), left == 0))
            }
            Codec::Bzip2(decompress) => {
                let (before_in, before_out) = (decompress.total_in(), decompress.total_out());
                let status = decompress.decompress(input, output).map_err(|error| error.to_string())?;
                let (used, made) = (decompress.total_in() - before_in, decompress.total_out() - before_out);
                Ok((used as usize, made as usize, status == BzStatus::StreamEnd))
            }
            Codec::Xz(stream) => {
                let (before_in, before_out) = (stream.total_in(), stream.total_out());
                let status = stream.process(input, output, XzAction::Run);
                let (used, made) = (stream.total_in() - before_in, stream.total_out() - before_out);
                let status = status.map_err(|error| error.to_string())?;
                Ok((used as usize, made as usize, status == XzStatus::StreamEnd))
            }
        }
    }
}

/// Returns whether `seen` is the complete head of a gzip member.
fn gzip_head(seen: &[u8]) -> bool {
    let Some(&flags) = seen.get(3) else { return false };
    let mut length = 10;
    if flags & 4 != 0 {
        let Some(extra) = seen.get(10..12) else { return false };
        length += 2 + usize::from(u16::from_le_bytes([extra[0], extra[1]]));
    }
    // Name and comment end with a zero byte.
    for _ in 0..(flags >> 3 & 1) + (flags >> 4 & 1) {
        let Some(end) = seen.get(length..).and_then(|text| memchr::memchr(0, text)) else { return false };
        length += end + 1;
    }
    length += usize::from(flags & 2);
    seen.len() >= length
}

/// Returns whether `seen` is the complete local header of a zip member.
fn zip_head(seen: &[u8]) -> bool {
    let Some(lengths) = seen.get(26..30) else { return false };
    let part = |at: usize| usize::from(u16::from_le_bytes([lengths[at], lengths[at + 1]]));
    seen.len() >= 30 + part(0) + part(2)
}
