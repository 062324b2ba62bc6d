//! Looks at the whole data set: every rank at its share of the files, several at a time, against what was generated.
//!
//! Every byte of a file and of its index is compared with the file encoded again, labels and directories included; where
//! the layout verifies by checksums, every sample is read and its checksums computed. A bad file does not end the look:
//! the first one told is the one with the lowest number, whatever the ranks and lanes.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use dlio_event::{Event, OpKind, Phase, Position};
use dlio_format::{Decode, Encoder, FileShape, Layout};
use dlio_plan::{File, FileSet, GeneratePlan, Handles, SampleRead};
use dlio_storage::{ByteRange, ErrorKind, Recorder};

use crate::decoding::Work;
use crate::reader::{Halt, LaneStatus, ReadKit};
use crate::team::{Crew, FileWork, Team};
use crate::watch::Watch;
use crate::{CancelFlag, Error, ErrorClass, Rig, StallLimits};

const AT: Position = Position { phase: Phase::Setup, epoch: 0, block: 0, step: 0, sample: None };

/// How to look.
#[derive(Debug, Clone)]
pub struct VerifyOptions {
    /// Files that this rank looks at at the same time, each in a lane of its own; at least 1.
    pub inflight: u32,
    /// A wait of this length is reported to the observer, again after each further one; zero: never.
    pub stall_after: StallLimits,
    /// Ends the look early.
    pub cancel: CancelFlag,
}

/// What all ranks found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verified {
    /// Files looked at, bad ones included.
    pub files: u64,
    /// Samples in the good ones.
    pub samples: u64,
    /// Bytes read from the good ones, indexes included.
    pub bytes: u64,
    /// Bad files.
    pub bad: u64,
    /// The bad file with the lowest number.
    pub first: Option<BadFile>,
    /// From the first barrier to the last.
    pub duration: Duration,
}

/// A file that is not what the workload says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadFile {
    /// Combined number.
    pub file: u64,
    /// Its name, what was expected where, and what was found.
    pub reason: String,
}

/// Looks at this rank's files of the data set, together with all other ranks. Bad files are in the result.
///
/// # Errors
/// The storage cannot be used, or the look was cancelled; the caller then aborts the communicator.
pub async fn verify(
    plan: &GeneratePlan,
    files: &FileSet,
    layout: &Layout,
    rig: &Rig,
    options: VerifyOptions,
) -> Result<Verified, Error> {
    let mut watch = Watch::new(rig, options.cancel.clone(), options.stall_after);
    watch.check_cancelled(AT)?;
    watch.meet(AT, rig.comm.barrier()).await?;
    let start = rig.clock.now();
    let rank = rig.comm.place().rank;
    // Without a comparison of files as a whole, samples are read for their checksums; with one, for a better message.
    let decode = if layout.compares_files() { Decode::None } else { Decode::Verify };
    let inspector = |lane, halt| Inspector {
        kit: ReadKit {
            files: files.clone(),
            layout: layout.clone(),
            handles: Handles::PerSample,
            storage: rig.storage.clone(),
            clock: rig.clock.clone(),
            events: rig.events.clone(),
            recorder: RefCell::new(Recorder::new(rig.events.clone(), lane)),
            inflight: 1,
            rank,
            lane,
            halt,
            status: LaneStatus::new(),
            decode,
            indexes: RefCell::default(),
            footers: RefCell::default(),
            blocks: false,
            unclaimed: Cell::new(0),
        },
    };
    let lanes = options.inflight.clamp(1, u32::try_from(plan.total().max(1)).unwrap_or(u32::MAX));
    let crew = Crew { name: "verify", done: "read", lanes, at: AT, cancel: &options.cancel };
    let mut mine = Verified::default();
    let uri = |number| rig.storage.uri(&files.key(number));
    let numbers = plan.files(rank);
    rig.observer.verification_started(numbers.size_hint().1.map_or(0, |count| count as u64));
    let add = |seen| {
        mine.add(seen);
        rig.observer.file_verified();
    };
    let dealt = match Team::start(rig, &mut watch, &crew, inspector) {
        Ok(team) => team.deal(numbers, uri, &mut watch, add).await,
        Err(error) => Err(error),
    };
    watch.lanes_ended().await;
    dealt?;
    rig.observer.verification_ended();
    let all = watch.meet(AT, rig.comm.all_gather(&mine.to_wire())).await?;
    let mut world = all.iter().map(|wire| Verified::from_wire(wire)).fold(Verified::default(), Verified::merge);
    world.duration = Duration::from_nanos(rig.clock.now().saturating_sub(start));
    Ok(world)
}

impl Verified {
    fn add(&mut self, seen: Seen) {
        self.files += 1;
        match seen.outcome {
            Ok((samples, bytes)) => {
                self.samples += samples;
                self.bytes += bytes;
            }
            Err(reason) => {
                self.bad += 1;
                self.keep_first(BadFile { file: seen.file, reason });
            }
        }
    }

    fn keep_first(&mut self, bad: BadFile) {
        if self.first.as_ref().is_none_or(|first| bad.file < first.file) {
            self.first = Some(bad);
        }
    }

    fn merge(mut self, other: Self) -> Self {
        self.files += other.files;
        self.samples += other.samples;
        self.bytes += other.bytes;
        self.bad += other.bad;
        if let Some(bad) = other.first {
            self.keep_first(bad);
        }
        self
    }

    /// Counts, then the number and the reason of the first bad file.
    fn to_wire(&self) -> Vec<u8> {
        let (file, reason) = self.first.as_ref().map_or((0, ""), |bad| (bad.file, &bad.reason));
        let counts = [self.files, self.samples, self.bytes, self.bad, file];
        counts.iter().flat_map(|count| count.to_le_bytes()).chain(reason.bytes()).collect()
    }

    fn from_wire(wire: &[u8]) -> Self {
        let (counts, reason) = wire.split_at(wire.len().min(40));
        let mut counts = counts.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes));
        let mut next = || counts.next().unwrap_or(0);
        let (files, samples, bytes, bad, file) = (next(), next(), next(), next(), next());
        let reason = String::from_utf8_lossy(reason).into_owned();
        let first = (bad > 0).then_some(BadFile { file, reason });
        Self { files, samples, bytes, bad, first, duration: Duration::ZERO }
    }
}

/// What became of one file: its samples and bytes, or what is wrong with it.
struct Seen {
    file: u64,
    outcome: Result<(u64, u64), String>,
}

/// One lane.
struct Inspector {
    kit: ReadKit,
}

impl FileWork for Inspector {
    type Done = Seen;

    async fn file(&self, number: u64) -> Result<Seen, Error> {
        let file = self.kit.files.file(number);
        let looked = self.look(&file).await;
        // Nobody comes back to this file.
        self.kit.indexes.borrow_mut().clear();
        let outcome = match looked {
            Ok(bytes) => Ok((file.samples, bytes)),
            Err(error) if is_of_the_file(&error) => Err(chain(&error)),
            Err(error) => return Err(error),
        };
        Ok(Seen { file: number, outcome })
    }

    fn lane(&self) -> (&Arc<LaneStatus>, &Halt) {
        (&self.kit.status, &self.kit.halt)
    }
}

/// Whether the file is wrong, and not the storage.
fn is_of_the_file(error: &Error) -> bool {
    matches!(error.class(), ErrorClass::Corrupt | ErrorClass::Storage(ErrorKind::NotFound | ErrorKind::Corrupt))
}

/// An error and its sources in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}

impl Inspector {
    /// Looks at a file and its index; returns the bytes read.
    async fn look(&self, file: &File) -> Result<u64, Error> {
        let kit = &self.kit;
        if kit.halt.is_set() {
            return Err(Error::Cancelled { place: kit.place(AT) });
        }
        if kit.decode == Decode::Verify {
            return self.read_samples(file).await;
        }
        let shape = FileShape { file: file.combined, dims: &file.dims, samples: file.samples };
        let encoder = kit.layout.encoder(&shape).map_err(|source| Error::Encode {
            place: kit.place(AT),
            object: kit.storage.uri(&file.key),
            source,
        })?;
        let mut bytes = match self.compare(&file.key, encoder).await {
            Ok(bytes) => bytes,
            // What is wrong with the structure, if something is, says more than the first byte that differs.
            Err(error @ Error::Corrupt { .. }) => return Err(self.read_samples(file).await.err().unwrap_or(error)),
            Err(error) => return Err(error),
        };
        for ((_, key), (_, encoder)) in file.index_keys().into_iter().zip(kit.layout.index_encoders(&shape)) {
            bytes += self.compare(&key, encoder).await?;
        }
        Ok(bytes)
    }

    /// Reads every sample through the format's decoder.
    async fn read_samples(&self, file: &File) -> Result<u64, Error> {
        let kit = &self.kit;
        let mut open = kit.open(file, AT).await?;
        let mut bytes = 0;
        for sample in 0..file.samples {
            let read = SampleRead { index: sample, file: file.combined, sample };
            bytes += kit.read_sample(&mut open, read, AT).await?;
        }
        Ok(bytes)
    }

    /// Compares an object with what its encoder makes.
    async fn compare(&self, key: &str, encoder: Encoder) -> Result<u64, Error> {
        let kit = &self.kit;
        let name = kit.events.object(&kit.storage.uri(key));
        let object = kit.storage.open(key).await.map_err(|error| kit.storage_error(error, name, AT))?;
        kit.record(object.opened(), name, AT);
        let mut comparison = kit.layout.comparison(encoder);
        let mut work = Work::new(&*kit.clock, Decode::Verify);
        let mut refused = None;
        let mut sink = |chunk: &[u8]| {
            if kit.halt.is_set() {
                return Err("cancelled".to_owned());
            }
            work.time(|| comparison.chunk(chunk)).map_err(|error| refused.insert(error).to_string())
        };
        let outcome = object.read(ByteRange::ALL, &mut sink).await;
        let mut receipt = match (outcome, refused) {
            (Ok(receipt), _) => receipt,
            (Err(error), Some(refused)) => {
                kit.record(&error.attempts, name, AT);
                return Err(kit.corrupt(refused, key, AT));
            }
            (Err(error), None) => return Err(kit.storage_error(error, name, AT)),
        };
        work.take_from(&mut receipt.attempts);
        kit.record(&receipt.attempts, name, AT);
        if let Some((start, end)) = work.span() {
            let span = Event::span(OpKind::Decode, kit.lane, AT, start, end);
            kit.events.record(Event { bytes: receipt.bytes, object: name, ..span });
        }
        comparison.end().map_err(|error| kit.corrupt(error, key, AT))?;
        Ok(receipt.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bad_file_of_all_ranks_is_the_one_with_the_lowest_number() {
        let rank = |files, bad: &[(u64, &str)]| {
            let mut mine = Verified::default();
            for file in 0..files {
                mine.add(Seen { file: 100 + file, outcome: Ok((2, 10)) });
            }
            for &(file, reason) in bad {
                mine.add(Seen { file, outcome: Err(reason.to_owned()) });
            }
            Verified::from_wire(&mine.to_wire())
        };
        let world = [rank(3, &[]), rank(2, &[(9, "nine"), (7, "seven")]), rank(0, &[(8, "eight")])];
        let world = world.into_iter().fold(Verified::default(), Verified::merge);
        assert_eq!((world.files, world.samples, world.bytes, world.bad), (8, 10, 50, 3));
        assert_eq!(world.first, Some(BadFile { file: 7, reason: "seven".to_owned() }));
    }
}
