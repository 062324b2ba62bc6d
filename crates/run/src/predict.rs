//! Predicts the storage operations of a workload without storage or clock: its decoders read the files that its encoders produce.

use std::collections::BTreeMap;
use std::sync::Arc;

use dlio_analyze::fit::{Load, WorkloadPredictor};
use dlio_config::vocabulary::StorageType;
use dlio_config::{Source, Workload};
use dlio_engine::{FileReader, IndexReader, LaneFiles, Lookup, MapReader, ReaderState, Step};
use dlio_format::{Decode, Encoder, FileShape, Layout, SampleIndex};
use dlio_plan::{File, FileSet, Handles, LaneStep, SampleRead, Split, TrainingPlan, World};

use crate::layout::layout;

/// Predicts workloads on a number of ranks.
pub struct PlanPredictor {
    /// Number of ranks.
    pub ranks: u32,
}

/// Largest number of samples per epoch, and of bytes of files, that are simulated; the rest is extrapolated.
const SAMPLES: u64 = 4096;
const MADE_BYTES: u64 = 2 << 30;
/// Files up to this size in bytes are encoded once and kept while they are read.
const KEPT_BYTES: u64 = 64 << 20;
/// Number of files whose sizes represent those of the others.
const FILES: u64 = 64;
const PIECE_BYTES: usize = 1 << 20;

impl WorkloadPredictor for PlanPredictor {
    fn file_bytes(&self, yaml: &str) -> Option<f64> {
        let workload = workload(yaml)?;
        let (layout, files) = (layout(&workload).ok()?, FileSet::new(&workload).ok()?);
        let count = files.total().min(FILES);
        let bytes: Option<u64> =
            (0..count).map(|number| encoder(&layout, &files.file(number)).map(|file| file.len())).sum();
        bytes.map(|bytes| bytes as f64 / count as f64)
    }

    fn training(&self, yaml: &str) -> Option<Load> {
        let workload = workload(yaml)?;
        let plan = dlio_plan::training(&workload, World { size: self.ranks }).ok()?;
        let layout = layout(&workload).ok()?;
        let mut walk = Walk {
            plan: &plan,
            sized: workload.stored_on() != StorageType::S3,
            content: Content { layout: &layout, file: None, made: 0 },
            load: Load::default(),
        };
        // The sizes of the other files are equal to these or between them.
        let ranks = if self.ranks > 1 { vec![0, self.ranks - 1] } else { vec![0] };
        let (mut load, epochs) = (Load::default(), f64::from(plan.epochs()));
        for &rank in &ranks {
            let of_rank = walk.rank(rank)?;
            let share = f64::from(self.ranks) / ranks.len() as f64;
            load.bytes += of_rank.bytes * share;
            load.reads += of_rank.reads * share;
            load.opens += of_rank.opens * share;
        }
        Some(Load { steps: plan.steps(Split::Train) as f64 * epochs * f64::from(self.ranks), ..load })
    }

    fn checkpoint(&self, yaml: &str) -> Option<(f64, f64)> {
        let plan = dlio_plan::checkpoints(&workload(yaml)?, World { size: self.ranks }).ok()?;
        let files = plan.files(0);
        Some((files.len() as f64, files.iter().map(dlio_plan::CheckpointFile::bytes).sum::<u64>() as f64))
    }
}

/// Returns the bytes that a rank reads in the first epoch and in a later one, if all of its samples can be simulated; `sized`: opening
/// a file returns its size.
#[must_use]
pub fn rank_bytes(plan: &TrainingPlan, layout: &Layout, (rank, sized): (u32, bool)) -> Option<[u64; 2]> {
    let content = Content { layout, file: None, made: 0 };
    let mut walk = Walk { plan, sized, content, load: Load::default() };
    let mut lanes = Lane::all(plan, layout);
    walk.epoch((rank, 1), &mut lanes)?;
    let first = walk.load.bytes;
    walk.epoch((rank, 2.min(plan.epochs())), &mut lanes)?;
    Some([whole(first), whole(walk.load.bytes - first)])
}

/// Returns the mean number of bytes per sample that are read from the first file, opened as in the plan.
#[must_use]
pub fn bytes_per_sample(plan: &TrainingPlan, layout: &Layout, sized: bool) -> Option<f64> {
    let content = Content { layout, file: None, made: 0 };
    let mut walk = Walk { plan, sized, content, load: Load::default() };
    let samples = plan.files().samples_per_file();
    // Row groups are requested sequentially, independent of the order of samples.
    let handles = if plan.pipeline().is_some() { Handles::PerFile } else { plan.handles() };
    let mut lane = Lane::new(plan, layout, handles);
    let first = plan.files().file(0);
    if let Some(index) = lane.state.index_reader(&first) {
        walk.read_index(&first, index, &lane.state)?;
    }
    // If every sample opens its file, samples differ little; otherwise they are read in sequence.
    let most = if handles == Handles::PerSample { 16 } else { SAMPLES };
    let count = samples.min(most);
    let room = MADE_BYTES / 4;
    let mut read = 0;
    while read < count && walk.content.made < room {
        walk.sample(&mut lane, SampleRead { index: read, file: 0, sample: read })?;
        read += 1;
    }
    (read > 0).then(|| walk.load.bytes / read as f64)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a sum of numbers of bytes")]
fn whole(bytes: f64) -> u64 {
    bytes as u64
}

/// The counts before, plus a multiple of the counts since then.
fn extended(before: Load, all: Load, times: f64) -> Load {
    let more = |all: f64, before: f64| before + (all - before) * times;
    Load {
        bytes: more(all.bytes, before.bytes),
        reads: more(all.reads, before.reads),
        opens: more(all.opens, before.opens),
        ..all
    }
}

fn workload(yaml: &str) -> Option<Workload> {
    let source = Source { name: "fitted", yaml };
    dlio_config::load(&source, &[], &BTreeMap::new(), None).ok().map(|loaded| loaded.workload)
}

fn shape(file: &File) -> FileShape<'_> {
    FileShape { file: file.combined, dims: &file.dims, samples: file.samples }
}

fn encoder(layout: &Layout, file: &File) -> Option<Encoder> {
    layout.encoder(&shape(file)).ok()
}

/// A reader lane: its files that are open, and what it has read of their indexes and footers.
struct Lane {
    state: ReaderState,
    files: LaneFiles<FileReader>,
}

impl Lane {
    fn new(plan: &TrainingPlan, layout: &Layout, handles: Handles) -> Self {
        let state = ReaderState::for_plan(plan, layout, Decode::None);
        Self { state, files: LaneFiles::new(handles, plan.files().samples_per_file()) }
    }

    /// The lanes of a rank.
    fn all(plan: &TrainingPlan, layout: &Layout) -> Vec<Self> {
        (0..plan.lanes().max(1)).map(|_| Self::new(plan, layout, plan.handles())).collect()
    }
}

/// Simulates the reads of a plan.
struct Walk<'p> {
    plan: &'p TrainingPlan,
    /// Whether opening a file returns its size.
    sized: bool,
    content: Content<'p>,
    /// Counts of the rank.
    load: Load,
}

impl Walk<'_> {
    /// Simulates all epochs of a rank.
    fn rank(&mut self, rank: u32) -> Option<Load> {
        let mut lanes = Lane::all(self.plan, self.content.layout);
        self.load = Load::default();
        self.epoch((rank, 1), &mut lanes)?;
        let later = f64::from(self.plan.epochs().saturating_sub(1));
        if later > 0.0 {
            let first = self.load;
            self.epoch((rank, 2), &mut lanes)?;
            // All epochs after the first are equal to the second.
            self.load = extended(first, self.load, later);
        }
        Some(self.load)
    }

    /// Simulates an epoch, or the part from which the rest can be extrapolated.
    fn epoch(&mut self, (rank, epoch): (u32, u32), lanes: &mut [Lane]) -> Option<()> {
        let (before, room) = (self.load, self.content.made + MADE_BYTES);
        let most = SAMPLES.div_ceil(lanes.len() as u64);
        let mut read = 0;
        let mut is_whole = true;
        for (number, lane) in (0..).zip(lanes) {
            lane.files.end_pass();
            self.look_up((rank, epoch), number, lane)?;
            let mut of_lane = 0;
            let steps = self.plan.lane_steps(rank, Split::Train, epoch, number);
            for sample in steps.flat_map(|step: LaneStep| step.samples) {
                if of_lane == most || self.content.made >= room {
                    is_whole = false;
                    break;
                }
                self.sample(lane, sample)?;
                of_lane += 1;
            }
            read += of_lane;
        }
        let planned = self.plan.steps(Split::Train) * self.plan.batch_size(Split::Train);
        if !is_whole && read > 0 {
            self.load = extended(before, self.load, planned as f64 / read as f64);
        }
        Some(())
    }

    /// Simulates the look-ups of a reader before its first sample.
    fn look_up(&mut self, (rank, epoch): (u32, u32), number: u32, lane: &mut Lane) -> Option<()> {
        let lookups = self.plan.lookups(rank, Split::Train, epoch, number);
        if lookups.fresh {
            lane.state.forget_indexes();
        }
        for file in lookups.files.take(usize::try_from(SAMPLES).unwrap_or(usize::MAX)) {
            if lane.state.knows_index(file) {
                continue;
            }
            let file = self.plan.files().file(file);
            match lane.state.look_up(&file).ok()? {
                Lookup::Nothing => {}
                Lookup::Index(reader) => drop(self.read_index(&file, *reader, &lane.state)?),
                Lookup::Map(map) => self.map(&file, *map, &lane.state)?,
            }
        }
        Some(())
    }

    /// Reads the index files of a file.
    fn read_index(&mut self, file: &File, mut reader: IndexReader, state: &ReaderState) -> Option<Arc<SampleIndex>> {
        let mut encoders = self.content.layout.index_encoders(&shape(file));
        while let Some(kind) = reader.next_file() {
            let (_, encoder) = encoders.iter_mut().find(|(of, _)| *of == kind)?;
            let mut bytes = vec![0; usize::try_from(encoder.len()).ok()?];
            reader.size(kind, encoder.len()).ok()?;
            encoder.fill(&mut bytes);
            reader.chunk(kind, &bytes).ok()?;
            reader.end(kind).ok()?;
            self.load.opens += 1.0;
            self.load.reads += 1.0;
            self.load.bytes += bytes.len() as f64;
        }
        reader.finish(state).ok()
    }

    /// Maps a file and its index files.
    fn map(&mut self, file: &File, mut map: MapReader, state: &ReaderState) -> Option<()> {
        let indexes = self.content.layout.index_encoders(&shape(file));
        for (kind, _) in MapReader::files(file) {
            self.load.opens += 1.0;
            if self.sized {
                let index = indexes.iter().find(|(of, _)| Some(*of) == kind);
                let bytes = match index {
                    Some((_, encoder)) => encoder.len(),
                    None => self.content.len(file)?,
                };
                map.size(kind, bytes).ok()?;
            }
        }
        let index = match state.index_reader(file) {
            Some(reader) if map.needs_index() => Some(self.read_index(file, reader, state)?),
            _ => None,
        };
        map.finish(state, index).ok()
    }

    fn sample(&mut self, lane: &mut Lane, read: SampleRead) -> Option<()> {
        let Lane { state, files } = lane;
        if state.is_untouched() {
            return Some(());
        }
        let is_last = files.access(read.file);
        let file = self.plan.files().file(read.file);
        let reader = match files.get(read.file) {
            Some(reader) => reader,
            None => files.insert(read.file, self.open(&file, state)?),
        };
        reader.aim(read.sample).ok()?;
        loop {
            match reader.step(state) {
                Step::Read { offset, len } => {
                    self.load.reads += 1.0;
                    let bytes = self.content.read(&file, (offset, len), |bytes| reader.chunk(bytes).ok())?;
                    self.load.bytes += bytes as f64;
                    reader.end().ok()?;
                }
                Step::Size => reader.size(self.content.len(&file)?).ok()?,
                Step::Done => break,
            }
        }
        if is_last {
            files.close(read.file);
        }
        Some(())
    }

    fn open(&mut self, file: &File, state: &ReaderState) -> Option<FileReader> {
        self.load.opens += 1.0;
        let size = if self.sized { Some(self.content.len(file)?) } else { None };
        let mut reader = FileReader::new(state, file, size).ok()?;
        if let Some(index) = reader.take_index_reader() {
            reader.locate(self.read_index(file, *index, state)?).ok()?;
        }
        Some(reader)
    }
}

/// Content of the file that is being read.
struct Content<'p> {
    layout: &'p Layout,
    file: Option<Made>,
    /// Bytes that were encoded for all files.
    made: u64,
}

/// A partly encoded file.
struct Made {
    number: u64,
    encoder: Encoder,
    /// Number of bytes that the encoder has produced.
    position: u64,
    /// All bytes of a small file.
    kept: Vec<u8>,
}

impl Content<'_> {
    fn of(&mut self, file: &File) -> Option<&mut Made> {
        if self.file.as_ref().is_none_or(|made| made.number != file.combined) {
            let encoder = encoder(self.layout, file)?;
            self.file = Some(Made { number: file.combined, encoder, position: 0, kept: Vec::new() });
        }
        self.file.as_mut()
    }

    fn len(&mut self, file: &File) -> Option<u64> {
        self.of(file).map(|made| made.encoder.len())
    }

    /// Passes a range of the file on and returns its number of bytes.
    fn read(
        &mut self,
        file: &File,
        (offset, len): (u64, Option<u64>),
        mut sink: impl FnMut(&[u8]) -> Option<()>,
    ) -> Option<u64> {
        let end = self.len(file)?;
        let to = len.map_or(end, |len| offset.saturating_add(len).min(end));
        if end <= KEPT_BYTES {
            let made = self.of(file)?;
            if made.kept.is_empty() {
                made.kept = vec![0; usize::try_from(end).ok()?];
                made.encoder.fill(&mut made.kept);
                self.made += end;
            }
            let kept = &self.file.as_ref()?.kept;
            let range = usize::try_from(offset.min(to)).ok()?..usize::try_from(to).ok()?;
            sink(&kept[range])?;
            return Some(to.saturating_sub(offset));
        }
        if self.of(file)?.position > offset {
            self.file = None;
        }
        let mut buffer = vec![0; PIECE_BYTES];
        while self.of(file)?.position < to {
            let made = self.of(file)?;
            let next = if made.position < offset { offset } else { to };
            let room = usize::try_from(next - made.position).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
            let count = made.encoder.fill(&mut buffer[..room]);
            let wanted = made.position >= offset;
            made.position += count as u64;
            self.made += count as u64;
            if count == 0 {
                break;
            }
            if wanted {
                sink(&buffer[..count])?;
            }
        }
        Some(to.saturating_sub(offset))
    }
}

#[cfg(test)]
mod tests;
