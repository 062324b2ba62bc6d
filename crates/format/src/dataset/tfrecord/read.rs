//! Reading a TFRecord file: a stream of ranges whose frames are followed.

use super::frames::{FOOT, Frame, HEAD};
use crate::buffer::clamp;
use crate::crc::{Crc32c, masked_crc32c};
use crate::error::Error;
use crate::layout::Layout;
use crate::mismatch::Mismatch;
use crate::need::Need;
use crate::scrutiny::Scrutiny;
use crate::shape::FileShape;

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
        let mismatch = layout.mismatch(shape, scrutiny);
        let content = || Frame::new(layout.sample_bytes(shape.dims).min(1 << 62)).len() - HEAD as u64 - FOOT;
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
