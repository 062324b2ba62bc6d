//! The registry directory, where servers leave their addresses and clients find them.
//!
//! One JSON file per endpoint, `endpoint-<rank>-<n>.json` (rank in 5 digits, n in 3; with `-<job>` where jobs share the
//! directory), and at most one file `credentials` (mode 0600). A file belongs to the process that it names: it is
//! created exclusively, whole, and removed by that process alone. A file whose process is gone is *stale*: readers pass
//! over it and the next server replaces it.

mod census;
mod owner;

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::credentials::random_hex;
use crate::process::{Here, own_start_ticks};
use crate::{Credentials, Error, clock};
pub use census::wait;
use owner::{Life, life, life_or_probe};

const CREDENTIALS: &str = "credentials";
const EXTENSION: &str = ".json";
/// Version of the announcements that this program writes. Version 1 had no job, no count and no start time.
const FORMAT: u32 = 2;

/// What a server tells about one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// Version of the format.
    #[serde(default = "first_format")]
    pub format: u32,
    /// URL, `http://host:port`.
    pub endpoint: String,
    /// The job that serves it: the same on all of its ranks, different in every start.
    #[serde(default)]
    pub job: String,
    /// Rank within the job.
    #[serde(default)]
    pub rank: u32,
    /// Ranks of the job.
    #[serde(default)]
    pub ranks: u32,
    /// Endpoints of the whole job; 0: unknown.
    #[serde(default)]
    pub of: usize,
    /// Hosts of the job's ranks, in rank order; empty except in rank 0's announcements.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Process that serves it.
    pub pid: u32,
    /// Start of that process in clock ticks since the boot.
    #[serde(default)]
    pub start_ticks: Option<u64>,
    /// Host that the process runs on.
    pub host: String,
    /// Id of the host's boot.
    #[serde(default)]
    pub boot: String,
    /// Process namespace in which `pid` means something.
    #[serde(default)]
    pub pid_namespace: String,
    /// Time of the announcement, in seconds since 1970.
    pub started: u64,
    /// Name of the file that it was read from or is written to.
    #[serde(skip)]
    pub file_name: String,
}

fn first_format() -> u32 {
    1
}

impl Announcement {
    /// Who serves the endpoint, for messages.
    fn owner(&self) -> String {
        format!("{}, process {} on {}", self.endpoint, self.pid, self.host)
    }
}

/// The job that endpoints are announced for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its id, the same on all ranks.
    pub id: String,
    /// Rank of this process.
    pub rank: u32,
    /// Ranks.
    pub ranks: u32,
    /// Endpoints of each rank.
    pub endpoints: usize,
    /// Hosts of all ranks, in rank order; empty where they are not known.
    pub hosts: Vec<String>,
    /// Whether the job may announce itself beside other jobs that live.
    pub add: bool,
}

/// An id for a new job.
///
/// # Errors
/// When the operating system gives no random bytes.
pub fn new_job_id() -> Result<String, Error> {
    random_hex::<8>().map_err(Error::Random)
}

/// What a registry directory holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Registry {
    /// The endpoints, in the order of their files' names: by rank, then by number within the rank.
    pub endpoints: Vec<Announcement>,
    /// The key pair that the servers made, if they made one.
    pub credentials: Option<Credentials>,
    /// Files whose server is gone; their endpoints are not listed.
    pub stale: Vec<Stale>,
    /// Files that are still being written.
    pub pending: Vec<String>,
}

/// An announcement that was left over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stale {
    /// File name.
    pub name: String,
    /// How that is known.
    pub reason: String,
}

/// Takes an announcement away when dropped.
#[derive(Debug)]
#[must_use = "the announcement is removed when this is dropped"]
pub(crate) struct Guard {
    path: PathBuf,
    mine: Announcement,
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Best effort: should it stay, readers recognise it as stale. Somebody else's is not ours to remove.
        if matches!(read_announcement(&self.path), Ok(Some(there)) if there == self.mine) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

pub(crate) fn stem(rank: u32, index: usize) -> String {
    format!("endpoint-{rank:05}-{index:03}")
}

/// Name of this host, as announcements give it.
#[must_use]
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Announces one endpoint of this process.
///
/// # Errors
/// [`Error::Occupied`] when its name belongs to a process that lives; otherwise when the directory cannot be written.
pub(crate) fn announce(dir: &Path, job: &Job, index: usize, endpoint: &str) -> Result<Guard, Error> {
    let stem = stem(job.rank, index);
    let file_name = if job.add { format!("{stem}-{}{EXTENSION}", job.id) } else { format!("{stem}{EXTENSION}") };
    let (path, here) = (dir.join(&file_name), Here::now());
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
        started: clock::unix_seconds(),
        file_name,
    };
    let text = serde_json::to_vec_pretty(&mine).map_err(|source| content_error(&path, source))?;
    loop {
        if publish(dir, &path, &text, 0o644)? {
            sync(dir)?;
            return Ok(Guard { path, mine });
        }
        match read_announcement(&path)? {
            // A link whose answer was lost on the way has been made nevertheless.
            Some(there) if there == mine => return Ok(Guard { path, mine }),
            Some(there) => match life_or_probe(&there, &here) {
                Life::Dead(_) => take_away(dir, &there)?,
                _ => return Err(occupied(dir, &there)),
            },
            None => {}
        }
    }
}

fn occupied(dir: &Path, there: &Announcement) -> Error {
    Error::Occupied { dir: dir.to_path_buf(), name: there.file_name.clone(), owner: there.owner() }
}

/// Reads what is announced now. A directory that does not exist yet is an empty registry. Servers on other machines are
/// taken for living.
///
/// # Errors
/// When the directory or one of its files cannot be read.
pub fn read(dir: &Path) -> Result<Registry, Error> {
    let (mut registry, here) = (Registry::default(), Here::now());
    for name in announcements(dir)? {
        match read_announcement(&dir.join(&name)) {
            Ok(Some(announcement)) => match life(&announcement, &here) {
                Life::Dead(reason) => registry.stale.push(Stale { name, reason }),
                _ => registry.endpoints.push(announcement),
            },
            // Taken away between listing and reading.
            Ok(None) => {}
            // Where files cannot be linked they are written in place.
            Err(Error::RegistryContent { source, .. }) if source.is_eof() => registry.pending.push(name),
            Err(error) => return Err(error),
        }
    }
    registry.credentials = read_json(&dir.join(CREDENTIALS))?;
    Ok(registry)
}

/// Creates the directory and removes what dead servers left; returns what was removed.
///
/// # Errors
/// [`Error::Occupied`] when another job lives in it and `job` is not to be added; otherwise when it cannot be used.
pub(crate) fn prepare(dir: &Path, job: &Job) -> Result<Vec<Stale>, Error> {
    fs::create_dir_all(dir).map_err(failed("creating", dir))?;
    let (registry, here) = (read(dir)?, Here::now());
    let mut gone = registry.stale;
    for other in registry.endpoints.iter().filter(|one| one.job != job.id) {
        match life_or_probe(other, &here) {
            Life::Dead(reason) => gone.push(Stale { name: other.file_name.clone(), reason }),
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

/// Removes an announcement, but not one that was written in its place meanwhile.
fn take_away(dir: &Path, dead: &Announcement) -> Result<(), Error> {
    let path = dir.join(&dead.file_name);
    let aside = dir.join(format!(".stale-{}", new_job_id()?));
    match fs::rename(&path, &aside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        moved => moved.map_err(failed("removing", &path))?,
    }
    let there = read_json::<Announcement>(&aside).ok().flatten();
    if there.is_some_and(|there| Announcement { file_name: dead.file_name.clone(), ..there } != *dead) {
        // Best effort: its owner has come first and the next look finds it, or it announces itself again.
        let _ = fs::hard_link(&aside, &path);
    }
    fs::remove_file(&aside).map_err(failed("removing", &aside))
}

/// The registry's key pair: the one that is there, or a new one. Of several servers that start together, one makes
/// it and the others read it.
///
/// # Errors
/// When the registry cannot be read or written.
pub fn credentials(dir: &Path) -> Result<Credentials, Error> {
    let path = dir.join(CREDENTIALS);
    if let Some(known) = read_json(&path)? {
        return Ok(known);
    }
    let made = Credentials::generate()?;
    let text = serde_json::to_vec_pretty(&made).map_err(|source| content_error(&path, source))?;
    if publish(dir, &path, &text, 0o600)? {
        sync(dir)?;
        return Ok(made);
    }
    read_json(&path)?.ok_or_else(|| failed("reading", &path)(io::ErrorKind::NotFound.into()))
}

/// Removes a key pair other than the one given, which clients would use in vain.
pub(crate) fn withdraw_other_credentials(dir: &Path, given: &Credentials) -> Result<bool, Error> {
    let path = dir.join(CREDENTIALS);
    if read_json::<Credentials>(&path)?.is_none_or(|known| known == *given) {
        return Ok(false);
    }
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("removing", &path)(error)),
        _ => Ok(true),
    }
}

fn announcements(dir: &Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("listing", dir)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let Ok(name) = entry.map_err(failed("listing", dir))?.file_name().into_string() else { continue };
        if name.strip_suffix(EXTENSION).is_some_and(|stem| stem.starts_with("endpoint-")) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// The announcement of a file; `None` when the file does not exist.
fn read_announcement(path: &Path) -> Result<Option<Announcement>, Error> {
    let Some(read) = read_json::<Announcement>(path)? else { return Ok(None) };
    if read.format > FORMAT {
        return Err(Error::RegistryFormat { path: path.to_path_buf(), found: read.format, known: FORMAT });
    }
    let file_name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(Some(Announcement { file_name, ..read }))
}

/// Reads a file; a pipe that somebody put into the directory must not hang the reader.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file; remove it"));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// `None` when the file does not exist.
fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    match read_file(path) {
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|source| content_error(path, source)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("reading", path)(error)),
    }
}

/// Writes a file under a name that no reader looks at, synced, with exactly this mode.
fn write_draft(dir: &Path, text: &[u8], mode: u32) -> Result<PathBuf, Error> {
    let path = dir.join(format!(".draft-{}", random_hex::<8>().map_err(Error::Random)?));
    let write = || {
        fs::create_dir_all(dir)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(text)?;
        file.sync_all()
    };
    write().map_err(failed("writing", &path))?;
    Ok(path)
}

/// Makes a file appear whole under its name; `false` when there is one of this name.
fn publish(dir: &Path, path: &Path, text: &[u8], mode: u32) -> Result<bool, Error> {
    let draft = write_draft(dir, text, mode)?;
    // A link, unlike a rename, fails if somebody else was first.
    let linked = match fs::hard_link(&draft, path) {
        Err(error) if cannot_link(&error) => write_in_place(path, text, mode),
        linked => linked,
    };
    fs::remove_file(&draft).map_err(failed("removing", &draft))?;
    match linked {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(failed("writing", path)(error)),
    }
}

/// Whether a file system has no hard links, as some of FUSE's and most of SMB's.
fn cannot_link(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::PERM | Errno::NOTSUP | Errno::NOSYS | Errno::MLINK))
}

/// Readers take a file that ends early for one that is being written.
fn write_in_place(path: &Path, text: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text)?;
    file.sync_all()
}

fn sync(dir: &Path) -> Result<(), Error> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed("syncing", dir))
}

fn failed(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> Error {
    let path = path.to_path_buf();
    move |source| Error::Registry { doing, path: path.clone(), source }
}

fn content_error(path: &Path, source: serde_json::Error) -> Error {
    Error::RegistryContent { path: path.to_path_buf(), source }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    pub(super) fn announcement(endpoint: &str, pid: u32) -> Announcement {
        Announcement {
            format: FORMAT,
            endpoint: endpoint.into(),
            job: "j".into(),
            rank: 0,
            ranks: 1,
            of: 1,
            hosts: Vec::new(),
            pid,
            start_ticks: None,
            host: host_name(),
            boot: Here::now().boot,
            pid_namespace: Here::now().pid_namespace,
            started: 1,
            file_name: String::new(),
        }
    }

    fn job(id: &str, rank: u32, ranks: u32, endpoints: usize) -> Job {
        Job { id: id.into(), rank, ranks, endpoints, hosts: Vec::new(), add: false }
    }

    /// No process has the highest possible id: the kernel's limit is 2^22.
    const NOBODY: u32 = i32::MAX as u32;

    fn write(dir: &Path, name: &str, announcement: &Announcement) {
        fs::write(dir.join(name), serde_json::to_vec(announcement).unwrap()).unwrap();
    }

    fn urls(dir: &Path) -> Vec<String> {
        read(dir).unwrap().endpoints.into_iter().map(|one| one.endpoint).collect()
    }

    const FIRST: &str = "endpoint-00000-000.json";

    #[test]
    fn announcements_are_read_in_rank_order_and_leave_with_their_guard() {
        let dir = tempfile::tempdir().unwrap();
        let last = announce(dir.path(), &job("j", 10, 11, 2), 0, "http://c:1").unwrap();
        let guards: Vec<_> = [(2, 1, "http://b:2"), (2, 0, "http://b:1"), (0, 0, "http://a:1")]
            .map(|(rank, n, url)| announce(dir.path(), &job("j", rank, 11, 2), n, url).unwrap())
            .into();
        assert_eq!(urls(dir.path()), ["http://a:1", "http://b:1", "http://b:2", "http://c:1"]);
        assert_eq!(read(dir.path()).unwrap().endpoints[0].of, 22);
        drop(guards);
        assert_eq!(urls(dir.path()), ["http://c:1"]);
        drop(last);
        assert_eq!(read(dir.path()).unwrap(), Registry::default());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "no draft stays");
    }

    #[test]
    fn a_living_owner_keeps_its_entry_and_its_registry() {
        let dir = tempfile::tempdir().unwrap();
        let first = announce(dir.path(), &job("first", 0, 1, 1), 0, "http://a:1").unwrap();
        let second = job("second", 0, 1, 1);
        for refused in
            [prepare(dir.path(), &second).unwrap_err(), announce(dir.path(), &second, 0, "http://b:1").unwrap_err()]
        {
            let text = refused.to_string();
            assert!(text.contains(FIRST) && text.contains("http://a:1") && text.contains("--add"), "{text}");
        }
        let added = Job { add: true, ..second };
        assert_eq!(prepare(dir.path(), &added).unwrap(), []);
        let beside = announce(dir.path(), &added, 0, "http://b:1").unwrap();
        assert_eq!(read(dir.path()).unwrap().endpoints.len(), 2);
        drop(first);
        assert_eq!(urls(dir.path()), ["http://b:1"]);
        drop(beside);
    }

    #[test]
    fn an_owner_that_was_replaced_does_not_remove_its_successors_entry() {
        let dir = tempfile::tempdir().unwrap();
        let first = announce(dir.path(), &job("first", 0, 1, 1), 0, "http://a:1").unwrap();
        write(dir.path(), FIRST, &announcement("http://b:1", std::process::id()));
        drop(first);
        assert_eq!(urls(dir.path()), ["http://b:1"]);
    }

    #[test]
    fn a_dead_server_is_passed_over_and_its_file_replaced_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), FIRST, &announcement("http://dead:1", NOBODY));
        let registry = read(dir.path()).unwrap();
        assert_eq!((registry.endpoints.len(), registry.stale[0].name.as_str()), (0, FIRST));
        assert!(registry.stale[0].reason.contains(&NOBODY.to_string()), "{:?}", registry.stale);
        let next = job("next", 0, 1, 1);
        let kept = announce(dir.path(), &next, 0, "http://alive:1").unwrap();
        assert_eq!(urls(dir.path()), ["http://alive:1"]);
        drop(kept);
        write(dir.path(), FIRST, &announcement("http://dead:1", NOBODY));
        assert_eq!(prepare(dir.path(), &next).unwrap()[0].name, FIRST);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn entries_of_other_versions_are_read_or_refused_clearly() {
        let dir = tempfile::tempdir().unwrap();
        let old = format!(
            r#"{{"endpoint": "http://old:1", "pid": {}, "host": {:?}, "started": 1}}"#,
            std::process::id(),
            host_name()
        );
        fs::write(dir.path().join(FIRST), &old).unwrap();
        assert_eq!(urls(dir.path()), ["http://old:1"]);
        write(dir.path(), FIRST, &Announcement { format: 3, ..announcement("http://new:1", 1) });
        let error = read(dir.path()).unwrap_err().to_string();
        assert!(error.contains(FIRST) && error.contains("newer"), "{error}");
    }

    #[test]
    fn the_first_server_makes_the_key_pair_and_all_others_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let pairs: Vec<Credentials> = std::thread::scope(|scope| {
            let servers: Vec<_> = (0..8).map(|_| scope.spawn(|| credentials(dir.path()).unwrap())).collect();
            servers.into_iter().map(|server| server.join().unwrap()).collect()
        });
        assert!(pairs.iter().all(|pair| *pair == pairs[0]));
        assert_eq!(read(dir.path()).unwrap().credentials.as_ref(), Some(&pairs[0]));
        let mode = fs::metadata(dir.path().join(CREDENTIALS)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no draft stays");
    }

    #[test]
    fn a_pair_given_by_the_user_withdraws_the_one_of_an_earlier_server() {
        let dir = tempfile::tempdir().unwrap();
        let made = credentials(dir.path()).unwrap();
        assert!(!withdraw_other_credentials(dir.path(), &made).unwrap());
        assert!(withdraw_other_credentials(dir.path(), &Credentials::generate().unwrap()).unwrap());
        assert_eq!(read(dir.path()).unwrap().credentials, None);
    }

    const MINUTE: Duration = Duration::from_mins(1);

    #[tokio::test(start_paused = true)]
    async fn waiting_in_vain_says_once_how_many_there_are_and_at_the_end_who_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let two = Job { hosts: vec!["a".into(), "b".into()], ..job("j", 0, 2, 1) };
        let _one = announce(dir.path(), &two, 0, "http://a:1").unwrap();
        let mut said = Vec::new();
        let begin = tokio::time::Instant::now();
        let error = wait(dir.path(), MINUTE, |line| said.push((begin.elapsed(), line.to_owned()))).await.unwrap_err();
        assert_eq!(begin.elapsed().as_secs(), 60);
        let error = error.to_string();
        assert!(error.contains("1 of 2 endpoints after 60s") && error.contains("rank 1 on b"), "{error}");
        assert_eq!(said.len(), 1, "{said:?}");
        assert_eq!(said[0].0.as_secs(), 3);
        assert!(said[0].1.contains("1 of 2 endpoints") && said[0].1.contains("rank 1 on b"), "{said:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn clients_wait_for_a_directory_that_is_not_there_yet_and_for_every_rank() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("registry");
        let starts = async {
            tokio::time::sleep(Duration::from_secs(10)).await;
            let first = announce(&dir, &job("j", 0, 2, 1), 0, "http://a:1").unwrap();
            tokio::time::sleep(Duration::from_secs(10)).await;
            (first, announce(&dir, &job("j", 1, 2, 1), 0, "http://b:1").unwrap())
        };
        let begin = tokio::time::Instant::now();
        let (found, _guards) = tokio::join!(wait(&dir, MINUTE, |_| ()), starts);
        assert_eq!(found.unwrap().endpoints.len(), 2);
        assert_eq!(begin.elapsed().as_secs(), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_registry_and_one_of_dead_servers_say_so() {
        let dir = tempfile::tempdir().unwrap();
        let error = wait(dir.path(), Duration::ZERO, |_| ()).await.unwrap_err().to_string();
        assert!(error.contains("holds no announcement") && error.contains("dlio-rs serve"), "{error}");
        let error = wait(&dir.path().join("no"), Duration::ZERO, |_| ()).await.unwrap_err().to_string();
        assert!(error.contains("does not exist"), "{error}");
        write(dir.path(), FIRST, &announcement("http://dead:1", NOBODY));
        let error = wait(dir.path(), Duration::ZERO, |_| ()).await.unwrap_err().to_string();
        assert!(error.contains("left over") && error.contains(FIRST), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_no_announcement_is_named_and_strangers_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("README"), "hello").unwrap();
        fs::write(dir.path().join(".nfs0001"), "x").unwrap();
        let _one = announce(dir.path(), &job("j", 0, 1, 1), 0, "http://a:1").unwrap();
        assert_eq!(wait(dir.path(), Duration::ZERO, |_| ()).await.unwrap().endpoints.len(), 1);
        fs::write(dir.path().join("endpoint-00001-000.json"), "{\"endpoint\": ").unwrap();
        let error = wait(dir.path(), Duration::ZERO, |_| ()).await.unwrap_err().to_string();
        assert!(error.contains("endpoint-00001-000.json"), "{error}");
        fs::write(dir.path().join("endpoint-00001-000.json"), "garbage").unwrap();
        let error = wait(dir.path(), MINUTE, |_| ()).await.unwrap_err().to_string();
        assert!(error.contains("endpoint-00001-000.json") && error.contains("not valid"), "{error}");
    }
}
