//! Local files: folders, temporary names, links, direct I/O, and agreement with the reference model in memory.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use dlio_event::{OpKind, Outcome, TimeSource};
use dlio_storage::conformance::{self, Capabilities, Pattern, Ticks, list, read};
use dlio_storage::local::{Local, LocalOptions};
use dlio_storage::memory::Memory;
use dlio_storage::{ByteRange, ChunkSource, Error, ErrorKind, Storage};
use proptest::prelude::*;

fn ticks() -> Arc<dyn TimeSource> {
    Arc::new(Ticks::default())
}

fn local(root: &Path, options: LocalOptions) -> Local {
    Local::new(root.to_owned(), ticks(), options)
}

fn direct() -> LocalOptions {
    LocalOptions { odirect_read: true, odirect_write: true, ..LocalOptions::default() }
}

const FILES: Capabilities = Capabilities { folders: true, updates: true, large: (20 << 20) + 17, many: 1203 };

#[tokio::test]
async fn memory_conforms() {
    conformance::check(&Memory::new(ticks()), Capabilities { updates: true, ..Capabilities::default() }).await;
}

#[tokio::test]
async fn local_files_conform() {
    let folder = tempfile::tempdir().unwrap();
    conformance::check(&local(&folder.path().join("new/root"), LocalOptions::default()), FILES).await;
}

#[tokio::test]
async fn durable_files_in_odd_chunks_conform() {
    let folder = tempfile::tempdir().unwrap();
    let options = LocalOptions { durable: true, chunk: 5000, ..LocalOptions::default() };
    conformance::check(&local(folder.path(), options), Capabilities { large: 9 << 20, many: 20, ..FILES }).await;
}

/// Checks that direct I/O on this checkout's file system either works or reports that it is not supported.
#[tokio::test]
async fn direct_io_conforms_or_is_refused_by_name() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let storage = local(folder.path(), direct());
    match storage.write("probe", &mut Pattern::new(5000, 1)).await {
        Ok(_) => conformance::check(&storage, Capabilities { many: 20, ..FILES }).await,
        Err(error) => {
            assert!(
                error.kind == ErrorKind::Invalid && error.to_string().contains("dlio_rs.generate_odirect"),
                "{error}"
            );
        }
    }
}

#[tokio::test]
async fn direct_io_is_refused_where_there_is_no_device() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    local(folder.path(), LocalOptions::default()).write("a", &mut Pattern::new(10, 1)).await.unwrap();
    let storage = local(folder.path(), direct());
    let error = storage.open("a").await.err().unwrap();
    assert!(error.kind == ErrorKind::Invalid && error.to_string().contains("reader.odirect"), "{error}");
    assert!(error.to_string().contains(folder.path().to_str().unwrap()), "{error}");
    let error = storage.write("b", &mut Pattern::new(10, 1)).await.unwrap_err();
    assert!(error.kind == ErrorKind::Invalid && error.to_string().contains("dlio_rs.generate_odirect"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_read_is_one_attempt_and_a_write_is_its_steps() {
    use OpKind::{Close, Fsync, Open, Rename, Write};
    let folder = tempfile::tempdir().unwrap();
    let storage = local(folder.path(), LocalOptions { durable: true, ..LocalOptions::default() });
    let receipt = storage.write("a", &mut Pattern::new(600_000, 1)).await.unwrap();
    let kinds: Vec<_> = receipt.attempts.iter().map(|attempt| attempt.kind).collect();
    assert_eq!(kinds, [Open, Write, Fsync, Close, Rename, Fsync]);
    assert_eq!(receipt.attempts.iter().map(|attempt| attempt.bytes).sum::<u64>(), 600_000);
    let (_, receipt) = read(&storage, "a", ByteRange::new(100, 500_000)).await.unwrap();
    let [attempt] = &receipt.attempts[..] else { panic!("{receipt:?}") };
    assert_eq!((attempt.kind, attempt.offset, attempt.bytes), (OpKind::Read, 100, 500_000));
    assert_eq!(attempt.requested, Some(500_000));
    let first = attempt.first_byte.unwrap();
    assert!(attempt.start < first && first < attempt.end);
}

/// A source that lists the existing files while it produces bytes.
struct Spy<'a> {
    folder: &'a Path,
    seen: Vec<String>,
}

impl ChunkSource for Spy<'_> {
    fn len(&self) -> u64 {
        10
    }

    fn fill(&mut self, buffer: &mut [u8]) -> usize {
        let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        self.seen = fs::read_dir(self.folder).expect("the folder").flatten().map(name).collect();
        buffer.len()
    }
}

#[tokio::test]
async fn while_a_file_is_written_only_a_hidden_temporary_exists_and_no_listing_shows_it() {
    let folder = tempfile::tempdir().unwrap();
    let storage = local(folder.path(), LocalOptions::default());
    let mut spy = Spy { folder: folder.path(), seen: Vec::new() };
    storage.write("img.npz", &mut spy).await.unwrap();
    let [name] = &spy.seen[..] else { panic!("{:?}", spy.seen) };
    assert!(name.starts_with(".img.npz."), "{name}");
    fs::write(folder.path().join(name), b"left by a killed run").unwrap();
    assert_eq!(list(&storage, "").await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_missing_root_is_an_error_and_not_created_by_a_write() {
    let folder = tempfile::tempdir().unwrap();
    let storage = local(&folder.path().join("unmounted"), LocalOptions::default());
    let error = storage.write("train/a", &mut Pattern::new(1, 1)).await.unwrap_err();
    assert!(error.kind == ErrorKind::NotFound && error.to_string().contains("unmounted"), "{error}");
    assert_eq!(error.attempts[0].status, -2);
    assert_eq!(list(&storage, "").await.unwrap_err().kind, ErrorKind::NotFound);
    assert!(!folder.path().join("unmounted").exists());
}

#[tokio::test]
async fn folders_are_not_objects() {
    let folder = tempfile::tempdir().unwrap();
    let storage = local(folder.path(), LocalOptions::default());
    storage.create_folder("train/deep/").await.unwrap();
    for error in [storage.open("train").await.err(), storage.stat("train").await.err()] {
        let error = error.unwrap();
        assert!(error.kind == ErrorKind::Invalid && error.to_string().contains("it is a folder"), "{error}");
        assert_eq!(error.outcome(), Outcome::Io);
    }
    assert!(list(&storage, "").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_file_that_shrinks_while_it_is_read_is_an_error_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let storage = local(folder.path(), LocalOptions::default());
    storage.write("a", &mut Pattern::new(10_000, 1)).await.unwrap();
    let object = storage.open("a").await.unwrap();
    fs::OpenOptions::new().write(true).open(folder.path().join("a")).unwrap().set_len(4000).unwrap();
    for range in [ByteRange::ALL, ByteRange::new(1000, 5000), ByteRange { offset: 5000, len: None }] {
        let error = object.read(range, &mut |_: &[u8]| Ok(())).await.unwrap_err();
        assert_eq!((error.kind, error.outcome()), (ErrorKind::Corrupt, Outcome::ShortRead), "{error}");
        assert!(error.to_string().contains("had 10000 bytes and now ends before byte "), "{error}");
    }
    let receipt = object.read(ByteRange::new(100, 3900), &mut |_: &[u8]| Ok(())).await.unwrap();
    assert_eq!(receipt.bytes, 3900);
}

#[tokio::test]
async fn links_are_followed_and_links_to_nowhere_are_not_listed() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(other.path().join("x"), b"12345").unwrap();
    let link = |to: &Path, name: &str| std::os::unix::fs::symlink(to, folder.path().join(name)).unwrap();
    link(other.path(), "linked");
    link(&other.path().join("x"), "file");
    link(&other.path().join("gone"), "nowhere");
    let storage = local(folder.path(), LocalOptions::default());
    let found: Vec<_> = list(&storage, "").await.unwrap().into_iter().map(|found| (found.key, found.size)).collect();
    assert_eq!(found, [("file".to_owned(), 5), ("linked/x".to_owned(), 5)]);
}

#[tokio::test]
async fn direct_writes_have_the_exact_length() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let storage = local(folder.path(), direct());
    for len in [1, 4095, 4096, 4097, 256 << 10, (256 << 10) + 1] {
        match storage.write("a", &mut Pattern::new(len, 1)).await {
            Ok(_) => assert_eq!(fs::metadata(folder.path().join("a")).unwrap().len(), len),
            Err(error) => assert_eq!(error.kind, ErrorKind::Invalid, "{error}"),
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Write { key: usize, len: u64, seed: u64, ends_after: Option<u64> },
    Read { key: usize, range: ByteRange },
    Stat(usize),
    Delete(usize),
    List(usize),
}

const KEYS: [&str; 6] = ["a", "b/a", "b/a-", "b/c/a", "b.c", "ü x"];
const PREFIXES: [&str; 6] = ["", "b", "b/", "b/a", "b/c/", "z/"];

fn step() -> impl Strategy<Value = Step> {
    let key = 0..KEYS.len();
    let len = prop_oneof![0u64..100, 262_140..262_150u64];
    let ends_after = prop_oneof![4 => Just(None), 1 => (0u64..100).prop_map(Some)];
    let range =
        (0u64..300_000, proptest::option::of(0u64..300_000)).prop_map(|(offset, len)| ByteRange { offset, len });
    prop_oneof![
        (key.clone(), len, 0u64..1000, ends_after).prop_map(|(key, len, seed, ends_after)| Step::Write {
            key,
            len,
            seed,
            ends_after
        }),
        (key.clone(), prop_oneof![Just(ByteRange::ALL), range]).prop_map(|(key, range)| Step::Read { key, range }),
        key.clone().prop_map(Step::Stat),
        key.prop_map(Step::Delete),
        (0..PREFIXES.len()).prop_map(Step::List),
    ]
}

/// Result of a step, without properties that may differ between back ends: times, attempts and texts.
#[derive(Debug, PartialEq)]
enum Shown {
    Wrote(u64),
    Read(Vec<u8>),
    Size(u64),
    Deleted,
    Listed(Vec<(String, u64)>),
    Failed(ErrorKind),
}

async fn run(storage: &dyn Storage, step: &Step) -> Shown {
    let shown: Result<Shown, Error> = match step {
        Step::Write { key, len, seed, ends_after } => {
            let mut source = Pattern::new(*len, *seed).ending_after(ends_after.unwrap_or(*len));
            storage.write(KEYS[*key], &mut source).await.map(|receipt| Shown::Wrote(receipt.bytes))
        }
        Step::Read { key, range } => read(storage, KEYS[*key], *range).await.map(|(content, _)| Shown::Read(content)),
        Step::Stat(key) => storage.stat(KEYS[*key]).await.map(|(metadata, _)| Shown::Size(metadata.size)),
        Step::Delete(key) => storage.delete(KEYS[*key]).await.map(|_| Shown::Deleted),
        Step::List(prefix) => list(storage, PREFIXES[*prefix])
            .await
            .map(|found| Shown::Listed(found.into_iter().map(|found| (found.key, found.size)).collect())),
    };
    shown.unwrap_or_else(|error| Shown::Failed(error.kind))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn files_behave_as_the_model_in_memory(steps in proptest::collection::vec(step(), 1..40), chunk in 1usize..20_000) {
        let folder = tempfile::tempdir().unwrap();
        let files = local(folder.path(), LocalOptions { chunk, ..LocalOptions::default() });
        let memory = Memory::new(ticks());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for step in &steps {
            let (files, memory) = runtime.block_on(async { (run(&files, step).await, run(&memory, step).await) });
            prop_assert!(files == memory, "{step:?}: files and memory differ");
        }
    }
}
