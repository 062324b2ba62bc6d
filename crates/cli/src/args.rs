//! The command line: one table for the parser, `--help`, the shell completions and the man page.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use dlio_config::vocabulary::{Decode, Dialect};
use dlio_run::options::{self, Configuration, Options};
use dlio_run::resolve::source::ConfigWords;

use crate::location::local_path;
use crate::serve_args::ServeArgs;
use crate::text_args::{CompletionsArgs, InstallLinksArgs, ManArgs, WorkloadsArgs};
use crate::trace_args::TraceReplayArgs;
use crate::trace_command_args::TraceCommand;

/// DLIO-compatible workload generator and replayer: can this storage feed these accelerators?
///
/// Under `mpirun` every process is one rank, one simulated accelerator; without it the world has one rank.
#[derive(Debug, Parser)]
#[command(name = "dlio-rs", version = crate::version::line(), max_term_width = 100, propagate_version = true, after_long_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Say only what went wrong.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Say more; twice for everything. `RUST_LOG` takes precedence.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// How ranks find each other (variable: `DLIO_RS_COMM`).
    #[arg(long, global = true, value_enum, value_name = "HOW")]
    pub(crate) comm: Option<CommArg>,
    /// The MPI library to open in place of the one that fits the launcher, e.g. `/opt/mpich/lib/libmpi.so.12` (variable:
    /// `DLIO_RS_MPI`).
    #[arg(long, global = true, value_name = "FILE", value_parser = local_path())]
    pub(crate) mpi: Option<PathBuf>,
}

/// How ranks find each other.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum CommArg {
    /// Through MPI where an MPI launcher is seen, else this process is alone (the default).
    Auto,
    /// Through MPI, whatever has started this process.
    Mpi,
    /// Every process is a world of its own.
    Solo,
}

impl CommArg {
    /// The word of the variable.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Mpi => "mpi",
            Self::Solo => "solo",
        }
    }
}

/// Lines that fit 80 columns: clap would break longer ones without regard to their indentation.
const EXIT_CODES: &str = "Under mpirun:
  As root, Open MPI wants `mpirun --allow-run-as-root`; for more ranks than the
  machine has cores, `mpirun --oversubscribe`.

Exit codes:
    0  success
    1  unexpected error
    2  the command line or the configuration is wrong
    3  the storage cannot be used: endpoint, credentials, bucket, permission,
       no space
    4  data are missing or damaged
    5  ranks: launcher and MPI disagree, plans differ, another rank ended
    6  a trace cannot be read or written
    7  a replayed trace did not keep a bound of --require
    8  analyze --fail-if: a metric changed beyond its threshold
    9  a wait lasted longer than --stall-timeout
   10  the output folder is in use by another run, or holds files that no run of
       this program lists
  128 + n  ended by signal n: 130 Ctrl-C (SIGINT), 143 SIGTERM, 129 SIGHUP,
       131 SIGQUIT, 138 SIGUSR1, 140 SIGUSR2, 152 SIGXCPU";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write the data set of a workload to disk or to S3 endpoints.
    #[command(
        override_usage = "dlio-rs generate [OPTIONS] [CONFIG] [OVERRIDE]...",
        after_help = "Examples:
  dlio-rs generate
  mpirun -np 2 dlio-rs generate cosmoflow_h100 dataset.num_files_train=64
  mpirun -np 2 dlio-rs generate my.yaml --registry reg/ \\
      ++workload.dataset.data_folder=s3://bucket/set"
    )]
    Generate(GenerateArgs),
    /// Run the training loop of a workload, or do the storage operations of a recorded trace again.
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
    /// Do what `workflow.*` asks for: generate, then train.
    #[command(
        override_usage = "dlio-rs run [OPTIONS] CONFIG [OVERRIDE]...",
        after_help = "Examples:
  mpirun -np 2 dlio-rs run my.yaml workflow.generate_data=true"
    )]
    Run(ReplayArgs),
    /// Check the content of every file of the data set, on all ranks: nothing is written, every bad file is counted.
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
    /// Work on recorded traces.
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
    /// Check a configuration: every key, value and consequence. What it needs outside of itself is looked at by `doctor`.
    #[command(
        override_usage = "dlio-rs validate [OPTIONS] CONFIG [OVERRIDE]...",
        after_help = "Examples:
  dlio-rs validate my.yaml --strict
  dlio-rs validate unet3d_h100 train.epochs=2"
    )]
    Validate(ValidateArgs),
    /// Check what a workload needs, without changing anything: endpoints, credentials, bucket, data, space, limits, ranks, clocks.
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
    /// List the bundled workloads with what they read and how fast, or print one.
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
    /// Make links to this binary under the names `dlio_benchmark` and `dlio_benchmark_query`, whose command lines it then takes.
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
    /// How the keys are understood; default: `dlio_rs.dialect`, then `dlio`.
    #[arg(long, value_enum)]
    pub(crate) dialect: Option<DialectArg>,
    /// Treat unknown keys as errors.
    #[arg(long)]
    pub(crate) strict: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum DialectArg {
    /// As argonne-lcf/dlio_benchmark, quirks included.
    Dlio,
    /// As the MLPerf Storage v3 fork.
    Mlperf,
    /// What the keys say.
    Native,
}

#[derive(Debug, Args)]
pub(crate) struct TargetArgs {
    /// Registry directory of `dlio-rs serve`: its endpoints and credentials are used.
    #[arg(long, value_name = "DIR", value_parser = local_path())]
    pub(crate) registry: Option<PathBuf>,
    /// How long to wait until every endpoint of the registry's servers is announced; 0 looks once. A number alone is seconds.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = crate::quantity::time)]
    pub(crate) registry_wait: std::time::Duration,
    /// Output folder; default: `output.folder`, then a dated folder under `hydra_log`.
    #[arg(long, value_name = "DIR", value_parser = local_path())]
    pub(crate) output: Option<PathBuf>,
    /// Write again what is there already: complete files of the data set (`data`), files in the output folder that no earlier run of
    /// this program lists in `run.json` (`output`), or both (`--overwrite` alone).
    #[arg(long, value_name = "WHAT", value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "all")]
    pub(crate) overwrite: Option<Overwrite>,
    /// Skip the check of endpoints, credentials and bucket before the run.
    #[arg(long)]
    pub(crate) no_preflight: bool,
    /// Time without a byte after which an S3 operation, repeated meanwhile, ends the run; default: `dlio_rs.retry_for`, then 60s.
    #[arg(long, value_name = "TIME", value_parser = crate::quantity::time)]
    pub(crate) retry_for: Option<std::time::Duration>,
    /// Time without progress after which the run says what everybody waits for: `60`, `90s`, `5min`.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = crate::quantity::time)]
    pub(crate) stall_seconds: std::time::Duration,
    /// Time without progress after which the run ends with exit code 9 and names what everybody waits for; 0: never.
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = crate::quantity::time)]
    pub(crate) stall_timeout: std::time::Duration,
    /// Accept every certificate of https endpoints, as `aws --no-verify-ssl` does: for a test.
    #[arg(long)]
    pub(crate) no_verify_ssl: bool,
    /// What goes to standard output at the end; progress and messages go to standard error in any case.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: OutputFormat,
}

impl ConfigArgs {
    /// Where a run finds its configuration; `default`: its name where the words have none.
    pub(crate) fn configuration(&self, default: Option<String>) -> Configuration {
        Configuration::Words { words: self.words(), default }
    }

    /// The same without clap.
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
    /// What is asked of a run.
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

/// What goes to standard output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// What people read.
    #[default]
    Text,
    /// One JSON object; docs/json.md describes its keys.
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Overwrite {
    /// Both.
    All,
    /// Complete files of the data set.
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
    /// Compare the computed file set with what the storage lists, before the run.
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
    /// What is done with samples besides reading them; default: `dlio_rs.decode`. Recorded apart from the reads.
    #[arg(long, value_enum)]
    decode: Option<DecodeArg>,
    /// Check the content of every sample, and of every checkpoint, that is read: `--decode verify`.
    #[arg(long, conflicts_with = "decode")]
    verify: bool,
}

impl DecodeArgs {
    /// What the flags ask for, if any is given.
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
    /// Nothing: the structure of files is checked in passing.
    None,
    /// The content is compared with what was generated, or with the format's checksums (`dlio_rs.verify_by`).
    Verify,
    /// What a training reader would do: checksums, decompression, pixels, values.
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
    /// Where the report goes as JSON; default: `report.json` beside the traces.
    #[arg(long, value_name = "FILE", value_parser = local_path())]
    pub(crate) json: Option<PathBuf>,
    /// Where the report goes as one self-contained HTML page; default: `report.html` beside the traces.
    #[arg(long, value_name = "FILE", value_parser = local_path())]
    pub(crate) html: Option<PathBuf>,
    /// Keep no rows in memory: for traces larger than that. Percentiles then have an error of at most 0.4 %, and what needs all
    /// rows is left out. Automatic above 12.5 million events.
    #[arg(long)]
    pub(crate) streaming: bool,
    /// Print only: write no file.
    #[arg(long, conflicts_with_all = ["json", "html"])]
    pub(crate) no_files: bool,
    /// Replace a `report.json` or `report.html` beside the traces that no earlier analysis lists in `run.json`.
    #[arg(long, conflicts_with = "no_files")]
    pub(crate) overwrite: bool,
    /// Another run (output folder, trace folder or trace file): how much each metric changed since, with confidence intervals.
    #[arg(long, value_name = "PATH", value_parser = local_path())]
    pub(crate) base: Option<PathBuf>,
    /// With `--base`: exit with 8 if a metric changed like this, and surely so: `au<-1%`, `read_p99>10%`. Metrics: `au`,
    /// `samples_per_second`, `wait`, `step`, `read_p50`, `read_p99`.
    #[arg(long, value_name = "METRIC<PERCENT", requires = "base")]
    pub(crate) fail_if: Vec<dlio_analyze::compare::Threshold>,
    /// Let `--fail-if` judge runs that did not complete; without it, they are an error of their own (exit code 4).
    #[arg(long, requires = "fail_if")]
    pub(crate) allow_partial: bool,
    /// What goes to standard output.
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// For people; `text` is the same.
    #[value(alias = "text")]
    Table,
    /// The whole report; with `--base`, `comparison` is part of it.
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
    /// One JSON object per sample read; in a run of checkpoints alone, per file of a checkpoint.
    Jsonl,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Number of ranks to plan for; default: as many as the launcher has started, then what the model's parallelism needs, then 1.
    #[arg(long, value_name = "N", value_parser = crate::quantity::count::<u32>)]
    pub(crate) ranks: Option<u32>,
    /// Only this rank.
    #[arg(long, value_name = "R")]
    pub(crate) rank: Option<u32>,
    /// Only this epoch (from 1).
    #[arg(long, value_name = "E", value_parser = crate::quantity::count::<u32>)]
    pub(crate) epoch: Option<u32>,
    /// How to print it.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: PlanFormat,
}

#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Registry directory of `dlio-rs serve`: its endpoints and credentials are those of the run.
    #[arg(long, value_name = "DIR", value_parser = local_path())]
    pub(crate) registry: Option<PathBuf>,
    /// How the result is printed.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: OutputFormat,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Registry directory of `dlio-rs serve`: its endpoints and credentials are checked.
    #[arg(long, value_name = "DIR")]
    pub(crate) registry: Option<PathBuf>,
    /// Output folder of the run; default: `output.folder`, then a dated folder under `hydra_log`.
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Accept every certificate of https endpoints, as `aws --no-verify-ssl` does: for a test.
    #[arg(long)]
    pub(crate) no_verify_ssl: bool,
    /// How the report is printed.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: OutputFormat,
}
