//! The options of a replayed trace.

use clap::{Args, ValueEnum};
use dlio_plan::replay::{Late, Mapping, Timing};

/// Options of a replayed trace; there are none unless they are given.
#[derive(Debug, Args, Default, PartialEq)]
#[command(next_help_heading = "When the argument is a folder with a trace")]
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
    /// First moment, in seconds after the trace's first event.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) from: Option<f64>,
    /// First moment that is left out.
    #[arg(long, value_name = "SECONDS")]
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
    /// Names that begin with FROM begin with TO instead; the first rule that fits counts, and one must. Repeatable.
    #[arg(long, value_name = "FROM=TO")]
    pub(crate) map: Vec<String>,
    /// Factor for offsets and sizes.
    #[arg(long, value_name = "FACTOR")]
    pub(crate) scale_size: Option<f64>,
    /// Do it so often, one pass after the other.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) repeat: Option<u32>,
    /// Operations of a rank at a time, at most; default: 64.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) max_inflight: Option<u32>,
    /// First create the objects that the trace reads, at their recorded sizes, where they are missing or too small.
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
    pub(crate) fn timing(&self) -> Timing {
        match self.timing {
            None | Some(TimingArg::Open) => Timing::Open,
            Some(TimingArg::Closed) => Timing::Closed,
            Some(TimingArg::Asap) => Timing::Asap,
        }
    }

    pub(crate) fn late(&self) -> Late {
        match self.late {
            None | Some(LateArg::CatchUp) => Late::CatchUp,
            Some(LateArg::Stretch) => Late::Stretch,
            Some(LateArg::Skip) => Late::Skip,
        }
    }

    pub(crate) fn mapping(&self) -> Mapping {
        match self.mapping {
            None | Some(MappingArg::Block) => Mapping::Block,
            Some(MappingArg::Modulo) => Mapping::Modulo,
        }
    }

    /// Whether `--late` says something that the timing cannot do.
    pub(crate) fn late_without_schedule(&self) -> bool {
        self.late.is_some() && self.timing() != Timing::Open
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TimingArg {
    /// At the recorded moments.
    Open,
    /// In the order of each recorded lane, pauses between completion and next start kept.
    Closed,
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
