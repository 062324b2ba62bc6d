//! The options of a replayed trace.

use clap::{Args, ValueEnum};
use dlio_plan::replay::{Late, Mapping, Timing};
use dlio_run::replay::options::TraceOptions;

/// Options of a replayed trace; an option that is not given has no value.
#[derive(Debug, Args, Default, PartialEq)]
#[command(next_help_heading = "When the argument is a folder with a trace")]
#[expect(clippy::struct_excessive_bools, reason = "independent switches of a command line")]
pub(crate) struct TraceReplayArgs {
    /// When operations are issued; default: `open`.
    #[arg(long, value_enum)]
    timing: Option<TimingArg>,
    /// With `--timing open`, treatment of operations that are more than 10 ms late; default: `catch-up`.
    #[arg(long, value_enum)]
    late: Option<LateArg>,
    /// Assignment of recorded ranks to the ranks of the replay; default: `block`.
    #[arg(long, value_enum)]
    mapping: Option<MappingArg>,
    /// Factor by which the replay runs faster than the recording.
    #[arg(long, value_name = "FACTOR")]
    pub(crate) speed: Option<f64>,
    /// Start of the replayed interval, counted from the first event of the trace: `90`, `90s`, `1.5min`.
    #[arg(long, value_name = "TIME", value_parser = crate::quantity::seconds)]
    pub(crate) from: Option<f64>,
    /// End of the replayed interval (exclusive), counted from the first event of the trace.
    #[arg(long, value_name = "TIME", value_parser = crate::quantity::seconds)]
    pub(crate) to: Option<f64>,
    /// Replay only these operations: read, write, stat, list, delete.
    #[arg(long, value_name = "OP", value_delimiter = ',')]
    pub(crate) op: Vec<String>,
    /// Replay only these recorded ranks.
    #[arg(long, value_name = "R", value_delimiter = ',')]
    pub(crate) rank: Vec<u32>,
    /// Replay only operations on objects whose recorded name contains this text. Repeatable.
    #[arg(long, value_name = "TEXT")]
    pub(crate) object: Vec<String>,
    /// Replay only operations on this share of all objects, such as `10%`; a hash of the name selects them.
    #[arg(long, value_name = "N%")]
    pub(crate) sample_objects: Option<String>,
    /// Replace the prefix FROM of object names with TO, or use `re:PATTERN=>TO` for a regular expression; `TO1|TO2` distributes objects.
    /// The first matching rule applies, and every name must match one. Repeatable.
    #[arg(long, value_name = "FROM=TO")]
    pub(crate) map: Vec<String>,
    /// Send operations that were recorded at endpoint FROM to endpoint TO; others go to the configured endpoints. Repeatable.
    #[arg(long, value_name = "FROM=TO")]
    pub(crate) map_endpoint: Vec<String>,
    /// Treatment of attempts that failed when they were recorded; default: `skip`.
    #[arg(long, value_enum)]
    failed: Option<FailedArg>,
    /// Write every object once with its final size, including files that were written in pieces.
    #[arg(long)]
    pub(crate) whole_writes: bool,
    /// Factor for offsets and sizes.
    #[arg(long, value_name = "FACTOR")]
    pub(crate) scale_size: Option<f64>,
    /// Number of passes, one after the other.
    #[arg(long, value_name = "N", value_parser = crate::quantity::count::<u32>)]
    pub(crate) repeat: Option<u32>,
    /// Largest number of operations in flight per rank; default: 64.
    #[arg(long, value_name = "N", value_parser = crate::quantity::inflight)]
    pub(crate) max_inflight: Option<u32>,
    /// First create missing objects that the trace reads, with their recorded sizes; with --map or --in-place, also resize objects of a
    /// different size.
    #[arg(long)]
    pub(crate) prepare: bool,
    /// Print what would be done without doing it.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Write and delete the recorded objects themselves.
    #[arg(long)]
    pub(crate) in_place: bool,
    /// Exit with code 7 unless METRIC<=VALUE or METRIC>=VALUE holds, such as `issue_error_p99<=1ms`; `docs/replay.md` lists the metrics. Repeatable.
    #[arg(long, value_name = "BOUND")]
    pub(crate) require: Vec<String>,
}

impl TraceReplayArgs {
    /// Returns the options of the replay.
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

    /// Returns whether `--late` is given with a timing that has no schedule.
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
    /// At the recorded times.
    Open,
    /// In the order of each recorded lane, with the recorded pauses between completion and next start.
    Closed,
    /// Like `closed`, and operations that waited for the training loop or for other ranks wait for them again.
    Dependent,
    /// In the order of each recorded lane, without pauses.
    Asap,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LateArg {
    /// Delay the rest of the schedule.
    Stretch,
    /// Issue them immediately until the schedule is met again.
    CatchUp,
    /// Leave them out and count them.
    Skip,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MappingArg {
    /// Contiguous blocks of recorded ranks.
    Block,
    /// Round-robin.
    Modulo,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailedArg {
    /// Leave them out and count them.
    Skip,
    /// Issue them again, except parts of uploads; failing again is no error.
    Issue,
}
