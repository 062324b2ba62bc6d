//! The file system of a folder, which may not exist yet.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Types of file systems that nodes share, with their statfs(2) numbers.
const SHARED: &[(u64, &str)] = &[
    (0x6969, "nfs"),
    (0x0BD0_0BD0, "lustre"),
    (0x4750_4653, "gpfs"),
    (0x00C3_6400, "ceph"),
    (0xFF53_4D42, "cifs"),
    (0xFE53_4D42, "smb2"),
    (0x0102_1997, "9p"),
    (0x6573_5546, "fuse"),
    (0x1983_0326, "beegfs"),
    (0x5346_414F, "afs"),
    (0x7461_636F, "ocfs2"),
    (0x0116_1970, "gfs2"),
    (0xAAD7_AAEA, "panfs"),
    (0x5742_4653, "weka"),
];

/// Usual types of local file systems.
const LOCAL: &[(u64, &str)] = &[
    (0xEF53, "ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683E, "btrfs"),
    (0x2FC1_2FC1, "zfs"),
    (0x0102_1994, "tmpfs"),
    (0x794C_7630, "overlay"),
    (0xF2F5_2010, "f2fs"),
    (0x8584_58F6, "ramfs"),
    (0xCA45_1A4E, "bcachefs"),
];

/// A file system and its free space for this user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileSystem {
    /// Type, such as `ext4`, or the statfs(2) number.
    pub kind: String,
    /// Mount point.
    pub mount: PathBuf,
    /// Device number on this node.
    pub device: u64,
    /// Block size in bytes.
    pub block: u64,
    /// Total size in bytes.
    pub total: u64,
    /// Free space in bytes.
    pub free: u64,
    /// Free inodes; `None`: the file system does not count them.
    pub free_inodes: Option<u64>,
}

impl FileSystem {
    /// Returns the file system of a folder, or of its nearest existing parent.
    ///
    /// # Errors
    /// No parent folder can be accessed.
    pub fn of(folder: &Path) -> io::Result<Self> {
        let existing = existing(folder)?;
        let (space, kind) = (rustix::fs::statvfs(&existing)?, rustix::fs::statfs(&existing)?);
        let block = if space.f_frsize > 0 { space.f_frsize } else { space.f_bsize }.max(1);
        // Reserved blocks are not counted as free, because root in a container may not use them either.
        let (free, inodes) = (space.f_bavail, space.f_favail);
        let device = std::fs::metadata(&existing)?.dev();
        #[expect(clippy::cast_sign_loss, reason = "the kind is a bit pattern")]
        let number = kind.f_type as u64 & 0xFFFF_FFFF;
        Ok(Self {
            kind: kind_name(number),
            mount: mount(&existing, device),
            device,
            block,
            total: space.f_blocks.saturating_mul(block),
            free: free.saturating_mul(block),
            free_inodes: (space.f_files > 0).then_some(inodes),
        })
    }

    /// Returns whether nodes share the file system.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        SHARED.iter().any(|(_, name)| *name == self.kind)
    }

    /// Returns the identity of the file system: its device on a node, its type and size across nodes.
    #[must_use]
    pub fn identity(&self) -> String {
        if self.is_shared() { format!("{} {}", self.kind, self.total) } else { self.device.to_string() }
    }
}

/// Returns the nearest existing folder: the folder itself or a parent.
///
/// # Errors
/// If a folder exists and cannot be examined.
pub fn existing(folder: &Path) -> io::Result<PathBuf> {
    let mut path = std::path::absolute(folder)?;
    loop {
        match std::fs::metadata(&path) {
            Ok(_) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound && path.pop() => {}
            Err(error) => return Err(error),
        }
    }
}

/// Returns the topmost parent folder on the same device.
fn mount(folder: &Path, device: u64) -> PathBuf {
    let resolved = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let same = |path: &&Path| std::fs::metadata(path).is_ok_and(|found| found.dev() == device);
    resolved.ancestors().take_while(same).last().unwrap_or(folder).to_owned()
}

fn kind_name(number: u64) -> String {
    let known = SHARED.iter().chain(LOCAL).find(|(magic, _)| *magic == number);
    known.map_or_else(|| format!("{number:#x}"), |(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_yet_is_on_the_file_system_above_it() {
        let folder = tempfile::tempdir().unwrap();
        let here = FileSystem::of(folder.path()).unwrap();
        let below = FileSystem::of(&folder.path().join("a/b/c")).unwrap();
        assert_eq!((here.device, &here.kind, &here.mount), (below.device, &below.kind, &below.mount));
        assert!(here.block > 0 && here.total >= here.free && folder.path().starts_with(&here.mount));
        assert_eq!(existing(&folder.path().join("a/b")).unwrap(), folder.path());
    }

    #[test]
    fn what_is_kept_back_from_most_users_is_free_for_none() {
        let folder = tempfile::tempdir().unwrap();
        // Other processes may write meanwhile, so the free space lies between the values before and after.
        let available = || {
            let space = rustix::fs::statvfs(folder.path()).unwrap();
            space.f_bavail * space.f_frsize
        };
        let between = |_| {
            let (before, found, after) = (available(), FileSystem::of(folder.path()).unwrap().free, available());
            (before.min(after)..=before.max(after)).contains(&found)
        };
        assert!((0..100).any(between));
    }

    #[test]
    fn kinds_have_names_and_unknown_ones_their_number() {
        assert_eq!(kind_name(0xEF53), "ext4");
        assert_eq!(kind_name(0x6969), "nfs");
        assert_eq!(kind_name(0x1234), "0x1234");
    }
}
