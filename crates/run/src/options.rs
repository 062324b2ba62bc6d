//! What is asked of a run, whoever asks: no type of any command line.

use std::path::PathBuf;
use std::time::Duration;

use dlio_config::vocabulary::Dialect;
use dlio_engine::StallLimits;

/// What is asked of a run besides its configuration.
#[derive(Debug, Clone)]
pub struct Options {
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
    /// What goes to standard output at the end.
    pub format: OutputFormat,
    /// Version of the program, for the traces.
    pub tool_version: String,
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

/// What goes to standard output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OutputFormat {
    /// What people read.
    #[default]
    Text,
    /// One JSON object; docs/json.md describes its keys.
    Json,
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
