//! Drops the page cache of a node before an epoch, so that its reads come from the storage.
//!
//! The MLPerf fork drops it on the first node only; here one rank of every node does. A missing permission is reported
//! once and dropping is not tried again. A timeout is reported, and dropping is tried again before the next epoch.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::rc::Rc;
use std::time::Duration;

use dlio_engine::BeforeEpoch;
use dlio_event::TimeSource as _;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::session::Session;

/// File through which the kernel drops its caches.
const CONTROL: &str = "/proc/sys/vm/drop_caches";
/// Interval at which the end of a child process is checked.
const LOOK: Duration = Duration::from_millis(20);

/// The page cache of one node.
struct PageCache {
    control: PathBuf,
    limit: Duration,
    forbidden: Cell<bool>,
}

/// Result of one attempt.
enum Attempt {
    Done,
    Forbidden(String),
    Late,
}

impl PageCache {
    /// Returns the page cache that a write to `control` drops within `limit`.
    fn new(control: impl Into<PathBuf>, limit: Duration) -> Self {
        Self { control: control.into(), limit, forbidden: Cell::new(false) }
    }

    /// Drops the cache; returns a warning if it was not dropped.
    async fn drop_before(&self, epoch: u32) -> Option<String> {
        if self.forbidden.get() {
            return None;
        }
        match self.attempt().await {
            Attempt::Done => None,
            Attempt::Late => Some(format!(
                "dropping the page cache did not end within {} s before epoch {epoch}, whose reads may come from it; raise \
                 dlio_rs.drop_caches_timeout_seconds (DLIO_DROP_CACHES_TIMEOUT) if this happens again",
                self.limit.as_secs()
            )),
            Attempt::Forbidden(why) => {
                self.forbidden.set(true);
                Some(format!(
                    "the page cache is not dropped between epochs ({why}): reads may come from it, and throughput seem \
                     higher than the storage's. Run as root, allow `sudo -n sh -c 'echo 3 > {}'`, or set \
                     dlio_rs.drop_caches: false",
                    self.control.display()
                ))
            }
        }
    }

    async fn attempt(&self) -> Attempt {
        let (told, answer) = oneshot::channel();
        let control = self.control.clone();
        // The write runs on its own thread, because the kernel may take long and must not keep the program from ending.
        let order = move || drop(told.send(std::fs::OpenOptions::new().write(true).open(control).and_then(write)));
        if let Err(error) = std::thread::Builder::new().name("drop-caches".to_owned()).spawn(order) {
            return Attempt::Forbidden(error.to_string());
        }
        match timeout(self.limit, answer).await {
            Err(_) => Attempt::Late,
            Ok(Ok(Ok(()))) => Attempt::Done,
            Ok(_) => self.with_sudo().await,
        }
    }

    async fn with_sudo(&self) -> Attempt {
        let order = format!("echo 3 > {}", self.control.display());
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "sh", "-c", &order]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = match sudo.spawn() {
            Ok(child) => child,
            Err(error) => return Attempt::Forbidden(format!("sudo: {error}")),
        };
        match timeout(self.limit, ended(&mut child)).await {
            Ok(Ok(status)) if status.success() => Attempt::Done,
            Ok(Ok(status)) => Attempt::Forbidden(format!("sudo -n: {status}")),
            Ok(Err(error)) => Attempt::Forbidden(format!("sudo: {error}")),
            Err(_) => {
                // A process inside the kernel does not react to signals and ends by itself.
                drop(child.kill());
                Attempt::Late
            }
        }
    }
}

/// Checks whether the page cache of this node may be dropped, without dropping it; returns what allows it.
///
/// # Errors
/// The reason why it may not.
pub async fn rights(limit: Duration) -> Result<String, String> {
    may_drop(Path::new(CONTROL), limit).await
}

async fn may_drop(control: &Path, limit: Duration) -> Result<String, String> {
    let name = control.display();
    // Opening the file drops nothing; only a write does.
    let Err(error) = std::fs::OpenOptions::new().write(true).open(control) else {
        return Ok(format!("{name} can be written"));
    };
    let order = format!("echo 3 > {name}");
    let mut sudo = Command::new("sudo");
    // With `-l`, sudo only reports whether the command is allowed.
    sudo.args(["-n", "-l", "sh", "-c", &order]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let why = match sudo.spawn() {
        Err(sudo) => format!("sudo: {sudo}"),
        Ok(mut child) => match timeout(limit, ended(&mut child)).await {
            Ok(Ok(status)) if status.success() => return Ok(format!("`sudo -n sh -c '{order}'` is allowed")),
            Ok(Ok(status)) => format!("sudo -n -l: {status}"),
            Ok(Err(sudo)) => format!("sudo: {sudo}"),
            Err(_) => {
                drop(child.kill());
                "sudo did not answer".to_owned()
            }
        },
    };
    Err(format!("{name}: {error}; {why}"))
}

/// Returns the hook that drops the page cache on the first rank of every node before an epoch, while the other ranks
/// wait; `None` if it is not configured.
pub(crate) fn before_epoch(session: &Session) -> Option<BeforeEpoch> {
    let keys = &session.loaded.workload.dlio_rs;
    if !keys.drop_caches {
        return None;
    }
    let limit = Duration::from_secs(keys.drop_caches_timeout_seconds.into());
    let cache = Rc::new(PageCache::new(CONTROL, limit));
    let place = session.comm.place();
    let (first, host, rank) = (place.local_rank == 0, place.host.clone(), place.rank);
    let (log, anchor, clock) = (session.log.clone(), session.request.anchor, session.clock.clone());
    Some(BeforeEpoch::new(move |epoch| {
        let (cache, log, clock, host) = (cache.clone(), log.clone(), clock.clone(), host.clone());
        Box::pin(async move {
            let said = if first { cache.drop_before(epoch).await } else { None };
            match said {
                Some(said) if rank == 0 => log.warning(&format!("{} {said}", anchor.stamp(clock.now()))),
                Some(said) => tracing::warn!("{host}: {said}"),
                None => {}
            }
        })
    }))
}

fn write(mut file: std::fs::File) -> std::io::Result<()> {
    std::io::Write::write_all(&mut file, b"3\n")
}

async fn ended(child: &mut Child) -> std::io::Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_order_is_given_where_it_is_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let control = folder.path().join("drop_caches");
        std::fs::write(&control, "").unwrap();
        let cache = PageCache::new(&control, Duration::from_secs(10));
        assert_eq!(cache.drop_before(1).await, None);
        assert_eq!(std::fs::read_to_string(&control).unwrap(), "3\n");
    }

    #[tokio::test]
    async fn the_right_to_drop_it_is_found_out_without_dropping_it() {
        let folder = tempfile::tempdir().unwrap();
        let control = folder.path().join("drop_caches");
        std::fs::write(&control, "").unwrap();
        assert!(may_drop(&control, Duration::from_secs(10)).await.is_ok());
        assert_eq!(std::fs::read_to_string(&control).unwrap(), "");
        match may_drop(Path::new("/nowhere/at/all/drop_caches"), Duration::from_secs(10)).await {
            Err(why) => assert!(why.contains("/nowhere/at/all/drop_caches") && why.contains("sudo"), "{why}"),
            // A sudo configuration that allows everything allows this, too.
            Ok(how) => assert!(how.contains("sudo"), "{how}"),
        }
    }

    #[tokio::test]
    async fn what_is_not_allowed_is_said_once() {
        // A shell cannot redirect to a file in a missing folder, with or without sudo.
        let cache = PageCache::new("/nowhere/at/all/drop_caches", Duration::from_secs(10));
        let said = cache.drop_before(1).await.unwrap();
        assert!(said.contains("/nowhere/at/all/drop_caches") && said.contains("dlio_rs.drop_caches"), "{said}");
        assert_eq!(cache.drop_before(2).await, None);
    }
}
