//! The files that a run may write into its output folder.

use std::path::Path;

use dlio_config::Workload;
use dlio_config::vocabulary::Profiler;
use dlio_trace::tables;

use super::manifest::Section;

/// Names of planned files, relative to the folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Planned {
    /// All planned files.
    pub(super) files: Vec<String>,
    /// Folder of traces, in which there must be no other trace of any rank; empty: the folder itself; `None`: no
    /// traces.
    pub(super) traces: Option<String>,
    /// The log file among the files, which is created before anything else.
    pub(super) log: Option<String>,
}

impl Planned {
    /// Plans files with these names.
    pub fn files(names: impl IntoIterator<Item = String>) -> Self {
        Self { files: names.into_iter().collect(), traces: None, log: None }
    }

    /// Adds traces of `ranks` ranks in `folder`, with their side tables.
    #[must_use]
    pub fn and_traces(mut self, folder: &str, ranks: u32) -> Self {
        let of_ranks = (0..ranks).flat_map(|rank| [dlio_trace::file_name(rank), tables::counters_name(rank)]);
        let names = of_ranks.chain([tables::COUNTERS, tables::FILES].map(str::to_owned));
        let below = |name: String| if folder.is_empty() { name } else { format!("{folder}/{name}") };
        self.files.extend(names.map(below));
        self.traces = Some(folder.to_owned());
        self
    }

    /// Plans the files of a run of a workload; `trace`: it replays a trace.
    #[must_use]
    pub fn of_run(section: Section, workload: &Workload, ranks: u32, trace: bool) -> Self {
        let log = log_file(&workload.output.log_file);
        let mut planned = Self { log: Some(log.clone()), ..Self::files([log]) };
        let folder = match section {
            Section::Generate => "trace-generate",
            Section::Verify => "trace-verify",
            Section::Replay => "trace",
            Section::DryRun | Section::Analyze | Section::Import | Section::Export => return planned,
        };
        if section == Section::Replay && trace {
            planned.files.push("replay.json".to_owned());
        } else if section == Section::Replay {
            let of_rank = |rank| [format!("{rank}_output.json"), format!("{rank}_per_epoch_stats.json")];
            planned.files.extend((0..ranks).flat_map(of_rank));
            planned.files.push("summary.json".to_owned());
            if workload.workflow.profiling && workload.profiling.profiler == Profiler::Iostat {
                planned.files.push("iostat.json".to_owned());
            }
        }
        if workload.dlio_rs.trace { planned.and_traces(folder, ranks) } else { planned }
    }
}

/// Normalizes the log file's name: without `.` components.
fn log_file(name: &str) -> String {
    Path::new(name).components().collect::<std::path::PathBuf>().to_string_lossy().trim_start_matches("./").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_bring_their_side_tables() {
        let planned = Planned::default().and_traces("trace", 1);
        let names = ["rank-00000.parquet", "counters-00000.parquet", "counters.parquet", "files.parquet"];
        assert_eq!(planned.files, names.map(|name| format!("trace/{name}")));
        assert_eq!(Planned::default().and_traces("", 1).files, names);
    }

    #[test]
    fn the_log_file_is_named_as_it_is_found() {
        assert_eq!(log_file("./logs//x.log"), "logs/x.log");
        assert_eq!(log_file("/var/x.log"), "/var/x.log");
        assert_eq!(log_file("../x.log"), "../x.log");
    }
}
