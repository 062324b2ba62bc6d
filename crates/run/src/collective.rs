//! Collective operations of the ranks besides the run itself: agreement on failures, gathering of values, alignment of
//! clocks.

use dlio_comm::Communicator;
use dlio_engine::MonotonicClock;
use dlio_event::TimeSource as _;

use crate::failure::{Code, Failure};
use crate::ranks::Ranks;

/// Ends all ranks with a failure that all of them know. Rank 0 reports it before any rank returns, because the launcher
/// kills the other ranks as soon as one of them exits with an error.
pub async fn end_together(comm: &dyn Communicator, report: &dyn Fn(&Failure), failure: Failure) -> Failure {
    if comm.place().rank == 0 {
        report(&failure);
    }
    // An error of the barrier changes nothing: the ranks end anyway.
    let _ = comm.barrier().await;
    failure.already_reported()
}

/// Returns the same error on every rank if any rank has one.
///
/// # Errors
/// The failure of the lowest rank that has one. Rank 0 has reported it.
pub async fn agree<T>(comm: &Ranks, result: Result<T, Failure>) -> Result<T, Failure> {
    agree_on(comm, &|failure| comm.report(failure), result).await
}

/// Does the same as [`agree`] on any communicator; rank 0 reports the failure with `report`.
///
/// # Errors
/// The failure of the lowest rank that has one. Rank 0 has reported it.
pub async fn agree_on<T>(
    comm: &dyn Communicator,
    report: &dyn Fn(&Failure),
    result: Result<T, Failure>,
) -> Result<T, Failure> {
    let mine = encode(&result.as_ref().err())?;
    let all = comm.all_gather(&mine).await?;
    for (rank, wire) in all.iter().enumerate() {
        let failure: Option<Failure> = decode(wire)?;
        if let Some(mut failure) = failure {
            if rank > 0 {
                failure.message = format!("rank {rank}: {failure}");
            }
            return Err(end_together(comm, report, failure).await);
        }
    }
    result
}

/// Returns every rank's value, in rank order.
///
/// # Errors
/// If the collective operation fails.
pub async fn gather<T>(comm: &dyn Communicator, value: &T) -> Result<Vec<T>, Failure>
where
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    let all = comm.all_gather(&encode(value)?).await?;
    all.iter().map(|wire| decode(wire)).collect()
}

/// Encodes a message to other ranks.
///
/// # Errors
/// If the value cannot be represented as JSON.
pub fn encode<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(value)
        .map_err(|error| Failure::new(Code::Unexpected, format_args!("encoding a message to the ranks: {error}")))
}

/// Decodes a message from another rank.
///
/// # Errors
/// If the bytes are not the JSON of such a value.
pub fn decode<T: serde::de::DeserializeOwned>(wire: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(wire)
        .map_err(|error| Failure::new(Code::Unexpected, format_args!("decoding a message from a rank: {error}")))
}

/// Returns the offset that turns this rank's clock into rank 0's, and twice its error bound, both in nanoseconds. Ranks
/// on one host read the same clock. Between hosts, the best of eight barriers bounds the error by the time that the
/// barrier takes to release all ranks.
///
/// # Errors
/// If a rank fails during a barrier.
pub async fn align_clocks(comm: &dyn Communicator, clock: &MonotonicClock) -> Result<(i64, u64), Failure> {
    const ROUNDS: usize = 8;
    let place = comm.place();
    if place.nodes == 1 {
        return Ok((0, 0));
    }
    let mut best = (0i64, u64::MAX);
    for _ in 0..ROUNDS {
        let before = clock.now();
        comm.barrier().await?;
        let after = clock.now();
        let readings: Vec<u64> = gather(comm, &after).await?;
        let uncertainty = after.saturating_sub(before);
        if uncertainty < best.1 && place.node > 0 {
            best = (signed_difference(readings[0], after), uncertainty);
        }
    }
    Ok(if place.node == 0 { (0, 0) } else { best })
}

fn signed_difference(left: u64, right: u64) -> i64 {
    i64::try_from(i128::from(left) - i128::from(right)).unwrap_or(0)
}
