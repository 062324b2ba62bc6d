//! Reads a small dataset of local files in the training loop, without lanes and without computation, so that a profiler sees the cost of
//! the read path: `valgrind --tool=callgrind target/release/examples/lane_cost npz 20`.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use dlio_comm::Solo;
use dlio_engine::{GenerateOptions, LaneHost, MonotonicClock, Rig, Silent, TrainOptions, generate, train};
use dlio_event::CollectingSink;
use dlio_format::Layout;
use dlio_plan::{FileSet, GeneratePlan, World, training};
use dlio_storage::local::{Local, LocalOptions};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let format = arguments.next().unwrap_or_else(|| "npz".to_owned());
    let epochs = arguments.next().unwrap_or_else(|| "20".to_owned());
    let samples = if format == "npz" { 1 } else { 4 };
    let yaml = format!(
        "model: {{name: cost}}\nframework: pytorch\nworkflow: {{generate_data: True, train: True}}\n\
         dataset: {{data_folder: data, format: {format}, num_files_train: 64, num_samples_per_file: {samples}, \
         record_length_bytes: 4096}}\n\
         reader: {{data_loader: pytorch, batch_size: 4, read_threads: 0}}\n\
         train: {{epochs: {epochs}, computation_time: 0}}\n"
    );
    let source = dlio_config::Source { name: "cost", yaml: &yaml };
    let workload = dlio_config::load(&source, &[], &BTreeMap::new(), None)?.workload;
    let (world, files) = (World { size: 1 }, FileSet::new(&workload)?);
    let layout = Layout::new(&workload.dataset, 1)?.with_reading(&workload);
    let folder = tempfile::tempdir()?;
    let clock = Arc::new(MonotonicClock);
    let rig = Rig {
        storage: Arc::new(Local::new(folder.path().to_path_buf(), clock.clone(), LocalOptions::default())),
        comm: Rc::new(Solo::new()),
        clock,
        events: Arc::new(CollectingSink::default()),
        lanes: LaneHost::Threads,
        observer: Rc::new(Silent),
    };
    let local = tokio::task::LocalSet::new();
    let work = async {
        let generated = GeneratePlan::new(&files, world);
        generate(&generated, &files, &layout, &rig, GenerateOptions::default()).await?;
        train(&training(&workload, world)?, &layout, &rig, TrainOptions::default()).await?;
        Ok(())
    };
    local.run_until(Box::pin(work)).await
}
