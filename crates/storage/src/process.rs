//! Identity of this process, for later readers of its files (a registry entry, the lock of a folder), and its limit on open files.
//!
//! Invariant: a process id is only meaningful within the boot and the process namespace that assigned it. There, the start time
//! distinguishes a process from a later one with the same id.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The scope in which process ids of this process are meaningful.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Here {
    /// Name of the host.
    pub host: String,
    /// Kernel's id of this boot; empty if it cannot be read.
    pub boot: String,
    /// Process namespace; empty if it cannot be read.
    pub pid_namespace: String,
}

impl Here {
    /// Returns the current scope, as the kernel reports it.
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

/// State of a process id, as the kernel reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    /// No process has this id.
    Absent,
    /// A process has this id, but its details are hidden.
    Hidden,
    /// A process has this id.
    Present {
        /// Whether the process has ended and waits for its parent.
        zombie: bool,
        /// Start time in clock ticks since boot.
        start_ticks: u64,
    },
}

/// Returns the state of a process id in the namespace of this process.
#[must_use]
pub fn look(pid: i32) -> Process {
    let Some(id) = rustix::process::Pid::from_raw(pid) else { return Process::Absent };
    if let Some(found) = fs::read_to_string(format!("/proc/{pid}/stat")).ok().and_then(|stat| parse_stat(&stat)) {
        return found;
    }
    // The process may belong to another user, and /proc may hide it; signal 0 is never delivered.
    match rustix::process::test_kill_process(id) {
        Err(rustix::io::Errno::SRCH) => Process::Absent,
        Ok(()) | Err(_) => Process::Hidden,
    }
}

/// Returns the start time of this process in clock ticks since boot; `None` if the kernel does not report it.
#[must_use]
pub fn own_start_ticks() -> Option<u64> {
    match look(rustix::process::getpid().as_raw_nonzero().get()) {
        Process::Present { start_ticks, .. } => Some(start_ticks),
        Process::Absent | Process::Hidden => None,
    }
}

/// Parses state (field 3) and start time (field 22) of `/proc/<pid>/stat`; the name before them may contain spaces and parentheses.
fn parse_stat(stat: &str) -> Option<Process> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let zombie = matches!(fields.next()?, "Z" | "X" | "x");
    let start_ticks = fields.nth(18)?.parse().ok()?;
    Some(Process::Present { zombie, start_ticks })
}

/// Raises the soft limit on open files to the hard limit, which needs no privilege. Returns the limit, or `None` if it is unlimited.
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
        assert_eq!(parse_stat(stat), Some(Process::Present { zombie: false, start_ticks: 777 }));
        assert_eq!(parse_stat("42 (short) Z 1"), None);
    }
}
