//! The frames of a TFRecord file and the lines of its index.

use crate::buffer::clamp;
use crate::crc::{BLOCK, Crc32c, masked_crc32c};
use crate::payload::Stream;
use crate::protobuf::varint;

/// Length in bytes of a frame's head: the payload length and its checksum.
pub(super) const HEAD: usize = 12;
/// Length in bytes of the checksum after a frame's payload.
pub(super) const FOOT: u64 = 4;
/// The bytes around the image in every frame of a file.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    /// Frame head and message up to the image.
    head: Vec<u8>,
    /// Message after the image.
    foot: Vec<u8>,
    image: u64,
}

impl Frame {
    pub(super) fn new(image: u64) -> Self {
        let mut number = Vec::new();
        varint(&mut number, image);
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

    pub(super) fn len(&self) -> u64 {
        self.head.len() as u64 + self.image + self.foot.len() as u64 + FOOT
    }
}

/// Returns the tag and the length of a length-delimited field.
fn open(number: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    varint(&mut bytes, length);
    bytes
}

fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = open(number, content.len() as u64);
    bytes.extend_from_slice(content);
    bytes
}

/// Returns an entry of the feature map.
fn entry(key: &str, feature: &[u8]) -> Vec<u8> {
    field(1, &[field(1, key.as_bytes()), field(2, feature)].concat())
}

/// The encoder's position within a frame.
#[derive(Debug, Clone)]
enum Stage {
    Head(usize),
    Image(Stream),
    Foot(usize),
    Crc([u8; 4], usize),
}

/// An encoder of the frames of a file.
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
    /// Creates the frames of `samples` records whose images begin every `stride` bytes of `payload`.
    pub(super) fn new(frame: Frame, payload: Stream, stride: u64, samples: u64) -> Self {
        Self { frame, payload, stride, record: 0, samples, stage: Stage::Head(0), crc: Crc32c::new() }
    }

    /// Writes the next bytes and returns their number: 0 at the end.
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

    /// Writes bytes of the current stage, and moves to the next stage at its end.
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
                for block in buffer[..count].chunks_mut(BLOCK) {
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

/// An encoder of the text index: one line `<offset> <frame length>` per record, in bytes.
#[derive(Debug, Clone)]
pub(crate) struct IndexLines {
    frame: u64,
    record: u64,
    samples: u64,
    line: Vec<u8>,
    cursor: usize,
}

impl IndexLines {
    /// Creates the index of `samples` frames of `frame` bytes each.
    pub(super) fn new(frame: u64, samples: u64) -> Self {
        Self { frame, record: 0, samples, line: Vec::new(), cursor: 0 }
    }

    /// Returns the length of the text in bytes: per line a space, a newline, the digits of the length and those of
    /// the offset.
    pub(super) fn len(&self) -> u64 {
        let mut len = self.samples.saturating_mul(3 + u64::from(self.frame.ilog10() + 1));
        let mut power = 10_u64;
        loop {
            // Offsets of at least `power` have one more digit.
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

    /// Writes the next bytes and returns their number: 0 at the end.
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
