//! Multipart uploads. Parts are not synced, only the completed object is; after a power failure the client repeats
//! the upload.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::attributes::read_checksum;
use super::files::{is_absent, require_bucket};
use super::root::Directory;
use crate::clock;
use crate::store::attributes::Attributes;
use crate::store::error::StoreError;
use crate::store::object::{Completion, Part, Target, Upload, UploadInProgress};
use crate::store::stat::Stat;
use crate::store::tag::Tag;
use dlio_storage::random::random_hex;

const ABOUT: &str = "upload.json";

/// Description of an upload, stored as [`ABOUT`].
#[derive(Serialize, Deserialize)]
struct UploadRecord {
    upload: Upload,
    attributes: Attributes,
    started_unix_s: u64,
}

pub(super) fn part_path(folder: &Path, number: u16) -> PathBuf {
    folder.join(format!("part-{number:05}"))
}

impl Directory {
    /// Returns the folder of an upload in progress.
    pub(super) fn require_upload(&self, upload: &Upload) -> Result<PathBuf, StoreError> {
        self.about(upload).map(|(folder, _)| folder)
    }

    fn about(&self, upload: &Upload) -> Result<(PathBuf, UploadRecord), StoreError> {
        // Only an id in the form of this server becomes part of a path.
        if upload.id.len() != 32 || !upload.id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(StoreError::NoSuchUpload);
        }
        let folder = self.uploads_of(&upload.bucket).join(&upload.id);
        let about = read_about(&folder)?.filter(|about| about.upload == *upload).ok_or(StoreError::NoSuchUpload)?;
        Ok((folder, about))
    }

    pub(crate) async fn create_upload(
        self: &Arc<Self>,
        bucket: &str,
        key: &str,
        attributes: Attributes,
    ) -> Result<String, StoreError> {
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        self.blocking(move |store| {
            let failed = StoreError::io("creating an upload");
            require_bucket(&store.bucket(&bucket))?;
            let id = random_hex::<16>().map_err(&failed)?;
            let folder = store.uploads_of(&bucket).join(&id);
            let upload = Upload { bucket, key, id: id.clone() };
            let about = UploadRecord { upload, attributes, started_unix_s: clock::unix_seconds() };
            let text = serde_json::to_vec(&about).map_err(io::Error::from).map_err(&failed)?;
            fs::create_dir_all(&folder).map_err(&failed)?;
            fs::write(folder.join(ABOUT), text).map_err(&failed)?;
            Ok(id)
        })
        .await
    }

    pub(crate) async fn complete_upload(
        self: &Arc<Self>,
        upload: Upload,
        completion: Completion,
    ) -> Result<Stat, StoreError> {
        self.blocking(move |store| {
            let Completion { parts, attributes, condition } = completion;
            let folder = store.require_upload(&upload)?;
            let (mut opened, mut tags) = (Vec::with_capacity(parts.len()), Vec::with_capacity(parts.len()));
            for (number, tag) in parts {
                let part = File::open(part_path(&folder, number)).map_err(|_| StoreError::InvalidPart(number))?;
                let metadata = part.metadata().map_err(StoreError::io("reading a part"))?;
                let kept = store.tag_of(&part, &metadata);
                if kept.to_string() != tag {
                    return Err(StoreError::InvalidPart(number));
                }
                tags.push(kept);
                opened.push(part);
            }
            let mut draft = store.create_staged_file()?;
            for mut part in opened {
                // The kernel copies between the files, and shares blocks if the file system can.
                io::copy(&mut part, &mut draft.file).map_err(StoreError::io("joining the parts of an object"))?;
            }
            let Upload { bucket, key, .. } = upload;
            let target = Target::Object { bucket, key, attributes: attributes.into(), condition };
            let stat = store.finish(draft, &target, Tag::joined(tags))?;
            fs::remove_dir_all(&folder).map_err(StoreError::io("removing the parts of an object"))?;
            Ok(stat)
        })
        .await
    }

    pub(crate) async fn abort_upload(self: &Arc<Self>, upload: Upload) -> Result<(), StoreError> {
        self.blocking(move |store| {
            let folder = store.require_upload(&upload)?;
            fs::remove_dir_all(folder).map_err(StoreError::io("removing an upload"))
        })
        .await
    }

    pub(crate) async fn upload_attributes(self: &Arc<Self>, upload: Upload) -> Result<Arc<Attributes>, StoreError> {
        self.blocking(move |store| store.about(&upload).map(|(_, about)| Arc::new(about.attributes))).await
    }

    pub(crate) async fn parts(self: &Arc<Self>, upload: Upload) -> Result<Vec<Part>, StoreError> {
        self.blocking(move |store| {
            let failed = StoreError::io("listing the parts of an upload");
            let mut parts = Vec::new();
            for entry in fs::read_dir(store.require_upload(&upload)?).map_err(&failed)? {
                let entry = entry.map_err(&failed)?;
                let name = entry.file_name();
                let number = name.to_str().and_then(|name| name.strip_prefix("part-")).and_then(|n| n.parse().ok());
                if let Some(number) = number
                    && let Some(stat) = store.stat_at(&entry.path())
                {
                    parts.push(Part { number, stat, checksum: read_checksum(&entry.path()) });
                }
            }
            parts.sort_by_key(|part| part.number);
            Ok(parts)
        })
        .await
    }

    pub(crate) async fn uploads(self: &Arc<Self>, bucket: &str) -> Result<Vec<UploadInProgress>, StoreError> {
        let bucket = bucket.to_owned();
        self.blocking(move |store| {
            require_bucket(&store.bucket(&bucket))?;
            let failed = StoreError::io("listing uploads");
            let entries = match fs::read_dir(store.uploads_of(&bucket)) {
                Ok(entries) => entries,
                Err(error) if is_absent(&error) => return Ok(Vec::new()),
                Err(error) => return Err(failed(error)),
            };
            let mut found = Vec::new();
            for entry in entries {
                if let Some(about) = read_about(&entry.map_err(&failed)?.path())? {
                    let started = SystemTime::UNIX_EPOCH + Duration::from_secs(about.started_unix_s);
                    found.push(UploadInProgress {
                        upload: about.upload,
                        started,
                        attributes: Arc::new(about.attributes),
                    });
                }
            }
            found.sort_by(|one, two| (&one.upload.key, one.started).cmp(&(&two.upload.key, two.started)));
            Ok(found)
        })
        .await
    }
}

/// Reads the description of an upload; `None` if there is no such upload.
fn read_about(folder: &Path) -> Result<Option<UploadRecord>, StoreError> {
    match fs::read(folder.join(ABOUT)) {
        // A file that cannot be parsed belongs to an upload whose creation did not finish.
        Ok(text) => Ok(serde_json::from_slice(&text).ok()),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(StoreError::io("reading an upload's description")(error)),
    }
}
