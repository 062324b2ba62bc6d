//! Options of a run, without types of a command line parser.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dlio_config::vocabulary::Decode;
use dlio_engine::StallLimits;

use crate::failure::Failure;
use crate::message::Verbosity;
use crate::replay::options::TraceOptions;
use crate::resolve::config_source::{ConfigSource, ConfigWords};

/// Options of a run.
#[derive(Clone)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches")]
pub struct Options {
    /// Configuration and overrides.
    pub configuration: Configuration,
    /// Which messages the observer gets.
    pub verbosity: Verbosity,
    /// Compare the computed file set with a listing of the storage before the run.
    pub list: bool,
    /// Run even if the training has no steps.
    pub allow_empty: bool,
    /// Processing of samples after reading; `None`: as `dlio_rs.decode` says.
    pub decode: Option<Decode>,
    /// Registry directory of `dlio-rs serve`, whose endpoints and credentials are used.
    pub registry: Option<PathBuf>,
    /// Maximum wait until all endpoints of the registry's servers are announced; 0: look once.
    pub registry_wait: Duration,
    /// Output folder; `None`: `output.folder`, or else a dated folder below `hydra_log`.
    pub output: Option<PathBuf>,
    /// Existing files that are written again; `None`: none.
    pub overwrite: Option<Overwrite>,
    /// Skip the check of endpoints, credentials and bucket before the run.
    pub no_preflight: bool,
    /// Time without a byte after which a retried S3 operation ends the run; `None`: `dlio_rs.retry_for`.
    pub retry_for: Option<Duration>,
    /// Time without progress after which a wait is reported; 0: never.
    pub stall_seconds: Duration,
    /// Time without progress after which the run ends; 0: never.
    pub stall_timeout: Duration,
    /// Accept every certificate of https endpoints.
    pub no_verify_ssl: bool,
}

impl Default for Options {
    /// Returns the defaults of the command line without a configuration.
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
    /// Returns the times after which a wait is reported and ends the run.
    #[must_use]
    pub fn stall_limits(&self) -> StallLimits {
        StallLimits { report_after: self.stall_seconds, end_after: self.stall_timeout }
    }

    /// Returns whether complete files of the dataset are replaced.
    #[must_use]
    pub fn overwrites_data(&self) -> bool {
        matches!(self.overwrite, Some(Overwrite::All | Overwrite::Data))
    }

    /// Whether files in the output folder are replaced that no earlier run lists.
    #[must_use]
    pub fn overwrites_output(&self) -> bool {
        matches!(self.overwrite, Some(Overwrite::All | Overwrite::Output))
    }
}

/// Existing files that are written again; `None`: none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overwrite {
    /// Both kinds of files.
    All,
    /// Complete files of the dataset.
    Data,
    /// Files in the output folder that no earlier run lists in `run.json`.
    Output,
}

/// Kind of run.
#[derive(Debug, Clone)]
pub enum Action {
    /// Writes the dataset.
    Generate,
    /// Runs the training loop, or only checkpoints if `workflow.*` enables nothing else.
    Train,
    /// Runs the steps that `workflow.*` enables.
    Workflow,
    /// Checks the content of the whole dataset.
    Verify,
    /// Repeats the storage operations of a recorded trace.
    Trace {
        /// Folder of the trace, or the output folder that holds it.
        folder: PathBuf,
        /// Options of the replay.
        options: Box<TraceOptions>,
    },
    /// Runs the steps that `workflow.*` enables, with the log and the files of `dlio_benchmark`.
    Reference,
}

/// Source of the configuration.
#[derive(Clone)]
pub enum Configuration {
    /// Words, as on a command line.
    Words {
        /// The arguments.
        words: ConfigWords,
        /// Name of the configuration if the words have none.
        default: Option<String>,
    },
    /// A function that finds the configuration; only rank 0 calls it.
    Found(Arc<dyn Fn() -> Result<ConfigSource, Failure> + Send + Sync>),
}
