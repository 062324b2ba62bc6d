//! Verification of the dataset: every rank compares its share of the files, several at a time, with their generated content.
//!
//! Every byte of a file and of its index files is compared with the file encoded again, including labels and directories. If the layout
//! verifies by checksums, every sample is read and its checksums are compared instead. Verification continues after a bad file, and the
//! reported file is the one with the lowest number, independent of ranks and lanes.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use dlio_event::{Event, OpKind, Phase, Position};
use dlio_format::{Decode, Encoder, FileShape, Layout};
use dlio_plan::{File, FileSet, GeneratePlan, Handles, SampleRead};
use dlio_storage::{ByteRange, ErrorKind, Recorder};

use crate::decode_timer::DecodeTimer;
use crate::lane_context::LaneContext;
use crate::lane_files::ReaderState;
use crate::lane_status::{Halt, LaneStatus};
use crate::watchdog::Watchdog;
use crate::work_queue::{FileWork, WorkQueue, WorkQueueOptions};
use crate::{CancelFlag, Error, ErrorClass, Rig, StallLimits};

const AT: Position = Position { phase: Phase::Setup, epoch: 0, block: 0, step: 0, sample: None };

/// Options of a verification.
#[derive(Debug, Clone)]
pub struct VerifyOptions {
    /// Number of files that this rank verifies at the same time, each in its own lane; at least 1.
    pub inflight: u32,
    /// Limits after which long waits are reported and the run is ended.
    pub stall_after: StallLimits,
    /// Cancels the verification.
    pub cancel: CancelFlag,
}

/// Result of a verification, of all ranks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verified {
    /// Number of files, including bad ones.
    pub files: u64,
    /// Number of samples in good files.
    pub samples: u64,
    /// Number of bytes read from good files and their index files.
    pub bytes: u64,
    /// Number of bad files.
    pub bad: u64,
    /// The bad file with the lowest number.
    pub first: Option<BadFile>,
    /// Time from the first barrier to the last.
    pub duration: Duration,
}

/// A file that differs from what the workload describes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadFile {
    /// Combined number of the file.
    pub file: u64,
    /// Name of the file, with the expected and the actual content.
    pub reason: String,
}

/// Verifies this rank's files of the dataset, in step with all other ranks. Bad files are part of the result.
///
/// # Errors
/// The storage failed, or the verification was cancelled; the caller then aborts the communicator.
pub async fn verify(
    plan: &GeneratePlan,
    files: &FileSet,
    layout: &Layout,
    rig: &Rig,
    options: VerifyOptions,
) -> Result<Verified, Error> {
    let mut watchdog = Watchdog::new(rig, options.cancel.clone(), options.stall_after);
    watchdog.check_cancelled(AT)?;
    watchdog.collective(AT, rig.comm.barrier()).await?;
    let start = rig.clock.now();
    let rank = rig.comm.place().rank;
    // If whole files are not compared, samples are read for their checksums; otherwise they are read only for a better error message.
    let decode = if layout.compares_files() { Decode::None } else { Decode::Verify };
    let inspector = |lane, halt| Inspector {
        context: LaneContext {
            files: files.clone(),
            state: ReaderState::new(layout.clone(), decode),
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
            blocks: false,
            unclaimed: Cell::new(0),
        },
    };
    let lanes = options.inflight.clamp(1, u32::try_from(plan.total().max(1)).unwrap_or(u32::MAX));
    let queue_options = WorkQueueOptions { name: "verify", done: "read", lanes, at: AT, cancel: &options.cancel };
    let mut mine = Verified::default();
    let uri = |number| rig.storage.uri(&files.name(number));
    let numbers = plan.files(rank);
    rig.observer.verification_started(numbers.size_hint().1.map_or(0, |count| count as u64));
    let add = |seen| {
        mine.add(seen);
        rig.observer.file_verified();
    };
    let outcome = match WorkQueue::start(rig, &mut watchdog, &queue_options, inspector) {
        Ok(queue) => queue.run(numbers, uri, &mut watchdog, add).await,
        Err(error) => Err(error),
    };
    watchdog.lanes_ended().await;
    outcome?;
    rig.observer.verification_ended();
    let all = watchdog.collective(AT, rig.comm.all_gather(&mine.to_wire())).await?;
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

    /// Encodes the counts, then the number of and reason for the first bad file.
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

/// Result of one file: its numbers of samples and bytes, or the reason why it is bad.
struct Seen {
    file: u64,
    outcome: Result<(u64, u64), String>,
}

/// A verification lane.
struct Inspector {
    context: LaneContext,
}

impl FileWork for Inspector {
    type Done = Seen;

    async fn file(&self, number: u64) -> Result<Seen, Error> {
        let file = self.context.files.file(number);
        let looked = self.look(&file).await;
        // Each file is visited once.
        self.context.state.forget_indexes();
        let outcome = match looked {
            Ok(bytes) => Ok((file.samples, bytes)),
            Err(error) if is_of_the_file(&error) => Err(chain(&error)),
            Err(error) => return Err(error),
        };
        Ok(Seen { file: number, outcome })
    }

    fn lane(&self) -> (&Arc<LaneStatus>, &Halt) {
        (&self.context.status, &self.context.halt)
    }
}

/// Returns whether the error concerns the file rather than the storage.
fn is_of_the_file(error: &Error) -> bool {
    matches!(error.class(), ErrorClass::Corrupt | ErrorClass::Storage(ErrorKind::NotFound | ErrorKind::Corrupt))
}

/// Formats an error and its sources in one line.
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
    /// Verifies a file and its index files; returns the number of bytes read.
    async fn look(&self, file: &File) -> Result<u64, Error> {
        let context = &self.context;
        if context.halt.is_set() {
            return Err(Error::Cancelled { place: context.place(AT) });
        }
        if context.state.decode() == Decode::Verify {
            return self.read_samples(file).await;
        }
        let shape = FileShape { file: file.combined, dims: &file.dims, samples: file.samples };
        let encoder = context.state.layout().encoder(&shape).map_err(|source| Error::Encode {
            place: context.place(AT),
            object: context.storage.uri(&file.key),
            source,
        })?;
        let mut bytes = match self.compare(&file.key, encoder).await {
            Ok(bytes) => bytes,
            // An error in the structure, if there is one, is more helpful than the offset of the first different byte.
            Err(error @ Error::Corrupt { .. }) => return Err(self.read_samples(file).await.err().unwrap_or(error)),
            Err(error) => return Err(error),
        };
        for ((_, key), (_, encoder)) in file.index_keys().into_iter().zip(context.state.layout().index_encoders(&shape))
        {
            bytes += self.compare(&key, encoder).await?;
        }
        Ok(bytes)
    }

    /// Reads every sample through the format's decoder; returns the number of bytes read.
    async fn read_samples(&self, file: &File) -> Result<u64, Error> {
        let context = &self.context;
        let mut open = context.open(file, AT).await?;
        let mut bytes = 0;
        for sample in 0..file.samples {
            let read = SampleRead { index: sample, file: file.combined, sample };
            bytes += context.read_sample(&mut open, read, AT).await?;
        }
        Ok(bytes)
    }

    /// Compares an object with the output of its encoder; returns the number of bytes read.
    async fn compare(&self, key: &str, encoder: Encoder) -> Result<u64, Error> {
        let context = &self.context;
        let name = context.events.object(&context.storage.uri(key));
        let object = context.storage.open(key).await.map_err(|error| context.storage_error(error, name, AT))?;
        context.record(object.opened(), name, AT);
        let mut comparison = context.state.layout().comparison(encoder);
        let mut work = DecodeTimer::new(&*context.clock, Decode::Verify);
        let mut refused = None;
        let mut sink = |chunk: &[u8]| {
            if context.halt.is_set() {
                return Err("cancelled".to_owned());
            }
            work.time(|| comparison.chunk(chunk)).map_err(|error| refused.insert(error).to_string())
        };
        let outcome = object.read(ByteRange::ALL, &mut sink).await;
        let mut receipt = match (outcome, refused) {
            (Ok(receipt), _) => receipt,
            (Err(error), Some(refused)) => {
                context.record(&error.attempts, name, AT);
                return Err(context.corrupt(refused, key, AT));
            }
            (Err(error), None) => return Err(context.storage_error(error, name, AT)),
        };
        work.take_from(&mut receipt.attempts);
        context.record(&receipt.attempts, name, AT);
        if let Some((start, end)) = work.span() {
            let span = Event::span(OpKind::Decode, context.lane, AT, start, end);
            context.events.record(Event { bytes: receipt.bytes, object: name, ..span });
        }
        comparison.end().map_err(|error| context.corrupt(error, key, AT))?;
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
