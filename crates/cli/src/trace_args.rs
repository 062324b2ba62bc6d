//! The options of a replayed trace.

use clap::{Args, ValueEnum};
use dlio_plan::replay::{Late, Mapping, Timing};
use dlio_run::replay::options::TraceOptions;

/// Options of a replayed trace; there are none unless they are given.
#[derive(Debug, Args, Default, PartialEq)]
#[command(next_help_heading = "When the argument is a folder with a trace")]
#[expect(clippy::struct_excessive_bools, reason = "independent switches of a command line")]
pub(crate) struct TraceReplayArgs {
    /// When operations are issued; default: open.
    #[arg(long, value_enum)]
    timing: Option<TimingArg>,
    /// What happens to operations that are more than 10 ms late, with open timing; default: catch-up.
    #[arg(long, value_enum)]
    late: Option<LateArg>,
    /// How recorded ranks come to the ranks of the replay; default: block.
    #[arg(long, value_enum)]
    mapping: Option<MappingArg>,
    /// Factor by which time runs faster than recorded.
    #[arg(long, value_name = "FACTOR")]
    pub(crate) speed: Option<f64>,
    /// First moment, counted from the trace's first event: `90`, `90s`, `1.5min`.
    #[arg(long, value_name = "TIME", value_parser = crate::quantity::seconds)]
    pub(crate) from: Option<f64>,
    /// First moment that is left out, counted likewise.
    #[arg(long, value_name = "TIME", value_parser = crate::quantity::seconds)]
    pub(crate) to: Option<f64>,
    /// Only these operations: read, write, stat, list, delete.
    #[arg(long, value_name = "OP", value_delimiter = ',')]
    pub(crate) op: Vec<String>,
    /// Only these recorded ranks.
    #[arg(long, value_name = "R", value_delimiter = ',')]
    pub(crate) rank: Vec<u32>,
    /// Only objects whose recorded name contains this text; repeatable.
    #[arg(long, value_name = "TEXT")]
    pub(crate) object: Vec<String>,
    /// Only the operations on this share of all objects, such as 10%, chosen by their names alone.
    #[arg(long, value_name = "N%")]
    pub(crate) sample_objects: Option<String>,
    /// Names that begin with FROM begin with TO instead, or `re:PATTERN=>TO` for a regular expression; TO1|TO2 deals objects out. The first
    /// rule that fits counts, and one must. Repeatable.
    #[arg(long, value_name = "FROM=TO")]
    pub(crate) map: Vec<String>,
    /// What was recorded at endpoint FROM goes to endpoint TO, and the rest to those of the configuration. Repeatable.
    #[arg(long, value_name = "FROM=TO")]
    pub(crate) map_endpoint: Vec<String>,
    /// What becomes of attempts that failed when they were recorded; default: skip.
    #[arg(long, value_enum)]
    failed: Option<FailedArg>,
    /// Write objects whole, once, also files that were written in pieces: as large as they become.
    #[arg(long)]
    pub(crate) whole_writes: bool,
    /// Factor for offsets and sizes.
    #[arg(long, value_name = "FACTOR")]
    pub(crate) scale_size: Option<f64>,
    /// Do it so often, one pass after the other.
    #[arg(long, value_name = "N", value_parser = crate::quantity::count::<u32>)]
    pub(crate) repeat: Option<u32>,
    /// Operations of a rank at a time, at most; default: 64.
    #[arg(long, value_name = "N", value_parser = crate::quantity::inflight)]
    pub(crate) max_inflight: Option<u32>,
    /// First bring the objects that the trace reads to their recorded sizes: where they are missing, and with --map or --in-place where they
    /// have another one.
    #[arg(long)]
    pub(crate) prepare: bool,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Write and delete objects where they were recorded.
    #[arg(long)]
    pub(crate) in_place: bool,
    /// Exit with 7 unless METRIC<=VALUE or METRIC>=VALUE holds, such as `issue_error_p99<=1ms`; `docs/replay.md` lists the metrics. Repeatable.
    #[arg(long, value_name = "BOUND")]
    pub(crate) require: Vec<String>,
}

impl TraceReplayArgs {
    /// What is asked of the replay.
    pub(crate) fn options(self) -> TraceOptions {
        let Self {
            timing,
            late,
            mapping,
            speed,
            from,
            to,
            op,
            rank,
            object,
            sample_objects,
            map,
            map_endpoint,
            failed,
            whole_writes,
            scale_size,
            repeat,
            max_inflight,
            prepare,
            dry_run,
            in_place,
            require,
        } = self;
        TraceOptions {
            timing: timing.map(Timing::from),
            late: late.map(Late::from),
            mapping: mapping.map(Mapping::from),
            speed,
            from,
            to,
            op,
            rank,
            object,
            sample_objects,
            map,
            map_endpoint,
            issues_failed: failed == Some(FailedArg::Issue),
            whole_writes,
            scale_size,
            repeat,
            max_inflight,
            prepare,
            dry_run,
            in_place,
            require,
        }
    }

    /// Whether `--late` says something that the timing cannot do.
    pub(crate) fn late_without_schedule(&self) -> bool {
        self.late.is_some() && !matches!(self.timing, None | Some(TimingArg::Open))
    }
}

impl From<TimingArg> for Timing {
    fn from(arg: TimingArg) -> Self {
        match arg {
            TimingArg::Open => Self::Open,
            TimingArg::Closed => Self::Closed,
            TimingArg::Dependent => Self::Dependent,
            TimingArg::Asap => Self::Asap,
        }
    }
}

impl From<LateArg> for Late {
    fn from(arg: LateArg) -> Self {
        match arg {
            LateArg::CatchUp => Self::CatchUp,
            LateArg::Stretch => Self::Stretch,
            LateArg::Skip => Self::Skip,
        }
    }
}

impl From<MappingArg> for Mapping {
    fn from(arg: MappingArg) -> Self {
        match arg {
            MappingArg::Block => Self::Block,
            MappingArg::Modulo => Self::Modulo,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TimingArg {
    /// At the recorded moments.
    Open,
    /// In the order of each recorded lane, pauses between completion and next start kept.
    Closed,
    /// As closed, and what waited for the training loop or for other ranks waits for them again.
    Dependent,
    /// In the order of each recorded lane, without pauses.
    Asap,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LateArg {
    /// The rest of the schedule moves.
    Stretch,
    /// They are done at once, until the schedule is met again.
    CatchUp,
    /// They are left out and counted.
    Skip,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MappingArg {
    /// Neighbours stay together.
    Block,
    /// Dealt out in turn.
    Modulo,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailedArg {
    /// They are left out and counted.
    Skip,
    /// They are made again, but for parts of uploads; failing again is no failure.
    Issue,
}
