//! Objects in memory, stored as lists of shared byte segments: a GET sends the segments without copying them, and
//! completing an upload concatenates the lists of its parts.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::SystemTime;

use bytes::Bytes;
use dlio_storage::random::{random, random_hex};

use super::attributes::{Attributes, BucketSettings, StoredChecksum};
use super::budget::{Budget, Reservation};
use super::condition::{Condition, Deletion};
use super::error::StoreError;
use super::object::{Completion, Part, Target, Upload, UploadInProgress};
use super::opened::{Content, OpenObject};
use super::query::{ListStart, Page, Pager, Query, Step};
use super::segments::Segments;
use super::stat::Stat;
use super::tag::Tag;
use crate::clock;

/// Size of a segment: copying it costs much more than its bookkeeping.
const SEGMENT_BYTES: usize = 1 << 20;

pub(crate) struct Memory {
    buckets: RwLock<BTreeMap<String, Bucket>>,
    /// High half of every opaque entity tag; it differs between processes.
    nonce: u64,
    versions: AtomicU64,
    budget: Arc<Budget>,
}

struct Bucket {
    created: SystemTime,
    settings: BucketSettings,
    /// Objects by the bytes of their keys, which is the order of listings.
    objects: BTreeMap<Vec<u8>, Object>,
    uploads: BTreeMap<Upload, Parts>,
}

#[derive(Clone)]
struct Object {
    stat: Stat,
    attributes: Arc<Attributes>,
    segments: Arc<Segments>,
}

struct Parts {
    started: SystemTime,
    attributes: Arc<Attributes>,
    by_number: BTreeMap<u16, UploadedPart>,
}

struct UploadedPart {
    stat: Stat,
    checksum: Option<StoredChecksum>,
    segments: Arc<Segments>,
}

#[expect(clippy::unused_async, reason = "the same shape as the directory's store, which waits for the disk")]
impl Memory {
    pub(crate) fn new(budget: Arc<Budget>) -> io::Result<Self> {
        let nonce = u64::from_le_bytes(random()?);
        Ok(Self { buckets: RwLock::default(), nonce, versions: AtomicU64::new(0), budget })
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, Bucket>> {
        self.buckets.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Bucket>> {
        self.buckets.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn stat(&self, size: u64, tag: Option<Tag>) -> Stat {
        let tag = tag.unwrap_or_else(|| {
            let version = self.versions.fetch_add(1, Ordering::Relaxed);
            Tag::Opaque(u128::from(self.nonce) << 64 | u128::from(version))
        });
        Stat { size, modified: clock::wall(), tag }
    }

    pub(crate) async fn create_bucket(&self, bucket: &str, settings: BucketSettings) -> Result<(), StoreError> {
        let mut buckets = self.write();
        if buckets.contains_key(bucket) {
            return Err(StoreError::BucketExists);
        }
        let created = clock::wall();
        let empty = Bucket { created, settings, objects: BTreeMap::new(), uploads: BTreeMap::new() };
        buckets.insert(bucket.to_owned(), empty);
        Ok(())
    }

    pub(crate) async fn settings(&self, bucket: &str) -> Result<BucketSettings, StoreError> {
        self.read().get(bucket).map(|bucket| bucket.settings.clone()).ok_or(StoreError::NoSuchBucket)
    }

    pub(crate) async fn change_settings(
        &self,
        bucket: &str,
        change: impl FnOnce(&mut BucketSettings),
    ) -> Result<(), StoreError> {
        change(&mut self.write().get_mut(bucket).ok_or(StoreError::NoSuchBucket)?.settings);
        Ok(())
    }

    pub(crate) async fn change_attributes(
        &self,
        bucket: &str,
        key: &str,
        change: impl FnOnce(&mut Attributes),
    ) -> Result<(), StoreError> {
        let mut buckets = self.write();
        let bucket = buckets.get_mut(bucket).ok_or(StoreError::NoSuchBucket)?;
        let object = bucket.objects.get_mut(key.as_bytes()).ok_or(StoreError::NoSuchKey)?;
        change(Arc::make_mut(&mut object.attributes));
        Ok(())
    }

    pub(crate) async fn head_bucket(&self, bucket: &str) -> Result<(), StoreError> {
        self.read().get(bucket).map(|_| ()).ok_or(StoreError::NoSuchBucket)
    }

    pub(crate) async fn delete_bucket(&self, bucket: &str) -> Result<(), StoreError> {
        let mut buckets = self.write();
        if !buckets.get(bucket).ok_or(StoreError::NoSuchBucket)?.objects.is_empty() {
            return Err(StoreError::BucketNotEmpty);
        }
        buckets.remove(bucket);
        Ok(())
    }

    pub(crate) async fn buckets(&self) -> Result<Vec<(String, SystemTime)>, StoreError> {
        Ok(self.read().iter().map(|(name, bucket)| (name.clone(), bucket.created)).collect())
    }

    pub(crate) async fn open(&self, bucket: &str, key: &str) -> Result<OpenObject, StoreError> {
        let buckets = self.read();
        let bucket = buckets.get(bucket).ok_or(StoreError::NoSuchBucket)?;
        let Object { stat, attributes, segments } =
            bucket.objects.get(key.as_bytes()).ok_or(StoreError::NoSuchKey)?.clone();
        Ok(OpenObject { stat, attributes, content: Content::Memory(segments) })
    }

    pub(crate) async fn delete(
        &self,
        bucket: &str,
        deletions: Vec<Deletion>,
    ) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        let mut buckets = self.write();
        let bucket = buckets.get_mut(bucket).ok_or(StoreError::NoSuchBucket)?;
        let remove = |Deletion { key, condition }: Deletion| {
            if !condition.is_always()
                && let Some(object) = bucket.objects.get(key.as_bytes())
            {
                condition.check(Some(&object.stat))?;
            }
            bucket.objects.remove(key.as_bytes());
            Ok(())
        };
        Ok(deletions.into_iter().map(remove).collect())
    }

    pub(crate) async fn list(&self, bucket: &str, query: Query) -> Result<Page, StoreError> {
        let buckets = self.read();
        let objects = &buckets.get(bucket).ok_or(StoreError::NoSuchBucket)?.objects;
        let mut begin = first_key(&query);
        let mut pager = Pager::new(query);
        'walk: loop {
            for (key, object) in objects.range::<[u8], _>((as_slice(&begin), Bound::Unbounded)) {
                let Ok(key) = std::str::from_utf8(key) else { continue };
                match pager.offer(key) {
                    Step::Take => pager.take(key.to_owned(), object.stat.clone()),
                    Step::Skip(group) => {
                        begin = past(&group);
                        continue 'walk;
                    }
                    Step::Stop => break 'walk,
                }
            }
            break;
        }
        Ok(pager.finish())
    }

    pub(crate) fn writer(self: &Arc<Self>, expected: u64) -> Result<UploadWriter, StoreError> {
        let reserved = self.budget.reserve(expected)?;
        Ok(UploadWriter {
            store: Arc::clone(self),
            segments: Vec::new(),
            filling: Vec::new(),
            size: 0,
            expected,
            reserved,
        })
    }

    fn put(&self, target: Target, stat: Stat, segments: Arc<Segments>) -> Result<Stat, StoreError> {
        let mut buckets = self.write();
        match target {
            Target::Object { bucket, key, attributes, condition } => {
                let bucket = buckets.get_mut(&bucket).ok_or(StoreError::NoSuchBucket)?;
                bucket.put(key, Object { stat: stat.clone(), attributes, segments }, &condition)?;
            }
            Target::Part { upload, number, checksum } => {
                let bucket = buckets.get_mut(&upload.bucket).ok_or(StoreError::NoSuchBucket)?;
                let parts = bucket.uploads.get_mut(&upload).ok_or(StoreError::NoSuchUpload)?;
                parts.by_number.insert(number, UploadedPart { stat: stat.clone(), checksum, segments });
            }
        }
        Ok(stat)
    }

    pub(crate) async fn create_upload(
        &self,
        bucket: &str,
        key: &str,
        attributes: Attributes,
    ) -> Result<String, StoreError> {
        let id = random_hex::<16>().map_err(StoreError::io("making an upload id"))?;
        let upload = Upload { bucket: bucket.to_owned(), key: key.to_owned(), id: id.clone() };
        let parts = Parts { started: clock::wall(), attributes: Arc::new(attributes), by_number: BTreeMap::new() };
        self.write().get_mut(bucket).ok_or(StoreError::NoSuchBucket)?.uploads.insert(upload, parts);
        Ok(id)
    }

    pub(crate) async fn complete_upload(&self, upload: Upload, completion: Completion) -> Result<Stat, StoreError> {
        let Completion { parts, attributes, condition } = completion;
        let mut buckets = self.write();
        let bucket = buckets.get_mut(&upload.bucket).ok_or(StoreError::NoSuchBucket)?;
        let begun = bucket.uploads.get(&upload).ok_or(StoreError::NoSuchUpload)?;
        let (mut size, mut joined) = (0, Segments { bytes: Vec::new(), reserved: Vec::new() });
        let mut tags = Vec::with_capacity(parts.len());
        for (number, tag) in parts {
            let part = begun.by_number.get(&number).filter(|part| part.stat.tag.to_string() == tag);
            let UploadedPart { stat, segments, .. } = part.ok_or(StoreError::InvalidPart(number))?;
            size += stat.size;
            tags.push(stat.tag);
            joined.bytes.extend(segments.bytes.iter().cloned());
            joined.reserved.extend(segments.reserved.iter().cloned());
        }
        let stat = self.stat(size, Tag::joined(tags));
        let object = Object { stat: stat.clone(), attributes: Arc::new(attributes), segments: Arc::new(joined) };
        bucket.put(upload.key.clone(), object, &condition)?;
        bucket.uploads.remove(&upload);
        Ok(stat)
    }

    pub(crate) async fn abort_upload(&self, upload: Upload) -> Result<(), StoreError> {
        let mut buckets = self.write();
        let bucket = buckets.get_mut(&upload.bucket).ok_or(StoreError::NoSuchBucket)?;
        bucket.uploads.remove(&upload).map(|_| ()).ok_or(StoreError::NoSuchUpload)
    }

    pub(crate) async fn upload_attributes(&self, upload: Upload) -> Result<Arc<Attributes>, StoreError> {
        let buckets = self.read();
        let bucket = buckets.get(&upload.bucket).ok_or(StoreError::NoSuchBucket)?;
        bucket.uploads.get(&upload).map(|begun| Arc::clone(&begun.attributes)).ok_or(StoreError::NoSuchUpload)
    }

    pub(crate) async fn parts(&self, upload: Upload) -> Result<Vec<Part>, StoreError> {
        let buckets = self.read();
        let bucket = buckets.get(&upload.bucket).ok_or(StoreError::NoSuchBucket)?;
        let begun = bucket.uploads.get(&upload).ok_or(StoreError::NoSuchUpload)?;
        let part = |(number, part): (&u16, &UploadedPart)| Part {
            number: *number,
            stat: part.stat.clone(),
            checksum: part.checksum.clone(),
        };
        Ok(begun.by_number.iter().map(part).collect())
    }

    pub(crate) async fn uploads(&self, bucket: &str) -> Result<Vec<UploadInProgress>, StoreError> {
        let buckets = self.read();
        let uploads = &buckets.get(bucket).ok_or(StoreError::NoSuchBucket)?.uploads;
        let begun = |(upload, parts): (&Upload, &Parts)| UploadInProgress {
            upload: upload.clone(),
            started: parts.started,
            attributes: Arc::clone(&parts.attributes),
        };
        let mut found: Vec<_> = uploads.iter().map(begun).collect();
        found.sort_by(|one, two| (&one.upload.key, one.started).cmp(&(&two.upload.key, two.started)));
        Ok(found)
    }
}

impl Bucket {
    fn put(&mut self, key: String, object: Object, condition: &Condition) -> Result<(), StoreError> {
        if !condition.is_always() {
            condition.check(self.objects.get(key.as_bytes()).map(|object| &object.stat))?;
        }
        self.objects.insert(key.into_bytes(), object);
        Ok(())
    }
}

/// Returns the first key that a listing looks at.
fn first_key(query: &Query) -> Bound<Vec<u8>> {
    let from = match &query.from {
        ListStart::Start => return Bound::Included(query.prefix.clone().into_bytes()),
        ListStart::After(key) => Bound::Excluded(key.clone().into_bytes()),
        ListStart::Past(prefix) => past(prefix),
    };
    match &from {
        Bound::Included(key) | Bound::Excluded(key) if key.as_slice() >= query.prefix.as_bytes() => from,
        Bound::Unbounded => from,
        _ => Bound::Included(query.prefix.clone().into_bytes()),
    }
}

/// Returns the first key after all keys with `prefix`. Bytes of UTF-8 are below 255, so the last byte can always be
/// incremented.
fn past(prefix: &str) -> Bound<Vec<u8>> {
    let mut bytes = prefix.as_bytes().to_vec();
    match bytes.last_mut() {
        Some(last) => *last += 1,
        None => return Bound::Excluded(vec![0xff]),
    }
    Bound::Included(bytes)
}

fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    match bound {
        Bound::Included(key) => Bound::Included(key),
        Bound::Excluded(key) => Bound::Excluded(key),
        Bound::Unbounded => Bound::Unbounded,
    }
}

/// An object that is being written. Bytes are copied into its own segments, so that the network buffers in which they
/// arrived can be freed.
pub(crate) struct UploadWriter {
    store: Arc<Memory>,
    segments: Vec<Bytes>,
    filling: Vec<u8>,
    size: u64,
    /// Size announced by the client, which lets segments be allocated once.
    expected: u64,
    reserved: Reservation,
}

impl UploadWriter {
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
        self.reserved.cover(self.size + bytes.len() as u64, SEGMENT_BYTES as u64)?;
        while !bytes.is_empty() {
            if self.filling.len() == SEGMENT_BYTES {
                self.segments.push(Bytes::from(std::mem::take(&mut self.filling)));
            }
            if self.filling.is_empty() {
                let announced = usize::try_from(self.expected.saturating_sub(self.size)).unwrap_or(SEGMENT_BYTES);
                let reserved = self.filling.try_reserve_exact(announced.min(SEGMENT_BYTES));
                reserved.map_err(|_| StoreError::NoMemory { wanted: self.expected.max(self.size) })?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(SEGMENT_BYTES - self.filling.len()));
            self.filling.extend_from_slice(now);
            self.size += now.len() as u64;
            bytes = later;
        }
        Ok(())
    }

    pub(crate) fn commit(mut self, target: Target, tag: Option<Tag>) -> Result<Stat, StoreError> {
        if !self.filling.is_empty() {
            self.segments.push(Bytes::from(std::mem::take(&mut self.filling).into_boxed_slice()));
        }
        self.reserved.settle(self.size);
        let segments = Segments { bytes: self.segments, reserved: vec![Arc::new(self.reserved)] };
        self.store.put(target, self.store.stat(self.size, tag), Arc::new(segments))
    }
}
