//! The production rig: real files, one thread per lane, the machine's own clock.
#![allow(clippy::unwrap_used, reason = "this is test code, also outside test functions")]

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use dlio_comm::Solo;
use dlio_engine::{GenerateOptions, LaneHost, MonotonicClock, Rig, Silent, TrainOptions, Trained, generate, train};
use dlio_event::{CollectingSink, Lane, OpKind};
use dlio_format::Layout;
use dlio_plan::{FileSet, GeneratePlan, World, training};
use dlio_storage::local::{Local, LocalOptions};

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
