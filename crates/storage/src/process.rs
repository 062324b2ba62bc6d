//! The identity of processes, recorded in files that outlive them (registry entries, locks of folders), and the
//! descriptor limit.
//!
//! Invariant: a process id has a meaning only within the boot and the process namespace that assigned it. There, the
//! start time distinguishes a process from a later one with the same id.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Boot and process namespace in which the ids of processes are valid, with the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessScope {
    /// Name of the host.
    pub host: String,
    /// Kernel's id of the current boot; empty if it cannot be read.
    pub boot: String,
    /// Process namespace; empty if it cannot be read.
    pub pid_namespace: String,
}

impl ProcessScope {
    /// Returns the identity of the current boot and namespace.
    #[must_use]
    pub fn now() -> Self {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        Self {
            host: host_name(),
            boot: boot.trim().to_owned(),
            pid_namespace: namespace.to_string_lossy().into_owned(),
        }
    }
}

/// Returns the name of this host, as announcements contain it.
#[must_use]
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// State of a process id, as reported by the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessState {
    /// No process has this id.
    Absent,
    /// A process has this id, but its details are hidden.
    Hidden,
    /// A process has this id.
    Present {
        /// Whether it has ended and waits for its parent.
        zombie: bool,
        /// Start time in clock ticks since boot.
        start_ticks: u64,
    },
}

/// Returns the state of a process id of this namespace.
#[must_use]
pub fn process_state(pid: i32) -> ProcessState {
    let Some(id) = rustix::process::Pid::from_raw(pid) else { return ProcessState::Absent };
    if let Some(found) = fs::read_to_string(format!("/proc/{pid}/stat")).ok().and_then(|stat| parse_stat(&stat)) {
        return found;
    }
    // The process may belong to another user and be hidden in /proc; signal 0 only checks for existence.
    match rustix::process::test_kill_process(id) {
        Err(rustix::io::Errno::SRCH) => ProcessState::Absent,
        Ok(()) | Err(_) => ProcessState::Hidden,
    }
}

/// Returns the start time of this process in clock ticks since boot; `None` if the kernel does not report it.
#[must_use]
pub fn own_start_ticks() -> Option<u64> {
    match process_state(rustix::process::getpid().as_raw_nonzero().get()) {
        ProcessState::Present { start_ticks, .. } => Some(start_ticks),
        ProcessState::Absent | ProcessState::Hidden => None,
    }
}

/// Parses state (field 3) and start time (field 22) of `/proc/<pid>/stat`; the name before them may contain spaces
/// and parentheses.
fn parse_stat(stat: &str) -> Option<ProcessState> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let zombie = matches!(fields.next()?, "Z" | "X" | "x");
    let start_ticks = fields.nth(18)?.parse().ok()?;
    Some(ProcessState::Present { zombie, start_ticks })
}

/// Raises this process's soft limit on open files to the hard limit, which needs no privilege, and returns the limit;
/// `None` if there is none.
#[must_use]
pub fn raise_descriptor_limit() -> Option<u64> {
    let now = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: now.maximum, maximum: now.maximum };
    if now.current != now.maximum && setrlimit(Resource::Nofile, raised).is_ok() {
        return now.maximum;
    }
    now.current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stat_file_is_read_whatever_the_name_of_the_process() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 777 1000 10";
        assert_eq!(parse_stat(stat), Some(ProcessState::Present { zombie: false, start_ticks: 777 }));
        assert_eq!(parse_stat("42 (short) Z 1"), None);
    }
}
