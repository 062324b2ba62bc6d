//! Waits until every endpoint of every job in a registry is announced, and names the missing ones.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::announcement::Announcement;
use super::error::Error;
use super::owner::{Liveness, liveness, liveness_or_probe};
use super::read::{Registry, Stale, read};
use crate::process::ProcessScope;

/// Interval at which [`wait`] reads the registry.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Time after which [`wait`] reports that it waits.
const SAY_AFTER: Duration = Duration::from_secs(3);
/// Most missing ranks that a message names.
const NAMED: usize = 8;

/// Number of announced and expected endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EndpointCount {
    pub(super) there: usize,
    /// Sum over the jobs in the registry; 0: there is no announcement.
    pub(super) expected: usize,
    /// Missing ranks, for messages.
    pub(super) missing: Vec<String>,
}

impl EndpointCount {
    /// Counts the endpoints of each job.
    ///
    /// # Errors
    /// When announcements of one job differ in the number of its endpoints or ranks.
    pub(super) fn of(dir: &Path, registry: &Registry) -> Result<Self, Error> {
        let mut jobs: BTreeMap<&str, Vec<&Announcement>> = BTreeMap::new();
        for one in &registry.endpoints {
            jobs.entry(&one.job).or_default().push(one);
        }
        let mut count = Self { there: registry.endpoints.len(), expected: 0, missing: Vec::new() };
        for (job, members) in jobs {
            let Some(first) = members.first() else { continue };
            if let Some(other) = members.iter().find(|one| (one.of, one.ranks) != (first.of, first.ranks)) {
                return Err(Error::Contradiction {
                    dir: dir.to_path_buf(),
                    job: job.to_owned(),
                    one: format!("rank {} says {} of {} rank(s)", first.rank, first.of, first.ranks),
                    other: format!("rank {} says {} of {} rank(s)", other.rank, other.of, other.ranks),
                });
            }
            count.expected += first.of.max(members.len());
            if members.len() < first.of {
                count.missing.extend(missing(&members, first));
            }
        }
        count.missing.extend(registry.pending.iter().map(|name| format!("the rest of {name}, which is being written")));
        Ok(count)
    }

    fn is_complete(&self) -> bool {
        self.expected > 0 && self.there >= self.expected && self.missing.is_empty()
    }
}

/// Returns the ranks of a job that have announced fewer endpoints than they have.
fn missing(members: &[&Announcement], first: &Announcement) -> Vec<String> {
    let each = first.of / first.ranks.max(1) as usize;
    let hosts = members.iter().map(|one| &one.hosts).find(|hosts| !hosts.is_empty());
    let mut names = Vec::new();
    for rank in 0..first.ranks {
        let found = members.iter().filter(|one| one.rank == rank).count();
        if found >= each {
            continue;
        }
        let on = hosts.and_then(|hosts| hosts.get(rank as usize)).map_or(String::new(), |host| format!(" on {host}"));
        let some = if found > 0 { format!(" ({found} of its {each} endpoints are there)") } else { String::new() };
        names.push(format!("rank {rank}{on}{some}"));
    }
    names
}

/// Joins missing ranks into a phrase; only the first few are named.
fn join_first(missing: &[String]) -> String {
    let more = missing.len().saturating_sub(NAMED);
    let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{tail}", missing[..missing.len() - more].join(", "))
}

/// Waits until all endpoints of all jobs in the registry are announced; the directory may appear later. Reports once,
/// after three seconds, how many endpoints there are. Servers on other machines are probed once with a connection.
///
/// # Errors
/// [`Error::Missing`] or [`Error::Nobody`] if endpoints are missing after `patience`; otherwise when the directory or
/// one of its files cannot be read, or announcements contradict each other.
pub async fn wait(dir: &Path, patience: Duration, mut say: impl FnMut(&str)) -> Result<Registry, Error> {
    let begin = tokio::time::Instant::now();
    let here = ProcessScope::now();
    let mut asked = BTreeMap::new();
    let mut reported = false;
    loop {
        let mut registry = read(dir)?;
        probe_others(&mut registry, &here, &mut asked).await?;
        let count = EndpointCount::of(dir, &registry)?;
        if count.is_complete() {
            return Ok(registry);
        }
        let waited = begin.elapsed();
        if waited >= patience {
            return Err(timeout_error(dir, &registry, &count, patience));
        }
        if waited >= SAY_AFTER && !reported {
            reported = true;
            say(&waiting_message(dir, &count, patience));
        }
        tokio::time::sleep(LOOK_AGAIN.min(patience.saturating_sub(waited))).await;
    }
}

fn waiting_message(dir: &Path, count: &EndpointCount, patience: Duration) -> String {
    let dir = dir.display();
    let most = format!("waiting for at most {patience:?} (--registry-wait)");
    if count.expected == 0 {
        return format!("registry {dir}: no endpoint is announced yet; {most}");
    }
    let (there, expected) = (count.there, count.expected);
    format!(
        "registry {dir}: {there} of {expected} endpoints are announced, missing: {}; {most}",
        join_first(&count.missing)
    )
}

fn timeout_error(dir: &Path, registry: &Registry, count: &EndpointCount, waited: Duration) -> Error {
    let dir = dir.to_path_buf();
    if count.expected > 0 {
        let (found, expected, missing) = (count.there, count.expected, join_first(&count.missing));
        return Error::Missing { dir, found, expected, missing, waited };
    }
    let found = match registry.stale.first() {
        _ if !dir.is_dir() => "the folder does not exist".to_owned(),
        _ if !count.missing.is_empty() => format!("missing is {}", join_first(&count.missing)),
        None => "the folder holds no announcement".to_owned(),
        Some(stale) => {
            let count = registry.stale.len();
            format!(
                "{count} announcement(s) are left over from servers that are gone: {} ({})",
                stale.name, stale.reason
            )
        }
    };
    Error::Nobody { dir, found, waited }
}

/// Known states of servers on other machines, by file name and process.
type Probed = BTreeMap<(String, String, u32), Liveness>;

/// Probes the servers on other machines concurrently, and moves those that refuse a connection to the stale ones.
async fn probe_others(registry: &mut Registry, here: &ProcessScope, asked: &mut Probed) -> Result<(), Error> {
    let key = |one: &Announcement| (one.file_name.clone(), one.job.clone(), one.pid);
    let elsewhere = |one: &&Announcement| liveness(one, here) == Liveness::Elsewhere;
    let others: Vec<Announcement> = registry.endpoints.iter().filter(elsewhere).cloned().collect();
    if let Some(lost) = others.iter().find(|one| here.cannot_reach(one)) {
        return Err(Error::Loopback {
            name: lost.file_name.clone(),
            endpoint: lost.endpoint.clone(),
            host: lost.host.clone(),
        });
    }
    let probes = others.into_iter().filter(|one| !asked.contains_key(&key(one))).map(|one| {
        let here = here.clone();
        tokio::task::spawn_blocking(move || {
            let liveness = liveness_or_probe(&one, &here);
            ((one.file_name, one.job, one.pid), liveness)
        })
    });
    for probed in futures::future::join_all(probes.collect::<Vec<_>>()).await {
        // A probe that did not run has no result.
        asked.extend(probed);
    }
    let (mut alive, mut stale) = (Vec::new(), Vec::new());
    for one in registry.endpoints.drain(..) {
        match asked.get(&key(&one)) {
            Some(Liveness::Dead(reason)) => stale.push(Stale { name: one.file_name, reason: reason.clone() }),
            _ => alive.push(one),
        }
    }
    registry.endpoints = alive;
    registry.stale.extend(stale);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::announcement;
    use super::*;

    fn member(rank: u32, ranks: u32, of: usize) -> Announcement {
        let hosts = if rank == 0 { vec!["a".into(), "b".into(), "c".into()] } else { Vec::new() };
        Announcement { job: "j".into(), rank, ranks, of, hosts, ..announcement("http://a:1", 1) }
    }

    fn count(endpoints: Vec<Announcement>) -> Result<EndpointCount, Error> {
        EndpointCount::of(Path::new("reg"), &Registry { endpoints, ..Registry::default() })
    }

    #[test]
    fn a_job_says_who_of_it_is_missing() {
        let found = count(vec![member(0, 3, 6), member(0, 3, 6), member(2, 3, 6)]).unwrap();
        assert_eq!((found.there, found.expected, found.is_complete()), (3, 6, false));
        assert_eq!(found.missing, ["rank 1 on b", "rank 2 on c (1 of its 2 endpoints are there)"]);
        assert!(count(vec![member(0, 1, 1)]).unwrap().is_complete());
        assert!(!count(Vec::new()).unwrap().is_complete(), "nobody is not everybody");
    }

    #[test]
    fn several_jobs_are_counted_each_for_itself() {
        let other = Announcement { job: "k".into(), ..member(0, 2, 2) };
        let found = count(vec![member(0, 1, 1), other]).unwrap();
        assert_eq!((found.there, found.expected), (2, 3));
        assert_eq!(found.missing, ["rank 1 on b"]);
    }

    #[test]
    fn announcements_that_differ_in_their_count_are_an_error_that_names_both() {
        let error = count(vec![member(0, 2, 2), member(1, 2, 4)]).unwrap_err().to_string();
        assert!(error.contains("rank 0 says 2 of 2") && error.contains("rank 1 says 4 of 2"), "{error}");
    }

    #[test]
    fn many_missing_ranks_are_named_in_part() {
        let ranks: Vec<String> = (0..10).map(|rank| format!("rank {rank}")).collect();
        assert!(join_first(&ranks).ends_with("rank 6, rank 7 and 2 more"));
        assert_eq!(join_first(&ranks[..2]), "rank 0, rank 1");
    }
}
