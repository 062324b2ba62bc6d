//! The registry directory, where servers leave their addresses and clients find them.
//!
//! One JSON file per endpoint, `endpoint-<rank>-<n>.json` (rank in 5 digits, n in 3), and at most one file `credentials` (mode 0600). Files appear
//! whole: they are written under another name, synced, and renamed. A file whose server is dead is *stale*: its
//! process is gone from the host that reads it. Stale files are passed over by readers and removed by the next server.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::credentials::random_hex;
use crate::{Credentials, Error};

const CREDENTIALS: &str = "credentials";
const EXTENSION: &str = ".json";
/// How often [`wait`] looks.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What a server tells about one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// URL, `http://host:port`.
    pub endpoint: String,
    /// Process that serves it.
    pub pid: u32,
    /// Host that the process runs on.
    pub host: String,
    /// Start of the process, in seconds since 1970.
    pub started: u64,
}

/// What a registry directory holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Registry {
    /// The endpoints, in the order of their files' names: by rank, then by number within the rank.
    pub endpoints: Vec<Announcement>,
    /// The key pair that the servers made, if they made one.
    pub credentials: Option<Credentials>,
    /// Files whose server is gone; their endpoints are not listed.
    pub stale: Vec<String>,
}

/// Takes an announcement away when dropped.
#[derive(Debug)]
#[must_use = "the announcement is removed when this is dropped"]
pub struct Guard {
    path: PathBuf,
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Best effort: should it stay, readers recognise it as stale.
        let _ = fs::remove_file(&self.path);
    }
}

pub(crate) fn stem(rank: u32, index: usize) -> String {
    format!("endpoint-{rank:05}-{index:03}")
}

/// File name of the announcement of a rank's endpoint.
#[must_use]
pub fn name(rank: u32, index: usize) -> String {
    format!("{}{EXTENSION}", stem(rank, index))
}

/// Name of this host, as announcements give it.
#[must_use]
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Announces an endpoint under a file name from [`name`].
///
/// # Errors
/// When the registry directory cannot be created or written.
pub fn announce(dir: &Path, name: &str, announcement: &Announcement) -> Result<Guard, Error> {
    let path = dir.join(name);
    let text = serde_json::to_vec_pretty(announcement).map_err(|source| content_error(&path, source))?;
    let draft = write_draft(dir, &text, 0o644)?;
    fs::rename(&draft, &path).map_err(failed("writing", &path))?;
    sync(dir)?;
    Ok(Guard { path })
}

/// Reads what is announced now. A directory that does not exist yet is an empty registry.
///
/// # Errors
/// When the directory or one of its files cannot be read.
pub fn read(dir: &Path) -> Result<Registry, Error> {
    let mut registry = Registry::default();
    let host = host_name();
    for name in announcements(dir)? {
        match read_json::<Announcement>(&dir.join(&name))? {
            Some(announcement) if is_dead(&announcement, &host) => registry.stale.push(name),
            Some(announcement) => registry.endpoints.push(announcement),
            // Taken away between listing and reading.
            None => {}
        }
    }
    registry.credentials = read_json(&dir.join(CREDENTIALS))?;
    Ok(registry)
}

/// Waits until `expected` endpoints are announced.
///
/// # Errors
/// [`Error::Missing`] when there are fewer after `patience`; otherwise as [`read`].
pub async fn wait(dir: &Path, expected: usize, patience: Duration) -> Result<Registry, Error> {
    let until = tokio::time::Instant::now() + patience;
    loop {
        let registry = read(dir)?;
        let found = registry.endpoints.len();
        if found >= expected {
            return Ok(registry);
        }
        if tokio::time::Instant::now() >= until {
            return Err(Error::Missing { dir: dir.to_path_buf(), found, expected, waited: patience });
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Creates the directory and removes what dead servers left; returns the names of what was removed.
pub(crate) fn prepare(dir: &Path) -> Result<Vec<String>, Error> {
    fs::create_dir_all(dir).map_err(failed("creating", dir))?;
    let stale = read(dir)?.stale;
    for name in &stale {
        match fs::remove_file(dir.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("removing", dir)(error)),
            _ => {}
        }
    }
    Ok(stale)
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
    let draft = write_draft(dir, &text, 0o600)?;
    // A link, unlike a rename, fails if somebody else was first.
    let linked = fs::hard_link(&draft, &path);
    fs::remove_file(&draft).map_err(failed("removing", &draft))?;
    match linked {
        Ok(()) => {
            sync(dir)?;
            Ok(made)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            read_json(&path)?.ok_or_else(|| failed("reading", &path)(io::ErrorKind::NotFound.into()))
        }
        Err(error) => Err(failed("writing", &path)(error)),
    }
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

fn is_dead(announcement: &Announcement, host: &str) -> bool {
    let pid = i32::try_from(announcement.pid).ok().and_then(Pid::from_raw);
    announcement.host == host && pid.is_some_and(|pid| test_kill_process(pid) == Err(Errno::SRCH))
}

/// `None` when the file does not exist.
fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    match fs::read(path) {
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
    use super::*;

    fn announcement(endpoint: &str, pid: u32) -> Announcement {
        Announcement { endpoint: endpoint.into(), pid, host: host_name(), started: 1 }
    }

    /// No process has the highest possible id: the kernel's limit is 2^22.
    const NOBODY: u32 = i32::MAX as u32;

    #[test]
    fn announcements_are_read_in_rank_order_and_leave_with_their_guard() {
        let dir = tempfile::tempdir().unwrap();
        let (me, late) = (std::process::id(), name(10, 0));
        let last = announce(dir.path(), &late, &announcement("http://c:1", me)).unwrap();
        let guards: Vec<_> = [(2, 1, "http://b:2"), (2, 0, "http://b:1"), (0, 0, "http://a:1")]
            .map(|(rank, n, url)| announce(dir.path(), &name(rank, n), &announcement(url, me)).unwrap())
            .into();
        let urls = |registry: Registry| registry.endpoints.into_iter().map(|one| one.endpoint).collect::<Vec<_>>();
        assert_eq!(urls(read(dir.path()).unwrap()), ["http://a:1", "http://b:1", "http://b:2", "http://c:1"]);
        drop(guards);
        assert_eq!(urls(read(dir.path()).unwrap()), ["http://c:1"]);
        drop(last);
        assert_eq!(read(dir.path()).unwrap(), Registry::default());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "no draft stays");
    }

    #[test]
    fn a_dead_server_is_passed_over_and_its_file_removed_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        std::mem::forget(announce(dir.path(), &name(0, 0), &announcement("http://dead:1", NOBODY)).unwrap());
        let elsewhere = Announcement { host: "another-host".into(), ..announcement("http://alive:1", NOBODY) };
        let _there = announce(dir.path(), &name(1, 0), &elsewhere).unwrap();
        let registry = read(dir.path()).unwrap();
        assert_eq!((registry.endpoints, registry.stale), (vec![elsewhere], vec![name(0, 0)]));
        assert_eq!(prepare(dir.path()).unwrap(), [name(0, 0)]);
        assert_eq!(read(dir.path()).unwrap().stale, [""; 0]);
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

    #[tokio::test(start_paused = true)]
    async fn waiting_in_vain_says_how_many_are_missing() {
        let dir = tempfile::tempdir().unwrap();
        let _one = announce(dir.path(), &name(0, 0), &announcement("http://a:1", std::process::id())).unwrap();
        assert_eq!(wait(dir.path(), 1, Duration::ZERO).await.unwrap().endpoints.len(), 1);
        let error = wait(dir.path(), 4, Duration::from_mins(1)).await.unwrap_err();
        assert!(error.to_string().contains("lists 1 of 4 endpoints after 60s"), "{error}");
    }

    #[test]
    fn a_file_that_is_no_announcement_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(name(0, 0)), "{").unwrap();
        assert!(read(dir.path()).unwrap_err().to_string().contains("endpoint-00000-000.json"));
    }
}
