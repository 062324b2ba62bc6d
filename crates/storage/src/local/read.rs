//! Reads of ranges of an open file through the thread's buffer.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dlio_event::{Nanos, OpKind, Outcome, TimeSource};

use super::buffer::{ALIGN, with_buffer};
use super::operation::Operation;
use super::options::LocalOptions;
use super::sys;
use crate::{Attempt, Attempts, ByteRange, ChunkSink, Error, ErrorKind, Future, Object, Receipt, Version};

/// An open file.
pub(super) struct OpenFile {
    pub(super) path: PathBuf,
    pub(super) time: Arc<dyn TimeSource>,
    pub(super) options: Arc<LocalOptions>,
    pub(super) file: File,
    /// Size in bytes, updated by writes through this handle and by reads beyond it.
    pub(super) size: AtomicU64,
    pub(super) opened: Attempts,
    /// Alignment in bytes of every `pread`; 1 for buffered reads.
    pub(super) align: u64,
}

/// Reason why a pass over a range ended.
enum Stop {
    Done,
    System(io::Error),
    Refused(String),
    /// The file now ends before this offset, which was inside the file when it was opened.
    Cut(u64),
}

struct Pass {
    bytes: u64,
    first_byte: Option<Nanos>,
    stop: Stop,
}

impl OpenFile {
    /// Reads a range, but not beyond the offset `limit` of the file.
    fn read_now(&self, range: ByteRange, limit: u64, sink: &mut dyn ChunkSink) -> Result<Receipt, Error> {
        let mut operation = Operation::new(&*self.time, "reading");
        let start = operation.now();
        let size = self.size_for(range);
        let end = range.len.map_or(size, |len| range.offset.saturating_add(len).min(size)).min(limit);
        let pass = with_buffer(self.buffer(range.offset, end), |buffer| self.pass(range.offset, end, buffer, sink));
        if self.options.drop_cache {
            sys::drop_cache(&self.file, range.offset, pass.bytes);
        }
        let mut attempt = Attempt {
            offset: range.offset,
            requested: range.len,
            bytes: pass.bytes,
            first_byte: pass.first_byte,
            object_size: Some(size),
            end: operation.now(),
            ..Attempt::started(OpKind::Read, start)
        };
        match pass.stop {
            Stop::Done => {
                operation.record(attempt, None);
                Ok(Receipt { bytes: pass.bytes, attempts: operation.done() })
            }
            Stop::System(error) => {
                operation.record(attempt, Some(&error));
                Err(operation.failed(&self.path, Some(range), &error))
            }
            Stop::Cut(at) => {
                attempt.outcome = Outcome::ShortRead;
                operation.record(attempt, None);
                let message = format!(
                    "the file had {size} bytes and now ends before byte {at}: it was truncated during the read"
                );
                Err(operation.refused(&self.path, Some(range), ErrorKind::Corrupt, message))
            }
            Stop::Refused(message) => {
                attempt.outcome = Outcome::Corrupt;
                operation.record(attempt, None);
                Err(operation.refused(&self.path, Some(range), ErrorKind::Corrupt, message))
            }
        }
    }

    /// Returns the size of the file in bytes; asks the file system again if the range extends beyond the known size.
    fn size_for(&self, range: ByteRange) -> u64 {
        let known = self.size.load(Ordering::Relaxed);
        if range.len.is_none_or(|len| range.offset.saturating_add(len) <= known) {
            return known;
        }
        let size = self.file.metadata().map_or(known, |metadata| metadata.len());
        self.size.store(size, Ordering::Relaxed);
        size
    }

    /// Returns the length in bytes of the buffer for a range: a chunk, or less for a short range.
    fn buffer(&self, offset: u64, end: u64) -> usize {
        let options = &self.options;
        let block = usize::try_from(self.align).unwrap_or(ALIGN).max(ALIGN);
        let chunk = options.chunk(self.align > 1).min(options.read_buffer).max(1).next_multiple_of(block);
        // The first and last blocks may extend beyond the range.
        let range = usize::try_from(end.saturating_sub(offset)).unwrap_or(chunk).min(chunk);
        chunk.min((range + 2 * block).next_multiple_of(block))
    }

    #[expect(clippy::cast_possible_truncation, reason = "the lengths are within the buffer, which is a slice")]
    /// Reads `offset..end`. With direct I/O whole blocks around the range are read, and only the range is delivered;
    /// a short read in mid-file leads to a second read of its last, incomplete block.
    fn pass(&self, offset: u64, end: u64, buffer: &mut [u8], sink: &mut dyn ChunkSink) -> Pass {
        let mut pass = Pass { bytes: 0, first_byte: None, stop: Stop::Done };
        let mut next = offset;
        while next < end {
            let block = next - next % self.align;
            let wanted = (end - block).next_multiple_of(self.align).min(buffer.len() as u64);
            let got = match self.read_at(&mut buffer[..wanted as usize], block) {
                Ok(got) => got as u64,
                Err(error) => {
                    pass.stop = Stop::System(error);
                    return pass;
                }
            };
            pass.first_byte.get_or_insert_with(|| self.time.now());
            let upto = (block + got).min(end);
            if upto <= next {
                pass.stop = Stop::Cut(next);
                return pass;
            }
            if let Err(message) = sink.chunk(&buffer[(next - block) as usize..(upto - block) as usize]) {
                pass.stop = Stop::Refused(message);
                return pass;
            }
            pass.bytes += upto - next;
            next = upto;
        }
        pass
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match self.file.read_at(buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

impl Object for OpenFile {
    fn size(&self) -> Option<u64> {
        Some(self.size.load(Ordering::Relaxed))
    }

    fn opened(&self) -> &Attempts {
        &self.opened
    }

    fn read<'a>(&'a self, range: ByteRange, sink: &'a mut dyn ChunkSink) -> Future<'a, Receipt> {
        Box::pin(async move { self.read_now(range, u64::MAX, sink) })
    }

    fn read_first<'a>(&'a self, limit: u64, sink: &'a mut dyn ChunkSink) -> Future<'a, Receipt> {
        Box::pin(async move { self.read_now(ByteRange::ALL, limit, sink) })
    }

    fn read_part<'a>(
        &'a self,
        range: ByteRange,
        _version: &'a Version,
        sink: &'a mut dyn ChunkSink,
    ) -> Future<'a, Receipt> {
        self.read(range, sink)
    }
}
