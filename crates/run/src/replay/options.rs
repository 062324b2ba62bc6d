//! Options of a replayed trace.

use dlio_plan::replay::{Late, Mapping, Timing};

/// Options of a replayed trace; an option that is not given has no value.
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches")]
pub struct TraceOptions {
    /// When operations are issued; `None`: open.
    pub timing: Option<Timing>,
    /// Treatment of operations that are more than 10 ms late, with open timing; `None`: catch-up.
    pub late: Option<Late>,
    /// Assignment of recorded ranks to the ranks of the replay; `None`: block.
    pub mapping: Option<Mapping>,
    /// Factor by which the replay runs faster than the recording.
    pub speed: Option<f64>,
    /// Start of the replayed interval in seconds after the first event of the trace.
    pub from: Option<f64>,
    /// End of the replayed interval (exclusive), counted from the first event of the trace.
    pub to: Option<f64>,
    /// Replay only these operations: read, write, stat, list, delete.
    pub op: Vec<String>,
    /// Replay only these recorded ranks.
    pub rank: Vec<u32>,
    /// Replay only operations on objects whose recorded name contains one of these texts.
    pub object: Vec<String>,
    /// Replay only operations on this share of all objects, such as `10%`.
    pub sample_objects: Option<String>,
    /// Rules `FROM=TO` or `re:PATTERN=>TO` for names.
    pub map: Vec<String>,
    /// Rules `FROM=TO` for endpoints.
    pub map_endpoint: Vec<String>,
    /// Whether attempts that failed when they were recorded are issued again.
    pub issues_failed: bool,
    /// Whether every object is written once with its final size.
    pub whole_writes: bool,
    /// Factor for offsets and sizes.
    pub scale_size: Option<f64>,
    /// Number of passes.
    pub repeat: Option<u32>,
    /// Largest number of operations in flight per rank; `None`: 64.
    pub max_inflight: Option<u32>,
    /// Whether the objects that the trace reads are created with their recorded sizes first.
    pub prepare: bool,
    /// Whether the replay is only described.
    pub dry_run: bool,
    /// Write and delete the recorded objects themselves.
    pub in_place: bool,
    /// Bounds `METRIC<=VALUE` or `METRIC>=VALUE` that the replay must keep.
    pub require: Vec<String>,
}

impl TraceOptions {
    /// Returns the time at which operations are issued.
    #[must_use]
    pub fn timing(&self) -> Timing {
        self.timing.unwrap_or(Timing::Open)
    }

    /// Returns the treatment of late operations.
    #[must_use]
    pub fn late(&self) -> Late {
        self.late.unwrap_or(Late::CatchUp)
    }

    /// Returns the assignment of recorded ranks to the ranks of the replay.
    #[must_use]
    pub fn mapping(&self) -> Mapping {
        self.mapping.unwrap_or(Mapping::Block)
    }

    /// Returns the name of the timing.
    #[must_use]
    pub fn timing_name(&self) -> &'static str {
        match self.timing() {
            Timing::Open => "open",
            Timing::Closed => "closed",
            Timing::Dependent => "dependent",
            Timing::Asap => "asap",
        }
    }

    /// Returns the name of the treatment of late operations.
    #[must_use]
    pub fn late_name(&self) -> &'static str {
        match self.late() {
            Late::CatchUp => "catch-up",
            Late::Stretch => "stretch",
            Late::Skip => "skip",
        }
    }
}
