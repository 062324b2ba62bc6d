//! Checkpoints of one rank: their files are streamed from the format's encoders by a lane, and read back by one or more.
//!
//! Invariant: no file of a checkpoint appears under its name before every rank has stored all of its files. Until then
//! they are staged (temporary files, uploads that are not completed), and they are published after the first barrier
//! that follows. So a rank that dies while it saves leaves nothing that looks like a checkpoint. A checkpoint that is to be
//! replaced is removed before the first byte of the new one is stored, for the same reason.
//!
//! The time of a checkpoint is what the reference times: from the first file's first byte to the last file's last, on this
//! rank alone. A run that only takes checkpoints adds the time that publishing took this rank, but not the wait before it;
//! in a training run publishing comes after the barrier of the next step.
//!
//! Memory: one chunk buffer per lane (on S3 the parts in flight of one object), whatever the size of the model.

mod alone;
mod lane;
mod load;
mod team;

use std::sync::Arc;
use std::time::Duration;

use dlio_event::{CheckpointTimings, Event, Lane, Nanos, OpKind, Phase, Position};
use dlio_format::Encoder;
use dlio_format::checkpoint::{self, Container, Content, State};
use dlio_format::payload::Payload;
use dlio_plan::checkpoint::DuringTraining;
use dlio_plan::{CheckpointFile, CheckpointPart, CheckpointPlan};
use dlio_storage::{Staged, Storage};

pub use alone::checkpoint;
use lane::{Done, Job};
use team::Team;

use crate::watch::Watch;
use crate::{CancelFlag, CheckpointStarted, Error, PartDone, Rig};

/// What a run needs for its checkpoints.
#[derive(Clone)]
pub struct Checkpoints {
    /// Who writes what, and when.
    pub plan: CheckpointPlan,
    /// What the files are.
    pub container: Container,
    /// What the tensors are filled with.
    pub payload: Payload,
    /// Random elements rather than ones (`checkpoint.randomize_tensor`).
    pub randomize: bool,
    /// Where they go; keys are relative to `checkpoint.checkpoint_folder`.
    pub storage: Arc<dyn Storage>,
    /// How they are read.
    pub loading: Loading,
}

impl std::fmt::Debug for Checkpoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checkpoints").field("storage", &self.storage.uri("")).finish_non_exhaustive()
    }
}

/// How a checkpoint's files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loading {
    /// Contiguous blocks of a file that are read at the same time, each by a lane of its own; 1: front to back.
    pub blocks: u32,
    /// Largest read in bytes; `None`: a block, or the whole file, in one.
    pub read_bytes: Option<u64>,
    /// Every byte is compared with what saving it writes; a file is then read front to back by one lane.
    pub verify: bool,
}

impl Default for Loading {
    fn default() -> Self {
        Self { blocks: 1, read_bytes: None, verify: false }
    }
}

/// Where in a run a checkpoint is taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// Epoch, from 1.
    pub(crate) epoch: u32,
    /// Number in the keys of the statistics: that of the block which it ends.
    pub(crate) number: u32,
    /// Steps done, as the reference's messages say it.
    pub(crate) steps: u64,
    /// Number of the checkpoint's folder.
    pub(crate) step: u64,
}

impl Moment {
    fn position(self) -> Position {
        let step = u32::try_from(self.step).unwrap_or(u32::MAX);
        Position { phase: Phase::Checkpoint, epoch: self.epoch, block: self.number, step, sample: None }
    }
}

/// Saves and loads the checkpoints of this rank.
pub(crate) struct Keeper<'r> {
    checkpoints: &'r Checkpoints,
    rig: &'r Rig,
    team: Team<'r>,
    /// Folders that were there before the run, and those that it has written.
    present: Vec<String>,
    /// Stored, and not to be seen before all ranks are done.
    pending: Vec<Staged>,
    pending_at: Position,
}

impl<'r> Keeper<'r> {
    /// Starts the lanes and looks at what the folder holds; every rank calls it.
    pub(crate) async fn start(
        checkpoints: &'r Checkpoints,
        rig: &'r Rig,
        watch: &mut Watch<'_>,
        cancel: &CancelFlag,
    ) -> Result<Self, Error> {
        let team = Team::start(checkpoints, rig, cancel)?;
        let mut keeper =
            Self { checkpoints, rig, team, present: Vec::new(), pending: Vec::new(), pending_at: Position::default() };
        if keeper.writes() && rig.comm.place().rank == 0 {
            keeper.team.ask(watch, Position::default(), Job::Create).await?;
        }
        keeper.look(watch).await?;
        Ok(keeper)
    }

    pub(crate) fn plan(&self) -> &'r CheckpointPlan {
        &self.checkpoints.plan
    }

    /// Whether the run saves anything.
    fn writes(&self) -> bool {
        let plan = self.plan();
        let during = plan.during_training().is_some_and(|schedule| schedule != DuringTraining::Never);
        during || plan.alone().is_some_and(|alone| alone.writes > 0)
    }

    /// Rank 0 lists the folder and tells all ranks which checkpoints it holds.
    async fn look(&mut self, watch: &mut Watch<'_>) -> Result<(), Error> {
        let at = Position::default();
        let mut names = Vec::new();
        if self.rig.comm.place().rank == 0 {
            let done = self.team.ask(watch, at, Job::Look).await?;
            if let Done::Looked(found) = done {
                names = found.join("\n").into_bytes();
            }
        }
        let names = watch.meet(at, self.rig.comm.broadcast(&names)).await?;
        self.present = String::from_utf8_lossy(&names).lines().map(str::to_owned).collect();
        Ok(())
    }

    /// How many checkpoints the folder holds.
    pub(crate) async fn count(&mut self, watch: &mut Watch<'_>) -> Result<u64, Error> {
        self.look(watch).await?;
        Ok(self.present.len() as u64)
    }

    /// Saves a checkpoint; it appears with [`Keeper::publish`], once all ranks have met.
    pub(crate) async fn save(&mut self, watch: &mut Watch<'_>, moment: Moment) -> Result<CheckpointTimings, Error> {
        let at = moment.position();
        let plan = self.plan();
        let folder = plan.folder(moment.epoch, moment.step);
        let files = plan.files(self.rig.comm.place().rank);
        if self.present.contains(&folder) {
            let job = Job::Clear { at, folder: folder.clone(), files: files.clone() };
            self.team.ask(watch, at, job).await?;
        } else {
            self.present.push(folder.clone());
        }
        self.tell_start(moment, false);
        let start = self.rig.clock.now();
        let mut parts = Parts::new(false);
        self.pending_at = at;
        if !files.is_empty() {
            self.team.give(0, Job::Save { at, folder, files });
            loop {
                match self.team.next(watch, at).await? {
                    Done::Stored { part, span, staged } => {
                        self.pending.push(*staged);
                        parts.add(part, span, self.rig);
                    }
                    Done::Finished => break,
                    other => return Err(self.team.defect(at, &other)),
                }
            }
        }
        parts.tell(self.rig);
        let end = self.rig.clock.now();
        Ok(CheckpointTimings { number: moment.number, load: false, start, end })
    }

    /// Whether files wait for all ranks.
    pub(crate) fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Lets what was saved appear; all ranks have met since. Returns how long that took.
    pub(crate) async fn publish(&mut self, watch: &mut Watch<'_>) -> Result<Nanos, Error> {
        if self.pending.is_empty() {
            return Ok(0);
        }
        let start = self.rig.clock.now();
        let staged = std::mem::take(&mut self.pending);
        let at = self.pending_at;
        // Kept until it is done: what a failure leaves behind must still be discarded.
        self.pending.clone_from(&staged);
        self.team.ask(watch, at, Job::Publish { at, staged }).await?;
        self.pending.clear();
        Ok(self.rig.clock.now().saturating_sub(start))
    }

    /// Records and tells a checkpoint that is over.
    pub(crate) fn finish(&self, moment: Moment, timings: &CheckpointTimings, bytes: u64) {
        let kind = if timings.load { OpKind::CheckpointLoad } else { OpKind::CheckpointSave };
        let span = Event::span(kind, Lane::MAIN, moment.position(), timings.start, timings.end);
        self.rig.events.record(Event { bytes, ..span });
        self.rig.observer.checkpoint_ended(moment.epoch, timings);
    }

    /// Bytes of tensors that this rank saves, or loads, with one checkpoint.
    pub(crate) fn rank_bytes(&self) -> u64 {
        self.plan().rank_bytes(self.rig.comm.place().rank)
    }

    /// Name of the folder of all checkpoints.
    pub(crate) fn folder_uri(&self) -> String {
        self.checkpoints.storage.uri("").trim_end_matches('/').to_owned()
    }

    fn tell_start(&self, moment: Moment, load: bool) {
        let Moment { epoch, number, steps, .. } = moment;
        self.rig.observer.checkpoint_started(&CheckpointStarted { epoch, number, steps, load });
    }

    /// Ends the lanes. After a failure this removes what was stored and will not appear.
    pub(crate) async fn end(mut self) {
        const PATIENCE: Duration = Duration::from_secs(5);
        let mut staged = std::mem::take(&mut self.pending);
        staged.extend(self.team.end().await);
        let discard = async {
            for staged in &staged {
                // Nothing more can be done about what cannot be removed; it is invisible in any case.
                let _ = self.checkpoints.storage.discard(staged).await;
            }
        };
        let _ = tokio::time::timeout(PATIENCE, discard).await;
    }
}

/// How long the parts of a checkpoint took, as the reference's messages tell it.
struct Parts {
    load: bool,
    /// Part, start and end; a part's files follow each other.
    current: Option<(CheckpointPart, Nanos, Nanos)>,
}

impl Parts {
    fn new(load: bool) -> Self {
        Self { load, current: None }
    }

    fn add(&mut self, part: CheckpointPart, (start, end): (Nanos, Nanos), rig: &Rig) {
        match &mut self.current {
            Some((known, _, last)) if *known == part => *last = end,
            _ => {
                self.tell(rig);
                self.current = Some((part, start, end));
            }
        }
    }

    fn tell(&mut self, rig: &Rig) {
        if let Some((part, start, end)) = self.current.take() {
            let took = Duration::from_nanos(end.saturating_sub(start));
            rig.observer.checkpoint_part(&PartDone { part, load: self.load, took });
        }
    }
}

/// Key of a file of a checkpoint.
fn key(folder: &str, name: &str) -> String {
    format!("{folder}/{name}")
}

/// The objects that a file of the plan becomes, and their encoders.
fn objects(
    checkpoints: &Checkpoints,
    folder: &str,
    file: &CheckpointFile,
) -> Result<Vec<(String, Encoder)>, checkpoint::Error> {
    let state = state(file)?;
    let number = checkpoints.plan.content(folder, &file.name);
    let content = Content { payload: checkpoints.payload, number, randomize: checkpoints.randomize };
    let encoders = checkpoints.container.encoders(&file.name, &state, content);
    Ok(encoders.into_iter().map(|(name, encoder)| (key(folder, &name), encoder)).collect())
}

/// The objects that a file of a checkpoint becomes in a container: names and lengths in bytes.
///
/// # Errors
/// Tensors that the container cannot hold.
pub fn checkpoint_objects(
    container: Container,
    file: &CheckpointFile,
) -> Result<Vec<(String, u64)>, checkpoint::Error> {
    // The length depends neither on the seed nor on which checkpoint it is.
    let content = Content { payload: Payload::new(0), number: 0, randomize: false };
    let encoders = container.encoders(&file.name, &state(file)?, content);
    Ok(encoders.into_iter().map(|(name, encoder)| (name, encoder.len())).collect())
}

/// Returns the state that a planned file holds.
fn state(file: &CheckpointFile) -> Result<State, checkpoint::Error> {
    State::new(file.tensors.clone(), file.empty.clone())
}
