//! Temporary credentials on all ranks: each rank renews its own, and verifies at the start that it can.

use std::time::Duration;

use dlio_comm::Communicator;
use dlio_storage::s3::chain::Provider;
use dlio_storage::s3::{self, CredentialSource, Renewal, Temporary};

use crate::collective::{agree, gather};
use crate::failure::{Code, Failure};
use crate::ranks::Ranks;
use crate::resolve::resolved_run::ResolvedRun;

/// Time limit for a rank's own credentials at the start.
const PROOF: Duration = Duration::from_secs(20);

/// Starts the renewal of this rank's credentials if they expire; returns a warning about ranks that cannot renew theirs. Every rank
/// must call it.
///
/// # Errors
/// A thread cannot be started on one of the ranks.
pub async fn start(comm: &Ranks, request: &mut ResolvedRun) -> Result<Option<String>, Failure> {
    let (Some(ends), Some(provider)) = (request.credentials_end, request.provider.clone()) else { return Ok(None) };
    let place = comm.place();
    let proof = match place.rank {
        0 => Ok(()),
        _ => prove(&provider).await,
    };
    let failed = proof.err().map(|why| format!("rank {} on {}: {why}", place.rank, place.host));
    if failed.is_none() {
        let started = keep(request, ends, provider);
        request.renewal = agree(comm, started).await?;
    } else {
        agree(comm, Ok(())).await?;
    }
    let all = gather(comm, &failed).await?;
    let mut failed = all.into_iter().flatten();
    let Some(first) = failed.next() else { return Ok(None) };
    let others = failed.count();
    let more = if others == 0 { String::new() } else { format!(" (and {others} more)") };
    Ok(Some(format!(
        "the credentials are temporary and {first}{more}: the run fails when they end; let all nodes reach their source (its \
         files, command or service), or use credentials that do not end"
    )))
}

async fn prove(provider: &Provider) -> Result<(), String> {
    match tokio::time::timeout(PROOF, provider.fetch()).await {
        Ok(found) => found.map(drop).map_err(|why| format!("cannot renew them: {why}")),
        Err(_) => Err(format!("cannot renew them: no answer within {PROOF:?}")),
    }
}

fn keep(request: &ResolvedRun, ends: Duration, provider: Provider) -> Result<Option<Renewal>, Failure> {
    let credentials = s3::Credentials::from_bytes(&request.credentials)
        .ok_or_else(|| Failure::new(Code::Unexpected, "the credentials that rank 0 sent cannot be read"))?;
    let source: CredentialSource = Box::new(move || {
        let provider = provider.clone();
        Box::pin(async move { provider.fetch().await })
    });
    let first = Temporary { credentials, ends: Some(ends) };
    let started = Renewal::start(first, source).map_err(|error| {
        Failure::new(Code::Unexpected, format_args!("starting the thread that renews credentials: {error}"))
    })?;
    Ok(Some(started))
}
