//! TFRecord: frames of `tf.train.Example { image: bytes, size: int64 }`, and the text index of their offsets.

use crate::check::Scrutiny;
use crate::crc::{Crc32c, masked_crc32c};
use crate::encode::clamp;
use crate::mismatch::Mismatch;
use crate::payload::Stream;
use crate::{Encoder, Error, FileShape, Layout, Need};

/// Length and its checksum, before a frame's payload.
const HEAD: usize = 12;
/// Checksum behind a frame's payload.
const FOOT: u64 = 4;
/// Protocol buffers hold less than this.
const MESSAGE_MAX: u64 = 1 << 31;

/// What surrounds the image bytes in every frame of a file.
#[derive(Debug, Clone)]
struct Frame {
    /// Frame head and message up to the image.
    head: Vec<u8>,
    /// Message after the image.
    foot: Vec<u8>,
    image: u64,
}

impl Frame {
    fn new(image: u64) -> Self {
        let mut number = Vec::new();
        varint(image, &mut number);
        // Int64List { packed value }
        let list = field(1, &number);
        let size = entry("size", &field(3, &list));
        // Sizes from the inside out: BytesList, Feature, map entry, Features.
        let bytes_list = open(1, image).len() as u64 + image;
        let feature = open(1, bytes_list).len() as u64 + bytes_list;
        let key = field(1, b"image");
        let image_entry = key.len() as u64 + open(2, feature).len() as u64 + feature;
        let features = open(1, image_entry).len() as u64 + image_entry + size.len() as u64;
        let mut message = open(1, features);
        message.extend(open(1, image_entry));
        message.extend(key);
        for (number, length) in [(2, feature), (1, bytes_list), (1, image)] {
            message.extend(open(number, length));
        }
        let length = message.len() as u64 + image + size.len() as u64;
        let mut head = length.to_le_bytes().to_vec();
        head.extend(masked_crc32c(&head).to_le_bytes());
        head.extend(message);
        Self { head, foot: size, image }
    }

    fn len(&self) -> u64 {
        self.head.len() as u64 + self.image + self.foot.len() as u64 + FOOT
    }
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Tag and length of a length-delimited field.
fn open(number: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    varint(length, &mut bytes);
    bytes
}

fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = open(number, content.len() as u64);
    bytes.extend_from_slice(content);
    bytes
}

/// An entry of the map of features.
fn entry(key: &str, feature: &[u8]) -> Vec<u8> {
    field(1, &[field(1, key.as_bytes()), field(2, feature)].concat())
}

/// Bytes of one image, with room for framing in the sums to come; the encoder refuses anything near the limit.
fn image_bytes(layout: &Layout, shape: &FileShape) -> u64 {
    layout.sample_bytes(shape.dims).min(1 << 62)
}

pub(crate) fn encoder(layout: &Layout, shape: &FileShape) -> Result<Encoder, Error> {
    let image = image_bytes(layout, shape);
    let frame = Frame::new(image);
    let too_long =
        |reason: &str| Error::Shape { dims: shape.dims.to_vec(), samples: shape.samples, reason: reason.to_owned() };
    if frame.len() >= MESSAGE_MAX {
        return Err(too_long("a TFRecord example must stay below 2 GiB"));
    }
    let len = frame.len().checked_mul(shape.samples).ok_or_else(|| too_long("its size exceeds 2^64"))?;
    // Records start at whole words of the file's payload, so each has bytes of its own.
    let stride = image.next_multiple_of(8);
    let payload = layout.payload.stream(shape.file, layout.element, 0);
    let (samples, stage, crc) = (shape.samples, Stage::Head(0), Crc32c::new());
    Ok(Encoder::frames(len, Frames { frame, payload, stride, record: 0, samples, stage, crc }))
}

/// Where in a frame the encoder is.
#[derive(Debug, Clone)]
enum Stage {
    Head(usize),
    Image(Stream),
    Foot(usize),
    Crc([u8; 4], usize),
}

/// The frames of a file, one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Frames {
    frame: Frame,
    payload: Stream,
    stride: u64,
    record: u64,
    samples: u64,
    stage: Stage,
    crc: Crc32c,
}

impl Frames {
    /// Writes the next bytes; 0 at the end.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) -> usize {
        if self.record == self.samples {
            return 0;
        }
        let mut count = 0;
        while count == 0 && self.record < self.samples {
            count = self.step(buffer);
        }
        count
    }

    /// Writes bytes of the present stage and moves to the next when it is spent.
    fn step(&mut self, buffer: &mut [u8]) -> usize {
        match &mut self.stage {
            Stage::Head(cursor) => {
                let count = copy(&self.frame.head, cursor, buffer);
                if *cursor == self.frame.head.len() {
                    self.crc = Crc32c::new();
                    self.crc.update(&self.frame.head[HEAD..]);
                    let from = self.record * self.stride;
                    self.stage = Stage::Image(self.payload.range(from, from + self.frame.image));
                }
                count
            }
            Stage::Image(stream) => {
                let count = clamp(stream.remaining(), buffer.len());
                for block in buffer[..count].chunks_mut(crate::crc::BLOCK) {
                    stream.fill(block);
                    self.crc.update(block);
                }
                if stream.remaining() == 0 {
                    self.stage = Stage::Foot(0);
                }
                count
            }
            Stage::Foot(cursor) => {
                let count = copy(&self.frame.foot, cursor, buffer);
                if *cursor == self.frame.foot.len() {
                    self.crc.update(&self.frame.foot);
                    self.stage = Stage::Crc(self.crc.masked().to_le_bytes(), 0);
                }
                count
            }
            Stage::Crc(bytes, cursor) => {
                let count = copy(bytes.as_slice(), cursor, buffer);
                if *cursor == bytes.len() {
                    self.record += 1;
                    self.stage = Stage::Head(0);
                }
                count
            }
        }
    }
}

fn copy(from: &[u8], cursor: &mut usize, buffer: &mut [u8]) -> usize {
    let count = buffer.len().min(from.len() - *cursor);
    buffer[..count].copy_from_slice(&from[*cursor..*cursor + count]);
    *cursor += count;
    count
}

pub(crate) fn index_encoder(layout: &Layout, shape: &FileShape) -> Encoder {
    let frame = Frame::new(image_bytes(layout, shape)).len();
    let lines = Lines { frame, record: 0, samples: shape.samples, line: Vec::new(), cursor: 0 };
    Encoder::lines(lines.len(), lines)
}

/// The text index: one line `<offset> <frame length>` per record.
#[derive(Debug, Clone)]
pub(crate) struct Lines {
    frame: u64,
    record: u64,
    samples: u64,
    line: Vec<u8>,
    cursor: usize,
}

impl Lines {
    /// Length of the whole text: per line a blank, a newline, the digits of the length and those of the offset.
    fn len(&self) -> u64 {
        let mut len = self.samples.saturating_mul(3 + u64::from(self.frame.ilog10() + 1));
        let mut power = 10_u64;
        loop {
            // Offsets of at least `power` have one digit more.
            let first = power.div_ceil(self.frame);
            if first >= self.samples {
                return len;
            }
            len = len.saturating_add(self.samples - first);
            match power.checked_mul(10) {
                Some(next) => power = next,
                None => return len,
            }
        }
    }

    /// Writes the next bytes; 0 at the end.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) -> usize {
        if self.cursor == self.line.len() {
            if self.record == self.samples {
                return 0;
            }
            let offset = u128::from(self.record) * u128::from(self.frame);
            self.line = format!("{offset} {}\n", self.frame).into_bytes();
            self.cursor = 0;
            self.record += 1;
        }
        copy(&self.line, &mut self.cursor, buffer)
    }
}

/// Streams a file in ranges and follows its frames.
#[derive(Debug)]
pub(crate) struct Reader {
    transfer_size: u64,
    size: Option<u64>,
    /// File offset up to which bytes were taken.
    position: u64,
    /// Where the range that is being read began; equal to `position` between ranges.
    range_start: u64,
    /// Frames whose last byte has passed.
    complete: u64,
    /// The sample aimed at.
    aim: Option<u64>,
    head: [u8; HEAD],
    head_len: usize,
    /// Bytes of the present frame behind its head that have not passed.
    left: u64,
    /// Checksum of the present frame's content and the stored one, where they are compared.
    sums: Option<Sums>,
    /// Length of a frame's content as the workload has it, where files of another are noted.
    noted: Option<(Mismatch, u64)>,
}

/// The checksum of a frame's content in the making, and the one behind it as far as it has come.
#[derive(Debug)]
struct Sums {
    computed: Crc32c,
    stored: [u8; FOOT as usize],
    /// Offset in the file of the content.
    start: u64,
}

impl Sums {
    fn new() -> Self {
        Self { computed: Crc32c::new(), stored: [0; FOOT as usize], start: 0 }
    }

    /// Takes bytes of a frame behind its head, of which `left` have not passed.
    fn take(&mut self, bytes: &[u8], left: u64) {
        let (content, foot) = bytes.split_at(clamp(left.saturating_sub(FOOT), bytes.len()));
        self.computed.update(content);
        let at = FOOT.saturating_sub(left - content.len() as u64) as usize;
        self.stored[at..at + foot.len()].copy_from_slice(foot);
    }

    fn compare(&self) -> Result<(), Error> {
        let (stored, computed) = (u32::from_le_bytes(self.stored), self.computed.masked());
        if stored == computed {
            return Ok(());
        }
        Err(Error::Checksum { noun: "content of a TFRecord frame", offset: self.start, stored, computed })
    }
}

impl Reader {
    /// A reader of a file of this shape: a frame says how long it is, so that a file of another shape is only noted.
    pub(crate) fn of(layout: &Layout, shape: &FileShape, scrutiny: Scrutiny) -> Self {
        let mismatch = Mismatch::new(layout, shape, scrutiny);
        let content = || Frame::new(image_bytes(layout, shape)).len() - HEAD as u64 - FOOT;
        let noted = (mismatch.notes() && !layout.as_found).then(|| (mismatch, content()));
        Self { noted, ..Self::new(layout.transfer_size, scrutiny) }
    }

    fn new(transfer_size: u64, scrutiny: Scrutiny) -> Self {
        Self {
            noted: None,
            sums: scrutiny.sums().then(Sums::new),
            transfer_size,
            size: None,
            position: 0,
            range_start: 0,
            complete: 0,
            aim: None,
            head: [0; HEAD],
            head_len: 0,
            left: 0,
        }
    }

    pub(crate) fn size(&mut self, bytes: u64) -> Result<(), Error> {
        if bytes == 0 {
            return Err(Error::Truncated { noun: "first TFRecord frame", expected: HEAD as u64 + FOOT, found: 0 });
        }
        self.size = Some(bytes);
        Ok(())
    }

    /// Returns whether the file is streamed again from its start.
    pub(crate) fn sample(&mut self, sample: u64) -> bool {
        // A record behind the one aimed at may already have passed in the same range. One before it has to be streamed again.
        let again = self.aim.is_some_and(|aim| sample <= aim);
        if again {
            let sums = self.sums.as_ref().map(|_| Sums::new());
            let noted = self.noted.take();
            *self = Self { size: self.size, sums, noted, ..Self::new(self.transfer_size, Scrutiny::Structure) };
        }
        self.aim = Some(sample);
        again
    }

    pub(crate) fn need(&self) -> Need {
        match self.aim {
            Some(aim) if aim >= self.complete => Need::Bytes { offset: self.range_start, len: Some(self.asked()) },
            _ => Need::Done,
        }
    }

    pub(crate) fn chunk(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            if self.head_len < HEAD {
                let count = bytes.len().min(HEAD - self.head_len);
                self.head[self.head_len..self.head_len + count].copy_from_slice(&bytes[..count]);
                self.head_len += count;
                self.position += count as u64;
                bytes = &bytes[count..];
                if self.head_len < HEAD {
                    return Ok(());
                }
                self.left = self.frame_length()?;
                if let Some(sums) = &mut self.sums {
                    (sums.computed, sums.start) = (Crc32c::new(), self.position);
                }
            }
            let count = clamp(self.left, bytes.len());
            if let Some(sums) = &mut self.sums {
                sums.take(&bytes[..count], self.left);
            }
            self.left -= count as u64;
            self.position += count as u64;
            bytes = &bytes[count..];
            if self.left == 0 {
                self.sums.as_ref().map_or(Ok(()), Sums::compare)?;
                self.complete += 1;
                self.head_len = 0;
            }
        }
        Ok(())
    }

    /// Bytes of a frame behind its head, after checks.
    fn frame_length(&self) -> Result<u64, Error> {
        let [l0, l1, l2, l3, l4, l5, l6, l7, crc @ ..] = self.head;
        let length = [l0, l1, l2, l3, l4, l5, l6, l7];
        let offset = self.position - HEAD as u64;
        let (computed, stored) = (masked_crc32c(&length), u32::from_le_bytes(crc));
        if computed != stored {
            return Err(Error::Malformed {
                noun: "checksum of a TFRecord frame's length",
                offset: offset + 8,
                expected: format!("{computed:08x}"),
                found: format!("{stored:08x}"),
            });
        }
        let length = u64::from_le_bytes(length);
        if let Some((mismatch, expected)) = self.noted.as_ref().filter(|(_, expected)| *expected != length) {
            let (noun, expected) = ("length of a record in bytes", expected.to_string());
            mismatch.note(Error::Differs { noun, expected, found: length.to_string() });
        }
        let end = self.position.checked_add(length).and_then(|end| end.checked_add(FOOT));
        match (end, self.size) {
            (Some(end), Some(size)) if end > size => {
                Err(Error::Truncated { noun: "TFRecord frame", expected: end, found: size })
            }
            (Some(end), _) => Ok(end - self.position),
            (None, _) => Err(Error::Malformed {
                noun: "length of a TFRecord frame",
                offset,
                expected: "less than 2^63".to_owned(),
                found: length.to_string(),
            }),
        }
    }

    pub(crate) fn end(&mut self) -> Result<(), Error> {
        let taken = self.position - self.range_start;
        let asked = self.asked();
        self.range_start = self.position;
        if self.size == Some(self.position)
            && (1..HEAD).contains(&self.head_len)
            && self.aim.is_some_and(|aim| aim < self.complete)
        {
            let expected = self.position - self.head_len as u64;
            return Err(Error::Trailing { noun: "last TFRecord frame", expected, found: self.position });
        }
        if taken >= asked || self.aim.is_none_or(|aim| aim < self.complete) {
            return Ok(());
        }
        if let (0, 1.., Some(sample)) = (self.head_len, self.complete, self.aim) {
            return Err(Error::Sample { sample, samples: self.complete });
        }
        let missing = if self.head_len < HEAD { (HEAD - self.head_len) as u64 + FOOT } else { self.left };
        Err(Error::Truncated {
            noun: "TFRecord frame",
            expected: self.position.saturating_add(missing),
            found: self.position,
        })
    }

    /// Length of the range that begins at `range_start`.
    fn asked(&self) -> u64 {
        // At the end of the file one more byte is asked for, and `end` reports that it is missing.
        self.size.map_or(self.transfer_size, |size| size.saturating_sub(self.range_start).clamp(1, self.transfer_size))
    }
}
