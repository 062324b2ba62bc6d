//! The conformance suite of the storage traits, which every back end, decorator and the S3 server run in their tests.
#![expect(clippy::panic, reason = "a conformance suite fails by panicking with what was expected")]

mod material;

use dlio_event::Outcome;
use futures::future::join_all;

use self::material::{Compare, check_attempts};
pub use self::material::{Pattern, Ticks, list, read};
use crate::{ByteRange, Error, ErrorKind, Storage, Update, Version};

/// Properties in which storages may differ.
#[derive(Debug, Clone, Copy)]
pub struct Capabilities {
    /// Keys are paths in folders, so `a` and `a/b` cannot both exist.
    pub folders: bool,
    /// Parts of objects can be written in place.
    pub updates: bool,
    /// Size in bytes of the largest object, which exceeds the multipart threshold if there is one.
    pub large: u64,
    /// Number of objects in the largest listing, which exceeds one page.
    pub many: u64,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self { folders: false, updates: false, large: (20 << 20) + 17, many: 1203 }
    }
}

/// Runs the suite below the folder `conformance/` of `storage` and removes the objects that it wrote.
///
/// # Panics
/// When the storage does not behave as its trait documents; the message names the key and the expectation.
pub async fn check(storage: &dyn Storage, capabilities: Capabilities) {
    done(storage.create_root().await, "create_root");
    done(storage.create_root().await, "create_root, again");
    done(storage.create_folder("conformance/folder").await, "create_folder");
    done(storage.create_folder("conformance/folder").await, "create_folder, again");
    clean(storage).await;
    reads_back_whole_and_in_ranges(storage).await;
    the_beginning_comes_alone(storage).await;
    empty_objects_exist(storage).await;
    overwriting_replaces(storage).await;
    what_is_replaced_between_reads_is_one_version_or_an_error(storage).await;
    missing_objects_are_named(storage).await;
    odd_keys_work(storage).await;
    keys_stay_below_the_root(storage).await;
    if !capabilities.folders {
        a_key_may_be_a_prefix_of_another(storage).await;
    }
    a_failing_source_leaves_nothing(storage).await;
    what_is_staged_appears_when_it_is_published(storage, capabilities.large).await;
    a_refusing_sink_stops_the_read(storage).await;
    if capabilities.updates {
        parts_are_written_in_place(storage).await;
    } else {
        parts_are_refused(storage).await;
    }
    deleting_twice_is_no_error(storage).await;
    operations_run_at_once(storage).await;
    large_objects_come_back(storage, capabilities.large).await;
    lists_in_key_order(storage).await;
    lists_many(storage, capabilities.many).await;
    clean(storage).await;
    let left = done(list(storage, "conformance/").await, "listing after cleaning");
    assert!(left.is_empty(), "deleted objects are still listed: {left:?}");
}

fn done<T>(result: Result<T, Error>, what: &str) -> T {
    result.unwrap_or_else(|error| panic!("{what}: {error}"))
}

fn failed<T>(result: Result<T, Error>, what: &str) -> Error {
    let Err(error) = result else { panic!("{what} should fail") };
    error
}

async fn clean(storage: &dyn Storage) {
    for found in done(list(storage, "conformance/").await, "listing") {
        done(storage.delete(&found.key).await, &found.key);
    }
}

async fn put(storage: &dyn Storage, key: &str, len: u64, seed: u64) -> Pattern {
    let pattern = Pattern::new(len, seed);
    let receipt = done(storage.write(key, &mut pattern.clone()).await, key);
    assert_eq!(receipt.bytes, len, "writing {key}: the receipt's bytes");
    assert!(!receipt.attempts.is_empty(), "writing {key} leaves no attempt");
    check_attempts(&receipt.attempts, key);
    let size = done(storage.stat(key).await, key).0.size;
    assert_eq!(size, len, "size of {key}");
    pattern
}

/// Reads a range and compares it with the pattern that was written.
async fn expect(storage: &dyn Storage, key: &str, pattern: &Pattern, range: ByteRange) {
    let what = format!("{key} {range:?}");
    let (content, receipt) = done(read(storage, key, range).await, &what);
    let expected = pattern.range(range);
    assert_eq!(content.len(), expected.len(), "{what}: number of bytes");
    assert!(content == expected, "{what}: other bytes than were written");
    assert_eq!(receipt.bytes, expected.len() as u64, "{what}: the receipt's bytes");
    check_attempts(&receipt.attempts, &what);
}

async fn reads_back_whole_and_in_ranges(storage: &dyn Storage) {
    const LEN: u64 = 300_001;
    let key = "conformance/ranges.bin";
    let pattern = put(storage, key, LEN, 1).await;
    expect(storage, key, &pattern, ByteRange::ALL).await;
    let ranges = [
        (0, 1),
        (0, LEN),
        (1, 4096),
        (4095, 2),
        (262_143, 4097),
        (LEN - 1, 1),
        (LEN - 10, 100),
        (LEN - 1, u64::MAX),
        (0, LEN + 1),
        (7, 0),
        (LEN, 10),
        (LEN + 1000, 10),
    ];
    for (offset, len) in ranges {
        expect(storage, key, &pattern, ByteRange::new(offset, len)).await;
    }
    for offset in [1, LEN - 1, LEN] {
        expect(storage, key, &pattern, ByteRange { offset, len: None }).await;
    }
    let object = done(storage.open(key).await, key);
    check_attempts(object.opened(), "opening");
    assert!(object.size().is_none_or(|size| size == LEN), "size of an open object: {:?}", object.size());
    for offset in [200_000, 100, 0] {
        let mut sink = Compare { with: &pattern, next: offset };
        done(object.read(ByteRange::new(offset, 1000), &mut sink).await, "a second range of an open object");
        assert_eq!(sink.next, offset + 1000, "a second range of an open object");
    }
}

async fn the_beginning_comes_alone(storage: &dyn Storage) {
    const LEN: u64 = 3_000_000;
    let key = "conformance/beginning.bin";
    let pattern = put(storage, key, LEN, 1).await;
    let object = done(storage.open(key).await, key);
    for (limit, expected) in [(LEN - 1, LEN - 1), (70_000, 70_000), (0, 0), (LEN, LEN), (LEN + 1, LEN)] {
        let mut sink = Compare { with: &pattern, next: 0 };
        let receipt = done(object.read_first(limit, &mut sink).await, "the beginning of an object");
        assert_eq!((receipt.bytes, sink.next), (expected, expected), "the first {limit} bytes");
        check_attempts(&receipt.attempts, "the beginning of an object");
    }
    // The rest of a longer response must not reach the next request on the connection.
    expect(storage, key, &pattern, ByteRange::new(100, 1000)).await;
    expect(storage, key, &pattern, ByteRange::ALL).await;
}

async fn empty_objects_exist(storage: &dyn Storage) {
    let key = "conformance/empty";
    let pattern = put(storage, key, 0, 2).await;
    for range in [ByteRange::ALL, ByteRange::new(0, 10), ByteRange::new(5, 10), ByteRange::new(0, 0)] {
        expect(storage, key, &pattern, range).await;
    }
}

async fn overwriting_replaces(storage: &dyn Storage) {
    let key = "conformance/overwritten";
    for (seed, len) in [(3, 10_000), (4, 100), (5, 20_000)] {
        let pattern = put(storage, key, len, seed).await;
        expect(storage, key, &pattern, ByteRange::ALL).await;
    }
}

/// Reads two ranges of one version and replaces the object in between: the second read returns bytes of the first version, as an
/// open file does, or fails.
async fn what_is_replaced_between_reads_is_one_version_or_an_error(storage: &dyn Storage) {
    const LEN: u64 = 100_000;
    let key = "conformance/replaced";
    for (seed, len) in [(11, 300), (12, 60_000), (13, LEN), (14, 2 * LEN)] {
        let pattern = put(storage, key, LEN, 10).await;
        let (object, version) = (done(storage.open(key).await, key), Version::new());
        let mut sink = Compare { with: &pattern, next: 0 };
        done(object.read_part(ByteRange::new(0, LEN / 2), &version, &mut sink).await, "the first range of a version");
        put(storage, key, len, seed).await;
        let mut content = Vec::new();
        let mut sink = |bytes: &[u8]| {
            content.extend_from_slice(bytes);
            Ok(())
        };
        let second = ByteRange::new(LEN / 2, LEN / 2);
        if object.read_part(second, &version, &mut sink).await.is_ok() {
            assert!(content == pattern.range(second), "the second range is of another version, {len} bytes long");
        }
    }
}

async fn missing_objects_are_named(storage: &dyn Storage) {
    let key = "conformance/no-folder/missing.npz";
    let mut errors = vec![
        failed(storage.stat(key).await, "stat of a missing object"),
        failed(read(storage, key, ByteRange::ALL).await, "reading a missing object"),
        failed(read(storage, key, ByteRange::new(10, 10)).await, "reading a range of a missing object"),
    ];
    for error in errors.drain(..) {
        assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
        assert!(error.to_string().contains(key), "the error does not name {key}: {error}");
        assert_eq!(error.outcome(), Outcome::NotFound, "{error}: outcome of its last attempt");
    }
    let found = done(list(storage, "conformance/no-folder/").await, "listing a prefix that nothing has");
    assert!(found.is_empty(), "{found:?}");
}

async fn odd_keys_work(storage: &dyn Storage) {
    let names = [
        "with space",
        "plus+plus",
        "per%20cent%zz",
        "eq=amp&q?x#frag",
        "ünïcödé/日本語",
        "tilde~'()*!",
        "semi;colon:at@,$",
        "quote\"<>[]{}|^`",
        "back\\slash",
        "dots..name/...",
        "-dash_",
        "UPPER/lower",
    ];
    for (seed, name) in (10..).zip(names) {
        let key = format!("conformance/odd/{name}");
        let pattern = put(storage, &key, 100, seed).await;
        expect(storage, &key, &pattern, ByteRange::new(10, 50)).await;
    }
    let found = done(list(storage, "conformance/odd/").await, "listing odd keys");
    let mut expected: Vec<_> = names.iter().map(|name| format!("conformance/odd/{name}")).collect();
    expected.sort_unstable();
    let found: Vec<_> = found.into_iter().map(|found| found.key).collect();
    assert_eq!(found, expected, "listing odd keys");
    let prefix = "conformance/odd/eq=amp&q?";
    assert_eq!(done(list(storage, prefix).await, prefix).len(), 1, "listing {prefix:?}");
    for key in expected {
        done(storage.delete(&key).await, &key);
    }
}

async fn keys_stay_below_the_root(storage: &dyn Storage) {
    for key in ["../outside", "conformance/../../outside", "conformance/./a", "/absolute", "conformance//a", ""] {
        let error = failed(storage.write(key, &mut Pattern::new(1, 6)).await, &format!("writing {key:?}"));
        assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
        let error = failed(read(storage, key, ByteRange::ALL).await, &format!("reading {key:?}"));
        assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
    }
}

async fn a_key_may_be_a_prefix_of_another(storage: &dyn Storage) {
    let outer = put(storage, "conformance/a", 10, 30).await;
    let inner = put(storage, "conformance/a/b", 20, 31).await;
    expect(storage, "conformance/a", &outer, ByteRange::ALL).await;
    expect(storage, "conformance/a/b", &inner, ByteRange::ALL).await;
}

async fn a_failing_source_leaves_nothing(storage: &dyn Storage) {
    let key = "conformance/failing/new";
    for (len, ends_after) in [(100, 0), (600_000, 300_000)] {
        let mut source = Pattern::new(len, 7).ending_after(ends_after);
        failed(storage.write(key, &mut source).await, "writing from a source that ends early");
        let error = failed(storage.stat(key).await, "an object whose source ended early should not exist: stat");
        assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
        let found = done(list(storage, "conformance/failing").await, "listing");
        assert!(found.is_empty(), "a failed write left {found:?}");
    }
    let key = "conformance/failing/old";
    let old = put(storage, key, 5000, 8).await;
    failed(storage.write(key, &mut Pattern::new(9000, 9).ending_after(4000)).await, "overwriting from such a source");
    expect(storage, key, &old, ByteRange::ALL).await;
}

async fn what_is_staged_appears_when_it_is_published(storage: &dyn Storage, large: u64) {
    for (len, key) in
        [(0, "conformance/staged/empty"), (4097, "conformance/staged/small"), (large, "conformance/staged/large")]
    {
        let pattern = Pattern::new(len, 9);
        let staged = done(storage.stage(key, &mut pattern.clone()).await, key);
        assert_eq!((staged.bytes, &*staged.key), (len, key), "what staging {key} tells");
        check_attempts(&staged.attempts, key);
        assert_eq!(
            failed(storage.stat(key).await, "what is staged").kind,
            ErrorKind::NotFound,
            "{key} appears too early"
        );
        let listed = done(list(storage, "conformance/staged/").await, "listing what is staged");
        assert!(listed.iter().all(|found| found.key != key), "{key} is listed too early");
        check_attempts(&done(storage.publish(&staged).await, key).attempts, key);
        if len > 0 {
            expect(storage, key, &pattern, ByteRange::ALL).await;
        }
        assert_eq!(done(storage.stat(key).await, key).0.size, len, "size of {key}");
    }
    let key = "conformance/staged/small";
    let kept = Pattern::new(4097, 9);
    let staged = done(storage.stage(key, &mut Pattern::new(100, 10)).await, key);
    expect(storage, key, &kept, ByteRange::ALL).await;
    done(storage.discard(&staged).await, "discarding");
    expect(storage, key, &kept, ByteRange::ALL).await;
    let staged = done(storage.stage(key, &mut Pattern::new(200, 11)).await, key);
    done(storage.publish(&staged).await, "publishing over another");
    expect(storage, key, &Pattern::new(200, 11), ByteRange::ALL).await;
}

async fn a_refusing_sink_stops_the_read(storage: &dyn Storage) {
    let key = "conformance/refused";
    put(storage, key, 10_000, 40).await;
    let object = done(storage.open(key).await, key);
    let mut refuse = |_: &[u8]| Err("expected the magic \\x93NUMPY".to_owned());
    let error = failed(object.read(ByteRange::ALL, &mut refuse).await, "reading into a sink that refuses");
    assert_eq!((error.kind, error.outcome()), (ErrorKind::Corrupt, Outcome::Corrupt), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("expected the magic") && text.contains(key),
        "the error lacks the sink's words or key: {text}"
    );
}

/// Block size in bytes, a multiple of the alignment of direct I/O.
const BLOCK: u64 = 4096;

async fn parts_are_written_in_place(storage: &dyn Storage) {
    let key = "conformance/updated/folder/file";
    let open = async |how: Update| storage.update(key, how).await;
    let missing = failed(open(Update::default()).await, "updating a missing object");
    assert_eq!(missing.kind, ErrorKind::NotFound, "{missing}");
    let object = done(open(Update { create: true }).await, key);
    check_attempts(object.opened(), "opening for an update");
    // Writes whole blocks for direct I/O; the first write leaves a hole that reads as zeros.
    let parts = [
        (2 * BLOCK, 3 * BLOCK, 60),
        (5 * BLOCK, BLOCK, 61),
        (300 * BLOCK, 200 * BLOCK, 62),
        (4 * BLOCK, 2 * BLOCK, 63),
    ];
    let mut expected: Vec<u8> = Vec::new();
    for (offset, len, seed) in parts {
        let part = Pattern::new(len, seed);
        let receipt = done(object.write(offset, &mut part.clone()).await, "writing a part");
        assert_eq!(receipt.bytes, len, "writing a part: the receipt's bytes");
        check_attempts(&receipt.attempts, "writing a part");
        assert_eq!(receipt.attempts.last().map(|last| last.offset), Some(offset), "where the part begins");
        let (from, end) = (usize::try_from(offset).unwrap_or(0), usize::try_from(offset + len).unwrap_or(0));
        expected.resize(expected.len().max(end), 0);
        expected[from..end].copy_from_slice(&part.range(ByteRange::ALL));
        // A write is visible immediately, through the same open object and through others.
        let mut seen = Vec::new();
        let mut collect = |bytes: &[u8]| {
            seen.extend_from_slice(bytes);
            Ok(())
        };
        done(object.read(ByteRange::new(0, u64::MAX), &mut collect).await, "reading what is updated");
        assert!(seen == expected, "after the part at {offset}: other bytes, seen where they were written");
        let (found, _) = done(read(storage, key, ByteRange::ALL).await, key);
        assert!(found == expected, "after the part at {offset}: other bytes, seen by another");
    }
    check_attempts(&done(object.sync().await, "sync").attempts, "sync");
    failed(object.write(0, &mut Pattern::new(2 * BLOCK, 64).ending_after(0)).await, "a part whose source ends early");
    drop(object);
    let object = done(open(Update::default()).await, "updating again");
    assert_eq!(done(storage.stat(key).await, key).0.size, expected.len() as u64, "opening leaves what was there");
    drop(object);
    let outside = failed(storage.update("../outside", Update { create: true }).await, "a key outside");
    assert_eq!(outside.kind, ErrorKind::Invalid, "{outside}");
}

async fn parts_are_refused(storage: &dyn Storage) {
    let key = "conformance/updated";
    let pattern = put(storage, key, 100, 65).await;
    let error = failed(storage.update(key, Update { create: true }).await, "updating an object");
    assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains(key), "the error does not name {key}: {error}");
    expect(storage, key, &pattern, ByteRange::ALL).await;
}

async fn deleting_twice_is_no_error(storage: &dyn Storage) {
    let key = "conformance/deleted";
    put(storage, key, 10, 50).await;
    done(storage.delete(key).await, "delete");
    done(storage.delete(key).await, "delete, again");
    done(storage.delete("conformance/no-folder/missing").await, "deleting what never was");
    let error = failed(storage.stat(key).await, "stat of a deleted object");
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
}

async fn operations_run_at_once(storage: &dyn Storage) {
    let keys: Vec<_> = (0..8).map(|number| format!("conformance/at-once/{number}")).collect();
    let patterns = join_all((60..).zip(&keys).map(|(seed, key)| put(storage, key, 100_000 + seed, seed))).await;
    join_all(keys.iter().zip(&patterns).map(|(key, pattern)| expect(storage, key, pattern, ByteRange::ALL))).await;
}

async fn large_objects_come_back(storage: &dyn Storage, len: u64) {
    let key = "conformance/large";
    let pattern = put(storage, key, len, 70).await;
    let object = done(storage.open(key).await, key);
    for offset in [0, len / 2 - 3, (8 << 20) - 5] {
        let mut sink = Compare { with: &pattern, next: offset };
        let receipt = done(object.read(ByteRange { offset, len: None }, &mut sink).await, "reading a large object");
        assert_eq!(sink.next, len, "reading a large object from {offset}: it ends early");
        assert_eq!(receipt.bytes, len - offset, "reading a large object from {offset}: the receipt's bytes");
    }
    failed(storage.write(key, &mut pattern.clone().ending_after(len - 1)).await, "a large source that ends early");
    expect(storage, key, &pattern, ByteRange::new(len - 1000, 2000)).await;
}

async fn lists_in_key_order(storage: &dyn Storage) {
    // `-` and `.` sort before `/`, letters and digits after it; folders must not change the order of keys.
    let names = ["a-b", "a.b", "a/x", "a/y/z", "a0", "aa/x", "b", "b.d/x", "img_10_of_2", "img_1_of_2"];
    for (size, name) in (1..).zip(names) {
        put(storage, &format!("conformance/order/{name}"), size, 80).await;
    }
    let expected = |prefix: &str| -> Vec<(String, u64)> {
        (1..)
            .zip(names)
            .map(|(size, name)| (format!("conformance/order/{name}"), size))
            .filter(|(key, _)| key.starts_with(prefix))
            .collect()
    };
    for prefix in ["", "a", "a/", "a/y", "b.", "img_1", "img_1_", "zzz"] {
        let prefix = format!("conformance/order/{prefix}");
        let found = done(list(storage, &prefix).await, &prefix);
        let found: Vec<_> = found.into_iter().map(|found| (found.key, found.size)).collect();
        assert_eq!(found, expected(&prefix), "listing {prefix}");
    }
}

async fn lists_many(storage: &dyn Storage, many: u64) {
    let key = |number: u64| format!("conformance/many/{:02}/img_{number:06}.npz", number / 700);
    for number in 0..many {
        done(storage.write(&key(number), &mut Pattern::new(number % 3, 90)).await, "writing many objects");
    }
    let (mut next, mut pages) = (0, 0);
    let mut page = |found: &[crate::ListEntry]| {
        pages += 1;
        for found in found {
            assert_eq!((&found.key, found.size), (&key(next), next % 3), "listing many objects: number {next}");
            next += 1;
        }
    };
    let receipt = done(storage.list("conformance/many/", &mut page).await, "listing many objects");
    assert_eq!(next, many, "listing many objects: {pages} pages end early");
    assert!(!receipt.attempts.is_empty(), "listing leaves no attempt");
}
