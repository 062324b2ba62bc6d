//! The status of a rank as other ranks see it, and the ranks that a collective waits for.

use std::fmt;

/// Current activity of a rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u32)]
pub enum Activity {
    /// The rank has joined the world and has not begun its first step.
    #[default]
    SettingUp = 0,
    /// Waiting for a batch.
    Loading = 1,
    /// Emulating computation.
    Computing = 2,
    /// Saving or loading a checkpoint.
    Checkpointing = 3,
    /// Generating, verifying or removing files.
    Files = 4,
    /// Replaying operations.
    Replaying = 5,
    /// Waiting for the other ranks.
    Meeting = 6,
}

impl Activity {
    /// All activities in the order of their numbers.
    const ALL: [Self; 7] = [
        Self::SettingUp,
        Self::Loading,
        Self::Computing,
        Self::Checkpointing,
        Self::Files,
        Self::Replaying,
        Self::Meeting,
    ];

    /// Returns the activity with this number; the first for an unknown one.
    pub(crate) fn of(number: u32) -> Self {
        Self::ALL.get(number as usize).copied().unwrap_or_default()
    }

    fn words(self) -> &'static str {
        match self {
            Self::SettingUp => "setting up",
            Self::Loading => "waiting for a batch",
            Self::Computing => "computing",
            Self::Checkpointing => "saving or loading a checkpoint",
            Self::Files => "working on files of the dataset",
            Self::Replaying => "replaying operations",
            Self::Meeting => "waiting for the other ranks",
        }
    }
}

/// Activity, epoch and step of a rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RankStatus {
    /// Activity.
    pub activity: Activity,
    /// Epoch, from 1; 0: outside of an epoch.
    pub epoch: u32,
    /// Step, from 1; 0: outside of a step.
    pub step: u32,
}

impl fmt::Display for RankStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.activity.words())?;
        match (self.epoch, self.step) {
            (0, _) => Ok(()),
            (epoch, 0) => write!(f, " in epoch {epoch}"),
            (epoch, step) => write!(f, " in epoch {epoch}, step {step}"),
        }
    }
}

/// A rank that has not arrived at a collective.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingRank {
    /// Rank number.
    pub rank: u32,
    /// Host name of its node.
    pub host: String,
    /// Process id and state of the process; `None` if it runs on another node.
    pub process: Option<(u32, ProcessState)>,
    /// Its last known status.
    pub status: Option<RankStatus>,
}

/// State of a process as reported by the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessState {
    /// Running or sleeping.
    Alive,
    /// Stopped by a signal or a debugger.
    Stopped,
    /// In an uninterruptible wait in the kernel, usually for a file system.
    Uninterruptible,
    /// Ended.
    Ended,
}

impl ProcessState {
    /// Returns the state of a process of this machine.
    pub(crate) fn of(process: u32) -> Self {
        match std::fs::read_to_string(format!("/proc/{process}/stat")) {
            Ok(stat) => Self::in_stat(&stat),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::Ended,
            Err(_) => Self::Alive,
        }
    }

    /// Parses the letter after the program's name, which may contain spaces and brackets.
    fn in_stat(stat: &str) -> Self {
        match stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next()) {
            Some('T' | 't') => Self::Stopped,
            Some('D') => Self::Uninterruptible,
            Some('Z' | 'X') => Self::Ended,
            _ => Self::Alive,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Alive => "",
            Self::Stopped => ", which is stopped (SIGCONT lets it go on)",
            Self::Uninterruptible => ", which hangs in the kernel",
            Self::Ended => ", which has ended",
        }
    }
}

impl fmt::Display for MissingRank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rank {} on {}", self.rank, self.host)?;
        if let Some((process, state)) = self.process {
            write!(f, " (process {process}{}", state.words())?;
            match self.status {
                Some(status) => write!(f, "; it was last {status})"),
                None => write!(f, ")"),
            }
        } else {
            self.status.map_or(Ok(()), |status| write!(f, " (it was last {status})"))
        }
    }
}

/// The ranks that have not arrived at the collective in which a rank waits, as far as that rank can see.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MissingRanks {
    /// The missing ranks in ascending order.
    pub ranks: Vec<MissingRank>,
    /// Whether ranks that this rank cannot see may be missing too.
    pub unseen: bool,
    /// Whether another waiting rank reports the missing ranks.
    pub reported_elsewhere: bool,
}

impl fmt::Display for MissingRanks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Most ranks that one message names.
        const SHOWN: usize = 8;
        if self.ranks.is_empty() {
            return f.write_str(if self.unseen { "ranks on other nodes" } else { "the other ranks" });
        }
        for (index, rank) in self.ranks.iter().take(SHOWN).enumerate() {
            write!(f, "{}{rank}", if index > 0 { ", " } else { "" })?;
        }
        match self.ranks.len().checked_sub(SHOWN) {
            Some(more) if more > 0 => write!(f, " and {more} other rank(s)"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sighting(rank: u32) -> MissingRank {
        MissingRank { rank, host: "b".to_owned(), process: None, status: None }
    }

    #[test]
    fn numbers_and_activities_agree() {
        for activity in Activity::ALL {
            assert_eq!(Activity::of(activity as u32), activity);
        }
        assert_eq!(Activity::of(99), Activity::SettingUp);
    }

    #[test]
    fn a_missing_rank_is_named_with_host_process_and_what_it_did() {
        let status = Some(RankStatus { activity: Activity::Computing, epoch: 1, step: 3 });
        let stopped = MissingRank { process: Some((77, ProcessState::Stopped)), status, ..sighting(1) };
        assert_eq!(
            MissingRanks { ranks: vec![stopped], ..MissingRanks::default() }.to_string(),
            "rank 1 on b (process 77, which is stopped (SIGCONT lets it go on); it was last computing in epoch 1, step 3)"
        );
    }

    #[test]
    fn a_long_list_is_cut_and_an_empty_one_says_where_to_look() {
        let text = MissingRanks { ranks: (0..10).map(sighting).collect(), ..MissingRanks::default() }.to_string();
        assert!(text.ends_with("rank 7 on b and 2 other rank(s)"), "{text}");
        assert_eq!(MissingRanks::default().to_string(), "the other ranks");
        assert_eq!(MissingRanks { unseen: true, ..MissingRanks::default() }.to_string(), "ranks on other nodes");
    }

    #[test]
    fn the_state_of_a_process_stands_behind_its_name() {
        assert_eq!(ProcessState::in_stat("5 (a) T) T 1 2"), ProcessState::Stopped);
        assert_eq!(ProcessState::in_stat("5 (a) D 1 2"), ProcessState::Uninterruptible);
        assert_eq!(ProcessState::in_stat("5 (a) S 1 2"), ProcessState::Alive);
        assert_eq!(ProcessState::in_stat("5 (a) Z 1 2"), ProcessState::Ended);
        assert_eq!(ProcessState::of(std::process::id()), ProcessState::Alive);
    }
}
