//! What is asked of a run, whoever asks: no type of any command line.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dlio_config::vocabulary::{Decode, Dialect};
use dlio_engine::StallLimits;

use crate::failure::Failure;
use crate::outputs::log::Verbosity;
use crate::replay::options::TraceOptions;
use crate::resolve::source::Wanted;

/// What is asked of a run.
#[derive(Clone)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches")]
pub struct Options {
    /// Configuration and overrides.
    pub configuration: Configuration,
    /// How much the observer is told.
    pub verbosity: Verbosity,
    /// Compare the computed file set with what the storage lists, before the run.
    pub list: bool,
    /// Run even if the training has no steps.
    pub allow_empty: bool,
    /// What is done with samples besides reading them; `None`: `dlio_rs.decode`.
    pub decode: Option<Decode>,
    /// Registry directory of `dlio-rs serve`: its endpoints and credentials are used.
    pub registry: Option<PathBuf>,
    /// How long to wait until every endpoint of the registry's servers is announced; 0 looks once.
    pub registry_wait: Duration,
    /// Output folder; `None`: `output.folder`, then a dated folder under `hydra_log`.
    pub output: Option<PathBuf>,
    /// Files that are written again although they are there.
    pub overwrite: Option<Overwrite>,
    /// Skip the check of endpoints, credentials and bucket before the run.
    pub no_preflight: bool,
    /// Time without a byte after which an S3 operation ends the run; `None`: `dlio_rs.retry_for`.
    pub retry_for: Option<Duration>,
    /// Time without progress after which a wait is reported; 0: never.
    pub stall_seconds: Duration,
    /// Time without progress after which the run ends; 0: never.
    pub stall_timeout: Duration,
    /// Accept every certificate of https endpoints.
    pub no_verify_ssl: bool,
}

impl Default for Options {
    /// The defaults of the command line, and no configuration.
    fn default() -> Self {
        Self {
            configuration: Configuration::Words { words: ConfigWords::default(), default: None },
            verbosity: Verbosity::Normal,
            list: false,
            allow_empty: false,
            decode: None,
            registry: None,
            registry_wait: Duration::from_mins(1),
            output: None,
            overwrite: None,
            no_preflight: false,
            retry_for: None,
            stall_seconds: Duration::from_mins(1),
            stall_timeout: Duration::ZERO,
            no_verify_ssl: false,
        }
    }
}

impl Options {
    /// When a wait is reported, and when it ends the run.
    #[must_use]
    pub fn stall_limits(&self) -> StallLimits {
        StallLimits { report_after: self.stall_seconds, end_after: self.stall_timeout }
    }

    /// Whether complete files of the dataset are written again.
    #[must_use]
    pub fn overwrites_data(&self) -> bool {
        matches!(self.overwrite, Some(Overwrite::All | Overwrite::Data))
    }

    /// Whether files in the output folder are replaced that no run lists.
    #[must_use]
    pub fn overwrites_output(&self) -> bool {
        matches!(self.overwrite, Some(Overwrite::All | Overwrite::Output))
    }
}

/// Files that are written again although they are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overwrite {
    /// Both.
    All,
    /// Complete files of the dataset.
    Data,
    /// Files in the output folder that no earlier run lists.
    Output,
}

/// What a run does.
#[derive(Debug, Clone)]
pub enum Action {
    /// Writes the dataset.
    Generate,
    /// The training loop, whatever `workflow.*` says, unless it asks for nothing but checkpoints.
    Train,
    /// What `workflow.*` says.
    Workflow,
    /// Checks the content of the whole dataset.
    Verify,
    /// Does the operations of a recorded trace again.
    Trace {
        /// Folder of the trace, or the output folder that holds it.
        folder: PathBuf,
        /// What is replayed, and how.
        options: Box<TraceOptions>,
    },
    /// What `workflow.*` says, with the log and the files of `dlio_benchmark`.
    Reference,
}

/// Where the configuration comes from.
#[derive(Clone)]
pub enum Configuration {
    /// Words as on a command line.
    Words {
        /// The words.
        words: ConfigWords,
        /// Name of the configuration where the words name none.
        default: Option<String>,
    },
    /// A function that finds it; rank 0 alone calls it.
    Found(Arc<dyn Fn() -> Result<Wanted, Failure> + Send + Sync>),
}

/// A configuration as it is asked for.
#[derive(Debug, Clone, Default)]
pub struct ConfigWords {
    /// DLIO YAML file or name of a bundled workload, and overrides in Hydra's form.
    pub words: Vec<String>,
    /// How the keys are understood; `None`: `dlio_rs.dialect`, then `dlio`.
    pub dialect: Option<Dialect>,
    /// Unknown keys are errors.
    pub strict: bool,
}
