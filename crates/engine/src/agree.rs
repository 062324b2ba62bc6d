//! All ranks must have made the same plan before the first operation.

use dlio_comm::Communicator;

use crate::Error;
use crate::watch::Watch;

/// Compares the fingerprints of all ranks' plans.
///
/// # Errors
/// [`Error::PlanMismatch`] on every rank, naming those whose plan is not that of rank 0.
pub(crate) async fn plans_agree(
    comm: &dyn Communicator,
    watch: &mut Watch<'_>,
    fingerprint: &str,
) -> Result<(), Error> {
    let gathered = watch.meet(dlio_event::Position::default(), comm.all_gather(fingerprint.as_bytes())).await?;
    let expected = gathered.first().cloned().unwrap_or_default();
    let differs = gathered.iter().enumerate().filter(|(_, theirs)| **theirs != expected);
    let ranks: Vec<u32> = differs.filter_map(|(rank, _)| u32::try_from(rank).ok()).collect();
    if ranks.is_empty() {
        return Ok(());
    }
    Err(Error::PlanMismatch { ranks, expected: String::from_utf8_lossy(&expected).into_owned() })
}
