//! Announces the endpoints of a server, and removes stale announcements.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::announcement::{Announcement, EXTENSION, FORMAT, stem};
use super::error::Error;
use super::files::{content_error, failed, publish, read_json, sync};
use super::owner::{Liveness, liveness_or_probe};
use super::read::{Stale, read, read_announcement};
use crate::process::{ProcessScope, own_start_ticks};
use crate::random::random_hex;

/// The job whose endpoints are announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Job id, the same on all ranks.
    pub id: String,
    /// Rank of this process.
    pub rank: u32,
    /// Number of ranks.
    pub ranks: u32,
    /// Number of endpoints of each rank.
    pub endpoints: usize,
    /// Hosts of all ranks, in rank order; empty if unknown.
    pub hosts: Vec<String>,
    /// Whether the job may be announced next to other running jobs.
    pub add: bool,
}

/// Returns an id for a new job.
///
/// # Errors
/// When the operating system provides no random bytes.
pub fn new_job_id() -> Result<String, Error> {
    random_hex::<8>().map_err(Error::Random)
}

/// An announcement; dropping it removes its file.
#[derive(Debug)]
#[must_use = "the announcement is removed when this is dropped"]
pub struct Guard {
    path: PathBuf,
    mine: Announcement,
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Best effort: readers recognise a file that stays as stale. A file of another process is not removed.
        if matches!(read_announcement(&self.path), Ok(Some(there)) if there == self.mine) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Announces an endpoint of this process.
///
/// # Errors
/// [`Error::Occupied`] if the file belongs to a running process; otherwise when the directory cannot be written.
pub fn announce(dir: &Path, job: &Job, index: usize, endpoint: &str) -> Result<Guard, Error> {
    let stem = stem(job.rank, index);
    let file_name = if job.add { format!("{stem}-{}{EXTENSION}", job.id) } else { format!("{stem}{EXTENSION}") };
    let (path, here) = (dir.join(&file_name), ProcessScope::now());
    let mine = Announcement {
        format: FORMAT,
        endpoint: endpoint.to_owned(),
        job: job.id.clone(),
        rank: job.rank,
        ranks: job.ranks,
        of: job.endpoints * job.ranks as usize,
        hosts: if job.rank == 0 { job.hosts.clone() } else { Vec::new() },
        pid: std::process::id(),
        start_ticks: own_start_ticks(),
        host: here.host.clone(),
        boot: here.boot.clone(),
        pid_namespace: here.pid_namespace.clone(),
        started: unix_seconds(),
        file_name,
    };
    let text = serde_json::to_vec_pretty(&mine).map_err(|source| content_error(&path, source))?;
    loop {
        if publish(dir, &path, &text, 0o644)? {
            sync(dir)?;
            return Ok(Guard { path, mine });
        }
        match read_announcement(&path)? {
            // The link was made, although its response was lost.
            Some(there) if there == mine => return Ok(Guard { path, mine }),
            Some(there) => match liveness_or_probe(&there, &here) {
                Liveness::Dead(_) => take_away(dir, &there)?,
                _ => return Err(occupied(dir, &there)),
            },
            None => {}
        }
    }
}

/// Returns the seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "announcements carry wall-clock time by definition")]
fn unix_seconds() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn occupied(dir: &Path, there: &Announcement) -> Error {
    Error::Occupied { dir: dir.to_path_buf(), name: there.file_name.clone(), owner: there.owner() }
}

/// Creates the directory and removes stale announcements; returns what was removed.
///
/// # Errors
/// [`Error::Occupied`] if another running job uses the directory and `job` may not be added; otherwise when the
/// directory cannot be used.
pub fn prepare(dir: &Path, job: &Job) -> Result<Vec<Stale>, Error> {
    fs::create_dir_all(dir).map_err(failed("creating", dir))?;
    let (registry, here) = (read(dir)?, ProcessScope::now());
    let mut gone = registry.stale;
    for other in registry.endpoints.iter().filter(|one| one.job != job.id) {
        match liveness_or_probe(other, &here) {
            Liveness::Dead(reason) => gone.push(Stale { name: other.file_name.clone(), reason }),
            _ if job.add => {}
            _ => return Err(occupied(dir, other)),
        }
    }
    for stale in &gone {
        if let Ok(Some(there)) = read_announcement(&dir.join(&stale.name)) {
            take_away(dir, &there)?;
        }
    }
    Ok(gone)
}

/// Removes an announcement, unless another one has replaced it meanwhile.
fn take_away(dir: &Path, dead: &Announcement) -> Result<(), Error> {
    let path = dir.join(&dead.file_name);
    let aside = dir.join(format!(".stale-{}", new_job_id()?));
    match fs::rename(&path, &aside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        moved => moved.map_err(failed("removing", &path))?,
    }
    let there = read_json::<Announcement>(&aside).ok().flatten();
    if there.is_some_and(|there| Announcement { file_name: dead.file_name.clone(), ..there } != *dead) {
        // Best effort: another process has replaced the announcement; the next look finds it, or its owner announces
        // it again.
        let _ = fs::hard_link(&aside, &path);
    }
    fs::remove_file(&aside).map_err(failed("removing", &aside))
}
