//! The command line: one definition for the parser, `--help`, the shell completions and the manual pages.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use dlio_config::vocabulary::{Decode, Dialect};
use dlio_run::options::{self, Configuration, Options};
use dlio_run::resolve::config_source::ConfigWords;

use crate::location::local_path;
use crate::serve_args::ServeArgs;
use crate::text_args::{CompletionsArgs, InstallLinksArgs, ManArgs, WorkloadsArgs};
use crate::trace_args::TraceReplayArgs;
use crate::trace_command_args::TraceCommand;

/// DLIO-compatible workload generator and replayer: can this storage feed these accelerators?
///
/// Under `mpirun` every process is one rank, one simulated accelerator; without it the world has one rank.
#[derive(Debug, Parser)]
#[command(name = "dlio-rs", version = crate::version::line(), max_term_width = 100, propagate_version = true, after_long_help = crate::exit::HELP)]
pub(crate) struct Cli {
    /// Advice to the user.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Print errors only.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Print more detail; give it twice for debug output. `RUST_LOG` takes precedence.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// How ranks find each other (environment variable: `DLIO_RS_COMM`).
    #[arg(long, global = true, value_enum, value_name = "HOW")]
    pub(crate) comm: Option<CommArg>,
    /// MPI library to open instead of the launcher's own, for example `/opt/mpich/lib/libmpi.so.12` (environment variable:
    /// `DLIO_RS_MPI`).
    #[arg(long, global = true, value_name = "FILE", value_parser = local_path())]
    pub(crate) mpi: Option<PathBuf>,
}

/// How ranks find each other.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum CommArg {
    /// Through MPI if an MPI launcher is detected, otherwise as a world of one rank (the default).
    Auto,
    /// Through MPI, even if no launcher is detected.
    Mpi,
    /// Not at all: every process is a world of one rank.
    Solo,
}

impl CommArg {
    /// The value of `DLIO_RS_COMM` for this choice.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Mpi => "mpi",
            Self::Solo => "solo",
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write the dataset of a workload to disk or to S3 endpoints.
    #[command(
        override_usage = "dlio-rs generate [OPTIONS] [CONFIG] [OVERRIDE]...",
        after_help = "Examples:
  dlio-rs generate
  mpirun -np 2 dlio-rs generate cosmoflow_h100 dataset.num_files_train=64
  mpirun -np 2 dlio-rs generate my.yaml --registry reg/ \\
      ++workload.dataset.data_folder=s3://bucket/set"
    )]
    Generate(GenerateArgs),
    /// Run the training loop of a workload, or repeat the storage operations of a recorded trace.
    #[command(
        override_usage = "dlio-rs replay [OPTIONS] CONFIG [OVERRIDE]...
       dlio-rs replay [OPTIONS] TRACE [OVERRIDE]...",
        after_help = "Examples:
  mpirun -np 2 dlio-rs replay my.yaml train.epochs=2
  mpirun -np 2 dlio-rs replay my.yaml --registry reg/ --output out
  mpirun -np 2 dlio-rs replay out --map ./data=copy --prepare \\
      --require 'issue_error_p99<=50ms'"
    )]
    Replay(ReplayOrTraceArgs),
    /// Run the steps that `workflow.*` enables: generate the dataset, then train.
    #[command(
        override_usage = "dlio-rs run [OPTIONS] CONFIG [OVERRIDE]...",
        after_help = "Examples:
  mpirun -np 2 dlio-rs run my.yaml workflow.generate_data=true"
    )]
    Run(ReplayArgs),
    /// Check the content of every file of the dataset on all ranks, without writing anything; all bad files are counted.
    #[command(
        override_usage = "dlio-rs verify [OPTIONS] CONFIG [OVERRIDE]...",
        after_help = "Examples:
  mpirun -np 2 dlio-rs verify my.yaml
  dlio-rs verify my.yaml dlio_rs.verify_by=checksum"
    )]
    Verify(VerifyArgs),
    /// Summarise the traces of a run: latencies, throughput, utilisation and where the time went.
    #[command(after_help = "Examples:
  dlio-rs analyze out/
  dlio-rs analyze out/trace --html report.html --json report.json
  dlio-rs analyze out/ --base before/ --fail-if 'au<-1%'
  mpirun -np 2 dlio-rs analyze out/ --no-files")]
    Analyze(AnalyzeArgs),
    /// Repair, import, export or model recorded traces.
    #[command(subcommand)]
    Trace(TraceCommand),
    /// Print what every rank would read, and in which order, without touching storage.
    #[command(
        override_usage = "dlio-rs plan [OPTIONS] CONFIG [OVERRIDE]...",
        after_help = "Examples:
  dlio-rs plan unet3d_h100 --ranks 8
  dlio-rs plan my.yaml --ranks 4 --rank 3 --epoch 1 --format jsonl"
    )]
    Plan(PlanArgs),
    /// Check a configuration: every key, its value and its consequences. `doctor` checks storage and the machine.
    #[command(
        override_usage = "dlio-rs validate [OPTIONS] CONFIG [OVERRIDE]...",
        after_help = "Examples:
  dlio-rs validate my.yaml --strict
  dlio-rs validate unet3d_h100 train.epochs=2"
    )]
    Validate(ValidateArgs),
    /// Check the requirements of a workload without changing anything: endpoints, credentials, bucket, data, space, limits, ranks, clocks.
    #[command(
        override_usage = "dlio-rs doctor [OPTIONS] [CONFIG] [OVERRIDE]...",
        after_help = "Examples:
  dlio-rs doctor my.yaml
  dlio-rs doctor my.yaml --registry reg/ --format json
  mpirun -np 2 dlio-rs doctor my.yaml workflow.generate_data=true"
    )]
    Doctor(DoctorArgs),
    /// Serve S3 from memory or a directory, on one or many endpoints.
    #[command(after_help = "Examples:
  dlio-rs serve --memory --registry reg/
  dlio-rs serve --memory --endpoints 4 --memory-limit 50% --registry reg4/
  mpirun -np 2 dlio-rs serve --data objects/ --registry reg2/
  dlio-rs serve --memory --listen 127.0.0.1:9000 \\
      --access-key key --secret-key secret")]
    Serve(ServeArgs),
    /// List the bundled workloads with their files, sizes and rates, or print one.
    #[command(after_help = "Examples:
  dlio-rs workloads
  dlio-rs workloads --format json
  dlio-rs workloads unet3d_h100 > my.yaml")]
    Workloads(WorkloadsArgs),
    /// Print a shell completion script.
    #[command(after_help = "Examples:
  dlio-rs completions bash > ~/.local/share/bash-completion/completions/dlio-rs
  dlio-rs completions zsh > ~/.zfunc/_dlio-rs
  dlio-rs completions fish > ~/.config/fish/completions/dlio-rs.fish")]
    Completions(CompletionsArgs),
    /// Create links named `dlio_benchmark` and `dlio_benchmark_query` to this binary, which then accepts their command lines.
    #[command(after_help = "Examples:
  dlio-rs install-links ~/.local/bin
  mpirun -np 2 ~/.local/bin/dlio_benchmark workload=cosmoflow_h100 \\
      ++workload.workflow.generate_data=True \\
      ++workload.dataset.num_files_train=64 ++workload.train.epochs=1")]
    InstallLinks(InstallLinksArgs),
    /// Print the manual page (troff) of the program or of a command, or write those of all commands.
    #[command(after_help = "Examples:
  dlio-rs man | man -l -
  dlio-rs man trace import | man -l -
  dlio-rs man --output ~/.local/share/man/man1")]
    Man(ManArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// DLIO YAML file or name of a bundled workload, then overrides in Hydra's form
    /// (`++workload.dataset.num_files_train=8`, `reader.batch_size=4`, `workload=unet3d_h100`).
    #[arg(value_name = "CONFIG|OVERRIDE")]
    pub(crate) words: Vec<String>,
    /// Meaning of the keys; default: `dlio_rs.dialect`, then `dlio`.
    #[arg(long, value_enum)]
    pub(crate) dialect: Option<DialectArg>,
    /// Treat unknown keys as errors.
    #[arg(long)]
    pub(crate) strict: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum DialectArg {
    /// Like argonne-lcf/dlio_benchmark, including its quirks.
    Dlio,
    /// Like the MLPerf Storage v3 fork of DLIO.
    Mlperf,
    /// As documented, without the quirks of the references.
    Native,
}

#[derive(Debug, Args)]
pub(crate) struct TargetArgs {
    /// Registry directory of `dlio-rs serve`: its endpoints and credentials are used.
    #[arg(long, value_name = "DIR", value_parser = local_path())]
    pub(crate) registry: Option<PathBuf>,
    /// How long to wait until every endpoint of the registry's servers is announced; 0 looks once. A plain number is in seconds.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = crate::quantity::time)]
    pub(crate) registry_wait: std::time::Duration,
    /// Output folder; default: `output.folder`, then a dated folder under `hydra_log`.
    #[arg(long, value_name = "DIR", value_parser = local_path())]
    pub(crate) output: Option<PathBuf>,
    /// Replace existing files: complete files of the dataset (`data`), files in the output folder that no earlier run of
    /// this program lists in `run.json` (`output`), or both (`--overwrite` without a value).
    #[arg(long, value_name = "WHAT", value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "all")]
    pub(crate) overwrite: Option<Overwrite>,
    /// Skip the check of endpoints, credentials and bucket before the run.
    #[arg(long)]
    pub(crate) no_preflight: bool,
    /// How long an S3 operation is retried without receiving a byte before the run ends; default: `dlio_rs.retry_for`, then 60s.
    #[arg(long, value_name = "TIME", value_parser = crate::quantity::time)]
    pub(crate) retry_for: Option<std::time::Duration>,
    /// Time without progress after which the run reports which rank and object it waits for: `60`, `90s`, `5min`.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = crate::quantity::time)]
    pub(crate) stall_seconds: std::time::Duration,
    /// Time without progress after which the run ends with exit code 9 and reports which rank and object it waited for; 0: never.
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = crate::quantity::time)]
    pub(crate) stall_timeout: std::time::Duration,
    /// Accept every certificate of https endpoints, as `aws --no-verify-ssl` does: for a test.
    #[arg(long)]
    pub(crate) no_verify_ssl: bool,
    /// Format of the result on standard output; progress and messages always go to standard error.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: OutputFormat,
}

impl ConfigArgs {
    /// Returns the source of the configuration; `default` is the name that is used if the arguments contain none.
    pub(crate) fn configuration(&self, default: Option<String>) -> Configuration {
        Configuration::Words { words: self.words(), default }
    }

    /// Returns these arguments without types of clap.
    pub(crate) fn words(&self) -> ConfigWords {
        let Self { words, dialect, strict } = self;
        ConfigWords { words: words.clone(), dialect: dialect.map(Dialect::from), strict: *strict }
    }
}

impl From<DialectArg> for Dialect {
    fn from(arg: DialectArg) -> Self {
        match arg {
            DialectArg::Dlio => Self::Dlio,
            DialectArg::Mlperf => Self::Mlperf,
            DialectArg::Native => Self::Native,
        }
    }
}

impl TargetArgs {
    /// Options of a run.
    pub(crate) fn options(&self) -> Options {
        let Self {
            registry,
            registry_wait,
            output,
            overwrite,
            no_preflight,
            retry_for,
            stall_seconds,
            stall_timeout,
            no_verify_ssl,
            format: _,
        } = self;
        Options {
            registry: registry.clone(),
            registry_wait: *registry_wait,
            output: output.clone(),
            overwrite: overwrite.map(options::Overwrite::from),
            no_preflight: *no_preflight,
            retry_for: *retry_for,
            stall_seconds: *stall_seconds,
            stall_timeout: *stall_timeout,
            no_verify_ssl: *no_verify_ssl,
            ..Options::default()
        }
    }
}

/// Format of the result on standard output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object; docs/json.md describes its keys.
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Overwrite {
    /// Dataset and output folder.
    All,
    /// Complete files of the dataset.
    Data,
    /// Files in the output folder that no earlier run lists.
    Output,
}

impl From<Overwrite> for options::Overwrite {
    fn from(overwrite: Overwrite) -> Self {
        match overwrite {
            Overwrite::All => Self::All,
            Overwrite::Data => Self::Data,
            Overwrite::Output => Self::Output,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// Compare the dataset with a listing of the storage before the run.
    #[arg(long)]
    pub(crate) list: bool,
    /// Run even if the training has no steps.
    #[arg(long)]
    pub(crate) allow_empty: bool,
    #[command(flatten)]
    pub(crate) decode: DecodeArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayOrTraceArgs {
    #[command(flatten)]
    pub(crate) workload: ReplayArgs,
    #[command(flatten)]
    pub(crate) trace: TraceReplayArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DecodeArgs {
    /// Processing of samples after they are read, recorded separately from the reads; default: `dlio_rs.decode`.
    #[arg(long, value_enum)]
    decode: Option<DecodeArg>,
    /// Check the content of every sample and checkpoint that is read; short for `--decode verify`.
    #[arg(long, conflicts_with = "decode")]
    verify: bool,
}

impl DecodeArgs {
    /// Returns the processing that the flags choose, if one is given.
    pub(crate) fn chosen(&self) -> Option<Decode> {
        let Self { decode, verify } = self;
        if *verify {
            return Some(Decode::Verify);
        }
        decode.map(|decode| match decode {
            DecodeArg::None => Decode::None,
            DecodeArg::Verify => Decode::Verify,
            DecodeArg::Full => Decode::Full,
        })
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DecodeArg {
    /// None; only the structure of files is checked.
    None,
    /// Compare the content with the generated content, or with the format's checksums (`dlio_rs.verify_by`).
    Verify,
    /// Decode as a training reader would: checksums, decompression, pixels, values.
    Full,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches of a command line")]
pub(crate) struct AnalyzeArgs {
    /// Output folders, trace folders or trace files.
    #[arg(required = true, value_name = "PATH", value_parser = local_path())]
    pub(crate) paths: Vec<PathBuf>,
    /// File for the report as JSON; default: `report.json` next to the traces.
    #[arg(long, value_name = "FILE", value_parser = local_path())]
    pub(crate) json: Option<PathBuf>,
    /// File for the report as one self-contained HTML page; default: `report.html` next to the traces.
    #[arg(long, value_name = "FILE", value_parser = local_path())]
    pub(crate) html: Option<PathBuf>,
    /// Keep no rows in memory, for traces that do not fit. Percentiles then have an error of at most 0.4 %, and sections that need
    /// all rows are left out. Automatic above 12.5 million events.
    #[arg(long)]
    pub(crate) streaming: bool,
    /// Print the report and write no file.
    #[arg(long, conflicts_with_all = ["json", "html"])]
    pub(crate) no_files: bool,
    /// Replace a `report.json` or `report.html` next to the traces that no earlier analysis lists in `run.json`.
    #[arg(long, conflicts_with = "no_files")]
    pub(crate) overwrite: bool,
    /// Another run (output folder, trace folder or trace file) to compare with: the change of each metric, with confidence intervals.
    #[arg(long, value_name = "PATH", value_parser = local_path())]
    pub(crate) base: Option<PathBuf>,
    /// With `--base`: exit with code 8 if a metric changed by more than this and the change is significant: `au<-1%`,
    /// `read_p99>10%`. Metrics: `au`, `samples_per_second`, `wait`, `step`, `read_p50`, `read_p99`.
    #[arg(long, value_name = "METRIC<PERCENT", requires = "base")]
    pub(crate) fail_if: Vec<dlio_analyze::compare::Threshold>,
    /// Let `--fail-if` compare runs that did not complete; without this option they are an error (exit code 4).
    #[arg(long, requires = "fail_if")]
    pub(crate) allow_partial: bool,
    /// Format of the report on standard output.
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// Tables for people (also `text`).
    #[value(alias = "text")]
    Table,
    /// The complete report as JSON; with `--base` it contains `comparison`.
    Json,
    /// One line per operation, rank, host, endpoint, epoch and change, for spreadsheets.
    Csv,
    /// Markdown tables, for issues and wikis.
    Md,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanFormat {
    /// A summary for people.
    Text,
    /// The totals as one JSON object.
    Json,
    /// One JSON object per sample that is read, or per checkpoint file if the run only takes checkpoints.
    Jsonl,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Number of ranks to plan for; default: the number that the launcher has started, then the number that the model's parallelism needs, then 1.
    #[arg(long, value_name = "N", value_parser = crate::quantity::count::<u32>)]
    pub(crate) ranks: Option<u32>,
    /// Print only this rank.
    #[arg(long, value_name = "R")]
    pub(crate) rank: Option<u32>,
    /// Print only this epoch, counted from 1.
    #[arg(long, value_name = "E", value_parser = crate::quantity::count::<u32>)]
    pub(crate) epoch: Option<u32>,
    /// Output format.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: PlanFormat,
}

#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Registry directory of `dlio-rs serve` with the endpoints and credentials of the run.
    #[arg(long, value_name = "DIR", value_parser = local_path())]
    pub(crate) registry: Option<PathBuf>,
    /// Format of the result.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: OutputFormat,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Registry directory of `dlio-rs serve` whose endpoints and credentials are checked.
    #[arg(long, value_name = "DIR")]
    pub(crate) registry: Option<PathBuf>,
    /// Output folder of the run; default: `output.folder`, then a dated folder under `hydra_log`.
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Accept every certificate of https endpoints, as `aws --no-verify-ssl` does: for a test.
    #[arg(long)]
    pub(crate) no_verify_ssl: bool,
    /// Format of the report.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: OutputFormat,
}
