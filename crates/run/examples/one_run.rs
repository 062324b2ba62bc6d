//! Writes a small dataset and trains on it, without a command line: `cargo run -p dlio-run --example one_run`.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use dlio_comm::Solo;
use dlio_run::failure::Failure;
use dlio_run::front_end::{FrontEnd, RunObserver};
use dlio_run::message::Level;
use dlio_run::options::{Action, Configuration, Options};
use dlio_run::outcome::Outcome;
use dlio_run::ranks::Ranks;
use dlio_run::resolve::config_source::ConfigWords;
use dlio_run::stop::StopHandle;

/// Keeps the messages of a run in memory.
#[derive(Default)]
pub(crate) struct Messages(std::sync::Mutex<Vec<String>>);

impl RunObserver for Messages {
    fn message(&self, _: Level, line: &str) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(line.to_owned());
    }
}

/// Runs one workload, with its data and its results below `folder`.
///
/// # Errors
/// The run failed.
pub(crate) fn one_run(folder: &Path) -> Result<(Outcome, Vec<String>), Failure> {
    let messages = Arc::new(Messages::default());
    let front = FrontEnd {
        environment: BTreeMap::new(),
        command_line: vec!["one_run".to_owned()],
        tool_version: "example".to_owned(),
        stop: StopHandle::default(),
        observer: messages.clone(),
    };
    let words = [
        "default".to_owned(),
        "workflow.generate_data=true".to_owned(),
        "workflow.evaluation=false".to_owned(),
        "dataset.num_files_train=4".to_owned(),
        "dataset.num_files_eval=0".to_owned(),
        "dataset.num_samples_per_file=2".to_owned(),
        "dataset.record_length_bytes=1024".to_owned(),
        "train.epochs=1".to_owned(),
        "train.computation_time=0".to_owned(),
        "reader.batch_size=1".to_owned(),
        format!("dataset.data_folder={}", folder.join("data").display()),
    ];
    let words = ConfigWords { words: words.into(), ..ConfigWords::default() };
    let configuration = Configuration::Words { words, default: None };
    let options = Options { configuration, output: Some(folder.join("out")), ..Options::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::usage(format_args!("starting the runtime: {error}")))?;
    // The communicator is ours: a run neither makes nor finalizes it.
    let ranks = Rc::new(Ranks::new(Rc::new(Solo::new()), Arc::new(front)));
    let run = dlio_run::run::run(Rc::clone(&ranks), &options, &Action::Workflow);
    let outcome = tokio::task::LocalSet::new().block_on(&runtime, run).into_result();
    // The output folder stays locked until its user says that everything is written.
    match &outcome {
        Ok(_) => ranks.front().stop.completed(),
        Err(failure) => {
            ranks.front().stop.failed(failure);
            ranks.front().stop.end_early();
        }
    }
    let said = messages.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    outcome.map(|outcome| (outcome, said))
}

#[allow(dead_code, reason = "the test of this example calls `one_run`")]
#[expect(clippy::print_stdout, reason = "an example")]
fn main() -> Result<(), Failure> {
    let folder = std::env::temp_dir().join("dlio-one-run");
    let (outcome, _) = one_run(&folder)?;
    println!("{} file(s) in {}", outcome.generated.unwrap_or_default().world.files, outcome.output.display());
    Ok(())
}
