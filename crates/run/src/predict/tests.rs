//! The predictor and the engine take the same steps: what one predicts is what the other does to a storage that counts.

#![allow(clippy::unwrap_used, clippy::panic, reason = "this is test code, also outside test functions")]
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dlio_analyze::fit::WorkloadPredictor as _;
use dlio_comm::Solo;
use dlio_config::Source;
use dlio_engine::{GenerateOptions, LaneHost, Rig, Silent, TrainOptions, VirtualClock, generate, train};
use dlio_event::CollectingSink;
use dlio_plan::{FileSet, GeneratePlan, World, training};
use dlio_storage::memory::Memory;
use dlio_storage::{ByteRange, ChunkSink, Future, Object, Receipt, Storage, Version, forward_object, forward_storage};

use super::PlanPredictor;
use crate::layout::layout;

/// Opens, reads, and bytes that were read.
#[derive(Default)]
struct Counts {
    opens: AtomicU64,
    reads: AtomicU64,
    bytes: AtomicU64,
}

/// Memory that counts what is done to it.
struct Counting {
    memory: Memory,
    counts: Arc<Counts>,
}

struct CountingObject {
    inner: Box<dyn Object>,
    counts: Arc<Counts>,
}

impl CountingObject {
    fn count<'a>(&'a self, read: Future<'a, Receipt>) -> Future<'a, Receipt> {
        Box::pin(async move {
            let receipt = read.await?;
            self.counts.reads.fetch_add(1, Ordering::Relaxed);
            self.counts.bytes.fetch_add(receipt.bytes, Ordering::Relaxed);
            Ok(receipt)
        })
    }
}

impl Object for CountingObject {
    fn read<'a>(&'a self, range: ByteRange, sink: &'a mut dyn ChunkSink) -> Future<'a, Receipt> {
        self.count(self.inner.read(range, sink))
    }

    fn read_first<'a>(&'a self, limit: u64, sink: &'a mut dyn ChunkSink) -> Future<'a, Receipt> {
        self.count(self.inner.read_first(limit, sink))
    }

    fn read_part<'a>(
        &'a self,
        range: ByteRange,
        version: &'a Version,
        sink: &'a mut dyn ChunkSink,
    ) -> Future<'a, Receipt> {
        self.count(self.inner.read_part(range, version, sink))
    }

    forward_object!(self => self.inner; size opened);
}

impl Storage for Counting {
    fn open<'a>(&'a self, key: &'a str) -> Future<'a, Box<dyn Object>> {
        Box::pin(async move {
            let inner = self.memory.open(key).await?;
            self.counts.opens.fetch_add(1, Ordering::Relaxed);
            Ok(Box::new(CountingObject { inner, counts: Arc::clone(&self.counts) }) as Box<dyn Object>)
        })
    }

    forward_storage!(self => self.memory; update write stage publish discard stat look_up list delete create_root create_folder remove_folder blocks uri root_uri);
}

/// Runs a workload on one rank; returns opens, reads and bytes of the training.
fn run(yaml: &str) -> [u64; 3] {
    let loaded = dlio_config::load(&Source { name: "counted", yaml }, &[], &BTreeMap::new(), None);
    let workload = loaded.unwrap_or_else(|error| panic!("{error}\n{yaml}")).workload;
    let (world, files) = (World { size: 1 }, FileSet::new(&workload).unwrap());
    let layout = layout(&workload).ok().unwrap();
    let plan = training(&workload, world).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let clock = Arc::new(VirtualClock::new());
        let (memory, counts) = (Memory::new(clock.clone()), Arc::new(Counts::default()));
        let rig = Rig {
            storage: Arc::new(Counting { memory, counts: Arc::clone(&counts) }),
            comm: Rc::new(Solo::new()),
            clock,
            events: Arc::new(CollectingSink::default()),
            lanes: LaneHost::Tasks,
            observer: Rc::new(Silent),
        };
        generate(&GeneratePlan::new(&files, world), &files, &layout, &rig, GenerateOptions::default()).await.unwrap();
        for count in [&counts.opens, &counts.reads, &counts.bytes] {
            count.store(0, Ordering::Relaxed);
        }
        train(&plan, &layout, &rig, TrainOptions::default()).await.unwrap();
        [&counts.opens, &counts.reads, &counts.bytes].map(|count| count.load(Ordering::Relaxed))
    })
}

/// A workload of three epochs over eight files; `dataset` and `reader` are more keys of these sections.
fn workload(dialect: &str, framework: &str, dataset: &str, reader: &str) -> String {
    format!(
        "model: {{name: counted}}\nframework: {framework}\nworkflow: {{generate_data: True, train: True}}\n\
         dataset: {{data_folder: data, num_files_train: 8, record_length_bytes: 4096, {dataset}}}\n\
         reader: {{batch_size: 2, {reader}}}\ntrain: {{epochs: 3, computation_time: 0.01}}\n\
         dlio_rs: {{dialect: {dialect}}}\n"
    )
}

#[test]
fn the_engine_opens_and_reads_what_the_predictor_predicts() {
    let torch = "data_loader: pytorch, read_threads: 2";
    let tensorflow = "data_loader: tensorflow, read_threads: 2";
    let workloads = [
        ("dlio", "pytorch", "format: npz, num_samples_per_file: 1", torch),
        ("dlio", "pytorch", "format: npy, num_samples_per_file: 4", torch),
        ("dlio", "pytorch", "format: hdf5, num_samples_per_file: 4", torch),
        ("dlio", "tensorflow", "format: tfrecord, num_samples_per_file: 4", tensorflow),
        ("dlio", "pytorch", "format: jpeg, num_samples_per_file: 1", "data_loader: pytorch, read_threads: 0"),
        ("dlio", "pytorch", "format: indexed_binary, num_samples_per_file: 4", torch),
        ("dlio", "pytorch", "format: mmap_indexed_binary, num_samples_per_file: 4", torch),
        ("native", "pytorch", "format: csv, num_samples_per_file: 4", torch),
        ("native", "pytorch", "format: indexed_binary, num_samples_per_file: 4", torch),
        ("native", "tensorflow", "format: hdf5, num_samples_per_file: 4", tensorflow),
        ("native", "pytorch", "format: parquet, num_samples_per_file: 4", torch),
    ];
    for (dialect, framework, dataset, reader) in workloads {
        let yaml = workload(dialect, framework, dataset, reader);
        let load = PlanPredictor { ranks: 1 }.training(&yaml).unwrap_or_else(|| panic!("no prediction of\n{yaml}"));
        let [opens, reads, bytes] = run(&yaml);
        let predicted = [load.opens, load.reads, load.bytes].map(|count| format!("{count}"));
        assert_eq!(
            predicted,
            [opens, reads, bytes].map(|count| format!("{count}")),
            "opens, reads and bytes of\n{yaml}"
        );
        assert!(opens + reads > 0, "nothing was counted of\n{yaml}");
    }
}
