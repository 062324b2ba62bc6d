//! Entity tags of files. An MD5 is stored in the extended attribute [`TAG`], together with the size and modification
//! time of the file for which it was computed. A file that another program wrote or changed has an opaque tag made of
//! its modification time, inode and size, which a rename keeps and a replacement changes.
//!
//! A file system without extended attributes has opaque tags only.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use super::root::Directory;
use crate::store::tag::{EntityTags, Tag};

/// 16 bytes of digest, 2 bytes for the number of parts (0: not in parts), and 8 bytes each for size and modification
/// time in nanoseconds, little endian. It is short enough to fit into the inode.
const TAG: &str = "user.dlio-rs.md5";
const TAG_BYTES: usize = 16 + 2 + VERSION_BYTES;
/// Bytes of a [`version`].
pub(super) const VERSION_BYTES: usize = 8 + 8;

impl Directory {
    /// Returns the tag of an open file.
    pub(super) fn tag_of(&self, file: &File, metadata: &fs::Metadata) -> Tag {
        let kept = || {
            let mut text = [0; TAG_BYTES];
            let length = rustix::fs::fgetxattr(file, TAG, &mut text[..]).ok()?;
            parse(&text[..length], metadata)
        };
        self.digest(kept).unwrap_or_else(|| opaque(metadata))
    }

    /// Returns the tag of the file at a path.
    pub(super) fn tag_at(&self, path: &Path, metadata: &fs::Metadata) -> Tag {
        let kept = || {
            let mut text = [0; TAG_BYTES];
            let length = rustix::fs::getxattr(path, TAG, &mut text[..]).ok()?;
            parse(&text[..length], metadata)
        };
        self.digest(kept).unwrap_or_else(|| opaque(metadata))
    }

    fn digest(&self, kept: impl FnOnce() -> Option<Tag>) -> Option<Tag> {
        if self.tags == EntityTags::Md5 { kept() } else { None }
    }
}

/// Stores a tag with a file that has its final modification time, and returns the tag that readers will find.
pub(super) fn keep(file: &File, metadata: &fs::Metadata, tag: Option<Tag>) -> io::Result<Tag> {
    let Some((digest, count)) = tag.and_then(digest_and_count) else { return Ok(opaque(metadata)) };
    let mut text = [0; TAG_BYTES];
    text[..16].copy_from_slice(&digest);
    text[16..18].copy_from_slice(&count.to_le_bytes());
    text[18..].copy_from_slice(&version(metadata));
    match rustix::fs::fsetxattr(file, TAG, &text, XattrFlags::empty()) {
        Ok(()) => Ok(tag.unwrap_or_else(|| opaque(metadata))),
        Err(Errno::OPNOTSUPP) => Ok(opaque(metadata)),
        Err(errno) => Err(errno.into()),
    }
}

fn digest_and_count(tag: Tag) -> Option<([u8; 16], u16)> {
    match tag {
        Tag::Opaque(_) => None,
        Tag::Md5(digest) => Some((digest, 0)),
        Tag::Parts { digest, count } => Some((digest, count)),
    }
}

fn parse(text: &[u8], metadata: &fs::Metadata) -> Option<Tag> {
    let (digest, rest) = text.split_first_chunk::<16>()?;
    let (count, of) = rest.split_first_chunk::<2>()?;
    if of != version(metadata) {
        return None;
    }
    Some(match u16::from_le_bytes(*count) {
        0 => Tag::Md5(*digest),
        count => Tag::Parts { digest: *digest, count },
    })
}

/// Returns bytes that identify the version of a file.
pub(super) fn version(metadata: &fs::Metadata) -> [u8; VERSION_BYTES] {
    let nanos = metadata.mtime().wrapping_mul(1_000_000_000).wrapping_add(metadata.mtime_nsec());
    let mut bytes = [0; VERSION_BYTES];
    bytes[..8].copy_from_slice(&metadata.size().to_le_bytes());
    bytes[8..].copy_from_slice(&nanos.to_le_bytes());
    bytes
}

fn opaque(metadata: &fs::Metadata) -> Tag {
    let nanos = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    let identity = metadata.ino() ^ metadata.size().rotate_left(40);
    Tag::Opaque((nanos.cast_unsigned() << 64) | u128::from(identity))
}
