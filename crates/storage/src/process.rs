//! This process: who it is, for whoever finds a file of it later (a registry entry, the lock of a folder), and how many files it may open.
//!
//! Invariant: a process id says something only within the boot and the process namespace that gave it out; there, the start time
//! tells a process from a later one with the same id.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Where this process runs, as far as process ids are concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Here {
    /// Name of the host.
    pub host: String,
    /// Kernel's id of this boot; empty where it cannot be read.
    pub boot: String,
    /// Process namespace; empty where it cannot be read.
    pub pid_namespace: String,
}

impl Here {
    /// What the kernel tells now.
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

/// Name of this host, as announcements give it.
#[must_use]
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// What the kernel tells about a process id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    /// No process has it.
    Absent,
    /// A process has it, but its details are hidden.
    Hidden,
    /// A process has it.
    Present {
        /// It has ended and waits for its parent.
        zombie: bool,
        /// Start in clock ticks since boot.
        start_ticks: u64,
    },
}

/// What the kernel tells about a process id of this process's namespace.
#[must_use]
pub fn look(pid: i32) -> Process {
    let Some(id) = rustix::process::Pid::from_raw(pid) else { return Process::Absent };
    if let Some(found) = fs::read_to_string(format!("/proc/{pid}/stat")).ok().and_then(|stat| parse_stat(&stat)) {
        return found;
    }
    // The process may belong to another user and /proc may hide it; a signal of number 0 is never delivered.
    match rustix::process::test_kill_process(id) {
        Err(rustix::io::Errno::SRCH) => Process::Absent,
        Ok(()) | Err(_) => Process::Hidden,
    }
}

/// When this process started, in clock ticks since boot; `None` where the kernel does not tell.
#[must_use]
pub fn own_start_ticks() -> Option<u64> {
    match look(rustix::process::getpid().as_raw_nonzero().get()) {
        Process::Present { start_ticks, .. } => Some(start_ticks),
        Process::Absent | Process::Hidden => None,
    }
}

/// State (field 3) and start (field 22) of `/proc/<pid>/stat`; the name before them may hold spaces and parentheses.
fn parse_stat(stat: &str) -> Option<Process> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let zombie = matches!(fields.next()?, "Z" | "X" | "x");
    let start_ticks = fields.nth(18)?.parse().ok()?;
    Some(Process::Present { zombie, start_ticks })
}

/// Raises the soft limit of this process on open files to the hard one, which needs no privilege; returns the limit.
/// `None`: there is none.
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
