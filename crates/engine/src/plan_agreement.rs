//! Check before the first operation that all ranks have the same plan.

use dlio_comm::Communicator;

use crate::Error;
use crate::watchdog::Watchdog;

/// Compares the fingerprints of all ranks' plans.
///
/// # Errors
/// [`Error::PlanMismatch`] on every rank, with the ranks whose plan differs from that of rank 0.
pub(crate) async fn plans_agree(
    comm: &dyn Communicator,
    watchdog: &mut Watchdog<'_>,
    fingerprint: &str,
) -> Result<(), Error> {
    let gathered =
        watchdog.collective(dlio_event::Position::default(), comm.all_gather(fingerprint.as_bytes())).await?;
    let expected = gathered.first().cloned().unwrap_or_default();
    let differs = gathered.iter().enumerate().filter(|(_, theirs)| **theirs != expected);
    let ranks: Vec<u32> = differs.filter_map(|(rank, _)| u32::try_from(rank).ok()).collect();
    if ranks.is_empty() {
        return Ok(());
    }
    Err(Error::PlanMismatch { ranks, expected: String::from_utf8_lossy(&expected).into_owned() })
}
