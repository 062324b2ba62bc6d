//! The reader of one lane, which reads samples step by step.

use dlio_event::{Event, OpKind, Position};
use dlio_plan::{Handles, LaneStep, Piece, SampleRead, StepWork};
use futures::{StreamExt as _, TryStreamExt as _};

use crate::Error;
use crate::blocking_pool::BlockingPool;
use crate::lane_context::{LaneContext, OpenFile};
use crate::lane_files::LaneFiles;
use crate::orders::Pass;
use crate::request::Request;

/// The reader of one lane, with its open files.
pub(crate) struct Reader<'c> {
    context: &'c LaneContext,
    files: LaneFiles<OpenFile>,
    /// Threads for samples in flight on storage whose reads block.
    pool: Box<BlockingPool<'c>>,
}

impl<'c> Reader<'c> {
    pub(crate) fn new(context: &'c LaneContext) -> Self {
        let pool = Box::new(BlockingPool::new(context));
        pool.set_limit(u32::try_from(context.inflight).unwrap_or(u32::MAX));
        let files = LaneFiles::new(context.handles, context.files.samples_per_file());
        Self { context, files, pool }
    }

    /// Ends the epoch or evaluation for this lane.
    pub(crate) fn end_pass(&mut self) {
        self.files.end_pass();
    }

    /// Reads the samples of one step; returns the number of bytes.
    pub(crate) async fn read(&mut self, pass: Pass, work: &mut StepWork, step: &LaneStep) -> Result<u64, Error> {
        let context = self.context;
        let at = Position { step: u32::try_from(step.step).unwrap_or(u32::MAX), ..pass.at };
        let start = context.clock.now();
        if let Some(lookups) = work.lookups.take() {
            context.look_up(lookups, pass.at).await?;
        }
        let mut bytes = 0;
        if context.handles == Handles::PerSample && context.inflight > 1 {
            bytes += self.read_together(work, step, at).await?;
        } else {
            for read in &step.samples {
                bytes += self.read_one(work, *read, sample_at(at, read)).await?;
            }
        }
        let span = Event::span(OpKind::Batch, context.lane, at, start, context.clock.now());
        context.events.record(Event { bytes, ..span });
        context.status.clear();
        Ok(bytes)
    }

    /// Reads the samples of a step with several in flight, on this thread, or on helper threads if reads block.
    async fn read_together(&self, work: &mut StepWork, step: &LaneStep, at: Position) -> Result<u64, Error> {
        let context = self.context;
        let pauses = std::iter::from_fn(|| Some(work.preprocess.next().unwrap_or_default()));
        let reads: Vec<_> = step
            .samples
            .iter()
            .zip(pauses)
            .map(|(read, pause)| async move {
                if !context.blocks || context.state.is_untouched() {
                    return context.read_alone(*read, sample_at(at, read), pause).await;
                }
                let SampleRead { index, file, sample } = *read;
                // Helper threads keep no state, so the index of the file is read once, here.
                context.look_up_index(&context.files.file(file), at).await?;
                let piece = Piece { step: step.step, index, file, sample, samples: 1 };
                let bytes = self.pool.fetch(Request::Piece(piece), at).await?;
                context.preprocess(sample_at(at, read), pause).await;
                Ok(bytes)
            })
            .collect();
        let mut reads = futures::stream::iter(reads).buffer_unordered(context.inflight);
        let mut bytes = 0;
        while let Some(read) = reads.try_next().await? {
            bytes += read;
        }
        Ok(bytes)
    }

    async fn read_one(&mut self, work: &mut StepWork, read: SampleRead, at: Position) -> Result<u64, Error> {
        let context = self.context;
        let pause = work.preprocess.next().unwrap_or_default();
        if context.state.is_untouched() {
            context.view(read, at);
            context.preprocess(at, pause).await;
            return Ok(0);
        }
        if context.handles == Handles::PerSample {
            return context.read_alone(read, at, pause).await;
        }
        let is_last = self.files.access(read.file);
        let open = match self.files.get(read.file) {
            Some(open) => open,
            None => self.files.insert(read.file, context.open(&context.files.file(read.file), at).await?),
        };
        let bytes = context.read_sample(open, read, at).await?;
        if is_last {
            self.files.close(read.file);
        }
        context.preprocess(at, pause).await;
        Ok(bytes)
    }
}

fn sample_at(at: Position, read: &SampleRead) -> Position {
    Position { sample: Some(read.index), ..at }
}
