//! Finds out whether all ranks see the same folder, or every node has its own folder of that name.
//!
//! Rank 0 creates a hidden file with a random name, the first rank of every other view of the file system looks for it,
//! and rank 0 removes it. A view is a mount namespace on a node: containers on one node may have separate folders. If
//! rank 0 cannot write, inode and modification time of the folder are compared instead: equal ones mean the same
//! folder, different ones prove nothing.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use dlio_comm::{Communicator, Place};
use serde::{Deserialize, Serialize};

use crate::collective::gather;
use crate::failure::{Code, Failure};
use crate::session::Session;

/// Number of looks before a file counts as missing, because network file systems show new files late.
const LOOKS: u32 = 20;
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Number of hosts that a message lists by name.
const NAMED: usize = 6;

/// Result of the check of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sharing {
    /// All ranks see the same folder.
    Shared,
    /// Some ranks see another folder than rank 0.
    Islands {
        /// Host name of rank 0.
        host: String,
        /// Host names of ranks that see another folder, or none.
        without: Vec<String>,
    },
    /// The check was not possible, for this reason.
    NotChecked(String),
}

impl Sharing {
    /// Returns the first half of a message about the hosts; `None` if the folder is shared or was not checked.
    #[must_use]
    pub fn islands(&self, what: &str, folder: &Path) -> Option<String> {
        let Sharing::Islands { host, without } = self else { return None };
        let more = without.len().saturating_sub(NAMED);
        let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
        let names = without[..without.len() - more].join(", ");
        Some(format!(
            "{what} {} is not shared: what rank 0 on {host} writes there is not seen by {names}{tail}",
            folder.display()
        ))
    }
}

/// Use of a folder in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Ranks write data that other ranks will read.
    Generate,
    /// Ranks read data, which may have been copied to every node.
    Read,
    /// Ranks save and load checkpoints.
    Checkpoints,
}

/// Checks whether the nodes of a run share a folder. Generated data would be scattered over the nodes' folders, which
/// is an error. Data to be read may be copies, and a checkpoint may be loaded on the node where it was saved, so these
/// cases are warnings. Nothing is checked on a single node or with `dlio_rs.node_local`.
///
/// # Errors
/// If data would be generated into separate folders of several nodes.
pub(crate) async fn examine(session: &Session, folder: &Path, purpose: Use) -> Result<(), Failure> {
    if session.loaded.workload.dlio_rs.node_local {
        return Ok(());
    }
    let what = if purpose == Use::Checkpoints { "the checkpoint folder" } else { "the data folder" };
    let sharing = match purpose {
        Use::Generate | Use::Checkpoints
            if session.comm.place().size > 1 && session.comm.place().rank == 0 && !folder.exists() =>
        {
            check_made(&*session.comm, folder).await?
        }
        _ => check(&*session.comm, folder).await?,
    };
    if let Sharing::NotChecked(reason) = &sharing {
        session.log_info(&format!("whether {what} {} is shared was not checked: {reason}", folder.display()));
    }
    let Some(islands) = sharing.islands(what, folder) else { return Ok(()) };
    match purpose {
        Use::Generate => Err(Failure::new(
            Code::Storage,
            format_args!(
                "{islands}: each node would have a part of the files. Give dataset.data_folder on a shared file system, or \
                 generate on each node by itself; dlio_rs.node_local=true does it all the same"
            ),
        )),
        Use::Read => {
            session.warn(&format!(
                "{islands}: every node reads its own copy, which must be complete (dlio_rs.node_local=true if it is meant)"
            ));
            Ok(())
        }
        Use::Checkpoints => {
            session.warn(&format!(
                "{islands}: a checkpoint is in parts on several nodes, and ranks load only what their own node has \
                 (dlio_rs.node_local=true if it is meant)"
            ));
            Ok(())
        }
    }
}

/// Does the same as [`check`] for a folder that rank 0 creates first. The folder is removed afterwards if it is still
/// empty, because creating it is the run's task.
async fn check_made(comm: &dyn Communicator, folder: &Path) -> Result<Sharing, Failure> {
    let missing: Vec<&Path> =
        folder.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
    // If the folder cannot be created, the check reports it.
    let _ = fs::create_dir_all(folder);
    let found = check(comm, folder).await;
    for path in missing {
        let _ = fs::remove_dir(path);
    }
    found
}

/// The mark of rank 0 that the other ranks compare with.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Mark {
    /// A file with this name, created by rank 0.
    File(String),
    /// Inode and modification time of the folder, and the reason why rank 0 could not create a file.
    Folder { inode: u64, modified: (i64, i64), reason: String },
    /// Nothing, for this reason.
    Nothing(String),
}

/// Observation of one rank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Seen {
    /// Not checked, because a lower rank has the same view.
    Nothing,
    Same,
    Other,
}

/// Removes rank 0's file when dropped, however the check ends.
struct Left(Option<PathBuf>);

impl Drop for Left {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

/// Finds out whether all ranks see the folder that rank 0 sees. Every rank calls this function. The folder must exist
/// on rank 0.
///
/// # Errors
/// If a collective operation fails.
pub async fn check(comm: &dyn Communicator, folder: &Path) -> Result<Sharing, Failure> {
    check_as(comm, folder, &mount_namespace()).await
}

/// Does the same as [`check`]; `mounts` identifies this rank's mount namespace.
async fn check_as(comm: &dyn Communicator, folder: &Path, mounts: &str) -> Result<Sharing, Failure> {
    let place = comm.place();
    let views: Vec<(u32, String)> = gather(comm, &(place.node, mounts.to_owned())).await?;
    let mine = &views[place.rank as usize];
    if views.iter().all(|view| *view == views[0]) {
        return Ok(Sharing::Shared);
    }
    let (mark, left) = if place.rank == 0 { leave(folder) } else { (Mark::Nothing(String::new()), Left(None)) };
    let mark = share(comm, &mark).await?;
    let first_of_view = views.iter().position(|view| view == mine) == Some(place.rank as usize);
    let seen = if place.rank > 0 && first_of_view { look(folder, &mark).await } else { Seen::Nothing };
    let all: Vec<(Seen, String)> = gather(comm, &(seen, place.host.clone())).await?;
    drop(left);
    Ok(conclude(&mark, all, place))
}

fn conclude(mark: &Mark, all: Vec<(Seen, String)>, place: &Place) -> Sharing {
    let host = all.first().map_or_else(|| place.host.clone(), |(_, host)| host.clone());
    let without: BTreeSet<String> =
        all.into_iter().filter(|(seen, _)| *seen == Seen::Other).map(|(_, host)| host).collect();
    match mark {
        Mark::Nothing(reason) => Sharing::NotChecked(reason.clone()),
        _ if without.is_empty() => Sharing::Shared,
        Mark::File(_) => Sharing::Islands { host, without: without.into_iter().collect() },
        Mark::Folder { reason, .. } => Sharing::NotChecked(reason.clone()),
    }
}

async fn share(comm: &dyn Communicator, mark: &Mark) -> Result<Mark, Failure> {
    // Only rank 0's value is used. An all-gather of a few bytes avoids a second message type.
    let mut all: Vec<Mark> = gather(comm, mark).await?;
    Ok(all.swap_remove(0))
}

fn leave(folder: &Path) -> (Mark, Left) {
    if folder.parent().is_none() {
        return (Mark::Nothing("it is the root of the file system".to_owned()), Left(None));
    }
    let name = format!(".dlio-rs-shared-{:x}-{}", std::process::id(), token());
    let path = folder.join(&name);
    let reason = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
        Ok(_) => return (Mark::File(name), Left(Some(path))),
        Err(error) => format!("{} takes no file from rank 0: {error}", folder.display()),
    };
    let mark = match fs::metadata(folder) {
        Ok(found) => Mark::Folder { inode: found.ino(), modified: (found.mtime(), found.mtime_nsec()), reason },
        Err(_) => Mark::Nothing(reason),
    };
    (mark, Left(None))
}

/// Random digits.
fn token() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
    id.trim().replace('-', "")
}

async fn look(folder: &Path, mark: &Mark) -> Seen {
    match mark {
        Mark::File(name) => {
            for _ in 0..LOOKS {
                // Reading the folder makes a network file system fetch its newest state.
                let listed = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
                if listed && fs::symlink_metadata(folder.join(name)).is_ok() {
                    return Seen::Same;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            Seen::Other
        }
        Mark::Folder { inode, modified, .. } => {
            let same = fs::metadata(folder)
                .is_ok_and(|found| found.ino() == *inode && (found.mtime(), found.mtime_nsec()) == *modified);
            if same { Seen::Same } else { Seen::Other }
        }
        Mark::Nothing(_) => Seen::Nothing,
    }
}

fn mount_namespace() -> String {
    fs::read_link("/proc/self/ns/mnt").map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use dlio_comm::Simulated;

    use super::*;

    /// Two nodes of two ranks, with a folder per node and a mount namespace per rank.
    fn checked(folders: [&Path; 4], mounts: [&str; 4]) -> Vec<Sharing> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let world = Simulated::on_nodes(&[2, 2]);
        let ranks = world.iter().zip(folders).zip(mounts).map(|((comm, folder), name)| check_as(comm, folder, name));
        let found = runtime.block_on(futures::future::join_all(ranks));
        found.into_iter().map(|one| one.unwrap_or_else(|failure| panic!("{failure}"))).collect()
    }

    const ONE: [&str; 4] = ["m"; 4];

    #[test]
    fn a_folder_that_every_node_sees_is_shared_and_nothing_stays() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(checked([dir.path(); 4], ONE), vec![Sharing::Shared; 4]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn nodes_with_folders_of_their_own_are_named() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let found = checked([one.path(), one.path(), two.path(), two.path()], ONE);
        let text = found[0].islands("the data folder", Path::new("/data")).unwrap();
        assert_eq!(
            text,
            "the data folder /data is not shared: what rank 0 on simulated-0 writes there is not seen by simulated-1"
        );
        assert!(found.iter().all(|other| *other == found[0]), "all ranks know");
        assert_eq!(fs::read_dir(one.path()).unwrap().count(), 0);
        let absent = one.path().join("absent");
        let found = checked([one.path(), one.path(), &absent, &absent], ONE);
        assert!(matches!(&found[3], Sharing::Islands { without, .. } if without[..] == ["simulated-1"]));
    }

    #[test]
    fn containers_of_one_node_are_looked_at_each() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let found = checked([one.path(), two.path(), one.path(), one.path()], ["m", "n", "m", "m"]);
        assert!(matches!(&found[0], Sharing::Islands { without, .. } if without[..] == ["simulated-0"]), "{found:?}");
    }

    #[test]
    fn a_folder_that_rank_0_cannot_write_is_compared_and_otherwise_not_checked() {
        let absent = Path::new("/does/not/exist");
        let found = checked([absent; 4], ONE);
        assert!(matches!(&found[0], Sharing::NotChecked(reason) if reason.contains("/does/not/exist")), "{found:?}");
        // Not even root can create files in /proc.
        assert_eq!(checked([Path::new("/proc/self/fd"); 4], ONE)[0], Sharing::Shared);
    }
}
