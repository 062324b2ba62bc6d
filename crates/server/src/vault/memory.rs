//! Objects in memory, as lists of shared byte segments: serving hands the segments out without copying, and
//! completing an upload joins the lists of its parts.

use std::collections::BTreeMap;
use std::io;
use std::ops::{Bound, Range};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::SystemTime;

use bytes::Bytes;

use super::budget::{Budget, Reservation};
use super::query::{Pager, Step};
use super::{
    Attributes, Begun, BucketSettings, Completion, Condition, Content, Deletion, Fault, From, Opened, Page, Part,
    Query, Stat, StoredChecksum, Tag, Target, Upload,
};
use crate::clock;
use dlio_storage::random::{random, random_hex};

/// Largest segment: big enough that a copy of it costs more than its bookkeeping.
const SEGMENT_BYTES: usize = 1 << 20;

pub(crate) struct Memory {
    buckets: RwLock<BTreeMap<String, Bucket>>,
    /// High half of every opaque entity tag: another process never gives out the same.
    nonce: u64,
    versions: AtomicU64,
    budget: Arc<Budget>,
}

/// The bytes of an object or part, with the memory that is reserved for them.
pub(crate) struct Segments {
    bytes: Vec<Bytes>,
    /// One for each part that the object was joined of.
    reserved: Vec<Arc<Reservation>>,
}

struct Bucket {
    created: SystemTime,
    settings: BucketSettings,
    /// By the bytes of the key, which is the order of listings.
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

    pub(crate) async fn create_bucket(&self, bucket: &str, settings: BucketSettings) -> Result<(), Fault> {
        let mut buckets = self.write();
        if buckets.contains_key(bucket) {
            return Err(Fault::BucketExists);
        }
        let created = clock::wall();
        let empty = Bucket { created, settings, objects: BTreeMap::new(), uploads: BTreeMap::new() };
        buckets.insert(bucket.to_owned(), empty);
        Ok(())
    }

    pub(crate) async fn settings(&self, bucket: &str) -> Result<BucketSettings, Fault> {
        self.read().get(bucket).map(|bucket| bucket.settings.clone()).ok_or(Fault::NoSuchBucket)
    }

    pub(crate) async fn change_settings(
        &self,
        bucket: &str,
        change: impl FnOnce(&mut BucketSettings),
    ) -> Result<(), Fault> {
        change(&mut self.write().get_mut(bucket).ok_or(Fault::NoSuchBucket)?.settings);
        Ok(())
    }

    pub(crate) async fn change_attributes(
        &self,
        bucket: &str,
        key: &str,
        change: impl FnOnce(&mut Attributes),
    ) -> Result<(), Fault> {
        let mut buckets = self.write();
        let bucket = buckets.get_mut(bucket).ok_or(Fault::NoSuchBucket)?;
        let object = bucket.objects.get_mut(key.as_bytes()).ok_or(Fault::NoSuchKey)?;
        change(Arc::make_mut(&mut object.attributes));
        Ok(())
    }

    pub(crate) async fn head_bucket(&self, bucket: &str) -> Result<(), Fault> {
        self.read().get(bucket).map(|_| ()).ok_or(Fault::NoSuchBucket)
    }

    pub(crate) async fn delete_bucket(&self, bucket: &str) -> Result<(), Fault> {
        let mut buckets = self.write();
        if !buckets.get(bucket).ok_or(Fault::NoSuchBucket)?.objects.is_empty() {
            return Err(Fault::BucketNotEmpty);
        }
        buckets.remove(bucket);
        Ok(())
    }

    pub(crate) async fn buckets(&self) -> Result<Vec<(String, SystemTime)>, Fault> {
        Ok(self.read().iter().map(|(name, bucket)| (name.clone(), bucket.created)).collect())
    }

    pub(crate) async fn open(&self, bucket: &str, key: &str) -> Result<Opened, Fault> {
        let buckets = self.read();
        let bucket = buckets.get(bucket).ok_or(Fault::NoSuchBucket)?;
        let Object { stat, attributes, segments } = bucket.objects.get(key.as_bytes()).ok_or(Fault::NoSuchKey)?.clone();
        Ok(Opened { stat, attributes, content: Content::Memory(segments) })
    }

    pub(crate) async fn delete(&self, bucket: &str, deletions: Vec<Deletion>) -> Result<Vec<Result<(), Fault>>, Fault> {
        let mut buckets = self.write();
        let bucket = buckets.get_mut(bucket).ok_or(Fault::NoSuchBucket)?;
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

    pub(crate) async fn list(&self, bucket: &str, query: Query) -> Result<Page, Fault> {
        let buckets = self.read();
        let objects = &buckets.get(bucket).ok_or(Fault::NoSuchBucket)?.objects;
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

    pub(crate) fn draft(self: &Arc<Self>, expected: u64) -> Result<Draft, Fault> {
        let reserved = self.budget.reserve(expected)?;
        Ok(Draft { store: Arc::clone(self), segments: Vec::new(), filling: Vec::new(), size: 0, expected, reserved })
    }

    fn put(&self, target: Target, stat: Stat, segments: Arc<Segments>) -> Result<Stat, Fault> {
        let mut buckets = self.write();
        match target {
            Target::Object { bucket, key, attributes, condition } => {
                let bucket = buckets.get_mut(&bucket).ok_or(Fault::NoSuchBucket)?;
                bucket.put(key, Object { stat: stat.clone(), attributes, segments }, &condition)?;
            }
            Target::Part { upload, number, checksum } => {
                let bucket = buckets.get_mut(&upload.bucket).ok_or(Fault::NoSuchBucket)?;
                let parts = bucket.uploads.get_mut(&upload).ok_or(Fault::NoSuchUpload)?;
                parts.by_number.insert(number, UploadedPart { stat: stat.clone(), checksum, segments });
            }
        }
        Ok(stat)
    }

    pub(crate) async fn create_upload(&self, bucket: &str, key: &str, attributes: Attributes) -> Result<String, Fault> {
        let id = random_hex::<16>().map_err(Fault::io("making an upload id"))?;
        let upload = Upload { bucket: bucket.to_owned(), key: key.to_owned(), id: id.clone() };
        let parts = Parts { started: clock::wall(), attributes: Arc::new(attributes), by_number: BTreeMap::new() };
        self.write().get_mut(bucket).ok_or(Fault::NoSuchBucket)?.uploads.insert(upload, parts);
        Ok(id)
    }

    pub(crate) async fn complete_upload(&self, upload: Upload, completion: Completion) -> Result<Stat, Fault> {
        let Completion { parts, attributes, condition } = completion;
        let mut buckets = self.write();
        let bucket = buckets.get_mut(&upload.bucket).ok_or(Fault::NoSuchBucket)?;
        let begun = bucket.uploads.get(&upload).ok_or(Fault::NoSuchUpload)?;
        let (mut size, mut joined) = (0, Segments { bytes: Vec::new(), reserved: Vec::new() });
        let mut tags = Vec::with_capacity(parts.len());
        for (number, tag) in parts {
            let part = begun.by_number.get(&number).filter(|part| part.stat.tag.to_string() == tag);
            let UploadedPart { stat, segments, .. } = part.ok_or(Fault::InvalidPart(number))?;
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

    pub(crate) async fn abort_upload(&self, upload: Upload) -> Result<(), Fault> {
        let mut buckets = self.write();
        let bucket = buckets.get_mut(&upload.bucket).ok_or(Fault::NoSuchBucket)?;
        bucket.uploads.remove(&upload).map(|_| ()).ok_or(Fault::NoSuchUpload)
    }

    pub(crate) async fn upload_attributes(&self, upload: Upload) -> Result<Arc<Attributes>, Fault> {
        let buckets = self.read();
        let bucket = buckets.get(&upload.bucket).ok_or(Fault::NoSuchBucket)?;
        bucket.uploads.get(&upload).map(|begun| Arc::clone(&begun.attributes)).ok_or(Fault::NoSuchUpload)
    }

    pub(crate) async fn parts(&self, upload: Upload) -> Result<Vec<Part>, Fault> {
        let buckets = self.read();
        let bucket = buckets.get(&upload.bucket).ok_or(Fault::NoSuchBucket)?;
        let begun = bucket.uploads.get(&upload).ok_or(Fault::NoSuchUpload)?;
        let part = |(number, part): (&u16, &UploadedPart)| Part {
            number: *number,
            stat: part.stat.clone(),
            checksum: part.checksum.clone(),
        };
        Ok(begun.by_number.iter().map(part).collect())
    }

    pub(crate) async fn uploads(&self, bucket: &str) -> Result<Vec<Begun>, Fault> {
        let buckets = self.read();
        let uploads = &buckets.get(bucket).ok_or(Fault::NoSuchBucket)?.uploads;
        let begun = |(upload, parts): (&Upload, &Parts)| Begun {
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
    fn put(&mut self, key: String, object: Object, condition: &Condition) -> Result<(), Fault> {
        if !condition.is_always() {
            condition.check(self.objects.get(key.as_bytes()).map(|object| &object.stat))?;
        }
        self.objects.insert(key.into_bytes(), object);
        Ok(())
    }
}

/// The first key that a listing looks at.
fn first_key(query: &Query) -> Bound<Vec<u8>> {
    let from = match &query.from {
        From::Start => return Bound::Included(query.prefix.clone().into_bytes()),
        From::After(key) => Bound::Excluded(key.clone().into_bytes()),
        From::Past(prefix) => past(prefix),
    };
    match &from {
        Bound::Included(key) | Bound::Excluded(key) if key.as_slice() >= query.prefix.as_bytes() => from,
        Bound::Unbounded => from,
        _ => Bound::Included(query.prefix.clone().into_bytes()),
    }
}

/// Just after every key with `prefix`. The bytes of UTF-8 are below 255, so that the last can always grow.
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

/// An object in the making. What arrives is copied into segments of its own, so that the network buffers it came in
/// do not live as long as the object.
pub(crate) struct Draft {
    store: Arc<Memory>,
    segments: Vec<Bytes>,
    filling: Vec<u8>,
    size: u64,
    /// Bytes announced by the client, so that segments are allocated once.
    expected: u64,
    reserved: Reservation,
}

impl Draft {
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        self.reserved.cover(self.size + bytes.len() as u64, SEGMENT_BYTES as u64)?;
        while !bytes.is_empty() {
            if self.filling.len() == SEGMENT_BYTES {
                self.segments.push(Bytes::from(std::mem::take(&mut self.filling)));
            }
            if self.filling.is_empty() {
                let announced = usize::try_from(self.expected.saturating_sub(self.size)).unwrap_or(SEGMENT_BYTES);
                let reserved = self.filling.try_reserve_exact(announced.min(SEGMENT_BYTES));
                reserved.map_err(|_| Fault::NoMemory { wanted: self.expected.max(self.size) })?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(SEGMENT_BYTES - self.filling.len()));
            self.filling.extend_from_slice(now);
            self.size += now.len() as u64;
            bytes = later;
        }
        Ok(())
    }

    pub(crate) fn commit(mut self, target: Target, tag: Option<Tag>) -> Result<Stat, Fault> {
        if !self.filling.is_empty() {
            self.segments.push(Bytes::from(std::mem::take(&mut self.filling).into_boxed_slice()));
        }
        self.reserved.settle(self.size);
        let segments = Segments { bytes: self.segments, reserved: vec![Arc::new(self.reserved)] };
        self.store.put(target, self.store.stat(self.size, tag), Arc::new(segments))
    }
}

/// Hands out the segments of a range.
pub(crate) struct Reader {
    segments: Arc<Segments>,
    index: usize,
    /// First byte wanted of the segment at `index`.
    offset: usize,
    remaining: u64,
    piece: usize,
}

impl Reader {
    pub(crate) fn new(segments: Arc<Segments>, range: Range<u64>, piece: usize) -> Self {
        let (mut index, mut skip) = (0, range.start);
        while let Some(segment) = segments.bytes.get(index).filter(|segment| skip >= segment.len() as u64) {
            skip -= segment.len() as u64;
            index += 1;
        }
        let offset = usize::try_from(skip).unwrap_or(usize::MAX);
        Self { segments, index, offset, remaining: range.end - range.start, piece }
    }

    pub(crate) fn remaining(&self) -> u64 {
        self.remaining
    }

    pub(crate) fn next(&mut self) -> Option<Bytes> {
        if self.remaining == 0 {
            return None;
        }
        let segment = self.segments.bytes.get(self.index)?;
        let wanted = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(self.piece);
        let end = segment.len().min(self.offset.saturating_add(wanted));
        let bytes = segment.slice(self.offset..end);
        self.remaining -= bytes.len() as u64;
        self.offset = end;
        if end == segment.len() {
            self.index += 1;
            self.offset = 0;
        }
        Some(bytes)
    }
}
