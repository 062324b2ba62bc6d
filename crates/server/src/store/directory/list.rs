//! Fills a page of a listing: walks the folders in key order, and only those that the page needs.

use std::ops::ControlFlow;
use std::path::Path;

use super::key_path::EncodedKey;
use super::root::Directory;
use crate::store::error::StoreError;
use crate::store::query::{ListStart, Page, Pager, Query, Step};

/// Longest key in bytes. Folders nested more deeply (through a loop of symbolic links) contain no objects.
const KEY_BYTES_MAX: usize = 1024;

struct Walk<'a> {
    bucket: &'a Path,
    store: &'a Directory,
    from: ListStart,
    prefix: String,
    pager: Pager,
}

pub(super) fn page(store: &Directory, bucket: &Path, query: Query) -> Result<Page, StoreError> {
    let folder = query.prefix.rfind('/').map_or("", |slash| &query.prefix[..=slash]).to_owned();
    let (from, prefix) = (query.from.clone(), query.prefix.clone());
    let mut walk = Walk { bucket, store, from, prefix, pager: Pager::new(query) };
    // The walk ends when the page is full or no key is left; the page is complete in both cases.
    let _ = walk.folder(&folder)?;
    Ok(walk.pager.finish())
}

impl Walk<'_> {
    /// Walks the keys that begin with `folder`.
    fn folder(&mut self, folder: &str) -> Result<ControlFlow<()>, StoreError> {
        if folder.len() > KEY_BYTES_MAX {
            return Ok(ControlFlow::Continue(()));
        }
        let path = self.bucket.join(EncodedKey::folder(folder).path());
        let level = self.store.listings.get(&path).map_err(StoreError::io("listing a folder"))?;
        let entries = level.entries();
        let mut next = entries.partition_point(|entry| self.skips(folder, entry));
        while let Some(entry) = entries.get(next) {
            next += 1;
            if self.skips(folder, entry) {
                continue;
            }
            let key = format!("{folder}{entry}");
            let flow = if entry.ends_with('/') { self.subfolder(&key)? } else { self.object(&key) };
            if flow.is_break() {
                return Ok(flow);
            }
            if !folder.is_empty() && self.from.skips_folder(folder) {
                break;
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Returns whether all keys of an entry lie before the requested ones.
    fn skips(&self, folder: &str, entry: &str) -> bool {
        let key = format!("{folder}{entry}");
        let before_prefix = key < self.prefix && !(entry.ends_with('/') && self.prefix.starts_with(&key));
        let before_start = if entry.ends_with('/') { self.from.skips_folder(&key) } else { self.from.skips_key(&key) };
        before_prefix || before_start
    }

    fn subfolder(&mut self, folder: &str) -> Result<ControlFlow<()>, StoreError> {
        // Entries are sorted, so one beyond the prefix ends the walk.
        let beyond = !folder.starts_with(&self.prefix) && !self.prefix.starts_with(folder);
        if beyond { Ok(ControlFlow::Break(())) } else { self.folder(folder) }
    }

    fn object(&mut self, key: &str) -> ControlFlow<()> {
        match self.pager.offer(key) {
            Step::Take => {
                // An object that vanished since the folder was read is not listed.
                if let Some(stat) = self.store.stat(self.bucket, &EncodedKey::new(key)) {
                    self.pager.take(key.to_owned(), stat);
                }
            }
            Step::Skip(group) => self.from = ListStart::Past(group),
            Step::Stop => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }
}
