//! Decorators of storage, in memory and on virtual time.
#![allow(clippy::unwrap_used, reason = "this is test code, also outside test functions")]
#![allow(clippy::needless_lifetimes, reason = "one macro writes methods with and without borrowed arguments")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dlio_event::{Nanos, OpKind, Outcome, TimeSource};
use dlio_storage::conformance::{self, Capabilities, Pattern, Ticks, read};
use dlio_storage::delay::{Delay, Delayed, Delays};
use dlio_storage::faults::{Faulty, Operation, When};
use dlio_storage::local::{Local, LocalOptions};
use dlio_storage::memory::Memory;
use dlio_storage::{
    Attempts, ByteRange, ChunkSink, ChunkSource, Counted, Error, ErrorKind, Future, ListEntry, Metadata, Object,
    RangedGet, RangedGetRules, Receipt, Staged, Storage, Updatable, Update, Version, forward_object, forward_storage,
};
use futures::future::join_all;
use tokio::time::Instant;

struct TokioTime(Instant);

impl TimeSource for TokioTime {
    fn now(&self) -> Nanos {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

fn tokio_time() -> Arc<dyn TimeSource> {
    Arc::new(TokioTime(Instant::now()))
}

fn ticks() -> Arc<dyn TimeSource> {
    Arc::new(Ticks::default())
}

/// Returns memory with one object `a` of 1000 patterned bytes, wrapped for faults.
fn faulty() -> Faulty<Memory> {
    let memory = Memory::new(ticks());
    memory.put("a", Pattern::new(1000, 1).range(ByteRange::ALL));
    Faulty::new(memory, ticks())
}

const MS: u64 = 1_000_000;

#[tokio::test(start_paused = true)]
async fn a_delayed_storage_conforms() {
    let delay = Delay { first_byte: Duration::from_millis(3), bytes_per_second: Some(1_000_000) };
    let delays = Delays { open: delay, read: delay, write: delay, other: delay };
    let time = tokio_time();
    let storage = Delayed::on_tokio(Memory::new(Arc::clone(&time)), delays, time);
    conformance::check(&storage, Capabilities { updates: true, ..Capabilities::default() }).await;
}

#[tokio::test]
async fn a_faulty_storage_without_faults_conforms() {
    conformance::check(
        &Faulty::new(Memory::new(ticks()), ticks()),
        Capabilities { updates: true, ..Capabilities::default() },
    )
    .await;
}

#[tokio::test]
async fn a_counted_storage_conforms_and_counts_what_moves() {
    let bytes = Arc::new(AtomicU64::new(0));
    let storage = Counted::new(Arc::new(Memory::new(ticks())), Arc::clone(&bytes));
    conformance::check(&storage, Capabilities { updates: true, ..Capabilities::default() }).await;
    bytes.store(0, Ordering::Relaxed);
    storage.write("counted/a", &mut Pattern::new(1000, 1)).await.unwrap();
    assert_eq!(bytes.load(Ordering::Relaxed), 1000);
    read(&storage, "counted/a", ByteRange::new(10, 90)).await.unwrap();
    assert_eq!(bytes.load(Ordering::Relaxed), 1090);
}

#[tokio::test]
async fn a_counted_storage_knows_folders_as_the_one_behind_it_does() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("folder")).unwrap();
    let local = Arc::new(Local::new(root.path().to_owned(), ticks(), LocalOptions::default()));
    let counted = Counted::new(local, Arc::default());
    assert!(counted.look_up("folder").await.unwrap().0.is_none());
}

#[tokio::test(start_paused = true)]
async fn delays_add_up_as_computed_by_hand() {
    let time = tokio_time();
    let delays = Delays {
        open: Delay::latency(Duration::from_millis(5)),
        read: Delay { first_byte: Duration::from_millis(10), bytes_per_second: Some(1_000_000) },
        ..Delays::default()
    };
    let memory = Memory::new(Arc::clone(&time));
    memory.put("a", vec![0; 250_000]);
    let storage = Delayed::on_tokio(memory, delays, Arc::clone(&time));
    let object = storage.open("a").await.unwrap();
    assert_eq!((object.opened()[0].start, object.opened()[0].end), (0, 5 * MS));
    let receipt = object.read(ByteRange::ALL, &mut |_: &[u8]| Ok(())).await.unwrap();
    let attempt = &receipt.attempts[0];
    assert_eq!((attempt.start, attempt.first_byte, attempt.end), (5 * MS, Some(15 * MS), 265 * MS));
}

#[tokio::test(start_paused = true)]
async fn delayed_operations_run_side_by_side() {
    let time = tokio_time();
    let delays = Delays { read: Delay::latency(Duration::from_millis(100)), ..Delays::default() };
    let memory = Memory::new(Arc::clone(&time));
    memory.put("a", vec![0; 10]);
    let storage = Delayed::on_tokio(memory, delays, Arc::clone(&time));
    join_all((0..50).map(|_| async { read(&storage, "a", ByteRange::ALL).await.unwrap() })).await;
    assert_eq!(time.now(), 100 * MS);
}

#[tokio::test]
async fn the_nth_call_fails_and_no_other() {
    let storage = faulty().fail(Operation::Read, When::Call(3), ErrorKind::Server);
    for call in 1..6 {
        let result = read(&storage, "a", ByteRange::ALL).await;
        assert_eq!(result.is_err(), call == 3, "call {call}");
        if let Err(error) = result {
            assert_eq!((error.kind, error.outcome()), (ErrorKind::Server, Outcome::ServerError));
            assert!(error.to_string().contains("memory://a"));
        }
    }
}

#[tokio::test]
async fn a_fault_on_the_first_call_of_a_key_is_over_at_the_next() {
    let storage = faulty().fail(Operation::Open, When::KeyCall("a".into(), 1), ErrorKind::Unreachable);
    storage.inner().put("b", vec![0]);
    assert!(storage.open("b").await.is_ok());
    assert!(storage.open("a").await.is_err());
    assert!(storage.open("a").await.is_ok());
}

#[tokio::test]
async fn a_read_fails_at_the_chosen_byte_after_what_comes_before() {
    let storage = faulty().fail(Operation::Read, When::Byte("a".into(), 600), ErrorKind::Io);
    let object = storage.open("a").await.unwrap();
    let mut got = 0;
    let mut count = |bytes: &[u8]| {
        got += bytes.len();
        Ok(())
    };
    let error = object.read(ByteRange::new(100, 800), &mut count).await.unwrap_err();
    assert_eq!((got, error.attempts[0].bytes, error.range), (500, 500, Some(ByteRange::new(100, 800))));
    assert!(read(&storage, "a", ByteRange::new(0, 600)).await.is_ok());
    assert!(read(&storage, "a", ByteRange::new(601, 10)).await.is_ok());
}

#[tokio::test]
async fn a_cut_read_is_short_and_says_so() {
    let storage = faulty().cut(When::Key("a".into()), 10);
    let (content, receipt) = read(&storage, "a", ByteRange::ALL).await.unwrap();
    assert_eq!((content.len(), receipt.bytes), (10, 10));
}

#[tokio::test]
async fn exactly_one_byte_is_corrupt() {
    let storage = faulty().corrupt(When::Always, 500);
    let right = Pattern::new(1000, 1).range(ByteRange::ALL);
    let (content, _) = read(&storage, "a", ByteRange::ALL).await.unwrap();
    let wrong: Vec<_> = (0..1000).filter(|index| content[*index] != right[*index]).collect();
    assert_eq!(wrong, [500]);
    let (content, _) = read(&storage, "a", ByteRange::new(501, 100)).await.unwrap();
    assert_eq!(content, right[501..601]);
}

#[tokio::test]
async fn one_in_n_chooses_the_same_calls_in_every_run() {
    async fn failing(seed: u64) -> Vec<u64> {
        let storage = faulty().fail(Operation::Read, When::OneIn { n: 10, seed }, ErrorKind::Server);
        let mut failing = Vec::new();
        for offset in 0..1000 {
            if read(&storage, "a", ByteRange::new(offset, 1)).await.is_err() {
                failing.push(offset);
            }
        }
        failing
    }
    let first = failing(1).await;
    assert_eq!(first, failing(1).await);
    assert_ne!(first, failing(2).await);
    assert!((50..200).contains(&first.len()), "{}", first.len());
}

#[tokio::test]
async fn every_operation_can_fail() {
    use Operation::{Create, Delete, List, Open, Stat, Write};
    let mut storage = faulty();
    for operation in [Open, Write, Stat, List, Delete, Create] {
        storage = storage.fail(operation, When::Always, ErrorKind::Denied);
    }
    let errors = [
        storage.open("a").await.err(),
        storage.write("b", &mut Pattern::new(1, 1)).await.err(),
        storage.stat("a").await.err(),
        storage.list("", &mut |_| {}).await.err(),
        storage.delete("a").await.err(),
        storage.create_root().await.err(),
        storage.create_folder("f").await.err(),
    ];
    assert!(errors.iter().all(|error| error.as_ref().is_some_and(|error| error.kind == ErrorKind::Denied)));
    assert!(storage.inner().get("b").is_none() && storage.inner().get("a").is_some());
}

/// Returns memory with one object `a` of 1000 patterned bytes, which delays every read by 100 ms and is read in ranges of 300 bytes.
fn split(time: &Arc<dyn TimeSource>, head: bool) -> RangedGet {
    let memory = Memory::new(Arc::clone(time));
    memory.put("a", Pattern::new(1000, 1).range(ByteRange::ALL));
    let delays = Delays { read: Delay::latency(Duration::from_millis(100)), ..Delays::default() };
    let rules = RangedGetRules { head, threshold: Some(500), chunk: Some(300), concurrency: Some(2), cores: 4 };
    RangedGet::new(Arc::new(Remote(Delayed::on_tokio(memory, delays, Arc::clone(time)))), rules)
}

/// Storage whose objects do not report their size, as on S3.
struct Remote<S>(S);

struct RemoteObject(Box<dyn Object>, Attempts);

impl Object for RemoteObject {
    fn size(&self) -> Option<u64> {
        None
    }

    fn opened(&self) -> &Attempts {
        &self.1
    }

    forward_object!(self => self.0; read read_first read_part);
}

impl<S: Storage> Storage for Remote<S> {
    fn open<'a>(&'a self, key: &'a str) -> Future<'a, Box<dyn Object>> {
        Box::pin(async move { Ok(Box::new(RemoteObject(self.0.open(key).await?, Attempts::new())) as Box<dyn Object>) })
    }

    forward_storage!(self => self.0; update write stage publish discard stat look_up list delete create_root create_folder remove_folder blocks uri root_uri);
}

#[tokio::test(start_paused = true)]
async fn a_storage_that_splits_reads_conforms() {
    for head in [false, true] {
        let rules = RangedGetRules { head, threshold: Some(1), chunk: Some(7 << 10), concurrency: Some(3), cores: 1 };
        let storage = RangedGet::new(Arc::new(Memory::new(ticks())), rules);
        conformance::check(&storage, Capabilities { updates: true, ..Capabilities::default() }).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_object_is_asked_for_its_size_once_and_read_in_concurrent_ranges() {
    let time = tokio_time();
    let storage = split(&time, true);
    for round in 0..2 {
        let object = storage.open("a").await.unwrap();
        let mut content = Vec::new();
        let start = time.now();
        let mut sink = |bytes: &[u8]| {
            content.extend_from_slice(bytes);
            Ok(())
        };
        let receipt = object.read(ByteRange::ALL, &mut sink).await.unwrap();
        assert_eq!(content, Pattern::new(1000, 1).range(ByteRange::ALL), "in order, without gaps");
        let heads = receipt.attempts.len() - 4;
        assert_eq!(heads, usize::from(round == 0), "the size is asked for once: {:?}", receipt.attempts);
        let ranges: Vec<_> =
            receipt.attempts[heads..].iter().map(|attempt| (attempt.offset, attempt.requested)).collect();
        assert_eq!(ranges, [(0, Some(300)), (300, Some(300)), (600, Some(300)), (900, Some(100))]);
        assert!(receipt.attempts[heads..].iter().all(|attempt| attempt.kind == OpKind::Read));
        assert_eq!((time.now() - start, receipt.bytes), (200 * MS, 1000), "two ranges at a time");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_head_the_first_read_is_whole_and_the_next_is_split() {
    let time = tokio_time();
    let storage = split(&time, false);
    let object = storage.open("a").await.unwrap();
    for (attempts, took) in [(1, 100 * MS), (4, 200 * MS)] {
        let start = time.now();
        let receipt = object.read(ByteRange::ALL, &mut |_: &[u8]| Ok(())).await.unwrap();
        assert_eq!((receipt.attempts.len(), time.now() - start), (attempts, took));
    }
    let receipt = object.read(ByteRange::new(0, 1000), &mut |_: &[u8]| Ok(())).await.unwrap();
    assert_eq!(receipt.attempts.len(), 1, "a range is never split");
}

#[tokio::test(start_paused = true)]
async fn what_a_sink_refuses_and_what_a_range_lacks_end_a_split_read() {
    let time = tokio_time();
    let storage = split(&time, true);
    let object = storage.open("a").await.unwrap();
    let mut seen = 0;
    let mut sink = |bytes: &[u8]| {
        seen += bytes.len();
        if seen > 300 { Err("enough".to_owned()) } else { Ok(()) }
    };
    let error = object.read(ByteRange::ALL, &mut sink).await.unwrap_err();
    assert_eq!(
        (error.kind, error.range, error.message.as_str()),
        (ErrorKind::Corrupt, Some(ByteRange::new(300, 300)), "enough")
    );

    let memory = Memory::new(ticks());
    memory.put("a", vec![1; 1000]);
    let faulty = Arc::new(Faulty::new(Remote(memory), ticks()).fail(Operation::Read, When::Call(3), ErrorKind::Server));
    let rules = RangedGetRules { head: true, threshold: Some(1), chunk: Some(300), concurrency: Some(1), cores: 1 };
    let storage = RangedGet::new(faulty, rules);
    let object = storage.open("a").await.unwrap();
    let error = object.read(ByteRange::ALL, &mut |_: &[u8]| Ok(())).await.unwrap_err();
    assert_eq!((error.kind, error.attempts.len()), (ErrorKind::Server, 4), "the size, two ranges and the failure");
}

/// The methods that were called on a storage and its open objects, in order.
type Calls = Arc<Mutex<Vec<&'static str>>>;

/// Memory that records the name of each called method.
struct Noting {
    memory: Memory,
    calls: Calls,
}

struct NotingObject<O: ?Sized> {
    inner: Box<O>,
    calls: Calls,
}

/// Defines methods that record their name and call the same method of the inner value.
macro_rules! noting {
    ($($method:ident($($name:ident: $type:ty),*) -> $done:ty;)+) => {
        $(fn $method<'a>(&'a self, $($name: $type),*) -> $done {
            self.calls.lock().unwrap().push(stringify!($method));
            self.inner().$method($($name),*)
        })+
    };
}

impl<O: ?Sized> NotingObject<O> {
    fn inner(&self) -> &O {
        &self.inner
    }
}

impl<O: Object + ?Sized> Object for NotingObject<O> {
    noting! {
        size() -> Option<u64>;
        opened() -> &'a Attempts;
        read(range: ByteRange, sink: &'a mut dyn ChunkSink) -> Future<'a, Receipt>;
        read_first(limit: u64, sink: &'a mut dyn ChunkSink) -> Future<'a, Receipt>;
        read_part(range: ByteRange, version: &'a Version, sink: &'a mut dyn ChunkSink) -> Future<'a, Receipt>;
    }
}

impl<O: Updatable + ?Sized> Updatable for NotingObject<O> {
    noting! {
        write(offset: u64, source: &'a mut dyn ChunkSource) -> Future<'a, Receipt>;
        sync() -> Future<'a, Receipt>;
    }
}

impl Noting {
    fn inner(&self) -> &Memory {
        &self.memory
    }
}

impl Storage for Noting {
    fn open<'a>(&'a self, key: &'a str) -> Future<'a, Box<dyn Object>> {
        self.calls.lock().unwrap().push("open");
        Box::pin(async move {
            let inner = self.memory.open(key).await?;
            Ok(Box::new(NotingObject { inner, calls: self.calls.clone() }) as Box<dyn Object>)
        })
    }

    fn update<'a>(&'a self, key: &'a str, how: Update) -> Future<'a, Box<dyn Updatable>> {
        self.calls.lock().unwrap().push("update");
        Box::pin(async move {
            let inner = self.memory.update(key, how).await?;
            Ok(Box::new(NotingObject { inner, calls: self.calls.clone() }) as Box<dyn Updatable>)
        })
    }

    noting! {
        write(key: &'a str, source: &'a mut dyn ChunkSource) -> Future<'a, Receipt>;
        stage(key: &'a str, source: &'a mut dyn ChunkSource) -> Future<'a, Staged>;
        publish(staged: &'a Staged) -> Future<'a, Receipt>;
        discard(staged: &'a Staged) -> Future<'a, Receipt>;
        stat(key: &'a str) -> Future<'a, (Metadata, Receipt)>;
        look_up(key: &'a str) -> Future<'a, (Option<Metadata>, Receipt)>;
        list(prefix: &'a str, page: &'a mut dyn FnMut(&[ListEntry])) -> Future<'a, Receipt>;
        delete(key: &'a str) -> Future<'a, Receipt>;
        create_root() -> Future<'a, Receipt>;
        create_folder(key: &'a str) -> Future<'a, Receipt>;
        remove_folder(key: &'a str) -> Future<'a, (bool, Receipt)>;
        blocks() -> bool;
        uri(key: &str) -> String;
        root_uri() -> String;
    }
}

/// Calls every method of a storage and of its open objects.
async fn call_all(storage: &dyn Storage) -> Result<(), Error> {
    let mut sink = |_: &[u8]| Ok(());
    storage.write("a", &mut Pattern::new(100, 1)).await?;
    for staged in [storage.stage("b", &mut Pattern::new(100, 1)).await?] {
        storage.publish(&staged).await?;
        storage.discard(&staged).await?;
    }
    storage.stat("a").await?;
    storage.look_up("a").await?;
    storage.list("", &mut |_| {}).await?;
    storage.create_root().await?;
    storage.create_folder("folder").await?;
    storage.remove_folder("folder").await?;
    let _ = (storage.blocks(), storage.uri("a"), storage.root_uri());
    let object = storage.open("a").await?;
    let _ = (object.size(), object.opened());
    object.read(ByteRange::new(1, 2), &mut sink).await?;
    object.read_first(3, &mut sink).await?;
    object.read_part(ByteRange::new(1, 2), &Version::new(), &mut sink).await?;
    let object = storage.update("a", Update { create: true }).await?;
    object.write(5, &mut Pattern::new(1, 1)).await?;
    object.sync().await?;
    storage.delete("a").await.map(drop)
}

#[tokio::test(start_paused = true)]
async fn every_method_of_a_decorator_arrives_as_the_same_method_of_the_storage_behind_it() {
    let methods = [
        "write",
        "stage",
        "publish",
        "discard",
        "stat",
        "look_up",
        "list",
        "create_root",
        "create_folder",
        "remove_folder",
        "blocks",
        "uri",
        "root_uri",
        "open",
        "size",
        "opened",
        "read",
        "read_first",
        "read_part",
        "update",
        "sync",
        "delete",
    ];
    let rules = RangedGetRules { head: false, threshold: None, chunk: None, concurrency: None, cores: 1 };
    for which in 0..4 {
        let (calls, time) = (Calls::default(), tokio_time());
        let noting = Noting { memory: Memory::new(time.clone()), calls: calls.clone() };
        let decorated: Box<dyn Storage> = match which {
            0 => Box::new(Counted::new(Arc::new(noting), Arc::default())),
            1 => Box::new(RangedGet::new(Arc::new(noting), rules)),
            2 => Box::new(Delayed::on_tokio(noting, Delays::default(), time)),
            _ => Box::new(Faulty::new(noting, time)),
        };
        call_all(&*decorated).await.unwrap();
        let calls = calls.lock().unwrap();
        for method in methods {
            assert!(calls.contains(&method), "decorator {which} does not pass {method} on: {calls:?}");
        }
        let reads = calls.iter().filter(|call| call.starts_with("read")).copied().collect::<Vec<_>>();
        assert_eq!(reads, ["read", "read_first", "read_part"], "decorator {which}");
    }
}
