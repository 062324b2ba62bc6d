//! A reader of TFRecord files, which streams ranges and parses the frames in them.

use super::frames::{FOOT, Frame, HEAD};
use crate::buffer::clamp;
use crate::check_level::CheckLevel;
use crate::crc::{Crc32c, masked_crc32c};
use crate::error::Error;
use crate::layout::Layout;
use crate::mismatch::Mismatch;
use crate::need::Need;
use crate::shape::FileShape;

/// Reads a file as a stream of ranges and parses its frames.
#[derive(Debug)]
pub(crate) struct Reader {
    transfer_size: u64,
    size: Option<u64>,
    /// Offset in the file up to which bytes have been taken.
    position: u64,
    /// Offset of the range that is being read; equal to `position` between ranges.
    range_start: u64,
    /// Number of frames that have been read completely.
    complete: u64,
    /// The selected sample.
    aim: Option<u64>,
    head: [u8; HEAD],
    head_len: usize,
    /// Remaining bytes of the current frame after its head.
    left: u64,
    /// Checksums of the current frame's content, if they are compared.
    frame_crc: Option<FrameCrc>,
    /// Expected length of a frame's content in bytes, if files of another shape are recorded.
    noted: Option<(Mismatch, u64)>,
}

/// The running checksum of a frame's content, and the stored checksum as far as it has been read.
#[derive(Debug)]
struct FrameCrc {
    computed: Crc32c,
    stored: [u8; FOOT as usize],
    /// Offset of the content in the file.
    start: u64,
}

impl FrameCrc {
    fn new() -> Self {
        Self { computed: Crc32c::new(), stored: [0; FOOT as usize], start: 0 }
    }

    /// Takes bytes of a frame after its head, of which `left` bytes remain.
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
    /// Creates a reader of a file of this shape. Every frame contains its length, so a file of another shape is only
    /// recorded.
    pub(crate) fn of(layout: &Layout, shape: &FileShape, check_level: CheckLevel) -> Self {
        let mismatch = layout.mismatch(shape, check_level);
        let content = || Frame::new(layout.sample_bytes(shape.dims).min(1 << 62)).len() - HEAD as u64 - FOOT;
        let noted = (mismatch.notes() && !layout.as_found).then(|| (mismatch, content()));
        Self { noted, ..Self::new(layout.transfer_size, check_level) }
    }

    fn new(transfer_size: u64, check_level: CheckLevel) -> Self {
        Self {
            noted: None,
            frame_crc: check_level.computes_checksums().then(FrameCrc::new),
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

    /// Selects a sample and returns whether the file is streamed again from its start.
    pub(crate) fn sample(&mut self, sample: u64) -> bool {
        // A record after the selected one may already have been read in the same range. A record before it has to be
        // streamed again.
        let again = self.aim.is_some_and(|aim| sample <= aim);
        if again {
            let frame_crc = self.frame_crc.as_ref().map(|_| FrameCrc::new());
            let noted = self.noted.take();
            *self = Self { size: self.size, frame_crc, noted, ..Self::new(self.transfer_size, CheckLevel::Structure) };
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
                if let Some(frame_crc) = &mut self.frame_crc {
                    (frame_crc.computed, frame_crc.start) = (Crc32c::new(), self.position);
                }
            }
            let count = clamp(self.left, bytes.len());
            if let Some(frame_crc) = &mut self.frame_crc {
                frame_crc.take(&bytes[..count], self.left);
            }
            self.left -= count as u64;
            self.position += count as u64;
            bytes = &bytes[count..];
            if self.left == 0 {
                self.frame_crc.as_ref().map_or(Ok(()), FrameCrc::compare)?;
                self.complete += 1;
                self.head_len = 0;
            }
        }
        Ok(())
    }

    /// Checks the head of a frame and returns the number of bytes after it.
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

    /// Returns the length in bytes of the range that begins at `range_start`.
    fn asked(&self) -> u64 {
        // At the end of the file one more byte is requested, and `end` reports that it is missing.
        self.size.map_or(self.transfer_size, |size| size.saturating_sub(self.range_start).clamp(1, self.transfer_size))
    }
}
