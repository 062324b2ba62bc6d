//! Simulated runs: all ranks on one thread and on virtual time, with storage in memory whose delays and failures the test chooses. Each
//! builder call states one fact.
#![allow(dead_code, unreachable_pub, reason = "every test program uses another part of this")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "this is test code, though not inside a test function")]

mod faults;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dlio_comm::{Communicator, Simulated};
use dlio_config::Workload;
use dlio_engine::{
    CancelFlag, Checkpoints, Clock, Error, GenerateOptions, Generated, LaneHost, Loading, Observer, Rig, Stall,
    TrainOptions, Trained, VirtualClock, generate, train,
};
use dlio_event::{CollectingSink, Event, Nanos, OpKind, Phase};
use dlio_format::checkpoint::Container;
use dlio_format::payload::Payload;
use dlio_format::{Decode, Layout};
use dlio_plan::{FileSet, GeneratePlan, Split, World, checkpoints, training};
use dlio_storage::Storage;
use dlio_storage::memory::Memory;

pub use faults::Faults;

pub const MS: Nanos = 1_000_000;

/// Builder of a simulated run.
#[derive(Clone)]
pub struct Sim {
    format: &'static str,
    loader: &'static str,
    ranks: u32,
    lanes: u32,
    prefetch: u32,
    batch: u64,
    steps: u64,
    samples_per_file: u64,
    epochs: u32,
    eval_steps: u64,
    limit: Option<u64>,
    compute_ms: u64,
    eval_ms: u64,
    preprocess_ms: u64,
    inflight: u32,
    odd_rank: Option<u32>,
    planned_ranks: Option<u32>,
    cancel_at_ms: Option<u64>,
    read_type: Option<&'static str>,
    file_shuffle: Option<&'static str>,
    more: &'static str,
    decode: Decode,
    /// Additional keys of sections `dataset` and `reader`.
    dataset: &'static str,
    /// Keys of section `dataset` for the generation, if they differ.
    generated_as: Option<&'static str>,
    reader: &'static str,
    faults: Faults,
    /// Section `model` without its name.
    model: &'static str,
    /// Section `checkpoint` of a run that takes checkpoints.
    checkpoint: Option<&'static str>,
    /// Whether the run only takes checkpoints.
    alone: bool,
    checkpoint_faults: Faults,
    loading: Loading,
}

/// Returns a run of one rank without lanes, with one sample per file and step, in which nothing takes time.
pub fn sim(format: &'static str) -> Sim {
    Sim {
        format,
        loader: "pytorch",
        ranks: 1,
        lanes: 0,
        prefetch: 0,
        batch: 1,
        steps: 4,
        samples_per_file: 1,
        epochs: 1,
        eval_steps: 0,
        limit: None,
        compute_ms: 0,
        eval_ms: 0,
        preprocess_ms: 0,
        inflight: 1,
        odd_rank: None,
        planned_ranks: None,
        cancel_at_ms: None,
        read_type: None,
        file_shuffle: None,
        more: "",
        decode: Decode::None,
        dataset: "",
        generated_as: None,
        reader: "",
        faults: Faults::default(),
        model: "model_size_bytes: 4096",
        checkpoint: None,
        alone: false,
        checkpoint_faults: Faults::default(),
        loading: Loading::default(),
    }
}

macro_rules! facts {
    ($($(#[$meta:meta])* $name:ident: $type:ty,)+) => {
        impl Sim {
            $($(#[$meta])* pub fn $name(mut self, $name: $type) -> Self { self.$name = $name; self })+
        }
    };
}

facts! {
    loader: &'static str,
    ranks: u32,
    /// Sets `read_threads`.
    lanes: u32,
    /// Sets `prefetch_size`.
    prefetch: u32,
    batch: u64,
    steps: u64,
    samples_per_file: u64,
    epochs: u32,
    eval_steps: u64,
    compute_ms: u64,
    eval_ms: u64,
    preprocess_ms: u64,
    inflight: u32,
    /// Adds sections to the configuration.
    more: &'static str,
    decode: Decode,
    /// Adds keys to section `dataset`, for example `, compression: gzip`.
    dataset: &'static str,
    /// Adds keys to section `reader`, for example `, transfer_size: 4096`.
    reader: &'static str,
    model: &'static str,
    loading: Loading,
}

impl Sim {
    /// Takes checkpoints with this section `checkpoint`.
    pub fn checkpoint(mut self, section: &'static str) -> Self {
        self.checkpoint = Some(section);
        self
    }

    /// Only takes checkpoints, with this section `checkpoint`.
    pub fn only_checkpoint(self, section: &'static str) -> Self {
        Sim { alone: true, ..self.checkpoint(section) }
    }

    /// Delays the storing of each checkpoint file by this many milliseconds.
    pub fn stage_ms(mut self, ms: u64) -> Self {
        self.checkpoint_faults.stage = Duration::from_millis(ms);
        self
    }

    /// Delays the storing of one checkpoint file.
    pub fn slow_checkpoint_file(mut self, key: &str, ms: u64) -> Self {
        self.checkpoint_faults.slow = Some((key.to_owned(), Duration::from_millis(ms)));
        self
    }

    /// Fails the storing and opening of one checkpoint file.
    pub fn broken_checkpoint_file(mut self, key: &str) -> Self {
        self.checkpoint_faults.broken = Some(key.to_owned());
        self
    }

    /// Delays each read of a checkpoint file by this many milliseconds.
    pub fn load_ms(mut self, ms: u64) -> Self {
        self.checkpoint_faults.read = Duration::from_millis(ms);
        self
    }

    pub fn read_ms(mut self, ms: u64) -> Self {
        self.faults.read = Duration::from_millis(ms);
        self
    }

    /// Generates the dataset with these keys of section `dataset` instead.
    pub fn generated_as(mut self, keys: &'static str) -> Self {
        self.generated_as = Some(keys);
        self
    }

    pub fn total_training_steps(mut self, steps: u64) -> Self {
        self.limit = Some(steps);
        self
    }

    pub fn read_type(mut self, kind: &'static str) -> Self {
        self.read_type = Some(kind);
        self
    }

    pub fn file_shuffle(mut self, shuffle: &'static str) -> Self {
        self.file_shuffle = Some(shuffle);
        self
    }

    /// Delays reads and writes of one object.
    pub fn slow_object(mut self, key: &str, ms: u64) -> Self {
        self.faults.slow = Some((key.to_owned(), Duration::from_millis(ms)));
        self
    }

    /// Fails the opening and writing of one object.
    pub fn broken_object(mut self, key: &str) -> Self {
        self.faults.broken = Some(key.to_owned());
        self
    }

    /// Cuts an object to this number of bytes before the run.
    pub fn truncated_object(mut self, key: &str, bytes: usize) -> Self {
        self.faults.truncated = Some((key.to_owned(), bytes));
        self
    }

    /// Inverts one bit of an object before the run.
    pub fn damaged_object(mut self, key: &str, at: usize) -> Self {
        self.faults.flipped = Some((key.to_owned(), at));
        self
    }

    /// Removes an object before the run.
    pub fn missing_object(mut self, key: &str) -> Self {
        self.faults.missing = Some(key.to_owned());
        self
    }

    /// Starts this rank with a different seed.
    pub fn rank_with_another_seed(mut self, rank: u32) -> Self {
        self.odd_rank = Some(rank);
        self
    }

    /// Makes the plan for this number of ranks, which differs from the number that run.
    pub fn planned_for_ranks(mut self, ranks: u32) -> Self {
        self.planned_ranks = Some(ranks);
        self
    }

    pub fn cancelled_at_ms(mut self, ms: u64) -> Self {
        self.cancel_at_ms = Some(ms);
        self
    }

    pub fn yaml(&self, seed: u32) -> String {
        let samples = |steps: u64| steps * self.batch * u64::from(self.ranks);
        let files = samples(self.steps).div_ceil(self.samples_per_file);
        let eval_files = samples(self.eval_steps).div_ceil(self.samples_per_file);
        let seconds = |ms: u64| ms as f64 / 1000.0;
        let mut yaml = format!(
            "model: {{name: sim, {model}}}\n\
             framework: {loader}\n\
             workflow: {{generate_data: {train}, train: {train}, evaluation: {evaluation}, checkpoint: {checkpoint}}}\n\
             dataset: {{data_folder: data/sim, format: {format}, num_files_train: {files}, num_files_eval: {eval_files},\n\
             \x20 num_samples_per_file: {spf}, record_length_bytes: 1024{dataset}}}\n\
             reader: {{data_loader: {loader}, batch_size: {batch}, batch_size_eval: {batch}, read_threads: {lanes},\n\
             \x20 prefetch_size: {prefetch}, preprocess_time: {preprocess}{read_type}{shuffle}{reader}}}\n\
             train: {{epochs: {epochs}, computation_time: {compute}, seed: {seed}{limit}}}\n\
             evaluation: {{eval_time: {eval}, epochs_between_evals: 1}}\n",
            model = self.model,
            train = if self.alone { "False" } else { "True" },
            checkpoint = if self.checkpoint.is_some() { "True" } else { "False" },
            loader = self.loader,
            dataset = self.dataset,
            reader = self.reader,
            evaluation = if self.eval_steps > 0 { "True" } else { "False" },
            format = self.format,
            spf = self.samples_per_file,
            batch = self.batch,
            lanes = self.lanes,
            prefetch = self.prefetch,
            preprocess = seconds(self.preprocess_ms),
            read_type = self.read_type.map_or(String::new(), |kind| format!(", read_type: {kind}")),
            shuffle = self.file_shuffle.map_or(String::new(), |shuffle| format!(", file_shuffle: {shuffle}")),
            epochs = self.epochs,
            compute = seconds(self.compute_ms),
            limit = self.limit.map_or(String::new(), |limit| format!(", total_training_steps: {limit}")),
            eval = seconds(self.eval_ms),
        );
        if let Some(section) = self.checkpoint {
            // Writing to a string cannot fail.
            let _ = writeln!(yaml, "checkpoint: {{checkpoint_folder: ckpt, {section}}}");
        }
        yaml.push_str("output: {folder: out}\n");
        yaml.push_str(self.more);
        yaml
    }

    pub fn workload(&self, seed: u32) -> Workload {
        let yaml = self.yaml(seed);
        let source = dlio_config::Source { name: "sim.yaml", yaml: &yaml };
        dlio_config::load(&source, &[], &BTreeMap::new(), None).unwrap_or_else(|e| panic!("{e}\n{yaml}")).workload
    }

    /// Runs `body` on paused time with local tasks.
    fn on_virtual_time<T>(body: impl AsyncFnOnce() -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, body())
    }

    /// Only generates the dataset.
    pub fn generate(self) -> GeneratedWorld {
        let memory = Sim::on_virtual_time(async || {
            let clock = Arc::new(VirtualClock::new());
            Arc::new(Memory::new(clock))
        });
        self.generate_into(&memory, false)
    }

    /// Generates into storage that may hold files already.
    pub fn generate_into(&self, memory: &Arc<Memory>, overwrite: bool) -> GeneratedWorld {
        let sim = self.clone();
        let memory = memory.clone();
        Sim::on_virtual_time(async move || {
            let clock = Arc::new(VirtualClock::new());
            let storage = sim.faults.storage(&memory, &clock);
            let ranks = sim.generate_on(&storage, &clock, overwrite).await;
            GeneratedWorld { memory, ranks }
        })
    }

    async fn generate_on(
        &self,
        storage: &Arc<dyn Storage>,
        clock: &Arc<VirtualClock>,
        overwrite: bool,
    ) -> Vec<RankRun<Generated>> {
        let workload = self.workload(42);
        let files = FileSet::new(&workload).unwrap();
        let layout = Layout::new(&workload.dataset, 7).unwrap().with_untouched_maps();
        let plan = GeneratePlan::new(&files, World { size: self.ranks });
        let (inflight, cancel) = (self.inflight, self.cancel_flag(clock));
        self.all_ranks(storage, clock, async move |_, rig| {
            let cancel = cancel.clone();
            let options = GenerateOptions { inflight, overwrite, cancel, ..GenerateOptions::default() };
            generate(&plan, &files, &layout, &rig, options).await
        })
        .await
    }

    /// Returns the checkpoints of a rank.
    fn checkpoints(&self, workload: &Workload, storage: &Memory, clock: &Arc<VirtualClock>) -> Option<Checkpoints> {
        self.checkpoint?;
        Some(Checkpoints {
            plan: checkpoints(workload, World { size: self.ranks }).unwrap(),
            container: Container::new(workload.dlio_rs.dialect, workload.framework),
            payload: Payload::new(7),
            randomize: workload.checkpoint.randomize_tensor,
            storage: self.checkpoint_faults.storage(storage, clock),
            loading: self.loading,
        })
    }

    /// Only takes checkpoints, in this storage.
    pub fn run_alone(self, saved: &Arc<Memory>) -> TrainedWorld {
        Sim::on_virtual_time(async || {
            let clock = Arc::new(VirtualClock::new());
            let storage: Arc<dyn Storage> = saved.clone();
            let cancel = self.cancel_flag(&clock);
            let (sim, saved, time) = (self.clone(), saved.clone(), clock.clone());
            let body = {
                let saved = saved.clone();
                async move |_, rig: Rig| {
                    let checkpoints = sim.checkpoints(&sim.workload(42), &saved, &time).unwrap();
                    let options = TrainOptions { cancel: cancel.clone(), ..TrainOptions::default() };
                    dlio_engine::checkpoint(&checkpoints, &rig, options).await
                }
            };
            TrainedWorld {
                ranks: self.all_ranks(&storage, &clock, body).await,
                memory: saved.clone(),
                saved,
                sim: self,
            }
        })
    }

    /// Returns the flag that is set at the time of [`Sim::cancelled_at_ms`].
    fn cancel_flag(&self, clock: &Arc<VirtualClock>) -> CancelFlag {
        let flag = CancelFlag::new();
        if let Some(ms) = self.cancel_at_ms {
            let (flag, clock) = (flag.clone(), clock.clone());
            tokio::task::spawn_local(async move {
                clock.sleep_until(ms * MS).await;
                flag.cancel();
            });
        }
        flag
    }

    /// Runs every rank; a rank that fails aborts the others, as in the program.
    async fn all_ranks<T: 'static>(
        &self,
        storage: &Arc<dyn Storage>,
        clock: &Arc<VirtualClock>,
        body: impl AsyncFn(u32, Rig) -> Result<T, Error> + Clone + 'static,
    ) -> Vec<RankRun<T>> {
        let mut tasks = Vec::new();
        for comm in Simulated::world(self.ranks) {
            let (rank, comm, body) = (comm.place().rank, Rc::new(comm), body.clone());
            let events = Arc::new(CollectingSink::default());
            let seen = Rc::new(Seen::default());
            let rig = Rig {
                storage: storage.clone(),
                comm: comm.clone(),
                clock: clock.clone(),
                events: events.clone(),
                lanes: LaneHost::Tasks,
                observer: seen.clone(),
            };
            let clock = clock.clone();
            tasks.push(tokio::task::spawn_local(async move {
                let outcome = body(rank, rig).await;
                if let Err(error) = &outcome {
                    comm.abort(&error.to_string(), 1);
                }
                RankRun { outcome, ended: dlio_event::TimeSource::now(&*clock), events: events.clone(), seen }
            }));
        }
        let mut runs = Vec::new();
        for task in tasks {
            runs.push(task.await.unwrap());
        }
        runs
    }

    /// Generates the dataset without delays, then trains on it.
    pub fn run(self) -> TrainedWorld {
        Sim::on_virtual_time(async || {
            let clock = Arc::new(VirtualClock::new());
            let memory = Arc::new(Memory::new(clock.clone()));
            let quick: Arc<dyn Storage> = memory.clone();
            let dataset = self.generated_as.unwrap_or(self.dataset);
            let undisturbed = Sim { cancel_at_ms: None, dataset, ..self.clone() };
            for generated in undisturbed.generate_on(&quick, &clock, false).await {
                generated.outcome.unwrap();
            }
            self.faults.damage(&memory).await;
            let storage = self.faults.storage(&memory, &clock);
            let saved = Arc::new(Memory::new(clock.clone()));
            let cancel = self.cancel_flag(&clock);
            let (sim, target, time) = (self.clone(), saved.clone(), clock.clone());
            let body = async move |rank, rig: Rig| {
                let workload = sim.workload(if sim.odd_rank == Some(rank) { 43 } else { 42 });
                let layout = Layout::new(&workload.dataset, 7).unwrap().with_reading(&workload).with_untouched_maps();
                let plan = training(&workload, World { size: sim.planned_ranks.unwrap_or(sim.ranks) }).unwrap();
                if sim.planned_ranks.is_none() {
                    assert_eq!(plan.steps(Split::Train), sim.limit.unwrap_or(sim.steps), "the test's own arithmetic");
                }
                let options = TrainOptions {
                    inflight: sim.inflight,
                    decode: sim.decode,
                    cancel: cancel.clone(),
                    checkpoints: sim.checkpoints(&workload, &target, &time),
                    ..TrainOptions::default()
                };
                train(&plan, &layout, &rig, options).await
            };
            TrainedWorld { ranks: self.all_ranks(&storage, &clock, body).await, memory, saved, sim: self }
        })
    }
}

/// Result of one rank.
pub struct RankRun<T> {
    pub outcome: Result<T, Error>,
    pub ended: Nanos,
    pub events: Arc<CollectingSink>,
    pub seen: Rc<Seen>,
}

/// Progress that an observer received.
#[derive(Default)]
pub struct Seen {
    pub stalls: RefCell<Vec<Stall>>,
}

impl Observer for Seen {
    fn stalled(&self, stall: &Stall) {
        self.stalls.borrow_mut().push(stall.clone());
    }
}

/// A simulated run after its generation.
pub struct GeneratedWorld {
    pub memory: Arc<Memory>,
    pub ranks: Vec<RankRun<Generated>>,
}

impl GeneratedWorld {
    pub fn ok(&self, rank: usize) -> &Generated {
        self.ranks[rank].outcome.as_ref().unwrap()
    }
}

/// A simulated run after its training.
pub struct TrainedWorld {
    pub ranks: Vec<RankRun<Trained>>,
    pub memory: Arc<Memory>,
    /// Storage of the checkpoints.
    pub saved: Arc<Memory>,
    sim: Sim,
}

impl TrainedWorld {
    pub fn sim(&self) -> &Sim {
        &self.sim
    }

    pub fn trained(&self, rank: usize) -> &Trained {
        self.ranks[rank].outcome.as_ref().unwrap()
    }

    pub fn error(&self, rank: usize) -> &Error {
        self.ranks[rank].outcome.as_ref().expect_err("this rank should have failed")
    }

    /// Returns the error of a rank with all its sources.
    pub fn message(&self, rank: usize) -> String {
        let mut error: &dyn std::error::Error = self.error(rank);
        let mut text = error.to_string();
        while let Some(source) = error.source() {
            text = format!("{text}: {source}");
            error = source;
        }
        text
    }

    pub fn events(&self, rank: usize) -> Vec<Event> {
        self.ranks[rank].events.events()
    }

    /// Checks the times that every rank waited for the batches of its first epoch.
    pub fn expect_load_ms(&self, expected: &[u64]) -> &Self {
        self.expect(expected, |block| &block.load)
    }

    /// Checks the times that every rank computed in the steps of its first epoch.
    pub fn expect_compute_ms(&self, expected: &[u64]) -> &Self {
        self.expect(expected, |block| &block.compute)
    }

    fn expect(&self, expected: &[u64], what: impl Fn(&dlio_event::BlockTimings) -> &Vec<Nanos>) -> &Self {
        for rank in 0..self.ranks.len() {
            let measured: Vec<u64> =
                what(&self.trained(rank).timings.epochs[0].blocks[0]).iter().map(|time| time / MS).collect();
            assert_eq!(measured, expected, "rank {rank}");
        }
        self
    }

    /// Checks DLIO's accelerator utilisation (AU) of the first epoch, without its first step.
    pub fn expect_au(&self, expected: f64) -> &Self {
        for rank in 0..self.ranks.len() {
            let block = &self.trained(rank).timings.epochs[0].blocks[0];
            let compute: Nanos = block.compute.iter().skip(1).sum();
            let wall = block.end - block.start - block.proc[0];
            let au = compute as f64 / wall as f64;
            assert!((au - expected).abs() < 1e-9, "rank {rank}: AU is {au}, expected {expected}");
        }
        self
    }

    /// Checks that all ranks together read every sample of the dataset once per epoch.
    pub fn expect_every_sample_once(&self) -> &Self {
        let samples = self.sim.steps * self.sim.batch * u64::from(self.sim.ranks);
        for epoch in 1..=self.sim.epochs {
            let mut read: Vec<u64> = Vec::new();
            for rank in 0..self.ranks.len() {
                let events = self.events(rank);
                let mut mine: Vec<u64> = events
                    .iter()
                    .filter(|event| event.kind == OpKind::Read && event.at.phase == Phase::Train)
                    .filter(|event| event.at.epoch == epoch)
                    .filter_map(|event| event.at.sample)
                    .collect();
                mine.dedup();
                read.extend(mine);
            }
            read.sort_unstable();
            assert_eq!(read, (0..samples).collect::<Vec<_>>(), "epoch {epoch}");
        }
        self
    }

    /// Checks that the timings equal those of the recorded spans.
    pub fn expect_spans_equal_timings(&self) -> &Self {
        for rank in 0..self.ranks.len() {
            let events = self.events(rank);
            for epoch in &self.trained(rank).timings.epochs {
                let spans = |kind, phase| -> Vec<Nanos> {
                    let mine = events.iter().filter(|event| event.kind == kind && event.at.phase == phase);
                    mine.filter(|event| event.at.epoch == epoch.epoch).map(Event::duration).collect()
                };
                assert_eq!(spans(OpKind::Fetch, Phase::Train), epoch.blocks[0].load);
                assert_eq!(spans(OpKind::Compute, Phase::Train), epoch.blocks[0].compute);
                let block = &epoch.blocks[0];
                assert_eq!(spans(OpKind::Block, Phase::Train), [block.end - block.start]);
                if let Some(eval) = &epoch.eval {
                    assert_eq!(spans(OpKind::Fetch, Phase::Eval), eval.load);
                    assert_eq!(spans(OpKind::Compute, Phase::Eval), eval.compute);
                }
            }
        }
        self
    }

    /// Returns the names of the visible checkpoint files.
    pub fn saved_files(&self) -> Vec<String> {
        keys(&self.saved)
    }

    /// Returns the blocks of an epoch on a rank, with number and steps.
    pub fn blocks(&self, rank: usize, epoch: usize) -> Vec<(u32, usize)> {
        let blocks = &self.trained(rank).timings.epochs[epoch].blocks;
        blocks.iter().map(|block| (block.block, block.compute.len())).collect()
    }

    /// Returns the checkpoints of an epoch on a rank: number, whether loaded, and duration in milliseconds.
    pub fn checkpoints(&self, rank: usize, epoch: usize) -> Vec<(u32, bool, u64)> {
        let checkpoints = &self.trained(rank).timings.epochs[epoch].checkpoints;
        checkpoints.iter().map(|taken| (taken.number, taken.load, (taken.end - taken.start) / MS)).collect()
    }

    pub fn count(&self, rank: usize, kind: OpKind) -> usize {
        self.events(rank).iter().filter(|event| event.kind == kind).count()
    }
}

/// Returns the keys in a storage, in order.
pub fn keys(memory: &Memory) -> Vec<String> {
    let mut keys = Vec::new();
    let mut page = |found: &[dlio_storage::ListEntry]| keys.extend(found.iter().map(|found| found.key.clone()));
    futures::FutureExt::now_or_never(memory.list("", &mut page)).unwrap().unwrap();
    keys
}

/// Returns storage without objects, whose clock does not advance.
pub fn empty() -> Arc<Memory> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async { Arc::new(Memory::new(Arc::new(VirtualClock::new()))) })
}
