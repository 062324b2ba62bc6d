//! Number of connections that the limit on file descriptors allows.

/// Descriptors reserved for listeners, the runtime, refused connections and the program's own files.
const KEPT_BACK: u64 = 96;
/// Smallest number of connections, however low the descriptor limit is.
const LEAST: u64 = 8;

/// Returns how many connections may be open at a time under a descriptor `limit`, if each needs `each` descriptors.
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
