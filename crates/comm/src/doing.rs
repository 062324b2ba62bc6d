//! What a rank does, as it tells the others, and which ranks are missed in a collective.

use std::fmt;

/// What a rank is busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u32)]
pub enum Activity {
    /// It has joined the world and does what comes before the first step.
    #[default]
    SettingUp = 0,
    /// It waits for a batch.
    Loading = 1,
    /// It emulates computation.
    Computing = 2,
    /// It saves or loads a checkpoint.
    Checkpointing = 3,
    /// It generates, verifies or removes files.
    Files = 4,
    /// It replays operations.
    Replaying = 5,
    /// It waits for the other ranks.
    Meeting = 6,
}

impl Activity {
    /// All of them, in the order of their numbers.
    const ALL: [Self; 7] = [
        Self::SettingUp,
        Self::Loading,
        Self::Computing,
        Self::Checkpointing,
        Self::Files,
        Self::Replaying,
        Self::Meeting,
    ];

    /// The activity of a number; an unknown one is the first.
    pub(crate) fn of(number: u32) -> Self {
        Self::ALL.get(number as usize).copied().unwrap_or_default()
    }

    fn words(self) -> &'static str {
        match self {
            Self::SettingUp => "setting up",
            Self::Loading => "waiting for a batch",
            Self::Computing => "computing",
            Self::Checkpointing => "saving or loading a checkpoint",
            Self::Files => "working on files of the data set",
            Self::Replaying => "replaying operations",
            Self::Meeting => "meeting the other ranks",
        }
    }
}

/// What a rank did last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Doing {
    /// What it is busy with.
    pub activity: Activity,
    /// Epoch, from 1; 0: in none.
    pub epoch: u32,
    /// Step, from 1; 0: in none.
    pub step: u32,
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.activity.words())?;
        match (self.epoch, self.step) {
            (0, _) => Ok(()),
            (epoch, 0) => write!(f, " in epoch {epoch}"),
            (epoch, step) => write!(f, " in epoch {epoch}, step {step}"),
        }
    }
}

/// A rank that has not come to a collective.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// Its number.
    pub rank: u32,
    /// Its node.
    pub host: String,
    /// Its process, and what the kernel says about it; `None`: it is on another node.
    pub process: Option<(u32, ProcessState)>,
    /// What it did last, where that can be seen.
    pub doing: Option<Doing>,
}

/// What the kernel says about a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessState {
    /// It runs or sleeps.
    Alive,
    /// A signal or a debugger has stopped it.
    Stopped,
    /// It waits in the kernel and cannot be interrupted, usually for a file system.
    Uninterruptible,
    /// It has ended.
    Ended,
}

impl ProcessState {
    /// The state of a process of this machine.
    pub(crate) fn of(process: u32) -> Self {
        match std::fs::read_to_string(format!("/proc/{process}/stat")) {
            Ok(stat) => Self::in_stat(&stat),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::Ended,
            Err(_) => Self::Alive,
        }
    }

    /// The letter behind the program's name, which may hold spaces and brackets.
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

impl fmt::Display for Sighting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rank {} on {}", self.rank, self.host)?;
        if let Some((process, state)) = self.process {
            write!(f, " (process {process}{}", state.words())?;
            match self.doing {
                Some(doing) => write!(f, "; it was last {doing})"),
                None => write!(f, ")"),
            }
        } else {
            self.doing.map_or(Ok(()), |doing| write!(f, " (it was last {doing})"))
        }
    }
}

/// Who has not come to the collective that a rank waits in, as far as that rank can see.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Absence {
    /// The missing ranks, in their order.
    pub ranks: Vec<Sighting>,
    /// Ranks that this rank cannot see are missing, too, or instead.
    pub unseen: bool,
    /// Another rank, which waits as well, says who is missing.
    pub told_elsewhere: bool,
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Ranks that one message names.
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

    fn sighting(rank: u32) -> Sighting {
        Sighting { rank, host: "b".to_owned(), process: None, doing: None }
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
        let doing = Some(Doing { activity: Activity::Computing, epoch: 1, step: 3 });
        let stopped = Sighting { process: Some((77, ProcessState::Stopped)), doing, ..sighting(1) };
        assert_eq!(
            Absence { ranks: vec![stopped], ..Absence::default() }.to_string(),
            "rank 1 on b (process 77, which is stopped (SIGCONT lets it go on); it was last computing in epoch 1, step 3)"
        );
    }

    #[test]
    fn a_long_list_is_cut_and_an_empty_one_says_where_to_look() {
        let text = Absence { ranks: (0..10).map(sighting).collect(), ..Absence::default() }.to_string();
        assert!(text.ends_with("rank 7 on b and 2 other rank(s)"), "{text}");
        assert_eq!(Absence::default().to_string(), "the other ranks");
        assert_eq!(Absence { unseen: true, ..Absence::default() }.to_string(), "ranks on other nodes");
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
