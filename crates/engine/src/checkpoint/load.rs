//! Loading: every file is read whole and its bytes are dropped; what is checked is that all of them are there, and with
//! verification, that each is what saving it writes.

use dlio_event::{CheckpointTimings, Event, Nanos, OpKind, Position};
use dlio_format::checkpoint::{Container, Ends};
use dlio_format::{Comparison, Decode, Encoder};
use dlio_plan::CheckpointFile;
use dlio_storage::{ByteRange, ErrorKind, Object};

use super::lane::{Done, Job, Worker};
use super::{Keeper, Moment, Parts, key, objects, state};
use crate::Error;
use crate::decoding::Work;
use crate::watch::Watch;

/// Blocks of a file are at least so long: more requests than that gain nothing.
const BLOCK_MIN: u64 = 1 << 20;

/// One of the contiguous blocks of a file.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) at: Position,
    pub(super) key: String,
    /// From 0.
    pub(super) number: u32,
    /// Blocks of the file.
    pub(super) of: u32,
    /// Size of the file, where it was asked for.
    pub(super) size: Option<u64>,
    /// Bytes that the object must have, where that does not depend on who wrote it.
    pub(super) exact: Option<u64>,
    /// Bytes that it must have at least: its tensors.
    pub(super) least: u64,
    /// What it is compared with.
    pub(super) expected: Option<Encoder>,
}

/// What the bytes of an object pass through.
struct Look {
    ends: Ends,
    /// Of an object that is read front to back.
    comparison: Option<Comparison>,
}

impl Block {
    /// The bytes of the block in a file of this size.
    fn range(&self, size: u64) -> (u64, u64) {
        let of = u64::from(self.of).min(size.div_ceil(BLOCK_MIN)).max(1);
        let number = u64::from(self.number);
        if number >= of {
            return (size, size);
        }
        let len = size / of;
        (number * len, if number + 1 == of { size } else { (number + 1) * len })
    }
}

impl Keeper<'_> {
    /// Loads a checkpoint; also returns the bytes read.
    pub(crate) async fn load(
        &mut self,
        watch: &mut Watch<'_>,
        moment: Moment,
    ) -> Result<(CheckpointTimings, u64), Error> {
        let at = moment.position();
        let plan = self.plan();
        let place = self.rig.comm.place();
        let folder = plan.folder(moment.epoch, moment.step);
        let files = plan.files(plan.loads_files_of(place.rank, place.local_size));
        self.tell_start(moment, true);
        let start = self.rig.clock.now();
        let (mut parts, mut bytes) = (Parts::new(true), 0);
        for file in &files {
            let (read, span) = self.load_file(watch, at, (&folder, file)).await?;
            bytes += read;
            parts.add(file.part, span, self.rig);
        }
        parts.tell(self.rig);
        let end = self.rig.clock.now();
        Ok((CheckpointTimings { number: moment.number, load: true, start, end }, bytes))
    }

    /// Has the lanes read one file, and waits for all of them.
    async fn load_file(
        &mut self,
        watch: &mut Watch<'_>,
        at: Position,
        (folder, file): (&str, &CheckpointFile),
    ) -> Result<(u64, (Nanos, Nanos)), Error> {
        let start = self.rig.clock.now();
        let container = self.checkpoints.container;
        let failed = |source| Error::Checkpoint {
            place: watch.place(at),
            object: self.checkpoints.storage.uri(&key(folder, &file.name)),
            source,
        };
        let state = state(file).map_err(failed)?;
        let verify = self.checkpoints.loading.verify;
        let mut saved = if verify { objects(self.checkpoints, folder, file).map_err(failed)? } else { Vec::new() };
        let mut sum = 0;
        for name in container.names(&file.name) {
            let exact = container.exact_len(&name, &state);
            // An archive has more than its tensors; an index has none of them.
            let least = if container == Container::Torch { file.bytes() } else { 0 };
            let key = key(folder, &name);
            let expected = saved.iter().position(|(saved, _)| *saved == key).map(|index| saved.swap_remove(index).1);
            let block = Block { at, key, number: 0, of: 1, size: None, exact, least, expected };
            sum += self.load_object(watch, block).await?;
        }
        Ok((sum, (start, self.rig.clock.now())))
    }

    /// Has the lanes read one object, each a block of it.
    async fn load_object(&mut self, watch: &mut Watch<'_>, block: Block) -> Result<u64, Error> {
        let at = block.at;
        let of = if block.expected.is_some() { 1 } else { u32::try_from(self.team.size()).unwrap_or(1) };
        let mut block = Block { of, ..block };
        if of > 1 {
            // Where opening a file tells its size this costs nothing.
            match self.team.ask(watch, at, Job::Size(block.clone())).await? {
                Done::Size(size) => block.size = Some(size),
                other => return Err(self.team.defect(at, &other)),
            }
        }
        for number in 0..of {
            self.team.give(number as usize, Job::Read(Block { number, ..block.clone() }));
        }
        let mut sum = 0;
        for _ in 0..of {
            match self.team.next(watch, at).await? {
                Done::Read(bytes) => sum += bytes,
                other => return Err(self.team.defect(at, &other)),
            }
        }
        Ok(sum)
    }
}

impl Worker {
    /// Size of a file.
    pub(super) async fn size(&self, block: &Block) -> Result<Done, Error> {
        let object = self.open(block).await?;
        if let Some(size) = object.size() {
            return Ok(Done::Size(size));
        }
        match self.checkpoints.storage.stat(&block.key).await {
            Ok((metadata, receipt)) => {
                self.record(&receipt.attempts, &block.key, block.at);
                Ok(Done::Size(metadata.size))
            }
            Err(error) => Err(self.unreadable(error, block)),
        }
    }

    /// Reads a block.
    pub(super) async fn read(&self, block: Block) -> Result<Done, Error> {
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
        let ends = Ends::new(self.checkpoints.container, &block.key);
        let comparison = block.expected.clone().map(|encoder| Comparison::new(self.checkpoints.payload, encoder));
        let mut look = Look { ends, comparison };
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
        look.ends.check(size, first, last).map_err(|source| self.damaged(&block, source.to_string()))?;
        Ok(Done::Read(bytes))
    }

    /// Reads from one offset up to another (to the end of the file), in reads of the configured size.
    async fn read_range(
        &self,
        object: &dyn Object,
        block: &Block,
        (start, end): (u64, Option<u64>),
        look: &mut Look,
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
            let (mut work, mut refused) = (Work::new(&*self.clock, decode), None);
            let mut sink = |bytes: &[u8]| {
                look.ends.see(bytes);
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

    /// Some containers have a known length; others have more than their tensors, and how much more depends on who wrote
    /// them.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_a_file_without_gaps() {
        for size in [0, 1, 5, BLOCK_MIN, 3 * BLOCK_MIN + 1, 4 * BLOCK_MIN + 3] {
            let mut next = 0;
            for number in 0..4 {
                let at = Position::default();
                let block =
                    Block { at, key: String::new(), number, of: 4, size: None, exact: None, least: 0, expected: None };
                let (start, end) = block.range(size);
                if start < end {
                    assert_eq!(start, next, "{size}");
                    next = end;
                }
            }
            assert_eq!(next, size);
        }
    }
}
