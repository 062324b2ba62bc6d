//! Reads of blocks of checkpoint files, whose bytes are compared or dropped.

use dlio_event::{Event, OpKind};
use dlio_format::checkpoint::IntegrityCheck;
use dlio_format::{Comparison, Decode};
use dlio_storage::{ByteRange, ErrorKind, Object};

use super::job::{Block, JobDone};
use super::lane::CheckpointLane;
use crate::Error;
use crate::decode_timer::DecodeTimer;

/// Checks that the bytes of an object pass through.
struct ContentCheck {
    integrity: IntegrityCheck,
    /// Comparison with the expected content, for objects that are read front to back.
    comparison: Option<Comparison>,
}

impl CheckpointLane {
    /// Returns the size of a file.
    pub(super) async fn size(&self, block: &Block) -> Result<JobDone, Error> {
        let object = self.open(block).await?;
        if let Some(size) = object.size() {
            return Ok(JobDone::Size(size));
        }
        match self.checkpoints.storage.stat(&block.key).await {
            Ok((metadata, receipt)) => {
                self.record(&receipt.attempts, &block.key, block.at);
                Ok(JobDone::Size(metadata.size))
            }
            Err(error) => Err(self.unreadable(error, block)),
        }
    }

    /// Reads a block.
    pub(super) async fn read(&self, block: Block) -> Result<JobDone, Error> {
        self.status.set(Some(self.checkpoints.storage.uri(&block.key)));
        let object = self.open(&block).await?;
        let known = object.size().or(block.size);
        let (start, end) = known.map_or((0, None), |size| {
            let (start, end) = block.range(size);
            (start, Some(end))
        });
        if let Some(size) = known {
            self.check_size(&block, size)?;
        }
        let integrity = IntegrityCheck::new(self.checkpoints.container, &block.key);
        let comparison = block.expected.clone().map(|encoder| Comparison::new(self.checkpoints.payload, encoder));
        let mut look = ContentCheck { integrity, comparison };
        let bytes = self.read_range(&*object, &block, (start, end), &mut look).await?;
        if let Some(end) = end.filter(|end| start + bytes < *end) {
            let what = format!("it ends after {} bytes, {} were expected", start + bytes, end);
            return Err(self.damaged(&block, what));
        }
        let size = known.unwrap_or(start + bytes);
        if known.is_none() {
            self.check_size(&block, size)?;
        }
        let (first, last) = (start == 0 && bytes > 0, start + bytes == size && bytes > 0);
        look.comparison
            .map_or(Ok(()), |comparison| comparison.end())
            .map_err(|source| self.damaged(&block, source.to_string()))?;
        look.integrity.check(size, first, last).map_err(|source| self.damaged(&block, source.to_string()))?;
        Ok(JobDone::Read(bytes))
    }

    /// Reads from one offset to another, or to the end of the file, in reads of the configured size; returns the number of bytes.
    async fn read_range(
        &self,
        object: &dyn Object,
        block: &Block,
        (start, end): (u64, Option<u64>),
        look: &mut ContentCheck,
    ) -> Result<u64, Error> {
        let decode = if look.comparison.is_some() { Decode::Verify } else { Decode::None };
        let mut next = start;
        while end.is_none_or(|end| next < end) {
            if self.halt.is_set() {
                return Err(Error::Cancelled { place: self.place(block.at) });
            }
            let left = end.map(|end| end - next);
            let most = self.checkpoints.loading.read_bytes;
            let len = [left, most].into_iter().flatten().min();
            let range = if next == 0 && len.is_none() { ByteRange::ALL } else { ByteRange { offset: next, len } };
            let (mut work, mut refused) = (DecodeTimer::new(&*self.clock, decode), None);
            let mut sink = |bytes: &[u8]| {
                look.integrity.update(bytes);
                if self.halt.is_set() {
                    return Err("the run was ended".to_owned());
                }
                let compared = look.comparison.as_mut().map_or(Ok(()), |compare| work.time(|| compare.chunk(bytes)));
                compared.map_err(|error| refused.insert(error).to_string())
            };
            let outcome = object.read(range, &mut sink).await;
            if let Some((start, end)) = work.span() {
                let span = Event::span(OpKind::Decode, self.lane, block.at, start, end);
                self.events.record(Event { object: self.name(&block.key), offset: next, ..span });
            }
            match outcome {
                Err(_) if let Some(refused) = refused => return Err(self.damaged(block, refused.to_string())),
                Ok(mut receipt) => {
                    work.take_from(&mut receipt.attempts);
                    self.record(&receipt.attempts, &block.key, block.at);
                    next += receipt.bytes;
                    if len.is_none_or(|len| receipt.bytes < len) {
                        break;
                    }
                }
                Err(error) => return Err(self.unreadable(error, block)),
            }
        }
        Ok(next - start)
    }

    async fn open(&self, block: &Block) -> Result<Box<dyn Object>, Error> {
        match self.checkpoints.storage.open(&block.key).await {
            Ok(object) => {
                self.record(object.opened(), &block.key, block.at);
                Ok(object)
            }
            Err(error) => Err(self.unreadable(error, block)),
        }
    }

    /// Checks the size of an object: some containers have a known length, others are larger than their tensors by an amount that depends on
    /// their writer.
    fn check_size(&self, block: &Block, size: u64) -> Result<(), Error> {
        match block.exact {
            Some(exact) if size != exact => {
                Err(self.damaged(block, format!("it has {size} bytes, its tensors need {exact}")))
            }
            None if size < block.least => {
                let what = format!("it has {size} bytes, its tensors alone need more than {}", block.least);
                Err(self.damaged(block, what))
            }
            _ => Ok(()),
        }
    }

    fn unreadable(&self, error: dlio_storage::Error, block: &Block) -> Error {
        if error.kind == ErrorKind::NotFound {
            self.record(&error.attempts, &block.key, block.at);
            let answer = crate::error::answer(&error);
            return Error::MissingCheckpoint { place: self.place(block.at), object: error.object, answer };
        }
        self.failed(error, &block.key, block.at)
    }

    fn damaged(&self, block: &Block, what: String) -> Error {
        let object = self.checkpoints.storage.uri(&block.key);
        Error::DamagedCheckpoint { place: self.place(block.at), object, what }
    }
}
