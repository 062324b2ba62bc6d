//! The production rig: real files, one thread per lane, and the monotonic clock.
#![allow(clippy::unwrap_used, reason = "this is test code, also outside test functions")]

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use dlio_comm::Solo;
use dlio_engine::{
    CancelFlag, Error, GenerateOptions, LaneHost, MonotonicClock, Rig, Silent, TrainOptions, Trained, generate, train,
};
use dlio_event::{CollectingSink, Event, Lane, OpKind};
use dlio_format::Layout;
use dlio_plan::{FileSet, GeneratePlan, World, training};
use dlio_storage::local::{Local, LocalOptions};
use dlio_storage::{ByteRange, ChunkSink, Future, Object, Receipt, Storage, forward_object, forward_storage};

const YAML: &str = "
model: {name: threads}
framework: pytorch
workflow: {generate_data: True, train: True}
dataset: {data_folder: data, format: npz, num_files_train: 12, num_samples_per_file: 1, record_length_bytes: 65536}
reader: {data_loader: pytorch, batch_size: 2, read_threads: 2, prefetch_size: 2}
train: {epochs: 2, computation_time: 0.002}
";

fn rig(root: &Path, events: &Arc<CollectingSink>) -> Rig {
    let clock = Arc::new(MonotonicClock);
    Rig {
        storage: Arc::new(Local::new(root.to_path_buf(), clock.clone(), LocalOptions::default())),
        comm: Rc::new(Solo::new()),
        clock,
        events: events.clone(),
        lanes: LaneHost::Threads,
        observer: Rc::new(Silent),
    }
}

fn generate_and_train(root: &Path, events: &Arc<CollectingSink>) -> Trained {
    let source = dlio_config::Source { name: "threads.yaml", yaml: YAML };
    let workload = dlio_config::load(&source, &[], &BTreeMap::new(), None).unwrap().workload;
    let (world, files) = (World { size: 1 }, FileSet::new(&workload).unwrap());
    let layout = Layout::new(&workload.dataset, 1).unwrap();
    let rig = rig(root, events);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let options = GenerateOptions { inflight: 3, ..GenerateOptions::default() };
        let generated = generate(&GeneratePlan::new(&files, world), &files, &layout, &rig, options).await.unwrap();
        assert_eq!((generated.world.files, generated.world.kept), (12, 0));
        let plan = training(&workload, world).unwrap();
        train(&plan, &layout, &rig, TrainOptions::default()).await.unwrap()
    })
}

#[test]
fn lanes_on_threads_read_real_files_and_hand_their_batches_over_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let events = Arc::new(CollectingSink::default());
    let trained = generate_and_train(folder.path(), &events);

    assert_eq!(trained.timings.epochs.len(), 2);
    for epoch in &trained.timings.epochs {
        assert_eq!(epoch.blocks[0].load.len(), 6);
        assert!(epoch.blocks[0].compute.iter().all(|&compute| compute >= 2_000_000), "no wait ends early");
    }
    let events = events.events();
    let of_lane = |lane| events.iter().filter(move |e| e.kind == OpKind::Batch && e.lane == lane).map(|e| e.at.step);
    assert_eq!(of_lane(Lane(0)).collect::<Vec<_>>(), [1, 3, 5, 1, 3, 5]);
    assert_eq!(of_lane(Lane(1)).collect::<Vec<_>>(), [2, 4, 6, 2, 4, 6]);
    let read: u64 = events.iter().filter(|event| event.kind == OpKind::Read).map(|event| event.bytes).sum();
    assert_eq!(trained.cost.bytes, read);
}

/// A meeting point of reads, which return only after a given number of them was in flight at the same time.
struct Meeting {
    wanted: usize,
    state: Mutex<(usize, usize)>,
    changed: Condvar,
}

impl Meeting {
    /// Counts a read and waits until `wanted` reads were in flight at the same time; returns whether they were.
    fn meet(&self) -> bool {
        let mut state = self.state.lock().unwrap();
        state.0 += 1;
        state.1 = state.1.max(state.0);
        self.changed.notify_all();
        let (mut state, waited) =
            self.changed.wait_timeout_while(state, Duration::from_secs(20), |(_, most)| *most < self.wanted).unwrap();
        state.0 -= 1;
        !waited.timed_out()
    }
}

struct Met {
    meeting: Arc<Meeting>,
    object: Box<dyn Object>,
}

impl Object for Met {
    fn read<'a>(&'a self, range: ByteRange, sink: &'a mut dyn ChunkSink) -> Future<'a, Receipt> {
        assert!(self.meeting.meet(), "too few reads were in flight at the same time");
        self.object.read(range, sink)
    }

    forward_object!(self => self.object; size opened read_first read_part);
}

/// Storage of local files whose reads use the meeting point.
struct MeetingStorage {
    files: Local,
    meeting: Arc<Meeting>,
}

impl Storage for MeetingStorage {
    fn open<'a>(&'a self, key: &'a str) -> Future<'a, Box<dyn Object>> {
        Box::pin(async move {
            let object = self.files.open(key).await?;
            Ok(Box::new(Met { meeting: Arc::clone(&self.meeting), object }) as Box<dyn Object>)
        })
    }

    forward_storage!(self => self.files; update write stage publish discard stat look_up list delete create_root create_folder remove_folder blocks uri root_uri);
}

/// Runs one lane that streams local files, with the window that `more` configures.
fn streamed(
    more: &str,
    wanted: usize,
    missing: Option<&str>,
    cancel: CancelFlag,
) -> (Result<Trained, Error>, Vec<Event>, usize) {
    let folder = tempfile::tempdir().unwrap();
    let events = Arc::new(CollectingSink::default());
    let mut yaml = YAML.to_owned();
    // A batch has six files, so that the warm-up fills the window as well.
    for (from, to) in [("read_threads: 2", "read_threads: 1"), ("batch_size: 2", "batch_size: 6"), ("0.002", "0")] {
        yaml = yaml.replace(from, to);
    }
    let source =
        dlio_config::Source { name: "threads.yaml", yaml: &format!("{yaml}{more}dlio_rs: {{dialect: mlperf}}\n") };
    let workload = dlio_config::load(&source, &[], &BTreeMap::new(), None).unwrap().workload;
    let (world, files) = (World { size: 1 }, FileSet::new(&workload).unwrap());
    let layout = Layout::new(&workload.dataset, 1).unwrap().with_reading(&workload);
    let quick = rig(folder.path(), &events);
    let local = Local::new(folder.path().to_path_buf(), Arc::new(MonotonicClock), LocalOptions::default());
    let meeting = Arc::new(Meeting { wanted, state: Mutex::default(), changed: Condvar::new() });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let outcome = tokio::task::LocalSet::new().block_on(&runtime, async {
        let plan = GeneratePlan::new(&files, world);
        generate(&plan, &files, &layout, &quick, GenerateOptions::default()).await.unwrap();
        if let Some(key) = missing {
            std::fs::remove_file(folder.path().join(key)).unwrap();
        }
        let storage = Arc::new(MeetingStorage { files: local, meeting: meeting.clone() });
        let rig = Rig { storage, ..quick };
        let options = TrainOptions { cancel, ..TrainOptions::default() };
        train(&training(&workload, world).unwrap(), &layout, &rig, options).await
    });
    let most = meeting.state.lock().unwrap().1;
    (outcome, events.events(), most)
}

#[test]
fn a_lane_that_streams_files_has_as_many_reads_under_way_as_its_window_holds() {
    let direct = "storage: {storage_type: direct_fs, storage_root: ., storage_options: {prefetch_window: 5}}\n";
    let (outcome, events, most) = streamed(direct, 5, None, CancelFlag::new());
    let trained = outcome.unwrap();
    assert_eq!(most, 5);
    assert!(trained.timings.epochs.iter().all(|epoch| epoch.blocks[0].load.len() == 2));
    for epoch in 1..=2 {
        let of = |kind| events.iter().filter(move |e| e.kind == kind && e.at.epoch == epoch);
        let mut samples: Vec<_> = of(OpKind::Sample).filter_map(|event| event.at.sample).collect();
        samples.sort_unstable();
        assert_eq!(samples, (0..12).collect::<Vec<_>>(), "each file once");
        assert_eq!(of(OpKind::Batch).map(|event| event.at.step).collect::<Vec<_>>(), [1, 2]);
        assert!(of(OpKind::Sample).all(|event| event.lane == Lane(0)));
    }
    let read: u64 = events.iter().filter(|event| event.kind == OpKind::Read).map(|event| event.bytes).sum();
    assert_eq!(trained.cost.bytes, read);
}

#[test]
fn threads_beside_a_lane_end_with_a_cancelled_run() {
    let direct = "storage: {storage_type: direct_fs, storage_root: .}\n";
    let cancel = CancelFlag::new();
    cancel.cancel();
    let (outcome, ..) = streamed(direct, 1, None, cancel);
    assert!(outcome.unwrap_err().to_string().contains("cancelled"));
}

#[test]
fn a_file_that_another_thread_does_not_find_ends_the_run_with_its_name() {
    let direct = "storage: {storage_type: direct_fs, storage_root: .}\n";
    let (outcome, ..) = streamed(direct, 1, Some("train/img_07_of_12.npz"), CancelFlag::new());
    let error = outcome.unwrap_err().to_string();
    assert!(error.contains("train/img_07_of_12.npz"), "{error}");
}
