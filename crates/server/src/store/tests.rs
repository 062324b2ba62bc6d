//! Compares the directory with the memory: random sequences of operations have the same results, and concurrent
//! writes lose nothing.

use std::path::Path;

use bytes::Bytes;
use futures::StreamExt;
use proptest::prelude::*;

use super::*;

const BUCKET: &str = "bucket";

#[derive(Debug, Clone)]
enum Operation {
    Put(String, u8),
    Delete(String),
    Get(String),
    List { prefix: String, delimiter: Option<String>, from: ListStart, limit: usize },
}

/// Keys that conflict as paths: folders with the names of objects, empty and dotted components, long names.
fn keys() -> impl Strategy<Value = String> {
    let component = prop_oneof![
        8 => prop::sample::select(vec!["a", "b", "a-", "a.", "a0"]).prop_map(str::to_owned),
        2 => prop::sample::select(vec!["", ".", "..", "%", "a%", "%-"]).prop_map(str::to_owned),
        1 => (238..243_usize).prop_map(|length| "l".repeat(length)),
    ];
    prop::collection::vec(component, 1..4)
        .prop_map(|components| components.join("/"))
        .prop_filter("a key is not empty", |key| !key.is_empty())
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let delimiter = prop::option::of(prop::sample::select(vec!["/", "a", "//"]).prop_map(str::to_owned));
    let from = prop_oneof![Just(ListStart::Start), keys().prop_map(ListStart::After), keys().prop_map(ListStart::Past)];
    let prefix = prop_oneof![Just(String::new()), keys(), keys().prop_map(|key| format!("{key}/"))];
    let list = (prefix, delimiter, from, 1..6_usize).prop_map(|(prefix, delimiter, from, limit)| Operation::List {
        prefix,
        delimiter,
        from,
        limit,
    });
    let one = prop_oneof![
        4 => (keys(), any::<u8>()).prop_map(|(key, byte)| Operation::Put(key, byte)),
        2 => keys().prop_map(Operation::Delete),
        1 => keys().prop_map(Operation::Get),
        3 => list,
    ];
    prop::collection::vec(one, 1..60)
}

async fn put(store: &ObjectStore, key: &str, bytes: &'static [u8]) -> Result<Stat, StoreError> {
    let mut draft = store.writer(bytes.len() as u64)?;
    draft.push(Bytes::from_static(bytes)).await?;
    let (bucket, attributes) = (BUCKET.to_owned(), Attributes::default());
    draft
        .commit(Target::Object {
            bucket,
            key: key.to_owned(),
            attributes: attributes.into(),
            condition: Condition::default(),
        })
        .await
}

async fn get(store: &ObjectStore, key: &str) -> Option<Vec<u8>> {
    let opened = store.open(BUCKET, key).await.ok()?;
    let size = opened.stat.size;
    let pieces: Vec<_> = opened.read(0..size, 1000).collect().await;
    Some(pieces.into_iter().flat_map(Result::unwrap).collect())
}

/// The visible result of an operation.
async fn observe(store: &ObjectStore, operation: &Operation) -> String {
    match operation {
        Operation::Put(key, byte) => {
            static BYTES: [u8; 256] = [7; 256];
            put(store, key, &BYTES[..usize::from(*byte)]).await.unwrap().size.to_string()
        }
        Operation::Delete(key) => format!("{:?}", store.delete(BUCKET, vec![Deletion::of(key.clone())]).await.is_ok()),
        Operation::Get(key) => format!("{:?}", get(store, key).await),
        Operation::List { prefix, delimiter, from, limit } => {
            let (prefix, delimiter) = (prefix.clone(), delimiter.clone());
            let query = Query { prefix, delimiter, from: from.clone(), limit: *limit };
            let Page { objects, prefixes, next } = store.list(BUCKET, query).await.unwrap();
            let objects: Vec<_> = objects.iter().map(|(key, stat)| (key, stat.size)).collect();
            format!("{objects:?} {prefixes:?} {next:?}")
        }
    }
}

async fn with_bucket(store: ObjectStore) -> ObjectStore {
    store.create_bucket(BUCKET, BucketSettings::default()).await.unwrap();
    store
}

fn in_directory(path: &Path) -> ObjectStore {
    ObjectStore::directory(path, false, EntityTags::Md5).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_directory_cannot_be_told_from_memory(operations in operations()) {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let memory = with_bucket(ObjectStore::memory().unwrap()).await;
            let directory = with_bucket(in_directory(dir.path())).await;
            for operation in &operations {
                let (expected, seen) = (observe(&memory, operation).await, observe(&directory, operation).await);
                prop_assert_eq!(seen, expected, "{:?}", operation);
            }
            Ok(())
        })?;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_stays_while_a_folder_of_its_name_comes_and_goes() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (with_bucket(in_directory(dir.path())).await, in_directory(dir.path()));
    put(&one, "a", b"first").await.unwrap();
    let folder = tokio::spawn(async move {
        for _ in 0..150 {
            put(&two, "a/b", b"below").await.unwrap();
            assert_eq!(get(&two, "a/b").await.unwrap(), b"below");
            two.delete(BUCKET, vec![Deletion::of("a/b".into())]).await.unwrap();
        }
    });
    for _ in 0..150 {
        put(&one, "a", b"again").await.unwrap();
        assert_eq!(get(&one, "a").await.unwrap(), b"again");
    }
    folder.await.unwrap();
    assert_eq!(get(&one, "a").await.unwrap(), b"again");
    assert_eq!(get(&one, "a/b").await, None);
}

#[tokio::test]
async fn a_draft_that_is_dropped_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = with_bucket(in_directory(dir.path())).await;
    let drafts = || walk(&dir.path().join(".dlio-rs/drafts"));
    let before = drafts();
    let mut draft = store.writer(0).unwrap();
    for _ in 0..3 {
        draft.push(Bytes::from(vec![1; 1 << 20])).await.unwrap();
    }
    assert!(drafts() > before);
    drop(draft);
    // A write that still runs in the background removes its file when it ends.
    for _ in 0..5000 {
        if drafts() == before {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    panic!("the draft is still there");
}

fn walk(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { walk(&path) } else { 1 }).sum()
}

#[tokio::test]
async fn what_is_listed_from_memory_of_a_folder_is_dropped_when_the_folder_changes() {
    let dir = tempfile::tempdir().unwrap();
    let store = with_bucket(in_directory(dir.path())).await;
    let folder = dir.path().join(BUCKET).join("train");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("1"), "").unwrap();
    let list = async || {
        let query = Query { prefix: "train/".into(), delimiter: None, from: ListStart::Start, limit: 10 };
        let page = store.list(BUCKET, query).await.unwrap();
        page.objects.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    // A folder that has not changed for a while is cached.
    let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
    std::fs::File::open(&folder).unwrap().set_modified(long_ago).unwrap();
    assert_eq!(list().await, ["train/1"]);
    assert_eq!(list().await, ["train/1"]);
    std::fs::write(folder.join("2"), "").unwrap();
    assert_eq!(list().await, ["train/1", "train/2"]);
}
