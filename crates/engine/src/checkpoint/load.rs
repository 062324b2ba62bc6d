//! Loads of checkpoints: every file is read completely and its bytes are dropped. A load checks that all files exist and have plausible
//! sizes; with verification, it compares all bytes with those that a save writes.

use dlio_event::{CheckpointTimings, Nanos, Position};
use dlio_format::checkpoint::Container;
use dlio_plan::CheckpointFile;

use super::job::{Block, Job, JobDone};
use super::objects::{key, objects, state};
use super::saver::{CheckpointAt, CheckpointSaver, Parts};
use crate::Error;
use crate::watchdog::Watchdog;

impl CheckpointSaver<'_> {
    /// Loads a checkpoint; also returns the number of bytes read.
    pub(crate) async fn load(
        &mut self,
        watchdog: &mut Watchdog<'_>,
        moment: CheckpointAt,
    ) -> Result<(CheckpointTimings, u64), Error> {
        let at = moment.position();
        let plan = self.plan();
        let place = self.rig.comm.place();
        let folder = plan.folder(moment.epoch, moment.step);
        let files = plan.files(plan.loads_files_of(place.rank, place.local_size));
        self.report_start(moment, true);
        let start = self.rig.clock.now();
        let (mut parts, mut bytes) = (Parts::new(true), 0);
        for file in &files {
            let (read, span) = self.load_file(watchdog, at, (&folder, file)).await?;
            bytes += read;
            parts.add(file.part, span, self.rig);
        }
        parts.report(self.rig);
        let end = self.rig.clock.now();
        Ok((CheckpointTimings { number: moment.number, load: true, start, end }, bytes))
    }

    /// Reads one file with all lanes; returns the number of bytes, and start and end of the read.
    async fn load_file(
        &mut self,
        watchdog: &mut Watchdog<'_>,
        at: Position,
        (folder, file): (&str, &CheckpointFile),
    ) -> Result<(u64, (Nanos, Nanos)), Error> {
        let start = self.rig.clock.now();
        let container = self.checkpoints.container;
        let failed = |source| Error::Checkpoint {
            place: watchdog.place(at),
            object: self.checkpoints.storage.uri(&key(folder, &file.name)),
            source,
        };
        let state = state(file).map_err(failed)?;
        let verify = self.checkpoints.loading.verify;
        let mut saved = if verify { objects(self.checkpoints, folder, file).map_err(failed)? } else { Vec::new() };
        let mut sum = 0;
        for name in container.names(&file.name) {
            let exact = container.exact_len(&name, &state);
            // An archive is larger than its tensors; an index file contains no tensors.
            let least = if container == Container::Torch { file.bytes() } else { 0 };
            let key = key(folder, &name);
            let expected = saved.iter().position(|(saved, _)| *saved == key).map(|index| saved.swap_remove(index).1);
            let block = Block { at, key, number: 0, of: 1, size: None, exact, least, expected };
            sum += self.load_object(watchdog, block).await?;
        }
        Ok((sum, (start, self.rig.clock.now())))
    }

    /// Reads one object with all lanes, each of which reads a block; returns the number of bytes.
    async fn load_object(&mut self, watchdog: &mut Watchdog<'_>, block: Block) -> Result<u64, Error> {
        let at = block.at;
        let of = if block.expected.is_some() { 1 } else { u32::try_from(self.lanes.size()).unwrap_or(1) };
        let mut block = Block { of, ..block };
        if of > 1 {
            // On storage where opening reports the size, this sends no request.
            match self.lanes.request(watchdog, at, Job::Size(block.clone())).await? {
                JobDone::Size(size) => block.size = Some(size),
                other => return Err(self.lanes.defect(at, &other)),
            }
        }
        for number in 0..of {
            self.lanes.send(number as usize, Job::Read(Block { number, ..block.clone() }));
        }
        let mut sum = 0;
        for _ in 0..of {
            match self.lanes.next(watchdog, at).await? {
                JobDone::Read(bytes) => sum += bytes,
                other => return Err(self.lanes.defect(at, &other)),
            }
        }
        Ok(sum)
    }
}
