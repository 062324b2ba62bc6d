//! The limit on file descriptors: raised as far as it may be, and what it leaves for connections.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that are left for listeners, the runtime, refused connections and files of the program itself.
const KEPT_BACK: u64 = 96;
/// Fewest connections, however low the limit is.
const LEAST: u64 = 8;

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

/// Connections that may be open at a time under a limit, where each needs `each` descriptors.
pub(crate) fn connections(limit: Option<u64>, each: u64) -> usize {
    let most = limit.map_or(u64::MAX, |limit| limit.saturating_sub(KEPT_BACK) / each.max(1));
    usize::try_from(most.max(LEAST)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_everything_else() {
        assert_eq!(connections(Some(256), 1), 160);
        assert_eq!(connections(Some(256), 2), 80);
        assert_eq!((connections(Some(64), 1), connections(None, 2)), (8, usize::MAX));
    }
}
