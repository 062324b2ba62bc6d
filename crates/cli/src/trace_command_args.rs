//! The command line of `dlio-rs trace`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use dlio_trace::import::SourceFormat;

use crate::args::OutputFormat;
use crate::location::local_path;

#[derive(Debug, Subcommand)]
pub(crate) enum TraceCommand {
    /// Truncate the files of a killed process after their last complete footer, so that every Parquet reader can open them.
    #[command(after_help = "Examples:
  dlio-rs trace repair out/trace")]
    Repair(TraceRepairArgs),
    /// Convert traces of other programs: dftracer, s3dlio, sai3-bench, warp, elbencho, fio, KV-cache, Darshan DXT.
    #[command(after_help = "Examples:
  dlio-rs trace import run/*.pfw.gz --out imported/
  dlio-rs trace import warp-get.csv.zst --out warp/ --strict")]
    Import(TraceImportArgs),
    /// Convert a trace for other programs: Chrome and Perfetto, spreadsheets, dftracer's tools, warp.
    #[command(after_help = "Examples:
  dlio-rs trace export out/trace --to chrome --out run.json
  dlio-rs trace export out/trace --to pfw --out pfw/")]
    Export(TraceExportArgs),
    /// Print a workload with a statistically similar storage load, and a measure of the similarity.
    #[command(after_help = "Examples:
  dlio-rs trace fit out/trace > model.yaml
  dlio-rs generate model.yaml && dlio-rs replay model.yaml")]
    Fit(TraceFitArgs),
}

#[derive(Debug, Args)]
pub(crate) struct TraceFitArgs {
    /// Trace folder, output folder or trace file.
    #[arg(value_name = "TRACES", value_parser = local_path())]
    pub(crate) traces: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct TraceExportArgs {
    /// Trace folder, output folder or trace file.
    #[arg(value_name = "TRACES", value_parser = local_path())]
    pub(crate) traces: PathBuf,
    /// Target format.
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) to: ExportFormat,
    /// Output file; for `pfw`, a folder with one file per rank.
    #[arg(long, value_name = "PATH", value_parser = local_path())]
    pub(crate) out: PathBuf,
    /// With `pfw`: replace files in the folder that no earlier export lists.
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Format of the result.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: OutputFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// Chrome trace events as JSON, for Perfetto.
    Chrome,
    /// All columns as comma-separated values.
    Csv,
    /// dftracer's JSON lines.
    Pfw,
    /// Storage operations as warp's benchmark data.
    Warp,
}

#[derive(Debug, Args)]
pub(crate) struct TraceImportArgs {
    /// Files, or folders of files, plain, gzip or zstd.
    #[arg(required = true, value_name = "SRC", value_parser = local_path())]
    pub(crate) sources: Vec<PathBuf>,
    /// Folder for the traces: one file per process or client of the source.
    #[arg(long, value_name = "DIR", value_parser = local_path())]
    pub(crate) out: PathBuf,
    /// Format of the sources; default: detected from the beginning of each file.
    #[arg(long, value_name = "FORMAT", value_parser = source_format())]
    pub(crate) from: Option<String>,
    /// Format of the result. The name of a source format is accepted as a synonym of `--from`.
    #[arg(long, value_name = "text|json", default_value = "text", hide_possible_values = true, value_parser = source_or_output_format())]
    pub(crate) format: String,
    /// Stop at the first line that cannot be understood.
    #[arg(long)]
    pub(crate) strict: bool,
    /// Replace the traces that the folder holds.
    #[arg(long)]
    pub(crate) overwrite: bool,
}

impl TraceImportArgs {
    /// Returns the format of the sources, if it was given, and the format of the result.
    pub(crate) fn formats(&self) -> (Option<SourceFormat>, OutputFormat) {
        let source = |name: &str| SourceFormat::ALL.iter().find(|(_, known)| *known == name).map(|(format, _)| *format);
        let output = if self.format == "json" { OutputFormat::Json } else { OutputFormat::Text };
        (self.from.as_deref().and_then(source).or_else(|| source(&self.format)), output)
    }
}

fn source_or_output_format() -> clap::builder::PossibleValuesParser {
    let sources = SourceFormat::ALL.iter().map(|(_, name)| *name);
    ["text", "json"].into_iter().chain(sources).collect::<Vec<_>>().into()
}

fn source_format() -> clap::builder::PossibleValuesParser {
    SourceFormat::ALL.iter().map(|(_, name)| *name).collect::<Vec<_>>().into()
}

#[derive(Debug, Args)]
pub(crate) struct TraceRepairArgs {
    /// Trace folders or trace files.
    #[arg(required = true, value_name = "PATH", value_parser = local_path())]
    pub(crate) paths: Vec<PathBuf>,
    /// Format of the result.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: OutputFormat,
}
